/* SPDX-License-Identifier: BSD-2-Clause */
/* How far one sound is from another, in one pass and constant memory. */
#ifndef TOOLS_SOUND_METRICS_H
#define TOOLS_SOUND_METRICS_H
#include <stddef.h>
#include <stdint.h>

/**
 * x is the reference, y the other, d = y - x; <a, b> sums a b over the samples
 * of a channel, and sums over channels are taken before the logarithm.
 *
 * si_sdr   10 log10(sum ||a x||^2 / sum ||y - a x||^2), a = <x, y> / <x, x> of
 *          each channel: blind to the level of y.  Means are not taken off.
 *          Le Roux, Wisdom, Erdogan and Hershey, "SDR - half-baked or well
 *          done?", ICASSP 2019, equation 5.
 * snr      10 log10(sum ||x||^2 / sum ||d||^2).
 * lsd      mean over frames and channels of
 *          sqrt(mean over bins of (20 log10((|X| + e) / (|Y| + e)))^2), dB;
 *          0 for equal spectra.  X, Y: Hann windows of about 21 ms (512 at
 *          24 kHz: the power of two nearest to 64/3000 of a second), a quarter
 *          of that apart, scaled so that a sine of full scale has amplitude 1;
 *          e = 1e-5, 100 dB below.  Whole windows only, the end is filled up
 *          with zeros.  Gray and Markel, "Distance measures for speech
 *          processing", IEEE Trans. ASSP 24(5), 1976, with the floor that
 *          digital silence needs.
 *
 * Infinite where both are equal (si_sdr, snr); NAN where x is silent, and
 * where y is si_sdr is -INFINITY.
 */
typedef struct sound_metrics {
    uint64_t samples;       /**< of each channel */
    double si_sdr, snr, lsd;
    double peak;            /**< largest |d| */
} sound_metrics;

typedef struct sound_meter sound_meter;

/** NULL: out of memory.  rate 1..768000, channels 1..64. */
sound_meter *sound_meter_open(int rate, int channels);
/** Takes n samples of each channel of both, interleaved. */
void sound_meter_add(sound_meter *m, const float *x, const float *y, size_t n);
/** The result; the end has come. */
void sound_meter_result(sound_meter *m, sound_metrics *result);
void sound_meter_close(sound_meter **m);
#endif
