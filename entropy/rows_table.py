#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Writes entropy/rows_table.h, the tables of rows: generalised Gaussians with
the exponent 1.5, which fit the coefficients of caches better than Laplacians
(by 1 %) and as well as tables that were trained on them."""
from math import exp, gamma

EXPONENT, ONE, REACH = 1.5, 4096, 14
CLASSES, TABLES, REFINED = 64, 22, 26


def mean_of(c):
    """Of the magnitudes of a class, before they are rounded."""
    return 2 ** ((c - 14) / 4)


def magnitudes(mean, most):
    """Probabilities of the rounded magnitudes 0..most, by Simpson's rule."""
    a = mean * gamma(1 / EXPONENT) / gamma(2 / EXPONENT)
    norm = EXPONENT / (a * gamma(1 / EXPONENT))
    steps = 512

    def mass(low, high):
        high = min(high, 40 * a)
        if high <= low:
            return 0.0
        h = (high - low) / steps
        return norm * h / 3 * sum(
            (1 if i in (0, steps) else 2 + 2 * (i % 2)) *
            exp(-((low + i * h) / a) ** EXPONENT) for i in range(steps + 1))

    return [mass(max(k - 0.5, 0), k + 0.5) for k in range(most + 1)]


def table(c):
    """Frequencies of 0, of each of -a and a for a = 1.., and of each escape."""
    p = magnitudes(mean_of(c), 60)
    f = [0] * (REACH + 2)
    f[1] = max(1, int(p[1] * ONE / 2))
    reach = 1
    while reach < REACH and p[reach + 1] / 2 > 1 / 6000:
        reach += 1
        f[reach] = max(1, int(p[reach] * ONE / 2))
    f[-1] = max(1, int(sum(p[reach + 1:]) * ONE / 2))
    f[0] = ONE - 2 * sum(f)
    return f


def refinement(c, kind):
    """Of r = -1, 0, 1 (away from 0: 1) where the coarse magnitude is kind."""
    p = magnitudes(mean_of(c), 10)
    p = [p[1] / 2, p[0], p[1] / 2] if kind == 0 else p[3 * kind - 1:3 * kind + 2]
    total = sum(p)
    p = [x / total if total > 1e-9 else 1 / 3 for x in p]
    if kind:    # where there should be none there are a few
        p = [0.97 * x + 0.01 for x in p]
    f = [max(1, round(x * ONE)) for x in p]
    f[f.index(max(f))] += ONE - sum(f)
    return f


def border(c):
    """Mean rounded magnitude between classes c - 1 and c, in 2^-16."""
    mean = mean_of(c - 0.5)
    if mean > 40:
        return round(65536 * mean)
    p = magnitudes(mean, 600)
    return max(1, round(65536 * sum(k * x for k, x in enumerate(p))))


def rows(numbers, per):
    return ",\n".join("    " + ", ".join(str(x) for x in numbers[i:i + per])
                      for i in range(0, len(numbers), per))


with open("rows_table.h", "w") as out:
    out.write("/* SPDX-License-Identifier: BSD-2-Clause */\n"
              "/* Written by entropy/rows_table.py. */\n\n"
              "/* Frequencies of the level 0, and of each sign of the levels 1..15 */\n"
              f"static const uint16_t level_freq[{TABLES}][{REACH + 2}] = {{\n")
    for c in range(TABLES):
        out.write("    { " + ", ".join(map(str, table(c))) + " },\n")
    out.write("};\n\n/* of r towards 0, none, away from 0, for |q0| = 0, 1, more */\n"
              f"static const uint16_t refine_freq[{REFINED}][3][3] = {{\n")
    for c in range(REFINED):
        out.write("    { " + ", ".join("{ " + ", ".join(map(str, refinement(c, k)))
                                       + " }" for k in range(3)) + " },\n")
    out.write("};\n\n/* 2^16 times the mean magnitude at which classes 1..63 begin */\n"
              f"static const uint32_t class_border[{CLASSES - 1}] = {{\n")
    out.write(rows([border(c) for c in range(1, CLASSES)], 8) + "\n};\n")
