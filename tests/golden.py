#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The Python side of tests/golden (see its README.md).

    golden.py check DIR            every file of DIR decodes and encodes as its
                                   description says, every bad one is refused
    golden.py random SEED OUT.txt  a description with random content
    golden.py write DIR            (re)makes the files from the descriptions
"""
import os
import random
import struct
import sys

from tess_reader import (Alphabet, Bank, Corrupt, FACTOR, LANES, MAGIC, Segment,
                         Stream, VideoHead, VideoPacket, crc32c,
                         media_listing)


# ---- Writing what tess_reader reads

def put_varint(v):
    out = b""
    while v >= 128:
        out += bytes([v & 127 | 128])
        v >>= 7
    return out + bytes([v])


def lane_states(runs, lanes, seed):
    sums = [0] * lanes
    for _, _, symbols in runs:
        for i, s in enumerate(symbols):
            sums[i % lanes] = (sums[i % lanes] + s) * FACTOR & 0xFFFF
    return [0x10000 + (seed ^ s) for s in sums]


def encode(runs, bits, lanes, check):
    """runs: (bank, classes, symbols); bits: (value, k)."""
    value = n = 0
    for v, k in bits:
        value |= v << n
        n += k
    raw = value.to_bytes((n + 7) // 8, "little")
    costs = any(len(bank.tables[c]) > 1 for bank, classes, _ in runs
                for c in classes)
    if not costs and not raw:
        return b""
    states = lane_states(runs, lanes, crc32c(raw, check) & 0xFFFF)
    words = []
    for bank, classes, symbols in reversed(runs):
        p = bank.precision
        for i in reversed(range(len(symbols))):
            f = bank.tables[classes[i]][symbols[i]]
            x = states[i % lanes]
            if x >= f << 32 - p:
                words.append(x & 0xFFFF)
                x >>= 16
            states[i % lanes] = (x // f << p) + x % f + \
                bank.starts[classes[i]][symbols[i]]
    head = bytes([LANES.index(lanes) | (4 if raw else 0)])
    if raw:
        head += put_varint(len(raw))
    return head + struct.pack("<%dI" % lanes, *states) + \
        struct.pack("<%dH" % len(words), *reversed(words)) + raw


def chunk(out, type, stream, seq, data):
    head = b"TSRK" + type + struct.pack("<IHHI", len(data), stream, 0, seq)
    out += head + struct.pack("<I", crc32c(head)) + data
    out += struct.pack("<I", crc32c(data))
    return out + bytes(-len(out) % 8)


# ---- Descriptions

def lines(path):
    with open(path) as file:
        for line in file:
            words = line.split("#")[0].split()
            if words:
                yield words


def pairs(words):
    return [tuple(int(v) for v in w.split(":")) for w in words]


class Description:
    """A segment: tables, and the runs and raw bits in their order."""

    def __init__(self, path):
        self.check, self.lanes, self.steps = 0, 1, []
        tables, alphabets = [], []
        for key, *rest in lines(path):
            v = [int(w) for w in rest] if key not in ("mixed", "bits") else []
            if key == "check":
                self.check = v[0]
            elif key == "lanes":
                self.lanes = v[0]
            elif key == "bank":
                tables.append((v[0], []))
            elif key == "table":
                tables[-1][1].append(v)
            elif key == "alphabet":
                alphabets.append(Alphabet(v))
            elif key == "zipf":
                alphabets.append(Alphabet([1000000 // (1 + i * 7919 % v[0])
                                           for i in range(v[0])]))
            elif key == "run":
                self.steps.append(("run", v[0], [v[1]] * (len(v) - 2), v[2:]))
            elif key == "mixed":
                p = pairs(rest[1:])
                self.steps.append(("run", int(rest[0]), [c for c, _ in p],
                                   [s for _, s in p]))
            elif key == "bits":
                self.steps.append(("bits", pairs(rest)))
            elif key == "tokens":
                self.steps.append(("tokens", alphabets[v[0]], v[1:]))
            elif key != "segment":
                raise ValueError(key)
        self.banks = [Bank(p, t) for p, t in tables]

    def encode(self):
        runs, bits = [], []
        for kind, *step in self.steps:
            if kind == "run":
                runs.append((self.banks[step[0]], step[1], step[2]))
            elif kind == "bits":
                bits += step[0]
            else:
                alphabet, tokens = step
                symbols = tokens
                if alphabet.ranked:
                    split = [alphabet.split(alphabet.rank[t]) for t in tokens]
                    symbols = [b for b, _, _ in split]
                    bits += [(tail, k) for _, tail, k in split]
                runs.append((alphabet.bank, [0] * len(tokens), symbols))
        return encode(runs, bits, self.lanes, self.check)

    def decode(self, data):
        """Raises Corrupt, or tells whether the content is the description's."""
        segment, same = Segment(data, self.check), True
        for kind, *step in self.steps:
            if kind == "run":
                same &= segment.run(self.banks[step[0]], step[1]) == step[2]
            elif kind == "bits":
                for value, k in step[0]:
                    same &= segment.bits(k) == value
            else:
                same &= segment.tokens(step[0], len(step[1])) == step[1]
        segment.end()
        return same


def write_file(path):
    """The bytes of a container description."""
    out, index, seq = b"", b"", 0
    for key, *v in lines(path):
        if key == "kind":
            out = MAGIC + bytes([1, 0, int(v[0]), 0, 0, 0, 0, 0])
        elif key == "chunk":
            # type, stream, pts, payload in hexadecimal digits
            data = bytes.fromhex("".join(v[3:]))
            if v[0] == "DATA":
                index += struct.pack("<QQII", int(v[2]), len(out), len(data),
                                     int(v[1]))
            out = chunk(out, v[0].encode(), int(v[1]), seq, data)
            seq += 1
    at = len(out)
    out = chunk(out, b"INDX", 0, seq, index)
    return out + struct.pack("<QI4s", at, len(out) + 16, b"TSRE")


class Frame:
    """A packet of video: extradata, and the parts of the packet."""

    def __init__(self, path):
        self.params, self.units, self.bands = b"", [], []
        for key, *v in lines(path):
            parts = [bytes.fromhex(w.strip("-")) for w in v if key != "units"]
            if key == "extradata":
                self.head = VideoHead(parts[0])
            elif key == "params":
                self.params = parts[0]
            elif key == "unit":
                self.units.append(parts)
            elif key == "band":
                self.bands += parts

    def encode(self):
        layers = [layer for unit in self.units for layer in unit]
        out = put_varint(len(self.params)) + self.params
        out += b"".join(put_varint(len(layer)) for layer in layers)
        out += put_varint(len(self.bands))
        out += b"".join(put_varint(len(band)) for band in self.bands)
        return seal(out + b"".join(layers + self.bands))

    def decode(self, data):
        p = VideoPacket(self.head, data, len(self.units))
        return (p.params, p.units, p.bands) == (self.params, self.units, self.bands)


def seal(data):
    return data + struct.pack("<I", crc32c(data))


def report(data):
    """What a reader says of a container: the content of a .expect file."""
    try:
        s = Stream(data)
    except Corrupt as error:
        return "error %s\n" % error
    return "".join("%s %d %d %d\n" % (c.type.decode(), c.stream, c.seq,
                                      len(c.data)) for c in s.chunks) + \
        "kind %d lost %d skipped %d truncated %d\n" % (
            s.kind, s.lost, s.skipped, s.truncated)


# ---- Commands

ENDS = (".seg", ".tess", ".pkt")


def read(*path):
    with open(os.path.join(*path), "rb") as file:
        return file.read()


def good(folder, name):
    path = os.path.join(folder, name)
    if name.endswith(".seg"):
        d = Description(path[:-4] + ".txt")
        return d.encode() == read(path) and d.decode(read(path))
    if name.endswith(".pkt"):
        f = Frame(path[:-4] + ".txt")
        return f.encode() == read(path) and f.decode(read(path))
    return write_file(path[:-5] + ".txt") == read(path) and \
        "lost 0 skipped 0 truncated 0" in report(read(path)) and \
        listed(path, read(path))


def listed(path, data):
    """Whether the streams and packets are those that are listed."""
    return not os.path.exists(path + ".list") or \
        media_listing(data).encode() == read(path + ".list")


def bad(folder, name):
    data = read(folder, "bad", name)
    if name.endswith(".tess"):
        return report(data).encode() == read(folder, "bad", name + ".expect") \
            and listed(os.path.join(folder, "bad", name), data)
    kind = Description if name.endswith(".seg") else Frame
    try:
        kind(os.path.join(folder, name.split("--")[0] + ".txt")).decode(data)
    except Corrupt:
        return True
    return False


def check(folder):
    names = sorted(n for n in os.listdir(folder) if n.endswith(ENDS))
    wrong = sorted(n for n in os.listdir(os.path.join(folder, "bad"))
                   if n.endswith(ENDS))
    print("1..%d" % (len(names) + len(wrong)))
    number = 0
    for test, list_ in (good, names), (bad, wrong):
        for name in list_:
            number += 1
            print("%sok %d - python %s" % ("" if test(folder, name) else "not ",
                                           number, name))


def random_table(r, precision):
    n = r.randint(1, min(1 << precision, 40))
    cuts = sorted(r.sample(range(1, 1 << precision), n - 1))
    return [b - a for a, b in zip([0] + cuts, cuts + [1 << precision])]


def random_description(seed):
    r = random.Random(seed)
    out = ["segment", "check %d" % r.getrandbits(32), "lanes %d" % r.choice(LANES)]
    banks = []
    for _ in range(2):
        p = r.randint(1, 15)
        banks.append([random_table(r, p) for _ in range(r.randint(1, 6))])
        out.append("bank %d" % p)
        out += ["table " + " ".join(map(str, t)) for t in banks[-1]]
    n = r.choice((3, 256, 257, 5000))
    out.append("zipf %d" % n)
    for _ in range(8):
        b = r.randrange(2)
        c = r.randrange(len(banks[b]))
        run = [r.randrange(len(banks[b])) for _ in range(r.randint(0, 100))]
        k = r.randint(0, 32)
        out.append(r.choice((
            "run %d %d " % (b, c) + " ".join(
                str(r.randrange(len(banks[b][c]))) for _ in run),
            "mixed %d " % b + " ".join(
                "%d:%d" % (t, r.randrange(len(banks[b][t]))) for t in run),
            "bits %d:%d" % (r.getrandbits(k) if k else 0, k),
            "tokens 0 " + " ".join(str(r.randrange(n)) for _ in run))))
    return "\n".join(out) + "\n"


def save(data, *path):
    with open(os.path.join(*path), "wb") as file:
        file.write(data)


def bad_segments(folder):
    """name -> bytes: one fault each, in segments that are else sound."""
    four, one = read(folder, "lanes4.seg"), read(folder, "one.seg")
    raw = read(folder, "raw-only.seg")
    low = bytearray(one)
    low[1:5] = struct.pack("<I", 0xFFFF)
    swapped = Description(os.path.join(folder, "equal.txt"))
    states = bytearray(read(folder, "equal.seg"))
    states[1] ^= 16
    assert not any(swapped.steps[0][2])
    return {
        "one--reserved-bit": bytes([one[0] | 8]) + one[1:],
        "one--cut-in-the-state": one[:4],
        "one--state-below-65536": bytes(low),
        "one--a-word-too-many": one + b"\0\0",
        "one--odd-number-of-word-bytes": one + b"\0",
        "one--other-number-of-lanes": bytes([one[0] + 1]) + one[1:] + bytes(12),
        "equal--symbols-of-equal-frequency-swapped": bytes(states),
        "lanes4--no-words-left": four[:18],
        "lanes4--without-raw-section": bytes([four[0] & 3]) + four[2:-four[1]],
        "lanes4--a-flipped-bit-in-a-word": four[:20] + bytes([four[20] ^ 1]) + four[21:],
        "lanes4--a-flipped-raw-bit": four[:-1] + bytes([four[-1] ^ 1]),
        "raw-only--raw-length-0": bytes([raw[0], 0]) + raw[2:6],
        "raw-only--raw-length-over-the-end": bytes([raw[0], 200]) + b"\1" + raw[2:],
        "raw-only--raw-length-in-two-bytes": bytes([raw[0], raw[1] | 128, 0]) + raw[2:],
        "raw-only--unused-raw-bit-set": _with_raw(raw, raw[-1] | 128),
        "raw-only--a-raw-byte-too-many": _with_raw(raw, raw[-1], b"\0"),
        "check--other-check-value": Description(
            os.path.join(folder, "one.txt")).encode(),
    }


def _with_raw(segment, last, more=b""):
    """Another raw section, with the state that its checksum asks for."""
    section = segment[6:-1] + bytes([last]) + more
    return bytes([segment[0], len(section)]) + struct.pack(
        "<I", 0x10000 + (crc32c(section) & 0xFFFF)) + section


def bad_files(folder):
    f = read(folder, "chunks.tess")
    at = [i for i in range(0, len(f), 8) if f[i:i + 4] == b"TSRK"]

    def flip(i):
        return f[:i] + bytes([f[i] ^ 1]) + f[i + 1:]

    def absurd(length):
        head = b"TSRKDATA\xff\xff\xff\xff" + struct.pack("<QHHI", length, 0, 0, 0)
        return f[:16] + head + struct.pack("<I", crc32c(head)) + bytes(40)

    return {
        "not-the-magic": flip(0), "as-text": f.replace(b"\r\n", b"\n"),
        "version-2": f[:8] + b"\2" + f[9:], "cut-in-file-header": f[:12],
        "no-footer": f[:-16], "no-index": f[:at[-1]],
        "cut-in-payload": f[:at[2] + 30], "cut-in-chunk-header": f[:at[2] + 10],
        "sync-flipped": flip(at[1]), "length-flipped": flip(at[1] + 8),
        "payload-flipped": flip(at[2] + 24), "checksum-flipped": flip(at[3] - 5),
        "index-flipped": flip(at[-1] + 24), "footer-flipped": flip(len(f) - 10),
        "bytes-missing": f[:at[1] + 20] + f[at[2] + 9:],
        "bytes-inserted": f[:at[2]] + b"TSRKTSRE?" + f[at[2]:],
        "chunk-missing": f[:at[1]] + f[at[2]:],
        "chunk-twice": f[:at[2]] + f[at[1]:],
        "long-length-spelled-short": absurd(20),
        "length-of-a-terabyte": absurd(1 << 40),
        "bytes-behind-the-footer": f + b"more",
    }


def bad_frames(folder):
    """Packets with one fault; the check is right where it is not the fault."""
    f, alpha = read(folder, "frame.pkt")[:-4], read(folder, "frame-alpha.pkt")[:-4]
    at = 3 + 2 * 2 + 6  # of `bands`: two lengths of eight take two bytes
    assert f[at] == 0 and alpha[at] == 2
    return {
        "frame--empty": b"", "frame--three-bytes": f[:3],
        "frame--wrong-check": f + bytes(4),
        "frame--cut": f[:100], "frame--cut-and-sealed": seal(f[:100]),
        "frame--cut-in-the-lengths": seal(f[:6]),
        "frame--a-byte-too-many": seal(f + b"\0"),
        "frame--parameters-too-long": seal(b"\x11" + f[1:]),
        "frame--parameters-over-the-end": seal(f[:2]),
        "frame--length-spelled-long": seal(f[:3] + b"\x80\0" + f[5:]),
        "frame--length-over-the-end": seal(f[:at - 1] + b"\x7f" + f[at:]),
        "frame--bands-without-alpha": seal(f[:at] + b"\1\0" + f[at + 1:]),
        "frame-alpha--more-bands-than-lengths": seal(
            alpha[:at] + b"\xff\xff\xff\x7f" + alpha[at + 1:]),
    }


def bad_media(folder):
    """Sound chunks whose content is wrong, and lost parts of the front."""
    f = read(folder, "media.tess")
    chunks = Stream(f).chunks[:-1]

    def made(change):
        """The file with the content of its chunks changed."""
        out = f[:16]
        for i, c in enumerate(chunks):
            new = change(i, c)
            for type, stream, data in new if new is not None else [
                    (c.type, c.stream, c.data)]:
                out = chunk(out, type, stream, out.count(b"TSRK"), data)
        at, out = len(out), chunk(out, b"INDX", 0, out.count(b"TSRK"), b"")
        return out + struct.pack("<QI4s", at, len(out) + 16, b"TSRE")

    def replaced(number, data, type=None):
        return made(lambda i, c: [(type or c.type, c.stream, data)]
                    if i == number else None)

    def patched(number, at, data):
        old = chunks[number].data
        return replaced(number, old[:at] + data + old[at + len(data):])

    return {
        "media-head-damaged": f[:chunks[1].offset + 30] + b"?" +
        f[chunks[1].offset + 31:],
        "media-without-a-stream": f[:chunks[0].offset] + f[chunks[6].offset:],
        "media-packet-damaged": f[:chunks[7].offset + 26] + b"?" +
        f[chunks[7].offset + 27:],
        "media-cut": f[:chunks[9].offset + 7],
        "media-strm-too-short": replaced(0, b"\1"),
        "media-time-base-0": patched(0, 8, bytes(4)),
        "media-sound-in-milliseconds": patched(3, 8, struct.pack("<I", 1000)),
        "media-head-too-long": replaced(1, chunks[1].data + b"\0"),
        "media-rate-of-one-part": patched(1, 12, bytes(4)),
        "media-range-2": patched(1, 27, b"\2"),
        "media-model-too-long": replaced(2, bytes(96)),
        "media-time-spelled-long": replaced(6, b"\x81\0\1frame"),
        "media-without-a-duration": replaced(7, b"\1"),
        "media-head-after-data": made(
            lambda i, c: [] if i == 1 else [
                (c.type, c.stream, c.data), (b"HEAD", 0, chunks[1].data)]
            if i == 6 else None),
        "media-unknown-critical": replaced(8, b"", b"NEWS"),
    }


def write(folder):
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        if not name.endswith(".txt"):
            continue
        first = next(lines(path))[0]
        if first == "segment":
            save(Description(path).encode(), path[:-4] + ".seg")
        elif first == "extradata":
            save(Frame(path).encode(), path[:-4] + ".pkt")
        else:
            data = write_file(path)
            save(data, path[:-4] + ".tess")
            if data[10] in (2, 5):
                save(media_listing(data).encode(), path[:-4] + ".tess.list")
    for name, data in bad_frames(folder).items():
        save(data, folder, "bad", name + ".pkt")
    for name, data in bad_segments(folder).items():
        save(data, folder, "bad", name + ".seg")
    for name, data in bad_files(folder).items():
        save(data, folder, "bad", name + ".tess")
        save(report(data).encode(), folder, "bad", name + ".tess.expect")
    for name, data in bad_media(folder).items():
        save(data, folder, "bad", name + ".tess")
        save(report(data).encode(), folder, "bad", name + ".tess.expect")
        save(media_listing(data).encode(), folder, "bad", name + ".tess.list")


if __name__ == "__main__":
    if sys.argv[1] == "check":
        check(sys.argv[2])
    elif sys.argv[1] == "random":
        save(random_description(int(sys.argv[2])).encode(), sys.argv[3])
    else:
        write(sys.argv[2])
