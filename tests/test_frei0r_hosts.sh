#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# The frei0r plugin inside programs that people have: ffmpeg, and mpv, GStreamer
# and melt where they are installed.
. "${TSR_SRCDIR:-.}/tests/cli.sh"

FREI0R_PATH=$TSR_BUILDDIR/frei0r-1
# Nothing of a home folder, and no more than two threads.
export FREI0R_PATH MLT_FREI0R_PLUGIN_PATH="$FREI0R_PATH" TESSERA_THREADS=2
export GST_REGISTRY="$work/registry" XDG_CACHE_HOME="$work"
if test ! -e "$FREI0R_PATH/tessera.so"; then
    echo "1..0 # SKIP built without shared libraries"
    exit 0
fi
if ! ffmpeg -v error -h filter=frei0r 2> "$work/none" |
    grep -q filter_params; then
    echo "1..0 # SKIP no ffmpeg with frei0r"
    exit 0
fi
ff() { ffmpeg -v error -nostdin -y "$@" < /dev/null; }

source_of() { # SIZE SECONDS
    echo "testsrc2=s=$1:r=25:d=$2"
}
# The plugin alone in a chain, on the test picture: leaves out.rgb.
filtered() { # SIZE SECONDS FILTERS
    ff -f lavfi -i "$(source_of "$1" "$2")" -vf "format=rgba,$3" \
        -vsync passthrough -pix_fmt rgb24 -f rawvideo out.rgb
}
frames() { # SIZE COUNT FILE: frame COUNT, from 0, of raw RGB
    bytes=$((3 * ${1%x*} * ${1#*x}))
    dd if="$3" bs=$bytes skip="$2" count=1 2> "$work/none"
}
same_frame() { # SIZE N A B
    frames "$1" "$2" "$3" > one.rgb
    frames "$1" "$2" "$4" | cmp -s one.rgb - && test -s one.rgb
}
side_is() { # FILE RAW: decodes to exactly these pixels
    run decode -y -f rawvideo -pix_fmt rgb24 "$1" side.rgb
    test $rc = 0 || printf ' decode: status %s;' $rc
    cmp -s "$2" side.rgb || printf ' other pixels in %s;' "$1"
    run info "$1"
    test $rc = 0 || printf ' info: status %s;' $rc
}

# --- widths: rows that ffmpeg pads ------------------------------------------
case $(ffmpeg -version) in
*"libavfilter     "[1-8].*) pad=64 ;;
*) pad=4 ;;
esac
for width in 640 642 644 650 1366; do
    media make f.png rgb $width 18 && run encode -y f.png f.tess &&
        run decode -y f.tess ref.ppm
    for pitch in '' $pad; do
        ff -i f.png -vf "frei0r=tessera:photo|0.5||$pitch" -pix_fmt rgb24 \
            -update 1 o.ppm 2> "$work/err"
        check "ffmpeg, width $width, pitch '$pitch'" media same ref.ppm o.ppm
    done
    cp f.png f$width.png && cp ref.ppm ref$width.ppm
done
ff -i f642.png -vf "pad=656:32:1:2" padded.png
run encode -y padded.png f.tess && run decode -y f.tess f.png
ff -i f.png -vf crop=642:18:1:2:exact=1 -pix_fmt rgb24 want.ppm
ff -i f642.png -vf "pad=656:32:1:2,frei0r=tessera:photo|0.5||4,\
crop=642:18:1:2:exact=1" -pix_fmt rgb24 o.ppm
check "ffmpeg, padded and cropped" media same want.ppm o.ppm

# --- time --------------------------------------------------------------------
stamps() { # FILTERS: time stamps of frames at odd times
    ff -f lavfi -i "$(source_of 48x32 0.24)" \
        -vf "$1setpts=(N*N+3)*1000,settb=1/90000" -vsync passthrough \
        -enc_time_base 1/90000 -f framemd5 - | grep -v "^#" | cut -d, -f2-4
}
stamps '' > stamps.plain
stamps frei0r=tessera, > stamps.coded
verdict "as many frames, at the same times" "$(cmp stamps.plain stamps.coded
    test "$(wc -l < stamps.plain)" = 6 || echo " not 6 frames")"
filtered 48x32 0.24 null && mv out.rgb plain.rgb
filtered 48x32 0.24 'frei0r=tessera:photo|0.2' && mv out.rgb low.rgb
filtered 48x32 0.24 "frei0r=tessera:photo|0.9|side.tess||30000/1001" 2> "$work/err"
mv out.rgb high.rgb
verdict "the side file decodes to the same" "$(side_is side.tess high.rgb)"
filtered 48x32 0.24 "frei0r=tessera:photo|0.9|side.tess:enable='gte(n,2)'"
why=
for n in 0 1 2 3 4 5; do
    test $n -lt 2 && want=plain || want=high
    same_frame 48x32 $n out.rgb $want.rgb || why="$why frame $n is not $want;"
done
tail -c $((4 * 48 * 32 * 3)) high.rgb > want.rgb
verdict "enable=" "$why$(side_is side.1.tess want.rgb)"
filtered 48x32 0.24 "sendcmd=c='0.12 frei0r filter_params photo|0.9',\
frei0r=tessera:photo|0.2|a\\\\:b.tess"
why=
for n in 0 1 2 3 4 5; do
    test $n -lt 3 && want=low || want=high
    same_frame 48x32 $n out.rgb $want.rgb || why="$why frame $n is not $want;"
done
verdict "sendcmd" "$why$(side_is a:b.tess out.rgb)"

# --- a change of size, and failures ------------------------------------------
media make s0.png rgb 20 10 && cp s0.png s1.png && media make s2.png rgb 33 7 ||
    exit 99
ff -framerate 25 -i s%d.png -vf 'frei0r=tessera:photo|0.5|size.tess' -f null -
for n in 0 2; do
    run encode -y s$n.png f.tess && run decode -y f.tess f.png
    ff -i f.png -pix_fmt rgb24 -f rawvideo size$n.rgb
done
cat size0.rgb size0.rgb > size.rgb
verdict "another size in the middle" "$(side_is size.tess size.rgb
    side_is size.1.tess size2.rgb)"
filtered 48x32 0.24 'frei0r=tessera:none|0.5|none.tess' 2> "$work/err"
verdict "no model: frames go through, said once" "$(one_line none "no model"
    cmp plain.rgb out.rgb
    test ! -e none.tess || echo " a side file")"
filtered 48x32 0.24 'frei0r=tessera:photo|0.9|no/where.tess' 2> "$work/err"
verdict "no side file: said once" "$(one_line no/where.tess "No such"
    cmp high.rgb out.rgb)"
if test -e /dev/full; then
    filtered 48x32 2 'frei0r=tessera:photo|0.9|/dev/full' 2> "$work/err"
    verdict "a full disk: said once" "$(one_line /dev/full "No space"
        head -c $((6 * 48 * 32 * 3)) out.rgb | cmp - high.rgb)"
fi

# --- the manual ----------------------------------------------------------------
ff -f lavfi -i "$(source_of 66x50 0.2)" -f lavfi -i sine=d=0.2 in.mp4
cp in.mp4 hd.mp4
ln -s "$tessera" tessera
sed -n '/^## frei0r/,/^## LADSPA/s/^    \(ffmpeg\|tessera\) /\1 /p' \
    "$TSR_SRCDIR/docs/ffmpeg.md" > lines
verdict "the manual has lines" "$(test "$(wc -l < lines)" = 6 || wc -l < lines)"
while read -r line; do
    rm -f seen.mp4
    PATH=$PWD:$PATH sh -c "${line%%  #*}" > "$work/err" 2>&1 < /dev/null
    verdict "the manual: ${line%%  *}" "$(test $? = 0 || echo " fails")"
done < lines

# --- other hosts ---------------------------------------------------------------
has() { command -v "$1" > "$work/none"; }
if has mpv; then
    timeout 100 mpv --no-config --vo=image --vo-image-format=png --vo-image-outdir=mpv \
        --vf='lavfi=[frei0r=tessera:photo|0.5]' f642.png \
        > "$work/err" 2>&1 < /dev/null
    ff -i mpv/00000001.png -pix_fmt rgb24 o.ppm
    check "mpv" media same ref642.ppm o.ppm
else
    skip "mpv is not installed"
fi
if has gst-launch-1.0 && gst-inspect-1.0 frei0r > "$work/none" 2>&1; then
    ff -i f642.png -pix_fmt rgba -f rawvideo f.rgba
    timeout 100 gst-launch-1.0 -q filesrc location=f.rgba blocksize=$((4 * 642 * 18)) ! \
        rawvideoparse width=642 height=18 format=rgba ! \
        frei0r-filter-tessera model=photo quality=0.5 sidefile=gst.tess ! \
        filesink location=o.rgba > "$work/err" 2>&1 < /dev/null
    ff -f rawvideo -pix_fmt rgba -s 642x18 -i o.rgba -pix_fmt rgb24 o.ppm
    check "GStreamer" media same ref642.ppm o.ppm
    tail -c $((3 * 642 * 18)) ref642.ppm > want.rgb
    verdict "GStreamer's side file" "$(side_is gst.tess want.rgb)"
else
    skip "GStreamer with frei0r is not installed"
fi
if has melt; then
    ff -f lavfi -i color=red:s=720x576:d=0.04,format=rgba \
        -vf 'frei0r=tessera:photo|0.3' -pix_fmt rgb24 -f rawvideo want.rgb
    # An instance that looks at the first frame, then the one that does all.
    timeout 100 melt color:red out=3 -attach frei0r.tessera 0=photo 1=0.3 \
        2=melt.tess -consumer avformat:melt.avi vcodec=rawvideo an=1 real_time=0 \
        > "$work/err" 2>&1 < /dev/null
    last=$(find . -name 'melt*.tess' | sort | head -n 1)
    cat want.rgb want.rgb want.rgb want.rgb > four.rgb
    verdict "melt" "$(side_is "$last" four.rgb)"
else
    skip "melt is not installed"
fi
finish
