/* SPDX-License-Identifier: BSD-2-Clause */
/* Squares of bytes, 16 rows of 32 at a time. */
#include <immintrin.h>
#include "entropy/plan_impl.h"

enum { HALF = TSRI_PLAN_SQUARE / 2 };

/* Row i, column c of each 128-bit half goes to row c, column i: mixing rows i
 * and i + 8 moves each bit of (i, c) up by one, so four times swaps i and c. */
static inline __attribute__((always_inline)) void turn(__m256i r[16])
{
#pragma GCC unroll 4
    for (int step = 0; step < 4; step++) {
        __m256i t[16];
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) {
            t[2 * i] = _mm256_unpacklo_epi8(r[i], r[i + 8]);
            t[2 * i + 1] = _mm256_unpackhi_epi8(r[i], r[i + 8]);
        }
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++)
            r[i] = t[i];
    }
}

/* 32 channels of 16 tokens. */
static void square_to_rows(const uint8_t *matrix, ptrdiff_t step,
                           const int32_t *place, int first,
                           const uint8_t *offset, uint8_t *rows, size_t tokens)
{
    const __m256i by = _mm256_loadu_si256((const __m256i *)offset);
    __m256i r[16];

#pragma GCC unroll 16
    for (int t = 0; t < 16; t++)
        r[t] = _mm256_sub_epi8(
            _mm256_loadu_si256((const __m256i *)(matrix + t * step)), by);
    turn(r);
#pragma GCC unroll 16
    for (int c = 0; c < 16; c++) {
        uint8_t *low = rows + (size_t)(place[c] - first) * tokens;
        uint8_t *high = rows + (size_t)(place[c + 16] - first) * tokens;
        _mm_storeu_si128((__m128i *)low, _mm256_castsi256_si128(r[c]));
        _mm_storeu_si128((__m128i *)high, _mm256_extracti128_si256(r[c], 1));
    }
}

/* 16 channels of 32 tokens. */
static void square_from_rows(const uint8_t *rows, size_t tokens,
                             const int32_t *place, int first,
                             const uint8_t *offset, uint8_t *matrix,
                             ptrdiff_t step)
{
    const __m128i by = _mm_loadu_si128((const __m128i *)offset);
    __m256i r[16];

#pragma GCC unroll 16
    for (int c = 0; c < 16; c++)
        r[c] = _mm256_loadu_si256((const __m256i *)(
            rows + (size_t)(place[c] - first) * tokens));
    turn(r);
#pragma GCC unroll 16
    for (int t = 0; t < 16; t++) {
        const __m128i low = _mm256_castsi256_si128(r[t]);
        const __m128i high = _mm256_extracti128_si256(r[t], 1);
        _mm_storeu_si128((__m128i *)(matrix + t * step),
                         _mm_add_epi8(low, by));
        _mm_storeu_si128((__m128i *)(matrix + (t + 16) * step),
                         _mm_add_epi8(high, by));
    }
}

/* The last square of an odd number overlaps the one before: where it begins. */
static inline size_t begin(size_t i, size_t n, size_t side)
{
    return i + side <= n ? i : n - side;
}

void tsri_plan_to_rows_avx2(const uint8_t *matrix, ptrdiff_t step,
                            const int32_t *place, int first,
                            const uint8_t *offset, int n, uint8_t *rows,
                            size_t tokens)
{
    for (size_t i = 0; i < tokens; i += HALF) {
        const size_t t = begin(i, tokens, HALF);
        for (size_t k = 0; k < (size_t)n; k += 2 * HALF) {
            const size_t c = begin(k, (size_t)n, 2 * HALF);
            square_to_rows(matrix + (ptrdiff_t)t * step + c, step, place + c,
                           first, offset + c, rows + t, tokens);
        }
    }
}

void tsri_plan_from_rows_avx2(const uint8_t *rows, size_t tokens,
                              const int32_t *place, int first,
                              const uint8_t *offset, int n, uint8_t *matrix,
                              ptrdiff_t step)
{
    for (size_t i = 0; i < tokens; i += 2 * HALF) {
        const size_t t = begin(i, tokens, 2 * HALF);
        for (size_t k = 0; k < (size_t)n; k += HALF) {
            const size_t c = begin(k, (size_t)n, HALF);
            square_from_rows(rows + t, tokens, place + c, first, offset + c,
                             matrix + (ptrdiff_t)t * step + c, step);
        }
    }
}

void tsri_plan_shift_avx2(const uint8_t *from, uint8_t by, uint8_t *to,
                          size_t n)
{
    const __m256i all = _mm256_set1_epi8((char)by);
    size_t i = 0;

    for (; i + 32 <= n; i += 32)
        _mm256_storeu_si256(
            (__m256i *)(to + i),
            _mm256_add_epi8(_mm256_loadu_si256((const __m256i *)(from + i)), all));
    for (; i < n; i++)
        to[i] = (uint8_t)(from[i] + by);
}
