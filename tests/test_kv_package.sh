#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# The Python package of KV caches, on the libraries of this build.
. "${TSR_SRCDIR:-.}/tests/python.sh"
package_on libtessera libtessera-net
cd "$work" || exit 99
"$PYTHON" "$TSR_SRCDIR/tests/kv_package.py" "$TSR_BUILDDIR/tests/kv_structs"
