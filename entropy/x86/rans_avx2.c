/* SPDX-License-Identifier: BSD-2-Clause */
#include <immintrin.h>
#include "entropy/bank_impl.h"

/* What stays the same over a run. */
typedef struct setup {
    const tsri_bank *bank;
    const uint16_t *cls;
    __m256i table, first, mask, low;
    __m128i bits, lut_bits, step;
} setup;

static inline __m256i gather(const uint32_t *base, __m256i index)
{
    return _mm256_i32gather_epi32((const int *)base, index, 4);
}

/* The symbols of eight states, which lose them. */
static inline __m256i take(const setup *k, __m256i table, __m256i first,
                           __m256i *x)
{
    const __m256i slot = _mm256_and_si256(*x, k->mask);
    const __m256i at = _mm256_add_epi32(_mm256_sll_epi32(table, k->lut_bits),
                                        _mm256_srl_epi32(slot, k->step));
    __m256i s = _mm256_and_si256(
        _mm256_i32gather_epi32((const int *)k->bank->lut, at, 2), k->low);

    for (;;) {
        const __m256i range = gather(k->bank->range, _mm256_add_epi32(first, s));
        const __m256i freq = _mm256_srli_epi32(range, 16);
        const __m256i rest = _mm256_sub_epi32(slot,
                                              _mm256_and_si256(range, k->low));
        const __m256i found = _mm256_cmpgt_epi32(freq, rest);
        if (_mm256_movemask_epi8(found) == -1) {
            *x = _mm256_add_epi32(rest, _mm256_mullo_epi32(freq,
                                            _mm256_srl_epi32(*x, k->bits)));
            return s;
        }
        s = _mm256_sub_epi32(s, _mm256_andnot_si256(found, _mm256_set1_epi32(-1)));
    }
}

/* Refills the states that fell below 2^16, in lane order: the n-th of them
 * takes the n-th word.  The byte-wise prefix sum of the mask gives each lane
 * its number. */
static inline const uint8_t *refill(__m256i *x, const uint8_t *word)
{
    const __m256i need = _mm256_cmpeq_epi32(_mm256_srli_epi32(*x, 16),
                                            _mm256_setzero_si256());
    const unsigned set = (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(need));
    const uint64_t before = _pdep_u64(set, 0x0101010101010101u) *
                            0x0101010101010100u;
    const __m256i place = _mm256_cvtepu8_epi32(
        _mm_cvtsi64_si128((long long)before));
    const __m256i words = _mm256_cvtepu16_epi32(
        _mm_loadu_si128((const __m128i *)word));
    const __m256i fresh = _mm256_or_si256(_mm256_slli_epi32(*x, 16),
                              _mm256_permutevar8x32_epi32(words, place));

    *x = _mm256_blendv_epi8(*x, fresh, need);
    return word + 2 * __builtin_popcount(set);
}

static inline __m256i row(const setup *k, size_t at, __m256i *x)
{
    __m256i table = k->table, first = k->first;

    if (k->cls) {
        table = _mm256_cvtepu16_epi32(
            _mm_loadu_si128((const __m128i *)(k->cls + at)));
        first = gather(k->bank->first, table);
    }
    return take(k, table, first, x);
}

static inline __attribute__((always_inline)) size_t
rows(tsri_rans_dec *dec, const setup *k, uint16_t *sym, size_t n,
     const int vectors)
{
    const size_t lanes = 8 * (size_t)vectors;
    const uint8_t *word = dec->word;
    const __m128i factor = _mm_set1_epi16((short)TSRI_RANS_FACTOR);
    __m256i x[TSRI_RANS_MAX_LANES / 8];
    __m128i sum[TSRI_RANS_MAX_LANES / 8];
    size_t i = 0;

    for (int v = 0; v < vectors; v++) {
        x[v] = _mm256_loadu_si256((const __m256i *)(dec->state + 8 * v));
        sum[v] = _mm_loadu_si128((const __m128i *)(dec->sum + 8 * v));
    }
    for (; n - i >= lanes && (size_t)(dec->word_end - word) >= 2 * lanes;
         i += lanes)
        for (int v = 0; v < vectors; v++) {
            const __m256i s = row(k, i + 8 * (size_t)v, &x[v]);
            word = refill(&x[v], word);
            const __m128i s16 = _mm_packus_epi32(_mm256_castsi256_si128(s),
                                            _mm256_extracti128_si256(s, 1));
            _mm_storeu_si128((__m128i *)(sym + i + 8 * v), s16);
            sum[v] = _mm_mullo_epi16(_mm_add_epi16(sum[v], s16), factor);
        }
    for (int v = 0; v < vectors; v++) {
        _mm256_storeu_si256((__m256i *)(dec->state + 8 * v), x[v]);
        _mm_storeu_si128((__m128i *)(dec->sum + 8 * v), sum[v]);
    }
    dec->word = word;
    return i;
}

size_t tsri_rans_rows_avx2(tsri_rans_dec *dec, const tsri_bank *bank,
                           const uint16_t *cls, int table, uint16_t *sym,
                           size_t n)
{
    const setup k = {
        .bank = bank, .cls = cls,
        .table = _mm256_set1_epi32(table),
        .first = _mm256_set1_epi32(cls ? 0 : (int)bank->first[table]),
        .mask = _mm256_set1_epi32((1 << bank->bits) - 1),
        .low = _mm256_set1_epi32(0xffff),
        .bits = _mm_cvtsi32_si128(bank->bits),
        .lut_bits = _mm_cvtsi32_si128(bank->lut_bits),
        .step = _mm_cvtsi32_si128(bank->bits - bank->lut_bits),
    };
    return dec->lanes == 32 ? rows(dec, &k, sym, n, 4)
                            : rows(dec, &k, sym, n, 1);
}
