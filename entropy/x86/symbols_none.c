/* SPDX-License-Identifier: BSD-2-Clause */
#include "entropy/symbols.h"

size_t tsri_nibbles_join_avx2(const uint8_t *sym, size_t n, uint8_t *pairs)
{
    (void)sym;
    (void)n;
    (void)pairs;
    return 0;
}

size_t tsri_nibbles_split_avx2(const uint8_t *pairs, size_t n, uint8_t *sym)
{
    (void)pairs;
    (void)n;
    (void)sym;
    return 0;
}

size_t tsri_limits8_avx2(const uint8_t *sym, size_t n, uint8_t *least,
                         uint8_t *most)
{
    (void)sym;
    (void)n;
    (void)least;
    (void)most;
    return 0;
}
