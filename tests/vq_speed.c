/* SPDX-License-Identifier: BSD-2-Clause */
/* Speed of the quantisers: make tests/vq_speed && tests/vq_speed.  One core,
 * thread CPU time, best of some passes; searches in 10^9 multiply-adds a
 * second, scalar quantisers in 10^9 values.
 *   vq_speed [SCALE] [plain]     SCALE times as many vectors; default 1;
 *                                plain: without the vector variants */
#include "config.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "vq/rows.h"
#include "vq/scalar.h"

enum { PASSES = 21 };

typedef struct job { int k, dim, n; } job;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Near to a Gaussian, the same on every machine. */
static float *random_rows(size_t n)
{
    static uint64_t state = 1;
    float *x = malloc(n * sizeof *x);
    if (!x)
        exit(1);
    for (size_t i = 0; i < n; i++) {
        float sum = 0;
        for (int t = 0; t < 4; t++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            sum += (float)(state >> 40) * 0x1p-24f - 0.5f;
        }
        x[i] = sum * 1.7320508f;
    }
    return x;
}

static void check(tsr_error error, const char *what)
{
    if (!error)
        return;
    fprintf(stderr, "%s: %s\n", what, tsr_error_string(error));
    exit(1);
}

static void time_job(tsr_context *ctx, const job *j)
{
    float *words = random_rows((size_t)j->k * (size_t)j->dim);
    float *x = random_rows((size_t)j->n * (size_t)j->dim);
    int32_t *codes = malloc((size_t)j->n * sizeof *codes);
    tsri_codebook *book;
    double best = 1e30, prepare = now();

    check(codes ? TSR_OK : TSR_E_NOMEM, "codes");
    check(tsri_codebook_new(&book, ctx, 1, j->k, j->dim, words), "codebook");
    prepare = now() - prepare;
    const tsri_fmap map = tsri_rows_map(x, (size_t)j->n, j->dim);
    const tsri_codes out = tsri_rows_codes(codes, (size_t)j->n, 1, 1);
    for (int pass = 0; pass < PASSES; pass++) {
        const double t = now();
        check(tsri_codebook_encode(book, ctx, &map, &out), "search");
        best = now() - t < best ? now() - t : best;
    }
    printf("k %7d dim %4d n %6d: %6.1f GMAC/s, %8.2f us a vector; "
           "codebook prepared in %.3f s\n", j->k, j->dim, j->n,
           (double)j->n * j->k * j->dim / best * 1e-9, best / j->n * 1e6,
           prepare);
    tsri_codebook_free(&book, ctx);
    free(words);
    free(x);
    free(codes);
}

static void time_scalar(const char *what, int count, bool by_row)
{
    enum { ROWS = 64, COLS = 1024 };
    const tsri_uniform u = { 0.5f, 0, -127, 127 };
    float *x = random_rows(ROWS * COLS), *step = random_rows(COLS);
    float inverse[COLS], offset[COLS] = { 0 }, level[256];
    uint8_t *sym = malloc(ROWS * COLS);
    const tsri_scalar_block b = { ROWS, COLS, COLS, COLS, by_row, step, inverse,
                                  offset };
    const unsigned cpu = tsr_cpu_flags();
    double best[2] = { 1e30, 1e30 };
    tsri_levels levels;

    for (int i = 0; i < COLS; i++)
        step[i] = 0.02f + step[i] * step[i];
    for (int i = 0; i < count; i++)
        level[i] = (float)(2 * i - count) / (float)count * 20;
    check(sym && tsri_scalar_invert(step, offset, COLS, inverse) &&
          (!count || tsri_levels_set(&levels, level, count)) ? TSR_OK
                                                             : TSR_E_ARG, what);
    for (int pass = 0; pass < 20 * PASSES; pass++) {
        const double t0 = now();
        if (count)
            tsri_levels_encode(&levels, &b, cpu, x, sym);
        else
            tsri_uniform_encode(&u, &b, cpu, x, sym);
        const double t1 = now();
        if (count)
            tsri_levels_decode(&levels, &b, cpu, sym, x);
        else
            tsri_uniform_decode(&u, &b, cpu, sym, x);
        const double t2 = now();
        best[0] = t1 - t0 < best[0] ? t1 - t0 : best[0];
        best[1] = t2 - t1 < best[1] ? t2 - t1 : best[1];
    }
    printf("%-10s %3d levels, steps by %s: encode %5.2f, decode %5.2f Gvalues/s"
           "\n", what, count, by_row ? "row" : "column",
           ROWS * COLS / best[0] * 1e-9, ROWS * COLS / best[1] * 1e-9);
    free(x);
    free(step);
    free(sym);
}

/* Coded vectors past one query, in 10^6 codes a second. */
static void time_coded(tsr_context *ctx, const tsr_rvq_shape *shape)
{
    enum { N = 1 << 18 };
    const size_t parts = (size_t)(shape->groups * shape->stages);
    float *words = random_rows(parts * (size_t)(shape->k * shape->dim));
    float *query = random_rows((size_t)(shape->groups * shape->dim));
    int32_t *codes = malloc(N * parts * sizeof *codes), items[10];
    double best = 1e30;
    tsr_rvq *q;
    tsr_coded *coded;

    check(codes ? TSR_OK : TSR_E_NOMEM, "codes");
    for (size_t i = 0; i < N * parts; i++)
        codes[i] = (int32_t)((i * 2654435761u >> 7) % (size_t)shape->k);
    check(tsr_rvq_open(&q, ctx, shape, words), "rvq");
    check(tsr_coded_open(&coded, q, codes, N, shape->stages), "coded");
    for (int pass = 0; pass < PASSES; pass++) {
        const double t = now();
        check(tsr_coded_nearest(coded, query, 1, 10, items, NULL), "nearest");
        best = now() - t < best ? now() - t : best;
    }
    printf("coded, %d groups of %d stages, k %5d: %6.0f M codes/s\n",
           shape->groups, shape->stages, shape->k,
           (double)(N * parts) / best * 1e-6);
    tsr_coded_close(&coded);
    tsr_rvq_close(&q);
    free(words);
    free(query);
    free(codes);
}

int main(int argc, char **argv)
{
    const job jobs[] = {
        { 256, 8, 16384 },{ 1024, 4, 8192 }, { 1024, 32, 4096 },
        { 100000, 8, 768 }, { 8192, 64, 1536 }, { 65536, 16, 768 },
        { 16384, 256, 384 }, { 262144, 128, 384 }, { 4096, 1024, 192 },
    };
    const int scale = argc > 1 ? atoi(argv[1]) : 1;
    tsr_context_settings s;
    tsr_context *ctx;

    tsr_context_settings_init(&s);
    s.threads = 1;
    if (argc > 2 && !strcmp(argv[2], "plain"))
        tsr_cpu_set_mask(0);
    check(tsr_context_open(&ctx, &s), "context");
    for (size_t i = 0; i < sizeof jobs / sizeof *jobs; i++) {
        job j = jobs[i];
        j.n *= scale > 0 ? scale : 1;
        time_job(ctx, &j);
    }
    time_coded(ctx, &(tsr_rvq_shape){ 8, 1, 256, 4 });
    time_coded(ctx, &(tsr_rvq_shape){ 4, 4, 256, 8 });
    time_coded(ctx, &(tsr_rvq_shape){ 1, 4, 4096, 8 });
    tsr_context_close(&ctx);
    time_scalar("uniform", 0, false);
    time_scalar("uniform", 0, true);
    time_scalar("levels", 8, false);
    time_scalar("levels", 16, false);
    time_scalar("levels", 64, false);
    time_scalar("levels", 256, false);
    return 0;
}
