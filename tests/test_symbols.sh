#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Each shared library exports tsr_* only, and all that its headers declare.
: "${TSR_SRCDIR:=.}" "${TSR_BUILDDIR:=.}" "${NM:=nm}"
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

check() { # LIBRARY, its headers on stdin
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
}

echo "1..8"
check libtessera << LIST
$(ls "$TSR_SRCDIR"/include/tessera/*.h | grep -Ev "/($net)\.h$")
LIST
check libtessera-net << LIST
$(ls "$TSR_SRCDIR"/include/tessera/*.h | grep -E "/($net)\.h$")
LIST
