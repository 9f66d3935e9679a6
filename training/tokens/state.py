# SPDX-License-Identifier: BSD-2-Clause
"""What happens between the steps of a run: the codebook's refits, its freezing with the tree, evaluation, saving."""
import math
import time

import numpy as np
import torch
from PIL import Image

import codebook
import features
import model as M
import msssim

PIECE = 15 << 20            # weights.pt travels in files of at most so many bytes


@torch.no_grad()
def averaged(t):
    """The float32 net with averaged weights."""
    own = dict(t.plain.named_parameters())
    for name, v in t.gen.named(t.gen.ema).items():
        own[name].copy_(v)
    return t.plain


@torch.no_grad()
def gather(t, encode, batches):
    return torch.cat([encode(t.crops.draw(t.a.batch)).float().permute(0, 2, 3, 1).reshape(-1, M.DIM) for _ in range(batches)])


@torch.no_grad()
def refit(t):
    """The table follows the latents: a few of Lloyd's rounds from the present words (from latents at the first time); the
    linear map begins anew."""
    began = time.time()
    per = t.a.batch * (t.a.crop // M.FACTOR) ** 2
    z = gather(t, lambda x: t.latents(x)[0], max(1, (16 * M.CODES if t.cuda else M.CODES // 4) // per))
    if t.refitted:
        words = t.words()
    else:
        words = z[torch.randint(len(z), (M.CODES,), device=z.device)] + 0.02 * torch.randn(M.CODES, M.DIM, device=z.device)
    words, at, n = codebook.lloyd(z, words, 3 if t.cuda else 1)
    t.table.copy_(words)
    t.linear.zero_()
    t.linear[0, :, :M.DIM] = torch.eye(M.DIM, device=z.device)
    t.refitted = True
    t.say(f"codebook refitted to {len(z)} latents in {time.time() - began:.1f} s: error {float((z - words[at]).square().mean()):.4f}, "
          f"used {float((n > 0).float().mean()):.3f}")


@torch.no_grad()
def statistics(t, net, batches=8):
    """Mean and whitening matrix of the net's latents, one above the other."""
    mean, cov = M.covariance(gather(t, net.encode, batches))
    return torch.cat([mean[None], M.inverse_root(cov)]).float()


@torch.no_grad()
def freeze(t):
    """Averaged weights everywhere; encoder and codebook do not change from here on."""
    began = time.time()
    net = averaged(t)
    t.gen.value.copy_(t.gen.ema)
    t.gen.low.copy_(t.gen.ema)
    t.gen.m.zero_()
    for name, v in t.gen.named(t.gen.rate).items():
        if name.startswith(("encoder.", "quant_conv.")):
            v.zero_()
    t.norm.copy_(statistics(t, net, 32 if t.cuda else 1))
    per = t.a.batch * (t.a.crop // M.FACTOR) ** 2
    z = gather(t, lambda x: M.whiten(net.encode(x), t.norm[0], t.norm[1:]), max(1, t.a.lloyd // per))
    words, at, n = codebook.lloyd(z, t.words(), 12 if t.cuda else 1)
    words = words.half().float()
    n = torch.bincount(codebook.nearest(z, words), minlength=M.CODES)
    tree = codebook.tree(words, n)
    t.table.copy_(words[tree["order"]])
    t.linear.zero_()
    t.linear[0, :, :M.DIM] = torch.eye(M.DIM, device=z.device)
    t.levels = [(s.clone(), w.half().float()) for s, w in zip(tree["start"], tree["words"])]
    fill_level_table(t)
    t.frozen = True
    err = float((z - t.table[codebook.nearest(z, t.table)]).square().mean())
    t.say(f"frozen: {len(z)} latents, error {err:.4f}, used {float((n > 0).float().mean()):.4f}, tree in all {time.time() - began:.1f} s")


def fill_level_table(t):
    """Code vectors of every code at every level."""
    t.level_table[0].copy_(t.table)
    code = torch.arange(M.CODES, device=t.device, dtype=torch.int32)
    for j, (start, words) in enumerate(t.levels):
        t.level_table[j + 1].copy_(words[torch.searchsorted(start, code, right=True) - 1])


@torch.no_grad()
def through(t, x, net, norm):
    """Pictures [N,3,H,W] through the averaged net: latents, codes, and a picture a level."""
    n = len(x)
    z = M.whiten(net.encode(x), norm[0], norm[1:])
    h, w = z.shape[2:]
    at = codebook.nearest(z.permute(0, 2, 3, 1).reshape(-1, M.DIM), t.table if t.frozen else t.words())
    tables = t.level_table if t.frozen else t.words()[None]
    out = [net.decode(v[at].reshape(n, h, w, M.DIM).permute(0, 3, 1, 2)) for v in tables]
    return z, at, out


@torch.no_grad()
def prepared(t):
    net = averaged(t)
    return net, (t.norm if t.frozen else statistics(t, net))


def full_precision():
    return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=False, allow_tf32=True)


@torch.no_grad()
def evaluate(t):
    """Averaged weights on held-back crops; one row a level into curve.tsv."""
    began = time.time()
    torch.backends.cuda.matmul.allow_tf32 = False           # MS-SSIM's variances need all digits
    with full_precision():
        net, norm = prepared(t)
        rows, codes = {}, []
        for i in range(0, len(t.held), 4):
            x = t.held[i:i + 4].to(t.device).float() / 127.5 - 1
            _, at, out = through(t, x, net, norm)
            codes.append(at)
            felt = t.feel(x)[0]
            for j, y in enumerate(out):
                a, b = (y.clamp(-1, 1) + 1) / 2, (x + 1) / 2
                ms = msssim.ms_ssim(a, b) if min(x.shape[2:]) >= 176 else torch.zeros(len(x), device=t.device)
                rows.setdefault(j, []).append(torch.stack([
                    -10 * (a - b).square().mean((1, 2, 3)).log10(), -10 * (1 - ms).clamp(min=1e-6).log10(),
                    features.distance(felt, t.feel(y.clamp(-1, 1))[0])], 1))
    torch.backends.cuda.matmul.allow_tf32 = True
    at = torch.cat(codes)
    for j, v in rows.items():
        row = torch.cat(v).mean(0).tolist()
        with open(f"{t.a.out}/curve.tsv", "a") as f:
            f.write(f"{t.seconds:.0f}\t{t.steps}\t{t.progress:.3f}\t{j}\t" + "\t".join(f"{a:.4f}" for a in row) + "\n")
        t.say(f"held back, level {j}: PSNR {row[0]:.2f} MS-SSIM {row[1]:.2f} dB, perceptual {row[2]:.4f}")
    t.say(f"held back: {len(at)} tokens, {len(at.unique())} codes; {time.time() - began:.1f} s")


@torch.no_grad()
def sheet(t, path, side=256, most=6):
    """original | finest | coarser ..., a held-back crop a row."""
    with full_precision():
        net, norm = prepared(t)
        pick = torch.linspace(0, len(t.held) - 1, most).round().long()
        o = (t.held.shape[2] - side) // 2 if t.held.shape[2] > side else 0
        x = t.held[pick].to(t.device).float() / 127.5 - 1
        _, _, out = through(t, x, net, norm)
    rows = torch.cat([v[:, :, o:o + side, o:o + side] for v in [x, *out]], 3)
    rows = torch.cat(list(rows), 1)
    a = ((rows.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    Image.fromarray(a).save(path)


def book(t):
    return dict(table=t.table, linear=t.linear, norm=t.norm, levels=t.levels, frozen=t.frozen, refitted=t.refitted)


def common(t):
    return dict(steps=t.steps, judge_steps=t.judge_steps, progress=t.progress, seconds=t.seconds, scaled=t.scaled, shape=M.SHAPE,
                balance=(t.balance.norms.cpu(), t.balance.seen.cpu()))


def to_cpu(v, kind=None):
    if isinstance(v, torch.Tensor):
        return v.detach().to("cpu", kind if kind and v.is_floating_point() else v.dtype).clone()
    if isinstance(v, (list, tuple)):
        return type(v)(to_cpu(a, kind) for a in v)
    return v


def save(t):
    """state.pt resumes all but the random numbers; weights.pt-N, joined, is what travels: averaged weights in fp16, judges in
    bf16, the codebook; the moments are rebuilt."""
    buffers = {k: v.cpu() for k, v in t.judges.named_buffers()}
    torch.save(dict(common(t), book={k: to_cpu(v) for k, v in book(t).items()},
                    gen=t.gen.tensors(), jud=t.jud.tensors(), buffers=buffers), f"{t.a.out}/state.pt")
    name = f"{t.a.out}/weights.pt"
    torch.save(dict(common(t), book={k: to_cpu(v) for k, v in book(t).items()}, buffers=buffers,
                    ema={k: to_cpu(v, torch.float16) for k, v in t.gen.named(t.gen.ema).items()},
                    judges={k: to_cpu(v, torch.bfloat16) for k, v in t.jud.named(t.jud.value).items()}), name)
    with open(name, "rb") as f:
        raw = f.read()
    for i in range(math.ceil(len(raw) / PIECE)):
        with open(f"{name}-{i}", "wb") as f:
            f.write(raw[i * PIECE:(i + 1) * PIECE])


@torch.no_grad()
def resume(t, path):
    s = torch.load(path, map_location=t.device, weights_only=True)
    for k in ("steps", "judge_steps", "progress", "seconds", "scaled"):
        setattr(t, k, s[k])
    b = s["book"]
    t.table.copy_(b["table"])
    t.linear.copy_(b["linear"])
    t.norm.copy_(b["norm"])
    t.levels, t.frozen, t.refitted = b["levels"], b["frozen"], b["refitted"]
    if t.frozen:
        fill_level_table(t)
    for own, old in zip((t.balance.norms, t.balance.seen), s["balance"]):
        own.copy_(old)
    for k, v in t.judges.named_buffers():
        v.copy_(s["buffers"][k])
    if "gen" in s:
        for flat, key in ((t.gen, "gen"), (t.jud, "jud")):
            for k, v in flat.tensors().items():
                v.copy_(s[key][k])
            flat.low.copy_(flat.value)
        return
    for flat, key in ((t.gen, "ema"), (t.jud, "judges")):
        for name, view in flat.named(flat.value).items():
            view.copy_(s[key][name])
        flat.ema.copy_(flat.value)
        flat.low.copy_(flat.value)
    if t.frozen:
        for name, v in t.gen.named(t.gen.rate).items():
            if name.startswith(("encoder.", "quant_conv.")):
                v.zero_()
    t.steps = t.judge_steps = 0
