#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# tessera kv serve, as clients see it that behave and those that do not.
. "${TSR_SRCDIR:-.}/tests/python.sh"
unset TESSERA_TOKEN http_proxy https_proxy
cd "$work" || exit 99
"$TSR_BUILDDIR/tessera" kv serve -cert none -store "$work/none" 2> err
if grep -q 'no server' err; then
    echo "1..0 # SKIP built without libmicrohttpd"
    exit 0
fi
"$PYTHON" "$TSR_SRCDIR/tests/kv_serve_check.py" "$TSR_BUILDDIR/tessera" \
    "$TSR_BUILDDIR/tests/kv_chunk_tool" "$TSR_SRCDIR/docs/sample-kv.safetensors"
