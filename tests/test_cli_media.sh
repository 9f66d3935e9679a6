#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# The program: pictures of every kind there and back, pipes, reports, the
# terminal, signals, and the metrics against a second computation.
. "${TSR_SRCDIR:-.}/tests/cli.sh"

# --- there and back --------------------------------------------------------
trip() { # FILE WIDTH HEIGHT CHANNELS BITS: decode has the shape of the input
    why=
    run encode -y "$1" t.tess
    test $rc = 0 || why=" encode: $rc;"
    test ! -s "$work/err" || why="$why stderr;"
    run decode -y t.tess t.png
    test $rc = 0 || why="$why decode: $rc;"
    test "$(media shape t.png)" = "$2 $3 $4 $5" || why="$why other shape;"
    run info --json --check t.tess
    cp "$work/out" t.json
    media info t.json t.tess 2> "$work/err" || why="$why info;"
    if test "$4" = 2 || test "$4" = 4; then
        media same-alpha "$1" t.png || why="$why alpha differs;"
    fi
    verdict "$1" "$why"
}
n=0
for size in "1 1" "2 3" "17 31" "130 100"; do
    n=$((n + 1))
    media make rgb$n.png rgb $size && media make rgba$n.png rgba $size ||
        exit 99
    trip rgb$n.png $size 3 8
    trip rgba$n.png $size 4 8
done
media make grey.png grey 17 31 && trip grey.png 17 31 1 8
media make greya.png greya 17 31 && trip greya.png 17 31 2 8
media make rgb16.png rgb16 17 31 && trip rgb16.png 17 31 3 16
media make rgba16.png rgba16 17 31 && trip rgba16.png 17 31 4 16
media make palette.png palette 17 31 && trip palette.png 17 31 3 8
media make grey.pgm grey 17 31 && trip grey.pgm 17 31 1 8
media make rgb.ppm rgb 17 31 && trip rgb.ppm 17 31 3 8
media make rgb16.ppm rgb16 17 31 && trip rgb16.ppm 17 31 3 16
media make rgba.pam rgba 17 31 && trip rgba.pam 17 31 4 8
media make grey16.pam grey16 17 31 && trip grey16.pam 17 31 1 16
printf 'P3 # text\n2 1\n15\n15 0 3\n1 2 15\n' > text.ppm
trip text.ppm 2 1 3 8

# --- the same picture, however it comes and goes ---------------------------
run encode rgb4.png one.tess
run decode one.tess one.png
for form in ppm pnm pam; do
    run decode one.tess one.$form
    check "decode to $form gives the same pixels" \
        media same one.png one.$form
done
run encode -noalpha rgba3.png flat.tess
run decode flat.tess flat.png
check "-noalpha" test "$(media shape flat.png)" = "17 31 3 8"
stdin=rgb4.png run encode -i - -o -
check "encode from pipe to pipe" cmp one.tess "$work/out"
stdin=rgb4.png run encode - -
check "encode - -" cmp one.tess "$work/out"
stdin=one.tess run decode -f ppm -i - -o -
check "decode from pipe to pipe" cmp one.ppm "$work/out"
stdin=one.tess run decode -
check "a pipe makes a pipe, PNG" cmp one.png "$work/out"
"$tessera" encode - - < rgb4.png | "$tessera" decode -f pam - - |
    cmp - one.pam > "$work/err" 2>&1
verdict "a pipeline" "$(test $? = 0 || echo " differs")"
stdin=one.tess run info -
verdict "info of a pipe" "$(grep -q 130 "$work/out" || echo " status $rc")"
stdin=one.tess run info --check -
verdict "info --check of a pipe" "$(grep -q sound "$work/out" ||
    echo " status $rc")"
mkdir cats.v1
cp rgb4.png cats.v1/cat.of.png
run encode cats.v1/cat.of.png
check "default name of encode" cmp one.tess cats.v1/cat.of.tess
rm cats.v1/cat.of.png
run decode cats.v1/cat.of.tess
check "default name of decode" cmp one.png cats.v1/cat.of.png
cp one.tess plain
run decode plain
check "default name without extension" cmp one.png plain.png
cp rgb4.png -- -odd.png
run encode -- -odd.png odd.tess
check "-- ends the options" cmp one.tess odd.tess

# --- options ---------------------------------------------------------------
same_stream() { # NAME ARGUMENT...
    name=$1
    shift
    rm -f s.tess
    run "$@"
    check "$name" cmp good.tess s.tess
}
run encode -q 80 -i rgb4.png -o good.tess
check "quality changes the stream" test "$(cmp good.tess one.tess; echo $?)" != 0
same_stream "options after the files" encode rgb4.png s.tess -q 80
same_stream "options between the files" encode rgb4.png -q 80 s.tess
same_stream "output first" encode -o s.tess -quality 80 -i rgb4.png
same_stream "--long forms" encode --input rgb4.png --quality 80 --output s.tess
same_stream "--long=value" encode --quality=80 --input=rgb4.png s.tess
same_stream "-short=value" encode -q=80 rgb4.png s.tess
same_stream "the last one counts" encode -q 3 rgb4.png s.tess -q 80
same_stream "-threads 1" encode -threads 1 -q 80 rgb4.png s.tess
same_stream "-threads 3" encode -threads 3 -q 80 rgb4.png s.tess
same_stream "-model" encode -model photo -q 80 rgb4.png s.tess
same_stream "-c:v" encode -c:v hyper -q 80 rgb4.png s.tess
rm s.tess
run encode -hide_banner -v info -q 80 rgb4.png s.tess
verdict "-v info tells one line" "$(one_line s.tess "bits per pixel")"
run decode -threads 1 one.tess threads1.ppm
run decode -threads 3 one.tess threads3.ppm
check "decode with 1 and 3 threads" cmp threads1.ppm threads3.ppm
media make wide.ppm rgb 2070 40 && run encode -threads 1 wide.ppm w1.tess
run encode -threads 3 wide.ppm w3.tess
check "two units with 1 and 3 threads" cmp w1.tess w3.tess
run decode w1.tess w1.ppm
run decode -threads 1 w3.tess w3.ppm
check "decode of two units" cmp w1.ppm w3.ppm
run encode -max_memory 256k wide.ppm little.tess
check "encode in little memory" cmp w1.tess little.tess
run decode -max_memory=0.25M w1.tess little.ppm
check "decode in little memory" cmp w1.ppm little.ppm

# --- reports ---------------------------------------------------------------
run info one.tess rgb4.png w1.tess
verdict "info of many, one of them wrong" "$(test $rc = 2 &&
    test "$(grep -c '^picture' "$work/out")" = 2 || echo " status $rc;"
    one_line rgb4.png "")"
run info --check one.tess w1.tess t.tess
verdict "info has no trailing blanks, no long lines" "$(
    awk 'length > 80 || /[ \t]$/ { exit 1 }' "$work/out" || echo " it has")"
run info --json --check one.tess w1.tess
cp "$work/out" two.json
head -n 1 two.json > one.json
tail -n 1 two.json > w1.json
check "info --json adds up, compact" media info one.json one.tess
check "info --json adds up, two units" media info w1.json w1.tess
run compare --json one.png one.png
verdict "compare --json of equal pictures" "$(
    grep -q '"psnr": null.*"identical": true' "$work/out" || echo " no")"
run encode -progress pipe:1 rgb4.png p.tess
verdict "-progress pipe:1" "$(
    grep -qx 'percent=100.0' "$work/out" &&
    grep -qx "total_size=$(wc -c < p.tess)" "$work/out" &&
    test "$(tail -n 1 "$work/out")" = progress=end || echo " keys are missing;"
    awk -F= 'NF != 2 { exit 1 }' "$work/out" || echo " not key=value")"
run encode -y -progress keys.txt rgb4.png p.tess
check "-progress into a file" grep -qx progress=end keys.txt
run encode -y -stats rgb4.png p.tess
verdict "-stats" "$(grep -q 'MP/s' "$work/err" || echo " no line")"
rm p.tess
run decode one.tess p.ppm
verdict "no progress line without a terminal" "$(test ! -s "$work/err" ||
    echo " there is one")"

# --- terminals and signals -------------------------------------------------
media terminal "$tessera" > "$work/tty" 2> "$work/err" ||
    echo "failed terminal: $(tail -n 1 "$work/err")" >> "$work/tty"
while read -r result name; do
    case $result in
    skipped) skip "$name" ;;
    *) verdict "$name" "$(test "$result" = passed || echo " it does not")" ;;
    esac
done < "$work/tty"

# --- metrics ---------------------------------------------------------------
agree() { # NAME A B: within 0.001 dB and 0.0001
    run compare --json "$2" "$3"
    verdict "$1" "$(media metrics "$2" "$3" | "$PYTHON" -c '
import json, sys
psnr, similar = map(float, sys.stdin.read().split())
m = json.load(open(sys.argv[1]))
if (abs(m["psnr"] - psnr) > 1e-3 or abs(m["ms_ssim"] - similar) > 1e-4 or
        m["ms_ssim_scales"] != 5):
    print(" ", m, "is not", psnr, similar)' "$work/out" 2>&1)"
}
media make m.png rgb 181 176 3 && media blur m.png mild.png 0.5 &&
    media blur m.png wild.ppm 9 || exit 99
agree "metrics of a mild change, odd width" m.png mild.png
agree "metrics of a wild change" m.png wild.ppm
finish
