/* SPDX-License-Identifier: BSD-2-Clause */
/* Logarithms of mel bands of power spectra, as Kaldi computes them for
 * recognisers: what encoders that were trained on such features look at.
 *
 * Frame f is the `width` samples from f * shift on; only frames that are whole
 * count.  Of each: the mean is subtracted, then y[t] = x[t] - 0.97 x[t - 1], y[0]
 * = 0.03 x[0], a Hann window that is 0 at both ends, the power spectrum of the
 * next power of two of samples, triangles that are equally wide in mel, from 20
 * Hz to half the rate, and the natural logarithm, at least that of 2^-23.  No
 * dither, no energy.  Sums in double.
 *
 * Sources: Povey et al., "The Kaldi speech recognition toolkit", ASRU 2011;
 *          Young et al., "The HTK book" (the mel scale 1127 ln(1 + f / 700)). */
#ifndef TSR_CODECS_AUDIO_FBANK_H
#define TSR_CODECS_AUDIO_FBANK_H
#include "lib/core.h"

enum { TSRI_FBANK_WIDTH = 2048, TSRI_FBANK_BANDS = 1024 };

typedef struct tsri_fbank tsri_fbank;

/**
 * Makes a front end; constant afterwards, any number of threads may use it.
 *
 * rate   samples a second, 1000..384000
 * width  samples of a frame, 2..TSRI_FBANK_WIDTH
 * shift  samples from frame to frame, >= 1
 * bands  1..TSRI_FBANK_BANDS
 *
 * Returns TSR_OK; TSR_E_ARG; TSR_E_NOMEM.
 */
tsr_error tsri_fbank_open(tsri_fbank **fbank, tsr_context *ctx, int rate,
                          int width, int shift, int bands);
/** NULL and *NULL are allowed. */
void tsri_fbank_close(tsri_fbank **fbank);

/** Whole frames of n samples. */
uint64_t tsri_fbank_frames(const tsri_fbank *fbank, uint64_t n);

/**
 * Computes n frames.
 *
 * x  (n - 1) * shift + width samples
 * y  out, [n][bands]
 *
 * Cost: 10 us a frame of 400 samples and 128 bands on a Zen 3.
 */
void tsri_fbank_run(const tsri_fbank *fbank, const float *x, int n, float *y);
#endif
