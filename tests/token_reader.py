#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""A second reader of pictures of tokens, down to their ids; written from docs/codecs/vqgan.md and docs/format.md,
standard library only.

    token_reader.py MODEL.safetensors FILE f    prints the ids of a picture, row by row; `-`: lost
    token_reader.py check FOLDER GOLDEN         compares the files of token_tool with its texts, and those of
                                                tests/golden/tokens with theirs; speaks TAP

f: pixels a side of a token.  For tests: slow."""
import hashlib
import json
import math
import struct
import sys
from pathlib import Path

from adaptive_reader import Range
from tess_reader import Corrupt, Stream, crc32c, varint

REGION = 128


def need(good, what):
    if not good:
        raise Corrupt(what)


# ---- Models

def tensors(path):
    """name: (shape, numbers) of the tensors that are whole numbers; others: (shape, bytes)."""
    data = Path(path).read_bytes()
    size, = struct.unpack_from("<Q", data)
    head, out, digest = json.loads(data[8:8 + size]), {}, hashlib.sha256()
    letters = {"I8": "b", "U8": "B", "I16": "h", "U16": "H", "I32": "i", "U32": "I"}
    for name, entry in sorted(head.items()):
        if name != "__metadata__":
            start, end = entry["data_offsets"]
            raw, kind = data[8 + size + start:8 + size + end], entry["dtype"]
            digest.update(b"%s\0%s\0%s\0" % (name.encode(), kind.encode(), "x".join(map(str, entry["shape"])).encode()))
            digest.update(raw)
            if kind in letters:
                raw = struct.unpack("<%d%s" % (math.prod(entry["shape"]), letters[kind]), raw)
            out[name] = entry["shape"], raw
    out["hash"] = None, digest.digest()
    return out


def codes(model):
    for name in ("tessera.codebook", "tok_embeddings.weight", "quantize.embedding.weight"):
        if name in model:
            return model[name][0][0]
    raise Corrupt("no codebook")


class Level:
    """Ids in tree order, the sums of their weights, and where each begins."""

    def __init__(self, ids, weights, starts):
        self.ids, self.starts, self.sums = ids, starts, [0]
        for w in weights:
            self.sums.append(self.sums[-1] + w)


class Book:
    def __init__(self, model):
        self.k, self.hash = codes(model), model["hash"][1]
        place = list(self._get(model, "tessera.order", range(self.k)))
        weight = self._get(model, "tessera.frequency", [1] * self.k)
        need(len(place) == len(weight) == self.k and sorted(place) == list(range(self.k)), "order")
        need(min(weight) >= 1 and sum(weight) <= 1 << 20, "frequency")
        ids = sorted(range(self.k), key=lambda i: place[i])
        self.levels = [Level(ids, [weight[i] for i in ids], list(range(self.k)))]
        sums = self.levels[0].sums
        while "tessera.level.%d.start" % len(self.levels) in model:
            starts = list(model["tessera.level.%d.start" % len(self.levels)][1])
            ends = starts[1:] + [self.k]
            need(starts[0] == 0 and all(a < b for a, b in zip(starts, ends)), "starts")
            need(set(starts) <= set(self.levels[-1].starts), "nested")
            self.levels.append(Level(list(range(len(starts))), [sums[b] - sums[a] for a, b in zip(starts, ends)], starts))
        need(len(self.levels) <= 8, "levels")
        self.bias = None
        if "tessera.context.bias" in model:
            self.bias, weight = model["tessera.context.bias"][1], model["tessera.context.weight"][1]
            c = self.classes = len(self.bias)
            need(len(self.levels) > 1 and c == len(self.levels[-1].ids) <= 256 and
                 len(weight) == 4 * (c + 1) * c, "context")
            self.weight = [[weight[(n * (c + 1) + r) * c:][:c] for r in range(c + 1)] for n in range(4)]

    @staticmethod
    def _get(model, name, default):
        return model[name][1] if name in model else default


# ---- Units

POWER = [round(4096 * 2 ** (-i / 32)) for i in range(32)]


class Way:
    def __init__(self, book, byte):
        self.level, self.n, self.context = byte & 7, 1 << (byte >> 3 & 3), byte >> 5 & 1
        need(byte < 64 and self.level < len(book.levels), "parameter")
        need(not self.context or book.bias is not None, "context")


def decide(string, sums):
    """The part that comes next; sums: of the weights before each part, and of all."""
    total = sums[-1] - sums[0]
    slots = lambda s: (s - sums[0] << 20) // total
    need(string.code < string._part(1 << 20, 20), "code")
    part, end = 0, len(sums) - 1
    while end - part > 1:
        middle = (part + end) // 2
        part, end = (part, middle) if string.code < string._part(slots(sums[middle]), 20) else (middle, end)
    string._take(slots(sums[part]), slots(sums[part + 1]), 20)
    return part


def class_sums(book, around):
    score = [book.bias[k] + sum(book.weight[i][m][k] for i, m in enumerate(around)) for k in range(book.classes)]
    best, sums = max(score), [0]
    for s in score:
        x = best - s
        sums.append(sums[-1] + max(1, POWER[x % 32] >> x // 32))
    return sums


def token(book, way, string, known, y, x):
    """Its place among its level's ids; known: classes of this unit's tokens."""
    level = book.levels[way.level]
    if not way.context:
        return decide(string, level.sums)
    n = way.n
    around = [known.get(at, book.classes) for at in ((y, x - n), (y - n, x), (y - n, x + n), (y - n, x - n))]
    k = known[y, x] = decide(string, class_sums(book, around))
    if way.level == len(book.levels) - 1:
        return k
    starts = book.levels[-1].starts + [book.k]
    first, last = (level.starts + [book.k]).index(starts[k]), (level.starts + [book.k]).index(starts[k + 1])
    return first + decide(string, level.sums[first:last + 1])


def places(height, width, n, unit):
    """The tokens of a unit, in order."""
    across = -(-width // REGION)
    region, coset = unit // (n * n), unit % (n * n)
    y0, x0 = region // across * REGION, region % across * REGION
    return [(y, x) for y in range(y0 + coset // n, min(y0 + REGION, height), n)
            for x in range(x0 + coset % n, min(x0 + REGION, width), n)]


def count(height, width, n):
    return -(-height // REGION) * -(-width // REGION) * n * n


def read_unit(book, way, height, width, unit, data, crc):
    """{(y, x): id}"""
    out, known, where = {}, {}, places(height, width, way.n, unit)
    if not where:
        need(not data, "bytes of no tokens")
        return out
    need(len(data) >= 2 and struct.unpack_from("<H", data)[0] == crc32c(data[2:], crc) & 0xFFFF, "check")
    string = Range(data[2:])
    for y, x in where:
        out[y, x] = book.levels[way.level].ids[token(book, way, string, known, y, x)]
    need(string.end(), "end")
    return out


# ---- Pictures

def compact(data):
    """(model, width, height, parameter, {unit: bytes}, check value)"""
    need(data[:2] == b"\xc7\x54" and data[2] >> 2 in (3, 4) and not data[2] & 1, "head")
    width, at = varint(data, 7)
    height, at = varint(data, at)
    need(at < len(data), "cut")
    return data[3:7], width + 1, height + 1, data[at], {0: data[at + 1:]}, crc32c(data[:at + 1])


def container(data):
    chunks = [c for c in Stream(data).chunks if c.stream == 0]
    head = next(c.data for c in chunks if c.type == b"HEAD")
    need(head[0] in (3, 4) and head[3] == 1 and len(head) == 17, "HEAD")
    width, height = struct.unpack_from("<II", head, 4)
    units = {}
    for c in chunks:
        if c.type == b"DATA":
            number, at = varint(c.data, 0)
            units.setdefault(number, c.data[at:])
    model = next(c.data for c in chunks if c.type == b"MODL")[:32]
    return model, width, height, head[16], units, 0


def read_picture(book, data, f):
    """The way and the rows of ids of a file; None where one is lost."""
    model, width, height, byte, units, crc = (compact if data[:1] == b"\xc7" else container)(data)
    need(book.hash[:len(model)] == model, "another model")
    way, h, w = Way(book, byte), -(-height // f), -(-width // f)
    crc = crc32c(struct.pack("<IIB", width, height, byte), crc)
    rows = [[None] * w for _ in range(h)]
    need(all(u < count(h, w, way.n) for u in units), "unit")
    for unit, part in units.items():
        try:
            for (y, x), token_id in read_unit(book, way, h, w, unit, part, crc).items():
                rows[y][x] = token_id
        except Corrupt:
            if len(units) == 1:
                raise
    return way, rows


# ---- Checks

def check_case(book, path):
    first, *lines = path.with_suffix(".txt").read_text().split("\n")
    height, width, byte, crc = map(int, first.split())
    data, at, way, found = path.read_bytes(), 0, Way(book, byte), {}
    for unit in range(count(height, width, way.n)):
        size, = struct.unpack_from("<I", data, at)
        found.update(read_unit(book, way, height, width, unit, data[at + 4:at + 4 + size], crc))
        at += 4 + size
    return at == len(data) and [found.get((i // width, i % width)) for i in range(height * width)] == \
        [int(line) for line in lines if line]


def check_golden(book, path):
    first, *lines = path.with_suffix(".ids").read_text().split("\n")
    width, height, level = map(int, first.split())
    way, rows = read_picture(book, path.read_bytes(), 8)
    ids = [[int(i) for i in line.split()] for line in lines if line]
    return level == way.level and (len(ids), len(ids[0])) == (-(-height // 8), -(-width // 8)) and \
        [[-1 if i is None else i for i in row] for row in rows] == ids


def check(folder, golden):
    books = {p.name.split(".")[0]: Book(tensors(p)) for p in Path(folder).glob("m*.safetensors")}
    checks = [(check_case, books[p.name.split(".")[0]], p) for p in sorted(Path(folder).glob("m*.units"))]
    book = Book(tensors(Path(golden) / "model.safetensors"))
    checks += [(check_golden, book, p) for p in sorted(Path(golden).glob("*.tess"))]
    print("1..%d" % len(checks))
    for i, (run, model, path) in enumerate(checks):
        try:
            good = run(model, path)
        except Corrupt as fault:
            print("#", fault)
            good = False
        print("%s %d - %s" % ("ok" if good else "not ok", i + 1, path.name))


def main():
    if sys.argv[1] == "check":
        check(*sys.argv[2:4])
        return
    _, rows = read_picture(Book(tensors(sys.argv[1])), Path(sys.argv[2]).read_bytes(), int(sys.argv[3]))
    for row in rows:
        print(*("-" if i is None else i for i in row))


if __name__ == "__main__":
    main()
