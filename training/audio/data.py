# SPDX-License-Identifier: BSD-2-Clause
"""Clips as one int16 array on the GPU, and random crops of it.

data.py PACK.tar OUT_PREFIX [--decoder PROGRAM]: unpack a tar made by corpus/build_audio.py into OUT_PREFIX.npy (samples)
and OUT_PREFIX.json (one row a clip).  The default decoder is ffmpeg; opus24.c makes one for machines that have none.
"""
import argparse
import glob
import json
import os
import subprocess
import tarfile
import tempfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

RATE = 24000
SHARE = {"speech": 0.55, "music": 0.28, "sound": 0.17}     # of the crops
TAPS = 16
MOST_SPEED = 1.2


def unpack(tar_path, prefix, decoder):
    with tempfile.TemporaryDirectory() as tmp:
        with tarfile.open(tar_path) as tar:
            names = tar.getnames()
            tar.extractall(tmp, filter="data")

        def decode(name):
            path = os.path.join(tmp, name)
            command = [decoder, path] if decoder else [
                "ffmpeg", "-nostdin", "-v", "quiet", "-i", path, "-ac", "1", "-ar", str(RATE), "-f", "s16le", "-"]
            return np.frombuffer(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout, "<i2")

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            clips = list(pool.map(decode, names))
    rows, at = [], 0
    for name, x in zip(names, clips):
        which, kind, package, _ = name.split("/")
        rows.append(dict(name=name, set=which, kind=kind, package=package, start=at, length=len(x)))
        at += len(x)
    np.save(prefix + ".npy", np.concatenate(clips))
    with open(prefix + ".json", "w") as f:
        json.dump(rows, f)
    return rows


def load(folder):
    """(samples, rows) of all packs in the folder, in the order of their names."""
    parts, rows, at = [], [], 0
    for path in sorted(glob.glob(folder + "/*.json")):
        x = np.load(path[:-5] + ".npy")
        with open(path) as f:
            for row in json.load(f):
                row["start"] += at
                rows.append(row)
        parts.append(x)
        at += len(x)
    return np.concatenate(parts), rows


def held_back(samples, rows, seconds=4, most=(("speech", 24), ("music", 14), ("sound", 10))):
    """[N, seconds] float of the validation clips, from 1 s into each, and their names."""
    n, out, names = seconds * RATE, [], []
    for kind, count in most:
        clips = sorted((r for r in rows if r["set"] == "valid" and r["kind"] == kind), key=lambda r: r["name"])
        pieces = [(r, at) for at in (RATE, 9 * RATE, 15 * RATE) for r in clips if r["length"] >= at + n]
        for r, at in pieces[:count]:
            out.append(samples[r["start"] + at:r["start"] + at + n].astype(np.float32) / 32768)
            names.append(f"{r['name']}@{at // RATE}")
    return torch.from_numpy(np.stack(out)), names


class Crops:
    """draw(n) gives [n, length] on the device; every operation can be captured in a CUDA graph."""

    def __init__(self, samples, rows, device, length=RATE):
        self.need = int(length * MOST_SPEED) + 2 * TAPS
        rows = [r for r in rows if r["set"] == "train" and r["length"] > self.need + 1]
        total = {k: sum(r["length"] for r in rows if r["kind"] == k) for k in SHARE}
        weight = np.array([SHARE[r["kind"]] * r["length"] / total[r["kind"]] for r in rows])
        cut = samples[:max(r["start"] + r["length"] for r in rows)]
        self.pcm = torch.from_numpy(cut).to(device)
        self.start = torch.tensor([r["start"] for r in rows], device=device)
        self.room = torch.tensor([r["length"] - self.need for r in rows], device=device, dtype=torch.float64)
        self.cum = torch.from_numpy(np.cumsum(weight / weight.sum())).to(device)
        self.time = torch.arange(length, device=device, dtype=torch.float64)
        self.taps = torch.arange(1 - TAPS // 2, TAPS // 2 + 1, device=device)
        self.hours = sum(r["length"] for r in rows) / RATE / 3600
        self.device = device

    def rand(self, n, lo=0.0, hi=1.0):
        return torch.rand(n, device=self.device, dtype=torch.float64) * (hi - lo) + lo

    def draw(self, n):
        clip = torch.searchsorted(self.cum, self.rand(n)).clamp(max=len(self.start) - 1)
        first = self.start[clip] + (self.rand(n) * self.room[clip]).long() + TAPS
        # half of the crops are played faster or slower, which moves pitch and band limits too
        speed = torch.where(self.rand(n) < 0.5, torch.exp2(self.rand(n, -0.25, 0.25)), torch.ones_like(self.rand(n)))
        x = self.at(first, speed[:, None] * self.time)
        return self.mix(self.level(x))

    def at(self, first, pos):
        """Samples at first + pos by windowed sinc, band-limited when played faster."""
        whole = pos.floor()
        index = first[:, None, None] + whole.long()[:, :, None] + self.taps
        away = self.taps - (pos - whole)[:, :, None]
        away = away.float()
        cut = (1 / (pos[:, -1:] / self.time[-1])).clamp(max=1).float()[:, :, None]
        kernel = torch.sinc(away * cut) * cut * torch.cos(away * (torch.pi / (TAPS + 1))).square()
        return (self.pcm[index].float() * kernel).sum(-1) / 32768

    def level(self, x):
        """Loudness spread evenly from -34 to -14 dB; near silence is raised by 20 dB at most."""
        n = x.shape[0]
        rms = x.square().mean(1).sqrt()
        gain = 10 ** (self.rand(n, -34, -14).float() / 20) / (rms + 1e-5)
        gain = torch.where(self.rand(n) < 0.15, torch.ones_like(gain), gain.clamp(max=10))
        gain = torch.minimum(gain, 0.98 / (x.abs().amax(1) + 1e-5))
        return x * gain[:, None]

    def mix(self, x):
        """One crop in eight gets another one on top, 0 to 12 dB below."""
        n = x.shape[0]
        on = (self.rand(n) < 0.12).float() * 10 ** (-self.rand(n, 0, 12).float() / 20)
        y = x + on[:, None] * x.roll(1, 0)
        return y * (0.98 / y.abs().amax(1).clamp(min=0.98))[:, None]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("pack")
    p.add_argument("prefix")
    p.add_argument("--decoder")
    a = p.parse_args()
    rows = unpack(a.pack, a.prefix, a.decoder)
    seconds = {k: sum(r["length"] for r in rows if r["kind"] == k) / RATE for k in SHARE}
    print(a.pack, len(rows), "clips,", " ".join(f"{k} {s / 60:.1f} min" for k, s in seconds.items()))


if __name__ == "__main__":
    main()
