# SPDX-License-Identifier: BSD-2-Clause
"""SEANet encoder and decoder with residual vector quantisation (EnCodec family), causal, zero padding.

Defossez et al., "High Fidelity Neural Audio Compression", 2022.  Tensor names are those of the published network, weight
norm included (weight_g, weight_v); export folds it.  Sample [B,1,T]; latent [B,128,ceil(T/320)].
"""
import torch
import torch.nn as nn
import torch.nn.functional as F

RATIOS = (8, 5, 4, 2)
HOP = 320
DIM = 128
LEVELS = 8
ENTRIES = 1024


class Normed(nn.Module):
    """Weight-normed parameters under the published names."""

    def __init__(self, shape, bias, fan_in):
        super().__init__()
        v = torch.empty(shape)
        nn.init.trunc_normal_(v, std=fan_in ** -0.5)
        self.weight_g = nn.Parameter(v.flatten(1).norm(dim=1).view(-1, *[1] * (len(shape) - 1)))
        self.weight_v = nn.Parameter(v)
        self.bias = nn.Parameter(torch.zeros(bias))

    def weight(self):
        return torch._weight_norm(self.weight_v, self.weight_g, 0)


class Conv(nn.Module):
    """Causal: (k - s) zeros on the left; zeros on the right complete the last stride."""

    def __init__(self, cin, cout, kernel, stride=1):
        super().__init__()
        self.conv = nn.Module()
        self.conv.conv = Normed((cout, cin, kernel), cout, cin * kernel)
        self.stride, self.left = stride, kernel - stride

    def forward(self, x):
        c = self.conv.conv
        right = -x.shape[2] % self.stride
        return F.conv1d(F.pad(x, (self.left, right)) if self.left + right else x, c.weight(), c.bias, self.stride)


class ConvTranspose(nn.Module):
    """Kernel twice the stride; the last `stride` outputs are trimmed."""

    def __init__(self, cin, cout, stride):
        super().__init__()
        self.convtr = nn.Module()
        self.convtr.convtr = Normed((cin, cout, 2 * stride), cout, 2 * cin)
        self.stride = stride

    def forward(self, x):
        c = self.convtr.convtr
        return F.conv_transpose1d(x, c.weight(), c.bias, self.stride)[..., :-self.stride]


class Residual(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.block = nn.ModuleList([nn.Identity(), Conv(c, c // 2, 3), nn.Identity(), Conv(c // 2, c, 1)])
        self.shortcut = Conv(c, c, 1)
        with torch.no_grad():
            self.block[3].conv.conv.weight_g.mul_(0.5)

    def forward(self, x):
        return self.shortcut(x) + self.block[3](F.elu(self.block[1](F.elu(x))))


class Memory(nn.Module):
    """LSTM with a skip."""

    def __init__(self, c):
        super().__init__()
        self.lstm = nn.LSTM(c, c, 2)

    def forward(self, x):
        y, _ = self.lstm(x.permute(2, 0, 1).contiguous())
        return y.permute(1, 2, 0) + x


class Elu(nn.Module):
    def forward(self, x):
        return F.elu(x)


class Chain(nn.Module):
    def __init__(self, layers):
        super().__init__()
        self.model = nn.ModuleList(layers)

    def forward(self, x):
        for layer in self.model:
            x = layer(x)
        return x


def encoder(n):
    layers, c = [Conv(1, n, 7)], n
    for r in reversed(RATIOS):
        layers += [Residual(c), Elu(), Conv(c, 2 * c, 2 * r, r)]
        c *= 2
    return Chain(layers + [Memory(c), Elu(), Conv(c, DIM, 7)])


def decoder(n):
    c = n * 2 ** len(RATIOS)
    layers = [Conv(DIM, c, 7), Memory(c)]
    for r in RATIOS:
        layers += [Elu(), ConvTranspose(c, c // 2, r), Residual(c // 2)]
        c //= 2
    return Chain(layers + [Elu(), Conv(c, 1, 7)])


class Quantiser(nn.Module):
    """Residual codebooks learned by exponential averages; never by gradient."""

    def __init__(self):
        super().__init__()
        self.register_buffer("embed", torch.randn(LEVELS, ENTRIES, DIM) * 0.1)
        self.register_buffer("size", torch.ones(LEVELS, ENTRIES))
        self.register_buffer("sums", self.embed.clone())

    @staticmethod
    def nearest(r, e):
        """r [N,128], e [1024,128] -> [N] the index of the nearest row."""
        return ((e * e).sum(1) - 2 * r @ e.t()).argmin(1)

    @torch.no_grad()
    def codes(self, z, levels=LEVELS):
        """z [B,128,T] -> [B,T,levels]"""
        r = z.transpose(1, 2).reshape(-1, DIM)
        out = []
        for q in range(levels):
            i = self.nearest(r, self.embed[q])
            r = r - self.embed[q][i]
            out.append(i)
        return torch.stack(out, 1).view(z.shape[0], z.shape[2], levels)

    def lookup(self, codes):
        """[B,T,n] -> [B,128,T], the levels added from the first on."""
        y = 0
        for q in range(codes.shape[2]):
            y = y + self.embed[q][codes[:, :, q]]
        return y.transpose(1, 2)

    def forward(self, z, keep, stats):
        """Training.  keep [B,LEVELS] is 1 for the levels a clip uses.  stats [LEVELS,ENTRIES,129] gathers sums and counts.

        Returns the quantised latent (straight-through), the commitment loss, and the residuals [LEVELS,N,128].
        """
        b, _, t = z.shape
        flat = z.transpose(1, 2).reshape(-1, DIM)
        r, q_sum, commit, residuals = flat, 0, 0, []
        scale = flat.detach().var(0).mean() + 1e-6
        for q in range(LEVELS):
            with torch.no_grad():
                d = r.detach()
                i = self.nearest(d, self.embed[q])
                e = self.embed[q][i]
                residuals.append(d)
                stats[q].index_add_(0, i, torch.cat([d, torch.ones_like(d[:, :1])], 1))
            m = keep[:, q].repeat_interleave(t)[:, None]
            commit = commit + (((r - e) ** 2) * m).mean() / scale
            q_sum = q_sum + e * m
            r = r - e
        q_sum = q_sum.view(b, t, DIM).transpose(1, 2)
        return z + (q_sum - z).detach(), commit, residuals

    @torch.no_grad()
    def update(self, stats, decay=0.99):
        """One step of the averages with sums and counts over all processes."""
        self.size.mul_(decay).add_(stats[..., DIM], alpha=1 - decay)
        self.sums.mul_(decay).add_(stats[..., :DIM], alpha=1 - decay)
        total = self.size.sum(1, keepdim=True)
        smooth = (self.size + 1e-5) / (total + ENTRIES * 1e-5) * total
        self.embed.copy_(self.sums / smooth[..., None])


class Codec(nn.Module):
    def __init__(self, enc=24, dec=24):
        super().__init__()
        self.encoder, self.decoder = encoder(enc), decoder(dec)
        self.quantizer = Quantiser()
        self.widths = enc, dec
