#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# tessera import: a model that the program can use, the table of -dry-run, and
# that nothing is written, or run, where a checkpoint is refused.
. "${TSR_SRCDIR:-.}/tests/cli.sh"
files=$TSR_SRCDIR/tests/vectors/checkpoint
cd "$work" || exit 99
mkdir here && cd here || exit 99

quiet "a checkpoint" import -licence Apache-2.0 "$files/tiny.mcquic" \
    -o tiny.safetensors
run models info ./tiny.safetensors
verdict "is a model" "$(test $rc = 0 || echo " status $rc;"
    for text in 'name     tiny' 'codec    mcquic' 'licence  Apache-2.0'; do
        grep -qxF "$text" "$work/out" || echo " no '$text';"
    done)"
quiet "it encodes" encode -model ./tiny.safetensors \
    "$TSR_SRCDIR/docs/sample.png" in.tess
quiet "it decodes" decode -model ./tiny.safetensors in.tess out.png
quiet "its picture becomes a .mcq file" remux -model ./tiny.safetensors in.tess \
    x.mcq
quiet "which comes back" remux -model ./tiny.safetensors x.mcq back.tess
verdict "byte for byte" "$(cmp in.tess back.tess 2>&1)"
run remux x.mcq bad.tess
verdict ".mcq without -model" "$(test $rc = 1 || echo " status $rc;"
    one_line x.mcq -model)"
cp "$TSR_SRCDIR/tests/vectors/encodec_24k_f4_d32/L320_raw.ecdc" x.ecdc
run remux -model ./tiny.safetensors x.ecdc bad.tess
verdict ".ecdc with a model of pictures" "$(test $rc = 3 || echo " status $rc;"
    one_line x.ecdc "codec encodec"; test ! -e bad.tess || echo " a file")"
cp "$TSR_SRCDIR/tests/vectors/encodec_24k_f4_d32/L6417_lm.ecdc" lm.ecdc
quiet "a model of sound" import "$files/encodec_tiny.th" -o sound.safetensors
for case in "lm.ecdc:2:language model" "tiny.safetensors:2:" "none.ecdc:1:No such"
do
    name=${case%%:*} rest=${case#*:}
    cp -f "$name" in.ecdc 2> "$work/none" || rm -f in.ecdc
    run remux -model ./sound.safetensors in.ecdc bad.tess
    verdict "$name as .ecdc" "$(test $rc = "${rest%%:*}" || echo " status $rc;"
        one_line in.ecdc "${rest#*:}"; test ! -e bad.tess || echo " a file")"
done
rm -f in.ecdc
for model in tiny sound; do
    run remux -model ./$model.safetensors in.tess bad.ecdc
    verdict "a picture as .ecdc, model $model" "$(test $rc = 2 ||
        echo " status $rc;"; one_line in.tess "hold sound"
        test ! -e bad.ecdc || echo " a file")"
done
run remux -model ./tiny.safetensors "$TSR_SRCDIR/docs/sample.png" bad.mcq
verdict "what is no .tess is no .mcq" "$(test $rc = 2 || echo " status $rc;"
    test ! -e bad.mcq || echo " a file")"

run import -dry-run "$files/tiny.mcquic"
verdict "-dry-run shows every tensor, and writes nothing" "$(
    test $rc = 0 || echo " status $rc;"
    grep -q '^model/_encoder.0.weight  *F32  4x3x3x3  *-> _encoder.0.weight$' \
        "$work/out" || echo " no line of what is kept;"
    grep -q '_freqEMA.0 .*=> tessera.cdf.0 (frozen as integers)$' \
        "$work/out" || echo " no line of what is used;"
    grep -q '_temperature .*left out (of training)$' "$work/out" ||
        echo " no line of what is left out;"
    test "$(wc -l < "$work/out")" = 720 || echo " not 718 tensors;")"
cp "$files/tiny.mcquic" broken.mcquic
chmod u+w broken.mcquic
printf 'damage' | dd of=broken.mcquic bs=1 seek=400000 conv=notrunc 2> "$work/none"
snapshot > "$work/before"
run import broken.mcquic -o bad.safetensors
verdict "a damaged storage is refused" "$(test $rc = 2 || echo " status $rc;"
    one_line broken.mcquic "CRC of 'tiny/data/")"
for case in "evil_os_system.pt:2:os.system" "evil_eval_legacy.pt:2:eval" \
    "truncated_half.pt:2:cut" "not_a_checkpoint.pt:2:neither" \
    "dtypes.pt:2:its first tensor" "HiFi-Codec-tiny:1:-rate" \
    "crc_error.pt:2:CRC" "shape_overflow.pt:2:overflows" \
    "vqgan-lc-tiny-statedict.pth:2:encoder.conv_in.weight" "none.pth:1:No such"; do
    name=${case%%:*} rest=${case#*:}
    run import "$files/$name" -o bad.safetensors
    verdict "$name is refused" "$(test $rc = "${rest%%:*}" ||
        echo " status $rc;"; one_line "$name" "${rest#*:}")"
done
run import tiny.safetensors -o bad.safetensors
verdict "its own output is refused" "$(test $rc = 2 || echo " status $rc;"
    one_line tiny.safetensors "codec mcquic already")"
run import -arch mcquic "$files/encodec_tiny.th" -o bad.safetensors
verdict "another architecture" "$(test $rc = 2 || echo " status $rc;"
    one_line encodec_tiny.th "not a checkpoint of mcquic")"
run import -arch magic "$files/encodec_tiny.th" -o bad.safetensors
verdict "an architecture that is none" "$(test $rc = 1 || echo " status $rc;"
    one_line encodec_tiny.th "unknown architecture 'magic'")"
run import "$files/tiny.mcquic"
verdict "no output" "$(test $rc = 1 || echo " status $rc;"
    grep -q -e -dry-run "$work/err" || echo " no advice")"
run import "$files/tiny.mcquic" -o tiny.safetensors
verdict "an existing file is not overwritten" "$(test $rc = 1 ||
    echo " status $rc")"
snapshot > "$work/after"
verdict "nothing was written, nothing was run" "$(
    diff "$work/before" "$work/after" > "$work/none" || echo " files changed")"
finish
