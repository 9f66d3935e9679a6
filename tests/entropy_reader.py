#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""A second decoder of docs/entropy.md, sections 1 to 3, 6 and 7, standard
library only.  Sections 4 and 5 are in adaptive_reader.py, 8
in rows_reader.py.

    entropy_reader.py decode FILE       prints the symbols of an array's stream
    entropy_reader.py table BITS FILE   prints the frequencies of a table

For tests: slow, and written from the document.  entropy_check.py uses it.
"""
import struct
import sys
from decimal import Decimal, getcontext
from functools import lru_cache

from adaptive_reader import Adaptive, Range
from tess_reader import FACTOR, Alphabet, Corrupt, Segment, crc32c, normalise, \
    varint


def need(good, what):
    if not good:
        raise Corrupt(what)


class Bits:
    """A string of bits; bit 0 of data[at] is the first."""

    def __init__(self, data, at=0):
        self.data, self.at = data, 8 * at

    def take(self, k):
        end = self.at + k
        need(end <= 8 * len(self.data), "bits are cut")
        value = int.from_bytes(self.data[self.at >> 3:end + 7 >> 3], "little")
        value = value >> (self.at & 7) & (1 << k) - 1
        self.at = end
        return value

    def golomb(self, k):
        first = k
        while self.take(1):
            k += 1
            need(k <= 18, "Golomb code")
        return (1 << k) - (1 << first) + self.take(k)

    def end(self):
        """Where the next byte is."""
        need(not self.take(-self.at % 8), "padding")
        return self.at // 8


# ---- 1 Tables as bytes

def predictor(mode, floor, f, shape, place):
    """P(i) of a mode; f: the frequencies so far."""
    def nearest(i):
        return f[i - 1] if i else floor

    def line(i):
        return nearest(i) if i < 2 else max(floor, 2 * f[i - 1] - f[i - 2])

    def bell(i):
        table, zero = shape
        at = i - place + zero
        return table[at] if 0 <= at < len(table) else floor

    return (nearest, line, bell)[mode]


def read_table(data, at, p):
    """Frequencies, the floor, where the next byte is."""
    b = Bits(data, at)
    mode, floor = b.take(2), b.take(1)
    if mode == 3:
        need(floor, "floor of a shape")
        shape, reach = b.take(10), b.take(7)
        return shape_table(shape, p, reach)[0], 1, b.end()
    n = b.golomb(4) + 1
    need(n <= 1 << p, "symbols of a table")
    shape, place = None, 0
    if mode == 2:
        shape = shape_table(b.take(10), p, 0)
        place = b.golomb(4)
        need(place < n, "place")
    f = []
    predict = predictor(mode, floor, f, shape, place)
    left, zeros = 1 << p, 0
    mean = 64 if mode == 2 else 16 * ((1 << p) // n)

    def put(value):
        need(floor <= value <= left - floor * (n - 1 - len(f)), "frequency")
        f.append(value)
        return left - value

    while len(f) < n - 1:
        skip = 0
        if zeros >= 2:
            run = b.golomb(0)
            need(len(f) + run <= n - 1, "run")
            for _ in range(run):
                left = put(predict(len(f)))
            if len(f) == n - 1:
                break
            skip = 1
        k = 0
        while 24 << k <= mean:
            k += 1
        if not b.take(1):
            code = b.take(k)
        elif not b.take(1):
            code = (1 << k) + b.take(k)
        else:
            code = (2 << k) + b.golomb(k)
        c = code + skip
        left = put(predict(len(f)) + (-(c + 1) // 2 if c & 1 else c // 2))
        mean = (mean + 16 * code) // 2
        zeros = 0 if c else zeros + 1
    return f + [left], floor, b.end()


def read_bank(data, at):
    """Precision, tables, where the next byte is."""
    need(at < len(data) and 1 <= data[at] <= 15, "precision")
    p, tables = data[at], []
    count, at = varint(data, at + 1)
    need(1 <= count <= 1024, "tables of a bank")
    for _ in range(count):
        f, floor, at = read_table(data, at, p)
        need(len(f) <= 256 and floor, "table of a bank")
        tables.append(f)
    return p, tables, at


# ---- 2 Shape tables

PI = Decimal("3.14159265358979323846264338327950288419716939937510")


def nearest_int(x):
    return int(x + Decimal("0.5"))


def upper_tail(x):
    """Of the standard normal distribution."""
    term = total = x
    k = 1
    while term > Decimal(10) ** -45:
        k += 2
        term *= x * x / k
        total += term
    return Decimal("0.5") - (-x * x / 2).exp() / (2 * PI).sqrt() * total


@lru_cache(None)
def numbers():
    """inverse, G, D."""
    getcontext().prec = 60
    two = Decimal(2)
    return ([nearest_int(two ** (28 - Decimal(i) / 8)) for i in range(8)],
            [nearest_int(2 ** 30 * upper_tail(Decimal(i) / 32))
             for i in range(193)],
            [nearest_int(2 ** 32 * (-two.sqrt() / 4 / two ** (
                Decimal(j) / 8 - 3)).exp()) for j in range(72)])


@lru_cache(None)
def tails(family, j):
    inverse, gauss, decay = numbers()
    u = [1 << 29]
    for i in range(1, 521):
        if family:
            u.append(u[-1] * decay[j] >> 32)
            continue
        z = i * inverse[j % 8] >> 11 + j // 8
        a, r = z >> 11, z & 2047
        u.append(gauss[a] - ((gauss[a] - gauss[a + 1]) * r >> 11)
                 if a < 192 else 0)
    return u


def shape_table(shape, p, reach):
    """Frequencies and the index of symbol 0."""
    need(shape < 576 and 2 * reach + 1 <= 1 << p, "shape")
    phase, u = shape // 72 % 4, tails(shape // 288, shape % 72)

    def above(e):
        return u[e] if e >= 0 else (1 << 30) - u[-e]

    mass = {s: above(4 * s - 2 - phase) - above(4 * s + 2 - phase)
            for s in range(-128, 128)}
    there = [s for s in mass if mass[s] >> 30 - p] or [0]
    first, end = min(-reach, there[0]), max(reach, there[-1]) + 1
    return normalise([mass[s] for s in range(first, end)], p), -first


# ---- 3 Large alphabets

def buckets(alphabet):
    return alphabet if alphabet <= 256 else Alphabet.split(alphabet - 1)[0] + 1


def put_tails(segment, run, alphabet):
    """Ranks from their buckets."""
    raw, out = Bits(segment.raw), []
    raw.at = segment.bit
    for b in run:
        k = 0 if b < 8 or alphabet <= 256 else b // 4 - 1
        rank = (4 + b % 4 << k) + raw.take(k) if k else b
        need(rank < alphabet, "rank")
        out.append(rank)
    segment.bit = raw.at
    return out


def number_bits(alphabet, d):
    return (alphabet ** d - 1).bit_length()


def mixed_radix(alphabet):
    """Digits of a number."""
    fit = [d for d in range(1, 57) if number_bits(alphabet, d) <= 56]
    best = 1
    for d in fit:
        if number_bits(alphabet, d) * best < number_bits(alphabet, best) * d:
            best = d
    return best


def read_numbers(b, n, alphabet, d):
    out = []
    while len(out) < n:
        m = min(d, n - len(out))
        x = b.take(number_bits(alphabet, m))
        need(x < alphabet ** m, "number")
        for _ in range(m):
            out.append(x % alphabet)
            x //= alphabet
    return out


# ---- Runs of one table

def get_run(segment, f, p, n):
    """n symbols, all with frequencies f, which may be 0."""
    slots, start = [], []
    for s, width in enumerate(f):
        start.append(len(slots))
        slots += [s] * width
    mask, out = (1 << p) - 1, []
    state, sums, words = segment.states, segment.sums, segment.words
    for i in range(n):
        lane = i % segment.lanes
        x = state[lane]
        s = slots[x & mask]
        x = f[s] * (x >> p) + (x & mask) - start[s]
        if x < 65536:
            need(words, "no word left")
            x = x << 16 | words.pop()
        state[lane] = x
        sums[lane] = (sums[lane] + s) * FACTOR & 0xFFFF
        out.append(s)
    return out


# ---- 6 Arrays of symbols

class Head:
    def __init__(self, data, begin, within):
        self.begin = begin
        need(begin < len(data), "cut")
        self.form = data[begin] & 15
        need(data[begin] >> 4 == 1 and self.form < 8, "version")
        self.n, at = varint(data, begin + 1)
        self.base, at = varint(data, at)
        self.last, self.at = varint(data, at)
        need(self.n <= 1 << 40 and self.base + self.last < 1 << 32, "limits")
        need(not within or self.base + self.last < 256, "ranks of ranks")
        low, high = {0: (0, 1 << 32), 2: (0, 16), 3: (256, 1 << 20),
                     4: (256, 1 << 20), 7: (256, 1 << 20)}.get(
                         self.form, (0, 256))
        need(low <= self.last < high, "last")
        if self.form == 0:
            need(self.n or not (self.base or self.last), "head of nothing")
        else:
            need(0 < self.n <= (1024 if self.form == 6 else 1 << 40), "symbols")


def close(data, begin, at):
    """The CRC at the end; where the next byte is."""
    need(at + 4 <= len(data) and struct.unpack_from("<I", data, at)[0] ==
         crc32c(data[begin:at]), "CRC")
    return at + 4


def decode_numbers(data, h):
    """Forms 0 and 7."""
    a = h.last + 1
    need(h.form == 0 or not h.base, "base")
    d = mixed_radix(a) if h.form else 1
    size = h.n // d * number_bits(a, d) + number_bits(a, h.n % d)
    at = close(data, h.begin, h.at + (size + 7) // 8)
    b = Bits(data, h.at)
    symbols = read_numbers(b, h.n, a, d)
    b.end()
    return symbols, at


def decode_range(data, h):
    """Form 6."""
    size, at = varint(data, h.at)
    need(size < 1 << 32, "size")
    end = close(data, h.begin, at + size)
    coder = Range(data[at:at + size])
    get = coder.nibble if h.last < 16 else coder.byte
    symbols = [get("") for _ in range(h.n)]
    need(coder.end() and max(symbols) <= h.last, "range coded")
    return symbols, end


class Chunks:
    """Forms 1 to 5."""

    def __init__(self, data, h):
        self.data, self.h, at = data, h, h.at + 1
        need(at < len(data), "cut")
        self.p, self.own = data[h.at] & 15, data[h.at] & 16
        several = data[h.at] & 32
        low, high = {3: (12, 12), 4: (12, 12), 5: (6, 14)}.get(h.form, (1, 12))
        need(low <= self.p <= high and not data[h.at] >> 6 and
             not (self.own and h.form > 2), "parameters")
        k = data[at] if several else 20
        at += bool(several)
        need(12 <= k <= 20 and bool(several) == (h.n > 1 << k), "chunks")
        self.length = 1 << k
        if h.form < 4 and not self.own:
            self.table, at = self.read_table(data, at)
        if h.form == 4:
            self.table, at = self.read_classes(at)
        self.crc = crc32c(data[h.begin:at])
        count = (h.n + self.length - 1) // self.length
        if several:
            need(at + 4 * count <= len(data), "index")
            self.sizes = struct.unpack_from("<%dI" % count, data, at)
            self.at = at + 4 * count
        else:
            size, self.at = varint(data, at)
            need(size < 1 << 32, "index")
            self.sizes = [size]

    def read_table(self, data, at):
        f, _, at = read_table(data, at, self.p)
        last = self.h.last
        used = [s for s, width in enumerate(f) if width]
        if self.h.form == 3:
            need(len(f) == buckets(last + 1), "buckets")
        elif self.h.form == 2:
            need(len(used) > 1 and len(f) <= 256 and all(
                s % 16 <= last and s // 16 <= last for s in used), "pairs")
        else:
            need(len(used) > 1 and len(f) <= last + 1, "table")
        return f, at

    def read_classes(self, at):
        """The token table, which ranks its tokens."""
        classes, at = decode(self.data, at, True)
        need(len(classes) == self.h.last + 1 and max(classes) <= 64, "classes")
        return Alphabet([
            1 << (q - 1) // 2 if q & 1 else
            ((181 << (q - 2) // 2) + 64) // 128 if q else 0
            for q in classes]), at

    def decode(self):
        out, at = [], self.at
        for i, size in enumerate(self.sizes):
            need(at + size <= len(self.data), "cut")
            out += self.chunk(self.data[at:at + size],
                              self.crc + i & 0xFFFFFFFF,
                              min(self.length, self.h.n - i * self.length))
            at += size
        return out, at

    def chunk(self, data, crc, n):
        form = self.h.form
        if self.own:
            self.table, at = self.read_table(data, 0)
            crc, data = crc32c(data[:at], crc), data[at:]
        if form == 5:
            segment = Adaptive(data, [(self.h.last + 1, self.p)], crc)
            symbols = segment.run(0, [0] * n)
        else:
            segment = Segment(data, crc)
            symbols = self.symbols(segment, n)
        segment.end()
        return symbols

    def symbols(self, segment, n):
        form, a = self.h.form, self.h.last + 1
        if form == 4:
            run = get_run(segment, self.table.bank.tables[0], 12, n)
            return [self.table.token[r] for r in put_tails(segment, run, a)]
        if form == 3:
            run = [self.table.index(4096)] * n if 4096 in self.table else \
                get_run(segment, self.table, 12, n)
            return put_tails(segment, run, a)
        if form == 1:
            return get_run(segment, self.table, self.p, n)
        pairs = get_run(segment, self.table, self.p, (n + 1) // 2)
        symbols = [s for pair in pairs for s in (pair % 16, pair // 16)]
        need(n % 2 == 0 or not symbols[-1], "half a pair")
        return symbols[:n]


def decode(data, at=0, within=False):
    """The symbols of the stream at data[at:], where the next byte is."""
    h = Head(data, at, within)
    symbols, at = decode_numbers(data, h) if h.form in (0, 7) else \
        decode_range(data, h) if h.form == 6 else Chunks(data, h).decode()
    return [s + h.base for s in symbols], at


# ---- 7 Matrices

def decode_matrix(data, sizes, bank, plan, tokens, crc=0):
    """Rows of values; plan: G, T, classes, offsets."""
    p, tables = bank
    group, tile, cls, offset = plan
    rows = [[0] * len(cls) for _ in range(tokens)]
    order = sorted(range(len(cls)), key=lambda c: (cls[c], c))
    blocks = [(t, g) for t in range(0, tokens, tile)
              for g in range(0, len(cls), group)]
    need(len(blocks) == len(sizes) and sum(sizes) == len(data), "blocks")
    at = 0
    for b, (t, g) in enumerate(blocks):
        segment = Segment(data[at:at + sizes[b]], crc + b & 0xFFFFFFFF)
        need(not segment.raw, "raw bits")
        at += sizes[b]
        m, channels = min(tile, tokens - t), order[g:g + group]
        for which in sorted({cls[c] for c in channels}):
            need(which < len(tables), "class")
            run = [c for c in channels if cls[c] == which]
            got = get_run(segment, tables[which], p, m * len(run))
            for i, s in enumerate(got):
                c = run[i // m]
                rows[t + i % m][c] = s + offset[c] & 255
        segment.end()
    return rows


def main():
    with open(sys.argv[-1], "rb") as file:
        data = file.read()
    for number in decode(data)[0] if sys.argv[1] == "decode" else \
            read_table(data, 0, int(sys.argv[2]))[0]:
        print(number)


if __name__ == "__main__":
    main()
