# SPDX-License-Identifier: BSD-2-Clause
"""Time the transforms of a model file in PyTorch on the CPU: speed_image_torch.py MODEL WIDTH HEIGHT THREADS

Prints JSON: {"encode": {"wall", "cpu"}, "decode": ..., "mode", "mb"}.  Picture and latent are random; nothing is
entropy coded.  Each form (eager, channels-last, traced) is tried after a warm-up on a small picture, the best is kept.
"""
import json
import resource
import struct
import sys
import time

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

TYPES = {"F32": np.float32, "F16": np.float16}


def read_tensors(path):
    """Float tensors of a safetensors file, and its metadata."""
    with open(path, "rb") as f:
        head = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        data = f.read()
    meta = head.pop("__metadata__", {})
    return meta, {name: torch.from_numpy(np.frombuffer(data[slice(*t["data_offsets"])], TYPES[t["dtype"]])
                                         .astype(np.float32).reshape(t["shape"]))
                  for name, t in head.items() if t["dtype"] in TYPES}


class Conv(nn.Module):
    """A convolution; then, if shuffle > 1, depth to space."""

    def __init__(self, tensors, name, stride=1, shuffle=1, mode="constant"):
        super().__init__()
        w = tensors[name + ".weight"]
        pad = w.shape[-1] // 2
        self.conv = nn.Conv2d(w.shape[1], w.shape[0], w.shape[-1], stride, pad,
                              padding_mode="zeros" if mode == "constant" or not pad else "reflect")
        self.conv.weight.data, self.conv.bias.data = w.clone(), tensors[name + ".bias"].clone()
        self.shuffle = shuffle

    def forward(self, x):
        x = self.conv(x)
        return F.pixel_shuffle(x, self.shuffle) if self.shuffle > 1 else x


class Residual(nn.Module):
    def __init__(self, first, second, before):
        super().__init__()
        self.first, self.second, self.before = first, second, before

    def forward(self, x):
        h = self.first(F.silu(x) if self.before else x)
        return x + self.second(F.silu(h))


def hyper(t):
    """Analysis, synthesis, and by how much the latent is smaller."""
    def block(name):
        return Residual(Conv(t, name + ".0"), Conv(t, name + ".2"), False)
    encoder = nn.Sequential(
        nn.PixelUnshuffle(4), Conv(t, "enc.1"), block("enc.2"), Conv(t, "enc.3", 2), block("enc.4"), block("enc.5"),
        Conv(t, "enc.6", 2), block("enc.7"), Conv(t, "enc.8"))
    decoder = nn.Sequential(
        Conv(t, "dec.0"), block("dec.1"), Conv(t, "dec.2", shuffle=2), block("dec.3"), block("dec.4"), block("dec.5"),
        Conv(t, "dec.6", shuffle=2), block("dec.7"), block("dec.8"), Conv(t, "dec.9", shuffle=4))
    return encoder, decoder, 16


class Gdn(nn.Module):
    def __init__(self, t, name, inverse):
        super().__init__()
        def real(which):
            bound, eps = (t[f"{name}.{which}_reparam.{k}"] for k in ("lowerBound.bound", "eps"))
            return torch.maximum(t[f"{name}.{which}"], bound) ** 2 - eps
        self.beta, self.gamma = nn.Parameter(real("beta")), nn.Parameter(real("gamma")[..., None, None])
        self.inverse = inverse

    def forward(self, x):
        norm = F.conv2d(x * x, self.gamma, self.beta)
        return x * (torch.sqrt(norm) if self.inverse else torch.rsqrt(norm))


class Rescale(nn.Module):
    """The blocks S and U: a GDN branch and a skip, both to another size."""

    def __init__(self, change, gdn, last, skip):
        super().__init__()
        self.change, self.gdn, self.last, self.skip = change, gdn, last, skip

    def forward(self, x):
        return self.last(self.gdn(self.change(F.silu(x)))) + self.skip(x)


class Attention(nn.Module):
    def __init__(self, main, side):
        super().__init__()
        self.main, self.side = main, side

    def forward(self, x):
        return x + self.main(x) * torch.sigmoid(self.side(x))


def mcquic_block(t, letter, name):
    def conv(tail, **kw):
        return Conv(t, name + tail, mode="reflect", **kw)
    if letter == "C":
        return conv("")
    if letter == "I":
        return conv("", stride=2)
    if letter == "O":
        return conv(".0", shuffle=2)
    if letter == "R":
        return Residual(conv("._branch.1"), conv("._branch.3"), True)
    if letter == "S":
        return Rescale(conv("._branch.1", stride=2), Gdn(t, name + "._branch.2", False), conv("._branch.3"),
                       conv("._skip", stride=2))
    if letter == "U":
        return Rescale(conv("._branch.1.0", shuffle=2), Gdn(t, name + "._branch.2", True), conv("._branch.3"),
                       conv("._skip.0", shuffle=2))
    main, side = ([mcquic_block(t, "R", f"{name}.{b}.{i}") for i in range(3)] for b in ("_mainBranch", "_sideBranch"))
    return Attention(nn.Sequential(*main), nn.Sequential(*side, conv("._sideBranch.3")))


def mcquic_part(t, name, letters):
    return nn.Sequential(*(mcquic_block(t, letter, f"{name}.{i}") for i, letter in enumerate(letters)))


class Quantize(nn.Module):
    """The nearest codeword of each group, and its codewords as a map."""

    def __init__(self, book):
        super().__init__()
        self.book = nn.Parameter(book)

    def forward(self, x):
        m, k, d = self.book.shape
        n, _, h, w = x.shape
        v = x.reshape(m, d, h * w).transpose(1, 2)
        codes = ((self.book * self.book).sum(-1)[:, None] - 2 * v @ self.book.transpose(1, 2)).argmin(-1)
        words = torch.stack([F.embedding(codes[g], self.book[g]) for g in range(m)])
        return words.transpose(1, 2).reshape(n, m * d, h, w)


class McQuicEncoder(nn.Module):
    def __init__(self, t):
        super().__init__()
        self.first, self.stages = mcquic_part(t, "_encoder", "IRSARSR"), nn.ModuleList()
        level = 0
        while f"_quantizer._encoders.{level}._quantizer._codebook" in t:
            name = f"_quantizer._encoders.{level}"
            more = f"{name}._latentHead.2.weight" in t
            self.stages.append(nn.ModuleList([
                mcquic_part(t, name + "._latentStageEncoder", "SRA"),
                mcquic_part(t, name + "._quantizationHead", "RAC"),
                Quantize(t[name + "._quantizer._codebook"])]
                + ([mcquic_part(t, name + "._latentHead", "RAC")] if more else [])))
            level += 1

    def forward(self, x):
        r, words = self.first(x), []
        for stage in self.stages:
            z = stage[0](r)
            words.append(stage[2](stage[1](z)))
            if len(stage) > 3:
                r = stage[3](z) - words[-1]
        return tuple(words)


class McQuicDecoder(nn.Module):
    def __init__(self, t, levels):
        super().__init__()
        self.stages = nn.ModuleList()
        for level in range(levels):
            name = f"_quantizer._decoders.{level}"
            self.stages.append(nn.ModuleList(
                [mcquic_part(t, name + "._dequantizationHead", "ACR"), mcquic_part(t, name + "._restoreHead", "ARU")]
                + ([mcquic_part(t, name + "._sideHead", "ACR")] if level < levels - 1 else [])))
        self.last = mcquic_part(t, "_decoder", "RUARURO")

    def forward(self, *words):
        u = None
        for stage, w in zip(reversed(self.stages), reversed(words)):
            v = stage[0](w)
            u = stage[1](v if u is None else v + stage[2](u))
        return self.last(u)


def mcquic(t):
    encoder = McQuicEncoder(t)
    return encoder, McQuicDecoder(t, len(encoder.stages)), 16 << len(encoder.stages)


def best_form(net, xs):
    """The fastest of three forms on the inputs xs: (seconds, label, callable, layout)."""
    last = net.eval().to(memory_format=torch.channels_last)
    traced = torch.jit.freeze(torch.jit.trace(
        last, tuple(x.contiguous(memory_format=torch.channels_last) for x in xs), check_trace=False))
    forms = [("eager", last, torch.contiguous_format), ("channels_last", last, torch.channels_last),
             ("traced, channels_last", traced, torch.channels_last)]
    out = []
    for label, f, layout in forms:
        ys = [x.contiguous(memory_format=layout) for x in xs]
        for _ in range(2):
            start = time.process_time()
            f(*ys)
            seconds = time.process_time() - start
        out.append((seconds, label, f, layout))
    return min(out, key=lambda o: o[0])


def clock(net, small, xs):
    """Seconds of the form that was best on the small inputs; and that form."""
    _, label, f, layout = best_form(net, small)
    xs = [x.contiguous(memory_format=layout) for x in xs]
    wall, cpu = time.perf_counter(), time.process_time()
    f(*xs)
    return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}, label


def as_list(y):
    return list(y) if isinstance(y, tuple) else [y]


@torch.inference_mode()
def main():
    path, (width, height, threads) = sys.argv[1], map(int, sys.argv[2:5])
    torch.set_num_threads(threads)
    meta, tensors = read_tensors(path)
    encoder, decoder, step = (mcquic if meta["tessera.codec"] == "mcquic" else hyper)(tensors)
    w, h = -(-width // step) * step, -(-height // step) * step
    x = torch.rand(1, 3, h, w) * 2 - 1
    small = x[..., :step * (256 // step), :step * (256 // step)].contiguous()
    encode, a = clock(encoder, [small], [x])
    latent = as_list(encoder(small))
    full = [torch.randn(1, y.shape[1], y.shape[2] * h // small.shape[2], y.shape[3] * w // small.shape[3])
            for y in latent]
    decode, b = clock(decoder, latent, full)
    print(json.dumps({"encode": encode, "decode": decode, "mode": a if a == b else a + "; " + b,
                      "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


if __name__ == "__main__":
    main()
