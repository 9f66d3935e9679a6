/* SPDX-License-Identifier: BSD-2-Clause */
/* vq64k: indices as a vector quantiser of 65536 codewords makes them, drawn
 * independently from a Zipf law.  The same numbers from the same seed. */
#ifndef TSR_BENCH_VQ_DATA_H
#define TSR_BENCH_VQ_DATA_H
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

enum { VQ_ALPHABET = 65536, VQ_N = 1 << 22 };

static inline uint64_t vq_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 11;
}

/** Through a random permutation: a codebook as training leaves it. */
static inline void vq_make_permuted(uint16_t *out)
{
    static double below[VQ_ALPHABET + 1];
    static uint16_t place[VQ_ALPHABET];
    uint64_t state = 0x9e3779b97f4a7c15u;

    for (int i = 0; i < VQ_ALPHABET; i++) {
        below[i + 1] = below[i] + pow(i + 1, -0.9);
        place[i] = (uint16_t)i;
    }
    for (int i = VQ_ALPHABET; i-- > 1;) {
        const int k = (int)(vq_random(&state) % ((uint64_t)i + 1));
        const uint16_t swap = place[i];
        place[i] = place[k];
        place[k] = swap;
    }
    for (size_t i = 0; i < VQ_N; i++) {
        const double at = (double)vq_random(&state) * 0x1p-53 *
                          below[VQ_ALPHABET];
        int low = 0, high = VQ_ALPHABET;
        while (high - low > 1) {
            const int middle = (low + high) / 2;
            if (at < below[middle])
                high = middle;
            else
                low = middle;
        }
        out[i] = place[low];
    }
}

static inline void vq_count(const uint16_t *token, size_t n, uint32_t *count)
{
    for (int i = 0; i < VQ_ALPHABET; i++)
        count[i] = 0;
    for (size_t i = 0; i < n; i++)
        count[token[i]]++;
}

static inline int vq_more_frequent(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/** The same with the codebook sorted by how often its words are used: index 0
 *  is the most frequent. */
static inline void vq_make_sorted(uint16_t *out)
{
    static uint64_t order[VQ_ALPHABET];
    static uint32_t count[VQ_ALPHABET];
    static uint16_t rank[VQ_ALPHABET];

    vq_make_permuted(out);
    vq_count(out, VQ_N, count);
    for (uint64_t i = 0; i < VQ_ALPHABET; i++)
        order[i] = (uint64_t)(UINT32_MAX - count[i]) << 32 | i;
    qsort(order, VQ_ALPHABET, sizeof *order, vq_more_frequent);
    for (int i = 0; i < VQ_ALPHABET; i++)
        rank[order[i] & 0xffff] = (uint16_t)i;
    for (size_t i = 0; i < VQ_N; i++)
        out[i] = rank[out[i]];
}

/** Order-0 Shannon bound of n indices, in bytes. */
static inline double vq_bound(const uint16_t *token, size_t n)
{
    static uint32_t count[VQ_ALPHABET];
    double bits = 0;

    vq_count(token, n, count);
    for (int i = 0; i < VQ_ALPHABET; i++)
        if (count[i])
            bits -= count[i] * log2((double)count[i] / (double)n);
    return bits / 8;
}

#endif
