#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Builds Debian's FFmpeg with the codec in it, and tests it.
#   build.sh [OPTION]...
#   --dir DIR        where all of it goes (./tessera-ffmpeg)
#   --tessera BUILD  a folder where Tessera was configured (else: built in DIR)
#   --source SOURCE  an unpacked source of FFmpeg 5.1 (else: Debian's, by apt)
#   --full           all of FFmpeg (else: little more than the test needs)
#   --jobs N         at a time (all processors)
#   --no-test        builds only
# Nothing is installed, and nothing outside DIR and BUILD is changed.
set -u
here=$(cd "$(dirname "$0")" && pwd) || exit 1
root=$(cd "$here/../../.." && pwd) || exit 1
dir=tessera-ffmpeg tessera='' source='' full=no jobs=$(nproc) test=yes

fail() {
    echo "build.sh: $1" >&2
    exit 1
}

while [ $# -gt 0 ]; do
    case $1 in
    --dir|--tessera|--source|--jobs)
        [ $# -gt 1 ] || fail "$1 needs a value"
        case $1 in
        --dir) dir=$2 ;;
        --tessera) tessera=$2 ;;
        --source) source=$2 ;;
        --jobs) jobs=$2 ;;
        esac
        shift ;;
    --full) full=yes ;;
    --no-test) test=no ;;
    -h|--help) sed -n '3,11s/^# *//p' "$0"; exit 0 ;;
    *) fail "unknown option '$1' (try: build.sh --help)" ;;
    esac
    shift
done

# Before this script leaves the folder it was called in.
absolute() {
    ( cd "$1" 2> /dev/null && pwd ) || fail "there is no folder $1"
}
[ -z "$tessera" ] || tessera=$(absolute "$tessera") || exit 1
[ -z "$source" ] || source=$(absolute "$source") || exit 1
mkdir -p "$dir" && dir=$(absolute "$dir") || exit 1
log=$dir/build.log
: > "$log" || exit 1

# step "what is done" COMMAND...: quiet, but the log keeps everything.
step() {
    printf '%s ... ' "$1"
    what=$1 begin=$(date +%s)
    shift
    "$@" >> "$log" 2>&1 || {
        echo failed
        tail -n 25 "$log" >&2
        fail "$what failed; all of it is in $log"
    }
    echo "$(($(date +%s) - begin)) s"
}

# The source package from the mirrors that apt has for programs, with a list of
# sources and a cache of its own.  apt checks it against the signed index.
fetch() {
    mkdir -p "$dir/apt/lists/partial" "$dir/apt/cache/archives/partial" \
        "$dir/debian" || return 1
    apt-get indextargets --format '$(REPO_URI) $(RELEASE)' \
        'Created-By: Packages' | sort -u |
        sed -n 's|.*/debian.*|deb-src [signed-by=KEYS] & main|p' |
        sed 's|KEYS|/usr/share/keyrings/debian-archive-keyring.gpg|' \
            > "$dir/apt/sources.list"
    [ -s "$dir/apt/sources.list" ] || {
        echo "apt has no mirror of Debian; --source names a source"
        return 1
    }
    (
        cd "$dir/debian" || exit 1
        set -- -q -o "Dir::Etc::SourceList=$dir/apt/sources.list" \
            -o Dir::Etc::SourceParts=- -o "Dir::State::Lists=$dir/apt/lists" \
            -o "Dir::Cache=$dir/apt/cache" -o APT::Sandbox::User=
        apt-get "$@" update && apt-get "$@" source --download-only ffmpeg
    )
}

unpack() {
    rm -rf "$dir/ffmpeg"
    if [ -n "$source" ]; then
        cp -R "$source" "$dir/ffmpeg"
    else
        set -- "$dir"/debian/ffmpeg_*.dsc
        [ $# = 1 ] || { echo "several sources in $dir/debian"; return 1; }
        dpkg-source --extract "$1" "$dir/ffmpeg"
    fi
}

configure_tessera() {
    [ -x "$root/configure" ] || ( cd "$root" && ./autogen.sh ) || return 1
    mkdir -p "$dir/tessera" && ( cd "$dir/tessera" && "$root/configure" )
}

# As a package is made: below a folder, which is then the prefix's parent.
install_tessera() {
    make -C "$tessera" -j"$jobs" install DESTDIR="$dir/stage" || return 1
    pc=$(find "$dir/stage" -name tessera.pc)
    sed -i "s|^prefix=|&$dir/stage|" "$pc"
}

configure_ffmpeg() {
    stage=$(dirname "$(dirname "$pc")")
    set -- --enable-libtessera --extra-ldflags="-Wl,-rpath,$stage" --disable-doc
    command -v nasm > /dev/null || set -- "$@" --disable-x86asm
    if [ $full = no ]; then
        set -- "$@" --disable-everything --disable-autodetect \
            --disable-x86asm --disable-ffplay --disable-debug \
            --enable-protocol=file,pipe --enable-indev=lavfi \
            --enable-encoder=libtessera_audio,libtessera_video \
            --enable-decoder=libtessera_audio,libtessera_video \
            --enable-encoder=pcm_s16le,pcm_f32le,rawvideo,wrapped_avframe \
            --enable-decoder=pcm_s16le,pcm_f32le,rawvideo,wrapped_avframe \
            --enable-demuxer=wav,nut,mov,matroska,concat,yuv4mpegpipe \
            --enable-muxer=wav,nut,mov,matroska,rawvideo,pcm_f32le,null \
            --enable-muxer=framehash,yuv4mpegpipe --enable-bsf=noise \
            --enable-filter=aresample,aformat,asetnsamples,anull,sine \
            --enable-filter=scale,format,null,testsrc2,vflip,alphaextract
    fi
    (
        cd "$dir/ffmpeg" &&
            PKG_CONFIG_PATH=$(dirname "$pc") ./configure "$@"
    )
}

set -- "$dir"/debian/ffmpeg_*.dsc
[ -n "$source" ] || [ -f "$1" ] ||
    step "Fetching the source of Debian's ffmpeg" fetch
if [ -z "$tessera" ]; then
    step "Configuring Tessera" configure_tessera
    tessera=$dir/tessera
fi
rm -rf "$dir/stage"
step "Building Tessera" install_tessera
step "Unpacking ffmpeg" unpack
"$here/apply.sh" --patch "$dir/ffmpeg" > "$dir/tessera-ffmpeg.patch" ||
    fail "the source of ffmpeg has changed"
step "Applying" "$here/apply.sh" "$dir/ffmpeg"
step "Configuring ffmpeg" configure_ffmpeg
step "Building ffmpeg" make -C "$dir/ffmpeg" -j"$jobs"
echo "$dir/ffmpeg/ffmpeg is ready; the patch is $dir/tessera-ffmpeg.patch"
[ $test = no ] || exec "$here/test.sh" "$dir/ffmpeg" "$dir/stage"
