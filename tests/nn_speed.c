/* SPDX-License-Identifier: BSD-2-Clause */
/* Multiply-adds per second of nets shaped like the image codecs', by the wall
 * clock and by processor time (which other programs disturb less).
 *
 * nn_speed [backend [threads [side [tile budget in MiB [net's name]]]]] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "tests/nn_nets.h"

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

    nets_weights();
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
