/* SPDX-License-Identifier: BSD-2-Clause */
#include <immintrin.h>
#include "entropy/symbols.h"

size_t tsri_nibbles_join_avx2(const uint8_t *sym, size_t n, uint8_t *pairs)
{
    const __m256i weights = _mm256_set1_epi16(0x1001); /* 1, 16 */
    size_t i = 0;

    for (; n - i >= 64; i += 64) {
        const __m256i a = _mm256_maddubs_epi16(
            _mm256_loadu_si256((const __m256i *)(sym + i)), weights);
        const __m256i b = _mm256_maddubs_epi16(
            _mm256_loadu_si256((const __m256i *)(sym + i + 32)), weights);
        _mm256_storeu_si256((__m256i *)(pairs + i / 2), _mm256_permute4x64_epi64(
            _mm256_packus_epi16(a, b), 0xd8));
    }
    return i;
}

size_t tsri_nibbles_split_avx2(const uint8_t *pairs, size_t n, uint8_t *sym)
{
    const __m256i low4 = _mm256_set1_epi8(15);
    size_t i = 0;

    for (; n - i >= 64; i += 64) {
        const __m256i p = _mm256_permute4x64_epi64(
            _mm256_loadu_si256((const __m256i *)(pairs + i / 2)), 0xd8);
        const __m256i low = _mm256_and_si256(p, low4);
        const __m256i high = _mm256_and_si256(_mm256_srli_epi16(p, 4), low4);
        _mm256_storeu_si256((__m256i *)(sym + i),
                            _mm256_unpacklo_epi8(low, high));
        _mm256_storeu_si256((__m256i *)(sym + i + 32),
                            _mm256_unpackhi_epi8(low, high));
    }
    return i;
}

size_t tsri_limits8_avx2(const uint8_t *sym, size_t n, uint8_t *least,
                         uint8_t *most)
{
    __m256i low[2], high[2];
    uint8_t part[2][32];
    size_t i = 0;

    low[0] = low[1] = _mm256_set1_epi8(-1);
    high[0] = high[1] = _mm256_setzero_si256();
    for (; n - i >= 64; i += 64)
#pragma GCC unroll 2
        for (int k = 0; k < 2; k++) {
            const __m256i s = _mm256_loadu_si256(
                (const __m256i *)(sym + i + 32 * k));
            low[k] = _mm256_min_epu8(low[k], s);
            high[k] = _mm256_max_epu8(high[k], s);
        }
    _mm256_storeu_si256((__m256i *)part[0], _mm256_min_epu8(low[0], low[1]));
    _mm256_storeu_si256((__m256i *)part[1], _mm256_max_epu8(high[0], high[1]));
    *least = 255;
    *most = 0;
    for (int k = 0; k < 32; k++) {
        *least = part[0][k] < *least ? part[0][k] : *least;
        *most = part[1][k] > *most ? part[1][k] : *most;
    }
    return i;
}
