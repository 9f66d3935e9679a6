#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# tessera info of files with several streams: the golden ones, sound and damaged.
. "${TSR_SRCDIR:-.}/tests/cli.sh"
golden=$TSR_SRCDIR/tests/golden

# Whether each text is a part of the output.
says() { # TEXT...
    missing=
    for text in "$@"; do
        grep -qF -e "$text" "$work/out" || missing="$missing no '$text';"
    done
    printf '%s' "$missing"
}

run info "$golden/media.tess"
verdict "text" "$(test $rc = 0 || echo " status $rc")$(says \
    'media      12.080 s, 2 streams, 0.620 kbit/s, 936 bytes' \
    'stream 0   video, 640 x 360, RGB, 8 bits, 25 frames a second' \
    'codec    hyper' 'model    photo, not on this machine' \
    'hash     101112131415161718191a1b1c1d1e1f' \
    'time     12.120 s, 0.040 s of them before 0' 'packets  5' \
    'rate     0.022 kbit/s, 34 bytes' \
    'stream 1   sound, 24000 Hz, 1 channel' \
    'codec    unknown, 4 books of 1024, entropy context' \
    'packets  3, 151 frames' 'rate     0.100 kbit/s, 25 bytes')"
run info --check "$golden/media.tess"
verdict "--check" "$(test $rc = 0 || echo " status $rc")$(says \
    'check      15 of 15 chunks are sound')"
stdin=$golden/media.tess run info --check -
verdict "--check of a pipe" "$(test $rc = 0 || echo " status $rc")$(says \
    'check      15 of 15 chunks are sound')"
run info --json --check "$golden/media.tess"
verdict "--json" "$(test $rc = 0 || echo " status $rc")$(says \
    '"duration": 12.080000, "file_bytes": 936' \
    '"type": "video", "codec": "hyper", "width": 640, "height": 360' \
    '"frame_rate": "25/1", "pixel_aspect": "1/1", "primaries": 1' \
    '"transfer": 13, "matrix": 1, "range": "limited", "model": "photo"' \
    '"model_here": false' '"time_base": "1/25", "start": -0.040000' \
    '"packets": 5, "frames": 5, "bytes": 34' \
    '"type": "audio"' '"packets": 3, "frames": 151, "bytes": 25' \
    '"chunks_sound": 15, "chunks_lost": 0, "damaged": false')"
check "--json is JSON" "$PYTHON" -c \
    'import json, sys; json.load(open(sys.argv[1]))' "$work/out"
run info "$golden/media-other.tess"
verdict "streams that are passed over" "$(test $rc = 0 || echo " status $rc")$(
    says '1 stream,' '25 frames a second' 'packets  2')"

# What is damaged says so, with status 2; what is left is told.
run info "$golden/bad/media-packet-damaged.tess"
verdict "a damaged packet" "$(test $rc = 2 || echo " status $rc")$(says \
    'damage     1 chunk lost, 48 bytes skipped' 'packets  2, 76 frames')"
run info --check "$golden/bad/media-cut.tess"
verdict "a file that is cut" "$(test $rc = 2 || echo " status $rc")$(says \
    'chunks are sound; the end is missing' 'the end is missing')"
run info --json "$golden/bad/media-head-damaged.tess"
verdict "a damaged head" "$(test $rc = 2 || echo " status $rc")$(says \
    '"lost_chunks": 1, ' '"damaged": true')$(
    grep -q '"type": "video"' "$work/out" && echo " video")"
run info "$golden/bad/media-without-a-stream.tess"
verdict "no stream left" "$(test $rc = 2 || echo " status $rc")$(
    test ! -s "$work/out" || echo " output")"
run info "$golden/bad/media-unknown-critical.tess"
verdict "unknown parts" "$(test $rc = 1 || echo " status $rc")"
finish
