#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Pictures of tokens, read by a reader in Python that was written from
# docs/codecs/vqgan.md.
. "${TSR_SRCDIR:-.}/tests/python.sh"
golden=$(cd "$TSR_SRCDIR/tests/golden/tokens" && pwd) || exit 99
"$TSR_BUILDDIR/tests/token_tool" "$work" || exit 99
"$PYTHON" "$TSR_SRCDIR/tests/token_reader.py" check "$work" \
    "$golden"
