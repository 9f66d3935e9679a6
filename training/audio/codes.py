#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Tables for the codes of sound (docs/audio-format.md 3.3), from the codes of many clips, and what they save.

codes.py TRAIN.npz VALID.npz --out TABLES.safetensors [--tables 128] [--classes 32]

The .npz files have an array [frames][books] of codes for each clip; arrays of other types are passed over.  Classes and tables
are made by k-means over histograms with Kullback and Leibler's distance (Dhillon, Mallela, Kumar, JMLR 3, 2003): first
classes of the codes that stand before and beside, by what follows; then tables for their pairs.  NumPy only.
"""
import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import tensorfile  # noqa: E402

PACKET = 750    # frames


def load(path):
    with np.load(path) as f:
        clips = [f[k] for k in f.files]
    return [c.astype(np.int64) for c in clips if c.ndim == 2 and c.dtype == np.uint16 and len(c) > 1]


def packets(clips, frames=PACKET):
    return [c[i:i + frames] for c in clips for i in range(0, len(c), frames)]


class Fit:
    """Frequencies with a prior worth `prior` codes."""

    def __init__(self, counts, prior, like):
        self.p = (counts + prior * like) / (counts.sum(-1, keepdims=True) + prior)

    def logs(self):
        return np.log2(self.p)


def counts(rows, values, shape):
    return np.bincount(rows * shape[1] + values, minlength=shape[0] * shape[1]).reshape(shape).astype(np.float64)


def cluster(c, n, like, prior, rng, rounds=20):
    """Histograms c [rows][codewords] into n classes: the class of each row."""
    rows = len(c)
    if rows <= n:
        return np.arange(rows)
    weight = c.sum(-1)
    own = Fit(c, prior, like).logs()
    seeds, cost = [], (c * (own - np.log2(like))).sum(-1)
    while len(seeds) < n:               # rows that pay most for the seeds so far
        p = np.maximum(cost, 0) + 1e-9 * (weight + 1)
        seeds.append(rng.choice(rows, p=p / p.sum()))
        cost = np.minimum(cost, (c * (own - own[seeds[-1]])).sum(-1))
    logs = own[seeds]
    for _ in range(rounds):
        cls = np.argmax(c @ logs.T, -1)
        logs = Fit(counts_of(cls, c, n), prior, like).logs()
    return cls


def counts_of(cls, c, n):
    out = np.zeros((n, c.shape[1]))
    np.add.at(out, cls, c)
    return out


def to_logs(p):
    """Probabilities as bytes: 16 steps an octave, the most probable 255."""
    v = np.rint(16 * np.log2(p / p.max(-1, keepdims=True))) + 255
    return np.clip(v, 0, 255).astype(np.uint8)


def of_logs(v):
    """The probabilities a decoder has, but for the rounding of slots to 2^-18."""
    w = 2.0 ** (v / 16.0)
    n = v.shape[-1]
    return (w / w.sum(-1, keepdims=True) * (2 ** 18 - n) + 1) / 2 ** 18


class Book:
    """The tables of book k."""

    def __init__(self, clips, k, o, n, rng):
        now = np.concatenate([c[1:, k] for c in clips])
        before = np.concatenate([c[:-1, k] for c in clips])
        beside = [np.concatenate([c[1:, j] for c in clips]) for j in range(k)]
        total = np.bincount(np.concatenate([c[:, k] for c in clips]), minlength=n).astype(np.float64)
        self.p = (total + 0.5) / (total + 0.5).sum()
        self.previous = cluster(counts(before, now, (n, n)), o.classes, self.p, o.prior, rng)
        best = None
        for j in sorted({0, max(k - 1, 0)}) if k else [0]:
            fit = self.joint(now, before, beside[j] if k else None, o, n, rng)
            best = min(best or fit, fit, key=lambda f: f["bits"])
            best.setdefault("from", j)
        self.__dict__.update(best)

    def joint(self, now, before, beside, o, n, rng):
        """Tables for pairs of classes, with one more class of nothing before."""
        a, b = o.classes, o.classes if beside is not None else 1
        coarser = np.zeros(n, np.int64)
        if beside is not None:
            coarser = cluster(counts(beside, now, (n, n)), b, self.p, o.prior, rng)
        q = coarser[beside] if beside is not None else np.zeros_like(now)
        cells = counts(self.previous[before] * b + q, now, (a * b, n))
        cls = cluster(cells, o.tables, self.p, o.prior, rng, 12)
        tables = Fit(counts_of(cls, cells, o.tables), o.prior, self.p)
        alone = cells.reshape(a, b, n).sum(0)
        first = np.argmax(alone @ tables.logs().T, -1)
        bits = -(cells * tables.logs()[cls]).sum() / cells.sum()
        return {"coarser": coarser, "map": np.concatenate([cls.reshape(a, b), first[None]]), "tables": tables.p,
                "bits": bits}


def tensors(books, o, n):
    """All tensors; books whose coarser classes are few leave the others of the map unused."""
    width = max(b.map.shape[1] for b in books)
    out = {"codes.static": np.stack([to_logs(b.p) for b in books]),
           "codes.context.tables": to_logs(np.concatenate([b.tables for b in books])),
           "codes.context.previous": np.stack([np.append(b.previous, o.classes) for b in books]).astype(np.uint8),
           "codes.context.coarser": np.stack([b.coarser for b in books]).astype(np.uint8),
           "codes.context.from": np.array([getattr(b, "from") for b in books], np.uint8)}
    maps, at = [], 0
    for b in books:
        maps.append(np.pad(b.map + at, ((0, 0), (0, width - b.map.shape[1])), mode="edge"))
        at += len(b.tables)
    out["codes.context.map"] = np.stack(maps).astype(np.uint16)
    return out


# ---- what codes cost ----

def static_bits(t, c):
    p = of_logs(t["codes.static"])
    return np.stack([-np.log2(p[k][c[:, k]]) for k in range(c.shape[1])], -1)


def context_bits(t, c):
    n = t["codes.static"].shape[1]
    p, out = of_logs(t["codes.context.tables"]), np.empty(c.shape)
    for k in range(c.shape[1]):
        before = t["codes.context.previous"][k][np.append(n, c[:-1, k])]
        q = t["codes.context.coarser"][k][c[:, t["codes.context.from"][k]]] if k else np.zeros(len(c), np.int64)
        out[:, k] = -np.log2(p[t["codes.context.map"][k][before, q], c[:, k]])
    return out


class Learner:
    """A book of docs/audio-format.md 3.4."""

    def __init__(self, n):
        self.w, self.all, self.after, self.beside = [16] * n, 16 * n, {}, {}
        self.trust, self.same = [[[2048, 0] for _ in range(3)] for _ in range(2)], False

    def bits(self, s, last, still, coarser):
        found = [last, self.after.get(last), self.beside.get(coarser)]
        found = [g if g not in found[:i] else None for i, g in enumerate(found)]
        trust, total, mine = self.trust[still], self.all, self.w[s]
        for i in (2, 1, 0):
            if found[i] is not None:
                more = total * trust[i][0] // (65536 - trust[i][0])
                total += more
                mine += more if found[i] == s else 0
        for g, t in zip(found, trust):
            if g is None:
                continue
            rate = min(2 + t[1], 5)
            t[0] += (63488 - t[0]) >> rate if g == s else -(t[0] >> rate)
            t[1] = min(t[1] + 1, 5)
            if g == s:
                break
        more = 10 if self.w[s] == 16 else 16
        self.w[s] += more
        self.all += more
        self.same = s == last
        if last is not None:
            self.after[last] = s
        if coarser is not None:
            self.beside[coarser] = s
        n = len(self.w)
        return -np.log2((mine / total * (2 ** 18 - n) + 1) / 2 ** 18)


def adaptive_bits(c, n):
    books = [Learner(n) for _ in range(c.shape[1])]
    out, last = np.empty(c.shape), [None] * c.shape[1]
    for f, row in enumerate(c.tolist()):
        for k, s in enumerate(row):
            still = row[k - 1] == last[k - 1] if k else books[0].same
            out[f, k] = books[k].bits(s, last[k], bool(still), row[k - 1] if k else None)
        last = row
    return out


def report(name, bits, fixed):
    bits = np.concatenate(bits)
    print(f"{name:9} {bits.mean():7.3f} {100 - 100 * bits.mean() / fixed:7.1f} %  ", " ".join(
        f"{b:6.3f}" for b in bits.mean(0)), flush=True)


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("train")
    ap.add_argument("valid")
    ap.add_argument("--out")
    ap.add_argument("--codewords", type=int, default=1024, help="%(default)s")
    ap.add_argument("--tables", type=int, default=128, help="of a book; %(default)s")
    ap.add_argument("--classes", type=int, default=32, help="of codes before and beside; %(default)s")
    ap.add_argument("--prior", type=float, default=200, help="codes that the static table is worth; %(default)s")
    ap.add_argument("--merge", nargs="*", default=[], help="files whose tensors are taken over into --out")
    o = ap.parse_args()
    train, valid = load(o.train), packets(load(o.valid))
    n, rng = o.codewords, np.random.default_rng(1)
    fixed = np.log2(n)
    books = []
    for k in range(train[0].shape[1]):
        books.append(Book(train, k, o, n, rng))
        print(f"book {k}: looks at {getattr(books[-1], 'from')}, {books[-1].bits:.3f} bits in training", flush=True)
    t = tensors(books, o, n)
    print(f"{sum(map(len, train))} frames to train, {sum(map(len, valid))} held back, packets of {PACKET}")
    print("mode      bits/code   saved   by book")
    report("static", [static_bits(t, c) for c in valid], fixed)
    report("context", [context_bits(t, c) for c in valid], fixed)
    report("adaptive", [adaptive_bits(c, n) for c in valid], fixed)
    for path in o.merge:
        t.update(tensorfile.load(path)[0])
    if o.out:
        tensorfile.save(o.out, t, {"tessera.sha256": tensorfile.digest(t)})
        print(sum(v.nbytes for v in t.values()), "bytes of tensors")


if __name__ == "__main__":
    main()
