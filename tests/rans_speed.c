/* SPDX-License-Identifier: BSD-2-Clause */
/* Speed of the entropy coder: make tests/rans_speed && tests/rans_speed.
 * 10^6 symbols a second, best and median of the passes, thread CPU time. */
#include "config.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "entropy/bigtable.h"
#include "entropy/freq.h"

enum { N = 1 << 20, PASSES = 9, CLASSES = 64 };

static uint16_t sym[N], got[N], cls[N];
static uint32_t token[N], got_token[N];

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double uniform(void)
{
    return rand() / (RAND_MAX + 1.0);
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void print(const char *what, double *seconds)
{
    qsort(seconds, PASSES, sizeof *seconds, compare);
    printf("  %-14s %7.0f (%.0f)\n", what, N / seconds[0] * 1e-6,
           N / seconds[PASSES / 2] * 1e-6);
}

static void check(tsr_error error, const char *what)
{
    if (!error)
        return;
    fprintf(stderr, "%s: %s\n", what, tsr_error_string(error));
    exit(1);
}

/* One table or a class per symbol; the segment of 2^20 symbols. */
static void time_bank(tsr_context *ctx, const tsri_bank *bank,
                      const uint16_t *classes, int lanes)
{
    tsri_rans_enc *enc;
    const uint8_t *data = NULL;
    size_t size = 0;
    double enc_s[PASSES], dec_s[2][PASSES];
    const unsigned cpu = ctx->cpu;

    check(tsri_rans_enc_open(&enc, ctx), "encoder");
    for (int pass = 0; pass < PASSES; pass++) {
        const double t0 = now();
        check(tsri_rans_put(enc, bank, classes, 0, sym, N), "put");
        check(tsri_rans_finish(enc, 0, lanes, &data, &size), "finish");
        enc_s[pass] = now() - t0;
        for (int fast = 0; fast < 2; fast++) {
            tsri_rans_dec dec;
            ctx->cpu = fast ? cpu : 0;
            const double t1 = now();
            check(tsri_rans_dec_open(&dec, ctx, data, size, 0), "open");
            check(tsri_rans_get(&dec, bank, classes, 0, got, N), "get");
            check(tsri_rans_dec_end(&dec), "end");
            dec_s[fast][pass] = now() - t1;
            check(memcmp(got, sym, sizeof sym) ? TSR_E_INTERNAL : TSR_OK, "symbols");
        }
    }
    printf(" lanes %d: %.5f bits a symbol\n", lanes, 8.0 * (double)size / N);
    print("encode", enc_s);
    print("decode", dec_s[0]);
    print("decode vector", dec_s[1]);
    tsri_rans_enc_close(&enc);
}

/* A discretised Gaussian of `n` symbols around the middle. */
static void gauss(double sigma, int n, int bits, uint16_t *freq)
{
    uint64_t count[256];
    for (int i = 0; i < n; i++) {
        const double z = (i - n / 2) / sigma;
        count[i] = (uint64_t)(1e9 * exp(-z * z / 2));
    }
    check(tsri_freq_normalise(count, n, bits, freq), "frequencies");
}

static uint16_t draw(const uint16_t *freq, int bits)
{
    int slot = (int)(uniform() * (1 << bits)), s = 0;
    while ((slot -= freq[s]) >= 0)
        s++;
    return (uint16_t)s;
}

static void one_table(tsr_context *ctx, const char *name, double sigma, int n)
{
    uint16_t freq[256];
    const uint16_t size = (uint16_t)n;
    tsri_bank *bank;

    gauss(sigma, n, 12, freq);
    check(tsri_bank_open(&bank, ctx, 12, freq, &size, 1), "bank");
    for (int i = 0; i < N; i++)
        sym[i] = draw(freq, 12);
    printf("%s\n", name);
    time_bank(ctx, bank, NULL, 1);
    time_bank(ctx, bank, NULL, 8);
    time_bank(ctx, bank, NULL, 32);
    tsri_bank_close(&bank, ctx);
}

static void many_tables(tsr_context *ctx)
{
    static uint16_t freq[CLASSES][50], flat[CLASSES * 50], sizes[CLASSES];
    tsri_bank *bank;
    size_t at = 0;

    for (int c = 0; c < CLASSES; c++) {
        const double sigma = 0.1 * exp(c * log(80) / (CLASSES - 1));
        sizes[c] = (uint16_t)(4 + 2 * (int)fmin(22, 3 * sigma));
        gauss(sigma, sizes[c], 14, freq[c]);
        memcpy(flat + at, freq[c], sizes[c] * sizeof *flat);
        at += sizes[c];
    }
    check(tsri_bank_open(&bank, ctx, 14, flat, sizes, CLASSES), "bank");
    for (int i = 0; i < N; i++) {
        cls[i] = (uint16_t)(uniform() * CLASSES);
        sym[i] = draw(freq[cls[i]], 14);
    }
    printf("a class per symbol: 64 tables of up to 48 symbols, p = 14\n");
    time_bank(ctx, bank, cls, 8);
    time_bank(ctx, bank, cls, 32);
    tsri_bank_close(&bank, ctx);
}

static void large(tsr_context *ctx)
{
    enum { A = 65536 };
    static uint32_t freq[A];
    tsri_bigtable *table;
    tsri_rans_enc *enc;
    const uint8_t *data = NULL;
    size_t size = 0;
    double enc_s[PASSES], dec_s[PASSES];

    for (int i = 0; i < A; i++)
        freq[i] = (uint32_t)(1e6 / pow(1 + i * 7919 % A, 0.9));
    for (int i = 0; i < N; i++)
        token[i] = (uint32_t)(pow(uniform(), 10) * A);
    check(tsri_bigtable_open(&table, ctx, freq, A), "table");
    check(tsri_rans_enc_open(&enc, ctx), "encoder");
    for (int pass = 0; pass < PASSES; pass++) {
        tsri_rans_dec dec;
        const double t0 = now();
        check(tsri_bigtable_put32(table, enc, token, N), "put");
        check(tsri_rans_finish(enc, 0, 32, &data, &size), "finish");
        const double t1 = now();
        check(tsri_rans_dec_open(&dec, ctx, data, size, 0), "open");
        check(tsri_bigtable_get32(table, &dec, got_token, N), "get");
        check(tsri_rans_dec_end(&dec), "end");
        dec_s[pass] = now() - t1;
        enc_s[pass] = t1 - t0;
    }
    printf("65536 tokens, buckets and tails\n");
    print("encode", enc_s);
    print("decode vector", dec_s);
    tsri_rans_enc_close(&enc);
    tsri_bigtable_close(&table, ctx);
}

int main(void)
{
    tsr_context *ctx;

    check(tsr_context_open(&ctx, NULL), "context");
    one_table(ctx, "16 symbols, p = 12", 1.1, 16);
    one_table(ctx, "256 symbols, p = 12", 8, 256);
    many_tables(ctx);
    large(ctx);
    tsr_context_close(&ctx);
    return 0;
}
