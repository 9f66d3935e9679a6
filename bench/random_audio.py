#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Write an audio model of the published size with random weights: random_audio.py encodec|hificodec OUT.safetensors

Good for timing only: EnCodec 24 kHz with 32 codebooks, HiFi-Codec 16k-320d.  Tensor names are those of docs/codecs.
"""
import json
import struct
import sys

from random_mcquic import Writer


class AudioWriter(Writer):
    def ints(self, name, values):
        self.raw(name, "I32", [len(values)], struct.pack(f"<{len(values)}i", *values))

    def layer(self, name, cout, cin, k, gain=0.9, transposed=False):
        self.normal(name + ".weight", [cin, cout, k] if transposed else [cout, cin, k], gain / (cin * k) ** 0.5)
        self.normal(name + ".bias", [cout], 0.01)

    def lstm(self, name, n):
        for layer in (0, 1):
            for what in ("ih", "hh"):
                self.normal(f"{name}.lstm.weight_{what}_l{layer}", [4 * n, n], n ** -0.5)
                self.normal(f"{name}.lstm.bias_{what}_l{layer}", [4 * n], 0.01)

    def write(self, path, codec):
        self.head["__metadata__"] = {"tessera.codec": codec, "tessera.name": "random-" + codec}
        head = json.dumps(self.head).encode()
        head += b" " * (-len(head) % 8)
        with open(path, "wb") as f:
            f.write(struct.pack("<Q", len(head)) + head + b"".join(self.parts))


def encodec(w, n=32, dim=128, books=32):
    def residual(name, c):
        w.layer(name + ".block.1.conv.conv", c // 2, c, 3)
        w.layer(name + ".block.3.conv.conv", c, c // 2, 1)
        w.layer(name + ".shortcut.conv.conv", c, c, 1)
    ratios, i, c = [8, 5, 4, 2], 1, n
    w.layer("encoder.model.0.conv.conv", n, 1, 7)
    for r in reversed(ratios):
        residual(f"encoder.model.{i}", c)
        w.layer(f"encoder.model.{i + 2}.conv.conv", 2 * c, c, 2 * r)
        i, c = i + 3, 2 * c
    w.lstm(f"encoder.model.{i}", c)
    w.layer(f"encoder.model.{i + 2}.conv.conv", dim, c, 7)
    w.layer("decoder.model.0.conv.conv", c, dim, 7)
    w.lstm("decoder.model.1", c)
    i = 3
    for r in ratios:
        w.layer(f"decoder.model.{i}.convtr.convtr", c // 2, c, 2 * r, transposed=True)
        residual(f"decoder.model.{i + 1}", c // 2)
        i, c = i + 3, c // 2
    w.layer(f"decoder.model.{i}.conv.conv", 1, n, 7)
    for q in range(books):
        w.normal(f"quantizer.vq.layers.{q}._codebook.embed", [1024, dim], 0.5 * 0.8 ** q)
    w.ints("tessera.audio", [24000, 1, 320, 1, 0, 0, 0, 0])


def hificodec(w):
    def block(name, c, k):
        for n in range(3):
            w.layer(f"{name}.convs1.{n}", c, c, k, 0.7)
            w.layer(f"{name}.convs2.{n}", c, c, k, 0.7)
    rates = [(8, 16), (5, 11), (4, 8), (2, 4)]
    w.layer("generator.conv_pre", 512, 512, 7)
    w.layer("encoder.conv_pre", 32, 1, 7)
    for i, (_, k) in enumerate(rates):
        c = 256 >> i
        w.layer(f"generator.ups.{i}", c, 2 * c, k, transposed=True)
        for j, size in enumerate((3, 7, 11)):
            block(f"generator.resblocks.{3 * i + j}", c, size)
        c = 64 << i
        w.layer(f"encoder.ups.{i}", c, c // 2, rates[3 - i][1])
        for j, size in enumerate((11, 7, 3)):
            block(f"encoder.resblocks.{3 * i + j}", c, size)
            w.floats(f"encoder.normalize.{3 * i + j}.weight", [c], [1.0] * c)
            w.floats(f"encoder.normalize.{3 * i + j}.bias", [c], [0.0] * c)
    w.layer("generator.conv_post", 1, 32, 7)
    w.layer("encoder.conv_post", 512, 512, 3)
    for name, size in (("quantizer_modules", 0.7), ("quantizer_modules2", 0.4)):
        for g in range(2):
            w.normal(f"quantizer.{name}.{g}.embedding.weight", [1024, 256], size)
    w.ints("tessera.audio", [16000, 1, 320, 0, 0, 1, 0, 0])
    w.ints("tessera.hificodec.rates", [8, 5, 4, 2])


def main():
    if len(sys.argv) != 3 or sys.argv[1] not in ("encodec", "hificodec"):
        sys.exit(__doc__)
    w = AudioWriter()
    {"encodec": encodec, "hificodec": hificodec}[sys.argv[1]](w)
    w.write(sys.argv[2], sys.argv[1])


if __name__ == "__main__":
    main()
