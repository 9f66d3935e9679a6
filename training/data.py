# SPDX-License-Identifier: BSD-2-Clause
"""All training pictures as one uint8 array on the GPU, and random crops from it."""
import hashlib
import io
import os
import tarfile
from multiprocessing import Pool

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

KIND_WEIGHT = {"photos": 1.0, "textures": 0.5, "mixed": 0.5}
SCALES = (1.0, 0.7, 0.5)


def is_held_back(name):
    """About one photograph file in twenty is kept for the learning curve."""
    return name.startswith("photos/") and hashlib.sha256(name.encode()).digest()[0] < 13


def _decode(item):
    name, data = item
    return name, np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def load(paths, workers=16, limit=None):
    """(name, HWC uint8) of every picture in the tars."""
    items = []
    for path in paths:
        with tarfile.open(path) as tar:
            items += [(m.name, tar.extractfile(m).read()) for m in tar]
    items = items[:limit]
    with Pool(workers) as pool:
        return pool.map(_decode, items, 8)


def held_back_crops(pictures, size=512, most=24):
    """Centre crops of the held-back pictures, [N,3,size,size] uint8."""
    out = []
    for name, a in sorted(pictures, key=lambda p: p[0]):
        if is_held_back(name) and min(a.shape[:2]) >= size and a.std() > 12:
            y, x = (a.shape[0] - size) // 2, (a.shape[1] - size) // 2
            out.append(torch.from_numpy(a[y:y + size, x:x + size].copy()).permute(2, 0, 1))
    return torch.stack(out[:most])


class Crops:
    """Draws crops with flips, transposition, three scales and small brightness changes, all on the GPU."""

    def __init__(self, pictures, device, crop=256, seed=1):
        self.crop, self.device = crop, device
        chunks, meta, weights, offset = [], [], [], 0
        for name, a in pictures:
            if is_held_back(name):
                continue
            for s in SCALES:
                h, w = round(a.shape[0] * s), round(a.shape[1] * s)
                if min(h, w) < crop:
                    continue
                t = torch.from_numpy(np.ascontiguousarray(a)).to(device)
                if s != 1.0:
                    f = t.permute(2, 0, 1)[None].float()
                    f = F.interpolate(f, (h, w), mode="bilinear", antialias=True, align_corners=False)
                    t = f[0].permute(1, 2, 0).round().clamp(0, 255).to(torch.uint8)
                chunks.append(t.reshape(-1))
                meta.append((offset, h, w))
                weights.append(h * w * KIND_WEIGHT[name.split("/")[0]])
                offset += t.numel()
        self.pixels = torch.cat(chunks)
        self.meta = torch.tensor(meta, dtype=torch.int64, device=device)
        self.cum = torch.tensor(np.cumsum(weights) / np.sum(weights), dtype=torch.float32, device=device)
        self.count = len(meta)

    def draw(self, batch):
        """[batch,3,crop,crop] float in -1..1, channels last."""
        n, dev = self.crop, self.device
        r = torch.rand(batch, 8, device=dev)
        k = torch.searchsorted(self.cum, r[:, 0].contiguous()).clamp(max=self.count - 1)
        off, h, w = self.meta[k].unbind(1)
        y0 = (r[:, 1] * (h - n + 1)).long().minimum(h - n)
        x0 = (r[:, 2] * (w - n + 1)).long().minimum(w - n)
        i = torch.arange(n, device=dev)
        ii = torch.where(r[:, 3:4] < 0.5, n - 1 - i, i)[:, :, None]
        jj = torch.where(r[:, 4:5] < 0.5, n - 1 - i, i)[:, None, :]
        pos = (y0[:, None, None] + ii) * w[:, None, None] + x0[:, None, None] + jj
        pos = torch.where(r[:, 5, None, None] < 0.5, pos, pos.transpose(1, 2)) * 3 + off[:, None, None]
        px = self.pixels[pos[..., None] + torch.arange(3, device=dev)].float()
        gain = 1 - 0.5 * (r[:, 6] - 0.6).clamp(min=0)          # four crops in ten are darkened, by up to a fifth
        return (px * gain[:, None, None, None] / 127.5 - 1).permute(0, 3, 1, 2)
