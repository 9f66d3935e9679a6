#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# tessera kv push and pull: a real cache to a folder, a server and Redis, and
# back; cut short, damaged, refused.
. "${TSR_SRCDIR:-.}/tests/cli.sh"
unset TESSERA_TOKEN http_proxy https_proxy

sample=$TSR_SRCDIR/docs/sample-kv.safetensors
server= redis=
end() {
    test -z "$server" || kill -9 "$server" 2> "$work/none"
    test -z "$redis" || kill -9 "$redis" 2> "$work/none"
    rm -rf "$work"
}
trap end EXIT
trap 'exit 1' HUP INT TERM

kv() { "$tessera" kv "$@"; }
push() { kv push -model m -chunk 64 -levels 3 "$@"; }
pull() { kv pull -model m -chunk 64 -ids "$sample" "$@"; }
same() { kv compare "$1" "$2" | grep -q '^identical'; }
bytes() { sed -n 's/.* \([0-9]*\) bytes.*/\1/p' "$work/check.out"; }
says() { grep -q -- "$1" "$work/check.out" || echo " no \"$1\""; }

kv pack -nostats -no_ids -chunk 64 -levels 3 "$sample" local.tkv > "$work/none" &&
    kv unpack -nostats local.tkv local.safetensors &&
    kv unpack -nostats -level 1 local.tkv base.safetensors || exit 99

# --- a folder ----------------------------------------------------------------
check "push" push "$sample" ./store
verdict "it says what was sent" "$(says 'push: 256 tokens, 4 chunks, [0-9]* bytes')"
all=$(bytes)
check "push again" push "$sample" ./store
verdict "nothing is sent twice" "$(says '(4 were there), 0 bytes')"
check "push -replace" push -replace "$sample" ./store
verdict "sends all" "$(test "$(bytes)" = "$all" || echo " $(bytes), not $all")"
check "pull" pull ./store back.safetensors
verdict "it says what came" "$(says "4 chunks, $all bytes.*3.00 levels")"
check "is what decoding here gives" same back.safetensors local.safetensors
check "pull of objects" pull ./store objects.tkv
check "are those that packing here gives" cmp objects.tkv local.tkv
check "pull -ceiling 1" pull -ceiling 1 -o first.safetensors ./store
check "is the base quality" same first.safetensors base.safetensors
check "as objects" pull -ceiling 1 ./store first.tkv
check "that hold the base quality alone" sh -c "\"$tessera\" kv unpack -nostats \
    first.tkv x.safetensors && \"$tessera\" kv compare x.safetensors \
    base.safetensors | grep -q '^identical'"
check "with a deadline that cannot be held" pull -deadline 1ms ./store \
    late.safetensors
verdict "it says so" "$(says ', late$')"
check "with one that can" pull -deadline 60 ./store soon.safetensors
check "is the same" same soon.safetensors local.safetensors
check "the first tokens alone" pull -tokens 0:128 ./store some.safetensors
check "an array of ids" "$PYTHON" "$TSR_SRCDIR/tests/cli_kv_net.py" ids "$sample" \
    ids.npy
check "names the text as well" kv pull -model m -chunk 64 -ids ids.npy ./store \
    named.safetensors
check "and gives the same" same named.safetensors local.safetensors
kv pack -nostats -y -chunk 64 "$sample" whole.tkv > "$work/none"
check "a number format of its own" sh -c "\"$tessera\" kv push -nostats -model f \
    -chunk 64 -method lossless \"$sample\" ./store && \"$tessera\" kv pull \
    -nostats -model f -chunk 64 -ids \"$sample\" ./store f.safetensors &&
    \"$tessera\" kv compare f.safetensors \"$sample\" | grep -q '^identical'"

# --- what is refused ---------------------------------------------------------
refuses "no model" 1 "" "-model NAME" kv push "$sample" ./store
refuses "no ids" 1 "" "-ids FILE" kv pull -model m ./store out.safetensors
refuses "a store that is none" 1 "ftp:" "" kv pull -model m -ids "$sample" \
    ftp://x out.safetensors
refuses "another model" 2 ./store "nothing of this text" kv pull -model n \
    -chunk 64 -ids "$sample" ./store out.safetensors
refuses "chunks cut elsewhere" 2 ./store "in chunks of 128" kv pull -model m \
    -chunk 128 -ids "$sample" ./store out.safetensors
refuses "an output that exists" 1 back.safetensors "exists" kv pull -model m \
    -chunk 64 -ids "$sample" ./store back.safetensors
refuses "a part that does not begin at 0" 1 "" "begins at token 0" kv pull \
    -model m -chunk 64 -ids "$sample" -tokens 64:128 ./store out.safetensors
refuses "a policy that is none" 1 "" "deadline, uniform" kv pull -model m -chunk 64 -ids \
    "$sample" -policy x ./store out.safetensors
third=$(kv ls -long ./store | sed -n 's/.* \([0-9a-f]\{64\}\) .*64 tokens at 128.*3 levels/\1/p')
cut=store/$(echo "$third" | cut -c1-2)/$third
cp "$cut" whole
head -c 900 whole > "$cut"
refuses "a chunk that is cut" 2 ./store "first 128 tokens" kv pull -model m \
    -chunk 64 -ids "$sample" ./store out.safetensors
check "what is before it can be had" pull -tokens 0:128 -y ./store some.safetensors
check "push heals it" push "$sample" ./store
verdict "and sends that one only" "$(says '(3 were there)')"
check "pull after that" pull -y ./store back.safetensors
check "is whole again" same back.safetensors local.safetensors

# --- a server ----------------------------------------------------------------
serve() { # folder options: sets server, url
    : > url     # what an earlier server said would be read until this one begins
    "$tessera" kv serve -listen 127.0.0.1:0 -store "$@" > url 2> serve.err &
    server=$!
    for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        url=$(head -n 1 url)
        test -z "$url" || return 0
        kill -0 "$server" 2> "$work/none" || break
        sleep 0.25
    done
    server=
    return 1
}
http=yes
kv ls http://127.0.0.1:1/ 2>&1 | grep -q 'no such stores' && http=
if test -n "$http" && serve ./served; then
    check "push to a server" push "$sample" "$url"
    check "pull from it" pull -y "$url" back.safetensors
    check "gives the same" same back.safetensors local.safetensors
    check "keeps a cache" pull -y -cache ./near "$url" back.safetensors
    kill -9 "$server"
    check "which is enough when the server is dead" pull -tokens 0:256 -y \
        -retries 0 ./near back.safetensors
    check "and gives the same" same back.safetensors local.safetensors
    refuses "a dead server" 1 "$url" "" kv pull -model m -chunk 64 -retries 0 \
        -ids "$sample" "$url" out.safetensors
    refuses "a push to it" 1 "$url" "" kv push -model m -chunk 64 -retries 0 \
        "$sample" "$url"
    verdict "names the URL once" "$(test "$(grep -o "$url" "$work/err" | wc -l)" = 1 ||
        cat "$work/err")"
    # Stopped in the middle: nothing is left of the file.
    serve ./served
    kill -STOP "$server"
    "$tessera" kv pull -model m -chunk 64 -ids "$sample" "$url" \
        stopped.safetensors 2> stopped.err &
    pulling=$!
    # On a busy machine it takes a while until the program has begun and hears
    # signals: the 15th bit says that it does.
    for _ in $(seq 40); do
        grep -qs '^SigCgt:.*[4-7c-f]...$' "/proc/$pulling/status" && break
        sleep 0.25
    done
    sleep 0.3
    kill -TERM "$pulling"
    wait "$pulling"
    verdict "a signal ends a pull" "$(test $? = 255 || echo " another status")"
    verdict "and leaves nothing" "$(ls | grep stopped.safe)"
    kill -CONT "$server"
    kill -9 "$server"
    server=
    echo "secret" > tokens
    echo "wrong" > other
    serve ./served -token_file tokens
    refuses "a wrong token" 1 "$url" "" kv pull -model m -chunk 64 -token_file \
        other -ids "$sample" "$url" out.safetensors
    check "the right one" pull -y -token_file tokens "$url" back.safetensors
    kill -9 "$server"
    server=
else
    skip "no server, or no stores over HTTP"
fi

# --- Redis -------------------------------------------------------------------
# Debian's redis-tools hold the server: its name decides what it is.
binary=$(command -v redis-server || command -v redis-check-rdb)
port=$("$PYTHON" "$TSR_SRCDIR/tests/cli_kv_net.py" port)
start_redis() {
    mkdir -p redis
    "$PYTHON" "$TSR_SRCDIR/tests/cli_kv_net.py" redis "$binary" "$port" redis \
        > redis.log 2>&1 &
    redis=$!
    for i in 1 2 3 4 5 6 7 8 9 10 11 12; do
        kv ls -retries 0 "redis://127.0.0.1:$port" > "$work/none" 2>&1 && return 0
        sleep 0.25
    done
    kill -9 "$redis" 2> "$work/none"
    redis=
    return 1
}
if test -n "$binary" && start_redis; then
    url=redis://127.0.0.1:$port
    check "push to Redis" push "$sample" "$url"
    check "pull from it" pull -y "$url" back.safetensors
    check "gives the same" same back.safetensors local.safetensors
    kill -9 "$redis"
    redis=
    refuses "a dead Redis" 1 "$url" "" kv pull -model m -chunk 64 -retries 0 \
        -ids "$sample" "$url" out.safetensors
    start_redis
    check "one that came back empty gets all again" push "$sample" "$url"
    verdict "everything" "$(says "4 chunks, $all bytes")"
    kill -9 "$redis"
    redis=
else
    skip "no Redis"
fi
finish
