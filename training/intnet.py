# SPDX-License-Identifier: BSD-2-Clause
"""The integer entropy model: quantised nets, scale classes, frequency tables, code lengths.

Integers are held in float64, where every sum that the overflow rule allows is exact in any order, so the same
code gives the same integers on a CPU and on a GPU.  reference.py is the independent plain version.
"""
import math

import numpy as np
import torch
import torch.nn.functional as F

import model as M

UNIT = 128
ACT = 2047
TABLE_SUM = 1 << 14
MAX_RADIUS = 24
SPAN = 1024                     # symbols are counted in -SPAN..SPAN


def quantise_conv(weight, bias):
    """(int16 weight, int32 bias, shift): the largest shift whose sums provably fit 32 bits."""
    weight, bias = weight.double(), bias.double()
    for shift in range(15, -1, -1):
        w = torch.round(weight * 2.0 ** shift)
        b = torch.round(bias * 2.0 ** (shift + 7))
        top = b.abs() + ACT * w.abs().sum((1, 2, 3)) + 2.0 ** max(shift - 1, 0)
        if w.abs().max() <= 32767 and top.max() < 2 ** 31 and shift > 0:
            return w.to(torch.int16), b.to(torch.int32), shift
    raise ValueError("a convolution does not fit the integer format")


def round_together(weight, bias, second, mean, shift):
    """Round a 1x1 layer so that the errors of a row cancel on the inputs it gets (Frantar et al., GPTQ, arXiv:2210.17323).

    second: E[x x^T], mean: E[x] of the inputs.  Returns weight and bias as quantise_conv() does.
    """
    w = weight.double().flatten(1).clone()
    n = w.shape[1]
    second = second.double() + 1e-3 * second.diagonal().mean() * torch.eye(n, dtype=torch.float64)
    u = torch.linalg.cholesky(torch.linalg.inv(second), upper=True)
    out = torch.zeros_like(w)
    for i in range(n):
        out[:, i] = torch.round(w[:, i] * 2.0 ** shift).clamp(-32767, 32767)
        error = (w[:, i] - out[:, i] / 2.0 ** shift) / u[i, i]
        w[:, i:] -= error[:, None] * u[i, i:]
    left = (weight.double().flatten(1) - out / 2.0 ** shift) @ mean.double()
    b = torch.round((bias.double() + left) * 2.0 ** (shift + 7))
    return out.reshape(weight.shape).to(torch.int16), b.to(torch.int32)


def conv(a, w, b, shift):
    """Integer convolution with rounding shift; a float64 [B,I,H,W]."""
    o, i, k, _ = w.shape
    n, _, h, wd = a.shape
    cols = F.unfold(a, k, padding=k // 2) if k > 1 else a.reshape(n, i, h * wd)
    acc = torch.matmul(w.double().reshape(o, -1), cols) + b.double()[:, None]
    return torch.floor((acc + 2.0 ** (shift - 1)) / 2.0 ** shift).reshape(n, o, h, wd)


def relu16(a):
    return a.clamp(0, ACT)


def class_of(t):
    return torch.floor((t * 4 + 20 * 128 + 64) / 128).clamp(0, M.CLASSES - 1)


class IntNets:
    """The nets as integers; `layers[name]` = (weight, bias, shift)."""

    def __init__(self, layers, device="cpu"):
        self.layers = {k: (w.to(device), b.to(device), s) for k, (w, b, s) in layers.items()}

    @classmethod
    def from_model(cls, net, device="cpu", inputs=None):
        """inputs: {layer: (E[x x^T], E[x])} of 1x1 layers to be rounded together."""
        layers = {}
        for name, seq in net.ctx.items():
            for j, layer in enumerate(seq):
                key, weight, bias = f"ctx.{name}.{j}", layer.weight.detach().cpu(), layer.bias.detach().cpu()
                layers[key] = quantise_conv(weight, bias)
                if inputs and key in inputs:
                    shift = layers[key][2]
                    w, b = round_together(weight, bias, *inputs[key], shift)
                    top = b.double().abs() + ACT * w.double().abs().sum((1, 2, 3)) + 2.0 ** (shift - 1)
                    if top.max() < 2 ** 31:
                        layers[key] = (w, b, shift)
        return cls(layers, device)

    def tensors(self):
        out = {}
        for name, (w, b, s) in self.layers.items():
            out[name + ".weight"] = w.cpu()
            out[name + ".bias"] = b.cpu()
            out[name + ".shift"] = torch.tensor([s], dtype=torch.int32)
        return out

    def features(self, zq, h, w):
        a = (zq.double() * UNIT).clamp(-ACT, ACT)
        a = M.shuffle(relu16(conv(a, *self.layers["ctx.hs.0"])), 2)
        a = M.shuffle(relu16(conv(a, *self.layers["ctx.hs.1"])), 2)
        return relu16(conv(a, *self.layers["ctx.hs.2"]))[:, :, :h, :w]

    def group(self, g, inputs, size):
        a = inputs
        for j in range(3):
            a = conv(a, *self.layers[f"ctx.g{g}.{j}"])
            if j < 2:
                a = relu16(a)
        a = a.clamp(-32768, 32767)
        return a[:, :size].clamp(-ACT, ACT), class_of(a[:, size:])

    @torch.no_grad()
    def code(self, v, zq, choose):
        """Walks the groups.  choose(r, k) -> symbols for residual r = v - mu/128 and classes k.

        Returns symbols, means (units of 1/128) and classes, float64 [B,C,h,w].
        """
        v = v.double()
        b, _, h, w = v.shape
        f = self.features(zq, h, w)
        yx = torch.arange(h, device=v.device)[:, None] + torch.arange(w, device=v.device)
        anchor = (yx % 2 == 0).double()
        ctx, s_all, mu_all, k_all, start = [f], [], [], [], 0
        for g, size in enumerate(M.GROUPS):
            vg = v[:, start:start + size]
            sym, mus, cls = (torch.zeros_like(vg) for _ in range(3))
            own = torch.zeros_like(vg)
            for turn, mask in enumerate((anchor, 1 - anchor)):
                plane = (anchor * (UNIT * turn)).expand(b, 1, h, w)
                mu, k = self.group(g, torch.cat(ctx + [own, plane], 1), size)
                s = choose(vg - mu / UNIT, k)
                sym += s * mask
                mus += mu * mask
                cls += k * mask
                own = own + (UNIT * s + mu).clamp(-ACT, ACT) * mask
            ctx.append(own)
            s_all.append(sym)
            mu_all.append(mus)
            k_all.append(cls)
            start += size
        return torch.cat(s_all, 1), torch.cat(mu_all, 1), torch.cat(k_all, 1)


def nearest(r, k):
    return torch.round(r)


class Chooser:
    """Encoder's choice: 0 below class `skip`; elsewhere a symbol moves towards zero where that saves enough bits.

    err^2 + rdo * c * bits with c = ln 2 / 6, the slope of a unit-step uniform quantiser at high rate.
    """

    def __init__(self, bits, skip=0, rdo=0.0):
        self.bits, self.skip, self.rdo = bits, skip, rdo * math.log(2) / 6

    def __call__(self, r, k):
        s = torch.round(r)
        if self.rdo:
            for _ in range(2):
                t = s - torch.sign(s)
                gain = self.look(s, k) - self.look(t, k)
                worse = (r - t) ** 2 - (r - s) ** 2
                s = torch.where(worse < self.rdo * gain, t, s)
        return torch.where(k < self.skip, torch.zeros_like(s), s)

    def look(self, s, k):
        return self.bits[k.long(), (s + SPAN).clamp(0, 2 * SPAN).long()]


def gaussian_mass(k):
    """Probabilities of -SPAN..SPAN for class k, averaged over the width of the class, with a thin wide tail."""
    x = torch.arange(-SPAN, SPAN + 1, dtype=torch.float64).abs()
    p = 0
    for d in (-0.4, -0.2, 0.0, 0.2, 0.4):
        sigma = M.SIGMA_MIN * math.exp((k + d) * M.SIGMA_STEP)
        for weight, s in ((0.998, sigma), (0.002, 4 * sigma + 1)):
            s *= math.sqrt(2)
            p = p + weight * 0.5 * (torch.erfc((x - 0.5) / s) - torch.erfc((x + 0.5) / s))
    return p / p.sum()


def to_frequencies(p):
    """Integer frequencies >= 1 that sum to TABLE_SUM."""
    p = np.asarray(p, dtype=np.float64)
    f = np.maximum(1, np.floor(p / p.sum() * TABLE_SUM + 0.5)).astype(np.int64)
    while f.sum() != TABLE_SUM:
        d = TABLE_SUM - f.sum()
        i = int(np.argmax(f))
        f[i] += max(d, -(f[i] // 2))
    return f.astype(np.uint16)


def fit_class_tables(counts, prior=300.0, escape=2e-4):
    """counts [CLASSES, 2*SPAN+1] -> (list of uint16 tables with the escape last, radius int32[CLASSES])."""
    tables, radius = [], []
    for k in range(M.CLASSES):
        c = counts[k].double().cpu()
        c = (c + c.flip(0)) / 2
        p = c + prior * gaussian_mass(k)
        p = (p / p.sum()).numpy()
        tail = np.concatenate([[1.0], 1 - 2 * np.cumsum(p[SPAN + 1:]) - p[SPAN]])   # tail[r]: mass beyond r
        tail[0] = 1 - p[SPAN]
        r = next((r for r in range(1, MAX_RADIUS + 1) if tail[r] < escape), MAX_RADIUS)
        body = p[SPAN - r:SPAN + r + 1]
        tables.append(to_frequencies(np.append(body, max(tail[r], 1e-9))))
        radius.append(r)
    return tables, np.array(radius, dtype=np.int32)


def class_bits(tables, radius):
    """[CLASSES, 2*SPAN+1] code length of every symbol in bits, escapes as Elias gamma plus a sign."""
    out = torch.zeros(M.CLASSES, 2 * SPAN + 1, dtype=torch.float64)
    x = np.abs(np.arange(-SPAN, SPAN + 1))
    for k, (t, r) in enumerate(zip(tables, radius)):
        t = t.astype(np.float64)
        far = -np.log2(t[-1] / TABLE_SUM) + 2 * np.floor(np.log2(np.maximum(x - r, 1))) + 2
        near = -np.log2(t[np.clip(np.arange(-SPAN, SPAN + 1) + r, 0, 2 * r)] / TABLE_SUM)
        out[k] = torch.from_numpy(np.where(x <= r, near, far))
    return out


def fit_z_tables(counts, prior=20.0):
    """counts [64,31] -> uint16 [64,31]; a two-sided geometric prior keeps rare values possible."""
    base = 0.6 ** np.abs(np.arange(-M.ZMAX, M.ZMAX + 1))
    rows = []
    for c in np.asarray(counts, dtype=np.float64):
        smooth = np.convolve(c, (0.02, 0.96, 0.02), "same")
        rows.append(to_frequencies(smooth + prior * base / base.sum()))
    return np.stack(rows)


def count_symbols(s, k):
    i = k.long() * (2 * SPAN + 1) + (s + SPAN).clamp(0, 2 * SPAN).long()
    return torch.bincount(i.reshape(-1), minlength=M.CLASSES * (2 * SPAN + 1)).view(M.CLASSES, -1)


def count_z(zq):
    i = torch.arange(zq.shape[1], device=zq.device)[None, :, None, None] * (2 * M.ZMAX + 1)
    return torch.bincount((i + (zq + M.ZMAX).long()).reshape(-1),
                          minlength=zq.shape[1] * (2 * M.ZMAX + 1)).view(zq.shape[1], -1)
