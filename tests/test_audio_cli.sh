#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# The program and sound: every kind of WAV there and back, pipes, cuts, codes,
# reports, damage, and what it refuses.
. "${TSR_SRCDIR:-.}/tests/cli.sh"

sound() { "$PYTHON" "$TSR_SRCDIR/tests/cli_sound.py" "$@"; }

tiny=$TSR_BUILDDIR/tests/tiny_sound
"$tiny" "$work/models/sound.safetensors" mono &&
    "$tiny" "$work/models/stereo.safetensors" stereo &&
    "$tiny" "$work/models/segments.safetensors" segments &&
    "$tiny" "$work/other/other.safetensors" other || exit 99
other=$work/other/other.safetensors
sound make tone.wav 24000 1 40000 && sound make pair.wav 24000 2 9000 ||
    exit 99
sound make fast.wav 44100 1 4410
run encode fast.wav fast.tess
resamples=yes
grep -q "built without libsoxr" "$work/err" && resamples=no

# needs_rates NAME: whether this build resamples; skips the test if not.
needs_rates() {
    test $resamples = yes || skip "$1: built without libsoxr"
    test $resamples = yes
}

# --- there and back --------------------------------------------------------
quiet "encode" encode tone.wav
quiet "decode" decode tone.tess out.wav
verdict "same form" "$(test "$(sound shape out.wav)" = "24000 1 16 40000" ||
    echo " $(sound shape out.wav)")"
for form in u8 s16 s24 s32 f32 f64; do
    sound make in.wav 24000 1 1000 $form
    quiet "$form" encode -y in.wav in.tess
    run decode -y in.tess in.out.wav
    verdict "$form, back" "$(
        test "$(sound shape in.out.wav)" = "24000 1 16 1000" || echo " form")"
done
for n in 1 2 319 320 321 2000; do
    sound make n.wav 24000 1 $n
    run encode -y n.wav n.tess
    run decode -y n.tess n.out.wav
    run info --json n.tess
    cp "$work/out" n.json
    check "$n samples" sound info n.json n.tess n.out.wav
done
for fmt in s16:16 s24:24 s32:32 flt:32; do
    run decode -y -sample_fmt ${fmt%:*} tone.tess fmt.wav
    verdict "-sample_fmt ${fmt%:*}" "$(
        test "$(sound shape fmt.wav)" = "24000 1 ${fmt#*:} 40000" ||
        echo " form")"
done
run decode -y -c:a pcm_f32le tone.tess fmt2.wav
check "-c:a pcm_f32le is flt" sound same fmt2.wav fmt.wav
if needs_rates "rates"; then
    for rate in 1 8000 44100 48000 192000; do
        test $rate = 1 && n=3 || n=$((rate / 10))
        sound make r.wav $rate 1 $n
        run encode -y r.wav r.tess
        run decode -y r.tess r.out.wav
        test $rate = 1 && want=72000 || want=2400
        verdict "$rate Hz" "$(
            test "$(sound shape r.out.wav)" = "24000 1 16 $want" ||
            echo " $(sound shape r.out.wav)")"
    done
    run decode -y -ar 48000 tone.tess r.wav
    verdict "-ar 48000" "$(
        test "$(sound shape r.wav)" = "48000 1 16 80000" || echo " form")"
else
    refuses "no resampling" 1 fast.wav "built without libsoxr" \
        encode fast.wav x.tess
fi

# --- channels --------------------------------------------------------------
run encode pair.wav pair.tess
verdict "stereo is mixed down, and that is said" "$(test $rc = 0 ||
    echo " status $rc;"
    one_line pair.wav "mixed to one; -ac 2")"
run decode pair.tess pair.out.wav
check "one channel" test "$(sound shape pair.out.wav)" = "24000 1 16 9000"
quiet "-ac 2" encode -ac 2 pair.wav two.tess
run decode two.tess two.wav
check "two channels" test "$(sound shape two.wav)" = "24000 2 16 9000"
run decode -ac 1 two.tess mixed.wav
check "decode -ac 1" test "$(sound shape mixed.wav)" = "24000 1 16 9000"
run decode -ac 3 tone.tess three.wav
check "decode -ac 3" test "$(sound shape three.wav)" = "24000 3 16 40000"
sound make eight.wav 24000 8 500
run encode -ac 8 eight.wav eight.tess
run decode eight.tess eight.out.wav
check "eight channels" test "$(sound shape eight.out.wav)" = "24000 8 16 500"
sound make wide.wav 48000 2 2000
sound make narrow.wav 48000 1 2000
for model in stereo segments; do
    quiet "$model model" encode -y -model $model wide.wav wide.tess
    run decode -y wide.tess wide.out.wav
    check "$model model, back" \
        test "$(sound shape wide.out.wav)" = "48000 2 16 2000"
    quiet "$model model, mono" encode -y -model $model narrow.wav n.tess
    run decode -y n.tess n.out.wav
    check "$model model, mono, back" \
        test "$(sound shape n.out.wav)" = "48000 2 16 2000"
done
refuses "-ac beyond the input" 1 pair.wav "-ac wants 1 or 2" \
    encode -ac 3 pair.wav x.tess
refuses "-ac that the model cannot" 1 "-ac 1" "2 channels at a time" \
    encode -model stereo -ac 1 narrow.wav x.tess
refuses "decode -ac 3 of two" 1 two.tess "-ac wants 1 or 2" \
    decode -ac 3 two.tess x.wav

# --- the same stream, however it comes -------------------------------------
stdin=tone.wav run encode -i - -o -
check "encode from pipe to pipe" cmp tone.tess "$work/out"
cat tone.wav | "$tessera" encode - - 2> "$work/err" | cat > piped.tess
check "encode - - through real pipes" cmp tone.tess piped.tess
cat tone.tess | "$tessera" decode - - 2> "$work/err" | cat > piped.wav
check "decode - -" sound same piped.wav out.wav
"$PYTHON" -c 'import struct, sys
d = bytearray(open("tone.wav", "rb").read())
d[4:8] = d[40:44] = struct.pack("<I", 0xffffffff)
sys.stdout.buffer.write(d)' | "$tessera" encode - - > unknown.tess 2> "$work/err"
check "WAV of unknown length" cmp tone.tess unknown.tess
run encode -threads 1 tone.wav t1.tess
check "one thread" cmp tone.tess t1.tess
cp tone.wav sound.bin
run encode sound.bin
check "the kind is seen, not the name" cmp tone.tess sound.tess
run encode -live tone.wav live.tess
run info live.tess
verdict "-live" "$(grep -q ', live$' "$work/out" || echo " not said")"
check "live pipes flow" sound flow "$tessera" 24000
check "live pipes flow, packets of a frame" \
    sound flow "$tessera" 24000 -packet 0.01
needs_rates "live, resampled" &&
    check "live pipes flow, resampled" sound flow "$tessera" 48000
check "a signal ends a recording well" sound stop "$tessera"

# --- options ---------------------------------------------------------------
run encode -ss 0.5 -t 0.25 tone.wav a.tess
run encode -ss 500ms -to 0:00:00.75 tone.wav b.tess
check "-ss -t and -ss -to" cmp a.tess b.tess
run decode a.tess a.wav
check "so long" test "$(sound shape a.wav)" = "24000 1 16 6000"
run decode -ss 0.5 -t 0.25 tone.tess c.wav
check "decode -ss -t is a part of the whole" sound same c.wav out.wav 12000
check "so long, too" test "$(sound shape c.wav)" = "24000 1 16 6000"
run decode -ss 1.6 tone.tess d.wav
check "decode -ss to the end" sound same d.wav out.wav 38400
for entropy in fixed adaptive; do
    run encode -y -entropy $entropy tone.wav e.tess
    run decode -y e.tess e.wav
    check "-entropy $entropy" sound same e.wav out.wav
done
run encode -packet 0.2 -droppable tone.wav layers.tess
run info --json layers.tess
cp "$work/out" layers.json
check "-droppable -packet" sound info layers.json layers.tess out.wav
run decode layers.tess layers.wav
check "packets make no difference" sound same layers.wav out.wav
run encode -books 2 tone.wav b2.tess
run encode -b:a 0.9k tone.wav r2.tess
check "-b:a 0.9k is two books of 450 bits a second" cmp b2.tess r2.tess
run encode -y -b:a 0.1k tone.wav r1.tess
verdict "a rate below one book" "$(test $rc = 0 || echo " status $rc;"
    one_line "-b:a 100" "below the 450")"
run encode -y -b:a 64k tone.wav r1.tess
verdict "a rate above all books" "$(test $rc = 0 || echo " status $rc;"
    one_line "-b:a 64000" "above the 1800")"
check "takes all books" cmp r1.tess tone.tess
run encode -y -v info tone.wav v.tess
verdict "-v info tells one line" "$(one_line v.tess "kbit/s")"
run decode -y -v info tone.tess v.wav
verdict "-v info, decode" "$(one_line v.wav "24000 Hz, 1 channel")"

# --- codes -----------------------------------------------------------------
quiet "tokens" tokens tone.wav tone.npy
verdict "tokens, form" "$(test "$(sound npy tone.npy)" = "<u2 125 4" ||
    echo " $(sound npy tone.npy)")"
quiet "tokens of a stream" tokens tone.tess same.npy
check "the same codes" cmp tone.npy same.npy
quiet "codes to sound" tokens tone.npy codes.wav
check "the same sound" sound same codes.wav out.wav
quiet "codes to a stream" tokens tone.npy codes.tess
check "the same stream" cmp codes.tess tone.tess
quiet "tokens of two channels" tokens -ac 2 pair.wav pair.npy
verdict "tokens of two channels, form" "$(
    test "$(sound npy pair.npy)" = "<u2 2 29 4" ||
    echo " $(sound npy pair.npy)")"
run tokens pair.npy back.tess
run tokens back.tess back.npy
check "there and back" cmp pair.npy back.npy
run tokens -books 2 tone.wav b2.npy
run tokens -y b2.npy b2.wav
run decode -y b2.tess b2.out.wav
check "two books of codes" sound same b2.wav b2.out.wav
"$PYTHON" -c 'd = bytearray(open("tone.npy", "rb").read())
d[130] = 64
open("big.npy", "wb").write(d)'
media make photo.png rgb 20 20
refuses "codes of segments" 1 wide.wav "segments" \
    tokens -model segments wide.wav x.npy
run encode -y -model segments wide.wav wide.tess
refuses "codes of a stream of segments" 1 wide.tess "segments" \
    tokens wide.tess x.npy
refuses "codes for fewer books" 2 tone.npy "model has 3" \
    tokens -model "$other" tone.npy x.wav
refuses "codes that no book has" 1 big.npy "code 64" tokens big.npy x.wav
refuses "codes to npy" 1 x.npy "become .wav or .tess" tokens tone.npy x.npy

# --- reports ---------------------------------------------------------------
for file in tone two layers live; do
    run info --check $file.tess
    verdict "info $file.tess" "$(test $rc = 0 || echo " status $rc;"
        awk 'length > 80 || /[ \t]$/ { exit 1 }' "$work/out" || echo " long")"
done
run decode -y -sample_fmt flt tone.tess flt.wav
run compare --json tone.wav flt.wav
verdict "metrics against a second computation" "$(sound metrics tone.wav flt.wav |
    "$PYTHON" -c '
import json, sys
want = list(map(float, sys.stdin.read().split()))
m = json.load(open(sys.argv[1]))
have = [m["si_sdr"], m["snr"], m["lsd"]]
if any(abs(w - h) > 1e-3 for w, h in zip(want, have)):
    print(" ", have, "are not", want)' "$work/out" 2>&1)"
run compare tone.wav tone.wav
verdict "compare of equal sounds" "$(
    grep -q '^SI-SDR *infinite' "$work/out" && grep -q '^LSD *0.00 dB' \
        "$work/out" || echo " no")"
run compare tone.wav a.wav
verdict "compare of different lengths" "$(test $rc = 0 &&
    grep -q "the first sound has 34000 more" "$work/out" || echo " not said")"
refuses "compare of different rates" 1 wide.wav "48000 Hz" \
    compare tone.wav wide.wav
refuses "compare of different channels" 1 pair.wav "2 channels" \
    compare tone.wav pair.wav
refuses "compare of a sound and no sound" 1 photo.png "one kind" \
    compare tone.wav photo.png
refuses "compare of a sound and a stream" 2 tone.tess "decode" \
    compare tone.wav tone.tess
run encode -y -progress pipe:1 tone.wav p.tess
verdict "-progress" "$(
    grep -qx 'out_time=00:00:01.666666' "$work/out" &&
    grep -qx "total_size=$(wc -c < p.tess)" "$work/out" &&
    grep -q '^bitrate=.*kbits/s$' "$work/out" &&
    grep -q '^speed=.*x$' "$work/out" &&
    test "$(tail -n 1 "$work/out")" = progress=end || echo " keys are missing")"
run encode -y -stats tone.wav p.tess
verdict "-stats" "$(grep -q '00:00:0.*x .*kbit/s' "$work/err" ||
    echo " no line")"

# --- damage: what is whole is kept -----------------------------------------
keeps() { # NAME FILE WORDS
    rm -f kept.wav
    run decode "$2" kept.wav
    why=$(one_line "$2" "$3")
    test $rc = 2 || why="$why status $rc;"
    test -s kept.wav || why="$why no sound;"
    test ! -e kept.wav.part || why="$why a .part was left;"
    verdict "$1" "$why"
    run info --check "$2"
    verdict "$1, info --check" "$(test $rc = 2 || echo " status $rc;"
        one_line "$2" damaged)"
}
at=$(sound chunk layers.tess DATA 4)
head -c $((${at% *} + 5)) layers.tess > cut.tess
keeps "cut in the fifth packet" cut.tess "kept.wav"
check "what came before it is the same" sound same kept.wav out.wav 0
sound poke layers.tess $((${at% *} + 3)) bad.tess
keeps "a damaged packet" bad.tess "15 frames concealed"
check "is concealed in its place" \
    test "$(sound shape kept.wav)" = "24000 1 16 40000"
sound drop layers.tess 4 gone.tess
keeps "a missing packet" gone.tess "15 frames concealed"
check "is concealed in its place" \
    test "$(sound shape kept.wav)" = "24000 1 16 40000"
run tokens -y bad.tess bad.npy
verdict "codes of a damaged stream" "$(test $rc = 2 || echo " status $rc;"
    one_line bad.tess bad.npy
    test "$(sound npy bad.npy)" = "<u2 110 4" || echo " form")"
at=$(sound chunk layers.tess HEAD 0)
sound poke layers.tess $((${at% *} + 1)) head.tess
refuses "a damaged head" 2 head.tess "HEAD" decode head.tess x.wav
head -c 100 tone.tess > stub.tess
refuses "cut before the sound" 2 stub.tess "HEAD or MODL" decode stub.tess x.wav
head -c 60000 tone.wav > short.wav
run encode -y short.wav short.tess
verdict "truncated WAV" "$(test $rc = 0 || echo " status $rc;"
    one_line short.wav "cut short: 10022 of its samples")"
cat short.wav | "$tessera" encode - - > short2.tess 2> "$work/err"
verdict "truncated WAV in a pipe" "$(one_line input "cut short: 10022")"
check "the same sound of it" cmp short.tess short2.tess
"$PYTHON" -c 'import struct, sys
sys.path.insert(0, sys.argv[1] + "/tests")
from cli_sound import header
bad = struct.pack("<6f", float("nan"), float("inf"), -float("inf"), .5, 1e30, -.5)
open("nan.wav", "wb").write(header(24000, 1, 3, 32, 2400) + bad * 100)' "$TSR_SRCDIR"
run encode nan.wav nan.tess
verdict "NaN and infinities" "$(test $rc = 0 || echo " status $rc;"
    one_line nan.wav "300 samples are NaN or infinite")"
quiet "of which a sound was made" decode nan.tess nan.out.wav

# --- refused ---------------------------------------------------------------
: > empty.wav
sound make none.wav 24000 1 0
sound head zero.wav 0 1 1 16 100
sound head many.wav 24000 65 1 16 100
sound head law.wav 8000 1 7 8 100
sound head odd.wav 24000 1 1 40 100
head -c 30 tone.wav > head.wav
head -c 12 tone.wav > riff.wav
refuses "0 bytes" 2 empty.wav "empty" encode empty.wav x.tess
refuses "no samples" 2 none.wav "no samples" encode none.wav x.tess
refuses "0 Hz" 2 zero.wav "0 Hz" encode zero.wav x.tess
refuses "65 channels" 2 many.wav "65 channels" encode many.wav x.tess
# Whoever has libav reads it.
sound head law.wav 8000 1 7 8 0
refuses "mu-law" 2 law.wav "not PCM\|no samples\|damaged part" encode law.wav x.tess
refuses "40 bits" 2 odd.wav "40 bits" encode odd.wav x.tess
refuses "cut in its head" 2 head.wav "before its samples" encode head.wav x.tess
refuses "nothing but a name" 2 riff.wav "before its samples" \
    encode riff.wav x.tess
refuses "-ss behind the end" 2 tone.wav "no sound after" encode -ss 9 tone.wav \
    x.tess
refuses "decode -ss behind the end" 2 tone.tess "no sound after" \
    decode -ss 9 tone.tess x.wav
refuses "-to before -ss" 1 "-to" "before -ss" encode -ss 1 -to 1 tone.wav x.tess
refuses "no time" 1 "1:99" "time" encode -ss 1:99 tone.wav x.tess
refuses "no rate" 1 "3x" "number" encode -b:a 3x tone.wav x.tess
refuses "too many books" 1 "-books 9" "has 4" encode -books 9 tone.wav x.tess
refuses "unknown entropy coding" 1 huff "context" encode -entropy huff tone.wav \
    x.tess
refuses "entropy coding without tables" 1 tone.wav "has no tables" \
    encode -entropy static tone.wav x.tess
refuses "-window without such a model" 1 "-window" "HiFi-Codec" \
    encode -window 2 tone.wav x.tess
refuses "unknown sample format" 1 u8 "s16" decode -sample_fmt u8 tone.tess x.wav
refuses "a quality for sound" 1 tone.wav "-b:a" encode -q 50 tone.wav x.tess
refuses "a bit rate for a picture" 1 photo.png "-q" encode -b:a 3k photo.png \
    x.tess
refuses "-ss for a picture" 1 photo.png "is a picture" encode -ss 1 photo.png \
    x.tess
run encode photo.png
refuses "-ar for a picture" 1 photo.tess "no sound" decode -ar 8000 photo.tess \
    x.png
refuses "a picture into .wav" 1 x.wav "holds none" decode photo.tess x.wav
refuses "sound into .png" 1 x.png "is sound" decode tone.tess x.png
refuses "sound into .xyz" 1 x.xyz "wav" decode tone.tess x.xyz
refuses "encode into .wav" 1 x.wav "writes .tess" encode tone.wav x.wav
refuses "WAV given to decode" 2 tone.wav "is a WAV file" decode tone.wav x.wav
refuses "a model of pictures" 3 photo.safetensors "not for sound" \
    encode -model photo tone.wav x.tess
refuses "a model of sound for a picture" 3 sound.safetensors "not for pictures" \
    encode -model sound photo.png x.tess
refuses "a codec of pictures" 1 hyper "for sound" encode -c:a hyper tone.wav \
    x.tess
refuses "another model" 3 tone.tess "model" decode -model "$other" tone.tess \
    x.wav
TESSERA_MODELS=$work/other
refuses "the stream's model is not here" 3 tone.tess "model" \
    decode tone.tess x.wav
refuses "no model of sound" 3 nosuch "no model" encode -model nosuch tone.wav \
    x.tess
run info tone.tess
verdict "info without the model" "$(test $rc = 0 &&
    grep -q 'not on this machine' "$work/out" || echo " status $rc")"
if needs_rates "a model for another rate"; then
    run encode -model other tone.wav slow.tess
    run decode slow.tess slow.wav
    verdict "a model for another rate" "$(
        test "$(sound shape slow.wav)" = "16000 1 16 26667" ||
        echo " $(sound shape slow.wav)")"
fi
TESSERA_MODELS=$work/models
refuses "overwriting" 1 out.wav "-y" decode tone.tess out.wav
if test -w /dev/full; then
    refuses "full device" 1 /dev/full "No space" encode tone.wav /dev/full
    refuses "full device, decode" 1 /dev/full "No space" \
        decode -f wav tone.tess /dev/full
fi

run help tokens
verdict "help tokens" "$(test $rc = 0 || echo " status $rc;"
    awk 'length > 80 || /[ \t]$/ { exit 1 }' "$work/out" || echo " long")"
finish
