#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Tables for the codes of sound (docs/audio-format.md 3.3), from the codes of many clips, and what they save.

codes.py TRAIN.npz VALID.npz --out TABLES.safetensors [--into MODEL.safetensors]

The .npz files have an array [frames][books] of codes for each clip; arrays of other types are passed over.  A book's context is
a product of a few distributions, each given one code that is known: of the frames before, or of a coarser book.  Those codes
are put into classes by k-means over histograms of what follows them, with Kullback and Leibler's distance (Dhillon, Mallela,
Kumar, JMLR 3, 2003).  Which codes are looked at, and the exponents of their distributions, is a greedy search.  NumPy only.
"""
import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import tensorfile  # noqa: E402

PACKET, BACK = 750, 3   # frames: of a packet, that contexts look back


def load(path):
    with np.load(path) as f:
        clips = [f[k] for k in f.files]
    return [c.astype(np.int64) for c in clips if c.ndim == 2 and c.dtype == np.uint16 and len(c) > BACK]


def packets(clips, frames=PACKET):
    return [c[i:i + frames] for c in clips for i in range(0, len(c), frames)]


class Fit:
    """Frequencies with a prior worth `prior` codes."""

    def __init__(self, counts, prior, like):
        self.p = ((counts + prior * like) / (counts.sum(-1, keepdims=True) + prior)).astype(np.float32)

    def logs(self):
        return np.log2(self.p)


def counts(rows, values, shape):
    return np.bincount(rows * shape[1] + values, minlength=shape[0] * shape[1]).reshape(shape).astype(np.float32)


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
    out = np.zeros((n, c.shape[1]), np.float32)
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


def column(clips, book, back):
    """Codes of a book, so many frames before each frame that has BACK before it."""
    return np.concatenate([c[BACK - back:len(c) - back, book] for c in clips])


def candidates(k):
    """(frames back, book): those of this book, the next coarser ones, the coarsest."""
    out = [(1, k), (2, k), (3, k)]
    out += [(0, j) for j in sorted({0, k - 1, k - 2, k - 3}) if 0 <= j < k]
    out += [(1, j) for j in sorted({0, k - 1}) if 0 <= j < k]
    return out


class Book:
    """The relations of book k: rows of logarithms, classes, and which are looked at."""

    def __init__(self, clips, k, o, n, rng):
        now = column(clips, k, 0)
        total = np.bincount(now, minlength=n) + 0.5
        self.p = total / total.sum()
        self.like = np.log2(self.p)
        some = rng.choice(len(now), min(o.sample, len(now)), replace=False)
        self.y = now[some]
        parts = {}
        for back, j in candidates(k):
            before = column(clips, j, back)
            c = counts(before, now, (n, n))
            cls = cluster(c, o.classes, self.p, o.prior, rng, 8)
            rows = Fit(counts_of(cls, c, o.classes), o.prior, self.p).logs() - self.like
            parts[back, j] = cls, rows, rows[cls[before[some]]].astype(np.float32)
        self.choose(parts, o.relations)

    def bits(self, parts, powers):
        z = self.like + sum(a * parts[r][2] for r, a in powers.items())
        z -= z.max(1, keepdims=True)
        return -(z[np.arange(len(z)), self.y] - np.log2(np.exp2(z).sum(1))).mean()

    def tune(self, parts, powers, best):
        for r in powers:
            for a in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1):
                other = {**powers, r: a}
                bits = self.bits(parts, other)
                if bits < best:
                    powers, best = other, bits
        return powers, best

    def choose(self, parts, relations):
        powers, best = {}, np.inf
        for _ in range(min(relations, len(parts))):
            tried = {r: self.bits(parts, {**powers, r: 0.5 if powers else 1}) for r in parts if r not in powers}
            r = min(tried, key=tried.get)
            powers, best = self.tune(parts, {**powers, r: 0.5 if powers else 1}, np.inf)
        powers, best = self.tune(parts, powers, best)
        self.best, self.powers = best, powers
        self.relations = [(r, parts[r][0], a * parts[r][1]) for r, a in powers.items()]


def steps(x):
    """Binary logarithms as bytes, 16 an octave; what a row adds to all codewords does not matter."""
    return np.clip(np.rint(16 * (x - x.max(-1, keepdims=True))) + 255, 0, 255).astype(np.uint8)


def tensors(books, o, n):
    """All tensors.  A relation has one row more, for no such frame; the first one also has the static table."""
    out = {"codes.static": np.stack([to_logs(b.p) for b in books])}
    shape = len(books), o.relations
    relation, base = np.full((*shape, 2), 255, np.uint8), np.zeros(shape, np.int32)
    cls, rows = np.zeros((*shape, n + 1), np.uint8), []
    for k, b in enumerate(books):
        for i, (r, c, x) in enumerate(b.relations):
            relation[k, i], base[k, i] = r, sum(map(len, rows))
            cls[k, i] = np.append(c, len(x))
            rows.append(steps(np.concatenate([x, np.zeros((1, n))]) + (0 if i else b.like)))
    out.update({"codes.context.rows": np.concatenate(rows), "codes.context.base": base,
                "codes.context.relation": relation, "codes.context.class": cls})
    return out


# ---- what codes cost ----

def static_bits(t, c):
    p = of_logs(t["codes.static"])
    return np.stack([-np.log2(p[k][c[:, k]]) for k in range(c.shape[1])], -1)


def context_tables(t, c, k):
    """The probabilities of book k in each frame, without learning."""
    n = t["codes.static"].shape[1]
    z = np.zeros((len(c), n), np.float32)
    for (back, j), base, cls in zip(*(t["codes.context." + x][k].tolist() for x in ("relation", "base")),
                                    t["codes.context.class"][k]):
        if back < 255:
            before = np.concatenate([np.full(min(back, len(c)), n), c[:max(len(c) - back, 0), j]])
            z += t["codes.context.rows"][base + cls[before].astype(np.int64)]
    return of_logs(np.maximum(z - z.max(-1, keepdims=True) + 255, 0))


class Learner:
    """A book of docs/audio-format.md 3.4."""

    def __init__(self, n, again):
        self.learnt, self.all, self.after, self.beside = {}, 0, {}, {}
        self.trust, self.same = [[[512, 0] for _ in range(3)] for _ in range(2)], False
        self.n, self.again = n, again

    def bits(self, p, s, last, still, coarser):
        found = [last, self.after.get(last), self.beside.get(coarser)]
        found = [g if g not in found[:i] else None for i, g in enumerate(found)]
        trust, total, mine = self.trust[still], 2 ** 18 + self.all, 2 ** 18 * p + self.learnt.get(s, 0)
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
        more = self.again if s in self.learnt else (self.again * 5 + 7) // 8
        self.learnt[s] = self.learnt.get(s, 0) + more
        self.all += more
        self.same = s == last
        if last is not None:
            self.after[last] = s
        if coarser is not None:
            self.beside[coarser] = s
        return -np.log2((mine / total * (2 ** 18 - self.n) + 1) / 2 ** 18)


def learning_bits(c, n, p, again):
    """p: of each code, before anything is learnt."""
    books = [Learner(n, again) for _ in range(c.shape[1])]
    out, last = np.empty(c.shape), [None] * c.shape[1]
    for f, row in enumerate(c.tolist()):
        for k, s in enumerate(row):
            still = row[k - 1] == last[k - 1] if k else books[0].same
            out[f, k] = books[k].bits(p[f, k], s, last[k], bool(still), row[k - 1] if k else None)
        last = row
    return out


def context_bits(t, c, again):
    p = np.stack([np.take_along_axis(context_tables(t, c, k), c[:, k:k + 1], 1)[:, 0] for k in range(c.shape[1])], -1)
    bits = -np.log2(p)
    return bits, np.concatenate([learning_bits(c[:, :1], t["codes.static"].shape[1], p, again), bits[:, 1:]], -1)


def report(name, bits, fixed):
    bits = np.concatenate(bits)
    print(f"{name:9} {bits.mean():7.3f} {100 - 100 * bits.mean() / fixed:7.1f} %  ", " ".join(
        f"{b:6.3f}" for b in bits.mean(0)), flush=True)


def save(o, t, clips):
    model, meta = tensorfile.load(o.into) if o.into else ({}, {})
    t.update({k: v for k, v in model.items() if not k.startswith(("codes.static", "codes.context."))})
    meta["tables"] = f"codes.py: the codes of {len(clips)} clips, {sum(map(len, clips))} frames"
    meta["tessera.sha256"] = tensorfile.digest(t)
    tensorfile.save(o.out, t, meta)
    print(Path(o.out).stat().st_size, "bytes, sha256", meta["tessera.sha256"])


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("train")
    ap.add_argument("valid")
    ap.add_argument("--out")
    ap.add_argument("--codewords", type=int, default=1024, help="%(default)s")
    ap.add_argument("--classes", type=int, default=24, help="of each code that is looked at; %(default)s")
    ap.add_argument("--relations", type=int, default=4, help="codes that are looked at; %(default)s")
    ap.add_argument("--prior", type=float, default=200, help="codes that the static table is worth; %(default)s")
    ap.add_argument("--sample", type=int, default=3000, help="codes that exponents are tuned with; %(default)s")
    ap.add_argument("--every", type=int, default=1, help="measure one packet in so many; %(default)s")
    ap.add_argument("--into", help="a model file, which --out is then with these tables")
    o = ap.parse_args()
    train, valid = load(o.train), packets(load(o.valid))[::o.every]
    n, rng = o.codewords, np.random.default_rng(1)
    fixed = np.log2(n)
    books = []
    for k in range(train[0].shape[1]):
        books.append(Book(train, k, o, n, rng))
        print(f"book {k}: {books[-1].best:.3f} bits in training,", " ".join(
            f"{j}@{-back}^{a}" for (back, j), a in books[-1].powers.items()), flush=True)
    t = tensors(books, o, n)
    print(f"{sum(map(len, train))} frames to train, {sum(map(len, valid))} held back, packets of {PACKET}")
    print("mode      bits/code   saved   by book")
    report("static", [static_bits(t, c) for c in valid], fixed)
    alone, learnt = zip(*(context_bits(t, c, 2 ** 18 // n // 4) for c in valid))
    report("(tables)", alone, fixed)
    report("context", learnt, fixed)
    report("adaptive", [learning_bits(c, n, np.full(c.shape, 1 / n), 2 ** 19 // n) for c in valid], fixed)
    if o.out:
        save(o, t, train)


if __name__ == "__main__":
    main()
