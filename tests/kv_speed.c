/* SPDX-License-Identifier: BSD-2-Clause */
/* How fast the KV codec is on one core: Llama 3 8B's layers, 256 tokens an
 * object.  GB/s of 16-bit cache, thread CPU time, the best of many passes. */
#include "config.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <tessera/kv.h>

enum { LAYERS = 4, HEADS = 8, DIM = 128, CHANNELS = HEADS * DIM };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void must(tsr_error error)
{
    if (error) {
        fprintf(stderr, "%s\n", tsr_error_string(error));
        exit(1);
    }
}

/* About normal, as bf16, spreads that differ from channel to channel. */
static void fill(uint16_t *x, size_t tokens)
{
    uint64_t s = 88172645463325252ull;

    for (size_t i = 0; i < 2 * LAYERS * tokens * CHANNELS; i++) {
        float sum = 0;
        uint32_t bits;
        for (int k = 0; k < 4; k++) {
            s ^= s << 13, s ^= s >> 7, s ^= s << 17;
            sum += (float)(s >> 40) / (float)(1 << 24) - 0.5f;
        }
        sum *= 0.4f + (float)(i * 7 % CHANNELS % 13) / 6;
        memcpy(&bits, &sum, 4);
        x[i] = (uint16_t)(bits >> 16);
    }
}

typedef struct bench {
    tsr_kv *kv;
    tsr_kv_view view;
    tsr_kv_call call;
    uint8_t *object;
    size_t room, size, values;
} bench;

static void report(bench *b, const char *what, int passes, int (*run)(bench *))
{
    double best = 1e9;

    for (int i = 0; i < passes; i++) {
        const double start = now();
        must((tsr_error)run(b));
        best = fmin(best, now() - start);
    }
    printf("  %s %.2f GB/s (%.2f ns a value)", what,
           2e-9 * (double)b->values / best, 1e9 * best / (double)b->values);
}

static int encode(bench *b)
{
    return tsr_kv_encode(b->kv, &b->view, &b->call, b->object, b->room, &b->size);
}

static int decode(bench *b)
{
    return tsr_kv_decode(b->kv, b->object, b->size, NULL, &b->view, &b->call);
}

static void one(tsr_context *ctx, double step, int levels, size_t tokens)
{
    const size_t plane = tokens * CHANNELS;
    uint16_t *cache = malloc(2 * LAYERS * plane * sizeof *cache);
    void *base[2 * LAYERS];
    tsr_kv_settings s;
    bench b = { .values = 2 * LAYERS * plane };
    size_t bytes;

    tsr_kv_settings_init(&s);
    s.shape = (tsr_kv_shape){ LAYERS, 2, { HEADS, HEADS }, { DIM, DIM } };
    s.rope = (tsr_kv_rope){ .layout = 1, .dims = DIM, .theta = 5e5 };
    s.step = step;
    s.value_ratio = 1;
    s.levels = levels;
    fill(cache, tokens);
    for (int i = 0; i < 2 * LAYERS; i++)
        base[i] = cache + (size_t)i * plane;
    b.view = (tsr_kv_view){ .dtype = TSR_KV_BF16, .base = base,
                            .token_stride = 2 * CHANNELS, .head_stride = 2 * DIM,
                            .tokens = tokens };
    must(tsr_kv_open(&b.kv, ctx, &s));
    must(tsr_kv_encode_bound(b.kv, tokens, &b.room));
    must(tsr_kv_scratch_size(b.kv, tokens, &bytes));
    b.object = malloc(b.room);
    b.call.scratch = aligned_alloc(64, bytes);
    b.call.scratch_size = bytes;
    must((tsr_error)encode(&b));
    printf("%4zu tokens, %d levels, %.3f bits a value:", tokens, levels,
           8.0 * (double)b.size / (double)b.values);
    report(&b, "encode", 12, encode);
    report(&b, "decode", 12, decode);
    printf("\n");
    free(b.object);
    free(b.call.scratch);
    free(cache);
    tsr_kv_close(&b.kv);
}

int main(void)
{
    tsr_context *ctx;

    must(tsr_context_open(&ctx, NULL));
    one(ctx, 1, 1, 256);
    one(ctx, 0.5, 1, 256);
    one(ctx, 0.1, 1, 256);
    one(ctx, 0.5, 1, 2048);
    one(ctx, 0.2, 3, 256);
    tsr_context_close(&ctx);
    return 0;
}
