#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Builds and tests other forms of the library, each in its folder build-NAME, with
# the log in it:  tests/variant.sh NAME...  or all.  Without CUDA.
#   asan      address, leak and undefined-behaviour sanitizers, whole suite
#   tsan      thread sanitizer, the tests that start threads
#   valgrind  memcheck over the small tests
#   clang     clang, a warning is an error, whole suite
#   static    --disable-shared: all builds; the tests that linking may break
#   shared    --disable-static: likewise
#   bare      none of the optional libraries, whole suite
#   old       small tests on an x86-64 of 2006 (qemu-user, a Core 2)
#   aarch64   cross build, small tests (qemu-user; libpng-dev:arm64,
#             libcmocka-dev:arm64)
#   dist      make distcheck; a second archive has the same bytes
#   lint      cppcheck, clang-tidy; the manual, by mandoc and groff
# Small tests take some seconds each even under an emulator; every part has one.
# Each variant ends with a line that says ok or failed, and how many
# tests passed; the exit status is 1 if any failed.
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
jobs=${JOBS:-$(nproc)}

# shellcheck disable=SC2034,SC2086
none="--with-cuda=no --with-onednn=no --with-libav=no --with-soxr=no --with-curl=no
    --with-hiredis=no --with-microhttpd=no"
small="core crc32c model rans rans64 rans8 freq histogram tables classes plan packing
    bigtable stream range adaptive rows symbols_coder codes vq coarse scalar rvq coded
    kmeans tokens_golden golden hyper_vectors image video audio audio_file audio_codes
    torchac checkpoint kv kv_floats kv_rope kv_transform kv_quantise kv_chunk kv_control
    store store_dir iconv nn_norm seq seq_kernels fbank wav y4m yuv absurd"
# test_absurd measures its own memory, which is valgrind's too; test_nn_norm takes more
# than a quarter of an hour there, and asan runs it.
not_valgrind="absurd nn_norm"
# Nor does it come to its end in half an hour under qemu's aarch64; `old` runs it.
not_aarch64="nn_norm"
threaded="core stream rows symbols_coder kmeans vq image image_batch video tokens audio_batch
    kv kv_stream kv_stream_bad store_dir find nn seq seq_device"
linked="core symbols headers install examples cli codes golden docs kv_package
    kv_chunk_python python"
plugins="frei0r ladspa lv2"

configure() { # options...: once
    test -x ../configure || (cd .. && ./autogen.sh) || return 1
    test -f Makefile || ../configure -q "$@"
}

whole() { # make's variables...
    make -s -j"$jobs" "$@" && make -s -j"$jobs" check VERBOSE=1 "$@"
}

some() { # TESTS [make's variable]: these tests, of those that there are
    logs=
    for t in $1; do
        logs="$logs tests/test_$t.log"
        rm -f "tests/test_$t.log" "tests/test_$t.trs"
    done
    # shellcheck disable=SC2086
    make -s -j"$jobs" && make -s -k -j"$jobs" "${2:-V=0}" TEST_LOGS="$logs" $logs &&
        grep -q '^:test-result: PASS' tests/*.trs &&
        ! grep -s -E '^:test-result: (FAIL|ERROR)' tests/*.trs
}

without() { # LIST, what to leave out...
    list=$1
    shift
    for t in $list; do
        case " $* " in *" $t "*) ;; *) printf '%s ' "$t" ;; esac
    done
}

run_asan() {
    # shellcheck disable=SC2086
    configure $none --disable-shared CFLAGS="-g -O1 -fno-omit-frame-pointer \
-fsanitize=address,undefined -fno-sanitize-recover=undefined" && whole
}
run_tsan() { # its shadow memory wants addresses that are not random
    # shellcheck disable=SC2086
    configure $none --disable-shared CFLAGS="-g -O1 -fsanitize=thread" &&
        some "$threaded" "LOG_COMPILER=$SHELL_RUN setarch -R"
}
run_valgrind() {
    # shellcheck disable=SC2086
    configure $none --disable-shared CFLAGS="-g -O1" &&
        some "$(without "$small" $not_valgrind)" "LOG_COMPILER=$SHELL_RUN valgrind -q \
--error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite"
}
run_clang() { # configure's own programs have warnings: with -Werror it finds no libm
    configure CC=clang --with-cuda=no && whole CFLAGS="-g -O2 -Werror"
}
run_static() {
    configure --with-cuda=no --disable-shared && make -s -j"$jobs" check TESTS= &&
        some "$linked"
}
run_shared() {
    configure --with-cuda=no --disable-static && make -s -j"$jobs" check TESTS= &&
        some "$linked $plugins"
}
run_bare() {
    # shellcheck disable=SC2086
    configure $none ac_cv_lib_openblas_dsyevd_=no ac_cv_lib_lapack_dsyevd_=no && whole
}
run_old() {
    # shellcheck disable=SC2086
    configure $none --disable-shared &&
        some "$small" "LOG_COMPILER=$SHELL_RUN qemu-x86_64 -cpu core2duo"
}
run_aarch64() {
    # shellcheck disable=SC2086
    configure $none --host=aarch64-linux-gnu --disable-shared PKG_CONFIG=pkg-config \
        PKG_CONFIG_LIBDIR=/usr/lib/aarch64-linux-gnu/pkgconfig:/usr/share/pkgconfig &&
        some "$(without "$small" $not_aarch64)" "LOG_COMPILER=$SHELL_RUN qemu-aarch64"
}
run_dist() {
    configure --with-cuda=no && make -s -j"$jobs" distcheck || return 1
    first=$(cksum < "$(echo tessera-*.tar.xz)") && sleep 2 && make -s dist-xz || return 1
    test "$first" = "$(cksum < "$(echo tessera-*.tar.xz)")" ||
        { echo "two archives of the same files differ"; return 1; }
}
run_lint() {
    # shellcheck disable=SC2086
    configure $none && make -s -j"$jobs" || return 1
    folders="lib entropy vq codecs net tools"
    (cd .. && cppcheck -q -j"$jobs" --std=c11 --max-configs=1 --error-exitcode=1 \
        --enable=warning,performance,portability --template=gcc \
        --suppressions-list=tests/cppcheck.list -D__x86_64__ -DHAVE_CONFIG_H \
        -I. -Iinclude -Ibuild-lint -Ibuild-lint/include $folders) || return 1
    (cd .. && find $folders -name '*.c' ! -path '*/cuda/*' ! -path '*/onednn/*' \
        ! -path '*/x86/*' ! -path '*/ffmpeg/*' ! -name '*av_*' ! -name 'in_av*' |
        xargs -n 8 -P "$jobs" sh -c 'clang-tidy --quiet "$@" -- -std=c11 -I. \
            -Iinclude -Ibuild-lint -Ibuild-lint/include -D_XOPEN_SOURCE=700 \
            -DTSR_DATADIR=\"x\"' tidy) || return 1
    faults=$(for page in ../docs/man/*.[35] docs/man/*.1; do
        mandoc -Tlint -W warning "$page"
        groff -ww -mandoc -Tutf8 "$page" 2>&1 > none
    done)
    printf '%s\n' "$faults"
    test -z "$faults"
}
SHELL_RUN="sh $root/tests/cmocka-tap.sh"

names="asan tsan valgrind clang static shared bare old aarch64 dist lint"
test $# -gt 0 || { sed -n '3,21s/^# \{0,1\}//p' "$0"; exit 1; }
# shellcheck disable=SC2086
test "$*" != all || set -- $names
status=0
for name; do
    case " $names " in
    *" $name "*) ;;
    *) echo "variant.sh: unknown variant '$name'" >&2; exit 1 ;;
    esac
    mkdir -p "$root/build-$name" && cd "$root/build-$name" || exit 1
    if "run_$name" > log 2>&1; then verdict=ok; else verdict=failed status=1; fi
    passed=$(cat tests/*.trs 2> /dev/null | grep -c '^:test-result: PASS')
    # distcheck's results are of the archive's own folder, which it removes.
    test "$passed" -gt 0 || passed=$(grep -c '^PASS: ' log)
    echo "variant $name: $verdict, $passed tests passed (build-$name/log)"
done
exit $status
