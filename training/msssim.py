# SPDX-License-Identifier: BSD-2-Clause
"""MS-SSIM (Wang 2003): five scales, 11-tap Gaussian of sigma 1.5, valid windows, mean of the RGB channels.

The blur is two products with banded matrices, which a GPU does far faster than depthwise convolutions.
"""
import torch
import torch.nn.functional as F

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
C1, C2 = 0.01 ** 2, 0.03 ** 2
_bands = {}


def band(n, device):
    """[n, n-10] matrix whose product with a row is the valid blur."""
    key = n, device
    if key not in _bands:
        t = torch.arange(11, dtype=torch.float64) - 5
        k = torch.exp(-t * t / 4.5)
        k = (k / k.sum()).float()
        m = torch.zeros(n, n - 10)
        for i in range(11):
            m[torch.arange(n - 10) + i, torch.arange(n - 10)] = k[i]
        _bands[key] = m.to(device)
    return _bands[key]


def blur(x, mh, mw):
    return torch.matmul(mh.t(), torch.matmul(x, mw))


def scale_terms(x, y, mh, mw):
    """Mean contrast-structure and SSIM per picture and channel.  Inputs 0..1."""
    x, y = x - 0.5, y - 0.5             # the variances lose fewer digits
    mx, my = blur(x, mh, mw), blur(y, mh, mw)
    sxx = blur(x * x, mh, mw) - mx * mx
    syy = blur(y * y, mh, mw) - my * my
    sxy = blur(x * y, mh, mw) - mx * my
    cs = (2 * sxy + C2) / (sxx + syy + C2)
    mx, my = mx + 0.5, my + 0.5
    ssim = cs * (2 * mx * my + C1) / (mx * mx + my * my + C1)
    return cs.mean((2, 3)), ssim.mean((2, 3))


def ms_ssim(x, y, terms=scale_terms):
    """[B] MS-SSIM of pictures [B,3,H,W] in 0..1; sides at least 176, halved with rounding down."""
    out = None
    for i, w in enumerate(WEIGHTS):
        cs, ssim = terms(x, y, band(x.shape[2], x.device), band(x.shape[3], x.device))
        v = (ssim if i == len(WEIGHTS) - 1 else cs).clamp(min=1e-3) ** w
        out = v if out is None else out * v
        if i < len(WEIGHTS) - 1:
            x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
    return out.mean(1)
