/* SPDX-License-Identifier: BSD-2-Clause */
/* Encoding an array: coding its chunks in the form that symbols_look.c chose. */
#include <string.h>
#include "entropy/symbols_job.h"
#include "lib/bytes.h"
#include "lib/crc32c.h"
#include "lib/pool.h"

enum {
    LOG_UNIT = TSRI_SYMBOLS_LOG_UNIT,
    CRC = TSRI_SYMBOLS_CRC,
    WIDE = 1 << 14          /* chunks of so many bytes have 32 lanes */
};

typedef tsri_symbols_worker worker;
typedef tsri_symbols_slot slot;
typedef tsri_symbols_job job;

/* ---- coding ---- */

/* A chunk of which a table says more than that it has one symbol. */
static void allow_two(tsri_symbols_count *count)
{
    int used = 0;

    for (int s = 0; s < 256; s++)
        used += count->seen[s];
    if (used == 1)
        count->seen[count->seen[0]] = 1;
}

static tsr_error own_bank(const job *j, worker *w, slot *s,
                          const uint8_t *bytes, size_t n, tsri_bank **bank)
{
    tsr_context quiet = j->quiet;
    tsri_symbols_table table;

    tsri_symbols_tally(j->ctx, &w->one, bytes, n, 2);
    allow_two(&w->one);
    tsri_symbols_choose(&w->one, j->head.bits, &table);
    s->table_size = tsri_symbols_put_table(&table, j->head.bits, s->table);
    return tsri_symbols_bank(bank, &quiet, j->head.bits, &table, 1);
}

static tsr_error put_tokens(const job *j, void *cookie, const void *sym,
                            size_t n)
{
    tsri_rans_enc *enc = cookie;
    return j->width == 2 ? tsri_bigtable_put16(j->large, enc, sym, n)
                         : tsri_bigtable_put32(j->large, enc, sym, n);
}

static tsr_error finish(const job *j, slot *s, uint32_t crc)
{
    return tsri_rans_finish(s->enc, crc, j->cost >= WIDE ? 32 : 0, &s->data,
                            &s->size);
}

static tsr_error code_small(job *j, slot *s, worker *w, size_t first, size_t n,
                            uint32_t crc)
{
    const uint8_t *bytes = tsri_symbols_as_bytes(j, w, first, &n);
    tsri_bank *own = NULL;
    tsr_error error = TSR_OK;

    if (s->adapt) {
        TSR_TRY(tsri_adapt_put(s->adapt, 0, NULL, bytes, n));
        return tsri_adapt_finish(s->adapt, crc, j->cost >= WIDE ? 32 : 0,
                                 &s->data, &s->size);
    }
    if (j->head.own) {
        error = own_bank(j, w, s, bytes, n, &own);
        crc = tsri_crc32c(crc, s->table, s->table_size);
    }
    if (!error)
        error = tsri_rans_put8(s->enc, own ? own : j->bank, 0, bytes, n);
    if (!error)
        error = finish(j, s, crc);
    tsri_bank_close(&own, &j->quiet);
    return error;
}

/* Chunk i of the wave. */
static tsr_error code_chunk(void *cookie, int i, int index)
{
    job *j = cookie;
    slot *s = &j->slots[i];
    const size_t chunk = j->first + (size_t)i;
    const size_t first = chunk << j->head.log_chunk;
    const size_t n = tsri_symbols_part(j->n, chunk, j->head.log_chunk);
    const uint32_t crc = j->head.crc + (uint32_t)chunk;

    s->table_size = 0;
    if (!j->large)
        return code_small(j, s, &j->workers[index], first, n, crc);
    TSR_TRY(tsri_symbols_each_piece(j, first, n, put_tokens, s->enc));
    return finish(j, s, crc);
}

static tsr_error copy_chunk(void *cookie, int i, int index)
{
    const job *j = cookie;
    const slot *s = &j->slots[i];
    (void)index;

    memcpy(j->out + s->at, s->table, s->table_size);
    memcpy(j->out + s->at + s->table_size, s->data, s->size);
    return TSR_OK;
}

/* Places a wave's chunks behind each other and copies them; *at moves on.
 * False: there is no room. */
static bool place_wave(job *j, int wave, size_t index, size_t room, size_t *at)
{
    for (int i = 0; i < wave; i++) {
        slot *s = &j->slots[i];
        const size_t size = s->table_size + s->size;
        if (j->head.chunks > 1)
            tsri_put32(j->out + index + 4 * (j->first + (size_t)i),
                       (uint32_t)size);
        else if (room - index >= TSRI_VARINT_MAX)
            *at += tsri_put_varint(j->out + index, size);
        if (*at > room || size > room - *at)
            return false;
        s->at = *at;
        *at += size;
    }
    return !tsri_pool_for(j->ctx->pool, wave, copy_chunk, j);
}

/* *size = 0: it does not fit. */
static tsr_error code(job *j, size_t room, size_t *size)
{
    uint8_t head[TSRI_SYMBOLS_HEAD_MAX];
    const size_t fixed = tsri_symbols_put_head(&j->head, head);
    const size_t chunks = j->head.chunks;
    const size_t index = fixed + j->head.classes_size;
    size_t at = index + (chunks > 1 ? 4 * chunks : 0);

    *size = 0;
    if (at + TSRI_VARINT_MAX > room)
        return TSR_OK;
    memcpy(j->out, head, fixed);
    if (j->classes)
        memcpy(j->out + fixed, j->classes, j->head.classes_size);
    for (j->first = 0; j->first < chunks; j->first += (size_t)j->nslots) {
        const size_t left = chunks - j->first;
        const int wave = left < (size_t)j->nslots ? (int)left : j->nslots;
        TSR_TRY(tsri_pool_for(j->ctx->pool, wave, code_chunk, j));
        if (!place_wave(j, wave, index, room, &at))
            return TSR_OK;
    }
    *size = at;
    return TSR_OK;
}

static tsr_error pack(void *cookie, int i, int index)
{
    job *j = cookie;
    const int bits = tsri_symbols_width(j->head.last);
    const size_t first = (size_t)i << LOG_UNIT;
    (void)index;

    tsri_ints_pack(j->sym, j->width, first, tsri_symbols_unit(j, i), j->head.base,
                   bits, j->out + first / 8 * (size_t)bits);
    return TSR_OK;
}

static tsr_error pack_digits(void *cookie, int i, int index)
{
    job *j = cookie;
    tsri_packing p;
    size_t first, n, begin;
    (void)index;

    TSR_TRY(tsri_packing_radix(&p, (size_t)j->most + 1));
    n = tsri_symbols_digits_unit(&p);
    first = (size_t)i * n;
    n = j->n - first < n ? j->n - first : n;
    tsri_packing_size(&p, first, &begin);
    return j->width == 2
        ? tsri_pack16(&p, j->ctx, (const uint16_t *)j->sym + first, n,
                      j->out + begin)
        : tsri_pack32(&p, j->ctx, (const uint32_t *)j->sym + first, n,
                      j->out + begin);
}

static tsr_error pack_all(job *j)
{
    tsri_packing p;
    size_t unit;

    if (j->head.form == TSRI_SYMBOLS_PACKED)
        return tsri_pool_for(j->ctx->pool,
                             (int)tsri_symbols_chunks(j->n, LOG_UNIT), pack, j);
    TSR_TRY(tsri_packing_radix(&p, (size_t)j->most + 1));
    unit = tsri_symbols_digits_unit(&p);
    return tsri_pool_for(j->ctx->pool, (int)((j->n + unit - 1) / unit),
                         pack_digits, j);
}

static tsr_error code_packed(job *j, size_t room, size_t *size)
{
    uint8_t head[TSRI_SYMBOLS_HEAD_MAX], *const out = j->out;
    const size_t bytes = (size_t)tsri_symbols_packed_bytes(j);
    const bool digits = bytes < tsri_symbols_fixed_bytes(j);
    size_t at;

    j->head.form = digits ? TSRI_SYMBOLS_DIGITS : TSRI_SYMBOLS_PACKED;
    j->head.base = digits ? 0 : j->least;
    j->head.last = j->most - j->head.base;
    at = tsri_symbols_put_head(&j->head, head);
    if (room < at + CRC || room - at - CRC < bytes)
        return tsri_fail(j->ctx, TSR_E_LIMIT, "room for %zu bytes, but %zu "
                         "are needed", room, at + bytes + CRC);
    memcpy(out, head, at);
    j->out += at;
    TSR_TRY(pack_all(j));
    tsri_put32(out + at + bytes, tsri_crc32c(0, out, at + bytes));
    *size = at + bytes + CRC;
    return TSR_OK;
}

/* Takes the place of what has been coded where it is smaller. */
static tsr_error code_range(job *j, size_t room, size_t *size)
{
    uint8_t coded[2 * TSRI_SYMBOLS_RANGE_MAX], head[TSRI_SYMBOLS_HEAD_MAX];
    size_t n = j->n, bytes, at;
    const uint8_t *sym;

    tsri_symbols_set_range(j, j->least, j->most);
    j->head.form = TSRI_SYMBOLS_RANGE;
    sym = tsri_symbols_as_bytes(j, j->workers, 0, &n);
    if (tsri_symbols_put_range(sym, n, j->head.last, coded, sizeof coded, &bytes))
        return TSR_OK;
    at = tsri_symbols_put_head(&j->head, head);
    at += tsri_put_varint(head + at, bytes);
    if (at + bytes + CRC > room || (*size && at + bytes + CRC >= *size))
        return TSR_OK;
    memcpy(j->out, head, at);
    memcpy(j->out + at, coded, bytes);
    tsri_put32(j->out + at + bytes, tsri_crc32c(0, j->out, at + bytes));
    *size = at + bytes + CRC;
    return TSR_OK;
}

/* ---- the whole ---- */

static tsr_error open_job(job *j)
{
    const size_t chunk = j->n < (size_t)1 << TSRI_SYMBOLS_LOG_MAX
                             ? j->n : (size_t)1 << TSRI_SYMBOLS_LOG_MAX;

    j->threads = tsri_pool_threads(j->ctx->pool);
    j->quiet = *j->ctx;
    j->quiet.logger.log = NULL;
    j->workers = tsri_calloc(j->ctx, (size_t)j->threads, sizeof *j->workers);
    if (!j->workers)
        return tsri_nomem(j->ctx);
    for (int i = 0; i < j->threads; i++) {
        j->workers[i].bytes = tsri_alloc(j->ctx, chunk, 1);
        if (!j->workers[i].bytes)
            return tsri_nomem(j->ctx);
    }
    return TSR_OK;
}

static tsr_error open_table(job *j)
{
    if (j->head.form == TSRI_SYMBOLS_BUCKETS)
        return tsri_bigtable_open_sorted(&j->large, j->ctx, j->head.table.freq,
                                         (size_t)j->head.last + 1);
    return j->head.own || j->large || j->head.form == TSRI_SYMBOLS_ROWS ? TSR_OK :
        tsri_symbols_bank(&j->bank, j->ctx, j->head.bits, &j->head.table, 1);
}

/* What coding needs beside what looking did. */
static tsr_error open_slots(job *j)
{
    const uint64_t chunks = tsri_symbols_chunks(j->n, j->head.log_chunk);
    const uint64_t most = j->threads > 1 ? 2 * (uint64_t)j->threads : 1;
    const tsri_adapt_shape shape = { (int)j->head.last + 1, 1, j->head.bits };

    j->nslots = (int)(chunks < most ? chunks : most);
    j->slots = tsri_calloc(j->ctx, (size_t)j->nslots, sizeof *j->slots);
    if (!j->slots)
        return tsri_nomem(j->ctx);
    for (int i = 0; i < j->nslots; i++)
        if (j->head.form == TSRI_SYMBOLS_ROWS
                ? tsri_adapt_enc_open(&j->slots[i].adapt, j->ctx, &shape, 1)
                : tsri_rans_enc_open(&j->slots[i].enc, j->ctx))
            return TSR_E_NOMEM;
    return open_table(j);
}

static void close_job(job *j)
{
    for (int i = 0; j->slots && i < j->nslots; i++) {
        tsri_rans_enc_close(&j->slots[i].enc);
        tsri_adapt_enc_close(&j->slots[i].adapt);
    }
    for (int i = 0; j->workers && i < j->threads; i++) {
        tsri_free(j->ctx, j->workers[i].bytes);
        tsri_free(j->ctx, j->workers[i].tokens);
    }
    tsri_bigtable_close(&j->large, j->ctx);
    tsri_free(j->ctx, j->classes);
    tsri_free(j->ctx, j->slots);
    tsri_free(j->ctx, j->workers);
    tsri_bank_close(&j->bank, j->ctx);
}

static tsr_error encode(job *j, const tsr_symbols_settings *s, size_t room,
                        size_t *size)
{
    if (!j->n)
        return code_packed(j, room, size);
    TSR_TRY(open_job(j));
    TSR_TRY(tsri_symbols_look(j, s->fast));
    if (s->alphabet && j->most >= s->alphabet)
        return tsri_fail(j->ctx, TSR_E_ARG, "symbol %lu in an alphabet of %llu",
                         (unsigned long)j->most,
                         (unsigned long long)s->alphabet);
    if (j->head.form != TSRI_SYMBOLS_PACKED) {
        TSR_TRY(open_slots(j));
        TSR_TRY(code(j, room, size));
    }
    if (j->n <= TSRI_SYMBOLS_RANGE_MAX && j->least < j->most &&
        j->head.last < 256)
        TSR_TRY(code_range(j, room, size));
    return *size && *size < tsri_symbols_packed_bytes(j) + CRC
               ? TSR_OK : code_packed(j, room, size);
}

static tsr_error take_settings(tsr_context *ctx, tsr_symbols_settings *own,
                               const tsr_symbols_settings *theirs)
{
    tsr_symbols_settings_init(own);
    if (!theirs)
        return TSR_OK;
    if (theirs->size < offsetof(tsr_symbols_settings, alphabet))
        return tsri_fail(ctx, TSR_E_ARG, "settings without a size");
    memcpy(own, theirs,
           theirs->size < sizeof *own ? theirs->size : sizeof *own);
    return own->alphabet > (uint64_t)1 << 32
               ? tsri_fail(ctx, TSR_E_ARG, "an alphabet above 2^32") : TSR_OK;
}

tsr_error tsr_symbols_encode(tsr_context *ctx,
                             const tsr_symbols_settings *settings,
                             const void *sym, int width, size_t n,
                             uint8_t *out, size_t room, size_t *size)
{
    job j = { .ctx = ctx, .sym = sym, .width = width, .n = n, .out = out,
              .head = { .n = n } };
    tsr_symbols_settings s;
    tsr_error error;

    *size = 0;
    TSR_TRY(take_settings(ctx, &s, settings));
    if (!tsr_symbols_bound(n, width))
        return tsri_fail(ctx, TSR_E_ARG, "%zu symbols of %d bytes", n, width);
    error = encode(&j, &s, room, size);
    close_job(&j);
    return error == TSR_E_NOMEM ? tsri_nomem(ctx) : error;
}
