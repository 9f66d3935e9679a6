# SPDX-License-Identifier: BSD-2-Clause
"""The adversaries: small heads on frozen features at four scales (after Projected GANs, Sauer 2021) and a judge of pixels.
Every convolution is spectrally normalised (Miyato 2018); hinge loss; one logit a place."""
import torch
import torch.nn.functional as F
from torch import nn

import features


class Spectral(nn.Module):
    def __init__(self, a, b, k, stride=1):
        super().__init__()
        self.stride = stride
        self.weight = nn.Parameter(nn.init.orthogonal_(torch.empty(b, a, k, k)))
        self.bias = nn.Parameter(torch.zeros(b))
        self.register_buffer("u", F.normalize(torch.randn(b), dim=0))
        self.value = None

    def refresh(self):
        """One round of the power method; the weight for this step."""
        w = self.weight.float().flatten(1)
        with torch.no_grad():
            d = w.detach()
            v = F.normalize(d.t() @ self.u, dim=0, eps=1e-6)
            self.u.copy_(F.normalize(d @ v, dim=0, eps=1e-6))
        sigma = torch.dot(self.u, w @ v)
        self.value = (self.weight.float() / sigma).to(self.weight.dtype)

    def forward(self, x):
        k = self.weight.shape[2]
        w = self.value if self.training else self.value.detach()
        b = self.bias if self.training else self.bias.detach()
        return F.conv2d(x, w, b, self.stride, (k - 1) // 2)


def chain(*convs):
    return nn.ModuleList(convs)


class Judges(nn.Module):
    def __init__(self, width=96, pixel=(48, 96, 192)):
        super().__init__()
        self.heads = nn.ModuleList(chain(Spectral(c, width, 1), Spectral(width, width, 3), Spectral(width, width, 3),
                                         Spectral(width, 1, 1)) for c in features.SEEN.values())
        a, b, c = pixel
        self.pixel = chain(Spectral(3, a, 4, 2), Spectral(a, b, 4, 2), Spectral(b, c, 4, 2), Spectral(c, c, 3), Spectral(c, 1, 3))
        for i, c in enumerate(features.SEEN.values()):
            self.register_buffer(f"scale{i}", torch.ones(c))

    def refresh(self):
        for m in self.modules():
            if isinstance(m, Spectral):
                m.refresh()

    def forget(self):
        """Lets go of this step's weights, whose graph must not outlive the step when steps are captured."""
        for m in self.modules():
            if isinstance(m, Spectral):
                m.value = None

    @torch.no_grad()
    def learn_scales(self, seen):
        for i, f in enumerate(seen):
            getattr(self, f"scale{i}").copy_(1 / (f.float().std((0, 2, 3)) + 1e-3))

    @staticmethod
    def apply_chain(convs, x):
        for i, m in enumerate(convs):
            x = m(x)
            if i + 1 < len(convs):
                x = F.leaky_relu(x, 0.2)
        return x

    def forward(self, seen, x):
        """Logits of the four heads, and of the pixels."""
        out = []
        for i, (head, f) in enumerate(zip(self.heads, seen)):
            s = getattr(self, f"scale{i}")
            out.append(self.apply_chain(head, f * s.to(f.dtype)[:, None, None]))
        return out, self.apply_chain(self.pixel, x)


def hinge(real, fake):
    return F.relu(1 - real.float()).mean() + F.relu(1 + fake.float()).mean()
