# SPDX-License-Identifier: BSD-2-Clause
"""Rate-distortion curves: interpolation and Bjontegaard's mean difference in rate."""
import math
from bisect import bisect_right


def clean(points):
    """Points (x, y) sorted by x, without those that do not raise y: what a codec offers at best."""
    out = []
    for x, y in sorted(points):
        if not out or (x > out[-1][0] and y > out[-1][1]):
            out.append((x, y))
    return out


def slopes(points):
    """Derivatives of the monotone cubic through the points (Fritsch and Carlson 1980, with Brodlie's mean)."""
    d = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in zip(points, points[1:])]
    m = [d[0]]
    for i in range(1, len(d)):
        h0, h1 = points[i][0] - points[i - 1][0], points[i + 1][0] - points[i][0]
        w = (h0 + 2 * h1) / (3 * (h0 + h1))
        m.append(d[i - 1] * d[i] / (w * d[i] + (1 - w) * d[i - 1]) if d[i - 1] * d[i] > 0 else 0.0)
    return m + [d[-1]]


class Curve:
    """The monotone cubic through points (x, y); None outside them."""

    def __init__(self, points):
        self.points = clean(points)
        self.lo, self.hi = self.points[0][0], self.points[-1][0]
        self.m = slopes(self.points) if len(self.points) > 1 else [0.0]

    def __call__(self, x):
        if not self.lo <= x <= self.hi:
            return None
        if len(self.points) == 1:
            return self.points[0][1]
        i = min(bisect_right([p[0] for p in self.points], x), len(self.points) - 1) - 1
        (x0, y0), (x1, y1) = self.points[i], self.points[i + 1]
        h = x1 - x0
        t = (x - x0) / h
        return (y0 * (1 + 2 * t) * (1 - t) ** 2 + h * self.m[i] * t * (1 - t) ** 2
                + y1 * t * t * (3 - 2 * t) + h * self.m[i + 1] * t * t * (t - 1))


def at_rate(points, bpp):
    """Quality at a rate, interpolated over log rate; points are (bpp, dB)."""
    return Curve([(math.log(r), q) for r, q in points])(math.log(bpp))


def bd_rate(ours, theirs, steps=200):
    """Mean of ln(rate of ours / rate of theirs) over the common range of dB; None without one of 0.5 dB."""
    a, b = (Curve([(q, math.log(r)) for r, q in clean(c)]) for c in (ours, theirs))
    lo, hi = max(a.lo, b.lo), min(a.hi, b.hi)
    if hi - lo < 0.5:
        return None
    xs = [lo + (hi - lo) * (i + 0.5) / steps for i in range(steps)]
    return sum(a(x) - b(x) for x in xs) / steps


def mean(values):
    values = list(values)
    return sum(values) / len(values) if values else math.nan
