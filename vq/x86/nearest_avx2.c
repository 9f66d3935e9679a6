/* SPDX-License-Identifier: BSD-2-Clause */
/* Two registers of eight codewords by four vectors: eight sums, so that the
 * additions of one channel hide the latency of those before.  Multiply and add
 * stay apart (no FMA) to round as plain C does.  The loops over vectors must be
 * unrolled for the sums to stay in registers. */
#include <immintrin.h>
#include <math.h>
#include "vq/nearest.h"

enum {
    LANES = TSRI_NEAREST_LANES, BLOCK = TSRI_NEAREST_BLOCK,
    ROWS = TSRI_SCORES_BLOCK
};

/* Best score and its codeword in each of 16 lanes, for one vector. */
typedef struct lanes {
    float score[LANES];
    int32_t code[LANES];
} lanes;

static inline __m256 mul_add(__m256 sum, __m256 a, __m256 b)
{
    return _mm256_add_ps(sum, _mm256_mul_ps(a, b));
}

/* Takes eight sums into the lanes where the score is strictly lower; the
 * panels come in ascending order, so each lane keeps its lowest index. */
static inline void keep(float *score, int32_t *code, __m256 norm, __m256 dot,
                        __m256i index)
{
    const __m256 old = _mm256_loadu_ps(score);
    const __m256 now = _mm256_sub_ps(norm, _mm256_add_ps(dot, dot));
    const __m256 less = _mm256_cmp_ps(now, old, _CMP_LT_OQ);
    const __m256i was = _mm256_loadu_si256((const __m256i *)(const void *)code);

    _mm256_storeu_ps(score, _mm256_blendv_ps(old, now, less));
    _mm256_storeu_si256((__m256i *)(void *)code,
                        _mm256_blendv_epi8(was, index,
                                           _mm256_castps_si256(less)));
}

/* s[r] = products of vector r with the codewords of a panel; channels of x are
 * `step` apart. */
static inline __attribute__((always_inline)) void
four_products(const tsri_nearest_book *book, int p, const float *x, int step,
              __m256 s[ROWS][2])
{
    const float *c = book->code + (int64_t)p * book->d * LANES;

#pragma GCC unroll 4
    for (int r = 0; r < ROWS; r++)
        s[r][0] = s[r][1] = _mm256_setzero_ps();
    for (int j = 0; j < book->d; j++, c += LANES, x += step) {
        const __m256 c0 = _mm256_loadu_ps(c), c1 = _mm256_loadu_ps(c + 8);
#pragma GCC unroll 4
        for (int r = 0; r < ROWS; r++) {
            const __m256 v = _mm256_broadcast_ss(x + r);
            s[r][0] = mul_add(s[r][0], c0, v);
            s[r][1] = mul_add(s[r][1], c1, v);
        }
    }
}

static void four_vectors(const tsri_nearest_book *book, int p, const float *x,
                         lanes *best)
{
    const __m256 n0 = _mm256_loadu_ps(book->norm + (int64_t)p * LANES);
    const __m256 n1 = _mm256_loadu_ps(book->norm + (int64_t)p * LANES + 8);
    const __m256i i0 = _mm256_add_epi32(_mm256_set1_epi32(p * LANES),
                                        _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6,
                                                          7));
    const __m256i i1 = _mm256_add_epi32(i0, _mm256_set1_epi32(8));
    __m256 s[ROWS][2];

    four_products(book, p, x, BLOCK, s);
#pragma GCC unroll 4
    for (int r = 0; r < ROWS; r++) {
        keep(best[r].score, best[r].code, n0, s[r][0], i0);
        keep(best[r].score + 8, best[r].code + 8, n1, s[r][1], i1);
    }
}

static int32_t lowest(const lanes *best)
{
    int at = 0;
    for (int l = 1; l < LANES; l++)
        if (best->score[l] < best->score[at] ||
            (best->score[l] == best->score[at] &&
             best->code[l] < best->code[at]))
            at = l;
    return best->code[at];
}

static void nearest(const tsri_nearest_book *book, const float *x,
                    int32_t *code)
{
    lanes best[BLOCK];

    for (int v = 0; v < BLOCK; v++)
        for (int l = 0; l < LANES; l++) {
            best[v].score[l] = INFINITY;
            best[v].code[l] = 0;
        }
    for (int p = 0; p < book->panels; p++)
        for (int v = 0; v < BLOCK; v += ROWS)
            four_vectors(book, p, x + v, best + v);
    for (int v = 0; v < BLOCK; v++)
        code[v] = lowest(&best[v]);
}

tsri_nearest_fn tsri_nearest_avx2(void)
{
    return nearest;
}

/* Of four vectors with a panel; n: scores of a vector. */
static void four_scores(const tsri_nearest_book *book, int p, const float *x,
                        int64_t n, float *score)
{
    const float *norm = book->norm + (int64_t)p * LANES;
    const __m256 n0 = _mm256_loadu_ps(norm), n1 = _mm256_loadu_ps(norm + 8);
    __m256 s[ROWS][2];

    four_products(book, p, x, ROWS, s);
#pragma GCC unroll 4
    for (int r = 0; r < ROWS; r++, score += n) {
        _mm256_storeu_ps(score, _mm256_sub_ps(n0, _mm256_add_ps(s[r][0],
                                                                s[r][0])));
        _mm256_storeu_ps(score + 8,
                         _mm256_sub_ps(n1, _mm256_add_ps(s[r][1], s[r][1])));
    }
}

/* All vectors with a panel while it is near. */
static void scores(const tsri_nearest_book *book, const float *x, int blocks,
                   float *score)
{
    const int64_t n = (int64_t)book->panels * LANES;

    for (int p = 0; p < book->panels; p++)
        for (int64_t b = 0; b < blocks; b++)
            four_scores(book, p, x + b * book->d * ROWS, n,
                        score + b * ROWS * n + (int64_t)p * LANES);
}

tsri_scores_fn tsri_scores_avx2(void)
{
    return scores;
}
