# SPDX-License-Identifier: BSD-2-Clause
"""A second decoder of docs/entropy.md, section "Rows", standard library only;
it takes the tables from the page itself.  entropy_check.py and kv_reader.py use
it."""
import os
import re
from functools import lru_cache

from tess_reader import FACTOR, Corrupt, Segment

PAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "docs",
                    "entropy.md")


def need(good, what):
    if not good:
        raise Corrupt(what)


@lru_cache(None)
def page_tables():
    """The two tables of the page: (level 0, levels, escape) of each table, and
    frequencies by class and min(|q|, 2) of refinement."""
    with open(PAGE, encoding="utf-8") as file:
        text = re.split(r"(?m)^## ", file.read())
    text, = [part for part in text if re.match(r"\d+\. Rows\n", part)]
    value, refine = [], []
    for line in text.splitlines():
        cells = [cell.split() for cell in line.strip("|").split("|")]
        if line[:1] != "|" or not all(
                n.isdigit() for cell in cells for n in cell):
            continue
        cells = [list(map(int, cell)) for cell in cells]
        into = value if len(cells[1]) == 1 else refine
        need(len(cells) == 4 and cells[0] == [len(into)], "page")
        into.append(cells[1:])
    need(len(value) == 22 and len(refine) == 26, "page")
    return value, refine


def slots(frequencies):
    """Of each slot: frequency, slot - start, symbol.  frequencies: pairs of a
    symbol and its own."""
    out = []
    for symbol, f in frequencies:
        out += [(f, i, symbol) for i in range(f)]
    need(len(out) == 4096, "page")
    return out


@lru_cache(None)
def value_table(number):
    """Slots and reach of a table."""
    (zero,), levels, (escape,) = page_tables()[0][number]
    pairs = [(0, zero)]
    for a, f in enumerate(levels, 1):
        pairs += [(2 * a - 1, f), (2 * a, f)]
    return slots(pairs + [(29, escape), (30, escape)]), len(levels)


@lru_cache(None)
def refine_table(cls, magnitude):
    return slots(enumerate(page_tables()[1][min(cls, 25)][magnitude]))


@lru_cache(None)
def uniform(k):
    return slots((s, 4096 >> k) for s in range(1 << k))


def raw_bits(cls):
    return 0 if cls < 22 else (cls - 18) // 4


class Strip:
    """How up to 32 coefficients of these classes are coded."""

    def __init__(self, classes):
        self.classes = classes
        self.k = [raw_bits(c) for c in classes]
        pairs = [value_table(c - 4 * k) for c, k in zip(classes, self.k)]
        self.tables = [pair[0] for pair in pairs]
        self.reach = [pair[1] for pair in pairs]
        self.low = [uniform(k) for k in self.k] if any(self.k) else None


class RowSegment(Segment):
    def __init__(self, data, crc):
        need(data[:1] == b"\x03", "first byte of rows")
        super().__init__(data, crc)

    def get(self, tables):
        """A run of a symbol for each table."""
        state, sums, out = self.states, self.sums, []
        for lane, table in enumerate(tables):
            x = state[lane]
            f, bias, s = table[x & 4095]
            x = f * (x >> 12) + bias
            if x < 65536:
                need(self.words, "no word left")
                x = x << 16 | self.words.pop()
            state[lane] = x
            sums[lane] = (sums[lane] + s) * FACTOR & 0xFFFF
            out.append(s)
        return out

    def excess(self, strip, symbols):
        """e of each lane whose symbol is an escape."""
        more = [lane for lane, s in enumerate(symbols) if s > 28]
        e = dict.fromkeys(more, 0)
        for group in range(5):
            if not more:
                break
            got = self.get([uniform(4 if lane in more else 0)
                            for lane in range(len(symbols))])
            for lane in more:
                e[lane] |= (got[lane] & 7) << 3 * group
            more = [lane for lane in more if got[lane] > 7]
        need(not more, "an escape that does not end")
        return e

    def values(self, strip):
        symbols = self.get(strip.tables)
        low = self.get(strip.low) if strip.low else None
        out = [-(s + 1) // 2 if s & 1 else s // 2 for s in symbols]
        for lane, e in self.excess(strip, symbols).items():
            hi = e + strip.reach[lane] + 1
            out[lane] = -hi if symbols[lane] == 29 else hi
        if low:
            out = [(hi << k) + l - (1 << k >> 1) for hi, k, l in
                   zip(out, strip.k, low)]
        need(max(map(abs, out)) < 32768, "a value")
        return out

    def refine(self, strip, q):
        got = self.get([refine_table(c, min(abs(v), 2)) for c, v in
                        zip(strip.classes, q)])
        out = [3 * v + (s - 1 if v >= 0 else 1 - s) for s, v in zip(got, q)]
        need(max(map(abs, out)) < 32768, "a finer value")
        return out


def read_rows(data, crc, classes, coarse=None):
    """Values of a segment; classes: those of each token; coarse: the values to
    be refined."""
    segment, strips, out = RowSegment(data, crc), {}, []
    for t, line in enumerate(classes):
        if line not in strips:
            strips[line] = [Strip(line[i:i + 32])
                            for i in range(0, len(line), 32)]
        row = []
        for i, strip in enumerate(strips[line]):
            row += segment.refine(strip, coarse[t][32 * i:32 * i + 32]) \
                if coarse else segment.values(strip)
        out.append(row)
    segment.end()
    return out


def decode_rows(data, tokens, classes, crc, coarse=None):
    """The same where all tokens have the same classes."""
    return read_rows(data, crc, [tuple(classes)] * tokens, coarse)
