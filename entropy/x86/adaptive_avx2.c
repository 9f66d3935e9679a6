/* SPDX-License-Identifier: BSD-2-Clause */
/* Adaptive models, rows of 8 or 32 lanes.  A symbol is found by comparing its
 * slot with all 16 numbers of its model: the result, in which the places up to
 * the symbol are -1, is also what counting subtracts from `above`. */
#include <stddef.h>
#include <string.h>
#include "entropy/adaptive_impl.h"
#include "entropy/x86/lanes_avx2.h"

enum {
    SLOTS = 1 << TSRI_ADAPT_BITS,
    MODEL = sizeof(tsri_adapt_model),
    HIGH_SHIFT = 6          /* 2 s + 2 to (s + 1) * MODEL */
};
_Static_assert(MODEL == 2 << HIGH_SHIFT, "a low model's place is a shift");

static inline __m256i load256(const void *p)
{
    return _mm256_load_si256((const __m256i *)p);
}

static inline void store256(void *p, __m256i v)
{
    _mm256_store_si256((__m256i *)p, v);
}

/* Sums of the words from each on. */
static inline __m256i sums_from(__m256i v)
{
    const __m256i first = _mm256_set1_epi16(0x0100);

    v = _mm256_add_epi16(v, _mm256_srli_si256(v, 2));
    v = _mm256_add_epi16(v, _mm256_srli_si256(v, 4));
    v = _mm256_add_epi16(v, _mm256_srli_si256(v, 8));
    return _mm256_add_epi16(v, _mm256_shuffle_epi8(
        _mm256_permute2x128_si256(v, v, 0x81), first));
}

/* The same as renew() in adaptive.c; more: symbols >= i that are counted
 * neither in `fresh` nor `above`. */
static __attribute__((noinline)) void renew(tsri_adapt_model *m, __m256i more)
{
    const __m256i place = _mm256_setr_epi16(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10,
                                            11, 12, 13, 14, 15);
    __m256i above = _mm256_add_epi16(
        _mm256_add_epi16(load256(m->above), more), sums_from(load256(m->fresh)));
    unsigned all = (uint16_t)_mm256_extract_epi16(above, 0);

    if (all > m->limit) {
        above = _mm256_srli_epi16(above, 1);
        all /= 2;
    }
    store256(m->above, above);
    store256(m->fresh, _mm256_setzero_si256());
    const int scale = TSRI_ADAPT_BITS - 32 + __builtin_clz(all | 1);
    const unsigned symbols = m->symbols;
    const unsigned each = ((SLOTS - symbols) << TSRI_ADAPT_BITS) /
                          ((all << scale) + (symbols << scale >> 3));
    const __m256i rest = _mm256_subs_epu16(
        _mm256_set1_epi16((short)symbols), place);
    const __m256i eighth = scale > 3
        ? _mm256_sll_epi16(rest, _mm_cvtsi32_si128(scale - 3))
        : _mm256_srl_epi16(rest, _mm_cvtsi32_si128(3 - scale));
    const __m256i weight = _mm256_add_epi16(
        _mm256_sll_epi16(above, _mm_cvtsi32_si128(scale)), eighth);
    const __m256i by = _mm256_set1_epi16((short)each);
    const __m256i slots = _mm256_or_si256(
        _mm256_slli_epi16(_mm256_mulhi_epu16(weight, by), 1),
        _mm256_srli_epi16(_mm256_mullo_epi16(weight, by), 15));
    const __m256i last = _mm256_sub_epi16(_mm256_set1_epi16(SLOTS - 1),
                                          _mm256_add_epi16(rest, slots));
    store256(m->last, _mm256_insert_epi16(last, -1, 0));
    m->left = (int16_t)tsri_clamp((int)all / 16, 1, TSRI_ADAPT_MAX_WAIT);
}

/* A model that all lanes share: each of last[1..15] in all places of a vector;
 * and the low and high bytes of last[0..15] and of last[1..16]. */
typedef struct spread {
    __m256i last[15], ends[4];
} spread;

static inline __m256i twice128(const void *p)
{
    return _mm256_broadcastsi128_si256(_mm_loadu_si128(p));
}

/* The low bytes (0) or high bytes (1) of 16 numbers, in both halves. */
static inline __m256i bytes_of(const int16_t *p, int high)
{
    const __m256i which = _mm256_add_epi8(_mm256_set1_epi8((char)high),
        _mm256_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, -128, -128, -128, -128,
                         -128, -128, -128, -128, 0, 2, 4, 6, 8, 10, 12, 14,
                         -128, -128, -128, -128, -128, -128, -128, -128));
    return _mm256_unpacklo_epi64(
        _mm256_shuffle_epi8(twice128(p), which),
        _mm256_shuffle_epi8(twice128(p + 8), which));
}

static void spread_out(spread *to, const tsri_adapt_model *m)
{
#pragma GCC unroll 15
    for (int i = 0; i < 15; i++)
        to->last[i] = _mm256_set1_epi16(m->last[i + 1]);
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++)
        to->ends[i] = bytes_of(m->last + i / 2, i % 2);
}

/* last[s] and last[s + 1] of 32 symbols, whose bytes come as _mm256_packus makes
 * them of four vectors. */
static inline __attribute__((always_inline)) void
look_up(const spread *one, __m256i s, __m256i *ends)
{
    const __m256i a0 = _mm256_shuffle_epi8(one->ends[0], s);
    const __m256i a1 = _mm256_shuffle_epi8(one->ends[1], s);
    const __m256i b0 = _mm256_shuffle_epi8(one->ends[2], s);
    const __m256i b1 = _mm256_shuffle_epi8(one->ends[3], s);
    const __m256i a01 = _mm256_unpacklo_epi8(a0, a1);
    const __m256i a23 = _mm256_unpackhi_epi8(a0, a1);
    const __m256i b01 = _mm256_unpacklo_epi8(b0, b1);
    const __m256i b23 = _mm256_unpackhi_epi8(b0, b1);

    ends[0] = _mm256_unpacklo_epi16(a01, b01);
    ends[1] = _mm256_unpackhi_epi16(a01, b01);
    ends[2] = _mm256_unpacklo_epi16(a23, b23);
    ends[3] = _mm256_unpackhi_epi16(a23, b23);
}

/* How many of 8 or 32 symbols are >= i. */
static inline __attribute__((always_inline)) __m256i
above_of(__m256i sym, const int vectors)
{
    _Alignas(32) uint16_t above[16] = { (uint16_t)(8 * vectors) };

#pragma GCC unroll 15
    for (int i = 1; i < 16; i++) {
        const unsigned set = (unsigned)_mm256_movemask_epi8(
            _mm256_cmpgt_epi8(sym, _mm256_set1_epi8((char)(i - 1))));
        above[i] = (uint16_t)__builtin_popcount(vectors == 4 ? set : set & 0xff);
    }
    return load256(above);
}

/* What a row of symbols needs: one model for all, whose new symbols >= i are
 * `above`, or the model of each, in bytes from `model`. */
typedef struct row_models {
    tsri_adapt_model *model;
    const uint32_t *place;      /* of the contexts' models, or NULL: all 0 */
    const uint16_t *high;       /* of the models of the low four bits, from that
                                   of the high ones, or NULL */
    int shift;                  /* what is found is written times 2^shift */
    __m256i *above;             /* of one model */
    spread *one;                /* that model */
    int16_t *left;              /* of the 16 models of one context's low bits */
    tsri_adapt_model **old;     /* to be renewed, maybe twice */
    int n_old;
} row_models;

static inline bool one_model(const row_models *r)
{
    return !r->place && !r->high;
}

/* A lane's model; beyond: what is in bytes from there. */
static inline __attribute__((always_inline)) char *
model_of(const row_models *r, int lane, size_t beyond)
{
    return (char *)r->model + (r->place ? r->place[lane] : 0) + beyond;
}

static inline void count(char *model, size_t symbol)
{
    ++*(uint16_t *)(void *)(model + offsetof(tsri_adapt_model, fresh) + symbol);
}

/* Counts one of the symbols of several contexts; symbol: 2 s. */
static inline __attribute__((always_inline)) void
count_of(row_models *r, char *model, size_t symbol)
{
    tsri_adapt_model *m = (tsri_adapt_model *)(void *)model;

    count(model, symbol);
    if (--m->left <= 0)
        r->old[r->n_old++] = m;
}

/* What follows a row; above: of the row's symbols, or of their high bits, where
 * one model is shared. */
static inline __attribute__((always_inline)) void
learn(row_models *r, __m256i above)
{
    const __m256i zero = _mm256_setzero_si256();

    if (one_model(r)) {
        *r->above = _mm256_add_epi16(*r->above, above);
        r->model->left = (int16_t)(r->model->left - _mm256_extract_epi16(above, 0));
        if (r->model->left <= 0) {
            renew(r->model, *r->above);
            spread_out(r->one, r->model);
            *r->above = zero;
        }
    } else if (!r->place) {
        const __m256i next = _mm256_alignr_epi8(
            _mm256_permute2x128_si256(above, above, 0x81), above, 2);
        const __m256i left = _mm256_sub_epi16(
            load256(r->left), _mm256_sub_epi16(above, next));
        unsigned due = 0x55555555u & ~(unsigned)_mm256_movemask_epi8(
            _mm256_cmpgt_epi16(left, zero));
        store256(r->left, left);
        for (; due; due &= due - 1) {
            const int i = __builtin_ctz(due) / 2;
            renew(r->model + 1 + i, zero);
            r->left[i] = r->model[1 + i].left;
        }
    } else {
        for (int i = 0; i < r->n_old; i++)
            if (r->old[i]->left <= 0)
                renew(r->old[i], zero);
        r->n_old = 0;
    }
}

/* Takes what there is of models without contexts to the stack, and back. */
static inline void begin(const row_models *r, const uint16_t *context,
                         int halves)
{
    if (context)
        return;
    spread_out(r->one, r->model);
    for (int i = 0; i < 16 && halves == 2; i++)
        r->left[i] = r->model[1 + i].left;
}

static inline void end(const row_models *r, const uint16_t *context, int halves)
{
    if (context)
        return;
    store256(r->model->above, _mm256_add_epi16(load256(r->model->above),
                                               *r->above));
    for (int i = 0; i < 16 && halves == 2; i++)
        r->model[1 + i].left = r->left[i];
}

/* ---- decoder ---- */

typedef struct lanes {
    __m256i x[4], sum[2];
    const uint8_t *word;
} lanes;

/* Finds a lane's symbol.  Returns last[s] and last[s + 1]; out[lane] = 2 s + 2,
 * more by high[lane] if there is one, shifted. */
static inline __attribute__((always_inline)) __m128i
find(row_models *r, int lane, __m256i slot, uint16_t *out)
{
    const size_t high = r->high ? r->high[lane] : 0;
    char *model = model_of(r, lane, high);
    const size_t n = (size_t)__builtin_popcountll((unsigned)_mm256_movemask_epi8(
        _mm256_cmpgt_epi16(slot, load256(model))));

    out[lane] = (uint16_t)((high + n) << r->shift);
    if (r->place)
        count_of(r, model, n - 2);
    return _mm_loadu_si32(model_of(r, lane, high + n) - 2);
}

/* The same of four, whose slots are in both halves of a vector. */
static inline __attribute__((always_inline)) __m128i
find4(row_models *r, int lane, __m256i slot, uint16_t *out)
{
    const __m256i first = _mm256_set1_epi16(0x0100);
    const __m256i next = _mm256_set1_epi16(0x0404);
    __m256i which = first;
    __m128i ends[4];

#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        ends[i] = find(r, lane + i, _mm256_shuffle_epi8(slot, which), out);
        which = _mm256_add_epi8(which, next);
    }
    return _mm_unpacklo_epi64(_mm_unpacklo_epi32(ends[0], ends[1]),
                              _mm_unpacklo_epi32(ends[2], ends[3]));
}

static inline __attribute__((always_inline)) __m256i
find8(row_models *r, int lane, __m256i slot, uint16_t *out)
{
    const __m128i low = find4(
        r, lane, _mm256_permute2x128_si256(slot, slot, 0x00), out);
    const __m128i high = find4(
        r, lane + 4, _mm256_permute2x128_si256(slot, slot, 0x11), out);
    return _mm256_set_m128i(high, low);
}

/* Takes a symbol off each of eight states. */
static inline __m256i take(__m256i x, __m256i slot, __m256i ends)
{
    const __m256i freq = _mm256_srli_epi32(
        _mm256_sub_epi16(ends, _mm256_slli_epi32(ends, 16)), 16);
    const __m256i rest = _mm256_blend_epi16(
        _mm256_sub_epi16(_mm256_add_epi16(slot, _mm256_set1_epi16(-1)), ends),
        _mm256_setzero_si256(), 0xaa);
    return _mm256_add_epi32(rest, _mm256_mullo_epi32(
        freq, _mm256_srli_epi32(x, TSRI_ADAPT_BITS)));
}

/* Writes 16 or 8 bytes as 16-bit numbers, shifted. */
static inline __attribute__((always_inline)) void
put_words(uint16_t *out, __m128i bytes, int shift, const int vectors)
{
    const __m256i words = _mm256_slli_epi16(_mm256_cvtepu8_epi16(bytes), shift);

    if (vectors == 4)
        _mm256_storeu_si256((__m256i *)out, words);
    else
        _mm_storeu_si128((__m128i *)out, _mm256_castsi256_si128(words));
}

/* The same of a row's slots by the model they share; returns its `above`. */
static inline __attribute__((always_inline)) __m256i
find_shared(const row_models *r, const __m256i *slot, __m256i *ends,
            uint16_t *out, const int vectors)
{
    const spread *one = r->one;
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    const __m256i slot01 = _mm256_packus_epi32(slot[0], slot[vectors / 4]);
    const __m256i slot23 = vectors == 1 ? slot01
                                        : _mm256_packus_epi32(slot[2], slot[3]);
    __m256i s01 = _mm256_setzero_si256(), s23 = s01;

#pragma GCC unroll 15
    for (int i = 0; i < 15; i++) {
        s01 = _mm256_sub_epi16(s01, _mm256_cmpgt_epi16(slot01, one->last[i]));
        s23 = _mm256_sub_epi16(s23, _mm256_cmpgt_epi16(slot23, one->last[i]));
    }
    const __m256i packed = _mm256_packus_epi16(s01, s23);
    const __m256i sym = _mm256_permutevar8x32_epi32(packed, order);
    const __m256i two = _mm256_add_epi8(_mm256_add_epi8(sym, sym),
                                        _mm256_set1_epi8(2));
    look_up(one, packed, ends);
    put_words(out, _mm256_castsi256_si128(two), r->shift, vectors);
    if (vectors == 4)
        put_words(out + 16, _mm256_extracti128_si256(two, 1), r->shift,
                  vectors);
    return above_of(sym, vectors);
}

/* Takes a row off the states; returns its `above` if its lanes share a model. */
static inline __attribute__((always_inline)) __m256i
take_row(lanes *l, row_models *r, uint16_t *out, const int vectors)
{
    const __m256i mask = _mm256_set1_epi32(SLOTS - 1);
    __m256i above = _mm256_setzero_si256(), slot[4], ends[4];

#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++)
        slot[v] = _mm256_and_si256(l->x[v], mask);
    if (one_model(r))
        above = find_shared(r, slot, ends, out, vectors);
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) {
        if (!one_model(r))
            ends[v] = find8(r, 8 * v, slot[v], out);
        l->x[v] = tsri_rans_refill(take(l->x[v], slot[v], ends[v]), &l->word);
    }
    return above;
}

/* Adds up a row of symbols, a byte each. */
static inline __attribute__((always_inline)) void
add_up(__m256i *sum, const uint8_t *sym, const int vectors)
{
    const __m256i factor = _mm256_set1_epi16((short)TSRI_RANS_FACTOR);

#pragma GCC unroll 2
    for (int v = 0; v < (vectors + 1) / 2; v++) {
        const __m128i s = vectors > 1
            ? _mm_loadu_si128((const __m128i *)sym + v)
            : _mm_loadl_epi64((const __m128i *)sym);
        sum[v] = _mm256_mullo_epi16(factor, _mm256_add_epi16(
            sum[v], _mm256_cvtepu8_epi16(s)));
    }
}

/* Places of the contexts' models: `models` of them a context. */
static inline __attribute__((always_inline)) void
find_places(const uint16_t *context, int models, uint32_t *place,
            const int vectors)
{
    const __m256i by = _mm256_set1_epi32(models * MODEL);

#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++)
        store256(place + 8 * v, _mm256_mullo_epi32(by, _mm256_cvtepu16_epi32(
            _mm_loadu_si128((const __m128i *)(context + 8 * v)))));
}

static inline void count_row(tsri_adapt_model *model, const uint16_t *out,
                             int width)
{
#pragma GCC unroll 8
    for (int i = 0; i < width; i++)
        count((char *)model - 2, out[i]);
}

enum { AT_ONCE = 1024 };    /* symbols; a multiple of the lanes */

/* Eight or 16 symbols of what a row gave: 2 s + 2, or twice the low bits + 2 and
 * 128 (the high bits + 1). */
static inline __m256i symbols_of(__m256i v, const int halves)
{
    const __m256i low = _mm256_set1_epi16(127), high = _mm256_set1_epi16(0x1f0);

    if (halves == 1)
        return _mm256_sub_epi16(_mm256_srli_epi16(v, 1), _mm256_set1_epi16(1));
    return _mm256_sub_epi16(
        _mm256_add_epi16(_mm256_and_si256(_mm256_srli_epi16(v, 3), high),
                         _mm256_srli_epi16(_mm256_and_si256(v, low), 1)),
        _mm256_set1_epi16(17));
}

static inline __attribute__((always_inline)) void
finish(const uint16_t *out, uint8_t *sym, size_t n, __m256i *sum,
       const int vectors, const int halves)
{
    const size_t width = 8 * (size_t)vectors;

    for (size_t i = 0; i < n; i += width) {
        const uint16_t *from = out + (i & ~(size_t)15);
        const __m256i a = symbols_of(load256(from), halves);
        const __m256i b = symbols_of(load256(from + 16), halves);
        const __m256i s = _mm256_permute4x64_epi64(_mm256_packus_epi16(a, b), 0xd8);
        if (vectors == 4)
            _mm256_storeu_si256((__m256i *)(sym + i), s);
        else
            _mm_storel_epi64((__m128i *)(sym + i), i & 8
                ? _mm_unpackhi_epi64(_mm256_castsi256_si128(s),
                                     _mm256_castsi256_si128(s))
                : _mm256_castsi256_si128(s));
        add_up(sum, sym + i, vectors);
    }
}

/* Up to AT_ONCE symbols. */
static inline __attribute__((always_inline)) size_t
get_some(lanes *l, row_models *r, const tsri_adapt_set *set,
         const uint16_t *context, uint8_t *sym, size_t n,
         const uint8_t *word_end, const int vectors, const int halves)
{
    const size_t width = 8 * (size_t)vectors;
    _Alignas(32) uint32_t place[TSRI_RANS_MAX_LANES];
    _Alignas(32) uint16_t high[TSRI_RANS_MAX_LANES], out[AT_ONCE + 32];
    row_models r2 = *r;
    size_t i = 0;

    r->place = r2.place = context ? place : NULL;
    r->shift = halves == 2 ? HIGH_SHIFT : 0;
    r2.shift = 0;
    r2.high = high;
    for (; n - i >= width &&
           (size_t)(word_end - l->word) >= 2 * width * (size_t)halves;
         i += width) {
        if (context)
            find_places(context + i, set->models, place, vectors);
        const __m256i above = take_row(l, r, halves == 2 ? high : out + i,
                                       vectors);
        learn(r, above);
        if (halves == 1)
            continue;
        take_row(l, &r2, out + i, vectors);
        if (!context)
            count_row(set->model, out + i, 8 * vectors);
        learn(&r2, above);
    }
    finish(out, sym, i, l->sum, vectors, halves);
    return i;
}

static inline __attribute__((always_inline)) size_t
get_rows(tsri_rans_dec *dec, const tsri_adapt_set *set,
         const uint16_t *context, uint8_t *sym, size_t n, const int vectors,
         const int halves)
{
    __m256i above = _mm256_setzero_si256();
    tsri_adapt_model *old[TSRI_RANS_MAX_LANES];
    _Alignas(32) int16_t left[16];
    spread one;
    row_models r = { .model = set->model, .above = &above, .one = &one,
                     .left = left, .old = old };
    lanes l = { .word = dec->word };
    size_t i = 0, some;

#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) {
        l.x[v] = _mm256_loadu_si256((const __m256i *)(dec->state + 8 * v));
        l.sum[v / 2] = _mm256_loadu_si256((const __m256i *)(dec->sum + 8 * (v & ~1)));
    }
    begin(&r, context, halves);
    do {
        some = get_some(&l, &r, set, context ? context + i : NULL, sym + i,
                        n - i < AT_ONCE ? n - i : AT_ONCE, dec->word_end,
                        vectors, halves);
        i += some;
    } while (some == AT_ONCE);
    end(&r, context, halves);
    dec->word = l.word;
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) {
        _mm256_storeu_si256((__m256i *)(dec->state + 8 * v), l.x[v]);
        _mm256_storeu_si256((__m256i *)(dec->sum + 8 * (v & ~1)), l.sum[v / 2]);
    }
    return i;
}

/* Each case a function of its own. */
#define CASE(name, context, vectors, halves)                                  \
static __attribute__((noinline)) size_t                                       \
name(tsri_rans_dec *dec, const tsri_adapt_set *set, const uint16_t *ctx,      \
     uint8_t *sym, size_t n)                                                  \
{                                                                             \
    (void)ctx;                                                                \
    return get_rows(dec, set, context, sym, n, vectors, halves);              \
}
CASE(get_1_8, NULL, 1, 1)
CASE(get_1_32, NULL, 4, 1)
CASE(get_2_8, NULL, 1, 2)
CASE(get_2_32, NULL, 4, 2)
CASE(get_1_8_of, ctx, 1, 1)
CASE(get_1_32_of, ctx, 4, 1)
CASE(get_2_8_of, ctx, 1, 2)
CASE(get_2_32_of, ctx, 4, 2)

size_t tsri_adapt_get_avx2(tsri_rans_dec *dec, const tsri_adapt_set *set,
                           const uint16_t *context, uint8_t *sym, size_t n)
{
    static size_t (*const get[2][2][2])(tsri_rans_dec *, const tsri_adapt_set *,
                                        const uint16_t *, uint8_t *, size_t) = {
        { { get_1_8, get_1_32 }, { get_2_8, get_2_32 } },
        { { get_1_8_of, get_1_32_of }, { get_2_8_of, get_2_32_of } },
    };
    return get[!!context][set->models > 1][dec->lanes == 32](dec, set, context,
                                                             sym, n);
}

/* ---- encoder ---- */

/* Records of a row; returns its `above` if its lanes share a model, in which
 * case it is of the symbols `sym`, else they are where `at` says: 2 s, more by
 * the place of the model of the low four bits. */
static inline __attribute__((always_inline)) __m256i
model_row(row_models *r, const uint8_t *sym, const uint16_t *at,
          uint32_t *record, const int vectors)
{
    if (one_model(r)) {
        const __m256i order = _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7);
        const __m256i s = vectors == 4
            ? _mm256_loadu_si256((const __m256i *)sym)
            : _mm256_castsi128_si256(_mm_loadl_epi64((const __m128i *)sym));
        __m256i ends[4];
        look_up(r->one, _mm256_permutevar8x32_epi32(s, order), ends);
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++)
            _mm256_storeu_si256((__m256i *)(record + 8 * v), ends[v]);
        return above_of(s, vectors);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 8 * vectors; i++) {
        const size_t symbol = at[i] % MODEL, high = at[i] - symbol;
        memcpy(record + i, model_of(r, i, at[i]), sizeof *record);
        if (r->place)
            count_of(r, model_of(r, i, high), symbol);
        else
            count(model_of(r, i, 0), at[i]);
    }
    return _mm256_setzero_si256();
}

static inline __attribute__((always_inline)) void
model_rows(const tsri_adapt_rows *rows, uint32_t *record, uint16_t *sums,
           const uint16_t *context, const int vectors, const int halves)
{
    const size_t width = 8 * (size_t)vectors;
    const tsri_adapt_set *set = rows->set;
    _Alignas(32) uint32_t place[TSRI_RANS_MAX_LANES];
    _Alignas(32) int16_t left[16];
    uint8_t first[TSRI_RANS_MAX_LANES];
    uint16_t at[2][TSRI_RANS_MAX_LANES];
    tsri_adapt_model *old[TSRI_RANS_MAX_LANES];
    __m256i above = _mm256_setzero_si256(), sum[2];
    spread one;
    row_models r = { .model = set->model, .place = context ? place : NULL,
                     .above = &above, .one = &one, .left = left, .old = old };
    row_models r2 = r;

    r2.high = at[1];
    begin(&r, context, halves);
#pragma GCC unroll 2
    for (int v = 0; v < (vectors + 1) / 2; v++)
        sum[v] = _mm256_loadu_si256((const __m256i *)(sums + 16 * v));
    for (size_t i = 0; i < rows->n; i += width) {
        const uint8_t *sym = rows->sym + i;
        add_up(sum, sym, vectors);
        if (context)
            find_places(context + i, set->models, place, vectors);
        for (size_t k = 0; k < width; k++) {
            first[k] = halves == 2 ? sym[k] >> 4 : sym[k];
            at[0][k] = (uint16_t)(2 * first[k]);
            at[1][k] = (uint16_t)((sym[k] / 16 + 1) * MODEL + sym[k] % 16 * 2);
        }
        const __m256i more = model_row(&r, first, at[0], record, vectors);
        record += width;
        learn(&r, more);
        if (halves == 2) {
            model_row(&r2, NULL, at[1], record, vectors);
            record += width;
            learn(&r2, more);
        }
    }
    end(&r, context, halves);
#pragma GCC unroll 2
    for (int v = 0; v < (vectors + 1) / 2; v++)
        _mm256_storeu_si256((__m256i *)(sums + 16 * v), sum[v]);
}

#define MODEL_CASE(name, context, vectors, halves)                            \
static __attribute__((noinline)) void                                         \
name(const tsri_adapt_rows *rows, uint32_t *record, uint16_t *sum)            \
{                                                                             \
    model_rows(rows, record, sum, context, vectors, halves);                  \
}
MODEL_CASE(model_1_8, NULL, 1, 1)
MODEL_CASE(model_1_32, NULL, 4, 1)
MODEL_CASE(model_2_8, NULL, 1, 2)
MODEL_CASE(model_2_32, NULL, 4, 2)
MODEL_CASE(model_1_8_of, rows->context, 1, 1)
MODEL_CASE(model_1_32_of, rows->context, 4, 1)
MODEL_CASE(model_2_8_of, rows->context, 1, 2)
MODEL_CASE(model_2_32_of, rows->context, 4, 2)

void tsri_adapt_model_avx2(const tsri_adapt_rows *rows, uint32_t *record,
                           uint16_t *sum)
{
    static void (*const model[2][2][2])(const tsri_adapt_rows *, uint32_t *,
                                        uint16_t *) = {
        { { model_1_8, model_1_32 }, { model_2_8, model_2_32 } },
        { { model_1_8_of, model_1_32_of }, { model_2_8_of, model_2_32_of } },
    };
    model[!!rows->context][rows->set->models > 1][rows->lanes == 32](
        rows, record, sum);
}

/* Puts a symbol on each of eight states.  The quotient x / freq < 2^17 comes
 * from floats: rounded four times, it is less than 1/16 off, so with 1/16 taken
 * away it is right or one too small, which the remainder tells. */
static inline __m256i push(__m256i record, __m256i x, uint8_t **end)
{
    const __m256i freq = _mm256_srli_epi32(
        _mm256_sub_epi16(record, _mm256_slli_epi32(record, 16)), 16);
    const __m256i start = _mm256_blend_epi16(
        _mm256_add_epi16(record, _mm256_set1_epi16(1)), _mm256_setzero_si256(),
        0xaa);
    const __m256i most = _mm256_sub_epi32(
        _mm256_slli_epi32(freq, 32 - TSRI_ADAPT_BITS), _mm256_set1_epi32(1));

    x = tsri_rans_give(x, _mm256_cmpeq_epi32(_mm256_min_epu32(x, most), x), true, end);
    const __m256 wrapped = _mm256_and_ps(_mm256_set1_ps(0x1p32f),
        _mm256_castsi256_ps(_mm256_srai_epi32(x, 31)));
    const __m256 about = _mm256_div_ps(
        _mm256_add_ps(_mm256_cvtepi32_ps(x), wrapped), _mm256_cvtepi32_ps(freq));
    const __m256i q = _mm256_cvttps_epi32(
        _mm256_sub_ps(about, _mm256_set1_ps(0x1p-4f)));
    const __m256i rest = _mm256_sub_epi32(x, _mm256_mullo_epi32(q, freq));
    const __m256i more = _mm256_andnot_si256(
        _mm256_cmpgt_epi32(freq, rest),
        _mm256_sub_epi32(_mm256_set1_epi32(SLOTS), freq));
    return _mm256_add_epi32(
        _mm256_add_epi32(_mm256_slli_epi32(q, TSRI_ADAPT_BITS), rest),
        _mm256_add_epi32(start, more));
}

static inline __attribute__((always_inline)) uint8_t *
code_rows(const uint32_t *record, size_t n, uint32_t *state, uint8_t *end,
          const int vectors)
{
    __m256i x[4];

#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++)
        x[v] = _mm256_loadu_si256((const __m256i *)(state + 8 * v));
    while (n) {
        n -= 8 * (size_t)vectors;
#pragma GCC unroll 4
        for (int v = vectors - 1; v >= 0; v--)
            x[v] = push(_mm256_loadu_si256(
                (const __m256i *)(record + n + 8 * (size_t)v)), x[v], &end);
    }
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++)
        _mm256_storeu_si256((__m256i *)(state + 8 * v), x[v]);
    return end;
}

uint8_t *tsri_adapt_code_avx2(const uint32_t *record, size_t n, int width,
                              uint32_t *state, uint8_t *end)
{
    return width == 32 ? code_rows(record, n, state, end, 4)
                       : code_rows(record, n, state, end, 1);
}
