#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# The LADSPA plugin in the programs that people have: ffmpeg, SoX, GStreamer,
# mpv.  Each is skipped where it is not installed.
. "${TSR_SRCDIR:-.}/tests/cli.sh"
if test ! -e "$TSR_BUILDDIR/ladspa/tessera.so"; then
    echo "1..0 # SKIP built without plugins"
    exit 0
fi
export LADSPA_PATH="$TSR_BUILDDIR/ladspa" TESSERA_MODELS="$TSR_SRCDIR/models"
unset TESSERA_SIDE
late=320

sound() { "$PYTHON" "$TSR_SRCDIR/tests/cli_sound.py" "$@"; }
heard() { "$PYTHON" "$TSR_SRCDIR/tests/plugin_sound.py" "$@"; }
has() { command -v "$1" > "$work/none" 2>&1; }
length() { sound shape "$1" | cut -d ' ' -f 4; }

# through OUT IN FILTER...: ffmpeg; leaves rc and its messages.
through() {
    to=$1 from=$2
    shift 2
    ffmpeg -v error -nostdin -y -i "$from" -af "$@" -c:a pcm_f32le "$to" \
        > "$work/out" 2> "$work/err"
    rc=$?
}

# is NAME WANT GOT
is() { verdict "$1" "$(test "$2" = "$3" || echo " '$3', not '$2'")"; }

# side_is NAME TESS WAV: the file decodes to exactly what was heard.
side_is() {
    run decode -y -sample_fmt flt "$2" side.wav
    check "$1" sound same "$3" side.wav 0
}

ffmpeg_tests() {
    ladspa=ladspa=file=tessera:plugin=tessera_sound
    ffmpeg -v info -nostdin -i in.wav -af ladspa=file=tessera -f null - \
        > "$work/out" 2> "$work/said"
    check "ffmpeg lists the labels" \
        grep -q '1:1 tessera_sound_1 .*Tessera sound, mono, 24000 Hz' "$work/said"
    ffmpeg -v info -nostdin -i in.wav -af ${ladspa}_1:controls=help -f null - \
        > "$work/out" 2> "$work/said"
    check "ffmpeg lists the controls" \
        grep -q 'c0: bitrate .*min: 0.0.*max: 64.0.*default 0.0' "$work/said"

    TESSERA_SIDE=one.tess through one.wav in.wav ${ladspa}_1:controls=c0=3:latency=1
    verdict "nothing is said" "$(test ! -s "$work/err" || echo " but it is")"
    is "latency=1: the same length" "$(length in.wav)" "$(length one.wav)"
    is "latency=1: nothing is late" 0 "$(heard lag in.wav one.wav)"
    side_is "the side file is what was heard" one.tess one.wav
    run info one.tess
    check "at its rate" grep -q ' 4 books of 1024' "$work/out"
    through plain.wav in.wav ${ladspa}_1:controls=c0=3
    check "without latency=1: later by a frame" heard delayed one.wav plain.wav $late
    is "without latency=1: the same length" "$(length in.wav)" "$(length plain.wav)"

    for n in 1 320 777; do
        through blocks.wav in.wav \
            asetnsamples=n=$n:p=0,${ladspa}_1:controls=c0=3:latency=1
        check "blocks of $n samples" cmp one.wav blocks.wav
    done
    through high.wav in.wav ${ladspa}_1:controls=c0=6:latency=1
    through auto.wav in.wav ${ladspa}_1:latency=1
    verdict "another rate, another sound" "$(! cmp -s one.wav high.wav ||
        echo " no")"
    check "no rate is the model's own, 3 kbit/s" cmp one.wav auto.wav
    through x.wav in.wav ${ladspa}_1:controls=c0=65
    verdict "a rate beyond its limits" "$(test $rc != 0 || echo " taken")"

    TESSERA_SIDE=each.tess through each.wav pair.wav ${ladspa}_1:latency=1
    TESSERA_SIDE=two.tess through two.wav pair.wav ${ladspa}_2:latency=1
    is "stereo: the same form" "$(sound shape pair.wav)" "$(sound shape two.wav)"
    is "stereo: nothing is late" "0 0" "$(heard lag pair.wav two.wav)"
    check "stereo is the same as each channel alone" cmp each.wav two.wav
    side_is "stereo: the side file" two.tess two.wav
    verdict "each channel alone: two side files" "$(
        test -s each.tess && test -s each.1.tess || echo " no")"
    through wide.wav pair.wav aresample=48000
    through narrow.wav wide.wav aresample=24000,${ladspa}_2:latency=1
    is "of 48 kHz by aresample" "$(sound shape pair.wav)" \
        "$(sound shape narrow.wav)"
    is "and not late" "0 0" "$(heard lag pair.wav narrow.wav)"

    through x.wav wide.wav ${ladspa}_2
    verdict "a wrong rate is refused" "$(test $rc = 1 || echo " status $rc;"
        test "$(grep -c '^tessera: ' "$work/err")" = 1 || echo " not one line;"
        grep -q 'aresample=24000' "$work/err" || echo " not told how")"
    head -c 1000 "$TSR_SRCDIR/models/sound.safetensors" \
        > "$work/other/sound.safetensors"
    TESSERA_MODELS=$work/other through x.wav in.wav ${ladspa}_1
    verdict "a damaged model" "$(test $rc = 1 || echo " status $rc;"
        grep -q '^tessera: sound: ' "$work/err" || echo " not said")"
    TESSERA_SIDE=$work/none/x.tess through x.wav in.wav ${ladspa}_1:latency=1
    verdict "no side file, but sound" "$(test $rc = 0 || echo " status $rc;"
        grep -q "^tessera: $work/none/x.tess: " "$work/err" || echo " not said")"
    check "the same sound" cmp one.wav x.wav
}

sound make pair.wav 24000 2 17013 f32
sound make in.wav 24000 1 17013 f32
if has ffmpeg && ! ffmpeg -v quiet -h filter=ladspa | grep -q Unknown; then
    ffmpeg_tests
else
    skip "ffmpeg with LADSPA is not installed"
fi

if has sox && sox --help | grep -qw ladspa; then
    check "SoX" sox in.wav -e float -b 32 sox.wav ladspa -l tessera \
        tessera_sound_1 3
    check "SoX: the same length, nothing is late" \
        test "$(length sox.wav) $(heard lag in.wav sox.wav)" = "17013 0"
    ! test -e one.wav || check "SoX: ffmpeg's samples" heard near one.wav sox.wav
    check "SoX: stereo" sox pair.wav -e float -b 32 sox2.wav ladspa -l tessera \
        tessera_sound_2 3
    ! test -e two.wav || check "SoX: ffmpeg's samples, stereo" \
        heard near two.wav sox2.wav
else
    skip "SoX with LADSPA is not installed"
fi

export GST_REGISTRY="$work/gst" GST_REGISTRY_FORK=no
element=ladspa-tessera-so-tessera-sound-1
if has gst-launch-1.0 && gst-inspect-1.0 $element > "$work/out" 2>&1; then
    check "GStreamer" timeout 60 gst-launch-1.0 -q filesrc location=in.wav \
        ! wavparse ! audioconvert ! $element bitrate=3 ! wavenc \
        ! filesink location=gst.wav
    check "GStreamer: the same length, later by a frame" \
        test "$(length gst.wav) $(heard lag in.wav gst.wav)" = "17013 $late"
    ! test -e plain.wav || check "GStreamer: ffmpeg's samples" \
        sound same gst.wav plain.wav 0
else
    skip "GStreamer with LADSPA is not installed"
fi

if has mpv && has ffmpeg; then
    check "mpv" timeout 60 mpv --no-config --really-quiet --o=mpv.wav --of=wav \
        --oac=pcm_f32le \
        --af='lavfi=[ladspa=file=tessera:plugin=tessera_sound_1:controls=c0=3:latency=1]' \
        in.wav
    check "mpv: ffmpeg's samples" sound same one.wav mpv.wav 0
else
    skip "mpv is not installed"
fi
finish
