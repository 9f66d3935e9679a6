#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Build audio-1.tar, audio-2.tar, ... of mono Ogg Opus clips (24 kHz unless told) from unpacked packages.  Needs ffmpeg.

usage: build_audio.py UNPACKED_DIR audio.txt OUT_DIR [BYTES_PER_PACK [RATE KBITS_OF_SPEECH]]

Names in the tars are SET/KIND/PACKAGE/NUMBER.opus, SET being train or valid.  A source file is kept back for validation
when the MD5 of its path inside the package says so (one in 33), so the split does not depend on order or on what else is used.
Opus at 54 to 64 kbit/s is far above the rates that are trained for.
"""
import glob
import hashlib
import io
import os
import random
import subprocess
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
RATE = 24000
GROUP = 24                                  # short files in a clip
KBITS = {"speech": 54, "sound": 60, "music": 64}
EXCERPT, LEAST = 20, 8                      # seconds
QUIET = ["ffmpeg", "-nostdin", "-v", "quiet", "-threads", "1"]
RAW = ["-ac", "1", "-ar", str(RATE), "-f", "s16le"]


def set_rate(rate):
    global RATE, RAW
    RATE = rate
    RAW = ["-ac", "1", "-ar", str(RATE), "-f", "s16le"]


def source(path):
    return (["-f", "g722"] if path.endswith(".g722") else []) + ["-i", path]


def samples(arguments):
    out = subprocess.run(QUIET + arguments + RAW + ["-"], stdout=subprocess.PIPE).stdout
    return np.frombuffer(out[:len(out) & ~1], np.int16)


def joined(paths):
    """Short files one after the other, 0.1 s apart."""
    arguments, graph = [], ""
    for i, p in enumerate(paths):
        arguments += source(p)
        graph += (f"[{i}:a:0]aresample={RATE},aformat=sample_fmts=s16:channel_layouts=mono,"
                  f"apad=pad_dur=0.1[a{i}];")
    graph += "".join(f"[a{i}]" for i in range(len(paths))) + f"concat=n={len(paths)}:v=0:a=1[o]"
    return samples(arguments + ["-filter_complex", graph, "-map", "[o]"])


def excerpt(path, start):
    return samples(["-ss", str(start), "-t", str(EXCERPT)] + source(path) + ["-map", "0:a:0"])


def opus(x, kind):
    return subprocess.run(
        QUIET + RAW[-2:] + ["-ar", str(RATE), "-ac", "1", "-i", "-", "-c:a", "libopus", "-b:a", f"{KBITS[kind]}k",
                            "-vbr", "on", "-compression_level", "6", "-f", "ogg", "-"],
        input=x.tobytes(), stdout=subprocess.PIPE).stdout


def held_back(path, root):
    name = os.path.relpath(path, root)
    return int(hashlib.md5(name.encode()).hexdigest(), 16) % 33 == 0


def jobs(files, kind):
    """Functions that give one clip each, in the order they should be used."""
    if kind == "music":
        long = [f for f in files if os.path.getsize(f) > 160000]
        for start in (6, 35, 70, 100, 130):
            for f in long:
                yield lambda f=f, start=start: excerpt(f, start)
    else:
        for i in range(0, len(files), GROUP):
            yield lambda i=i: joined(files[i:i + GROUP])


def clip(job, kind):
    x = job()[:240 * RATE]
    least = LEAST if kind == "music" else 1
    if len(x) < least * RATE or np.sqrt((x.astype(np.float64) ** 2).mean()) < 60:
        return None
    return len(x) / RATE / 60, opus(x, kind)


def clips(pool, files, kind, minutes):
    todo = jobs(files, kind)
    while minutes > 0:
        part = [j for j, _ in zip(todo, range(4))]
        if not part:
            return
        for made in pool.map(lambda j: clip(j, kind), part):
            if made and minutes > 0:
                minutes -= made[0]
                yield made


def gather(root, table, pool):
    with open(f"{HERE}/reserved.txt") as f:
        reserved = {line.strip() for line in f if line[0] != "#"}
    count, seen = {}, set()
    for line in open(table):
        if line[0] == "#" or not line.strip():
            continue
        package, pattern, kind, minutes, _ = line.rstrip("\n").split("|")
        if package in reserved:
            sys.exit(f"{package} is reserved for evaluation")
        files = sorted(f for f in glob.glob(f"{root}/{package}/{pattern}", recursive=True)
                       if os.path.isfile(f) and not os.path.islink(f) and os.path.getsize(f) > 2500 and f not in seen)
        seen.update(files)
        random.Random(package).shuffle(files)
        for which in ("valid", "train"):
            part = [f for f in files if held_back(f, f"{root}/{package}") == (which == "valid")]
            for length, data in clips(pool, part, kind, float(minutes) * (0.04 if which == "valid" else 1)):
                n = count[package] = count.get(package, 0) + 1
                yield which, kind, package, f"{n:04d}", length, data


def main():
    root, table, out = sys.argv[1:4]
    limit = float(sys.argv[4]) if len(sys.argv) > 4 else 33e6
    if len(sys.argv) > 6:
        set_rate(int(sys.argv[5]))
        KBITS["speech"] = int(sys.argv[6])
    stats, made = {}, []
    with ThreadPoolExecutor(2) as pool:
        for which, kind, package, name, length, data in gather(root, table, pool):
            made.append((f"{which}/{kind}/{package}/{name}.opus", data))
            s = stats.setdefault((which, kind, package), [0, 0.0, 0])
            s[0] += 1
            s[1] += length
            s[2] += len(data)
            if s[0] % 10 == 1:
                print(which, kind, package, f"{s[1]:.1f} min", f"{sum(len(d) for _, d in made) / 1e6:.1f} MB", flush=True)
    made.sort(key=lambda m: (m[0].startswith("train"), hashlib.md5(m[0].encode()).digest()))   # every pack a fair sample
    number, size, tar = 0, limit, None
    for name, data in made:
        if size + len(data) + 1024 > limit:
            if tar:
                tar.close()
            number, size = number + 1, 10240
            tar = tarfile.open(f"{out}/audio-{number}.tar", "w")
        info = tarfile.TarInfo(name)
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
        size += 512 + -(-len(data) // 512) * 512
    tar.close()
    with open(f"{out}/audio-stats.tsv", "w") as f:
        for (which, kind, package), (n, length, size) in sorted(stats.items()):
            f.write(f"{which}\t{kind}\t{package}\t{n} clips\t{length:.1f} min\t{size / 1e6:.2f} MB\n")


if __name__ == "__main__":
    main()
