#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# The second implementation, tests/tess_reader.py, against the library: the
# committed files, and files that the library writes now.
. "${TSR_SRCDIR:-.}/tests/python.sh"
tests=$TSR_SRCDIR/tests

mkdir "$work/bad"
for description in "$tests"/golden/*.txt; do
    name=$(basename "$description" .txt)
    end=seg
    grep -q '^kind' "$description" && end=tess
    grep -q '^extradata' "$description" && continue # tests/test_video_bad
    cp "$description" "$work/c-$name.txt"
    "$TSR_BUILDDIR/tests/golden_tool" "$description" "$work/c-$name.$end" ||
        exit 99
done
for seed in 1 2 3 4 5 6 7 8 9 10 11 12; do
    "$PYTHON" "$tests/golden.py" random $seed "$work/random-$seed.txt" &&
        "$TSR_BUILDDIR/tests/golden_tool" "$work/random-$seed.txt" \
            "$work/random-$seed.seg" || exit 99
done
{
    "$PYTHON" "$tests/golden.py" check "$tests/golden"
    "$PYTHON" "$tests/golden.py" check "$work"
} > "$work/results" || exit 99

# Two lists become one.
awk '/^1\.\./ { next } { n++; sub(/ok [0-9]+/, "ok " n); print }
     END { print "1.." n }' "$work/results"
