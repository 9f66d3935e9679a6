# SPDX-License-Identifier: BSD-2-Clause
"""Spectral distances and the balance of losses by the gradients they send to the output."""
import math

import torch

RATE = 24000
WINDOWS = ((32, 5), (64, 10), (128, 20), (256, 40), (512, 80), (1024, 160), (2048, 240))    # samples, mel bands
FLOOR = 3e-5                                # amplitude of a sine at full scale is 1


def mel_bank(n, bands):
    """[bands, n/2+1] triangles on the mel scale, HTK's formula, peak 1."""
    top = 2595 * math.log10(1 + RATE / 2 / 700)
    edges = 700 * (10 ** (torch.linspace(0, top, bands + 2, dtype=torch.float64) / 2595) - 1)
    f = torch.arange(n // 2 + 1, dtype=torch.float64)[None] * RATE / n
    lo, mid, hi = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    return torch.minimum((f - lo) / (mid - lo), (hi - f) / (hi - mid)).clamp(min=0).float()


def magnitude(x, n, window):
    """[B,T] -> [B, n/2+1, frames], hop n/4"""
    s = torch.view_as_real(torch.stft(x, n, n // 4, n, window, return_complex=True))
    return (s.square().sum(-1) + 1e-12).sqrt() * (2 / window.sum())


class Mel:
    """Sum over the windows of the mean absolute difference of log10 mel magnitudes."""

    def __init__(self, device, windows=WINDOWS):
        self.parts = [(n, torch.hann_window(n, device=device), mel_bank(n, m).to(device)) for n, m in windows]

    def __call__(self, x, y):
        total = 0
        for n, window, bank in self.parts:
            with torch.no_grad():
                a = (bank @ magnitude(x, n, window) + FLOOR).log10()
            b = (bank @ magnitude(y, n, window) + FLOOR).log10()
            total = total + (a - b).abs().mean()
        return total


class Envelopes:
    """One minus the mean correlation of the two signals' envelopes in 15 third-octave bands from 150 Hz, over 384 ms each:
    what STOI measures (Taal et al., "An Algorithm for Intelligibility Prediction of Time-Frequency Weighted Noisy Speech",
    2011), without its resampling and clipping.  Stretches 40 dB below the clip's loudest do not count."""

    SIZE, HOP, FRAMES, BANDS = 614, 307, 30, 15

    def __init__(self, device):
        f = torch.arange(513, dtype=torch.float64)[None] * RATE / 1024
        mid = 150 * 2 ** (torch.arange(self.BANDS, dtype=torch.float64)[:, None] / 3)
        self.bank = ((f >= mid * 2 ** (-1 / 6)) & (f < mid * 2 ** (1 / 6))).float().to(device)
        self.window = torch.hann_window(self.SIZE, device=device)

    def bands(self, x):
        """[B,T] -> [B,15,segments,30]"""
        s = torch.view_as_real(torch.stft(x, 1024, self.HOP, self.SIZE, self.window, return_complex=True)).square().sum(-1)
        return (self.bank @ s + 1e-9).sqrt().unfold(2, self.FRAMES, self.FRAMES // 6)

    def __call__(self, x, y):
        with torch.no_grad():
            a = self.bands(x)
            power = a.square().sum((1, 3))
            loud = (power > 1e-4 * power.amax(1, keepdim=True)).float()[:, None]
            a = a - a.mean(3, keepdim=True)
        b = self.bands(y)
        b = b - b.mean(3, keepdim=True)
        r = (a * b).sum(3) / (a.square().sum(3) * b.square().sum(3) + 1e-12).sqrt()
        return 1 - (r * loud).sum() / (loud.sum() * self.BANDS)


def wave(x, y):
    """Absolute difference in units of the clip's level."""
    return ((x - y).abs().mean(1) / (x.square().mean(1).sqrt() + 3e-3)).mean()


@torch.no_grad()
def measure(x, y, mel):
    """[B,T] each -> [B,3]: log-spectral distance in dB, SI-SDR in dB, mel distance"""
    window = torch.hann_window(512, device=x.device)
    a, b = (20 * (magnitude(v, 512, window) + 1e-5).log10() for v in (x, y))
    lsd = (a - b).square().mean(1).sqrt().mean(1)
    gain = (x * y).sum(1, keepdim=True) / (x * x).sum(1, keepdim=True).clamp(min=1e-9)
    part = gain * x
    sdr = 10 * (part.square().sum(1) / ((y - part).square().sum(1) + 1e-9) + 1e-9).log10()
    dist = torch.stack([mel(p[None], q[None]) for p, q in zip(x, y)])
    return torch.stack([lsd, sdr, dist], 1)


class Balance:
    """Scales gradients so that each has its share of the norm (EnCodec's balancer); averages live on the device."""

    def __init__(self, names, device, decay=0.99):
        self.at = {n: i for i, n in enumerate(names)}
        self.norms = torch.zeros(len(names), device=device)
        self.seen = torch.zeros(len(names), device=device)
        self.decay = decay

    @torch.no_grad()
    def unit(self, name, g):
        """g over the running mean of its norm"""
        i = self.at[name]
        norm = torch.linalg.vector_norm(g)
        norm = torch.where(torch.isfinite(norm), norm, torch.zeros_like(norm))
        self.norms[i].mul_(self.decay).add_(norm, alpha=1 - self.decay)
        self.seen[i].mul_(self.decay).add_(1 - self.decay)
        return g / (self.norms[i] / self.seen[i] + 1e-12)
