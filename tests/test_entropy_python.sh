#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Tables, arrays of symbols and matrices, read by a decoder in Python that was
# written from docs/entropy.md.
: "${TSR_SRCDIR:=.}" "${TSR_BUILDDIR:=.}"
if test -z "$PYTHON"; then
    echo "1..0 # SKIP no Python"
    exit 0
fi
export PYTHONDONTWRITEBYTECODE=1
work=$(mktemp -d) || exit 99
trap 'rm -rf "$work"' EXIT
"$TSR_BUILDDIR/tests/entropy_tool" "$work" || exit 99
"$PYTHON" "$TSR_SRCDIR/tests/entropy_check.py" "$work"
