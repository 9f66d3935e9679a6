#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Streams of sound, read by a reader in Python that was written from
# docs/audio-format.md; and the example of docs/audio.md.
. "${TSR_SRCDIR:-.}/tests/python.sh"
cd "$work" || exit 99
"$TSR_BUILDDIR/tests/audio_tool" "$work" || exit 99
"$PYTHON" "$TSR_SRCDIR/tests/audio_reader.py" check "$work" > read || exit 99
last=$(sed -n 's/^1\.\.//p' read)
echo "1..$((last + 1))"
grep -v '^1\.\.' read

# As many samples come out as went in, 2 of 113 packets are lost.
head -c 144000 /dev/zero > in
"$TSR_BUILDDIR/examples/stream_audio" small.safetensors < in > out 2> err
if test "$(wc -c < out)" = 144000 && grep -q '^latency 13.3 ms$' err &&
    grep -q '^2 frames were concealed$' err; then
    echo "ok $((last + 1)) - the example"
else
    echo "not ok $((last + 1)) - the example"
    sed 's/^/# /' err
fi
