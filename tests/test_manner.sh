#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# ffmpeg's manner: which command a line means, what belongs to which side, and
# what is refused.  The commands themselves have tests of their own: here their
# output is compared with that of the command's own line.
. "${TSR_SRCDIR:-.}/tests/cli.sh"

sound() { "$PYTHON" "$TSR_SRCDIR/tests/cli_sound.py" "$@"; }
"$TSR_BUILDDIR/tests/tiny_sound" "$work/models/sound.safetensors" mono &&
    sound make tone.wav 24000 1 40000 &&
    media make photo.png rgb 130 100 1 && media make wide.ppm rgb 64 48 2 ||
    exit 99
# Four frames of grey in YUV4MPEG2, 16 x 16, 10 a second.
{ printf 'YUV4MPEG2 W16 H16 F10:1 Ip A1:1 C420jpeg\n'
  for i in 1 2 3 4; do
      printf 'FRAME\n'
      head -c 384 /dev/zero | tr '\0' "\\$((i * 40 / 64))$((i * 40 / 8 % 8))0"
  done; } > film.y4m
head -c 1536 /dev/urandom > raw.rgb

# equals NAME OUT LINE...: the words before // and those behind it (a command's
# own line) make the same bytes of OUT.
equals() {
    name=$1 out=$2
    shift 2
    test "$out" = - || rm -f "$out" "$out.manner"
    : > "$work/words"
    while test "$1" != //; do
        printf '%s\n' "$1" >> "$work/words"
        shift
    done
    shift
    run_words
    why=$(test $rc = 0 || echo " status $rc;")
    if test "$out" = -; then cp "$work/out" ./-.manner
    else mv "$out" "$out.manner"; fi
    run "$@"
    test $rc = 0 || why="$why the command: status $rc;"
    test "$out" != - || cp "$work/out" ./-
    cmp -s "./$out" "./$out.manner" || why="$why the outputs differ;"
    verdict "$name" "$why"
}
run_words() { # those in the file, one a line
    set --
    while read -r word; do set -- "$@" "$word"; done < "$work/words"
    run "$@"
}

# --- which command -----------------------------------------------------------
equals "a picture is encoded" a.tess -i photo.png a.tess \
    // encode photo.png a.tess
equals "with a quality" b.tess -i photo.png -q 20 b.tess \
    // encode -q 20 photo.png b.tess
equals "-q:v is -q" b.tess -i photo.png -q:v 20 b.tess \
    // encode -q 20 photo.png b.tess
equals "-c:v tessera" b.tess -i photo.png -c:v tessera b.tess \
    // encode photo.png b.tess
equals "-c:v NAME" b.tess -i photo.png -c:v hyper b.tess \
    // encode -c:v hyper photo.png b.tess
equals "-model" b.tess -i photo.png -model photo b.tess \
    // encode -model photo photo.png b.tess
equals "-m is -model" b.tess -m photo -i photo.png b.tess \
    // encode -m photo photo.png b.tess
equals "a sound is encoded" s.tess -i tone.wav -b:a 3k s.tess \
    // encode -b:a 3k tone.wav s.tess
equals "a picture is decoded" a.ppm -i a.tess a.ppm // decode a.tess a.ppm
equals "a sound is decoded" s.wav -i s.tess s.wav // decode s.tess s.wav
equals "-f chooses the output" - -i s.tess -f wav - // decode -f wav s.tess -
equals "a format for codecs of samples" s24.wav -i s.tess -sample_fmt s24 \
    s24.wav // decode -sample_fmt s24 s.tess s24.wav
equals "a film is encoded" f.tess -i film.y4m f.tess // encode film.y4m f.tess
equals "-c copy is remux" g.tess -i f.tess -c copy g.tess \
    // remux f.tess g.tess
equals "-codec copy of sound" t.tess -i s.tess -codec:a copy t.tess \
    // remux s.tess t.tess
stdin=tone.wav
equals "from a pipe" p.tess -i - p.tess // encode - p.tess
stdin=s.tess
equals "a pipe to a sound" p.wav -i pipe:0 p.wav // decode - p.wav
equals "a pipe named by -f" - -f tess -i - -f wav pipe:1 // decode -f wav - -
stdin=raw.rgb
equals "raw video" r.tess -f rawvideo -pix_fmt rgb24 -s 16x16 -r 10 -i - r.tess \
    // encode -f rawvideo -pix_fmt rgb24 -s 16x16 -r 10 -i - r.tess
unset stdin
equals "global options anywhere" a.tess -y -v error -i photo.png a.tess -nostats \
    // encode -y photo.png a.tess
equals "-vn leaves sound" s2.tess -i tone.wav -vn s2.tess \
    // encode tone.wav s2.tess

# --- times -------------------------------------------------------------------
equals "-ss and -t of the input" c.wav -ss 0.2 -t 0.5 -i s.tess c.wav \
    // decode -ss 0.2 -t 0.5 s.tess c.wav
equals "-ss and -t of the output" c.wav -i s.tess -ss 0.2 -t 0.5 c.wav \
    // decode -ss 0.2 -t 0.5 s.tess c.wav
equals "-ss of both sides" c.wav -ss 0.2 -i s.tess -ss 0.1 -t 0.5 c.wav \
    // decode -ss 0.3 -t 0.5 s.tess c.wav
equals "-t of the input, -ss of the output" c.wav -t 0.5 -i s.tess -ss 0.1 c.wav \
    // decode -ss 0.1 -t 0.4 s.tess c.wav
equals "-to of the output counts from -ss of the input" c.wav -ss 0.2 -i s.tess \
    -to 0.5 c.wav // decode -ss 0.2 -t 0.5 s.tess c.wav
equals "the earlier end counts" c.wav -t 0.9 -i s.tess -t 0.5 c.wav \
    // decode -t 0.5 s.tess c.wav
equals "hours, minutes, seconds" c.wav -ss 0:00:00.25 -i s.tess c.wav \
    // decode -ss 250ms s.tess c.wav

# --- from Tessera to Tessera -------------------------------------------------
run decode -f pam a.tess a.pam
run encode -q 10 a.pam wanted.tess
run -i a.tess -q 10 again.tess
verdict "a picture is coded anew" "$(test $rc = 0 || echo " status $rc;"
    cmp wanted.tess again.tess 2>&1)"
run decode -f wav -sample_fmt flt -ss 0.5 s.tess cut.wav
run encode cut.wav wanted.tess -y
run -ss 0.5 -i s.tess -y again.tess
verdict "a part of a sound is coded anew" "$(test $rc = 0 || echo " status $rc;"
    cmp wanted.tess again.tess 2>&1)"
if "$tessera" encode film.y4m x.nut > "$work/none" 2>&1; then
    run decode -f nut -c:v rawvideo -pix_fmt rgb24 f.tess pixels.nut
    run encode -q 10 -y pixels.nut wanted.tess
    run -y -i f.tess -q 10 again.tess
    verdict "a film is coded anew" "$(test $rc = 0 || echo " status $rc;"
        cmp wanted.tess again.tess 2>&1)"
    run -i x.nut -c copy -y again.tess
    verdict "NUT with our streams is ours" "$(test $rc = 0 ||
        echo " status $rc")"
    rm -f x.nut
else
    skip "a film coded anew: built without libav"
fi
media poke s.tess 300 flip damaged.tess
run -i damaged.tess -y again.tess
verdict "damage in front of coding anew is told" "$(test $rc = 2 ||
    echo " status $rc;"; test -s again.tess || echo " no output")"

# --- what is refused ---------------------------------------------------------
refuses "no input" 1 "-i IN" "no input" -y
refuses "no output" 1 "photo.png" "no output" -i photo.png
refuses "two inputs" 1 "ffmpeg -i photo.png -i tone.wav" "one input" \
    -i photo.png -i tone.wav x.tess
refuses "two outputs" 1 "ffmpeg -i x.tess" "one output" -i photo.png x.tess y.tess
refuses "nothing of Tessera's" 1 "ffmpeg -i photo.png x.jpg" "neither" \
    -i photo.png x.jpg
refuses "another codec" 1 "libx264" "ffmpeg" -i film.y4m -c:v libx264 x.mov
refuses "a copy of what is not ours" 1 "ffmpeg -i tone.wav -c copy" "nothing of" \
    -i tone.wav -c copy x.tess
refuses "a copy of a picture" 1 "a.tess" "one picture" -i a.tess -c copy x.mov
refuses "one stream copied, one coded" 1 "f.tess" "1:a -c copy" \
    -i f.tess -c:a copy x.mov
refuses "MOV of coded input, no codec" 1 "x.mov" "c copy.*c tessera" \
    -i f.tess x.mov
refuses "our codec in a picture" 1 "x.png" "goes into" -i a.tess -c tessera x.png
refuses "an option of the output in front" 1 "-b:a" "behind -i" \
    -b:a 3k -i tone.wav x.tess
refuses "a codec in front" 1 "-c:a" "behind -i" -c:a tessera -i tone.wav x.tess
refuses "an option behind the output" 1 "-q" "in front of it" \
    -i photo.png x.tess -q 3
refuses "an option of another command" 1 "-q" "unknown option" \
    -i a.tess -q 3 x.png
refuses "ffmpeg's own option" 1 "-vf" "ffmpeg -i photo.png -vf" \
    -i photo.png -vf hflip x.tess
refuses "a rate of pictures" 1 "-b:v" "quality" -i photo.png -b:v 1M x.tess
refuses "a typing mistake" 1 "-modle" "did you mean '-model'" \
    -i photo.png -modle photo x.tess
refuses "an option without its value" 1 "-q" "wants a value" -i photo.png -q
refuses "a file in front of the input" 1 "x.tess" "front of the input" \
    -y x.tess -i photo.png
refuses "a time that is none" 1 "-ss" "a time is wanted" -ss soon -i s.tess x.wav
refuses "an end before the start" 1 "-ss" "nothing is left" \
    -ss 1 -to 0.5 -i s.tess x.wav
refuses "a form for what is coded" 1 "s.tess" "raw video" -r 25 -i s.tess x.wav
refuses "a missing input" 1 "gone.png" "No such file" -i gone.png x.tess
: > there.tess
refuses "an existing output" 1 "there.tess" "exists" -i photo.png there.tess
refuses "an existing output, coded anew" 1 "there.tess" "exists" \
    -i a.tess there.tess
refuses "a missing model, coding anew" 3 "gone.safetensors" "" -i a.tess \
    -model "$work/models/gone.safetensors" x.tess
refuses "an existing output, -n" 1 "there.tess" "exists" -n -i photo.png there.tess

run help ffmpeg
verdict "help ffmpeg" "$(grep -q -- '-c  *is' "$work/out" || echo " no table")"
run -version
verdict "-version" "$(grep -q '^tessera [0-9]' "$work/out" || echo " none")"
finish
