#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""A run's weights.pt to the model file: weight norm folded, fp16, published tensor names.

export.py RUN/weights.pt models/sound.safetensors --done RUN/done.json [--commit ID]
"""
import argparse
import datetime
import json
import os
import sys

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]
import folded               # noqa: E402
import model as M           # noqa: E402
import tensorfile           # noqa: E402

# sample rate, channels, hop, causal, norm (0: folded weight norm), padding (1: zeros), segment, its stride
SHAPE = (24000, 1, M.HOP, 1, 0, 1, 0, 0)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("weights")
    p.add_argument("out")
    p.add_argument("--done", required=True, help="done.json of the run, for the provenance")
    p.add_argument("--commit", default="unknown")
    a = p.parse_args()
    tensors = folded.tensors(a.weights)
    tensors["tessera.audio"] = np.array(SHAPE, np.int32)
    with open(a.done) as f:
        d = json.load(f)
    with open(f"{HERE}/../corpus/audio.txt") as f:
        packages = dict.fromkeys(line.split("|")[0] for line in f if line.strip() and line[0] != "#")
    skip = ("data", "out", "resume", "steps", "graph")
    meta = {"tessera.codec": "encodec", "tessera.name": "sound", "tessera.sha256": tensorfile.digest(tensors),
            "license": "BSD-2-Clause", "date": datetime.date.today().isoformat(), "commit": a.commit,
            "seconds": f"{d['seconds']:.0f}", "steps": str(d["steps"]), "batch": str(d["batch"]),
            "hardware": f"{d['gpus']} x {d['device']}", "torch": d["torch"],
            "command": "train.py " + " ".join(f"--{k.replace('_', '-')} {v}" for k, v in d["arguments"].items()
                                               if k not in skip and v is not None),
            "packages": " ".join(packages)}
    tensorfile.save(a.out, tensors, meta)
    count = sum(v.size for v in tensors.values())
    print("wrote", a.out, os.path.getsize(a.out), "bytes,", count, "values, sha256", meta["tessera.sha256"])


if __name__ == "__main__":
    main()
