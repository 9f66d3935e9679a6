#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Each public header compiles alone: as strict C11, and as C++ where there is a
# C++ compiler.
: "${TSR_SRCDIR:=.}" "${TSR_BUILDDIR:=.}" "${CC:=cc}" "${CXX:=c++}"
work=$(mktemp -d) || exit 99
trap 'rm -rf "$work"' EXIT
count=0

compile() { # NAME COMMAND...: the command, with the include folders
    name=$1
    shift
    count=$((count + 1))
    if "$@" -Wall -Wextra -Wpedantic -Werror -fsyntax-only \
        -I "$TSR_SRCDIR/include" -I "$TSR_BUILDDIR/include" 2> "$work/err"; then
        echo "ok $count - $name"
    else
        echo "not ok $count - $name"
        sed 's/^/# /' "$work/err"
    fi
}

: > "$work/empty.cc"
$CXX -fsyntax-only "$work/empty.cc" 2> "$work/err" && has_cxx=yes || has_cxx=no
for header in "$TSR_SRCDIR"/include/tessera/*.h \
    "$TSR_BUILDDIR/include/tessera/version.h"; do
    name=tessera/$(basename "$header")
    test "$header" != "$TSR_SRCDIR/include/$name" ||
        test "$name" != tessera/version.h || continue
    # Twice: a header must stand being read again.
    printf '#include <%s>\n#include <%s>\nextern int not_empty;\n' \
        "$name" "$name" | tee "$work/a.c" > "$work/a.cc"
    compile "$name, C11" $CC -std=c11 "$work/a.c"
    if test $has_cxx = yes; then
        compile "$name, C++" $CXX -std=c++11 "$work/a.cc"
    else
        count=$((count + 1))
        echo "ok $count - $name, C++ # SKIP no C++ compiler"
    fi
done
echo "1..$count"
