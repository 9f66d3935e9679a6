#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Helpers of the tests of the program: pictures, damage, an independent
MS-SSIM.  Standard library only.

  make FILE KIND W H [SEED]   a picture; KIND: grey grey16 greya rgb rgb16 rgba
                              rgba16 palette; FILE ends in .png .pgm .ppm .pam
  blur FILE OUT AMOUNT        the same picture, worse
  shape FILE                  prints: width height channels bits
  same-alpha A B, same A B    exit status 1 if they differ
  metrics A B                 prints: psnr ms-ssim
  chunk FILE TYPE N           prints: offset and bytes of a chunk's payload
  poke FILE OFFSET VALUE OUT  one byte replaced (VALUE: a number, or "flip")
  reshape MODEL TENSOR OUT    the first two dims of one tensor exchanged
  info JSON FILE              checks the numbers of 'tessera info --json'
  terminal PROGRAM            the program on a terminal, and under signals;
                              prints lines "passed NAME" or "failed NAME"
"""
import json
import math
import os
import pty
import random
import select
import signal
import struct
import subprocess
import sys
import time
import zlib

CHANNELS = {"grey": 1, "greya": 2, "rgb": 3, "rgba": 4}


class Picture:
    """Samples row by row, interleaved, as one list."""

    def __init__(self, width, height, channels, bits, samples):
        self.width, self.height = width, height
        self.channels, self.bits = channels, bits
        self.samples = samples

    def plane(self, c):
        """Channel c (of R, G, B) on a scale of 0..255, as rows of floats."""
        colours = 1 if self.channels < 3 else 3
        at = c if c < colours else 0
        scale = 257.0 if self.bits == 16 else 1.0
        flat = [s / scale for s in self.samples[at::self.channels]]
        return [flat[y * self.width:(y + 1) * self.width]
                for y in range(self.height)]


def made(kind, width, height, seed):
    """Smooth waves, an edge and a little noise."""
    rng = random.Random(seed)
    bits = 16 if kind.endswith("16") else 8
    channels = CHANNELS[kind.replace("16", "")]
    full = (1 << bits) - 1
    samples = []
    for y in range(height):
        for x in range(width):
            for c in range(channels):
                v = 0.5 + 0.3 * math.sin(0.11 * x * (c + 1)) * math.cos(0.07 * y)
                v += 0.1 * (x > y) + 0.08 * (rng.random() - 0.5)
                samples.append(int(full * min(max(v, 0), 1)))
    return Picture(width, height, channels, bits, samples)


def png_bytes(width, height, bits, colour, rows, extra=b""):
    def chunk(kind, data):
        return (struct.pack(">I", len(data)) + kind + data +
                struct.pack(">I", zlib.crc32(kind + data)))
    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra +
            chunk(b"IDAT", zlib.compress(b"".join(b"\0" + r for r in rows))) +
            chunk(b"IEND", b""))


def palette_bytes(width, height):
    """Four colours, two bits a pixel."""
    data = bytes([0, 0, 0, 255, 0, 0, 0, 200, 90, 255, 255, 255])
    plte = struct.pack(">I", 12) + b"PLTE" + data
    plte += struct.pack(">I", zlib.crc32(b"PLTE" + data))
    rows = []
    for y in range(height):
        row = bytearray((width + 3) // 4)
        for x in range(width):
            row[x // 4] |= ((x // 5 + y // 3) % 4) << (6 - 2 * (x % 4))
        rows.append(bytes(row))
    return png_bytes(width, height, 2, 3, rows, plte)


def rows_of(p):
    form = ">%dH" if p.bits == 16 else "%dB"
    n = p.width * p.channels
    return [struct.pack(form % n, *p.samples[y * n:(y + 1) * n])
            for y in range(p.height)]


def save(path, p):
    end = os.path.splitext(path)[1]
    full = (1 << p.bits) - 1
    if end == ".png":
        data = png_bytes(p.width, p.height, p.bits, [0, 0, 4, 2, 6][p.channels],
                         rows_of(p))
    elif end == ".pam":
        data = ("P7\nWIDTH %d\nHEIGHT %d\nDEPTH %d\nMAXVAL %d\nENDHDR\n" %
                (p.width, p.height, p.channels, full)).encode()
        data += b"".join(rows_of(p))
    else:
        data = ("P%d\n# a comment\n%d %d\n%d\n" %
                (5 if end == ".pgm" else 6, p.width, p.height, full)).encode()
        data += b"".join(rows_of(p))
    with open(path, "wb") as f:
        f.write(data)


def paeth(a, b, c):
    p = a + b - c
    near = sorted((abs(p - v), i) for i, v in enumerate((a, b, c)))
    return (a, b, c)[near[0][1]]


def unfilter(data, height, row_bytes, step):
    out, above, at = [], bytearray(row_bytes), 0
    for _ in range(height):
        kind, row = data[at], bytearray(data[at + 1:at + 1 + row_bytes])
        at += 1 + row_bytes
        for i in range(row_bytes):
            a = row[i - step] if i >= step else 0
            c = above[i - step] if i >= step else 0
            add = (0, a, above[i], (a + above[i]) // 2,
                   paeth(a, above[i], c) if kind == 4 else 0)[kind]
            row[i] = (row[i] + add) & 255
        out.append(row)
        above = row
    return out


def load_png(data):
    at, idat = 8, b""
    while at < len(data):
        n, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8:at + 8 + n]
        if zlib.crc32(kind + body) != struct.unpack_from(">I", data,
                                                         at + 8 + n)[0]:
            raise ValueError("CRC of " + kind.decode())
        if kind == b"IHDR":
            width, height, bits, colour = struct.unpack_from(">IIBB", body)
        elif kind == b"IDAT":
            idat += body
        at += 12 + n
    channels = {0: 1, 4: 2, 2: 3, 6: 4}[colour]
    step = channels * bits // 8
    rows = unfilter(zlib.decompress(idat), height, width * step, step)
    form = ">%dH" if bits == 16 else "%dB"
    samples = []
    for row in rows:
        samples += struct.unpack(form % (width * channels), row)
    return Picture(width, height, channels, bits, samples)


def load_pnm(data):
    if data[:2] == b"P7":
        head, body = data.split(b"ENDHDR\n", 1)
        keys = dict(l.split()[:2] for l in head.split(b"\n")[1:] if l)
        width, height = int(keys[b"WIDTH"]), int(keys[b"HEIGHT"])
        channels, full = int(keys[b"DEPTH"]), int(keys[b"MAXVAL"])
    else:
        lines = [l for l in data.split(b"\n", 8) if not l.startswith(b"#")]
        width, height = map(int, lines[1].split())
        full, channels = int(lines[2]), 3 if lines[0] == b"P6" else 1
        bits = 16 if full > 255 else 8
        body = data[len(data) - width * height * channels * bits // 8:]
    bits = 16 if full > 255 else 8
    n = width * height * channels
    return Picture(width, height, channels, bits,
                   list(struct.unpack((">%dH" if bits == 16 else "%dB") % n,
                                      body)))


def load(path):
    with open(path, "rb") as f:
        data = f.read()
    return load_png(data) if data[:4] == b"\x89PNG" else load_pnm(data)


def ms_ssim_plane(a, b):
    """Wang, Simoncelli, Bovik 2003, computed plainly from its text."""
    taps = [math.exp(-(i - 5) ** 2 / 4.5) for i in range(11)]
    taps = [t / sum(taps) for t in taps]

    def blur(p):
        n = len(p[0]) - 10
        across = []
        for row in p:
            shifted = [row[t:t + n] for t in range(11)]
            across.append([sum(map(lambda w, v: w * v, taps, column))
                           for column in zip(*shifted)])
        return [[sum(map(lambda w, v: w * v, taps, column))
                 for column in zip(*across[y:y + 11])]
                for y in range(len(p) - 10)]

    def times(p, q):
        return [[v * w for v, w in zip(r, s)] for r, s in zip(p, q)]

    def half(p):
        return [[(r[x] + r[x + 1] + s[x] + s[x + 1]) / 4
                 for x in range(0, len(r) - 1, 2)]
                for r, s in zip(p[0::2], p[1::2])]

    result, weights = 1.0, (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
    for scale, weight in enumerate(weights):
        ma, mb = blur(a), blur(b)
        aa, bb, ab = blur(times(a, a)), blur(times(b, b)), blur(times(a, b))
        total, count = 0.0, 0
        for u, v, uu, vv, uv in zip(*(sum(p, []) for p in (ma, mb, aa, bb, ab))):
            term = ((2 * (uv - u * v) + 58.5225) /
                    (uu - u * u + vv - v * v + 58.5225))
            if scale == 4:
                term *= (2 * u * v + 6.5025) / (u * u + v * v + 6.5025)
            total, count = total + term, count + 1
        result *= max(total / count, 0) ** weight
        a, b = half(a), half(b)
    return result


def metrics(x, y):
    error, similar = 0.0, 0.0
    for c in range(3):
        a, b = x.plane(c), y.plane(c)
        error += sum((v - w) ** 2 for r, s in zip(a, b) for v, w in zip(r, s))
        similar += ms_ssim_plane(a, b) / 3
    mse = error / (3 * x.width * x.height)
    return 10 * math.log10(255 * 255 / mse), similar


def find_chunk(data, kind, n):
    at = 16
    while data[at:at + 4] == b"TSRK":
        size = struct.unpack_from("<I", data, at + 8)[0]
        if data[at + 4:at + 8] == kind.encode():
            if n == 0:
                return at + 24, size
            n -= 1
        at += (28 + size + 7) // 8 * 8
    raise SystemExit("no such chunk")


def reshape(source, tensor, target):
    with open(source, "rb") as f:
        data = f.read()
    size = struct.unpack_from("<Q", data)[0]
    head = json.loads(data[8:8 + size])
    dims = head[tensor]["shape"]
    dims[0], dims[1] = dims[1], dims[0]
    text = json.dumps(head).encode()
    with open(target, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data[8 + size:])


def check_info(path, stream):
    with open(path) as f:
        info = json.load(f)
    parts = info["header_bytes"] + info["alpha_bytes"] + info["token_bytes"]
    assert info["file_bytes"] == os.path.getsize(stream), "file_bytes"
    assert parts == info["file_bytes"], "parts"
    layers = sum(l["bytes"] for l in info["layers"])
    assert layers in (0, info["token_bytes"]), "layers"
    bpp = 8 * info["file_bytes"] / (info["width"] * info["height"])
    assert abs(info["bpp"] - bpp) < 1e-5, "bpp"


def on_terminal(command, answer=b"", out=None):
    """Runs on a terminal; returns the exit status and what it showed."""
    master, slave = pty.openpty()
    child = subprocess.Popen(command, stdin=slave, stderr=slave,
                             stdout=slave if out is None else out)
    os.close(slave)
    os.write(master, answer)
    shown = b""
    while True:
        select.select([master], [], [], 60)
        try:
            block = os.read(master, 4096)
        except OSError:
            break
        if not block:
            break
        shown += block
    os.close(master)
    return child.wait(), shown.decode()


def interrupted(program, number):
    """Stops an encoder that waits for the rest of its input."""
    child = subprocess.Popen(
        [program, "encode", "-y", "-", "stopped.tess"], stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL))
    child.stdin.write(b"P6 4000 4000 255\n" + bytes(1000))
    child.stdin.flush()
    for _ in range(6000):
        if os.path.exists("stopped.tess.part"):
            break
        time.sleep(0.01)
    child.send_signal(number)
    text = child.stderr.read().decode()
    child.stdin.close()
    return child.wait(), text


def read(path):
    with open(path, "rb") as f:
        return f.read()


def terminal(program):
    def told(name, good):
        print("passed" if good else "failed", name)

    try:
        for end in pty.openpty():
            os.close(end)
    except OSError as error:
        return print("skipped terminals:", error)
    encode = [program, "encode", "rgb4.png", "asked.tess"]
    rc, shown = on_terminal(encode)
    told("progress line on a terminal", rc == 0 and "MP/s" in shown and
         "%" in shown and "left" in shown)
    told("it is gone at the end", shown.endswith("\033[K"))
    with open("asked.tess", "wb") as f:
        f.write(b"precious")
    rc, shown = on_terminal(encode, b"n\n")
    told("asks before overwriting, n", rc == 1 and "Overwrite?" in shown and
         read("asked.tess") == b"precious")
    rc, shown = on_terminal(encode + ["-nostdin"])
    told("-nostdin does not ask", rc == 1 and "Overwrite?" not in shown)
    rc, shown = on_terminal(encode + ["-nostats"], b"y\n")
    told("asks before overwriting, y", rc == 0 and "MP/s" not in shown and
         read("asked.tess") == read("one.tess"))
    rc, shown = on_terminal([program, "decode", "one.tess", "-"])
    told("writes no picture to a terminal", rc == 1 and "terminal" in shown)
    rc, shown = on_terminal([program, "encode", "-", "x.tess"])
    told("reads no picture from a terminal", rc == 1 and "terminal" in shown)
    for number in signal.SIGINT, signal.SIGTERM:
        before = read("asked.tess")
        rc, shown = interrupted(program, number)
        told("%s: status 255, one line, no file" % number.name, rc == 255 and
             shown == "tessera: stopped by a signal\n" and not os.path.exists("stopped.tess")
             and not os.path.exists("stopped.tess.part") and
             before == read("asked.tess"))


def make(path, kind, width, height, seed=1):
    if kind == "palette":
        with open(path, "wb") as f:
            f.write(palette_bytes(int(width), int(height)))
    else:
        save(path, made(kind, int(width), int(height), int(seed)))


def blur(path, out, amount):
    p, rng = load(path), random.Random(7)
    k = float(amount)
    mixed = [(s + k * p.samples[max(i - p.channels, 0)]) / (1 + k)
             for i, s in enumerate(p.samples)]
    p.samples = [int(min(max(s + 9 * k * (rng.random() - 0.5), 0), 255))
                 for s in mixed]
    save(out, p)


def poke(path, offset, value, out):
    with open(path, "rb") as f:
        data = bytearray(f.read())
    at = int(offset)
    data[at] = data[at] ^ 255 if value == "flip" else int(value)
    with open(out, "wb") as f:
        f.write(data)


def run(command, *a):
    if command == "make":
        make(*a)
    elif command == "blur":
        blur(*a)
    elif command == "shape":
        p = load(a[0])
        print(p.width, p.height, p.channels, p.bits)
    elif command == "same":
        return load(a[0]).samples != load(a[1]).samples
    elif command == "same-alpha":
        x, y = load(a[0]), load(a[1])
        n = x.channels
        return n != y.channels or x.samples[n - 1::n] != y.samples[n - 1::n]
    elif command == "metrics":
        print("%.6f %.8f" % metrics(load(a[0]), load(a[1])))
    elif command == "chunk":
        with open(a[0], "rb") as f:
            print(*find_chunk(f.read(), a[1], int(a[2])))
    elif command == "poke":
        poke(*a)
    elif command == "reshape":
        reshape(*a)
    elif command == "info":
        check_info(*a)
    elif command == "terminal":
        terminal(*a)
    else:
        raise SystemExit(__doc__)
    return 0


if __name__ == "__main__":
    sys.exit(run(*sys.argv[1:]))
