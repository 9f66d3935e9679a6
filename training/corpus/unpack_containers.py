#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Pictures and sound hidden in containers: Quake pk3 (zip) and Qt rcc (carved).

usage: unpack_containers.py UNPACKED_DIR
"""
import glob
import os
import random
import struct
import sys
import zipfile

ROOT = sys.argv[1]
RNG = random.Random(5)
NOT_COLOUR = ("_nm.", "_norm", "_sm.", "_gm.", "_rm.", "_gloss", "_local", "_lux", "_shadow")
SIGNATURES = {b"RIFF": "webp", b"\xff\xd8\xff": "jpg", b"\x89PNG\r\n": "png"}


def pk3(package, extensions, most, smallest=20000):
    out = f"{ROOT}/{package}/unpacked"
    if os.path.isdir(out) or not os.path.isdir(f"{ROOT}/{package}"):
        return
    os.makedirs(out)
    n = 0
    for path in sorted(glob.glob(f"{ROOT}/{package}/**/*.pk3", recursive=True)):
        archive = zipfile.ZipFile(path)
        members = [m for m in archive.infolist()
                   if m.filename.lower().endswith(extensions) and m.file_size > smallest
                   and not any(t in m.filename.lower() for t in NOT_COLOUR)]
        RNG.shuffle(members)
        for m in members[:most - n]:
            with open(os.path.join(out, f"{n:05d}_" + os.path.basename(m.filename)), "wb") as f:
                f.write(archive.read(m))
            n += 1
    print(package, n, "from pk3")


def rcc(package, smallest=15000, largest=8_000_000):
    """Every entry of an rcc file is preceded by its length, 4 bytes big-endian."""
    out = f"{ROOT}/{package}/carved"
    if os.path.isdir(out) or not os.path.isdir(f"{ROOT}/{package}"):
        return
    os.makedirs(out)
    n = 0
    for path in sorted(glob.glob(f"{ROOT}/{package}/**/*.rcc", recursive=True)):
        data, i = open(path, "rb").read(), 0
        while True:
            hits = [(data.find(s, i), s) for s in SIGNATURES]
            hits = [h for h in hits if h[0] >= 0]
            if not hits:
                break
            j, signature = min(hits)
            size = struct.unpack(">I", data[j - 4:j])[0] if j >= 4 else 0
            is_picture = signature != b"RIFF" or data[j + 8:j + 12] == b"WEBP"
            if is_picture and smallest < size < largest and j + size <= len(data):
                name = f"{os.path.basename(path)[:-4]}_{n:04d}.{SIGNATURES[signature]}"
                with open(os.path.join(out, name), "wb") as f:
                    f.write(data[j:j + size])
                n += 1
                i = j + size
            else:
                i = j + 4
    print(package, n, "from rcc")


pk3("openarena-081-textures", (".jpg", ".tga", ".png"), 260)
pk3("ufoai-textures", (".jpg", ".png", ".tga"), 200, 60000)
pk3("ufoai-music", (".ogg",), 60)
pk3("nexuiz-music", (".ogg",), 30)
pk3("ufoai-sound", (".ogg", ".wav"), 400, 4000)
rcc("gcompris-qt-data")
