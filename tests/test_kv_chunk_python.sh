#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Names and stored chunks, read by a second implementation in Python that was
# written from docs/kv-store.md.
: "${TSR_SRCDIR:=.}" "${TSR_BUILDDIR:=.}"
if test -z "$PYTHON"; then
    echo "1..0 # SKIP no Python"
    exit 0
fi
export PYTHONDONTWRITEBYTECODE=1 LC_ALL=C
work=$(mktemp -d) || exit 99
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 99
"$PYTHON" "$TSR_SRCDIR/tests/kv_chunk_check.py" "$TSR_BUILDDIR/tessera" \
    "$TSR_BUILDDIR/tests/kv_chunk_tool" "$TSR_SRCDIR/docs/sample-kv.safetensors"
