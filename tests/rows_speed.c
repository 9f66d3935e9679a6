/* SPDX-License-Identifier: BSD-2-Clause */
/* Speed of rows: make tests/rows_speed && tests/rows_speed [passes].
 * Nanoseconds a value, thread CPU time, the least of many short passes. */
#include "config.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "entropy/rows_impl.h"

enum { TOKENS = 256, COEFS = 256, N = TOKENS * COEFS };

static int16_t q[N], got[N], got2[N], q0[N];
static int8_t r[N];
static uint8_t cls[COEFS];
static uint32_t lcg = 1;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double uniform(void)
{
    lcg = lcg * 1664525 + 1013904223;
    return (lcg >> 8) / 16777216.0;
}

/* A generalised Gaussian of exponent 1.5: |x| = a G^(2/3), G of a Gamma
 * distribution of shape 2/3, by rejection. */
static double draw(double mean)
{
    const double a = mean * tgamma(2 / 3.0) / tgamma(4 / 3.0);
    double x;

    do
        x = -log(1 - uniform()) * 1.6;
    while (uniform() > exp(x / 1.6 - pow(x, 1.5) - 0.1));
    return uniform() < 0.5 ? -a * x : a * x;
}

static void check(bool sound, const char *what)
{
    if (sound)
        return;
    fprintf(stderr, "%s\n", what);
    exit(1);
}

typedef struct timing {
    double encode, decode, refine, unrefine, pair;
    size_t bytes, fine_bytes;
} timing;

static void least(double *best, double since)
{
    const double s = now() - since;
    *best = s < *best ? s : *best;
}

static timing time_one(const tsri_rows *rows, unsigned cpu,
                       const tsri_rows_matrix *m, int passes, uint8_t *data,
                       void *scratch)
{
    timing best = { 1e9, 1e9, 1e9, 1e9, 1e9, 0, 0 };
    tsri_rows_matrix to = *m, other = *m;
    double t;

    other.q = got2;

    for (int i = 0; i < passes; i++) {
        to.q = q;
        t = now();
        best.bytes = tsri_rows_encode(rows, cpu, &to, 1, data, scratch);
        least(&best.encode, t);
        to.q = got;
        t = now();
        check(!tsri_rows_decode(rows, cpu, data, best.bytes, 1, &to, scratch),
              "decode");
        least(&best.decode, t);
        check(!memcmp(got, q, sizeof q), "values");
        const tsri_rows_segment two[2] = { { data, best.bytes, 1, to },
                                           { data, best.bytes, 1, other } };
        t = now();
        check(!tsri_rows_decode_pair(rows, cpu, two, false, scratch), "pair");
        least(&best.pair, t);
        check(!memcmp(got, q, sizeof q) && !memcmp(got2, q, sizeof q), "pair");
        to.q = q0;
        t = now();
        best.fine_bytes = tsri_rows_refine_encode(rows, cpu, &to, r, COEFS, 1,
                                                  data, scratch);
        least(&best.refine, t);
        memcpy(got, q0, sizeof q0);
        to.q = got;
        t = now();
        check(!tsri_rows_refine_decode(rows, cpu, data, best.fine_bytes, 1, &to,
                                       scratch), "refine");
        least(&best.unrefine, t);
        check(!memcmp(got, q, sizeof q), "refined values");
    }
    return best;
}

static void run(tsr_context *ctx, const tsri_rows *rows, const char *name,
                int low, int high, bool sorted, int passes)
{
    tsri_rows_strip *strips = tsri_alloc(ctx, COEFS / 32, sizeof *strips);
    const tsri_rows_strip *sets[1] = { strips };
    const tsri_rows_matrix m = { q, COEFS, TOKENS, COEFS, sets, NULL };
    uint8_t *data = tsri_alloc(ctx, 1, tsri_rows_bound(TOKENS, COEFS));
    void *scratch = tsri_alloc(ctx, 1, tsri_rows_scratch(TOKENS, COEFS));

    check(strips && data && scratch, "memory");
    for (int c = 0; c < COEFS; c++)
        cls[c] = (uint8_t)(sorted ? high - (high - low) * c / (COEFS - 1)
                                  : low + (int)(uniform() * (high - low + 1)));
    double best = 1e9;
    for (int i = 0; i < passes; i++) {
        const double t = now();
        tsri_rows_prepare(rows, cls, COEFS, strips);
        least(&best, t);
    }
    for (int i = 0; i < N; i++) {
        const double v = rint(draw(exp2((cls[i % COEFS] - 14) / 4.0)));
        q[i] = (int16_t)fmin(fmax(v, -32767), 32767);
        q0[i] = (int16_t)lrint(q[i] / 3.0);
        r[i] = (int8_t)(q[i] - 3 * q0[i]);
    }
    for (int plain = 0; plain < 2; plain++) {
        const timing b = time_one(rows, plain ? 0 : ctx->cpu, &m,
                                  plain ? 2 : passes, data, scratch);
        printf("%-24s%s %6.3f bits  encode %6.3f  decode %6.3f (two %6.3f)  refinement "
               "%.3f bits  encode %6.3f  decode %6.3f  prepare %.0f a strip\n",
               name, plain ? " plain" : "      ", 8.0 * (double)b.bytes / N,
               1e9 * b.encode / N, 1e9 * b.decode / N,
               0.5e9 * b.pair / N,
               8.0 * (double)b.fine_bytes / N, 1e9 * b.refine / N,
               1e9 * b.unrefine / N, 1e9 * best / (COEFS / 32.0));
    }
    tsri_free(ctx, scratch);
    tsri_free(ctx, data);
    tsri_free(ctx, strips);
}

int main(int argc, char **argv)
{
    const int passes = argc > 1 ? atoi(argv[1]) : 200;
    tsr_context_settings s;
    tsr_context *ctx;
    tsri_rows *rows;

    tsr_context_settings_init(&s);
    s.threads = 1;
    check(!tsr_context_open(&ctx, &s), "context");
    check(!tsri_rows_open(&rows, ctx), "tables");
    run(ctx, rows, "classes 5..24 mixed", 5, 24, false, passes);
    run(ctx, rows, "classes 5..21 mixed", 5, 21, false, passes);
    run(ctx, rows, "classes 0..20 sorted", 0, 20, true, passes);
    run(ctx, rows, "classes 0..9 sorted", 0, 9, true, passes);
    run(ctx, rows, "classes 22..50 mixed", 22, 50, false, passes);
    tsri_rows_close(&rows, ctx);
    tsr_context_close(&ctx);
    return 0;
}
