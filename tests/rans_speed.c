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

/* Bytes of one table, or of table i for the i-th run of `run` bytes: blocks as
 * a codec has them, decoded singly and by two; the sum of each block's best of
 * many passes. */
enum { BLOCKS = 8, BLOCK = N / BLOCKS, BYTE_PASSES = 40 };

typedef struct byte_blocks {
    const tsri_bank *bank;
    int tables;
    size_t run;
    const uint8_t *data[BLOCKS];
    size_t size[BLOCKS];
} byte_blocks;

static uint8_t bytes[N], got_bytes[N];

static void keep_best(double *best, double seconds)
{
    if (*best == 0 || seconds < *best)
        *best = seconds;
}

static double encode_block(byte_blocks *b, tsri_rans_enc *enc, int block)
{
    const double t = now();

    for (size_t i = 0, r = 0; i < BLOCK; i += b->run, r++)
        check(tsri_rans_put8(enc, b->bank, (int)r % b->tables,
                             bytes + (size_t)block * BLOCK + i,
                             fmin((double)b->run, (double)(BLOCK - i))), "put8");
    check(tsri_rans_finish(enc, 0, 32, &b->data[block], &b->size[block]),
          "finish");
    return now() - t;
}

static double decode_block(const byte_blocks *b, const tsr_context *ctx,
                           int block)
{
    const double t = now();
    tsri_rans_dec dec;

    check(tsri_rans_dec_open(&dec, ctx, b->data[block], b->size[block], 0),
          "open");
    for (size_t i = 0, r = 0; i < BLOCK; i += b->run, r++)
        check(tsri_rans_get8(&dec, b->bank, (int)r % b->tables,
                             got_bytes + (size_t)block * BLOCK + i,
                             fmin((double)b->run, (double)(BLOCK - i))), "get8");
    check(tsri_rans_dec_end(&dec), "end");
    return now() - t;
}

static double decode_pair(const byte_blocks *b, const tsr_context *ctx,
                          int block)
{
    const double t = now();
    tsri_rans_dec dec[2], *both[2] = { &dec[0], &dec[1] };

    for (int k = 0; k < 2; k++)
        check(tsri_rans_dec_open(&dec[k], ctx, b->data[block + k],
                                 b->size[block + k], 0), "open");
    for (size_t i = 0, r = 0; i < BLOCK; i += b->run, r++) {
        tsri_rans_run8 runs[2];
        for (int k = 0; k < 2; k++)
            runs[k] = (tsri_rans_run8){ (int)r % b->tables,
                got_bytes + (size_t)(block + k) * BLOCK + i,
                fmin((double)b->run, (double)(BLOCK - i)) };
        check(tsri_rans_get8_pair(both, b->bank, runs), "pair");
    }
    for (int k = 0; k < 2; k++)
        check(tsri_rans_dec_end(&dec[k]), "end");
    return now() - t;
}

static void compare_bytes(void)
{
    check(memcmp(bytes, got_bytes, N) ? TSR_E_INTERNAL : TSR_OK, "bytes");
    memset(got_bytes, 0, N);
}

static void time_bytes(tsr_context *ctx, const tsri_bank *bank, int tables,
                       size_t run)
{
    byte_blocks b = { .bank = bank, .tables = tables, .run = run };
    tsri_rans_enc *enc[BLOCKS];
    double best[3][BLOCKS] = { { 0 } }, sum[3] = { 0 };

    for (int i = 0; i < BLOCKS; i++)
        check(tsri_rans_enc_open(&enc[i], ctx), "encoder");
    for (int pass = 0; pass < BYTE_PASSES; pass++) {
        for (int i = 0; i < BLOCKS; i++)
            keep_best(&best[0][i], encode_block(&b, enc[i], i));
        for (int i = 0; i < BLOCKS; i++)
            keep_best(&best[1][i], decode_block(&b, ctx, i));
        compare_bytes();
        for (int i = 0; i < BLOCKS; i += 2)
            keep_best(&best[2][i], decode_pair(&b, ctx, i));
        compare_bytes();
    }
    for (int i = 0; i < 3 * BLOCKS; i++)
        sum[i / BLOCKS] += best[i / BLOCKS][i % BLOCKS];
    printf("  bytes: encode %5.0f, decode %5.0f, two at once %5.0f\n",
           N / sum[0] * 1e-6, N / sum[1] * 1e-6, N / sum[2] * 1e-6);
    for (int i = 0; i < BLOCKS; i++)
        tsri_rans_enc_close(&enc[i]);
}

static void one_table(tsr_context *ctx, double sigma, int n, bool wide)
{
    uint16_t freq[256];
    const uint16_t size = (uint16_t)n;
    tsri_bank *bank;

    gauss(sigma, n, 12, freq);
    check(tsri_bank_open(&bank, ctx, 12, freq, &size, 1), "bank");
    for (int i = 0; i < N; i++) {
        sym[i] = draw(freq, 12);
        bytes[i] = (uint8_t)sym[i];
    }
    printf("%d symbols, p = 12\n", n);
    for (int lanes = 1; wide && lanes <= 32; lanes = lanes == 1 ? 8 : 4 * lanes)
        time_bank(ctx, bank, NULL, lanes);
    if (!wide) {
        time_bytes(ctx, bank, 1, BLOCK);
        time_bytes(ctx, bank, 1, 1000);
    }
    tsri_bank_close(&bank, ctx);
}

/* 64 tables in turn, for `run` symbols each. */
static void turns(tsr_context *ctx, int n, int bits, size_t run)
{
    static uint16_t freq[CLASSES][256], sizes[CLASSES];
    static uint16_t flat[CLASSES * 256];
    tsri_bank *bank;

    for (int c = 0; c < CLASSES; c++) {
        sizes[c] = (uint16_t)n;
        gauss(n / 16.0 * (1 + c / 64.0), n, bits, freq[c]);
        memcpy(flat + (size_t)c * (size_t)n, freq[c], (size_t)n * sizeof *flat);
    }
    check(tsri_bank_open(&bank, ctx, bits, flat, sizes, CLASSES), "bank");
    for (int i = 0; i < N; i++)
        bytes[i] = (uint8_t)draw(freq[i % BLOCK / run % CLASSES], bits);
    printf("64 tables of %d symbols, p = %d, in turn for %zu symbols\n", n,
           bits, run);
    time_bytes(ctx, bank, CLASSES, run);
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

/* Without an argument all, else what it names. */
static bool asked(int argc, char **argv, const char *what)
{
    return argc < 2 || !strcmp(argv[1], what);
}

int main(int argc, char **argv)
{
    tsr_context *ctx;

    check(tsr_context_open(&ctx, NULL), "context");
    if (asked(argc, argv, "bytes")) {
        one_table(ctx, 1.1, 16, false);
        one_table(ctx, 8, 256, false);
    }
    if (asked(argc, argv, "turns"))
        for (int bits = 10; bits <= 12; bits += 2)
            for (size_t run = 256; run <= 4096; run *= 16) {
                turns(ctx, 16, bits, run);
                turns(ctx, 32, bits, run);
                turns(ctx, 48, bits, run);
                turns(ctx, 256, bits, run);
            }
    if (asked(argc, argv, "wide")) {
        one_table(ctx, 1.1, 16, true);
        one_table(ctx, 8, 256, true);
        many_tables(ctx);
        large(ctx);
    }
    tsr_context_close(&ctx);
    return 0;
}
