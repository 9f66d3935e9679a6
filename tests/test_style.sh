#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# What an editor leaves behind: tabs, blanks at line ends, a missing last line
# end, a missing licence line; and names of somebody's own machine.
cd "${TSR_SRCDIR:-.}" || exit 99
count=0
tab=$(printf '\t')

# The files of the project that end in one of the names given.
files() {
    for name in "$@"; do
        find . \( -name .git -o -name 'build*' -o -name autom4te.cache \
            -o -name '_build' -o -name '_inst' \) -prune -o -type f \
            -name "$name" ! -name aclocal.m4 ! -name 'config.h*' \
            ! -path './m4/l*.m4' \
            ! -path './tessera-*' -print
    done
}

verdict() { # NAME FAULTS
    count=$((count + 1))
    if test -z "$2"; then
        echo "ok $count - $1"
    else
        echo "not ok $count - $1"
        printf '%s\n' "$2" | head -n 20 | sed 's/^/# /'
    fi
}

code='*.c *.h *.h.in *.cu *.cuh *.sh *.py'
build='*.mk *.ac *.am tsr_*.m4'
text='*.md *.txt *.pc.in *.list'
set -f
verdict "no tabs" "$(files $code | xargs grep -l "$tab")"
verdict "no blanks at line ends" "$(
    files $code $build $text | xargs grep -n "[ $tab]\$")"
verdict "every file ends with a line end" "$(
    for file in $(files $code $build $text); do
        test ! -s "$file" || test -z "$(tail -c 1 "$file")" || echo "$file"
    done)"
verdict "every file has its licence line" "$(
    files $code $build | xargs grep -L 'SPDX-License-Identifier: ')"
# Programs may have names without an ending.
verdict "every script has its licence line" "$(
    find quickstart autogen.sh bench tests training -type f ! -name '*.*' \
        -exec grep -l '^#!' {} + | xargs grep -L 'SPDX-License-Identifier: ')"
verdict "no carriage returns" "$(
    files $code $build $text | xargs grep -l "$(printf '\r')")"
# A manual may have an example in /tmp, code may not.
verdict "no path of one machine" "$(
    files $code $build $text |
        xargs grep -nE '/(home|root|Users|work|mnt)/[A-Za-z.]|[.][.]/shared/'
    files $code $build | xargs grep -n '/tmp/[A-Za-z]')"
echo "1..$count"
