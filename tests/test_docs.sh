#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# What is made from the tables of options: help, manual, completion for bash.
# And the types of files: for desktops, and for file(1).
. "${TSR_SRCDIR:-.}/tests/cli.sh"

src=$TSR_SRCDIR built=$TSR_BUILDDIR/docs
commands=$("$tessera" help | sed -n '/^Commands/,/^$/s/^  \([a-z]*\) .*/\1/p')
test -n "$commands" || exit 99

# --- the help ----------------------------------------------------------------
faults=
for command in $commands; do
    "$tessera" help "$command" > "$command.help" || exit 99
    faults="$faults$(awk 'length > 80 { print " line too long: " $0 ";" }' \
        "$command.help")"
    # The names of all options, one a line.
    sed -n '/^Options/,/^$/s/^  \(-.*\)/\1/p' "$command.help" |
        sed 's/   *.*//' | tr ' ' '\n' | grep '^-' | sed 's/^--*//' \
        > "$command.options"
    faults="$faults$(sort "$command.options" | uniq -d |
        sed "s/.*/ $command has two options & ;/")"
done
verdict "help: no line over 80 columns, no option twice" "$faults"

# Examples show what there is.
faults=
for command in $commands; do
    for word in $(grep "^  tessera $command " "$command.help" |
        sed 's/   .*//; s/|.*//' | tr ' ' '\n' | grep '^-[a-z]'); do
        grep -qxe "${word#-}" "$command.options" ||
            faults="$faults help $command shows $word;"
    done
done
verdict "help: examples use options that there are" "$faults"

# --- the manual --------------------------------------------------------------
if test -e "$built/man/tessera.1"; then
    faults=
    for command in $commands; do
        page=$built/man/tessera-$command.1
        test -s "$page" || { faults="$faults no page of $command;"; continue; }
        n=$(sed -n '/^Options/,/^$/p' "$command.help" | grep -c '^  -')
        test "$(grep -c '^\.It Fl' "$page")" = "$n" ||
            faults="$faults tessera-$command(1) has not $n options;"
        grep -q "^\.Xr tessera-$command 1" "$built/man/tessera.1" ||
            faults="$faults tessera(1) lacks $command;"
    done
    verdict "manual: a page for every command, with all options" "$faults"
    run help -man tessera-nothing
    verdict "manual: no page of what is no command" "$(test $rc = 1 ||
        echo " status $rc;"; one_line tessera-nothing "no page")"
else
    skip "manual: this build could not run the program"
fi
faults=
for header in "$src"/include/tessera/*.h; do
    name=tessera/$(basename "$header")
    test "$name" = tessera/tessera.h ||
        grep -qE "^\.It In .*$name( |\$)" "$src/docs/man/libtessera.3" ||
        faults="$faults no $name;"
done
verdict "manual: libtessera(3) has every header" "$faults"
if command -v mandoc > "$work/none"; then
    for page in "$built"/man/*.1 "$src"/docs/man/*.[35]; do
        test -e "$page" || continue
        verdict "mandoc: ${page##*/}" "$(mandoc -Tlint -W warning "$page" 2>&1)"
    done
else
    skip "mandoc: not installed"
fi

# --- completion --------------------------------------------------------------
# complete NAME WANTED WORD...: what bash offers for the last word has WANTED.
complete() {
    name=$1 wanted=$2
    shift 2
    got=$(bash --norc -c '
        . "$1"
        shift
        COMP_WORDBREAKS=$'"' \\t\\n\"\\'><=;|&(:'"' COMP_WORDS=("$@")
        COMP_CWORD=$(($# - 1))
        _tessera "$1"
        printf "%s\n" "${COMPREPLY[@]}"' bash "$built/completion/tessera" \
        "$tessera" "$@" | sort -u | tr '\n' ' ')
    case " $got" in
    *" $wanted "*) verdict "bash: $name" "" ;;
    *) verdict "bash: $name" " offered: $got, not $wanted" ;;
    esac
}
if test ! -e "$built/completion/tessera"; then
    skip "bash: this build could not run the program"
elif ! command -v bash > "$work/none"; then
    skip "bash: not installed"
else
    mkdir typed typed/folder
    cd typed || exit 99
    : > a.tess
    : > a.npy
    : > other.txt
    complete "a command" "encode" en
    complete "commands after help" "decode encode" help ""
    complete "an option" "-droppable" encode -dr
    complete "an option with a long form" "--quality" encode --qu
    complete "an option with a colon" "-b:a" encode -b
    complete "behind the colon" "a" encode -b : ""
    complete "words of a value" "auto c onednn" encode -backend ""
    complete "the word begun" "onednn" encode -backend o
    complete "words of -device" "auto cpu cuda" decode -device ""
    complete "words of -precision" "fp16 fp32" transcode -precision fp
    complete "a value behind =" "onednn" encode -backend = o
    complete "a model" "photo" encode -model p
    complete "a verb" "pack" kv pa
    complete "no verb later" "folder" kv pack f
    complete "files by their ending" "a.tess folder" decode ""
    complete "an option as ffmpeg" "-model" -i a.tess -mod
    complete "a file as ffmpeg" "a.npy a.tess folder other.txt" -i ""
    complete "any file for -o" "a.npy a.tess folder other.txt" decode -o ""
    cd ..
fi

# --- types of files ----------------------------------------------------------
"$TSR_BUILDDIR/tests/tiny_sound" "$work/models/sound.safetensors" mono &&
    "$PYTHON" "$src/tests/cli_sound.py" make tone.wav 24000 1 40000 || exit 99
media make small.png rgb 130 100 1 && media make tiny.png grey 60 40 1 || exit 99
{ printf 'YUV4MPEG2 W16 H16 F10:1 Ip A1:1 C420jpeg\nFRAME\n'
  head -c 384 /dev/zero; printf 'FRAME\n'; head -c 384 /dev/zero; } > film.y4m
mkdir types
for line in "encode small.png types/compact.tess" \
    "encode tiny.png types/tiny.tess" \
    "encode -container small.png types/image.tess" \
    "encode tone.wav types/audio.tess" \
    "encode film.y4m types/video.tess" \
    "kv pack $src/docs/sample-kv.safetensors types/cache.tkv"; do
    # shellcheck disable=SC2086
    run $line
    test $rc = 0 || { sed 's/^/# /' "$work/err"; exit 99; }
done
cat > types.txt <<'TABLE'
compact.tess|image/x-tessera|Tessera image, compact
tiny.tess|image/x-tessera|Tessera image, compact, 60x40
image.tess|image/x-tessera|Tessera image, 130x100, 8 bits RGB
audio.tess|audio/x-tessera|Tessera audio, 24000 Hz, mono
video.tess|video/x-tessera|Tessera media, video 16x16
cache.tkv|application/x-tessera-kv|Tessera KV cache, 8 layers, 2 heads of 128, 256 tokens
TABLE
if command -v file > "$work/none"; then
    while IFS='|' read -r name type text; do
        got=$(file -b -m "$src/docs/desktop/tessera.magic" "types/$name")
        verdict "file: $name" "$(test "$got" = "$text" || echo " '$got'")"
        got=$(file -b --mime-type -m "$src/docs/desktop/tessera.magic" \
            "types/$name")
        verdict "file --mime-type: $name" "$(test "$got" = "$type" ||
            echo " '$got'")"
    done < types.txt
else
    skip "file: not installed"
fi
if command -v update-mime-database > "$work/none"; then
    mkdir -p "$work/mime/packages"
    cp "$src/docs/desktop/tessera.xml" "$work/mime/packages"
    update-mime-database "$work/mime" > "$work/out" 2> "$work/err"
    verdict "update-mime-database takes the types" "$(test $? = 0 ||
        echo " status;"; cat "$work/err")"
else
    skip "update-mime-database: not installed"
fi
if command -v gio > "$work/none" && test -e "$work/mime/globs2"; then
    while IFS='|' read -r name type text; do
        got=$(gio info -a standard::content-type "types/$name" |
            sed -n 's/.*content-type: //p')
        verdict "a desktop's type of $name" "$(test "$got" = "$type" ||
            echo " '$got'")"
    done < types.txt
else
    skip "gio: not installed"
fi
finish
