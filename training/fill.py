#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Train the net that fills in lost tokens, and put it into a model file (docs/codecs/vqgan.md, "Lost tokens").

fill.py --ids train-ids.npz crop-ids-0.npz --held held-ids.npz --out FILL.safetensors [--seconds 290]
fill.py --add FILL.safetensors --into MODEL --out MODEL
fill.py --golden DIR            a tiny net with its outputs, for the C tests

The .npz files are those of tokens/dump.py: ids (of the finest level, all grids one after the other), shape [grids][2] (rows,
columns); the one held back also has codebook, level.J.start and level.J.codewords (--model: from a model file instead).
Windows of 16 x 16 tokens at random places, at a random level, with losses as streams have them; the loss is the cross entropy
of the lost tokens' clusters.  The weights kept are the average that did best on the grids held back.  One GPU; by the clock.
"""
import argparse
import json
import math
import os
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import tensorfile  # noqa: E402

SIDE = 16
PREFIX = "tessera.fill."


# ---- the net, as lib/nn/former.h has it ----

class Block(nn.Module):
    def __init__(self, width, heads, hidden, side, drop):
        super().__init__()
        self.heads, self.side, self.drop = heads, side, drop
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.near = nn.Parameter(torch.zeros(heads, 2 * side - 1, 2 * side - 1))

    def forward(self, x, place, absent):
        """x [B][n][width]; place [n][n]: key's place from the query's, in `near`; absent [B][n]: -30000 where there is no token."""
        b, n, w = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(b, n, 3, self.heads, w // self.heads).permute(2, 0, 3, 1, 4)
        # eight more numbers a head keep queries from keys that are not there, without a mask for each window
        scale = (w // self.heads) ** -0.5
        one = torch.zeros_like(q[..., :8])
        one[..., 0] = 1 / scale
        gone = F.pad(absent[:, None, :, None].expand(b, self.heads, n, 1), (0, 7)).to(k.dtype)
        bias = self.near.flatten(1)[:, place][None].to(q.dtype)
        y = F.scaled_dot_product_attention(torch.cat([q, one], -1), torch.cat([k, gone], -1), F.pad(v, (0, 8)),
                                           attn_mask=bias.expand(b, -1, -1, -1), scale=scale)[..., :w // self.heads]
        x = x + F.dropout(self.out(y.transpose(1, 2).reshape(b, n, w)), self.drop, self.training)
        return x + F.dropout(self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh")), self.drop, self.training)


class Filler(nn.Module):
    def __init__(self, dim, choices, width=192, blocks=5, heads=6, hidden=336, side=SIDE, drop=0.):
        super().__init__()
        self.side = side
        setattr(self, "in", nn.Linear(dim, width))
        self.mask = nn.Parameter(torch.randn(width) * 0.02)
        self.block = nn.ModuleList(Block(width, heads, hidden, side, drop) for _ in range(blocks))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, choices)
        for m in self.modules():
            if isinstance(m, nn.Linear):
                nn.init.trunc_normal_(m.weight, std=m.in_features ** -0.5)
                nn.init.zeros_(m.bias)
        for b in self.block:
            for m in (b.out, b.down):
                m.weight.data *= (2 * blocks) ** -0.5
        self.look_around()
        self.head.weight.data *= 0.1

    def look_around(self):
        """Heads begin with the four neighbours, the surroundings and the whole window, blocks later on with more of them: without
        that the first thousands of steps go by until the net knows places from each other."""
        at = torch.arange(2 * self.side - 1.) - self.side + 1
        centre = ((0, -1), (0, 1), (-1, 0), (1, 0), (0, 0), None)
        for i, b in enumerate(self.block):
            for h in range(b.heads):
                c = centre[h % 6]
                if c:
                    far = (at[:, None] - c[0]) ** 2 + (at[None] - c[1]) ** 2
                    b.near.data[h] = -far.sqrt() * (1 if h % 6 < 4 else 0.5) / (1 + 0.5 * i)

    @staticmethod
    def places(rows, cols, side):
        y, x = torch.meshgrid(torch.arange(rows), torch.arange(cols), indexing="ij")
        y, x = y.flatten(), x.flatten()
        return (y[None] - y[:, None] + side - 1) * (2 * side - 1) + x[None] - x[:, None] + side - 1

    def states(self, vectors, lost, absent, place):
        """vectors [B][n][dim], lost [B][n] -> what the head sees."""
        x = getattr(self, "in")(vectors).to(self.mask.dtype)
        x = torch.where(lost[..., None], self.mask, x)
        for b in self.block:
            x = b(x, place, absent)
        return self.norm(x)


# ---- the book of a model ----

class Book:
    """words: of all levels, one after the other; of[j][id]: row of `words` of the finest id at level j."""

    def __init__(self, words, order, starts, level_words, choices):
        n = len(words)
        place = np.arange(n) if order is None else order.astype(np.int64)
        at, rows, self.of, self.sizes = n, [words], [np.arange(n)], [n]
        cluster = [np.arange(n)]
        for start, w in zip(starts, level_words):
            cluster.append(np.searchsorted(start, place, side="right") - 1)
            self.of.append(cluster[-1] + at)
            rows.append(w)
            self.sizes.append(len(w))
            at += len(w)
        self.words = np.concatenate(rows).astype(np.float32)
        # the coarsest level that has no fewer codes than asked for
        self.level = max((j for j in range(len(self.sizes)) if self.sizes[j] >= choices), default=0)
        self.target = cluster[self.level]
        self.first = sum(self.sizes[:self.level])

    def choice_words(self):
        return self.words[self.first:self.first + self.sizes[self.level]]


def load_book(path, choices):
    """From an .npz of codes, or from a model."""
    if path.endswith(".npz"):
        with np.load(path) as f:
            t = {"tessera." + k: f[k] for k in f.files if k in ("codebook", "order") or k.startswith("level.")}
    else:
        t, _ = tensorfile.load(path)
    if "tessera.codebook" not in t:
        sys.exit(f"{path}: no codebook")
    starts, words, j = [], [], 1
    while f"tessera.level.{j}.start" in t:
        starts.append(t[f"tessera.level.{j}.start"].astype(np.int64))
        words.append(t[f"tessera.level.{j}.codewords"].astype(np.float32))
        j += 1
    return Book(t["tessera.codebook"].astype(np.float32), t.get("tessera.order"), starts, words, choices)


# ---- windows and losses ----

class Windows:
    """Draws windows from the grids of some files, which all lie on the device."""

    def __init__(self, paths, codes, device):
        parts = []
        for path in paths:
            with np.load(path) as f:
                parts.append((f["ids"].reshape(-1).astype(np.int32), f["shape"].astype(np.int64)))
        ids, shape = (np.concatenate(part) for part in zip(*parts))
        count = shape[:, 0] * shape[:, 1]
        if int(count.sum()) != len(ids) or ids.min() < 0 or ids.max() >= codes:
            sys.exit(f"{paths}: ids, shapes and codebook do not fit each other")
        self.ids = torch.as_tensor(ids, device=device)
        start = np.concatenate([[0], np.cumsum(count)])[:-1]
        self.h, self.w, self.start = (torch.as_tensor(a, device=device) for a in (shape[:, 0], shape[:, 1], start))
        self.cum = (self.h * self.w).cumsum(0)
        self.dy, self.dx = (a.flatten().to(device) for a in torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij"))

    def draw(self, n, g):
        """ids [n][256], present [n][256]; small grids, and one window in sixteen, are not full."""
        device = self.cum.device
        r = torch.rand(5, n, device=device, generator=g)
        p = torch.searchsorted(self.cum, (r[0].double() * self.cum[-1]).long(), right=True).clamp(max=len(self.cum) - 1)
        h, w, small = self.h[p], self.w[p], r[3] < 1 / 16
        y0 = (r[1] * (h - SIDE + 1).clamp(min=1)).long()
        x0 = (r[2] * (w - SIDE + 1).clamp(min=1)).long()
        rows = torch.where(small, (r[4] * SIDE).long() + 1, SIDE)
        cols = torch.where(small, (r[4] * 977 % 1 * SIDE).long() + 1, SIDE)
        y, x = y0[:, None] + self.dy, x0[:, None] + self.dx
        present = (y < h[:, None]) & (x < w[:, None]) & (self.dy < rows[:, None]) & (self.dx < cols[:, None])
        at = self.start[p][:, None] + y.clamp(max=h[:, None] - 1) * w[:, None] + x.clamp(max=w[:, None] - 1)
        return self.ids[at].long(), present


def lattice(n, step, share, g, device):
    """Each of step x step cosets is lost with chance `share`, and one always is."""
    r = torch.rand(n, step, step, device=device, generator=g)
    lost = (r < share[:, None, None]) | (r == r.amin((1, 2), keepdim=True))
    return lost.repeat(1, SIDE // step, SIDE // step).flatten(1)


def boxes(n, g, device):
    """Rectangles: holes of a few tokens, and the edges of whole regions."""
    r = torch.rand(4, n, 1, device=device, generator=g)
    y, x = torch.meshgrid(torch.arange(SIDE, device=device), torch.arange(SIDE, device=device), indexing="ij")
    cy, cx = r[0] * SIDE, r[1] * SIDE
    ry, rx = 1 + r[2] ** 2 * SIDE / 2, 1 + r[3] ** 2 * SIDE / 2
    return ((y.flatten()[None] - cy).abs() < ry) & ((x.flatten()[None] - cx).abs() < rx)


def losses(n, g, device):
    """Half lattices (a third with boxes as well), a quarter single holes, a quarter boxes."""
    share = 0.05 + 0.45 * torch.rand(n, device=device, generator=g)
    kind = torch.rand(n, 1, device=device, generator=g)
    out = lattice(n, 4, share, g, device)
    out = torch.where(kind > 0.2, lattice(n, 2, share, g, device), out)
    out = torch.where(kind > 0.35, lattice(n, 8, share, g, device), out)
    single = torch.rand(n, SIDE * SIDE, device=device, generator=g) < share[:, None]
    out = torch.where(kind > 0.5, single, out)
    box = boxes(n, g, device)
    out = torch.where(kind > 0.75, box, out)
    return out | (box & (kind > 0.4) & (kind < 0.6))


# ---- what is measured ----

def medians(vectors, known, holes):
    """The classical predictor (codecs/image/token_near.c) inside windows: [B][n][dim] at `holes`, rows of (window, place)."""
    b, n, d = vectors.shape
    grid = F.pad(vectors.view(b, SIDE, SIDE, d), (0, 0, 3, 3, 3, 3))
    have = F.pad(known.view(b, SIDE, SIDE), (3, 3, 3, 3))
    y, x = holes[:, 1] // SIDE, holes[:, 1] % SIDE
    dy, dx = (a.flatten().to(holes.device) for a in torch.meshgrid(torch.arange(7), torch.arange(7), indexing="ij"))
    v = grid[holes[:, :1], y[:, None] + dy, x[:, None] + dx]
    k = have[holes[:, :1], y[:, None] + dy, x[:, None] + dx]
    ring = torch.maximum((dy - 3).abs(), (dx - 3).abs())
    count = torch.stack([(k & (ring <= r)).sum(1) for r in (1, 2, 3)], 1)
    reach = 1 + (count[:, 0] < 3).long() + ((count[:, 0] < 3) & (count[:, 1] < 3)).long()
    k = k & (ring[None] <= reach[:, None]) & (ring[None] > 0)
    weight = k / ((dy - 3) ** 2 + (dx - 3) ** 2).clamp(min=1)
    cost = (torch.cdist(v, v) * weight[:, None]).sum(2).masked_fill(~k, math.inf)
    median = v[torch.arange(len(v)), cost.argmin(1)]
    mean = (v * weight[..., None]).sum(1) / weight.sum(1, keepdim=True).clamp(min=1e-9)
    return median, mean


class Judge:
    """Fixed windows of held-back pictures; only lost tokens of the middle count, as in use."""

    CASES = (("interleave 4, 5 %", 4, .05), ("interleave 4, 10 %", 4, .1), ("interleave 4, 20 %", 4, .2),
             ("interleave 2, 20 %", 2, .2), ("interleave 8, 50 %", 8, .5), ("boxes", 0, 0))

    def __init__(self, windows, book, device, n=512, seed=7):
        self.book, self.device, self.cases = book, device, []
        g = torch.Generator(device).manual_seed(seed)
        middle = torch.zeros(SIDE, SIDE, dtype=torch.bool, device=device)
        middle[SIDE // 4:SIDE - SIDE // 4, SIDE // 4:SIDE - SIDE // 4] = True
        for name, step, share in self.CASES:
            ids, present = windows.draw(n, g)
            lost = lattice(n, step, torch.full((n,), share, device=device), g, device) if step else boxes(n, g, device)
            lost &= present
            self.cases.append((name, ids, present, lost, lost & middle.flatten()))

    @torch.no_grad()
    def predict(self, net, book, ids, present, lost, place, rounds):
        """The chosen clusters and mean vectors after `rounds`: in each, an equal part of the holes is decided, the surest first."""
        vectors, left = book["words"][ids], lost.clone()
        chosen, mean = torch.zeros_like(ids), torch.zeros_like(vectors)
        absent = torch.where(present, 0., -30000.)
        top5 = None
        for r in range(rounds):
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
                logits = net.head(net.states(vectors, left, absent, place)).float()
            p = logits.softmax(-1)
            sure, best = p.max(-1)
            top5 = logits.topk(5, -1).indices if top5 is None else top5
            share = 1 / (rounds - r)
            rank = torch.where(left, sure, -1.).argsort(1, descending=True).argsort(1)
            now = left & (rank < (left.sum(1, keepdim=True) * share).ceil())
            chosen = torch.where(now, best, chosen)
            mean = torch.where(now[..., None], p @ book["choice"], mean)
            vectors = torch.where(now[..., None], book["choice"][best], vectors)
            left &= ~now
        return chosen, vectors, mean, top5

    @torch.no_grad()
    def table(self, net, book, place, full=True):
        """Rows: case, lost tokens, accuracy and accuracy among the best 5 (%), errors of vectors against their variance."""
        rows = []
        spread = book["words"][:self.book.sizes[0]].var(0).sum()
        for name, ids, present, lost, counted in self.cases:
            holes = counted.nonzero()
            if not len(holes):
                continue
            truth, target = book["words"][ids[counted]], book["target"][ids[counted]]
            err = lambda v: float(((v - truth) ** 2).sum(-1).mean() / spread)  # noqa: E731
            median, mean = zip(*(medians(book["words"][ids], present & ~lost, h) for h in holes.split(4096)))
            chosen, vectors, soft, top5 = self.predict(net, book, ids, present, lost, place, 1)
            row = [name, len(holes), err(torch.cat(median)), err(torch.cat(mean)),
                   100 * float((chosen[counted] == target).float().mean()),
                   100 * float((top5[counted] == target[:, None]).any(1).float().mean()), err(vectors[counted]), err(soft[counted])]
            for rounds in (2, 3) if full else ():
                c, v, _, _ = self.predict(net, book, ids, present, lost, place, rounds)
                row += [100 * float((c[counted] == target).float().mean()), err(v[counted])]
            rows.append(row)
        return rows


HEAD = ("lost", "tokens", "median: error", "mean: error", "net: right %", "among 5 %", "error", "expectation: error",
        "2 rounds: right %", "error", "3 rounds: right %", "error")


def markdown(rows):
    cells = [[str(c) if not isinstance(c, float) else f"{c:.1f}" if c > 2 else f"{c:.3f}" for c in r] for r in rows]
    return "\n".join("| " + " | ".join(r) + " |" for r in [HEAD[:len(rows[0])], ["---"] * len(rows[0])] + cells)


# ---- the run ----

def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--ids", nargs="+")
    p.add_argument("--held", help="grids held back, and the codebook with its levels")
    p.add_argument("--model", help="the codebook and its levels, if the grids held back do not bring them")
    p.add_argument("--out")
    p.add_argument("--curve", default=os.path.join(HERE, "results", "fill-curve.tsv"))
    p.add_argument("--seconds", type=float, default=290, help="of training, evaluations included")
    p.add_argument("--batch", type=int, default=512)
    p.add_argument("--holes", type=int, default=48, help="lost tokens a window that enter the loss")
    p.add_argument("--lr", type=float, default=2e-3)
    p.add_argument("--warm", type=int, default=200)
    p.add_argument("--choices", type=int, default=1024, help="codes of the level that is chosen from")
    p.add_argument("--width", type=int, default=192)
    p.add_argument("--blocks", type=int, default=5)
    p.add_argument("--heads", type=int, default=6)
    p.add_argument("--hidden", type=int, default=336)
    p.add_argument("--drop", type=float, default=0.05, help="dropout of what blocks add")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--every", type=float, default=20, help="seconds from one evaluation to the next")
    p.add_argument("--compile", action="store_true", help="worth it for long runs")
    p.add_argument("--add", help="a file of --out")
    p.add_argument("--into", help="the model that gets it")
    p.add_argument("--golden")
    return p.parse_args()


def tables(book, device):
    return {"words": torch.as_tensor(book.words, device=device), "choice": torch.as_tensor(book.choice_words(), device=device),
            "of": torch.as_tensor(np.stack(book.of), device=device), "target": torch.as_tensor(book.target, device=device)}


class Trainer:
    def __init__(self, a, device):
        self.a, self.device = a, device
        book = load_book(a.model or a.held, a.choices)
        self.book, self.t = book, tables(book, device)
        self.windows = Windows(a.ids, book.sizes[0], device)
        self.judge = Judge(Windows([a.held], book.sizes[0], device), book, device)
        torch.manual_seed(a.seed)
        self.net, self.ema = (Filler(book.words.shape[1], book.sizes[book.level], a.width, a.blocks, a.heads, a.hidden,
                                     drop=a.drop).to(device) for _ in range(2))
        self.scale_input()
        self.ema.load_state_dict(self.net.state_dict())
        self.ema.eval()
        flat = [p for p in self.net.parameters() if p.dim() < 2] + [b.near for b in self.net.block]
        matrices = [p for p in self.net.parameters() if p.dim() == 2]
        self.opt = torch.optim.AdamW([{"params": flat, "weight_decay": 0.}, {"params": matrices, "weight_decay": .03}],
                                     lr=a.lr, betas=(.9, .98), fused=device.type == "cuda")
        self.place = Filler.places(SIDE, SIDE, SIDE).to(device)
        self.g = torch.Generator(device).manual_seed(a.seed)
        if a.compile:                   # blocks only, which are alike: the whole costs half a minute more to compile
            for b in self.net.block:
                b.compile(dynamic=False)

    @torch.no_grad()
    def scale_input(self):
        """Code vectors of any scale come in with a deviation of about one."""
        getattr(self.net, "in").weight.div_(self.t["words"].std())

    def draw(self):
        """vectors, lost, absent, holes that count, their clusters, their weights."""
        a = self.a
        ids, present = self.windows.draw(a.batch, self.g)
        lost = losses(a.batch, self.g, self.device) & present
        level = (torch.rand(a.batch, device=self.device, generator=self.g) * len(self.t["of"])).long()
        vectors = self.t["words"][self.t["of"][level[:, None], ids]]
        r = torch.rand(lost.shape, device=self.device, generator=self.g)
        some = torch.where(lost, r + 1, r).topk(a.holes, 1).indices
        return vectors, lost, torch.where(present, 0., -30000.), some, self.t["target"][ids].gather(1, some), lost.gather(1, some)

    def window_loss(self, vectors, lost, absent, some, target, counts):
        x = self.net.states(vectors, lost, absent, self.place)
        x = x.gather(1, some[..., None].expand(-1, -1, x.shape[-1]))
        each = F.cross_entropy(self.net.head(x).float().flatten(0, 1), target.flatten(), reduction="none")
        return (each * counts.flatten()).sum() / counts.sum().clamp(min=1)

    def step(self, rate):
        for group in self.opt.param_groups:
            group["lr"] = self.a.lr * rate
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            loss = self.window_loss(*self.draw())
        self.opt.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.opt.step()
        return loss.detach()

    @torch.no_grad()
    def follow(self, step):
        decay = min(.999, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.ema.parameters()), list(self.net.parameters()), 1 - decay)

    def run(self):
        a, t0 = self.a, time.time()
        print(f"{sum(p.numel() for p in self.net.parameters())} parameters, {len(self.windows.ids)} tokens, "
              f"{len(self.windows.h)} grids, {len(self.judge.cases[0][1])} windows held back, "
              f"{self.book.sizes[self.book.level]} choices", flush=True)
        curve = open(a.curve, "w")
        curve.write("seconds\tstep\tloss\tright_percent\tamong_5_percent\terror\texpectation_error\n")
        total, step, last = torch.zeros((), device=self.device), 0, t0
        best, kept, n = -1, {}, 0
        while time.time() - t0 < a.seconds:
            p = (time.time() - t0) / a.seconds
            total += self.step(min(1, (step + 1) / a.warm) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * p))))
            step, n = step + 1, n + 1
            self.follow(step)
            if time.time() - last > a.every or time.time() - t0 >= a.seconds:
                mean = float(total) / n
                last = time.time()
                rows = self.judge.table(self.ema, self.t, self.place, full=False)
                part = [sum(r[i] for r in rows) / len(rows) for i in (4, 5, 6, 7)]
                curve.write(f"{last - t0:.1f}\t{step}\t{mean:.4f}\t" + "\t".join(f"{v:.4f}" for v in part) + "\n")
                curve.flush()
                print(f"{last - t0:6.1f}s step {step} loss {mean:.4f} right {part[0]:.2f} % error {part[2]:.3f} {part[3]:.3f}",
                      flush=True)
                if part[0] > best:
                    best = part[0]
                    kept = self.save(last - t0, step)
                total.zero_()
                n = 0
        self.ema.load_state_dict(kept)      # the table speaks of what is stored
        print(markdown(self.judge.table(self.ema, self.t, self.place)), flush=True)

    def save(self, seconds, step):
        """Writes the average; returns what was written."""
        half = {k: v.half().cpu().numpy() for k, v in named(self.ema).items()}
        device = torch.cuda.get_device_name() if self.device.type == "cuda" else "cpu"
        tensorfile.save(self.a.out, half, {"seconds": f"{seconds:.0f}", "steps": str(step), "hardware": device,
                                           "torch": torch.__version__, "arguments": json.dumps(vars(self.a))})
        print(f"wrote {self.a.out}: {os.path.getsize(self.a.out)} bytes", flush=True)
        return {k[len(PREFIX):]: torch.as_tensor(v.astype(np.float32)) for k, v in half.items()}


def named(net):
    return {PREFIX + k: v.detach() for k, v in net.state_dict().items()}


def add(a):
    model, meta = tensorfile.load(a.into)
    fill, about = tensorfile.load(a.add)
    model = {k: v for k, v in model.items() if not k.startswith(PREFIX)} | fill
    meta["fill"] = json.dumps({k: about[k] for k in ("seconds", "steps", "hardware", "torch") if k in about})
    meta["tessera.sha256"] = tensorfile.digest(model)
    tensorfile.save(a.out + ".part", model, meta)
    os.replace(a.out + ".part", a.out)
    print(f"wrote {a.out}: {os.path.getsize(a.out)} bytes, {sum(v.nbytes for v in fill.values())} of them to fill in lost tokens")


# ---- golden vectors ----

def owner(length, side):
    """For each place, where the window begins that decides it: starts are multiples of half a side, the last ends with the grid;
    the window whose middle is nearest, the first of two."""
    starts = sorted({min(i * (side // 2), length - side) for i in range(length)}) if length > side else [0]
    return [min(starts, key=lambda s: (abs(2 * p - 2 * s - side + 1), s)) for p in range(length)]


@torch.no_grad()
def fill_grid(net, words, choice_words, ids, lost):
    """[h][w][dim]: the definition, a window at a time."""
    h, w = ids.shape
    out = words[ids].clone()
    own_y, own_x = owner(h, net.side), owner(w, net.side)
    for y0 in sorted(set(own_y)):
        for x0 in sorted(set(own_x)):
            ys, xs = slice(y0, min(y0 + net.side, h)), slice(x0, min(x0 + net.side, w))
            rows, cols = ys.stop - y0, xs.stop - x0
            gone = lost[ys, xs].flatten()
            if gone.all():
                continue
            x = net.states(words[ids[ys, xs]].view(1, rows * cols, -1), gone[None], torch.zeros(1, rows * cols),
                           Filler.places(rows, cols, net.side))
            logits = net.head(x)[0].view(rows, cols, -1)
            for y in range(h):
                for c in range(w):
                    if lost[y, c] and own_y[y] == y0 and own_x[c] == x0:
                        out[y, c] = logits[y - y0, c - x0].softmax(0) @ choice_words
    return out


@torch.no_grad()
def golden(a):
    """A net of random weights for windows of 6 x 6, one window's states and a whole grid filled in."""
    rng, dim, codes, choices = np.random.default_rng(5), 4, 60, 20
    torch.manual_seed(5)
    torch.set_default_dtype(torch.float64)
    net = Filler(dim, choices, 16, 2, 2, 24, 6)
    for p in net.parameters():
        p.data = (torch.as_tensor(rng.normal(size=p.shape)) * (p.shape[-1] ** -0.5 if p.dim() == 2 else 0.5)).half().double()
    words, choice_words = (torch.as_tensor(rng.normal(size=(n, dim))).float().double() for n in (codes, choices))
    ids, lost = rng.integers(0, codes, (17, 14)), rng.random((17, 14)) < 0.3
    lost[12:, 9:] = True            # the window at (11, 8) has tokens left, at its left
    x = torch.as_tensor(rng.normal(size=(1, 20, 16))).float().double()
    y = x
    for b in net.block:
        y = b(y, Filler.places(4, 5, 6), torch.zeros(1, 20))
    z = fill_grid(net, words, choice_words, torch.as_tensor(ids), torch.as_tensor(lost))
    os.makedirs(a.golden, exist_ok=True)
    t = {k: v.half().numpy() for k, v in named(net).items()}
    start = np.arange(choices, dtype=np.int32) * (codes // choices)
    t |= {"tessera.codebook": words.float().numpy(), "tessera.level.1.start": start,
          "tessera.level.1.codewords": choice_words.float().numpy()}
    tensorfile.save(os.path.join(a.golden, "model.safetensors"), t, {})
    for name, v in (("x", x[0]), ("y", y[0]), ("z", z)):
        np.save(os.path.join(a.golden, name + ".npy"), v.float().numpy())
    np.save(os.path.join(a.golden, "ids.npy"), np.where(lost, -1, ids).astype(np.float32))


def main():
    a = arguments()
    if a.golden:
        return golden(a)
    if a.add:
        return add(a)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cuda.matmul.allow_tf32 = True
    Trainer(a, device).run()


if __name__ == "__main__":
    main()
