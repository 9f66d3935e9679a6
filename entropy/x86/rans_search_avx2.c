/* SPDX-License-Identifier: BSD-2-Clause */
/* Rows of 32 lanes of bytes of one table of at most 16 or 32 symbols, which are
 * found in registers: a binary search of 16 slots at a time among the starts of
 * the symbols.  No table has to come into the cache. */
#include "entropy/x86/lanes_avx2.h"

/* What divides 16 or 32 places, in all lanes. */
typedef struct search {
    __m256i half, quarter, three, eighths, sixteenths, even[2], odd[2], next[2];
} search;

static inline __m256i all(uint16_t start)
{
    return _mm256_set1_epi16((short)start);
}

static inline __m256i twice(const uint16_t *start)
{
    return _mm256_broadcastsi128_si256(_mm_load_si128((const __m128i *)start));
}

static inline __attribute__((always_inline)) void
set_search(search *k, const tsri_bank *bank, int table, const int room)
{
    const tsri_rans_search *s = &bank->search[table];

    k->half = all(room == 32 ? s->half : s->quarter[0]);
    k->quarter = all(room == 32 ? s->quarter[0] : s->eighths[0]);
    k->three = all(room == 32 ? s->quarter[1] : s->eighths[1]);
    k->eighths = twice(room == 32 ? s->eighths : s->sixteenths);
    k->sixteenths = twice(s->sixteenths);
    for (int i = 0; i < room / 16; i++) {
        k->even[i] = twice(s->even + 8 * i);
        k->odd[i] = twice(s->odd + 8 * i);
        k->next[i] = twice(s->next + 8 * i);
    }
}

typedef struct constants {
    __m256i mask, bits;
} constants;

/* What 16 states hold, 16 bits each, packed. */
typedef struct found {
    __m256i sym, freq, rest;
} found;

/* One of eight numbers of 16 bits, or of twice as many. */
static inline __attribute__((always_inline)) __m256i
look_up(const __m256i *table, __m256i at, __m256i half, const int room)
{
    const __m256i low = _mm256_shuffle_epi8(table[0], at);

    return room == 16 ? low : _mm256_blendv_epi8(
        low, _mm256_shuffle_epi8(table[1], at), half);
}

/* Where a pair begins in a table: twice its number, and one more for the
 * second byte. */
static inline __m256i place_of(__m256i twice)
{
    return _mm256_or_si256(twice, _mm256_set1_epi16(0x0100));
}

/* Twice the number of a part in each byte: that of the part before it was
 * divided, doubled, and 2 if it is the upper one. */
static inline __m256i divide(__m256i twice, __m256i upper)
{
    return _mm256_or_si256(_mm256_add_epi16(twice, twice),
        _mm256_and_si256(upper, _mm256_set1_epi16(0x0202)));
}

static inline __attribute__((always_inline)) void
find(const tsri_rans_stream *s, const search *t, const constants *k, int v,
     found *f, const int room)
{
    const __m256i slot = _mm256_packus_epi32(
        _mm256_and_si256(s->x[v], k->mask),
        _mm256_and_si256(s->x[v + 1], k->mask));
    const __m256i half = _mm256_cmpgt_epi16(slot, t->half);
    const __m256i quarter = _mm256_cmpgt_epi16(slot, _mm256_blendv_epi8(
        t->quarter, t->three, half));
    __m256i part = divide(_mm256_and_si256(half, _mm256_set1_epi16(0x0202)),
                          quarter);

    part = divide(part, _mm256_cmpgt_epi16(slot, _mm256_shuffle_epi8(
        t->eighths, place_of(part))));
    if (room == 32)
        part = divide(part, _mm256_cmpgt_epi16(slot, _mm256_shuffle_epi8(
            t->sixteenths, place_of(part))));
    const __m256i at = place_of(part);
    const __m256i even = look_up(t->even, at, half, room);
    const __m256i odd = look_up(t->odd, at, half, room);
    const __m256i next = look_up(t->next, at, half, room);
    const __m256i is_odd = _mm256_cmpgt_epi16(slot, odd);
    const __m256i start = _mm256_blendv_epi8(even, odd, is_odd);

    f->freq = _mm256_sub_epi16(_mm256_blendv_epi8(odd, next, is_odd), start);
    f->rest = _mm256_add_epi16(_mm256_sub_epi16(slot, start),
                               _mm256_set1_epi16(-1));
    f->sym = _mm256_sub_epi16(_mm256_and_si256(part, _mm256_set1_epi16(0xff)),
                              is_odd);
}

static inline __attribute__((always_inline)) void
take(tsri_rans_stream *s, const constants *k, int v, const found *f)
{
    const __m256i zero = _mm256_setzero_si256();
    const __m256i x = _mm256_add_epi32(_mm256_unpacklo_epi16(f->rest, zero),
        _mm256_mullo_epi32(_mm256_unpacklo_epi16(f->freq, zero),
                           _mm256_srlv_epi32(s->x[v], k->bits)));
    const __m256i y = _mm256_add_epi32(_mm256_unpackhi_epi16(f->rest, zero),
        _mm256_mullo_epi32(_mm256_unpackhi_epi16(f->freq, zero),
                           _mm256_srlv_epi32(s->x[v + 1], k->bits)));

    s->x[v] = tsri_rans_refill(x, &s->word);
    s->x[v + 1] = tsri_rans_refill(y, &s->word);
}

static inline __attribute__((always_inline)) size_t
rows(tsri_rans_dec *dec, const tsri_bank *bank, int table, uint8_t *sym,
     size_t n, const int room)
{
    const constants k = { _mm256_set1_epi32((1 << bank->bits) - 1),
                          _mm256_set1_epi32(bank->bits) };
    tsri_rans_stream s = { .to = sym };
    search t;
    found f[2];
    size_t i = 0;

    set_search(&t, bank, table, room);
    tsri_rans_load_stream(&s, dec, 4);
    for (; n - i >= 32 && tsri_rans_has_words(&s, 4); i += 32) {
        find(&s, &t, &k, 0, &f[0], room);
        find(&s, &t, &k, 2, &f[1], room);
        take(&s, &k, 0, &f[0]);
        take(&s, &k, 2, &f[1]);
        tsri_rans_put_row(&s, f[0].sym, f[1].sym, 4, 1);
    }
    tsri_rans_store_stream(&s, dec, 4);
    return i;
}

size_t tsri_rans_search8_avx2(tsri_rans_dec *dec, const tsri_bank *bank,
                              int table, uint8_t *sym, size_t n)
{
    return tsri_bank_size(bank, table) <= 16
               ? rows(dec, bank, table, sym, n, 16)
               : rows(dec, bank, table, sym, n, 32);
}

static inline __attribute__((always_inline)) size_t
two_rows(tsri_rans_dec *dec[2], const tsri_bank *bank,
         const tsri_rans_run8 runs[2], const int room)
{
    const constants k = { _mm256_set1_epi32((1 << bank->bits) - 1),
                          _mm256_set1_epi32(bank->bits) };
    const size_t n = runs[0].n < runs[1].n ? runs[0].n : runs[1].n;
    tsri_rans_stream a = { .to = runs[0].sym }, b = { .to = runs[1].sym };
    search t, u;
    found f[2], g[2];
    size_t i = 0;

    set_search(&t, bank, runs[0].table, room);
    set_search(&u, bank, runs[1].table, room);
    tsri_rans_load_stream(&a, dec[0], 4);
    tsri_rans_load_stream(&b, dec[1], 4);
    for (; n - i >= 32 && tsri_rans_has_words(&a, 4) &&
           tsri_rans_has_words(&b, 4); i += 32) {
        find(&a, &t, &k, 0, &f[0], room);
        find(&a, &t, &k, 2, &f[1], room);
        find(&b, &u, &k, 0, &g[0], room);
        find(&b, &u, &k, 2, &g[1], room);
        take(&a, &k, 0, &f[0]);
        take(&a, &k, 2, &f[1]);
        take(&b, &k, 0, &g[0]);
        take(&b, &k, 2, &g[1]);
        tsri_rans_put_row(&a, f[0].sym, f[1].sym, 4, 1);
        tsri_rans_put_row(&b, g[0].sym, g[1].sym, 4, 1);
    }
    tsri_rans_store_stream(&a, dec[0], 4);
    tsri_rans_store_stream(&b, dec[1], 4);
    return i;
}

size_t tsri_rans_search8_pair_avx2(tsri_rans_dec *dec[2], const tsri_bank *bank,
                                   const tsri_rans_run8 runs[2])
{
    return tsri_bank_size(bank, runs[0].table) <= 16 &&
           tsri_bank_size(bank, runs[1].table) <= 16
               ? two_rows(dec, bank, runs, 16) : two_rows(dec, bank, runs, 32);
}
