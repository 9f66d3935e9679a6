#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Each shared library exports tsr_* only, all that its headers declare, and just
# what its list says.  Who adds a name adds it to the list (sorted bytewise) and
# raises CURRENT and AGE of TSR_LT_VERSION in configure.ac once a release; who takes
# one away or changes what it means raises CURRENT and sets AGE to 0.
# And every function that closes takes NULL, and a pointer to NULL.
: "${TSR_SRCDIR:=.}" "${TSR_BUILDDIR:=.}" "${NM:=nm}" "${CC:=cc}"
if test ! -e "$TSR_BUILDDIR/.libs/libtessera.so"; then
    echo "1..0 # SKIP no shared library"
    exit 0
fi
net='store|kv_control|kv_stream'    # headers of libtessera-net
count=0
verdict() { # NAME FAULTS
    count=$((count + 1))
    test -z "$2" && echo "ok $count - $1" || echo "not ok $count - $1"
    test -z "$2" || echo "$2" | sed 's/^/# /'
}

check() { # LIBRARY, its LIST; its headers on stdin
    exported=$($NM -D --defined-only "$TSR_BUILDDIR/.libs/$1.so" |
        awk '{ print $NF }') || exit 99
    declared=$(xargs cat | tr '\n' ' ' | grep -o 'TSR_API[^;]*;' |
        grep -o 'tsr_[a-z0-9_]*(' | tr -d '(' | sort -u)
    verdict "$1 exports something" "$(test -n "$exported" || echo nothing)"
    verdict "$1 exports tsr_* only" "$(echo "$exported" | grep -v '^tsr_')"
    verdict "$1 exports what its headers declare" \
        "$(echo "$declared" | grep -vxF "$exported")"
    verdict "$1: its headers declare what is exported" \
        "$(echo "$exported" | grep -vxF "$declared")"
    verdict "$1: $2 is the list of them" \
        "$(echo "$exported" | LC_ALL=C sort | diff "$TSR_SRCDIR/$2" -)"
}

echo "1..11"
check libtessera lib/libtessera.list << LIST
$(ls "$TSR_SRCDIR"/include/tessera/*.h | grep -Ev "/($net)\.h$")
LIST
check libtessera-net net/libtessera-net.list << LIST
$(ls "$TSR_SRCDIR"/include/tessera/*.h | grep -E "/($net)\.h$")
LIST

work=$(mktemp -d) || exit 99
trap 'rm -rf "$work"' EXIT
lib=$TSR_BUILDDIR/.libs
{
    for header in "$TSR_SRCDIR"/include/tessera/*.h; do
        echo "#include <tessera/$(basename "$header")>"
    done
    echo 'int main(void) {'
    cat "$TSR_SRCDIR"/include/tessera/*.h | tr '\n' ' ' | sed 's/TSR_API/\n&/g' |
        sed -n 's/^TSR_API void *\(tsr_[a-z_]*_close\)(\(tsr_[a-z_]*\) \*\*.*/\
            { \2 *none = 0; \1(0); \1(\&none); }/p'
    echo 'return 0; }'
} > "$work/close.c"
verdict "all that closes takes nothing, too ($(grep -c none "$work/close.c") functions)" "$(
    $CC -I"$TSR_SRCDIR/include" -I"$TSR_BUILDDIR/include" "$work/close.c" \
        -o "$work/close" -L"$lib" -ltessera-net -ltessera 2>&1 &&
        LD_LIBRARY_PATH=$lib "$work/close" 2>&1 || echo "it ended with $?")"
