/* SPDX-License-Identifier: BSD-2-Clause */
#include <soxr.h>
#include <stdlib.h>
#include "tools/say.h"
#include "tools/sound/resample.h"

/* The smallest transforms that it has: 17 instead of 38 ms of delay, which live
 * sound is glad of, at the same speed. */
enum { SMALL_LOG2 = 8 };

int resampler_open(resampler **r, const char *file, int from, int to,
                   int channels)
{
    /* 20 bits: the noise is 120 dB down, below that of any input of 16. */
    const soxr_quality_spec_t quality = soxr_quality_spec(SOXR_HQ, 0);
    soxr_runtime_spec_t runtime = soxr_runtime_spec(1);
    soxr_error_t error;

    runtime.log2_min_dft_size = runtime.log2_large_dft_size = SMALL_LOG2;
    *r = (resampler *)soxr_create(from, to, (unsigned)channels, &error, NULL,
                                  &quality, &runtime);
    if (error)
        *r = NULL;
    return *r ? 0 : say_error(RC_MACHINE, file, "cannot be resampled from %d to"
                              " %d Hz: %s", from, to, soxr_strerror(error));
}

void resampler_close(resampler **r)
{
    if (*r)
        soxr_delete((soxr_t)*r);
    *r = NULL;
}

void resampler_run(resampler *r, const float *x, size_t n, size_t *used,
                   float *y, size_t room, size_t *made)
{
    *used = *made = 0;
    if (soxr_process((soxr_t)r, x, x ? n : 0, used, y, room, made)) {
        *used = x ? n : 0;
        *made = 0;
    }
}
