/* SPDX-License-Identifier: BSD-2-Clause */
/* Rows of 8 or 32 lanes of one table that has an entry for each slot.
 *
 * A lane's next state needs its last: slot, entry, product, refill, nearly 50
 * clocks, of which a row of 32 keeps a processor busy for 25.  So two segments
 * are decoded in one loop where the caller has two, and the entries of all lanes
 * are asked for before any is used, since a processor does not look far enough
 * ahead to find them by itself.
 *
 * Slots are taken out of vectors four at a time and entries loaded one by one.
 * Measured on a Zen 3, two segments: 2.2 symbols a nanosecond; 1.6 with hardware
 * gathers; 2.0 with slots stored and loaded again (a processor passes on but one
 * load a clock of what was just stored); 2.1 with entries loaded as parts of
 * vectors and blended (wide loads meet in the banks of the cache). */
#include "entropy/x86/lanes_avx2.h"

typedef struct constants {
    __m256i mask, bits;
} constants;

/* The entries of four slots, 16 bits each. */
static inline __m128i four_entries(const uint32_t *slots, uint64_t at)
{
    __m128i e = _mm_cvtsi32_si128((int)slots[at & 0xffff]);

    e = _mm_insert_epi32(e, (int)slots[_bextr_u64(at, 16, 16)], 1);
    e = _mm_insert_epi32(e, (int)slots[_bextr_u64(at, 32, 16)], 2);
    return _mm_insert_epi32(e, (int)slots[_bextr_u64(at, 48, 16)], 3);
}

/* The entries of the states of two vectors (or of one).  Packed to 16 bits four
 * slots come out of a vector at once. */
static inline __attribute__((always_inline)) void
find_two(const tsri_rans_stream *s, const uint32_t *slots, const constants *k,
         int v, int w, __m256i *entry)
{
    const __m256i at = _mm256_packus_epi32(_mm256_and_si256(s->x[v], k->mask),
                                           _mm256_and_si256(s->x[w], k->mask));
    const __m128i low = _mm256_castsi256_si128(at);
    const __m128i high = _mm256_extracti128_si256(at, 1);

    entry[v] = _mm256_set_m128i(
        four_entries(slots, (uint64_t)_mm_cvtsi128_si64(high)),
        four_entries(slots, (uint64_t)_mm_cvtsi128_si64(low)));
    if (w > v)
        entry[w] = _mm256_set_m128i(
            four_entries(slots, (uint64_t)_mm_extract_epi64(high, 1)),
            four_entries(slots, (uint64_t)_mm_extract_epi64(low, 1)));
}

/* Takes the symbols off eight states; leaves them where their entries were. */
static inline __attribute__((always_inline)) void
take(tsri_rans_stream *s, const constants *k, int v, __m256i *entry)
{
    const __m256i low = _mm256_set1_epi32((1 << TSRI_SLOT_BITS) - 1);
    const __m256i e = entry[v];
    const __m256i freq = _mm256_and_si256(_mm256_srli_epi32(e, TSRI_SLOT_BITS),
                                          low);
    const __m256i x = _mm256_add_epi32(
        _mm256_mullo_epi32(freq, _mm256_srlv_epi32(s->x[v], k->bits)),
        _mm256_and_si256(e, low));

    s->x[v] = tsri_rans_refill(x, &s->word);
    entry[v] = _mm256_srli_epi32(e, 24);
}

/* Packs the symbols of a row and writes them. */
static inline __attribute__((always_inline)) void
put_row(tsri_rans_stream *s, const __m256i *sym, const int vectors, const int width)
{
    tsri_rans_put_row(s, _mm256_packus_epi32(sym[0], sym[vectors > 1]),
                      vectors > 1 ? _mm256_packus_epi32(sym[2], sym[3]) : sym[0],
                      vectors, width);
}

static inline __attribute__((always_inline)) size_t
rows(tsri_rans_dec *dec, const uint32_t *slots, int bits, void *sym, size_t n,
     const int vectors, const int width)
{
    const constants k = { _mm256_set1_epi32((1 << bits) - 1),
                          _mm256_set1_epi32(bits) };
    const size_t row = 8 * (size_t)vectors;
    tsri_rans_stream s = { .to = sym };
    __m256i out[4];
    size_t i = 0;

    tsri_rans_load_stream(&s, dec, vectors);
    for (; n - i >= row && tsri_rans_has_words(&s, vectors); i += row) {
        find_two(&s, slots, &k, 0, vectors > 1, out);
        if (vectors > 1)
            find_two(&s, slots, &k, 2, 3, out);
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++)
            take(&s, &k, v, out);
        put_row(&s, out, vectors, width);
    }
    tsri_rans_store_stream(&s, dec, vectors);
    return i;
}

/* Not inlined: compilers would then add the table's offset in every look-up. */
static __attribute__((noinline)) size_t
rows8(tsri_rans_dec *dec, const uint32_t *slots, int bits, uint8_t *sym,
      size_t n)
{
    return dec->lanes == 32 ? rows(dec, slots, bits, sym, n, 4, 1)
                            : rows(dec, slots, bits, sym, n, 1, 1);
}

static __attribute__((noinline)) size_t
rows16(tsri_rans_dec *dec, const uint32_t *slots, int bits, uint16_t *sym,
       size_t n)
{
    return dec->lanes == 32 ? rows(dec, slots, bits, sym, n, 4, 2)
                            : rows(dec, slots, bits, sym, n, 1, 2);
}

static const uint32_t *slots_of(const tsri_bank *bank, int table)
{
    return bank->slot + ((size_t)table << bank->bits);
}

size_t tsri_rans_slots_avx2(tsri_rans_dec *dec, const tsri_bank *bank,
                            int table, uint16_t *sym, size_t n)
{
    return rows16(dec, slots_of(bank, table), bank->bits, sym, n);
}

size_t tsri_rans_slots8_avx2(tsri_rans_dec *dec, const tsri_bank *bank,
                             int table, uint8_t *sym, size_t n)
{
    return rows8(dec, slots_of(bank, table), bank->bits, sym, n);
}

static __attribute__((noinline)) size_t
two_rows(tsri_rans_dec *dec[2], const uint32_t *slots0, const uint32_t *slots1,
         int bits, uint8_t *sym0, uint8_t *sym1, size_t n)
{
    const constants k = { _mm256_set1_epi32((1 << bits) - 1),
                          _mm256_set1_epi32(bits) };
    tsri_rans_stream a = { .to = sym0 };
    tsri_rans_stream b = { .to = sym1 };
    __m256i out_a[4], out_b[4];
    size_t i = 0;

    tsri_rans_load_stream(&a, dec[0], 4);
    tsri_rans_load_stream(&b, dec[1], 4);
    for (; n - i >= 32 && tsri_rans_has_words(&a, 4) && tsri_rans_has_words(&b, 4); i += 32) {
        find_two(&a, slots0, &k, 0, 1, out_a);
        find_two(&a, slots0, &k, 2, 3, out_a);
        find_two(&b, slots1, &k, 0, 1, out_b);
        find_two(&b, slots1, &k, 2, 3, out_b);
#pragma GCC unroll 4
        for (int v = 0; v < 4; v++)
            take(&a, &k, v, out_a);
#pragma GCC unroll 4
        for (int v = 0; v < 4; v++)
            take(&b, &k, v, out_b);
        put_row(&a, out_a, 4, 1);
        put_row(&b, out_b, 4, 1);
    }
    tsri_rans_store_stream(&a, dec[0], 4);
    tsri_rans_store_stream(&b, dec[1], 4);
    return i;
}

size_t tsri_rans_slots8_pair_avx2(tsri_rans_dec *dec[2], const tsri_bank *bank,
                                  const tsri_rans_run8 runs[2])
{
    return two_rows(dec, slots_of(bank, runs[0].table),
                    slots_of(bank, runs[1].table), bank->bits, runs[0].sym,
                    runs[1].sym, runs[0].n < runs[1].n ? runs[0].n : runs[1].n);
}
