# SPDX-License-Identifier: BSD-2-Clause
"""Clips at 16 kHz on the GPU with the teacher's features and tokens, and random crops whose frames are those of the clip.

clips.py FOLDER OUT [--decoder PROGRAM]: all *.opus below FOLDER (SET/KIND/PACKAGE/NAME.opus) into OUT.npy and OUT.json.
PROGRAM FILE RATE writes 16-bit samples (audio/opus24.c); without it ffmpeg does.
"""
import argparse
import glob
import json
import math
import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

import nets
import teacher

SPEEDS = (0.8, 1.25)
SHARE = {"speech": 0.97, "music": 0.0, "sound": 0.03}     # of the crops


def unpack(folder, out, decoder):
    names = sorted(os.path.relpath(n, folder) for n in glob.glob(f"{folder}/**/*.opus", recursive=True))

    def decode(name):
        path = os.path.join(folder, name)
        command = [decoder, path, str(nets.RATE)] if decoder else [
            "ffmpeg", "-nostdin", "-v", "quiet", "-i", path, "-ac", "1", "-ar", str(nets.RATE), "-f", "s16le", "-"]
        x = np.frombuffer(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout, "<i2")
        return x[:len(x) // nets.HOP * nets.HOP]

    with ThreadPoolExecutor(min(16, os.cpu_count())) as pool:
        clips = list(pool.map(decode, names))
    rows, at = [], 0
    for name, x in zip(names, clips):
        which, kind, package, _ = name.split("/")
        rows.append(dict(name=name, set=which, kind=kind, package=package, start=at, length=len(x)))
        at += len(x)
    np.save(out + ".npy", np.concatenate(clips))
    with open(out + ".json", "w") as f:
        json.dump(rows, f)


def load(folder):
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


@torch.no_grad()
def label(judge, pcm, rows, batch=32):
    """Features [samples / HOP, SEM] (fp16) of all clips; a row a frame."""
    out = torch.zeros(len(pcm) // nets.HOP, nets.SEM, dtype=torch.float16, device=pcm.device)
    full, rest = [], []
    for r in rows:
        for start, lo, hi in teacher.windows(r["length"] // 320):
            whole = start + teacher.WINDOW <= r["length"] // 320
            (full if whole else rest).append((r["start"], start, lo, hi, r["length"] // 320))
    groups = [full[i:i + batch] for i in range(0, len(full), batch)] + [[w] for w in rest]
    for g in groups:
        x = torch.stack([pcm[a + s * 320:a + min(n, s + teacher.WINDOW) * 320].float() / 32768 for a, s, _, _, n in g])
        f = judge.layers(x)[0].float()
        for h, (a, s, lo, hi, _) in zip(f, g):
            at = a // nets.HOP
            y = judge.space(h[lo - s:hi - s].unflatten(0, (-1, 2)).mean(1))
            out[at + lo // 2:at + hi // 2] = y.half()
    return out


def at_speed(x, speed):
    """[T] -> about [T / speed], whole frames; pitch moves with it."""
    m = round(len(x) / speed / nets.HOP) * nets.HOP
    s = torch.fft.rfft(x)
    y = s.new_zeros(m // 2 + 1)
    keep = min(len(s), len(y))
    y[:keep] = s[:keep]
    return torch.fft.irfft(y, m) * (m / len(x))


def at_speeds(pcm, rows):
    """All clips of a run, each at a speed of its own; samples and rows as load() gives them."""
    out, made, at = [], [], 0
    lo, hi = (math.log(s) for s in SPEEDS)
    for r in rows:
        x = pcm[r["start"]:r["start"] + r["length"]].float()
        y = at_speed(x, math.exp(lo + (hi - lo) * torch.rand(()).item()))
        out.append(y.clamp(-32768, 32767).round().to(torch.int16))
        made.append(dict(r, start=at, length=len(y)))
        at += len(y)
    return torch.cat(out), made


def versions(judge, pcm, rows, most, until):
    """Samples, features and rows of the clips, then those for training at other speeds, which makes other voices of them:
    `most` times in all, and fewer when time.time() is past `until`."""
    voices = [r for r in rows if r["set"] == "train"]
    parts, feats, every, at = [pcm], [label(judge, pcm, rows)], list(rows), len(pcm)
    while len(parts) < most and time.time() < until:
        x, made = at_speeds(pcm, voices)
        feats.append(label(judge, x, made))
        every += [dict(r, start=r["start"] + at) for r in made]
        parts.append(x)
        at += len(x)
    return torch.cat(parts), torch.cat(feats), every


class Crops:
    """draw(n): samples [n,length], features [n,frames,SEM], tokens [n,frames]; can be captured in a CUDA graph."""

    def __init__(self, pcm, feats, toks, rows, device, length):
        self.length, self.frames = length, length // nets.HOP
        rows = [r for r in rows if r["set"] == "train" and r["length"] >= length + nets.HOP]
        total = {k: max(1, sum(r["length"] for r in rows if r["kind"] == k)) for k in SHARE}
        weight = np.array([SHARE[r["kind"]] * r["length"] / total[r["kind"]] for r in rows])
        self.pcm, self.feats, self.toks = pcm, feats, toks
        self.start = torch.tensor([r["start"] // nets.HOP for r in rows], device=device)
        self.room = torch.tensor([(r["length"] - length) // nets.HOP for r in rows], device=device, dtype=torch.float64)
        self.cum = torch.from_numpy(np.cumsum(weight / weight.sum())).to(device)
        self.hours = sum(r["length"] for r in rows) / nets.RATE / 3600
        self.time = torch.arange(length, device=device)
        self.step = torch.arange(self.frames, device=device)
        self.device = device

    def rand(self, n, lo=0.0, hi=1.0):
        return torch.rand(n, device=self.device, dtype=torch.float64) * (hi - lo) + lo

    def draw(self, n):
        clip = torch.searchsorted(self.cum, self.rand(n)).clamp(max=len(self.start) - 1)
        first = self.start[clip] + (self.rand(n) * self.room[clip]).long()
        x = self.pcm[(first * nets.HOP)[:, None] + self.time].float() / 32768
        rows = first[:, None] + self.step
        return self.level(x), self.feats[rows].float(), self.toks[rows]

    def level(self, x):
        """Loudness spread evenly from -32 to -14 dB; near silence is raised by 20 dB at most."""
        n = x.shape[0]
        rms = x.square().mean(1).sqrt()
        gain = 10 ** (self.rand(n, -32, -14).float() / 20) / (rms + 1e-5)
        gain = torch.minimum(gain.clamp(max=10), 0.98 / (x.abs().amax(1) + 1e-5))
        return x * gain[:, None]


def held_back(pcm, feats, rows, seconds=3.84, most=(("speech", 30), ("music", 6), ("sound", 4))):
    """(samples [N,T], features [N,frames,SEM], names) of validation clips."""
    n, xs, fs, names = int(seconds * nets.RATE), [], [], []
    for kind, count in most:
        clips = sorted((r for r in rows if r["set"] == "valid" and r["kind"] == kind), key=lambda r: r["name"])
        pieces = [(r, at) for at in (nets.RATE, 9 * nets.RATE, 15 * nets.RATE) for r in clips if r["length"] >= at + n]
        for r, at in pieces[:count]:
            s = r["start"] + at // nets.HOP * nets.HOP
            xs.append(pcm[s:s + n].float() / 32768)
            fs.append(feats[s // nets.HOP:(s + n) // nets.HOP].float())
            names.append(f"{r['name']}@{at // nets.RATE}")
    return torch.stack(xs), torch.stack(fs), names


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder")
    p.add_argument("out")
    p.add_argument("--decoder")
    a = p.parse_args()
    unpack(a.folder, a.out, a.decoder)
