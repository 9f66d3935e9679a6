/* SPDX-License-Identifier: BSD-2-Clause */
/* The encoder of rows: a pass over all values that finds their symbols and adds
 * them up, and one backwards that codes them. */
#include <string.h>
#include "entropy/rows_impl.h"
#include "entropy/x86/lanes_avx2.h"

enum { LANES = TSRI_ROWS_LANES, BITS = TSRI_ROWS_BITS };

typedef struct coder {
    const tsri_rows_matrix *m;
    const int8_t *r;        /* or NULL: values */
    size_t r_pitch;
    const uint64_t *records;
    uint16_t *place;        /* of records, 32 of each strip */
    uint8_t *escapes;       /* of each strip: are there any? */
    __m256i sum[2], x[4];
    uint8_t *end;
} coder;

static inline __m256i load(const void *row)
{
    return _mm256_loadu_si256((const __m256i *)row);
}

static inline void store(void *row, __m256i v)
{
    _mm256_storeu_si256((__m256i *)row, v);
}

/* 0xffff in the first n lanes of half h. */
static inline __m256i first_lanes(int n, int h)
{
    return _mm256_cmpgt_epi16(_mm256_set1_epi16((short)(n - 16 * h)),
        _mm256_setr_epi16(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
}

/* ---- values in their parts, 16 of them ---- */

static inline __m256i high_of(const tsri_rows_strip *strip, int h, __m256i q)
{
    /* (q * inverse / 2^15, rounded; there is no 2^15, but -2^15 */
    const __m256i inverse = load(strip->inverse + 16 * h);

    return _mm256_sign_epi16(_mm256_mulhrs_epi16(q, inverse), inverse);
}

static inline __m256i low_of(const tsri_rows_strip *strip, int h, __m256i q)
{
    const __m256i scale = load(strip->scale + 16 * h);

    return _mm256_and_si256(_mm256_add_epi16(q, _mm256_srli_epi16(scale, 1)),
                            _mm256_sub_epi16(scale, _mm256_set1_epi16(1)));
}

static inline __m256i reach_of(const tsri_rows_strip *strip, int h)
{
    return _mm256_cvtepu8_epi16(
        _mm_loadu_si128((const __m128i *)strip->reach + h));
}

/* What the lanes of a strip are beyond their reach, -1: not; returns the
 * largest. */
static int beyond_reach(const tsri_rows_strip *strip, const __m256i *q,
                        __m256i *beyond)
{
    const __m256i one = _mm256_set1_epi16(1);
    int16_t part[16];
    int most = -1;

    for (int h = 0; h < 2; h++) {
        const __m256i size = _mm256_abs_epi16(high_of(strip, h, q[h]));
        beyond[h] = _mm256_max_epi16(_mm256_sub_epi16(_mm256_sub_epi16(
            size, reach_of(strip, h)), one), _mm256_set1_epi16(-1));
    }
    store(part, _mm256_max_epi16(beyond[0], beyond[1]));
    for (int i = 0; i < 16; i++)
        most = tsri_max(most, part[i]);
    return most;
}

/* The symbols of a run of escapes, and which lanes take part in it. */
static inline __m256i escape_symbol(__m256i beyond, int at, __m256i *open)
{
    const __m256i rest = _mm256_srl_epi16(_mm256_max_epi16(
        beyond, _mm256_setzero_si256()), _mm_cvtsi32_si128(at));
    const __m256i seven = _mm256_set1_epi16(7), eight = _mm256_set1_epi16(8);

    *open = _mm256_cmpgt_epi16(at ? rest : beyond,
                               _mm256_set1_epi16(at ? 0 : -1));
    return _mm256_or_si256(_mm256_and_si256(rest, seven), _mm256_and_si256(
        _mm256_cmpgt_epi16(rest, seven), eight));
}

/* ---- first pass ---- */

static inline __attribute__((always_inline)) void
add_up(coder *c, int h, __m256i symbol, int n, const bool partial)
{
    const __m256i sum = tsri_rans_add_up(c->sum[h], symbol);

    c->sum[h] = partial ? _mm256_blendv_epi8(c->sum[h], sum, first_lanes(n, h))
                        : sum;
}

static __attribute__((noinline)) void
add_escapes(coder *c, const tsri_rows_strip *strip, const __m256i *q, int n)
{
    __m256i beyond[2], open;
    const int most = beyond_reach(strip, q, beyond);

    for (int at = 0; !at || most >> at; at += TSRI_ROWS_GROUP)
        for (int h = 0; h < 2; h++)
            add_up(c, h, escape_symbol(beyond[h], at, &open), n, true);
}

static inline __attribute__((always_inline)) void
put_place(uint16_t *place, int h, __m256i at, int nothing, int n,
          const bool partial)
{
    store(place + 16 * h, !partial ? at : _mm256_blendv_epi8(
        _mm256_set1_epi16((short)nothing), at, first_lanes(n, h)));
}

/* Finds the symbols of n values, 32 unless partial; returns if there are
 * escapes. */
static inline __attribute__((always_inline)) bool
plan_values(coder *c, const tsri_rows_strip *strip, const int16_t *in, int n,
            uint16_t *place, const bool partial)
{
    const __m256i q[2] = { load(in), load(in + 16) };
    __m256i over[2];

#pragma GCC unroll 2
    for (int h = 0; h < 2; h++) {
        const __m256i high = strip->any_low ? high_of(strip, h, q[h]) : q[h];
        const __m256i size = _mm256_abs_epi16(high);
        over[h] = _mm256_cmpgt_epi16(size, reach_of(strip, h));
        const __m256i level = _mm256_blendv_epi8(
            size, _mm256_set1_epi16(TSRI_ROWS_ESCAPE), over[h]);
        const __m256i symbol = _mm256_add_epi16(_mm256_add_epi16(level, level),
                                                _mm256_srai_epi16(high, 15));
        add_up(c, h, symbol, n, partial);
        put_place(place, h, _mm256_add_epi16(symbol, load(strip->first + 16 * h)),
                  TSRI_ROWS_NOTHING, n, partial);
    }
    if (strip->any_low)
        for (int h = 0; h < 2; h++)
            add_up(c, h, low_of(strip, h, q[h]), n, partial);
    over[0] = _mm256_or_si256(over[0], over[1]);
    if (_mm256_testz_si256(over[0], over[0]))
        return false;
    coder copy = *c; /* so that the original may be in registers */
    add_escapes(&copy, strip, q, n);
    *c = copy;
    return true;
}

static inline __attribute__((always_inline)) void
plan_refinement(coder *c, const tsri_rows_strip *strip, const int16_t *q,
                const int8_t *r, int n, uint16_t *place, const bool partial)
{
    const __m256i one = _mm256_set1_epi16(1), two = _mm256_set1_epi16(2);

#pragma GCC unroll 2
    for (int h = 0; h < 2; h++) {
        const __m256i q0 = load(q + 16 * h), first = load(strip->first + 16 * h);
        const __m256i fine = _mm256_cvtepi8_epi16(
            _mm_loadu_si128((const __m128i *)r + h));
        const __m256i kind = _mm256_min_epu16(_mm256_abs_epi16(q0), two);
        const __m256i sign = _mm256_srai_epi16(q0, 15);
        const __m256i symbol = _mm256_add_epi16(one, _mm256_sub_epi16(
            _mm256_xor_si256(fine, sign), sign));
        /* 12 times the class */
        const __m256i table = _mm256_add_epi16(_mm256_srli_epi16(first, 2),
                                               _mm256_srli_epi16(first, 3));
        add_up(c, h, symbol, n, partial);
        put_place(place, h, _mm256_add_epi16(_mm256_add_epi16(symbol, table),
            _mm256_slli_epi16(kind, 2)), 3, n, partial);
    }
}

static __attribute__((noinline)) bool
plan_partial(coder *c, const tsri_rows_strip *strip, const int16_t *q,
             const int8_t *r, int n, uint16_t *place)
{
    int16_t values[LANES] = { 0 };
    int8_t fine[LANES] = { 0 };

    memcpy(values, q, (size_t)n * sizeof *q);
    if (!r)
        return plan_values(c, strip, values, n, place, true);
    memcpy(fine, r, (size_t)n);
    plan_refinement(c, strip, values, fine, n, place, true);
    return false;
}

static inline __attribute__((always_inline)) void
plan(coder *at, const bool refine)
{
    coder c = *at;
    uint16_t *place = c.place;
    uint8_t *escapes = c.escapes;

    for (int t = 0; t < c.m->tokens; t++) {
        const tsri_rows_strip *strip = tsri_rows_strips(c.m, t);
        const int16_t *q = c.m->q + (size_t)t * c.m->pitch;
        const int8_t *r = refine ? c.r + (size_t)t * c.r_pitch : NULL;
        for (int left = c.m->coefs; left > 0; left -= LANES) {
            *escapes = 0;
            if (left < LANES) {
                coder copy = c;
                *escapes = plan_partial(&copy, strip, q, r, left, place);
                c = copy;
            } else if (refine) {
                plan_refinement(&c, strip, q, r, LANES, place, false);
            } else {
                *escapes = plan_values(&c, strip, q, LANES, place, false);
            }
            q += LANES;
            if (refine)
                r += LANES;
            place += LANES;
            escapes++;
            strip++;
        }
    }
    *at = c;
}

/* ---- second pass ---- */

/* The records of place[0] and place[2]. */
static inline __m128i two_apart(const uint64_t *records, const uint16_t *place)
{
    return _mm_insert_epi64(_mm_cvtsi64_si128((long long)records[place[0]]),
                            (long long)records[place[2]], 1);
}

/* The records of every other one of eight places. */
static inline __m256i four_apart(const uint64_t *records, const uint16_t *place)
{
    return _mm256_set_m128i(two_apart(records, place + 4),
                            two_apart(records, place));
}

/* Puts a symbol on each of eight states. */
static inline __attribute__((always_inline)) __m256i
push(const uint64_t *records, const uint16_t *place, __m256i x, uint8_t **end)
{
    const __m256i even = four_apart(records, place);
    const __m256i odd = four_apart(records, place + 1);
    const __m256i rest = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd,
                                            0xaa);
    const __m256i cmpl = _mm256_srli_epi32(rest, 32 - BITS);
    const __m256i bias = _mm256_and_si256(rest, _mm256_set1_epi32(
        (1 << TSRI_BRIEF_SHIFT) - 1));
    const __m256i shift = _mm256_and_si256(_mm256_srli_epi32(
        rest, TSRI_BRIEF_SHIFT), _mm256_set1_epi32(15));
    const __m256i inc = _mm256_and_si256(_mm256_srli_epi32(
        rest, TSRI_BRIEF_INC), _mm256_set1_epi32(1));

    /* x >= f << 20  <=>  (x >> 20) + 2^12 - f > 2^12 - 1 */
    x = tsri_rans_give(x, _mm256_cmpgt_epi32(_mm256_add_epi32(
        _mm256_srli_epi32(x, 32 - BITS), cmpl),
        _mm256_set1_epi32((1 << BITS) - 1)), false, end);
    const __m256i y = _mm256_add_epi32(x, inc);
    const __m256i q = _mm256_srlv_epi32(_mm256_blend_epi32(
        _mm256_srli_epi64(_mm256_mul_epu32(y, even), 32),
        _mm256_mul_epu32(_mm256_srli_epi64(y, 32), odd), 0xaa), shift);
    return _mm256_add_epi32(_mm256_add_epi32(x, bias),
                            _mm256_mullo_epi32(q, cmpl));
}

/* Puts symbols of 2^(12 - keep), 16 bits each of half h, on its states. */
static inline __attribute__((always_inline)) void
push_uniform(coder *c, int h, const __m256i *keep, __m256i symbol)
{
    const __m256i sym[2] = {
        _mm256_cvtepu16_epi32(_mm256_castsi256_si128(symbol)),
        _mm256_cvtepu16_epi32(_mm256_extracti128_si256(symbol, 1))
    };

#pragma GCC unroll 2
    for (int v = 1; v >= 0; v--) {
        __m256i x = c->x[2 * h + v], over, q;
        over = _mm256_srlv_epi32(x, _mm256_add_epi32(
            keep[v], _mm256_set1_epi32(32 - BITS)));
        x = tsri_rans_give(x, _mm256_cmpeq_epi32(over, _mm256_setzero_si256()),
                           true, &c->end);
        q = _mm256_srlv_epi32(x, keep[v]);
        c->x[2 * h + v] = _mm256_add_epi32(
            _mm256_add_epi32(x, _mm256_slli_epi32(q, BITS)),
            _mm256_sllv_epi32(_mm256_sub_epi32(sym[v], q), keep[v]));
    }
}

static __attribute__((noinline)) void
push_escapes(coder *c, const tsri_rows_strip *strip, const __m256i *q)
{
    const __m256i all = _mm256_set1_epi32(BITS), bits = _mm256_set1_epi32(-4);
    __m256i beyond[2], open, keep[2];
    const int most = beyond_reach(strip, q, beyond);
    int at = 0;

    while (most >> (at + TSRI_ROWS_GROUP))
        at += TSRI_ROWS_GROUP;
    for (; at >= 0; at -= TSRI_ROWS_GROUP)
        for (int h = 1; h >= 0; h--) {
            const __m256i symbol = escape_symbol(beyond[h], at, &open);
            keep[0] = _mm256_cvtepi16_epi32(_mm256_castsi256_si128(open));
            keep[1] = _mm256_cvtepi16_epi32(_mm256_extracti128_si256(open, 1));
            for (int v = 0; v < 2; v++)
                keep[v] = _mm256_add_epi32(all, _mm256_and_si256(keep[v], bits));
            push_uniform(c, h, keep, symbol);
        }
}

static inline __attribute__((always_inline)) void
push_low(coder *c, const tsri_rows_strip *strip, const __m256i *q)
{
    __m256i keep[2];

#pragma GCC unroll 2
    for (int h = 1; h >= 0; h--) {
        for (int v = 0; v < 2; v++)
            keep[v] = _mm256_sub_epi32(_mm256_set1_epi32(BITS),
                _mm256_cvtepu8_epi32(_mm_loadl_epi64(
                    (const __m128i *)(strip->low + 16 * h + 8 * v))));
        push_uniform(c, h, keep, low_of(strip, h, q[h]));
    }
}

/* Raw bits and escapes of a strip. */
static inline __attribute__((always_inline)) void
push_rest(coder *c, const tsri_rows_strip *strip, const int16_t *in, int n,
          bool escapes)
{
    int16_t values[LANES] = { 0 };
    __m256i q[2];

    if (n < LANES)
        in = memcpy(values, in, (size_t)n * sizeof *in);
    q[0] = load(in);
    q[1] = load(in + 16);
    if (escapes) {
        coder copy = *c;
        push_escapes(&copy, strip, q);
        *c = copy;
    }
    if (strip->any_low)
        push_low(c, strip, q);
}

static inline __attribute__((always_inline)) void
code(coder *at, const bool refine)
{
    coder c = *at;
    const int strips = tsri_ceil_div(c.m->coefs, LANES);
    size_t k = (size_t)c.m->tokens * (size_t)strips;

    for (int t = c.m->tokens; t-- > 0;) {
        const tsri_rows_strip *strip = tsri_rows_strips(c.m, t);
        const int16_t *q = c.m->q + (size_t)t * c.m->pitch;
        for (int i = strips; i-- > 0;) {
            const uint16_t *place = c.place + LANES * --k;
            if (!refine && (c.escapes[k] | strip[i].any_low))
                push_rest(&c, &strip[i], q + i * LANES, c.m->coefs - i * LANES,
                          c.escapes[k]);
#pragma GCC unroll 4
            for (int v = 3; v >= 0; v--)
                c.x[v] = push(c.records, place + 8 * v, c.x[v], &c.end);
        }
    }
    *at = c;
}

uint8_t *tsri_rows_encode_avx2(const tsri_rows *rows, const tsri_rows_matrix *m,
                               const int8_t *r, size_t r_pitch, uint32_t seed,
                               uint32_t *state, uint8_t *end, void *scratch)
{
    const size_t strips = (size_t)m->tokens *
                          (size_t)tsri_ceil_div(m->coefs, LANES);
    coder c = {
        .m = m, .r = r, .r_pitch = r_pitch, .place = scratch, .end = end,
        .records = r ? rows->refine_brief[0][0] : rows->brief[0],
        .sum = { _mm256_setzero_si256(), _mm256_setzero_si256() }
    };

    c.escapes = (uint8_t *)(c.place + LANES * strips);
    r ? plan(&c, true) : plan(&c, false);
    for (int h = 0; h < 2; h++) {
        const __m256i low = _mm256_xor_si256(c.sum[h],
                                             _mm256_set1_epi16((short)seed));
        c.x[2 * h] = _mm256_cvtepu16_epi32(_mm256_castsi256_si128(low));
        c.x[2 * h + 1] = _mm256_cvtepu16_epi32(_mm256_extracti128_si256(low, 1));
    }
    for (int v = 0; v < 4; v++)
        c.x[v] = _mm256_or_si256(c.x[v], _mm256_set1_epi32(1 << 16));
    r ? code(&c, true) : code(&c, false);
    for (int v = 0; v < 4; v++)
        store(state + 8 * v, c.x[v]);
    return c.end;
}
