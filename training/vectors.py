#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Golden vectors for the C tests, made by the NumPy reference.

vectors.py MODEL.safetensors PICTURE OUT_DIR [--x 0 --y 0 --width 96 --height 80 --q 3.25]
"""
import argparse
import os

import numpy as np
from PIL import Image

import reference

README = """SPDX-License-Identifier: BSD-2-Clause

One picture of {w}x{h} through models/photo.safetensors (tensors' SHA-256 {sha}) at q = {q}, plain rounding,
made by training/vectors.py.  Integers are exact; y and recon are float32 of NumPy and close to about 1e-4.
image.ppm    the picture: {credit}
y.npy        [192,h,w] float32, output of the analysis transform (before gain_enc)
z.npy        [64,..] int8; s.npy int16, mu.npy int16 (units of 1/128), class.npy uint8: [192,h,w]
yhat.npy     [192,h,w] float32, (128 s + mu) / 128 (before gain_dec)
recon.npy    [3,H,W] float32 in about -1..1, before the clamp and the crop to the picture
Ideal code length: y {y_bits:.3f} bits, z {z_bits:.3f} bits.
"""


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model")
    p.add_argument("picture")
    p.add_argument("out")
    p.add_argument("--x", type=int, default=0)
    p.add_argument("--y", type=int, default=0)
    p.add_argument("--width", type=int, default=96)
    p.add_argument("--height", type=int, default=80)
    p.add_argument("--q", type=float, default=3.25)
    p.add_argument("--credit", default="crop of a photograph")
    a = p.parse_args()
    model = reference.Model(a.model)
    box = a.x, a.y, a.x + a.width, a.y + a.height
    pic = np.asarray(Image.open(a.picture).convert("RGB").crop(box))
    e = reference.encode(model, pic, a.q)
    mu, k, yhat = reference.replay(model, e["z"], e["s"])
    assert (mu == e["mu"]).all() and (k == e["k"]).all() and (yhat == e["yhat"]).all()
    recon, _ = reference.decode(model, yhat, a.q, a.height, a.width)
    os.makedirs(a.out, exist_ok=True)
    Image.fromarray(pic).save(os.path.join(a.out, "image.ppm"))
    arrays = dict(y=(e["y"], "<f4"), z=(e["z"], "i1"), s=(e["s"], "<i2"), mu=(e["mu"], "<i2"), yhat=(yhat, "<f4"),
                  recon=(recon, "<f4"))
    arrays["class"] = k, "u1"
    for name, (v, kind) in arrays.items():
        np.save(os.path.join(a.out, name + ".npy"), np.ascontiguousarray(v).astype(kind))
    with open(os.path.join(a.out, "README"), "w") as f:
        f.write(README.format(w=a.width, h=a.height, q=a.q, sha=model.meta["tessera.sha256"], credit=a.credit, **e))


if __name__ == "__main__":
    main()
