#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""A second reader of sound: HEAD, MODL and packets, and codes with fixed and static coding; written from
docs/audio-format.md, standard library only.

    audio_reader.py FILE.tess           prints what is in it
    audio_reader.py check FOLDER        compares the files of audio_tool with its texts

For tests: slow."""
import struct
import sys
from bisect import bisect_right
from pathlib import Path

from adaptive_reader import Range
from tess_reader import Corrupt, Stream, crc32c, varint

FIXED, STATIC = 1, 2
OCTAVE = (256, 267, 279, 292, 304, 318, 332, 347, 362, 378, 395, 412, 431, 450, 470, 490)


def need(good, what):
    if not good:
        raise Corrupt(what)


# ---- 1 HEAD and MODL

class Head:
    def __init__(self, data):
        need(len(data) == 28, "length of HEAD")
        (self.codec, self.channels, self.books, self.entropy, flags, self.own, self.hop, self.rate, self.frames,
         self.words, self.step, self.segment, self.side, shorter) = struct.unpack("<6BHIIIIHBB", data)
        self.live, self.layers = flags & 1, flags >> 1 & 1
        need(flags < 4 and 1 <= self.channels <= 64 and 1 <= self.books <= 64, "HEAD")
        need(1 <= self.entropy <= 5 and self.own in (1, 2) and self.channels % self.own == 0, "HEAD")
        need(not (self.layers and self.entropy == 5), "layers of a language model")
        need(self.hop and 1 <= self.rate <= 384000 and 1 <= self.frames <= 65536, "HEAD")
        need(2 <= self.words <= 65536, "codewords")
        self.sizes = self.words >> (shorter & 15), self.words >> (shorter >> 4)
        need(min(self.sizes) >= 2 and (self.words in self.sizes), "sizes of books")
        need(not shorter or self.entropy in (1, 4), "tables for books of two sizes")
        if self.segment:
            need(self.step <= self.segment * self.hop <= 2 * self.step and self.side <= 4, "segments")
            need(self.frames % self.segment == 0, "packets of segments")
        else:
            need(self.codec == 11 or not self.step, "no segments")
            need(not self.side, "no segments")
            self.seed, self.step = self.step, 0
        self.groups = self.channels // self.own
        self.span = self.step or self.hop
        self.units = self.frames // (self.segment or 1)


# ---- 2 Packets

class Packet:
    def __init__(self, head, data):
        self.number, at = varint(data, 0)
        self.samples, at = varint(data, at)
        books_at = at
        need(at < len(data), "books")
        self.books = data[at]
        need((1 if head.layers else head.books) <= self.books <= head.books, "books")
        units, at = varint(data, at + 1)
        need(self.number < 2 ** 32 and 1 <= units <= head.units, "number, units")
        most = units * head.span
        self.frames = [units]
        if head.segment:
            self.frames = []
            for _ in range(units):
                n, at = varint(data, at)
                self.frames.append(n)
            last = self.frames[-1]
            need(all(n == head.segment for n in self.frames[:-2]), "full segments")
            need(all(last <= n <= head.segment and n * head.hop >= head.step for n in self.frames[-2:-1]), "last but one")
            need(1 <= last <= head.segment, "frames")
            most += min(head.step, last * head.hop) - head.step
        need(1 <= self.samples <= most, "samples")
        self.last = self.samples < head.units * head.span
        side = head.groups * units * head.side
        need(at + side <= len(data), "side")
        self.side = data[at:at + side]
        at += side
        checked = data[:books_at] + data[books_at + 1:at] if head.layers else data[:at]
        self.crc = crc32c(checked)
        lengths = []
        for _ in range(head.groups * (self.books if head.layers else 1) - 1):
            n, at = varint(data, at)
            lengths.append(n)
        need(at + sum(lengths) <= len(data), "lengths")
        self.segments = []
        for n in lengths + [len(data) - at - sum(lengths)]:
            self.segments.append(data[at:at + n])
            at += n


# ---- 3 Codes

def starts(weights):
    """First slots of all codewords."""
    total, c, out = sum(weights), 0, []
    scale = ((1 << 18) - len(weights) << 32) // total
    for s, w in enumerate(weights):
        out.append(s + (c * scale >> 32))
        c += w
    return out + [1 << 18]


def table_starts(table):
    return starts([OCTAVE[v % 16] << v // 16 for v in table])


def read_packed(body, words):
    """words: codewords of each code's book."""
    widths = [(n - 1).bit_length() for n in words]
    need(len(body) == (sum(widths) + 7) // 8, "length of packed codes")
    bits, codes = int.from_bytes(body, "little"), []
    for n, width in zip(words, widths):
        codes.append(bits & (1 << width) - 1)
        bits >>= width
        need(codes[-1] < n, "packed code")
    need(bits == 0, "unused bits")
    return codes


def read_coded(body, tables):
    """tables: of each code."""
    r, codes = Range(body), []
    need(r.code < 2 ** 32 - 1, "first code")
    for slots in tables:
        low, high = 0, len(slots) - 1
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if r.code < r._part(slots[middle], 18) else (middle, high)
        r._take(slots[low], slots[low + 1], 18)
        codes.append(low)
    need(r.end(), "end of the stream")
    return codes


def read_segment(data, crc, books, frames, words, tables, entropy):
    """Codes of a segment in their order; words, tables: of each of its books."""
    need(data and len(data) not in (65, 66), "length of a segment")
    long = len(data) > 64
    check, width = data[0] >> 1, 7
    if long:
        check, width = check | struct.unpack_from("<H", data, 1)[0] << 7, 23
    body = data[3 if long else 1:]
    if data[0] & 1:
        need(entropy != FIXED, "fixed and coded")
        need(len(body) < (frames * sum((n - 1).bit_length() for n in words) + 7) // 8, "coded and longer")
        codes = read_coded(body, tables * frames)
    else:
        codes = read_packed(body, words * frames)
    found = crc32c(struct.pack("<%dH" % len(codes), *codes), crc)
    need(found & (1 << width) - 1 == check, "check")
    return codes


def read_codes(head, packet, tables):
    """[group][frame][book]"""
    words = [head.sizes[k > 0] for k in range(packet.books)]
    frames, out = sum(packet.frames), []
    for g in range(head.groups):
        if not head.layers:
            flat = read_segment(packet.segments[g], packet.crc, packet.books, frames, words,
                                tables[:packet.books], head.entropy)
            out.append([flat[f * packet.books:(f + 1) * packet.books] for f in range(frames)])
            continue
        columns = [read_segment(packet.segments[g * packet.books + k], packet.crc, 1, frames, words[k:k + 1],
                                tables[k:k + 1], head.entropy) for k in range(packet.books)]
        out.append([list(row) for row in zip(*columns)])
    return out


# ---- Files

class Sound:
    def __init__(self, data):
        stream = Stream(data)
        need(stream.kind == 2, "not sound")
        mine = [c for c in stream.chunks if c.stream == 0]
        first = {kind: next((c.data for c in mine if c.type == kind), None) for kind in (b"HEAD", b"MODL")}
        need(None not in first.values(), "no HEAD or MODL")
        self.head = Head(first[b"HEAD"])
        modl = first[b"MODL"]
        need(32 <= len(modl) <= 95 and all(32 <= c < 127 for c in modl[32:]), "MODL")
        self.hash, self.name = modl[:32], modl[32:].decode()
        self.packets = [Packet(self.head, c.data) for c in mine if c.type == b"DATA"]
        index = next((c.data for c in mine if c.type == b"INDX"), b"")
        self.pts = [struct.unpack_from("<Q", index, i)[0] for i in range(0, len(index), 24)]


def check_file(path, tables):
    sound = Sound(path.read_bytes())
    lines = path.with_suffix(".txt").read_text().splitlines()
    h, pts, numbers = sound.head, 0, []
    got = ["head %d %d %d %d %d %d %d %s" % (h.rate, h.channels, h.hop, h.books, h.words, h.entropy, h.frames, sound.name)]
    for packet, at in zip(sound.packets, sound.pts):
        need(at == pts and packet.number == len(numbers), "pts or number")
        pts += packet.samples
        numbers.append(packet.number)
        codes = read_codes(h, packet, tables)
        flat = [c for f in range(sum(packet.frames)) for group in codes for c in group[f]]
        got.append("packet %d %s : %s" % (packet.samples, packet.side.hex(), " ".join(map(str, flat))))
    need(len(sound.pts) == len(sound.packets), "index")
    got.append("samples %d" % pts)
    return got == lines, len(sound.packets)


def check_damage(path, tables):
    """Every changed byte of the first packets is noticed, but for 1 in 128 in short segments."""
    sound = Stream(path.read_bytes())
    head = Head(next(c.data for c in sound.chunks if c.type == b"HEAD"))
    missed = tried = 0
    for chunk in [c for c in sound.chunks if c.type == b"DATA"][:2]:
        for at in range(min(len(chunk.data), 150)):
            bad = bytearray(chunk.data)
            bad[at] ^= 1 << at % 8
            tried += 1
            try:
                read_codes(head, Packet(head, bytes(bad)), tables)
                missed += 1
            except Corrupt:
                pass
    return missed * 40 < tried


def check(folder):
    data = (folder / "tables.bin").read_bytes()
    tables = [table_starts(data[i:i + 256]) for i in range(0, len(data), 256)]
    files = sorted(folder.glob("*.tess"))
    print("1..%d" % (2 * len(files)))
    for i, path in enumerate(files):
        try:
            good, packets = check_file(path, tables)
        except Corrupt as error:
            print("#", error)
            good, packets = False, 0
        print("%sok %d - %s, %d packets" % ("" if good and packets else "not ", 2 * i + 1, path.name, packets))
        print("%sok %d - %s, damaged" % ("" if check_damage(path, tables) else "not ", 2 * i + 2, path.name))


def main():
    if len(sys.argv) == 3 and sys.argv[1] == "check":
        return check(Path(sys.argv[2]))
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sound = Sound(Path(sys.argv[1]).read_bytes())
    print(vars(sound.head), sound.name)
    for p in sound.packets:
        print(p.number, p.samples, p.books, p.frames, [len(s) for s in p.segments])


if __name__ == "__main__":
    main()
