# SPDX-License-Identifier: BSD-2-Clause
"""Discriminators on complex short-time spectra (EnCodec's), one a window length."""
import torch
import torch.nn as nn
import torch.nn.functional as F

from model import Normed

WINDOWS = (2048, 1024, 512, 256)


class Conv2d(Normed):
    def __init__(self, cin, cout, kernel, stride=(1, 1), dilation=(1, 1)):
        super().__init__((cout, cin, *kernel), cout, cin * kernel[0] * kernel[1])
        self.stride, self.dilation = stride, dilation
        self.pad = [(k - 1) * d // 2 for k, d in zip(kernel, dilation)]

    def forward(self, x):
        return F.conv2d(x, self.weight(), self.bias, self.stride, self.pad, self.dilation)


class OneScale(nn.Module):
    """[B,T] -> map of scores, list of features.  Kernels are time x frequency."""

    def __init__(self, n, c):
        super().__init__()
        self.n = n
        self.register_buffer("window", torch.hann_window(n), persistent=False)
        self.convs = nn.ModuleList(
            [Conv2d(2, c, (3, 9))] + [Conv2d(c, c, (3, 9), (1, 2), (d, 1)) for d in (1, 2, 4)] + [Conv2d(c, c, (3, 3))])
        self.post = Conv2d(c, 1, (3, 3))

    def forward(self, x):
        with torch.autocast(x.device.type, enabled=False):
            s = torch.stft(x, self.n, self.n // 4, self.n, self.window, normalized=True, return_complex=True)
            h = torch.view_as_real(s).permute(0, 3, 2, 1)
        h = h.contiguous(memory_format=torch.channels_last)
        features = []
        for conv in self.convs:
            h = F.leaky_relu(conv(h), 0.2)
            features.append(h)
        return self.post(h), features


class Discriminators(nn.Module):
    def __init__(self, channels=32, windows=WINDOWS):
        super().__init__()
        self.scales = nn.ModuleList([OneScale(n, channels) for n in windows])

    def forward(self, x):
        return [s(x) for s in self.scales]


def judge_loss(outputs):
    """Hinge; every output holds real clips first, then as many decoded ones."""
    total = 0
    for score, _ in outputs:
        real, fake = score.float().chunk(2)
        total = total + F.relu(1 - real).mean() + F.relu(1 + fake).mean()
    return total / len(outputs)


def fool_losses(real, fake):
    """(adversarial, feature) of the generator; real holds features without gradient."""
    adversarial, feature, n = 0, 0, 0
    for fr, (score, ff) in zip(real, fake):
        adversarial = adversarial + F.relu(1 - score.float()).mean()
        for a, b in zip(fr, ff):
            feature = feature + (a.float() - b.float()).abs().mean() / (a.float().abs().mean() + 1e-6)
            n += 1
    return adversarial / len(fake), feature / n
