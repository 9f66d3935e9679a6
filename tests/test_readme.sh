#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# The README's section on ffmpeg: its lines run as they stand, with the ffmpeg of
# this machine, in a folder with the build; and what they make is what they say.
: "${TSR_SRCDIR:=.}" "${TSR_BUILDDIR:=.}"
export LC_ALL=C
count=0

give_up() {
    echo "1..0 # SKIP $1"
    exit 0
}

for program in ffmpeg ffprobe; do
    command -v $program > /dev/null 2>&1 || give_up "no $program"
done
for filter in frei0r ladspa; do
    ffmpeg -v error -h filter=$filter 2>&1 | grep -q "^Filter $filter" ||
        give_up "an ffmpeg without $filter"
    test -e "$TSR_BUILDDIR/$filter-1/tessera.so" ||
        test -e "$TSR_BUILDDIR/$filter/tessera.so" ||
        give_up "built without plugins"
done
work=$(mktemp -d) || exit 99
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 99
ln -s "$TSR_BUILDDIR" build
ln -s "$TSR_SRCDIR/docs" docs
build/tessera encode -t 0.1 docs/sample.wav probe.nut 2>&1 |
    grep -q "needs libav" && give_up "built without libav"

verdict() { # NAME WHAT-IS-WRONG
    count=$((count + 1))
    if test -z "$2"; then
        echo "ok $count - $1"
    else
        echo "not ok $count - $1"
        printf '%s\n' "$2" | sed 's/^/# /'
    fi
}

# Each line by itself, in one shell; numbers of failed ones go to `failed`.
sed -n '/^## With ffmpeg/,/^## [^W]/s/^    //p' "$TSR_SRCDIR/README.md" > lines
test "$(wc -l < lines)" -gt 8 || exit 99
awk '{ print; print "echo $? > status." NR }' lines > script
sh script > out 2> err < /dev/null
n=0
while read -r line; do
    n=$((n + 1))
    verdict "$line" "$(test "$(cat status.$n 2>&1)" = 0 || tail -n 5 err)"
done < lines

# The names of files that the lines write are there.
for name in $(grep -oE '[a-z]+\.(mp4|tess|wav|mov|nut|mkv|opus)' lines |
    grep -v sample.wav | sort -u); do
    verdict "$name was made" "$(test -s "$name" || echo "no $name")"
done

# stamps FILE STREAM: pts of all packets, seconds.
stamps() {
    ffprobe -v error -select_streams "$2" -show_entries packet=pts_time \
        -of csv=p=0 "$1" | sort -n
}
samples() { # FILE: of its sound, decoded, at 24000 Hz
    ffmpeg -v error -i "$1" -map 0:a:0 -ac 1 -ar 24000 -f s16le - |
        wc -c | awk '{ print $1 / 2 }'
}
seconds() { # FILE STREAM: its length
    ffprobe -v error -select_streams "$2" -show_entries stream=duration \
        -of csv=p=0 "$1"
}
same() { # NAME A B
    verdict "$1" "$(test -n "$2" || echo nothing
        test "$2" = "$3" || echo "$2 is not $3")"
}
n=$(samples film.mp4)
same "pictures keep their times through frei0r" "$(stamps film.mp4 v)" \
    "$(stamps seen.mp4 v)"
same "sound keeps its times beside frei0r" "$(stamps film.mp4 a)" \
    "$(stamps seen.mp4 a)"
same "pictures keep their times beside LADSPA" "$(stamps film.mp4 v)" \
    "$(stamps heard.mp4 v)"
same "sound keeps its length through LADSPA" "$n" "$(samples heard.mp4)"
same "the side file has all pictures at their times" "$(stamps film.mp4 v)" \
    "$(stamps seen.mkv v)"
same "the side file has the sound and the filter's delay" "$((n + 320))" \
    "$(samples heard.wav)"
same "pictures keep their times beside TSRa" "$(stamps film.mp4 v)" \
    "$(stamps mix.mov v)"
same "TSRa is as long as the sound" "$(awk "BEGIN { printf \"%.3f\", $n / 24000 }")" \
    "$(seconds mix.mov a | cut -c 1-5)"
same "TSRa out of MOV, through a pipe of NUT" "$n" "$(samples voice.wav)"
build/tessera decode voice.tess whole.wav
same "and the same samples as those of .tess" "$(cksum < whole.wav)" \
    "$(cksum < voice.wav)"
same "a cut at 1 s is as long as what is left" "$((n - 24000))" \
    "$(samples cut.wav)"
echo "1..$count"
