#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# The LV2 plugin in ffmpeg and in lilv's tools, each skipped where it is not
# installed.
. "${TSR_SRCDIR:-.}/tests/cli.sh"
if test ! -e "$TSR_BUILDDIR/lv2/tessera.lv2/tessera.so"; then
    echo "1..0 # SKIP built without plugins"
    exit 0
fi
export LV2_PATH="$TSR_BUILDDIR/lv2" TESSERA_MODELS="$TSR_SRCDIR/models"
unset TESSERA_SIDE

sound() { "$PYTHON" "$TSR_SRCDIR/tests/cli_sound.py" "$@"; }
heard() { "$PYTHON" "$TSR_SRCDIR/tests/plugin_sound.py" "$@"; }
has() { command -v "$1" > "$work/none" 2>&1; }

# through OUT IN PLUGIN: ffmpeg, with the delay taken away by hand.
through() {
    ffmpeg -v error -nostdin -y -i "$2" -af "apad=pad_len=320,lv2=p=urn\\\\:tessera\\\\:$3:c=bitrate=3,atrim=start_sample=320,asetpts=PTS-STARTPTS" \
        -c:a pcm_f32le "$1" > "$work/out" 2> "$work/err"
    rc=$?
}

sound make pair.wav 24000 2 17013 f32
sound make in.wav 24000 1 17013 f32
sound make fast.wav 44100 1 4000 f32
if has ffmpeg && ! ffmpeg -v quiet -h filter=lv2 | grep -q Unknown; then
    export TESSERA_SIDE=one.tess
    through one.wav in.wav mono
    unset TESSERA_SIDE
    verdict "ffmpeg" "$(test $rc = 0 || echo " status $rc;"
        test ! -s "$work/err" || echo " stderr")"
    check "the same length, nothing is late" \
        test "$(sound shape one.wav | cut -d ' ' -f 4) $(heard lag in.wav one.wav)" \
        = "17013 0"
    run decode -y -sample_fmt flt one.tess side.wav
    check "the side file is what was heard" sound same one.wav side.wav 0
    through two.wav pair.wav stereo
    check "stereo" test "$(sound shape two.wav | cut -d ' ' -f 2,4) $(
        heard lag pair.wav two.wav)" = "2 17013 0 0"
    through x.wav fast.wav mono
    verdict "a wrong rate is refused" "$(test $rc != 0 || echo " status $rc;"
        grep -q '^tessera: .*aresample=24000' "$work/err" || echo " not told how")"
else
    skip "ffmpeg with LV2 is not installed"
fi
if has lv2ls && has lv2info; then
    lv2ls > "$work/said" 2> "$work/err"
    check "lv2ls" grep -qx urn:tessera:stereo "$work/said"
    lv2info urn:tessera:mono > "$work/said" 2> "$work/err"
    verdict "lv2info" "$(test ! -s "$work/err" || echo " stderr;"
        grep -q 'Has latency: *yes, reported by port 3' "$work/said" ||
            echo " no latency;"
        grep -q 'Name: *Tessera sound, mono' "$work/said" || echo " no name")"
else
    skip "lilv's tools are not installed"
fi
if has lv2apply; then
    check "lv2apply" lv2apply -i in.wav -o apply.wav -c bitrate 3 urn:tessera:mono
    check "later by a frame" test "$(heard lag in.wav apply.wav)" = 320
else
    skip "lv2apply is not installed"
fi
finish
