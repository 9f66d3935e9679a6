#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# The programs of examples/ do what their first lines say.
: "${TSR_SRCDIR:=.}" "${TSR_BUILDDIR:=.}"
examples=$TSR_BUILDDIR/examples
export TESSERA_MODELS="$TSR_SRCDIR/models" LC_ALL=C
work=$(mktemp -d) || exit 99
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 99
count=0

# check NAME CONDITION...: what the last program left is right.
check() {
    name=$1
    shift
    count=$((count + 1))
    if "$@" > none 2>&1; then
        echo "ok $count - $name"
    else
        echo "not ok $count - $name"
        sed 's/^/# /' err none
    fi
}

# 48 x 32 pixels of a smooth ramp, as text without a byte 0 or 10.
awk 'BEGIN { printf "P6\n48 32\n255\n"
    for (y = 0; y < 32; y++) for (x = 0; x < 48; x++)
        printf "%c%c%c", 32 + x, 40 + y, 60 }' > in.ppm

"$examples/encode_picture" in.ppm a.tess 70 2> err
check "encode_picture" test -s a.tess
"$examples/decode_picture" a.tess a.ppm 2> err
check "decode_picture: the size of the picture" \
    test "$(wc -c < a.ppm)" = "$(wc -c < in.ppm)"
# The mean difference of two files' bytes, at most.
near() {
    cmp -l "$1" "$2" | awk -v bytes="$(wc -c < "$1")" -v most="$3" '
        function value(o) {
            return int(o / 100) * 64 + int(o / 10) % 10 * 8 + o % 10
        }
        { d = value($2) - value($3); sum += d < 0 ? -d : d }
        END { print sum / bytes; exit sum / bytes > most }'
}
check "decode_picture: its pixels" near in.ppm a.ppm 3
"$examples/encode_picture" none.ppm b.tess 2> err
check "encode_picture: no such file" \
    test "$?" = 1 -a "$(wc -l < err)" = 1 -a ! -e b.tess

# Half a second of silence at 24 kHz.
head -c 48000 /dev/zero > in.f32
"$examples/stream_audio" sound < in.f32 > out.f32 2> err
check "stream_audio: as many samples as went in" \
    test "$(wc -c < out.f32)" = 48000

if test -x "$TSR_BUILDDIR/tessera"; then
    "$TSR_BUILDDIR/tessera" encode -nostats -m mosaic -i in.ppm -o m.tess 2> err
    "$examples/tokens_npy" m.tess m.npy > said 2>> err
    check "tokens_npy: says what there is" \
        grep -q '^[0-9]* x [0-9]* tokens of [0-9]* for 48 x 32 pixels$' said
    n=$(awk '{ print 128 + 4 * $1 * $3 }' said)
    check "tokens_npy: a header and the array" test "$(wc -c < m.npy)" = "$n"
fi

"$examples/kv_push_pull" "$work/store" > said 2> err
check "kv_push_pull: everything comes back" \
    grep -q '^pull: 512 tokens, ' said
check "kv_push_pull: what comes back is near" \
    awk '/^largest/ { good = $3 > 0 && $3 < 0.07 } END { exit !good }' said
echo "1..$count"
