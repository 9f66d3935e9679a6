#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Streams of token pictures in either form, read by the reader in Python.
. "${TSR_SRCDIR:-.}/tests/python.sh"
cd "$work" || exit 99
"$TSR_BUILDDIR/tests/token_pictures" "$work" || exit 99
echo "1..6"
for i in 0 1 2 3 4 5; do
    "$PYTHON" "$TSR_SRCDIR/tests/token_reader.py" model.safetensors $i.tess 8 \
        > $i.read && cmp $i.ids $i.read >&2 && echo "ok $((i + 1)) - $i" ||
        echo "not ok $((i + 1)) - $i"
done
