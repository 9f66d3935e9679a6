# SPDX-License-Identifier: BSD-2-Clause
"""The network of `mosaic`: taming's VQGAN (Esser 2021) at reduced width, on patches of 4x4 pixels, f = 16, under taming's
tensor names.  Shapes are read off the lists below; the C library reads them off the tensors."""
import torch
import torch.nn.functional as F
from torch import nn

DIM, CODES, PATCH, FACTOR = 8, 65536, 4, 16
LEVELS = (65536, 16384, 4096, 1024, 256)
# channels and residual blocks at 1/4, 1/8, 1/16; channels of the latent before quant_conv
SHAPE = dict(enc=(64, 128, 192), enc_blocks=(2, 2, 1), dec=(128, 192, 224), dec_blocks=(3, 2, 1), z=32)
EPS = 1e-6


def norm_swish(x, w, b):
    return F.silu(group_norm(x, w, b))


def group_norm(x, w, b):
    """GroupNorm of 32 groups, statistics in float32, channels last."""
    n, c, h, wd = x.shape
    y = x.permute(0, 2, 3, 1).reshape(n, h * wd, 32, c // 32).float()
    var, mean = torch.var_mean(y, (1, 3), correction=0, keepdim=True)
    y = ((y - mean) * torch.rsqrt(var + EPS)).reshape(n, h, wd, c) * w.float() + b.float()
    return y.to(x.dtype).permute(0, 3, 1, 2)


class Fast:
    """What training replaces by compiled versions."""
    norm_swish, group_norm = staticmethod(norm_swish), staticmethod(group_norm)


class Norm(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(c)), nn.Parameter(torch.zeros(c))


class Block(nn.Module):
    def __init__(self, a, b):
        super().__init__()
        self.norm1, self.conv1 = Norm(a), nn.Conv2d(a, b, 3, padding=1)
        self.norm2, self.conv2 = Norm(b), nn.Conv2d(b, b, 3, padding=1)
        if a != b:
            self.nin_shortcut = nn.Conv2d(a, b, 1)
        with torch.no_grad():
            self.conv2.weight.mul_(0.5)

    def forward(self, x, fast):
        y = self.conv1(fast.norm_swish(x, self.norm1.weight, self.norm1.bias))
        y = self.conv2(fast.norm_swish(y, self.norm2.weight, self.norm2.bias))
        return y + (self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x)


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.norm = Norm(c)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(c, c, 1) for _ in range(4))

    def forward(self, x, fast):
        n, c, h, w = x.shape
        y = fast.group_norm(x, self.norm.weight, self.norm.bias)
        q, k, v = (m(y).permute(0, 2, 3, 1).reshape(n, 1, h * w, c) for m in (self.q, self.k, self.v))
        y = F.scaled_dot_product_attention(q, k, v)
        return x + self.proj_out(y.reshape(n, h, w, c).permute(0, 3, 1, 2))


class Mid(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.block_1, self.attn_1, self.block_2 = Block(c, c), Attention(c), Block(c, c)

    def forward(self, x, fast):
        return self.block_2(self.attn_1(self.block_1(x, fast), fast), fast)


class Resample(nn.Module):
    def __init__(self, c, stride):
        super().__init__()
        self.stride, self.conv = stride, nn.Conv2d(c, c, 3, stride, padding=0 if stride == 2 else 1)

    def forward(self, x):
        if self.stride == 2:
            return self.conv(F.pad(x, (0, 1, 0, 1)))
        return self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))


def level(blocks, channels_in, channels, resample):
    m = nn.Module()
    m.block = nn.ModuleList(Block(channels_in if i == 0 else channels, channels) for i in range(blocks))
    if resample:
        setattr(m, *resample)
    return m


class Encoder(nn.Module):
    def __init__(self, s):
        super().__init__()
        ch = s["enc"]
        self.conv_in = nn.Conv2d(3 * PATCH ** 2, ch[0], 3, padding=1)
        self.down = nn.ModuleList(
            level(s["enc_blocks"][i], ch[max(i - 1, 0)], ch[i], ("downsample", Resample(ch[i], 2)) if i + 1 < len(ch) else None)
            for i in range(len(ch)))
        self.mid = Mid(ch[-1])
        self.norm_out, self.conv_out = Norm(ch[-1]), nn.Conv2d(ch[-1], s["z"], 3, padding=1)

    def forward(self, x, fast):
        x = self.conv_in(F.pixel_unshuffle(x, PATCH).contiguous(memory_format=torch.channels_last))
        for m in self.down:
            for b in m.block:
                x = b(x, fast)
            if hasattr(m, "downsample"):
                x = m.downsample(x)
        x = self.mid(x, fast)
        return self.conv_out(fast.norm_swish(x, self.norm_out.weight, self.norm_out.bias))


class Decoder(nn.Module):
    def __init__(self, s):
        super().__init__()
        ch = s["dec"]
        self.conv_in = nn.Conv2d(s["z"], ch[-1], 3, padding=1)
        self.mid = Mid(ch[-1])
        self.up = nn.ModuleList(
            level(s["dec_blocks"][i], ch[min(i + 1, len(ch) - 1)], ch[i], ("upsample", Resample(ch[i], 1)) if i else None)
            for i in range(len(ch)))
        self.norm_out, self.conv_out = Norm(ch[0]), nn.Conv2d(ch[0], 3 * PATCH ** 2, 3, padding=1)

    def forward(self, z, fast):
        x = self.mid(self.conv_in(z), fast)
        for m in reversed(self.up):
            for b in m.block:
                x = b(x, fast)
            if hasattr(m, "upsample"):
                x = m.upsample(x)
        x = self.conv_out(fast.norm_swish(x, self.norm_out.weight, self.norm_out.bias))
        return F.pixel_shuffle(x, PATCH)


class Net(nn.Module):
    def __init__(self, shape=None):
        super().__init__()
        s = shape or SHAPE
        self.encoder, self.decoder = Encoder(s), Decoder(s)
        self.quant_conv, self.post_quant_conv = nn.Conv2d(s["z"], DIM, 1), nn.Conv2d(DIM, s["z"], 1)

    def encode(self, x, fast=Fast):
        """[N,3,H,W] -> [N,8,H/16,W/16], not normalised."""
        return self.quant_conv(self.encoder(x, fast))

    def decode(self, z, fast=Fast):
        return self.decoder(self.post_quant_conv(z), fast)


RIDGE = 1e-4


def covariance(z):
    """z [n,DIM] -> (mean, covariance with a small ridge), in float64: whitening makes small differences large."""
    z = z.double()
    mean = z.mean(0)
    d = z - mean
    cov = d.t() @ d / len(z)
    return mean, cov + RIDGE * cov.trace() / DIM * torch.eye(DIM, device=z.device, dtype=z.dtype)


def inverse_root(cov, rounds=22):
    """cov^-1/2 by coupled Newton-Schulz rounds: products only, so it can be captured and differentiated."""
    eye = torch.eye(len(cov), device=cov.device, dtype=cov.dtype)
    n = cov.trace()
    y, z = cov / n, eye
    for _ in range(rounds):
        t = 1.5 * eye - 0.5 * z @ y
        y, z = y @ t, t @ z
    return z * n.rsqrt()


def whiten(z, mean, root):
    """Latents [N,DIM,h,w] with the unit matrix for covariance.  Normalised one by one, channels become copies of each other:
    the quantiser then gives all its codes to few dimensions."""
    d = z.double() - mean.double()[:, None, None]
    return torch.einsum("ij,njhw->nihw", root.double(), d).float()


def cost(net, side=256):
    """(parameters, multiply-adds a pixel) of encoder and decoder, convolutions only."""
    out = {}
    for name in ("encoder", "decoder"):
        total, hooks = [0], []

        def hook(m, _, y):
            total[0] += m.weight.numel() * y.shape[2] * y.shape[3]
        part = getattr(net, name)
        for m in part.modules():
            if isinstance(m, nn.Conv2d):
                hooks.append(m.register_forward_hook(hook))
        with torch.no_grad():
            x = torch.zeros(1, 3, side, side) if name == "encoder" else torch.zeros(
                1, net.post_quant_conv.out_channels, side // FACTOR, side // FACTOR)
            part(x, Fast)
        for h in hooks:
            h.remove()
        out[name] = sum(p.numel() for p in part.parameters()), total[0] / side ** 2
    return out
