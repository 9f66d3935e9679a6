/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdlib.h>
#include <string.h>
#include "entropy/shapes.h"
#include "entropy/tables.h"
#include "lib/bytes.h"

/* How a frequency is predicted. */
enum mode {
    BEFORE,     /* as the one before it */
    LINE,       /* on a line through the two before it */
    SHAPE,      /* as in a shape */
    ALL_SHAPE   /* there are no differences from a shape */
};

enum {
    SHAPE_BITS = 10, REACH_BITS = 7,
    PLACE_ORDER = 4,    /* of the Golomb code of a shape's place */
    SHAPE_MEAN = 64,    /* first mean of differences from one, in 1/16 */
    MOST_BANK_SYMBOLS = 256,
    SIZE_ORDER = 4,     /* of the Golomb code of n - 1 */
    UNARY = 2,          /* quotients below this are told in unary */
    MOST_LENGTH = 18,   /* bits behind the leading one: no more is needed */
    ZEROS_FOR_RUN = 2   /* after so many zeros a run's length is told */
};

/* ---- bits, the first one lowest in the first byte ---- */

/* data == NULL: only counts. */
typedef struct writer {
    uint8_t *data;
    size_t bits;
} writer;

static void put(writer *w, uint32_t value, int n)
{
    for (int i = 0; w->data && i < n; i++) {
        const size_t at = w->bits + (size_t)i;
        if (at % 8 == 0)
            w->data[at / 8] = 0;
        w->data[at / 8] |= (uint8_t)((value >> i & 1) << at % 8);
    }
    w->bits += (size_t)n;
}

/* Beyond the end bits are 0 and it is bad. */
typedef struct reader {
    const uint8_t *data;
    size_t bits, end;
    bool bad;
} reader;

static uint32_t get(reader *r, int n)
{
    uint32_t value = 0;

    for (int i = 0; i < n; i++, r->bits++) {
        if (r->bits >= r->end)
            r->bad = true;
        else
            value |= (uint32_t)(r->data[r->bits / 8] >> r->bits % 8 & 1) << i;
    }
    return value;
}

/* ---- exponential Golomb codes of order k: prefix ones, a zero, the bits
 * below the leading one of v + 2^k ---- */

static void put_golomb(writer *w, uint32_t v, int k)
{
    const uint32_t u = v + (1u << k);
    const int len = 31 - __builtin_clz(u);

    put(w, (1u << (len - k)) - 1, len - k + 1);
    put(w, u - (1u << len), len);
}

static uint32_t get_golomb(reader *r, int k)
{
    int len = k;

    while (get(r, 1) && !r->bad)
        if (++len > MOST_LENGTH)
            r->bad = true;
    if (r->bad)
        return 0;
    return get(r, len) + (1u << len) - (1u << k);
}

/* ---- the differences ---- */

/* A table that predicts another: freq[0] of n stands at `begin`. */
typedef struct likeness {
    uint16_t freq[256];
    int n, shape, begin, centre;
} likeness;

/* What writer and reader both know before frequency i. */
typedef struct model {
    enum mode mode;
    const likeness *like;
    int n;
    int floor;      /* least frequency: 1, or 0 where the table has zeros */
    uint32_t left;  /* 2^bits less the frequencies before i */
    uint32_t mean;  /* of the codes lately, in 1/16 */
    int zeros;      /* how many of the latest were 0 */
} model;

static model start(enum mode mode, const likeness *like, int floor, int n,
                   int bits)
{
    const uint32_t sum = 1u << bits;
    const uint32_t mean = mode == SHAPE ? SHAPE_MEAN : 16 * (sum / (uint32_t)n);
    return (model){ mode, like, n, floor, sum, mean, 0 };
}

static int32_t predict(const model *m, const uint16_t *freq, int i)
{
    if (m->mode == SHAPE) {
        const int k = i - m->like->begin;
        return k >= 0 && k < m->like->n ? m->like->freq[k] : m->floor;
    }
    if (i == 0)
        return m->floor;
    if (m->mode == BEFORE || i == 1)
        return freq[i - 1];
    return tsri_max(m->floor, 2 * freq[i - 1] - freq[i - 2]);
}

/* Largest frequency that leaves enough for those behind i. */
static int32_t most(const model *m, int i)
{
    return (int32_t)m->left - m->floor * (m->n - 1 - i);
}

static int order(const model *m)
{
    int k = 0;
    while (24u << k <= m->mean)
        k++;
    return k;
}

/* After a run the difference is not 0, and its code is one less. */
static void learn(model *m, uint32_t code, bool after_run, uint32_t freq)
{
    m->mean = (m->mean + 16 * code) / 2;
    m->zeros = code || after_run ? 0 : m->zeros + 1;
    m->left -= freq;
}

/* Codes of differences: 0, -1, 1, -2, 2, ... */
static uint32_t fold(int32_t d)
{
    return d < 0 ? 2 * (uint32_t)-d - 1 : 2 * (uint32_t)d;
}

static int32_t unfold(uint32_t code)
{
    return code & 1 ? -(int32_t)(code / 2) - 1 : (int32_t)(code / 2);
}

static void put_code(writer *w, uint32_t code, int k)
{
    if (code >> k < UNARY) {
        put(w, (1u << (code >> k)) - 1, (int)(code >> k) + 1);
        put(w, code & ((1u << k) - 1), k);
    } else {
        put(w, (1u << UNARY) - 1, UNARY);
        put_golomb(w, code - ((uint32_t)UNARY << k), k);
    }
}

static uint32_t get_code(reader *r, int k)
{
    uint32_t quotient = 0;

    while (quotient < UNARY && get(r, 1))
        quotient++;
    if (quotient < UNARY)
        return (quotient << k) + get(r, k);
    return ((uint32_t)UNARY << k) + get_golomb(r, k);
}

/* How many differences from i on are 0; the last frequency has none. */
static int zero_run(model *m, const uint16_t *freq, int i)
{
    const int begin = i;

    for (; i < m->n - 1 && freq[i] == predict(m, freq, i); i++)
        m->left -= freq[i];
    return i - begin;
}

/* All but the frequencies. */
static void write_head(writer *w, int n, enum mode mode, const likeness *like,
                       int floor)
{
    put(w, (uint32_t)mode + 4u * (uint32_t)floor, 3);
    put_golomb(w, (uint32_t)n - 1, SIZE_ORDER);
    if (mode == SHAPE) {
        put(w, (uint32_t)like->shape, SHAPE_BITS);
        put_golomb(w, (uint32_t)(like->begin + like->centre), PLACE_ORDER);
    }
}

static void write_mode(writer *w, const uint16_t *freq, int n, int bits,
                       enum mode mode, const likeness *like, int floor)
{
    model m = start(mode, like, floor, n, bits);

    write_head(w, n, mode, like, floor);
    for (int i = 0; i < n - 1; i++) {
        const bool after_run = m.zeros >= ZEROS_FOR_RUN;
        if (after_run) {
            const int run = zero_run(&m, freq, i);
            put_golomb(w, (uint32_t)run, 0);
            m.zeros = 0;
            i += run;
            if (i == n - 1)
                break;
        }
        const uint32_t code = fold(freq[i] - predict(&m, freq, i));
        put_code(w, code - after_run, order(&m));
        learn(&m, code - after_run, after_run, freq[i]);
    }
}

static bool sums_up(const uint16_t *freq, int n, int bits, int *floor)
{
    uint32_t sum = 0;

    *floor = 1;
    for (int i = 0; i < n; i++) {
        sum += freq[i];
        *floor &= freq[i] != 0;
    }
    return sum == 1u << bits; /* n <= 2^15: no overflow */
}

/* Four times the mean index, rounded, and the variance of a continuous
 * distribution with such a table, in 2^-16.  The 1 that every symbol has is left
 * out: it may stand for less.  total: 2^bits - n > 0. */
static int moments(const uint16_t *freq, int n, uint64_t total,
                   uint64_t *variance)
{
    uint64_t sum = 0, squares = 0;

    for (uint64_t i = 0; i < (uint64_t)n; i++) {
        sum += i * (freq[i] - 1u);
        squares += i * i * (freq[i] - 1u);
    }
    *variance = ((squares * total - sum * sum) << 16) / (total * total);
    *variance -= *variance < 65536 / 12 ? *variance : 65536 / 12;
    return (int)((4 * sum + total / 2) / total);
}

static uint64_t distance(const uint16_t *freq, int n, const likeness *like)
{
    uint64_t sum = 0;

    for (int i = 0; i < n; i++) {
        const int k = i - like->begin;
        sum += (uint64_t)abs(freq[i] - (k >= 0 && k < like->n ? like->freq[k]
                                                              : 1));
    }
    return sum;
}

/* Sets the frequencies of a shape whose symbol 0 is at `place`. */
static bool set_likeness(likeness *l, int shape, int bits, int reach, int place)
{
    l->shape = shape;
    l->n = tsri_shape_table(shape, bits, reach, l->freq, &l->centre);
    l->begin = place - l->centre;
    return l->n > 0;
}

/* The shape nearest to a table, of those with about its moments. */
static bool find_likeness(const uint16_t *freq, int n, int bits, likeness *best)
{
    uint64_t variance, least = UINT64_MAX;

    if (n == 1 << bits)
        return false;
    const int quarters = moments(freq, n, (1u << bits) - (uint32_t)n, &variance);
    const int scale = tsri_shape_scale(variance);

    for (int i = 0; i < 18; i++) {
        const int family = i / 9, at = quarters + i / 3 % 3 - 1;
        const int s = tsri_clamp(scale + i % 3 - 1, 0, TSRI_SHAPE_SCALES - 1);
        likeness l;
        if (at < 0 || at / 4 >= n ||
            !set_likeness(&l, tsri_shape(family, at % 4, s), bits, 0, at / 4))
            continue;
        const uint64_t d = distance(freq, n, &l);
        if (d < least) {
            least = d;
            *best = l;
        }
    }
    return least != UINT64_MAX;
}

/* Is the table a shape as it is?  The shorter side tells the reach: it is that,
 * or makes no difference. */
static bool write_all_shape(writer *w, const uint16_t *freq, int n, int bits,
                            const likeness *like)
{
    const int place = like->begin + like->centre;
    const int reach = tsri_min(place, n - 1 - place);
    likeness l;

    if (reach > TSRI_SHAPE_MAX_REACH ||
        !set_likeness(&l, like->shape, bits, reach, place) || l.begin ||
        l.n != n || memcmp(l.freq, freq, (size_t)n * sizeof *freq))
        return false;
    put(w, ALL_SHAPE + 4, 3);
    put(w, (uint32_t)like->shape, SHAPE_BITS);
    put(w, (uint32_t)reach, REACH_BITS);
    return true;
}

static tsr_error write_table(const uint16_t *freq, int n, int bits,
                             bool with_shapes, uint8_t *out, size_t *size)
{
    enum mode best = BEFORE;
    size_t least = SIZE_MAX;
    writer w = { out, 0 };
    likeness like;
    int floor;

    if (bits < 1 || bits > TSRI_BANK_MAX_BITS || n < 1 || n > 1 << bits ||
        !sums_up(freq, n, bits, &floor))
        return TSR_E_ARG;
    with_shapes = with_shapes && floor && n > 1 && n <= MOST_BANK_SYMBOLS &&
                  find_likeness(freq, n, bits, &like);
    if (!with_shapes || !write_all_shape(&w, freq, n, bits, &like)) {
        for (enum mode mode = BEFORE; mode <= (with_shapes ? SHAPE : LINE);
             mode++) {
            writer count = { NULL, 0 };
            write_mode(&count, freq, n, bits, mode, &like, floor);
            if (count.bits < least) {
                least = count.bits;
                best = mode;
            }
        }
        write_mode(&w, freq, n, bits, best, &like, floor);
    }
    *size = (w.bits + 7) / 8;
    return TSR_OK;
}

tsr_error tsri_table_write(const uint16_t *freq, int n, int bits, uint8_t *out,
                           size_t *size)
{
    return write_table(freq, n, bits, false, out, size);
}

tsr_error tsri_table_write_small(const uint16_t *freq, int n, int bits,
                                 uint8_t *out, size_t *size)
{
    return write_table(freq, n, bits, true, out, size);
}

/* Sets freq[i..] as predicted, as many as the run says. */
static int get_run(reader *r, model *m, uint16_t *freq, int i)
{
    const uint32_t run = get_golomb(r, 0);
    const int end = run <= (uint32_t)(m->n - 1 - i) ? i + (int)run : i;

    r->bad |= end - i != (int)run;
    for (; i < end; i++) {
        const int32_t f = predict(m, freq, i);
        if (f > most(m, i)) {
            r->bad = true;
            break;
        }
        freq[i] = (uint16_t)f;
        m->left -= freq[i];
    }
    return i;
}

static void read_frequencies(reader *r, model *m, uint16_t *freq)
{
    for (int i = 0; i < m->n - 1 && !r->bad; i++) {
        const bool after_run = m->zeros >= ZEROS_FOR_RUN;
        if (after_run) {
            i = get_run(r, m, freq, i);
            m->zeros = 0;
            if (r->bad || i == m->n - 1)
                break;
        }
        const uint32_t code = get_code(r, order(m));
        const int32_t f = predict(m, freq, i) + unfold(code + after_run);
        r->bad |= f < m->floor || f > most(m, i);
        freq[i] = (uint16_t)f;
        learn(m, code, after_run, freq[i]);
    }
    freq[m->n - 1] = (uint16_t)m->left;
}

/* A shape without differences. */
static int read_all_shape(reader *r, int bits, int room, uint16_t *freq)
{
    const int shape = (int)get(r, SHAPE_BITS), reach = (int)get(r, REACH_BITS);
    likeness l;

    if (r->bad || !set_likeness(&l, shape, bits, reach, 0) || l.n > room)
        return 0;
    memcpy(freq, l.freq, (size_t)l.n * sizeof *freq);
    return l.n;
}

static int read_differences(reader *r, enum mode mode, int floor, int bits,
                            int room, uint16_t *freq)
{
    const uint32_t last = get_golomb(r, SIZE_ORDER);
    likeness like;

    if (r->bad || last >= 1u << bits || last >= (uint32_t)room)
        return 0;
    if (mode == SHAPE) {
        const int shape = (int)get(r, SHAPE_BITS);
        const uint32_t place = get_golomb(r, PLACE_ORDER);
        if (r->bad || place > last ||
            !set_likeness(&like, shape, bits, 0, (int)place))
            return 0;
    }
    model m = start(mode, &like, floor, (int)last + 1, bits);
    read_frequencies(r, &m, freq);
    return m.n;
}

tsr_error tsri_table_read(const uint8_t *data, size_t size, int bits, int room,
                          uint16_t *freq, int *n, size_t *used)
{
    reader r = { data, 0, size > SIZE_MAX / 8 ? SIZE_MAX : 8 * size, false };

    if (bits < 1 || bits > TSRI_BANK_MAX_BITS)
        return TSR_E_ARG;
    const enum mode mode = (enum mode)get(&r, 2);
    const int floor = (int)get(&r, 1);
    if (mode == ALL_SHAPE)
        *n = floor ? read_all_shape(&r, bits, room, freq) : 0;
    else
        *n = read_differences(&r, mode, floor, bits, room, freq);
    while (r.bits % 8)
        r.bad |= get(&r, 1);
    *used = r.bits / 8;
    return r.bad || !*n ? TSR_E_CORRUPT : TSR_OK;
}

/* ---- banks: precision, number of tables, the tables ---- */

size_t tsri_tables_bound(const uint16_t *sizes, int tables)
{
    size_t sum = 1 + TSRI_VARINT_MAX;

    for (int t = 0; t < tables; t++)
        sum += tsri_table_bound(sizes[t]);
    return sum;
}

tsr_error tsri_tables_write(int bits, const uint16_t *freq,
                            const uint16_t *sizes, int tables, uint8_t *out,
                            size_t *size)
{
    uint8_t *p = out;

    if (tables < 1 || tables > TSRI_BANK_MAX_TABLES)
        return TSR_E_ARG;
    *p++ = (uint8_t)bits;
    p += tsri_put_varint(p, (uint64_t)tables);
    for (int t = 0; t < tables; freq += sizes[t++]) {
        size_t used;
        if (sizes[t] > MOST_BANK_SYMBOLS)
            return TSR_E_ARG;
        TSR_TRY(tsri_table_write_small(freq, sizes[t], bits, p, &used));
        p += used;
    }
    *size = (size_t)(p - out);
    return TSR_OK;
}

static tsr_error read_bank(const uint8_t *data, size_t size, int bits,
                           int tables, uint16_t *freq, uint16_t *sizes,
                           size_t *used)
{
    *used = 0;
    for (int t = 0; t < tables; t++) {
        size_t some;
        int n;
        TSR_TRY(tsri_table_read(data + *used, size - *used, bits,
                                MOST_BANK_SYMBOLS, freq, &n, &some));
        *used += some;
        freq += n;
        sizes[t] = (uint16_t)n;
    }
    return TSR_OK;
}

tsr_error tsri_tables_read(tsri_bank **bank, tsr_context *ctx,
                           const uint8_t *data, size_t size, size_t *used)
{
    const int bits = size ? data[0] : 0;
    uint64_t tables;
    const size_t head = size ? tsri_get_varint(data + 1, size - 1, &tables) : 0;

    *bank = NULL;
    if (bits < 1 || bits > TSRI_BANK_MAX_BITS || !head || !tables ||
        tables > TSRI_BANK_MAX_TABLES)
        return tsri_fail(ctx, TSR_E_CORRUPT, "a bank of tables has a wrong head");
    uint16_t *freq = tsri_alloc(ctx, tables, MOST_BANK_SYMBOLS * sizeof *freq);
    uint16_t *sizes = tsri_alloc(ctx, tables, sizeof *sizes);
    tsr_error error = freq && sizes ? TSR_OK : tsri_nomem(ctx);
    if (!error) {
        error = read_bank(data + 1 + head, size - 1 - head, bits, (int)tables,
                          freq, sizes, used);
        if (error)
            tsri_fail(ctx, error, "a bank has a table that is none");
    }
    if (!error)
        error = tsri_bank_open(bank, ctx, bits, freq, sizes, (int)tables);
    *used += 1 + head;
    tsri_free(ctx, freq);
    tsri_free(ctx, sizes);
    return error;
}
