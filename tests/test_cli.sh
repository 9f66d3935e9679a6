#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# The program: what it refuses and how, what it overwrites, what it says.
. "${TSR_SRCDIR:-.}/tests/cli.sh"

media make a.png rgb 130 100 1 && media make wide.ppm rgb 2060 8 &&
    media make b.png rgb 17 31 && media make t.pam rgba 9 9 || exit 99
run encode a.png
test $rc = 0 || exit 99
run encode -container a.png c.tess
run encode t.pam alpha.tess
run encode wide.ppm
test $rc = 0 || exit 99

# --- input that is not there, or not what it should be ---------------------
: > empty.png
: > empty.tess
head -c 900 a.png > cut.png
head -c 20 a.png > head.png
head -c 50 t.pam > cut.pam
echo "no picture" > text.png
echo "no stream" > text.tess
printf 'P6\n4 99999999999\n255\n' > huge.ppm
printf 'P5\n0 4\n255\n' > zero.pgm
printf '\377\330\377\340' > photo.jpg
media poke a.png 80 flip crc.png
refuses "missing picture" 1 gone.png "No such file" encode gone.png
refuses "a folder as input" 1 . "" encode . x.tess
refuses "not a PNG" 2 text.png "neither PNG nor PNM" encode text.png x.tess
refuses "0 bytes" 2 empty.png "empty" encode empty.png x.tess
refuses "truncated PNG" 2 cut.png "too early" encode cut.png
refuses "PNG cut in its header" 2 head.png "too early" encode head.png
refuses "PNG with a wrong CRC" 2 crc.png "PNG: " encode crc.png
refuses "truncated PAM" 2 cut.pam "too early" encode cut.pam
refuses "PNM of absurd size" 2 huge.ppm "size" encode huge.ppm
refuses "PNM without pixels" 2 zero.pgm "size" encode zero.pgm
refuses "nothing but the first bytes of a JPEG" 2 photo.jpg \
    "JPEG.*djpeg\|could be decoded" encode photo.jpg
refuses ".tess given to encode" 2 a.tess "not a picture" encode a.tess x.tess
refuses "picture over -max_pixels" 4 a.png "pixels" encode -max_pixels 100 \
    a.png x.tess
refuses "missing stream" 1 gone.tess "No such file" decode gone.tess
refuses "not a stream" 2 text.tess "" decode text.tess x.png
refuses "picture given to decode" 2 a.png "" decode a.png x.png
refuses "stream of 0 bytes" 2 empty.tess "" decode empty.tess x.png
refuses "stream over -max_pixels" 4 c.tess "pixels" decode -max_pixels 100 \
    c.tess x.png
media poke c.tess 8 9 newer.tess
refuses "newer major version" 2 newer.tess "version" decode newer.tess
refuses "newer major version, info" 2 newer.tess "version" info newer.tess
media poke a.tess 100 flip bad.tess
refuses "compact stream with a flipped byte" 2 bad.tess "" decode bad.tess \
    x.png
head -c 150 a.tess > short.tess
refuses "compact stream, truncated" 2 short.tess "" decode short.tess x.png
head -c 5 a.tess > stub.tess
for file in bad short; do
    run info --check $file.tess
    verdict "info --check of $file.tess" "$(test $rc = 2 || echo " status $rc;"
        one_line $file.tess damaged
        grep -q '^check  *damaged' "$work/out" || echo " not said")"
done
refuses "5 bytes of a stream" 2 stub.tess "" decode stub.tess x.png

# --- damage in the container: what is whole is kept ------------------------
keeps() { # NAME FILE WORDS: decode ends with 2 and leaves a picture
    rm -f kept.ppm
    run decode "$2" kept.ppm
    why=$(one_line "$2" "$3")
    test $rc = 2 || why="$why status $rc;"
    test -s kept.ppm || why="$why no picture;"
    test ! -e kept.ppm.part || why="$why a .part was left;"
    test "$(media shape kept.ppm)" = "2060 8 3 8" || why="$why other size;"
    verdict "$1" "$why"
    run info --check "$2"
    why=$(one_line "$2" damaged)
    test $rc = 2 || why="$why status $rc;"
    verdict "$1, info --check" "$why"
}
run decode wide.tess whole.ppm
at=$(media chunk wide.tess DATA 1)
media poke wide.tess $((${at% *} + 3)) flip crc.tess
keeps "wrong CRC in the second unit" crc.tess "kept.ppm"
head -c $((${at% *} + 5)) wide.tess > cut.tess
keeps "cut in the second unit" cut.tess "kept.ppm"
check "the sound unit is as in the whole picture" \
    cmp -n 6000 whole.ppm kept.ppm
at=$(media chunk wide.tess HEAD 0)
media poke wide.tess $((${at% *} + 1)) flip head.tess
refuses "wrong CRC in HEAD" 2 head.tess "" decode head.tess x.png
run info --check wide.tess a.tess c.tess
verdict "info --check of sound files" "$(test $rc = 0 || echo " status $rc")"
cp kept.ppm old.ppm
refuses "a damaged file overwrites nothing unasked" 1 old.ppm "-y" \
    decode cut.tess old.ppm
run info cut.tess a.tess
verdict "info goes on after a damaged file" "$(test $rc = 2 &&
    grep -q '^a.tess$' "$work/out" || echo " status $rc")"

# --- models ----------------------------------------------------------------
other=$work/other/other.safetensors
media reshape "$work/models/photo.safetensors" enc.1.weight bent.safetensors
head -c 5000 "$other" > cut.safetensors
refuses "missing model" 3 nosuch "no model" encode -model nosuch a.png x.tess
refuses "missing model file" 3 gone.safetensors "No such file" \
    encode -model ./gone.safetensors a.png x.tess
refuses "truncated model" 3 cut.safetensors "" \
    encode -model ./cut.safetensors a.png x.tess
refuses "no model file at all" 3 text.png "" \
    encode -model ./text.png a.png x.tess
refuses "a tensor of another shape" 3 enc.1.weight "" \
    encode -model ./bent.safetensors a.png x.tess
refuses "model with another hash" 3 a.tess "model" \
    decode -model "$other" a.tess x.png
refuses "model with another hash, container" 3 c.tess "model" \
    decode -model "$other" c.tess x.png
TESSERA_MODELS=$work/other
refuses "the stream's model is not here" 3 a.tess "model" decode a.tess x.png
run info a.tess
verdict "info without the model" "$(test $rc = 0 &&
    grep -q 'not on this machine' "$work/out" || echo " status $rc")"
run info --check a.tess
verdict "info --check without the model" "$(test $rc = 3 || echo " status $rc;"
    one_line a.tess "cannot be checked"
    grep -q 'not possible' "$work/out" || echo " not said")"
run info --check c.tess
verdict "info --check without the model, container" "$(
    test $rc = 0 || echo " status $rc")"
run info c.tess
verdict "info without the model, container" "$(test $rc = 0 &&
    grep -q 'not on this machine' "$work/out" || echo " status $rc")"
TESSERA_MODELS=$work/models
refuses "models info of none" 3 nosuch "no model" models info nosuch
refuses "models, unknown verb" 1 paint "" models paint
cp cut.safetensors "$work/other"
TESSERA_MODELS=$work/other
run models verify
verdict "models verify finds the bad one" "$(test $rc = 3 || echo " $rc;"
    one_line cut.safetensors ""
    grep -q 'other.safetensors: sound' "$work/out" || echo " sound one lost")"
rm "$work/other/cut.safetensors"
run models verify
verdict "models verify" "$(test $rc = 0 || echo " status $rc")"
TESSERA_MODELS=$work/models
run models
verdict "models list" "$(test $rc = 0 && grep -q '^photo  *hyper' "$work/out" ||
    echo " status $rc")"
TESSERA_MODELS=$work/models:$work/other:$work/models run models list
verdict "models list, one folder twice" "$(
    test "$(grep -c '^photo ' "$work/out")" = 1 &&
    test "$(grep -c '^other ' "$work/out")" = 1 || echo " not once each")"

# --- output that cannot be written -----------------------------------------
mkdir folder
refuses "output in a missing folder" 1 gone/x.tess "No such file" \
    encode a.png gone/x.tess
refuses "output is a folder" 1 folder "folder" encode a.png folder
cp a.png photo.tess
refuses "output is the input" 1 photo.tess "input" encode -y photo.tess
refuses "encode into a picture's name" 1 x.png "writes .tess" encode a.png x.png
refuses "unknown extension" 1 x.xyz "unknown picture format" \
    decode a.tess x.xyz
refuses "no extension" 1 picture "-f" decode a.tess picture
refuses "alpha into PPM" 1 x.ppm "alpha" decode alpha.tess x.ppm
if test -w /dev/full; then
    refuses "full device" 1 /dev/full "No space" decode -f ppm a.tess /dev/full
    refuses "full device, encode" 1 /dev/full "No space" encode a.png /dev/full
fi
(
    ulimit -f 32
    refuses "full disk" 1 x.ppm "File too large" decode a.tess x.ppm
) > "$work/limited"
count=$((count + 1))
cat "$work/limited"
if test -w /dev/full; then
    "$tessera" decode -f ppm a.tess - > /dev/full 2> "$work/err"
    verdict "stdout on a full device" "$(test $? = 1 || echo " status;"
        one_line "standard output" "No space")"
    "$tessera" info a.tess > /dev/full 2> "$work/err"
    verdict "report on a full device" "$(test $? = 1 || echo " status;"
        one_line "standard output" "No space")"
fi
if test "$(id -u)" != 0; then
    chmod a-w folder
    refuses "read-only folder" 1 folder/x.tess "denied" \
        encode a.png folder/x.tess
    chmod u+w folder
fi
"$tessera" decode -f ppm a.tess - 2> "$work/err" | head -c 1 > "$work/out"
verdict "a reader that closes the pipe does no harm" \
    "$(test "$(wc -l < "$work/err")" -le 1 || echo " more than one line")"

# --- overwriting -----------------------------------------------------------
echo precious > x.tess
echo precious > y.tess.part
refuses "no overwriting without a terminal" 1 x.tess "-y" encode a.png x.tess
refuses "-n" 1 x.tess "exists" encode -n a.png x.tess
refuses "-n wins over -y" 1 x.tess "exists" encode -y -n a.png x.tess
refuses "-nostdin" 1 x.tess "-y" encode -nostdin a.png x.tess
refuses "a .part of another run" 1 y.tess.part "-y removes" encode a.png y.tess
refuses "failure under -y leaves the old file" 2 cut.png "" \
    encode -y cut.png x.tess
run encode -y a.png x.tess
check "-y overwrites" cmp x.tess a.tess
echo precious > x.tess
run encode --force a.png x.tess
check "--force is -y" cmp x.tess a.tess
echo precious > target.tess
ln -s target.tess link.tess
run encode -y a.png link.tess
check "-y writes through a link" cmp target.tess a.tess
check "and the link stays" test -L link.tess
rm -f x.tess y.tess.part link.tess

# --- usage -----------------------------------------------------------------
refuses "unknown command" 1 encod "did you mean 'encode'" encod a.png
refuses "unknown command, far" 1 paint "help" paint a.png
refuses "unknown option" 1 -qualty "did you mean '-quality'" \
    encode -qualty 5 a.png x.tess
refuses "unknown option, far" 1 --zzzzzz "help encode" encode --zzzzzz a.png
refuses "option without a value" 1 -q "wants a value" encode a.png x.tess -q
refuses "quality over 100" 1 101 "from 0 to 100" encode -q 101 a.png x.tess
refuses "quality in words" 1 best "number" encode -q best a.png x.tess
refuses "quality in words, --long=" 1 "--quality best: a" "number" \
    encode --quality=best a.png x.tess
refuses "not a number" 1 nan "number" encode -q nan a.png x.tess
refuses "part of a thread" 1 1.5 "number" encode -threads 1.5 a.png x.tess
refuses "threads below 0" 1 -1 "number" encode -threads -1 a.png x.tess
refuses "no memory" 1 "-max_memory 0" "number" \
    encode -max_memory 0 a.png x.tess
refuses "memory in another unit" 1 "-max_memory 1X" "number" \
    encode -max_memory 1X a.png x.tess
refuses "flag with a value" 1 -y=1 "no value" encode -y=1 a.png x.tess
refuses "three files" 1 third "one input and one output" \
    encode a.png x.tess third
refuses "no input" 1 "no input" "-i" encode
refuses "unknown codec" 1 nosuch "codec" encode -c:v nosuch a.png x.tess
refuses "codec of another model" 3 photo.safetensors "mcquic" \
    encode -model photo -c:v mcquic a.png x.tess
refuses "unknown backend" 1 nosuch "backend" encode -backend nosuch a.png x.tess
refuses "unknown device" 1 gpu7 "device" encode -device gpu7 a.png x.tess
refuses "no such device" 1 "" "device" encode -device cuda:99 a.png x.tess
refuses "precision of the CPU" 1 "" "-precision is for -device" \
    encode -precision fp16 a.png x.tess
refuses "unknown precision" 1 fp8 "precision" \
    encode -device auto -precision fp8 a.png x.tess
run encode -v info -device auto -precision fp32 a.png auto.tess
verdict "-device auto" "$(test $rc = 0 -a -s auto.tess || echo " status $rc")"
rm -f auto.tess
refuses "unknown CPU set" 1 sse9 "cpuflags" encode -cpuflags sse9 a.png x.tess
refuses "unknown log level" 1 loud "log level" encode -v loud a.png x.tess
refuses "unknown format" 1 xyz "format" decode -f xyz a.tess x.xyz
refuses "compare of one" 1 "two pictures" "" compare a.png
refuses "compare of different sizes" 1 b.png "17 x 31" compare a.png b.png
refuses "compare with a missing one" 1 gone.png "No such" compare a.png gone.png
refuses "-progress where the data goes" 1 pipe:1 "stdout" \
    encode -progress pipe:1 a.png -
refuses "-progress into the input" 1 a.png "overwrite the input" \
    encode -progress a.png a.png x.tess
refuses "-progress into the output" 1 x.tess "overwrite the output" \
    encode -progress x.tess a.png x.tess
refuses "an empty name" 1 "the input" "empty" encode "" x.tess
refuses "an empty output" 1 "the output" "empty" encode a.png ""
refuses "an option for a command" 1 "-i IN" "command" -nostats
run encode -v quiet gone.png
verdict "-v quiet" "$(test $rc = 1 && test ! -s "$work/err" ||
    echo " status $rc")"

# --- help ------------------------------------------------------------------
for topic in "" encode decode info models compare; do
    run help $topic
    why=
    test $rc = 0 || why=" status $rc;"
    test -s "$work/out" || why="$why empty;"
    awk 'length > 80 || /[ \t]$/ { exit 1 }' "$work/out" ||
        why="$why a line over 80 columns, or trailing blanks;"
    test ! -s "$work/err" || why="$why stderr;"
    if test "$topic"; then
        cp "$work/out" "$work/help"
        run $topic -h
        cmp -s "$work/out" "$work/help" && test $rc = 0 || why="$why -h;"
        run $topic --help
        cmp -s "$work/out" "$work/help" && test $rc = 0 || why="$why --help;"
    fi
    verdict "help $topic" "$why"
done
run --version
verdict "--version" "$(test $rc = 0 && grep -q '^tessera [0-9]' "$work/out" ||
    echo " status $rc")"
run help nosuch
verdict "help of an unknown command" "$(test $rc = 1 || echo " status $rc;"
    one_line nosuch "")"
finish
