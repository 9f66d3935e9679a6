#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Writes entropy/shapes_table.h, the constants of the parametric tables."""
from decimal import Decimal, ROUND_HALF_UP, getcontext

getcontext().prec = 50


def upper_tail(z):
    """Of the standard Gaussian: its series, or its continued fraction."""
    root = (2 * Decimal("3.14159265358979323846264338327950288419716939937511")).sqrt()
    density = (-z * z / 2).exp() / root
    if z < 4:
        term = total = z
        k = 1
        while abs(term) > Decimal(10) ** -40:
            term *= z * z / (2 * k + 1)
            total += term
            k += 1
        return Decimal("0.5") - density * total
    fraction = z
    for k in range(400, 0, -1):
        fraction = z + k / fraction
    return density / fraction


def integer(x):
    return int(x.to_integral_value(ROUND_HALF_UP))


def sigma(scale):
    return (Decimal(2).ln() * (Decimal(scale) / 8 - 3)).exp()


def show(comment, kind, name, values):
    print(f"\n/* {comment} */\nstatic const {kind} {name}[{len(values)}] = {{")
    line = "   "
    for value in values:
        if len(line) + len(str(value)) > 76:
            print(line)
            line = "   "
        line += f" {value},"
    print(line + "\n};")


print("/* SPDX-License-Identifier: BSD-2-Clause */")
print("/* Written by entropy/shapes_table.py. */")
show("2^30 times the upper tail of the Gaussian at i / 32", "uint32_t",
     "gauss_tail", [integer(upper_tail(Decimal(i) / 32) * 2**30) for i in range(193)])
show("2^(28 - i / 8)", "uint32_t", "inverse",
     [integer((Decimal(2).ln() * (28 - Decimal(i) / 8)).exp()) for i in range(8)])
show("2^32 exp(-sqrt(2) / (4 sigma)) of each scale", "uint32_t", "laplace_decay",
     [integer((-Decimal(2).sqrt() / 4 / sigma(i)).exp() * 2**32) for i in range(72)])
