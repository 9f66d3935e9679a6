/* SPDX-License-Identifier: BSD-2-Clause */
/* Curves and the LSTM, eight values at a time.  Tails go through the same
 * arithmetic in masked registers, so a value's place makes no difference. */
#include <immintrin.h>
#include <string.h>
#include "lib/x86/seq_avx2.h"

enum { U = TSRI_LSTM_UNITS, GATES = 4, L = 8 };

#define UNROLL _Pragma("GCC unroll 8")
#define INLINE static inline __attribute__((always_inline))

static __m256 all(float x)
{
    return _mm256_set1_ps(x);
}

static __m256 load(const float *p)
{
    return _mm256_loadu_ps(p);
}

/* The first `count` <= 8 floats; the rest is 0. */
INLINE __m256 load_some(const float *p, size_t count)
{
    static const int32_t bits[2 * L] = { -1, -1, -1, -1, -1, -1, -1, -1 };

    if (count >= L)
        return load(p);
    return _mm256_maskload_ps(p, _mm256_loadu_si256((const void *)(bits + L - count)));
}

INLINE void store_some(float *p, __m256 v, size_t count)
{
    float buffer[L];

    if (count >= L) {
        _mm256_storeu_ps(p, v);
        return;
    }
    _mm256_storeu_ps(buffer, v);
    memcpy(p, buffer, count * sizeof *p);
}

/* exp(x) - 1: with x = n ln 2 + r it is 2^n (exp(r) - 1) + (2^n - 1), where
 * nothing cancels.  |r| <= 0.35: the series to r^7 errs by less than 1e-8.
 * Flat outside -87..88.  A NaN comes through: max and min give the second
 * operand then. */
INLINE __m256 exp_less_1(__m256 x)
{
    const __m256 in = _mm256_min_ps(all(88), _mm256_max_ps(all(-87), x));
    const __m256 n = _mm256_round_ps(_mm256_mul_ps(in, all(0x1.715476p+0f)),
                                     _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const __m256 high = _mm256_fnmadd_ps(n, all(0x1.62e4p-1f), in);
    const __m256 r = _mm256_fnmadd_ps(n, all(0x1.7f7d1cp-20f), high);
    const __m256 two_n = _mm256_castsi256_ps(_mm256_slli_epi32(
        _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23));
    __m256 p = all(1 / 5040.f);

    p = _mm256_fmadd_ps(p, r, all(1 / 720.f));
    p = _mm256_fmadd_ps(p, r, all(1 / 120.f));
    p = _mm256_fmadd_ps(p, r, all(1 / 24.f));
    p = _mm256_fmadd_ps(p, r, all(1 / 6.f));
    p = _mm256_fmadd_ps(p, r, all(1 / 2.f));
    p = _mm256_fmadd_ps(_mm256_mul_ps(p, r), r, r);
    return _mm256_fmadd_ps(two_n, p, _mm256_sub_ps(two_n, all(1)));
}

static __m256 negated(__m256 x)
{
    return _mm256_xor_ps(x, all(-0.f));
}

INLINE __m256 sigmoid(__m256 x)
{
    return _mm256_div_ps(all(1), _mm256_add_ps(all(2), exp_less_1(negated(x))));
}

/* With e = exp(-2|x|) - 1: -e / (2 + e), and the sign of x. */
INLINE __m256 tanh_of(__m256 x)
{
    const __m256 sign = _mm256_and_ps(x, all(-0.f));
    const __m256 size = _mm256_andnot_ps(all(-0.f), x);
    const __m256 e = exp_less_1(_mm256_mul_ps(size, all(-2)));
    return _mm256_xor_ps(sign, _mm256_div_ps(negated(e), _mm256_add_ps(all(2), e)));
}

/* sin(p)^2 by the series to r^15; |r| <= pi / 2 is what is left of p = a x
 * after whole half turns.  A double's pi makes r wrong by up to 4e-17 p, which
 * divided by a is far below the last digit of x.  Where p is so large that r is
 * anything, the result must only stay within 1. */
INLINE __m256d sin_squared(__m256d p)
{
    const __m256d k = _mm256_round_pd(
        _mm256_mul_pd(p, _mm256_set1_pd(0x1.45f306dc9c883p-2)),
        _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const __m256d r = _mm256_fnmadd_pd(k, _mm256_set1_pd(0x1.921fb54442d18p+1), p);
    const __m256d r2 = _mm256_mul_pd(r, r);
    __m256d s = _mm256_set1_pd(-1 / 1307674368000.);

    s = _mm256_fmadd_pd(s, r2, _mm256_set1_pd(1 / 6227020800.));
    s = _mm256_fmadd_pd(s, r2, _mm256_set1_pd(-1 / 39916800.));
    s = _mm256_fmadd_pd(s, r2, _mm256_set1_pd(1 / 362880.));
    s = _mm256_fmadd_pd(s, r2, _mm256_set1_pd(-1 / 5040.));
    s = _mm256_fmadd_pd(s, r2, _mm256_set1_pd(1 / 120.));
    s = _mm256_fmadd_pd(s, r2, _mm256_set1_pd(-1 / 6.));
    s = _mm256_fmadd_pd(_mm256_mul_pd(s, r2), r, r);
    return _mm256_min_pd(_mm256_set1_pd(1), _mm256_mul_pd(s, s));
}

/* In double, as in plain C: x may cancel what is added to it. */
INLINE __m128 snake4(__m128 x4, __m128 a4)
{
    const __m256d x = _mm256_cvtps_pd(x4), a = _mm256_cvtps_pd(a4);
    const __m256d s = sin_squared(_mm256_mul_pd(a, x));
    return _mm256_cvtpd_ps(_mm256_add_pd(
        x, _mm256_div_pd(s, _mm256_add_pd(a, _mm256_set1_pd(1e-9)))));
}

INLINE __m256 snake(__m256 x, __m256 a)
{
    return _mm256_set_m128(
        snake4(_mm256_extractf128_ps(x, 1), _mm256_extractf128_ps(a, 1)),
        snake4(_mm256_castps256_ps128(x), _mm256_castps256_ps128(a)));
}

/* Where x >= 0: x, else y; of NaN: y. */
INLINE __m256 unless_negative(__m256 x, __m256 y)
{
    return _mm256_blendv_ps(y, x, _mm256_cmp_ps(x, all(0), _CMP_GE_OQ));
}

INLINE __m256 curve8(tsri_curve curve, float slope, const float *alpha, __m256 x,
                     size_t count)
{
    switch (curve) {
    case TSRI_CURVE_ELU: return unless_negative(x, exp_less_1(x));
    case TSRI_CURVE_LEAKY:
        return unless_negative(x, _mm256_mul_ps(x, all(slope)));
    case TSRI_CURVE_SNAKE: return snake(x, load_some(alpha, count));
    case TSRI_CURVE_TANH: return tanh_of(x);
    default: return x;
    }
}

INLINE void curve_row(tsri_curve curve, float slope, const float *alpha,
                      const float *x, size_t n, float *y)
{
    for (size_t i = 0; i < n; i += L) {
        const size_t count = n - i;
        store_some(y + i, curve8(curve, slope, alpha ? alpha + i : NULL,
                                 load_some(x + i, count), count), count);
    }
}

static void curve_avx2(tsri_curve curve, float slope, const float *alpha,
                       const float *x, size_t n, int c, float *y)
{
    const size_t row = (size_t)c, size = n * row;

    switch (curve) {
    case TSRI_CURVE_NONE:
        if (y != x)
            memcpy(y, x, size * sizeof *y);
        break;
    case TSRI_CURVE_ELU: curve_row(TSRI_CURVE_ELU, 0, NULL, x, size, y); break;
    case TSRI_CURVE_LEAKY:
        curve_row(TSRI_CURVE_LEAKY, slope, NULL, x, size, y);
        break;
    case TSRI_CURVE_SNAKE:
        for (size_t t = 0; t < size; t += row)
            curve_row(TSRI_CURVE_SNAKE, 0, alpha, x + t, row, y + t);
        break;
    case TSRI_CURVE_TANH: curve_row(TSRI_CURVE_TANH, 0, NULL, x, size, y); break;
    }
}

/* What the gates of `units` <= U units say to c and h. */
INLINE void cell(const __m256 *gate, size_t units, float *c, float *h)
{
    const __m256 kept = _mm256_mul_ps(sigmoid(gate[1]), load_some(c, units));
    const __m256 next = _mm256_fmadd_ps(sigmoid(gate[0]), tanh_of(gate[2]), kept);

    store_some(c, next, units);
    store_some(h, _mm256_mul_ps(sigmoid(gate[3]), tanh_of(next)), units);
}

INLINE __m256 weights(const tsri_lstm *l, size_t at, const bool half)
{
    return half ? _mm256_cvtph_ps(_mm_loadu_si128((const void *)(l->half + at))) :
           load(l->packed + at);
}

/* `blocks` times U units from `unit` on: eight sums hide the latency of the
 * additions, the weights come in two streams. */
INLINE void step(const tsri_lstm *l, size_t unit, const float *gates,
                 const float *h, float *c, float *y, const int blocks,
                 const bool half)
{
    const size_t hidden = (size_t)l->hidden, next = hidden * GATES * U;
    size_t w = unit * hidden * GATES;
    __m256 sum[2][GATES];

    UNROLL
    for (int b = 0; b < blocks; b++)
        UNROLL
        for (size_t g = 0; g < GATES; g++) {
            const size_t at = unit + (size_t)b * U;
            sum[b][g] = load_some(gates + g * hidden + at, hidden - at);
        }
    for (size_t k = 0; k < hidden; k++, w += GATES * U) {
        const __m256 v = _mm256_broadcast_ss(h + k);
        UNROLL
        for (size_t b = 0; b < (size_t)blocks; b++)
            UNROLL
            for (size_t g = 0; g < GATES; g++)
                sum[b][g] = _mm256_fmadd_ps(weights(l, w + b * next + g * U, half),
                                            v, sum[b][g]);
    }
    UNROLL
    for (int b = 0; b < blocks; b++) {
        const size_t at = unit + (size_t)b * U;
        cell(sum[b], hidden - at, c + at, y + at);
    }
}

INLINE void steps(const tsri_lstm *l, const float *gates, int n, float *state,
                  float *y, size_t yrow, const bool half)
{
    const size_t hidden = (size_t)l->hidden;
    float *h = state, *c = state + hidden;

    for (int t = 0; t < n; t++, gates += GATES * hidden, y += yrow) {
        size_t unit = 0;
        for (; unit + U < hidden; unit += 2 * U)
            step(l, unit, gates, h, c, y, 2, half);
        if (unit < hidden)
            step(l, unit, gates, h, c, y, 1, half);
        memcpy(h, y, hidden * sizeof *h);
    }
}

static void lstm_avx2(const tsri_lstm *l, const float *gates, int n, float *state,
                      float *y, size_t yrow)
{
    if (l->half)
        steps(l, gates, n, state, y, yrow, true);
    else
        steps(l, gates, n, state, y, yrow, false);
}

const tsri_seq_kernels *tsri_seq_kernels_avx2(void)
{
    static const tsri_seq_kernels avx2 = {
        .name = "avx2", .conv1d = tsri_conv1d_avx2, .lstm = lstm_avx2,
        .curve = curve_avx2
    };
    return &avx2;
}
