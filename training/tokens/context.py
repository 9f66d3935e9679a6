#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Frequencies and the context model of the coarsest clusters, from dumped codes.

context.py DIR/train-ids.npz DIR/held-ids.npz --out DIR/tables.npz --report DIR/tokens.tsv

The logit of a class, in 1/32 bit, is a bias and one term for each of four neighbours (left, top, top-right, top-left); the
coder turns logits into weights with integers alone.  Fitted with Adam on the log loss, rounded and clipped, and reported
with the integer arithmetic of the coder.
"""
import argparse
import time

import numpy as np
import torch

UNIT, TOTAL = 32, 1 << 20
OFFSETS = ((0, -1), (-1, 0), (-1, 1), (-1, -1))
POWER = np.round(4096 * 2.0 ** (-np.arange(32) / 32)).astype(np.int64)
KIND = {"photos": 1.0, "textures": 0.5, "mixed": 0.5}


def grids(f):
    at = 0
    for h, w in f["shape"]:
        yield f["ids"][at:at + h * w].reshape(h, w).astype(np.int64)
        at += h * w


def neighbours(c, missing):
    """Classes of the four neighbours, [h*w][4]."""
    h, w = c.shape
    p = np.full((h + 1, w + 2), missing, c.dtype)
    p[1:, 1:-1] = c
    return np.stack([p[1 + dy:1 + dy + h, 1 + dx:1 + dx + w] for dy, dx in OFFSETS], 2).reshape(-1, 4)


def frequencies(train):
    """Weights of the codes, at least 1, with a sum of TOTAL: counts and a constant, the likeliest with each token left out."""
    k = 65536
    kind = np.array([KIND[str(n).split("/")[0]] for n in train["name"]])
    each = np.repeat(kind, np.prod(train["shape"], 1))
    n = np.bincount(train["ids"], weights=each, minlength=k)
    some = n > 0

    def likelihood(a):
        return (n[some] * np.log2(np.maximum(n[some] - 1, 0) + a)).sum() - n.sum() * np.log2(n.sum() - 1 + a * k)
    share = n + max((2.0 ** e for e in range(-6, 5)), key=likelihood)
    w = share * (TOTAL / share.sum())
    for _ in range(20):                     # those below 1 are lifted, the rest pays
        low = w < 1
        w = np.where(low, 1, w * ((TOTAL - low.sum()) / w[~low].sum()))
    out = np.floor(w + 1e-9).astype(np.int32)
    out[np.argsort(out - w, kind="stable")[:TOTAL - out.sum()]] += 1
    assert out.sum() == TOTAL and out.min() >= 1
    return out


def gather(f, start):
    """(class, neighbours) of all tokens."""
    classes = len(start)
    cs = [np.searchsorted(start, g, side="right") - 1 for g in grids(f)]
    return np.concatenate([c.reshape(-1) for c in cs]), np.concatenate([neighbours(c, classes) for c in cs])


def fit(c, nb, classes, steps, batch, l2, device, seconds):
    bias = torch.zeros(classes, device=device, requires_grad=True)
    weight = torch.zeros(4, classes + 1, classes, device=device, requires_grad=True)
    with torch.no_grad():
        n = torch.bincount(c, minlength=classes).float() + 1
        bias.copy_((n / n.sum()).log2())
    opt = torch.optim.Adam([bias, weight], lr=0.05)
    began = time.time()
    for step in range(steps):
        left = 1 - max(step / steps, (time.time() - began) / seconds)
        if left <= 0:
            break
        opt.param_groups[0]["lr"] = 0.05 * left
        i = torch.randint(len(c), (batch,), device=device)
        logit = bias + sum(weight[j].index_select(0, nb[i, j]) for j in range(4))
        loss = torch.nn.functional.cross_entropy(logit * 0.6931472, c[i]) / 0.6931472
        opt.zero_grad()
        (loss + l2 * weight.square().sum() / len(c)).backward()
        opt.step()
        with torch.no_grad():
            weight.clamp_(-127 / UNIT, 127 / UNIT)
        if step % 200 == 0:
            print(f"step {step}: {float(loss):.3f} bits", flush=True)
    bias, weight = bias.detach(), weight.detach()
    # a constant within a row changes nothing: centred rows use the range of a byte best
    weight = weight - weight.mean(2, keepdim=True)
    return ((bias - bias.max()) * UNIT).round().clamp(-32768, 32767).short().cpu().numpy(), \
        (weight * UNIT).round().clamp(-127, 127).to(torch.int8).cpu().numpy()


def class_bits(c, nb, bias, weight):
    """Bits of every class as the coder spends them."""
    out = np.empty(len(c))
    for i in range(0, len(c), 1 << 15):
        cc, n = c[i:i + (1 << 15)], nb[i:i + (1 << 15)]
        logit = bias.astype(np.int64) + sum(weight[j].astype(np.int64)[n[:, j]] for j in range(4))
        x = logit.max(1, keepdims=True) - logit
        g = np.maximum(1, POWER[x & 31] >> np.minimum(x >> 5, 62))
        out[i:i + (1 << 15)] = -np.log2(g[np.arange(len(cc)), cc] / g.sum(1))
    return out


def report(held, starts, freq, bias, weight, path):
    """Bits a token on held-back pictures: fixed length, frequencies alone, with context; a row a level."""
    ids = held["ids"].astype(np.int64)
    c, nb = gather(held, starts[-1])
    cb = class_bits(c, nb, bias, weight)
    rows = ["level\tcodes\tused\tfixed\torder0\tcontext\tbits_a_pixel"]
    coarse = np.add.reduceat(freq.astype(np.int64), starts[-1])
    for j, start in enumerate([np.arange(len(freq))] + starts):
        w = np.add.reduceat(freq.astype(np.int64), start)
        at = np.searchsorted(start, ids, side="right") - 1
        order0 = -np.log2(w[at] / w.sum())
        inside = -np.log2(w[at] / coarse[c])
        best = (cb + inside).mean()
        rows.append(f"{j}\t{len(start)}\t{len(np.unique(at)) / len(start):.4f}\t{np.log2(len(start)):.3f}\t{order0.mean():.3f}\t{best:.3f}\t"
                    f"{min(best, order0.mean()) / 256:.5f}")
    print("\n".join(rows))
    with open(path, "w") as f:
        f.write("\n".join(rows) + "\n")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("train")
    p.add_argument("held")
    p.add_argument("--out", required=True)
    p.add_argument("--report", required=True)
    p.add_argument("--steps", type=int, default=3000)
    p.add_argument("--batch", type=int, default=16384)
    p.add_argument("--l2", type=float, default=1.0)
    p.add_argument("--seconds", type=float, default=60)
    a = p.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    train, held = np.load(a.train), np.load(a.held)
    train = {k: train[k] for k in train.files}
    held = {k: held[k] for k in held.files}
    starts = [held[f"level.{j}.start"].astype(np.int64) for j in range(1, 5)]
    freq = frequencies(train)
    c, nb = gather(train, starts[-1])
    bias, weight = fit(torch.from_numpy(c).to(device), torch.from_numpy(nb).to(device), len(starts[-1]), a.steps, a.batch, a.l2, device,
                       a.seconds)
    np.savez(a.out, **{"tessera.frequency": freq, "tessera.context.bias": bias, "tessera.context.weight": weight})
    report(held, starts, freq, bias, weight, a.report)


if __name__ == "__main__":
    main()
