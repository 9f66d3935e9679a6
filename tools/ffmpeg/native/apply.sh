#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Puts the codec into an unpacked source of FFmpeg 5.1.
#   apply.sh SOURCE             changes SOURCE
#   apply.sh --patch SOURCE     prints the change, and leaves SOURCE alone
# Each insertion has an anchor, a line's beginning that must be there exactly
# once; if one is not, nothing at all is changed.
set -u
here=$(cd "$(dirname "$0")" && pwd) || exit 1
patch=no
[ "${1-}" != --patch ] || { patch=yes; shift; }
[ $# = 1 ] || { sed -n '4,5s/^# *//p' "$0" >&2; exit 1; }
source=$1
new=$(mktemp -d) || exit 1
trap 'rm -rf "$new"' EXIT

fail() {
    echo "apply.sh: $1" >&2
    exit 1
}

[ -f "$source/libavcodec/allcodecs.c" ] || fail "no source of FFmpeg in $source"
! grep -q TESSERA "$source/libavcodec/codec_id.h" || fail "$source has the codec already"

# insert FILE before|after ANCHOR: the lines of standard input, there.
insert() {
    [ -f "$new/$1" ] || { mkdir -p "$new/${1%/*}" && cp "$source/$1" "$new/$1"; } ||
        fail "$1 is not there"
    text=$(cat) where=$2 anchor=$3 awk '
        function put() { print ENVIRON["text"]; found++ }
        { hit = index($0, ENVIRON["anchor"]) == 1 }
        hit && ENVIRON["where"] == "before" { put() }
        { print }
        hit && ENVIRON["where"] == "after" { put() }
        END { exit found != 1 }' "$new/$1" > "$new/next" ||
        fail "$1: '$3' is not there exactly once"
    cat "$new/next" > "$new/$1"     # keeps the mode
    rm "$new/next"
}

cd "$source" || exit 1
source=$PWD

# ---- the build ----
cp configure "$new/configure" || exit 1
insert configure before '  --enable-libtesseract ' <<'T'
  --enable-libtessera      enable Tessera neural codecs via libtessera [no]
T
insert configure before '    libtesseract' <<'T'
    libtessera
T
insert configure before 'libtheora_encoder_deps=' <<'T'
libtessera_audio_decoder_deps="libtessera"
libtessera_audio_encoder_deps="libtessera"
libtessera_audio_encoder_select="audio_frame_queue"
libtessera_video_decoder_deps="libtessera"
libtessera_video_encoder_deps="libtessera"
T
insert configure before 'enabled libtesseract ' <<'T'
enabled libtessera        && require_pkg_config libtessera "tessera >= 0.1.0" tessera/video.h tsr_video_encoder_open
T
insert libavcodec/Makefile before 'OBJS-$(CONFIG_LIBTHEORA_ENCODER)' <<'T'
OBJS-$(CONFIG_LIBTESSERA_AUDIO_DECODER)   += libtessera_audiodec.o libtessera.o
OBJS-$(CONFIG_LIBTESSERA_AUDIO_ENCODER)   += libtessera_audioenc.o libtessera.o
OBJS-$(CONFIG_LIBTESSERA_VIDEO_DECODER)   += libtessera_videodec.o libtessera.o
OBJS-$(CONFIG_LIBTESSERA_VIDEO_ENCODER)   += libtessera_videoenc.o libtessera.o
T

# ---- the codecs ----
insert libavcodec/allcodecs.c before \
    'extern const FFCodec ff_libtheora_encoder;' <<'T'
extern const FFCodec ff_libtessera_audio_encoder;
extern const FFCodec ff_libtessera_audio_decoder;
extern const FFCodec ff_libtessera_video_encoder;
extern const FFCodec ff_libtessera_video_decoder;
T
# Far from FFmpeg's own numbers, which grow with each release.
insert libavcodec/codec_id.h before '    /* various PCM "codecs" */' <<'T'
    AV_CODEC_ID_TESSERA_VIDEO = 0xFE00,
T
insert libavcodec/codec_id.h before '    /* subtitle codecs */' <<'T'
    AV_CODEC_ID_TESSERA_AUDIO = 0x16E00,
T
insert libavcodec/codec_desc.c before '    /* various PCM "codecs" */' <<'T'
    {
        .id        = AV_CODEC_ID_TESSERA_VIDEO,
        .type      = AVMEDIA_TYPE_VIDEO,
        .name      = "tessera_video",
        .long_name = NULL_IF_CONFIG_SMALL("Tessera video"),
        .props     = AV_CODEC_PROP_INTRA_ONLY | AV_CODEC_PROP_LOSSY,
    },
T
insert libavcodec/codec_desc.c before '    /* subtitle codecs */' <<'T'
    {
        .id        = AV_CODEC_ID_TESSERA_AUDIO,
        .type      = AVMEDIA_TYPE_AUDIO,
        .name      = "tessera_audio",
        .long_name = NULL_IF_CONFIG_SMALL("Tessera audio"),
        .props     = AV_CODEC_PROP_INTRA_ONLY | AV_CODEC_PROP_LOSSY,
    },
T

# ---- MOV, NUT, Matroska ----
insert libavformat/isom_tags.c after \
    'const AVCodecTag ff_codec_movvideo_tags[]' <<'T'
    { AV_CODEC_ID_TESSERA_VIDEO, MKTAG('T', 'S', 'R', 'v') },
T
insert libavformat/isom_tags.c after \
    'const AVCodecTag ff_codec_movaudio_tags[]' <<'T'
    { AV_CODEC_ID_TESSERA_AUDIO,   MKTAG('T', 'S', 'R', 'a') },
T
insert libavformat/nut.c after 'const AVCodecTag ff_nut_video_tags[]' <<'T'
    { AV_CODEC_ID_TESSERA_VIDEO,    MKTAG('T', 'S', 'R', 'v') },
T
insert libavformat/nut.c after 'const AVCodecTag ff_nut_audio_extra_tags[]' <<'T'
    { AV_CODEC_ID_TESSERA_AUDIO,    MKTAG('T', 'S', 'R', 'a') },
T
insert libavformat/matroska.c after 'const CodecTags ff_mkv_codec_tags[]' <<'T'
    {"A_TESSERA"        , AV_CODEC_ID_TESSERA_AUDIO},
    {"V_TESSERA"        , AV_CODEC_ID_TESSERA_VIDEO},
T
insert libavformat/matroskaenc.c after \
    'static const AVCodecTag additional_audio_tags[]' <<'T'
    { AV_CODEC_ID_TESSERA_AUDIO, 0xFFFFFFFF },
T
insert libavformat/matroskaenc.c after \
    'static const AVCodecTag additional_video_tags[]' <<'T'
    { AV_CODEC_ID_TESSERA_VIDEO, 0xFFFFFFFF },
T

for file in "$here"/libtessera*.[ch]; do
    cp "$file" "$new/libavcodec/" || exit 1
done

cd "$new" || exit 1
find . -type f | sed 's,^\./,,' | sort | while read -r file; do
    if [ $patch = no ]; then
        cat "$file" > "$source/$file" || exit 1
    elif [ -f "$source/$file" ]; then
        diff -u --label "a/$file" --label "b/$file" "$source/$file" "$file"
    else
        diff -u --label /dev/null --label "b/$file" /dev/null "$file"
    fi
    [ $? -le 1 ] || exit 1
done
