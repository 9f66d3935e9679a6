#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Encodes, copies, cuts, joins, damages and decodes with a patched ffmpeg, and
# compares with the program: TAP on standard output.
#   test.sh FFMPEG STAGE    what build.sh built; it calls this
set -u
root=$(cd "$(dirname "$0")/../../.." && pwd) || exit 1
built=$(cd "$1" && pwd) && stage=$(cd "$2" && pwd) || exit 1
ffmpeg=$built/ffmpeg ffprobe=$built/ffprobe
tessera=$(find "$stage" -path '*/bin/tessera') || exit 1
LD_LIBRARY_PATH=$(dirname "$(dirname "$tessera")")/lib
TESSERA_MODELS=$root/models
export LD_LIBRARY_PATH TESSERA_MODELS
stock=$(command -v ffmpeg)
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
count=0 failed=0

verdict() { # NAME [WHY]
    count=$((count + 1))
    if [ -z "${2-}" ]; then
        echo "ok $count - $1"
    else
        echo "not ok $count - $1"
        printf '%s\n' "$2" | sed 's/^/# /'
        sed 's/^/# stderr: /' err
        failed=1
    fi
}

check() { # NAME COMMAND...: the command succeeds.
    name=$1
    shift
    if "$@" > out 2> err < /dev/null; then
        verdict "$name"
    else
        verdict "$name" "status $? of: $*"
    fi
}

refused() { # NAME WORDS COMMAND...: the command fails, and says these words.
    name=$1 words=$2
    shift 2
    if "$@" > out 2> err < /dev/null; then
        verdict "$name" "succeeded: $*"
    elif grep -q -- "$words" err; then
        verdict "$name"
    else
        verdict "$name" "does not say '$words'"
    fi
}

equal() { # NAME WANT GOT: and they are something.
    if [ -n "$2" ] && [ "$2" = "$3" ]; then verdict "$1"; else verdict "$1" "$2, but: $3"; fi
}

skip() {
    count=$((count + 1))
    echo "ok $count # SKIP $1"
}

ff() { "$ffmpeg" -nostdin -hide_banner -v error -y "$@"; }
old() { LD_LIBRARY_PATH='' "$stock" -nostdin -hide_banner -v error -y "$@"; }
prog() { "$tessera" "$@" -y -nostats; }

# field STREAM NAMES FILE: what ffprobe says, on one line.
field() {
    "$ffprobe" -v error -select_streams "$1" -show_entries "stream=$2" \
        -of default=nk=1:nw=1 "$3" 2>> err | tr '\n' ' ' | sed 's/ $//'
}

# Samples of a file, and how many there are.
pcm() { ff -i "$1" -map 0:a -f f32le -c:a pcm_f32le "$2"; }
samples() { echo $(($(wc -c < "$1") / 4)); }

# Where decoded sound begins and ends, and gaps between frames.
span() {
    "$ffprobe" -v error -show_entries frame=pts,nb_samples -of csv=p=0 "$1" \
        2>> err | awk -F, 'NR == 1 { at = $1; printf "%d", at }
        $1 != at { printf " gap" } { at = $1 + $2 } END { print "", at }'
}

# Pixels of all frames, as they are decoded.
pixels() { ff -i "$1" -map 0:v -fps_mode passthrough -f rawvideo "$2"; }

# The packets of a stream, byte for byte.
packets() {
    ff -i "$1" -map "0:$2" -c copy -f framehash - 2>> err |
        sed '/^#/d; s/.*, *//'
}
: > err

# ---- sound ----
sample=$root/docs/sample.wav
length=$("$ffprobe" -v error -show_entries stream=duration_ts \
    -of default=nk=1:nw=1 "$sample")
sound() { # FILE ARGUMENTS...: the sample, encoded
    file=$1
    shift
    ff -i "$sample" -c:a libtessera_audio "$@" "$file"
}
for form in nut mov mkv; do
    check "sound into $form" sound a.$form -b:a 3k -packet 0.5
    check "$form decodes without being told how" pcm a.$form a-$form.f32
done
equal "as many samples come out" "$length" "$(samples a-nut.f32)"
check "MOV decodes to the same" cmp a-nut.f32 a-mov.f32
check "Matroska decodes to the same" cmp a-nut.f32 a-mkv.f32
equal "tag, rate and channels in MOV" "tessera_audio TSRa 24000 1" \
    "$(field a codec_name,codec_tag_string,sample_rate,channels a.mov)"
equal "tag in NUT" "tessera_audio TSRa" \
    "$(field a codec_name,codec_tag_string a.nut)"
equal "codec in Matroska" tessera_audio "$(field a codec_name a.mkv)"
check "its id in Matroska" grep -q A_TESSERA a.mkv
equal "MOV knows the length" "$length" "$(field a duration_ts a.mov)"

equal "frames follow each other" "0 $length" "$(span a.mov)"

check "the program encodes the same" prog encode -b:a 3k -packet 0.5 \
    -i "$sample" p.tess
check "the program decodes it" prog decode -sample_fmt flt -i p.tess p.wav
check "samples of the program" pcm p.wav p.f32
check "they are the same" cmp a-nut.f32 p.f32

# In threads, planes and other frames: the same packets.
packets a.nut a > want
ff -i "$sample" -threads 1 -af aformat=sample_fmts=fltp,asetnsamples=n=777:p=0 \
    -c:a libtessera_audio -b:a 3k -packet 0.5 b.nut 2> err
packets b.nut a > got
check "packets do not depend on frames and threads" cmp want got

check "two channels" ff -i "$sample" -ac 2 -c:a libtessera_audio -books 2 \
    c.nut
check "of planes" ff -i "$sample" -ac 2 -af aformat=sample_fmts=fltp \
    -c:a libtessera_audio -books 2 d.nut
equal "are the same" "$(packets c.nut a)" "$(packets d.nut a)"
equal "and stay two" "tessera_audio 2 stereo" \
    "$(field a codec_name,channels,channel_layout c.nut)"
check "live, and layers" sound e.nut -live 1 -droppable 1 -packet 0.02
check "live decodes" pcm e.nut e.f32
equal "live has the same length" "$length" "$(samples e.f32)"
check "live packets" sound g.nut -live 1
check "of a frame" ff -i g.nut -f f32le g.f32
equal "one for every 320 samples" $(((length + 319) / 320)) \
    "$(packets g.nut a | wc -l)"
refused "another rate is refused" "-ar 24000" \
    ff -i "$sample" -ar 44100 -c:a libtessera_audio f.nut
refused "an unknown model is refused" nosuch sound f.nut -model nosuch
check "silence of no length" ff -f lavfi -i sine=r=24000:d=1 -t 0 \
    -c:a libtessera_audio f.nut

# Lost, damaged, joined and cut.
ff -i a.nut -c copy -bsf:a "noise=drop=between(n\,5\,7)" l.nut 2> err
check "lost packets are concealed" pcm l.nut l.f32
equal "in their time" "$length" "$(samples l.f32)"
equal "as the frames say" "0 $length" "$(span l.nut)"
check "what is before them is the same" \
    cmp -n $((4 * 24000 * 5 / 2)) a-nut.f32 l.f32
# In Matroska times are rounded to a millisecond.
ff -i e.nut -c copy -bsf:a "noise=drop=eq(n\,50)" l.mkv 2> err
check "a short one, where times are rounded" pcm l.mkv l.f32
equal "likewise" "$length" "$(samples l.f32)"
ff -i a.nut -c copy -bsf:a "noise=amount=eq(n\,5)*30" h.nut 2> err
check "a damaged packet is concealed" pcm h.nut h.f32
equal "in its time" "$length" "$(samples h.f32)"
refused "or refused" damaged ff -xerror -err_detect explode -i h.nut \
    -f f32le h.f32
printf "file a.nut\nfile a.nut\n" > list
check "joined files" ff -f concat -i list -c copy j.nut
check "decode one after the other" pcm j.nut j.f32
cat a-nut.f32 a-nut.f32 > want
check "to the sound of both" cmp want j.f32
check "decoding from the middle" ff -ss 3 -i a.mov -f f32le m.f32
equal "gives what is left" $((length - 3 * 24000)) "$(samples m.f32)"
# A packet has 12160 samples; NUT cannot say that its first part is not wanted.
ff -ss 3 -i a.mov -map 0 -c copy k.nut 2> err
check "a cut sound" pcm k.nut k.f32
equal "has what is left, in whole packets" $((length - 5 * 12160)) \
    "$(samples k.f32)"
ff -i a.nut -c copy -t 2 n.mov 2> err
ff -ss 6 -i a.mov -c copy o.mov 2> err
printf "file n.mov\nfile o.mov\n" > list
check "a sound without its middle" ff -f concat -i list -f f32le q.f32
for half in n o; do
    check "its part $half" pcm $half.mov $half.f32
done
equal "is as long as its parts" "$(($(samples n.f32) + $(samples o.f32)))" \
    "$(samples q.f32)"

if [ -n "$stock" ]; then
    for form in mov nut; do
        check "stock ffmpeg copies into $form" \
            old -i a.nut -map 0 -c copy s.$form
        check "what it wrote decodes" pcm s.$form s.f32
        check "to the same" cmp a-nut.f32 s.f32
    done
    check "stock ffmpeg cuts" old -ss 3 -i a.mov -map 0 -c copy -t 4 t.mov
    check "what it cut decodes" pcm t.mov t.f32
    equal "to four seconds and what fills the last packet" \
        $((14 * 12160 - 3 * 24000)) "$(samples t.f32)"
    equal "from 0 on" "0 $((14 * 12160 - 3 * 24000))" "$(span t.mov)"
else
    skip "copies of the stock ffmpeg: there is none"
fi

# Away from the source tree, whose models are found from there.
cp "$ffmpeg" "$ffprobe" .
lonely() {
    env HOME="$work" XDG_DATA_HOME="$work" TESSERA_MODELS="$work" "$@"
}
if lonely "$tessera" models 2> err | grep -q sound; then
    skip "no model: one is installed"
else
    equal "probing needs no model" "tessera_audio" "$(lonely ./ffprobe \
        -v error -show_entries stream=codec_name -of default=nk=1:nw=1 a.mov)"
    refused "decoding needs it" "no model with hash" \
        lonely ./ffmpeg -xerror -i a.mov -f null -
fi
rm ffmpeg ffprobe

# ---- pictures ----
moving() { # FORMAT SIZE FILE ARGUMENTS...: three frames
    filters=testsrc2=s=$2:r=24000/1001:d=0.12:alpha=100,format=$1
    file=$3
    shift 3
    ff -f lavfi -i "$filters" -frames:v 3 -c:v libtessera_video "$@" "$file"
}
alpha() { # INPUT...: alpha of the frames
    ff "$@" -vf alphaextract -f framehash - 2>> err | sed '/^#/d; s/.*, *//'
}
for form in nut mov mkv; do
    check "video into $form" moving rgb24 161x97 v.$form -q:v 30
    check "$form of it decodes without being told how" \
        pixels v.$form v-$form.rgb
done
equal "all of the frames" $((3 * 161 * 97 * 3)) "$(wc -c < v-nut.rgb)"
check "MOV has the same pictures" cmp v-nut.rgb v-mov.rgb
check "Matroska has the same pictures" cmp v-nut.rgb v-mkv.rgb
equal "tag and geometry in MOV" "tessera_video TSRv 161 97 rgb24" \
    "$(field v codec_name,codec_tag_string,width,height,pix_fmt v.mov)"
equal "tag of video in NUT" "tessera_video TSRv" \
    "$(field v codec_name,codec_tag_string v.nut)"
check "its id of video in Matroska" grep -q V_TESSERA v.mkv
equal "times" "0 K_ 1001 K_ 2002 K_" "$("$ffprobe" -v error -show_entries \
    packet=pts,flags -of default=nk=1:nw=1 v.mov | tr '\n' ' ' | sed 's/ $//')"

refused "a quality over 100 is refused" quality \
    moving rgb24 161x97 w.nut -q:v 101
check "better pictures" moving rgb24 161x97 w.nut -quality 90
equal "take more bytes" 1 "$(($(wc -c < w.nut) > $(wc -c < v.nut)))"
check "a single thread" moving rgb24 161x97 w.nut -q:v 30 -threads 1
equal "makes the same packets" "$(packets v.nut v)" "$(packets w.nut v)"
for kind in gray:1x1 ya8:17x9 gray16:64x33 ya16:16x16 rgb48:33x17 \
    rgba:35x21 rgba64:129x2; do
    format=${kind%:*} size=${kind#*:}
    [ "$format" != gray16 ] && [ "$format" != ya16 ] && [ "$format" != rgb48 ] &&
        [ "$format" != rgba64 ] || format=${format}le
    check "$format of $size" moving "$format" "$size" x.nut
    check "$format decodes" pixels x.nut x.raw
    equal "$format stays" "$format" "$(field v pix_fmt x.nut)"
done
check "alpha" moving rgba 50x30 x.mov
ff -f lavfi -i testsrc2=s=50x30:r=24000/1001:d=0.12:alpha=100,format=rgba \
    -frames:v 3 -f nut -c:v rawvideo y.nut
equal "has no loss" "$(alpha -i y.nut)" "$(alpha -i x.mov)"
check "alpha can be left out" moving rgba 50x30 x.mov -alpha 0
equal "ten bits are kept as sixteen" rgb48le "$(
    moving yuv420p10 48x32 x.mov 2> err; field v pix_fmt x.mov)"
equal "YUV is coded as RGB" rgb24 "$(
    moving yuv420p 48x32 x.mov 2> err; field v pix_fmt x.mov)"
ff -i v.nut -vf vflip -f nut -c:v rawvideo y.nut 2> err
ff -i y.nut -c:v libtessera_video x.nut 2> err
check "frames that lie upside down" ff -i v.nut -vf vflip \
    -c:v libtessera_video z.nut
equal "are the same frames" "$(packets x.nut v)" "$(packets z.nut v)"
ff -i v.nut -c copy -bsf:v "noise=amount=eq(n\,1)*20" h.nut 2> err
check "a damaged frame" pixels h.nut h.rgb
refused "is refused if so wished" "nothing is left" \
    ff -xerror -err_detect explode -i h.nut -f null -

# ---- both ----
check "sound beside video" ff -i v.nut -i a.nut -map 0 -map 1 -c copy av.mov
check "is decoded with it" ff -i av.mov -f rawvideo -map 0:v av.rgb \
    -f f32le -map 0:a av.f32
check "the pictures" cmp v-nut.rgb av.rgb
check "and the sound" cmp a-nut.f32 av.f32
if [ -n "$stock" ]; then
    for form in mov nut; do
        check "stock ffmpeg copies both into $form" \
            old -i av.mov -map 0 -c copy s.$form
        check "pictures of what it wrote" pixels s.$form s.rgb
        check "are the same" cmp v-nut.rgb s.rgb
        check "sound of what it wrote" pcm s.$form s.f32
        check "is the same" cmp a-nut.f32 s.f32
    done
    check "stock ffmpeg cuts video" old -ss 0.05 -i v.mov -c copy s.mov
    check "which decodes" pixels s.mov s.rgb
fi

# ---- the program's packets are ours ----
check "the program takes packets out of NUT" prog remux -i a.nut r.tess
check "and decodes them" prog decode -sample_fmt flt -i r.tess r.wav
check "samples of those" pcm r.wav r.f32
check "they are the same" cmp a-nut.f32 r.f32
for form in mov nut; do
    check "the program's sound in $form" prog remux -i p.tess r.$form
    check "decodes" pcm r.$form r.f32
    check "to the same" cmp a-nut.f32 r.f32
    check "both out of MOV" prog remux -i av.mov r.tess
    check "both into $form" prog remux -i r.tess r.$form
    check "pictures of it" pixels r.$form r.rgb
    check "are the same pictures" cmp v-nut.rgb r.rgb
    check "sound of it" pcm r.$form r.f32
    check "is the same sound" cmp a-nut.f32 r.f32
    check "the program decodes $form" \
        prog decode -f rawvideo -pix_fmt rgb24 -i v.$form r.rgb
    check "to the same pictures" cmp v-nut.rgb r.rgb
done

# ---- what only programs do ----
libs=$(sed -n 's/^EXTRALIBS-av\(codec\|util\)=//p' "$built/ffbuild/config.mak")
# shellcheck disable=SC2086
check "a program on libavcodec" ${CC:-cc} -I"$built" \
    "$root/tools/ffmpeg/native/edges.c" -o edges -L"$built/libavcodec" -lavcodec \
    -L"$built/libswresample" -lswresample -L"$built/libavutil" -lavutil $libs
for test in geometry sound_format extradata flush bare garbage; do
    check "edges: $test" ./edges $test
done
echo "1..$count"
exit $failed
