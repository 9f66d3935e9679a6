/* SPDX-License-Identifier: BSD-2-Clause */
#include "entropy/tables.h"

/* How a frequency is predicted. */
enum mode {
    BEFORE,     /* as the one before it */
    LINE,       /* on a line through the two before it */
    MODES
};

enum {
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

/* What writer and reader both know before frequency i. */
typedef struct model {
    enum mode mode;
    int n;
    int floor;      /* least frequency: 1, or 0 where the table has zeros */
    uint32_t left;  /* 2^bits less the frequencies before i */
    uint32_t mean;  /* of the codes lately, in 1/16 */
    int zeros;      /* how many of the latest were 0 */
} model;

static model start(enum mode mode, int floor, int n, int bits)
{
    const uint32_t sum = 1u << bits;
    return (model){ mode, n, floor, sum, 16 * (sum / (uint32_t)n), 0 };
}

static int32_t predict(const model *m, const uint16_t *freq, int i)
{
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

static void write_mode(writer *w, const uint16_t *freq, int n, int bits,
                       enum mode mode, int floor)
{
    model m = start(mode, floor, n, bits);

    put(w, (uint32_t)(mode + 4 * floor), 3);
    put_golomb(w, (uint32_t)n - 1, SIZE_ORDER);
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

tsr_error tsri_table_write(const uint16_t *freq, int n, int bits, uint8_t *out,
                           size_t *size)
{
    enum mode best = BEFORE;
    size_t least = SIZE_MAX;
    writer w = { out, 0 };
    int floor;

    if (bits < 1 || bits > TSRI_BANK_MAX_BITS || n < 1 || n > 1 << bits ||
        !sums_up(freq, n, bits, &floor))
        return TSR_E_ARG;
    for (enum mode mode = BEFORE; mode < MODES; mode++) {
        writer count = { NULL, 0 };
        write_mode(&count, freq, n, bits, mode, floor);
        if (count.bits < least) {
            least = count.bits;
            best = mode;
        }
    }
    write_mode(&w, freq, n, bits, best, floor);
    *size = (w.bits + 7) / 8;
    return TSR_OK;
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

tsr_error tsri_table_read(const uint8_t *data, size_t size, int bits, int room,
                          uint16_t *freq, int *n, size_t *used)
{
    reader r = { data, 0, size > SIZE_MAX / 8 ? SIZE_MAX : 8 * size, false };

    if (bits < 1 || bits > TSRI_BANK_MAX_BITS)
        return TSR_E_ARG;
    const uint32_t mode = get(&r, 2);
    const int floor = (int)get(&r, 1);
    const uint32_t last = get_golomb(&r, SIZE_ORDER);
    if (r.bad || mode >= MODES || last >= 1u << bits || last >= (uint32_t)room)
        return TSR_E_CORRUPT;
    *n = (int)last + 1;
    model m = start((enum mode)mode, floor, *n, bits);
    read_frequencies(&r, &m, freq);
    while (r.bits % 8)
        r.bad |= get(&r, 1);
    *used = r.bits / 8;
    return r.bad ? TSR_E_CORRUPT : TSR_OK;
}
