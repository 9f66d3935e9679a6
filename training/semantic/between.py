# SPDX-License-Identifier: BSD-2-Clause
"""What happens between the steps of a run: start and revival of codebooks, evaluation, saving."""
import os
import time
import wave

import numpy as np
import torch
import torch.distributed as dist

import losses
import nets

BOOKS = (1, 2, 3, 4, 6)


def everyone(t, x):
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
def acoustic(t):
    z = t.net.encoder(t.crops.draw(t.a.batch)[0][:, None])
    return z[:, nets.SEM:].transpose(1, 2).reshape(-1, nets.ACOUSTIC)


@torch.no_grad()
def start_codebooks(t, rounds=12, batches=8):
    """k-means, level after level, on latents of all processes."""
    began, n = time.time(), nets.ENTRIES
    z = torch.cat([acoustic(t) for _ in range(batches)])
    r = everyone(t, z)
    book = t.net.quantizer
    for q in range(nets.LEVELS):
        e = r[torch.randint(len(r), (n,), device=r.device)].clone()
        for _ in range(rounds):
            i = book.nearest(r, e)
            count = torch.zeros(n, device=r.device).index_add_(0, i, torch.ones_like(r[:, 0]))
            total = torch.zeros_like(e).index_add_(0, i, r)
            e = torch.where(count[:, None] > 0, total / count.clamp(min=1)[:, None], r[torch.randint(len(r), (n,), device=r.device)])
        book.embed[q].copy_(e)
        agree(t, book.embed[q])
        r = r - book.embed[q][book.nearest(r, book.embed[q])]
    per_step = t.a.batch * t.world * t.a.frames / n
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
    pick = torch.randint(t.pool.shape[1], (nets.LEVELS, nets.ENTRIES), device=t.device)
    fresh = torch.stack([t.pool[q][pick[q]] for q in range(nets.LEVELS)])
    book.embed.copy_(torch.where(dead[..., None], fresh, book.embed))
    book.size.copy_(torch.where(dead, 0.3 * mean, book.size))
    book.sums.copy_(torch.where(dead[..., None], 0.3 * mean[..., None] * fresh, book.sums))
    agree(t, book.embed, book.size, book.sums)


def write_wav(path, x):
    x = (x.clamp(-1, 1) * 32767).round().to(torch.int16).cpu().numpy()
    with wave.open(path, "wb") as f:
        f.setnchannels(1)
        f.setsampwidth(2)
        f.setframerate(nets.RATE)
        f.writeframes(x.tobytes())


def kind_of(name):
    return name.split("/")[1]


class Averaged:
    """The averaged weights instead of the current ones."""

    def __init__(self, t):
        self.t = t

    def __enter__(self):
        self.keep = self.t.gen.value.clone()
        self.t.gen.value.copy_(self.t.gen.ema)

    def __exit__(self, *_):
        self.t.gen.value.copy_(self.keep)


@torch.no_grad()
def evaluate(t, clips=0):
    """Averaged weights on held-back clips; one row a kind and number of books into curve.tsv: LSD, SI-SDR, mel distance, share of
    the teacher's tokens that the encoder finds, and how far what the teacher hears is from the original, in deviations."""
    if t.rank:
        return
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=False, allow_tf32=False), Averaged(t):
        x = t.held.to(t.device)
        kinds = [kind_of(n) for n in t.held_names]
        codes = torch.cat([t.net.quantizer.codes(t.net.encoder(p[:, None])) for p in x.split(8)])
        want = t.net.quantizer.nearest(t.held_feats.reshape(-1, nets.SEM).to(t.device), t.net.quantizer.words)
        hit = (want.view(codes.shape[:2]) == codes[:, :, 0]).float().mean(1)
        for n in BOOKS:
            y = torch.cat([t.net.decoder(t.net.quantizer.lookup(c[:, :, :n]).contiguous())[:, 0] for c in codes.split(8)])
            heard = torch.stack([t.heard(p[None], q[None]) for p, q in zip(x, y)])
            v = torch.cat([losses.measure(x, y, t.mel), hit[:, None], heard[:, None]], 1)
            for kind in sorted(set(kinds)):
                row = v[[i for i, k in enumerate(kinds) if k == kind]].mean(0).tolist()
                with open(f"{t.a.out}/curve.tsv", "a") as f:
                    f.write(f"{t.seconds:.0f}\t{t.steps}\t{t.progress:.3f}\t{n}\t{kind}\t" + "\t".join(f"{a:.4f}" for a in row) + "\n")
                t.say(f"held back, {n} books, {kind}: lsd {row[0]:.2f} dB, si-sdr {row[1]:.2f} dB, mel {row[2]:.3f}, "
                      f"tokens {row[3]:.3f}, heard {row[4]:.3f}")
            for i in [j for k in sorted(set(kinds)) for j in [m for m, kk in enumerate(kinds) if kk == k][:clips]]:
                tag = f"{i:02d}_{kinds[i]}_{t.held_names[i].split('/')[2]}"
                os.makedirs(f"{t.a.out}/clips", exist_ok=True)
                write_wav(f"{t.a.out}/clips/{tag}_{n}.wav", y[i])
                write_wav(f"{t.a.out}/clips/{tag}_0.wav", x[i])


def named(flat, values):
    out, at = {}, 0
    for name, p in flat.params:
        out[name] = values[at:at + p.numel()].view(p.shape)
        at += p.numel()
    return out


def save(t, name="weights.pt"):
    """What travels: averaged weights in fp16, codebooks, judges in bf16.  A run that resumes from it rebuilds the moments of
    the optimiser.  state.pt, which is larger, has these too."""
    if t.rank:
        return
    book, path = t.net.quantizer, f"{t.a.out}/{name}"
    kept = dict(steps=t.steps, judge_steps=t.judge_steps, progress=t.progress, seconds=t.seconds, coded=t.coded,
                books={"words": book.words.cpu(), "embed": book.embed.cpu(), "size": book.size.cpu()},
                balance=(t.balance.norms.cpu(), t.balance.seen.cpu()))
    if name == "state.pt":
        kept.update(gen=t.gen.tensors(), jud=t.jud.tensors())
    else:
        kept.update(ema={k: v.half().cpu().clone() for k, v in named(t.gen, t.gen.ema).items()},
                    judges={k: v.bfloat16().cpu().clone() for k, v in named(t.jud, t.jud.value).items()})
    torch.save(kept, path + ".new")
    os.replace(path + ".new", path)


def resume(t, path):
    s = torch.load(path, map_location=t.device, weights_only=True)
    for k in ("progress", "seconds", "coded"):
        setattr(t, k, s[k])
    book = t.net.quantizer
    book.embed.copy_(s["books"]["embed"])
    book.size.copy_(s["books"]["size"])
    book.sums.copy_(book.embed * book.size[..., None])
    for own, old in zip((t.balance.norms, t.balance.seen), s["balance"]):
        own.copy_(old)
    if "gen" in s:
        t.steps, t.judge_steps = s["steps"], s["judge_steps"]
        for flat, key in ((t.gen, "gen"), (t.jud, "jud")):
            for k, v in flat.tensors().items():
                v.copy_(s[key][k])
        return
    for flat, key in ((t.gen, "ema"), (t.jud, "judges")):
        if key not in s:                # a run without them
            continue
        for name, view in named(flat, flat.value).items():
            view.copy_(s[key][name])
        flat.ema.copy_(flat.value)


@torch.no_grad()
def dump(t, seconds=60):
    """Codes of all clips by averaged weights, for audio/codes.py: train.npz, valid.npz, uint16 [frames][books] a clip."""
    if t.rank:
        return
    sets = {"train": {}, "valid": {}}
    # Every clip has a length of its own: no search for the best kernel of each.
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=False, allow_tf32=True), Averaged(t):
        for r in t.rows:
            x = t.crops.pcm[r["start"]:r["start"] + r["length"]].float() / 32768
            parts = [t.net.quantizer.codes(t.net.encoder(p[None, None]))[0] for p in x.split(seconds * nets.RATE)]
            sets[r["set"]][r["name"].replace("/", ".")] = torch.cat(parts).cpu().numpy().astype(np.uint16)
    for name, clips in sets.items():
        np.savez_compressed(f"{t.a.out}/{name}.npz", **clips)
