#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# KV objects of the program, read by a decoder in Python that was written from
# docs/kv-format.md; and what each of them refuses.
: "${TSR_SRCDIR:=.}" "${TSR_BUILDDIR:=.}"
if test -z "$PYTHON"; then
    echo "1..0 # SKIP no Python"
    exit 0
fi
export PYTHONDONTWRITEBYTECODE=1 LC_ALL=C
work=$(mktemp -d) || exit 99
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 99
"$PYTHON" "$TSR_SRCDIR/tests/kv_check.py" "$TSR_BUILDDIR/tessera" \
    "$TSR_SRCDIR/docs/sample-kv.safetensors"
