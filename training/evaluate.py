#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Rate and distortion of a model file on pictures that were not trained on, beside JPEG, WebP and AVIF.

evaluate.py MODEL.safetensors OUT.tsv PICTURE... [--side 1152] [--save DIR] [--peers]

Pictures are scaled down to at most `side` pixels (their own JPEG artefacts go), and coded whole.  The rate is the ideal
code length of the integer path; bytes of a container are not counted.  Each row is a mean over the pictures.
"""
import argparse
import io
import os
import subprocess
import sys
import tempfile

import numpy as np
import torch
from PIL import Image

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import export                   # noqa: E402
import model as M               # noqa: E402
import msssim                   # noqa: E402
import reference                # noqa: E402


def picture(path, side):
    im = Image.open(path).convert("RGB")
    f = max(im.size) / side
    if f > 1:
        im = im.resize((round(im.width / f), round(im.height / f)), Image.LANCZOS)
    return np.asarray(im)


def score(a, b):
    """PSNR and MS-SSIM in dB."""
    a, b = (torch.from_numpy(np.array(v)).permute(2, 0, 1)[None].float() / 255 for v in (a, b))
    mse, ssim = float(((a - b) ** 2).mean()), float(msssim.ms_ssim(a, b))
    return -10 * np.log10(max(mse, 1e-9)), -10 * np.log10(max(1 - ssim, 1e-9))


def ours(model, net, pic, levels, save):
    x = torch.from_numpy(reference.pad16(pic))[None]
    y = net.enc(x)[0].numpy()
    for q in levels:
        e = reference.encode(model, pic, q, y=y)
        out = net.dec(torch.from_numpy(e["yhat"] * model.gains(q)[1])[None])[0].numpy()
        out = reference.to_pixels(out, *pic.shape[:2])
        if save:
            Image.fromarray(out).save(f"{save}-q{q:g}.png")
        yield "hyper", q, e["y_bits"] + e["z_bits"], e["z_bits"], out


def pil_codec(name, quality, pic):
    buf = io.BytesIO()
    Image.fromarray(pic).save(buf, name, quality=quality, **({"method": 6} if name == "WEBP" else {"optimize": True}))
    return len(buf.getvalue()) * 8, np.asarray(Image.open(buf).convert("RGB"))


def avif(quality, pic):
    with tempfile.TemporaryDirectory() as d:
        Image.fromarray(pic).save(f"{d}/a.png", compress_level=1)
        quiet = dict(check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        subprocess.run(["avifenc", "-s", "6", "-j", "2", "-y", "420", "--min", str(quality), "--max", str(quality),
                        f"{d}/a.png", f"{d}/a.avif"], **quiet)
        subprocess.run(["avifdec", f"{d}/a.avif", f"{d}/b.png"], **quiet)
        return os.path.getsize(f"{d}/a.avif") * 8, np.asarray(Image.open(f"{d}/b.png").convert("RGB"))


def peers(pic):
    for q in (5, 10, 18, 30):
        yield "JPEG", q, *pil_codec("JPEG", q, pic)
    for q in (2, 10, 25, 45):
        yield "WebP", q, *pil_codec("WEBP", q, pic)
    for q in (56, 50, 44, 38):
        yield "AVIF", q, *avif(q, pic)


@torch.no_grad()
def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model")
    p.add_argument("out")
    p.add_argument("pictures", nargs="+")
    p.add_argument("--side", type=int, default=1152)
    p.add_argument("--levels", default="0,1,2,3,4,5,6,7")
    p.add_argument("--save", help="folder for the decoded pictures")
    p.add_argument("--peers", action="store_true")
    a = p.parse_args()
    model, net = reference.Model(a.model), export.load_checkpoint(a.model)
    rows = {}

    def add(codec, level, bits, pic, out):
        rows.setdefault((codec, level), []).append((bits / (pic.shape[0] * pic.shape[1]), *score(pic, out)))

    for path in a.pictures:
        pic = picture(path, a.side)
        name = os.path.basename(path).rsplit(".", 1)[0]
        save = os.path.join(a.save, name) if a.save else None
        for codec, q, bits, zb, out in ours(model, net, pic, [float(v) for v in a.levels.split(",")], save):
            add(codec, q, bits, pic, out)
            add("hyper-z", q, zb, pic, out)
        if a.peers:
            for codec, q, bits, out in peers(pic):
                add(codec, q, bits, pic, out)
        print(name, pic.shape, flush=True)
        with open(a.out, "w") as f:
            f.write("codec\tlevel\tbpp\tpsnr_db\tms_ssim_db\tpictures\n")
            for (codec, level), v in rows.items():
                f.write(f"{codec}\t{level:g}\t" + "\t".join(f"{m:.4f}" for m in np.mean(v, 0)) + f"\t{len(v)}\n")


if __name__ == "__main__":
    main()
