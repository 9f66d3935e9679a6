/* SPDX-License-Identifier: BSD-2-Clause */
/* What the vector decoders share: lanes in registers, eight to a vector. */
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

#endif
