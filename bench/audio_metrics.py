# SPDX-License-Identifier: BSD-2-Clause
"""How far a decoded sound is from the original, both mono floats at 24 kHz."""
import math
import warnings

import numpy as np
from pesq import NoUtterancesError, pesq
from pystoi import stoi
from scipy.signal import correlate, resample_poly

RATE = 24000
NAMES = {"stoi": "STOI", "pesq_wb": "PESQ WB", "pesq_nb": "PESQ NB", "lsd": "LSD dB", "si_sdr": "SI-SDR dB"}


def moved(x, lag, n):
    """n samples of x from sample `lag` on, zeros where there are none."""
    x = np.pad(x, (max(0, -lag), 0))[max(0, lag):][:n]
    return np.pad(x, (0, n - len(x)))


def wave_lag(original, decoded, reach):
    """Where the decoded wave fits the original's best, at most `reach` samples away."""
    n = len(original)
    c = correlate(moved(decoded, 0, n + reach), original, "full", "fft")[n - 1 - reach:n + reach]
    return int(np.argmax(c)) - reach


def align(original, decoded, reach=0.08):
    """The decoded sound moved by at most `reach` seconds to where it fits best, and cut to the original's length.  Where waves
    fit best is no guide for codecs that do not keep them, so spectra choose between that and steps of 2.5 ms."""
    n, reach = len(original), int(reach * RATE)
    lags = [wave_lag(original, decoded, reach), *range(-reach, reach + 1, RATE // 400)]
    lag = min(lags, key=lambda v: log_spectral_distance(original, moved(decoded, v, n)))
    return moved(decoded, lag, n), lag


def log_spectral_distance(a, b, size=1024, hop=256):
    """Root mean square over bins, mean over frames, of the difference of power spectra in dB; spectra below
    -80 dB of the original's peak count as that."""
    def power(x):
        frames = np.lib.stride_tricks.sliding_window_view(np.pad(x, size // 2), size)[::hop]
        return np.abs(np.fft.rfft(frames * np.hanning(size), axis=1)) ** 2
    p, q = power(a), power(b)
    floor = p.max() * 1e-8
    d = 10 * (np.log10(np.maximum(p, floor)) - np.log10(np.maximum(q, floor)))
    return float(np.mean(np.sqrt(np.mean(d ** 2, axis=1))))


def si_sdr(a, b, reach=0.08):
    """Scale-invariant signal to distortion ratio in dB (Le Roux et al., ICASSP 2019), b moved to where its wave fits best:
    where spectra fit best is up to some milliseconds beside that, which this measure does not forgive."""
    b = moved(b, wave_lag(a, b, int(reach * RATE)), len(a))
    a, b = a - a.mean(), b - b.mean()
    part = np.dot(a, b) / max(np.dot(a, a), 1e-20) * a
    return float(10 * math.log10(max(np.dot(part, part), 1e-20) / max(np.dot(part - b, part - b), 1e-20)))


def measure(original, decoded, speech):
    waves = si_sdr(original, decoded)
    decoded, lag = align(original, decoded)
    out = {"lsd": log_spectral_distance(original, decoded), "si_sdr": waves, "lag": lag}
    if speech:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            out["stoi"] = float(stoi(original, decoded, RATE))
        for key, mode, rate, (up, down) in (("pesq_wb", "wb", 16000, (2, 3)), ("pesq_nb", "nb", 8000, (1, 3))):
            try:
                out[key] = float(pesq(rate, resample_poly(original, up, down), resample_poly(decoded, up, down), mode))
            except NoUtterancesError:
                out[key] = math.nan
    return out
