#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Train `hyper` for a fixed wall-clock time on one or more GPUs.

torchrun --nproc_per_node 2 training/train.py --data train.tar --out DIR --minutes 20

One step is one captured CUDA graph (crops, forward, backward); parameters, gradients and optimiser state each live in
one flat buffer, so the all-reduce is one call and the optimiser a handful of kernels.  The learning rate follows the
clock, not the step count.  DIR/control may be rewritten while the run goes on; it holds the minutes the run shall last.
"""
import argparse
import json
import math
import os
import sys
import time

import torch
import torch.distributed as dist

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import data                      # noqa: E402
import model as M                # noqa: E402
import msssim                    # noqa: E402

# chance of the quality levels: most of the weight on 0.08 .. 0.3 bits a pixel
LEVEL_CHANCE = (0.10, 0.17, 0.18, 0.16, 0.13, 0.10, 0.08, 0.08)


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", nargs="+", required=True, help="tars made by corpus/")
    p.add_argument("--out", required=True)
    p.add_argument("--minutes", type=float, default=20, help="length of the run from its first step")
    p.add_argument("--batch", type=int, default=32, help="crops a GPU")
    p.add_argument("--lr", type=float, default=5e-4)
    p.add_argument("--lr-end", type=float, default=1e-5)
    p.add_argument("--lambda-min", type=float, default=0.9)
    p.add_argument("--lambda-max", type=float, default=72.0)
    p.add_argument("--level", type=float, default=0.4, help="losses are weighted by lambda to minus this")
    p.add_argument("--mse", type=float, default=5.0, help="weight of the squared error beside 1 - MS-SSIM")
    p.add_argument("--mse-fine", type=float, default=1.0, help="that weight's factor at the finest level, 1 at the coarsest")
    p.add_argument("--curriculum", type=float, default=0.04, help="part of the run that moves from MSE to the mix")
    p.add_argument("--warm", type=int, default=1000, help="steps of linear warm-up")
    p.add_argument("--log-every", type=int, default=200)
    p.add_argument("--clip", type=float, default=2.0)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--resume", help="model file or checkpoint to start from")
    p.add_argument("--compile", type=int, default=1)
    p.add_argument("--limit", type=int, help="read only so many pictures (tests)")
    p.add_argument("--steps", type=int, help="stop after so many steps (tests)")
    p.add_argument("--eval-every", type=float, default=60, help="seconds between evaluations")
    return p.parse_args()


class Flat:
    """Parameters, gradients and Adam state of a model as flat buffers; convolution weights lie channels-last."""

    def __init__(self, net, device):
        self.params = list(net.named_parameters())
        n = sum(p.numel() for _, p in self.params)
        self.value, self.grad, self.m, self.v, self.ema, self.rate = (
            torch.zeros(n, device=device) for _ in range(6))
        self.rate += 1
        self.at, i = {}, 0
        for name, p in self.params:
            view = self.view(self.value, i, p)
            view.copy_(p.data)
            p.data = view
            p.grad = self.view(self.grad, i, p)
            if name == "z_logits":
                self.rate[i:i + p.numel()] = 10
            if name.startswith("log_gain"):
                self.rate[i:i + p.numel()] = 2
            self.at[name] = i
            i += p.numel()
        self.ema.copy_(self.value)

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
    def step(self, s, clip):
        """s: device tensor [lr, 1-beta1^t, 1-beta2^t, ema decay].  A non-finite gradient skips the step."""
        norm = torch.linalg.vector_norm(self.grad)
        ok = torch.isfinite(norm)
        scale = torch.where(ok, (clip / (norm + 1e-6)).clamp(max=1), torch.zeros_like(norm))
        g = torch.where(ok, self.grad * scale, torch.zeros_like(self.grad))
        self.m.lerp_(g, 0.1)
        self.v.lerp_(g * g, 0.01)
        self.value -= s[0] * self.rate * (self.m / s[1]) / ((self.v / s[2]).sqrt() + 1e-8)
        self.ema.lerp_(self.value, 1 - s[3])
        return norm


def loss_terms(xhat, x, terms):
    a, b = ((xhat + 1) * 0.5).contiguous(), ((x + 1) * 0.5).contiguous()
    mse = ((a - b) ** 2).mean((1, 2, 3))
    return mse, msssim.ms_ssim(a, b, terms)


class Trainer:
    def __init__(self, args, pictures, rank, world, device):
        self.a, self.rank, self.world, self.device = args, rank, world, device
        self.cuda = device.type == "cuda"
        self.held = data.held_back_crops(pictures).to(device)
        self.crops = data.Crops(pictures, device)
        torch.manual_seed(args.seed)
        self.net = M.Hyper().to(device)
        if args.resume:
            self.load(args.resume)
        else:
            self.scale_latent()
        self.flat = Flat(self.net, device)
        torch.manual_seed(args.seed * 1000 + rank)
        self.terms = msssim.scale_terms
        self.chance = torch.tensor(LEVEL_CHANCE, device=device).cumsum(0)
        self.mix = torch.tensor([1.0, args.mse, 1.0], device=device)       # a, b, lambda factor
        self.sched = torch.zeros(4, device=device)
        self.stats = torch.zeros(M.LEVELS, 6, device=device)
        self.quick = {}
        self.norm = torch.zeros((), device=device)
        if args.compile:
            # the repeated pieces only: compiling the whole network costs minutes
            self.quick = {n: torch.compile(getattr(M, n), dynamic=False) for n in ("residual", "gaussian_bits")}
            self.terms = torch.compile(msssim.scale_terms, dynamic=False)
            self.flat.step = torch.compile(self.flat.step)

    def load(self, path):
        import export
        state = torch.load(path, map_location="cpu") if path.endswith(".pt") else export.to_state(path)
        self.net.load_state_dict({k: v.float() for k, v in state.items()})

    @torch.no_grad()
    def scale_latent(self):
        """Give the first latents a deviation of two, so that little is rounded away at the start."""
        y = self.net.enc(self.crops.draw(8))
        self.net.enc[8].weight.mul_(2 / y.std())
        self.net.dec[0].weight.mul_(0.5)

    def draw_levels(self, n):
        """Quality levels in sixteenths, as the stream codes them."""
        r = torch.rand(n, 2, device=self.device)
        q = torch.searchsorted(self.chance, r[:, 0].contiguous()).float() + r[:, 1] - 0.5
        return ((q * 16).round() / 16).clamp(0, M.LEVELS - 1)

    def forward_backward(self):
        plain = {n: getattr(M, n) for n in self.quick}
        for n, f in self.quick.items():
            setattr(M, n, f)
        try:
            self.loss_backward()
        finally:
            for n, f in plain.items():
                setattr(M, n, f)

    def loss_backward(self):
        a = self.a
        self.flat.grad.zero_()
        x = self.crops.draw(a.batch)
        q = self.draw_levels(a.batch)
        lam = self.mix[2] * a.lambda_min * torch.exp(q / (M.LEVELS - 1) * math.log(a.lambda_max / a.lambda_min))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.cuda, cache_enabled=False):
            xhat, yb, zb = self.net(x, M.level_weights(q))
        mse, ssim = loss_terms(xhat, x, self.terms)
        px = x.shape[2] * x.shape[3]
        bpp = (yb + zb) / px
        fine = a.mse_fine ** (q / (M.LEVELS - 1))
        loss = (bpp + lam * (self.mix[0] * (1 - ssim) + self.mix[1] * fine * mse))
        # without this the finest levels, whose losses are the largest, would own the transforms
        weight = torch.exp(-a.level * (q / (M.LEVELS - 1) - 0.4) * math.log(a.lambda_max / a.lambda_min))
        ((loss * weight).mean() / self.world).backward()
        with torch.no_grad():
            row = torch.stack([torch.ones_like(bpp), bpp, zb / px, mse, 1 - ssim, loss], 1)
            self.stats.add_(M.level_weights(q.round()).t() @ row)

    def capture(self):
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(4):
                self.forward_backward()
                self.optimise()
        torch.cuda.current_stream().wait_stream(side)
        torch.cuda.synchronize()
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, capture_error_mode="thread_local"):
            self.forward_backward()
        self.graph2 = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph2, capture_error_mode="thread_local"):
            self.optimise()
        self.stats.zero_()

    def optimise(self):
        self.norm.copy_(self.flat.step(self.sched, self.a.clip))

    def one(self):
        if self.cuda:
            self.graph.replay()
        else:
            self.forward_backward()
        if self.world > 1:
            dist.all_reduce(self.flat.grad)
        if self.cuda:
            self.graph2.replay()
        else:
            self.optimise()

    def schedule(self, step, p):
        a = self.a
        warm = min(1.0, (step + 1) / a.warm)
        lr = a.lr_end + (a.lr - a.lr_end) * 0.5 * (1 + math.cos(math.pi * min(1.0, p)))
        t = step + 1
        self.sched.copy_(torch.tensor([lr * warm, 1 - 0.9 ** t, 1 - 0.99 ** t, min(0.9995, (1 + t) / (20 + t))]))
        c = 1.0 if a.resume else min(1.0, p / a.curriculum)
        self.mix.copy_(torch.tensor([c, a.mse * (1 + 7 * (1 - c)), 1 + 3 * (1 - c)]))
        return lr * warm

    @torch.no_grad()
    def evaluate(self):
        """EMA weights on the held-back crops: per level bpp, z bpp, PSNR, MS-SSIM dB."""
        keep = self.flat.value.clone()
        self.flat.value.copy_(self.flat.ema)
        rows = []
        for level in range(M.LEVELS):
            acc = torch.zeros(4, device=self.device)
            n = len(self.held)
            for i in range(0, n, 4):
                x = (self.held[i:i + 4].float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)
                qw = M.level_weights(torch.full((len(x),), float(level), device=self.device))
                with torch.autocast(self.device.type, torch.bfloat16, enabled=self.cuda):
                    xhat, yb, zb = self.net(x, qw, noise=False)
                xhat = ((xhat.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1
                mse, ssim = loss_terms(xhat, x, msssim.scale_terms)
                px = x.shape[2] * x.shape[3]
                acc += torch.stack([((yb + zb) / px).sum(), (zb / px).sum(), (-10 * mse.log10()).sum(),
                                    (-10 * (1 - ssim).log10()).sum()])
            rows.append((acc / n).tolist())
        self.flat.value.copy_(keep)
        return rows

    def save(self):
        named = self.flat.named(self.flat.ema)
        half = {k: (v.half() if v.numel() > 10000 else v).clone(memory_format=torch.contiguous_format).cpu() for k, v in named.items()}
        tmp = os.path.join(self.a.out, "ema.tmp")
        torch.save(half, tmp)
        os.replace(tmp, os.path.join(self.a.out, "ema16.pt"))
        torch.save({k: v.clone(memory_format=torch.contiguous_format).cpu() for k, v in named.items()}, tmp)
        os.replace(tmp, os.path.join(self.a.out, "ema32.pt"))

    def run(self):
        a, lead = self.a, self.rank == 0
        if lead:
            os.makedirs(a.out, exist_ok=True)
            curve = open(os.path.join(a.out, "curve.tsv"), "w")
            curve.write("seconds\tstep\tlevel\tbpp\tz_bpp\tpsnr_db\tms_ssim_db\n")
            print("parameters", sum(p.numel() for p in self.net.parameters()), "pictures", self.crops.count,
                  "megapixels", self.crops.pixels.numel() // 3000000, "held back", len(self.held), flush=True)
        control = os.path.join(a.out, "control")
        self.schedule(0, 0)
        t0 = time.time()
        if self.cuda:
            self.sched[0] = 0           # the warm-up steps move nothing
            self.capture()
            self.flat.m.zero_(), self.flat.v.zero_(), self.flat.ema.copy_(self.flat.value)
            torch.cuda.synchronize()
        if lead:
            print(f"ready after {time.time() - t0:.1f} s", flush=True)
        t0 = last_eval = last_log = time.time()
        minutes, step, p, dp, last_step = a.minutes, 0, 0.0, 0.0, 0
        plan = torch.zeros(2, dtype=torch.float64, device=self.device)
        while p < 1 and not (a.steps and step >= a.steps):
            if step % 50 == 0:
                now = time.time() - t0
                if os.path.exists(control):
                    minutes = float(open(control).read() or minutes)
                q = now / (minutes * 60)
                plan.copy_(torch.tensor([q, now / max(step, 1) / (minutes * 60)], dtype=torch.float64))
                if self.world > 1:
                    dist.broadcast(plan, 0)
                p, dp = plan.tolist()
            if step < 100 or step % 10 == 0:            # each update waits for the device
                lr = self.schedule(step, p)
            self.one()
            step += 1
            p += dp if step > 1000 else 0
            if step % a.log_every == 0 and lead:
                s = self.stats.cpu().clone()
                self.stats.zero_()
                t = time.time()
                d = s.sum(0) / s[:, 0].sum()
                r = s / s[:, :1].clamp(min=1)
                per = " ".join(f"{r[k, 1]:.3f}/{-10 * math.log10(r[k, 4] + 1e-9):.2f}" for k in range(M.LEVELS))
                print(f"{t - t0:7.1f}s it {step} p {p:.3f} lr {lr:.2e} {(step - last_step) / (t - last_log):.1f} it/s "
                      f"loss {d[5]:.4f} bpp {d[1]:.4f} z {d[2]:.4f} psnr {-10 * math.log10(d[3] + 1e-9):.2f} "
                      f"norm {float(self.norm):.2f} | {per}", flush=True)
                last_log, last_step = t, step
            if lead and (time.time() - last_eval > a.eval_every):
                self.report(curve, time.time() - t0, step)
                last_eval = time.time()
        if lead:
            self.report(curve, time.time() - t0, step)
            with open(os.path.join(a.out, "done.json"), "w") as f:
                json.dump({"seconds": time.time() - t0, "steps": step, "batch": a.batch * self.world,
                           "device": torch.cuda.get_device_name() if self.cuda else "cpu",
                           "gpus": self.world, "torch": torch.__version__, "arguments": vars(a)}, f)
            print("done", flush=True)

    def report(self, curve, seconds, step):
        rows = self.evaluate()
        for level, r in enumerate(rows):
            curve.write(f"{seconds:.1f}\t{step}\t{level}\t" + "\t".join(f"{v:.4f}" for v in r) + "\n")
        curve.flush()
        print("  held back: " + " | ".join(f"{r[0]:.4f} {r[2]:.2f} {r[3]:.2f}" for r in rows), flush=True)
        self.save()


def main():
    args = arguments()
    rank, world = int(os.environ.get("LOCAL_RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    pictures = data.load(args.data, limit=args.limit)      # forks, so before the GPU is touched
    if torch.cuda.is_available():
        device = torch.device("cuda", rank)
        torch.cuda.set_device(device)
        torch.backends.cudnn.benchmark = True
        torch.backends.cuda.matmul.allow_tf32 = False      # the blur of MS-SSIM needs all digits
    else:
        device = torch.device("cpu")
    if world > 1:
        gpu = device.type == "cuda"
        dist.init_process_group("nccl" if gpu else "gloo", device_id=device if gpu else None)
    Trainer(args, pictures, rank, world, device).run()
    if world > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
