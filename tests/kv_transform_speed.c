/* SPDX-License-Identifier: BSD-2-Clause */
/* Speed of the transforms of the KV codec: make tests/kv_transform_speed &&
 * tests/kv_transform_speed.  One core, thread CPU time, best of some passes; in
 * 10^9 fused multiply-adds a second, and microseconds a token.
 *   kv_transform_speed [plain]   plain: without the vector variants */
#include "config.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "codecs/kv/chain.h"
#include "codecs/kv/match.h"

enum { PASSES = 31, TOKENS = 256, TEXT = 2048 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static uint32_t next(void)
{
    static uint64_t state = 1;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 40);
}

static float *random_rows(size_t n)
{
    float *x = malloc(n * sizeof *x);
    if (!x)
        exit(1);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)next() * 0x1p-24f - 0.5f;
    return x;
}

static void report(const char *what, int k, int outs, double seconds)
{
    printf("%-10s %5d -> %4d  %7.2f GFMA/s  %8.3f us/token\n", what, k, outs,
           1e-9 * TOKENS * k * outs / seconds, 1e6 * seconds / TOKENS);
}

/* The part [k][outs] of a [k][pitch] matrix. */
static void chain(unsigned cpu, const char *what, int k, int outs, int pitch)
{
    float *a = random_rows((size_t)TOKENS * (size_t)k);
    float *b = random_rows((size_t)k * (size_t)pitch);
    float *c = random_rows((size_t)TOKENS * (size_t)outs);
    double best = 1e9;

    for (int pass = 0; pass < PASSES; pass++) {
        const double start = now();
        tsri_kv_chain(cpu, a, (size_t)k, TOKENS, k, b, (size_t)pitch, outs, c,
                      (size_t)outs);
        const double s = now() - start;
        best = s < best ? s : best;
    }
    report(what, k, outs, best);
    free(a);
    free(b);
    free(c);
}

/* Two ids predict; a text of `letters` different ones. */
static void predict(unsigned cpu, int hidden, int n, int letters)
{
    float *w = random_rows((size_t)(2 * hidden + 1) * (size_t)n);
    float *x = random_rows((size_t)TOKENS * (size_t)n);
    uint8_t *halves = calloc((size_t)letters * (size_t)hidden, 2);
    const tsri_kv_profile p = { .predictors = 2, .vocabulary = letters,
                                .hidden = hidden, .embedding = halves };
    const tsri_kv_group g = { .n = n, .r = n, .predict = w };
    static int32_t ids[TEXT];
    double best = 1e9;

    if (!halves)
        exit(1);
    for (int t = 0; t < TEXT; t++)
        ids[t] = (int32_t)(next() % (uint32_t)letters);
    for (int pass = 0; pass < PASSES; pass++) {
        const double start = now();
        tsri_kv_predict(&p, &g, cpu, ids, TEXT - TOKENS, TOKENS, false, x,
                        (size_t)n);
        const double s = now() - start;
        best = s < best ? s : best;
    }
    report("predict", 2 * hidden, n, best);
    free(w);
    free(x);
    free(halves);
}

static void match(int letters)
{
    static int32_t ids[TEXT], ref[TEXT];
    static uint8_t cls[TEXT];
    const tsri_kv_profile p = { .reference = TSRI_KV_REF_MATCH };
    void *scratch = malloc(tsri_kv_match_scratch(TEXT));
    double best = 1e9;

    if (!scratch)
        exit(1);
    for (int t = 0; t < TEXT; t++)
        ids[t] = (int32_t)(next() % (uint32_t)letters);
    for (int pass = 0; pass < PASSES; pass++) {
        const double start = now();
        tsri_kv_match(&p, ids, TEXT, 4, ref, cls, scratch);
        const double s = now() - start;
        best = s < best ? s : best;
    }
    printf("match of %5d letters: %.3f us/token\n", letters, 1e6 * best / TEXT);
    free(scratch);
}

static void heads(unsigned cpu, int dim)
{
    float *x = random_rows((size_t)TOKENS * (size_t)dim);
    double best = 1e9;

    for (int pass = 0; pass < PASSES; pass++) {
        const double start = now();
        for (int t = 0; t < TOKENS; t++)
            tsri_kv_hadamard(cpu, x + (size_t)t * (size_t)dim, dim);
        const double s = now() - start;
        best = s < best ? s : best;
    }
    printf("head of %d turned: %.2f ns/value\n", dim, 1e9 * best / TOKENS / dim);
    free(x);
}

int main(int argc, char **argv)
{
    const bool plain = argc > 1 && !strcmp(argv[1], "plain");
    const unsigned cpu = plain ? 0 : tsr_cpu_flags();

    chain(cpu, "forward", 512, 128, 512);
    chain(cpu, "forward", 512, 200, 512);
    chain(cpu, "forward", 512, 512, 512);
    chain(cpu, "forward", 2048, 512, 2048);
    chain(cpu, "inverse", 128, 512, 512);
    chain(cpu, "inverse", 512, 512, 512);
    chain(cpu, "inverse", 512, 2048, 2048);
    predict(cpu, 512, 512, 60000);
    predict(cpu, 512, 512, 120);
    predict(cpu, 4096, 2048, 120);
    heads(cpu, 128);
    match(3);
    match(600);
    return 0;
}
