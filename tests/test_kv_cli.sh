#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# tessera kv: a real cache there and back, parts of it, and what is refused.
. "${TSR_SRCDIR:-.}/tests/cli.sh"

sample=$TSR_SRCDIR/docs/sample-kv.safetensors
array() { "$PYTHON" "$TSR_SRCDIR/tests/cli_kv.py" "$@"; }
array arrays "$sample" all.npy all.bin part.npy || exit 99

kv() { "$tessera" kv "$@"; }
value() { sed -n "s/.*\"$1\": *\\([-0-9.e]*\\).*/\\1/p"; }

check "pack" kv pack -nostats -step 1 -value_ratio 1 "$sample" a.tkv
check "unpack" kv unpack -nostats a.tkv a.safetensors
check "the error is what a step of 1 leaves" array near "$sample" \
    a.safetensors 0.35
check "a second round changes nothing" sh -c "\"$tessera\" kv pack -nostats \
    -step 1 -value_ratio 1 a.safetensors b.tkv && \"$tessera\" kv unpack -nostats b.tkv \
    b.safetensors && \"$tessera\" kv compare a.safetensors b.safetensors |
    grep -q '^identical'"
check "from a pipe into a pipe" sh -c \
    "\"$tessera\" kv unpack - - < a.tkv > piped.bin && test -s piped.bin"
run kv info --json a.tkv
bits=$(value bits_per_value < "$work/out")
verdict "bits a value" "$(awk -v b="$bits" 'BEGIN {
    if (!(b > 0.5 && b < 3)) print " " b }')"
run kv info a.tkv
verdict "info in words" "$(grep -q '^  layer 7' "$work/out" || echo " no layers")"
check "threads change nothing" sh -c "\"$tessera\" kv pack -nostats -step 1 -value_ratio 1 \
    -threads 3 \"$sample\" t.tkv && cmp a.tkv t.tkv"
check "plain C changes nothing" sh -c "\"$tessera\" kv pack -nostats -step 1 -value_ratio 1 \
    -cpuflags 0 \"$sample\" c.tkv && cmp a.tkv c.tkv"

# --- parts -----------------------------------------------------------------
check "some layers and tokens" kv unpack -nostats -layers 2:4 -tokens 30:100 \
    a.tkv some.safetensors
check "are those of the whole" array part a.safetensors some.safetensors 2 30
check "objects of 100 tokens" kv pack -nostats -step 1 -value_ratio 1 -chunk 100 "$sample" \
    chunks.tkv
check "unpacked as one" sh -c "\"$tessera\" kv unpack -nostats chunks.tkv \
    chunks.safetensors"
check "as near" array near "$sample" chunks.safetensors 0.35
check "tokens across objects" kv unpack -nostats -tokens 90:210 chunks.tkv \
    across.safetensors
check "are those of the objects" array part chunks.safetensors \
    across.safetensors 0 90
check "levels" kv pack -nostats -step 0.25 -value_ratio 1 -levels 3 "$sample" l.tkv
check "reduced" kv reduce -level 1 l.tkv r.tkv
check "reduced or decoded to a level, the same" sh -c \
    "\"$tessera\" kv unpack -nostats r.tkv r.safetensors && \"$tessera\" kv \
    unpack -nostats -level 1 l.tkv m.safetensors && cmp r.safetensors \
    m.safetensors"
verdict "fewer bytes" "$(test "$(wc -c < r.tkv)" -lt "$(wc -c < l.tkv)" ||
    echo " $(wc -c < r.tkv)")"

# --- other files -----------------------------------------------------------
check ".npy" kv pack -nostats -step 1 -value_ratio 1 -layout L2HTD -rope 10000 all.npy n.tkv
check "a bare dump" kv pack -nostats -step 1 -value_ratio 1 -layout 2LTC -heads 2 -dims \
    2x8x256x256 -dtype f16 -rope 10000 all.bin d.tkv
check "to .npy" kv unpack -nostats -layout 2LTHD n.tkv n.npy
check "to a bare dump" kv unpack -nostats -layout 2LTC d.tkv d.bin
check "all the same values" array same a.safetensors n.npy d.bin
check "a latent of one layer" kv pack -nostats -layout TD part.npy latent.tkv
check "and back" kv unpack -nostats -layout TD latent.tkv latent.npy

# --- methods ---------------------------------------------------------------
check "bench of all methods" kv bench -step 1 -value_ratio 1 "$sample"
cp "$work/check.out" bench.txt
verdict "bench lists them" "$(for m in rows cachegen kivi kvquant gear turboquant lossless; do
    grep -q "^$m" bench.txt || echo " no $m"; done)"
check "lossless" sh -c "\"$tessera\" kv pack -nostats -method lossless \
    \"$sample\" x.tkv && \"$tessera\" kv unpack -nostats x.tkv x.safetensors && \
    \"$tessera\" kv compare \"$sample\" x.safetensors | grep -q ^identical"

# --- a profile -------------------------------------------------------------
run kv profile -nostats -match -o p.safetensors "$sample"
if grep -q 'no LAPACK' "$work/err"; then
    skip "a profile: this build has no LAPACK"
else
    check "profile" test $rc = 0
    check "packs with it" kv pack -nostats -profile ./p.safetensors "$sample" \
        p.tkv
    refuses "unpacking wants it" 3 p.tkv "" kv unpack p.tkv q.safetensors
    check "unpacks with it" kv unpack -nostats -profile ./p.safetensors p.tkv \
        p-back.safetensors
    check "near" array near "$sample" p-back.safetensors 0.5
    check "a plain profile" kv profile -nostats -plain -base_step 1 -o \
        q.safetensors "$sample"
    check "packs with it" kv pack -nostats -profile ./q.safetensors "$sample" \
        q.tkv
    check "unpacks with it" kv unpack -nostats -profile ./q.safetensors q.tkv \
        q-back.safetensors
    check "nearer than half of the steps" array near "$sample" \
        q-back.safetensors 0.6
    verdict "fewer bytes than with classes sent" "$(kv pack -y -nostats -step 1 \
        -value_ratio 1.8 "$sample" r.tkv; test "$(wc -c < q.tkv)" -lt \
        "$(wc -c < r.tkv)" || echo " $(wc -c < q.tkv) $(wc -c < r.tkv)")"
    array words words.safetensors 8192 16 || exit 99
    check "profile that words predict" kv profile -nostats -match -predict 2 \
        -statistics words.safetensors -o w.safetensors "$sample"
    check "packs with it" kv pack -nostats -profile ./w.safetensors "$sample" \
        w.tkv
    check "unpacks with it" kv unpack -nostats -profile ./w.safetensors w.tkv \
        w-back.safetensors
    check "near" array near "$sample" w-back.safetensors 0.5
    check "packs without the ids" kv pack -nostats -no_ids \
        -profile ./w.safetensors "$sample" noids.tkv
    refuses "unpacking wants them" 2 noids.tkv "token ids" kv unpack \
        -profile ./w.safetensors noids.tkv noids-back.safetensors
    check "unpacks with them" kv unpack -nostats -profile ./w.safetensors \
        -ids "$sample" noids.tkv noids-back.safetensors
    verdict "the same" "$(cmp noids-back.safetensors w-back.safetensors 2>&1)"
    refuses "another profile" 3 p.tkv "" kv unpack -profile ./w.safetensors \
        p.tkv q.safetensors
    check "two layers together" kv profile -nostats -join 2 -o j.safetensors \
        "$sample"
    check "pack with it" kv pack -nostats -profile ./j.safetensors "$sample" \
        j.tkv
    for o in "-anchor 1" "-anchor 10" "-plain -hadamard -base_step 1"; do
        # shellcheck disable=SC2086
        check "profile $o" kv profile -y -nostats $o -o t.safetensors "$sample"
        check "packs with it" kv pack -y -nostats -profile ./t.safetensors \
            "$sample" t.tkv
        check "unpacks with it" kv unpack -y -nostats -profile ./t.safetensors \
            t.tkv t-back.safetensors
        check "near" array near "$sample" t-back.safetensors 0.6
    done
    for m in vq:dims=4,entries=64,stages=2 kvquant:bits=3; do
        use=$m
        test $m = kvquant:bits=3 || use=vq
        check "tables of $m" kv profile -y -nostats -method $m -o t.safetensors \
            "$sample"
        check "packs with them" kv pack -y -nostats -method $use \
            -profile ./t.safetensors "$sample" t.tkv
        refuses "unpacking wants them" 3 t.tkv "" kv unpack -y t.tkv t2.safetensors
        check "unpacks with them" kv unpack -y -nostats -profile ./t.safetensors \
            t.tkv t-back.safetensors
        check "near" array near "$sample" t-back.safetensors 0.6
    done
    refuses "tables of what has none" 1 "" "only vq and kvquant" kv profile \
        -method gear -o k3.safetensors "$sample"
    refuses "more entries than tokens" 2 "" "cannot fill" kv profile \
        -method vq:entries=65536 -o k3.safetensors "$sample"
    refuses "two references" 1 "" "one reference" kv profile -match -anchor 2 \
        -o k3.safetensors "$sample"
    refuses "three of eight" 1 "" "multiple" kv profile -join 3 \
        -o k.safetensors "$sample"
fi

# --- CacheGen's own streams ------------------------------------------------
streams=$TSR_SRCDIR/tests/vectors/cachegen
check "LMCache's pickle" kv unpack -nostats -layout 2LTHD "$streams/cache.pkl" \
    lm.bin
check "decodes to what CacheGen's arithmetic gives" sh -c \
    "tail -c 86400 \"$streams/decoded.npy\" | cmp - lm.bin"
check "from a pipe" sh -c "\"$tessera\" kv unpack -layout 2LTHD - - \
    < \"$streams/cache.pkl\" | cmp - lm.bin"
check "packed as a pickle" kv pack -nostats -layout 2LTHD -dims 2x12x300x2x3 \
    -dtype bf16 lm.bin lm.pkl
check "and back, the same" sh -c "\"$tessera\" kv unpack -nostats -layout 2LTHD \
    lm.pkl lm2.bin && cmp lm.bin lm2.bin"
check "another level" kv pack -nostats -method cachegen:level=1 "$sample" l1.pkl
check "and back" kv unpack -nostats -method cachegen:level=1 -rope 10000 l1.pkl \
    l1.safetensors
check "near" array near "$sample" l1.safetensors 1
head -c 30000 lm.pkl > cut.pkl
refuses "tables of another level" 2 l1.pkl "of 16 bins" kv unpack l1.pkl \
    y.safetensors
refuses "a level that is none" 1 level=5 "0 to 4" kv unpack \
    -method cachegen:level=5 l1.pkl y.safetensors
refuses "a part of it" 1 lm.pkl "whole" kv unpack -layers 0:1 lm.pkl \
    y.safetensors
refuses "a cut pickle" 2 cut.pkl "too early" kv unpack cut.pkl y.safetensors
refuses "a pickle of something else" 2 dtypes_legacy.pt "" kv unpack \
    "$TSR_SRCDIR/tests/vectors/checkpoint/dtypes_legacy.pt" y.safetensors
printf '\200\002cposix\nsystem\nX\004\000\000\000true\205R.' > evil.pkl
refuses "what would run code" 2 evil.pkl "posix.system" kv unpack evil.pkl \
    y.safetensors
refuses "a pickle as .tkv" 2 lm.pkl "pickle" kv info lm.pkl

# --- refused ---------------------------------------------------------------
head -c 3000 a.tkv > cut.tkv
cp a.tkv bad.tkv
media poke a.tkv 20000 flip bad.tkv
: > empty.tkv
echo "no cache" > text.tkv
refuses "missing" 1 gone.safetensors "No such file" kv pack gone.safetensors
refuses "a picture as cache" 2 "" "" kv pack "$sample" -tensor gone x.tkv
refuses "no layout" 1 all.npy "layout" kv pack all.npy x2.tkv
refuses "a layout of other rank" 2 all.npy "dimensions" kv pack -layout LTD \
    all.npy x2.tkv
refuses "a pipe of who knows what" 1 - "bare numbers" kv pack - x2.tkv
refuses "a name that says nothing" 1 text.tkv "neither" kv pack text.tkv x2.tkv
refuses "dims beyond the dump" 2 all.bin "shorter" kv pack -layout 2LTC -heads 2 \
    -dims 2x8x1024x256 -dtype f16 all.bin x2.tkv
refuses "cut" 2 cut.tkv "" kv unpack cut.tkv y.safetensors
refuses "a flipped byte" 2 bad.tkv "" kv unpack bad.tkv y.safetensors
refuses "nothing" 2 empty.tkv "" kv unpack empty.tkv y.safetensors
refuses "text" 2 text.tkv "" kv info text.tkv
refuses "layers that are not" 1 9:12 "0:8" kv unpack -layers 9:12 a.tkv \
    y.safetensors
refuses "an unknown verb" 1 squeeze "pack" kv squeeze a.tkv
refuses "an unknown method" 1 magic "" kv pack -method magic "$sample" y.tkv
refuses "not finite" 2 "" "finite" kv pack -layout TD -dtype f16 nan.npy y.tkv
finish
