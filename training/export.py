#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Turn a checkpoint into the model file: fp16 transforms, integer nets, frequency tables fitted on training pictures.

export.py CHECKPOINT.pt --data train.tar --out models/photo.safetensors [--rdo 0.7] [--skip N] [--sweep]
"""
import argparse
import datetime
import json
import math
import os
import sys

import numpy as np
import torch

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import data                     # noqa: E402
import intnet                   # noqa: E402
import model as M               # noqa: E402
import msssim                   # noqa: E402
import tensorfile               # noqa: E402

FLOAT = ("enc.", "dec.", "hyper_enc.")


def load_checkpoint(path):
    net = M.Hyper()
    state = torch.load(path, map_location="cpu") if path.endswith(".pt") else to_state(path)
    net.load_state_dict({k: v.float() for k, v in state.items()})
    with torch.no_grad():
        for name, p in net.named_parameters():
            if name.startswith(FLOAT):
                p.copy_(p.half().float())           # fit the tables to the weights that are shipped
    return net.eval()


def to_state(path):
    """A model file back as a training state, so that training goes on from shipped weights."""
    tensors, _ = tensorfile.load(path)
    state = {}
    for name, a in tensors.items():
        t = torch.from_numpy(np.array(a, dtype=np.float32))
        if name.startswith(FLOAT):
            state[name] = t
        elif name in ("gain_enc", "gain_dec"):
            state["log_" + name] = t.log()
        elif name == "ctx.z.freq":
            state["z_logits"] = (t / intnet.TABLE_SUM).log()
        elif name.endswith((".weight", ".bias")):
            shift = int(tensors[name.rsplit(".", 1)[0] + ".shift"][0])
            state[name] = t / 2.0 ** (shift + (7 if name.endswith(".bias") else 0))
    return state


class Codec:
    """The whole path as it will run: float transforms, integer entropy model."""

    def __init__(self, net, device, inputs=None):
        self.net, self.device = net.to(device), device
        self.ints = intnet.IntNets.from_model(net, device, inputs)

    def latents(self, x, q):
        ge, gd = self.net.gains(M.level_weights(q))
        v = self.net.enc(x) * ge
        return v, gd, torch.round(self.net.hyper(v)).clamp(-M.ZMAX, M.ZMAX)


@torch.no_grad()
def freeze_dead(net, crops, rounds, batch, seed):
    """Channels whose scale class is far below the lowest on every picture: class and mean become constants.  Training drives
    the class down without end, and weights that grow so cost all channels of the group their precision.  Returns how many."""
    torch.manual_seed(seed)
    top, bits = torch.full((sum(M.GROUPS),), -math.inf), M.gaussian_bits
    mean = torch.zeros(sum(M.GROUPS))

    def spy(x, t):
        top.copy_(torch.maximum(top, (4 * t + 20).amax((0, 2, 3)).cpu()))
        return bits(x, t)
    M.gaussian_bits = spy
    try:
        for _ in range(rounds):
            q = (torch.rand(batch) * (M.LEVELS - 1) * 16).round() / 16
            gain, _ = net.gains(M.level_weights(q.to(crops.pixels.device)))
            y, _, _ = net.entropy(net.enc(crops.draw(batch)) * gain, noise=False)
            mean += y.mean((0, 2, 3)).cpu() / rounds
    finally:
        M.gaussian_bits = bits
    start = 0
    for g, size in enumerate(M.GROUPS):
        last = net.ctx[f"g{g}"][2]
        for i in range(size):
            if top[start + i] < -8:
                last.weight[size + i] = 0
                last.bias[size + i] = -7        # class 4 * -7 + 20, below the lowest
                last.weight[i] = 0
                last.bias[i] = mean[start + i]
        start += size
    return int((top < -8).sum())


@torch.no_grad()
def layer_inputs(net, crops, rounds, batch, seed):
    """{layer: (E[x x^T], E[x])} of the 1x1 layers of the context nets, for rounding."""
    torch.manual_seed(seed)
    sums, hooks = {}, []

    def watch(key):
        def hook(_, x):
            a = x[0].transpose(0, 1).flatten(1).double()
            second, first, n = sums.get(key, (0, 0, 0))
            sums[key] = (second + (a @ a.T).cpu(), first + a.sum(1).cpu(), n + a.shape[1])
        return hook
    for g in range(len(M.GROUPS)):
        for j in (1, 2):
            hooks.append(net.ctx[f"g{g}"][j].register_forward_pre_hook(watch(f"ctx.g{g}.{j}")))
    for _ in range(rounds):
        q = (torch.rand(batch) * (M.LEVELS - 1) * 16).round() / 16
        gain, _ = net.gains(M.level_weights(q.to(crops.pixels.device)))
        net.entropy(net.enc(crops.draw(batch)) * gain, noise=False)
    for hook in hooks:
        hook.remove()
    return {key: (second / n, first / n) for key, (second, first, n) in sums.items()}


@torch.no_grad()
def gather(codec, crops, rounds, batch, choose, seed):
    """Counts of symbols by class, and of z, over random crops at random levels."""
    torch.manual_seed(seed)
    n = intnet.SPAN * 2 + 1
    ys = torch.zeros(M.CLASSES, n, dtype=torch.int64, device=codec.device)
    zs = torch.zeros(64, 2 * M.ZMAX + 1, dtype=torch.int64, device=codec.device)
    for _ in range(rounds):
        q = (torch.rand(batch, device=codec.device) * (M.LEVELS - 1) * 16).round() / 16
        v, _, zq = codec.latents(crops.draw(batch), q)
        s, _, k = codec.ints.code(v, zq, choose)
        ys += intnet.count_symbols(s, k)
        zs += intnet.count_z(zq)
    return ys, zs


@torch.no_grad()
def rate_distortion(codec, held, choose, bits, z_bits):
    """Rows (level, bpp, z bpp, PSNR, MS-SSIM dB, share of skipped symbols, float model bpp) on held-back crops."""
    rows = []
    for level in range(M.LEVELS):
        acc = np.zeros(6)
        for i in range(0, len(held), 4):
            x = held[i:i + 4].to(codec.device).float() / 127.5 - 1
            q = torch.full((len(x),), float(level), device=codec.device)
            v, gd, zq = codec.latents(x, q)
            s, mu, k = codec.ints.code(v, zq, choose)
            cost = bits[k.long(), (s + intnet.SPAN).clamp(0, 2 * intnet.SPAN).long()]
            cost = torch.where(k < choose.skip, torch.zeros_like(cost), cost)
            zc = z_bits[torch.arange(64, device=zq.device)[None, :, None, None], (zq + M.ZMAX).long()]
            out = codec.net.dec((s + mu / intnet.UNIT).float() * gd)
            a = ((out.clamp(-1, 1) + 1) * 127.5).round() / 255
            b = (x + 1) / 2
            px = x.shape[2] * x.shape[3]
            _, fy, fz = codec.net.entropy(v, noise=False)
            acc += [float((cost.sum() + zc.sum()) / px), float(zc.sum() / px),
                    float((-10 * ((a - b) ** 2).mean((1, 2, 3)).log10()).sum()),
                    float((-10 * (1 - msssim.ms_ssim(a, b)).log10()).sum()),
                    float((k < choose.skip).double().mean((1, 2, 3)).sum()), float((fy + fz).sum() / px)]
        rows.append((level, *(acc / len(held))))
    return rows


def at_rates(rows, rates=(0.08, 0.12, 0.18, 0.25)):
    """MS-SSIM dB interpolated over log rate."""
    x = [math.log(r[1]) for r in rows]
    return [float(np.interp(math.log(b), x, [r[4] for r in rows])) for b in rates]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("checkpoint")
    p.add_argument("--data", nargs="+", required=True)
    p.add_argument("--out", required=True)
    p.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    p.add_argument("--rounds", type=int, default=60)
    p.add_argument("--batch", type=int, default=32)
    p.add_argument("--limit", type=int)
    p.add_argument("--held", type=int, default=24, help="held-back crops to report on (0: none)")
    p.add_argument("--rdo", type=float, default=0.0, help="strength of the encoder's rounding that the tables are fitted to")
    p.add_argument("--skip", type=int, default=-1, help="classes below are never coded (-1: by --skip-rate)")
    p.add_argument("--skip-rate", type=float, default=0.004, help="skip classes with a smaller share of nonzero symbols")
    p.add_argument("--sweep", action="store_true")
    p.add_argument("--done", help="done.json of the run, for the provenance")
    p.add_argument("--packages", help="list of the training packages, for the provenance")
    p.add_argument("--commit", default="unknown")
    p.add_argument("--results", help="write the table of held-back results here")
    a = p.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    pictures = data.load(a.data, limit=a.limit)
    held = data.held_back_crops(pictures, most=a.held or 1)
    crops = data.Crops(pictures, torch.device(a.device))
    net = load_checkpoint(a.checkpoint).to(a.device)
    print("channels frozen", freeze_dead(net, crops, max(2, a.rounds // 6), a.batch, 10))
    codec = Codec(net, a.device, layer_inputs(net, crops, max(2, a.rounds // 6), a.batch, 9))

    def fit(rounds, choose, seed):
        ys, zs = gather(codec, crops, rounds, a.batch, choose, seed)
        tables, radius = intnet.fit_class_tables(ys)
        z = intnet.fit_z_tables(zs.cpu().numpy())
        bits = intnet.class_bits(tables, radius).to(a.device)
        zb = -torch.log2(torch.from_numpy(z.astype(np.float64)) / intnet.TABLE_SUM).to(a.device)
        return ys, tables, radius, z, bits, zb

    ys, _, _, _, bits, zb = fit(max(2, a.rounds // 2), intnet.nearest, 11)
    total = ys.sum(1).double()
    zero = ys[:, intnet.SPAN].double()
    share = (1 - zero / total.clamp(min=1)).cpu()
    print("share of nonzero by class", [f"{v:.4f}" for v in share[:16].tolist()])
    print("share of symbols by class", [f"{v:.3f}" for v in (total / total.sum())[:16].tolist()])
    skip = a.skip if a.skip >= 0 else int((share < a.skip_rate).int().cumprod(0).sum())
    print("skip", skip)
    if a.sweep:
        for s in sorted({0, skip // 2, skip, skip + 2, skip + 4}):
            for rdo in (0.0, 0.4, 0.7, 1.0):
                r = rate_distortion(codec, held[:12], intnet.Chooser(bits, s, rdo), bits, zb)
                print(f"skip {s} rdo {rdo}:", " ".join(f"{v:.3f}" for v in at_rates(r)),
                      f"skipped {np.mean([q[5] for q in r[:5]]):.2f}", flush=True)
    choose = intnet.Chooser(bits, skip, a.rdo)
    _, tables, radius, z, bits, zb = fit(a.rounds, choose, 12)
    tensors = {n: p.detach().cpu().half().numpy() for n, p in codec.net.named_parameters() if n.startswith(FLOAT)}
    tensors["gain_enc"] = codec.net.log_gain_enc.detach().exp().cpu().numpy()
    tensors["gain_dec"] = codec.net.log_gain_dec.detach().exp().cpu().numpy()
    tensors.update({n: t.numpy() for n, t in codec.ints.tensors().items()})
    tensors["ctx.class.freq"] = np.concatenate(tables).astype(np.uint16)
    tensors["ctx.class.radius"] = radius
    tensors["ctx.class.skip"] = np.array([skip], np.int32)
    tensors["ctx.z.freq"] = z
    meta = {"tessera.codec": "hyper", "tessera.name": "photo",
            "tessera.sha256": tensorfile.digest(tensors),
            "license": "BSD-2-Clause", "date": datetime.date.today().isoformat(), "commit": a.commit,
            "pictures": f"{len(pictures)} files from Debian 12 main"}
    if a.done and os.path.exists(a.done):
        d = json.load(open(a.done))
        args = {k: v for k, v in d["arguments"].items() if k not in ("data", "out", "resume", "limit", "steps")}
        meta.update(seconds=f"{d['seconds']:.0f}", steps=str(d["steps"]), batch=str(d["batch"]),
                    hardware=f"{d['gpus']} x {d['device']}", torch=d["torch"],
                    command="train.py " + " ".join(f"--{k.replace('_', '-')} {v}" for k, v in args.items()))
    if a.packages:
        names = [line.split("|")[0] for line in open(a.packages) if line.strip() and line[0] != "#"]
        meta["packages"] = " ".join(dict.fromkeys(names))
    tensorfile.save(a.out, tensors, meta)
    print("wrote", a.out, os.path.getsize(a.out), "bytes, sha256", meta["tessera.sha256"])
    if not a.held:
        return
    rows = rate_distortion(codec, held, intnet.Chooser(bits, skip, a.rdo), bits, zb)
    plain = rate_distortion(codec, held[:12], intnet.Chooser(bits, 0, 0.0), bits, zb)
    loss = sum(r[1] for r in plain) / sum(r[6] for r in plain) - 1
    text = "level\tbpp\tz_bpp\tpsnr_db\tms_ssim_db\tskipped\n"
    text += "".join(f"{r[0]}\t" + "\t".join(f"{v:.4f}" for v in r[1:6]) + "\n" for r in rows)
    print(text + f"at 0.08 0.12 0.18 0.25 bpp: {at_rates(rows)}")
    print(f"integer path, plain rounding, against the float model: {100 * loss:+.3f} % bits")
    if a.results:
        with open(a.results, "w") as f:
            f.write(text)


if __name__ == "__main__":
    main()
