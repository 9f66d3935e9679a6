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

enum { ENTROPY_BLOCK = 1 << 18, ENTROPY_BLOCKS = 16, ENTROPY_PASSES = 11 };
enum { ENTROPY_N = ENTROPY_BLOCK * ENTROPY_BLOCKS };

/** Gaussians, rounded: of 16 symbols at 2.2 bits, of 256 at 5.0 bits. */
typedef struct entropy_set {
    const char *name;
    double sigma;
    int symbols;
} entropy_set;
static const entropy_set entropy_sets[] = {
    { "a16", 1.1110, 16 }, { "b256", 7.7416, 256 },
};
enum { ENTROPY_SETS = sizeof entropy_sets / sizeof *entropy_sets };

/** Fills ENTROPY_N symbols; returns their order-0 Shannon bound in bytes. */
static inline double entropy_make(const entropy_set *set, uint8_t *out)
{
    uint64_t random = 0x9e3779b97f4a7c15u;
    double below[257] = { 0 }, bits = 0;
    size_t count[256] = { 0 };

    for (int i = 0; i < set->symbols; i++) {
        const double z = (i - set->symbols / 2) / set->sigma;
        below[i + 1] = below[i] + exp(-z * z / 2);
    }
    for (size_t i = 0; i < ENTROPY_N; i++) {
        int low = 0, high = set->symbols;
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
    for (int i = 0; i < 256; i++)
        if (count[i])
            bits -= (double)count[i] * log2((double)count[i] / ENTROPY_N);
    return bits / 8;
}

static inline double entropy_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/** Codes a block of symbols; returns the bytes, 0 on failure. */
typedef size_t (*entropy_encode)(void *coder, const uint8_t *sym, uint8_t *out);
/** Decodes it to `sym`; returns 0 on failure. */
typedef int (*entropy_decode)(void *coder, const uint8_t *in, size_t size,
                              uint8_t *sym);

/** Prints a line: set, coder, bytes, bound, and millions of symbols a second of
 *  encoder and decoder, each block at the best of its passes. */
static inline void entropy_time(const entropy_set *set, const char *name,
                                void *coder, entropy_encode encode,
                                entropy_decode decode)
{
    static uint8_t sym[ENTROPY_N], got[ENTROPY_BLOCK], out[2 * ENTROPY_BLOCK];
    const double bound = entropy_make(set, sym);
    double bytes = 0, enc = 0, dec = 0;

    for (int b = 0; b < ENTROPY_BLOCKS; b++) {
        const uint8_t *from = sym + (size_t)b * ENTROPY_BLOCK;
        double best_enc = 1e9, best_dec = 1e9;
        size_t size = 0;
        for (int pass = 0; pass < ENTROPY_PASSES; pass++) {
            const double t0 = entropy_now();
            size = encode(coder, from, out);
            const double t1 = entropy_now();
            if (!size || !decode(coder, out, size, got) ||
                memcmp(got, from, sizeof got)) {
                fprintf(stderr, "%s: %s: wrong symbols\n", set->name, name);
                exit(1);
            }
            best_enc = fmin(best_enc, t1 - t0);
        }
        for (int pass = 0; pass < ENTROPY_PASSES; pass++) {
            const double t0 = entropy_now();
            decode(coder, out, size, got);
            best_dec = fmin(best_dec, entropy_now() - t0);
        }
        bytes += (double)size;
        enc += best_enc;
        dec += best_dec;
    }
    printf("%s;%s;%.0f;%.0f;%.0f;%.0f\n", set->name, name, bytes, bound,
           ENTROPY_N / enc * 1e-6, ENTROPY_N / dec * 1e-6);
}

#endif
