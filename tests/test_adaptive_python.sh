#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Adaptive segments and range-coded streams, read by a decoder in Python.
. "${TSR_SRCDIR:-.}/tests/python.sh"
"$TSR_BUILDDIR/tests/adaptive_tool" "$work" || exit 99
"$PYTHON" "$TSR_SRCDIR/tests/adaptive_reader.py" "$work"
