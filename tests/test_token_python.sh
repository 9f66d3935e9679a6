#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Pictures of tokens, read by a reader in Python that was written from
# docs/codecs/vqgan.md.
: "${TSR_SRCDIR:=.}" "${TSR_BUILDDIR:=.}"
if test -z "$PYTHON"; then
    echo "1..0 # SKIP no Python"
    exit 0
fi
export PYTHONDONTWRITEBYTECODE=1
work=$(mktemp -d) || exit 99
trap 'rm -rf "$work"' EXIT
golden=$(cd "$TSR_SRCDIR/tests/golden/tokens" && pwd) || exit 99
"$TSR_BUILDDIR/tests/token_tool" "$work" || exit 99
"$PYTHON" "$TSR_SRCDIR/tests/token_reader.py" check "$work" \
    "$golden"
