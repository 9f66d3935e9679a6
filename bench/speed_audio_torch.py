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
import torch.nn.functional as F

from speed_image_torch import read_tensors


def ints(path, name):
    import struct
    with open(path, "rb") as f:
        head = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        f.seek(head[name]["data_offsets"][0], 1)
        return list(np.frombuffer(f.read(4 * head[name]["shape"][0]), np.int32))


class Encodec(torch.nn.Module):
    """The causal mono network; folded weights."""

    def __init__(self, path, books):
        super().__init__()
        _, self.w = read_tensors(path)
        self.mode = "constant" if ints(path, "tessera.audio")[5] else "reflect"
        self.books = [self.w[f"quantizer.vq.layers.{q}._codebook.embed"] for q in range(books)]
        self.norms = [(e * e).sum(1) for e in self.books]
        enc = sorted({int(k.split(".")[2]) for k in self.w if k.startswith("encoder")})
        dec = sorted({int(k.split(".")[2]) for k in self.w if k.startswith("decoder")})
        self.layers = {"encoder": enc, "decoder": dec}
        self.lstms = torch.nn.ModuleDict({side: self.lstm(f"{side}.model.{i}") for side, rows in self.layers.items()
                                          for i in rows if f"{side}.model.{i}.lstm.weight_ih_l0" in self.w})

    def lstm(self, name):
        n = self.w[name + ".lstm.weight_hh_l0"].shape[1]
        lstm = torch.nn.LSTM(n, n, 2, batch_first=True)
        lstm.load_state_dict({k[len(name) + 6:]: v for k, v in self.w.items() if k.startswith(name + ".lstm.")})
        return lstm.eval()

    def conv(self, name, x):
        w = self.w[name + ".weight"]
        k = w.shape[2]
        stride = k // 2 if name.count(".") == 4 and k % 2 == 0 else 1
        return F.conv1d(F.pad(x, (k - stride, 0), self.mode) if k > stride else x, w, self.w[name + ".bias"], stride)

    def layer(self, side, i, x):
        name = f"{side}.model.{i}"
        if name + ".lstm.weight_ih_l0" in self.w:
            y, _ = self.lstms[side](x.transpose(1, 2))
            return y.transpose(1, 2) + x
        if name + ".shortcut.conv.conv.weight" in self.w:
            y = self.conv(name + ".block.3.conv.conv", F.elu(self.conv(name + ".block.1.conv.conv", F.elu(x))))
            return y + self.conv(name + ".shortcut.conv.conv", x)
        first = i == 0
        x = x if first else F.elu(x)
        if name + ".convtr.convtr.weight" in self.w:
            w = self.w[name + ".convtr.convtr.weight"]
            s = w.shape[2] // 2
            return F.conv_transpose1d(x, w, self.w[name + ".convtr.convtr.bias"], s)[..., :-s]
        return self.conv(name + ".conv.conv", x)

    def encode(self, x):
        for i in self.layers["encoder"]:
            x = self.layer("encoder", i, x)
        r, codes = x[0].t(), []
        for e, n in zip(self.books, self.norms):
            i = torch.argmin(n - 2 * (r @ e.t()), 1)
            r = r - F.embedding(i, e)
            codes.append(i)
        return torch.stack(codes, 1)

    def decode(self, codes):
        x = sum(F.embedding(codes[:, q], e) for q, e in enumerate(self.books)).t()[None]
        for i in self.layers["decoder"]:
            x = self.layer("decoder", i, x)
        return x


class Hificodec(torch.nn.Module):
    """The 16k-320d network; folded weights."""

    def __init__(self, path, books):
        super().__init__()
        _, self.w = read_tensors(path)
        self.rates = [int(r) for r in ints(path, "tessera.hificodec.rates")]
        self.books = [[self.w[f"quantizer.{n}.{g}.embedding.weight"] for g in range(2)]
                      for n in ("quantizer_modules", "quantizer_modules2")][:books // 2]

    def conv(self, name, x, dilation=1):
        w = self.w[name + ".weight"]
        return F.conv1d(x, w, self.w[name + ".bias"], padding=(w.shape[2] - 1) * dilation // 2, dilation=dilation)

    def block(self, name, x):
        for n, d in enumerate((1, 3, 5)):
            y = self.conv(f"{name}.convs1.{n}", F.leaky_relu(x, 0.1), d)
            x = x + self.conv(f"{name}.convs2.{n}", F.leaky_relu(y, 0.1))
        return x

    def encode(self, x):
        x = self.conv("encoder.conv_pre", x)
        for i, u in enumerate(reversed(self.rates)):
            w = self.w[f"encoder.ups.{i}.weight"]
            x = F.conv1d(F.leaky_relu(x, 0.1), w, self.w[f"encoder.ups.{i}.bias"], u, (w.shape[2] - u) // 2)
            s = 0
            for j in range(3):
                name = f"encoder.normalize.{3 * i + j}"
                s = F.group_norm(s + self.block(f"encoder.resblocks.{3 * i + j}", x), x.shape[1] // 16,
                                 self.w[name + ".weight"], self.w[name + ".bias"], 1e-6)
            x = s / 3
        z = self.conv("encoder.conv_post", F.leaky_relu(x, 0.01))[0].t()
        parts, codes = list(z.split(256, 1)), []
        for level in self.books:
            for g, e in enumerate(level):
                i = torch.argmin((e * e).sum(1) - 2 * (parts[g] @ e.t()), 1)
                parts[g] = parts[g] - F.embedding(i, e)
                codes.append(i)
        return torch.stack(codes, 1)

    def decode(self, codes):
        x = torch.cat([sum(F.embedding(codes[:, 2 * n + g], level[g]) for n, level in enumerate(self.books))
                       for g in range(2)], 1).t()[None]
        x = self.conv("generator.conv_pre", x)
        for i, u in enumerate(self.rates):
            w = self.w[f"generator.ups.{i}.weight"]
            x = F.conv_transpose1d(F.leaky_relu(x, 0.1), w, self.w[f"generator.ups.{i}.bias"], u, (w.shape[2] - u) // 2)
            x = sum(self.block(f"generator.resblocks.{3 * i + j}", x) for j in range(3)) / 3
        return torch.tanh(self.conv("generator.conv_post", F.leaky_relu(x, 0.1)))


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
    net = {"encodec": Encodec, "hificodec": Hificodec}[meta["tessera.codec"]](path, books).eval()
    x = torch.from_numpy(np.fromfile(sound, np.float32))[None, None]
    second = x[..., :24000]
    encode, mode = best(Call(net, "encode"), second)
    decode, mode2 = best(Call(net, "decode"), net.encode(second))
    codes, enc = timed(encode, x)
    _, dec = timed(decode, codes)
    print(json.dumps({"encode": enc, "decode": dec, "mode": f"{mode}, {mode2}", "frames": len(codes),
                      "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


if __name__ == "__main__":
    main()
