/* SPDX-License-Identifier: BSD-2-Clause */
/* vpmaddwd multiplies a broadcast pair of channels by eight codewords' pairs.
 * Six vectors by sixteen codewords are twelve sums: with two registers of
 * codewords, one of the broadcast and one of the product, all sixteen. */
#include <immintrin.h>
#include <limits.h>
#include <string.h>
#include "vq/coarse.h"

enum { LANES = TSRI_NEAREST_LANES, ROWS = TSRI_COARSE_ROWS };

/* One row of one pair of channels: %[a] and %[b] are its sums. */
#define ROW(offset, a, b)                                   \
    "vpbroadcastd " offset "(%[x]), %[v]\n\t"               \
    "vpmaddwd %[v], %[c0], %[t]\n\t"                        \
    "vpmaddwd %[v], %[c1], %[v]\n\t"                        \
    "vpaddd %[t], %[" a "], %[" a "]\n\t"                   \
    "vpaddd %[v], %[" b "], %[" b "]\n\t"

/* Adds one pair of channels.  In assembly, because a compiler that mixes the
 * rows needs more registers than there are. */
static inline void step(const int16_t *c, const int16_t *x,
                        __m256i s[ROWS][2])
{
    __m256i c0, c1, v, t;
    __asm__("vmovdqu (%[c]), %[c0]\n\t"
            "vmovdqu 32(%[c]), %[c1]\n\t"
            ROW("0", "a0", "b0") ROW("4", "a1", "b1") ROW("8", "a2", "b2")
            ROW("12", "a3", "b3") ROW("16", "a4", "b4") ROW("20", "a5", "b5")
            : [a0] "+x"(s[0][0]), [b0] "+x"(s[0][1]), [a1] "+x"(s[1][0]),
              [b1] "+x"(s[1][1]), [a2] "+x"(s[2][0]), [b2] "+x"(s[2][1]),
              [a3] "+x"(s[3][0]), [b3] "+x"(s[3][1]), [a4] "+x"(s[4][0]),
              [b4] "+x"(s[4][1]), [a5] "+x"(s[5][0]), [b5] "+x"(s[5][1]),
              [c0] "=&x"(c0), [c1] "=&x"(c1), [v] "=&x"(v), [t] "=&x"(t)
            : [c] "r"(c), [x] "r"(x)
            : "memory");
}

static inline int32_t largest(__m256i v)
{
    __m128i m = _mm_max_epi32(_mm256_castsi256_si128(v),
                              _mm256_extracti128_si256(v, 1));
    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4e));
    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0xb1));
    return _mm_cvtsi128_si32(m);
}

/* One panel; the norms of padding are infinite, which converts to INT32_MIN. */
static inline void panel(const int16_t *c, const float *norm, const int16_t *x,
                         int pairs, __m256 minus, __m256i *best)
{
    const __m256i n0 =
        _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(norm), minus));
    const __m256i n1 =
        _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(norm + 8), minus));
    __m256i s[ROWS][2];

#pragma GCC unroll 6
    for (int r = 0; r < ROWS; r++) {
        s[r][0] = n0;
        s[r][1] = n1;
    }
    for (int j = 0; j < pairs; j++, c += 2 * LANES, x += 2 * ROWS)
        step(c, x, s);
#pragma GCC unroll 6
    for (int r = 0; r < ROWS; r++)
        best[r] = _mm256_max_epi32(best[r],
                                   _mm256_max_epi32(s[r][0], s[r][1]));
}

static void tile(const tsri_coarse_book *book, int number, const int16_t *x,
                 float factor, tsri_coarse_list *list)
{
    const __m256 minus = _mm256_set1_ps(-factor);
    const int first = number * book->tile;
    const int last = first + book->tile < book->panels ? first + book->tile
                                                       : book->panels;
    const int16_t *c = book->code + (int64_t)first * book->pairs * 2 * LANES;
    __m256i best[ROWS];

    for (int r = 0; r < ROWS; r++)
        best[r] = _mm256_set1_epi32(INT_MIN);
    for (int p = first; p < last; p++, c += book->pairs * 2 * LANES)
        panel(c, book->norm + (int64_t)p * LANES, x, book->pairs, minus, best);
    for (int r = 0; r < ROWS; r++) {
        const __m256i limit = _mm256_set1_epi32(list[r].limit);
        if (_mm256_movemask_epi8(_mm256_cmpgt_epi32(best[r], limit)))
            tsri_coarse_add(list + r, number, largest(best[r]));
    }
}

static float total(__m256 v)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v),
                          _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

static void norms(const float *x, const float *mean, int d, float out[3])
{
    const __m256 sign = _mm256_set1_ps(-0.0f);
    __m256 own = _mm256_setzero_ps(), reach = own, sum = own;
    int j = 0;
    for (; j + 8 <= d; j += 8) {
        const __m256 v = _mm256_loadu_ps(x + j);
        const __m256 y = _mm256_sub_ps(v, _mm256_loadu_ps(mean + j));
        own = _mm256_add_ps(own, _mm256_mul_ps(y, y));
        reach = _mm256_add_ps(reach, _mm256_mul_ps(v, v));
        sum = _mm256_add_ps(sum, _mm256_andnot_ps(sign, y));
    }
    out[0] = total(own);
    out[1] = total(reach);
    out[2] = total(sum);
    for (; j < d; j++) {
        const float y = x[j] - mean[j];
        out[0] += y * y;
        out[1] += x[j] * x[j];
        out[2] += y < 0 ? -y : y;
    }
}

static void quantise(const float *x, const float *mean, int d, float inverse,
                     int16_t *out)
{
    int j = 0;
    for (; j + 8 <= d; j += 8, out += 4 * 2 * ROWS) {
        const __m256 y = _mm256_sub_ps(_mm256_loadu_ps(x + j),
                                       _mm256_loadu_ps(mean + j));
        const __m256i q =
            _mm256_cvtps_epi32(_mm256_mul_ps(y, _mm256_set1_ps(inverse)));
        const __m128i both = _mm_packs_epi32(_mm256_castsi256_si128(q),
                                             _mm256_extracti128_si256(q, 1));
        int32_t part[4];
        _mm_storeu_si128((__m128i *)(void *)part, both);
        for (int p = 0; p < 4; p++)
            memcpy(out + p * 2 * ROWS, &part[p], sizeof part[p]);
    }
    for (; j < d; j++)
        out[j % 8 / 2 * 2 * ROWS + j % 2] = (int16_t)_mm_cvtss_si32(
            _mm_set_ss((x[j] - mean[j]) * inverse));
}

/* N panels of one vector; the scores of each are in rising order of index. */
static inline void score_panels(const tsri_nearest_book *book, int first,
                                const float *x, int n, __m256 *best,
                                __m256i *at)
{
    const int64_t size = (int64_t)book->d * LANES;
    const float *c = book->code + first * size;
    __m256 s[4][2];

#pragma GCC unroll 4
    for (int p = 0; p < n; p++)
        s[p][0] = s[p][1] = _mm256_setzero_ps();
    for (int j = 0; j < book->d; j++, c += LANES) {
        const __m256 v = _mm256_broadcast_ss(x + j);
#pragma GCC unroll 4
        for (int p = 0; p < n; p++) {
            s[p][0] = _mm256_add_ps(
                s[p][0], _mm256_mul_ps(_mm256_loadu_ps(c + p * size), v));
            s[p][1] = _mm256_add_ps(
                s[p][1], _mm256_mul_ps(_mm256_loadu_ps(c + p * size + 8), v));
        }
    }
#pragma GCC unroll 4
    for (int p = 0; p < n; p++)
        for (int h = 0; h < 2; h++) {
            const __m256 norm = _mm256_loadu_ps(
                book->norm + (int64_t)(first + p) * LANES + 8 * h);
            const __m256 now =
                _mm256_sub_ps(norm, _mm256_add_ps(s[p][h], s[p][h]));
            const __m256 less = _mm256_cmp_ps(now, best[h], _CMP_LT_OQ);
            best[h] = _mm256_blendv_ps(best[h], now, less);
            at[h] = _mm256_blendv_epi8(at[h], _mm256_set1_epi32(first + p),
                                       _mm256_castps_si256(less));
        }
}

static inline float lowest(__m256 v)
{
    __m128 m = _mm_min_ps(_mm256_castps256_ps128(v),
                          _mm256_extractf128_ps(v, 1));
    m = _mm_min_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_min_ss(m, _mm_movehdup_ps(m)));
}

/* The codeword of each lane that has the score `low`; the rest as far away as
 * can be. */
static inline __m256i words_with(__m256 low, __m256 score, __m256i panel,
                                 int half)
{
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const __m256i word =
        _mm256_add_epi32(_mm256_slli_epi32(panel, 4),
                         _mm256_add_epi32(lane, _mm256_set1_epi32(half * 8)));
    return _mm256_blendv_epi8(
        _mm256_set1_epi32(INT_MAX), word,
        _mm256_castps_si256(_mm256_cmp_ps(score, low, _CMP_EQ_OQ)));
}

static void panels(const tsri_nearest_book *book, int first, int last,
                   const float *x, float *score, int32_t *code)
{
    __m256 best[2];
    __m256i at[2];

    best[0] = best[1] = _mm256_set1_ps(*score);
    at[0] = at[1] = _mm256_setzero_si256();
    for (; first + 4 <= last; first += 4)
        score_panels(book, first, x, 4, best, at);
    for (; first < last; first++)
        score_panels(book, first, x, 1, best, at);
    const float low = lowest(_mm256_min_ps(best[0], best[1]));
    if (!(low < *score))
        return;
    /* Lanes that were not improved hold the old, higher score. */
    const __m256 all = _mm256_set1_ps(low);
    const __m256i word = _mm256_min_epi32(words_with(all, best[0], at[0], 0),
                                          words_with(all, best[1], at[1], 1));
    *score = low;
    *code = -largest(_mm256_sub_epi32(_mm256_setzero_si256(), word));
}

const tsri_coarse_kernels *tsri_coarse_avx2(void)
{
    static const tsri_coarse_kernels kernels = { norms, quantise, tile,
                                                 panels };
    return &kernels;
}
