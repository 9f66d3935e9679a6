/* SPDX-License-Identifier: BSD-2-Clause */
/* Eight numbers of any format to and from a vector of floats, to the bit as
 * codecs/kv/floats.c does it.  The format is a constant where these are used,
 * so each use is the code of one format. */
#ifndef TSR_CODECS_KV_X86_FLOATS_AVX2_H
#define TSR_CODECS_KV_X86_FLOATS_AVX2_H
#include <immintrin.h>
#include "codecs/kv/move_impl.h"

#define TSRI_INLINE static inline __attribute__((always_inline))

TSRI_INLINE size_t tsri_bytes8(tsr_kv_dtype dtype)
{
    return dtype == TSR_KV_F32 ? 32
         : dtype == TSR_KV_F16 || dtype == TSR_KV_BF16 ? 16 : 8;
}

TSRI_INLINE __m256i tsri_abs_bits(__m256 x)
{
    return _mm256_and_si256(_mm256_castps_si256(x), _mm256_set1_epi32(0x7fffffff));
}

/* Its magnitude is an f16's, but for the bias, which a factor corrects. */
TSRI_INLINE __m256 tsri_load8_e4m3(const void *in)
{
    const __m128i w = _mm_cvtepu8_epi16(_mm_loadl_epi64(in));
    const __m128i a = _mm_and_si128(w, _mm_set1_epi16(0x7f));
    const __m128i nan = _mm_cmpeq_epi16(a, _mm_set1_epi16(0x7f));
    const __m128i sign = _mm_slli_epi16(_mm_xor_si128(w, a), 8);
    const __m128i h = _mm_blendv_epi8(_mm_slli_epi16(a, 7),
                                      _mm_set1_epi16(0x7e00), nan);
    return _mm256_mul_ps(_mm256_cvtph_ps(_mm_or_si128(h, sign)),
                         _mm256_set1_ps(256));
}

TSRI_INLINE __m256 tsri_load8(tsr_kv_dtype dtype, const void *in)
{
    switch (dtype) {
    case TSR_KV_F16:
        return _mm256_cvtph_ps(_mm_loadu_si128(in));
    case TSR_KV_BF16:
        return _mm256_castsi256_ps(_mm256_slli_epi32(
            _mm256_cvtepu16_epi32(_mm_loadu_si128(in)), 16));
    case TSR_KV_E4M3:
        return tsri_load8_e4m3(in);
    case TSR_KV_E5M2:
        return _mm256_cvtph_ps(_mm_unpacklo_epi8(_mm_setzero_si128(),
                                                 _mm_loadl_epi64(in)));
    case TSR_KV_F32:
        break;
    }
    return _mm256_loadu_ps(in);
}

/* any: NaN may come, and stays one. */
TSRI_INLINE __m128i tsri_bf16_of(__m256 x, bool any)
{
    const __m256i bits = _mm256_castps_si256(x);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16),
                                         _mm256_set1_epi32(1));
    const __m256i high = _mm256_setr_epi8(
        2, 3, 6, 7, 10, 11, 14, 15, 2, 3, 6, 7, 10, 11, 14, 15,
        2, 3, 6, 7, 10, 11, 14, 15, 2, 3, 6, 7, 10, 11, 14, 15);
    __m256i r = _mm256_add_epi32(_mm256_add_epi32(bits, odd),
                                 _mm256_set1_epi32(0x7fff));

    if (any)
        r = _mm256_blendv_epi8(
            r, _mm256_or_si256(bits, _mm256_set1_epi32(0x400000)),
            _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q)));
    r = _mm256_shuffle_epi8(r, high);
    return _mm256_castsi256_si128(_mm256_permute4x64_epi64(r, 0x08));
}

/* See narrow() in codecs/kv/floats.c; most: the largest value. */
TSRI_INLINE __m128i tsri_f8_of(__m256 x, int mantissa, int bias, float most,
                               bool any)
{
    const int drop = 23 - mantissa;
    const __m256 a = _mm256_min_ps(_mm256_castsi256_ps(tsri_abs_bits(x)),
                                   _mm256_set1_ps(most));
    const __m256i bits = _mm256_castps_si256(a);
    const __m256i magic = _mm256_set1_epi32((128 - bias + drop) << 23);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, drop),
                                         _mm256_set1_epi32(1));
    const __m256i least = _mm256_sub_epi32(
        _mm256_castps_si256(_mm256_add_ps(a, _mm256_castsi256_ps(magic))), magic);
    const __m256i normal = _mm256_sub_epi32(
        _mm256_srli_epi32(_mm256_add_epi32(
            _mm256_add_epi32(bits, odd),
            _mm256_set1_epi32((1 << (drop - 1)) - 1)), drop),
        _mm256_set1_epi32((127 - bias) << mantissa));
    const __m256i is_least = _mm256_cmpgt_epi32(
        _mm256_set1_epi32((128 - bias) << 23), bits);
    const __m256i sign = _mm256_and_si256(
        _mm256_srli_epi32(_mm256_castps_si256(x), 24), _mm256_set1_epi32(0x80));
    __m256i code =
        _mm256_or_si256(_mm256_blendv_epi8(normal, least, is_least), sign);
    __m128i h;

    if (any)
        code = _mm256_blendv_epi8(
            code, _mm256_set1_epi32(0x7f),
            _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q)));
    h = _mm_packus_epi32(_mm256_castsi256_si128(code),
                         _mm256_extracti128_si256(code, 1));
    return _mm_packus_epi16(h, h);
}

TSRI_INLINE void tsri_store8(tsr_kv_dtype dtype, __m256 x, bool any, void *out)
{
    switch (dtype) {
    case TSR_KV_F16:
        _mm_storeu_si128(out, _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
        break;
    case TSR_KV_BF16:
        _mm_storeu_si128(out, tsri_bf16_of(x, any));
        break;
    case TSR_KV_F32:
        _mm256_storeu_ps(out, x);
        break;
    case TSR_KV_E4M3:
        _mm_storel_epi64(out, tsri_f8_of(x, 3, 7, 448, any));
        break;
    case TSR_KV_E5M2:
        _mm_storel_epi64(out, tsri_f8_of(x, 2, 15, 57344, any));
        break;
    }
}

/** The largest of eight numbers that are not negative. */
TSRI_INLINE uint32_t tsri_most8(__m256i v)
{
    uint32_t all[8], most = 0;

    _mm256_storeu_si256((__m256i *)all, v);
    for (int i = 0; i < 8; i++)
        most = all[i] > most ? all[i] : most;
    return most;
}

/* ---- the quantiser, eight numbers ---- */

/** (y - m) * inverse as integers of -32767..32767; *most keeps the largest
 *  magnitude's bits, a NaN's being the largest. */
TSRI_INLINE __m256i tsri_quantise8(__m256 y, __m256 m, __m256 inverse,
                                   __m256i *most)
{
    const __m256 v = _mm256_mul_ps(_mm256_sub_ps(y, m), inverse);
    *most = _mm256_max_epi32(*most, tsri_abs_bits(v));
    return _mm256_cvtps_epi32(_mm256_min_ps(
        _mm256_max_ps(v, _mm256_set1_ps(-32767)), _mm256_set1_ps(32767)));
}

TSRI_INLINE bool tsri_quantised(__m256i most)
{
    return tsri_most8(most) < tsri_float_bits(32767.5f);
}

TSRI_INLINE void tsri_store_q8(__m256i q, int16_t *to)
{
    _mm_storeu_si128((__m128i *)to,
                     _mm_packs_epi32(_mm256_castsi256_si128(q),
                                     _mm256_extracti128_si256(q, 1)));
}

/** sum += |q| >> boost. */
TSRI_INLINE void tsri_add_q8(__m256i q, __m128i boost, uint32_t *sum)
{
    const __m256i a = _mm256_srl_epi32(_mm256_abs_epi32(q), boost);
    _mm256_storeu_si256((__m256i *)sum, _mm256_add_epi32(
        _mm256_loadu_si256((const __m256i *)sum), a));
}

TSRI_INLINE __m256 tsri_dequantise8(const int16_t *q, __m256 m, __m256 step)
{
    const __m256i i = _mm256_cvtepi16_epi32(_mm_loadu_si128((const __m128i *)q));
    return _mm256_add_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(i), step), m);
}

/* ---- rotations ---- */

/** Cosines and sines of eight pairs, apart. */
TSRI_INLINE void tsri_part8(const float *cs, __m256 *c, __m256 *s)
{
    const __m256 a = _mm256_loadu_ps(cs), b = _mm256_loadu_ps(cs + 8);
    const __m256 even = _mm256_shuffle_ps(a, b, 0x88);
    const __m256 odd = _mm256_shuffle_ps(a, b, 0xdd);
    *c = _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(even), 0xd8));
    *s = _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(odd), 0xd8));
}

/** Eight pairs, their first and their second numbers. */
TSRI_INLINE void tsri_turn8(__m256 *x1, __m256 *x2, __m256 c, __m256 s)
{
    const __m256 a = *x1, b = *x2;
    *x1 = _mm256_add_ps(_mm256_mul_ps(a, c), _mm256_mul_ps(b, s));
    *x2 = _mm256_sub_ps(_mm256_mul_ps(b, c), _mm256_mul_ps(a, s));
}

/** Four pairs next to each other, cs likewise. */
TSRI_INLINE __m256 tsri_turn4(__m256 x, __m256 cs, __m256 sign)
{
    const __m256 c = _mm256_moveldup_ps(cs);
    const __m256 s = _mm256_xor_ps(_mm256_movehdup_ps(cs), sign);
    return _mm256_addsub_ps(_mm256_mul_ps(x, c),
                            _mm256_mul_ps(_mm256_permute_ps(x, 0xb1), s));
}
#endif
