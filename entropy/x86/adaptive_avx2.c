/* SPDX-License-Identifier: BSD-2-Clause */
/* Adaptive models, rows of 8 or 32 lanes.  A symbol is found by comparing its
 * slot with all 16 numbers of its model: the result, in which the places up to
 * the symbol are -1, is also what counting subtracts from `above`. */
#include <string.h>
#include "entropy/adaptive_impl.h"
#include "entropy/x86/lanes_avx2.h"

enum {
    SLOTS = 1 << TSRI_ADAPT_BITS,
    MODEL = sizeof(tsri_adapt_model)
};

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

/* What a row of symbols needs: one model for all, whose new symbols >= i are
 * `above`, or the model of each, in bytes from `model`. */
typedef struct row_models {
    tsri_adapt_model *model;
    const uint32_t *place;      /* of the contexts' models, or NULL: all 0 */
    const uint8_t *twice;       /* 2 s + 2 of the high four bits, or NULL */
    __m256i *above;             /* of one model */
    int16_t *left;              /* of the 16 models of one context's low bits */
    tsri_adapt_model **old;     /* to be renewed, maybe twice */
    int n_old;
} row_models;

static inline bool one_model(const row_models *r)
{
    return !r->place && !r->twice;
}

static inline __attribute__((always_inline)) tsri_adapt_model *
model_of(const row_models *r, int lane)
{
    char *m = (char *)r->model;

    if (r->place)
        m += r->place[lane];
    if (r->twice)
        m += (size_t)r->twice[lane] * (MODEL / 2);
    return (tsri_adapt_model *)(void *)m;
}

/* Counts a symbol: `larger` is -1 in the places up to it. */
static inline __attribute__((always_inline)) void
count(row_models *r, tsri_adapt_model *m, size_t twice, __m256i larger)
{
    if (one_model(r)) {
        *r->above = _mm256_sub_epi16(*r->above, larger);
        __asm__("" : "+x"(*r->above)); /* now: else 32 of them wait in memory */
        return;
    }
    ++*(uint16_t *)(void *)((char *)m->fresh - 2 + twice);
    if (r->place && --m->left <= 0)
        r->old[r->n_old++] = m;
}

/* What follows a row; above: of the row's symbols, or of their high bits. */
static inline __attribute__((always_inline)) void
learn(row_models *r, __m256i above)
{
    const __m256i zero = _mm256_setzero_si256();

    if (one_model(r)) {
        r->model->left = (int16_t)(r->model->left - _mm256_extract_epi16(above, 0));
        if (r->model->left <= 0) {
            renew(r->model, *r->above);
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
    for (int i = 0; i < 16 && !context && halves == 2; i++)
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

/* Finds a lane's symbol and counts it.  Returns last[s] and last[s + 1];
 * *twice = 2 s + 2. */
static inline __attribute__((always_inline)) __m128i
find(row_models *r, int lane, __m256i slot, uint8_t *twice)
{
    tsri_adapt_model *m = model_of(r, lane);
    const __m256i larger = _mm256_cmpgt_epi16(slot, load256(m->last));
    const size_t n = (size_t)__builtin_popcountll(
        (unsigned)_mm256_movemask_epi8(larger));

    twice[lane] = (uint8_t)n;
    count(r, m, n, larger);
    return _mm_loadu_si32((const char *)m->last - 2 + n);
}

/* The same of four, whose slots are in both halves of a vector. */
static inline __attribute__((always_inline)) __m128i
find4(row_models *r, int lane, __m256i slot, uint8_t *twice)
{
    const __m256i first = _mm256_set1_epi16(0x0100);
    const __m256i next = _mm256_set1_epi16(0x0404);
    __m256i which = first;
    __m128i ends[4];

#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        ends[i] = find(r, lane + i, _mm256_shuffle_epi8(slot, which), twice);
        which = _mm256_add_epi8(which, next);
    }
    return _mm_unpacklo_epi64(_mm_unpacklo_epi32(ends[0], ends[1]),
                              _mm_unpacklo_epi32(ends[2], ends[3]));
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

static inline __attribute__((always_inline)) void
take_row(lanes *l, row_models *r, uint8_t *twice, const int vectors)
{
    const __m256i mask = _mm256_set1_epi32(SLOTS - 1);

#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) {
        const __m256i slot = _mm256_and_si256(l->x[v], mask);
        const __m128i low = find4(
            r, 8 * v, _mm256_permute2x128_si256(slot, slot, 0x00), twice);
        const __m128i high = find4(
            r, 8 * v + 4, _mm256_permute2x128_si256(slot, slot, 0x11), twice);
        l->x[v] = tsri_rans_refill(
            take(l->x[v], slot, _mm256_set_m128i(high, low)), &l->word);
    }
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

enum { AT_ONCE = 1024 };    /* symbols; a multiple of the lanes */

/* Symbols from 2 s + 2, of their high and low four bits (or NULL). */
static inline __attribute__((always_inline)) void
finish(uint8_t *sym, const uint8_t *low, size_t n, __m256i *sum,
       const int vectors)
{
    const size_t width = 8 * (size_t)vectors;

    for (size_t i = 0; i < n; i += width) {
        for (size_t k = i; k < i + width; k++)
            sym[k] = low ? (uint8_t)((sym[k] << 3) + (low[k] >> 1) - 17)
                         : (uint8_t)((sym[k] >> 1) - 1);
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
    uint8_t low[AT_ONCE];
    row_models r2 = *r;
    size_t i = 0;

    r->place = r2.place = context ? place : NULL;
    for (; n - i >= width &&
           (size_t)(word_end - l->word) >= 2 * width * (size_t)halves;
         i += width) {
        const __m256i before = *r->above;
        if (context)
            find_places(context + i, set->models, place, vectors);
        take_row(l, r, sym + i, vectors);
        const __m256i above = _mm256_sub_epi16(*r->above, before);
        learn(r, above);
        if (halves == 2) {
            r2.twice = sym + i;
            take_row(l, &r2, low + i, vectors);
            learn(&r2, above);
        }
    }
    finish(sym, halves == 2 ? low : NULL, i, l->sum, vectors);
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
    row_models r = { .model = set->model, .above = &above, .left = left,
                     .old = old };
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

/* What a symbol subtracts from `above`. */
#define UP_TO(s) { -1, -((s) > 0), -((s) > 1), -((s) > 2), -((s) > 3),       \
                   -((s) > 4), -((s) > 5), -((s) > 6), -((s) > 7),           \
                   -((s) > 8), -((s) > 9), -((s) > 10), -((s) > 11),         \
                   -((s) > 12), -((s) > 13), -((s) > 14) }
static const _Alignas(32) int16_t up_to[16][16] = {
    UP_TO(0), UP_TO(1), UP_TO(2), UP_TO(3), UP_TO(4), UP_TO(5), UP_TO(6),
    UP_TO(7), UP_TO(8), UP_TO(9), UP_TO(10), UP_TO(11), UP_TO(12), UP_TO(13),
    UP_TO(14), UP_TO(15)
};

static inline __attribute__((always_inline)) void
model_row(row_models *r, const uint8_t *sym, uint32_t *record, const int vectors)
{
    for (int i = 0; i < 8 * vectors; i++) {
        tsri_adapt_model *m = model_of(r, i);
        memcpy(record + i, m->last + sym[i], sizeof *record);
        count(r, m, 2 * (size_t)sym[i] + 2, load256(up_to[sym[i]]));
    }
}

static inline __attribute__((always_inline)) void
model_rows(const tsri_adapt_rows *rows, uint32_t *record, uint16_t *sums,
           const uint16_t *context, const int vectors, const int halves)
{
    const size_t width = 8 * (size_t)vectors;
    const tsri_adapt_set *set = rows->set;
    _Alignas(32) uint32_t place[TSRI_RANS_MAX_LANES];
    _Alignas(32) int16_t left[16];
    uint8_t half[2][TSRI_RANS_MAX_LANES], twice[TSRI_RANS_MAX_LANES];
    tsri_adapt_model *old[TSRI_RANS_MAX_LANES];
    __m256i above = _mm256_setzero_si256(), sum[2];
    row_models r = { .model = set->model, .place = context ? place : NULL,
                     .above = &above, .left = left, .old = old };
    row_models r2 = r;

    r2.twice = twice;
    begin(&r, context, halves);
#pragma GCC unroll 2
    for (int v = 0; v < (vectors + 1) / 2; v++)
        sum[v] = _mm256_loadu_si256((const __m256i *)(sums + 16 * v));
    for (size_t i = 0; i < rows->n; i += width) {
        const uint8_t *sym = rows->sym + i;
        const __m256i before = above;
        add_up(sum, sym, vectors);
        if (context)
            find_places(context + i, set->models, place, vectors);
        for (size_t k = 0; k < width && halves == 2; k++) {
            half[0][k] = sym[k] >> 4;
            half[1][k] = sym[k] & 15;
            twice[k] = (uint8_t)(2 * (sym[k] >> 4) + 2);
        }
        model_row(&r, halves == 2 ? half[0] : sym, record, vectors);
        record += width;
        const __m256i more = _mm256_sub_epi16(above, before);
        learn(&r, more);
        if (halves == 2) {
            model_row(&r2, half[1], record, vectors);
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

/* Writes the low halves of those states that are not kept; they lose them. */
static inline __m256i give(__m256i x, __m256i keep, uint8_t **end)
{
    const unsigned set = 0xff & ~(unsigned)_mm256_movemask_ps(
        _mm256_castsi256_ps(keep));
    const __m256i low = _mm256_blend_epi16(x, _mm256_setzero_si256(), 0xaa);
    const __m128i words = _mm_packus_epi32(_mm256_castsi256_si128(low),
                                           _mm256_extracti128_si256(low, 1));

    _mm_storeu_si128((__m128i *)(*end - 16), _mm_shuffle_epi8(
        words, _mm_load_si128((const __m128i *)tsri_rans_packs[set])));
    *end -= 2 * (size_t)__builtin_popcount(set);
    return _mm256_srlv_epi32(x, _mm256_andnot_si256(keep, _mm256_set1_epi32(16)));
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

    x = give(x, _mm256_cmpeq_epi32(_mm256_min_epu32(x, most), x), end);
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
