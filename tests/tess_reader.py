#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""A second reader of docs/format.md, sections 2, 3, 6 and 7, standard library only.

    tess_reader.py FILE.tess        prints the chunks; kinds 5 and 2: and the
                                    streams and packets

For tests: slow, and written from the document.
"""
import struct
import sys


class Corrupt(Exception):
    pass


# ---- 1 Conventions

def _crc_table():
    table = []
    for n in range(256):
        for _ in range(8):
            n = n >> 1 ^ (0x82F63B78 if n & 1 else 0)
        table.append(n)
    return table


CRC_TABLE = _crc_table()


def crc32c(data, crc=0):
    crc ^= 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ CRC_TABLE[(crc ^ byte) & 255]
    return crc ^ 0xFFFFFFFF


def varint(data, at):
    """The number at data[at:] and where the next byte is."""
    value = 0
    for i in range(10):
        if at + i >= len(data):
            raise Corrupt("varint is cut")
        byte = data[at + i]
        value |= (byte & 127) << 7 * i
        if byte < 128:
            if (i and not byte) or value >> 64:
                raise Corrupt("varint is not in its shortest spelling")
            return value, at + i + 1
    raise Corrupt("varint is too long")


# ---- 2 The container

MAGIC = b"\x89TSR\r\n\x1a\n"


class Chunk:
    def __init__(self, type, stream, flags, seq, offset, data):
        self.type, self.stream, self.flags = type, stream, flags
        self.seq, self.offset, self.data = seq, offset, data


class Stream:
    """All sound chunks of a file, and what was wrong with it."""

    def __init__(self, data):
        self.data, self.chunks = data, []
        self.lost = self.skipped = 0
        self.truncated = True
        if data[:8] != MAGIC[:len(data)] or not data:
            raise Corrupt("FORMAT" if data else "TRUNCATED")
        if len(data) < 16:
            raise Corrupt("TRUNCATED")
        if data[8] != 1:
            raise Corrupt("VERSION")
        self.kind = data[10]
        self._read(16)

    def _header(self, at):
        """(type, stream, flags, seq, payload's place, its length) or None."""
        d = self.data
        if d[at:at + 4] != b"TSRK" or at + 24 > len(d):
            return None
        length, = struct.unpack_from("<I", d, at + 8)
        rest = at + 12
        if length == 0xFFFFFFFF:
            if at + 32 > len(d):
                return None
            length, = struct.unpack_from("<Q", d, rest)
            rest += 8
            if length < 0xFFFFFFFF:
                return None
        stream, flags, seq, crc = struct.unpack_from("<HHII", d, rest)
        if crc != crc32c(d[at:rest + 8]):
            return None
        return d[at + 4:at + 8], stream, flags, seq, rest + 12, length

    def _footer(self, at):
        d = self.data
        if d[at + 12:at + 16] != b"TSRE":
            return False
        index, length = struct.unpack_from("<QI", d, at)
        return length == at + 16 & 0xFFFFFFFF and index < at

    def _read(self, at):
        expected, size, sound_before = 0, len(self.data), True
        while size - at >= 16:
            if sound_before and self._footer(at):
                self.truncated = False
                return
            if size - at < 24:
                break
            head = self._header(at)
            end = head[4] + head[5] + 4 if head else 0
            if head:
                self.lost += max(0, head[3] - expected)
                expected = head[3] + 1
            sound_before = bool(head) and end <= size and struct.unpack_from(
                "<I", self.data, end - 4)[0] == crc32c(self.data[head[4]:end - 4])
            if sound_before:
                kind, stream, flags, seq, begin, _ = head
                self.chunks.append(Chunk(kind, stream, flags, seq, at,
                                         self.data[begin:end - 4]))
                at = min(at + (end - at + 7) // 8 * 8, size)
            else:
                self.lost += bool(head)
                self.skipped += 1
                at += 1
        tail = self.data[size - 16:]
        if size - at >= 16 and tail[12:] == b"TSRE" and struct.unpack_from(
                "<Q", tail)[0] < size - 16:
            self.truncated = False
            at += 16
        self.skipped += size - at


# ---- 3 Entropy coding

LANES = (1, 4, 8, 32)
FACTOR = 0x9E35


class Bank:
    """Tables of one precision: lists of frequencies."""

    def __init__(self, precision, tables):
        self.precision, self.tables, self.starts = precision, tables, []
        for table in tables:
            if min(table) < 1 or sum(table) != 1 << precision:
                raise Corrupt("table")
            starts = [0]
            for f in table:
                starts.append(starts[-1] + f)
            self.starts.append(starts)


def normalise(count, precision):
    if not any(count):
        count = [1] * len(count)
    total, k = sum(count), 0
    while total >> k >= 1 << 47:
        k += 1
    count = [c >> k for c in count]
    total = sum(count)
    f = [max(1, c * (1 << precision) // total) for c in count]
    while sum(f) != 1 << precision:
        more = sum(f) < 1 << precision
        best = None
        for i, c in enumerate(count):
            if not more and f[i] == 1:
                continue
            d = 2 * f[i] + (1 if more else -1)
            if best is None or (c * best[1] > best[0] * d if more else
                                c * best[1] < best[0] * d):
                best = (c, d, i)
        f[best[2]] += 1 if more else -1
    return f


class Alphabet:
    """A token table (section 3.4)."""

    def __init__(self, freq):
        self.n = len(freq)
        self.ranked = self.n > 256
        if not self.ranked:
            self.bank = Bank(12, [normalise(freq, 12)])
            return
        self.token = sorted(range(self.n), key=lambda s: (-freq[s], s))
        self.rank = [0] * self.n
        for r, s in enumerate(self.token):
            self.rank[s] = r
        count = [0] * (self.split(self.n - 1)[0] + 1)
        for r, s in enumerate(self.token):
            count[self.split(r)[0]] += freq[s]
        self.bank = Bank(12, [normalise(count, 12)])

    @staticmethod
    def split(rank):
        """Bucket, tail, bits of the tail."""
        k = max(rank.bit_length() - 3, 0)
        return 4 * k + (rank >> k), rank & (1 << k) - 1, k


class Segment:
    """Decodes one segment, run by run; end() must hold at its end."""

    def __init__(self, data, check=0):
        self.words, self.raw, self.bit = [], b"", 0
        code = data[0] if data else 0
        if code & 0xF8:
            raise Corrupt("reserved bits")
        self.lanes, at, raw = LANES[code & 3], min(len(data), 1), 0
        if code & 4:
            raw, at = varint(data, at)
            if not raw or raw > len(data) - at:
                raise Corrupt("length of the raw section")
        end = len(data) - raw
        self.raw = data[end:]
        self.seed = crc32c(self.raw, check) & 0xFFFF
        self.sums = [0] * self.lanes
        self.states = [0x10000 | self.seed]
        if not data:
            return
        if end - at < 4 * self.lanes or (end - at) % 2:
            raise Corrupt("length")
        self.states = list(struct.unpack_from("<%dI" % self.lanes, data, at))
        if min(self.states) < 0x10000:
            raise Corrupt("state")
        at += 4 * self.lanes
        self.words = list(struct.unpack("<%dH" % ((end - at) // 2), data[at:end]))
        self.words.reverse()

    def run(self, bank, classes):
        """Symbols of a run; classes: the table of each."""
        p, out = bank.precision, []
        for i, c in enumerate(classes):
            lane = i % self.lanes
            x = self.states[lane]
            slot = x % (1 << p)
            starts = bank.starts[c]
            s = 0
            while starts[s + 1] <= slot:
                s += 1
            x = bank.tables[c][s] * (x >> p) + slot - starts[s]
            if x < 1 << 16:
                if not self.words:
                    raise Corrupt("no word left")
                x = x << 16 | self.words.pop()
            self.states[lane] = x
            self.sums[lane] = (self.sums[lane] + s) * FACTOR & 0xFFFF
            out.append(s)
        return out

    def bits(self, k):
        if self.bit + k > 8 * len(self.raw):
            raise Corrupt("no raw bits left")
        value = 0
        for i in range(k):
            at = self.bit + i
            value |= (self.raw[at // 8] >> at % 8 & 1) << i
        self.bit += k
        return value

    def tokens(self, alphabet, n):
        run = self.run(alphabet.bank, [0] * n)
        if not alphabet.ranked:
            return run
        out = []
        for b in run:
            k = 0 if b < 8 else b // 4 - 1
            rank = (b if b < 8 else 4 + b % 4 << k) + self.bits(k)
            if rank >= alphabet.n:
                raise Corrupt("rank")
            out.append(alphabet.token[rank])
        return out

    def end(self):
        left = 8 * len(self.raw) - self.bit
        if self.words or left > 7 or self.bits(left):
            raise Corrupt("something is left")
        for x, total in zip(self.states, self.sums):
            if x != 0x10000 + (self.seed ^ total):
                raise Corrupt("final state")


# ---- 6 Video

MODEL_LIMIT = 32 + 63


def check_model(data):
    if not 32 <= len(data) <= MODEL_LIMIT:
        raise Corrupt("MODL")


class VideoHead:
    """Extradata of video."""

    def __init__(self, data):
        if len(data) < 28:
            raise Corrupt("HEAD")
        (self.codec, self.channels, self.bits, self.layers, self.width,
         self.height, *rate) = struct.unpack_from("<BBBBIIII", data)
        sar = struct.unpack_from("<HH", data, 20)
        self.colour = tuple(data[24:28])
        if not (1 <= self.channels <= 4 and self.bits in (8, 16) and
                1 <= self.layers <= 8 and 1 <= self.width < 1 << 31 and
                1 <= self.height < 1 << 31 and self.colour[3] < 2) or \
                any((a == 0) != (b == 0) for a, b in (rate, sar)):
            raise Corrupt("HEAD")
        check_model(data[28:])


class VideoPacket:
    """The parts of a packet: params, units (lists of layers), bands."""

    def __init__(self, head, data, units):
        body = data[:-4]
        if len(data) < 4 or data[-4:] != struct.pack("<I", crc32c(body)):
            raise Corrupt("check")
        size, at = varint(body, 0)
        if size > 16 or size > len(body) - at:
            raise Corrupt("parameters")
        self.params, at = body[at:at + size], at + size
        lengths = []
        for _ in range(units * head.layers):
            n, at = varint(body, at)
            lengths.append(n)
        count, at = varint(body, at)
        if count and head.channels % 2:
            raise Corrupt("alpha where there is none")
        for _ in range(count):
            n, at = varint(body, at)
            lengths.append(n)
        if sum(lengths) != len(body) - at:
            raise Corrupt("lengths")
        parts = []
        for n in lengths:
            parts.append(body[at:at + n])
            at += n
        self.units = [parts[i * head.layers:(i + 1) * head.layers]
                      for i in range(units)]
        self.bands = parts[units * head.layers:]


# ---- 7 Media

class Media:
    """Streams, (type, time base, extradata) each, and packets, (stream, pts,
    duration, data) each, of a file of kind 5 or 2."""

    def __init__(self, file):
        self.kind, self.streams, self.packets = file.kind, [], []
        self.damaged = bool(file.lost or file.skipped or file.truncated)
        self.number = {}
        front, begun = {}, False
        for c in file.chunks:
            if c.stream >= (64 if file.kind == 5 else 1):
                continue
            if c.type == b"DATA":
                if not begun:
                    self._find(front)
                begun = True
                self._packet(c)
            elif begun or c.type not in (b"STRM", b"HEAD", b"MODL"):
                if c.stream in self.number and not (
                        c.type[0] & 32 or
                        c.type in (b"STRM", b"HEAD", b"MODL", b"INDX")):
                    raise Corrupt("UNSUPPORTED")
            else:
                front.setdefault(c.stream, {}).setdefault(c.type, c.data)
        if not begun:
            self._find(front)
        if not self.streams:
            raise Corrupt("no stream")

    def _find(self, front):
        for number in sorted(front):
            try:
                stream = self._stream(front[number])
            except (Corrupt, KeyError):
                self.damaged = True
                continue
            if stream:
                self.number[number] = len(self.streams)
                self.streams.append(stream)

    def _stream(self, chunks):
        if self.kind == 5:
            strm = chunks[b"STRM"]
            if len(strm) != 12:
                raise Corrupt("STRM")
            type, num, den = struct.unpack("<B3xII", strm)
            if type not in (1, 2):
                return None
        head = chunks[b"HEAD"]
        if len(head) != 28:
            raise Corrupt("HEAD")
        rate, = struct.unpack_from("<I", head, 8)
        if self.kind == 2:
            type, num, den = 2, 1, rate
        extradata = head + chunks[b"MODL"]
        if type == 1:
            VideoHead(extradata)
        else:
            check_model(extradata[28:])
        if not num or not den or type == 2 and (num, den) != (1, rate):
            raise Corrupt("time base")
        return "video" if type == 1 else "sound", num, den, extradata

    def _packet(self, c):
        if c.stream not in self.number:
            return
        try:
            a, at = varint(c.data, 0)
            b, at = varint(c.data, at)
        except Corrupt:
            self.damaged = True
            return
        if self.kind == 2:
            hop, frames = struct.unpack_from("<H4xI", self.streams[0][3], 6)
            pts, data = a * hop * frames, c.data
        else:
            pts, data = -(a + 1 >> 1) if a & 1 else a >> 1, c.data[at:]
        self.packets.append((self.number[c.stream], pts, b, data))

    def listing(self):
        out = ["stream %d %s %d/%d %s" % (i, s[0], s[1], s[2], s[3].hex())
               for i, s in enumerate(self.streams)]
        out += ["packet %d %d %d %d %08x" % (s, pts, duration, len(data), crc32c(data))
                for s, pts, duration, data in self.packets]
        return "\n".join(out) + "\ndamaged %d\n" % self.damaged


def media_listing(data):
    try:
        return Media(Stream(data)).listing()
    except Corrupt:
        return "error\n"


def main():
    with open(sys.argv[1], "rb") as file:
        stream = Stream(file.read())
    print("kind", stream.kind)
    for c in stream.chunks:
        print("%10d %s stream %d seq %d: %d bytes" % (
            c.offset, c.type.decode("latin-1"), c.stream, c.seq, len(c.data)))
    print("lost %d, skipped %d, truncated %d" % (
        stream.lost, stream.skipped, stream.truncated))
    if stream.kind in (2, 5):
        print(Media(stream).listing(), end="")


if __name__ == "__main__":
    main()
