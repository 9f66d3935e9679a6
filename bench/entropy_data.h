/* SPDX-License-Identifier: BSD-2-Clause */
/* What both programs of bench/entropy share: the data, which is made anew from
 * the same numbers in each, and the clock. */
#ifndef TSR_BENCH_ENTROPY_DATA_H
#define TSR_BENCH_ENTROPY_DATA_H
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ENTROPY_N = 1 << 22, ENTROPY_PASSES = 11, ENTROPY_BLOCKS_MAX = 1 << 11 };

/** Symbols of a file, and the bytes that no coder of its model goes below. */
typedef struct entropy_data {
    const char *name;
    int width;              /**< bytes of a symbol */
    size_t n;
    const void *sym;
    double bound;
} entropy_data;

/** Bytes of n symbols with these counts, each at its probability. */
static inline double entropy_bound(const size_t *count, size_t symbols)
{
    double n = 0, bits = 0;

    for (size_t i = 0; i < symbols; i++)
        n += (double)count[i];
    for (size_t i = 0; i < symbols; i++)
        if (count[i])
            bits -= (double)count[i] * log2((double)count[i] / n);
    return bits / 8;
}

/** ENTROPY_N rounded Gaussians: "a16", of 16 symbols at 2.2 bits, and "b256",
 *  of 256 at 5.0 bits.  Free data.sym. */
static inline entropy_data entropy_gauss(const char *name)
{
    const int symbols = strcmp(name, "a16") ? 256 : 16;
    const double sigma = symbols == 16 ? 1.1110 : 7.7416;
    uint64_t random = 0x9e3779b97f4a7c15u;
    double below[257] = { 0 };
    size_t count[256] = { 0 };
    uint8_t *out = malloc(ENTROPY_N);

    for (int i = 0; i < symbols; i++) {
        const double z = (i - symbols / 2) / sigma;
        below[i + 1] = below[i] + exp(-z * z / 2);
    }
    for (size_t i = 0; out && i < ENTROPY_N; i++) {
        int low = 0, high = symbols;
        random = random * 6364136223846793005u + 1442695040888963407u;
        const double at = (double)(random >> 11) * 0x1p-53 * below[high];
        while (high - low > 1) {
            const int middle = (low + high) / 2;
            if (at < below[middle])
                high = middle;
            else
                low = middle;
        }
        count[out[i] = (uint8_t)low]++;
    }
    return (entropy_data){ name, 1, ENTROPY_N, out, entropy_bound(count, 256) };
}

static inline double entropy_now(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/** Codes n symbols to at most `room` bytes; returns the bytes, 0 on failure. */
typedef size_t (*entropy_encode)(void *coder, const void *sym, size_t n,
                                 uint8_t *out, size_t room);
/** Decodes them; returns 0 on failure. */
typedef int (*entropy_decode)(void *coder, const uint8_t *in, size_t size,
                              void *sym, size_t n);

typedef struct entropy_coder {
    const char *name;
    void *cookie;
    entropy_encode encode;
    entropy_decode decode;
    size_t block;           /**< symbols of a call, 0: all */
    double extra;           /**< bytes that are sent once for the file */
} entropy_coder;

static inline int entropy_compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/** From the seconds of each block in each pass: the sum of each block's best,
 *  and the median pass. */
static inline void entropy_seconds(double (*seconds)[ENTROPY_PASSES],
                                   size_t blocks, double *best, double *median)
{
    double pass[ENTROPY_PASSES] = { 0 };

    *best = 0;
    for (size_t b = 0; b < blocks; b++) {
        double least = seconds[b][0];
        for (int i = 0; i < ENTROPY_PASSES; i++) {
            pass[i] += seconds[b][i];
            least = fmin(least, seconds[b][i]);
        }
        *best += least;
    }
    qsort(pass, ENTROPY_PASSES, sizeof *pass, entropy_compare);
    *median = pass[ENTROPY_PASSES / 2];
}

static inline void entropy_stop(const entropy_data *data,
                                const entropy_coder *coder, const char *why)
{
    fprintf(stderr, "%s: %s: %s\n", data->name, coder->name, why);
    exit(1);
}

/** Prints a line: data, coder, bytes, bound, and 10^6 symbols a second of
 *  encoder and decoder, each at best and in the median pass.  clock: of the
 *  thread's processor time, or wall time for coders of several threads. */
static inline void entropy_time(const entropy_data *data,
                                const entropy_coder *coder, clockid_t clock)
{
    static double enc[ENTROPY_BLOCKS_MAX][ENTROPY_PASSES];
    static double dec[ENTROPY_BLOCKS_MAX][ENTROPY_PASSES];
    const size_t width = (size_t)data->width;
    const size_t block = coder->block ? coder->block : data->n;
    const size_t room = 2 * block * width + 4096;
    uint8_t *out = malloc(room), *got = malloc(block * width);
    double bytes = coder->extra, best[2], median[2];
    size_t b = 0;

    if (!out || !got)
        entropy_stop(data, coder, "no memory");
    for (size_t at = 0; at < data->n; at += block, b++) {
        const size_t n = data->n - at < block ? data->n - at : block;
        const uint8_t *sym = (const uint8_t *)data->sym + at * width;
        size_t size = 0;
        for (int pass = -1; pass < ENTROPY_PASSES; pass++) {
            const double t0 = entropy_now(clock);
            size = coder->encode(coder->cookie, sym, n, out, room);
            enc[b][pass < 0 ? 0 : pass] = entropy_now(clock) - t0;
        }
        for (int pass = -1; pass < ENTROPY_PASSES; pass++) {
            memset(got, 0xa5, n * width);
            const double t0 = entropy_now(clock);
            const int sound = size &&
                coder->decode(coder->cookie, out, size, got, n);
            dec[b][pass < 0 ? 0 : pass] = entropy_now(clock) - t0;
            if (!sound || memcmp(got, sym, n * width))
                entropy_stop(data, coder, "wrong symbols");
        }
        bytes += (double)size;
    }
    entropy_seconds(enc, b, &best[0], &median[0]);
    entropy_seconds(dec, b, &best[1], &median[1]);
    printf("%s;%s;%.0f;%.0f", data->name, coder->name, bytes, data->bound);
    for (int i = 0; i < 2; i++)
        printf(";%.0f;%.0f", (double)data->n / best[i] * 1e-6,
               (double)data->n / median[i] * 1e-6);
    printf("\n");
    fflush(stdout);
    free(out);
    free(got);
}

#endif
