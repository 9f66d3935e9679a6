/* SPDX-License-Identifier: BSD-2-Clause */
/* kv32: what a quantised key cache is like.  1024 channels of 16,384 tokens,
 * 32 symbols: each channel a rounded and clipped Gaussian, with standard
 * deviations between 0.78 and 3.1 (even in the logarithm) and means between 4
 * and 27 that are no whole numbers.  4.73 bits a symbol with one table for all,
 * 2.71 with one for each channel.  Needs <math.h>. */
#ifndef TSR_BENCH_KV_DATA_H
#define TSR_BENCH_KV_DATA_H
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { KV_CHANNELS = 1024, KV_TOKENS = 16384, KV_SYMBOLS = 32 };

typedef struct kv_bounds {
    double one;     /**< bytes with one order-0 model */
    double each;    /**< with one for each channel */
} kv_bounds;

static inline uint64_t kv_next(uint64_t *random)
{
    *random = *random * 6364136223846793005u + 1442695040888963407u;
    return *random;
}

/* Even in [0, 1): multiples of an irrational number, without the whole part. */
static inline double kv_even(int i, double by)
{
    return i * by - floor(i * by);
}

/** Shannon's bound of the counts, in bytes. */
static inline double kv_entropy(const size_t *count)
{
    double bits = 0, sum = 0;

    for (int s = 0; s < KV_SYMBOLS; s++)
        sum += (double)count[s];
    for (int s = 0; s < KV_SYMBOLS; s++)
        if (count[s])
            bits -= (double)count[s] * log2((double)count[s] / sum);
    return bits / 8;
}

/** below[s]: probability of a symbol <= s, in 2^-32. */
static inline void kv_distribution(double sigma, double mean, uint64_t *below)
{
    for (int s = 0; s < KV_SYMBOLS; s++)
        below[s] = s == KV_SYMBOLS - 1 ? (uint64_t)1 << 32 : (uint64_t)floor(
            0x1p32 * 0.5 * erfc((mean - s - 0.5) / sigma * sqrt(0.5)));
}

/** Fills out[token][channel], KV_TOKENS * KV_CHANNELS symbols. */
static inline kv_bounds kv_make(uint8_t *out)
{
    size_t all[KV_SYMBOLS] = { 0 };
    uint64_t random = 0x9e3779b97f4a7c15u;
    kv_bounds b = { 0, 0 };

    for (int c = 0; c < KV_CHANNELS; c++) {
        const double sigma = 1.5555 * pow(2, 2 * kv_even(c, 0.7548776662) - 1);
        const double mean = 3.985 + 23.03 * kv_even(c, 0.5698402910);
        size_t count[KV_SYMBOLS] = { 0 };
        uint64_t below[KV_SYMBOLS];
        kv_distribution(sigma, mean, below);
        for (size_t t = 0; t < KV_TOKENS; t++) {
            const uint64_t at = kv_next(&random) >> 32;
            int s = 0;
            for (int half = KV_SYMBOLS / 2; half; half /= 2)
                s += at >= below[s + half - 1] ? half : 0;
            out[t * KV_CHANNELS + (size_t)c] = (uint8_t)s;
            count[s]++;
        }
        b.each += kv_entropy(count);
        for (int s = 0; s < KV_SYMBOLS; s++)
            all[s] += count[s];
    }
    b.one = kv_entropy(all);
    return b;
}

#endif
