# SPDX-License-Identifier: BSD-2-Clause
"""Sound for the tests of the program:
  make OUT RATE CHANNELS SAMPLES [FORMAT]  a chirp and noise; FORMAT u8 s16 s24 s32 f32 f64
  head OUT RATE CHANNELS TAG BITS SIZE     a head that announces SIZE bytes, and 100 bytes
  shape WAV                                rate, channels, bits, samples
  same A B [FROM]                          equal samples, of A from sample FROM of B on
  metrics A B                              SI-SDR, SNR and LSD, computed here
  info JSON TESS WAV                       the report of info --json adds up
  npy FILE                                 type and shape
  poke FILE OFFSET OUT                     one byte inverted
  chunk FILE TYPE N                        offset and bytes of the Nth chunk's payload
  drop FILE N OUT                          without the Nth DATA chunk
  flow PROGRAM RATE ...                    sound comes out before all of it went in
  stop PROGRAM                             a signal ends a recording
"""
import cmath
import json
import math
import os
import random
import signal
import struct
import subprocess
import sys
import threading
import time

FORMATS = {"u8": (1, 8), "s16": (1, 16), "s24": (1, 24), "s32": (1, 32), "f32": (3, 32), "f64": (3, 64)}


def header(rate, channels, tag, bits, size):
    align = channels * bits // 8
    fmt = struct.pack("<HHIIHH", tag, channels, rate, rate * align & 0xffffffff, align, bits)
    return (b"RIFF" + struct.pack("<I", min(size + 36, 0xffffffff)) + b"WAVEfmt " + struct.pack("<I", 16) + fmt
            + b"data" + struct.pack("<I", size))


def sample(value, form):
    tag, bits = FORMATS[form]
    if tag == 3:
        return struct.pack("<f" if bits == 32 else "<d", value)
    whole = int(value * (1 << (bits - 1)))
    return bytes([whole + 128]) if bits == 8 else whole.to_bytes(bits // 8, "little", signed=True)


def made(rate, channels, samples, form="s16"):
    rng = random.Random(rate + channels)
    data = bytearray()
    for t in range(samples):
        for c in range(channels):
            s = t / rate
            data += sample(0.4 * math.sin(2 * math.pi * (200 + 150 * c + 300 * s) * s) + 0.05 * rng.uniform(-1, 1),
                           form)
    return header(rate, channels, *FORMATS[form], len(data)) + bytes(data)


def load(path):
    """rate, channels, bits, list of samples -1..1; of what the program writes"""
    with open(path, "rb") as f:
        data = f.read()
    assert data[:4] == b"RIFF" and data[8:12] == b"WAVE", path
    assert struct.unpack_from("<I", data, 4)[0] in (len(data) - 8, 0xffffffff), "RIFF size"
    at = 12
    while True:
        name, size = data[at:at + 4], struct.unpack_from("<I", data, at + 4)[0]
        if name == b"data":
            break
        if name == b"fmt ":
            tag, channels, rate, _, align, bits = struct.unpack_from("<HHIIHH", data, at + 8)
            if tag == 0xfffe:
                tag = struct.unpack_from("<H", data, at + 32)[0]
        at += 8 + size + size % 2
    body = data[at + 8:] if size == 0xffffffff else data[at + 8:at + 8 + size]
    step = bits // 8
    if tag == 3:
        x = list(struct.unpack("<%df" % (len(body) // 4), body))
    else:
        x = [int.from_bytes(body[i:i + step], "little", signed=bits > 8) / (1 << (bits - 1))
             for i in range(0, len(body) - step + 1, step)]
    return rate, channels, bits, x


def transform(x):
    """DFT of a list whose length is a power of two"""
    if len(x) == 1:
        return x
    even, odd, n = transform(x[::2]), transform(x[1::2]), len(x)
    turned = [cmath.exp(-2j * math.pi * k / n) * odd[k] for k in range(n // 2)]
    return [e + o for e, o in zip(even, turned)] + [e - o for e, o in zip(even, turned)]


def spectrum(x, n):
    hann = [0.5 - 0.5 * math.cos(2 * math.pi * i / n) for i in range(n)]
    return [abs(z) * 4 / n + 1e-5 for z in transform([w * v for w, v in zip(hann, x + [0.0] * (n - len(x)))])[:n // 2 + 1]]


def metrics(a, b):
    rate, channels, _, x = load(a)
    y = load(b)[3]
    assert channels == 1
    m = min(len(x), len(y))
    x, y = x[:m], y[:m]
    dot = lambda p, q: sum(i * j for i, j in zip(p, q))
    gain = dot(x, y) / dot(x, x)
    rest = [v - gain * u for u, v in zip(x, y)]
    gap = [v - u for u, v in zip(x, y)]
    n = 16
    while n * math.sqrt(2) < rate * 64 / 3000:
        n *= 2
    total, frames, at = 0.0, 0, 0
    while at == 0 or at + n * 3 // 4 < m:
        p, q = spectrum(x[at:at + n], n), spectrum(y[at:at + n], n)
        total += math.sqrt(sum((20 * math.log10(i / j)) ** 2 for i, j in zip(p, q)) / len(p))
        frames, at = frames + 1, at + n // 4
    print("%.6f %.6f %.6f" % (10 * math.log10(gain * gain * dot(x, x) / dot(rest, rest)),
                              10 * math.log10(dot(x, x) / dot(gap, gap)), total / frames))


def check_info(path, stream, wav):
    with open(path) as f:
        info = json.load(f)
    rate, channels, _, x = load(wav)
    assert info["file_bytes"] == os.path.getsize(stream), "file_bytes"
    assert info["header_bytes"] + info["token_bytes"] == info["file_bytes"], "parts"
    assert info["books_bytes"] == [] or sum(info["books_bytes"]) == info["token_bytes"], "books"
    assert (info["rate"], info["channels"], info["samples"]) == (rate, channels, len(x) // channels), "form"
    assert abs(info["duration"] - info["samples"] / rate) < 1e-5, "duration"
    assert info["frames"] == -(-info["samples"] // info["hop"]), "frames"
    bits = info["frames"] * info["books"] * info["groups"] * math.log2(info["codewords"])
    assert abs(info["fixed_bits"] - bits) <= 1, "fixed_bits"
    assert abs(info["saved"] - (1 - 8 * info["token_bytes"] / info["fixed_bits"])) < 1e-5, "saved"


def chunks(data):
    """(type, offset of the chunk, offset and bytes of its payload)"""
    at = 16
    while data[at:at + 4] == b"TSRK":
        size = struct.unpack_from("<I", data, at + 8)[0]
        yield data[at + 4:at + 8].decode(), at, at + 24, size
        at += (28 + size + 7) // 8 * 8


def drop(path, number, out):
    with open(path, "rb") as f:
        data = f.read()
    found = [c for c in chunks(data) if c[0] == "DATA"][int(number)]
    end = found[1] + (28 + found[3] + 7) // 8 * 8
    with open(out, "wb") as f:
        f.write(data[:found[1]] + data[end:])


def flow(program, rate, *options):
    """Feeds two pipes of the program, and sees that sound comes out while only half of it went in."""
    rate = int(rate)
    encoder = subprocess.Popen([program, "encode", "-live", *options, "-", "-"], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE)
    decoder = subprocess.Popen([program, "decode", "-", "-"], stdin=encoder.stdout, stdout=subprocess.PIPE)
    encoder.stdout.close()
    got, some = bytearray(), threading.Event()

    def read():
        while block := os.read(decoder.stdout.fileno(), 65536):
            got.extend(block)
            if len(got) > 2000:
                some.set()
    reader = threading.Thread(target=read)
    reader.start()
    encoder.stdin.write(header(rate, 1, 1, 16, 0xffffffff) + bytes(2 * rate))
    encoder.stdin.flush()
    early = some.wait(60)
    encoder.stdin.write(bytes(2 * rate))
    encoder.stdin.close()
    reader.join()
    assert encoder.wait() == 0 and decoder.wait() == 0, "status"
    assert early, "nothing came before the end"
    assert len(got) >= 2 * 2 * 16000, "too little came"


def stop(program):
    """A recording that a signal ends is whole."""
    with open("tone.wav", "rb") as f:
        data = f.read()
    for number in signal.SIGINT, signal.SIGTERM:
        child = subprocess.Popen([program, "encode", "-y", "-live", "-", "stopped.tess"], stdin=subprocess.PIPE,
                                 stderr=subprocess.PIPE, preexec_fn=lambda: signal.signal(number, signal.SIG_DFL))
        child.stdin.write(header(24000, 1, 1, 16, 0xffffffff) + data[44:44 + 48000])
        child.stdin.flush()
        for _ in range(6000):
            if os.path.exists("stopped.tess.part") and os.path.getsize("stopped.tess.part") > 0:
                break
            time.sleep(0.01)
        time.sleep(0.2)
        child.send_signal(number)
        text = child.stderr.read().decode()
        child.stdin.close()
        assert child.wait() == 255 and text == "tessera: stopped.tess: ends where the signal came\n", text
        assert not os.path.exists("stopped.tess.part"), "part"
        assert subprocess.run([program, "info", "--check", "stopped.tess"], stdout=subprocess.PIPE).returncode == 0
        os.unlink("stopped.tess")


def run(command, *a):
    if command == "make":
        with open(a[0], "wb") as f:
            f.write(made(int(a[1]), int(a[2]), int(a[3]), *a[4:]))
    elif command == "head":
        with open(a[0], "wb") as f:
            f.write(header(*map(int, a[1:])) + bytes(100))
    elif command == "shape":
        rate, channels, bits, x = load(a[0])
        print(rate, channels, bits, len(x) // channels)
    elif command == "same":
        x, y = load(a[0]), load(a[1])
        at = int(a[2]) * x[1] if len(a) > 2 else 0
        return x[:2] != y[:2] or x[3] != (y[3][at:at + len(x[3])] if len(a) > 2 else y[3])
    elif command == "metrics":
        metrics(*a)
    elif command == "info":
        check_info(*a)
    elif command == "npy":
        with open(a[0], "rb") as f:
            head = eval(f.read(128)[10:])
        print(head["descr"], *head["shape"])
    elif command == "poke":
        with open(a[0], "rb") as f:
            data = bytearray(f.read())
        data[int(a[1])] ^= 255
        with open(a[2], "wb") as f:
            f.write(data)
    elif command == "chunk":
        with open(a[0], "rb") as f:
            found = [c for c in chunks(f.read()) if c[0] == a[1]][int(a[2])]
        print(found[2], found[3])
    elif command == "drop":
        drop(*a)
    elif command == "flow":
        flow(*a)
    elif command == "stop":
        stop(*a)
    else:
        raise SystemExit(__doc__)
    return 0


if __name__ == "__main__":
    sys.exit(run(*sys.argv[1:]))
