#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Codes of all clips, for fitting entropy tables.

dump.py RUN/weights.pt UNPACKED OUT_DIR [--device cuda]      writes OUT_DIR/{train,valid}.codes
dump.py --unpack FILE.codes OUT.npz                          one uint16 [frames][8] array a clip, and names

A .codes file: uint32 length of a JSON list of [name, frames], the list, then all codes of all clips in time order, eight a
frame, ten bits each, lowest bit first.  The weights are rounded to fp16 first, as they are shipped.
"""
import argparse
import json
import os
import struct
import sys

import numpy as np
import torch

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import data                 # noqa: E402
import folded               # noqa: E402
import model as M           # noqa: E402

TOGETHER = 16


def pack(codes):
    """10-bit values, lowest bit first."""
    bits = ((codes.reshape(-1, 1).astype(np.uint16) >> np.arange(10, dtype=np.uint16)) & 1).astype(np.uint8)
    return np.packbits(bits.ravel(), bitorder="little").tobytes()


def unpack(raw, count):
    bits = np.unpackbits(np.frombuffer(raw, np.uint8), count=count * 10, bitorder="little").reshape(-1, 10)
    return (bits.astype(np.uint16) << np.arange(10, dtype=np.uint16)).sum(1, dtype=np.uint16)


def write(path, names, codes):
    head = json.dumps([[n, len(c)] for n, c in zip(names, codes)]).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<I", len(head)) + head)
        f.write(pack(np.concatenate(codes)) if codes else b"")


def read(path):
    """(names, list of uint16 [frames, 8])"""
    raw = open(path, "rb").read()
    n, = struct.unpack_from("<I", raw)
    head = json.loads(raw[4:4 + n])
    flat = unpack(raw[4 + n:], sum(f for _, f in head) * M.LEVELS).reshape(-1, M.LEVELS)
    ends = np.cumsum([f for _, f in head])
    return [name for name, _ in head], np.split(flat, ends[:-1])


@torch.no_grad()
def encode(net, samples, rows, device):
    """Clips of like length together, zeros behind the shorter ones: a causal network is not moved by them."""
    out = {}
    order = sorted(range(len(rows)), key=lambda i: rows[i]["length"])
    for at in range(0, len(order), TOGETHER):
        part = order[at:at + TOGETHER]
        frames = [-(-rows[i]["length"] // M.HOP) for i in part]
        x = np.zeros((len(part), max(frames) * M.HOP), np.float32)
        for j, i in enumerate(part):
            r = rows[i]
            x[j, :r["length"]] = samples[r["start"]:r["start"] + r["length"]].astype(np.float32) / 32768
        codes = net.quantizer.codes(net.encoder(torch.from_numpy(x).to(device)[:, None])).cpu().numpy()
        for j, i in enumerate(part):
            out[i] = codes[j, :frames[j]].astype(np.uint16)
    return [out[i] for i in range(len(rows))]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("first")
    p.add_argument("second")
    p.add_argument("out", nargs="?")
    p.add_argument("--unpack", action="store_true")
    p.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    a = p.parse_args()
    if a.unpack:
        names, codes = read(a.first)
        np.savez_compressed(a.second, names=np.array(names), **{f"c{i:04d}": c for i, c in enumerate(codes)})
        return
    torch.backends.cudnn.allow_tf32 = False
    net = folded.network(folded.tensors(a.first)).to(a.device)
    samples, rows = data.load(a.second)
    for which in ("valid", "train"):
        part = [r for r in rows if r["set"] == which]
        codes = encode(net, samples, part, a.device)
        write(f"{a.out}/{which}.codes", [r["name"] for r in part], codes)
        print(which, len(part), "clips", sum(map(len, codes)), "frames", flush=True)


if __name__ == "__main__":
    main()
