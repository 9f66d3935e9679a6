#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Fuzzes with libFuzzer (clang, its runtime), address and undefined-behaviour
# sanitizers:  tests/fuzz/run.sh [SECONDS [TARGET...]]
# New inputs that reach new code go to tests/fuzz/corpus/TARGET; what fails is left
# in the build folder, fuzz-build/ or $FUZZ_BUILD, and its path is printed.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
build=${FUZZ_BUILD:-$root/fuzz-build}
seconds=${1:-60}
python=${PYTHON:-python3}
test $# -eq 0 || shift
test -x "$root/configure" || (cd "$root" && ./autogen.sh)
mkdir -p "$build"
cd "$build"
export TSR_SRCDIR="$root"   # some targets need files of the tests
flags="-g -O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined"
test -f Makefile || "$root/configure" -q CC=clang --disable-shared --with-cuda=no \
    --with-onednn=no CFLAGS="$flags -fsanitize=fuzzer-no-link"
make -s -j"$(nproc)" libtsrcore.la
if test $# -eq 0; then
    set -- $(cd "$root/tests/fuzz" && ls fuzz_*.c | sed 's/^fuzz_//; s/\.c$//')
fi
for target; do
    clang $flags -fsanitize=fuzzer -I. -Iinclude -I"$root" -I"$root/include" \
        "$root/tests/fuzz/fuzz_$target.c" .libs/libtsrcore.a -lz -lm -lpthread \
        -o "fuzz_$target"
    rm -rf "corpus/$target"
    mkdir -p "work/$target" corpus
    "$python" "$root/tests/fuzz/corpus.py" unpack "$root/tests/fuzz/corpus/$target" "corpus/$target"
    echo "== $target"
    "./fuzz_$target" -max_total_time="$seconds" -max_len=2048 -timeout=10 \
        -rss_limit_mb=1024 -print_final_stats=1 -verbosity=0 \
        "work/$target" "corpus/$target" 2>"$target.log" ||
        { tail -30 "$target.log"; exit 1; }
    grep -E 'stat::(number_of_executed|new_units)' "$target.log" || :
    "./fuzz_$target" -merge=1 -verbosity=0 "corpus/$target" "work/$target" 2>>"$target.log"
    "$python" "$root/tests/fuzz/corpus.py" pack "corpus/$target" "$root/tests/fuzz/corpus/$target"
done
