#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Golden vectors for the C tests: the model file's weights in float32 PyTorch on the CPU, on a made picture.

vectors.py models/mosaic.safetensors OUT_DIR
"""
import os
import sys

import numpy as np
import torch

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]
import codebook             # noqa: E402
import export               # noqa: E402
import model as M           # noqa: E402
import tensorfile           # noqa: E402

README = """SPDX-License-Identifier: BSD-2-Clause

A made picture of {h} rows and {w} columns through the nets of models/mosaic.safetensors, float32 on a CPU.  The file's
SHA-256 of tensors was {sha}.  Made by training/tokens/vectors.py, which also makes the picture.
input.npy    uint8 [{h}][{w}][3]
latent.npy   float32 [8][{r}][{c}], before the search
ids.npy      uint16 [{r}][{c}], level 0
margin.npy   float32 [{r}][{c}]: squared distance of the second-nearest codeword minus that of the nearest, in float64
recon_J.npy  float32 [3][{h}][{w}], in -1..1 and not clamped: the decoder's picture from level J
"""


def picture(h=64, w=80):
    """A sky, a hill with grass, a disc with an edge, stripes; a little noise."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[0:h, 0:w].astype(np.float64)
    sky = np.stack([0.45 + 0.3 * y / h, 0.6 + 0.2 * y / h, 0.9 - 0.1 * y / h], 2)
    grass = np.stack([0.25 + 0.1 * rng.random((h, w)), 0.42 + 0.2 * rng.random((h, w)), 0.16 + 0.08 * rng.random((h, w))], 2)
    hill = (y > 0.62 * h + 6 * np.sin(x / 11))[..., None]
    a = np.where(hill, grass, sky)
    disc = ((x - 56) ** 2 + (y - 20) ** 2 < 150)[..., None]
    a = np.where(disc, np.array([0.93, 0.82, 0.35]), a)
    wall = ((x > 8) & (x < 34) & (y > 26) & (y < 52))[..., None]
    a = np.where(wall, np.stack([0.55 + 0.25 * (np.sin(x * 1.3) > 0), 0.3 + 0.1 * (y % 6 < 1), 0.28 + 0 * x], 2), a)
    return np.clip(255 * (a + 0.01 * rng.standard_normal(a.shape)) + 0.5, 0, 255).astype(np.uint8)


@torch.no_grad()
def main():
    tensors, meta = tensorfile.load(sys.argv[1])
    out, a = sys.argv[2], picture()
    net = export.network(tensors)
    z = net.encode(torch.from_numpy(a).permute(2, 0, 1)[None].float() / 127.5 - 1)[0]
    _, r, c = z.shape
    words = torch.from_numpy(tensors["tessera.codebook"].astype(np.float32))
    flat = z.permute(1, 2, 0).reshape(-1, M.DIM)
    d = torch.cdist(flat.double(), words.double()).square()
    two = d.topk(2, 1, largest=False)
    ids = two.indices[:, 0]
    assert bool((ids == codebook.nearest(flat, words)).all())
    arrays = dict(input=a, latent=z.numpy(), ids=ids.reshape(r, c).numpy().astype("<u2"),
                  margin=(two.values[:, 1] - two.values[:, 0]).reshape(r, c).numpy().astype("<f4"))
    for level in (0, 2, 4):
        at, w = ids, words
        if level:
            at = torch.searchsorted(torch.from_numpy(tensors[f"tessera.level.{level}.start"].copy()).long(), ids, right=True) - 1
            w = torch.from_numpy(tensors[f"tessera.level.{level}.codewords"].astype(np.float32))
        arrays[f"recon_{level}"] = net.decode(w[at].reshape(1, r, c, M.DIM).permute(0, 3, 1, 2).contiguous())[0].numpy()
    os.makedirs(out, exist_ok=True)
    for name, v in arrays.items():
        np.save(f"{out}/{name}.npy", np.ascontiguousarray(v))
    with open(f"{out}/README", "w") as f:
        f.write(README.format(h=a.shape[0], w=a.shape[1], r=r, c=c, sha=meta["tessera.sha256"]))
    print("smallest margin", float(arrays["margin"].min()), "latent rms", float(z.square().mean().sqrt()))


if __name__ == "__main__":
    main()
