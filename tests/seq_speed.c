/* SPDX-License-Identifier: BSD-2-Clause */
/* Speed of the one-dimensional kernels on the layers of EnCodec and HiFi-Codec:
 * make tests/seq_speed && tests/seq_speed [passes [c]].
 * Thread CPU time, the least of many passes. */
#include "config.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "lib/nn/seq_kernels.h"

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

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static float *noise(size_t n, float scale)
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

static double conv(tsr_context *ctx, const tsri_seq_kernels *k, const shape *s,
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

static double lstm(tsr_context *ctx, const tsri_seq_kernels *k, int passes, bool half)
{
    enum { H = 512, N = 8 };
    float *w = noise(4 * H * H, 0.06f), *gates = noise(4 * H * N, 1);
    float state[2 * H] = { 0 }, *y = noise(H * N, 1);
    double best = 1e30;
    tsri_lstm l;

    for (int i = 0; half && i < 4 * H * H; i++)
        w[i] = (float)(int)(w[i] * 8192) / 8192;
    if (tsri_lstm_open(&l, ctx, H, H, w, w, w, w))
        exit(1);
    for (int i = 0; i < passes; i++) {
        const double start = now();
        k->lstm(&l, gates, N, state, y, H);
        const double used = (now() - start) / N;
        best = used < best ? used : best;
    }
    tsri_lstm_close(&l, ctx);
    free(w); free(gates); free(y);
    return best;
}

static double curve(const tsri_seq_kernels *k, tsri_curve which, int passes)
{
    enum { N = 512, C = 32 };
    float *x = noise(N * C, 4), *y = noise(N * C, 1), *alpha = noise(C, 1);
    double best = 1e30;

    for (int i = 0; i < passes; i++) {
        const double start = now();
        k->curve(which, 0.1f, alpha, x, N, C, y);
        const double used = now() - start;
        best = used < best ? used : best;
    }
    free(x); free(y); free(alpha);
    return best / (N * C);
}

int main(int argc, char **argv)
{
    static const char *const curves[] = { "copy", "elu", "leaky", "snake", "tanh" };
    const int passes = argc > 1 ? atoi(argv[1]) : 100;
    const tsri_seq_kernels *k;
    tsr_context *ctx;

    if (tsr_context_open(&ctx, NULL))
        return 1;
    k = argc > 2 ? tsri_seq_kernels_plain() : tsri_seq_kernels_pick(ctx->cpu);
    printf("variant %s; GMAC/s\n", k->name);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const shape *s = &shapes[i];
        printf("%-20s %4d -> %-4d k%-2d s%d d%d n %-5d %7.1f\n", s->name, s->in, s->out,
               s->taps, s->stride, s->dilation, s->n, conv(ctx, k, s, passes));
    }
    printf("LSTM of 512: %.1f us a step, weights in halves %.1f us\n",
           lstm(ctx, k, passes, false) * 1e6, lstm(ctx, k, passes, true) * 1e6);
    for (int i = TSRI_CURVE_NONE; i <= TSRI_CURVE_TANH; i++)
        printf("%-6s %.3f ns a value\n", curves[i],
               curve(k, (tsri_curve)i, passes) * 1e9);
    tsr_context_close(&ctx);
    return 0;
}
