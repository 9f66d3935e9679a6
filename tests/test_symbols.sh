#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# The shared library exports tsr_* only, and all that the headers declare.
: "${TSR_SRCDIR:=.}" "${TSR_BUILDDIR:=.}" "${NM:=nm}"
library=$TSR_BUILDDIR/.libs/libtessera.so
if test ! -e "$library"; then
    echo "1..0 # SKIP no shared library"
    exit 0
fi
exported=$($NM -D --defined-only "$library" | awk '{ print $NF }') || exit 99
foreign=$(echo "$exported" | grep -v '^tsr_')
declared=$(cat "$TSR_SRCDIR"/include/tessera/*.h | tr '\n' ' ' |
    grep -o 'TSR_API[^;]*;' | grep -o 'tsr_[a-z0-9_]*(' | tr -d '(' |
    sort -u)
missing=$(for name in $declared; do
    echo "$exported" | grep -qx "$name" || echo "$name"
done)
hidden=$(for name in $exported; do
    echo "$declared" | grep -qx "$name" || echo "$name"
done)

verdict() { # NUMBER NAME FAULTS
    test -z "$3" && echo "ok $1 - $2" || echo "not ok $1 - $2"
    test -z "$3" || echo "$3" | sed 's/^/# /'
}
echo "1..4"
verdict 1 "exports something" "$(test -n "$exported" || echo nothing)"
verdict 2 "exports tsr_* only" "$foreign"
verdict 3 "exports what the headers declare" "$missing"
verdict 4 "the headers declare what is exported" "$hidden"
