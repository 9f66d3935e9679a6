#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Fetch the sounds of sounds.txt from Debian and make 24 kHz mono 16-bit WAV clips of them.

Clips are scaled to a peak of 0.7.  Needs apt, dpkg-deb and ffmpeg.
"""
import argparse
import subprocess
import sys
from pathlib import Path

from photos import HERE, default_folder, unpack

RATE = 24000


def sound_list():
    for line in (HERE / "sounds.txt").read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            name, kind, package, files, most, start, length, licence = (part.strip() for part in line.split("|"))
            yield name, kind, package, files, int(most), float(start), float(length), licence


def decode(file):
    """16-bit samples at RATE, mono."""
    done = subprocess.run(["ffmpeg", "-v", "error", "-i", file, "-map", "0:a:0", "-ac", "1", "-ar", str(RATE),
                           "-f", "s16le", "-"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True)
    return done.stdout


def prepare(files, start, length, target):
    import array
    gap = bytes(2 * (RATE // 10))
    samples = array.array("h", gap.join(decode(f) for f in files))
    samples = samples[int(start * RATE):int((start + length) * RATE)]
    gain = 0.7 * 32767 / max(1, max(abs(x) for x in samples))
    data = array.array("h", (round(gain * x) for x in samples)).tobytes()
    part = target.with_suffix(".part")
    subprocess.run(["ffmpeg", "-v", "error", "-y", "-f", "s16le", "-ar", str(RATE), "-ac", "1", "-i", "-", "-f", "wav",
                    "-bitexact", part], input=data, check=True)
    part.rename(target)


def sounds(folder):
    """[(name, kind, path)] in the order of sounds.txt; fetches and makes what is missing."""
    out = []
    (folder / "sounds").mkdir(parents=True, exist_ok=True)
    for name, kind, package, files, most, start, length, _ in sound_list():
        target = folder / "sounds" / (name + ".wav")
        if not target.exists():
            found = [f for f in sorted(unpack(package, folder).glob(files)) if f.is_file()][:most]
            if not found:
                sys.exit(f"sounds.py: {package} has no {files}")
            prepare(found, start, length, target)
        out.append((name, kind, target))
    return out


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("folder", nargs="?", type=Path, default=default_folder(), help="default: %(default)s")
    try:
        for name, kind, path in sounds(ap.parse_args().folder):
            print(name, kind, path)
    except (OSError, subprocess.CalledProcessError) as e:
        sys.exit(f"sounds.py: {e}")


if __name__ == "__main__":
    main()
