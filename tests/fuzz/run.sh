#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Fuzzes with libFuzzer (clang, its runtime), address and undefined-behaviour
# sanitizers:  tests/fuzz/run.sh [SECONDS [TARGET...]]
# A quarter of the time goes to twins, whose memory runs out.  New inputs that reach
# new code go to tests/fuzz/corpus/TARGET; what fails is left in the build folder,
# fuzz-build/ or $FUZZ_BUILD, as found/TARGET/..., and its path is printed.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
build=${FUZZ_BUILD:-$root/fuzz-build}
seconds=${1:-60}
python=${PYTHON:-python3}
fuzz=$root/tests/fuzz
test $# -eq 0 || shift
test -x "$root/configure" || (cd "$root" && ./autogen.sh)
mkdir -p "$build"
cd "$build"
export TSR_SRCDIR="$root"   # some targets need files of the tests
test -f Makefile || "$root/configure" -q CC="${CC:-clang}" --disable-shared \
    --with-cuda=no --with-onednn=no --with-libav=no \
    LIB_FUZZING_ENGINE=-fsanitize=fuzzer \
    CFLAGS="-g -O2 -fsanitize=address,undefined -fno-sanitize-recover=undefined \
-fsanitize=fuzzer-no-link"
if test $# -eq 0; then
    set -- $(cd "$fuzz" && ls fuzz_*.c | sed 's/^fuzz_//; s/\.c$//')
fi

# work TARGET SECONDS LEAKS: runs it; says what was done.
work() {
    "tests/fuzz/fuzz_$1" -max_total_time="$2" -max_len=4096 -timeout=20 \
        -rss_limit_mb=2048 -detect_leaks="$3" -artifact_prefix="found/$1/" \
        -print_final_stats=1 -verbosity=1 "work/$1" "corpus/$1" 2> "$1.log" ||
        { tail -n 30 "$1.log"; exit 1; }
    grep -a cov: "$1.log" | tail -n 1
}

for target; do
    make -s -j"$(nproc)" "tests/fuzz/fuzz_$target"
    rm -rf "corpus/$target" "merged/$target"
    mkdir -p "work/$target" "found/$target" "merged/$target"
    "$python" "$fuzz/corpus.py" unpack "$fuzz/corpus/$target" "corpus/$target"
    "$python" "$fuzz/seeds.py" "$target" "work/$target"
    echo "== $target"
    work "$target" $((seconds - seconds / 4)) 1
    # A twin that is left in the middle leaks what is not the library's.
    FUZZ_TWIN=1 work "$target" $((seconds / 4)) 0
    "tests/fuzz/fuzz_$target" -merge=1 -use_counters=0 -verbosity=0 -detect_leaks=0 \
        "merged/$target" "corpus/$target" "work/$target" 2>> "$target.log"
    "$python" "$fuzz/corpus.py" pack "merged/$target" "$fuzz/corpus/$target"
done
