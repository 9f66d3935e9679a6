# SPDX-License-Identifier: BSD-2-Clause
"""Published compressors of key/value caches, each from its own definition, with every bit that it would store counted.

A peer's code(cache) takes [layer] of (key, value), fp16 [heads, tokens, head_dim] with RoPE in the keys, and returns
the cache as its decoder has it and the bits.  What is offline and one a model (bases, look-up tables, channel
thresholds) is not counted, for anybody.  Where a definition leaves room, the choice is the one that suits the peer,
and is said below.  Ideal means: the sum of -log2 of the probabilities, no coder's loss.
"""
import hashlib
import math
from pathlib import Path

import torch

import kv_lm

SOURCE = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
SINKS = 4  # tokens that KVQuant and KVTC keep in fp16 at the start


def stacked(cache):
    """fp32 [2 layers, tokens, heads * head_dim]: keys of all layers, then values"""
    return torch.stack([t.float().transpose(0, 1).flatten(1) for side in (0, 1) for t in (c[side] for c in cache)])


def unstacked(x, cache):
    heads, _, dim = cache[0][0].shape
    y = x.view(*x.shape[:2], heads, dim).transpose(1, 2).half()
    return list(zip(y[:len(cache)], y[len(cache):]))


def uniform(x, bits, dims):
    """Asymmetric min/max quantiser over `dims`, scale and minimum in fp16: (decoded, numbers of scale and minimum)"""
    low = x.amin(dims, True).half().float()
    scale = ((x.amax(dims, True) - low) / (2 ** bits - 1)).half().float()
    q = ((x - low) / scale.clamp_min(1e-8)).round().clamp(0, 2 ** bits - 1)
    return q * scale + low, 2 * low.numel()


class Peer:
    external = False  # code() is here, not a program's
    model = None

    @property
    def identity(self):
        return f"{SOURCE}|{self.name}|{self.model.identity if self.model else ''}"


class Cast(Peer):
    """fp8 e4m3, one value a byte, no scale."""
    family, name = "fp8 cast", "fp8 e4m3"

    def code(self, cache):
        x = stacked(cache)
        return unstacked(x.clamp(-448, 448).to(torch.float8_e4m3fn).float(), cache), 8 * x.numel()


class CacheGen(Peer):
    """Liu et al., SIGCOMM 2024, as its code is: a scale a token, layer and side; symbols by an arithmetic coder with
    a table of (most bins + 1) 16-bit entries for each layer, side and channel of a chunk; a stream for each channel
    and at most 256 tokens, with its length in 32 bits.  A stream is the ideal length with the table's 16-bit
    probabilities, 2 bits to end it, and whole bytes."""

    def __init__(self, name, key_bins, value_bins, chunk):
        self.family, self.name = f"CacheGen, chunks of {chunk}", f"{name}, chunks of {chunk}"
        self.bins, self.chunk = (key_bins, value_bins), chunk

    def code(self, cache):
        x, layers = stacked(cache), len(cache)
        bins = torch.tensor([side(i) for side in self.bins for i in range(layers)], device=x.device)
        m = (bins // 2 - 1).float()[:, None, None]
        scale = x.abs().amax(-1, True).half().float()
        q = (x * (m / scale) + m).round()
        most, total = int(bins.max()), 16 * scale.numel()
        for at in range(0, x.shape[1], self.chunk):
            total += self.chunk_bits(q[:, at:at + self.chunk].long(), most)
        return unstacked((q - m) / m * scale, cache), total

    @staticmethod
    def chunk_bits(q, most):
        groups, tokens, channels = q.shape
        count = torch.zeros(groups, channels, most, dtype=torch.long, device=q.device)
        count.scatter_add_(2, q.transpose(1, 2), torch.ones_like(q).transpose(1, 2))
        edge = torch.arange(1, most + 1, device=q.device)
        cdf = (65535 - most) * count.cumsum(2) // tokens + edge
        cdf[..., -1] = 65536
        cost = -((cdf - torch.nn.functional.pad(cdf[..., :-1], (1, 0))).double() / 65536).log2()
        each = cost.gather(2, q.transpose(1, 2))
        bits = 16 * (most + 1) * groups * channels
        for at in range(0, tokens, 256):
            size = ((each[..., at:at + 256].sum(2) + 2) / 8).ceil()
            bits += int(size.sum()) * 8 + 32 * size.numel()
        return bits


def steps_of(*pairs):
    """CacheGen's tables: bins of the first pair (end, bins) whose end is above the layer"""
    return lambda layer: next(b for end, b in pairs if layer < end)


class Kivi(Peer):
    """Liu et al., ICML 2024: keys by channel over 32 tokens, values by token over 32 channels; the last 128 values in
    fp16, as its code keeps them."""
    family = "KIVI"

    def __init__(self, bits):
        self.bits, self.name = bits, f"KIVI {bits}-bit"

    def code(self, cache):
        out, bits = [], 0
        for k, v in cache:
            heads, tokens, dim = k.shape
            whole, old = tokens // 32 * 32, max(tokens - 128, 0)
            a, n = uniform(k[:, :whole].float().view(heads, -1, 32, dim), self.bits, 2)
            b, m = uniform(v[:, :old].float().view(heads, old, -1, 32), self.bits, 3)
            out.append((torch.cat([a.view(heads, whole, dim).half(), k[:, whole:]], 1),
                        torch.cat([b.view(heads, old, dim).half(), v[:, old:]], 1)))
            bits += self.bits * (a.numel() + b.numel()) + 16 * (n + m + k[:, whole:].numel() + v[:, old:].numel())
        return out, bits


def lloyd_max(bits):
    """Levels of the least-squares quantiser of N(0,1)"""
    x = torch.linspace(-6, 6, 24001, dtype=torch.float64)
    return weighted_levels(x, torch.exp(-x * x / 2), 2 ** bits)


def weighted_levels(x, w, n, rounds=300):
    """n levels by Lloyd's algorithm on points x (ascending) of weights w"""
    total, mass = w.cumsum(0), (w * x).cumsum(0)
    level = x[torch.searchsorted(total, total[-1] * (torch.arange(n, dtype=x.dtype, device=x.device) + 0.5) / n)]
    zero = torch.zeros(1, dtype=x.dtype, device=x.device)
    for _ in range(rounds):
        cut = torch.searchsorted(x, (level[1:] + level[:-1]) / 2)
        edge = lambda a: torch.cat([zero, torch.cat([zero, a])[cut], a[-1:]]).diff()
        share = edge(total)
        level = torch.where(share > 0, edge(mass) / share.clamp_min(1e-300), level)
    return level


def nearest(x, level):
    return level[torch.bucketize(x, (level[1:] + level[:-1]) / 2)]


def hadamard(n, device):
    h = torch.ones(1, 1, device=device)
    while len(h) < n:
        h = torch.cat([torch.cat([h, h], 1), torch.cat([h, -h], 1)])
    return h / math.sqrt(n)


class TurboQuant(Peer):
    """As serving engines ship it (Zandieh et al., 2025): keys by head: random signs, Hadamard, norm in fp16, Lloyd-Max
    levels of the normal distribution; values by head: uniform, scale and zero in fp16.  No raw first and last layers:
    they would be half of a small model."""
    family = "TurboQuant"

    def __init__(self, key_bits, value_bits):
        self.bits, self.name = (key_bits, value_bits), f"TurboQuant k{key_bits}v{value_bits}"
        self.level = lloyd_max(key_bits).float()

    def code(self, cache):
        out, bits = [], 0
        for i, (k, v) in enumerate(cache):
            dim, device = k.shape[-1], k.device
            signs = torch.randint(0, 2, (dim,), generator=torch.Generator().manual_seed(42 + 1337 * i)) * 2 - 1
            basis = signs[:, None].to(device) * hadamard(dim, device)
            y = k.float() @ basis
            norm = y.norm(dim=-1, keepdim=True).half().float()
            y = nearest(y / norm.clamp_min(1e-8) * math.sqrt(dim), self.level.to(device)) / math.sqrt(dim) * norm
            b, n = uniform(v.float(), self.bits[1], -1)
            out.append(((y @ basis.T).half(), b.half()))
            bits += k.numel() * sum(self.bits) + 16 * (norm.numel() + n)
        return out, bits


class Gear(Peer):
    """Kang et al., 2024.  2 bits: keys by channel over 64 tokens, values by token over 64 channels; 4 bits: keys by
    channel over all tokens, values by token over all channels.  1 % largest and 1 % smallest of each channel of keys
    and token of values apart, in fp16 with their place; rank 4 of each head's error, in fp16."""
    family, rank = "GEAR", 4

    def __init__(self, bits):
        self.bits, self.name = bits, f"GEAR {bits}-bit"

    def side(self, x, along):
        """x [tokens, channels] of both heads; along: the dim that a group and an outlier's vector run along"""
        n = x.shape[along]
        k = max(round(0.01 * n), 1)
        apart = torch.zeros_like(x, dtype=torch.bool)
        for largest in (True, False):
            apart.scatter_(along, x.topk(k, along, largest).indices, True)
        filled = torch.where(apart, x.mean(along, True), x)
        group = 64 if self.bits == 2 else n
        y, numbers = uniform(filled.unflatten(along, (-1, group)), self.bits, along + 1)
        y = y.reshape(x.shape)
        stored = int(apart.sum()) * (16 + (n - 1).bit_length())
        return y, apart, self.bits * x.numel() + 16 * numbers + stored

    def code(self, cache):
        out, total = [], 0
        for pair in cache:
            done = []
            for t, along in zip(pair, (0, 1)):
                heads, tokens, dim = t.shape
                x = t.float().transpose(0, 1).reshape(tokens, -1)
                y, apart, bits = self.side(x, along)
                error = torch.where(apart, 0, x - y).view(tokens, heads, dim).transpose(0, 1)
                v = torch.linalg.eigh(error.mT @ error)[1][..., -self.rank:]
                low = (error @ v).half().float() @ v.half().float().mT
                y = torch.where(apart, x, y + low.transpose(0, 1).reshape(tokens, -1))
                total += bits + 16 * self.rank * heads * (tokens + dim)
                done.append(y.view(tokens, heads, dim).transpose(0, 1).half())
            out.append(tuple(done))
        return out, total


class KVQuant(Peer):
    """Hooper et al., NeurIPS 2024: keys before RoPE by channel with offline thresholds, values by token; a table of
    2^bits levels a layer and side, by k-means weighted with the Fisher information (its mean a channel here); 1 % of
    values apart, 16 bits each and 16 bits of place, no row pointers counted; first 4 tokens in fp16."""
    family = "KVQuant, 1 % outliers"

    def __init__(self, bits, model):
        self.bits, self.name, self.model = bits, f"KVQuant nuq{bits}-1%", model
        self.level = [tuple(weighted_levels(grid, w, 2 ** bits).float() for grid, w in model.histogram(i))
                      for i in range(model.layers)]

    def code(self, cache):
        m, out, total = self.model, [], 0
        for i, (k, v) in enumerate(cache):
            heads, tokens, dim = k.shape
            x = m.flat_pair(k, v)
            done = []
            for side, y in enumerate(x.chunk(2, 1)):
                low, high = m.key_range[i] if side == 0 else value_range(y)
                apart = (y < low) | (y > high)
                apart[:SINKS] = True
                middle, half = (high + low) / 2, ((high - low) / 2).clamp_min(1e-8)
                z = nearest((y - middle) / half, self.level[i][side]) * half + middle
                done.append(torch.where(apart, y, z))
                total += self.bits * (tokens - SINKS) * heads * dim + 32 * int(apart[SINKS:].sum())
                total += 16 * SINKS * heads * dim + 32 * (tokens - SINKS) * side
            out.append(m.unflat_pair(torch.cat(done, 1), heads))
            for new, old in zip(out[-1], (k, v)):
                new[:, :SINKS] = old[:, :SINKS]
        return out, total


def value_range(v):
    """The range of a token that leaves 0.5 % of its values out on each side"""
    n = max(round(0.005 * v.shape[1]), 1)
    s = v.sort(1).values
    return s[:, n:n + 1].half().float(), s[:, -n - 1:-n].half().float()


class Kvtc(Peer):
    """After Staniszewski and Lancucki, ICLR 2026: RoPE removed, mean removed, principal components; here a basis for
    each layer's keys and values, one step for all coefficients (the best allocation at a given rate in the
    high-rate limit), and the ideal entropy of each coefficient in place of DEFLATE, tables not counted: this suits it.
    First 4 tokens in fp16, and the last `tail`."""

    def __init__(self, step, tail, model):
        self.family = f"KVTC-like, last {tail} raw" if tail else "KVTC-like, no raw tail"
        self.name, self.step, self.tail, self.model = f"{self.family}, step {step:g}", step, tail, model

    def code(self, cache):
        m, out, total = self.model, [], 0
        for i, (k, v) in enumerate(cache):
            heads, tokens, dim = k.shape
            x, end = m.flat_pair(k, v), tokens - self.tail
            q = ((x - m.mean[i]) @ m.basis[i] / self.step).round()
            y = q * self.step @ m.basis[i].T + m.mean[i]
            total += entropy(q[SINKS:end]) + 16 * (SINKS + self.tail) * x.shape[1]
            pair = m.unflat_pair(y, heads)
            for new, old in zip(pair, (k, v)):
                new[:, :SINKS], new[:, end:] = old[:, :SINKS], old[:, end:]
            out.append(pair)
        return out, total


def entropy(q):
    """Bits of q [tokens, columns] of whole numbers at the empirical entropy of each column"""
    q = (q - q.amin()).long()
    count = torch.zeros(q.shape[1], int(q.max()) + 1, dtype=torch.float64, device=q.device)
    count.scatter_add_(1, q.T, torch.ones(q.T.shape, dtype=torch.float64, device=q.device))
    return float(-(count * (count / len(q)).clamp_min(1e-300).log2()).sum())


class Mean(Peer):
    """No cache at all: the calibration mean for every token but the first four.  What is left to lose."""
    family, name = "control", "mean of the calibration for every token"

    def __init__(self, model):
        self.model = model

    def code(self, cache):
        m, out = self.model, []
        for i, (k, v) in enumerate(cache):
            pair = m.unflat_pair(m.mean[i].expand(k.shape[1], -1), len(k))
            for new, old in zip(pair, (k, v)):
                new[:, :SINKS] = old[:, :SINKS]
            out.append(pair)
        return out, 16 * SINKS * 2 * len(cache) * cache[0][0].shape[0] * cache[0][0].shape[2]


class Model:
    """What the peers learn from calibration caches: means, bases, thresholds, histograms."""

    def __init__(self, lm, identity):
        self.lm, self.layers, self.identity = lm, lm.layers, identity
        self.mean, self.basis, self.key_range, self.histograms = [], [], [], []

    def learn(self, caches, fisher=None):
        """fisher  [layer] of [2C,2C], or None: KVQuant's levels unweighted then"""
        lm = self.lm
        for i in range(lm.layers):
            x = torch.cat([self.flat_pair(*c[i])[SINKS:] for c in caches])
            self.mean.append(x.mean(0))
            self.basis.append(self.components(x - self.mean[i]))
            weight = fisher[i].diagonal().to(x) if fisher else torch.ones_like(x[0])
            self.add_histograms(x, weight)

    KEPT = "mean", "basis", "key_range", "histograms"

    def save(self, path):
        torch.save({name: getattr(self, name) for name in self.KEPT}, path)

    def load(self, path):
        for name, value in torch.load(path, map_location=self.lm.device, weights_only=True).items():
            setattr(self, name, value)

    @staticmethod
    def components(x):
        a, b = (torch.linalg.eigh((y.T @ y).double())[1].float() for y in x.chunk(2, 1))
        return torch.block_diag(a, b)

    def add_histograms(self, x, weight):
        k, v = x.chunk(2, 1)
        s = k.sort(0).values
        n = round(0.005 * len(s))
        self.key_range.append((s[n].clone(), s[-n - 1].clone()))
        self.histograms.append([])
        for y, w, (low, high) in zip((k, v), weight.chunk(2), (self.key_range[-1], value_range(v))):
            z = (y - (low + high) / 2) / ((high - low) / 2).clamp_min(1e-8)
            w = torch.where(z.abs() <= 1, w, 0).double()
            bins = ((z.clamp(-1, 1) + 1) * 1024).round().long()
            self.histograms[-1].append(torch.zeros(2049, dtype=torch.float64, device=x.device)
                                       .scatter_add_(0, bins.flatten(), w.flatten()))

    def histogram(self, layer):
        """(points, weights) of keys and of values, each normalised to -1..1"""
        h = self.histograms[layer]
        return [(torch.linspace(-1, 1, 2049, dtype=torch.float64, device=w.device), w) for w in h]

    def flat_pair(self, k, v):
        """fp32 [tokens, 2C]: keys without RoPE, head by head, then values"""
        k = kv_lm.rotate(k.float(), self.lm.turn(torch.arange(k.shape[1]), -1))
        return torch.cat([t.float().transpose(0, 1).flatten(1) for t in (k, v)], 1)

    def unflat_pair(self, x, heads):
        k, v = (t.reshape(len(x), heads, -1).transpose(0, 1) for t in x.chunk(2, 1))
        return kv_lm.rotate(k, self.lm.turn(torch.arange(len(x)))).half(), v.half().clone()


def peers(model):
    """All of them, at settings that cover what they reach"""
    flat = lambda bins: steps_of((1 << 30, bins))
    tables = [("CacheGen 32 bins", flat(32), flat(32)),
              ("CacheGen level 2", steps_of((10, 32), (1 << 30, 16)), steps_of((2, 32), (1 << 30, 16))),
              ("CacheGen 16 bins", flat(16), flat(16)),
              ("CacheGen level 1", steps_of((20, 16), (1 << 30, 12)), steps_of((2, 16), (1 << 30, 12)))]
    tables += [(f"CacheGen {b} bins", flat(b), flat(b)) for b in (12, 8, 6, 4)]
    out = [Cast()]
    out += [CacheGen(*t, chunk) for chunk in (256, 2048) for t in tables]
    out += [Kivi(4), Kivi(2)] + [TurboQuant(k, v) for k, v in ((4, 4), (3, 4), (3, 3), (2, 2))]
    out += [Gear(4), Gear(2)] + [KVQuant(b, model) for b in (4, 3, 2)]
    out += [Kvtc(s, 128, model) for s in (1, 1.6, 2.5, 4)] + [Kvtc(s, 0, model) for s in (0.25, 0.5, 1, 1.6, 2.5, 4)]
    return out + [Mean(model)]
