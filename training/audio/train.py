#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Train the audio codec by the clock on any number of GPUs of one host.

torchrun --nproc_per_node 8 training/audio/train.py --data UNPACKED --out DIR --deadline 540 --share 1
    [--resume DIR/state.pt]

The curriculum is a function of progress, 0..1: only the autoencoder, then codebooks (k-means start) that more and more clips
go through, then adversaries; the learning rate falls all the time.  A call moves progress from where the resumed state
stands to --share, and ends --deadline seconds after its start, whatever the speed.  One step is one captured CUDA graph;
gradients and the codebooks' statistics lie in one buffer, so one all-reduce is all the processes exchange.
"""
import argparse
import json
import math
import os
import sys
import time

START = time.time()

import torch                        # noqa: E402
import torch.distributed as dist    # noqa: E402

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import data                         # noqa: E402
import disc                         # noqa: E402
import losses                       # noqa: E402
import model as M                   # noqa: E402
import state                        # noqa: E402

SHARES = {"wave": 0.25, "mel": 2.0, "bands": 1.0, "adv": 1.0, "feat": 2.0}
COMMIT, HOLD = 0.05, 0.3            # of the gradient that reaches the latent; the latter keeps its rms at 1
KMEANS_AT, ALL_QUANTISED_AT = 0.03, 0.09
REVIVE_UNTIL = 0.85


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", required=True, help="folder of packs unpacked by data.py")
    p.add_argument("--out", required=True)
    p.add_argument("--resume", help="state.pt, or weights.pt with fresh moments")
    p.add_argument("--progress", type=float, help="take the resumed run to stand here, to train on after its end")
    p.add_argument("--deadline", type=float, default=540, help="seconds from the start of the program to the last step")
    p.add_argument("--share", type=float, default=1.0, help="progress at the end of this call")
    p.add_argument("--batch", type=int, default=24, help="one-second crops a GPU")
    p.add_argument("--length", type=int, default=24000)
    p.add_argument("--widths", type=int, nargs=2, default=(24, 24), help="first channels of encoder, last of decoder")
    p.add_argument("--adversary", type=float, default=1, help="weight of the adversarial losses; 0: none")
    p.add_argument("--adversary-at", type=float, default=0.36, help="progress at which they begin")
    p.add_argument("--judge", type=int, default=32, help="channels of the discriminators")
    p.add_argument("--lr", type=float, default=6e-4, help="for 192 crops a step on all GPUs together; scales with the root")
    p.add_argument("--lr-end", type=float, default=1e-5)
    p.add_argument("--judge-lr", type=float, default=3e-4)
    p.add_argument("--warm", type=int, default=200)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--graph", type=int, default=1)
    p.add_argument("--eval-every", type=float, default=60)
    p.add_argument("--beat", type=int, default=20, help="steps between looks at the clock")
    p.add_argument("--steps", type=int, help="stop after so many (tests)")
    return p.parse_args()


class Flat:
    """Values, moments and average of a model's parameters, flat; gradients in a buffer that the caller may share."""

    def __init__(self, net, device, extra=0):
        self.params = list(net.named_parameters())
        n = self.n = sum(p.numel() for _, p in self.params)
        self.comm = torch.zeros(n + extra, device=device)
        self.grad = self.comm[:n]
        self.value, self.m, self.v, self.ema = (torch.zeros(n, device=device) for _ in range(4))
        self.usual = torch.zeros((), device=device)
        at = 0
        for _, p in self.params:
            view = self.value[at:at + p.numel()].view(p.shape)
            view.copy_(p.data)
            p.data = view
            p.grad = self.grad[at:at + p.numel()].view(p.shape)
            at += p.numel()
        self.ema.copy_(self.value)

    def tensors(self):
        return {k: getattr(self, k) for k in ("value", "m", "v", "ema", "usual")}

    @torch.no_grad()
    def step(self, s, world):
        """Adam with betas 0.8, 0.99; s: device tensor [lr, 1-b1^t, 1-b2^t, ema decay].  A gradient far above the usual
        norm is scaled down, one that is not finite is dropped."""
        g = self.grad / world
        norm = torch.linalg.vector_norm(g)
        ok = torch.isfinite(norm)
        norm = torch.where(ok, norm, self.usual)
        limit = torch.where(self.usual > 0, 2 * self.usual, norm)
        self.usual.copy_(torch.where(self.usual > 0, 0.98 * self.usual + 0.02 * torch.minimum(norm, limit), norm))
        g = torch.where(ok, g * (limit / (norm + 1e-12)).clamp(max=1), torch.zeros_like(g))
        self.m.lerp_(g, 0.2)
        self.v.lerp_(g * g, 0.01)
        self.value -= s[0] * (self.m / s[1]) / ((self.v / s[2]).sqrt() + 1e-9)
        self.ema.lerp_(self.value, 1 - s[3])


class Trainer:
    LOGGED = ("mel", "wave", "bands", "commit", "adv", "feat", "judge", "spread")

    def __init__(self, a, rank, world, device):
        self.a, self.rank, self.world, self.device = a, rank, world, device
        self.cuda = device.type == "cuda"
        samples, rows = data.load(a.data)
        self.crops = data.Crops(samples, rows, device, a.length)
        self.held, self.held_names = data.held_back(samples, rows)
        torch.manual_seed(a.seed)
        self.net = M.Codec(*a.widths).to(device)
        self.judges = disc.Discriminators(a.judge).to(device)
        shape = (M.LEVELS, M.ENTRIES, M.DIM + 1)
        self.gen = Flat(self.net, device, math.prod(shape))
        self.stats = self.gen.comm[self.gen.n:].view(shape)
        self.jud = Flat(self.judges, device)
        self.balance = losses.Balance(("wave", "mel", "adv", "feat", "z", "commit", "bands"), device)
        self.mel = losses.Mel(device)
        self.bands = losses.Envelopes(device)
        self.sched = torch.zeros(2, 4, device=device)
        self.raw = torch.ones((), device=device)        # share of clips that go around the codebooks
        self.ramp = torch.zeros((), device=device)      # of the adversarial losses
        self.log = torch.zeros(len(self.LOGGED) + 1, device=device)
        self.pool = torch.zeros(M.LEVELS, a.batch * a.length // M.HOP, M.DIM, device=device)
        self.steps = self.judge_steps = 0
        self.progress = 0.0
        self.seconds = 0.0
        self.coded = False
        if a.resume:
            state.resume(self, a.resume)
        if a.progress is not None:
            self.progress = a.progress
        torch.manual_seed(a.seed * 1000 + self.steps + rank)
        self.graphs, self.parts, self.last = {}, None, 0.0

    # --- one step

    def mark(self, name):
        """Times the parts of a step while profiling."""
        if self.parts is not None:
            torch.cuda.synchronize()
            now = time.perf_counter()
            self.parts[name] = self.parts.get(name, 0) + now - self.last
            self.last = now

    def cast(self):
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.cuda, cache_enabled=False)

    def draw_levels(self, n):
        r = torch.rand(n, 1, device=self.device)
        levels = 2 + 2 * (r > 0.25) + 4 * (r > 0.65)
        return (torch.arange(M.LEVELS, device=self.device)[None] < levels).float()

    def compute(self, full):
        """Gradients of both networks into their buffers."""
        net, n = self.net, self.a.batch
        self.gen.comm.zero_()
        x = self.crops.draw(n)
        self.mark("draw")
        z = net.encoder(x[:, None])
        self.mark("encoder")
        zl = z.detach().requires_grad_()
        zq, commit, residuals = net.quantizer(zl, self.draw_levels(n), self.stats)
        for q, r in enumerate(residuals):
            self.pool[q].copy_(r)
        around = torch.rand(n, 1, 1, device=self.device) < self.raw
        self.mark("quantiser")
        xh = net.decoder(torch.where(around, zl, zq))[:, 0]
        self.mark("decoder")
        xl = xh.detach().requires_grad_()
        values = {"wave": losses.wave(x, xl), "mel": self.mel(x, xl), "bands": self.bands(x, xl)}
        grads = {k: torch.autograd.grad(v, xl)[0] for k, v in values.items()}
        self.mark("spectra")
        judged = torch.zeros((), device=self.device)
        if full:
            judged = self.judge(x, xl, values, grads)
        total = 0
        for k, g in grads.items():
            weight = SHARES[k] * (self.ramp if k in ("adv", "feat") else 1)
            total = total + weight * self.balance.unit(k, g)
        xh.backward(total)
        self.mark("decoder backward")
        gc, = torch.autograd.grad(commit, zl)
        z.backward(zl.grad + self.pull(zl, gc))
        self.mark("encoder backward")
        with torch.no_grad():
            zero = torch.zeros((), device=self.device)
            row = [values.get(k, zero) for k in ("mel", "wave", "bands")] + [commit] + [
                values.get(k, zero) for k in ("adv", "feat")] + [judged, z.std(), zero + 1]
            self.log.add_(torch.stack([v.detach().float() for v in row]))

    @torch.no_grad()
    def pull(self, z, gc):
        """Beside the decoder's gradient at the latent: commitment, less its part along z, which would only shrink the
        latent (to 1/1000 in a run of 16 minutes: steps then shake it by more than it holds); and what keeps the rms at 1."""
        self.balance.unit("z", z.grad)
        usual = self.balance.norms[self.balance.at["z"]] / self.balance.seen[self.balance.at["z"]]
        square = z.square().sum()
        gc = self.balance.unit("commit", gc - (gc * z).sum() / square * z)
        hold = 0.5 * (square / z.numel()).log() * z / square.sqrt()
        return usual * (COMMIT * (1 - self.raw) * gc + HOLD * hold)

    def judge(self, x, xl, values, grads):
        n = len(x)
        self.jud.comm.zero_()
        with self.cast():
            outputs = self.judges(torch.cat([x, xl.detach()]))
        loss = disc.judge_loss(outputs)
        loss.backward()
        self.mark("judges")
        real = [[f[:n].detach() for f in features] for _, features in outputs]
        self.judges.requires_grad_(False)
        with self.cast():
            fake = self.judges(xl)
        values["adv"], values["feat"] = disc.fool_losses(real, fake)
        grads["adv"], = torch.autograd.grad(values["adv"], xl, retain_graph=True)
        grads["feat"], = torch.autograd.grad(values["feat"], xl)
        self.judges.requires_grad_(True)
        self.mark("judged")
        return loss

    def apply(self, full):
        self.gen.step(self.sched[0], self.world)
        if self.coded:
            self.net.quantizer.update(self.stats)
        if full:
            self.jud.step(self.sched[1], self.world)

    def exchange(self, full):
        if self.world > 1:
            dist.all_reduce(self.gen.comm)
            if full:
                dist.all_reduce(self.jud.comm)

    def capture(self, full):
        """The two graphs of a step; warm-up runs are real computations without an update."""
        began = time.time()
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                self.compute(full)
        torch.cuda.current_stream().wait_stream(side)
        torch.cuda.synchronize()
        graphs = []
        for part in (self.compute, self.apply):
            g = torch.cuda.CUDAGraph()
            with torch.cuda.graph(g, capture_error_mode="thread_local"):
                part(full)
            graphs.append(g)
        self.log.zero_()
        self.graphs[full, self.coded] = graphs
        self.say(f"captured full={full} coded={self.coded} in {time.time() - began:.1f} s")

    def one(self, full):
        if self.a.graph and self.cuda:
            if (full, self.coded) not in self.graphs:
                self.graphs.clear()
                self.capture(full)
            first, second = self.graphs[full, self.coded]
            first.replay()
            self.exchange(full)
            second.replay()
        else:
            self.compute(full)
            self.exchange(full)
            self.apply(full)
        self.steps += 1
        self.judge_steps += full

    def profile(self, full, rounds=5):
        """Milliseconds of each part, run one after the other."""
        self.compute(full)
        self.parts = {}
        for _ in range(rounds):
            torch.cuda.synchronize()
            self.last = time.perf_counter()
            self.compute(full)
        text = ", ".join(f"{k} {1000 * v / rounds:.1f}" for k, v in self.parts.items())
        self.parts = None
        self.say(f"ms a step, eager, {'with' if full else 'without'} judges: {text}")

    # --- the run

    def say(self, text):
        if self.rank == 0:
            print(f"[{time.time() - START:6.1f}] {text}", flush=True)

    def schedule(self):
        a, p = self.a, self.progress
        lr = a.lr * math.sqrt(a.batch * self.world / 192)
        fall = 0.5 * (1 + math.cos(math.pi * min(1.0, p)))
        rows = []
        for top, t in ((lr, self.steps + 1), (a.judge_lr, self.judge_steps + 1)):
            rate = (a.lr_end + (top - a.lr_end) * fall) * min(1.0, t / a.warm)
            rows.append([rate, 1 - 0.8 ** t, 1 - 0.99 ** t, min(0.998, (1 + t) / (10 + t))])
        self.sched.copy_(torch.tensor(rows))
        left = (ALL_QUANTISED_AT - p) / (ALL_QUANTISED_AT - KMEANS_AT)
        self.raw.fill_(min(1.0, max(0.0, left)) if self.coded else 1.0)
        self.ramp.fill_(a.adversary * min(1.0, max(0.0, (p - a.adversary_at) / 0.04)))
        return rows[0][0]

    def shared_clock(self):
        """Seconds since the start as rank 0 sees them, so that all take the same turns."""
        t = torch.tensor(time.time() - START, dtype=torch.float64, device=self.device)
        if self.world > 1:
            dist.broadcast(t, 0)
        return t.item()

    def run(self):
        a = self.a
        if self.cuda:
            self.profile(False)
            self.profile(True)
        torch.manual_seed(a.seed * 1000 + self.steps + self.rank)
        begin = now = self.shared_clock()
        p0, seconds0, steps0 = self.progress, self.seconds, self.steps
        next_eval, t0 = begin + a.eval_every, begin
        self.say(f"{self.crops.hours:.2f} h of training audio, {len(self.held)} held-back clips, progress {p0:.3f}")
        while now < a.deadline and not (a.steps and self.steps - steps0 >= a.steps):
            self.progress = p0 + (a.share - p0) * (now - begin) / max(1e-3, a.deadline - begin)
            self.seconds = seconds0 + now - begin
            if not self.coded and self.progress >= KMEANS_AT:
                state.start_codebooks(self)
            lr = self.schedule()
            full = a.adversary > 0 and self.progress >= a.adversary_at
            for _ in range(a.beat):
                self.one(full)
            if self.coded and self.progress < REVIVE_UNTIL and self.steps % (3 * a.beat) == 0:
                state.revive(self)
            now = self.shared_clock()
            if self.steps % (10 * a.beat) == 0:
                self.report(10 * a.beat / (now - t0), lr)
                t0 = now
            if now >= next_eval:
                state.evaluate(self)
                next_eval = self.shared_clock() + a.eval_every
        self.progress = p0 + (a.share - p0) * min(1.0, (now - begin) / max(1e-3, a.deadline - begin))
        self.seconds = seconds0 + now - begin
        self.say(f"{self.steps - steps0} steps in {now - begin:.1f} s, {(self.steps - steps0) / (now - begin):.2f} a second")

    def report(self, rate, lr):
        v = (self.log / self.log[-1]).tolist()
        used = self.net.quantizer.size / self.net.quantizer.size.sum(1, keepdim=True)
        bits = (-used * (used + 1e-9).log2()).sum(1).tolist()
        self.log.zero_()
        self.say(f"step {self.steps} p {self.progress:.3f} {rate:.2f} it/s lr {lr:.1e} " + " ".join(
            f"{k} {x:.3f}" for k, x in zip(self.LOGGED, v)) + " bits " + " ".join(f"{b:.2f}" for b in bits))
        if self.rank == 0:
            with open(f"{self.a.out}/losses.tsv", "a") as f:
                f.write("\t".join(f"{x:.5g}" for x in [self.seconds, self.steps, self.progress, rate, lr] + v[:-1] + bits) + "\n")


def main():
    a = arguments()
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    cuda = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = True
    else:
        torch.set_num_threads(1)
    if world > 1:
        dist.init_process_group("nccl" if cuda else "gloo")
    os.makedirs(a.out, exist_ok=True)
    t = Trainer(a, rank, world, device)
    t.run()
    state.evaluate(t, clips=3)
    if rank == 0:
        state.save(t)
        with open(f"{a.out}/done.json", "w") as f:
            json.dump(dict(seconds=t.seconds, steps=t.steps, progress=t.progress, batch=a.batch * world, gpus=world,
                           device=torch.cuda.get_device_name() if cuda else "cpu", torch=torch.__version__,
                           arguments=vars(a)), f)
    if world > 1:
        dist.barrier()
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
