#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""A second decoder of KV objects with method 0, written from docs/kv-format.md,
standard library only.

    kv_reader.py FILE.tkv [PROFILE]     prints what the objects of a file are

For tests: slow.  All arithmetic is that which the page gives to encoders, in
binary32, so that values can be compared bit for bit.  kv_check.py uses it.
"""
import hashlib
import json
import math
import struct
import sys
from array import array
from functools import lru_cache

from rows_reader import need, read_rows
from tess_reader import Corrupt, crc32c


# ---- 2 Layout

F16, BF16, F32, E4M3, E5M2 = 1, 2, 3, 4, 5


class Rope:
    def __init__(self, fields, dim):
        """fields: layout, scaling, offset, dims, theta, factor, low factor,
        high factor, original."""
        self.layout, self.scaling, self.offset, self.dims, self.theta, \
            self.factor, self.low, self.high, self.original = fields
        need(0 <= self.layout <= 2 and 0 <= self.scaling <= 2 and not any(
            n % 1 for n in (self.layout, self.scaling, self.offset, self.dims,
                            self.original)), "rope")
        if not self.layout:
            need(not any(fields), "rope that is not")
            return
        need(self.dims % 2 == 0 and self.dims > 0 and self.offset >= 0 and
             self.offset + self.dims <= dim and 1 <= self.theta <= 1e12, "rope")
        if self.scaling:
            need(1 <= self.factor <= 1e9, "rope factor")
        else:
            need(not self.factor, "rope factor of nothing")
        if self.scaling == 2:
            need(1e-9 <= self.low < self.high <= 1e9 and
                 1 <= self.original <= 1 << 30, "rope scaling")
        else:
            need(not (self.low or self.high or self.original), "rope scaling")

    def same(self, other):
        return vars(self) == vars(other)


class Object:
    """The front of an object, checked; where its heads and units are."""

    def __init__(self, data):
        self.data = data
        need(len(data) >= 160 and data[:4] == b"\x89TKV" and data[4] == 1,
             "magic or version")
        (self.method, self.flags, self.dtype, self.layers, self.planes,
         self.levels, *sizes, self.tokens, self.pos0, self.tile, self.span,
         step0, step1, self.shift, self.sinks, self.bits, self.live,
         self.groups, self.hash, self.size) = struct.unpack_from(
             "<3BHBB4HIIHHffbBBbI8sQ", data, 5)
        self.heads, self.dims = sizes[:2], sizes[2:]
        self.step = [step0, step1]
        self.profiled = any(self.hash)
        self.check_shape()
        self.check_numbers()
        self.rope = Rope(struct.unpack_from("<BBHH2xddddI", data, 64),
                         self.dims[0])
        need(not any(data[70:72] + data[108:152] + data[156:160]), "zeros")
        self.read_front()

    def check_shape(self):
        need(self.method == 0, "method")
        need(1 <= self.dtype <= 5 and 1 <= self.layers <= 1024 and
             1 <= self.planes <= 2 and 1 <= self.levels <= 3, "shape")
        for p in 0, 1:
            if p < self.planes:
                need(1 <= self.heads[p] <= 1024 and 1 <= self.dims[p] <= 2048 and
                     self.heads[p] * self.dims[p] <= 16384, "plane")
            else:
                need(not self.heads[p] and not self.dims[p], "no plane")
        joined = self.profiled and self.groups and \
            self.layers % self.groups == 0
        need(joined or self.groups == self.layers * self.planes, "groups")

    def check_numbers(self):
        need(self.flags < 16 and (self.profiled or not (
            self.flags & 12 or self.shift or self.live)), "flags")
        need(self.tokens <= 1 << 20 and self.pos0 <= 1 << 31, "tokens")
        for size in self.tile, self.span:
            need(32 <= size <= 4096 and size % 32 == 0, "tile")
        for p, step in enumerate(self.step):
            need(1e-30 < step < 1e30, "step")
            need(struct.pack("<f", step)[0] == 0, "bits of a step")
        need(not self.profiled or self.step[0] == self.step[1], "steps")
        need(self.sinks <= min(64, self.tokens), "sinks")
        need(1 <= self.bits <= 31 if self.flags & 1 else not self.bits, "bits")

    def read_front(self):
        d, n = self.data, self.tokens
        front, = struct.unpack_from("<I", d, 152)
        ids = (n * self.bits + 7) // 8
        boosts = (n + 1) // 2 if self.flags & 2 else 0
        need(front == ids + boosts, "front sections")
        self.tiles = (n + self.tile - 1) // self.tile
        units = self.groups * self.tiles * self.levels
        at = 160 + front
        end = at + 8 * (self.groups + units)
        need(len(d) >= end + 4 and
             struct.unpack_from("<I", d, end)[0] == crc32c(d[:end]), "CRC")
        pairs = list(struct.iter_unpack("<II", d[at:end]))
        need(self.size == end + 4 + sum(size for size, _ in pairs) and
             self.size <= len(d), "size")
        self.read_sections(d[160:160 + ids], d[160 + ids:at])
        self.parts, at = [], end + 4
        for size, crc in pairs:
            self.parts.append((d[at:at + size], crc))
            at += size

    def read_sections(self, ids, boosts):
        n = self.tokens
        number = int.from_bytes(ids, "little")
        self.ids = [number >> i * self.bits & (1 << self.bits) - 1
                    for i in range(n)] if self.flags & 1 else None
        need(not number >> n * self.bits, "padding of ids")
        self.boost = [boosts[i // 2] >> 4 * (i % 2) & 15 for i in range(n)] \
            if self.flags & 2 else [0] * n
        need(not boosts or max(self.boost) < 8, "boost")
        need(not (boosts and n % 2 and boosts[-1] >> 4), "padding of boosts")

    def part(self, i):
        data, crc = self.parts[i]
        need(crc32c(data) == crc, "CRC of a part")
        return data

    def head(self, group):
        return self.part(group)

    def unit(self, group, tile, level):
        return self.part(self.groups + (group * self.tiles + tile) *
                         self.levels + level)

    def group_planes(self, group):
        """Numbers of its planes, layer * planes + plane."""
        n = self.layers * self.planes // self.groups
        return range(group * n, group * n + n)

    def width(self, plane):
        p = plane % self.planes
        return self.heads[p] * self.dims[p]


# ---- 3 Positions and values

CELL = array("f", [0])


def f32(x):
    CELL[0] = x
    return CELL[0]


def floats(numbers):
    """Each rounded to binary32."""
    return array("f", numbers)


def fma(a, b, c):
    """Of binary32 numbers: the product is exact in binary64, and so the sum
    must be looked at only where it is half way between two results."""
    product = a * b
    total = product + c
    near = f32(total)
    gap = total - near
    if gap and f32(near + 2 * gap) == near + 2 * gap:
        big, small = (product, c) if abs(product) > abs(c) else (c, product)
        rest = small - (total - big)
        if rest and (rest > 0) == (gap > 0):
            return near + 2 * gap
        if rest:
            return near
    return near


LAST_BYTE = slice(0 if sys.byteorder == "little" else 7, None, 8)


def fused(a, row, sums):
    """fma() of a with all of a row.  A sum that is half way between two results
    has zeros for its last bits."""
    total = array("d", [a * b + c for b, c in zip(row, sums)])
    out = floats(total)
    last = total.tobytes()[LAST_BYTE]
    at = last.find(0)
    while at >= 0:
        out[at] = fma(a, row[at], sums[at])
        at = last.find(0, at + 1)
    return out


def frequencies(rope):
    out = []
    for i in range(rope.dims // 2):
        f = rope.theta ** (-2.0 * i / rope.dims)
        if rope.scaling == 1:
            f /= rope.factor
        elif rope.scaling == 2:
            turns = rope.original * f / (2 * math.pi)
            part = (turns - rope.low) / (rope.high - rope.low)
            part = min(max(part, 0.0), 1.0)
            f = f / rope.factor * (1 - part) + f * part
        out.append(f)
    return out


class Turner:
    """Puts the rotation by position back."""

    def __init__(self, rope):
        self.rope = rope
        self.f = frequencies(rope)
        self.half = lru_cache(None)(self.half)

    def half(self, position):
        return (floats(math.cos(position * f) for f in self.f),
                floats(math.sin(position * f) for f in self.f))

    def pairs(self, start):
        o, n = start + self.rope.offset, self.rope.dims // 2
        return [(o + i, o + i + n) if self.rope.layout == 1 else
                (o + 2 * i, o + 2 * i + 1) for i in range(n)]

    def back(self, row, pos, dim):
        if not self.rope.layout:
            return row
        ch, sh = self.half(pos // 256 * 256)
        cl, sl = self.half(pos % 256)
        for start in range(0, len(row), dim):
            for i, (a, b) in enumerate(self.pairs(start)):
                c = f32(f32(ch[i] * cl[i]) - f32(sh[i] * sl[i]))
                s = f32(f32(sh[i] * cl[i]) + f32(ch[i] * sl[i]))
                x, y = row[a], row[b]
                row[a] = f32(f32(x * c) - f32(y * s))
                row[b] = f32(f32(y * c) + f32(x * s))
        return row


def small_float(x, exponent, fraction, largest):
    """The bits of an 8-bit float."""
    sign = math.copysign(1, x) < 0
    x = min(abs(x), largest)
    bias = (1 << exponent - 1) - 1
    e = max(math.frexp(x)[1] - 1, 1 - bias) if x else 1 - bias
    steps = round(math.ldexp(x, fraction - e))      # half to even
    return sign << 7 | (e + bias - 1 << fraction) + steps


def store(row, dtype):
    """The bytes of values."""
    if dtype == F32:
        return struct.pack("<%df" % len(row), *row)
    if dtype == F16:
        return b"".join(struct.pack("<e", x) if abs(x) < 65520 else
                        b"\0\xfc" if x < 0 else b"\0\x7c" for x in row)
    if dtype == BF16:
        bits = struct.unpack("<%dI" % len(row), store(row, F32))
        return struct.pack("<%dH" % len(row), *(
            b + 0x7FFF + (b >> 16 & 1) >> 16 for b in bits))
    form = (4, 3, 448.0) if dtype == E4M3 else (5, 2, 57344.0)
    return bytes(small_float(x, *form) for x in row)


# ---- 4 Rows

class Head:
    """The head of a group: rows of the sinks by plane, classes, centres."""

    def __init__(self, o, group):
        data, at = o.head(group), 0
        self.sinks = {}
        for plane in o.group_planes(group):
            dim, heads = o.dims[plane % o.planes], o.heads[plane % o.planes]
            rows = []
            for _ in range(o.sinks):
                row = array("f")
                for _ in range(heads):
                    e, *v = struct.unpack("<%db" % (dim + 1),
                                          data[at:at + dim + 1].ljust(
                                              dim + 1, b"\0"))
                    row.extend(math.ldexp(x, e) for x in v)
                    at += dim + 1
                rows.append(row)
            self.sinks[plane] = rows
        self.classes = self.centres = ()
        if not o.profiled and o.tokens > o.sinks:
            n = o.width(group)
            need(len(data) == at + 3 * n, "size of a head")
            self.classes = tuple(data[at:at + n])
            self.centres = struct.unpack_from("<%dh" % n, data, at + n)
            need(max(self.classes) < 64, "class")
            at += 3 * n
        need(at == len(data), "size of a head")


LEVEL_CLASSES = 0, 6, 13


def read_unit(o, group, tile, level, classes, coarse):
    """Values of the rows of a unit; classes: level 0's of each row."""
    data = o.unit(group, tile, level)
    width = len(classes[0]) if classes else 0
    if not width:
        need(not data, "a unit of nothing")
        return [[] for _ in classes]
    count = (width + o.span - 1) // o.span
    need(len(data) >= 4 * count, "sizes")
    sizes = struct.unpack_from("<%dI" % count, data)
    need(4 * count + sum(sizes) == len(data), "sizes")
    at, out = 4 * count, [[] for _ in classes]
    classes = [tuple(min(max(c + LEVEL_CLASSES[level], 0), 63) for c in line)
               for line in classes]
    for i, size in enumerate(sizes):
        part = slice(i * o.span, (i + 1) * o.span)
        got = read_rows(data[at:at + size],
                        i + 64 * level + 256 * (group * o.tiles + tile)
                        & 0xFFFFFFFF,
                        [line[part] for line in classes],
                        coarse and [row[part] for row in coarse])
        at += size
        for row, more in zip(out, got):
            row += more
    return out


def read_group(o, group, levels, line):
    """q_0 and q of the levels wanted, of each row of the group; line(t):
    classes of token t at level 0."""
    first, last = [], []
    for tile in range(o.tiles):
        tokens = range(max(tile * o.tile, o.sinks),
                       min((tile + 1) * o.tile, o.tokens))
        classes = [line(t) for t in tokens]
        q = None
        for level in range(o.levels):
            if level >= levels:
                o.unit(group, tile, level)
                continue
            q = read_unit(o, group, tile, level, classes, q)
            if not level:
                first += q
        last += q
    return first, last


def step_of(s0, level, boost):
    return f32(f32(s0 / 3 ** level) * 2.0 ** -boost)


def plain_group(o, group, levels):
    """The rows of each plane of a group without a profile."""
    head = Head(o, group)
    s0 = o.step[group % o.planes]
    quarter = f32(s0 / 4)
    centre = floats(c * quarter for c in head.centres)
    lines = [tuple(min(c + 4 * b, 63) for c in head.classes) for b in range(8)]
    rows = list(head.sinks[group])
    _, q = read_group(o, group, levels, lambda t: lines[o.boost[t]])
    for t, row in enumerate(q, o.sinks):
        s = step_of(s0, levels - 1, o.boost[t])
        rows.append(floats(x + m for x, m in
                           zip(floats(v * s for v in row), centre)))
    return {group: rows}


# ---- 5 Rows with a profile

BYTES = {"U8": 1, "I8": 1, "F16": 2, "BF16": 2, "F32": 4, "I32": 4, "F64": 8,
         "I64": 8, "U32": 4}
CODES = {"U8": "B", "I8": "b", "F16": "e", "F32": "f", "I32": "i", "F64": "d"}


class Tensors:
    """A model file: docs/models.md."""

    def __init__(self, data):
        size, = struct.unpack_from("<Q", data)
        need(size <= len(data) - 8, "header of a model")
        head = json.loads(data[8:8 + size])
        self.meta = head.pop("__metadata__", {})
        self.tensor = {}
        hashed = hashlib.sha256()
        for name in sorted(head, key=lambda s: s.encode()):
            kind, dims = head[name]["dtype"], head[name]["shape"]
            start, end = head[name]["data_offsets"]
            need(0 <= start <= end <= len(data) - 8 - size and
                 end - start == BYTES[kind] * math.prod(dims), "tensor")
            content = data[8 + size + start:8 + size + end]
            self.tensor[name] = kind, dims, content
            hashed.update(b"\0".join((name.encode(), kind.encode(),
                                      "x".join(map(str, dims)).encode(),
                                      content)))
        self.hash = hashed.digest()
        need(self.meta.get("tessera.sha256", self.hash.hex()) ==
             self.hash.hex(), "hash")

    def get(self, name, kinds, dims, missing=None):
        """Numbers; dims: None where any will do."""
        if name not in self.tensor and missing is not None:
            return missing
        need(name in self.tensor, "no " + name)
        kind, found, content = self.tensor[name]
        need(kind in kinds.split() and len(found) == len(dims) and all(
            want is None or want == got for want, got in zip(dims, found)),
            name)
        numbers = struct.unpack("<%d%s" % (math.prod(found), CODES[kind]),
                                content)
        need(all(map(math.isfinite, numbers)), name)
        return numbers

    def one(self, name, low, high, missing=None):
        value, = self.get(name, "I32", [1], missing)
        need(low <= value <= high, name)
        return value


class Profile(Tensors):
    def __init__(self, data):
        super().__init__(data)
        need(self.meta.get("tessera.codec") == "kv-profile", "no profile")
        self.shape = self.get("kv.shape", "I32", [6])
        layout, offset, dims, theta, scaling, factor, low, high, original = \
            self.get("kv.rope", "F64", [9])
        self.rope = Rope((layout, scaling, offset, dims, theta, factor, low,
                          high, original), self.shape[3])
        self.groups = self.tensor["kv.groups"][1][0]
        self.list = self.get("kv.groups", "I32", [self.groups, 3])
        self.step, = self.get("kv.step", "F32", [1])
        need(1e-30 < self.step < 1e30, "kv.step")
        self.bias = self.one("kv.bias", 0, 63, (0,))
        self.dead = self.one("kv.dead", 0, 64)
        self.hadamard = self.one("kv.hadamard", 0, 1, (0,))
        self.kind, self.anchor = self.get("kv.reference", "I32", [2])
        need(0 <= self.kind <= 3 and (1 <= self.anchor <= 1 << 20
                                      if self.kind == 2 else not self.anchor),
             "kv.reference")
        self.predictors = self.one("kv.predictors", 0, 4, (0,))
        self.hidden = self.vocabulary = 0
        if self.predictors:
            self.vocabulary, self.hidden = self.tensor["embedding"][1]
            need(self.hidden <= 65536, "hidden")
            self.embedding = self.get("embedding", "F16", [None, None])

    def fits(self, o):
        """Must be for this object."""
        need(self.hash[:8] == o.hash, "another profile")
        need(self.shape == (o.layers, o.planes, o.heads[0], o.dims[0],
                            o.heads[1], o.dims[1]), "another shape")
        need(self.rope.same(o.rope) and self.groups == o.groups,
             "another geometry")
        need(not self.hadamard or not any(
            d & d - 1 for d in o.dims[:o.planes]), "dims of Hadamard")
        need(1e-30 < f32(self.step * o.step[0]) < 1e30, "step")
        need(not o.flags & 8 or self.kind and (
            self.kind != 3 or o.flags & 4), "references")


class Group:
    """What a profile says of one group."""

    def __init__(self, profile, o, group):
        self.planes = o.group_planes(group)
        self.n = n = sum(map(o.width, self.planes))
        name = "g.%d." % group
        first = self.planes[0]
        joined = len(self.planes) > 1 or o.planes == 1
        need(tuple(profile.list[3 * group:3 * group + 3]) == (
            first // o.planes,
            len(self.planes) // o.planes if joined else 1,
            -1 if joined else first % o.planes), "kv.groups")
        any_float = "F16 F32"
        self.mean = profile.get(name + "mean", any_float, [n])
        scale = profile.get(name + "scale", any_float, [n], [1] * n)
        need(all(scale), "scale")
        self.reciprocal = floats(1 / s for s in scale)
        need(all(map(math.isfinite, self.reciprocal)), "scale")
        self.r, self.inverse = n, None
        if name + "forward" in profile.tensor:
            self.r = profile.tensor[name + "forward"][1][0]
            need(self.r <= n, "coefficients")
            profile.get(name + "forward", any_float, [self.r, n])
            flat = profile.get(name + "inverse", any_float, [self.r, n])
            self.inverse = [flat[i * n:i * n + n] for i in range(self.r)]
        matches, r = profile.tensor[name + "class"][1]
        need(matches in (1, 8) and r == self.r, "classes")
        flat = profile.get(name + "class", "U8", [matches, r])
        need(max(flat) < 64, "class bytes")
        self.classes = [flat[i * r:i * r + r] for i in range(matches)]
        flat = profile.get(name + "rho", "I8", [matches, r], [0] * matches * r)
        self.rho = [flat[i * r:i * r + r] for i in range(matches)]
        self.words = None
        if profile.predictors:
            rows = profile.predictors * profile.hidden + 1
            flat = profile.get(name + "words", any_float, [rows, n])
            self.words = [flat[i * n:i * n + n] for i in range(rows)]


class Prediction:
    """5.2: what the token ids say of a group's values."""

    def __init__(self, profile, group, ids):
        self.profile, self.w, self.ids = profile, group.words, ids
        self.part = lru_cache(None)(self.part)

    def part(self, j, number):
        h = self.profile.hidden
        e = self.profile.embedding[number * h:number * h + h]
        out = [0.0] * len(self.w[0])
        for x, line in zip(e, self.w[j * h:j * h + h]):
            out = fused(x, line, out)
        return out

    def add(self, t, x):
        p = self.profile
        x = floats(a + b for a, b in zip(x, self.w[p.predictors * p.hidden]))
        for j in range(p.predictors):
            if t >= j and 0 <= self.ids[t - j] < p.vocabulary:
                x = floats(a + b for a, b in
                           zip(x, self.part(j, self.ids[t - j])))
        return x


def length_class(length):
    return length if length < 4 else 4 if length < 6 else \
        5 if length < 9 else 6 if length < 12 else 7


def match(ids, sinks, t):
    """5.5, kind 3."""
    best, ref = 0, None
    for s in [s for s in range(t - 1, sinks - 1, -1) if ids[s] == ids[t]][:64]:
        length = 1
        while length < 12 and length <= s and \
                ids[s - length] == ids[t - length]:
            length += 1
        if length > best:
            best, ref = length, s
    return ref, length_class(best)


def references(o, profile, ids):
    """ref and k of every token."""
    out = []
    for t in range(o.tokens):
        ref, k = None, 1
        if not o.flags & 8:
            pass
        elif profile.kind == 1:
            ref = t - 1
        elif profile.kind == 2 and t % profile.anchor:
            ref = t - t % profile.anchor
        elif profile.kind == 3:
            ref, k = match(ids, o.sinks, t)
        out.append((ref, k) if ref is not None and ref >= o.sinks
                   else (None, 0))
    return out


def hadamard(row, start, dim):
    """Turns the head that begins there."""
    h = 1
    while h < dim:
        for d in range(start, start + dim):
            if not d - start & h:
                a, b = row[d], row[d + h]
                row[d], row[d + h] = f32(a + b), f32(a - b)
        h *= 2
    factor = f32(1 / math.sqrt(dim))
    for d in range(start, start + dim):
        row[d] = f32(row[d] * factor)


def transform_back(o, profile, g, z):
    """Values of a row of coefficients."""
    if g.inverse is None:
        x = z + floats([0] * (g.n - len(z)))
    else:
        x = floats([0] * g.n)
        for zi, line in zip(z, g.inverse):
            x = fused(zi, line, x)
    x = floats(a * b for a, b in zip(x, g.reciprocal))
    at = 0
    for plane in g.planes:
        dim, end = o.dims[plane % o.planes], at + o.width(plane)
        if profile.hadamard:
            for start in range(at, end, dim):
                hadamard(x, start, dim)
        at = end
    return floats(a + b for a, b in zip(x, g.mean))


class Carry:
    """5.4: integers that go from row to row of a group."""

    def __init__(self, o, g, refs):
        self.o, self.g, self.refs, self.f = o, g, refs, {}

    def learn(self, t, q0):
        """What is carried to token t, whose level 0 is q0."""
        ref, k = self.refs[t]
        rho = self.g.rho[min(k, len(self.g.rho) - 1)]
        carry = [0] * len(q0) if ref is None else [
            a * f + 32 >> 6 for a, f in zip(rho, self.f[ref])]
        self.f[t] = [min(max((q * 64 >> self.o.boost[t]) + c, -1 << 23), 1 << 23)
                     for q, c in zip(q0, carry)]
        return carry


def coefficients(o, profile, g, levels, group, refs):
    """z[0..R - 1] of each row."""
    live = [i for i, c in enumerate(g.classes[0])
            if c + o.live >= profile.dead]
    count = live[-1] + 1 if live else 0
    lines = {}

    def line(t):
        key = min(refs[t][1], len(g.classes) - 1), o.boost[t]
        if key not in lines:
            lines[key] = tuple(
                c + o.shift + 4 * key[1]
                for c in g.classes[key[0]][:count])
        return lines[key]

    first, last = read_group(o, group, levels, line)
    s0 = f32(o.step[0] * profile.step)
    u = f32(s0 / 64)
    carry = Carry(o, g, refs)
    for t, (q0, q) in enumerate(zip(first, last), o.sinks):
        s = step_of(s0, levels - 1, o.boost[t])
        m = floats(c * u for c in carry.learn(t, q0))
        yield t, floats(a + b for a, b in zip(floats(v * s for v in q), m))


def profiled_group(o, profile, group, levels, ids, refs):
    g = Group(profile, o, group)
    planes = {p: list(rows) for p, rows in Head(o, group).sinks.items()}
    predict = Prediction(profile, g, ids) if g.words and o.flags & 4 else None
    for t, z in coefficients(o, profile, g, levels, group, refs):
        x, at = transform_back(o, profile, g, z), 0
        x = predict.add(t, x) if predict else x
        for plane in g.planes:
            planes[plane].append(x[at:at + o.width(plane)])
            at += o.width(plane)
    return planes


# ---- Objects

def decode(data, profile=None, levels=0, ids=None):
    """The object at the beginning of data, and the stored rows of every plane,
    each as bytes of the type of its source."""
    o = Object(data)
    levels = levels or o.levels
    need(levels <= o.levels, "levels")
    refs = None
    if o.profiled:
        need(profile, "the profile is wanted")
        profile.fits(o)
        ids = o.ids or ids
        need(ids or not o.flags & 4, "token ids are wanted")
        refs = references(o, profile, ids)
    turner, planes = Turner(o.rope), {}
    for group in range(o.groups):
        planes.update(profiled_group(o, profile, group, levels, ids, refs)
                      if o.profiled else plain_group(o, group, levels))
    for plane, rows in planes.items():
        if plane % o.planes == 0:
            rows[:] = [turner.back(row, o.pos0 + t, o.dims[0])
                       for t, row in enumerate(rows)]
        planes[plane] = [store(row, o.dtype) for row in rows]
    return o, [planes[p] for p in range(o.layers * o.planes)]


def main():
    with open(sys.argv[1], "rb") as file:
        data = file.read()
    profile = None
    if len(sys.argv) > 2:
        with open(sys.argv[2], "rb") as file:
            profile = Profile(file.read())
    while data:
        o, _ = decode(data, profile)
        print("%d bytes: %d layers, %d tokens from %d, levels %d, groups %d" % (
            o.size, o.layers, o.tokens, o.pos0, o.levels, o.groups))
        data = data[o.size:]


if __name__ == "__main__":
    main()
