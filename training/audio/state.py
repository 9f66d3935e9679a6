# SPDX-License-Identifier: BSD-2-Clause
"""What happens between the steps of a run: codebooks' start and revival, evaluation, saving."""
import os
import time
import wave

import torch
import torch.distributed as dist

import losses
import model as M

FLATS = ("gen", "jud")
BOOKS = (2, 4, 8)


def everyone(t, x):
    """Rows of all processes."""
    if t.world == 1:
        return x
    parts = [torch.empty_like(x) for _ in range(t.world)]
    dist.all_gather(parts, x.contiguous())
    return torch.cat(parts)


def agree(t, *tensors):
    for x in tensors:
        if t.world > 1:
            dist.broadcast(x, 0)


@torch.no_grad()
def start_codebooks(t, rounds=12, batches=3):
    """k-means, level after level, on latents of all processes."""
    began = time.time()
    z = torch.cat([t.net.encoder(t.crops.draw(t.a.batch)[:, None]).transpose(1, 2).reshape(-1, M.DIM) for _ in range(batches)])
    r = everyone(t, z)
    book = t.net.quantizer
    for q in range(M.LEVELS):
        e = r[torch.randperm(len(r), device=r.device)[:M.ENTRIES]].clone()
        if len(e) < M.ENTRIES:
            e = torch.cat([e, e[torch.randint(len(e), (M.ENTRIES - len(e),), device=r.device)]])
        for _ in range(rounds):
            i = book.nearest(r, e)
            n = torch.zeros(M.ENTRIES, device=r.device).index_add_(0, i, torch.ones_like(r[:, 0]))
            s = torch.zeros_like(e).index_add_(0, i, r)
            e = torch.where(n[:, None] > 0, s / n.clamp(min=1)[:, None], r[torch.randint(len(r), (M.ENTRIES,), device=r.device)])
        book.embed[q].copy_(e)
        agree(t, book.embed[q])
        r = r - book.embed[q][book.nearest(r, book.embed[q])]
    per_step = t.a.batch * t.world * t.a.length / M.HOP / M.ENTRIES
    book.size.fill_(per_step)
    book.sums.copy_(book.embed * per_step)
    t.coded = True
    t.say(f"k-means on {len(z) * t.world} latents in {time.time() - began:.1f} s, "
          f"error left {float(r.square().mean() / z.square().mean()):.3f}")


@torch.no_grad()
def revive(t, least=0.03):
    """Rows that are hardly used become residuals of this step, the same on all processes."""
    book = t.net.quantizer
    mean = book.size.mean(1, keepdim=True)
    dead = book.size < least * mean
    pick = torch.randint(t.pool.shape[1], (M.LEVELS, M.ENTRIES), device=t.device)
    fresh = torch.stack([t.pool[q][pick[q]] for q in range(M.LEVELS)])
    book.embed.copy_(torch.where(dead[..., None], fresh, book.embed))
    book.size.copy_(torch.where(dead, 0.3 * mean, book.size))
    book.sums.copy_(torch.where(dead[..., None], 0.3 * mean[..., None] * fresh, book.sums))
    agree(t, book.embed, book.size, book.sums)


def write_wav(path, x):
    x = (x.clamp(-1, 1) * 32767).round().to(torch.int16).cpu().numpy()
    with wave.open(path, "wb") as f:
        f.setnchannels(1)
        f.setsampwidth(2)
        f.setframerate(losses.RATE)
        f.writeframes(x.tobytes())


def kind_of(name):
    return name.split("/")[1]


@torch.no_grad()
def evaluate(t, clips=0):
    """Averaged weights on held-back clips; one row a kind and number of books into curve.tsv."""
    if t.rank:
        return
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=False, allow_tf32=False):
        evaluate_here(t, clips)


def evaluate_here(t, clips):
    keep = t.gen.value.clone()
    t.gen.value.copy_(t.gen.ema)
    x = t.held.to(t.device)
    kinds = [kind_of(n) for n in t.held_names]
    z = t.net.encoder(x[:, None])
    codes = t.net.quantizer.codes(z)
    for n in BOOKS:
        y = t.net.decoder(t.net.quantizer.lookup(codes[:, :, :n]).contiguous())[:, 0]
        v = losses.measure(x, y, t.mel)
        for kind in sorted(set(kinds)):
            row = v[[i for i, k in enumerate(kinds) if k == kind]].mean(0).tolist()
            text = "\t".join(f"{a:.4f}" for a in row)
            with open(f"{t.a.out}/curve.tsv", "a") as f:
                f.write(f"{t.seconds:.0f}\t{t.steps}\t{t.progress:.3f}\t{n}\t{kind}\t{text}\n")
            t.say(f"held back, {n} books, {kind}: lsd {row[0]:.2f} dB, si-sdr {row[1]:.2f} dB, mel {row[2]:.3f}")
        for i in [j for k in sorted(set(kinds)) for j in [m for m, kk in enumerate(kinds) if kk == k][:clips]]:
            tag = f"{i:02d}_{kinds[i]}_{t.held_names[i].split('/')[2]}"
            os.makedirs(f"{t.a.out}/clips", exist_ok=True)
            write_wav(f"{t.a.out}/clips/{tag}_{n}.wav", y[i])
            write_wav(f"{t.a.out}/clips/{tag}_0.wav", x[i])
    t.gen.value.copy_(keep)


def named(flat, values):
    out, at = {}, 0
    for name, p in flat.params:
        out[name] = values[at:at + p.numel()].view(p.shape)
        at += p.numel()
    return out


def save(t):
    """state.pt resumes exactly but for the random numbers; weights.pt is what travels: averaged weights in fp16 (not the
    raw ones, not the moments, which a resumed run rebuilds while it warms up), codebooks, judges in bf16."""
    book = t.net.quantizer
    books = {"embed": book.embed, "size": book.size, "sums": book.sums}
    common = dict(steps=t.steps, judge_steps=t.judge_steps, progress=t.progress, seconds=t.seconds, coded=t.coded,
                  widths=t.net.widths)
    torch.save(dict(common, gen=t.gen.tensors(), jud=t.jud.tensors(), books=books,
                    balance=(t.balance.norms, t.balance.seen)), f"{t.a.out}/state.pt")
    torch.save(dict(common, ema={k: v.half().cpu().clone() for k, v in named(t.gen, t.gen.ema).items()},
                    judges={k: v.bfloat16().cpu().clone() for k, v in named(t.jud, t.jud.value).items()},
                    books={k: v.cpu() for k, v in books.items() if k != "sums"},
                    balance=(t.balance.norms.cpu(), t.balance.seen.cpu())), f"{t.a.out}/weights.pt")


@torch.no_grad()
def scale_latent(t):
    """The latent to an rms of 1 between the nets, which go on computing what they did; training holds it there."""
    z = t.net.encoder(t.crops.draw(t.a.batch)[:, None])
    factor = 1 / z.square().mean().sqrt()
    agree(t, factor)
    last, first = t.net.encoder.model[-1].conv.conv, t.net.decoder.model[0].conv.conv
    for x in (last.weight_g, last.bias, t.net.quantizer.embed):
        x.mul_(factor)
    first.weight_g.div_(factor)
    for name in ("z", "commit"):
        t.balance.norms[t.balance.at[name]] = 0
        t.balance.seen[t.balance.at[name]] = 0
    t.say(f"latent scaled by {float(factor):.4g}")


def resume(t, path):
    """From state.pt, or from weights.pt with fresh moments."""
    s = torch.load(path, map_location=t.device, weights_only=True)
    for k in ("steps", "judge_steps", "progress", "seconds", "coded"):
        setattr(t, k, s[k])
    book = t.net.quantizer
    book.embed.copy_(s["books"]["embed"])
    book.size.copy_(s["books"]["size"])
    book.sums.copy_(book.embed * book.size[..., None])
    for own, old in zip((t.balance.norms, t.balance.seen), s["balance"]):
        own[:len(old)].copy_(old)
    if "gen" in s:
        for name in FLATS:
            for k, v in getattr(t, name).tensors().items():
                v.copy_(s[name][k])
        book.sums.copy_(s["books"]["sums"])
        return
    for flat, key in ((t.gen, "ema"), (t.jud, "judges")):
        for name, view in named(flat, flat.value).items():
            view.copy_(s[key][name])
    scale_latent(t)
    book.sums.copy_(book.embed * book.size[..., None])
    for name in FLATS:
        getattr(t, name).ema.copy_(getattr(t, name).value)
    t.steps = t.judge_steps = 0
