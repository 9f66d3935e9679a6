/* SPDX-License-Identifier: BSD-2-Clause */
/* Speed of the one-dimensional runner on nets of the shapes of EnCodec at 24 kHz
 * and of HiFi-Codec's decoder, random weights: make tests/seq_net_speed &&
 * tests/seq_net_speed [THREADS [plain]].  One thread: CPU time; more: wall time.
 * Best of some passes: real-time factors of whole files (lazy) and of live pushes
 * of a frame, and what a node costs apart from its arithmetic (a net of width 1,
 * pushes of a frame). */
#include "config.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <tessera/context.h>
#include "lib/nn/seq.h"

enum { RATE = 24000, SECONDS = 4, PASSES = 5 };

static clockid_t clock_used = CLOCK_THREAD_CPUTIME_ID;

static double now(void)
{
    struct timespec t;
    clock_gettime(clock_used, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static float *floats(size_t n, float scale)
{
    static uint64_t state = 1;
    float *x = malloc(n * sizeof *x);
    if (!x)
        exit(1);
    for (size_t i = 0; i < n; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        x[i] = scale * ((float)(state >> 40) * 0x1p-23f - 1);
    }
    return x;
}

static int nodes;

static int conv(tsri_seq *q, int x, int in, int out, int taps, int stride,
                int dilation, bool causal)
{
    const int reach = (taps - 1) * dilation + 1, all = reach - stride;
    const size_t n = (size_t)in * (size_t)taps;
    float *w = floats(n * (size_t)out, 1.7f / sqrtf((float)n));
    tsri_seq_conv c = { .in = in, .out = out, .taps = taps, .stride = stride,
                        .dilation = dilation, .left = causal ? all : all / 2,
                        .right = all - all / 2, .complete = causal,
                        .pad = causal ? TSRI_SEQ_REFLECT : TSRI_SEQ_ZERO,
                        .weight = w };
    nodes++;
    x = tsri_seq_conv1d(q, x, &c);
    free(w);
    return x;
}

static int convtr(tsri_seq *q, int x, int in, int out, int taps, int stride,
                  int trim)
{
    const size_t n = (size_t)in * (size_t)taps;
    float *w = floats(n * (size_t)out, 1.7f / sqrtf((float)n));
    tsri_seq_convtr c = { .in = in, .out = out, .taps = taps, .stride = stride,
                          .trim = trim, .weight = w };
    nodes++;
    x = tsri_seq_convtr1d(q, x, &c);
    free(w);
    return x;
}

static int act(tsri_seq *q, int x, tsri_curve curve)
{
    nodes++;
    return tsri_seq_act(q, x, curve, 0.1f, NULL);
}

static int add(tsri_seq *q, int a, int b)
{
    nodes++;
    return tsri_seq_add(q, a, b, 1);
}

static int lstm(tsri_seq *q, int x, int n)
{
    const size_t h = (size_t)n;
    float *w = floats(4 * h * h, 1 / sqrtf((float)n)), *b = floats(4 * h, 0.1f);
    nodes++;
    x = tsri_seq_lstm(q, x, n, w, w, b, b);
    free(w);
    free(b);
    return x;
}

static int seanet_block(tsri_seq *q, int x, int c)
{
    const int half = c > 1 ? c / 2 : 1;
    int a = conv(q, act(q, x, TSRI_CURVE_ELU), c, half, 3, 1, 1, true);
    a = conv(q, act(q, a, TSRI_CURVE_ELU), half, c, 1, 1, 1, true);
    return add(q, conv(q, x, c, c, 1, 1, 1, true), a);
}

static const int ratios[] = { 2, 4, 5, 8 };

static int encoder(tsri_seq *q, int width, int dimension)
{
    int x = conv(q, 0, 1, width, 7, 1, 1, true), c = width;

    for (int i = 0; i < 4; i++, c *= 2)
        x = conv(q, act(q, seanet_block(q, x, c), TSRI_CURVE_ELU), c, 2 * c,
                 2 * ratios[i], ratios[i], 1, true);
    x = add(q, lstm(q, lstm(q, x, c), c), x);
    return conv(q, act(q, x, TSRI_CURVE_ELU), c, dimension, 7, 1, 1, true);
}

static int decoder(tsri_seq *q, int width, int dimension)
{
    int c = 16 * width, x = conv(q, 0, dimension, c, 7, 1, 1, true);

    x = add(q, lstm(q, lstm(q, x, c), c), x);
    for (int i = 3; i >= 0; i--, c /= 2)
        x = seanet_block(q, convtr(q, act(q, x, TSRI_CURVE_ELU), c, c / 2,
                                   2 * ratios[i], ratios[i], 0), c / 2);
    return conv(q, act(q, x, TSRI_CURVE_ELU), width, 1, 7, 1, 1, true);
}

static int hifi_block(tsri_seq *q, int x, int c, int taps)
{
    for (int d = 1; d <= 5; d += 2) {
        int a = act(q, x, TSRI_CURVE_LEAKY);
        a = act(q, conv(q, a, c, c, taps, 1, d, false), TSRI_CURVE_LEAKY);
        x = add(q, x, conv(q, a, c, c, taps, 1, 1, false));
    }
    return x;
}

static int hifi_decoder(tsri_seq *q, int width, int dimension)
{
    static const int up[] = { 8, 5, 4, 2 }, taps[] = { 16, 11, 8, 4 };
    int c = width, x = conv(q, 0, dimension, c, 7, 1, 1, false);

    for (int i = 0; i < 4; i++, c /= 2) {
        int y;
        x = convtr(q, act(q, x, TSRI_CURVE_LEAKY), c, c / 2, taps[i], up[i],
                   (taps[i] - up[i]) / 2);
        y = add(q, hifi_block(q, x, c / 2, 3), hifi_block(q, x, c / 2, 7));
        x = tsri_seq_add(q, y, hifi_block(q, x, c / 2, 11), 1.0f / 3);
    }
    x = conv(q, act(q, x, TSRI_CURVE_LEAKY), c, 1, 7, 1, 1, false);
    return act(q, x, TSRI_CURVE_TANH);
}

typedef struct net {
    const char *name;
    int (*declare)(tsri_seq *q, int width, int dimension);
    int width, dimension, in, frame;    /* channels and samples of a frame */
} net;

/* Pushes `frames` frames of x, at most `piece` at once; returns seconds. */
static double run(tsri_seq_stream *s, const net *k, const float *x, int frames,
                  int piece)
{
    static float y[1 << 16];
    const size_t out = k->in == 1 ? (size_t)k->dimension : 1;
    const size_t step = (size_t)k->frame * (size_t)k->in;
    const double start = now();

    for (int t = 0; t < frames; t += piece) {
        const int n = t + piece < frames ? piece : frames - t;
        if (tsri_seq_push(s, x + (size_t)t * step, (size_t)(n * k->frame),
                          piece > 1, false))
            exit(1);
        while (tsri_seq_take(s, y, sizeof y / sizeof *y / out))
            ;
    }
    return now() - start;
}

static void measure(tsr_context *ctx, const net *k)
{
    const int frames = RATE * SECONDS / 320;
    float *x = floats((size_t)frames * (size_t)(k->frame * k->in), 1);
    double best[2] = { 1e9, 1e9 };
    tsri_seq_stream *s;
    tsri_seq *q;

    nodes = 0;
    if (tsri_seq_new(&q, ctx, k->in) ||
        tsri_seq_finish(q, k->declare(q, k->width, k->dimension)) ||
        tsri_seq_open(&s, q, ctx, false))
        exit(1);
    for (int pass = 0; pass < PASSES; pass++)
        for (int live = 0; live < 2; live++) {
            tsri_seq_reset(s);
            const double t = run(s, k, x, frames, live ? 1 : frames);
            best[live] = t < best[live] ? t : best[live];
        }
    printf("%-16s width %3d: lazy %7.2f x real time, %6.2f GMAC/s; live %7.2f x, "
           "%7.3f ms a frame, %.2f us a node\n", k->name, k->width,
           SECONDS / best[0], 1e-9 * tsri_seq_macs(q) * k->frame * frames /
           best[0], SECONDS / best[1], 1e3 * best[1] / frames,
           1e6 * best[1] / frames / nodes);
    tsri_seq_close(&s);
    tsri_seq_free(&q);
    free(x);
}

int main(int argc, char **argv)
{
    static const net nets[] = {
        { "EnCodec encoder", encoder, 32, 128, 1, 320 },
        { "EnCodec decoder", decoder, 32, 128, 128, 1 },
        { "HiFi decoder", hifi_decoder, 512, 512, 512, 1 },
        { "EnCodec encoder", encoder, 1, 1, 1, 320 },
        { "EnCodec decoder", decoder, 1, 1, 1, 1 },
    };
    tsr_context_settings settings;
    tsr_context *ctx;

    tsr_context_settings_init(&settings);
    settings.threads = argc > 1 ? atoi(argv[1]) : 1;
    if (settings.threads > 1)
        clock_used = CLOCK_MONOTONIC;
    if (tsr_context_open(&ctx, &settings))
        return 1;
    if (argc > 2)
        ctx->cpu = 0;
    for (size_t i = 0; i < sizeof nets / sizeof *nets; i++)
        measure(ctx, &nets[i]);
    tsr_context_close(&ctx);
    return 0;
}
