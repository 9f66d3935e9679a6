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


def best_form(net, x):
    """The fastest of three forms on x: (seconds, label, callable)."""
    small = x[..., :x.shape[-2] // 4 * 2, :x.shape[-1] // 4 * 2].contiguous()
    last = net.eval().to(memory_format=torch.channels_last)
    traced = torch.jit.freeze(torch.jit.trace(last, small.contiguous(memory_format=torch.channels_last)))
    forms = [("eager", last, torch.contiguous_format), ("channels_last", last, torch.channels_last),
             ("traced, channels_last", traced, torch.channels_last)]
    out = []
    for label, f, layout in forms:
        y = small.contiguous(memory_format=layout)
        for _ in range(3):
            start = time.perf_counter()
            f(y)
            seconds = time.perf_counter() - start
        out.append((seconds, label, f, layout))
    return min(out, key=lambda o: o[0])


def clock(net, x):
    _, label, f, layout = best_form(net, x)
    x = x.contiguous(memory_format=layout)
    wall, cpu = time.perf_counter(), time.process_time()
    f(x)
    return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}, label


@torch.inference_mode()
def main():
    path, (width, height, threads) = sys.argv[1], map(int, sys.argv[2:5])
    torch.set_num_threads(threads)
    meta, tensors = read_tensors(path)
    encoder, decoder, step = hyper(tensors)
    w, h = -(-width // step) * step, -(-height // step) * step
    x = torch.rand(1, 3, h, w) * 2 - 1
    encode, a = clock(encoder, x)
    channels = encoder(x[..., :4 * step, :4 * step]).shape[1]
    decode, b = clock(decoder, torch.randn(1, channels, h // step, w // step))
    print(json.dumps({"encode": encode, "decode": decode, "mode": a if a == b else a + "; " + b,
                      "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


if __name__ == "__main__":
    main()
