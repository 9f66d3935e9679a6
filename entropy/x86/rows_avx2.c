/* SPDX-License-Identifier: BSD-2-Clause */
/* The decoder of rows.  A row of 32 lanes has 32 tables; where levels begin in
 * each of them stands ready strip by strip, so that all lanes are searched at
 * once and no table is looked up. */
#include <string.h>
#include "entropy/rows_impl.h"
#include "entropy/x86/lanes_avx2.h"

enum {
    LANES = TSRI_ROWS_LANES,
    BITS = TSRI_ROWS_BITS,
    MARGIN = 64 * TSRI_ROWS_RUNS + 64   /* bytes that a strip may read */
};

typedef struct reader {
    tsri_rans_stream s;
    const uint8_t *safe;    /* a strip may begin up to here */
    uint8_t *copy;          /* room for the last words, with zeros behind */
    bool tail;              /* they are there, and `safe` is their end */
} reader;

/* Are there words, or is it the end?  Called where a strip may not begin. */
static __attribute__((noinline)) bool more_words(reader *r)
{
    const size_t left = (size_t)(r->s.end - r->s.word);

    if (r->tail)
        return false;
    memcpy(r->copy, r->s.word, left);
    memset(r->copy + left, 0, MARGIN);
    r->s.word = r->copy;
    r->s.end = r->safe = r->copy + left;
    r->tail = true;
    return true;
}

/* ---- runs ---- */

/* 16 bits of each lane, packed. */
typedef struct found {
    __m256i level, negative;
} found;

static inline __m256i load(const uint16_t *row)
{
    return _mm256_loadu_si256((const __m256i *)row);
}

/* _mm256_blendv_epi8(no, yes, mask), of which some compilers make two
 * instructions where the mask has further uses. */
static inline __m256i either(__m256i mask, __m256i yes, __m256i no)
{
    __m256i result;

    __asm__("vpblendvb %3, %2, %1, %0"
            : "=x"(result) : "x"(no), "xm"(yes), "x"(mask));
    return result;
}

/* The level of 16 slots, and [*low, *high) its slots. */
static inline __attribute__((always_inline)) __m256i
search(const uint16_t (*bound)[LANES], __m256i slot, __m256i *low,
       __m256i *high, const int depth)
{
    __m256i c = load(bound[0]), d, b[4], level;

    b[0] = _mm256_cmpgt_epi16(c, slot); /* below it? */
    *low = _mm256_andnot_si256(b[0], c);
    *high = either(b[0], c, _mm256_set1_epi16(1 << BITS));
    level = b[0];
#pragma GCC unroll 3
    for (int k = 1; k < depth; k++) {
        /* Masks that are known first come first. */
        if (k == 1) {
            c = either(b[0], load(bound[1]), load(bound[2]));
        } else if (k == 2) {
            c = either(b[1], either(b[0], load(bound[3]), load(bound[5])),
                       either(b[0], load(bound[4]), load(bound[6])));
        } else {
            c = either(b[1], either(b[0], load(bound[7]), load(bound[11])),
                       either(b[0], load(bound[9]), load(bound[13])));
            d = either(b[1], either(b[0], load(bound[8]), load(bound[12])),
                       either(b[0], load(bound[10]), load(bound[14])));
            c = either(b[2], c, d);
        }
        b[k] = _mm256_cmpgt_epi16(c, slot);
        *low = either(b[k], *low, c);
        *high = either(b[k], c, *high);
        level = _mm256_add_epi16(_mm256_add_epi16(level, level), b[k]);
    }
    return _mm256_add_epi16(level, _mm256_set1_epi16((short)((1 << depth) - 1)));
}

static inline __m256i slots_of(__m256i x, __m256i y)
{
    const __m256i mask = _mm256_set1_epi32((1 << BITS) - 1);

    return _mm256_packus_epi32(_mm256_and_si256(x, mask),
                               _mm256_and_si256(y, mask));
}

/* Sixteen states lose their symbols and take words. */
static inline __attribute__((always_inline)) void
advance(tsri_rans_stream *s, int half, __m256i freq, __m256i rest)
{
    const __m256i zero = _mm256_setzero_si256();
    __m256i *x = &s->x[2 * half];

    x[0] = _mm256_add_epi32(_mm256_unpacklo_epi16(rest, zero),
        _mm256_mullo_epi32(_mm256_unpacklo_epi16(freq, zero),
                           _mm256_srli_epi32(x[0], BITS)));
    x[1] = _mm256_add_epi32(_mm256_unpackhi_epi16(rest, zero),
        _mm256_mullo_epi32(_mm256_unpackhi_epi16(freq, zero),
                           _mm256_srli_epi32(x[1], BITS)));
    x[0] = tsri_rans_refill(x[0], &s->word);
    x[1] = tsri_rans_refill(x[1], &s->word);
}

/* Adds symbols up, in the first n lanes. */
static inline __attribute__((always_inline)) void
add_up(tsri_rans_stream *s, int half, __m256i symbol, int n, const bool partial)
{
    const __m256i sum = tsri_rans_add_up(s->sum[half], symbol);
    const __m256i lane = _mm256_setr_epi16(0, 1, 2, 3, 8, 9, 10, 11,
                                           4, 5, 6, 7, 12, 13, 14, 15);

    s->sum[half] = !partial ? sum : either(_mm256_cmpgt_epi16(
        _mm256_set1_epi16((short)(n - 16 * half)), lane), sum, s->sum[half]);
}

/* Symbols of 2^bits: 12 - bits of each lane are 32-bit numbers in keep[4]. */
static inline __attribute__((always_inline)) void
uniform_run(tsri_rans_stream *s, const __m256i *keep, __m256i *symbol)
{
    __m256i sym[4];

#pragma GCC unroll 4
    for (int v = 0; v < 4; v++) {
        const __m256i slot = _mm256_and_si256(s->x[v],
                                              _mm256_set1_epi32((1 << BITS) - 1));
        sym[v] = _mm256_srlv_epi32(slot, keep[v]);
        s->x[v] = _mm256_add_epi32(
            _mm256_sllv_epi32(_mm256_srli_epi32(s->x[v], BITS), keep[v]),
            _mm256_sub_epi32(slot, _mm256_sllv_epi32(sym[v], keep[v])));
        s->x[v] = tsri_rans_refill(s->x[v], &s->word);
    }
    symbol[0] = _mm256_packus_epi32(sym[0], sym[1]);
    symbol[1] = _mm256_packus_epi32(sym[2], sym[3]);
}

/* ---- strips of values ---- */

/* The runs of escapes of the lanes of open[2]: what they add to beyond[32], in
 * order.  False: one does not end. */
static __attribute__((noinline)) bool
escape_runs(tsri_rans_stream *s, const __m256i *escaped, int n, uint16_t *beyond)
{
    const __m256i all = _mm256_set1_epi32(BITS), bits = _mm256_set1_epi32(-4);
    const __m256i seven = _mm256_set1_epi16(7);
    __m256i open[2] = { escaped[0], escaped[1] }, sum[2], symbol[2], keep[4];
    int at = 0;

    sum[0] = sum[1] = _mm256_setzero_si256();
    for (; at < TSRI_ROWS_GROUP * TSRI_ROWS_GROUPS; at += TSRI_ROWS_GROUP) {
        for (int h = 0; h < 2; h++) {
            keep[2 * h] = _mm256_unpacklo_epi16(open[h], open[h]);
            keep[2 * h + 1] = _mm256_unpackhi_epi16(open[h], open[h]);
        }
        for (int v = 0; v < 4; v++)
            keep[v] = _mm256_add_epi32(all, _mm256_and_si256(keep[v], bits));
        uniform_run(s, keep, symbol);
        for (int h = 0; h < 2; h++) {
            add_up(s, h, symbol[h], n, true);
            sum[h] = _mm256_add_epi16(sum[h], _mm256_sll_epi16(
                _mm256_and_si256(symbol[h], seven), _mm_cvtsi32_si128(at)));
            open[h] = _mm256_cmpgt_epi16(symbol[h], seven);
        }
        if (_mm256_testz_si256(_mm256_or_si256(open[0], open[1]),
                               _mm256_set1_epi16(-1)))
            break;
    }
    for (int h = 0; h < 2; h++)
        _mm256_storeu_si256((__m256i *)(beyond + 16 * h),
                            tsri_rans_pack_order(sum[h]));
    return at < TSRI_ROWS_GROUP * TSRI_ROWS_GROUPS;
}

/* Values that have been taken for the top level and are beyond it. */
static __attribute__((noinline)) bool
correct(const tsri_rows_strip *strip, const __m256i *escaped,
        const uint16_t *beyond, int16_t *q)
{
    unsigned set = (unsigned)_mm256_movemask_epi8(_mm256_permute4x64_epi64(
        _mm256_packs_epi16(tsri_rans_pack_order(escaped[0]),
                           tsri_rans_pack_order(escaped[1])), 0xd8));
    const int top = tsri_rows_top(strip->depth);

    for (; set; set &= set - 1) {
        const int i = __builtin_ctz(set), k = strip->low[i];
        const int more = (strip->reach[i] + 1 + beyond[i] - top) * (1 << k);
        const int negative = q[i] + (1 << k >> 1) < 0;
        const int value = q[i] + (negative ? -more : more);
        if (value > INT16_MAX || value < -INT16_MAX)
            return false;
        q[i] = (int16_t)value;
    }
    return true;
}

static inline __attribute__((always_inline)) void
low_run(tsri_rans_stream *s, const tsri_rows_strip *strip, int n,
        const bool partial, __m256i *q)
{
    __m256i keep[4], symbol[2];

#pragma GCC unroll 4
    for (int v = 0; v < 4; v++)
        keep[v] = _mm256_sub_epi32(_mm256_set1_epi32(BITS), _mm256_cvtepu8_epi32(
            _mm_loadl_epi64((const __m128i *)(strip->low + 8 * v))));
    uniform_run(s, keep, symbol);
#pragma GCC unroll 2
    for (int h = 0; h < 2; h++) {
        const __m256i scale = tsri_rans_pack_order(load(strip->scale + 16 * h));
        add_up(s, h, symbol[h], n, partial);
        q[h] = _mm256_add_epi16(_mm256_mullo_epi16(q[h], scale),
            _mm256_sub_epi16(symbol[h], _mm256_srli_epi16(scale, 1)));
    }
}

/* A strip of n values, 32 unless partial; q has room for 32. */
static inline __attribute__((always_inline)) bool
value_strip(tsri_rans_stream *s, const tsri_rows_strip *strip, int16_t *q,
            int n, const int depth, const bool partial)
{
    const __m256i top = _mm256_set1_epi16((short)tsri_rows_top(depth));
    __m256i freq[2], rest[2], symbol[2], value[2], escaped[2];
    uint16_t beyond[LANES];
    bool any, sound = true;

#pragma GCC unroll 2
    for (int h = 0; h < 2; h++) {
        const __m256i slot = slots_of(s->x[2 * h], s->x[2 * h + 1]);
        __m256i low, high, half, level, negative;
        level = search((const uint16_t (*)[LANES])(strip->bound[0] + 16 * h),
                       slot, &low, &high, depth);
        /* Level 0 has no sign; of the others the lower half is negative. */
        high = _mm256_sub_epi16(high, low);
        rest[h] = _mm256_sub_epi16(slot, low);
        half = _mm256_andnot_si256(_mm256_cmpeq_epi16(low,
            _mm256_setzero_si256()), _mm256_srli_epi16(high, 1));
        negative = _mm256_cmpgt_epi16(half, rest[h]);
        freq[h] = _mm256_sub_epi16(high, half);
        rest[h] = _mm256_sub_epi16(rest[h], _mm256_andnot_si256(negative, half));
        escaped[h] = _mm256_cmpeq_epi16(level, top);
        symbol[h] = _mm256_add_epi16(_mm256_add_epi16(level, level), negative);
        value[h] = _mm256_sub_epi16(_mm256_xor_si256(level, negative), negative);
    }
    advance(s, 0, freq[0], rest[0]);
    advance(s, 1, freq[1], rest[1]);
    const __m256i open = _mm256_or_si256(escaped[0], escaped[1]);
    any = !_mm256_testz_si256(open, open);
    if (any && depth < 4)
        for (int h = 0; h < 2; h++)
            symbol[h] = _mm256_add_epi16(symbol[h], _mm256_and_si256(escaped[h],
                _mm256_set1_epi16((short)(2 * (TSRI_ROWS_ESCAPE -
                                               tsri_rows_top(depth))))));
    add_up(s, 0, symbol[0], n, partial);
    add_up(s, 1, symbol[1], n, partial);
    if (strip->any_low)
        low_run(s, strip, n, partial, value);
    _mm256_storeu_si256((__m256i *)q, tsri_rans_pack_order(value[0]));
    _mm256_storeu_si256((__m256i *)q + 1, tsri_rans_pack_order(value[1]));
    if (any) {
        tsri_rans_stream copy = *s; /* so that the original may be in registers */
        sound = escape_runs(&copy, escaped, n, beyond) &&
                correct(strip, escaped, beyond, q);
        *s = copy;
    }
    return sound;
}

static inline __attribute__((always_inline)) bool
any_value_strip(tsri_rans_stream *s, const tsri_rows_strip *strip, int16_t *q,
                int n, const bool partial)
{
    return strip->depth == 2 ? value_strip(s, strip, q, n, 2, partial) :
           strip->depth == 3 ? value_strip(s, strip, q, n, 3, partial) :
                               value_strip(s, strip, q, n, 4, partial);
}

/* ---- strips of refinements ---- */

static inline __attribute__((always_inline)) bool
refine_strip(tsri_rans_stream *s, const tsri_rows_strip *strip, int16_t *q,
             int n, const bool partial)
{
    const __m256i zero = _mm256_setzero_si256(), one = _mm256_set1_epi16(1);
    __m256i freq[2], rest[2], symbol[2], most = zero;

#pragma GCC unroll 2
    for (int h = 0; h < 2; h++) {
        const __m256i slot = slots_of(s->x[2 * h], s->x[2 * h + 1]);
        const __m256i q0 = tsri_rans_pack_order(
            _mm256_loadu_si256((const __m256i *)q + h));
        const __m256i size = _mm256_abs_epi16(q0);
        const __m256i is_zero = _mm256_cmpeq_epi16(size, zero);
        const __m256i is_one = _mm256_cmpeq_epi16(size, one);
        __m256i c[2], below[2], low, sign;
        for (int i = 0; i < 2; i++) {
            c[i] = either(is_zero, load(strip->refine[0][i] + 16 * h),
                   either(is_one, load(strip->refine[1][i] + 16 * h),
                                  load(strip->refine[2][i] + 16 * h)));
            below[i] = _mm256_cmpgt_epi16(c[i], slot);
        }
        low = either(below[1], _mm256_andnot_si256(below[0], c[0]), c[1]);
        freq[h] = _mm256_sub_epi16(either(below[0], c[0], either(below[1], c[1],
            _mm256_set1_epi16(1 << BITS))), low);
        rest[h] = _mm256_sub_epi16(slot, low);
        symbol[h] = _mm256_add_epi16(_mm256_add_epi16(one, one),
                                     _mm256_add_epi16(below[0], below[1]));
        sign = _mm256_cmpgt_epi16(zero, q0);
        low = _mm256_sub_epi16(_mm256_xor_si256(
            _mm256_sub_epi16(symbol[h], one), sign), sign);
        most = _mm256_max_epu16(most, size);
        _mm256_storeu_si256((__m256i *)q + h, tsri_rans_pack_order(
            _mm256_add_epi16(_mm256_add_epi16(q0, q0),
                             _mm256_add_epi16(q0, low))));
    }
    advance(s, 0, freq[0], rest[0]);
    advance(s, 1, freq[1], rest[1]);
    add_up(s, 0, symbol[0], n, partial);
    add_up(s, 1, symbol[1], n, partial);
    most = _mm256_subs_epu16(most, _mm256_set1_epi16(TSRI_ROWS_MAX_REFINED));
    return _mm256_testz_si256(most, most);
}

/* ---- segments ---- */

/* The last strip of a token, of n < 32 values: by way of a copy, since what is
 * behind them is not ours. */
static __attribute__((noinline)) bool
partial_strip(tsri_rans_stream *s, const tsri_rows_strip *strip, int16_t *q,
              int n, bool refine)
{
    int16_t copy[LANES] = { 0 };
    bool sound;

    memcpy(copy, q, (size_t)n * sizeof *q);
    sound = refine ? refine_strip(s, strip, copy, n, true)
                   : any_value_strip(s, strip, copy, n, true);
    memcpy(q, copy, (size_t)n * sizeof *q);
    return sound;
}

/* Where a segment stands. */
typedef struct place {
    const tsri_rows_strip *strip;
    int16_t *q;
    int left;               /* values of the token */
} place;

/* The next strip of a segment. */
static inline __attribute__((always_inline)) bool
step(reader *r, place *p, const bool refine)
{
    bool sound = true;

    if (r->s.word > r->safe) {
        reader copy = *r;   /* so that the original may be in registers */
        if (!more_words(&copy))
            return false;
        *r = copy;
    }
    if (p->left < LANES) {
        tsri_rans_stream copy = r->s;
        sound = partial_strip(&copy, p->strip, p->q, p->left, refine);
        r->s = copy;
    } else if (refine) {
        sound = refine_strip(&r->s, p->strip, p->q, LANES, false);
    } else {
        sound = any_value_strip(&r->s, p->strip, p->q, LANES, false);
    }
    p->strip++;
    p->q += LANES;
    p->left -= LANES;
    return sound;
}

static inline place token(const tsri_rows_matrix *m, int t)
{
    return (place){ tsri_rows_strips(m, t), m->q + (size_t)t * m->pitch,
                    m->coefs };
}

/* All strips of one segment, or of two in turn: a single chain of states leaves
 * half of a processor idle. */
static inline __attribute__((always_inline)) bool
all_strips(reader *const *readers, const tsri_rows_matrix *const *m,
           const int count, const bool refine)
{
    reader r = *readers[0], u = *readers[count - 1];

    for (int t = 0; t < m[0]->tokens; t++) {
        place p = token(m[0], t);
        if (count == 2) {
            place v = token(m[1], t);
            while (p.left > 0 && v.left > 0)
                if (!step(&r, &p, refine) || !step(&u, &v, refine))
                    return false;
            while (v.left > 0)
                if (!step(&u, &v, refine))
                    return false;
        }
        while (p.left > 0)
            if (!step(&r, &p, refine))
                return false;
    }
    *readers[count - 1] = u;
    *readers[0] = r;
    return true;
}

static __attribute__((noinline)) bool
values_of_one(reader *const *r, const tsri_rows_matrix *const *m)
{
    return all_strips(r, m, 1, false);
}

static __attribute__((noinline)) bool
values_of_two(reader *const *r, const tsri_rows_matrix *const *m)
{
    return all_strips(r, m, 2, false);
}

static __attribute__((noinline)) bool
refine_one(reader *const *r, const tsri_rows_matrix *const *m)
{
    return all_strips(r, m, 1, true);
}

static __attribute__((noinline)) bool
refine_two(reader *const *r, const tsri_rows_matrix *const *m)
{
    return all_strips(r, m, 2, true);
}

static void start(reader *r, const tsri_rans_dec *dec, void *copy)
{
    *r = (reader){ .copy = copy };
    tsri_rans_load_stream(&r->s, dec, 4);
    if (r->s.end - r->s.word < MARGIN)
        more_words(r);
    else
        r->safe = r->s.end - MARGIN;
}

tsr_error tsri_rows_decode_avx2(tsri_rans_dec *const *dec,
                                const tsri_rows_matrix *const *m, int count,
                                bool refine, void *scratch)
{
    reader r[2], *const at[2] = { &r[0], &r[1] };
    bool sound;

    for (int i = 0; i < count; i++)
        start(&r[i], dec[i], (uint8_t *)scratch + 2 * MARGIN * i);
    sound = refine ? count == 1 ? refine_one(at, m) : refine_two(at, m)
                   : count == 1 ? values_of_one(at, m) : values_of_two(at, m);
    for (int i = 0; i < count && sound; i++) {
        sound = !r[i].tail || r[i].s.word <= r[i].safe;
        r[i].s.word = dec[i]->word_end - (r[i].s.end - r[i].s.word);
        tsri_rans_store_stream(&r[i].s, dec[i], 4);
    }
    return sound ? TSR_OK : TSR_E_CORRUPT;
}
