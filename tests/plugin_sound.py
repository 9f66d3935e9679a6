# SPDX-License-Identifier: BSD-2-Clause
"""What plugins of sound did:
  lag A B         samples that B is later than A, -700..700, by cross-correlation
                  of each channel
  delayed A B N   B is A, N samples later and cut to its length
  near A B        equal samples but for one step of 16 bits
"""
import sys

sys.path.insert(0, __file__.rpartition("/")[0])
from cli_sound import load

MOST = 700


def channels_of(path):
    _, channels, _, x = load(path)
    return [x[c::channels] for c in range(channels)]


def best_lag(a, b):
    n = min(len(a), len(b), 8000)
    middle = a[MOST:n - MOST:2]
    return max(range(-MOST, MOST + 1),
               key=lambda lag: sum(x * y for x, y in zip(middle, b[MOST + lag:n - MOST + lag:2])))


def lag(a, b):
    print(*[best_lag(x, y) for x, y in zip(channels_of(a), channels_of(b))])


def delayed(a, b, n):
    for x, y in zip(channels_of(a), channels_of(b)):
        want = [0.0] * int(n) + x
        assert len(y) <= len(want) and want[:len(y)] == y, "differs"


def near(a, b):
    x, y = load(a)[3], load(b)[3]
    assert len(x) == len(y), "lengths %d and %d" % (len(x), len(y))
    assert max(abs(p - q) for p, q in zip(x, y)) < 1.01 / 32768, "differs"


if __name__ == "__main__":
    {"lag": lag, "delayed": delayed, "near": near}[sys.argv[1]](*sys.argv[2:])
