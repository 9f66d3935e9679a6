/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdlib.h>
#include <string.h>
#include "entropy/rows_impl.h"
#include "entropy/rows_table.h"
#include "lib/bytes.h"

enum {
    LANES = TSRI_ROWS_LANES,
    BITS = TSRI_ROWS_BITS,
    ONE = 1 << BITS,
    LOW = 1 << 16,                  /* states are in [2^16, 2^32) */
    HEAD = 1 + 4 * LANES,           /* of a segment */
    LEVEL_TABLES = sizeof level_freq / sizeof *level_freq,
    REFINE_TABLES = sizeof refine_freq / sizeof *refine_freq
};

/* ---- tables ---- */

/* Class c >= 22 has the table of class 18..21 and raw low bits. */
static int table_of(int c, int *low)
{
    *low = c < LEVEL_TABLES ? 0 : (c - 18) >> 2;
    return c - 4 * *low;
}

static void set_table(tsri_rows *rows, int c)
{
    int low;
    const uint16_t *level = level_freq[table_of(c, &low)];
    uint32_t start = 0;

    rows->low[c] = (uint8_t)low;
    for (int s = 0; s < TSRI_ROWS_SYMBOLS - 1; s++) {
        const int a = (s + 1) / 2;
        const uint16_t f = level[a];
        rows->freq[c][s] = f;
        rows->start[c][s] = (uint16_t)start;
        rows->brief[c][s] = f ? tsri_rans_brief(start, f, BITS) : 0;
        if (f && a < TSRI_ROWS_ESCAPE)
            rows->reach[c] = (uint8_t)a;
        start += f;
    }
}

/* Where the levels of a search begin, in its order. */
static void set_bounds(tsri_rows *rows, int c, int depth)
{
    uint16_t *bound = rows->bound[depth - 2][c];

    for (int step = 0; step < depth; step++)
        for (int i = 0; i < 1 << step; i++) {
            const int level = (2 * i + 1) << (depth - 1 - step);
            *bound++ = rows->start[c][level <= rows->reach[c]
                                          ? 2 * level - 1
                                          : 2 * TSRI_ROWS_ESCAPE - 1];
        }
}

static void set_refinement(tsri_rows *rows, int c, int kind)
{
    const uint16_t *f = refine_freq[tsri_min(c, REFINE_TABLES - 1)][kind];
    uint32_t start = 0;

    for (int s = 0; s < 3; s++) {
        rows->refine[c][kind][s] = f[s];
        rows->refine_brief[c][kind][s] = tsri_rans_brief(start, f[s], BITS);
        start += f[s];
        if (s < 2)
            rows->refine_bound[c][kind][s] = (uint16_t)start;
    }
}

tsr_error tsri_rows_open(tsri_rows **out, tsr_context *ctx)
{
    tsri_rows *rows = tsri_calloc(ctx, 1, sizeof *rows);

    *out = rows;
    if (!rows)
        return tsri_nomem(ctx);
    for (int c = 0; c < TSRI_ROWS_CLASSES; c++) {
        set_table(rows, c);
        for (int depth = 2; depth <= 4; depth++)
            set_bounds(rows, c, depth);
        for (int kind = 0; kind < TSRI_ROWS_REFINED; kind++)
            set_refinement(rows, c, kind);
    }
    return TSR_OK;
}

void tsri_rows_close(tsri_rows **rows, tsr_context *ctx)
{
    tsri_free(ctx, *rows);
    *rows = NULL;
}

int tsri_rows_class(uint64_t sum, uint32_t n)
{
    int c = 0;

    if (sum >> 15 >= n)
        return TSRI_ROWS_CLASSES - 1;
    for (int step = TSRI_ROWS_CLASSES / 2; step; step /= 2)
        if (sum << 16 >= (uint64_t)class_border[c + step - 1] * n)
            c += step;
    return c;
}

/* What a lane of a strip needs of class c. */
static void prepare_lane(const tsri_rows *rows, int c, int lane,
                         tsri_rows_strip *strip)
{
    const int at = tsri_rows_place(lane), top = tsri_rows_top(strip->depth);
    const uint16_t *bound = rows->bound[strip->depth - 2][c];

    for (int k = 0; k < top; k++)
        strip->bound[k][at] = bound[k];
    for (int kind = 0; kind < TSRI_ROWS_REFINED; kind++)
        for (int k = 0; k < 2; k++)
            strip->refine[kind][k][at] = rows->refine_bound[c][kind][k];
    strip->cls[lane] = (uint8_t)c;
    strip->first[lane] = (uint16_t)(TSRI_ROWS_SYMBOLS * c);
    strip->low[lane] = rows->low[c];
    strip->any_low |= rows->low[c];
    strip->reach[lane] = rows->reach[c];
    strip->scale[lane] = (uint16_t)(1 << rows->low[c]);
    strip->inverse[lane] = (uint16_t)(1 << 15 >> rows->low[c]);
}

/* A lane of zeros that cost nothing. */
static void prepare_nothing(int lane, tsri_rows_strip *strip)
{
    const int at = tsri_rows_place(lane);

    for (int k = 0; k < tsri_rows_top(strip->depth); k++)
        strip->bound[k][at] = ONE;
    for (int kind = 0; kind < TSRI_ROWS_REFINED; kind++)
        strip->refine[kind][0][at] = strip->refine[kind][1][at] = ONE;
    strip->scale[lane] = 1;
    strip->inverse[lane] = 1 << 15;
}

void tsri_rows_prepare(const tsri_rows *rows, const uint8_t *cls, int coefs,
                       tsri_rows_strip *strips)
{
    for (int left = coefs; left > 0; left -= LANES, cls += LANES, strips++) {
        int reach = 0;
        memset(strips, 0, sizeof *strips);
        for (int i = 0; i < tsri_min(left, LANES); i++)
            reach = tsri_max(reach, rows->reach[cls[i]]);
        strips->depth = reach < 3 ? 2 : reach < 7 ? 3 : 4;
        for (int i = 0; i < LANES; i++)
            if (i < left)
                prepare_lane(rows, cls[i], i, strips);
            else
                prepare_nothing(i, strips);
    }
}

/* ---- encoder ---- */

/* A run of a strip. */
typedef struct run {
    uint16_t start[LANES], freq[LANES], sym[LANES];
} run;

/* Lane i has a symbol of a uniform table of 2^bits. */
static void set_uniform(run *u, int i, int bits, int sym)
{
    u->freq[i] = (uint16_t)(ONE >> bits);
    u->start[i] = (uint16_t)(sym << (BITS - bits));
    u->sym[i] = (uint16_t)sym;
}

/* The runs of a strip of n values; returns how many. */
static int value_runs(const tsri_rows *rows, const tsri_rows_strip *strip,
                      const int16_t *q, int n, run runs[TSRI_ROWS_RUNS])
{
    int escape[LANES], all = 0, count = 1;

    for (int i = 0; i < n; i++) {
        const int c = strip->cls[i], k = strip->low[i];
        const int shifted = q[i] + (1 << k >> 1), hi = shifted >> k;
        const int beyond = abs(hi) - strip->reach[i] - 1;
        const int level = beyond < 0 ? abs(hi) : TSRI_ROWS_ESCAPE;
        const int s = 2 * level - (hi < 0);
        runs[0].start[i] = rows->start[c][s];
        runs[0].freq[i] = rows->freq[c][s];
        runs[0].sym[i] = (uint16_t)s;
        set_uniform(&runs[1], i, k, shifted & ((1 << k) - 1));
        escape[i] = beyond;
        all |= beyond < 0 ? 0 : 1 << 15 | beyond;
    }
    count += strip->any_low != 0;
    for (int at = 0; all >> 15 && (!at || (all & 0x7fff) >> at);
         at += TSRI_ROWS_GROUP, count++)
        for (int i = 0; i < n; i++) {
            const int rest = escape[i] < 0 ? 0 : escape[i] >> at;
            const bool open = escape[i] >= 0 && (!at || rest);
            set_uniform(&runs[count], i, open ? TSRI_ROWS_GROUP + 1 : 0,
                        (rest & 7) | (rest > 7) << TSRI_ROWS_GROUP);
        }
    return count;
}

/* The kind of a refined value, and its symbol. */
static int kind_of(int q0)
{
    return tsri_min(abs(q0), TSRI_ROWS_REFINED - 1);
}

static void refine_run(const tsri_rows *rows, const tsri_rows_strip *strip,
                       const int16_t *q0, const int8_t *r, int n, run *u)
{
    for (int i = 0; i < n; i++) {
        const uint16_t *f = rows->refine[strip->cls[i]][kind_of(q0[i])];
        const int s = (q0[i] < 0 ? -r[i] : r[i]) + 1;
        u->start[i] = (uint16_t)((s > 0 ? f[0] : 0) + (s > 1 ? f[1] : 0));
        u->freq[i] = f[s];
        u->sym[i] = (uint16_t)s;
    }
}

/* What is coded: values, or their r. */
typedef struct source {
    const tsri_rows *rows;
    const tsri_rows_matrix *m;
    const int8_t *r;
    size_t r_pitch;
} source;

static int runs_of(const source *s, int t, int first, int n, run *runs)
{
    const tsri_rows_strip *strip = &tsri_rows_strips(s->m, t)[first / LANES];
    const int16_t *q = s->m->q + (size_t)t * s->m->pitch + first;

    if (!s->r)
        return value_runs(s->rows, strip, q, n, runs);
    refine_run(s->rows, strip, q, s->r + (size_t)t * s->r_pitch + first, n, runs);
    return 1;
}

static void start_states(const source *s, uint32_t seed, uint32_t *state)
{
    const int coefs = s->m->coefs;
    uint16_t sum[LANES] = { 0 };
    run runs[TSRI_ROWS_RUNS];

    for (int t = 0; t < s->m->tokens; t++)
        for (int first = 0; first < coefs; first += LANES) {
            const int n = tsri_min(coefs - first, LANES);
            const int count = runs_of(s, t, first, n, runs);
            for (int k = 0; k < count; k++)
                for (int i = 0; i < n; i++)
                    sum[i] = tsri_rans_sum(sum[i], runs[k].sym[i]);
        }
    for (int i = 0; i < LANES; i++)
        state[i] = LOW | ((seed ^ sum[i]) & 0xffff);
}

static uint8_t *push(uint32_t *state, uint32_t start, uint32_t f, uint8_t *end)
{
    uint32_t x = *state;

    if (x >> (32 - BITS) >= f) {
        tsri_put16(end -= 2, (uint16_t)x);
        x >>= 16;
    }
    *state = (x / f << BITS) + x % f + start;
    return end;
}

static uint8_t *encode_plain(const source *s, uint32_t seed, uint32_t *state,
                             uint8_t *end)
{
    const int coefs = s->m->coefs;
    run runs[TSRI_ROWS_RUNS];

    start_states(s, seed, state);
    for (int t = s->m->tokens; t-- > 0;)
        for (int first = (coefs - 1) / LANES * LANES; first >= 0;
             first -= LANES) {
            const int n = tsri_min(coefs - first, LANES);
            for (int k = runs_of(s, t, first, n, runs); k-- > 0;)
                for (int i = n; i-- > 0;)
                    end = push(&state[i], runs[k].start[i], runs[k].freq[i],
                               end);
        }
    return end;
}

/* A value costs at most 12 + 5 * 4 bits, or with raw ones 12 + 10 + 2 * 4, and
 * each of its runs a tenth of a bit for the roundings of the state. */
size_t tsri_rows_bound(int tokens, int coefs)
{
    return HEAD + 2 * LANES + 5 * (size_t)tokens * (size_t)coefs;
}

static size_t encode(const source *s, unsigned cpu, uint32_t crc, uint8_t *out,
                     void *scratch)
{
    uint8_t *const end = out + tsri_rows_bound(s->m->tokens, s->m->coefs);
    uint32_t state[LANES];
    uint8_t *words = cpu & TSR_CPU_AVX2
        ? tsri_rows_encode_avx2(s->rows, s->m, s->r, s->r_pitch, crc, state, end,
                                scratch)
        : encode_plain(s, crc, state, end);

    out[0] = 3;     /* 32 lanes, no raw section */
    for (int i = 0; i < LANES; i++)
        tsri_put32(out + 1 + 4 * i, state[i]);
    memmove(out + HEAD, words, (size_t)(end - words));
    return HEAD + (size_t)(end - words);
}

size_t tsri_rows_encode(const tsri_rows *rows, unsigned cpu,
                        const tsri_rows_matrix *m, uint32_t crc, uint8_t *out,
                        void *scratch)
{
    return encode(&(source){ rows, m, NULL, 0 }, cpu, crc, out, scratch);
}

size_t tsri_rows_refine_encode(const tsri_rows *rows, unsigned cpu,
                               const tsri_rows_matrix *q0, const int8_t *r,
                               size_t r_pitch, uint32_t crc, uint8_t *out,
                               void *scratch)
{
    return encode(&(source){ rows, q0, r, r_pitch }, cpu, crc, out, scratch);
}

/* ---- decoder ---- */

/* Takes a symbol off a lane, whose slots it has in [start, start + f). */
static bool take(tsri_rans_dec *dec, int lane, uint32_t start, uint32_t f,
                 uint32_t sym)
{
    uint32_t x = dec->state[lane];

    x = f * (x >> BITS) + (x & (ONE - 1)) - start;
    if (x < LOW) {
        if (dec->word == dec->word_end)
            return false;
        x = x << 16 | tsri_get16(dec->word);
        dec->word += 2;
    }
    dec->state[lane] = x;
    dec->sum[lane] = tsri_rans_sum(dec->sum[lane], sym);
    return true;
}

static bool take_uniform(tsri_rans_dec *dec, int lane, int bits, int *sym)
{
    const uint32_t slot = dec->state[lane] & (ONE - 1);

    *sym = (int)(slot >> (BITS - bits));
    return take(dec, lane, (uint32_t)*sym << (BITS - bits),
                (uint32_t)ONE >> bits, (uint32_t)*sym);
}

/* The number of the table's symbol that has a lane's slot. */
static bool take_symbol(tsri_rans_dec *dec, int lane, const uint16_t *f,
                        int *sym)
{
    const uint32_t slot = dec->state[lane] & (ONE - 1);
    uint32_t start = 0;
    int s = 0;

    while (slot >= start + f[s])
        start += f[s++];
    *sym = s;
    return take(dec, lane, start, f[s], (uint32_t)s);
}

/* The escapes of a strip: hi of lanes that `open` names goes up in magnitude. */
static bool get_escapes(tsri_rans_dec *dec, uint32_t open, int n, int *hi)
{
    int s;

    for (int at = 0; open; at += TSRI_ROWS_GROUP) {
        if (at == TSRI_ROWS_GROUP * TSRI_ROWS_GROUPS)
            return false;
        for (int i = 0; i < n; i++) {
            const bool mine = open >> i & 1;
            if (!take_uniform(dec, i, mine ? TSRI_ROWS_GROUP + 1 : 0, &s))
                return false;
            const int more = (s & 7) << at;
            hi[i] += hi[i] < 0 ? -more : more;
            open ^= (uint32_t)(mine && s <= 7) << i;
        }
    }
    return true;
}

static bool get_values(const tsri_rows *rows, tsri_rans_dec *dec,
                       const tsri_rows_strip *strip, int n, int16_t *q)
{
    int hi[LANES], low[LANES] = { 0 }, s;
    uint32_t open = 0;

    for (int i = 0; i < n; i++) {
        if (!take_symbol(dec, i, rows->freq[strip->cls[i]], &s))
            return false;
        const bool escape = s > 2 * TSRI_ROWS_REACH;
        const int level = escape ? strip->reach[i] + 1 : (s + 1) / 2;
        hi[i] = s & 1 ? -level : level;
        open |= (uint32_t)escape << i;
    }
    if (strip->any_low)
        for (int i = 0; i < n; i++)
            if (!take_uniform(dec, i, strip->low[i], &low[i]))
                return false;
    if (!get_escapes(dec, open, n, hi))
        return false;
    for (int i = 0; i < n; i++) {
        const int k = strip->low[i];
        const int value = hi[i] * (1 << k) + low[i] - (1 << k >> 1);
        if (abs(value) > INT16_MAX)
            return false;
        q[i] = (int16_t)value;
    }
    return true;
}

static bool get_refinement(const tsri_rows *rows, tsri_rans_dec *dec,
                           const tsri_rows_strip *strip, int n, int16_t *q)
{
    int s;

    for (int i = 0; i < n; i++) {
        if (!take_symbol(dec, i, rows->refine[strip->cls[i]][kind_of(q[i])], &s))
            return false;
        const int value = 3 * q[i] + (q[i] < 0 ? 1 - s : s - 1);
        if (abs(value) > INT16_MAX)
            return false;
        q[i] = (int16_t)value;
    }
    return true;
}

static tsr_error decode_plain(const tsri_rows *rows, tsri_rans_dec *dec,
                              const tsri_rows_matrix *m, bool refine)
{
    for (int t = 0; t < m->tokens; t++)
        for (int first = 0; first < m->coefs; first += LANES) {
            const tsri_rows_strip *s = &tsri_rows_strips(m, t)[first / LANES];
            const int n = tsri_min(m->coefs - first, LANES);
            int16_t *q = m->q + (size_t)t * m->pitch + first;
            if (!(refine ? get_refinement(rows, dec, s, n, q)
                         : get_values(rows, dec, s, n, q)))
                return TSR_E_CORRUPT;
        }
    return TSR_OK;
}

size_t tsri_rows_scratch(int tokens, int coefs)
{
    return (2 * LANES + 1) * (size_t)tokens *
               (size_t)tsri_ceil_div(coefs, LANES) + 4096;
}

static tsr_error start(tsri_rans_dec *dec, unsigned cpu,
                       const tsri_rows_segment *s)
{
    TSR_TRY(tsri_rans_dec_start(dec, cpu, s->data, s->size, s->crc));
    return dec->lanes == LANES && dec->raw == dec->raw_end ? TSR_OK
                                                           : TSR_E_CORRUPT;
}

static tsr_error decode(const tsri_rows *rows, unsigned cpu,
                        const tsri_rows_segment *s, int count, bool refine,
                        void *scratch)
{
    tsri_rans_dec dec[2], *const decs[2] = { &dec[0], &dec[1] };
    const tsri_rows_matrix *const m[2] = { &s->m, &s[count - 1].m };

    for (int i = 0; i < count; i++)
        TSR_TRY(start(&dec[i], cpu, &s[i]));
    if (cpu & TSR_CPU_AVX2)
        TSR_TRY(tsri_rows_decode_avx2(decs, m, count, refine, scratch));
    else
        for (int i = 0; i < count; i++)
            TSR_TRY(decode_plain(rows, &dec[i], m[i], refine));
    for (int i = 0; i < count; i++)
        TSR_TRY(tsri_rans_dec_end(&dec[i]));
    return TSR_OK;
}

tsr_error tsri_rows_decode(const tsri_rows *rows, unsigned cpu,
                           const uint8_t *data, size_t size, uint32_t crc,
                           const tsri_rows_matrix *m, void *scratch)
{
    const tsri_rows_segment s = { data, size, crc, *m };

    return decode(rows, cpu, &s, 1, false, scratch);
}

tsr_error tsri_rows_refine_decode(const tsri_rows *rows, unsigned cpu,
                                  const uint8_t *data, size_t size,
                                  uint32_t crc, const tsri_rows_matrix *q0,
                                  void *scratch)
{
    const tsri_rows_segment s = { data, size, crc, *q0 };

    return decode(rows, cpu, &s, 1, true, scratch);
}

tsr_error tsri_rows_decode_pair(const tsri_rows *rows, unsigned cpu,
                                const tsri_rows_segment segment[2], bool refine,
                                void *scratch)
{
    return decode(rows, cpu, segment, 2, refine, scratch);
}
