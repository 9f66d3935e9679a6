# SPDX-License-Identifier: BSD-2-Clause
"""Caches for test_kv_cli.sh, by the standard library alone."""
import json
import math
import struct
import sys


def read(path):
    """Header and bytes of a .safetensors file."""
    data = open(path, "rb").read()
    size = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8:8 + size]), data[8 + size:]


def tensor(cache, name):
    head, data = cache
    start, end = head[name]["data_offsets"]
    return head[name]["shape"], data[start:end]


def layers(cache):
    return sum(name.endswith(".key") for name in cache[0])


def floats(data):
    return struct.unpack("<%de" % (len(data) // 2), data)


def npy(path, descr, shape, data):
    head = "{'descr': '%s', 'fortran_order': False, 'shape': %r, }" % (
        descr, tuple(shape))
    head += " " * (63 - (10 + len(head)) % 64) + "\n"
    with open(path, "wb") as f:
        f.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) +
                head.encode() + data)


def planes(cache):
    """Every plane as bytes [heads][tokens][dim]."""
    for layer in range(layers(cache)):
        for what in "key", "value":
            yield tensor(cache, "layers.%d.%s" % (layer, what))


def turn(shape, data):
    """[H, T, D] to [T, H, D]."""
    h, t, d = shape
    row = 2 * d
    return b"".join(data[(i * t + j) * row:(i * t + j + 1) * row]
                    for j in range(t) for i in range(h))


def make_arrays(sample, all_npy, all_bin, part):
    cache = read(sample)
    every = list(planes(cache))
    h, t, d = every[0][0]
    npy(all_npy, "<f2", [len(every) // 2, 2, h, t, d],
        b"".join(data for _, data in every))
    with open(all_bin, "wb") as f:
        for first in 0, 1:
            for shape, data in every[first::2]:
                f.write(turn(shape, data))
    npy(part, "<f2", [t, d], every[1][1][:2 * t * d])
    bad = bytearray(every[1][1][:2 * t * d])
    bad[100:102] = b"\x00\x7e"
    npy("nan.npy", "<f2", [t, d], bytes(bad))


def near(a, b, limit):
    """Root mean square of the gaps, beyond the first four tokens."""
    for (shape, x), (other, y) in zip(planes(read(a)), planes(read(b))):
        if shape != other:
            return "shapes %r and %r" % (shape, other)
        gaps = [(p - q) ** 2 for p, q in zip(floats(x), floats(y))]
        rms = math.sqrt(sum(gaps) / len(gaps))
        if not rms < float(limit):
            return "rms %g" % rms
    return None


def part(whole, some, layer, token):
    whole, some = read(whole), read(some)
    layer, token = int(layer), int(token)
    for i in range(layers(some)):
        for what in "key", "value":
            (_, t, d), x = tensor(whole, "layers.%d.%s" % (layer + i, what))
            (h, n, _), y = tensor(some, "layers.%d.%s" % (i, what))
            for head in range(h):
                start = 2 * (head * t + token) * d
                if x[start:start + 2 * n * d] != y[2 * head * n * d:
                                                   2 * (head + 1) * n * d]:
                    return "layer %d %s head %d differs" % (i, what, head)
    return None


def same(a, n, d):
    every = list(planes(read(a)))
    want = b"".join(turn(*plane) for first in (0, 1) for plane in
                    every[first::2])
    data = open(n, "rb").read()
    if data[10 + struct.unpack("<H", data[8:10])[0]:] != want:
        return "the .npy file differs"
    return None if open(d, "rb").read() == want else "the dump differs"


def make_words(path, words, width):
    """Statistics that hold an embedding alone: halves of -2 to 2."""
    data = bytearray()
    state = 1
    for _ in range(int(words) * int(width)):
        state = (state * 1103515245 + 12345) % 2**31
        data += struct.pack("<e", state / 2**29 - 2)
    head = json.dumps({"embedding": {
        "dtype": "F16", "shape": [int(words), int(width)],
        "data_offsets": [0, len(data)]}}).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(head)) + head + data)


def main(what, *rest):
    verbs = {"arrays": make_arrays, "near": near, "part": part, "same": same,
             "words": make_words}
    why = verbs[what](*rest)
    if why:
        print(why, file=sys.stderr)
    return 1 if why else 0


sys.exit(main(*sys.argv[1:]))
