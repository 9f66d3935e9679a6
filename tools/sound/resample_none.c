/* SPDX-License-Identifier: BSD-2-Clause */
/* A build without libsoxr: only sound of the model's own rate. */
#include "tools/say.h"
#include "tools/sound/resample.h"

int resampler_open(resampler **r, const char *file, int from, int to,
                   int channels)
{
    (void)channels;
    *r = NULL;
    return say_error(RC_USAGE, file, "has %d Hz, %d Hz are wanted, and this"
                     " program was built without libsoxr; 'ffmpeg -i IN -ar %d"
                     " OUT.wav' resamples", from, to, to);
}

void resampler_close(resampler **r)
{
    *r = NULL;
}

void resampler_run(resampler *r, const float *x, size_t n, size_t *used,
                   float *y, size_t room, size_t *made)
{
    (void)r;
    (void)x;
    (void)y;
    (void)room;
    *used = n;
    *made = 0;
}
