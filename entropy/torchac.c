/* SPDX-License-Identifier: BSD-2-Clause */
#include "entropy/torchac.h"

enum { ONE = 1 << 16 };
static const uint32_t half = 0x80000000u, quarter = 0x40000000u;

/* How the interval grows again after a symbol: `settled` highest bits are the
 * same in both ends and leave; then the ends straddle the middle closely for
 * `open` bits, of which only the next settled bit will tell the value. */
typedef struct interval {
    uint32_t low, high;
    int settled, open;
} interval;

static void narrow(interval *v, uint32_t from, uint32_t to)
{
    const uint64_t span = (uint64_t)v->high - v->low + 1;

    v->high = v->low - 1 + (uint32_t)(span * to >> 16);
    v->low += (uint32_t)(span * from >> 16);
}

/* Bits from the highest down that are set. */
static int leading_ones(uint32_t x)
{
    return x == UINT32_MAX ? 32 : __builtin_clz(~x);
}

static void widen(interval *v)
{
    v->settled = leading_ones(~(v->low ^ v->high));
    v->low <<= v->settled;
    v->high = ~(~v->high << v->settled);
    v->open = leading_ones((v->low & ~v->high) << 1);
    if (!v->open)
        return;
    v->low = v->low << v->open & ~half;
    v->high = ~(~v->high << v->open) | half;
}

static uint32_t upper(const tsri_torchac_tables *t, const uint16_t *cdf, int s)
{
    return s == t->symbols - 1 ? ONE : cdf[s + 1];
}

static bool sound(const tsri_torchac_tables *t)
{
    return t->symbols >= 1 && t->symbols < ONE;
}

tsr_error tsri_torchac_table(const uint32_t *count, int symbols, uint16_t *cdf)
{
    uint64_t n = 0, before = 0;

    if (symbols < 1 || symbols >= ONE)
        return TSR_E_ARG;
    for (int i = 0; i < symbols; i++)
        n += count[i];
    if (!n || n >= ONE)
        return TSR_E_ARG;
    for (int i = 0; i <= symbols; i++) {
        cdf[i] = (uint16_t)((uint64_t)(ONE - 1 - symbols) * before / n +
                            (uint64_t)i);
        before += i < symbols ? count[i] : 0;
    }
    return TSR_OK;
}

size_t tsri_torchac_bound(size_t n)
{
    size_t bytes;
    return tsri_mul(n, 2, &bytes) && tsri_add(bytes, n / 1024 + 8, &bytes)
               ? bytes : SIZE_MAX;
}

/* ---- encoder ---- */

typedef struct writer {
    uint8_t *at, *end;
    uint64_t open;      /* bits whose value the next settled one tells */
    uint32_t bits;      /* not yet written, the last one lowest */
    int nbits;          /* 0..7 */
    bool full;
} writer;

static void put(writer *w, uint32_t bits, int n)
{
    w->bits = w->bits << n | bits;
    for (w->nbits += n; w->nbits >= 8; w->nbits -= 8) {
        if (w->at == w->end)
            w->full = true;
        else
            *w->at++ = (uint8_t)(w->bits >> (w->nbits - 8));
    }
}

/* One settled bit, then the open ones, which are its inverse. */
static void settle(writer *w, uint32_t bit)
{
    put(w, bit, 1);
    for (; w->open; w->open--)
        put(w, !bit, 1);
}

static void put_settled(writer *w, uint32_t low, int n)
{
    if (!n)
        return;
    settle(w, low >> 31);
    for (int i = 1; i < n; i++)
        put(w, low >> (31 - i) & 1, 1);
}

tsr_error tsri_torchac_encode(const tsri_torchac_tables *tables,
                              const uint16_t *sym, size_t n, uint8_t *out,
                              size_t room, size_t *size)
{
    const uint16_t *cdf = tables->cdf;
    interval v = { .high = UINT32_MAX };
    writer w = { .at = out, .end = out + room };

    if (!sound(tables))
        return TSR_E_ARG;
    for (size_t i = 0; i < n; i++, cdf += tables->step) {
        if (sym[i] >= tables->symbols || cdf[sym[i]] >= upper(tables, cdf, sym[i]))
            return TSR_E_ARG;
        narrow(&v, cdf[sym[i]], upper(tables, cdf, sym[i]));
        const uint32_t low = v.low;
        widen(&v);
        put_settled(&w, low, v.settled);
        w.open += (uint64_t)v.open;
    }
    w.open++;
    settle(&w, v.low >= quarter);
    put(&w, 0, (8 - w.nbits) % 8);
    *size = (size_t)(w.at - out);
    return w.full ? TSR_E_LIMIT : TSR_OK;
}

/* ---- decoder ---- */

typedef struct reader {
    const uint8_t *data;
    size_t size;        /* bytes */
    uint64_t at;        /* next bit; those beyond the end are 0 */
} reader;

/* The next n bits, 0..32. */
static uint32_t get(reader *r, int n)
{
    const uint64_t byte = r->at / 8;
    uint64_t bits = 0;

    for (uint64_t i = byte; i < byte + 5; i++)
        bits = bits << 8 | (i < r->size ? r->data[i] : 0);
    bits = bits >> (40 - r->at % 8 - (unsigned)n);
    r->at += (uint64_t)n;
    return (uint32_t)(bits & (((uint64_t)1 << n) - 1));
}

/* The symbol s with cdf[s] <= at < cdf[s + 1], in tables that rise; in others
 * some symbol for which this holds too, symbol 0 counting from 0. */
static int find(const tsri_torchac_tables *t, const uint16_t *cdf, uint32_t at)
{
    int low = 0, high = t->symbols;

    while (high - low > 1) {
        const int middle = (low + high) / 2;
        if (cdf[middle] <= at)
            low = middle;
        else
            high = middle;
    }
    return low;
}

tsr_error tsri_torchac_decode(const tsri_torchac_tables *tables,
                              const uint8_t *data, size_t size, uint16_t *sym,
                              size_t n, size_t *used)
{
    const uint16_t *cdf = tables->cdf;
    reader r = { .data = data, .size = size };
    interval v = { .high = UINT32_MAX };
    uint32_t value = get(&r, 32);

    if (!sound(tables))
        return TSR_E_ARG;
    for (size_t i = 0; i < n; i++, cdf += tables->step) {
        const uint64_t span = (uint64_t)v.high - v.low + 1;
        const uint32_t at = (uint32_t)((((uint64_t)value - v.low + 1) * ONE - 1) /
                                       span);
        const int s = find(tables, cdf, at);
        sym[i] = (uint16_t)s;
        narrow(&v, s ? cdf[s] : 0, upper(tables, cdf, s));
        widen(&v);
        value = (uint32_t)((uint64_t)value << v.settled) | get(&r, v.settled);
        if (v.open)
            value = (uint32_t)((uint64_t)value << v.open | get(&r, v.open)) ^ half;
        if (r.at / 8 > (uint64_t)size + 4)
            return TSR_E_CORRUPT;
    }
    const uint64_t bytes = (r.at - 32 + 2 + 7) / 8;
    if (used)
        *used = (size_t)bytes;
    return bytes > size ? TSR_E_CORRUPT : TSR_OK;
}
