/* SPDX-License-Identifier: BSD-2-Clause */
/* Arrays of symbols: limits, heads, decoding. */
#include "entropy/symbols.h"
#include "lib/bytes.h"
#include "lib/crc32c.h"
#include "lib/pool.h"

void tsr_symbols_settings_init(tsr_symbols_settings *settings)
{
    *settings = (tsr_symbols_settings){ .size = sizeof *settings };
}

size_t tsr_symbols_bound(size_t n, int width)
{
    size_t bytes;

    if ((width != 1 && width != 2 && width != 4) || n > TSR_SYMBOLS_MAX ||
        !tsri_mul(n, (size_t)width, &bytes) ||
        !tsri_add(bytes, 64, &bytes))
        return 0;
    return bytes;
}

tsr_error tsr_symbols_probe(const void *data, size_t size,
                            tsr_symbols_info *info)
{
    tsri_symbols_head head;

    *info = (tsr_symbols_info){ 0 };
    TSR_TRY(tsri_symbols_get_head(&head, data, size));
    const uint64_t largest = (uint64_t)head.base + head.last;
    *info = (tsr_symbols_info){
        .count = head.n, .alphabet = largest + 1, .bytes = head.bytes,
        .chunks = head.chunks ? head.chunks : 1,
        .width = largest < 1 << 8 ? 1 : largest < 1 << 16 ? 2 : 4,
    };
    return TSR_OK;
}

/* ---- decoding ---- */

typedef struct job {
    tsr_context *ctx, quiet;    /* the same without a log, for workers */
    tsri_symbols_head head;
    tsri_bank *bank;
    tsri_bigtable *large;
    const uint64_t *offset;     /* of chunks, from head.data */
    void *sym;
    int width, at_once;         /* chunks that a call decodes: 1 or 2 */
} job;

/* A chunk being decoded. */
typedef struct chunk {
    tsri_rans_dec dec;
    const uint8_t *data, *end;
    size_t first, left;         /* symbols */
    uint32_t crc;
    uint8_t bytes[TSRI_SYMBOLS_PIECE];  /* what the coder gives */
    uint8_t sym[TSRI_SYMBOLS_PIECE];    /* pairs: taken apart */
} chunk;

static void find_chunk(const job *j, size_t i, chunk *c)
{
    const tsri_symbols_head *h = &j->head;
    const uint64_t first = (uint64_t)i << h->log_chunk;
    const uint64_t most = (uint64_t)1 << h->log_chunk;

    c->first = (size_t)first;
    c->left = (size_t)(h->n - first < most ? h->n - first : most);
    c->data = h->data + j->offset[i];
    c->end = h->data + j->offset[i + 1];
    c->crc = h->crc + (uint32_t)i;
}

/* The own tables of 1 or 2 chunks. */
static tsr_error own_bank(const job *j, chunk *c, int n, tsri_bank **bank)
{
    tsr_context quiet = j->quiet;
    tsri_symbols_table tables[2] = { { 0 } };

    for (int k = 0; k < n; k++) {
        const size_t size = tsri_symbols_get_table(
            &tables[k], j->head.bits, c[k].data,
            (size_t)(c[k].end - c[k].data));
        if (!size || !tsri_symbols_fits(&j->head, &tables[k]))
            return TSR_E_CORRUPT;
        c[k].crc = tsri_crc32c(c[k].crc, c[k].data, size);
        c[k].data += size;
    }
    return tsri_symbols_bank(bank, &quiet, j->head.bits, tables, n);
}

/* The next n symbols of a chunk have been decoded; false: the last is half of a
 * pair, and the other half is not 0. */
static bool put_piece(const job *j, chunk *c, size_t n)
{
    const bool pairs = j->head.form == TSRI_SYMBOLS_PAIRS;
    const bool direct = pairs && j->width == 1 && !j->head.base;

    if (pairs)
        tsri_nibbles_split(j->ctx, c->bytes, n, direct ?
                           (uint8_t *)j->sym + c->first : c->sym);
    if (!direct)
        tsri_ints_widen(pairs ? c->sym : c->bytes, n, j->head.base, j->sym,
                        j->width, c->first);
    return !pairs || n % 2 == 0 || c->bytes[n / 2] < 16;
}

static tsr_error get_pieces(const job *j, const tsri_bank *bank, chunk *c,
                            int n)
{
    const bool direct = j->width == 1 && !j->head.base &&
                        j->head.form == TSRI_SYMBOLS_TABLE;
    const bool pairs = j->head.form == TSRI_SYMBOLS_PAIRS;
    const size_t most = direct ? SIZE_MAX : TSRI_SYMBOLS_PIECE;
    tsri_rans_dec *dec[2] = { &c[0].dec, &c[n - 1].dec };

    while (c[0].left || c[n - 1].left) {
        tsri_rans_run8 run[2] = { { 0 } };
        size_t piece[2];
        for (int k = 0; k < n; k++) {
            piece[k] = c[k].left < most ? c[k].left : most;
            run[k] = (tsri_rans_run8){
                j->head.own ? k : 0,
                direct ? (uint8_t *)j->sym + c[k].first : c[k].bytes,
                pairs ? (piece[k] + 1) / 2 : piece[k] };
        }
        TSR_TRY(n == 2 ? tsri_rans_get8_pair(dec, bank, run)
                       : tsri_rans_get8(dec[0], bank, 0, run[0].sym, run[0].n));
        for (int k = 0; k < n; k++) {
            if (!direct && !put_piece(j, &c[k], piece[k]))
                return TSR_E_CORRUPT;
            c[k].first += piece[k];
            c[k].left -= piece[k];
        }
    }
    return TSR_OK;
}

/* Symbols of more than 256. */
static tsr_error get_large(const job *j, chunk *c, int n)
{
    tsri_rans_dec *dec[2] = { &c[0].dec, &c[n - 1].dec };
    const size_t left[2] = { c[0].left, c[n - 1].left };
    uint16_t *narrow = j->sym;
    uint32_t *wide = j->sym;

    if (j->width == 2) {
        uint16_t *to[2] = { narrow + c[0].first, narrow + c[n - 1].first };
        return n == 2 ? tsri_bigtable_get16_pair(j->large, dec, to, left)
                      : tsri_bigtable_get16(j->large, dec[0], to[0], left[0]);
    }
    uint32_t *to[2] = { wide + c[0].first, wide + c[n - 1].first };
    TSR_TRY(n == 2 ? tsri_bigtable_get32_pair(j->large, dec, to, left)
                   : tsri_bigtable_get32(j->large, dec[0], to[0], left[0]));
    for (int k = 0; k < n && j->head.base; k++)
        for (size_t i = 0; i < left[k]; i++)
            to[k][i] += j->head.base;
    return TSR_OK;
}

static tsr_error decode_chunks(const job *j, chunk *c, int n)
{
    tsri_bank *own = NULL;
    tsr_error error = j->head.own ? own_bank(j, c, n, &own) : TSR_OK;

    for (int k = 0; k < n && !error; k++)
        error = tsri_rans_dec_open(&c[k].dec, j->ctx, c[k].data,
                                   (size_t)(c[k].end - c[k].data), c[k].crc);
    if (!error)
        error = j->large ? get_large(j, c, n)
                         : get_pieces(j, own ? own : j->bank, c, n);
    for (int k = 0; k < n && !error; k++)
        error = tsri_rans_dec_end(&c[k].dec);
    tsr_context quiet = j->quiet;
    tsri_bank_close(&own, &quiet);
    return error;
}

/* A chunk of models that learn. */
static tsr_error decode_rows(const job *j, chunk *c)
{
    const tsri_adapt_shape shape = { (int)j->head.last + 1, 1, j->head.bits };
    tsr_context quiet = j->quiet;
    tsri_adapt_dec *dec;
    tsr_error error = tsri_adapt_dec_open(&dec, &quiet, &shape, 1);

    if (!error)
        error = tsri_adapt_start(dec, c->data, (size_t)(c->end - c->data), c->crc);
    while (c->left && !error) {
        const size_t n = c->left < TSRI_SYMBOLS_PIECE ? c->left
                                                      : TSRI_SYMBOLS_PIECE;
        error = tsri_adapt_get(dec, 0, NULL, c->bytes, n);
        tsri_ints_widen(c->bytes, error ? 0 : n, j->head.base, j->sym, j->width,
                        c->first);
        c->first += n;
        c->left -= n;
    }
    if (!error)
        error = tsri_adapt_end(dec);
    tsri_adapt_dec_close(&dec);
    return error;
}

static tsr_error decode_some(void *cookie, int i, int worker)
{
    const job *j = cookie;
    const size_t first = (size_t)i * (size_t)j->at_once;
    const int n = j->head.chunks - first < 2 ? 1 : j->at_once;
    chunk c[2];
    (void)worker;

    for (int k = 0; k < n; k++)
        find_chunk(j, first + (size_t)k, &c[k]);
    return j->head.form == TSRI_SYMBOLS_ROWS ? decode_rows(j, c)
                                             : decode_chunks(j, c, n);
}

/* The table of a stream of classes. */
static tsr_error open_ranked(job *j)
{
    const size_t n = (size_t)j->head.last + 1;
    uint8_t *classes = tsri_alloc(j->ctx, n, 1);
    tsr_error error = classes ? TSR_OK : TSR_E_NOMEM;

    if (!error)
        error = tsr_symbols_decode(j->ctx, j->head.classes, j->head.classes_size,
                                   classes, 1, n);
    if (!error)
        error = tsri_symbols_ranked(&j->large, j->ctx, classes, n);
    tsri_free(j->ctx, classes);
    return error;
}

/* The table of all chunks, if there is one. */
static tsr_error open_table(job *j)
{
    if (j->head.form == TSRI_SYMBOLS_RANKED)
        return open_ranked(j);
    if (j->head.form == TSRI_SYMBOLS_BUCKETS)
        return tsri_bigtable_open_sorted(&j->large, j->ctx, j->head.table.freq,
                                         (size_t)j->head.last + 1);
    return j->head.own || j->head.form == TSRI_SYMBOLS_ROWS ? TSR_OK :
        tsri_symbols_bank(&j->bank, j->ctx, j->head.bits, &j->head.table, 1);
}

static tsr_error decode_coded(job *j)
{
    const size_t chunks = j->head.chunks;
    uint64_t *offset = tsri_alloc(j->ctx, chunks + 1, sizeof *offset);
    tsr_error error;

    if (!offset)
        return tsri_nomem(j->ctx);
    offset[0] = 0;
    for (size_t i = 0; i < chunks && chunks > 1; i++)
        offset[i + 1] = offset[i] + tsri_get32(j->head.index + 4 * i);
    if (chunks == 1)
        offset[1] = j->head.bytes - (uint64_t)j->head.start;
    j->offset = offset;
    /* Two at a time, unless threads would be left without work. */
    j->at_once = chunks >= 2 * (size_t)tsri_pool_threads(j->ctx->pool) &&
                 j->head.form != TSRI_SYMBOLS_ROWS ? 2 : 1;
    error = open_table(j);
    if (!error)
        error = tsri_pool_for(j->ctx->pool,
                              (int)((chunks + (size_t)j->at_once - 1) /
                                    (size_t)j->at_once), decode_some, j);
    tsri_bank_close(&j->bank, j->ctx);
    tsri_bigtable_close(&j->large, j->ctx);
    tsri_free(j->ctx, offset);
    return error;
}

enum { LOG_UNIT = 18 };     /* packed symbols at a time */

static tsr_error unpack(void *cookie, int i, int worker)
{
    const job *j = cookie;
    const tsri_symbols_head *h = &j->head;
    const size_t first = (size_t)i << LOG_UNIT, unit = (size_t)1 << LOG_UNIT;
    const size_t left = (size_t)h->n - first;
    const size_t bits = (size_t)tsri_symbols_width(h->last);
    (void)worker;

    return tsri_ints_unpack(h->data + first / 8 * bits,
                            left < unit ? left : unit, h->base, h->last,
                            j->sym, j->width, first) ? TSR_OK : TSR_E_CORRUPT;
}

static tsr_error unpack_digits(void *cookie, int i, int worker)
{
    const job *j = cookie;
    tsri_packing p;
    size_t first, n, begin, size;
    (void)worker;

    TSR_TRY(tsri_packing_radix(&p, (size_t)j->head.last + 1));
    n = tsri_symbols_digits_unit(&p);
    first = (size_t)i * n;
    n = (size_t)j->head.n - first < n ? (size_t)j->head.n - first : n;
    if (!tsri_packing_size(&p, first, &begin) || !tsri_packing_size(&p, n, &size))
        return TSR_E_CORRUPT;
    return j->width == 2
        ? tsri_unpack16(&p, j->ctx, j->head.data + begin, size,
                        (uint16_t *)j->sym + first, n)
        : tsri_unpack32(&p, j->ctx, j->head.data + begin, size,
                        (uint32_t *)j->sym + first, n);
}

static tsr_error decode_digits(job *j)
{
    tsri_packing p;
    uint64_t unit;

    TSR_TRY(tsri_packing_radix(&p, (size_t)j->head.last + 1));
    unit = tsri_symbols_digits_unit(&p);
    return tsri_pool_for(j->ctx->pool, (int)((j->head.n + unit - 1) / unit),
                         unpack_digits, j);
}

static tsr_error decode_range(const job *j)
{
    const tsri_symbols_head *h = &j->head;
    const size_t size = (size_t)h->bytes - h->start - 4, n = (size_t)h->n;
    uint8_t sym[TSRI_SYMBOLS_RANGE_MAX];

    TSR_TRY(tsri_symbols_get_range(h->data, size, n, h->last, sym));
    tsri_ints_widen(sym, n, h->base, j->sym, j->width, 0);
    return TSR_OK;
}

/* Forms with a CRC at their end. */
static tsr_error decode_plain(job *j, const uint8_t *data)
{
    const size_t bytes = (size_t)j->head.bytes - 4;

    if (tsri_crc32c(0, data, bytes) != tsri_get32(data + bytes))
        return TSR_E_CHECKSUM;
    if (j->head.form == TSRI_SYMBOLS_RANGE)
        return decode_range(j);
    if (j->head.form == TSRI_SYMBOLS_DIGITS)
        return decode_digits(j);
    return tsri_pool_for(j->ctx->pool,
                         (int)tsri_symbols_chunks(j->head.n, LOG_UNIT), unpack,
                         j);
}

tsr_error tsr_symbols_decode(tsr_context *ctx, const void *data, size_t size,
                             void *sym, int width, size_t n)
{
    job j = { .ctx = ctx, .sym = sym, .width = width };
    tsr_symbols_info info;
    tsr_error error = tsr_symbols_probe(data, size, &info);

    if (error)
        return tsri_fail(ctx, error, "not a whole and sound head of symbols");
    if ((width != 1 && width != 2 && width != 4) || width < info.width ||
        n != info.count)
        return tsri_fail(ctx, TSR_E_ARG, "%zu symbols of %d bytes are asked "
                         "for, %llu of %d are there", n, width,
                         (unsigned long long)info.count, info.width);
    if (info.bytes > size)
        return tsri_fail(ctx, TSR_E_TRUNCATED, "%zu of %llu bytes", size,
                         (unsigned long long)info.bytes);
    j.quiet = *ctx;
    j.quiet.logger.log = NULL;
    TSR_TRY(tsri_symbols_get_head(&j.head, data, size));
    error = tsri_symbols_plain(j.head.form) ? decode_plain(&j, data)
                                            : decode_coded(&j);
    return error ? tsri_fail(ctx, error, "symbols: %s",
                             tsr_error_string(error)) : TSR_OK;
}
