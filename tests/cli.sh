# SPDX-License-Identifier: BSD-2-Clause
# What the tests of the program share; read with '.' by each of them.  They run
# in a folder of their own, with a tiny random model as the model "photo".
: "${TSR_SRCDIR:=.}" "${TSR_BUILDDIR:=.}"
if test -z "$PYTHON" || test ! -x "$TSR_BUILDDIR/tests/tiny_model"; then
    echo "1..0 # SKIP no Python, or built without CMocka"
    exit 0
fi
export PYTHONDONTWRITEBYTECODE=1 LC_ALL=C
tessera=$TSR_BUILDDIR/tessera
work=$(mktemp -d) || exit 99
trap 'rm -rf "$work"' EXIT
count=0

media() { "$PYTHON" "$TSR_SRCDIR/tests/cli_media.py" "$@"; }

# verdict NAME [WHY]: one line of TAP; WHY is what went wrong.
verdict() {
    count=$((count + 1))
    if test -z "$2"; then
        echo "ok $count - $1"
    else
        echo "not ok $count - $1"
        echo "#$2"
        sed 's/^/# stderr: /' "$work/err"
    fi
}

# skip WHAT AND WHY: this machine cannot test it.
skip() {
    count=$((count + 1))
    echo "ok $count # SKIP $1"
}

# check NAME COMMAND...: the command succeeds.
check() {
    name=$1
    shift
    if "$@" > "$work/check.out" 2> "$work/err" < /dev/null; then
        verdict "$name"
    else
        verdict "$name" " status $? of: $*"
    fi
}

finish() { echo "1..$count"; }

# Runs the program; leaves rc, and its streams in files.
run() {
    "$tessera" "$@" > "$work/out" 2> "$work/err" < "${stdin:-/dev/null}"
    rc=$?
}

# quiet NAME ARGUMENT...: succeeds, and has nothing to say.
quiet() {
    name=$1
    shift
    run "$@"
    verdict "$name" "$(test $rc = 0 || echo " status $rc;"
        test ! -s "$work/err" || echo " stderr")"
}

# The names and contents of all files here.
snapshot() { find . -exec cksum {} + 2> "$work/none" | sort; }

one_line() { # FILE WORDS: what is wrong with stderr, if anything
    test "$(wc -l < "$work/err")" = 1 || printf ' not one line on stderr;'
    grep -qF -- "$1" "$work/err" || printf ' "%s" is not named;' "$1"
    grep -q -- "$2" "$work/err" || printf ' the reason lacks "%s";' "$2"
}

# refuses NAME STATUS FILE WORDS ARGUMENT...: the program ends with that status
# and one line on stderr that names FILE and matches WORDS; it prints nothing,
# leaves no file behind and changes none.
refuses() {
    name=$1 status=$2 file=$3 words=$4
    shift 4
    snapshot > "$work/before"
    run "$@"
    snapshot > "$work/after"
    why=$(one_line "$file" "$words")
    test $rc = "$status" || why="$why status $rc, not $status;"
    test ! -s "$work/out" || why="$why text on stdout;"
    cmp -s "$work/before" "$work/after" || why="$why files changed;"
    verdict "$name" "$why"
}

mkdir "$work/models" "$work/other" "$work/box"
"$TSR_BUILDDIR/tests/tiny_model" "$work/models/photo.safetensors" 1 &&
    "$TSR_BUILDDIR/tests/tiny_model" "$work/other/other.safetensors" 2 ||
    exit 99
export TESSERA_MODELS="$work/models" HOME="$work" XDG_DATA_HOME="$work"
cd "$work/box" || exit 99
