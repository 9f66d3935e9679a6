# SPDX-License-Identifier: BSD-2-Clause
"""Time the transforms of a model file in PyTorch on the CPU: speed_image_torch.py MODEL PICTURE.ppm THREADS [SMALL]

Prints JSON: {"encode": {"wall", "cpu"}, "decode": ..., "mode", "mb"}.  Nothing is entropy coded; encoding with a token
model includes the search for the nearest codes.  Decoding starts from random latents or codes.  Each form (eager,
channels-last, traced) is tried after a warm-up on the picture's corner of SMALL (256) pixels a side, the best is kept.
"""
import json
import math
import resource
import struct
import sys
import time

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

TYPES = {"F32": np.float32, "F16": np.float16}
GROUPS = 32     # of GroupNorm
SEARCH = 64     # tokens searched at a time


def read_tensors(path):
    """Float tensors of a safetensors file, and its metadata."""
    with open(path, "rb") as f:
        head = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        data = f.read()
    meta = head.pop("__metadata__", {})
    return meta, {name: torch.from_numpy(np.frombuffer(data[slice(*t["data_offsets"])], TYPES[t["dtype"]])
                                         .astype(np.float32).reshape(t["shape"]))
                  for name, t in head.items() if t["dtype"] in TYPES}


class Conv(nn.Module):
    """A convolution; then, if shuffle > 1, depth to space."""

    def __init__(self, tensors, name, stride=1, shuffle=1, mode="constant"):
        super().__init__()
        w = tensors[name + ".weight"]
        pad = w.shape[-1] // 2
        self.conv = nn.Conv2d(w.shape[1], w.shape[0], w.shape[-1], stride, pad,
                              padding_mode="zeros" if mode == "constant" or not pad else "reflect")
        self.conv.weight.data, self.conv.bias.data = w.clone(), tensors[name + ".bias"].clone()
        self.shuffle = shuffle

    def forward(self, x):
        x = self.conv(x)
        return F.pixel_shuffle(x, self.shuffle) if self.shuffle > 1 else x


class Residual(nn.Module):
    def __init__(self, first, second, before):
        super().__init__()
        self.first, self.second, self.before = first, second, before

    def forward(self, x):
        h = self.first(F.silu(x) if self.before else x)
        return x + self.second(F.silu(h))


def hyper(t):
    """Analysis, synthesis, and by how much the latent is smaller."""
    def block(name):
        return Residual(Conv(t, name + ".0"), Conv(t, name + ".2"), False)
    encoder = nn.Sequential(
        nn.PixelUnshuffle(4), Conv(t, "enc.1"), block("enc.2"), Conv(t, "enc.3", 2), block("enc.4"), block("enc.5"),
        Conv(t, "enc.6", 2), block("enc.7"), Conv(t, "enc.8"))
    decoder = nn.Sequential(
        Conv(t, "dec.0"), block("dec.1"), Conv(t, "dec.2", shuffle=2), block("dec.3"), block("dec.4"), block("dec.5"),
        Conv(t, "dec.6", shuffle=2), block("dec.7"), block("dec.8"), Conv(t, "dec.9", shuffle=4))
    return encoder, decoder, 16


class Gdn(nn.Module):
    def __init__(self, t, name, inverse):
        super().__init__()
        def real(which):
            bound, eps = (t[f"{name}.{which}_reparam.{k}"] for k in ("lowerBound.bound", "eps"))
            return torch.maximum(t[f"{name}.{which}"], bound) ** 2 - eps
        self.beta, self.gamma = nn.Parameter(real("beta")), nn.Parameter(real("gamma")[..., None, None])
        self.inverse = inverse

    def forward(self, x):
        norm = F.conv2d(x * x, self.gamma, self.beta)
        return x * (torch.sqrt(norm) if self.inverse else torch.rsqrt(norm))


class Rescale(nn.Module):
    """The blocks S and U: a GDN branch and a skip, both to another size."""

    def __init__(self, change, gdn, last, skip):
        super().__init__()
        self.change, self.gdn, self.last, self.skip = change, gdn, last, skip

    def forward(self, x):
        return self.last(self.gdn(self.change(F.silu(x)))) + self.skip(x)


class Attention(nn.Module):
    def __init__(self, main, side):
        super().__init__()
        self.main, self.side = main, side

    def forward(self, x):
        return x + self.main(x) * torch.sigmoid(self.side(x))


def mcquic_block(t, letter, name):
    def conv(tail, **kw):
        return Conv(t, name + tail, mode="reflect", **kw)
    if letter == "C":
        return conv("")
    if letter == "I":
        return conv("", stride=2)
    if letter == "O":
        return conv(".0", shuffle=2)
    if letter == "R":
        return Residual(conv("._branch.1"), conv("._branch.3"), True)
    if letter == "S":
        return Rescale(conv("._branch.1", stride=2), Gdn(t, name + "._branch.2", False), conv("._branch.3"),
                       conv("._skip", stride=2))
    if letter == "U":
        return Rescale(conv("._branch.1.0", shuffle=2), Gdn(t, name + "._branch.2", True), conv("._branch.3"),
                       conv("._skip.0", shuffle=2))
    main, side = ([mcquic_block(t, "R", f"{name}.{b}.{i}") for i in range(3)] for b in ("_mainBranch", "_sideBranch"))
    return Attention(nn.Sequential(*main), nn.Sequential(*side, conv("._sideBranch.3")))


def mcquic_part(t, name, letters):
    return nn.Sequential(*(mcquic_block(t, letter, f"{name}.{i}") for i, letter in enumerate(letters)))


class Quantize(nn.Module):
    """The nearest codeword of each group, and its codewords as a map."""

    def __init__(self, book):
        super().__init__()
        self.book, self.norm = nn.Parameter(book), nn.Parameter((book * book).sum(-1)[:, None])

    def forward(self, x):
        m, k, d = self.book.shape
        n, _, h, w = x.shape
        v = x.reshape(n, m, d, h * w).transpose(2, 3)
        codes = (self.norm - 2 * v @ self.book.transpose(1, 2)).argmin(-1)
        words = torch.stack([F.embedding(codes[:, g], self.book[g]) for g in range(m)], 1)
        return words.transpose(2, 3).reshape(n, m * d, h, w)


class McQuicEncoder(nn.Module):
    def __init__(self, t):
        super().__init__()
        self.first, self.stages = mcquic_part(t, "_encoder", "IRSARSR"), nn.ModuleList()
        level = 0
        while f"_quantizer._encoders.{level}._quantizer._codebook" in t:
            name = f"_quantizer._encoders.{level}"
            more = f"{name}._latentHead.2.weight" in t
            self.stages.append(nn.ModuleList([
                mcquic_part(t, name + "._latentStageEncoder", "SRA"),
                mcquic_part(t, name + "._quantizationHead", "RAC"),
                Quantize(t[name + "._quantizer._codebook"])]
                + ([mcquic_part(t, name + "._latentHead", "RAC")] if more else [])))
            level += 1

    def forward(self, x):
        r, words = self.first(x), []
        for stage in self.stages:
            z = stage[0](r)
            words.append(stage[2](stage[1](z)))
            if len(stage) > 3:
                r = stage[3](z) - words[-1]
        return tuple(words)


class McQuicDecoder(nn.Module):
    def __init__(self, t, levels):
        super().__init__()
        self.stages = nn.ModuleList()
        for level in range(levels):
            name = f"_quantizer._decoders.{level}"
            self.stages.append(nn.ModuleList(
                [mcquic_part(t, name + "._dequantizationHead", "ACR"), mcquic_part(t, name + "._restoreHead", "ARU")]
                + ([mcquic_part(t, name + "._sideHead", "ACR")] if level < levels - 1 else [])))
        self.last = mcquic_part(t, "_decoder", "RUARURO")

    def forward(self, *words):
        u = None
        for stage, w in zip(reversed(self.stages), reversed(words)):
            v = stage[0](w)
            u = stage[1](v if u is None else v + stage[2](u))
        return self.last(u)


def mcquic(t):
    encoder = McQuicEncoder(t)
    return encoder, McQuicDecoder(t, len(encoder.stages)), 16 << len(encoder.stages)


class Norm(nn.Module):
    """GroupNorm, and swish unless told otherwise."""

    def __init__(self, t, name, swish=True):
        super().__init__()
        self.weight, self.bias = nn.Parameter(t[name + ".weight"]), nn.Parameter(t[name + ".bias"])
        self.swish = swish

    def forward(self, x):
        x = F.group_norm(x, GROUPS, self.weight, self.bias, 1e-6)
        return F.silu(x) if self.swish else x


def conv_of(t, name, stride=1):
    """A convolution with zero padding, with or without bias."""
    w = t[name + ".weight"]
    conv = nn.Conv2d(w.shape[1], w.shape[0], w.shape[-1], stride, w.shape[-1] // 2, bias=name + ".bias" in t)
    conv.weight.data = w.clone()
    if conv.bias is not None:
        conv.bias.data = t[name + ".bias"].clone()
    return conv


class TokenResidual(nn.Module):
    def __init__(self, t, name):
        super().__init__()
        self.body = nn.Sequential(Norm(t, name + ".norm1"), conv_of(t, name + ".conv1"),
                                  Norm(t, name + ".norm2"), conv_of(t, name + ".conv2"))
        short = name + ".nin_shortcut"
        self.short = conv_of(t, short) if short + ".weight" in t else nn.Identity()

    def forward(self, x):
        return self.short(x) + self.body(x)


class TokenAttention(nn.Module):
    """One head over all positions."""

    def __init__(self, t, name):
        super().__init__()
        self.norm = Norm(t, name + ".norm", False)
        self.q, self.k, self.v, self.out = (conv_of(t, f"{name}.{p}") for p in ("q", "k", "v", "proj_out"))

    def forward(self, x):
        h = self.norm(x)
        q, k, v = (p(h).flatten(2).transpose(1, 2).unsqueeze(1) for p in (self.q, self.k, self.v))
        y = F.scaled_dot_product_attention(q, k, v)
        return x + self.out(y.squeeze(1).transpose(1, 2).reshape(x.shape))


class PadEnd(nn.Module):
    def forward(self, x):
        return F.pad(x, (0, 1, 0, 1))


class ShuffleBlocks(nn.Module):
    """Depth to space by 2 with the places of a block as the outer index of channels."""

    def forward(self, x):
        n, c, h, w = x.shape
        return x.reshape(n, 2, 2, c // 4, h, w).permute(0, 3, 4, 1, 5, 2).reshape(n, c // 4, 2 * h, 2 * w)


def token_change(t, name):
    """What changes the size at the end of a level, if anything does."""
    if name + ".downsample.conv.weight" in t:
        down = conv_of(t, name + ".downsample.conv", 2)
        down.padding = (0, 0)
        return [PadEnd(), down]
    if name + ".downsample.weight" in t:
        return [conv_of(t, name + ".downsample", 2)]
    if name + ".upsample.conv.weight" in t:
        return [nn.Upsample(scale_factor=2), conv_of(t, name + ".upsample.conv")]
    if name + ".upsample.conv1.weight" in t:
        return [conv_of(t, name + ".upsample.conv1"), ShuffleBlocks()]
    return []


def token_level(t, name):
    parts = []
    for i in range(100):
        if f"{name}.block.{i}.norm1.weight" not in t:
            break
        parts.append(TokenResidual(t, f"{name}.block.{i}"))
        if f"{name}.attn.{i}.norm.weight" in t:
            parts.append(TokenAttention(t, f"{name}.attn.{i}"))
    return parts + token_change(t, name)


def token_middle(t, name):
    if name + ".mid_block.0.norm1.weight" in t:
        return [TokenResidual(t, f"{name}.mid_block.{i}") for i in (0, 1)]
    return [TokenResidual(t, name + ".mid.block_1"), TokenAttention(t, name + ".mid.attn_1"),
            TokenResidual(t, name + ".mid.block_2")]


class TokenDecoder(nn.Module):
    def __init__(self, book, net):
        super().__init__()
        self.book, self.net = nn.Parameter(book), net

    def forward(self, codes):
        z = F.embedding(codes[:, 0], self.book).permute(0, 3, 1, 2)
        return self.net(z.contiguous(memory_format=torch.channels_last))


def token_book(t):
    """The codewords [K][d], projected once."""
    for book, by in (("tessera.codebook", ""), ("tok_embeddings.weight", "codebook_projection"),
                     ("quantize.embedding.weight", "quantize.embedding_proj")):
        if book in t:
            return F.linear(t[book], t[by + ".weight"], t[by + ".bias"]) if by + ".weight" in t else t[book]
    raise KeyError("no codebook")


class TokenSearch(nn.Module):
    """From a latent to its nearest codes [n][1][h][w]: some tokens at a time, as the matrix of scores is large."""

    def __init__(self, book):
        super().__init__()
        self.square, self.turned = nn.Parameter((book * book).sum(1)), nn.Parameter(book.t().contiguous())
        self.at_a_time = SEARCH

    def forward(self, z):
        rows = z.permute(0, 2, 3, 1).flatten(0, 2)
        best = [torch.addmm(self.square, part, self.turned, alpha=-2).argmin(1) for part in rows.split(self.at_a_time)]
        return torch.cat(best).reshape(len(z), 1, *z.shape[2:])


def tokens(t):
    """Encoder, decoder, pixels a token has a side, search."""
    levels = sum(f"encoder.down.{i}.block.0.norm1.weight" in t for i in range(16))
    patch = math.isqrt(t["encoder.conv_in.weight"].shape[1] // 3)
    encoder = [nn.PixelUnshuffle(patch)] if patch > 1 else []
    encoder.append(conv_of(t, "encoder.conv_in"))
    for i in range(levels):
        encoder += token_level(t, f"encoder.down.{i}")
    encoder += token_middle(t, "encoder")
    encoder += [Norm(t, "encoder.norm_out"), conv_of(t, "encoder.conv_out")]
    decoder = [conv_of(t, "decoder.conv_in")] + token_middle(t, "decoder")
    if "quant_conv.weight" in t:
        encoder.append(conv_of(t, "quant_conv"))
        decoder.insert(0, conv_of(t, "post_quant_conv"))
    for i in reversed(range(levels)):
        decoder += token_level(t, f"decoder.up.{i}")
    decoder += [Norm(t, "decoder.norm_out"), conv_of(t, "decoder.conv_out")]
    decoder += [nn.PixelShuffle(patch)] if patch > 1 else []
    book = token_book(t)
    return (nn.Sequential(*encoder), TokenDecoder(book, nn.Sequential(*decoder)), patch << (levels - 1),
            TokenSearch(book))


def in_layout(x, layout):
    return x.contiguous(memory_format=layout) if x.is_floating_point() else x


def best_form(net, xs):
    """The fastest of three forms on the inputs xs: (seconds, label, callable, layout)."""
    last = net.eval().to(memory_format=torch.channels_last)
    traced = torch.jit.freeze(torch.jit.trace(
        last, tuple(in_layout(x, torch.channels_last) for x in xs), check_trace=False))
    forms = [("eager", last, torch.contiguous_format), ("channels_last", last, torch.channels_last),
             ("traced, channels_last", traced, torch.channels_last)]
    out = []
    for label, f, layout in forms:
        ys = [in_layout(x, layout) for x in xs]
        for _ in range(2):
            start = time.process_time()
            f(*ys)
            seconds = time.process_time() - start
        out.append((seconds, label, f, layout))
    return min(out, key=lambda o: o[0])


def clock(net, small, xs, then=None):
    """Seconds of the form that was best on the small inputs, with what is to be done with its result; and that form."""
    _, label, f, layout = best_form(net, small)
    xs = [in_layout(x, layout) for x in xs]
    wall, cpu = time.perf_counter(), time.process_time()
    y = f(*xs)
    if then:
        then(y)
    return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}, label


def as_list(y):
    return list(y) if isinstance(y, tuple) else [y]


def read_picture(path, step):
    """A PPM as [1][3][h][w] in -1..1, continued to multiples of step."""
    with open(path, "rb") as f:
        data = f.read()
    w, h, at = header(data)
    x = torch.from_numpy(np.frombuffer(data, np.uint8, 3 * w * h, at).reshape(h, w, 3).copy())
    x = x.permute(2, 0, 1)[None].float() / 127.5 - 1
    return F.pad(x, (0, -w % step, 0, -h % step), "reflect").contiguous()


def header(data):
    """Width, height and where the samples of a PPM begin."""
    fields, at = [], 0
    while len(fields) < 4:
        end = at
        while not data[end:end + 1].isspace():
            end += 1
        fields.append(data[at:end])
        at = end + 1
    return int(fields[1]), int(fields[2]), at


def like(y, fy, fx):
    """Random latent or codes in the shape of y, but larger."""
    shape = [1, y.shape[1], round(y.shape[2] * fy), round(y.shape[3] * fx)]
    return torch.randn(shape) if y.is_floating_point() else torch.randint(int(y.max()) + 1, shape)


def transforms(meta, t):
    """Encoder, decoder, step, and what searches codes or None."""
    codec = meta["tessera.codec"]
    if codec in ("vqgan", "simvq"):
        return tokens(t)
    return *(mcquic if codec == "mcquic" else hyper)(t), None


@torch.inference_mode()
def main():
    path, picture, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
    side = int(sys.argv[4]) if len(sys.argv) > 4 else 256
    torch.set_num_threads(threads)
    meta, tensors = read_tensors(path)
    encoder, decoder, step, search = transforms(meta, tensors)
    x = read_picture(picture, step)
    small = x[..., :step * (side // step), :step * (side // step)].contiguous()
    encode, a = clock(encoder, [small], [x], search)
    latent = as_list(encoder(small))
    if search:
        latent = [search(latent[0])]
    full = [like(y, x.shape[2] / small.shape[2], x.shape[3] / small.shape[3]) for y in latent]
    decode, b = clock(decoder, latent, full)
    print(json.dumps({"encode": encode, "decode": decode, "mode": a if a == b else a + "; " + b,
                      "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


if __name__ == "__main__":
    main()
