#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Codes of all pictures, for frequencies, the context model and the filler.

dump.py run/weights.pt --data photos=photos.tar textures=textures.tar --out DIR

Writes DIR/train-ids.npz and DIR/held-ids.npz: `ids` uint16, all grids one after the other in raster order; `shape` int32 [n][2],
rows and columns of each; `name` [n]; `scale` float32 [n], `flip` uint8 [n].  held-ids.npz also has `codebook` [65536][8] and, for
J = 1..4, `level.J.start` and `level.J.codewords` (tree order: the cluster of code i is the last with start <= i).
With --crops: DIR/crop-ids.npz and so on, `ids` and `shape` of random crops (flipped, transposed, scaled), for the filler, and all-ids.npz,
which holds these and the training pictures.
"""
import argparse
import os
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]
import codebook                  # noqa: E402
import data                      # noqa: E402
import export                    # noqa: E402
import model as M                # noqa: E402
import train                     # noqa: E402

VARIANTS = ((1.0, 0), (1.0, 1), (0.7, 0), (0.5, 0), (0.5, 1))


@torch.no_grad()
def grid(net, words, a, scale, flip, device):
    """Codes [h][w] of an HWC picture, cut to whole tokens, scaled and mirrored."""
    x = torch.from_numpy(np.ascontiguousarray(a)).to(device).permute(2, 0, 1)[None].float()
    if scale != 1:
        x = F.interpolate(x, (round(a.shape[0] * scale), round(a.shape[1] * scale)), mode="bilinear", antialias=True)
    h, w = x.shape[2] // M.FACTOR * M.FACTOR, x.shape[3] // M.FACTOR * M.FACTOR
    x = x[:, :, :h, :w].round().clamp(0, 255) / 127.5 - 1
    if flip:
        x = x.flip(3)
    z = net.encode(x.contiguous(memory_format=torch.channels_last))[0]
    return codebook.nearest(z.permute(1, 2, 0).reshape(-1, M.DIM), words).reshape(z.shape[1:]).to(torch.int32)


@torch.no_grad()
def random_crops(net, words, pictures, tokens, seconds, device, side=384, batch=48):
    """Codes of random crops, [n][side/16][side/16]."""
    began, out = time.time(), []
    crops = data.Crops(pictures, device, side)
    while len(out) * batch * (side // M.FACTOR) ** 2 < tokens and time.time() - began < seconds:
        z = net.encode(crops.draw(batch).contiguous(memory_format=torch.channels_last))
        at = codebook.nearest(z.permute(0, 2, 3, 1).reshape(-1, M.DIM), words)
        out.append(at.reshape(batch, *z.shape[2:]).to(torch.int32).cpu().numpy().astype(np.uint16))
    print(f"{sum(o.size for o in out)} tokens of random crops in {time.time() - began:.1f} s", flush=True)
    return np.concatenate(out)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("weights")
    p.add_argument("--data", nargs="+", required=True)
    p.add_argument("--out", required=True)
    p.add_argument("--limit", type=int)
    p.add_argument("--seconds", type=float, default=60, help="stop taking variants after so long")
    p.add_argument("--crops", type=int, default=0, help="tokens of random crops")
    p.add_argument("--crop-seconds", type=float, default=40)
    p.add_argument("--piece", type=int, default=8 << 20, help="tokens a file of crops")
    a = p.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    tensors = export.tensors_of(a.weights)
    net = export.network(tensors).to(device, memory_format=torch.channels_last)
    words = torch.from_numpy(tensors["tessera.codebook"].astype(np.float32)).to(device)
    pictures = train.load(a.data, limit=a.limit)
    began = time.time()
    parts = {True: [], False: []}
    for scale, flip in VARIANTS:
        if time.time() - began > a.seconds:
            print("no time for", scale, flip)
            break
        for name, pic in pictures:
            if min(pic.shape[:2]) * scale < 64 or (data.is_held_back(name) and flip):
                continue
            parts[data.is_held_back(name)].append((grid(net, words, pic, scale, flip, device).cpu().numpy(), name, scale, flip))
        print(f"scale {scale} flip {flip}: {time.time() - began:.1f} s", flush=True)
    for held, rows in parts.items():
        out = dict(ids=np.concatenate([r[0].reshape(-1) for r in rows]).astype(np.uint16),
                   shape=np.array([r[0].shape for r in rows], np.int32), name=np.array([r[1] for r in rows]),
                   scale=np.array([r[2] for r in rows], np.float32), flip=np.array([r[3] for r in rows], np.uint8))
        if held:
            out["codebook"] = tensors["tessera.codebook"]
            out.update({k[8:]: v for k, v in tensors.items() if k.startswith("tessera.level.")})
        np.savez(f"{a.out}/{'held' if held else 'train'}-ids.npz", **out)
        ids = out["ids"]
        print(f"{'held back' if held else 'training'}: {len(rows)} grids, {len(ids)} tokens, {len(np.unique(ids))} codes used")
    if a.crops:
        ids = random_crops(net, words, pictures, a.crops, a.crop_seconds, device)
        per = a.piece // ids[0].size
        for i in range(0, len(ids), per):
            part = ids[i:i + per]
            np.savez(f"{a.out}/crop-ids-{i // per}.npz", ids=part.reshape(-1), shape=np.tile(np.array(part.shape[1:], np.int32), (len(part), 1)))
        grids = [r[0] for r in parts[False]] + list(ids)
        np.savez(f"{a.out}/all-ids.npz", ids=np.concatenate([g.reshape(-1) for g in grids]).astype(np.uint16),
                 shape=np.array([g.shape for g in grids], np.int32))
    both = np.concatenate([r[0].reshape(-1) for rows in parts.values() for r in rows])
    print(f"codes used in all: {len(np.unique(both)) / M.CODES:.4f}")


if __name__ == "__main__":
    main()
