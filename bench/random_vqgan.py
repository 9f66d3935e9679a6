#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Write a token model of a published size with random weights: random_vqgan.py KIND OUT.safetensors [CODES]

KIND vqgan: VQGAN-LC f16, 100000 codes of 8 dimensions.  simvq: the image tokenizer of SimVQ, f8, 262144 codes of 128
dimensions.  small: a narrow vqgan of the shape of the model mosaic, for trials.  Codebooks are as 'tessera import'
writes them: projected (VQGAN-LC's from 768 dimensions).  Good for timing only.  Tensor names are those of
docs/codecs/vqgan.md.
"""
import sys

from random_mcquic import Writer


class Tokens(Writer):
    """Networks of residual blocks with GroupNorm; bias: whether convolutions of blocks have one."""

    def __init__(self, bias):
        super().__init__()
        self.bias = bias

    def layer(self, name, cin, cout, k, bias=True, gain=1.0):
        self.normal(name + ".weight", [cout, cin, k, k], gain / (cin * k * k) ** 0.5)
        if bias:
            self.normal(name + ".bias", [cout], 0.05)

    def norm(self, name, c):
        self.normal_around(name + ".weight", c, 1.0, 0.2)
        self.normal(name + ".bias", [c], 0.1)

    def normal_around(self, name, n, mean, std):
        self.floats(name, [n], [mean + std * self.random.gauss(0, 1) for _ in range(n)])

    def residual(self, name, cin, cout):
        self.norm(name + ".norm1", cin)
        self.layer(name + ".conv1", cin, cout, 3, self.bias)
        self.norm(name + ".norm2", cout)
        self.layer(name + ".conv2", cout, cout, 3, self.bias)
        if cin != cout:
            self.layer(name + ".nin_shortcut", cin, cout, 1, self.bias)

    def attention(self, name, c):
        self.norm(name + ".norm", c)
        for part in ("q", "k", "v", "proj_out"):
            self.layer(f"{name}.{part}", c, c, 1)

    def level(self, name, cin, cout, blocks, attention):
        for i in range(blocks):
            self.residual(f"{name}.block.{i}", cout if i else cin, cout)
            if attention:
                self.attention(f"{name}.attn.{i}", cout)

    def middle(self, name, c):
        self.residual(name + ".mid.block_1", c, c)
        self.attention(name + ".mid.attn_1", c)
        self.residual(name + ".mid.block_2", c, c)


def vqgan(w, down, up, patch, z, blocks, attention):
    """down, up: channels of the levels of encoder and decoder, the finest first; blocks: how many, likewise."""
    c, top = down[0], len(down) - 1
    w.layer("encoder.conv_in", 3 * patch * patch, c, 3)
    for i, wide in enumerate(down):
        w.level(f"encoder.down.{i}", c, wide, blocks[0][i], attention and i == top)
        c = wide
        if i < top:
            w.layer(f"encoder.down.{i}.downsample.conv", c, c, 3)
    w.middle("encoder", c)
    w.norm("encoder.norm_out", c)
    w.layer("encoder.conv_out", c, z, 3)
    w.layer("quant_conv", z, 8, 1)
    w.layer("post_quant_conv", 8, z, 1)
    c = up[top]
    w.layer("decoder.conv_in", z, c, 3)
    w.middle("decoder", c)
    for i in reversed(range(top + 1)):
        w.level(f"decoder.up.{i}", c, up[i], blocks[1][i], attention and i == top)
        c = up[i]
        if i:
            w.layer(f"decoder.up.{i}.upsample.conv", c, c, 3)
    w.norm("decoder.norm_out", c)
    w.layer("decoder.conv_out", c, 3 * patch * patch, 3, gain=0.5)


def simvq(w, widths, d):
    c, top = widths[0], len(widths) - 1
    w.layer("encoder.conv_in", 3, c, 3, False)
    for i, wide in enumerate(widths):
        w.level(f"encoder.down.{i}", c, wide, 2, False)
        c = wide
        if i < top:
            w.layer(f"encoder.down.{i}.downsample", c, c, 3)
    for i in (0, 1):
        w.residual(f"encoder.mid_block.{i}", c, c)
    w.norm("encoder.norm_out", c)
    w.layer("encoder.conv_out", c, d, 1)
    w.layer("decoder.conv_in", d, c, 3)
    for i in (0, 1):
        w.residual(f"decoder.mid_block.{i}", c, c)
    for i in reversed(range(top + 1)):
        w.level(f"decoder.up.{i}", c, widths[i], 2, False)
        c = widths[i]
        if i:
            w.layer(f"decoder.up.{i}.upsample.conv1", c, 4 * c, 3)
    w.norm("decoder.norm_out", c)
    w.layer("decoder.conv_out", c, 3, 3, gain=0.5)


def make(kind, codes):
    w = Tokens(kind != "simvq")
    if kind == "vqgan":
        widths = (128, 128, 256, 256, 512)
        vqgan(w, widths, widths, 1, 256, ((2,) * 5, (3,) * 5), True)
        w.normal("tessera.codebook", [codes or 100000, 8], 0.6, "F32")
    elif kind == "small":
        vqgan(w, (64, 128, 192), (128, 192, 224), 4, 32, ((2, 2, 1), (3, 2, 1)), False)
        w.normal("tessera.codebook", [codes or 65536, 8], 0.6, "F32")
    else:
        simvq(w, (128, 256, 256, 512), 128)
        w.normal("tessera.codebook", [codes or 262144, 128], 0.6, "F32")
    w.metadata = {"tessera.codec": "simvq" if kind == "simvq" else "vqgan"}
    return w


def main():
    if len(sys.argv) not in (3, 4) or sys.argv[1] not in ("vqgan", "simvq", "small"):
        sys.exit(__doc__.strip())
    make(sys.argv[1], int(sys.argv[3]) if len(sys.argv) > 3 else 0).save(sys.argv[2])


if __name__ == "__main__":
    main()
