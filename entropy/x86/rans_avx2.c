/* SPDX-License-Identifier: BSD-2-Clause */
/* Rows of 8 or 32 lanes of any tables: a look-up that comes near, and steps. */
#include "entropy/x86/lanes_avx2.h"

#define PLACE(m, i) \
    ((m) >> (i) & 1 ? 0x80800100u + \
     0x0202u * (unsigned)__builtin_popcount((m) & ((1 << (i)) - 1)) : 0x80808080u)
#define ROW1(m) { PLACE(m, 0), PLACE(m, 1), PLACE(m, 2), PLACE(m, 3), \
                  PLACE(m, 4), PLACE(m, 5), PLACE(m, 6), PLACE(m, 7) }
#define ROW4(m) ROW1(m), ROW1((m) + 1), ROW1((m) + 2), ROW1((m) + 3)
#define ROW16(m) ROW4(m), ROW4((m) + 4), ROW4((m) + 8), ROW4((m) + 12)
#define ROW64(m) ROW16(m), ROW16((m) + 16), ROW16((m) + 32), ROW16((m) + 48)
const _Alignas(32) uint32_t tsri_rans_places[256][8] = {
    ROW64(0), ROW64(64), ROW64(128), ROW64(192)
};

/* What a run keeps in registers: 1 or 4 vectors of states, the sums of their
 * symbols, 16 bits each, in order. */
typedef struct lanes {
    __m256i x[4], sum[2];
    const uint8_t *word;
} lanes;

/* Writes a row of symbols and adds them up. */
static inline __attribute__((always_inline)) void
put_row(lanes *l, const __m256i *s, uint16_t *sym, const int vectors)
{
    const __m256i factor = _mm256_set1_epi16((short)TSRI_RANS_FACTOR);

#pragma GCC unroll 2
    for (int v = 0; v < vectors; v += 2) {
        const __m256i s16 = _mm256_permute4x64_epi64(
            _mm256_packus_epi32(s[v], s[vectors > 1 ? v + 1 : v]), 0xd8);
        if (vectors > 1)
            _mm256_storeu_si256((__m256i *)(sym + 8 * v), s16);
        else
            _mm_storeu_si128((__m128i *)sym, _mm256_castsi256_si128(s16));
        l->sum[v / 2] = _mm256_mullo_epi16(_mm256_add_epi16(l->sum[v / 2], s16),
                                           factor);
    }
}

static inline __attribute__((always_inline)) void
load_lanes(lanes *l, const tsri_rans_dec *dec, const int vectors)
{
    l->word = dec->word;
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) {
        l->x[v] = _mm256_loadu_si256((const __m256i *)(dec->state + 8 * v));
        if (v % 2 == 0)
            l->sum[v / 2] = _mm256_loadu_si256((const __m256i *)(dec->sum + 8 * v));
    }
}

static inline __attribute__((always_inline)) void
store_lanes(const lanes *l, tsri_rans_dec *dec, const int vectors)
{
    dec->word = l->word;
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) {
        _mm256_storeu_si256((__m256i *)(dec->state + 8 * v), l->x[v]);
        if (v % 2 == 0)
            _mm256_storeu_si256((__m256i *)(dec->sum + 8 * v), l->sum[v / 2]);
    }
}

typedef struct setup {
    const tsri_bank *bank;
    const uint16_t *cls;
    __m256i table, mask, bits, lut_bits, step;
} setup;

/* What bank->range has of the symbols at[0] and at[4] and of those after. */
static inline __m256i load_pair(const uint64_t *range, const uint32_t *at)
{
    return _mm256_inserti128_si256(_mm256_castsi128_si256(
        _mm_loadu_si128((const __m128i *)(range + at[0]))),
        _mm_loadu_si128((const __m128i *)(range + at[4])), 1);
}

/* The symbols of eight states, which lose them.  Two candidates are compared
 * at once: to guess whether the first one fits would often be wrong. */
static inline __attribute__((always_inline)) __m256i
take(const setup *k, __m256i table, __m256i *x)
{
    const __m256i slot = _mm256_and_si256(*x, k->mask);
    const __m256i low = _mm256_set1_epi32(0xffff);
    _Alignas(32) uint32_t near[8];
    uint32_t at[8];

    _mm256_store_si256((__m256i *)near, _mm256_add_epi32(
        _mm256_sllv_epi32(table, k->lut_bits), _mm256_srlv_epi32(slot, k->step)));
    TSRI_IN_MEMORY(near);
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++)
        at[i] = k->bank->lut[near[i]];
    for (;;) {
        const __m256i r0 = load_pair(k->bank->range, at);
        const __m256i r1 = load_pair(k->bank->range, at + 1);
        const __m256i r2 = load_pair(k->bank->range, at + 2);
        const __m256i r3 = load_pair(k->bank->range, at + 3);
        const __m256i a01 = _mm256_unpacklo_epi32(r0, r1);
        const __m256i a23 = _mm256_unpacklo_epi32(r2, r3);
        const __m256i b01 = _mm256_unpackhi_epi32(r0, r1);
        const __m256i b23 = _mm256_unpackhi_epi32(r2, r3);
        const __m256i a = _mm256_unpacklo_epi64(a01, a23);
        const __m256i b = _mm256_unpacklo_epi64(b01, b23);
        const __m256i s = _mm256_unpackhi_epi64(a01, a23);
        const __m256i a_freq = _mm256_srli_epi32(a, 16);
        const __m256i a_rest = _mm256_sub_epi32(slot, _mm256_and_si256(a, low));
        const __m256i first = _mm256_cmpgt_epi32(a_freq, a_rest);
        const __m256i freq = _mm256_blendv_epi8(_mm256_srli_epi32(b, 16), a_freq,
                                                first);
        const __m256i rest = _mm256_sub_epi32(
            a_rest, _mm256_andnot_si256(first, a_freq));
        unsigned missed = 0xff & ~(unsigned)_mm256_movemask_ps(
            _mm256_castsi256_ps(_mm256_cmpgt_epi32(freq, rest)));
        if (!missed) {
            *x = _mm256_add_epi32(rest, _mm256_mullo_epi32(
                freq, _mm256_srlv_epi32(*x, k->bits)));
            return _mm256_add_epi32(_mm256_add_epi32(s, first),
                                    _mm256_set1_epi32(1));
        }
        for (; missed; missed &= missed - 1)
            at[__builtin_ctz(missed)]++;
    }
}

static inline __attribute__((always_inline)) size_t
rows(tsri_rans_dec *dec, const setup *k, uint16_t *sym, size_t n,
     const int vectors)
{
    const size_t width = 8 * (size_t)vectors;
    __m256i s[4];
    lanes l;
    size_t i = 0;

    load_lanes(&l, dec, vectors);
    for (; n - i >= width && (size_t)(dec->word_end - l.word) >= 2 * width;
         i += width) {
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) {
            const __m256i table = !k->cls ? k->table : _mm256_cvtepu16_epi32(
                _mm_loadu_si128((const __m128i *)(k->cls + i) + v));
            s[v] = take(k, table, &l.x[v]);
            l.x[v] = tsri_rans_refill(l.x[v], &l.word);
        }
        put_row(&l, s, sym + i, vectors);
    }
    store_lanes(&l, dec, vectors);
    return i;
}

size_t tsri_rans_rows_avx2(tsri_rans_dec *dec, const tsri_bank *bank,
                           const uint16_t *cls, int table, uint16_t *sym,
                           size_t n)
{
    const setup k = {
        .bank = bank, .cls = cls,
        .table = _mm256_set1_epi32(table),
        .mask = _mm256_set1_epi32((1 << bank->bits) - 1),
        .bits = _mm256_set1_epi32(bank->bits),
        .lut_bits = _mm256_set1_epi32(bank->lut_bits),
        .step = _mm256_set1_epi32(bank->bits - bank->lut_bits),
    };

    if (!cls && tsri_bank_has_slots(bank, table))
        return tsri_rans_slots_avx2(dec, bank, table, sym, n);
    return dec->lanes == 32 ? rows(dec, &k, sym, n, 4)
                            : rows(dec, &k, sym, n, 1);
}

int tsri_rans_most_avx2(const uint16_t *cls, size_t n)
{
    __m256i most = _mm256_setzero_si256();
    uint16_t part[16];
    int all = 0;
    size_t i = 0;

    for (; n - i >= 16; i += 16)
        most = _mm256_max_epu16(most, _mm256_loadu_si256(
            (const __m256i *)(cls + i)));
    _mm256_storeu_si256((__m256i *)part, most);
    for (int v = 0; v < 16; v++)
        all = tsri_max(all, part[v]);
    for (; i < n; i++)
        all = tsri_max(all, cls[i]);
    return all;
}
