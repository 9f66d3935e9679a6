#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Names and stored chunks, read by a second implementation in Python that was
# written from docs/kv-store.md.
. "${TSR_SRCDIR:-.}/tests/python.sh"
cd "$work" || exit 99
"$PYTHON" "$TSR_SRCDIR/tests/kv_chunk_check.py" "$TSR_BUILDDIR/tessera" \
    "$TSR_BUILDDIR/tests/kv_chunk_tool" "$TSR_SRCDIR/docs/sample-kv.safetensors"
