#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Teach a trained encoder the teacher's tokens on sounds that are not in the clips, on one GPU.

listen.py --data UNPACKED --teacher teacher.npz --weights RUN/weights.pt --out DIR --seconds 300

train.py's encoder knows the tokens of its own clips by heart and few of other voices.  Here every clip is heard at several
speeds, which makes other voices of it, and filtered, in rooms and with noise.  The teacher labels it at that speed before
the rest is done to it.  Nothing but the encoder changes, and its acoustic half stays at what it was: the decoder fits.
Writes DIR/weights.pt, like the one it began with, DIR/done.json, and DIR/listen.tsv: seconds, steps, and of held-back clips the share of
the teacher's tokens found, the squared distance to its features over their variance, the same of the acoustic half to the
old one's.
"""
import argparse
import copy
import json
import math
import os
import sys
import time

START = time.time()

import torch                        # noqa: E402

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import clips                        # noqa: E402
import nets                         # noqa: E402
import teacher                      # noqa: E402

SAME = 3.0                          # weight of the acoustic half
KNOTS = 12                          # of a random filter's curve
TAIL = 4800                         # samples of a room


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", required=True)
    p.add_argument("--teacher", required=True)
    p.add_argument("--weights", required=True)
    p.add_argument("--out", required=True)
    p.add_argument("--seconds", type=float, default=300, help="from the start of the program to its end")
    p.add_argument("--batch", type=int, default=64)
    p.add_argument("--frames", type=int, default=96, help="of a crop, 40 ms each")
    p.add_argument("--versions", type=int, default=6, help="of every clip at most; they get a fifth of the time")
    p.add_argument("--lr", type=float, default=6e-4)
    p.add_argument("--steps", type=int, help="stop after so many (tests)")
    return p.parse_args()


def curve(n, bins, deviation, device):
    """[n,bins] amplitudes that vary smoothly with frequency; deviation in dB, [n,1]."""
    knots = torch.randn(n, 1, KNOTS, device=device) * deviation[:, :, None]
    return 10 ** (torch.nn.functional.interpolate(knots, bins, mode="linear", align_corners=True)[:, 0] / 20)


def changed(x):
    """[B,T] through random filters, some in rooms, most with noise, at the same level."""
    n, t = x.shape
    dev, size = x.device, t + TAIL

    def rand(lo, hi):
        return lo + (hi - lo) * torch.rand(n, 1, device=dev)

    s = torch.fft.rfft(x, size)
    bins = s.shape[1]
    gain = curve(n, bins, rand(0, 6), dev)
    f = torch.linspace(0, nets.RATE / 2, bins, device=dev)
    dull = (rand(0, 1) < 0.25) & (f > rand(3200, 7500))
    s = s * torch.where(dull, 0.01 * gain, gain)
    time_ = torch.arange(TAIL, device=dev) / nets.RATE
    tail = torch.randn(n, TAIL, device=dev) * torch.exp(-time_ * 6.9 / rand(0.1, 0.6)) * (time_ > 0.002)
    tail = tail / tail.square().sum(1, keepdim=True).sqrt() * 10 ** (rand(-20, 0) / 20) * (rand(0, 1) < 0.3)
    y = torch.fft.irfft(s * (1 + torch.fft.rfft(tail, size)), size)[:, :t]
    noise = torch.fft.irfft(torch.fft.rfft(torch.randn(n, t, device=dev)) * curve(n, t // 2 + 1, rand(3, 15), dev), t)
    level = x.square().mean(1, keepdim=True).sqrt() + 1e-5
    y = y * level / (y.square().mean(1, keepdim=True).sqrt() + 1e-5)
    share = 10 ** (-rand(3, 40) / 20) * (rand(0, 1) < 0.6)
    y = y + noise * level / noise.square().mean(1, keepdim=True).sqrt() * share
    return y * (0.98 / y.abs().amax(1, keepdim=True)).clamp(max=1)


class Listener:
    def __init__(self, a, device):
        self.a, self.device = a, device
        samples, rows = clips.load(a.data)
        judge = teacher.Teacher(a.teacher, device)
        pcm, feats, rows = clips.versions(judge, torch.from_numpy(samples).to(device), rows, a.versions,
                                          START + 0.2 * a.seconds)
        self.say(f"{len(pcm) / nets.RATE / 3600:.1f} h in {len(rows)} clips")
        self.run = torch.load(a.weights, map_location=device, weights_only=True)
        self.net = nets.Codec().to(device)
        self.net.quantizer.words.copy_(self.run["books"]["words"])
        with torch.no_grad():
            for name, p in self.net.encoder.named_parameters(prefix="encoder"):
                p.copy_(self.run["ema"][name])
        self.old = copy.deepcopy(self.net.encoder).requires_grad_(False)
        self.mean = copy.deepcopy(self.net.encoder).requires_grad_(False)
        toks = torch.cat([self.net.quantizer.nearest(f.float(), judge.extra["book"]) for f in feats.split(65536)])
        self.crops = clips.Crops(pcm, feats, toks, rows, device, a.frames * nets.HOP)
        self.held, self.held_feats, _ = clips.held_back(pcm, feats, rows, most=(("speech", 40),))
        self.weights = list(self.net.encoder.parameters())
        self.adam = torch.optim.Adam(self.weights, a.lr, (0.9, 0.99), fused=device.type == "cuda")
        self.log = torch.zeros(4, device=device)

    def say(self, text):
        print(f"[{time.time() - START:6.1f}] {text}", flush=True)

    def step(self):
        x, feats, toks = self.crops.draw(self.a.batch)
        x = changed(x)
        z = self.net.encoder(x[:, None])
        with torch.no_grad():
            za = self.old(x[:, None])[:, nets.SEM:]
        quantizer = self.net.quantizer
        flat, target = z[:, :nets.SEM].transpose(1, 2).reshape(-1, nets.SEM), feats.reshape(-1, nets.SEM)
        logits = quantizer.logits(flat)
        cross = torch.nn.functional.cross_entropy(logits, quantizer.logits(target).softmax(1))
        far = (flat - target).square().mean()
        same = (z[:, nets.SEM:] - za).square().mean() / za.var()
        self.adam.zero_grad(set_to_none=True)
        (cross + far + SAME * same).backward()
        torch.nn.utils.clip_grad_norm_(self.weights, 5.0)
        self.adam.step()
        with torch.no_grad():
            hit = (logits.argmax(1) == toks.flatten()).float().mean()
            self.log += torch.stack([hit, far / target.var(), same, torch.ones_like(hit)])

    def schedule(self, steps, share):
        for g in self.adam.param_groups:
            g["lr"] = self.a.lr * min(1, (steps + 1) / 200) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share)))
        keep = min(0.998, (1 + steps) / (10 + steps))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.mean.parameters()), self.weights, 1 - keep)

    @torch.no_grad()
    def measure(self, steps):
        hit, far, same = [], [], []
        for x, f in zip(self.held.split(8), self.held_feats.split(8)):
            z, old = self.mean(x[:, None]), self.old(x[:, None])[:, nets.SEM:]
            f = f.reshape(-1, nets.SEM)
            flat = z[:, :nets.SEM].transpose(1, 2).reshape(-1, nets.SEM)
            words = self.net.quantizer.words
            hit.append((self.net.quantizer.nearest(flat, words) == self.net.quantizer.nearest(f, words)).float().mean())
            far.append((flat - f).square().mean() / f.var())
            same.append((z[:, nets.SEM:] - old).square().mean() / old.var())
        row = [torch.stack(v).mean().item() for v in (hit, far, same)]
        seen = (self.log / self.log[-1].clamp(min=1)).tolist()[:3]
        self.log.zero_()
        self.say(f"step {steps}: held back " + " ".join(f"{v:.4f}" for v in row) + ", trained on "
                 + " ".join(f"{v:.4f}" for v in seen))
        with open(f"{self.a.out}/listen.tsv", "a") as f:
            f.write("\t".join(f"{v:.5g}" for v in [time.time() - START, steps, *row, *seen]) + "\n")

    @torch.no_grad()
    def save(self):
        for name, p in self.mean.named_parameters(prefix="encoder"):
            self.run["ema"][name] = p.half()
        kept = {k: v for k, v in self.run.items() if k != "judges"}
        torch.save(kept, f"{self.a.out}/weights.pt.new")
        os.replace(f"{self.a.out}/weights.pt.new", f"{self.a.out}/weights.pt")

    def train(self):
        begin, last, steps = time.time(), time.time(), 0
        self.measure(0)
        end = START + self.a.seconds
        while (now := time.time()) < end and steps != self.a.steps:
            self.schedule(steps, (now - begin) / (end - begin))
            self.step()
            steps += 1
            if steps % 20 == 0 and self.device.type == "cuda":
                torch.cuda.synchronize()
            if now - last > 30:
                last = now
                self.measure(steps)
                self.save()
        self.measure(steps)
        self.save()
        self.say(f"{steps} steps, {steps / (time.time() - begin):.2f} a second")
        cuda = self.device.type == "cuda"
        with open(f"{self.a.out}/done.json", "w") as f:
            json.dump(dict(program="listen.py", seconds=time.time() - begin, steps=steps, batch=self.a.batch, gpus=1,
                           device=torch.cuda.get_device_name() if cuda else "cpu", torch=torch.__version__,
                           arguments=vars(self.a)), f)


def main():
    a = arguments()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    os.makedirs(a.out, exist_ok=True)
    torch.manual_seed(1)
    Listener(a, device).train()


if __name__ == "__main__":
    main()
