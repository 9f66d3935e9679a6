#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# The program and codes with a meaning: tokens --find, tokens -part, info.
. "${TSR_SRCDIR:-.}/tests/cli.sh"

tab=$(printf '\t')
sound() { "$PYTHON" "$TSR_SRCDIR/tests/cli_sound.py" "$@"; }

cp "$TSR_SRCDIR/tests/vectors/semantic/model.safetensors" \
    "$work/models/semantic.safetensors" &&
    "$TSR_BUILDDIR/tests/tiny_sound" "$work/models/sound.safetensors" mono &&
    sound make long.wav 16000 1 64000 && sound make other.wav 24000 1 9000 ||
    exit 99

# --- codes ------------------------------------------------------------------
quiet "encode" encode -m semantic long.wav long.tess
run info --json long.tess
verdict "info" "$(grep -q '"semantic_books": 1, "books": 4' "$work/out" ||
    cat "$work/out")"
run info long.tess
verdict "info as text" "$(grep -q \
    'semantic 25 a second, 0.1000 kbit/s; acoustic 75 a second, 0.3000' \
    "$work/out" || cat "$work/out")"
for part in semantic:1 acoustic:3; do
    quiet "${part%:*} codes of a stream" tokens -part ${part%:*} long.tess \
        ${part%:*}.npy
    verdict "their form" "$(
        test "$(sound npy ${part%:*}.npy)" = "<u2 100 ${part#*:}" ||
            echo " $(sound npy ${part%:*}.npy)")"
    run tokens -m semantic -part ${part%:*} long.wav wav.${part%:*}.npy
    check "the same of the sound" cmp ${part%:*}.npy wav.${part%:*}.npy
done
refuses "another part" 1 "-part loud" "semantic or acoustic" \
    tokens -part loud long.tess x.npy
refuses "no acoustic codes" 1 long.wav "no acoustic codes" \
    tokens -m semantic -books 1 -part acoustic long.wav x.npy
run encode other.wav other.tess
refuses "a codec without meaning" 1 other.tess "no semantic codes" \
    tokens -part semantic other.tess x.npy

# --- search -----------------------------------------------------------------
run tokens --find long.wav long.tess
verdict "a sound in its stream" "$(
    test "$rc" = 0 || echo " status $rc;"
    test "$(cut -f 1,4 "$work/out")" = "long.tess${tab}1.000" ||
        cat "$work/out")"
cp "$work/out" first
run tokens --find long.tess long.tess
check "a stream as the example" cmp first "$work/out"
run tokens --find long.wav long.wav long.tess -i long.wav
verdict "many files" "$(test "$(cut -f 1,4 "$work/out")" = "long.wav${tab}1.000
long.wav${tab}1.000
long.tess${tab}1.000" || cat "$work/out")"
sound make silent.wav 16000 1 640
refuses "a short example" 2 silent.wav "2 to 4096" \
    tokens --find silent.wav long.tess
refuses "nowhere to look" 1 tessera "no file to look into" tokens --find long.wav
refuses "an output" 1 tessera "prints places" \
    tokens --find long.wav -o x.npy long.tess
run tokens --find long.wav missing.tess long.tess
verdict "one file is missing" "$(test "$rc" = 1 || echo " status $rc;"
    one_line missing.tess "No such file"
    cmp -s first "$work/out" || echo " output;")"
run tokens --find long.wav other.tess
verdict "a stream of another model" "$(test "$rc" != 0 || echo " status 0;"
    test -s "$work/err" || echo " no message;"; test ! -s "$work/out" ||
    echo " output;")"
echo "1..$count"
