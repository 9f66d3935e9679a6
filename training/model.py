# SPDX-License-Identifier: BSD-2-Clause
"""The `hyper` codec as a differentiable network.

Analysis and synthesis transforms at 1/4, 1/8 and 1/16 of the resolution, a hyperprior at 1/64, and four channel
groups that are coded in two checkerboard passes each.  Tensor names and layouts are those of the shipped model file;
the integer nets are trained here in floating point with the same clamps and are quantised by export.py.
"""
import math

import torch
import torch.nn as nn
import torch.nn.functional as F

LEVELS = 8                      # quality levels, 0 = smallest file
GROUPS = (16, 24, 48, 104)      # channels of y, in coding order
ACT_MAX = 2047 / 128            # integer activations: units of 1/128, clamped to +-2047
CLASSES = 64
SIGMA_MIN = 0.1
SIGMA_STEP = math.log(640) / (CLASSES - 1)
ZMAX = 15


def conv3(cin, cout, stride=1):
    return nn.Conv2d(cin, cout, 3, stride, 1)


def shuffle(x, r):
    """PixelShuffle that keeps the channels-last layout."""
    n, c, h, w = x.shape
    x = x.permute(0, 2, 3, 1).reshape(n, h, w, c // (r * r), r, r).permute(0, 1, 4, 2, 5, 3)
    return x.reshape(n, h * r, w * r, c // (r * r)).permute(0, 3, 1, 2)


def unshuffle(x, r):
    n, c, h, w = x.shape
    x = x.permute(0, 2, 3, 1).reshape(n, h // r, r, w // r, r, c).permute(0, 1, 3, 5, 2, 4)
    return x.reshape(n, h // r, w // r, c * r * r).permute(0, 3, 1, 2)


class Unshuffle(nn.Module):
    def forward(self, x):
        return unshuffle(x, 4)


def residual(x, w0, b0, w2, b2):
    return x + F.conv2d(F.silu(F.conv2d(x, w0, b0, padding=1)), w2, b2, padding=1)


class RB(nn.Sequential):
    """x + conv3(silu(conv3(x))); train.py compiles `residual`, the block that most of the time goes to."""

    def __init__(self, c):
        super().__init__(conv3(c, c), nn.SiLU(), conv3(c, c))

    def forward(self, x):
        return residual(x, self[0].weight, self[0].bias, self[2].weight, self[2].bias)


class Up(nn.Conv2d):
    """A convolution followed by PixelShuffle."""

    def __init__(self, cin, cout, k, r):
        super().__init__(cin, cout, k, 1, k // 2)
        self.r = r

    def forward(self, x):
        return shuffle(super().forward(x), self.r)


def relu16(x):
    return x.clamp(0, ACT_MAX)


def round_ste(x):
    """Rounding whose gradient is one."""
    return x + (x.round() - x).detach()


class ContextGroup(nn.Sequential):
    def __init__(self, start, size):
        super().__init__(conv3(96 + start + size + 1, 128), nn.Conv2d(128, 128, 1), nn.Conv2d(128, 2 * size, 1))
        self.split = 96 + start         # inputs known before this group
        self.size = size
        with torch.no_grad():
            self[2].weight.mul_(0.1)
            self[2].bias.zero_()

    def known(self, x):
        """Part of the first layer that both passes share."""
        return F.conv2d(x, self[0].weight[:, :self.split], self[0].bias, padding=1)

    def anchors(self, ctx, plane):
        """Part of the first layer that pass 1 adds: the anchors and the plane that says where they are."""
        pad = -(self.size + 1) % 8      # a multiple of eight channels is faster
        x = torch.cat([ctx, plane.expand(ctx.shape[0], 1 + pad, -1, -1)], 1)
        w = F.pad(self[0].weight[:, self.split:], (0, 0, 0, 0, 0, pad))
        return F.conv2d(x, w, padding=1)

    def head(self, acc):
        out = self[2](relu16(self[1](relu16(acc)))).float()
        mu, t = out.split(self.size, 1)
        return mu.clamp(-ACT_MAX, ACT_MAX), t


def gaussian_bits(x, t):
    """Bits of the interval x +- 1/2 under a zero-mean normal of scale class t, with a thin wide tail."""
    raw = 4 * t + 20
    k = raw.clamp(0, CLASSES - 1)
    near = raw.clamp(-8, CLASSES + 7)
    k = k + 0.02 * (near - near.detach())           # clamped classes can still find their way back, but not run away
    sigma = SIGMA_MIN * torch.exp(k * SIGMA_STEP)
    x = x.abs()

    def mass(s):
        s = s * math.sqrt(2)
        return 0.5 * (torch.erfc((x - 0.5) / s) - torch.erfc((x + 0.5) / s))
    p = 0.998 * mass(sigma) + 0.002 * mass(4 * sigma + 1)
    return -torch.log2(p + 1e-7)


class Hyper(nn.Module):
    def __init__(self):
        super().__init__()
        self.enc = nn.Sequential(Unshuffle(), conv3(48, 96), RB(96), conv3(96, 160, 2), RB(160), RB(160),
                                 conv3(160, 224, 2), RB(224), conv3(224, 192))
        self.dec = nn.Sequential(conv3(192, 224), RB(224), Up(224, 640, 1, 2), RB(160), RB(160), RB(160),
                                 Up(160, 384, 1, 2), RB(96), RB(96), Up(96, 48, 3, 4))
        self.hyper_enc = nn.Sequential(conv3(192, 96), conv3(96, 96, 2), conv3(96, 64, 2))
        ctx = {"hs": nn.Sequential(conv3(64, 256), conv3(64, 256), conv3(64, 96))}
        start = 0
        for g, size in enumerate(GROUPS):
            ctx[f"g{g}"] = ContextGroup(start, size)
            start += size
        self.ctx = nn.ModuleDict(ctx)
        self.start()
        q = torch.linspace(math.log(0.5), math.log(4.0), LEVELS)[:, None].repeat(1, start)
        self.log_gain_enc = nn.Parameter(q.clone())
        self.log_gain_dec = nn.Parameter(-q)
        k = torch.arange(-ZMAX, ZMAX + 1)
        self.z_logits = nn.Parameter((-k.abs() / 1.5).float()[None].repeat(64, 1))

    @torch.no_grad()
    def start(self):
        """Variance-preserving transforms whose residual branches begin small."""
        for part in (self.enc, self.dec, self.hyper_enc):
            for m in part.modules():
                if isinstance(m, nn.Conv2d):
                    nn.init.normal_(m.weight, std=1 / math.sqrt(m.weight[0].numel()))
                    nn.init.zeros_(m.bias)
            for m in part.modules():
                if isinstance(m, RB):
                    m[0].weight.mul_(1.4)
                    m[2].weight.mul_(0.25)
        self.dec[9].weight.mul_(0.5)

    def gains(self, qw):
        """qw [B,LEVELS]: weights of the quality levels; log gains are interpolated."""
        return [torch.exp(qw @ g)[:, :, None, None] for g in (self.log_gain_enc, self.log_gain_dec)]

    def hyper(self, v):
        h = F.silu(self.hyper_enc[0](v))
        h = F.silu(self.hyper_enc[1](h))
        return self.hyper_enc[2](h).float()

    def features(self, zq, h, w):
        hs = self.ctx["hs"]
        f = shuffle(relu16(hs[0](zq)), 2)
        f = shuffle(relu16(hs[1](f)), 2)
        return relu16(hs[2](f))[:, :, :h, :w]

    def z_bits(self, z):
        """Linear interpolation of the table between integers; exact at the integers."""
        logp = F.log_softmax(self.z_logits, 1)
        z = z.clamp(-ZMAX, ZMAX) + ZMAX
        lo = z.detach().floor().clamp(max=2 * ZMAX - 1)
        b, c, h, w = z.shape
        idx = lo.permute(1, 0, 2, 3).reshape(c, -1).long()
        p0 = logp.gather(1, idx).exp().view(c, b, h, w).permute(1, 0, 2, 3)
        p1 = logp.gather(1, idx + 1).exp().view(c, b, h, w).permute(1, 0, 2, 3)
        f = z - lo
        return -torch.log2(p0 * (1 - f) + p1 * f + 1e-9)

    def entropy(self, v, noise=True):
        """v: scaled latent.  Returns the quantised latent, bits of y and of z per picture."""
        v = v.float()
        b, _, h, w = v.shape
        z = self.hyper(v)
        zq = round_ste(z).clamp(-ZMAX, ZMAX)
        zb = self.z_bits(z + torch.rand_like(z) - 0.5 if noise else zq).sum((1, 2, 3))
        f = self.features(zq, h, w)
        plane = ((torch.arange(h, device=v.device)[:, None] + torch.arange(w, device=v.device)) % 2 == 0)
        plane = plane.float()[None, None]
        known, mus, ts, out, start = [f], [], [], [], 0
        for g, size in enumerate(GROUPS):
            net = self.ctx[f"g{g}"]
            vg = v[:, start:start + size]
            acc = net.known(torch.cat([k.to(f.dtype) for k in known], 1))
            mu0, t0 = net.head(acc)
            y0 = vg + (torch.round(vg - mu0) + mu0 - vg).detach()
            ctx = y0.clamp(-ACT_MAX, ACT_MAX) * plane
            mu1, t1 = net.head(acc + net.anchors(ctx.to(f.dtype), plane.to(f.dtype)))
            mu = plane * mu0 + (1 - plane) * mu1
            y = vg + (torch.round(vg - mu) + mu - vg).detach()
            known.append(y.clamp(-ACT_MAX, ACT_MAX))
            mus.append(mu)
            ts.append(plane * t0 + (1 - plane) * t1)
            out.append(y)
            start += size
        x = v - torch.cat(mus, 1)
        x = x + torch.rand_like(x) - 0.5 if noise else x.round()
        t = torch.cat(ts, 1)
        yb = gaussian_bits(x, t).sum((1, 2, 3))
        if noise:                       # classes far below the lowest would cost the integer nets their precision
            yb = yb + 1e-3 * F.relu(-8 - (4 * t + 20)).sum((1, 2, 3))
        return torch.cat(out, 1), yb, zb

    def forward(self, x, qw, noise=True):
        """x in -1..1 with sides divisible by 16.  Returns the picture and the bits of y and z per picture."""
        ge, gd = self.gains(qw)
        y = self.enc(x).float()
        yhat, yb, zb = self.entropy(y * ge, noise)
        return self.dec(yhat * gd).float(), yb, zb


def level_weights(q):
    """q [B] in 0..LEVELS-1, may be fractional -> interpolation weights [B,LEVELS]."""
    k = torch.arange(LEVELS, device=q.device, dtype=q.dtype)
    return (1 - (q[:, None] - k).abs()).clamp(min=0)
