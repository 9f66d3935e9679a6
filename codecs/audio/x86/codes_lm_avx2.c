/* SPDX-License-Identifier: BSD-2-Clause */
/* Weights are read once for each frame, so the rows of a layer are bound by
 * memory: four rows at a time, added up across only at their ends. */
#include <immintrin.h>
#include <string.h>
#include "codecs/audio/codes_lm.h"

static inline __m256i load(const void *p)
{
    return _mm256_loadu_si256(p);
}

static inline __m256i add_product(__m256i sum, const int16_t *w, __m256i x)
{
    return _mm256_add_epi32(sum, _mm256_madd_epi16(load(w), x));
}

/* The sums of the eight numbers of each of four. */
static inline __m128i across(__m256i a, __m256i b, __m256i c, __m256i d)
{
    const __m256i ab = _mm256_hadd_epi32(a, b), cd = _mm256_hadd_epi32(c, d);
    const __m256i all = _mm256_hadd_epi32(ab, cd);

    return _mm_add_epi32(_mm256_castsi256_si128(all),
                         _mm256_extracti128_si256(all, 1));
}

static void rows_avx2(const int16_t *w, const int32_t *bias, int n, int stride,
                      const int16_t *x, int32_t *y)
{
    const size_t step = (size_t)stride;

    for (int i = 0; i < n; i += 4) {
        const int rows = n - i < 4 ? n - i : 4;
        /* Missing rows are the last one again. */
        const int16_t *r[4];
        __m256i a = _mm256_setzero_si256(), b = a, c = a, d = a;
        int32_t sum[4];
        for (int k = 0; k < 4; k++)
            r[k] = w + (size_t)(i + (k < rows ? k : rows - 1)) * step;
        for (int j = 0; j < stride; j += 16) {
            const __m256i v = load(x + j);
            a = add_product(a, r[0] + j, v);
            b = add_product(b, r[1] + j, v);
            c = add_product(c, r[2] + j, v);
            d = add_product(d, r[3] + j, v);
        }
        _mm_storeu_si128((void *)sum, across(a, b, c, d));
        for (int k = 0; k < rows; k++)
            y[i + k] = sum[k] + (bias ? bias[i + k] : 0);
    }
}

static void blend_avx2(const int16_t *p, const int16_t *v, int n, int stride,
                       int32_t *y)
{
    for (int j = 0; j < stride; j += 16) {
        __m256i low = _mm256_setzero_si256(), high = low;
        for (int i = 0; i < n; i += 2) {
            const int16_t *row = v + (size_t)i * (size_t)stride + j;
            const __m256i a = load(row), b = load(row + stride);
            int32_t both;
            memcpy(&both, p + i, sizeof both);
            const __m256i share = _mm256_set1_epi32(both);
            low = _mm256_add_epi32(low, _mm256_madd_epi16(
                _mm256_unpacklo_epi16(a, b), share));
            high = _mm256_add_epi32(high, _mm256_madd_epi16(
                _mm256_unpackhi_epi16(a, b), share));
        }
        _mm256_storeu_si256((void *)(y + j),
                            _mm256_permute2x128_si256(low, high, 0x20));
        _mm256_storeu_si256((void *)(y + j + 8),
                            _mm256_permute2x128_si256(low, high, 0x31));
    }
}

const tsri_lm_kernels *tsri_lm_kernels_avx2(void)
{
    static const tsri_lm_kernels kernels = { rows_avx2, blend_avx2 };

    return &kernels;
}
