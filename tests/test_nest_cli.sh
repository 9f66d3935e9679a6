#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# tessera codebook nest: models with coarser codebooks, and what it refuses.
. "${TSR_SRCDIR:-.}/tests/cli.sh"

"$TSR_BUILDDIR/tests/tiny_tokens" "$work/models/plain.safetensors" plain ||
    exit 99
model=$work/models/plain.safetensors
for i in 1 2 3 4 5 6; do
    media make p$i.png rgb 130 10$i $i || exit 99
done
{ printf 'YUV4MPEG2 W32 H24 F10:1 Ip A1:1 C420jpeg\nFRAME\n'
  head -c 1152 /dev/zero; printf 'FRAME\n'; head -c 1152 /dev/zero; } > film.y4m
nested=$work/models/nested.safetensors
nest() { "$tessera" codebook nest -nostats "$@"; }

run codebook nest -nostats -levels 60,9 -progress p.txt plain p?.png -o "$nested"
verdict "nest" "$(test $rc = 0 || echo " status $rc")"
verdict "what codes cost" "$(grep -q '^[0-9]* codes of pictures counted, 238 held' \
    "$work/out" && grep -q '^60  *5.907  *[0-9.]*  *[0-9.]*$' "$work/out" &&
    grep -q '^9  *3.170  *[0-9.]*  *[0-9.]*$' "$work/out" || cat "$work/out")"
check "progress" grep -q progress=end p.txt
check "as JSON" sh -c "\"$tessera\" codebook nest -nostats --json -levels 60,9 \
    plain p?.png -o json.safetensors | \"$PYTHON\" -c '
import json, sys
r = json.load(sys.stdin)
assert r[\"held\"] == 238 and r[\"context\"] and len(r[\"levels\"]) == 3
assert all(0 < x[\"frequency\"] < x[\"fixed\"] + 1 for x in r[\"levels\"])'"
check "the same bytes" cmp "$nested" json.safetensors
check "into a pipe" sh -c "\"$tessera\" codebook nest -levels 60,9 plain \
    p?.png -o - | cmp - json.safetensors"
check "a name is made" nest -y -levels 9 -i "$model" p1.png
check "the name" test -s "${model%.safetensors}.nested.safetensors"
run info --json json.safetensors
check "any number of threads" nest -levels 60,9 -threads 3 plain p?.png \
    -o three.safetensors
check "the same bytes again" cmp json.safetensors three.safetensors
check "frames of a film" nest -levels 9 plain film.y4m -o film.safetensors

# The model works, and its levels are levels.
for q in 0 100; do
    check "encode -q $q" "$tessera" encode -nostats -m "$nested" -q $q p1.png \
        q$q.tess
    check "decode -q $q" "$tessera" decode -nostats q$q.tess q$q.png
done
verdict "a lower quality has fewer bytes" "$(
    test "$(wc -c < q0.tess)" -lt "$(wc -c < q100.tess)" || echo " no")"

refuses "no model" 1 nest "pictures" codebook nest
refuses "no pictures" 1 nest "pictures" codebook nest plain
refuses "an unknown model" 3 gone "no model" codebook nest gone p1.png -o x.st
refuses "a model without codes" 3 photo "of codes" codebook nest photo p1.png \
    -o x.st
for levels in 0 9,9 9,x 9, ,9 "" 60x9 999999999 99999999999999999999 \
    8,7,6,5,4,3,2,1 9,60; do
    refuses "-levels '$levels'" 1 "-levels $levels:" falling codebook nest -levels "$levels" plain \
        p1.png -o x.st
done
refuses "a picture that is none" 2 "${nested##*/}" "" codebook nest plain p1.png \
    "$nested" -o x.st
refuses "a picture that is not there" 1 gone.png "No such" codebook nest plain \
    gone.png -o x.st
refuses "an output that is there" 1 q0.tess "" codebook nest plain p1.png \
    -o q0.tess
refuses "onto the model" 1 plain.safetensors "" codebook nest -y plain p1.png \
    -o "$model"
check "nothing is left" sh -c "! ls x.st* 2> none"
finish
