#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The integer language model of codes (docs/audio-format.md 3.5) from float weights in EnCodec's published names.

lm_to_int.py LM.safetensors --window 262 --out TENSORS.safetensors [--codes FILE.npz] [--byte]

--codes: arrays [frames][books] of codes, to see how large queries, keys and values get; without them random codes.
--byte: embeddings and logits as 8 bits instead of 16.  Beside the published tensors there may be coarser.K.weight
[codewords][dim]: what is added to the state when code K of a frame is known, before the logits of the finer ones.
NumPy only.
"""
import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import tensorfile  # noqa: E402

STATE, HIDDEN = 16383, 8191         # limits: of the state, of hidden units, queries and keys
STATE_BITS, HIDDEN_BITS, NORM_BITS = 10, 9, 11
LOG2E = 1 / np.log(2)


def norm(x, w, b):
    m = x.mean(-1, keepdims=True)
    return (x - m) / np.sqrt(((x - m) ** 2).mean(-1, keepdims=True) + 1e-5) * w + b


def gelu(x):
    """x Phi(x), by the error function of Abramowitz and Stegun 7.1.26 (1.5e-7)."""
    z = np.abs(x) / np.sqrt(2)
    t = 1 / (1 + 0.3275911 * z)
    poly = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    return 0.5 * x * (1 + np.sign(x) * (1 - poly * np.exp(-z * z)))


class Model:
    """The float network, and what it saw."""

    def __init__(self, t, window, heads):
        self.t = {k: np.asarray(v, np.float64) for k, v in t.items()}
        self.books = sum(k.startswith("emb.") for k in t)
        self.codewords, self.dim = t["linears.0.weight"].shape
        self.layers = sum(k.endswith("norm1.weight") for k in t)
        self.window, self.heads, self.largest = window, heads, {}

    def see(self, name, x):
        self.largest[name] = max(self.largest.get(name, 0), float(np.abs(x).max()))
        return x

    def parts(self, i):
        """Queries, keys, values: weight and bias."""
        p = f"transformer.layers.{i}.self_attn.in_proj_"
        w, b = np.split(self.t[p + "weight"], 3), np.split(self.t[p + "bias"], 3)
        scale = LOG2E / np.sqrt(self.dim // self.heads)
        return (w[0] * scale, b[0] * scale), (w[1], b[1]), (w[2], b[2])

    def attend(self, i, x):
        n, d = len(x), self.dim // self.heads
        past = np.concatenate([np.zeros((1, self.dim)), x])
        q, k, v = (s @ w.T + b for (w, b), s in zip(self.parts(i), (x, past, past)))
        for name, value in zip(("query", "key", "value"), (q, k, v)):
            self.see(f"{i}.{name}", value)
        split = lambda a: a.reshape(len(a), self.heads, d).transpose(1, 0, 2)  # noqa: E731
        s = split(q) @ split(k).transpose(0, 2, 1)
        age = np.arange(1, n + 1)[:, None] - np.arange(n + 1)[None]
        s = np.where((age >= 0) & (age <= self.window), s, -np.inf)
        p = np.exp2(s - s.max(-1, keepdims=True))
        y = (p / p.sum(-1, keepdims=True)) @ split(v)
        return y.transpose(1, 0, 2).reshape(n, self.dim)

    def states(self, codes):
        """The state of each frame of codes [frames][books]."""
        t, half = self.t, self.dim // 2
        before = np.concatenate([np.zeros((1, codes.shape[1]), np.int64), codes[:-1].astype(np.int64) + 1])
        x = sum(t[f"emb.{k}.weight"][before[:, k]] for k in range(codes.shape[1]))
        x = norm(x, t["transformer.norm_in.weight"], t["transformer.norm_in.bias"])
        phase = np.arange(len(codes))[:, None] * rates(half)[None]
        x = self.see("state", x + np.concatenate([np.cos(phase), np.sin(phase)], -1))
        for i in range(self.layers):
            p = f"transformer.layers.{i}."
            y = self.attend(i, x) @ t[p + "self_attn.out_proj.weight"].T + t[p + "self_attn.out_proj.bias"]
            x = self.see("state", norm(x + y, t[p + "norm1.weight"], t[p + "norm1.bias"]))
            h = gelu(self.see("up", x @ t[p + "linear1.weight"].T + t[p + "linear1.bias"]))
            y = h @ t[p + "linear2.weight"].T + t[p + "linear2.bias"]
            x = self.see("state", norm(x + y, t[p + "norm2.weight"], t[p + "norm2.bias"]))
        return x

    def bits(self, codes):
        """What each code costs, [frames][books]."""
        x, out = self.states(codes), np.empty(codes.shape)
        for k in range(codes.shape[1]):
            if k and f"coarser.{k - 1}.weight" in self.t:
                x = self.see("state", x + self.t[f"coarser.{k - 1}.weight"][codes[:, k - 1]])
            y = (x @ self.t[f"linears.{k}.weight"].T + self.t[f"linears.{k}.bias"]) * LOG2E
            top = y.max(-1, keepdims=True)
            y = y - top - np.log2(np.exp2(y - top).sum(-1, keepdims=True))
            out[:, k] = -np.take_along_axis(y, codes[:, k:k + 1].astype(np.int64), -1)[:, 0]
        return out


def rates(half):
    return 1 / 10000 ** (np.arange(half) / (half - 1))


# ---- integers ----

def fraction(largest, limit):
    """Bits of fraction with which 1.25 times the largest value seen fits."""
    return int(np.clip(np.floor(np.log2(limit / max(1.25 * largest, 1e-3))), 0, 12))


def linear(out, name, w, b, have, want, limit, top=32767):
    """Weights as integers: inputs have `have` bits of fraction and are at most `limit`, outputs get `want` bits."""
    for bits in range(24, -12, -1):
        wi, bi, shift = np.rint(w * 2.0 ** bits), np.rint(b * 2.0 ** (bits + have)), bits + have - want
        if 1 <= shift <= 30 and np.abs(wi).max() <= top and \
                (np.abs(wi).sum(-1) * limit + np.abs(bi)).max() + 2 ** (shift - 1) < 2 ** 31:
            break
    else:
        sys.exit(f"{name}: no scale fits")
    out[f"{name}.weight"] = wi.astype(np.int8 if top < 128 else np.int16)
    out[f"{name}.bias"] = bi.astype(np.int32)
    out[f"{name}.shift"] = np.array([shift], np.int32)


def norm_ints(out, name, w, b):
    linear(out, name, w[:, None], b, NORM_BITS, STATE_BITS, 32767)
    out[f"{name}.gain"] = out.pop(f"{name}.weight")[:, 0]


def embeddings(out, name, e, top):
    """Any scale does, as a norm follows."""
    scale = min(top, 65535 / len(e)) / np.abs(e).max()
    out[name] = np.rint(e * scale).astype(np.int8 if top < 128 else np.int16)


def coarser(out, c, top):
    shift = 0
    while np.abs(c).max() * 2.0 ** (STATE_BITS - shift) > top:
        shift += 1
    out["codes.lm.coarser"] = np.rint(c * 2.0 ** (STATE_BITS - shift)).astype(np.int8 if top < 128 else np.int16)
    out["codes.lm.coarser.shift"] = np.array([shift], np.int32)


def curves(out, dim):
    out["codes.lm.phase"] = np.rint(rates(dim // 2) * 2.0 ** 32 / (2 * np.pi)).astype(np.int64).astype(np.int32)
    out["codes.lm.sine"] = np.rint(np.sin(2 * np.pi * np.arange(4096) / 4096) * 2 ** STATE_BITS).astype(np.int16)
    at = (np.arange(1025) * 32 - 16384) / 2.0 ** STATE_BITS
    out["codes.lm.gelu"] = np.clip(np.rint(gelu(at) * 2 ** HIDDEN_BITS), -HIDDEN, HIDDEN).astype(np.int16)
    out["codes.lm.exp2"] = np.minimum(np.rint(2.0 ** (16 - np.arange(256) / 256)), 65535).astype(np.uint16)


def layer(out, m, i):
    t, p, name = m.t, f"transformer.layers.{i}.", f"codes.lm.{i}."
    bits = {k: fraction(m.largest[f"{i}.{k}"], STATE if k == "value" else HIDDEN) for k in ("query", "key", "value")}
    while bits["query"] + bits["key"] < 8:
        bits["query"] += 1
    for (w, b), k in zip(m.parts(i), ("query", "key", "value")):
        linear(out, name + k, w, b, STATE_BITS, bits[k], STATE)
    out[name + "score.shift"] = np.array([bits["query"] + bits["key"] - 8], np.int32)
    linear(out, name + "out", t[p + "self_attn.out_proj.weight"], t[p + "self_attn.out_proj.bias"], bits["value"],
           STATE_BITS, STATE)
    linear(out, name + "up", t[p + "linear1.weight"], t[p + "linear1.bias"], STATE_BITS, STATE_BITS, STATE)
    linear(out, name + "down", t[p + "linear2.weight"], t[p + "linear2.bias"], HIDDEN_BITS, STATE_BITS, HIDDEN)
    for k in ("norm1", "norm2"):
        norm_ints(out, name + k, t[p + k + ".weight"], t[p + k + ".bias"])


def convert(m, byte):
    """All tensors; m has seen codes."""
    out, top, t = {}, 127 if byte else 32767, m.t
    out["codes.lm.shape"] = np.array([m.heads, m.layers, m.window], np.int32)
    embeddings(out, "codes.lm.emb", np.stack([t[f"emb.{k}.weight"] for k in range(m.books)]), top)
    norm_ints(out, "codes.lm.in", t["transformer.norm_in.weight"], t["transformer.norm_in.bias"])
    for i in range(m.layers):
        layer(out, m, i)
    for k in range(m.books):
        linear(out, f"codes.lm.logits.{k}", t[f"linears.{k}.weight"] * LOG2E, t[f"linears.{k}.bias"] * LOG2E,
               STATE_BITS, 8, STATE, top)
    if "coarser.0.weight" in t:
        none = np.zeros((m.codewords, m.dim))
        coarser(out, np.stack([t.get(f"coarser.{k}.weight", none) for k in range(m.books)]), top)
    curves(out, m.dim)
    return out


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("weights")
    ap.add_argument("--window", type=int, required=True, help="frames of the past that are looked at")
    ap.add_argument("--heads", type=int, default=8, help="%(default)s")
    ap.add_argument("--codes", help=".npz")
    ap.add_argument("--clips", type=int, default=8, help="of it, at most; %(default)s")
    ap.add_argument("--byte", action="store_true")
    ap.add_argument("--out", required=True)
    o = ap.parse_args()
    tensors, _ = tensorfile.load(o.weights)
    m = Model(tensors, o.window, o.heads)
    if o.codes:
        with np.load(o.codes) as f:
            clips = [f[k] for k in f.files[:o.clips]]
    else:
        clips = [np.random.default_rng(1).integers(0, m.codewords, (200, m.books))]
    bits = np.concatenate([m.bits(c) for c in clips])
    print("bits a code, float:", bits.mean().round(4), "by book:", bits.mean(0).round(3))
    print("largest:", {k: round(v, 2) for k, v in sorted(m.largest.items())})
    if m.largest["state"] * 2 ** STATE_BITS > STATE or m.largest["up"] * 2 ** STATE_BITS > 4 * STATE:
        print("warning: values above what integers are given", file=sys.stderr)
    out = convert(m, o.byte)
    tensorfile.save(o.out, out, {"tessera.sha256": tensorfile.digest(out)})
    print(sum(v.nbytes for v in out.values()), "bytes")


if __name__ == "__main__":
    main()
