# SPDX-License-Identifier: BSD-2-Clause
"""Time the nets and the quantiser of an audio model in PyTorch on the CPU:

    speed_audio_torch.py MODEL SAMPLES.f32 BOOKS THREADS [PACKETS]

Prints JSON: {"encode": {"wall", "cpu"}, "decode": ..., "mb", "mode"}.  Samples are raw floats at the model's rate; nothing
is entropy coded.  Eager and traced forms are tried on a second of sound, the faster one is timed.
"""
import json
import resource
import sys
import time

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

from speed_image_torch import read_tensors


def ints(path, name):
    import struct
    with open(path, "rb") as f:
        head = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        f.seek(head[name]["data_offsets"][0], 1)
        return list(np.frombuffer(f.read(4 * head[name]["shape"][0]), np.int32))


class Conv(nn.Module):
    """A convolution over time behind an activation; pad: samples in front and behind, their kind in mode."""

    def __init__(self, t, name, act=None, stride=1, dilation=1, pad=None, mode="constant"):
        super().__init__()
        w = t[name + ".weight"]
        span = (w.shape[2] - 1) * dilation
        self.act, self.mode, self.pad = act, mode, pad
        self.conv = nn.Conv1d(w.shape[1], w.shape[0], w.shape[2], stride, 0 if pad else span // 2, dilation)
        if stride > 1 and not pad:
            self.conv.padding = ((w.shape[2] - stride) // 2,)
        self.conv.weight.data, self.conv.bias.data = w.clone(), t[name + ".bias"].clone()

    def forward(self, x):
        x = self.act(x) if self.act else x
        return self.conv(F.pad(x, self.pad, self.mode) if self.pad and self.pad[0] else x)


class Transposed(nn.Module):
    """A transposed convolution behind an activation; cut: samples dropped in front and at the end, evenly without it."""

    def __init__(self, t, name, act, stride, cut):
        super().__init__()
        w = t[name + ".weight"]
        self.act, self.cut = act, cut
        self.conv = nn.ConvTranspose1d(w.shape[0], w.shape[1], w.shape[2], stride,
                                       0 if cut else (w.shape[2] - stride) // 2)
        self.conv.weight.data, self.conv.bias.data = w.clone(), t[name + ".bias"].clone()

    def forward(self, x):
        y = self.conv(self.act(x))
        return y[..., self.cut[0]:y.shape[2] - self.cut[1]] if self.cut else y


class Shortcut(nn.Module):
    def __init__(self, first, second, short):
        super().__init__()
        self.first, self.second, self.short = first, second, short

    def forward(self, x):
        return self.second(self.first(x)) + (self.short(x) if self.short else x)


class Lstm(nn.Module):
    def __init__(self, t, name):
        super().__init__()
        n, layers = t[name + ".weight_hh_l0"].shape[1], sum(k.startswith(name + ".weight_hh") for k in t)
        self.lstm = nn.LSTM(n, n, layers, batch_first=True)
        self.lstm.load_state_dict({k[len(name) + 1:]: v for k, v in t.items() if k.startswith(name + ".")})

    def forward(self, x):
        return self.lstm(x.transpose(1, 2))[0].transpose(1, 2) + x


def nearest(norms, book, rows):
    """Codes of rows [n][frames][d], and what they leave."""
    codes = torch.argmin(norms - 2 * (rows @ book.t()), 2)
    return codes, rows - F.embedding(codes, book)


class Encodec(nn.Module):
    """The causal mono network; folded weights.  encode: [n][1][samples] to codes [n][frames][books]; decode: back."""

    def __init__(self, path, books):
        super().__init__()
        _, t = read_tensors(path)
        self.mode = "constant" if ints(path, "tessera.audio")[5] else "reflect"
        for q in range(books):
            self.register_buffer(f"book{q}", t[self.book_name(q)])
            self.register_buffer(f"norm{q}", (self.book(q) ** 2).sum(1))
        self.books = books
        self.encoder, self.decoder = (nn.Sequential(*self.layers(t, side)) for side in ("encoder", "decoder"))

    @staticmethod
    def book_name(q):
        return f"quantizer.vq.layers.{q}._codebook.embed"

    def book(self, q):
        return getattr(self, f"book{q}")

    def conv(self, t, name, act):
        k = t[name + ".weight"].shape[2]
        stride = k // 2 if name.count(".") == 4 and k % 2 == 0 else 1
        return Conv(t, name, act, stride, pad=(k - stride, 0), mode=self.mode)

    def layers(self, t, side):
        for i in sorted({int(k.split(".")[2]) for k in t if k.startswith(side)}):
            name = f"{side}.model.{i}"
            if name + ".lstm.weight_ih_l0" in t:
                yield Lstm(t, name + ".lstm")
            elif name + ".shortcut.conv.conv.weight" in t:
                yield Shortcut(self.conv(t, name + ".block.1.conv.conv", F.elu),
                               self.conv(t, name + ".block.3.conv.conv", F.elu),
                               self.conv(t, name + ".shortcut.conv.conv", None))
            elif name + ".convtr.convtr.weight" in t:
                stride = t[name + ".convtr.convtr.weight"].shape[2] // 2
                yield Transposed(t, name + ".convtr.convtr", F.elu, stride, (0, stride))
            else:
                yield self.conv(t, name + ".conv.conv", F.elu if i else None)

    def encode(self, x):
        rest, codes = self.encoder(x).transpose(1, 2), []
        for q in range(self.books):
            i, rest = nearest(getattr(self, f"norm{q}"), self.book(q), rest)
            codes.append(i)
        return torch.stack(codes, 2)

    def decode(self, codes):
        x = sum(F.embedding(codes[..., q], self.book(q)) for q in range(self.books))
        return self.decoder(x.transpose(1, 2))


class Semantic(Encodec):
    """Padded on both sides, with plain skips; book 0 stands beside the sum of the others.  As Encodec."""

    @staticmethod
    def book_name(q):
        return f"quantizer.acoustic.layers.{q - 1}.embed" if q else "quantizer.semantic.embed"

    def conv(self, t, name, act, dilation=1):
        k = t[name + ".weight"].shape[2]
        stride = k // 2 if name.count(".") == 4 and k % 2 == 0 else 1
        span = (k - 1) * dilation + 1 - stride
        return Conv(t, name, act, stride, dilation, (span - span // 2, span // 2), self.mode)

    def layers(self, t, side):
        row = 0
        for i in sorted({int(k.split(".")[2]) for k in t if k.startswith(side)}):
            name = f"{side}.model.{i}"
            row = row + 1 if name + ".block.1.conv.conv.weight" in t else 0
            if row:
                yield Shortcut(self.conv(t, name + ".block.1.conv.conv", F.elu, 1 << (row - 1)),
                               self.conv(t, name + ".block.3.conv.conv", F.elu), None)
            elif name + ".lstm.weight_ih_l0" in t:
                yield Lstm(t, name + ".lstm")
            elif name + ".convtr.convtr.weight" in t:
                stride = t[name + ".convtr.convtr.weight"].shape[2] // 2
                yield Transposed(t, name + ".convtr.convtr", F.elu, stride, (stride - stride // 2, stride // 2))
            else:
                yield self.conv(t, name + ".conv.conv", F.elu if i else None)

    def encode(self, x):
        z = self.encoder(x).transpose(1, 2)
        said = self.book0.shape[1]
        codes, rest = [nearest(self.norm0, self.book0, z[..., :said])[0]], z[..., said:]
        for q in range(1, self.books):
            i, rest = nearest(getattr(self, f"norm{q}"), self.book(q), rest)
            codes.append(i)
        return torch.stack(codes, 2)

    def decode(self, codes):
        sounds = sum(F.embedding(codes[..., q], self.book(q)) for q in range(1, self.books))
        return self.decoder(torch.cat([F.embedding(codes[..., 0], self.book0), sounds], 2).transpose(1, 2))


class Blocks(nn.Module):
    """The mean of three stacks of dilated residual layers, normalised one after another where there are norms."""

    def __init__(self, t, kind, i):
        super().__init__()
        def act(x):
            return F.leaky_relu(x, 0.1)
        self.stacks = nn.ModuleList(nn.ModuleList(
            nn.Sequential(Conv(t, f"{name}.convs1.{n}", act, dilation=d), Conv(t, f"{name}.convs2.{n}", act))
            for n, d in enumerate((1, 3, 5))) for name in (f"{kind}.resblocks.{3 * i + j}" for j in range(3)))
        self.norms = nn.ModuleList()
        for j in range(3):
            name = f"{kind}.normalize.{3 * i + j}"
            if name + ".weight" in t:
                w = t[name + ".weight"]
                norm = nn.GroupNorm(len(w) // 16, len(w), 1e-6)
                norm.weight.data, norm.bias.data = w.clone(), t[name + ".bias"].clone()
                self.norms.append(norm)

    def forward(self, x):
        s = 0
        for j, stack in enumerate(self.stacks):
            y = x
            for layer in stack:
                y = y + layer(y)
            s = self.norms[j](s + y) if len(self.norms) else s + y
        return s / 3


class Hificodec(nn.Module):
    """The 16k-320d network; folded weights.  As Encodec."""

    def __init__(self, path, books):
        super().__init__()
        _, t = read_tensors(path)
        self.levels = books // 2
        for n, kind in zip(range(self.levels), ("quantizer_modules", "quantizer_modules2")):
            for g in range(2):
                self.register_buffer(f"book{n}{g}", t[f"quantizer.{kind}.{g}.embedding.weight"])
                self.register_buffer(f"norm{n}{g}", (t[f"quantizer.{kind}.{g}.embedding.weight"] ** 2).sum(1))
        def act(x, slope=0.1):
            return F.leaky_relu(x, slope)
        rates = [int(r) for r in ints(path, "tessera.hificodec.rates")]
        encoder, decoder = [Conv(t, "encoder.conv_pre")], [Conv(t, "generator.conv_pre")]
        for i, u in enumerate(reversed(rates)):
            encoder += [Conv(t, f"encoder.ups.{i}", act, u), Blocks(t, "encoder", i)]
        for i, u in enumerate(rates):
            decoder += [Transposed(t, f"generator.ups.{i}", act, u, None), Blocks(t, "generator", i)]
        self.encoder = nn.Sequential(*encoder, Conv(t, "encoder.conv_post", lambda x: act(x, 0.01)))
        self.decoder = nn.Sequential(*decoder, Conv(t, "generator.conv_post", act), nn.Tanh())

    def encode(self, x):
        parts, codes = list(self.encoder(x).transpose(1, 2).split(256, 2)), []
        for n in range(self.levels):
            for g in range(2):
                i, parts[g] = nearest(getattr(self, f"norm{n}{g}"), getattr(self, f"book{n}{g}"), parts[g])
                codes.append(i)
        return torch.stack(codes, 2)

    def decode(self, codes):
        x = torch.cat([sum(F.embedding(codes[..., 2 * n + g], getattr(self, f"book{n}{g}"))
                           for n in range(self.levels)) for g in range(2)], 2)
        return self.decoder(x.transpose(1, 2))


class Call(torch.nn.Module):
    def __init__(self, net, name):
        super().__init__()
        self.net, self.name = net, name

    def forward(self, x):
        return getattr(self.net, self.name)(x)


def timed(f, x):
    wall, cpu = time.perf_counter(), time.process_time()
    y = f(x)
    return y, {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


def best(call, x):
    """The faster of eager and traced, and its name."""
    forms = {"eager": call, "traced": torch.jit.trace(call, x, check_trace=False)}
    took = {}
    for name, form in forms.items():
        form(x), form(x)
        took[name] = min(timed(form, x)[1]["wall"] for _ in range(3))
    name = min(took, key=took.get)
    return forms[name], name


@torch.inference_mode()
def main():
    path, sound, books, threads = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    torch.set_num_threads(threads)
    meta, _ = read_tensors(path)
    net = {"encodec": Encodec, "semantic": Semantic, "hificodec": Hificodec}[meta["tessera.codec"]](path, books).eval()
    x = torch.from_numpy(np.fromfile(sound, np.float32))[None, None]
    second = x[..., :24000]
    encode, mode = best(Call(net, "encode"), second)
    decode, mode2 = best(Call(net, "decode"), net.encode(second))
    codes, enc = timed(encode, x)
    _, dec = timed(decode, codes)
    print(json.dumps({"encode": enc, "decode": dec, "mode": f"{mode}, {mode2}", "frames": codes.shape[1],
                      "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


if __name__ == "__main__":
    main()
