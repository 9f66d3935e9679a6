#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Held-back crops through a model file, in float32: PSNR, MS-SSIM and the perceptual distance of every level.

evaluate.py models/mosaic.safetensors --data photos=images-photos.tar --features lite0.npz --out table.tsv --sheet sheet.png
"""
import argparse
import os
import sys

import numpy as np
import torch
from PIL import Image

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]
import codebook                  # noqa: E402
import data                      # noqa: E402
import export                    # noqa: E402
import features                  # noqa: E402
import model as M                # noqa: E402
import msssim                    # noqa: E402
import tensorfile                # noqa: E402
import train                     # noqa: E402


class Codec:
    """A model file's nets, codewords and levels."""

    def __init__(self, path):
        self.tensors, _ = tensorfile.load(path)
        self.net = export.network(self.tensors)
        self.words = [torch.from_numpy(self.tensors["tessera.codebook"].astype(np.float32))]
        self.starts = [torch.arange(M.CODES)]
        for j in range(1, len(M.LEVELS)):
            self.words.append(torch.from_numpy(self.tensors[f"tessera.level.{j}.codewords"].astype(np.float32)))
            self.starts.append(torch.from_numpy(self.tensors[f"tessera.level.{j}.start"].astype(np.int64)))

    @torch.no_grad()
    def encode(self, x):
        """[1,3,H,W] in -1..1 -> codes [h][w]"""
        z = self.net.encode(x)[0]
        return codebook.nearest(z.permute(1, 2, 0).reshape(-1, M.DIM), self.words[0]).reshape(z.shape[1:])

    @torch.no_grad()
    def decode(self, ids, level):
        at = torch.searchsorted(self.starts[level], ids.contiguous(), right=True) - 1
        return self.net.decode(self.words[level][at].permute(2, 0, 1)[None].contiguous()).clamp(-1, 1)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model")
    p.add_argument("--data", nargs="+", required=True)
    p.add_argument("--features", required=True)
    p.add_argument("--out", required=True)
    p.add_argument("--sheet")
    p.add_argument("--side", type=int, default=384)
    p.add_argument("--levels", type=int, nargs="*", default=list(range(len(M.LEVELS))))
    a = p.parse_args()
    codec = Codec(a.model)
    held = data.held_back_crops([v for v in train.load(a.data, workers=2) if data.is_held_back(v[0])], size=a.side)
    feel = features.Features(np.load(a.features), "cpu", torch.float32, torch.contiguous_format)
    rows, strips = np.zeros((len(a.levels), 3)), []
    for pic in held:
        x = pic[None].float() / 127.5 - 1
        ids = codec.encode(x)
        strip = [x]
        with torch.no_grad():
            felt = feel(x)[0]
        for i, level in enumerate(a.levels):
            y = ((codec.decode(ids, level) + 1) * 127.5).round() / 127.5 - 1
            with torch.no_grad():
                u, v = (y + 1) / 2, (x + 1) / 2
                rows[i] += [float(-10 * (u - v).square().mean().log10()), float(-10 * (1 - msssim.ms_ssim(u, v)).clamp(min=1e-6).log10()),
                            float(features.distance(felt, feel(y)[0]))]
            strip.append(y)
        strips.append(torch.cat(strip, 3)[0])
    text = "level\tpsnr_db\tms_ssim_db\tperceptual\n"
    text += "".join(f"{level}\t" + "\t".join(f"{v:.4f}" for v in r / len(held)) + "\n" for level, r in zip(a.levels, rows))
    print(f"{len(held)} crops\n{text}", end="")
    with open(a.out, "w") as f:
        f.write(text)
    if a.sheet:
        s = ((torch.cat(strips, 1) + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).numpy()
        Image.fromarray(s).save(a.sheet)


if __name__ == "__main__":
    main()
