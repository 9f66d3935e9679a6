#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Figures and spectrograms of decoded clips, as train.py leaves them: NAME_0.wav the original, NAME_2.wav of two books, ...

evaluate.py CLIPS_DIR [--sheet OUT.png] [--tsv OUT.tsv]

STOI and PESQ (wide band, at 16 kHz) when the packages pystoi and pesq are there, else without.
"""
import argparse
import collections
import glob
import wave

import numpy as np
from PIL import Image

RATE = 24000


def read(path):
    with wave.open(path) as f:
        return np.frombuffer(f.readframes(f.getnframes()), "<i2").astype(np.float64) / 32768


def spectrum(x, n=512):
    """[n/2+1, frames] in dB of a full-scale sine"""
    window = np.hanning(n + 1)[:n]
    frames = np.lib.stride_tricks.sliding_window_view(x, n)[::n // 4]
    return 20 * np.log10(np.abs(np.fft.rfft(frames * window, axis=1)) * 2 / window.sum() + 1e-5).T


def to_16k(x):
    from scipy.signal import resample_poly
    return resample_poly(x, 2, 3)


def figures(x, y):
    lsd = np.sqrt(((spectrum(x) - spectrum(y)) ** 2).mean(0)).mean()
    part = (x @ y) / max(x @ x, 1e-9) * x
    out = {"lsd_db": lsd, "si_sdr_db": 10 * np.log10((part @ part) / max((y - part) @ (y - part), 1e-12) + 1e-9)}
    try:
        from pystoi import stoi
        from pesq import pesq
        out["stoi"] = stoi(x, y, RATE)
        out["pesq_wb"] = pesq(16000, to_16k(x), to_16k(y), "wb")
    except ImportError:
        pass
    except Exception as e:              # PESQ finds no speech in some sounds
        print("no PESQ:", e)
    return out


def sheet(path, clips, height=257):
    """One row a clip, its versions side by side; 0 (white) to -90 dB (black)."""
    rows = []
    for versions in clips:
        tiles = [np.pad(spectrum(x)[::-1], ((2, 2), (2, 2)), constant_values=0) for x in versions]
        rows.append(np.hstack(tiles))
    width = max(r.shape[1] for r in rows)
    picture = np.vstack([np.pad(r, ((0, 0), (0, width - r.shape[1]))) for r in rows])
    Image.fromarray(((picture + 90) / 90 * 255).clip(0, 255).astype(np.uint8)).save(path)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("clips")
    p.add_argument("--sheet")
    p.add_argument("--tsv")
    a = p.parse_args()
    sums, pictures, lines = collections.defaultdict(list), [], []
    for first in sorted(glob.glob(f"{a.clips}/*_0.wav")):
        x, stem = read(first), first[:-6]
        versions = sorted(glob.glob(stem + "_[1-9]*.wav"), key=lambda v: int(v[len(stem) + 1:-4]))
        pictures.append([x] + [read(v) for v in versions])
        for v, y in zip(versions, pictures[-1][1:]):
            books, kind = v[len(stem) + 1:-4], stem.split("/")[-1].split("_")[1]
            for k, value in figures(x, y).items():
                sums[kind, books, k].append(value)
    for (kind, books, k), values in sorted(sums.items()):
        lines.append(f"{kind}\t{books}\t{k}\t{np.mean(values):.3f}\t{len(values)}")
    print("\n".join(lines))
    if a.tsv:
        with open(a.tsv, "w") as f:
            f.write("kind\tbooks\tfigure\tmean\tclips\n" + "\n".join(lines) + "\n")
    if a.sheet:
        sheet(a.sheet, pictures)


if __name__ == "__main__":
    main()
