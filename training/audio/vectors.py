#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Golden vectors for the C tests: the model file's weights in float32 PyTorch on the CPU, on a made sound.

vectors.py models/sound.safetensors OUT_DIR
"""
import os
import sys

import numpy as np
import torch

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]
import folded               # noqa: E402
import model as M           # noqa: E402
import tensorfile           # noqa: E402

README = """SPDX-License-Identifier: BSD-2-Clause

{n} samples at 24 kHz through the nets of models/sound.safetensors, float32 on a CPU, from silence (zero states, zero
padding).  The file's SHA-256 of tensors was {sha}.  Made by training/audio/vectors.py, which also makes the sound: a gliding voice-like buzz,
a noise burst, a chord.  Strided convolutions complete their last window with zeros.
input.npy    float32 [{n}]
latent.npy   float32 [128][{f}], before the quantiser
codes.npy    uint16 [{f}][8]
margin.npy   float32 [{f}][8]: squared distance of the second-best row minus that of the best, in float64 along these codes
recon_N.npy  float32 [{n}]: decoded from the first N codes of each frame
"""


def sound(n=12100):
    """Vowel-like buzz that glides, noise, a chord; a little noise everywhere."""
    rng = np.random.default_rng(5)
    t = np.arange(n) / 24000
    phase = 2 * np.pi * np.cumsum(110 + 60 * t) / 24000
    buzz = sum(np.sin(k * phase) / k * (np.exp(-((k * 110 - 600) / 400) ** 2) + 0.3 * np.exp(-((k * 110 - 2200) / 500) ** 2) + 0.05)
               for k in range(1, 40))
    hiss = rng.standard_normal(n) * np.exp(-((t - 0.26) / 0.02) ** 2)
    chord = sum(np.sin(2 * np.pi * f * t) for f in (262, 330, 392, 1047)) * np.clip((t - 0.3) * 20, 0, 1)
    x = 0.35 * buzz * np.clip((0.3 - t) * 20, 0, 1) + 0.15 * hiss + 0.08 * chord + 1e-4 * rng.standard_normal(n)
    return x.astype(np.float32)


@torch.no_grad()
def main():
    tensors, meta = tensorfile.load(sys.argv[1])
    out = sys.argv[2]
    net = folded.network(tensors)
    x = sound()
    n, frames = len(x), -(-len(x) // M.HOP)
    z = net.encoder(torch.from_numpy(x)[None, None])
    assert z.shape[2] == frames
    codes = net.quantizer.codes(z)
    r, margin = z[0].t().double(), []
    for q in range(M.LEVELS):
        e = net.quantizer.embed[q].double()
        d = torch.cdist(r, e).square()
        best = d.gather(1, codes[0, :, q:q + 1])
        margin.append((d.scatter(1, codes[0, :, q:q + 1], float("inf")).amin(1) - best[:, 0]).numpy())
        r = r - e[codes[0, :, q]]
    os.makedirs(out, exist_ok=True)
    arrays = dict(input=x, latent=z[0].numpy(), codes=codes[0].numpy().astype("<u2"), margin=np.stack(margin, 1).astype("<f4"))
    for books in (2, 4, 8):
        arrays[f"recon_{books}"] = net.decoder(net.quantizer.lookup(codes[:, :, :books]))[0, 0, :n].numpy()
    for name, v in arrays.items():
        np.save(f"{out}/{name}.npy", np.ascontiguousarray(v))
    with open(f"{out}/README", "w") as f:
        f.write(README.format(n=n, f=frames, sha=meta["tessera.sha256"]))
    print(frames, "frames; smallest margin", float(arrays["margin"].min()), "latent rms", float(z.square().mean().sqrt()))


if __name__ == "__main__":
    main()
