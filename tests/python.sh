# SPDX-License-Identifier: BSD-2-Clause
# Sourced by tests that run Python: without one they are skipped; $work is a
# folder of their own.
: "${TSR_SRCDIR:=.}" "${TSR_BUILDDIR:=.}"
skip_all() {
    echo "1..0 # SKIP $1"
    exit 0
}
test -n "$PYTHON" || skip_all "no Python"
export PYTHONDONTWRITEBYTECODE=1 LC_ALL=C
work=$(mktemp -d) || exit 99
trap 'rm -rf "$work"' EXIT

# The package of KV caches on these libraries of the build.
package_on() { # LIBRARY...
    export TESSERA_LIB="$TSR_BUILDDIR/.libs" \
        PYTHONPATH="$TSR_SRCDIR/tools/kv/python:$TSR_SRCDIR/tests"
    for name in "$@"; do
        test -e "$TESSERA_LIB/$name.so.0" || skip_all "no shared libraries"
    done
    # Python cannot load a library that needs a sanitizer's runtime.
    test -z "$(nm -D "$TESSERA_LIB/libtessera.so.0" 2>&1 |
        grep ' __asan_init')" || skip_all "built with a sanitizer"
}
