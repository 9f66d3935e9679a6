/* SPDX-License-Identifier: BSD-2-Clause */
/* Multiply-adds per second of nets shaped like the image codecs', by the wall
 * clock and by processor time (which other programs disturb less).
 *
 * nn_speed [backend [threads [side [tile budget in MiB [net's name]]]]] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "lib/nn/net.h"

static float weights[512 * 512 * 9];

static int conv(tsri_net *net, int x, int in, int out, int kernel, int stride,
                tsri_pad pad)
{
    return tsri_net_conv(net, x, &(tsri_conv){ in, out, kernel, stride, pad,
                                               weights, weights,
                                               TSRI_BOTH });
}

static int rb(tsri_net *net, int x, int c)
{
    int y = conv(net, x, c, c, 3, 1, TSRI_PAD_ZERO);
    y = conv(net, tsri_net_act(net, y, TSRI_ACT_SILU), c, c, 3, 1,
             TSRI_PAD_ZERO);
    return tsri_net_add(net, x, y);
}

static int hyper_enc(tsri_net *net)
{
    int x = conv(net, tsri_net_unshuffle(net, 0, 4), 48, 96, 3, 1,
                 TSRI_PAD_ZERO);
    x = conv(net, rb(net, x, 96), 96, 160, 3, 2, TSRI_PAD_ZERO);
    x = conv(net, rb(net, rb(net, x, 160), 160), 160, 224, 3, 2, TSRI_PAD_ZERO);
    return conv(net, rb(net, x, 224), 224, 192, 3, 1, TSRI_PAD_ZERO);
}

static int hyper_dec(tsri_net *net)
{
    int x = rb(net, conv(net, 0, 192, 224, 3, 1, TSRI_PAD_ZERO), 224);
    x = tsri_net_shuffle(net, conv(net, x, 224, 640, 1, 1, TSRI_PAD_ZERO), 2);
    x = rb(net, rb(net, rb(net, x, 160), 160), 160);
    x = tsri_net_shuffle(net, conv(net, x, 160, 384, 1, 1, TSRI_PAD_ZERO), 2);
    x = conv(net, rb(net, rb(net, x, 96), 96), 96, 48, 3, 1, TSRI_PAD_ZERO);
    return tsri_net_shuffle(net, x, 4);
}

/* McQuic's up-sampling block, reflect padding, at half the picture's side. */
static int mcquic_up(tsri_net *net)
{
    int y = conv(net, tsri_net_act(net, 0, TSRI_ACT_SILU), 128, 512, 3, 1,
                 TSRI_PAD_REFLECT);
    y = tsri_net_gdn(net, tsri_net_shuffle(net, y, 2), weights + 1, weights + 1,
                     true);
    y = conv(net, y, 128, 128, 3, 1, TSRI_PAD_REFLECT);
    const int x = conv(net, 0, 128, 512, 3, 1, TSRI_PAD_REFLECT);
    return tsri_net_add(net, tsri_net_shuffle(net, x, 2), y);
}

static int body(tsri_net *net)
{
    return rb(net, rb(net, rb(net, rb(net, 0, 96), 96), 96), 96);
}

/* VQGAN-LC's decoder, f = 16: 512, 256, 256, 128, 128 channels. */
static int swish_conv(tsri_net *net, int x, int in, int out)
{
    x = tsri_net_norm(net, x, &(tsri_norm){ 32, 1e-6f, weights, weights });
    return conv(net, tsri_net_act(net, x, TSRI_ACT_SILU), in, out, 3, 1,
                TSRI_PAD_ZERO);
}

static int block(tsri_net *net, int x, int in, int out)
{
    const int y = swish_conv(net, swish_conv(net, x, in, out), out, out);
    return tsri_net_add(net, in == out ? x :
                        conv(net, x, in, out, 1, 1, TSRI_PAD_ZERO), y);
}

static int attend(tsri_net *net, int x, int c)
{
    const int n = tsri_net_norm(net, x, &(tsri_norm){ 32, 1e-6f, weights,
                                                      weights });
    const int q = conv(net, n, c, c, 1, 1, TSRI_PAD_ZERO);
    const int k = conv(net, n, c, c, 1, 1, TSRI_PAD_ZERO);
    const int v = conv(net, n, c, c, 1, 1, TSRI_PAD_ZERO);
    return tsri_net_add(net, x, conv(net, tsri_net_attention(net, q, k, v), c,
                                     c, 1, 1, TSRI_PAD_ZERO));
}

static int vqgan_dec(tsri_net *net)
{
    static const int channels[] = { 512, 256, 256, 128, 128 };
    int x = conv(net, conv(net, 0, 8, 256, 1, 1, TSRI_PAD_ZERO), 256, 512, 3, 1,
                 TSRI_PAD_ZERO);
    int c = 512;

    x = block(net, attend(net, block(net, x, c, c), c), c, c);
    for (int level = 0; level < 5; level++) {
        if (level)
            x = conv(net, tsri_net_upsample(net, x), c, c, 3, 1, TSRI_PAD_ZERO);
        for (int i = 0; i < 3; i++, c = channels[level]) {
            x = block(net, x, c, channels[level]);
            if (!level)
                x = attend(net, x, c);
        }
    }
    return swish_conv(net, x, c, 3);
}

static int blocks(tsri_net *net)
{
    return block(net, block(net, 0, 128, 128), 128, 128);
}

static int attention(tsri_net *net)
{
    return tsri_net_attention(net, 0, 0, 0);
}

static tsr_error source(void *cookie, tsri_rect r, tsri_fmap *dst)
{
    (void)cookie;
    (void)r;
    for (int c = 0; c < dst->channels; c++)
        for (int y = 0; y < dst->height; y++)
            for (int x = 0; x < dst->width; x++)
                dst->data[(size_t)c * dst->plane + (size_t)y * dst->row +
                          (size_t)x] = (float)((c * 7 + y * 3 + x) % 17) / 17;
    return TSR_OK;
}

static tsr_error sink(void *cookie, tsri_rect r, const tsri_fmap *src)
{
    (void)r;
    *(float *)cookie += src->data[0];
    return TSR_OK;
}

static double now(void)
{
    struct timespec t;
    timespec_get(&t, TIME_UTC);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static const char *only = "";

static void measure(tsr_context *ctx, const char *name, int channels,
                    int (*build)(tsri_net *), int side, uint64_t budget)
{
    double best = 1e30, cpu = 1e30, macs;
    float sum = 0;
    tsri_net *net;
    int h, w;

    if (!strstr(name, only))
        return;
    if (tsri_net_new(&net, ctx, channels) ||
        tsri_net_finish(net, build(net))) {
        printf("%-10s cannot be built\n", name);
        tsri_net_free(&net);
        return;
    }
    tsri_net_out_size(net, side, side, &h, &w);
    const tsri_rect all = { 0, 0, h, w };
    macs = tsri_net_macs(net, side, side, all);
    for (int i = 0; i < 5; i++) {
        const double start = now();
        const clock_t ticks = clock();
        if (tsri_net_run_tiled(net, side, side, budget, 16, source, NULL, sink,
                               &sum))
            printf("failed\n");
        const double used = (double)(clock() - ticks) / CLOCKS_PER_SEC;
        best = now() - start < best ? now() - start : best;
        cpu = used < cpu ? used : cpu;
    }
    printf("%-10s %4d x %-4d %8.1f ms  %5.1f GMAC/s, %5.1f per processor  "
           "whole takes %.0f MiB\n", name, side, side, best * 1e3,
           macs / best * 1e-9, macs / cpu * 1e-9,
           (double)tsri_net_memory(net, side, side, all) / (1 << 20));
    tsri_net_free(&net);
}

int main(int argc, char **argv)
{
    const int side = argc > 3 ? atoi(argv[3]) : 1024;
    const uint64_t budget = argc > 4 ? (uint64_t)atoi(argv[4]) << 20 :
                            UINT64_MAX;
    tsr_context_settings s;
    tsr_context *ctx;

    for (size_t i = 0; i < sizeof weights / sizeof *weights; i++)
        weights[i] = (float)((i * 2654435761u >> 16) % 2001) * 2e-5f - 0.02f;
    tsr_context_settings_init(&s);
    only = argc > 5 ? argv[5] : "";
    s.backend = argc > 1 ? argv[1] : "auto";
    s.threads = argc > 2 ? atoi(argv[2]) : 1;
    if (tsr_context_open(&ctx, &s))
        return 1;
    printf("backend %s, %d threads\n", tsr_context_backend(ctx),
           tsr_context_threads(ctx));
    measure(ctx, "hyper enc", 3, hyper_enc, side, budget);
    measure(ctx, "hyper dec", 192, hyper_dec, side / 16, budget);
    measure(ctx, "mcquic up", 128, mcquic_up, side / 4, budget);
    measure(ctx, "4 RB 96", 96, body, side / 4, budget);
    measure(ctx, "vqgan dec", 8, vqgan_dec, side / 64, budget);
    measure(ctx, "vqgan full", 128, blocks, side / 4, budget);
    measure(ctx, "attend 512", 512, attention, side / 16, budget);
    tsr_context_close(&ctx);
    return 0;
}
