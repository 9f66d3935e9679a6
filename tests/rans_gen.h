/* SPDX-License-Identifier: BSD-2-Clause */
/* Tables and symbols for the tests of the entropy coder. */
#ifndef TSR_TESTS_RANS_GEN_H
#define TSR_TESTS_RANS_GEN_H
#include "tests/check.h"
#include "entropy/bank_impl.h"

/* n frequencies of 1 or more with the sum 2^bits: uniform (kind 0), geometric
 * (1), one heavy symbol among many of frequency 1 (2). */
static inline void fill_table(check_rng *r, uint16_t *freq, int n, int bits, int kind)
{
    uint32_t left = (1u << bits) - (uint32_t)n;
    for (int i = 0; i < n; i++) {
        const uint32_t part = kind == 0 ? left / (uint32_t)(n - i)
                            : kind == 1 ? check_below(r, left / 2 + 1)
                            : i == n / 2 ? left : 0;
        freq[i] = (uint16_t)(1 + (i == n - 1 ? left : part));
        left -= i == n - 1 ? left : part;
    }
}

/* A symbol by the table's probabilities, so that segments are realistic. */
static inline uint16_t draw_symbol(check_rng *r, const tsri_bank *b, int table)
{
    const uint32_t slot = check_below(r, 1u << b->bits);
    int s = 0;
    while ((b->range[b->first[table] + (uint32_t)s] & 0xffff) +
           (b->range[b->first[table] + (uint32_t)s] >> 16 & 0xffff) <= slot)
        s++;
    return (uint16_t)s;
}

#endif
