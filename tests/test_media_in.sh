#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Any media in: what the stock ffmpeg makes is read as ffmpeg itself reads it,
# to the frame and the sample; damage and lies have an end that is told.
. "${TSR_SRCDIR:-.}/tests/cli.sh"
dump=$TSR_BUILDDIR/tests/media_dump
tiny=$TSR_BUILDDIR/tests/tiny_sound
if test ! -x "$dump"; then
    echo "1..0 # SKIP tests/media_dump is not there"
    exit 0
fi
"$tiny" "$work/models/sound.safetensors" mono || exit 99

tool() { "$PYTHON" "$TSR_SRCDIR/tests/media_in.py" "$@" 2>&1; }

# look NAME ARGUMENT...: NAME.txt, NAME.rgb, NAME.f32 and rc of what is given.
look() {
    name=$1
    shift
    "$dump" -o "$name" "$@" > "$name.txt" 2> "$work/err" < "${stdin:-/dev/null}"
    rc=$?
}
# of NAME KIND: how many lines of v frames, samples for a.
of() { awk -v k="$2" '$1 == k { n += k == "a" ? $3 : 1 } END { print n + 0 }' \
    "$1.txt"; }
quiet() { test $rc = 0 || printf ' status %d;' $rc
    test ! -s "$work/err" || printf ' stderr;'; }

# --- in every build --------------------------------------------------------
media make a.png rgb 17 11 && media make b.png rgb16 17 11 || exit 99
{
    printf 'YUV4MPEG2 W4 H2 F10:1 Cmono\n'
    for f in 0 1 2 3 4; do printf 'FRAME\n%s%s%s%s' $f$f $f$f $f$f $f$f; done
} > five.y4m
run encode -t 0.1 five.y4m one.tess
verdict "one frame of a video is a picture" "$(test $rc = 0 ||
    echo " status $rc;"; "$tessera" info one.tess | grep -q '^picture' ||
    echo " no picture")"
run encode -s 8x9 a.png small.tess
run decode small.tess small.png
check "-s scales pictures" test "$(media shape small.png)" = "8 9 3 8"
refuses "-map of what is not there" 1 "-map 0:a" "no such stream" \
    encode -map 0:a a.png x.tess
refuses "-map that is none" 1 "-map x" "not understood" \
    encode -map x a.png x.tess
refuses "raw video without a form" 1 five.y4m "needs -pix_fmt" \
    encode -f rawvideo -i five.y4m x.tess
refuses "-s that is no size" 1 "-s 8" "1280x720" encode -s 8 a.png x.tess
head -c 20 /dev/zero | tr '\0' '\7' > grey.raw
run encode -f rawvideo -pix_fmt gray -s 5x4 -i grey.raw grey.tess
run decode grey.tess grey.png
check "raw video of one frame" test "$(media shape grey.png)" = "5 4 1 8"
head -c 59 five.y4m > cut.y4m
look cut -i cut.y4m
verdict "y4m cut in a frame" "$(test $rc = 2 || echo " status $rc;"
    test "$(of cut v)" = 2 || echo " $(of cut v) frames")"

# --- only libav reads it ---------------------------------------------------
printf 'RIFF\44\0\0\0WEBPVP8 \30\0\0\0' > x.webp
run encode x.webp x.tess
if grep -q "built without libav" "$work/err"; then
    verdict "without libav it is said how to go on" "$(
        test $rc = 2 || echo " status $rc;"
        one_line x.webp "yuv4mpegpipe")"
    finish
    exit 0
fi
if ! command -v ffmpeg > /dev/null || ! command -v ffprobe > /dev/null; then
    skip "media of all kinds: there is no ffmpeg"
    finish
    exit 0
fi
ff() { ffmpeg -nostdin -v error -y "$@" 2>> "$work/ffmpeg.log"; }
# made NAME...: whether ffmpeg could make the files; a build of it may lack codecs.
made() {
    for f in "$@"; do
        test -s "$f" || { skip "$f: this ffmpeg cannot make it"; return 1; }
    done
}

# --- sound: all of it, and parts of it, to the sample ----------------------
tone="aevalsrc='0.3*sin(2765*t)+0.2*sin(2700*t*t)':s=44100:d=3"
ff -f lavfi -i "$tone" s.wav || exit 99
# kind FILE RATE MOST PARTS OPTION...: of a part numbers may be MOST apart (what
# codecs remember comes from floats); PARTS: first sample of it in the whole.
kind() {
    file=$1 rate=$2 most=$3
    shift 3
    ff -i s.wav "$@" "$file"
    made "$file" || return
    ff -i "$file" -f f32le want.f32
    look d -i "$file"
    verdict "$file is as long as ffmpeg has it, and the same" "$(quiet
        cmp d.f32 want.f32 2>&1)"
    look e -ss 1.25 -t 0.5 -i "$file"
    verdict "$file from 1.25 s on" "$(quiet
        tool part want.f32 e.f32 $((rate * 5 / 4)) $((rate / 2)) f "$most")"
}
kind s.flac 44100 0
kind s.mp3 44100 0 -c:a libmp3lame -b:a 64k
kind s.opus 48000 0 -c:a libopus
kind s.ogg 44100 0 -c:a libvorbis
kind s.m4a 44100 1e-4 -c:a aac
kind lossless.m4a 44100 0 -c:a alac
kind law.wav 44100 0 -c:a pcm_mulaw
kind s.aiff 44100 0
kind s.wv 44100 0 -c:a wavpack
for file in s.flac s.opus s.wv; do
    made $file || continue
    ff -i $file -f f32le want.f32
    cat $file | "$dump" -i - -o d > d.txt 2> "$work/err"
    rc=$?
    verdict "$file through a pipe" "$(quiet; cmp d.f32 want.f32 2>&1)"
done
ff -f lavfi -i "aevalsrc=0.1*sin(100*t)|0.2|0.3|0|0.1|0.2|0.3|0.4:s=48000:d=0.3:c=7.1" \
    eight.flac
ff -i eight.flac -f f32le want.f32
look d -i eight.flac
verdict "eight channels" "$(quiet; cmp d.f32 want.f32 2>&1)"
look d -ac 8 -ar 24000 -i eight.flac
verdict "eight channels at half the rate" "$(quiet
    test "$(of d a)" = 7200 || echo " $(of d a) samples")"
run encode eight.flac eight.tess
verdict "eight channels for a mono model" "$(test $rc = 0 ||
    echo " status $rc;"; one_line eight.flac "mixed to one; -ac 8")"
run encode -ac 8 -ss 0.1 -t 0.1 eight.flac -y eight.tess
run decode eight.tess eight.wav
verdict "-ac 8, cut" "$(test $rc = 0 || echo " status $rc")"
run encode s.flac f.tess
run encode s.wav w.tess
check "FLAC and WAV make the same stream" cmp f.tess w.tess
run compare --json s.flac s.wav
verdict "compare of FLAC and WAV" "$(grep -q '"identical": true' "$work/out" ||
    echo " no")"
run tokens s.flac f.npy
run tokens s.wav w.npy
check "tokens of FLAC and WAV" cmp f.npy w.npy

# --- pictures --------------------------------------------------------------
ff -f lavfi -i testsrc2=s=66x50 -frames:v 1 -pix_fmt rgb24 p.png
for form in rgb24 rgba ya8 gray rgb48be gray16be rgba64be pal8 monob; do
    ff -i p.png -pix_fmt $form form.png
    look own -i form.png
    look av -f png_pipe -i form.png
    verdict "PNG $form: libav and our reader agree" "$(quiet
        cmp own.rgb av.rgb 2>&1)"
done
for end in jpg webp bmp tiff gif jxl avif jp2; do
    ff -i p.png p.$end
    made p.$end || continue
    run encode -y p.$end p.tess
    why=$(test $rc = 0 || echo " status $rc;"
        test ! -s "$work/err" || echo " stderr;")
    run info p.tess
    verdict "$end" "$why$(grep -q '^picture *66 x 50' "$work/out" ||
        echo " $(head -n 1 "$work/out")")"
done
ff -i p.png -lossless 1 lossless.webp
run compare --json p.png lossless.webp
verdict "lossless WebP is the PNG" "$(grep -q '"psnr": null' "$work/out" ||
    echo " no")"
for n in 1 3 6 8; do
    tool orient p.jpg $n turned.jpg
    ff -i turned.jpg -vf scale=flags=lanczos+accurate_rnd+full_chroma_int+full_chroma_inp \
        -pix_fmt rgb24 -f rawvideo want.rgb
    look d -i turned.jpg
    verdict "JPEG of orientation $n" "$(quiet; cmp d.rgb want.rgb 2>&1)"
done
tool profile p.jpg "Wide Gamut" icc.jpg
look d -i icc.jpg
verdict "an ICC profile is told" "$(test $rc = 0 || echo " status $rc;"
    one_line icc.jpg "ICC")"
tool profile p.jpg "sRGB IEC" icc.jpg
look d -i icc.jpg
verdict "one of sRGB is not" "$(quiet)"
head -c 1500 p.jpg > half.jpg
refuses "half a JPEG" 2 half.jpg "decoded" encode half.jpg x.tess
head -c 900 p.webp > half.webp
refuses "half a WebP" 2 half.webp "picture" encode half.webp x.tess
refuses "JPEG over -max_pixels" 4 p.jpg "max_pixels" encode -max_pixels 100 p.jpg x.tess

# --- colour ----------------------------------------------------------------
# colour FORM FROM SIZE MATRIX RAW CODE: frames of FFV1 become what ffmpeg makes of
# them when it is told the same.
colour() {
    ff -f lavfi -i testsrc2=s=$3:r=5:d=0.4 -pix_fmt $1 -c:v ffv1 -strict -2 v.mkv
    ff -i v.mkv -vf "scale=in_color_matrix=$4:in_range=tv$2:flags=lanczos+accurate_rnd+full_chroma_int+full_chroma_inp" \
        -pix_fmt $5 -f rawvideo want.rgb
    look d -i v.mkv
    verdict "$1 of $3" "$(quiet; tool near d.rgb want.rgb $6 0)"
}
left=:in_h_chr_pos=0:in_v_chr_pos=128
colour yuv420p $left 66x50 bt601 rgb24 B
colour yuv420p $left 34x720 bt709 rgb24 B
colour yuv422p :in_h_chr_pos=0 66x50 bt601 rgb24 B
colour yuv444p "" 66x50 bt601 rgb24 B
colour yuva420p $left 66x50 bt601 rgba B
for form in "rgb24 rgb24" "gbrp rgb24" "bgr0 rgb24" "gbrp10le rgb48le" \
    "rgba rgba" "gray gray" "gray16le gray16le" "ya8 ya8"; do
    ff -f lavfi -i testsrc2=s=35x21:r=5:d=0.4 -pix_fmt ${form% *} -c:v ffv1 \
        -strict -2 v.mkv
    made v.mkv || continue
    ff -i v.mkv -pix_fmt ${form#* } -f rawvideo want.rgb
    look d -i v.mkv
    verdict "${form% *} is exact" "$(quiet; cmp d.rgb want.rgb 2>&1)"
done
# swscale's white of 16 bits is 65280; ours is 65535, whoever reads it.
for form in yuv444p10le yuv444p12le yuv444p16le; do
    ff -f lavfi -i testsrc2=s=66x50:r=5:d=0.2 -pix_fmt $form -strict -1 \
        -f yuv4mpegpipe q.y4m
    ff -i q.y4m -strict -2 -c:v ffv1 q.mkv
    made q.mkv || continue
    look own -i q.y4m
    look av -i q.mkv
    verdict "$form: libav and our reader agree" "$(quiet
        tool near own.rgb av.rgb H 3)"
done
{
    printf 'YUV4MPEG2 W2 H2 F1:1 C444p10\nFRAME\n'
    printf '\254\003\254\003\254\003\254\003'
    printf '\000\002\000\002\000\002\000\002\000\002\000\002\000\002\000\002'
} > white.y4m
ff -i white.y4m -vf format=yuva444p10le -strict -2 -c:v ffv1 white.mkv
made white.mkv && {
    look d -i white.mkv
    verdict "white and opaque, of 10 bits" "$(quiet
        test "$(od -v -An -tx1 d.rgb | tr -d ' \nf')" = "" || echo " is not")"
}
for form in "yuv420p 2 B" "yuv444p 1 B" "gray 0 B"; do
    set -- $form
    # Not the source "gradients", which is another one every time.
    ff -f lavfi -i "color=s=130x98:r=5:d=0.4,format=gbrp,geq=r=X+8*N:g=2*Y+9:b=240-X" \
        -pix_fmt $1 -strict -1 -f yuv4mpegpipe g.y4m
    look own -i g.y4m
    look av -f yuv4mpegpipe -i g.y4m
    test $1 = gray && raw=gray || raw=rgb24
    ff -i g.y4m -vf scale=in_color_matrix=bt601:flags=bilinear+accurate_rnd+full_chroma_int+full_chroma_inp \
        -pix_fmt $raw -f rawvideo want.rgb
    verdict "y4m $1 against swscale" "$(quiet; tool near own.rgb want.rgb $3 $2)"
done

# --- video: every frame at its time ----------------------------------------
ff -f lavfi -i testsrc2=s=66x50:r=25:d=3 -f lavfi -i "$tone" \
    -c:v libx264rgb -qp 0 -g 20 -bf 2 -c:a flac rgb.mkv
made rgb.mkv && {
    ff -i rgb.mkv -pix_fmt rgb24 -f rawvideo want.rgb
    ff -i rgb.mkv -f f32le want.f32
    look d -i rgb.mkv
    verdict "frames and sound" "$(quiet; cmp d.rgb want.rgb 2>&1
        cmp d.f32 want.f32 2>&1)"
    for ss in 0.5 1.52 2.9; do
        ff -ss $ss -i rgb.mkv -vsync passthrough -pix_fmt rgb24 -f rawvideo \
            want.rgb
        look d -ss $ss -i rgb.mkv
        verdict "-ss $ss, to the frame" "$(quiet; cmp d.rgb want.rgb 2>&1)"
        cat rgb.mkv | "$dump" -ss $ss -i - -o p > p.txt 2> "$work/err"
        check "-ss $ss through a pipe" cmp p.rgb want.rgb
    done
    look d -ss 1 -t 0.4 -i rgb.mkv
    verdict "-t" "$(quiet; test "$(of d v) $(of d a)" = "10 17640" ||
        echo " $(of d v) frames, $(of d a) samples")"
    look d -map 0:a -i rgb.mkv
    verdict "-map 0:a" "$(quiet; test "$(of d v)" = 0 || echo " frames")"
    look d -map -0:a -i rgb.mkv
    verdict "-map -0:a" "$(quiet; test "$(of d a)" = 0 || echo " sound")"
    look d -map 0:2 -i rgb.mkv
    verdict "-map of no stream" "$(test $rc = 1 || echo " status $rc;"
        one_line "-map 0:2" "no such stream")"
    look d -s 33x21 -t 0.1 -i rgb.mkv
    verdict "-s" "$(quiet; grep -q ' 33x21x3x8$' d.txt || echo " no")"
}
ff -f lavfi -i testsrc2=s=66x50:r=5:d=0.4 -c:v libx264rgb -qp 0 flat.mp4
for degrees in 90 180 270; do
    ff -i flat.mp4 -c copy -metadata:s:v rotate=$degrees turned.mp4
    made turned.mp4 || continue
    ff -i turned.mp4 -pix_fmt rgb24 -f rawvideo want.rgb
    look d -i turned.mp4
    verdict "MP4 turned by $degrees degrees" "$(quiet; cmp d.rgb want.rgb 2>&1)"
done
ff -f lavfi -i testsrc2=s=64x48:r=25:d=2 \
    -vf "select='not(mod(n,3))+lt(n,10)'" -vsync vfr -c:v ffv1 vfr.mkv
ffprobe -v error -show_entries packet=pts,duration -of csv=p=0 vfr.mkv > vfr.csv
look d -i vfr.mkv
verdict "variable frame rate" "$(quiet; tool times d.txt vfr.csv)"
ff -i s.mp3 -i p.png -map 0 -map 1 -c copy cover.mp3
if made cover.mp3; then
    look d -i cover.mp3
    verdict "a cover is no video" "$(quiet; test "$(of d v)" = 0 ||
        echo " it is")"
    look d -map 0:v -i cover.mp3
    verdict "unless it is asked for" "$(quiet; test "$(of d v)" = 1 ||
        echo " no")"
fi

# --- damage ----------------------------------------------------------------
ff -f lavfi -i testsrc2=s=160x90:r=25:d=4 -f lavfi -i sine=440:d=4 \
    -c:v libx264 -g 25 -c:a aac av.mp4
made av.mp4 || { finish; exit 0; }
ff -i av.mp4 -c copy -movflags +faststart fast.mp4
ff -i av.mp4 -c copy -movflags frag_keyframe+empty_moov+skip_trailer frag.mp4
# Bit-exact: mkv has random numbers in it otherwise, and damage another effect each time.
for end in mkv nut flv avi; do ff -i av.mp4 -c copy -fflags +bitexact av.$end; done
for file in fast.mp4 frag.mp4 av.mkv av.nut av.flv av.avi; do
    look d -i $file
    verdict "$file, whole" "$(quiet; test "$(of d v)" = 100 ||
        echo " $(of d v) frames")"
    cat $file | "$dump" -i - -o d > d.txt 2> "$work/err"
    rc=$?
    verdict "$file, whole, through a pipe" "$(quiet
        test "$(of d v)" = 100 || echo " $(of d v) frames")"
    head -c $(($(wc -c < $file) * 6 / 10)) $file > cut.bin
    look d -i cut.bin
    verdict "$file, cut short" "$(test $rc = 2 || echo " status $rc;"
        test "$(of d v)" -ge 50 || echo " $(of d v) frames;"
        grep -q cut.bin "$work/err" || echo " not told")"
    tool harm $file harmed.bin
    look d -i harmed.bin
    verdict "$file, damaged" "$(test $rc = 2 || echo " status $rc;"
        test "$(of d v)" -ge 80 || echo " $(of d v) frames;"
        grep -q "left out" "$work/err" || echo " not told")"
done
cat av.mp4 | "$tessera" encode - - > "$work/out" 2> "$work/err"
rc=$?
verdict "MP4 with its index last through a pipe" "$(test $rc = 1 ||
    echo " status $rc;"; one_line input "faststart")"
head -c 20000 av.mp4 > cut.mp4
refuses "MP4 without its index" 2 cut.mp4 "damaged" encode cut.mp4 x.tess
ff -i fast.mp4 -c copy -encryption_scheme cenc-aes-ctr \
    -encryption_key 00112233445566778899aabbccddeeff \
    -encryption_kid 00112233445566778899aabbccddeeff drm.mp4
look d -i drm.mp4
verdict "encrypted" "$(test $rc = 2 || echo " status $rc;"
    one_line drm.mp4 DRM)"
printf '1\n00:00:01,000 --> 00:00:02,000\nhello\n' > words.srt
refuses "neither pictures nor sound" 2 words.srt "neither" encode words.srt x.tess
printf '#EXTM3U\n#EXTINF:1,\nav.mp4\n#EXT-X-ENDLIST\n' > list.m3u8
refuses "a list of other files" 2 list.m3u8 "not opened" encode list.m3u8 x.tess
refuses "a format that is none" 1 nonsense "unknown input format" \
    encode -f nonsense -i av.mp4 x.tess
look d -v verbose -i harmed.bin
verdict "libav talks when it is asked to" "$(grep -q libav "$work/err" ||
    echo " it does not")"
finish
