#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Golden vectors for the C tests: a network of random weights and a few channels, and what float32 PyTorch computes with it.

vectors.py OUT_DIR
"""
import os
import sys

import numpy as np
import torch

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]
import nets                 # noqa: E402
import modelfile            # noqa: E402
import tensorfile           # noqa: E402

nets.SEM, nets.ACOUSTIC, nets.LEVELS, nets.ENTRIES = 6, 10, 3, 16
README = """SPDX-License-Identifier: BSD-2-Clause

A model of codec `semantic` with random weights (model.safetensors), and what training/semantic/nets.py makes of {n} samples with it, in
float32 on a CPU.  Made by training/semantic/vectors.py.
input.npy    float32 [{n}]
latent.npy   float32 [{f}][16], before the quantiser
codes.npy    uint16 [{f}][4]
recon_N.npy  float32 [{m}]: decoded from the first N codes of each frame
"""


@torch.no_grad()
def main():
    out = sys.argv[1]
    torch.manual_seed(3)
    net = nets.Codec(2, (12, 8, 6, 4, 4), (2, 2))
    for name, p in net.named_parameters():
        if not name.endswith("weight_g") and p.dim() == 1:
            p.normal_(0, 0.1)
    net.quantizer.words.normal_(0, 0.4)
    for q in range(nets.LEVELS):
        net.quantizer.embed[q].normal_(0, 0.4 / (q + 1))
    arrays = modelfile.tensors(dict(net.named_parameters()), net.quantizer.words, net.quantizer.embed)
    os.makedirs(out, exist_ok=True)
    tensorfile.save(f"{out}/model.safetensors", arrays, {"tessera.codec": "semantic", "tessera.name": "toy",
                                                         "tessera.sha256": tensorfile.digest(arrays)})
    modelfile.network(arrays, net)
    n = 16 * nets.HOP + 123
    t = torch.arange(n) / nets.RATE
    x = 0.4 * torch.sin(2 * torch.pi * (200 + 900 * t) * t) * (t % 0.2 < 0.15) + 0.05 * torch.randn(n)
    z = net.encoder(x[None, None])
    codes = net.quantizer.codes(z)
    np.save(f"{out}/input.npy", x.numpy())
    np.save(f"{out}/latent.npy", np.ascontiguousarray(z[0].t().numpy()))
    np.save(f"{out}/codes.npy", codes[0].numpy().astype("<u2"))
    for books in (1, 2, 4):
        y = net.decoder(net.quantizer.lookup(codes[:, :, :books]).contiguous())[0, 0]
        np.save(f"{out}/recon_{books}.npy", y.numpy())
    with open(f"{out}/README", "w") as f:
        f.write(README.format(n=n, f=z.shape[2], m=len(y)))
    print(z.shape, float(z.std()), float(y.std()), [len(set(codes[0, :, q].tolist())) for q in range(4)])


if __name__ == "__main__":
    main()
