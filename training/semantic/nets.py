# SPDX-License-Identifier: BSD-2-Clause
"""The network of `semantic`: SEANet (EnCodec family), padded on both sides, with residual layers at the token rate, and a
quantiser whose first book is fixed: clusters of the teacher's features.  docs/codecs/semantic.md has the design.

Sample [B,1,T] at 16 kHz; latent [B,128,ceil(T/640)]: SEM semantic dimensions, then ACOUSTIC ones.
"""
import os
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "audio"))
from model import Chain, Elu, Normed        # noqa: E402

RATE = 16000
HOP = 640
STRIDES = (4, 4, 5, 8)
SEM, ACOUSTIC = 64, 64
LEVELS, ENTRIES = 5, 1024       # acoustic ones


class Conv(nn.Module):
    """Zeros on both sides, one more in front where the number is odd, behind as many as complete the last stride."""

    def __init__(self, cin, cout, kernel, stride=1, dilation=1):
        super().__init__()
        self.conv = nn.Module()
        self.conv.conv = Normed((cout, cin, kernel), cout, cin * kernel)
        total = (kernel - 1) * dilation + 1 - stride
        self.stride, self.dilation = stride, dilation
        self.left, self.right = total - total // 2, total // 2

    def forward(self, x):
        c = self.conv.conv
        right = self.right + -x.shape[2] % self.stride
        return F.conv1d(F.pad(x, (self.left, right)), c.weight(), c.bias, self.stride, 0, self.dilation)


class ConvTranspose(nn.Module):
    """Kernel twice the stride; half a stride is trimmed on either side."""

    def __init__(self, cin, cout, stride):
        super().__init__()
        self.convtr = nn.Module()
        self.convtr.convtr = Normed((cin, cout, 2 * stride), cout, 2 * cin)
        self.stride, self.trim = stride, stride - stride // 2

    def forward(self, x):
        c = self.convtr.convtr
        y = F.conv_transpose1d(x, c.weight(), c.bias, self.stride)
        return y[..., self.trim:self.trim + x.shape[2] * self.stride]


class Residual(nn.Module):
    """x + conv1(ELU(conv3(ELU(x)))), with a plain skip."""

    def __init__(self, c, dilation):
        super().__init__()
        self.block = nn.ModuleList([nn.Identity(), Conv(c, c // 2, 3, 1, dilation), nn.Identity(), Conv(c // 2, c, 1)])
        with torch.no_grad():
            self.block[3].conv.conv.weight_g.mul_(0.5)

    def forward(self, x):
        return x + self.block[3](F.elu(self.block[1](F.elu(x))))


class Memory(nn.Module):
    """One LSTM with a skip."""

    def __init__(self, c):
        super().__init__()
        self.lstm = nn.LSTM(c, c, 1)

    def forward(self, x):
        y, _ = self.lstm(x.permute(2, 0, 1).contiguous())
        return y.permute(1, 2, 0) + x


def residuals(c, n):
    return [Residual(c, 1 << j) for j in range(n)]


def encoder(n=28, deep=3):
    layers, c = [Conv(1, n, 7)], n
    for s in STRIDES:
        layers += residuals(c, 1 if c == n else 2) + [Elu(), Conv(c, 2 * c, 2 * s, s)]
        c *= 2
    return Chain(layers + residuals(c, deep) + [Memory(c), Elu(), Conv(c, SEM + ACOUSTIC, 7)])


def decoder(widths=(384, 256, 160, 96, 48), deep=3):
    layers = [Conv(SEM + ACOUSTIC, widths[0], 7), Memory(widths[0])] + residuals(widths[0], deep)
    for s, c, d in zip(reversed(STRIDES), widths, widths[1:]):
        layers += [Elu(), ConvTranspose(c, d, s)] + residuals(d, 3 if d > 48 else 2)
    return Chain(layers + [Elu(), Conv(widths[-1], 1, 7)])


class Quantiser(nn.Module):
    """Book 0 is fixed and sees the semantic dimensions; the acoustic ones have residual books learned by averages."""

    def __init__(self):
        super().__init__()
        self.register_buffer("words", torch.zeros(ENTRIES, SEM))
        self.register_buffer("embed", torch.randn(LEVELS, ENTRIES, ACOUSTIC) * 0.1)
        self.register_buffer("size", torch.ones(LEVELS, ENTRIES))
        self.register_buffer("sums", self.embed.clone())

    @staticmethod
    def nearest(r, e):
        return ((e * e).sum(1) - 2 * r @ e.t()).argmin(1)

    def logits(self, zs, temperature=4.0):
        """zs [N,SEM] -> [N,ENTRIES]"""
        return (2 * zs @ self.words.t() - (self.words * self.words).sum(1)) / temperature

    @torch.no_grad()
    def codes(self, z):
        """z [B,SEM+ACOUSTIC,T] -> [B,T,1+LEVELS]"""
        flat = z.transpose(1, 2)
        flat = flat.reshape(-1, flat.shape[2])
        out, r = [self.nearest(flat[:, :SEM], self.words)], flat[:, SEM:]
        for q in range(LEVELS):
            i = self.nearest(r, self.embed[q])
            r = r - self.embed[q][i]
            out.append(i)
        return torch.stack(out, 1).view(z.shape[0], z.shape[2], 1 + LEVELS)

    def lookup(self, codes):
        """[B,T,n] -> [B,SEM+ACOUSTIC,T]"""
        y = torch.zeros(*codes.shape[:2], ACOUSTIC, device=codes.device)
        for q in range(codes.shape[2] - 1):
            y = y + self.embed[q][codes[:, :, q + 1]]
        return torch.cat([self.words[codes[:, :, 0]], y], 2).transpose(1, 2)

    def forward(self, za, keep, stats):
        """Training, acoustic part: za [B,ACOUSTIC,T], keep [B,LEVELS] 1 for levels in use; stats gathers sums and counts.
        Returns the quantised part (straight through), the commitment loss, residuals [LEVELS,N,ACOUSTIC]."""
        b, _, t = za.shape
        r = za.transpose(1, 2).reshape(-1, ACOUSTIC)
        q_sum, commit, left = 0, 0, []
        scale = r.detach().var(0).mean() + 1e-6
        for q in range(LEVELS):
            with torch.no_grad():
                d = r.detach()
                i = self.nearest(d, self.embed[q])
                e = self.embed[q][i]
                left.append(d)
                stats[q].index_add_(0, i, torch.cat([d, torch.ones_like(d[:, :1])], 1))
            m = keep[:, q].repeat_interleave(t)[:, None]
            commit = commit + (((r - e) ** 2) * m).mean() / scale
            q_sum = q_sum + e * m
            r = r - e
        q_sum = q_sum.view(b, t, ACOUSTIC).transpose(1, 2)
        used = keep[:, :1, None]                    # a clip without acoustic levels sends nothing back
        return (za * used) + (q_sum - za * used).detach(), commit, left

    @torch.no_grad()
    def update(self, stats, decay=0.99):
        self.size.mul_(decay).add_(stats[..., ACOUSTIC], alpha=1 - decay)
        self.sums.mul_(decay).add_(stats[..., :ACOUSTIC], alpha=1 - decay)
        total = self.size.sum(1, keepdim=True)
        smooth = (self.size + 1e-5) / (total + ENTRIES * 1e-5) * total
        self.embed.copy_(self.sums / smooth[..., None])


class Codec(nn.Module):
    def __init__(self, width=28, widths=(384, 256, 160, 96, 48), deep=(3, 3)):
        super().__init__()
        self.encoder, self.decoder = encoder(width, deep[0]), decoder(widths, deep[1])
        self.quantizer = Quantiser()


if __name__ == "__main__":
    c = Codec()
    for part in (c.encoder, c.decoder):
        print(sum(p.numel() for n, p in part.named_parameters() if not n.endswith("weight_g")))
    x = torch.randn(1, 1, 16000)
    z = c.encoder(x)
    print(z.shape, z.std(), c.decoder(z).shape, c.decoder(torch.randn(1, 128, 25)).std())
