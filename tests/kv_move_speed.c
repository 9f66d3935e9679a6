/* SPDX-License-Identifier: BSD-2-Clause */
/* Speed of the moves between caches and rows: make tests/kv_move_speed &&
 * tests/kv_move_speed.  One core, thread CPU time, best of many short passes of
 * 256 tokens x 8 heads x 128, which stay in cache; nanoseconds a value and GB/s
 * of the cache's own bytes.
 *   kv_move_speed [plain]        plain: without the vector variants */
#include "config.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "codecs/kv/move.h"
#include "codecs/kv/rope.h"

enum { PASSES = 400, TOKENS = 256, HEADS = 8, DIM = 128, CHANNELS = HEADS * DIM,
       VALUES = TOKENS * CHANNELS, BLOCK = 16 };

typedef struct bench {
    unsigned cpu;
    tsr_kv_view view;
    tsr_kv_shape shape;
    tsri_kv_patch patch;
    float *x, *m, *cs;
    int16_t *q;
    int8_t *r;
    uint32_t *sum;
    uint8_t *memory;
    bool good;
} bench;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void report(const char *what, bench *b, void (*pass)(bench *), int bytes,
                   double values)
{
    double best = 1e30;

    for (int i = 0; i < PASSES; i++) {
        const double t = now();
        pass(b);
        best = now() - t < best ? now() - t : best;
    }
    printf("%-34s %7.3f ns a value", what, best / values * 1e9);
    if (bytes)
        printf(", %6.2f GB/s", values * bytes / best * 1e-9);
    puts("");
}

static void gather(bench *b)
{
    b->good &= tsri_kv_gather(&b->view, &b->shape, b->cpu, 0, 0, 0, TOKENS, b->x,
                              CHANNELS);
}

static void scatter(bench *b)
{
    tsri_kv_scatter(&b->view, &b->shape, b->cpu, 0, 0, 0, TOKENS, b->x, CHANNELS);
}

static void load_tile(bench *b)
{
    memset(b->sum, 0, CHANNELS * sizeof *b->sum);
    b->good &= tsri_kv_load_tile(&b->patch, b->cpu, b->m, 16, b->q, CHANNELS,
                                 b->sum);
}

static void store_tile(bench *b)
{
    tsri_kv_store_tile(&b->patch, b->cpu, b->q, CHANNELS, b->m, 1 / 16.0f);
}

static void angles(bench *b)
{
    for (int t = 0; t < TOKENS; t++)
        tsri_rope_angles(b->patch.rope, (uint64_t)t, b->cs);
}

static void take_off(bench *b)
{
    for (int t = 0; t < TOKENS; t++)
        tsri_rope_take_off(tsri_rope_what(b->patch.rope), b->cpu, b->cs,
                           b->x + t * CHANNELS, HEADS, DIM);
}

static void quantise(bench *b)
{
    for (int t = 0; t < TOKENS; t++)
        b->good &= tsri_kv_quantise(b->cpu, b->x + t * CHANNELS, b->m, 16,
                                    CHANNELS, b->q + t * CHANNELS, b->sum);
}

static void dequantise(bench *b)
{
    for (int t = 0; t < TOKENS; t++)
        tsri_kv_dequantise(b->cpu, b->q + t * CHANNELS, b->m, 1 / 16.0f, CHANNELS,
                           b->x + t * CHANNELS);
}

static void coarsen(bench *b)
{
    tsri_kv_coarsen(b->cpu, b->q, VALUES, b->r);
}

static void centres(bench *b)
{
    tsri_kv_centres(b->cpu, b->x, CHANNELS, TOKENS, CHANNELS, 0.25f, b->q);
}

static void *room(size_t bytes)
{
    void *p = aligned_alloc(64, bytes);
    if (!p)
        exit(1);
    memset(p, 0, bytes);
    return p;
}

/* Small normal numbers of either 16-bit format. */
static void fill(bench *b)
{
    uint64_t state = 1;

    for (size_t i = 0; i < VALUES * sizeof(float) / 2; i++) {
        uint16_t h;
        state = state * 6364136223846793005u + 1442695040888963407u;
        h = (uint16_t)(0x3c00 | (state >> 40 & 0x83ff));
        if (b->view.dtype < TSR_KV_F32)
            memcpy(b->memory + 2 * i, &h, 2);
    }
}

static void views(bench *b, const char *name, tsr_kv_dtype dtype)
{
    static const char *const layouts[] = { "THD", "HTD", "NHD", "HND" };
    static int32_t blocks[TOKENS / BLOCK];
    const int e = (int)tsri_kv_dtype_bytes(dtype);
    char what[64];

    for (int i = 0; i < TOKENS / BLOCK; i++)
        blocks[i] = i * 7 % (TOKENS / BLOCK);
    b->view.dtype = dtype;
    for (int k = 0; k < 4; k++) {
        const bool by_head = k & 1;
        b->view.blocks = k < 2 ? NULL : blocks;
        b->view.block_tokens = BLOCK;
        b->view.block_stride = (ptrdiff_t)BLOCK * CHANNELS * e;
        b->view.token_stride = (by_head ? DIM : CHANNELS) * e;
        b->view.head_stride = by_head ? (k < 2 ? TOKENS : BLOCK) * DIM * e
                                      : DIM * e;
        for (int job = 0; job < 4; job++) {
            static void (*const passes[])(bench *) = { gather, scatter,
                                                       load_tile, store_tile };
            static const char *const names[] = { "gather", "scatter",
                                                 "load_tile", "store_tile" };
            fill(b);
            snprintf(what, sizeof what, "%s %s %s", names[job], name, layouts[k]);
            report(what, b, passes[job], e, VALUES);
        }
    }
}

int main(int argc, char **argv)
{
    static const tsr_kv_rope rope = { 1, 0, DIM, 1e4, 0, 0, 0, 0, 0 };
    void *base[1];
    bench b = { .cpu = argc > 1 && !strcmp(argv[1], "plain") ? 0 : tsr_cpu_flags(),
                .shape = { 1, 1, { HEADS, 0 }, { DIM, 0 } } };
    tsr_context_settings settings;
    tsr_context *ctx;
    tsri_rope *turns;

    tsr_context_settings_init(&settings);
    if (tsr_context_open(&ctx, &settings) ||
        tsri_rope_open(&turns, ctx, &rope, DIM, 4096))
        return 1;
    b.memory = room(VALUES * sizeof(float));
    b.x = room(VALUES * sizeof(float));
    b.m = room(CHANNELS * sizeof(float));
    b.cs = room(DIM * sizeof(float));
    b.q = room(VALUES * sizeof(int16_t));
    b.r = room(VALUES);
    b.sum = room(CHANNELS * sizeof(uint32_t));
    base[0] = b.memory;
    b.view.base = base;
    b.view.tokens = TOKENS;
    b.patch = (tsri_kv_patch){ .view = &b.view, .shape = &b.shape,
                               .rope = turns, .n = TOKENS };
    views(&b, "f16", TSR_KV_F16);
    views(&b, "bf16", TSR_KV_BF16);
    views(&b, "f32", TSR_KV_F32);
    views(&b, "e4m3", TSR_KV_E4M3);
    views(&b, "e5m2", TSR_KV_E5M2);
    b.patch.rope = NULL;
    report("load_tile, no rotation", &b, load_tile, 0, VALUES);
    report("store_tile, no rotation", &b, store_tile, 0, VALUES);
    b.patch.rope = turns;
    report("angles", &b, angles, 0, VALUES);
    report("take_off", &b, take_off, 0, VALUES);
    report("quantise", &b, quantise, 0, VALUES);
    report("dequantise", &b, dequantise, 0, VALUES);
    report("coarsen", &b, coarsen, 0, VALUES);
    report("centres, a channel", &b, centres, 0, CHANNELS);
    tsri_rope_close(&turns, ctx);
    tsr_context_close(&ctx);
    return 0;
}
