#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Inputs for a fuzz target to begin with, where the target does not make them itself: seeds.py TARGET FOLDER.  Each
target's file says what an input is."""
import io
import json
import struct
import sys
import zipfile
import zlib
from pathlib import Path


def wav(tag=1, bits=16, channels=2, rate=8000, extra=b"", data=bytes(range(64)), riff=b"RIFF"):
    block = channels * bits // 8
    form = struct.pack("<HHIIHH", tag, channels, rate, rate * block, block, bits) + extra
    chunks = b"fmt " + struct.pack("<I", len(form)) + form + b"LIST" + struct.pack("<I", 4) + b"INFO"
    if riff != b"RIFF":
        chunks = b"ds64" + struct.pack("<IQQQI", 28, 200, len(data), len(data) // block, 0) + chunks
    size = 0xffffffff if riff != b"RIFF" else len(data)
    return riff + struct.pack("<I", 4 + len(chunks) + 8 + len(data)) + b"WAVE" + chunks + b"data" + \
        struct.pack("<I", size) + data


def waves():
    guid = bytes.fromhex("000000001000800000aa00389b71")
    yield wav()
    yield wav(bits=8, channels=1)
    yield wav(bits=24, data=bytes(60))
    yield wav(tag=3, bits=32)
    yield wav(tag=3, bits=64)
    yield wav(tag=0xfffe, bits=32, extra=struct.pack("<HHI", 22, 20, 3) + b"\x01\0" + guid)
    yield wav(riff=b"RF64")


def png(depth, colour, interlace=0, samples=None, extra=b""):
    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    row = b"\0" + bytes((5 * channels * depth + 7) // 8)
    head = struct.pack(">IIBBBBB", 5, 3, depth, colour, 0, 0, interlace)
    body = zlib.compress(samples or row * (3 if not interlace else 9))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def pictures():
    palette = struct.pack(">I", 6) + b"PLTE\0\1\2\3\4\5"
    palette += struct.pack(">I", zlib.crc32(palette[4:]))
    yield from (png(8, 2), png(16, 6), png(8, 0), png(1, 0), png(8, 4), png(8, 2, 1), png(2, 3, extra=palette))
    yield b"P2\n# x\n2 2\n255\n0 1 2 255\n"
    yield b"P3 2 1 1023 1 2 3 4 5 1023"
    yield b"P5\n5 3\n255\n" + bytes(15)
    yield b"P6\n5 3\n65535\n" + bytes(90)
    yield b"P7\nWIDTH 2\nHEIGHT 2\nDEPTH 4\nMAXVAL 255\nTUPLTYPE RGB_ALPHA\nENDHDR\n" + bytes(16)


def films():
    for space, size in (("420jpeg", 15 + 2 * 6), ("422", 15 + 2 * 9), ("444", 45), ("mono", 15), ("420p10", 54),
                        ("444alpha", 60)):
        head = f"YUV4MPEG2 W5 H3 F25:1 Ip A1:1 C{space} XCOLORRANGE=FULL\n".encode()
        yield head + 2 * (b"FRAME\n" + bytes(size))


def npy(descr="<f4", shape=(2, 3), data=bytes(24), order=False, version=1):
    text = repr({"descr": descr, "fortran_order": order, "shape": shape}) + "\n"
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", len(text)) + \
        text.encode() + data


def arrays():
    yield from (npy(), npy("<f2", (3,), bytes(6)), npy("<i8", (4,), bytes(32)), npy("|u1", (2, 2), bytes(4)),
                npy("<f8", (), bytes(8)), npy("<f4", (2, 3), bytes(24), True), npy(version=2))


def input_seeds():
    for one in [*waves(), *pictures()]:
        yield bytes(6) + one
        yield bytes([0, 0, 0, 0, 0, 1]) + one
    for one in films():
        yield bytes(6) + one
    yield bytes([0, 0, 2, 1, 1, 0]) + bytes(90)
    for one in arrays():
        yield bytes([3, 0, 0, 0, 0, 0]) + one


def heads():
    yield {"a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}
    yield {"__metadata__": {"tessera.codec": "hyper", "tessera.name": "n", "a": "\u00e9\n\""},
           "a": {"dtype": "BF16", "shape": [], "data_offsets": [0, 2]},
           "b": {"dtype": "U8", "shape": [0], "data_offsets": [2, 2]},
           "c": {"dtype": "I64", "shape": [1, 1, 2], "data_offsets": [2, 18]}}
    yield {}


def model_seeds():
    for head in heads():
        text = json.dumps(head).encode()
        size = max([t["data_offsets"][1] for n, t in head.items() if n != "__metadata__"], default=0)
        yield b"\0" + struct.pack("<Q", len(text)) + text + bytes(size)
        yield b"\2" + struct.pack("<H", size) + text
    yield b"\1" + json.dumps({"metadata": {"total_size": 24}, "weight_map": {"a": "x.safetensors"}}).encode()


def store_seeds():
    ok = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: \"a\"\r\nLast-Modified: Mon, 23 Nov 2026 04:00:00 GMT\r\n\r\nhello"
    part = b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 1-3/5\r\nContent-Length: 3\r\nETag: \"a\"\r\n\r\nell"
    entry = b"<Contents><Key>prefix/key</Key><LastModified>2026-11-23T04:00:00.000Z</LastModified><ETag>\"a\"</ETag>" \
        b"<Size>5</Size></Contents>"
    page = b"<?xml version=\"1.0\"?><ListBucketResult><IsTruncated>false</IsTruncated>" + entry + b"</ListBucketResult>"
    xml = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(page) + page
    error = b"<Error><Code>NoSuchKey</Code><Message>no &lt;key&gt;</Message></Error>"
    lost = b"HTTP/1.1 404 Not Found\r\nContent-Length: %d\r\n\r\n" % len(error) + error
    listed = b"HTTP/1.1 200 OK\r\nContent-Length: 25\r\n\r\nkey 5 1700000000\nb 12 1234\n"
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    wait = b"HTTP/1.1 503 Slow Down\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n"
    for mode in range(12):
        for answer in ((ok, part, xml, lost, listed, chunked, wait) if mode % 3 < 2 else ()):
            yield bytes([mode, 0, 0]) + answer
            yield bytes([mode, 1, 3]) + answer
    for mode in (2, 5, 8, 11):
        for reply in (b"$5\r\nhello\r\n", b"*2\r\n$1\r\n0\r\n*1\r\n$14\r\ntessera:kv:key\r\n", b":5\r\n", b"+OK\r\n", b"$-1\r\n",
                      b"-ERR no\r\n", b"-MOVED 1 127.0.0.1:1\r\n", b"*-1\r\n", b":5\r\n$5\r\nhello\r\n:5\r\n"):
            yield bytes([mode, 0, 0]) + reply
            yield bytes([mode, 0, 0]) + b"+OK\r\n" + reply + reply


def serve_seeds():
    for text in ("bytes=0-4", "bytes=-3", "bytes=2-", "bytes=99999999999999999999-", "bytes=1-2,4-5", "items=1-2"):
        yield b"\0\0\5" + text.encode()
    for text in ('"a-1"', 'W/"a-1", "b"', "*", '"a'):
        yield b"\1" + text.encode()
    yield b"\2<?xml version='1.0'?><s3:A x='1'><B>a&amp;&#x41;&#1114111;</B><C/></s3:A>"
    yield b"\3Bearer abc\n# x\nro abc\nrw def\nghi\n"
    for text in ("user:p%41ss@host:6379/3", ":pass@[::1]:1/0", "host", "bucket/prefix/a", "127.0.0.1:80/path"):
        for pad in range(4):
            yield b"\4" + text.encode() + b"a" * pad


def gguf(version=3, kinds=(0,)):
    def text(t):
        return struct.pack("<Q", len(t)) + t
    head = b"GGUF" + struct.pack("<IQQ", version, len(kinds), 2)
    head += text(b"general.alignment") + struct.pack("<II", 4, 32)
    head += text(b"a") + struct.pack("<IIQ", 9, 8, 1) + text(b"b")
    for i, kind in enumerate(kinds):
        head += text(b"t%d" % i) + struct.pack("<IQQIQ", 2, 4, 2, kind, 32 * i)
    return head + bytes(-len(head) % 32 + 32 * len(kinds) + 32)


def checkpoint_seeds():
    for one in (*arrays(), gguf(), gguf(2, (1, 24, 30))):
        yield b"\0" + one
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", method) as z:
            for i, one in enumerate(arrays()):
                z.writestr(f"a{i}.npy", one)
        yield b"\0" + file.getvalue()


def weights_seeds():
    for which in range(6):
        for whole in (0, 1):
            yield bytes([which, whole])
            for how in range(4):
                yield bytes([which, whole, how, 3, 0, 1, 1, 0, 0, how, 200, 0, 2, 0, 0])


target, folder = sys.argv[1], Path(sys.argv[2])
folder.mkdir(parents=True, exist_ok=True)
for number, seed in enumerate(globals().get(target + "_seeds", list)()):
    (folder / f"seed{number:03d}").write_bytes(seed)
