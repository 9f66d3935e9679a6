#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Write a McQuic model of the published size with random weights: random_mcquic.py OUT.safetensors

Good for timing only.  Tensor names are those of docs/codecs/mcquic.md.
"""
import json
import random
import struct
import sys

C, M, K = 128, 2, (8192, 2048, 512)
TABLE = 1 << 16


class Writer:
    """Collects tensors and writes them with `metadata`."""

    def __init__(self):
        self.metadata = {"tessera.codec": "mcquic", "mcquic.channel": str(C), "mcquic.m": str(M),
                         "mcquic.k": ",".join(map(str, K))}
        self.random = random.Random(1)
        self.noise = [self.random.gauss(0, 1) for _ in range(TABLE)]
        self.tables, self.head, self.parts, self.size = {}, {}, [], 0

    def raw(self, name, kind, shape, data):
        self.head[name] = {"dtype": kind, "shape": shape, "data_offsets": [self.size, self.size + len(data)]}
        self.parts.append(data)
        self.size += len(data)

    def normal(self, name, shape, std, kind="F16"):
        """Noise: pieces of one table from random places, so that millions of weights take no time."""
        letter, size = {"F16": ("e", 2), "F32": ("f", 4)}[kind]
        if (std, kind) not in self.tables:
            self.tables[std, kind] = struct.pack(f"<{TABLE}{letter}", *(x * std for x in self.noise))
        left, pieces = 1, []
        for n in shape:
            left *= n
        while left:
            n = min(left, 4096)
            at = size * self.random.randrange(TABLE - n + 1)
            pieces.append(self.tables[std, kind][at:at + size * n])
            left -= n
        self.raw(name, kind, shape, b"".join(pieces))

    def floats(self, name, shape, values):
        self.raw(name, "F32", shape, struct.pack(f"<{len(values)}f", *values))

    def conv(self, name, cin=C, cout=C, k=3):
        self.normal(name + ".weight", [cout, cin, k, k], 0.5 / (cin * k * k) ** 0.5)
        self.normal(name + ".bias", [cout], 0.01)

    def gdn(self, name):
        eps = 2.0 ** -36
        self.floats(name + ".beta", [C], [1.0] * C)
        self.floats(name + ".gamma", [C, C], [0.3 if i == j else 0.01 for i in range(C) for j in range(C)])
        for which in ("beta", "gamma"):
            self.floats(f"{name}.{which}_reparam.eps", [1], [eps])
            self.floats(f"{name}.{which}_reparam.lowerBound.bound", [1], [eps ** 0.5])

    def block(self, letter, name):
        if letter == "C":
            self.conv(name)
        elif letter == "I":
            self.conv(name, 3)
        elif letter == "O":
            self.conv(name + ".0", C, 12)
        elif letter == "R":
            self.conv(name + "._branch.1")
            self.conv(name + "._branch.3")
        elif letter == "S":
            self.conv(name + "._branch.1")
            self.gdn(name + "._branch.2")
            self.conv(name + "._branch.3")
            self.conv(name + "._skip")
        elif letter == "U":
            self.conv(name + "._branch.1.0", C, 4 * C)
            self.gdn(name + "._branch.2")
            self.conv(name + "._branch.3")
            self.conv(name + "._skip.0", C, 4 * C)
        elif letter == "A":
            for i in range(3):
                self.block("R", f"{name}._mainBranch.{i}")
                self.block("R", f"{name}._sideBranch.{i}")
            self.conv(name + "._sideBranch.3", k=1)

    def part(self, name, letters):
        for i, letter in enumerate(letters):
            self.block(letter, f"{name}.{i}")

    def save(self, path):
        self.head["__metadata__"] = self.metadata
        head = json.dumps(self.head).encode()
        head += b" " * (-len(head) % 8)
        with open(path, "wb") as f:
            f.write(struct.pack("<Q", len(head)) + head + b"".join(self.parts))


def main():
    w = Writer()
    w.part("_encoder", "IRSARSR")
    for level, k in enumerate(K):
        last = level == len(K) - 1
        enc, dec = f"_quantizer._encoders.{level}", f"_quantizer._decoders.{level}"
        w.part(enc + "._latentStageEncoder", "SRA")
        w.part(enc + "._quantizationHead", "RAC")
        w.part(dec + "._dequantizationHead", "ACR")
        w.part(dec + "._restoreHead", "ARU")
        if not last:
            w.part(enc + "._latentHead", "RAC")
            w.part(dec + "._sideHead", "ACR")
        w.normal(enc + "._quantizer._codebook", [M, k, C // M], 0.5)
        step = 65536 // k
        w.raw(f"tessera.cdf.{level}", "U32", [M, k + 1],
              struct.pack(f"<{k + 1}I", *range(0, 65536 + 1, step)) * M)
    w.part("_decoder", "RUARURO")
    w.save(sys.argv[1])


if __name__ == "__main__":
    main()
