#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# The Python package of KV caches with tensors on a GPU.
. "${TSR_SRCDIR:-.}/tests/python.sh"
package_on libtessera
cd "$work" || exit 99
"$PYTHON" "$TSR_SRCDIR/tests/kv_package_cuda.py"
