/* SPDX-License-Identifier: BSD-2-Clause */
/* The moves of codecs/kv/move.h with AVX2 and F16C: rows of any length, what is
 * left behind the last eight goes through plain C. */
#include "codecs/kv/x86/floats_avx2.h"
#include "codecs/kv/x86/tile_avx2.h"

TSRI_INLINE bool from_rows(tsr_kv_dtype dtype, const uint8_t *in, size_t n,
                           float *x)
{
    __m256i most = _mm256_setzero_si256();
    size_t i = 0;

    for (; i + 8 <= n; i += 8, in += tsri_bytes8(dtype)) {
        const __m256 v = tsri_load8(dtype, in);
        most = _mm256_max_epi32(most, tsri_abs_bits(v));
        _mm256_storeu_ps(x + i, v);
    }
    const bool rest = tsri_kv_from_plain(dtype, in, n - i, x + i);
    return rest && tsri_most8(most) < 0x7f800000;
}

static bool from(tsr_kv_dtype dtype, const void *in, size_t n, float *x)
{
    switch (dtype) {
    case TSR_KV_F16:
        return from_rows(TSR_KV_F16, in, n, x);
    case TSR_KV_BF16:
        return from_rows(TSR_KV_BF16, in, n, x);
    case TSR_KV_E4M3:
        return from_rows(TSR_KV_E4M3, in, n, x);
    case TSR_KV_E5M2:
        return from_rows(TSR_KV_E5M2, in, n, x);
    case TSR_KV_F32:
        break;
    }
    return from_rows(TSR_KV_F32, in, n, x);
}

TSRI_INLINE void to_rows(tsr_kv_dtype dtype, const float *x, size_t n,
                         uint8_t *out)
{
    size_t i = 0;

    for (; i + 8 <= n; i += 8, out += tsri_bytes8(dtype))
        tsri_store8(dtype, _mm256_loadu_ps(x + i), true, out);
    tsri_kv_to_plain(dtype, x + i, n - i, out);
}

static void to(tsr_kv_dtype dtype, const float *x, size_t n, void *out)
{
    switch (dtype) {
    case TSR_KV_F16:
        to_rows(TSR_KV_F16, x, n, out);
        break;
    case TSR_KV_BF16:
        to_rows(TSR_KV_BF16, x, n, out);
        break;
    case TSR_KV_E4M3:
        to_rows(TSR_KV_E4M3, x, n, out);
        break;
    case TSR_KV_E5M2:
        to_rows(TSR_KV_E5M2, x, n, out);
        break;
    case TSR_KV_F32:
        to_rows(TSR_KV_F32, x, n, out);
        break;
    }
}

static bool quantise(const float *x, const float *m, float inverse, size_t n,
                     int16_t *q, uint32_t *sum)
{
    const __m256 by = _mm256_set1_ps(inverse);
    __m256i most = _mm256_setzero_si256();
    size_t i = 0;

    for (; i + 8 <= n; i += 8) {
        const __m256 mid = m ? _mm256_loadu_ps(m + i) : _mm256_setzero_ps();
        const __m256i v =
            tsri_quantise8(_mm256_loadu_ps(x + i), mid, by, &most);
        tsri_store_q8(v, q + i);
        if (sum)
            tsri_add_q8(v, _mm_setzero_si128(), sum + i);
    }
    const bool rest = tsri_kv_quantise_plain(x + i, m ? m + i : NULL, inverse,
                                             n - i, q + i, sum ? sum + i : NULL);
    return rest && tsri_quantised(most);
}

static void dequantise(const int16_t *q, const float *m, float step, size_t n,
                       float *x)
{
    const __m256 by = _mm256_set1_ps(step);
    size_t i = 0;

    for (; i + 8 <= n; i += 8) {
        const __m256 mid = m ? _mm256_loadu_ps(m + i) : _mm256_setzero_ps();
        _mm256_storeu_ps(x + i, tsri_dequantise8(q + i, mid, by));
    }
    tsri_kv_dequantise_plain(q + i, m ? m + i : NULL, step, n - i, x + i);
}

/* The product rounds down, for negative multiples of 3 by one too far: 0..2 are
 * left of others, 1..3 of negative ones, and 2 and 3 are nearer to the next. */
static void coarsen(int16_t *q, size_t n, int8_t *r)
{
    const __m256i third = _mm256_set1_epi16(21846);     /* 65536 / 3 */
    const __m256i one = _mm256_set1_epi16(1);
    size_t i = 0;

    for (; i + 16 <= n; i += 16) {
        const __m256i v = _mm256_loadu_si256((const __m256i *)(q + i));
        __m256i c = _mm256_mulhi_epi16(v, third);
        __m256i left = _mm256_sub_epi16(
            v, _mm256_add_epi16(c, _mm256_add_epi16(c, c)));
        const __m256i up = _mm256_cmpgt_epi16(left, one);   /* -1 */
        c = _mm256_sub_epi16(c, up);
        left = _mm256_add_epi16(left, _mm256_add_epi16(up, _mm256_add_epi16(up, up)));
        _mm256_storeu_si256((__m256i *)(q + i), c);
        _mm_storeu_si128((__m128i *)(r + i),
                         _mm_packs_epi16(_mm256_castsi256_si128(left),
                                         _mm256_extracti128_si256(left, 1)));
    }
    tsri_kv_coarsen_plain(q + i, n - i, r + i);
}

static void add_magnitudes(const int16_t *q, size_t n, int boost, uint32_t *sum)
{
    const __m128i by = _mm_cvtsi32_si128(boost);
    size_t i = 0;

    for (; i + 8 <= n; i += 8)
        tsri_add_q8(_mm256_cvtepi16_epi32(_mm_loadu_si128(
                        (const __m128i *)(q + i))), by, sum + i);
    tsri_kv_add_magnitudes_plain(q + i, n - i, boost, sum + i);
}

/* ---- centres ---- */

TSRI_INLINE void order(__m256 *a, __m256 *b)
{
    const __m256 low = _mm256_min_ps(*a, *b);
    *b = _mm256_max_ps(*a, *b);
    *a = low;
}

/* Batcher's odd-even merge sort of 16: pairs to be put in order, a digit for
 * each. */
static const uint8_t sorted16[] = {
    0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0x02, 0x13, 0x46,
    0x57, 0x8a, 0x9b, 0xce, 0xdf, 0x12, 0x56, 0x9a, 0xde, 0x04, 0x15,
    0x26, 0x37, 0x8c, 0x9d, 0xae, 0xbf, 0x24, 0x35, 0xac, 0xbd, 0x12,
    0x34, 0x56, 0x9a, 0xbc, 0xde, 0x08, 0x19, 0x2a, 0x3b, 0x4c, 0x5d,
    0x6e, 0x7f, 0x48, 0x59, 0x6a, 0x7b, 0x24, 0x35, 0x68, 0x79, 0xac,
    0xbd, 0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde
};

/* Eight channels at a time. */
static void sort16(__m256 v[16])
{
    __m256 r[16];

#pragma GCC unroll 16
    for (int i = 0; i < 16; i++)
        r[i] = v[i];
#pragma GCC unroll 64
    for (int i = 0; i < (int)sizeof sorted16; i++)
        order(&r[sorted16[i] >> 4], &r[sorted16[i] & 15]);
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++)
        v[i] = r[i];
}

/* The lower half of two sorted runs of 16 is the smaller ones of the first's
 * i-th and the second's i-th from behind; the median is the largest of it. */
static __m256 median8(const float *x, size_t pitch, size_t count)
{
    __m256 v[32], most;

    for (size_t i = 0; i < 32; i++)
        v[i] = _mm256_loadu_ps(x + i * count / 32 * pitch);
    sort16(v);
    sort16(v + 16);
    most = _mm256_min_ps(v[0], v[31]);
    for (int i = 1; i < 16; i++)
        most = _mm256_max_ps(most, _mm256_min_ps(v[i], v[31 - i]));
    return most;
}

static void centres(const float *x, size_t pitch, size_t count, size_t n,
                    float inverse, int16_t *centre)
{
    size_t i = 0;

    for (; i + 8 <= n; i += 8) {
        const __m256 v = _mm256_mul_ps(median8(x + i, pitch, count),
                                       _mm256_set1_ps(inverse));
        tsri_store_q8(_mm256_cvtps_epi32(_mm256_min_ps(
            _mm256_max_ps(v, _mm256_set1_ps(-32768)), _mm256_set1_ps(32767))),
            centre + i);
    }
    tsri_kv_centres_plain(x + i, pitch, count, n - i, inverse, centre + i);
}

/* ---- rotations ---- */

static void turn_halves(const tsr_kv_rope *what, const float *cs, __m256 sign,
                        float *x, int heads, int dim)
{
    const int pairs = what->dims / 2;

    for (int i = 0; i + 8 <= pairs; i += 8) {
        float *at = x + what->offset + i;
        __m256 c, s;
        tsri_part8(cs + 2 * i, &c, &s);
        s = _mm256_xor_ps(s, sign);
        for (int h = 0; h < heads; h++, at += dim) {
            __m256 x1 = _mm256_loadu_ps(at), x2 = _mm256_loadu_ps(at + pairs);
            tsri_turn8(&x1, &x2, c, s);
            _mm256_storeu_ps(at, x1);
            _mm256_storeu_ps(at + pairs, x2);
        }
    }
}

static void turn_neighbours(const tsr_kv_rope *what, const float *cs,
                            __m256 sign, float *x, int heads, int dim)
{
    for (int h = 0; h < heads; h++, x += dim)
        for (int i = 0; i + 8 <= what->dims; i += 8) {
            float *at = x + what->offset + i;
            _mm256_storeu_ps(at, tsri_turn4(_mm256_loadu_ps(at),
                                            _mm256_loadu_ps(cs + i), sign));
        }
}

static void turn(const tsr_kv_rope *what, const float *cs, bool back, float *x,
                 int heads, int dim)
{
    const int pairs = what->dims / 2;
    const __m256 minus = _mm256_set1_ps(-0.0f);

    if (what->layout == 1) {
        turn_halves(what, cs, back ? minus : _mm256_setzero_ps(), x, heads, dim);
        tsri_rope_turn_plain(what, cs, pairs & ~7, back, x, heads, dim);
    } else {
        turn_neighbours(what, cs, back ? _mm256_setzero_ps() : minus, x, heads,
                        dim);
        tsri_rope_turn_plain(what, cs, pairs & ~3, back, x, heads, dim);
    }
}

static void angles(const float *high, const float *low, int pairs, float *cs)
{
    int i = 0;

    for (; i + 8 <= 2 * pairs; i += 8) {
        const __m256 h = _mm256_loadu_ps(high + i), l = _mm256_loadu_ps(low + i);
        const __m256 turned = _mm256_permute_ps(h, 0xb1);
        _mm256_storeu_ps(cs + i, _mm256_addsub_ps(
            _mm256_mul_ps(h, _mm256_moveldup_ps(l)),
            _mm256_mul_ps(turned, _mm256_movehdup_ps(l))));
    }
    tsri_rope_angles_plain(high + i, low + i, pairs - i / 2, cs + i);
}

const tsri_kv_moves *tsri_kv_moves_avx2(void)
{
    static const tsri_kv_moves moves = { from, to, quantise, dequantise,
                                         coarsen, add_magnitudes, centres,
                                         turn, angles, tsri_kv_load_avx2,
                                         tsri_kv_store_avx2 };
    return &moves;
}
