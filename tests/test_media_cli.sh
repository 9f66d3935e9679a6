#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Video and sound through the program: encode, decode and remux, pipes, cuts,
# damage, signals, memory; with the stock ffmpeg where it is installed.
. "${TSR_SRCDIR:-.}/tests/cli.sh"

video() { "$PYTHON" "$TSR_SRCDIR/tests/cli_video.py" "$@"; }

tiny=$TSR_BUILDDIR/tests/tiny_sound
"$tiny" "$work/models/sound.safetensors" mono || exit 99

# damaged NAME WORDS ARGUMENT...: status 2, one line that matches WORDS.
damaged() {
    name=$1 words=$2
    shift 2
    run "$@"
    verdict "$name" "$(test $rc = 2 || echo " status $rc;"
        test "$(wc -l < "$work/err")" = 1 || echo " not one line;"
        grep -q -- "$words" "$work/err" || echo " no '$words'")"
}

# equal NAME TEXT WANTED
equal() { verdict "$1" "$(test "$2" = "$3" || echo " '$2', not '$3'")"; }
same() { verdict "$1" "$(cmp "$2" "$3" 2>&1)"; }
lines() { wc -l < "$1" | tr -d ' '; }

# half FILE COPY: its first half.
half() { head -c $(($(wc -c < "$1") / 2)) "$1" > "$2"; }

# --- frames, with our own readers and writers only ---------------------------
video y4m in.y4m 48 32 12
quiet "y4m" encode in.y4m clip.tess
video packets clip.tess > clip.txt
equal "a packet for each frame" "$(lines clip.txt)" 12
equal "times" "$(cut -d ' ' -f 2,3 clip.txt | head -n 3 | tr '\n' ,)" "0 1,1 1,2 1,"
quiet "back to y4m" decode clip.tess out.y4m
equal "its shape" "$(video shape out.y4m)" "48 32 25:1 420jpeg 12"
quiet "yuv444p" decode -pix_fmt yuv444p clip.tess y444.y4m
equal "its shape" "$(video shape y444.y4m)" "48 32 25:1 444 12"
quiet "10 bits" decode -pix_fmt yuv420p10le clip.tess p10.y4m
equal "their shape" "$(video shape p10.y4m)" "48 32 25:1 420p10 12"
for fmt in rgb24:3 rgba:4 rgb48le:6 gray:1; do
    quiet "raw ${fmt%:*}" decode -y -pix_fmt ${fmt%:*} -f rawvideo clip.tess raw
    equal "its size" "$(wc -c < raw | tr -d ' ')" $((48 * 32 * 12 * ${fmt#*:}))
done
run decode -y -frames:v 1 -f rawvideo clip.tess rgb.raw
run decode -y -frames:v 1 -f rawvideo -pix_fmt yuv444p clip.tess yuv.raw
check "colours, BT.601" video same_colours yuv.raw rgb.raw 48 32 601 0
quiet "one frame as a picture" decode -ss 0.2 clip.tess one.png
quiet "a picture for each frame" decode clip.tess f%03d.png
verdict "their names" "$(test -f f001.png && test -f f012.png &&
    test ! -f f013.png || ls f*.png)"
same "the one at 0.2 s" one.png f006.png
quiet "-ss and -t" decode -y -ss 0.1 -t 0.2 clip.tess cut.y4m
equal "so many frames" "$(video shape cut.y4m)" "48 32 25:1 420jpeg 5"
quiet "-frames:v" decode -y -frames:v 3 clip.tess cut.y4m
equal "so many frames" "$(video shape cut.y4m)" "48 32 25:1 420jpeg 3"
quiet "-r doubles frames" decode -y -r 50 clip.tess cut.y4m
equal "so many frames" "$(video shape cut.y4m)" "48 32 50:1 420jpeg 24"
quiet "-r drops frames" decode -y -r 12.5 clip.tess cut.y4m
verdict "so many frames" "$(video shape cut.y4m | grep -q ' 6$' ||
    video shape cut.y4m)"
stdin=in.y4m run encode - -
cp "$work/out" piped.tess
same "through pipes" piped.tess clip.tess
stdin=clip.tess run decode - -f yuv4mpegpipe -
cp "$work/out" piped.y4m
same "and back" piped.y4m out.y4m
refuses "video in a WAV file" 1 x.wav "no sound" decode clip.tess x.wav
refuses "an unknown kind of file" 1 x.abc "abc is no kind of file" \
    decode clip.tess x.abc
refuses "pixels that y4m has not" 1 rgb24 "y4m has no such pixels" \
    decode -pix_fmt rgb24 clip.tess x.y4m
refuses "-to before -ss" 1 "-to" "lies before" \
    decode -ss 2 -to 1 clip.tess x.y4m
damaged "-ss behind the end" "nothing after -ss" decode -y -ss 9 clip.tess x.y4m

# --- progress ----------------------------------------------------------------
run encode -y -progress keys.txt in.y4m clip.tess
equal "-progress as ffmpeg's" "$(grep -v '^stream_\|^percent\|^left_us\|^elapsed_us' \
    keys.txt | tail -n 11 | cut -d = -f 1 | tr '\n' ' ')" "frame fps bitrate \
total_size out_time_us out_time_ms out_time dup_frames drop_frames speed progress "
verdict "its values" "$(tail -n 16 keys.txt > last.txt
    for word in frame=12 out_time_us=480000 out_time=00:00:00.480000 \
        progress=end "total_size=$(wc -c < clip.tess | tr -d ' ')"; do
        grep -qx "$word" last.txt || echo " no $word;"
    done)"
run encode -y -stats in.y4m clip.tess
verdict "-stats as ffmpeg's" "$(tr '\r' '\n' < "$work/err" | grep -q \
    '^frame= *[0-9]* fps= *[0-9.]* q=50.0 size= *[0-9]*kB time=00:00:00.[0-9]* bitrate=.* speed=' ||
    echo " another line")"

# --- remux -------------------------------------------------------------------
quiet "remux" remux clip.tess copy.tess
same "as it was" copy.tess clip.tess
quiet "a part" remux -y -ss 0.2 -t 0.16 clip.tess part.tess
video bodies part.tess 0 > part.txt
video bodies clip.tess 0 | sed -n 6,9p > want.txt
same "its packets" part.txt want.txt
equal "its times" "$(video packets part.tess | cut -d ' ' -f 2 | tr '\n' ' ')" \
    "0 1 2 3 "
run encode f001.png still.tess
refuses "a picture" 2 still.tess "holds one picture" remux still.tess x.tess
refuses "no output" 1 "output" "its name" remux clip.tess
refuses "another kind of output" 1 x.mp4 "tess, mov and nut" \
    remux clip.tess x.mp4
refuses "no stream left" 1 clip.tess "no stream is left" \
    remux -vn clip.tess x.tess
refuses "no such stream" 1 "0:7" "no such stream" \
    remux -map 0:7 clip.tess x.tess

# --- damage ------------------------------------------------------------------
video flip clip.tess bad.tess 4
damaged "a damaged packet" "damaged or lost" decode -y bad.tess bad.y4m
equal "the frame before it stays" "$(video shape bad.y4m)" \
    "48 32 25:1 420jpeg 12"
half clip.tess cut.tess
damaged "a file that is cut" "ends too early" decode -y cut.tess cut.y4m
verdict "what there was" "$(video shape cut.y4m | grep -q ' [1-9][0-9]*$' ||
    echo none)"
damaged "the same, copied" "ends too early" remux -y cut.tess cut2.tess
quiet "the copy is whole" decode -y cut2.tess cut2.y4m
same "and the same" cut2.y4m cut.y4m

# --- signals -----------------------------------------------------------------
for name in SIGINT SIGTERM; do
    rm -f keys.txt
    equal "$name while encoding" "$(video stop $name keys.txt "$tessera" encode \
        -y -v quiet -progress keys.txt - stopped.tess)" 255
    quiet "the file is whole" decode -y stopped.tess stopped.y4m
    verdict "and has frames" "$(video shape stopped.y4m | awk \
        '{ if (!($5 >= 5)) print }')"
    verdict "nothing else is left" "$(ls ./*.part 2> "$work/none")"
done

# --- memory ------------------------------------------------------------------
# In a build with ASan freed blocks are kept for a while, 256 MB of them unless told.
export ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}quarantine_size_mb=1"
video y4m short.y4m 64 48 50
video y4m long.y4m 64 48 400
for what in "encode -y @.y4m @.tess" "decode -y @.tess @.out.y4m" \
    "remux -y @.tess @.copy.tess"; do
    a=$(video rss "$tessera" $(echo "$what" | sed s/@/short/g))
    b=$(video rss "$tessera" $(echo "$what" | sed s/@/long/g))
    verdict "constant memory: ${what%% *}" "$(
        test $((b * 10)) -lt $((a * 11)) || echo " $a kB, then $b kB")"
done

# --- MOV and NUT -------------------------------------------------------------
run remux clip.tess x.mov
if grep -q "built without" "$work/err"; then
    skip "MOV and NUT: built without libav"
    finish
    exit
fi
"$PYTHON" "$TSR_SRCDIR/tests/cli_sound.py" make tone.wav 24000 1 60000
run encode -packet 0.5 tone.wav tone.tess

# there NAME FILE FORMAT: to FORMAT and back, through files and pipes.
there() {
    run remux -y "$2" there.$3
    run remux -y there.$3 back.tess
    same "$1: $3 and back" back.tess "$2"
    run remux "$2" -f $3 -
    cp "$work/out" piped.$3
    stdin=piped.$3 run remux - -
    cp "$work/out" back.tess
    same "$1: $3 through pipes" back.tess "$2"
    run remux -y piped.$3 back.tess
    same "$1: piped $3 as a file" back.tess "$2"
}
for format in mov nut; do
    there "video" clip.tess $format
    there "sound" tone.tess $format
    quiet "encode to $format" encode -y in.y4m direct.$format
    run remux -y clip.tess there.$format
    same "the same as remux makes" direct.$format there.$format
    quiet "decode $format" decode -y there.$format out2.y4m
    same "the same frames" out2.y4m out.y4m
    quiet "sound to $format" encode -y -packet 0.5 tone.wav direct.$format
    quiet "and its samples" decode -y direct.$format direct.wav
    run decode -y tone.tess tone.out.wav
    same "the same" direct.wav tone.out.wav
    quiet "-ss in $format" decode -y -ss 1.25 -t 0.5 direct.$format part.wav
    equal "so many samples" "$("$PYTHON" "$TSR_SRCDIR/tests/cli_sound.py" shape \
        part.wav)" "24000 1 16 12000"
done
stdin=there.mov run decode -f yuv4mpegpipe - -
cp "$work/out" piped.y4m
same "a MOV that cannot seek" piped.y4m out.y4m
quiet "a picture to MOV" encode -y f001.png still.mov
quiet "and back" decode -y still.mov still.png
run decode -y still.tess still2.png
same "the same" still.png still2.png
run remux -y clip.tess whole.nut
half whole.nut cut.nut
damaged "a NUT that is cut" "ends too early" decode -y cut.nut cut.y4m
stdin=cut.nut run remux - -
verdict "the same through a pipe" "$(test $rc = 2 || echo " status $rc")"
run remux clip.tess -f mov -
half "$work/out" cut.mov
damaged "fragments that are cut" "ends too early" decode -y cut.mov cut.y4m
half direct.mov cut.mov
refuses "a MOV without its index" 2 cut.mov "moov" remux cut.mov x.tess
refuses "the same, decoded" 2 cut.mov "moov" decode cut.mov x.wav

if ! command -v ffmpeg > "$work/none" || ! ffmpeg -v error -f lavfi -i \
    testsrc2=s=64x48:r=25:d=4 -f lavfi -i sine=440:r=48000:d=4 -c:v ffv1 \
    -c:a pcm_s16le av.mkv 2> "$work/none"; then
    skip "carriage by the stock ffmpeg: there is none"
    finish
    exit
fi

# --- frames and sound, and the stock ffmpeg ----------------------------------
ff() { ffmpeg -nostdin -v error -y "$@" 2> "$work/ff.err"; }

quiet "frames and sound" encode av.mkv av.tess
equal "packets of both" "$(video packets av.tess | cut -d ' ' -f 1 | sort |
    uniq -c | tr -s ' \n' ' ')" " 100 0 4 1 "
video packets av.tess > av.txt
verdict "in the order of time" "$(video packets av.tess | awk \
    '{ t = $1 ? $2 / 24000 : $2 / 1000; if (t < last) print; last = t }')"
for format in mov nut; do
    there "both" av.tess $format
    run remux -y av.tess av.$format
done
for way in mov:nut nut:mov mov:mov nut:nut; do
    from=${way%:*} to=${way#*:}
    check "ffmpeg -c copy, $from to $to" ff -i av.$from -map 0 -c copy \
        copy.$to
    run remux -y copy.$to copy.tess
    video packets copy.tess > copy.txt
    same "the same packets and times" copy.txt av.txt
    check "ffmpeg cuts $from to $to" ff -ss 2 -i av.$from -t 1 -map 0 \
        -c copy cut.$to
    run remux -y cut.$to cut.tess
    for stream in 0 1; do
        video bodies cut.tess $stream > part.txt
        video bodies av.tess $stream > all.txt
        verdict "stream $stream of it is a part" "$("$PYTHON" - <<EOF
a, b = open("part.txt").read(), open("all.txt").read()
if not a or a not in b:
    print("it is not")
EOF
        )"
    done
    quiet "it decodes to pictures" decode -y cut.$to cut.y4m
    quiet "and to sound" decode -y cut.$to cut.wav
done
check "beside a foreign video" ff -f lavfi -i testsrc2=s=64x48:r=25:d=4 \
    -i av.mov -map 0:v -map 1 -c:v:0 mpeg4 -c:v:1 copy -c:a copy mix.mov
run remux -y mix.mov mix.tess
for stream in 0 1; do
    video bodies mix.tess $stream > part.txt
    video bodies av.tess $stream > all.txt
    same "stream $stream is as it was" part.txt all.txt
done
check "a foreign MOV" ff -i av.mkv -an -c:v mpeg4 other.mov
refuses "a foreign MOV" 2 other.mov "no stream of Tessera" \
    remux other.mov x.tess
quiet "-map takes the sound" remux -y -map 0:a av.mov sound.tess
run decode -y sound.tess sound.wav
run decode -y av.nut sound2.wav
same "the same sound" sound.wav sound2.wav
equal "as long as the frames" "$("$PYTHON" "$TSR_SRCDIR/tests/cli_sound.py" \
    shape sound.wav)" "24000 1 16 96000"

# Sound that begins later than the frames.
ff -f lavfi -i testsrc2=s=64x48:r=25:d=2 -itsoffset 0.5 -f lavfi -i \
    sine=440:r=48000:d=1 -map 0 -map 1 -c:v ffv1 -c:a pcm_s16le late.mkv
run encode -y late.mkv late.tess
equal "sound that begins later" "$(video packets late.tess 1 |
    cut -d ' ' -f 2)" 12000
for format in mov nut; do
    there "sound that begins later" late.tess $format
done
run decode -y late.tess late.wav
equal "has silence in front of it in WAV" "$("$PYTHON" \
    "$TSR_SRCDIR/tests/cli_sound.py" shape late.wav)" "24000 1 16 36000"
quiet "-vn" encode -y -vn late.mkv late.sound.tess
quiet "-an" encode -y -an late.mkv late.video.tess
for stream in 0 1; do
    video bodies late.tess $stream > "late.$stream.txt"
done
video bodies late.video.tess 0 > part.txt
same "only the frames" part.txt late.0.txt
quiet "sound without frames" decode -y late.sound.tess late.sound.wav

# RGB as it was decoded, through an encoder without loss.
run decode -y -frames:v 5 -f rawvideo -pix_fmt rgb24 av.tess want.raw
quiet "RGB into MKV" decode -y -frames:v 5 -an -c:v ffv1 -pix_fmt bgr0 av.tess \
    rgb.mkv
check "and out of it" ff -i rgb.mkv -f rawvideo -pix_fmt rgb24 rgb.raw
same "the same pixels" rgb.raw want.raw

probe() { # FILE STREAM ENTRY
    ffprobe -v error -select_streams "$2" -show_entries "stream=$3" \
        -count_frames -of csv=p=0 "$1" | tr -d ','
}
quiet "into MKV without loss" decode -c:v ffv1 -c:a pcm_s16le av.tess out.mkv
equal "frames" "$(probe out.mkv v nb_read_frames)" 100
check "samples" ff -i out.mkv -map 0:a -f s16le out.pcm
tail -c 192000 sound.wav > want.pcm
same "the same samples" out.pcm want.pcm
quiet "into MP4" decode av.tess out.mp4
equal "its frames" "$(probe out.mp4 v nb_read_frames)" 100
verdict "picture and sound are as long" "$(
    for s in v a; do probe out.mp4 $s duration; done | awk \
        '{ if ($1 < 3.99 || $1 > 4.05) print }')"
quiet "into MP3" decode av.tess out.mp3
quiet "into NUT" decode -c:v rawvideo -c:a pcm_s16le av.tess out.nut
equal "its frames" "$(probe out.nut v nb_read_frames)" 100
quiet "one frame as JPEG" decode -ss 1 av.tess out.jpg
run decode -y -ss 1 av.tess one.png
run encode -y one.png one.tess
quiet "a picture as JPEG" decode one.tess one.jpg
run decode -y one.tess one.png
run compare --json one.png one.jpg
verdict "near the PNG of it" "$(awk -F: '/"psnr"/ { n++; if ($2 + 0 < 30)
    print " " $2 } END { if (!n) print " no figure" }' "$work/out")"
for name in one.mp4 one.jxl one.flac; do
    refuses "encode into $name" 1 $name "writes .tess" encode one.png $name
done
run decode -y -f nut av.tess -
cp "$work/out" out2.nut
equal "into a pipe" "$(probe out2.nut v nb_read_frames)" 100

ff -f lavfi -i testsrc2=s=64x48:r=25:d=2 -vf \
    "select='not(mod(n,3))+eq(mod(n,7),1)'" -fps_mode vfr -c:v ffv1 vfr.mkv
stamps() { ffprobe -v error -show_entries packet=pts_time -of csv=p=0 "$1" |
    sort -n; }
stamps vfr.mkv > times.txt
run encode -y vfr.mkv vfr.tess
for format in mov nut; do
    there "a rate that varies" vfr.tess $format
done
quiet "a rate that varies" decode -y -c:v ffv1 vfr.tess vfr.out.mkv
stamps vfr.out.mkv > times2.txt
same "its times" times2.txt times.txt

ff -f lavfi -i testsrc2=s=64x48:r=25:d=12 -f lavfi -i sine=440:r=48000:d=12 \
    -c:v ffv1 -c:a pcm_s16le long.mkv
ff -i long.mkv -t 3 -c copy short.mkv
for out in tess mov nut; do
    a=$(video rss "$tessera" encode -y short.mkv short.$out)
    b=$(video rss "$tessera" encode -y long.mkv long.$out)
    verdict "constant memory: frames and sound to $out" "$(
        test $((b * 10)) -lt $((a * 11)) || echo " $a kB, then $b kB")"
done
a=$(video rss "$tessera" decode -y short.tess short.out.mkv)
b=$(video rss "$tessera" decode -y long.tess long.out.mkv)
verdict "constant memory: decoding to MKV" "$(
    test $((b * 10)) -lt $((a * 11)) || echo " $a kB, then $b kB")"
finish
