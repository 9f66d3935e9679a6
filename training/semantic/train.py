#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Train the codec `semantic` by the clock on any number of GPUs of one host.

torchrun --nproc_per_node 2 training/semantic/train.py --data UNPACKED --teacher teacher.npz --out DIR --deadline 540
    --share 0.55 [--resume DIR/state.pt]

The curriculum is a function of progress, 0..1: autoencoder with the teacher's tokens, then the encoder's own tokens, k-means
and acoustic books, then adversaries.  A call moves progress from where the resumed run stands to --share and stops
--deadline seconds after its start.  A step is one captured CUDA graph.
"""
import argparse
import importlib.util
import json
import math
import os
import sys
import time

START = time.time()

import torch                        # noqa: E402
import torch.distributed as dist    # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import clips                        # noqa: E402
import nets                         # noqa: E402
import teacher                      # noqa: E402
import between                      # noqa: E402
import disc                         # noqa: E402
import losses                       # noqa: E402

losses.RATE = nets.RATE
spec = importlib.util.spec_from_file_location("sound_train", os.path.join(HERE, "..", "audio", "train.py"))
sound_train = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sound_train)
Flat = sound_train.Flat

SHARES = {"mel": 2.0, "bands": 0.7, "heard": 2.2, "adv": 1.0, "feat": 2.0}
COMMIT, HOLD, MEANING = 0.05, 0.3, 1.0      # of the gradient that reaches the acoustic latent
KMEANS_AT, ALL_QUANTISED_AT = 0.04, 0.09    # progress
OWN_FROM, OWN_ALL = 0.04, 0.16              # the encoder's tokens instead of the teacher's
REVIVE_UNTIL = 0.85
JUDGES_LEARN = 0.06                         # progress
HEARD = (2, 4, 6)                           # layers of the teacher
MEL = ((64, 12), (128, 20), (256, 40), (512, 80), (1024, 120), (2048, 160))


class Envelopes(losses.Envelopes):
    SIZE, HOP = 410, 205            # 25.6 ms at 16 kHz


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", required=True)
    p.add_argument("--teacher", required=True)
    p.add_argument("--out", required=True)
    p.add_argument("--resume", help="state.pt, or weights.pt: then moments are rebuilt while it warms up")
    p.add_argument("--progress", type=float)
    p.add_argument("--deadline", type=float, default=540)
    p.add_argument("--share", type=float, default=1.0)
    p.add_argument("--batch", type=int, default=24, help="crops a GPU")
    p.add_argument("--frames", type=int, default=48, help="of a crop, 40 ms each")
    p.add_argument("--tiny", type=int, default=0, help="a net of a few channels, to rehearse")
    p.add_argument("--versions", type=int, default=1, help="of every clip, at speeds of their own")
    p.add_argument("--decoder-only", type=int, default=0, help="1: the encoder stays as it is")
    p.add_argument("--adversary", type=float, default=0.0, help="weight of the adversarial losses; 0: none")
    p.add_argument("--adversary-at", type=float, default=0.72)
    p.add_argument("--judge", type=int, default=32)
    p.add_argument("--lr", type=float, default=8e-4, help="for 64 crops a step on all GPUs together; scales with the root")
    p.add_argument("--lr-end", type=float, default=1e-5)
    p.add_argument("--judge-lr", type=float, default=2e-4)
    p.add_argument("--warm", type=int, default=200)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--graph", type=int, default=1)
    p.add_argument("--eval-every", type=float, default=60)
    p.add_argument("--beat", type=int, default=20)
    p.add_argument("--dump", type=int, default=0, help="1: codes of all clips at the end, for audio/codes.py")
    p.add_argument("--steps", type=int, help="stop after so many (tests)")
    return p.parse_args()


class Trainer:
    LOGGED = ("mel", "bands", "heard", "commit", "cross", "hit", "adv", "feat", "judge", "spread")

    def __init__(self, a, rank, world, device):
        self.a, self.rank, self.world, self.device = a, rank, world, device
        self.cuda = device.type == "cuda"
        samples, self.rows = clips.load(a.data)
        pcm = torch.from_numpy(samples).to(device)
        labels = teacher.Teacher(a.teacher, device)
        words = labels.extra["book"]
        pcm, feats, every = clips.versions(labels, pcm, self.rows, a.versions, START + 0.15 * a.deadline)
        toks = torch.cat([nets.Quantiser.nearest(f.float(), words) for f in feats.split(65536)])
        self.say(f"{len(feats)} frames labelled, spread {float(feats.float().std()):.3f}")
        self.crops = clips.Crops(pcm, feats, toks, every, device, a.frames * nets.HOP)
        self.held, self.held_feats, self.held_names = clips.held_back(pcm, feats, self.rows)
        self.critic = teacher.Teacher(a.teacher, device, torch.bfloat16 if self.cuda else torch.float32)
        torch.manual_seed(a.seed)
        self.net = (nets.Codec(4, (16, 12, 8, 8, 4), (1, 1)) if a.tiny else nets.Codec()).to(device)
        self.net.quantizer.words.copy_(words)
        self.judges = disc.Discriminators(a.judge).to(device)
        shape = (nets.LEVELS, nets.ENTRIES, nets.ACOUSTIC + 1)
        self.gen = Flat(self.net, device, math.prod(shape))
        self.stats = self.gen.comm[self.gen.n:].view(shape)
        self.jud = Flat(self.judges, device)
        self.balance = losses.Balance(("mel", "bands", "heard", "adv", "feat", "z", "commit", "meaning"), device)
        self.mel = losses.Mel(device, MEL)
        self.bands = Envelopes(device)
        self.sched = torch.zeros(2, 4, device=device)
        self.raw = torch.ones((), device=device)        # share of crops whose acoustic part goes around its books
        self.taught = torch.ones((), device=device)     # share of crops with the teacher's tokens
        self.ramp = torch.zeros((), device=device)
        self.log = torch.zeros(len(self.LOGGED) + 1, device=device)
        self.pool = torch.zeros(nets.LEVELS, a.batch * a.frames, nets.ACOUSTIC, device=device)
        self.steps = self.judge_steps = 0
        self.progress = self.seconds = 0.0
        self.coded = self.unjudged = False
        if a.resume:
            between.resume(self, a.resume)
        if a.progress is not None:
            self.progress = a.progress
        torch.manual_seed(a.seed * 1000 + self.steps + rank)
        self.graphs = {}

    # --- one step

    def draw_levels(self, n):
        """8 % of the crops have no acoustic level, 17 % one, 15 % two, 35 % three, 25 % all."""
        r = torch.rand(n, 1, device=self.device)
        levels = 0 + (r > 0.08) + (r > 0.25).long() + (r > 0.40).long() + 2 * (r > 0.75).long()
        return (torch.arange(nets.LEVELS, device=self.device)[None] < levels).float()

    def heard(self, x, y):
        """Difference of the teacher's activations, in deviations of each channel."""
        with torch.no_grad():
            a = [h.float() for h in self.critic.layers(x, HEARD)]
        b = self.critic.layers(y, HEARD)
        total = 0
        for p, q in zip(a, b):
            total = total + ((p - q.float()) / (p.std((0, 1), keepdim=True) + 1e-3)).abs().mean()
        return total / len(a)

    def meaning(self, zs, feats, toks):
        """What keeps the first dimensions of the latent at the teacher's features: cross-entropy over the words, and distance."""
        flat = zs.transpose(1, 2).reshape(-1, nets.SEM)
        logits = self.net.quantizer.logits(flat)
        cross = torch.nn.functional.cross_entropy(logits, toks.flatten())
        hit = (logits.detach().argmax(1) == toks.flatten()).float().mean()
        return cross + (flat - feats.reshape(-1, nets.SEM)).square().mean(), cross, hit, logits

    def compute(self, full):
        """Gradients of both networks into their buffers."""
        net, n = self.net, self.a.batch
        self.gen.comm.zero_()
        x, feats, toks = self.crops.draw(n)
        with torch.set_grad_enabled(not self.a.decoder_only):
            z = net.encoder(x[:, None])
        zl = z.detach().requires_grad_()
        zs, za = zl[:, :nets.SEM], zl[:, nets.SEM:]
        meant, cross, hit, logits = self.meaning(zs, feats, toks)
        own = logits.detach().argmax(1).view(n, -1)
        told = torch.rand(n, 1, device=self.device) < self.taught
        words = net.quantizer.words[torch.where(told, toks, own)].transpose(1, 2)
        zq, commit, left = net.quantizer(za, self.draw_levels(n), self.stats)
        for q, r in enumerate(left):
            self.pool[q].copy_(r)
        around = torch.rand(n, 1, 1, device=self.device) < self.raw
        xh = net.decoder(torch.cat([words, torch.where(around, za, zq)], 1))[:, 0]
        xl = xh.detach().requires_grad_()
        values = {"mel": self.mel(x, xl), "bands": self.bands(x, xl), "heard": self.heard(x, xl)}
        grads = {k: torch.autograd.grad(v, xl)[0] for k, v in values.items()}
        judged = self.judge(x, xl, values, grads) if full else torch.zeros((), device=self.device)
        total = 0
        for k, g in grads.items():
            weight = SHARES[k] * (self.ramp if k in ("adv", "feat") else 1)
            total = total + weight * self.balance.unit(k, g)
        xh.backward(total)
        if not self.a.decoder_only:
            gc, = torch.autograd.grad(commit, zl, retain_graph=True)
            gm, = torch.autograd.grad(meant, zl)
            z.backward(zl.grad + self.pull(zl, gc, gm))
        with torch.no_grad():
            zero = torch.zeros((), device=self.device)
            row = [values["mel"], values["bands"], values["heard"], commit, cross, hit, values.get("adv", zero),
                   values.get("feat", zero), judged, zl[:, nets.SEM:].std(), zero + 1]
            self.log.add_(torch.stack([v.detach().float() for v in row]))

    @torch.no_grad()
    def pull(self, zl, gc, gm):
        """What is added to the decoder's gradient at the latent: the semantic loss; for the acoustic part commitment, less
        its part along the latent, which would only shrink it, and what keeps its rms at 1."""
        self.balance.unit("z", zl.grad)
        usual = self.balance.norms[self.balance.at["z"]] / self.balance.seen[self.balance.at["z"]]
        za = zl[:, nets.SEM:]
        square = za.square().sum()
        gca = gc[:, nets.SEM:]
        gca = self.balance.unit("commit", gca - (gca * za).sum() / square * za)
        hold = 0.5 * (square / za.numel()).log() * za / square.sqrt()
        out = MEANING * self.balance.unit("meaning", gm)
        out[:, nets.SEM:] += COMMIT * (1 - self.raw) * gca + HOLD * hold
        return usual * out

    def cast(self):
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.cuda, cache_enabled=False)

    def judge(self, x, xl, values, grads):
        n = len(x)
        self.jud.comm.zero_()
        with self.cast():
            outputs = self.judges(torch.cat([x, xl.detach()]))
        loss = disc.judge_loss(outputs)
        loss.backward()
        real = [[f[:n].detach() for f in features] for _, features in outputs]
        self.judges.requires_grad_(False)
        with self.cast():
            fake = self.judges(xl)
        values["adv"], values["feat"] = disc.fool_losses(real, fake)
        grads["adv"], = torch.autograd.grad(values["adv"], xl, retain_graph=True)
        grads["feat"], = torch.autograd.grad(values["feat"], xl)
        self.judges.requires_grad_(True)
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

    # --- the run

    def say(self, text):
        if self.rank == 0:
            print(f"[{time.time() - START:6.1f}] {text}", flush=True)

    def schedule(self):
        a, p = self.a, self.progress
        lr = a.lr * math.sqrt(a.batch * self.world / 64)
        fall = 0.5 * (1 + math.cos(math.pi * min(1.0, p)))
        rows = []
        for rate, t in ((a.lr_end + (lr - a.lr_end) * fall, self.steps + 1), (a.judge_lr, self.judge_steps + 1)):
            rate *= min(1.0, t / a.warm)
            rows.append([rate, 1 - 0.8 ** t, 1 - 0.99 ** t, min(0.998, (1 + t) / (10 + t))])
        self.sched.copy_(torch.tensor(rows))
        left = (ALL_QUANTISED_AT - p) / (ALL_QUANTISED_AT - KMEANS_AT)
        self.raw.fill_(min(1.0, max(0.0, left)) if self.coded else 1.0)
        self.taught.fill_(min(1.0, max(0.0, (OWN_ALL - p) / (OWN_ALL - OWN_FROM))))
        # They judge for a while before they are heard: a run is thrown back by what new ones say.
        self.ramp.fill_(a.adversary * min(1.0, max(0.0, (p - a.adversary_at - JUDGES_LEARN) / 0.04)))
        return rows[0][0]

    def shared_clock(self):
        t = torch.tensor(time.time() - START, dtype=torch.float64, device=self.device)
        if self.world > 1:
            dist.broadcast(t, 0)
        return t.item()

    def run(self):
        a = self.a
        begin = now = self.shared_clock()
        p0, seconds0, steps0 = self.progress, self.seconds, self.steps
        next_eval, t0 = begin + a.eval_every, begin
        self.say(f"{self.crops.hours:.2f} h of training audio, {len(self.held)} held-back clips, progress {p0:.3f}")
        while now < a.deadline and not (a.steps and self.steps - steps0 >= a.steps):
            self.progress = p0 + (a.share - p0) * (now - begin) / max(1e-3, a.deadline - begin)
            self.seconds = seconds0 + now - begin
            if not self.coded and self.progress >= KMEANS_AT:
                between.start_codebooks(self)
            lr = self.schedule()
            full = a.adversary > 0 and self.progress >= a.adversary_at
            if full and not self.unjudged and self.progress >= a.adversary_at + JUDGES_LEARN:
                self.unjudged = True
                between.save(self, "unjudged.pt")
            for _ in range(a.beat):
                self.one(full)
            if self.coded and self.progress < REVIVE_UNTIL and self.steps % (3 * a.beat) == 0:
                between.revive(self)
            now = self.shared_clock()
            if self.steps % (10 * a.beat) == 0:
                self.report(10 * a.beat / (now - t0), lr)
                t0 = now
            if now >= next_eval:
                between.save(self)
                between.evaluate(self)
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
    for name in ("weights.pt", "state.pt"):     # before the evaluation: whatever happens there, the weights are kept
        between.save(t, name)
    if rank == 0:
        with open(f"{a.out}/done.json", "w") as f:
            json.dump(dict(seconds=t.seconds, steps=t.steps, progress=t.progress, batch=a.batch * world, gpus=world,
                           device=torch.cuda.get_device_name() if cuda else "cpu", torch=torch.__version__,
                           arguments=vars(a)), f)
    between.evaluate(t, clips=2)
    if a.dump:
        between.dump(t)
    t.say("done")
    sys.stdout.flush()
    os._exit(0)                     # taking the process group down has hung: nothing is left to do


if __name__ == "__main__":
    main()
