#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""entropy_check.py DIR: what entropy_tool wrote there, read by
entropy_reader.py; speaks TAP."""
import os
import struct
import sys

from entropy_reader import decode, decode_matrix, read_bank, read_table, \
    shape_table
from rows_reader import decode_rows
from tess_reader import Corrupt

FOLDER = sys.argv[1]
seen = {"table modes": set(), "forms": set(), "several chunks": set(),
        "own tables": set(), "verdicts on flips": set(), "families": set()}
matrices = {}


def read(name):
    with open(os.path.join(FOLDER, name), "rb") as file:
        return file.read()


def check_table(p, data, *freq):
    data = bytes.fromhex(data)
    seen["table modes"].add(data[0] & 3)
    return read_table(data + b"behind", 0, int(p))[::2] == \
        (list(map(int, freq)), len(data))


def check_shape(number, p, reach, centre, *freq):
    seen["families"].add(int(number) // 288)
    return shape_table(int(number), int(p), int(reach)) == \
        (list(map(int, freq)), int(centre))


def take_array(data, name):
    got, end = decode(data + b"behind")
    return end == len(data) and \
        struct.pack("<%dI" % len(got), *got) == read(name + ".sym")


def take_matrix(data, name):
    tokens, channels, group, tile, crc, *sizes = matrices[name]
    right = read(name + ".sym")
    p, tables, at = read_bank(data, 0)
    rows = decode_matrix(data[at:], sizes, (p, tables), (
        group, tile, right[:channels], right[channels:2 * channels]),
        tokens, crc)
    return b"".join(map(bytes, rows)) == right[2 * channels:]


def check_symbols(name):
    data = read(name + ".bin")
    form, at = data[0] & 15, 1
    for _ in range(3):
        while data[at] > 127:
            at += 1
        at += 1
    seen["forms"].add(form)
    if 0 < form < 6 and data[at] & 32:
        seen["several chunks"].add(form)
    if 0 < form < 3 and data[at] & 16:
        seen["own tables"].add(form)
    return take_array(data, name)


def check_flip(name, bit, good):
    data = bytearray(read(name + ".bin"))
    data[int(bit) // 8] ^= 1 << int(bit) % 8
    take = take_matrix if name in matrices else take_array
    try:
        taken = take(bytes(data), name)
        if not taken:           # something else came out
            return False
    except Corrupt:
        taken = False
    seen["verdicts on flips"].add(taken)
    return taken == bool(int(good))


def check_edge(data, good, *_):
    try:
        return decode(bytes.fromhex(data)) and good == "1"
    except Corrupt:
        return good == "0"


def check_matrix(name, *numbers):
    matrices[name] = list(map(int, numbers))
    return take_matrix(read(name + ".bin"), name)


def check_rows(name, tokens, crc, *classes):
    """A segment of values, and one that refines them."""
    tokens, n = int(tokens), len(classes)
    right = struct.unpack("<%dh" % (2 * tokens * n), read(name + ".sym"))
    right = [list(right[i:i + n]) for i in range(0, len(right), n)]
    coarse, fine = right[:tokens], right[tokens:]
    classes = list(map(int, classes))
    bad = bytearray(read(name + ".bin"))
    bad[len(bad) // 2] ^= 4
    try:
        decode_rows(bytes(bad), tokens, classes, int(crc))
        return False
    except Corrupt:
        pass
    return decode_rows(read(name + ".bin"), tokens, classes, int(crc)) == coarse \
        and decode_rows(read(name + ".fine"), tokens, classes, int(crc) + 1,
                        coarse) == fine


CHECKS = {"table": check_table, "shape": check_shape, "flip": check_flip,
          "symbols": check_symbols, "edge": check_edge, "matrix": check_matrix,
          "rows": check_rows}


def main():
    lines = [line.split() for line in read("list").decode().splitlines()]
    bad = {}
    for what, *words in lines:
        try:
            good = CHECKS[what](*words)
        except Corrupt as error:
            good = False
            words = [str(error)] + words
        bad.setdefault(what, []).extend([] if good else [words])
    wanted = {"table modes": {0, 1, 2, 3}, "forms": set(range(8)),
              "several chunks": {1, 3}, "own tables": {1},
              "verdicts on flips": {False, True}, "families": {0, 1}}
    print("1..%d" % (len(CHECKS) + len(wanted)))
    number = 0
    for what in CHECKS:
        number += 1
        count = sum(line[0] == what for line in lines)
        good = count and not bad[what]
        print("%s %d - %s: %d" % ("ok" if good else "not ok", number, what,
                                  count))
        for words in bad.get(what, []):
            print("#", " ".join(words)[:100])
    for what, least in wanted.items():
        number += 1
        print("%s %d - %s that occurred: %s" % (
            "ok" if least <= seen[what] else "not ok", number, what,
            sorted(seen[what])))


main()
