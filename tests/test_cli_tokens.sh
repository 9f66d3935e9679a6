#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# The program and pictures of codes: encode and decode, transcode, codes as
# arrays and back, many files at once, damage, and what it refuses.
. "${TSR_SRCDIR:-.}/tests/cli.sh"

codes() { "$PYTHON" -S "$TSR_SRCDIR/tests/cli_codes.py" "$@"; }
model=$work/models/mosaic.safetensors
"$TSR_BUILDDIR/tests/tiny_tokens" "$model" levels &&
    "$TSR_BUILDDIR/tests/tiny_tokens" "$work/models/plain.safetensors" plain &&
    "$TSR_BUILDDIR/tests/tiny_sound" "$work/models/sound.safetensors" mono &&
    media make photo.png rgb 130 100 1 && media make one.png rgb 1 1 &&
    media make grey.pgm grey 33 7 && media make alpha.png rgba 40 30 &&
    media make deep.png rgb16 24 16 &&
    "$PYTHON" "$TSR_SRCDIR/tests/cli_sound.py" make tone.wav 24000 1 9000 ||
    exit 99
{ printf 'YUV4MPEG2 W32 H24 F10:1 Ip A1:1 C420jpeg\nFRAME\n'
  head -c 1152 /dev/zero; printf 'FRAME\n'; head -c 1152 /dev/zero; } > film.y4m
size() { wc -c < "$1"; }

# has NAME FILE LINE...: a report has these lines, as patterns.
has() {
    name=$1 file=$2 why=
    shift 2
    for line in "$@"; do
        grep -q -- "$line" "$file" || why="$why no line \"$line\";"
    done
    verdict "$name" "$why"
}

# --- there and back ----------------------------------------------------------
for q in 0 30 50 70 100; do
    quiet "encode -q $q" encode -m mosaic -q $q photo.png q$q.tess
done
quiet "decode" decode q100.tess out.ppm
check "the same size" test "$(media shape out.ppm)" = "130 100 3 8"
verdict "a lower quality has fewer bytes" "$(
    test "$(size q0.tess)" -lt "$(size q50.tess)" &&
    test "$(size q50.tess)" -lt "$(size q100.tess)" ||
    echo " $(size q0.tess) $(size q50.tess) $(size q100.tess)")"
while read -r picture form; do
    quiet "$picture" encode -y -model mosaic $picture v.tess
    quiet "$picture, back" decode -y -f pam v.tess v.pam
    check "$picture, its form" test "$(media shape v.pam)" = "$form"
done <<'TABLE'
one.png 1 1 3 8
grey.pgm 33 7 1 8
alpha.png 40 30 4 8
deep.png 24 16 3 16
TABLE
run encode alpha.png -m mosaic
run decode -y -f pam alpha.tess alpha.pam
check "alpha is exact" media same-alpha alpha.png alpha.pam
quiet "the other codec" encode -c:v simvq photo.png plain.tess
run info plain.tess
has "and its codes" "$work/out" "^codec  *simvq" "17 x 13, each one of 300, level 0"
quiet "a film" encode -m mosaic -q 100 film.y4m film.tess
quiet "a film, back" decode film.tess film2.y4m
check "all its frames" test "$(grep -ao FRAME film2.y4m | wc -l)" = 2

# --- interleaved -------------------------------------------------------------
run encode -m mosaic -q 100 -container photo.png chunks.tess
for n in 1 2 4 8; do
    quiet "-interleave $n" encode -m mosaic -q 100 -container -interleave $n \
        photo.png i$n.tess
    run decode i$n.tess i$n.ppm
    check "-interleave $n gives the same pixels" cmp i$n.ppm out.ppm
    run info i$n.tess
    has "-interleave $n, told" "$work/out" "interleave $n$" \
        "^units  *$((n * n)) of $((n * n))$"
done
check "-interleave 1 is none" cmp i1.tess chunks.tess
refuses "no such interleave" 1 "-interleave 3" "1, 2, 4 or 8" \
    encode -m mosaic -interleave 3 photo.png x.tess
refuses "-interleave beyond" 1 "-interleave 16" "from 1 to 8" \
    encode -m mosaic -interleave 16 photo.png x.tess
refuses "picture over -max_memory" 4 photo.png "memory limit" \
    encode -m mosaic -max_memory 100 photo.png x.tess
refuses "stream over -max_memory" 4 q50.tess "memory limit" \
    decode -max_memory 100 q50.tess x.png
refuses "-interleave for another codec" 1 vqgan "of codec hyper" \
    encode -interleave 2 photo.png x.tess
refuses "-interleave for sound" 1 tone.wav "for pictures" \
    encode -interleave 2 tone.wav x.tess
refuses "-interleave for a film" 1 film.y4m "one picture" \
    encode -m mosaic -interleave 2 film.y4m x.tess

# --- reports -----------------------------------------------------------------
run info --check q50.tess
has "info" "$work/out" "^codec  *vqgan" "17 x 13, each one of 60, level 2$" \
    "^coding  *with.* context, interleave 1$" "^form  *compact" \
    "^check  *sound" "^model  *mosaic"
verdict "info, width" "$(
    awk 'length > 80 || /[ \t]$/ { exit 1 }' "$work/out" || echo " long")"
run info --json q50.tess i4.tess
verdict "info --json" "$("$PYTHON" -c '
import json, sys
a, b = [json.loads(l) for l in open(sys.argv[1])]
have = [a["level"], a["interleave"], a["grid"], a["codes"], a["context"] in
        (True, False), b["level"], b["interleave"], b["units"]]
if have != [2, 1, [13, 17], 60, True, 0, 4, 16]:
    print("", have)' "$work/out" 2>&1)"
TESSERA_MODELS=$work/other run info q50.tess
has "info without the model" "$work/out" "^codes  *level 2$" \
    "not on this machine"
run models info mosaic
has "models info" "$work/out" "^factor  *8" "^codes  *300, 120, 60, 30, 12" \
    "^context  *neigh" "^filling  *neigh"
run models info plain
has "models info, one level" "$work/out" "^codes  *300$" "^context  *none"
run models info photo
verdict "models info of another codec" "$(grep -q '^factor' "$work/out" &&
    echo " codes")"

# --- transcode ---------------------------------------------------------------
for q in 0 30 100; do
    quiet "transcode -q $q" transcode -q $q q100.tess t$q.tess
    check "is encode -q $q" cmp t$q.tess q$q.tess
done
run transcode -y -q 0 q50.tess t.tess
check "in two steps" cmp t.tess q0.tess
quiet "-interleave alone" transcode -interleave 4 chunks.tess t4.tess
check "is encode -interleave" cmp t4.tess i4.tess
quiet "-interleave and back" transcode -interleave 1 i4.tess t1.tess
check "is as it was" cmp t1.tess chunks.tess
run transcode -q 30 -y i4.tess t4.tess
run encode -y -m mosaic -q 30 -container -interleave 4 photo.png v.tess
check "interleave and form stay" cmp t4.tess v.tess
run transcode -container q100.tess t5.tess
check "-container" cmp t5.tess chunks.tess
run encode -y -m mosaic -q 100 alpha.png a100.tess
run encode -y -m mosaic -q 0 alpha.png a0.tess
quiet "with alpha" transcode -q 0 a100.tess ta.tess
check "alpha is kept" cmp ta.tess a0.tess
run transcode -noalpha -q 0 a100.tess tn.tess
run decode -y -f pam tn.tess tn.pam
check "-noalpha" test "$(media shape tn.pam)" = "40 30 3 8"
stdin=q100.tess run transcode -q 0 - -
check "from pipe to pipe" cmp "$work/out" q0.tess
cat q100.tess | "$tessera" transcode -q 0 - 2> "$work/err" | cat > piped.tess
check "through real pipes" cmp piped.tess q0.tess
run encode photo.png hyper.tess
run encode tone.wav
refuses "finer than the file" 1 q0.tess "finer" transcode -q 100 q0.tess x.tess
refuses "another codec" 2 hyper.tess "codec hyper" \
    transcode -q 10 hyper.tess x.tess
refuses "sound" 2 tone.tess "sound" transcode -q 10 tone.tess x.tess
refuses "a film" 2 film.tess "video" transcode -q 10 film.tess x.tess
refuses "a picture" 2 photo.png "" transcode -q 10 photo.png x.tess
refuses "no output" 1 "no output" "IN OUT" transcode -q 10 q100.tess
refuses "nothing to do" 1 "-q N" "nothing to change" transcode q100.tess x.tess
refuses "onto itself" 1 q100.tess "input too" transcode -y -q 0 q100.tess q100.tess
refuses "an existing one" 1 q0.tess "-y" transcode -q 0 q100.tess q0.tess
media poke q100.tess 60 flip bad.tess
refuses "a damaged one" 2 bad.tess "" transcode -q 0 bad.tess x.tess
head -c 40 q100.tess > short.tess
refuses "a short one" 2 short.tess "" transcode -q 0 short.tess x.tess
TESSERA_MODELS=$work/other
refuses "no model" 3 q100.tess "model" transcode -q 0 q100.tess x.tess
TESSERA_MODELS=$work/models
refuses "another model" 3 q100.tess "model" transcode -m plain -q 0 q100.tess x.tess
refuses "many without a folder" 1 "3 inputs" "-o FOLDER" \
    transcode -q 0 q30.tess q50.tess q70.tess
quiet "many" transcode -q 0 -o small q30.tess q50.tess q70.tess
for q in 30 50 70; do check "one of them" cmp small/q$q.tess q0.tess; done

# --- codes -------------------------------------------------------------------
quiet "tokens" tokens photo.png
verdict "tokens, form" "$(test "$(codes form photo.npy)" = "<i4 13 17" ||
    echo " $(codes form photo.npy)")"
quiet "tokens -f npy" tokens -i photo.png -f npy anything
check "the same" cmp anything photo.npy
j=4
for q in 0 50 100; do
    run tokens -q $q photo.png l$q.npy
    check "-q $q is level $j" codes level "$model" photo.npy $j l$q.npy
    quiet "tokens of a stream, -q $q" tokens q$q.tess s$q.npy
    check "the same codes" cmp l$q.npy s$q.npy
    quiet "codes to a stream, -q $q" tokens -m mosaic -q $q -s 130x100 \
        l$q.npy s$q.tess
    check "the same stream" cmp s$q.tess q$q.tess
    quiet "codes to a picture, -q $q" tokens -m mosaic -q $q -s 130x100 \
        l$q.npy s$q.ppm
    run decode -y q$q.tess d.ppm
    check "the same picture" cmp s$q.ppm d.ppm
    j=$((j - 2))
done
run tokens i4.tess i4.npy
check "interleaved" cmp i4.npy photo.npy
run tokens -m mosaic photo.npy whole.png
check "without -s all of it" test "$(media shape whole.png)" = "136 104 3 8"
run tokens -dtype uint16 photo.png u2.npy
verdict "-dtype uint16" "$(test "$(codes form u2.npy)" = "<u2 13 17" &&
    codes same u2.npy photo.npy || echo " $(codes form u2.npy)")"
for type in "<i8" "<u2" "<u8"; do
    codes cast photo.npy "$type" cast.npy
    run tokens -y -m mosaic -s 130x100 cast.npy cast.tess
    check "numbers of type $type" cmp cast.tess q100.tess
done
run tokens -y -dtype int32 tone.wav t4.npy
check "-dtype int32 of sound" test "$(codes form t4.npy)" = "<i4 29 4"
for picture in one.png grey.pgm alpha.png deep.png; do
    quiet "tokens of $picture" tokens -y $picture v.npy
    run encode -y -m mosaic -q 100 $picture v.tess
    run tokens -y v.tess w.npy
    check "are those of its stream" cmp v.npy w.npy
done
quiet "another model" tokens -m plain photo.png p.npy
check "and its codes" test "$(codes form p.npy)" = "<i4 13 17"
run tokens -s 64x48 -y photo.png s.npy
check "-s scales" test "$(codes form s.npy)" = "<i4 6 8"
stdin=photo.png run tokens - -
check "from pipe to pipe" cmp "$work/out" photo.npy
stdin=photo.npy run tokens -m mosaic -s 130x100 -f tess - -
check "codes from pipe to pipe" cmp "$work/out" q100.tess
"$tessera" tokens -f npy photo.png - 2> "$work/err" |
    "$tessera" tokens -m mosaic -s 130x100 -f ppm - - 2>> "$work/err" > piped.ppm
check "a pipe of both" cmp piped.ppm s100.ppm
run tokens -y -progress pipe:1 photo.png p.npy
has "-progress" "$work/out" "^percent=100.0$" "^progress=end$" \
    "^total_size=$(size p.npy)$"
run tokens -y -v info photo.png p.npy
verdict "-v info tells one line" "$(one_line p.npy "17 x 13 codes of 300")"

# --- lost codes --------------------------------------------------------------
at=$(media chunk i4.tess DATA 5)
media poke i4.tess $((${at% *} + 3)) flip lost.tess
run tokens lost.tess lost.npy
verdict "tokens of a damaged stream" "$(test $rc = 2 || echo " status $rc;"
    one_line lost.tess lost.npy)"
check "lost codes are -1" codes lost lost.npy 12
quiet "to a picture" tokens -m mosaic -s 130x100 lost.npy lost.ppm
run decode -y lost.tess d.ppm
check "filled in as decode does" cmp lost.ppm d.ppm
refuses "lost codes into a stream" 2 lost.npy "-1\|lost" \
    tokens -m mosaic lost.npy x.tess
refuses "transcode of it" 2 lost.tess "" transcode -q 0 lost.tess x.tess
run info --check lost.tess
verdict "info --check of it" "$(test $rc = 2 || echo " status $rc")"

# --- many at once ------------------------------------------------------------
quiet "many into a new folder" tokens -o codes photo.png grey.pgm one.png
for picture in photo.png grey.pgm one.png; do
    run tokens -y $picture v.npy
    check "${picture%.*}.npy" cmp v.npy codes/${picture%.*}.npy
done
quiet "the last one is a folder" tokens -y photo.png alpha.png codes
quiet "-i many times, -f" tokens -i codes/photo.npy -i codes/grey.npy -f ppm \
    -m mosaic -o back/
check "pictures of them" test "$(media shape back/grey.ppm)" = "40 8 3 8"
quiet "one into a folder" tokens q50.tess -o codes
check "is there" cmp codes/q50.npy l50.npy
quiet "pictures and sound" tokens -o both photo.png tone.wav
check "both are there" cmp both/photo.npy photo.npy
: > empty.png
echo nothing > text.png
run tokens -o some empty.png photo.png text.png grey.pgm
verdict "failures do not stop the others" "$(test $rc = 2 || echo " status $rc;"
    test "$(wc -l < "$work/err")" = 3 || echo " not three lines;"
    grep -q "2 of 4 files failed" "$work/err" || echo " not counted;"
    cmp some/photo.npy photo.npy 2>&1
    ls some | grep -v '^photo.npy$\|^grey.npy$')"
cp photo.png photo.ppm
run tokens -y -o twice photo.png photo.ppm
verdict "two of a name" "$(test $rc = 1 || echo " status $rc;"
    grep -q "photo.ppm.*twice/photo.npy, as photo.png did" "$work/err" ||
    echo " not said;"; cmp twice/photo.npy photo.npy 2>&1)"
echo precious > codes/grey.npy
rm codes/photo.npy
quiet "-n goes on" tokens -n -o codes photo.png grey.pgm one.png
verdict "and leaves alone what is there" "$(grep -qx precious codes/grey.npy &&
    cmp photo.npy codes/photo.npy 2>&1 || echo " not")"
run tokens -o codes photo.png grey.pgm one.png
verdict "without -n they are refused" "$(test $rc = 1 || echo " status $rc;"
    grep -qx precious codes/grey.npy || echo " overwritten")"
run tokens -y -progress pipe:1 -o codes photo.png grey.pgm one.png
verdict "-progress of many" "$(
    test "$(grep -c '^progress=end$' "$work/out")" = 1 || echo " not one end;"
    awk -F= '/^percent/ { if ($2 < last) exit 1; last = $2 }
        END { exit last != 100 }' "$work/out" || echo " not rising to 100")"
run tokens -y -stats -o codes photo.png grey.pgm
verdict "-stats of many" "$(grep -q 'grey.pgm (2 of 2)' "$work/err" ||
    echo " no line")"
refuses "many without a folder" 1 "3 inputs" "-o FOLDER" \
    tokens photo.png grey.pgm one.png
refuses "many into a file" 1 photo.npy "is a file" \
    tokens -o photo.npy photo.png grey.pgm
refuses "many into a pipe" 1 "2 inputs" "FOLDER" tokens -o - photo.png grey.pgm
refuses "a pipe among many" 1 "standard input" "not into the folder" \
    tokens -o codes photo.png -
refuses "a missing model, once" 3 nosuch "no model" \
    tokens -m nosuch -o x photo.png grey.pgm one.png
refuses "-progress into one of many" 1 grey.pgm "overwrite the input" \
    tokens -progress grey.pgm -o x photo.png grey.pgm

# --- refused -----------------------------------------------------------------
codes save big.npy "<i4" 2x3 1 2 3 4 300 0
codes save minus.npy "<i4" 2x3 1 2 3 4 -2 0
codes save cube.npy "<i4" 2x3x4 1
codes save none.npy "<i4" 0x3 1
codes save float.npy "<f4" 2x3 1
codes save wide.npy "<i4" 1x40 1
head -c 140 photo.npy > cut.npy
refuses "a code that there is not" 2 big.npy "code 300 at .1..1.*-q.* 300 codes" \
    tokens -m mosaic big.npy x.png
refuses "at a coarser level" 2 photo.npy "level of 12 codes" \
    tokens -m mosaic -q 0 photo.npy x.png
refuses "a number below -1" 2 minus.npy "number 4" tokens -m mosaic minus.npy x.png
refuses "three dimensions" 2 cube.npy "height..width" \
    tokens -m mosaic cube.npy x.png
refuses "no codes" 2 none.npy "height..width" tokens -m mosaic none.npy x.png
refuses "floats" 2 float.npy "F32" tokens -m mosaic float.npy x.png
refuses "cut short" 2 cut.npy "cut short" tokens -m mosaic cut.npy x.png
refuses "a size of another grid" 1 photo.npy "129x97 to 136x104" \
    tokens -m mosaic -s 128x100 photo.npy x.png
refuses "no size" 1 "12" "size" tokens -m mosaic -s 12 photo.npy x.png
refuses "codes to npy" 1 x.npy "become .png" tokens -m mosaic photo.npy x.npy
refuses "codes of a picture to sound" 1 x.wav "become .png" \
    tokens -m mosaic photo.npy x.wav
refuses "codes of sound to a picture" 1 x.png "become .wav" \
    tokens -m sound photo.npy x.png
refuses "codes of a picture taken for sound" 2 photo.npy "-m MODEL" \
    tokens photo.npy x.tess
refuses "a picture to png" 1 x.png "written as .npy" tokens photo.png x.png
refuses "a stream of another codec" 2 hyper.tess "codec hyper" \
    tokens hyper.tess x.npy
refuses "a model of another codec" 3 photo.safetensors "codec 'hyper'" \
    tokens -m photo photo.png x.npy
refuses "no such type" 1 float64 "uint16 or int32" \
    tokens -dtype float64 photo.png x.npy
refuses "a picture, options for sound" 1 photo.png "option for sound" \
    tokens -books 2 photo.png x.npy
refuses "sound, options for pictures" 1 tone.wav "option for pictures" \
    tokens -q 2 tone.wav x.npy
refuses "a silent film" 2 film.y4m "video" tokens film.y4m x.npy
refuses "a film in .tess" 2 film.tess "several streams" tokens film.tess x.npy
refuses "an empty file" 2 empty.png "empty" tokens empty.png x.npy
refuses "no picture" 2 text.png "" tokens text.png x.npy
refuses "a missing file" 1 gone.png "No such" tokens gone.png x.npy
refuses "an existing one" 1 photo.npy "-y" tokens photo.png
refuses "no input" 1 "no input" "-i" tokens
if test -w /dev/full; then
    refuses "full device" 1 /dev/full "No space" tokens -f npy photo.png /dev/full
    refuses "full device, back" 1 /dev/full "No space" \
        tokens -m mosaic -f png photo.npy /dev/full
    refuses "full device, transcode" 1 /dev/full "No space" \
        transcode -q 0 q100.tess /dev/full
fi
for topic in tokens transcode encode info; do
    run help $topic
    verdict "help $topic" "$(test $rc = 0 || echo " status $rc;"
        awk 'length > 80 || /[ \t]$/ { exit 1 }' "$work/out" || echo " long")"
done
finish
