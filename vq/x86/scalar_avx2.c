/* SPDX-License-Identifier: BSD-2-Clause */
/* 32 values at a time, one byte each; what is left over goes through plain C,
 * which does the same operations. */
#include <immintrin.h>
#include "vq/scalar.h"

enum {
    STEP = 32,
    LINEAR = 96     /* levels up to which counting is faster than gathers */
};

/* Parameters of eight channels, or one eight times. */
static inline __m256 params(const float *p, bool one, size_t i)
{
    return one ? _mm256_broadcast_ss(p) : _mm256_loadu_ps(p + i);
}

/* Four times eight numbers of 0..255 as bytes, in order. */
static inline void store_bytes(uint8_t *to, const __m256i v[4])
{
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    const __m256i low = _mm256_packs_epi32(v[0], v[1]);
    const __m256i high = _mm256_packs_epi32(v[2], v[3]);
    _mm256_storeu_si256((__m256i *)(void *)to,
                        _mm256_permutevar8x32_epi32(
                            _mm256_packus_epi16(low, high), order));
}

static inline __m256i load_bytes(const uint8_t *from)
{
    return _mm256_cvtepu8_epi32(
        _mm_loadl_epi64((const __m128i *)(const void *)from));
}

static inline __m256i uniform_eight(const tsri_uniform *u, __m256 inverse,
                                    __m256 offset, __m256 x)
{
    const __m256 sign = _mm256_set1_ps(-0.0f);
    const __m256 v = _mm256_sub_ps(x, offset);
    const __m256 a =
        _mm256_add_ps(_mm256_mul_ps(_mm256_andnot_ps(sign, v), inverse),
                      _mm256_set1_ps(u->round));
    /* A NaN goes through min as its second operand, and is cleared after. */
    const __m256 most = _mm256_min_ps(_mm256_set1_ps(65536), a);
    const __m256i q = _mm256_and_si256(
        _mm256_cvttps_epi32(most),
        _mm256_castps_si256(_mm256_cmp_ps(a, a, _CMP_ORD_Q)));
    const __m256i s = _mm256_sign_epi32(q, _mm256_castps_si256(v));
    return _mm256_sub_epi32(
        _mm256_min_epi32(_mm256_max_epi32(s, _mm256_set1_epi32(u->low)),
                         _mm256_set1_epi32(u->high)),
        _mm256_set1_epi32(u->low));
}

static void uniform_encode(const tsri_uniform *u, const float *inverse,
                           const float *offset, bool one, const float *x,
                           size_t n, uint8_t *symbols)
{
    size_t i = 0;
    for (; i + STEP <= n; i += STEP) {
        __m256i s[4];
#pragma GCC unroll 4
        for (size_t h = 0; h < 4; h++)
            s[h] = uniform_eight(u, params(inverse, one, i + 8 * h),
                                 params(offset, one, i + 8 * h),
                                 _mm256_loadu_ps(x + i + 8 * h));
        store_bytes(symbols + i, s);
    }
    tsri_scalar_plain.uniform_encode(u, inverse + (one ? 0 : i),
                                     offset + (one ? 0 : i), one, x + i, n - i,
                                     symbols + i);
}

static void uniform_decode(const tsri_uniform *u, const float *step,
                           const float *offset, bool one,
                           const uint8_t *symbols, size_t n, float *x)
{
    const __m256 sign = _mm256_set1_ps(-0.0f);
    const __m256i low = _mm256_set1_epi32(u->low);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        const __m256i q = _mm256_add_epi32(load_bytes(symbols + i), low);
        const __m256 a = _mm256_mul_ps(
            _mm256_sub_ps(_mm256_cvtepi32_ps(_mm256_abs_epi32(q)),
                          _mm256_set1_ps(u->shift)), params(step, one, i));
        const __m256 zero = _mm256_castsi256_ps(
            _mm256_cmpeq_epi32(q, _mm256_setzero_si256()));
        const __m256 y = _mm256_andnot_ps(
            zero, _mm256_xor_ps(a, _mm256_and_ps(_mm256_castsi256_ps(q),
                                                 sign)));
        _mm256_storeu_ps(x + i, _mm256_add_ps(y, params(offset, one, i)));
    }
    tsri_scalar_plain.uniform_decode(u, step + (one ? 0 : i),
                                     offset + (one ? 0 : i), one, symbols + i,
                                     n - i, x + i);
}

/* Counts the limits below v: for few levels faster than a search. */
static inline void count_limits(const tsri_levels *levels, const __m256 v[4],
                                __m256i at[4])
{
#pragma GCC unroll 4
    for (int h = 0; h < 4; h++)
        at[h] = _mm256_setzero_si256();
    for (int l = 0; l < levels->count - 1; l++) {
        const __m256 limit = _mm256_broadcast_ss(levels->above + l);
#pragma GCC unroll 4
        for (int h = 0; h < 4; h++)
            at[h] = _mm256_sub_epi32(
                at[h], _mm256_castps_si256(
                           _mm256_cmp_ps(v[h], limit, _CMP_GT_OQ)));
    }
}

static inline void search_limits(const tsri_levels *levels, const __m256 v[4],
                                 __m256i at[4])
{
#pragma GCC unroll 4
    for (int h = 0; h < 4; h++)
        at[h] = _mm256_setzero_si256();
    for (int half = 128; half; half /= 2) {
        const __m256i more = _mm256_set1_epi32(half);
#pragma GCC unroll 4
        for (int h = 0; h < 4; h++) {
            const __m256 limit = _mm256_i32gather_ps(levels->above + half - 1,
                                                     at[h], 4);
            const __m256 over = _mm256_cmp_ps(v[h], limit, _CMP_GT_OQ);
            at[h] = _mm256_add_epi32(
                at[h], _mm256_and_si256(more, _mm256_castps_si256(over)));
        }
    }
}

static void levels_encode(const tsri_levels *levels, const float *inverse,
                          const float *offset, bool one, const float *x,
                          size_t n, uint8_t *symbols)
{
    size_t i = 0;
    for (; i + STEP <= n; i += STEP) {
        __m256 v[4];
        __m256i at[4];
#pragma GCC unroll 4
        for (size_t h = 0; h < 4; h++)
            v[h] = _mm256_mul_ps(
                _mm256_sub_ps(_mm256_loadu_ps(x + i + 8 * h),
                              params(offset, one, i + 8 * h)),
                params(inverse, one, i + 8 * h));
        if (levels->count <= LINEAR)
            count_limits(levels, v, at);
        else
            search_limits(levels, v, at);
        store_bytes(symbols + i, at);
    }
    tsri_scalar_plain.levels_encode(levels, inverse + (one ? 0 : i),
                                    offset + (one ? 0 : i), one, x + i, n - i,
                                    symbols + i);
}

static void levels_decode(const tsri_levels *levels, const float *step,
                          const float *offset, bool one,
                          const uint8_t *symbols, size_t n, float *x)
{
    const __m256 low = _mm256_loadu_ps(levels->level);
    const __m256 high = _mm256_loadu_ps(levels->level + 8);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        const __m256i s = load_bytes(symbols + i);
        __m256 level;
        /* Behind the last level the table repeats it. */
        if (levels->count <= 16) {
            const __m256i at = _mm256_min_epi32(s, _mm256_set1_epi32(15));
            level = _mm256_blendv_ps(
                _mm256_permutevar8x32_ps(low, at),
                _mm256_permutevar8x32_ps(high, at),
                _mm256_castsi256_ps(_mm256_slli_epi32(at, 28)));
        } else {
            level = _mm256_i32gather_ps(levels->level, s, 4);
        }
        _mm256_storeu_ps(x + i, _mm256_add_ps(
            _mm256_mul_ps(level, params(step, one, i)),
            params(offset, one, i)));
    }
    tsri_scalar_plain.levels_decode(levels, step + (one ? 0 : i),
                                    offset + (one ? 0 : i), one, symbols + i,
                                    n - i, x + i);
}

const tsri_scalar_kernels *tsri_scalar_avx2(void)
{
    static const tsri_scalar_kernels kernels = {
        uniform_encode, uniform_decode, levels_encode, levels_decode
    };
    return &kernels;
}
