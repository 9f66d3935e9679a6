#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# The Python package of KV caches with tensors on a GPU.
: "${TSR_SRCDIR:=.}" "${TSR_BUILDDIR:=.}"
lib=$TSR_BUILDDIR/.libs
if test -z "$PYTHON"; then
    echo "1..0 # SKIP no Python"
    exit 0
fi
if test ! -e "$lib/libtessera.so.0"; then
    echo "1..0 # SKIP no shared libraries"
    exit 0
fi
# Python cannot load a library that needs a sanitizer's runtime.
if test -n "$(nm -D "$lib/libtessera.so.0" 2>&1 | grep ' __asan_init')"; then
    echo "1..0 # SKIP built with a sanitizer"
    exit 0
fi
export PYTHONDONTWRITEBYTECODE=1 LC_ALL=C TESSERA_LIB="$lib" \
    PYTHONPATH="$TSR_SRCDIR/tools/kv/python:$TSR_SRCDIR/tests"
work=$(mktemp -d) || exit 99
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 99
"$PYTHON" "$TSR_SRCDIR/tests/kv_package_cuda.py"
