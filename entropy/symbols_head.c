/* SPDX-License-Identifier: BSD-2-Clause */
#include "entropy/symbols.h"
#include "entropy/tables.h"
#include "lib/bytes.h"
#include "lib/crc32c.h"

enum {
    VERSION = 1,
    CRC = 4,                /* bytes behind packed symbols */
    BITS = 0x0f,            /* parameters: the precision, */
    OWN = 0x10,             /* a table in each chunk, */
    SEVERAL = 0x20          /* more chunks than one */
};

/* ---- tables ---- */

size_t tsri_symbols_put_table(const tsri_symbols_table *table, int bits,
                              uint8_t *to)
{
    size_t size;
    return tsri_table_write(table->freq, table->size, bits, to, &size) ? 0 : size;
}

size_t tsri_symbols_get_table(tsri_symbols_table *table, int bits,
                              const uint8_t *data, size_t size)
{
    size_t used;
    int n;

    if (tsri_table_read(data, size, bits, 256, table->freq, &n, &used))
        return 0;
    table->size = (uint16_t)n;
    return used;
}

tsr_error tsri_symbols_bank(tsri_bank **bank, tsr_context *ctx, int bits,
                            const tsri_symbols_table *tables, int n)
{
    uint16_t freq[2 * 256], sizes[2];
    size_t at = 0;

    for (int t = 0; t < n; t++) {
        sizes[t] = tables[t].size;
        memcpy(freq + at, tables[t].freq, sizes[t] * sizeof *freq);
        at += sizes[t];
    }
    return tsri_bank_open_sparse(bank, ctx, bits, freq, sizes, n);
}

/* ---- the head ---- */

static bool has_table(const tsri_symbols_head *h)
{
    return !h->own && h->form != TSRI_SYMBOLS_RANKED &&
           h->form != TSRI_SYMBOLS_ROWS;
}

size_t tsri_symbols_put_head(tsri_symbols_head *h, uint8_t *to)
{
    uint8_t *p = to;

    *p++ = (uint8_t)(VERSION << 4 | h->form);
    p += tsri_put_varint(p, h->n);
    p += tsri_put_varint(p, h->base);
    p += tsri_put_varint(p, h->last);
    h->chunks = 0;
    if (!tsri_symbols_plain(h->form)) {
        h->chunks = (size_t)tsri_symbols_chunks(h->n, h->log_chunk);
        *p++ = (uint8_t)(h->bits | (h->own ? OWN : 0) |
                         (h->chunks > 1 ? SEVERAL : 0));
        if (h->chunks > 1)
            *p++ = (uint8_t)h->log_chunk;
        if (has_table(h))
            p += tsri_symbols_put_table(&h->table, h->bits, p);
    }
    h->crc = tsri_crc32c(0, to, (size_t)(p - to));
    if (h->form == TSRI_SYMBOLS_RANKED)
        h->crc = tsri_crc32c(h->crc, h->classes, h->classes_size);
    return (size_t)(p - to);
}

/* Takes numbers off the front of what is left. */
typedef struct reader {
    const uint8_t *p, *end;
    bool cut, wrong;
} reader;

static uint64_t take(reader *r, uint64_t most)
{
    uint64_t v = 0;
    const size_t left = (size_t)(r->end - r->p);
    const size_t k = tsri_get_varint(r->p, left, &v);

    r->p += k;
    r->cut |= !k && left < TSRI_VARINT_MAX;
    r->wrong |= !k || v > most;
    return v > most ? 0 : v;
}

static uint8_t take_byte(reader *r)
{
    r->cut |= r->p == r->end;
    return r->cut ? 0 : *r->p++;
}

static tsr_error verdict(const reader *r)
{
    return r->cut ? TSR_E_TRUNCATED : r->wrong ? TSR_E_CORRUPT : TSR_OK;
}

/* What an alphabet may be in each form. */
static bool alphabet_fits(const tsri_symbols_head *h)
{
    const uint32_t most = h->form == TSRI_SYMBOLS_PAIRS ? 15 :
        tsri_symbols_large(h->form) ? TSRI_BIGTABLE_MAX - 1 : 255;

    return h->last <= most && (!tsri_symbols_large(h->form) || h->last > 255);
}

/* Precision or memory, and who has tables. */
static bool bits_fit(const tsri_symbols_head *h)
{
    if (h->form == TSRI_SYMBOLS_ROWS)
        return !h->own && h->bits >= TSRI_ADAPT_MIN_MEMORY &&
               h->bits <= TSRI_ADAPT_MAX_MEMORY;
    if (tsri_symbols_large(h->form))
        return !h->own && h->bits == TSRI_SYMBOLS_BITS;
    return h->bits >= 1 && h->bits <= TSRI_SYMBOLS_BITS;
}

static tsr_error get_parameters(tsri_symbols_head *h, reader *r)
{
    const uint8_t flags = take_byte(r);
    uint64_t chunks;

    h->bits = flags & BITS;
    h->own = flags & OWN;
    h->log_chunk = TSRI_SYMBOLS_LOG_MAX;
    if (flags & SEVERAL) {
        h->log_chunk = take_byte(r);
        r->wrong |= h->log_chunk < TSRI_SYMBOLS_LOG_MIN ||
                    h->log_chunk > TSRI_SYMBOLS_LOG_MAX;
    }
    TSR_TRY(verdict(r));
    chunks = tsri_symbols_chunks(h->n, h->log_chunk);
    r->wrong |= flags & ~(BITS | OWN | SEVERAL) || !alphabet_fits(h) ||
                !bits_fit(h) || chunks < 1 ||
                (chunks > 1) != !!(flags & SEVERAL) || chunks > INT32_MAX;
    h->chunks = (size_t)chunks;
    return verdict(r);
}

bool tsri_symbols_fits(const tsri_symbols_head *h,
                       const tsri_symbols_table *table)
{
    if (h->form == TSRI_SYMBOLS_BUCKETS)
        return table->size == tsri_bigtable_buckets((size_t)h->last + 1);
    if (h->form == TSRI_SYMBOLS_TABLE && table->size > h->last + 1)
        return false;
    for (uint32_t s = 0; s < table->size; s++)
        if (table->freq[s] >> h->bits ||
            (h->form == TSRI_SYMBOLS_PAIRS && table->freq[s] &&
             ((s & 15) > h->last || s >> 4 > h->last)))
            return false;
    return true;
}

static tsr_error get_table(tsri_symbols_head *h, reader *r)
{
    const size_t left = (size_t)(r->end - r->p);
    size_t k;

    k = tsri_symbols_get_table(&h->table, h->bits, r->p, left);
    if (!k)
        return left < TSRI_SYMBOLS_TABLE_MAX ? TSR_E_TRUNCATED : TSR_E_CORRUPT;
    r->p += k;
    return tsri_symbols_fits(h, &h->table) ? TSR_OK : TSR_E_CORRUPT;
}

/* Classes are a stream of bytes: it cannot have classes itself. */
static tsr_error get_classes(tsri_symbols_head *h, reader *r)
{
    const size_t left = (size_t)(r->end - r->p);
    tsr_symbols_info info;

    if (left && (*r->p & 15) == TSRI_SYMBOLS_RANKED)
        return TSR_E_CORRUPT;
    TSR_TRY(tsr_symbols_probe(r->p, left, &info));
    if (info.count != (uint64_t)h->last + 1 || info.width != 1)
        return TSR_E_CORRUPT;
    if (info.bytes > left)
        return TSR_E_TRUNCATED;
    h->classes = r->p;
    h->classes_size = (size_t)info.bytes;
    r->p += info.bytes;
    return TSR_OK;
}

/* One chunk: a varint; several: 4 bytes each. */
static tsr_error get_index(tsri_symbols_head *h, reader *r)
{
    uint64_t sum = 0;

    h->index = r->p;
    if (h->chunks == 1) {
        sum = take(r, UINT32_MAX);
        TSR_TRY(verdict(r));
    } else {
        if ((size_t)(r->end - r->p) / 4 < h->chunks)
            return TSR_E_TRUNCATED;
        for (size_t i = 0; i < h->chunks; i++, r->p += 4)
            sum += tsri_get32(r->p);
    }
    h->data = r->p;
    h->bytes = sum;
    return TSR_OK;
}

static tsr_error get_range(tsri_symbols_head *h, reader *r)
{
    const uint64_t size = take(r, UINT32_MAX);

    r->wrong |= h->n < 1 || h->n > TSRI_SYMBOLS_RANGE_MAX || h->last > 255;
    h->data = r->p;
    h->bytes = size + CRC;
    return verdict(r);
}

static tsr_error get_packed(tsri_symbols_head *h, const reader *r)
{
    h->data = r->p;
    h->bytes = (h->n * (unsigned)tsri_symbols_width(h->last) + 7) / 8 + CRC;
    return h->n || (!h->last && !h->base) ? TSR_OK : TSR_E_CORRUPT;
}

/* Numbers of several digits are for what has no form of up to 256 symbols. */
static tsr_error get_digits(tsri_symbols_head *h, const reader *r)
{
    tsri_packing packing;
    size_t size;

    h->data = r->p;
    if (!h->n || h->base || h->last < 256 ||
        tsri_packing_radix(&packing, (size_t)h->last + 1) ||
        !tsri_packing_size(&packing, (size_t)h->n, &size))
        return TSR_E_CORRUPT;
    h->bytes = (uint64_t)size + CRC;
    return TSR_OK;
}

tsr_error tsri_symbols_get_head(tsri_symbols_head *h, const uint8_t *data,
                                size_t size)
{
    reader r = { .p = data, .end = data + size };
    const uint8_t first = take_byte(&r);

    *h = (tsri_symbols_head){ .form = first & 15 };
    if (r.cut)
        return TSR_E_TRUNCATED;
    if (first >> 4 != VERSION)
        return first >> 4 > VERSION ? TSR_E_VERSION : TSR_E_CORRUPT;
    if (h->form >= TSRI_SYMBOLS_FORMS)
        return TSR_E_VERSION;
    h->n = take(&r, TSR_SYMBOLS_MAX);
    h->base = (uint32_t)take(&r, UINT32_MAX);
    h->last = (uint32_t)take(&r, UINT32_MAX - h->base);
    TSR_TRY(verdict(&r));
    if (h->form == TSRI_SYMBOLS_PACKED) {
        TSR_TRY(get_packed(h, &r));
    } else if (h->form == TSRI_SYMBOLS_DIGITS) {
        TSR_TRY(get_digits(h, &r));
    } else if (h->form == TSRI_SYMBOLS_RANGE) {
        TSR_TRY(get_range(h, &r));
    } else {
        TSR_TRY(get_parameters(h, &r));
        if (h->form == TSRI_SYMBOLS_RANKED)
            TSR_TRY(get_classes(h, &r));
        else if (has_table(h))
            TSR_TRY(get_table(h, &r));
        h->crc = tsri_crc32c(0, data, (size_t)(r.p - data));
        TSR_TRY(get_index(h, &r));
    }
    h->start = (size_t)(h->data - data);
    h->bytes += h->start;
    return TSR_OK;
}
