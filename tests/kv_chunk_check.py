# SPDX-License-Identifier: BSD-2-Clause
"""kv_chunk_check.py TESSERA TOOL SAMPLE: names and stored chunks of the library
(kv_chunk_tool) against kv_chunk_reader.py; speaks TAP.  Works in the current
folder."""
import hashlib
import json
import random
import struct
import subprocess
import sys

from kv_chunk_reader import HEAD, Order, names, unwrap, wrap
from kv_reader import Object
from tess_reader import Corrupt, crc32c

TESSERA, TOOL, SAMPLE = sys.argv[1:4]
count = 0


def verdict(name, why=None):
    global count
    count += 1
    print("%s %d - %s" % ("not ok" if why else "ok", count, name))
    for line in (why or "").splitlines():
        print("#", line)


def call(program, *words, data=b""):
    done = subprocess.run([program, *map(str, words)], input=data,
                          capture_output=True, check=True)
    return done.stdout


def make_cache(name, layers, heads, tokens, dim, rng):
    shape, head, data = [heads, tokens, dim], {}, b""
    for layer in range(layers):
        for what in "key", "value":
            plane = struct.pack("<%de" % (heads * tokens * dim), *(
                rng.gauss(0, 1) for _ in range(heads * tokens * dim)))
            head["layers.%d.%s" % (layer, what)] = {
                "dtype": "F16", "shape": shape,
                "data_offsets": [len(data), len(data) + len(plane)]}
            data += plane
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    with open(name, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def objects(cache, *options):
    call(TESSERA, "kv", "pack", "-y", "-nostats", *options, cache, "c.tkv")
    with open("c.tkv", "rb") as file:
        data = file.read()
    while data:
        size = Object(data).size
        yield data[:size]
        data = data[size:]


def compare(data, name):
    key, order = name.hex(), Order(data)
    stored = call(TOOL, "wrap", key, data=data)
    if stored != wrap(name, data):
        return "another stored chunk"
    if unwrap(stored, name) != data:
        return "another object comes back"
    error, *ranges = call(TOOL, "check", key, data=stored).decode().splitlines()
    if error != "0":
        return "refused: " + error
    for line in ranges:
        level, first, layers, *got = map(int, line.split())
        if tuple(got) != order.range(level, first, layers):
            return "range " + line
    n = order.o.layers
    if len(ranges) != order.o.levels * n * (n + 1) // 2:
        return "%d ranges" % len(ranges)
    return None


def stored_case(cache, *options):
    for i, data in enumerate(objects(cache, *options)):
        why = compare(data, hashlib.sha256(bytes([i])).digest())
        if why:
            return "object %d: %s" % (i, why)
    return None


def names_case(rng):
    for tokens in 1, 7, 256:
        ids = [rng.randrange(-1 << 31, 1 << 31) for _ in range(300)]
        profile = bytes(rng.randrange(256) for _ in range(8))
        model = "m\u00fcller-8b@%x" % rng.randrange(1 << 30)
        chunks = [ids[i:i + tokens] for i in range(0, 300, tokens)]
        want = [n.hex() for n in names(model, profile, chunks)]
        got = call(TOOL, "names", model, profile.hex(), tokens, *ids)
        if got.decode().split() != want:
            return "chunks of %d tokens: other names" % tokens
    return None


def damaged(data, rng):
    """Something is wrong with it, and its checksums mostly fit."""
    data = bytearray(data)
    for _ in range(rng.randrange(1, 3)):
        at = rng.choice((rng.randrange(4, 16), rng.randrange(80, 124),
                         rng.randrange(HEAD.size, HEAD.size + 170),
                         rng.randrange(len(data))))
        data[at] ^= 1 << rng.randrange(8)
    if rng.randrange(4):
        data[48:80] = hashlib.sha256(data[HEAD.size:]).digest()
    if rng.randrange(8):
        data[124:128] = struct.pack("<I", crc32c(bytes(data[:124])))
    return bytes(data)


def damage_case(rng):
    make_cache("small.safetensors", 2, 1, 40, 8, rng)
    data, = objects("small.safetensors", "-levels", 2, "-tile", 32)
    name, seen = bytes(range(32)), set()
    stored = wrap(name, data)
    for _ in range(250):
        bad = damaged(stored, rng)
        try:
            unwrap(bad, name)
            good = True
        except Corrupt:
            good = False
        error = call(TOOL, "check", name.hex(), data=bad).split()[0]
        if (error == b"0") != good:
            return "%s for %s" % (error, bad.hex())
        seen.add(good)
    return None if seen == {False, True} else "no damage was let through"


def main():
    rng = random.Random(5)
    make_cache("c.safetensors", 3, 2, 200, 16, rng)
    verdict("names", names_case(rng))
    verdict("the sample", stored_case(SAMPLE))
    for levels in 1, 2, 3:
        verdict("%d levels" % levels, stored_case(
            "c.safetensors", "-levels", levels, "-tile", 32, "-chunk", 90))
    verdict("damage", damage_case(rng))
    print("1..%d" % count)


main()
