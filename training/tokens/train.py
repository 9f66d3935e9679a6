#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Train `mosaic` on one GPU, by the clock.

train.py --data photos=photos.tar textures=textures.tar --features lite0.npz --out DIR --share 0.33 --deadline 560

One step is one CUDA graph.  --share is how far the curriculum goes in this call and --deadline when the call ends (seconds from
the program's start), so that a run can be cut into calls of any length (--resume DIR/state.pt, or DIR/weights.pt, which travels).

Curriculum, by progress: to RAW_UNTIL the plain autoencoder, to CODED_AT fewer and fewer crops go round the codebook; the judges
start at --adversary-at; at --freeze-at encoder and codebook are frozen, the codebook gets its last rounds of Lloyd and its tree,
and the decoder goes on alone, on larger crops, each at a random level of the tree.
"""
import argparse
import json
import math
import os
import sys
import tarfile
import time
from multiprocessing import Pool

START = time.time()
import numpy as np               # noqa: E402
import torch                     # noqa: E402
import torch.nn.functional as F  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]
import data                      # noqa: E402
import codebook                  # noqa: E402
import features                  # noqa: E402
import judges as J               # noqa: E402
import model as M                # noqa: E402
import state                     # noqa: E402

RAW_UNTIL, CODED_AT = 0.02, 0.06
JITTER = 16
LEVEL_CHANCE = (0.5, 0.125, 0.125, 0.125, 0.125)


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", nargs="+", required=True, help="KIND=TAR, kinds as in data.py")
    p.add_argument("--features", required=True, help="npz of features.fold")
    p.add_argument("--out", required=True)
    p.add_argument("--deadline", type=float, default=560)
    p.add_argument("--share", type=float, default=1.0)
    p.add_argument("--progress", type=float, help="start from here instead of where the state was")
    p.add_argument("--resume")
    p.add_argument("--batch", type=int, default=64)
    p.add_argument("--crop", type=int, default=256)
    p.add_argument("--batch-late", type=int, default=28)
    p.add_argument("--crop-late", type=int, default=384)
    p.add_argument("--lr", type=float, default=4e-4)
    p.add_argument("--lr-end", type=float, default=1e-5)
    p.add_argument("--judge-lr", type=float, default=3e-4)
    p.add_argument("--warm", type=int, default=300)
    p.add_argument("--pixel", type=float, default=1.0, help="share of the pixel loss in the gradient at the picture")
    p.add_argument("--grid", type=float, default=50.0, help="weight in the pixel loss of what repeats from patch to patch")
    p.add_argument("--felt", type=float, default=1.0, help="share of the perceptual loss")
    p.add_argument("--adversary", type=float, default=0.5, help="share of the heads on features")
    p.add_argument("--adversary-pixel", type=float, default=0.2, help="share of the judge of pixels")
    p.add_argument("--commit", type=float, default=0.15)
    p.add_argument("--adversary-at", type=float, default=0.3)
    p.add_argument("--freeze-at", type=float, default=0.8)
    p.add_argument("--refit-every", type=float, default=90, help="seconds")
    p.add_argument("--eval-every", type=float, default=120)
    p.add_argument("--beat", type=int, default=20)
    p.add_argument("--compile", type=int, default=1)
    p.add_argument("--graph", type=int, default=1)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--limit", type=int)
    p.add_argument("--steps", type=int, help="stop after so many steps")
    p.add_argument("--lloyd", type=int, default=4 << 20, help="latents for the last rounds of Lloyd")
    p.add_argument("--profile", type=int, default=0)
    return p.parse_args()


def load(pairs, workers=16, limit=None):
    """(kind/package/file, HWC uint8) of all pictures; names as in data.py, so that the same files are held back."""
    items = []
    for pair in pairs:
        kind, path = pair.split("=", 1)
        with tarfile.open(path) as tar:
            part = [(m.name, tar.extractfile(m).read()) for m in tar if m.isfile()][:limit]
        items += [(n if n.startswith(tuple(data.KIND_WEIGHT)) else f"{kind}/{n}", d) for n, d in part]
    with Pool(workers) as pool:
        return pool.map(data._decode, items, 8)


class Flat:
    """Master weights, moments and average in float32; weights and gradients that the nets see in their own type."""

    def __init__(self, net, device, dtype, betas):
        self.params, self.betas = list(net.named_parameters()), betas
        n = sum(p.numel() for _, p in self.params)
        self.value, self.m, self.v, self.ema = (torch.zeros(n, device=device) for _ in range(4))
        self.rate = torch.ones(n, device=device)
        self.usual = torch.zeros(2, device=device)          # running norm of the gradient, and its weight
        self.low, self.grad = (torch.zeros(n, device=device, dtype=dtype) for _ in range(2))
        self.at, i = {}, 0
        for name, p in self.params:
            self.view(self.value, i, p).copy_(p.data)
            self.at[name] = i
            i += p.numel()
        for name, p in self.params:
            i = self.at[name]
            low, grad = self.view(self.low, i, p), self.view(self.grad, i, p)
            p.data = low
            p.grad = grad
        self.ema.copy_(self.value)
        self.low.copy_(self.value)

    @staticmethod
    def view(flat, i, p):
        part = flat[i:i + p.numel()]
        if p.dim() == 4:
            o, c, h, w = p.shape
            return part.view(o, h, w, c).permute(0, 3, 1, 2)
        return part.view(p.shape)

    def named(self, flat):
        return {name: self.view(flat, self.at[name], p) for name, p in self.params}

    @torch.no_grad()
    def step(self, s):
        """s: [lr, 1-beta1^t, 1-beta2^t, average's decay].  A gradient of three times the usual norm is clipped; one that is
        not finite skips the step."""
        g = self.grad.float()
        norm = torch.linalg.vector_norm(g)
        ok = torch.isfinite(norm)
        usual = torch.where(self.usual[1] > 0, self.usual[0] / self.usual[1].clamp(min=1e-9), norm)
        scale = torch.where(ok, (3 * usual / (norm + 1e-12)).clamp(max=1), torch.zeros_like(norm))
        g = torch.where(ok, g * scale, torch.zeros_like(g))
        self.usual.mul_(0.99).add_(torch.where(ok, torch.stack([0.01 * norm * scale, torch.full_like(norm, 0.01)]),
                                               torch.zeros_like(self.usual)))
        self.m.lerp_(g, 1 - self.betas[0])
        self.v.lerp_(g * g, 1 - self.betas[1])
        self.value -= s[0] * self.rate * (self.m / s[1]) / ((self.v / s[2]).sqrt() + 1e-10)
        self.ema.lerp_(self.value, 1 - s[3])
        self.low.copy_(self.value)

    def tensors(self):
        return dict(value=self.value, m=self.m, v=self.v, ema=self.ema, rate=self.rate, usual=self.usual)


class Balance:
    """Gradients at fixed shares of their running norms, as EnCodec has it."""

    def __init__(self, names, device):
        self.at = {n: i for i, n in enumerate(names)}
        self.norms, self.seen = (torch.zeros(len(names), device=device) for _ in range(2))

    def unit(self, name, g):
        i = self.at[name]
        n = torch.linalg.vector_norm(g.float())
        self.norms[i].lerp_(n, 0.01)
        self.seen[i].lerp_(torch.ones_like(n), 0.01)
        return g * (self.seen[i] / (self.norms[i] + 1e-12)).to(g.dtype)

    def usual(self, name):
        i = self.at[name]
        return self.norms[i] / self.seen[i].clamp(min=1e-9)


class Trainer:
    LOGGED = ("pixel", "felt", "advF", "advP", "judF", "judP", "qerr", "rms")

    def __init__(self, a, device):
        self.a, self.device, self.cuda = a, device, device.type == "cuda"
        self.dtype = torch.bfloat16 if self.cuda else torch.float32
        self.pictures = load(a.data, limit=a.limit)
        self.held = data.held_back_crops(self.pictures, size=384 if self.cuda else 192, most=24)
        self.crops, self.late = data.Crops(self.pictures, device, a.crop), None
        torch.manual_seed(a.seed)
        self.net = M.Net().to(device)
        self.plain = M.Net().to(device).eval().to(memory_format=torch.channels_last)       # averaged weights, float32
        self.plain.requires_grad_(False)
        self.judges = J.Judges().to(device)
        self.judges.train()
        self.gen = Flat(self.net, device, self.dtype, (0.9, 0.99))
        self.jud = Flat(self.judges, device, self.dtype, (0.5, 0.99))
        arrays = np.load(a.features)
        self.feel = self.choose_layout(arrays)
        self.table = torch.randn(M.CODES, M.DIM, device=device)             # frozen between refits
        self.linear = torch.zeros(3, M.DIM, M.DIM + 1, device=device)       # the learnt map and its moments
        self.linear[0, :, :M.DIM] = torch.eye(M.DIM, device=device)
        self.norm = torch.zeros(M.DIM + 1, M.DIM, device=device)            # the latents' mean and whitening once frozen
        self.levels = None
        self.level_table = torch.zeros(len(M.LEVELS), M.CODES, M.DIM, device=device)
        self.used = torch.zeros(M.CODES, device=device)
        self.tokens = 0
        self.balance = Balance(("pixel", "felt", "advF", "advP", "z"), device)
        self.sched = torch.zeros(2, 5, device=device)
        self.raw, self.ramp = torch.ones((), device=device), torch.zeros((), device=device)
        self.chance = torch.tensor(LEVEL_CHANCE, device=device).cumsum(0)
        self.log = torch.zeros(len(self.LOGGED) + 1, device=device)
        self.steps = self.judge_steps = 0
        self.progress = self.seconds = 0.0
        self.frozen = self.refitted = self.scaled = False
        self.graphs, self.parts, self.fast = {}, None, M.Fast()
        if a.resume:
            state.resume(self, a.resume)
        if a.progress is not None:
            self.progress = a.progress
        if a.compile and self.cuda:
            torch._dynamo.config.recompile_limit = 64
            torch._functorch.config.donated_buffer = False      # some backward passes run twice
            # the norms only: compiling whole blocks took 75 s a run and was hardly faster
            self.fast.norm_swish = torch.compile(M.norm_swish, dynamic=False)
            self.fast.group_norm = torch.compile(M.group_norm, dynamic=False)
            self.distance = torch.compile(features.distance, dynamic=False)
            self.gen.step = torch.compile(self.gen.step, dynamic=False)
            self.jud.step = torch.compile(self.jud.step, dynamic=False)
        else:
            self.distance = features.distance

    def choose_layout(self, arrays):
        """The faster of the two layouts for depthwise convolutions."""
        if not self.cuda:
            return features.Features(arrays, self.device, self.dtype, torch.contiguous_format)
        best = None
        for layout in (torch.channels_last, torch.contiguous_format):
            f = features.Features(arrays, self.device, self.dtype, layout)
            x = torch.rand(self.a.batch, 3, 240, 240, device=self.device, requires_grad=True)
            for i in range(4):
                if i == 2:
                    torch.cuda.synchronize()
                    began = time.perf_counter()
                felt, _ = f(x)
                torch.autograd.grad(sum(v.float().sum() for v in felt), x)
            torch.cuda.synchronize()
            took = time.perf_counter() - began
            self.say(f"features, {layout}: {took * 500:.1f} ms forward and backward")
            if best is None or took < best[0]:
                best = took, f
        return best[1]

    # --- one step

    def mark(self, name):
        if self.parts is not None:
            torch.cuda.synchronize()
            now = time.perf_counter()
            self.parts[name] = self.parts.get(name, 0) + now - self.last
            self.last = now

    def words(self):
        return torch.addmm(self.linear[0, :, M.DIM], self.table, self.linear[0, :, :M.DIM].t())

    def latents(self, x):
        """Whitened latents [N,8,h,w] in float32 of the net in training, and their level before."""
        z = self.net.encode(x.to(self.dtype), M.Fast() if self.frozen else self.fast).float()
        if self.frozen:
            return M.whiten(z, self.norm[0], self.norm[1:]), z
        mean, cov = M.covariance(z.permute(0, 2, 3, 1).reshape(-1, M.DIM))
        return M.whiten(z, mean, M.inverse_root(cov)), z

    def quantise(self, z):
        """z [N,8,h,w], no gradient -> code vectors, codes."""
        n, d, h, w = z.shape
        flat = z.permute(0, 2, 3, 1).reshape(-1, d)
        at = codebook.nearest(flat, self.words())
        if self.frozen:
            lev = torch.searchsorted(self.chance, torch.rand(n, device=self.device)).clamp(max=len(M.LEVELS) - 1)
            q = self.level_table[lev.repeat_interleave(h * w), at]
        else:
            e = torch.cat([self.table[at], torch.ones_like(flat[:, :1])], 1)
            q = e @ self.linear[0].t()
            self.learn_map(e, q - flat)
        self.used.index_add_(0, at, torch.ones_like(flat[:, 0]))
        return q.reshape(n, h, w, d).permute(0, 3, 1, 2)

    def learn_map(self, e, error):
        """Adam on the squared distance of codes to latents: only the linear map learns."""
        g = error.t() @ e / len(e)
        self.linear[1].lerp_(g, 0.1)
        self.linear[2].lerp_(g * g, 0.01)
        self.linear[0] -= self.sched[0, 4] * self.linear[1] / (self.linear[2].sqrt() + 1e-8)

    def window(self, x, at):
        """A window JITTER smaller at a random place, so that the features' grid does not stay in one place."""
        i = torch.arange(x.shape[2] - JITTER, device=self.device)
        return x.index_select(2, i + at[0]).index_select(3, i + at[1])

    def compute(self, full):
        self.gen.grad.zero_()
        self.jud.grad.zero_()
        a = self.a
        crops, batch = (self.late, a.batch_late) if self.frozen else (self.crops, a.batch)
        x = crops.draw(batch)
        self.mark("crops")
        if self.frozen:
            with torch.no_grad():
                z, raw_z = self.latents(x)
        else:
            z, raw_z = self.latents(x)
        self.mark("encoder")
        with torch.no_grad():
            zd = z.detach()
            q = self.quantise(zd)
            loose = (torch.rand(len(x), 1, 1, 1, device=self.device) < self.raw).float()
            zl = q + loose * (zd + 0.1 * torch.randn_like(zd) - q)
        zl.requires_grad_(True)
        self.mark("codebook")
        y = self.net.decode(zl.to(self.dtype).contiguous(memory_format=torch.channels_last), self.fast)
        self.mark("decoder")
        yl = y.detach().float().contiguous().requires_grad_(True)
        values, g = self.judge_picture(x, yl, full)
        y.backward(g.to(y.dtype))
        self.mark("decoder backward")
        if not self.frozen:
            with torch.no_grad():
                gz = zl.grad.float()
                self.balance.unit("z", gz)
                pull = zd - q
                pull = pull * (self.balance.usual("z") / torch.linalg.vector_norm(pull).clamp(min=1e-9))
                gz = gz + self.a.commit * (1 - self.raw) * pull
            z.backward(gz)
            self.mark("encoder backward")
        with torch.no_grad():
            zero = torch.zeros((), device=self.device)
            row = [values.get(k, zero) for k in self.LOGGED[:6]]
            row += [(zd - q).square().mean(), raw_z.detach().square().mean().sqrt(), zero + 1]
            self.log.add_(torch.stack([v.detach().float() for v in row]))

    def judge_picture(self, x, y, full):
        """Losses of the picture y against x and their gradient at y; trains the judges on the way."""
        a, values = self.a, {}
        d = y - x
        small = F.avg_pool2d(d, 4)
        # what is the same at one place of many 4x4 patches is a grid, never texture
        grid = F.avg_pool2d(F.pixel_unshuffle(d, M.PATCH), 8)
        values["pixel"] = (d.abs().mean() + d.square().mean() + 2 * small.abs().mean() + 4 * small.square().mean()
                           + a.grid * grid.square().mean())
        g = a.pixel * self.balance.unit("pixel", torch.autograd.grad(values["pixel"], y)[0])
        at = (torch.rand(2, device=self.device) * JITTER).long()
        xw, yw = self.window(x, at), self.window(y, at)
        with torch.no_grad():
            felt_x, seen_x = self.feel(xw)
        felt_y, seen_y = self.feel(yw)
        values["felt"] = self.distance(felt_x, felt_y).mean()
        g_felt, = torch.autograd.grad(values["felt"], y, retain_graph=full)
        g = g + a.felt * self.balance.unit("felt", g_felt)
        self.mark("perceptual")
        if not full:
            return values, g
        low = lambda v: v.to(self.dtype).contiguous(memory_format=torch.channels_last)
        xp, yp = low(xw), low(yw.detach())
        self.judges.refresh()
        real, fake = self.judges(seen_x, xp), self.judges([s.detach() for s in seen_y], yp)
        values["judF"] = sum(J.hinge(r, f) for r, f in zip(real[0], fake[0])) / len(real[0])
        values["judP"] = J.hinge(real[1], fake[1])
        (values["judF"] + values["judP"]).backward()
        self.mark("judges")
        self.judges.eval()
        fool = self.judges(seen_y, low(yw))
        values["advF"] = -sum(f.float().mean() for f in fool[0]) / len(fool[0])
        values["advP"] = -fool[1].float().mean()
        ga, = torch.autograd.grad(values["advF"], y, retain_graph=True)
        gp, = torch.autograd.grad(values["advP"], y)
        self.judges.train()
        self.judges.forget()
        g = g + self.ramp * (a.adversary * self.balance.unit("advF", ga) + a.adversary_pixel * self.balance.unit("advP", gp))
        self.mark("judged")
        return values, g

    def apply(self, full):
        self.gen.step(self.sched[0])
        if full:
            self.jud.step(self.sched[1])

    def both(self, full):
        self.compute(full)
        self.apply(full)

    def capture(self, full):
        began = time.time()
        keep = self.snapshot()
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                self.both(full)
        torch.cuda.current_stream().wait_stream(side)
        torch.cuda.synchronize()
        for own, old in zip(self.mutable(), keep):
            own.copy_(old)
        g = torch.cuda.CUDAGraph()
        with torch.cuda.graph(g, capture_error_mode="thread_local"):
            self.both(full)
        self.graphs[full, self.frozen] = g
        self.say(f"captured full={full} frozen={self.frozen} in {time.time() - began:.1f} s, "
                 f"{torch.cuda.max_memory_allocated() / 2**30:.1f} GiB at most")

    def mutable(self):
        return [*self.gen.tensors().values(), *self.jud.tensors().values(), self.gen.low, self.jud.low, self.linear, self.used,
                self.log, self.balance.norms, self.balance.seen, *self.judges.buffers()]

    def snapshot(self):
        return [t.clone() for t in self.mutable()]

    def one(self, full):
        if self.a.graph and self.cuda:
            self.graphs[full, self.frozen].replay()
        else:
            self.both(full)
        self.steps += 1
        self.judge_steps += full
        self.tokens += (self.a.batch_late * (self.a.crop_late // M.FACTOR) ** 2 if self.frozen
                        else self.a.batch * (self.a.crop // M.FACTOR) ** 2)

    def profile(self, full, rounds=5):
        keep = self.snapshot()
        for _ in range(2):
            self.both(full)
        self.parts = {}
        for _ in range(rounds):
            torch.cuda.synchronize()
            self.last = time.perf_counter()
            self.compute(full)
            self.apply(full)
            self.mark("optimiser")
        text = ", ".join(f"{k} {1000 * v / rounds:.1f}" for k, v in self.parts.items())
        self.parts = None
        for own, old in zip(self.mutable(), keep):
            own.copy_(old)
        self.say(f"ms a step, eager launches, judges {full}, frozen {self.frozen}: {text}")

    # --- the run

    def say(self, text):
        print(f"[{time.time() - START:6.1f}] {text}", flush=True)

    def schedule(self):
        a, p = self.a, self.progress
        fall = 0.5 * (1 + math.cos(math.pi * min(1.0, p)))
        rows = []
        for top, t, (b1, b2) in ((a.lr, self.steps + 1, self.gen.betas), (a.judge_lr, self.judge_steps + 1, self.jud.betas)):
            rate = (a.lr_end + (top - a.lr_end) * fall) * min(1.0, t / a.warm)
            rows.append([rate, 1 - b1 ** t, 1 - b2 ** t, min(0.999, (1 + t) / (10 + t)), 1e-3 * fall])
        self.sched.copy_(torch.tensor(rows))
        self.raw.fill_(min(1.0, max(0.0, (CODED_AT - p) / (CODED_AT - RAW_UNTIL))))
        self.ramp.fill_(min(1.0, max(0.0, (p - a.adversary_at - 0.01) / 0.05)))
        return rows[0][0]

    def prepare(self):
        """What the next steps need, so that the first ones of a call do not run on the clock: (judges train, learning rate)."""
        a, full = self.a, self.progress >= self.a.adversary_at
        if self.frozen and self.late is None:
            self.late = data.Crops(self.pictures, self.device, a.crop_late)
        if full and not self.scaled:
            with torch.no_grad():
                self.judges.learn_scales(self.feel(self.crops.draw(a.batch)[:, :, :240, :240])[1])
            self.scaled = True
        lr = self.schedule()
        if self.cuda and (full, self.frozen) not in self.graphs:
            if a.profile:
                self.profile(full)
            if a.graph:
                self.graphs.clear()
                torch.cuda.empty_cache()
                self.capture(full)
        return full, lr

    def run(self):
        a = self.a
        self.prepare()
        began = time.time() - START
        p0, seconds0, steps0 = self.progress, self.seconds, self.steps
        now = t0 = began
        next_eval, next_refit = now + a.eval_every, now + a.refit_every
        self.say(f"{len(self.pictures)} pictures, {self.crops.count} in all scales, {len(self.held)} held-back crops, progress {p0:.3f}")
        while now < a.deadline and not (a.steps and self.steps - steps0 >= a.steps):
            self.progress = p0 + (a.share - p0) * (now - began) / max(1e-3, a.deadline - began)
            self.seconds = seconds0 + now - began
            if not self.frozen and self.progress >= a.freeze_at:
                state.freeze(self)
            elif not self.frozen and self.progress >= RAW_UNTIL and (not self.refitted or now >= next_refit):
                state.refit(self)
                next_refit = now + a.refit_every
            full, lr = self.prepare()
            for _ in range(a.beat):
                self.one(full)
            if self.cuda:
                torch.cuda.synchronize()
            now = time.time() - START
            if self.steps % (10 * a.beat) == 0:
                self.report(10 * a.beat / (now - t0), lr)
                t0 = now
            if now >= next_eval:
                state.evaluate(self)
                state.save(self)
                next_eval = time.time() - START + a.eval_every
        self.progress = p0 + (a.share - p0) * min(1.0, (now - began) / max(1e-3, a.deadline - began))
        self.seconds = seconds0 + now - began
        self.say(f"{self.steps - steps0} steps in {now - began:.1f} s, {(self.steps - steps0) / (now - began):.2f} a second")

    def report(self, rate, lr):
        v = (self.log / self.log[-1]).tolist()
        self.log.zero_()
        u = self.used / self.used.sum()
        share, perplexity = float((self.used > 0).float().mean()), float((-(u * (u + 1e-12).log()).sum()).exp())
        tokens, self.tokens = self.tokens, 0
        self.used.zero_()
        if not math.isfinite(sum(v)):
            sys.exit("a loss is not a number")
        self.say(f"step {self.steps} p {self.progress:.3f} {rate:.2f} it/s lr {lr:.1e} " + " ".join(
            f"{k} {x:.3f}" for k, x in zip(self.LOGGED, v)) + f" used {share:.3f} of {tokens >> 10}k perplexity {perplexity:.0f}")
        with open(f"{self.a.out}/losses.tsv", "a") as f:
            f.write("\t".join(f"{x:.5g}" for x in [self.seconds, self.steps, self.progress, rate, lr] + v[:-1] + [share, perplexity]) + "\n")
        if self.progress > 0.15 and share < 0.3 and tokens > 10 * M.CODES:
            state.save(self)
            sys.exit("the use of the codebook has collapsed")



def main():
    a = arguments()
    cuda = torch.cuda.is_available()
    device = torch.device("cuda" if cuda else "cpu")
    if cuda:
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = True
    else:
        torch.set_num_threads(2)
    os.makedirs(a.out, exist_ok=True)
    t = Trainer(a, device)
    try:
        t.run()
    finally:
        state.save(t)           # also of a run that broke off
    state.evaluate(t)
    state.sheet(t, f"{a.out}/sheet.png")
    with open(f"{a.out}/done.json", "w") as f:
        json.dump(dict(seconds=t.seconds, steps=t.steps, progress=t.progress, device=torch.cuda.get_device_name() if cuda else "cpu",
                       torch=torch.__version__, arguments=vars(a)), f)


if __name__ == "__main__":
    main()
