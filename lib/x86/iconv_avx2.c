/* SPDX-License-Identifier: BSD-2-Clause */
/* Two input channels are one 32-bit lane: vpmaddwd multiplies a broadcast pair
 * by eight outputs' pairs and adds the two products.  Four positions by sixteen
 * outputs are eight accumulators; the weights of a block stay in cache. */
#include <immintrin.h>
#include <string.h>
#include "lib/nn/iconv.h"

enum { B = TSRI_ICONV_BLOCK, TILE = 4 };

static inline __m256i pair(const int16_t *a)
{
    int32_t both;
    memcpy(&both, a, sizeof both);
    return _mm256_set1_epi32(both);
}

static inline __m256i load(const void *p)
{
    return _mm256_loadu_si256(p);
}

/* Adds one tap of `pairs` channel pairs to the sums. */
static inline const int16_t *tap(__m256i sum[TILE][2], const int16_t *const *at,
                                 size_t offset, int pairs, const int16_t *w)
{
    for (int i = 0; i < pairs; i++, w += 2 * B, offset += 2) {
        const __m256i lo = load(w), hi = load(w + B);
        for (int t = 0; t < TILE; t++) {
            const __m256i a = pair(at[t] + offset);
            sum[t][0] = _mm256_add_epi32(sum[t][0], _mm256_madd_epi16(a, lo));
            sum[t][1] = _mm256_add_epi32(sum[t][1], _mm256_madd_epi16(a, hi));
        }
    }
    return w;
}

static void tile(const tsri_iconv *l, const int16_t *w, const int32_t *bias,
                 const int16_t *const *at, size_t stride, size_t row,
                 int32_t *const *out)
{
    const __m128i shift = _mm_cvtsi32_si128(l->shift);
    __m256i sum[TILE][2];

    for (int t = 0; t < TILE; t++) {
        sum[t][0] = load(bias);
        sum[t][1] = load(bias + 8);
    }
    for (int y = 0; y < l->taps; y++)
        for (int x = 0; x < l->taps; x++)
            w = tap(sum, at, (size_t)y * row + (size_t)x * stride, l->in / 2, w);
    for (int t = 0; t < TILE; t++) {
        _mm256_storeu_si256((void *)out[t], _mm256_sra_epi32(sum[t][0], shift));
        _mm256_storeu_si256((void *)(out[t] + 8), _mm256_sra_epi32(sum[t][1], shift));
    }
}

static void iconv_avx2(const tsri_iconv *l, const int16_t *const *at, int n,
                       size_t stride, size_t row, int32_t *out)
{
    const size_t block = (size_t)(l->taps * l->taps) * (size_t)l->in * B;
    const size_t padded = (size_t)l->padded;

    for (size_t b = 0; b < padded / B; b++)
        for (int i = 0; i < n; i += TILE) {
            const int16_t *from[TILE];
            int32_t *to[TILE];
            for (int t = 0; t < TILE; t++) { /* beyond n: the last one again */
                const int k = i + t < n ? i + t : n - 1;
                from[t] = at[k];
                to[t] = out + (size_t)k * padded + b * B;
            }
            tile(l, l->weight + b * block, l->bias + b * B, from, stride, row, to);
        }
}

tsri_iconv_fn *tsri_iconv_avx2(void)
{
    return iconv_avx2;
}
