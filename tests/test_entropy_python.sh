#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Tables, arrays of symbols and matrices, read by a decoder in Python that was
# written from docs/entropy.md.
. "${TSR_SRCDIR:-.}/tests/python.sh"
"$TSR_BUILDDIR/tests/entropy_tool" "$work" || exit 99
"$PYTHON" "$TSR_SRCDIR/tests/entropy_check.py" "$work"
