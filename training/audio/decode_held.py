#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The held-back clips through a model file, as WAV files for evaluate.py.

decode_held.py MODEL.safetensors UNPACKED OUT_DIR
"""
import os
import sys

import torch

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]
import data                 # noqa: E402
import folded               # noqa: E402
import state                # noqa: E402
import tensorfile           # noqa: E402


@torch.no_grad()
def main():
    model, folder, out = sys.argv[1:4]
    net = folded.network(tensorfile.load(model)[0])
    held, names = data.held_back(*data.load(folder))
    os.makedirs(out, exist_ok=True)
    for i, (x, name) in enumerate(zip(held, names)):
        stem = f"{out}/{i:02d}_{state.kind_of(name)}_{name.split('/')[2]}"
        codes = net.quantizer.codes(net.encoder(x[None, None]))
        state.write_wav(f"{stem}_0.wav", x)
        for n in state.BOOKS:
            state.write_wav(f"{stem}_{n}.wav", net.decoder(net.quantizer.lookup(codes[:, :, :n]))[0, 0])


if __name__ == "__main__":
    main()
