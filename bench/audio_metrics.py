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


def align(original, decoded, reach=0.08):
    """The decoded sound moved by at most `reach` seconds to where it fits best, and cut to the original's length.  Where waves
    fit best is no guide for codecs that do not keep them, so spectra choose between that and steps of 2.5 ms."""
    n, reach = len(original), int(reach * RATE)
    decoded = np.pad(decoded[:n + reach], (0, max(0, n + reach - len(decoded))))
    c = correlate(decoded, original, "full", "fft")[n - 1 - reach:n + reach]

    def moved(lag):
        return np.pad(decoded, (max(0, -lag), 0))[max(0, lag):][:n]

    lags = [int(np.argmax(c)) - reach, *range(-reach, reach + 1, RATE // 400)]
    lag = min(lags, key=lambda v: log_spectral_distance(original, moved(v)))
    return moved(lag), lag


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


def si_sdr(a, b):
    """Scale-invariant signal to distortion ratio in dB (Le Roux et al., ICASSP 2019)."""
    a, b = a - a.mean(), b - b.mean()
    part = np.dot(a, b) / max(np.dot(a, a), 1e-20) * a
    return float(10 * math.log10(max(np.dot(part, part), 1e-20) / max(np.dot(part - b, part - b), 1e-20)))


def measure(original, decoded, speech):
    decoded, lag = align(original, decoded)
    out = {"lsd": log_spectral_distance(original, decoded), "si_sdr": si_sdr(original, decoded), "lag": lag}
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
