/* SPDX-License-Identifier: BSD-2-Clause */
/* What the vector coders share: lanes in registers, eight to a vector. */
#ifndef TSR_ENTROPY_X86_LANES_AVX2_H
#define TSR_ENTROPY_X86_LANES_AVX2_H
#include <immintrin.h>
#include "entropy/bank_impl.h"

/** What a word goes to: byte shuffles that put the n-th of eight words into the
 *  n-th lane whose bit is set in the row's number, as 32-bit numbers, and 0
 *  into the other lanes. */
extern const uint32_t tsri_rans_places[256][8];

/** Keeps the compiler from taking the numbers out of the vector one by one
 *  instead of loading what was stored, which costs half as much. */
#define TSRI_IN_MEMORY(array) __asm__("" : "+m"(array))

/** Refills the states that fell below 2^16, in lane order. */
static inline __attribute__((always_inline)) __m256i
tsri_rans_refill(__m256i x, const uint8_t **word)
{
    const __m256i need = _mm256_cmpeq_epi16(x, _mm256_setzero_si256());
    const unsigned set = (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(need));
    const __m256i words = _mm256_broadcastsi128_si256(
        _mm_loadu_si128((const __m128i *)*word));
    const __m256i fresh = _mm256_or_si256(_mm256_slli_epi32(x, 16),
        _mm256_shuffle_epi8(words, _mm256_load_si256(
            (const __m256i *)tsri_rans_places[set])));

    *word += 2 * (size_t)__builtin_popcount(set);
    return _mm256_castps_si256(_mm256_blendv_ps(
        _mm256_castsi256_ps(x), _mm256_castsi256_ps(fresh),
        _mm256_castsi256_ps(need)));
}

/** Writes the low halves of the states that `mask` names (kept: that it does not
 *  name) before *end, in lane order; they lose them. */
static inline __attribute__((always_inline)) __m256i
tsri_rans_give(__m256i x, __m256i mask, const bool kept, uint8_t **end)
{
    const __m256i by = _mm256_set1_epi32(16);
    const unsigned set = (kept ? 0xff : 0) ^
        (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(mask));
    const __m256i low = _mm256_blend_epi16(x, _mm256_setzero_si256(), 0xaa);
    const __m128i words = _mm_packus_epi32(_mm256_castsi256_si128(low),
                                           _mm256_extracti128_si256(low, 1));

    _mm_storeu_si128((__m128i *)(*end - 16), _mm_shuffle_epi8(
        words, _mm_load_si128((const __m128i *)tsri_rans_packs[set])));
    *end -= 2 * (size_t)__builtin_popcount(set);
    return _mm256_srlv_epi32(x, kept ? _mm256_andnot_si256(mask, by)
                                     : _mm256_and_si256(mask, by));
}

/** Where a segment stands: 1 or 4 vectors of states and the sums of their
 *  symbols, 16 bits each, in the order that packing two vectors gives. */
typedef struct tsri_rans_stream {
    __m256i x[4], sum[2];
    const uint8_t *word, *end;
    uint8_t *to;            /**< where the next row goes */
} tsri_rans_stream;

/** Packed 32-bit numbers in order, and numbers in order packed. */
static inline __m256i tsri_rans_pack_order(__m256i packed)
{
    return _mm256_permute4x64_epi64(packed, 0xd8);
}

static inline __attribute__((always_inline)) void
tsri_rans_load_stream(tsri_rans_stream *s, const tsri_rans_dec *dec,
                      const int vectors)
{
    s->word = dec->word;
    s->end = dec->word_end;
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) {
        s->x[v] = _mm256_loadu_si256((const __m256i *)(dec->state + 8 * v));
        if (v % 2 == 0)
            s->sum[v / 2] = tsri_rans_pack_order(_mm256_loadu_si256(
                (const __m256i *)(dec->sum + 8 * v)));
    }
}

static inline __attribute__((always_inline)) void
tsri_rans_store_stream(const tsri_rans_stream *s, tsri_rans_dec *dec,
                       const int vectors)
{
    dec->word = s->word;
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) {
        _mm256_storeu_si256((__m256i *)(dec->state + 8 * v), s->x[v]);
        if (v % 2 == 0)
            _mm256_storeu_si256((__m256i *)(dec->sum + 8 * v),
                                tsri_rans_pack_order(s->sum[v / 2]));
    }
}

/** Can a row be decoded without running out of words? */
static inline __attribute__((always_inline)) bool
tsri_rans_has_words(const tsri_rans_stream *s, const int vectors)
{
    return s->end - s->word >= 16 * vectors;
}

static inline __m256i tsri_rans_add_up(__m256i sum, __m256i symbols)
{
    return _mm256_mullo_epi16(_mm256_add_epi16(sum, symbols),
                              _mm256_set1_epi16((short)TSRI_RANS_FACTOR));
}

/** Writes a row of symbols of `width` bytes, 16 bits each as packing gives them
 *  (b: of the last two vectors of four), and adds them up. */
static inline __attribute__((always_inline)) void
tsri_rans_put_row(tsri_rans_stream *s, __m256i a, __m256i b, const int vectors,
                  const int width)
{
    const __m128i eight = _mm256_castsi256_si128(tsri_rans_pack_order(a));

    s->sum[0] = tsri_rans_add_up(s->sum[0], a);
    if (vectors > 1)
        s->sum[1] = tsri_rans_add_up(s->sum[1], b);
    if (vectors == 1 && width == 1) {
        _mm_storel_epi64((__m128i *)s->to, _mm_packus_epi16(eight, eight));
    } else if (vectors == 1) {
        _mm_storeu_si128((__m128i *)s->to, eight);
    } else if (width == 1) {
        _mm256_storeu_si256((__m256i *)s->to, _mm256_permutevar8x32_epi32(
            _mm256_packus_epi16(a, b),
            _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7)));
    } else {
        _mm256_storeu_si256((__m256i *)s->to, tsri_rans_pack_order(a));
        _mm256_storeu_si256((__m256i *)s->to + 1, tsri_rans_pack_order(b));
    }
    s->to += 8 * vectors * width;
}

#endif
