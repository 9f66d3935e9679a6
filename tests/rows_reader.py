# SPDX-License-Identifier: BSD-2-Clause
"""A second decoder of docs/entropy.md, section 8, standard library only; it
takes the tables from the page itself.  entropy_check.py uses it."""
import os
import re

from tess_reader import Corrupt, Segment

PAGE = os.path.join(os.path.dirname(__file__), "..", "docs", "entropy.md")


class Tables:
    """A bank in which symbols may have no slots."""

    def __init__(self, tables):
        self.precision, self.tables, self.starts = 12, tables, []
        for table in tables:
            assert sum(table) == 1 << 12
            self.starts.append([sum(table[:i]) for i in range(len(table) + 1)])


def page_rows(heading):
    """The numbers of the tables under a heading of section 8."""
    with open(PAGE, encoding="utf-8") as file:
        text = file.read().split("\n## 8. Rows\n")[1].split("\n### " + heading)[1]
    text = re.split("\n##", text)[0]
    return [[list(map(int, cell.split())) for cell in line.strip("| ").split("|")]
            for line in text.splitlines() if re.match(r"\| \d", line)]


def value_tables():
    tables, reach = [], []
    for _, (zero,), levels, (escape,) in page_rows("Tables"):
        table = [zero] + [f for f in levels for _ in (-1, 1)]
        table += [0] * (29 - len(table)) + [escape, escape]
        tables.append(table)
        reach.append(len(levels))
    return tables, reach


VALUES, REACH = value_tables()
REFINED = [cell for row in page_rows("Refinement") for cell in row[1:]]
UNIFORM = [[1 << 12 - k] * (1 << k) for k in range(12)]
BANK = Tables(VALUES + REFINED + UNIFORM)
FIRST_REFINED, FIRST_UNIFORM = len(VALUES), len(VALUES) + len(REFINED)


def get_strip(segment, classes):
    k = [0 if c < 22 else (c - 18) // 4 for c in classes]
    table = [c - 4 * raw for c, raw in zip(classes, k)]
    high, escape, lanes = [], {}, range(len(classes))
    for i, s in enumerate(segment.run(BANK, table)):
        level = (s + 1) // 2
        if level == 15:
            level = REACH[table[i]] + 1
            escape[i] = 0
        high.append(-level if s % 2 else level)
    low = segment.run(BANK, [FIRST_UNIFORM + raw for raw in k]) if any(k) \
        else [0] * len(classes)
    open_ones, at = set(escape), 0
    while open_ones:
        if at == 15:
            raise Corrupt("an escape goes on")
        run = segment.run(BANK, [FIRST_UNIFORM + 4 * (i in open_ones)
                                 for i in lanes])
        for i in open_ones:
            escape[i] += run[i] % 8 << at
        open_ones = {i for i in open_ones if run[i] > 7}
        at += 3
    for i, e in escape.items():
        high[i] += e if high[i] > 0 else -e
    return [(high[i] << k[i]) + low[i] - (1 << k[i] >> 1) for i in lanes]


def refine_strip(segment, classes, q):
    tables = [FIRST_REFINED + 3 * min(c, 25) + min(abs(v), 2)
              for c, v in zip(classes, q)]
    return [3 * v + (s - 1 if v >= 0 else 1 - s)
            for v, s in zip(q, segment.run(BANK, tables))]


def decode_rows(data, tokens, classes, crc, coarse=None):
    """The rows of values; coarse: those that the segment refines."""
    if data[0] != 3:
        raise Corrupt("lanes")
    segment, out = Segment(data, crc), []
    for t in range(tokens):
        row = []
        for first in range(0, len(classes), 32):
            part = classes[first:first + 32]
            row += refine_strip(segment, part, coarse[t][first:first + 32]) \
                if coarse else get_strip(segment, part)
        if max(map(abs, row)) > 32767:
            raise Corrupt("a value")
        out.append(row)
    segment.end()
    return out
