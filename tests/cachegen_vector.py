# SPDX-License-Identifier: BSD-2-Clause
"""Made tests/vectors/cachegen: a cache, its CacheGen stream as LMCache pickles it
(classes of the same names, tensors of PyTorch), and the cache that comes back.
Written from the description of the format; needs PyTorch.

    python3 tests/cachegen_vector.py FOLDER
"""
import os
import pickle
import sys
import types
from dataclasses import dataclass

import numpy as np
import torch

MODULE = "lmcache.v1.storage_backend.naive_serde.cachegen_basics"
LAYERS, TOKENS, HEADS, DIM = 12, 300, 2, 3
CHANNELS = HEADS * DIM
BINS = [32] * 10 + [16] * 2 + [32] * 2 + [16] * 10     # keys, values


@dataclass
class CacheGenGPUBytestream:
    bytestream: torch.Tensor
    bytestream_lengths: torch.Tensor
    ntokens: int


@dataclass
class CacheGenGPUEncoderOutput:
    data_chunks: list
    cdf: torch.Tensor
    max_tensors_key: torch.Tensor
    max_tensors_value: torch.Tensor
    num_heads: int
    head_size: int


def encode(symbols, cdf):
    """Arithmetic coder of 32 bits, one bit after another."""
    low, high, pending, bits = 0, 0xFFFFFFFF, 0, []

    def emit(bit):
        nonlocal pending
        bits.append(bit)
        bits.extend([1 - bit] * pending)
        pending = 0

    for s in symbols:
        top = 65536 if s + 2 == len(cdf) else cdf[s + 1]
        span = high - low + 1
        high = low - 1 + (span * top >> 16)
        low = low + (span * cdf[s] >> 16)
        while True:
            if high < 1 << 31:
                emit(0)
            elif low >= 1 << 31:
                emit(1)
                low, high = low - (1 << 31), high - (1 << 31)
            elif low >= 1 << 30 and high < 3 << 30:
                pending += 1
                low, high = low - (1 << 30), high - (1 << 30)
            else:
                break
            low, high = low << 1, high << 1 | 1
    pending += 1
    emit(0 if low < 1 << 30 else 1)
    bits += [0] * (-len(bits) % 8)
    return np.packbits(np.array(bits, np.uint8)).tobytes()


def quantise(x):
    """x [2 L][T][C] bf16 -> symbols, scales, values."""
    m = torch.tensor([b // 2 - 1 for b in BINS], dtype=torch.float32)[:, None, None]
    s = x.abs().amax(dim=2, keepdim=True)
    q = torch.round(x.float() * (m / s.float()) + m)
    return q.to(torch.int64), s, (q - m) / m * s.float()


def tables(q):
    top = max(BINS)
    out = np.zeros((2 * LAYERS, CHANNELS, top + 1), np.int64)
    for i in range(2 * LAYERS):
        for c in range(CHANNELS):
            count = np.bincount(q[i, :, c], minlength=top)
            cum = np.concatenate([[0], np.cumsum(count)])
            out[i, c] = (65535 - top) * cum // TOKENS + np.arange(top + 1)
    return out


def chunks(q, cdf):
    for first in range(0, TOKENS, 256):
        part = q[:, first:first + 256]
        strings = [encode(part[i, :, c].tolist(), cdf[i, c].tolist())
                   for i in range(2 * LAYERS) for c in range(CHANNELS)]
        lengths = torch.tensor([len(s) for s in strings], dtype=torch.int32)
        data = torch.from_numpy(np.frombuffer(b"".join(strings), np.uint8).copy())
        yield CacheGenGPUBytestream(data, lengths.reshape(2 * LAYERS, CHANNELS),
                                    part.shape[1])


def main(folder):
    module = types.ModuleType(MODULE)
    for cls in CacheGenGPUBytestream, CacheGenGPUEncoderOutput:
        cls.__module__ = MODULE
        setattr(module, cls.__name__, cls)
    for i in range(MODULE.count(".")):
        name = MODULE.rsplit(".", i + 1)[0]
        sys.modules[name] = types.ModuleType(name)
    sys.modules[MODULE] = module
    # What is saved comes from a GPU; here it only says so.
    torch.serialization.location_tag = lambda storage: "cuda:0"

    g = torch.Generator().manual_seed(7)
    x = torch.randn(2 * LAYERS, TOKENS, CHANNELS, generator=g)
    x = (x * torch.linspace(0.2, 3, CHANNELS)).to(torch.bfloat16)
    q, s, y = quantise(x)
    cdf = tables(q.numpy())
    out = CacheGenGPUEncoderOutput(
        list(chunks(q.numpy(), cdf)),
        torch.from_numpy(cdf.astype(np.uint16).view(np.int16)),
        s[:LAYERS].clone(), s[LAYERS:].clone(), HEADS, DIM)
    with open(os.path.join(folder, "cache.pkl"), "wb") as f:
        pickle.dump(out, f)
    # bf16 has no name in numpy: its bits.
    for name, a in ("source", x), ("decoded", y.to(torch.bfloat16)):
        np.save(os.path.join(folder, name + ".npy"),
                a.reshape(2, LAYERS, TOKENS, HEADS, DIM).view(torch.int16)
                .numpy().view(np.uint16))


main(sys.argv[1])
