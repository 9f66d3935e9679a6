#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# KV objects of the program, read by a decoder in Python that was written from
# docs/kv-format.md; and what each of them refuses.
. "${TSR_SRCDIR:-.}/tests/python.sh"
cd "$work" || exit 99
"$PYTHON" "$TSR_SRCDIR/tests/kv_check.py" "$TSR_BUILDDIR/tessera" \
    "$TSR_SRCDIR/docs/sample-kv.safetensors"
