#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""`hyper` in plain NumPy: encode a picture to symbols and ideal bits, decode it to pixels.

Independent of PyTorch and of the C library; the integer part is exact.  One entropy unit covers the picture in
`unit` x `unit` positions of the y grid (64 by default).

reference.py MODEL.safetensors IN.png OUT.png [--q 3.5] [--rdo 0.6]
"""
import argparse

import numpy as np

import tensorfile

GROUPS = (16, 24, 48, 104)
UNIT, ACT, TABLE_SUM = 128, 2047, 1 << 14


def taps(x, k, stride):
    """Zero-padded views of [C,H,W] for each kernel position."""
    c, h, w = x.shape
    if k == 1:
        return [(0, 0, x)]
    p = np.zeros((c, h + 2, w + 2), x.dtype)
    p[:, 1:-1, 1:-1] = x
    return [(i, j, p[:, i:i + h:stride, j:j + w:stride]) for i in range(3) for j in range(3)]


def conv(x, w, b, stride=1):
    out = None
    for i, j, v in taps(x, w.shape[2], stride):
        t = np.tensordot(w[:, :, i, j], v, 1)
        out = t if out is None else out + t
    return out + b[:, None, None]


def silu(x):
    return x * (0.5 + 0.5 * np.tanh(0.5 * x))


def shuffle(x, r):
    c, h, w = x.shape
    return x.reshape(c // (r * r), r, r, h, w).transpose(0, 3, 1, 4, 2).reshape(c // (r * r), h * r, w * r)


def unshuffle(x, r):
    c, h, w = x.shape
    return x.reshape(c, h // r, r, w // r, r).transpose(0, 2, 4, 1, 3).reshape(c * r * r, h // r, w // r)


def int_conv(a, w, b, shift):
    """int64 activations; the products are summed in float64, which is exact below 2^53."""
    acc = conv(a.astype(np.float64), w.astype(np.float64), b.astype(np.float64)).astype(np.int64)
    assert np.abs(acc).max(initial=0) < 2 ** 31
    return (acc + (1 << (shift - 1))) >> shift


def relu16(a):
    return np.clip(a, 0, ACT)


class Model:
    def __init__(self, path):
        t, self.meta = tensorfile.load(path)
        self.skip = int(t["ctx.class.skip"][0])
        self.t = {n: a.astype(np.float32) if a.dtype == np.float16 else a for n, a in t.items()}
        at, self.tables, self.radius = 0, [], t["ctx.class.radius"]
        for r in self.radius:
            self.tables.append(t["ctx.class.freq"][at:at + 2 * r + 2].astype(np.int64))
            at += 2 * r + 2
        self.log_tables = [-np.log2(f / TABLE_SUM) for f in self.tables]

    def c(self, x, name, stride=1):
        return conv(x, self.t[name + ".weight"], self.t[name + ".bias"], stride)

    def rb(self, x, name):
        return x + self.c(silu(self.c(x, name + ".0")), name + ".2")

    def gains(self, q):
        lo = min(int(q), len(self.t["gain_enc"]) - 2)
        f = np.float32(q - lo)
        return [np.exp((1 - f) * np.log(g[lo]) + f * np.log(g[lo + 1]))[:, None, None]
                for g in (self.t["gain_enc"], self.t["gain_dec"])]

    def analysis(self, x):
        x = self.c(unshuffle(x, 4), "enc.1")
        x = self.c(self.rb(x, "enc.2"), "enc.3", 2)
        x = self.rb(self.rb(x, "enc.4"), "enc.5")
        x = self.rb(self.c(x, "enc.6", 2), "enc.7")
        return self.c(x, "enc.8")

    def synthesis(self, y):
        x = self.rb(self.c(y, "dec.0"), "dec.1")
        x = shuffle(self.c(x, "dec.2"), 2)
        x = self.rb(self.rb(self.rb(x, "dec.3"), "dec.4"), "dec.5")
        x = shuffle(self.c(x, "dec.6"), 2)
        x = self.rb(self.rb(x, "dec.7"), "dec.8")
        return shuffle(self.c(x, "dec.9"), 4)

    def hyper(self, v):
        h = silu(self.c(v, "hyper_enc.0"))
        h = silu(self.c(h, "hyper_enc.1", 2))
        return np.clip(np.rint(self.c(h, "hyper_enc.2", 2)), -15, 15).astype(np.int64)

    def layer(self, a, name):
        t = self.t
        return int_conv(a, t[name + ".weight"], t[name + ".bias"], int(t[name + ".shift"][0]))

    def features(self, z, h, w):
        a = np.clip(z * UNIT, -ACT, ACT)
        a = shuffle(relu16(self.layer(a, "ctx.hs.0")), 2)
        a = shuffle(relu16(self.layer(a, "ctx.hs.1")), 2)
        return relu16(self.layer(a, "ctx.hs.2"))[:, :h, :w]

    def parameters(self, g, inputs, size):
        a = relu16(self.layer(inputs, f"ctx.g{g}.0"))
        a = relu16(self.layer(a, f"ctx.g{g}.1"))
        a = np.clip(self.layer(a, f"ctx.g{g}.2"), -32768, 32767)
        return np.clip(a[:size], -ACT, ACT), np.clip((a[size:] * 4 + 20 * 128 + 64) >> 7, 0, 63)

    def unit(self, z, h, w, symbols):
        """Walk one unit in coding order.  symbols(group, pass, mask, mu, class) gives the symbols of the group.

        Returns symbols, means and classes [192,h,w] and the latent before gain_dec."""
        f = self.features(z, h, w)
        yx = np.add.outer(np.arange(h), np.arange(w))
        anchor = (yx % 2 == 0).astype(np.int64)
        ctx, out = [f], [[], [], []]
        for g, size in enumerate(GROUPS):
            own = np.zeros((size, h, w), np.int64)
            s, mu, k = own.copy(), own.copy(), own.copy()
            for turn, mask in enumerate((anchor, 1 - anchor)):
                plane = (anchor * UNIT * turn)[None]
                m, c = self.parameters(g, np.concatenate(ctx + [own, plane]), size)
                new = np.where(c < self.skip, 0, symbols(g, turn, mask, m, c)) * mask
                s += new
                mu += m * mask
                k += c * mask
                own = own + np.clip(UNIT * new + m, -ACT, ACT) * mask
            ctx.append(own)
            for o, v in zip(out, (s, mu, k)):
                o.append(v)
        s, mu, k = (np.concatenate(o) for o in out)
        return s, mu, k, (UNIT * s + mu).astype(np.float32) / np.float32(UNIT)

    def symbol_bits(self, s, k):
        """Ideal code length in bits of symbols s under classes k."""
        total = 0.0
        for c in np.unique(k):
            if c < self.skip:
                continue
            v, r = s[k == c], int(self.radius[c])
            far = np.abs(v) > r
            total += self.log_tables[c][np.where(far, 2 * r + 1, v + r)].sum()
            n = np.abs(v[far]) - r
            total += (2 * np.floor(np.log2(n)) + 2).sum()
        return float(total)

    def z_bits(self, z):
        p = self.t["ctx.z.freq"].astype(np.float64) / TABLE_SUM
        return float(-np.log2(p[np.arange(z.shape[0])[:, None, None], z + 15]).sum())

    def towards_zero(self, rdo):
        """threshold[class][|s|-1]: a residual below it takes |s|-1 instead of |s| (see training/README.md)."""
        c = rdo * np.log(2) / 6
        out = np.full((64, 24), 0.0)
        for k, (bits, r) in enumerate(zip(self.log_tables, self.radius)):
            for a in range(1, 25):
                gain = bits[r + a] - bits[r + a - 1] if a <= r else 0.0
                out[k, a - 1] = a - 0.5 + c * gain / 2
        return out


def nearest_choice(v, start):
    return lambda g, turn, mask, mu, k: np.rint(v[start[g]:start[g + 1]] - mu / UNIT).astype(np.int64)


def rdo_choice(model, v, start, rdo):
    limit = model.towards_zero(rdo)

    def choose(g, turn, mask, mu, k):
        r = v[start[g]:start[g + 1]] - mu / UNIT
        a = np.rint(np.abs(r)).astype(np.int64)
        for _ in range(2):
            lower = (a > 0) & (a <= 24) & (np.abs(r) < limit[k, np.clip(a, 1, 24) - 1])
            a = a - lower
        return np.where(r < 0, -a, a)
    return choose


def pad16(u8):
    """HWC uint8 -> CHW float in -1..1, sides padded to 16 by repeating the last row and column."""
    h, w, _ = u8.shape
    x = np.pad(u8, ((0, -h % 16), (0, -w % 16), (0, 0)), "edge")
    return x.transpose(2, 0, 1).astype(np.float32) / np.float32(127.5) - 1


def to_pixels(x, h, w):
    return np.rint((np.clip(x, -1, 1)[:, :h, :w] + 1) * 127.5).astype(np.uint8).transpose(1, 2, 0)


def encode(model, u8, q, rdo=0.0, unit=64, y=None):
    """Dict with z, s, mu, k, yhat (latent before gain_dec), y_bits, z_bits, and y for the next level."""
    if y is None:
        y = model.analysis(pad16(u8))
    gain, _ = model.gains(q)
    v = y * gain
    z = model.hyper(v)
    start = np.cumsum((0,) + GROUPS)
    s, mu, k = (np.zeros(y.shape, np.int64) for _ in range(3))
    yhat = np.zeros(y.shape, np.float32)
    for i in range(0, y.shape[1], unit):
        for j in range(0, y.shape[2], unit):
            box = np.s_[:, i:i + unit, j:j + unit]
            part = v[box]
            choose = rdo_choice(model, part, start, rdo) if rdo else nearest_choice(part, start)
            zu = z[:, i // 4:(i + unit) // 4, j // 4:(j + unit) // 4]
            s[box], mu[box], k[box], yhat[box] = model.unit(zu, part.shape[1], part.shape[2], choose)
    return dict(y=y, z=z, s=s, mu=mu, k=k, yhat=yhat, y_bits=model.symbol_bits(s, k), z_bits=model.z_bits(z))


def decode(model, yhat, q, h, w):
    """Float picture in -1..1 (padded) and pixels."""
    x = model.synthesis(yhat * model.gains(q)[1])
    return x, to_pixels(x, h, w)


def replay(model, z, s, unit=64):
    """What a decoder does with z and the symbols: returns means, classes and latents."""
    start = np.cumsum((0,) + GROUPS)
    mu, k = np.zeros(s.shape, np.int64), np.zeros(s.shape, np.int64)
    yhat = np.zeros(s.shape, np.float32)
    for i in range(0, s.shape[1], unit):
        for j in range(0, s.shape[2], unit):
            box = np.s_[:, i:i + unit, j:j + unit]
            part = s[box]
            got = model.unit(z[:, i // 4:(i + unit) // 4, j // 4:(j + unit) // 4], part.shape[1], part.shape[2],
                             lambda g, turn, mask, m, c: part[start[g]:start[g + 1]])
            _, mu[box], k[box], yhat[box] = got
    return mu, k, yhat


def main():
    from PIL import Image
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model")
    p.add_argument("input")
    p.add_argument("output")
    p.add_argument("--q", type=float, default=3)
    p.add_argument("--rdo", type=float, default=0)
    a = p.parse_args()
    model = Model(a.model)
    u8 = np.asarray(Image.open(a.input).convert("RGB"))
    e = encode(model, u8, a.q, a.rdo)
    mu, k, yhat = replay(model, e["z"], e["s"])
    assert (mu == e["mu"]).all() and (k == e["k"]).all() and (yhat == e["yhat"]).all()
    _, out = decode(model, yhat, a.q, *u8.shape[:2])
    Image.fromarray(out).save(a.output)
    px = u8.shape[0] * u8.shape[1]
    mse = ((out.astype(float) - u8) ** 2).mean()
    print(f"{(e['y_bits'] + e['z_bits']) / px:.4f} bpp (z {e['z_bits'] / px:.4f}), "
          f"PSNR {10 * np.log10(255 ** 2 / max(mse, 1e-9)):.2f} dB")


if __name__ == "__main__":
    main()
