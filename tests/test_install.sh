#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# What make install puts down is all that somebody else's program needs: the
# examples, and a program in C++, are built by what pkg-config says, and run.
: "${TSR_SRCDIR:=.}" "${TSR_BUILDDIR:=.}" "${CC:=cc}" "${CXX:=c++}"
work=$(mktemp -d) || exit 99
trap 'rm -rf "$work"' EXIT
count=0

# check NAME COMMAND...
check() {
    name=$1
    shift
    count=$((count + 1))
    if "$@" > "$work/said" 2>&1; then
        echo "ok $count - $name"
    else
        echo "not ok $count - $name"
        tail -n 20 "$work/said" | sed 's/^/# /'
    fi
}
skip() {
    count=$((count + 1))
    echo "ok $count - $1 # SKIP $2"
}

root=$work/root
if ! command -v pkg-config > "$work/said"; then
    echo "1..0 # SKIP no pkg-config"
    exit 0
fi
check "make install" env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL \
    make -C "$TSR_BUILDDIR" -s install DESTDIR="$root"
pc=$(find "$root" -name tessera.pc)
test -n "$pc" || { echo "1..$count"; exit 0; }
lib=${pc%/pkgconfig/tessera.pc}
models=$(find "$root" -name photo.safetensors)
export PKG_CONFIG_SYSROOT_DIR="$root" PKG_CONFIG_PATH="${pc%/tessera.pc}" \
    LD_LIBRARY_PATH="$lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" \
    TESSERA_MODELS="${models%/*}" LC_ALL=C
flags() { # PACKAGE: in a build without a shared library, all that it needs
    if test -e "$lib/libtessera.so"; then
        pkg-config --cflags --libs "$1"
    else
        pkg-config --static --cflags --libs "$1"
    fi
}

check "the version that pkg-config says is the program's" \
    test "tessera $(pkg-config --modversion tessera)" = \
    "$("${lib%/lib*}/bin/tessera" version)"
for example in "$TSR_SRCDIR"/examples/*.c; do
    name=$(basename "$example" .c)
    package=tessera
    grep -q 'kv_stream.h\|store.h' "$example" && package=tessera-net
    # shellcheck disable=SC2046,SC2086
    check "example $name, by pkg-config" $CC $CFLAGS -o "$work/$name" "$example" \
        $(flags $package) -lm
done
cd "$work" || exit 99
printf 'P6\n48 32\n255\n' > in.ppm
head -c 4608 /dev/zero | tr '\0' 'x' >> in.ppm
check "a picture is encoded" ./encode_picture in.ppm a.tess 70
check "and decoded" ./decode_picture a.tess a.ppm
check "to its size" test "$(wc -c < in.ppm)" = "$(wc -c < a.ppm)"
check "a cache goes to a store and back" ./kv_push_pull "$work/store"

for header in "$root$(pkg-config --variable=includedir tessera |
    sed "s|^$root||")"/tessera/*.h; do
    echo "#include <tessera/$(basename "$header")>"
done > all.cc
cat >> all.cc <<'C'
int main()
{
    tsr_context *ctx = 0;
    const bool good = tsr_context_open(&ctx, nullptr) == TSR_OK;
    tsr_context_close(&ctx);
    return good ? 0 : 1;
}
C
: > empty.cc
if $CXX -fsyntax-only empty.cc 2> said; then
    # shellcheck disable=SC2046,SC2086
    check "all headers in one program in C++" $CXX $CFLAGS -std=c++11 -Wall -Wextra \
        -Wpedantic -Werror all.cc -o all $(flags tessera) -lm
    check "which runs" ./all
else
    skip "all headers in one program in C++" "no C++ compiler"
fi

# A program that is linked now must find the library for as long as its
# interface is the same.
if test -e "$lib/libtessera.so" && command -v readelf > said; then
    for name in libtessera libtessera-net; do
        soname=$(readelf -d "$lib/$name.so" | sed -n 's/.*(SONAME).*\[\(.*\)\]/\1/p')
        check "$name: its name is there as a file" test -n "$soname" -a \
            -e "$lib/$soname"
    done
else
    skip "names of shared libraries" "no shared library, or no readelf"
fi
echo "1..$count"
