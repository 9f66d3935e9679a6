/* SPDX-License-Identifier: BSD-2-Clause */
/* What programs that measure one-dimensional layers share: the layers of EnCodec
 * and HiFi-Codec, a clock, and ours.  Thread CPU time, the least of many passes. */
#ifndef TSR_TESTS_SEQ_SHAPES_H
#define TSR_TESTS_SEQ_SHAPES_H
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "lib/nn/seq_kernels.h"

/** A layer and how many outputs are asked for at once. */
typedef struct shape {
    const char *name;
    int in, out, taps, stride, dilation, n;
} shape;

static const shape shapes[] = {
    { "first, 24 kHz", 1, 32, 7, 1, 1, 2400 },
    { "residual, 24 kHz", 32, 16, 3, 1, 1, 2400 },
    { "residual, 24 kHz", 16, 32, 1, 1, 1, 2400 },
    { "shortcut, 24 kHz", 32, 32, 1, 1, 1, 2400 },
    { "last, 24 kHz", 32, 1, 7, 1, 1, 2400 },
    { "last, stereo", 32, 2, 7, 1, 1, 2400 },
    { "down by 2", 32, 64, 4, 2, 1, 1200 },
    { "residual, 12 kHz", 64, 32, 3, 1, 1, 1200 },
    { "down by 4", 64, 128, 8, 4, 1, 300 },
    { "down by 5", 128, 256, 10, 5, 1, 60 },
    { "down by 8", 256, 512, 16, 8, 1, 75 },
    { "latent", 512, 128, 7, 1, 1, 75 },
    { "up by 8", 512, 2048, 2, 1, 1, 75 },
    { "up by 5", 256, 640, 2, 1, 1, 600 },
    { "up by 4", 128, 256, 2, 1, 1, 600 },
    { "up by 2", 64, 64, 2, 1, 1, 1200 },
    { "LSTM's input", 512, 2048, 1, 1, 1, 75 },
    { "HiFi 512 k3", 512, 512, 3, 1, 1, 75 },
    { "HiFi 256 k3", 256, 256, 3, 1, 1, 600 },
    { "HiFi 256 k11", 256, 256, 11, 1, 1, 600 },
    { "HiFi 256 k11 d5", 256, 256, 11, 1, 5, 600 },
    { "HiFi 128 k7 d3", 128, 128, 7, 1, 3, 1000 },
    { "HiFi 64 k11", 64, 64, 11, 1, 1, 1000 },
    { "HiFi 64 k11 d5", 64, 64, 11, 1, 5, 1000 },
    { "HiFi 32 k3 d5", 32, 32, 3, 1, 5, 2400 },
    { "HiFi 32 k11 d5", 32, 32, 11, 1, 5, 2400 },
    { "live, down by 8", 256, 512, 16, 8, 1, 1 },
    { "live, up by 8", 512, 2048, 2, 1, 1, 1 },
    { "live, LSTM's input", 512, 2048, 1, 1, 1, 1 },
    { "live, latent", 512, 128, 7, 1, 1, 1 },
    { "live, 2 frames", 512, 2048, 2, 1, 1, 2 },
    { "live, 3 frames", 512, 2048, 2, 1, 1, 3 },
    { "live, down by 5", 128, 256, 10, 5, 1, 8 },
    { "live, residual", 32, 16, 3, 1, 1, 320 },
    { "odd", 37, 45, 5, 1, 1, 500 },
};

static inline double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/** To be freed; uniform in [-scale, scale). */
static inline float *noise(size_t n, float scale)
{
    static uint32_t lcg = 1;
    float *p = aligned_alloc(64, (n * sizeof *p + 63) / 64 * 64);
    if (!p)
        exit(1);
    for (size_t i = 0; i < n; i++) {
        lcg = lcg * 1664525 + 1013904223;
        p[i] = ((float)(lcg >> 8) / 8388608.f - 1) * scale;
    }
    return p;
}

/** Multiply-adds per nanosecond. */
static inline double conv(tsr_context *ctx, const tsri_seq_kernels *k, const shape *s,
                   int passes)
{
    const size_t in = (size_t)s->in, out = (size_t)s->out, n = (size_t)s->n;
    const size_t samples = (n - 1) * (size_t)s->stride +
                           (size_t)((s->taps - 1) * s->dilation) + 1;
    float *weight = noise(in * out * (size_t)s->taps, 0.1f), *x = noise(samples * in, 1);
    float *y = noise(n * out, 1), *bias = noise(out, 1);
    const double macs = (double)s->in * s->out * s->taps * s->n;
    double best = 1e30;
    tsri_conv1d c;

    if (tsri_conv1d_open(&c, ctx, s->in, s->out, s->taps, s->stride, s->dilation,
                         weight, bias))
        exit(1);
    for (int i = 0; i < passes; i++) {
        const int rounds = macs > 2e6 ? 1 : (int)(2e6 / macs) + 1;
        const double start = now();
        for (int r = 0; r < rounds; r++)
            k->conv1d(&c, x, in, s->n, 0, tsri_conv1d_panels(&c), NULL, y, out);
        const double used = (now() - start) / rounds;
        best = used < best ? used : best;
    }
    tsri_conv1d_close(&c, ctx);
    free(weight); free(x); free(y); free(bias);
    return macs / best * 1e-9;
}
#endif
