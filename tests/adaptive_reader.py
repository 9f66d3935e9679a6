#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""A second decoder of adaptive segments and range-coded streams, written from
docs/entropy.md.

    adaptive_reader.py DIR     checks what adaptive_tool wrote there; speaks TAP
"""
import os
import sys

from tess_reader import FACTOR, Corrupt, Segment


# ---- Adaptive segments

class Model:
    def __init__(self, n, memory):
        self.n, self.memory, self.count = n, memory, [0] * n
        self.renew()

    def renew(self):
        n = self.n
        up = [sum(self.count[i:]) for i in range(n)] + [0]
        if up[0] > 1 << self.memory:
            up = [u // 2 for u in up]
        self.count = [up[i] - up[i + 1] for i in range(n)]
        k = 14 - (up[0].bit_length() - 1 if up[0] else 0)
        w = [(up[i] << k) + ((n - i << k) >> 3) for i in range(n)]
        unit = ((1 << 15) - n << 15) // w[0]
        v = [1 << 15] + [n - i + (w[i] * unit >> 15) for i in range(1, n)] + [0]
        self.freq = [v[i] - v[i + 1] for i in range(n)]
        self.wait = min(max(up[0] // 16, 1), 256)


class Context:
    """The models of a context: the high one, and the low ones as they are met."""

    def __init__(self, symbols, memory):
        self.symbols, self.memory = symbols, memory
        self.two = symbols > 16
        self.high = Model((symbols + 15) // 16 if self.two else symbols, memory)
        self.low = {}

    def low_of(self, h):
        if h not in self.low:
            self.low[h] = Model(min(16, self.symbols - 16 * h), self.memory)
        return self.low[h]


class Adaptive(Segment):
    def __init__(self, data, sets, check=0):
        """sets: (symbols, memory) of each."""
        super().__init__(data, check)
        self.sets, self.contexts = sets, {}

    def _row(self, models):
        symbols = []
        for lane, m in enumerate(models):
            x, s = self.states[lane], 0
            slot = x & 32767
            while slot >= m.freq[s]:
                slot -= m.freq[s]
                s += 1
            x = m.freq[s] * (x >> 15) + slot
            if x < 65536:
                if not self.words:
                    raise Corrupt("no word left")
                x = x << 16 | self.words.pop()
            self.states[lane] = x
            symbols.append(s)
        for m, s in zip(models, symbols):
            m.count[s] += 1
            m.wait -= 1
        for m in models:
            if m.wait <= 0:
                m.renew()
        return symbols

    def run(self, which, contexts):
        out = []
        for i in range(0, len(contexts), self.lanes):
            row = [self.contexts.setdefault((which, c), Context(*self.sets[which]))
                   for c in contexts[i:i + self.lanes]]
            symbols = self._row([c.high for c in row])
            if row[0].two:
                low = self._row([c.low_of(h) for c, h in zip(row, symbols)])
                symbols = [16 * h + s for h, s in zip(symbols, low)]
            for lane, s in enumerate(symbols):
                self.sums[lane] = (self.sums[lane] + s) * FACTOR & 0xFFFF
            out += symbols
        return out


# ---- Range-coded streams

class Estimates:
    def __init__(self, start):
        self.fast, self.slow, self.seen = list(start), list(start), 0

    def learn(self, ups):
        r = min((self.seen + 1).bit_length(), 7)
        for p, rate in (self.fast, min(r, 4)), (self.slow, r):
            for i, up in enumerate(ups):
                p[i] += (65535 - p[i] >> rate) if up else -(p[i] >> rate)
        self.seen += r < 7


class Range:
    def __init__(self, data):
        self.data, self.models = data, {}
        self.code, self.at = int.from_bytes((data + bytes(4))[:4], "big"), 4
        self.range, self.low = 2 ** 32 - 1, 0

    def _part(self, x, b):
        return self.range * x >> b

    def _take(self, x, y, b):
        below = self._part(x, b)
        self.code -= below
        self.low += below
        self.range = self._part(y, b) - below
        while self.range < 1 << 24:
            byte = self.data[self.at] if self.at < len(self.data) else 0
            self.at += 1
            self.code = self.code << 8 | byte
            self.range <<= 8
            self.low <<= 8

    def _model(self, name, start):
        return self.models.setdefault(name, Estimates(start))

    def direct(self, k):
        if k > 16:
            return self.direct(k - 16) << 16 | self.direct(16)
        low, high = 0, 1 << k
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self.code < self._part(middle, k) \
                else (middle, high)
        self._take(low, low + 1, k)
        return low

    def bit(self, name):
        m = self._model(name, [32768])
        q = m.fast[0] + m.slow[0] >> 1
        bit = int(self.code < self._part(q, 16))
        self._take(0 if bit else q, q if bit else 65536, 16)
        m.learn([bit])
        return bit

    def nibble(self, name):
        m = self._model(name, [(15 - i) * 4096 for i in range(15)])
        a = [4 * (15 - i) + ((m.fast[i] + m.slow[i]) * 32704 >> 17)
             for i in range(15)] + [0, 1 << 15]     # a[-1] is the last
        s = 0
        while self.code < self._part(a[s], 15):
            s += 1
        self._take(a[s], a[s - 1], 15)
        m.learn([i < s for i in range(15)])
        return s

    def tree(self, name, k):
        m = 1
        for _ in range(k):
            m = 2 * m + self.bit((name, m))
        return m - (1 << k)

    def byte(self, name):
        high = self.nibble((name, "high"))
        return high << 4 | self.nibble((name, high))

    def number(self, name):
        j = 0
        while j < 31 and self.bit((name, "length", j)):
            j += 1
        if not j:
            return 0
        v = 2 | self.bit((name, "second", j))
        return (v << j - 1 | self.direct(j - 1)) - 1

    def end(self):
        d = -self.low % 2 ** 32
        return (self.code == (d if d < self.range else d % 2 ** 24) and
                self.at >= len(self.data) and
                (not self.data or self.data[-1] != 0))


# ---- Checks

def numbers(path):
    with open(path) as file:
        return [line.split() for line in file]


def check_segment(data, lines):
    """First lines: set SYMBOLS MEMORY; then: run SET (CONTEXT:SYMBOL)...,
    bits K VALUE."""
    sets = [(int(x[1]), int(x[2])) for x in lines if x[0] == "set"]
    segment = Adaptive(data, sets, check=7)
    for x in lines:
        if x[0] == "run":
            pairs = [tuple(map(int, p.split(":"))) for p in x[2:]]
            if segment.run(int(x[1]), [c for c, _ in pairs]) != \
                    [s for _, s in pairs]:
                return False
        elif x[0] == "bits" and segment.bits(int(x[1])) != int(x[2]):
            return False
    segment.end()
    return True


def check_stream(data, lines):
    """KIND MODEL K VALUE a line."""
    stream = Range(data)
    for kind, name, k, value in lines:
        got = {"bit": lambda: stream.bit("b" + name),
               "tree": lambda: stream.tree("t" + name, int(k)),
               "nibble": lambda: stream.nibble("n" + name),
               "byte": lambda: stream.byte("y" + name),
               "number": lambda: stream.number("g" + name),
               "direct": lambda: stream.direct(int(k))}[kind]()
        if got != int(value):
            return False
    return stream.end()


def main():
    folder = sys.argv[1]
    names = sorted(n for n in os.listdir(folder) if n.endswith(".bin"))
    print("1..%d" % len(names))
    for i, name in enumerate(names):
        path = os.path.join(folder, name)
        with open(path, "rb") as file:
            data = file.read()
        check = check_segment if name.startswith("segment") else check_stream
        try:
            good = check(data, numbers(path[:-4] + ".txt"))
        except Corrupt:
            good = False
        print("%s %d - %s" % ("ok" if good else "not ok", i + 1, name))


if __name__ == "__main__":
    main()
