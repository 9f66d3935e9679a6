/* SPDX-License-Identifier: BSD-2-Clause */
/* Encoding an array: looking at it, choosing a form, coding its chunks. */
#include <string.h>
#include "entropy/symbols.h"
#include "lib/bytes.h"
#include "lib/crc32c.h"
#include "lib/pool.h"

enum {
    LOG_UNIT = 18,          /* symbols looked at by one call */
    MANY = 1 << 20,         /* symbols of which a smaller part tells enough */
    CHUNK_BYTES = 1 << 17,  /* chunks grow until they are about so large */
    WIDE = 1 << 14,         /* chunks of so many bytes have 32 lanes */
    LANES_COST = 100,       /* of 32 lanes and an entry of the index */
    PAIRS_MIN = 1 << 15,    /* symbols that make a table of pairs worth while */
    ROWS_MIN = 1 << 14,     /* symbols in which a drift is looked for */
    MEMORY = 11,            /* of models that follow one */
    CRC = 4
};

/* What a thread has for itself. */
typedef struct worker {
    uint8_t *bytes;             /* a chunk's symbols as the coder takes them */
    uint32_t *tokens;           /* counts of large alphabets */
    tsri_symbols_count one, sum;
    uint64_t own;               /* what its units cost with their own tables */
    uint32_t least, most;
} worker;

/* What one of the chunks that are coded at the same time becomes. */
typedef struct slot {
    tsri_rans_enc *enc;
    tsri_adapt_enc *adapt;
    const uint8_t *data;
    size_t size, table_size, at;
    uint8_t table[TSRI_SYMBOLS_TABLE_MAX];
} slot;

typedef struct job {
    tsr_context *ctx, quiet;    /* the same without a log, for workers */
    const void *sym;
    int width, threads, nslots;
    size_t n, first;            /* first: the wave's first chunk */
    uint32_t least, most;       /* of the symbols */
    uint8_t *out;
    tsri_symbols_head head;
    tsri_bank *bank;
    tsri_bigtable *large;
    uint8_t *classes;           /* of its symbols, as a stream */
    uint64_t cost;              /* estimated bytes of a chunk */
    worker *workers;
    slot *slots;
} job;

static size_t part(size_t n, size_t i, int log)
{
    const size_t left = n - (i << log);
    return left < (size_t)1 << log ? left : (size_t)1 << log;
}

/* ---- looking at the symbols ---- */

static tsr_error find_range(void *cookie, int i, int index)
{
    job *j = cookie;
    worker *w = &j->workers[index];
    const uint8_t *sym = j->sym;
    uint32_t least, most;

    tsri_ints_range(sym + (((size_t)i << LOG_UNIT) * (size_t)j->width),
                    j->width, part(j->n, (size_t)i, LOG_UNIT), &least, &most);
    w->least = least < w->least ? least : w->least;
    w->most = most > w->most ? most : w->most;
    return TSR_OK;
}

/* The symbols of a stretch as bytes; pairs of them where the form says so.
 * *n becomes the number of bytes. */
static const uint8_t *as_bytes(const job *j, worker *w, size_t first, size_t *n)
{
    const uint8_t *bytes = w->bytes;

    if (j->width == 1 && !j->head.base)
        bytes = (const uint8_t *)j->sym + first;
    else
        tsri_ints_narrow(j->sym, j->width, first, *n, j->head.base, w->bytes);
    if (j->head.form != TSRI_SYMBOLS_PAIRS)
        return bytes;
    tsri_nibbles_join(j->ctx, bytes, *n, w->bytes);
    *n = (*n + 1) / 2;
    return w->bytes;
}

static tsr_error tally(void *cookie, int i, int index)
{
    job *j = cookie;
    worker *w = &j->workers[index];
    size_t n = part(j->n, (size_t)i, LOG_UNIT);
    const uint8_t *bytes = as_bytes(j, w, (size_t)i << LOG_UNIT, &n);

    const int log = j->head.form == TSRI_SYMBOLS_PAIRS ? 0 : j->n < MANY ? 2 : 3;
    tsri_symbols_tally(j->ctx, &w->one, bytes, n, log);
    tsri_symbols_merge(&w->sum, &w->one);
    w->own += tsri_symbols_cost(&w->one, n);
    return TSR_OK;
}

/* Runs body for all units; the workers' results end up in the first's. */
static tsr_error look(job *j, tsr_error (*body)(void *, int, int))
{
    worker *all = j->workers;
    const int units = (int)tsri_symbols_chunks(j->n, LOG_UNIT);

    for (int i = 0; i < j->threads; i++) {
        memset(&all[i].sum, 0, sizeof all[i].sum);
        all[i].own = 0;
        all[i].least = UINT32_MAX;
        all[i].most = 0;
    }
    TSR_TRY(tsri_pool_for(j->ctx->pool, units, body, j));
    for (int i = 1; i < j->threads; i++) {
        tsri_symbols_merge(&all->sum, &all[i].sum);
        all->own += all[i].own;
        all->least = all[i].least < all->least ? all[i].least : all->least;
        all->most = all[i].most > all->most ? all[i].most : all->most;
    }
    return TSR_OK;
}

/* What a table of these symbols may take. */
static uint64_t table_cost(const tsri_symbols_count *count)
{
    uint64_t bytes = 2;

    for (int s = 0; s < 256; s++)
        bytes += count->seen[s];
    return bytes;
}

/* What tables begin with: bytes are coded as they are, and so are symbols that
 * may be in order of their frequency. */
static void set_range(job *j, uint32_t least, uint32_t most)
{
    j->least = least;
    j->most = most;
    j->head.base = most < 256 || (most - least >= 256 && most < TSRI_BIGTABLE_MAX)
                       ? 0 : least;
    j->head.last = most - j->head.base;
}

/* Bytes of the symbols where all take equally many bits. */
static uint64_t fixed_bytes(const job *j)
{
    const int bits = tsri_symbols_width(j->most - j->least);
    return (j->n * (uint64_t)bits + 7) / 8;
}

/* The same, or as digits of numbers where that saves 1/256. */
static uint64_t packed_bytes(const job *j)
{
    const uint64_t fixed = fixed_bytes(j);
    tsri_packing packing;
    size_t size;

    return j->most > 255 && !tsri_packing_radix(&packing, (size_t)j->most + 1) &&
           tsri_packing_size(&packing, j->n, &size) &&
           size < fixed - fixed / 256 ? size : fixed;
}

/* Are pairs within 1/64 of single symbols?  Then they are taken. */
static tsr_error try_pairs(job *j, uint64_t *cost)
{
    const tsri_symbols_count *count = &j->workers->sum;
    const tsri_symbols_head single = j->head;
    uint64_t pairs;

    j->head.form = TSRI_SYMBOLS_PAIRS;
    j->head.own = false;
    TSR_TRY(look(j, tally));
    pairs = tsri_symbols_cost(count, (j->n + 1) / 2) + 2 * table_cost(count);
    if (pairs > *cost + *cost / 64)
        j->head = single;
    else {
        tsri_symbols_choose(count, TSRI_SYMBOLS_BITS, &j->head.table);
        *cost = pairs;
    }
    return TSR_OK;
}

/* Chooses between tables; the cost without lanes and index. */
static tsr_error choose_table(job *j, bool fast, uint64_t *cost)
{
    const worker *w = j->workers;
    const uint64_t units = tsri_symbols_chunks(j->n, LOG_UNIT);
    const uint64_t table = table_cost(&w->sum);

    j->head.form = TSRI_SYMBOLS_TABLE;
    j->head.bits = tsri_symbols_bits(&w->sum, j->n);
    *cost = tsri_symbols_cost(&w->sum, j->n) + table;
    j->head.own = w->own + units * table < *cost;
    if (j->head.own)
        *cost = w->own + units * table;
    else
        tsri_symbols_choose(&w->sum, j->head.bits, &j->head.table);
    if (fast)
        return j->head.last < 16 && j->n >= PAIRS_MIN ? try_pairs(j, cost)
                                                      : TSR_OK;
    if (j->n >= ROWS_MIN && tsri_symbols_drift(j->ctx, j->sym, j->width, j->n,
                                               j->head.base, *cost)) {
        *cost -= *cost / 16;
        j->head.form = TSRI_SYMBOLS_ROWS;
        j->head.bits = MEMORY;
        j->head.own = false;
    }
    return TSR_OK;
}

/* ---- the same for more than 256 symbols ---- */

/* Calls body for the numbers of a stretch, less base, as 16 or 32 bits each. */
static tsr_error each_piece(const job *j, size_t first, size_t n,
                            tsr_error (*body)(const job *, void *, const void *,
                                              size_t), void *cookie)
{
    const uint8_t *at = (const uint8_t *)j->sym + first * (size_t)j->width;
    uint32_t piece[TSRI_SYMBOLS_PIECE / 4];
    const size_t most = sizeof piece / sizeof *piece;

    if (!j->head.base)
        return body(j, cookie, at, n);
    for (size_t k; n; n -= k, at += k * sizeof *piece) {
        k = n < most ? n : most;
        for (size_t i = 0; i < k; i++)
            piece[i] = ((const uint32_t *)(const void *)at)[i] - j->head.base;
        TSR_TRY(body(j, cookie, piece, k));
    }
    return TSR_OK;
}

static tsr_error count_buckets(const job *j, void *cookie, const void *sym,
                               size_t n)
{
    worker *w = cookie;
    const size_t alphabet = (size_t)j->head.last + 1;

    w->sum.n += n;
    return j->width == 2
        ? tsri_bigtable_count16(j->ctx, alphabet, sym, n, w->sum.of)
        : tsri_bigtable_count32(j->ctx, alphabet, sym, n, w->sum.of);
}

static tsr_error count_tokens(const job *j, void *cookie, const void *sym,
                              size_t n)
{
    uint32_t *count = ((worker *)cookie)->tokens;
    const uint16_t *narrow = sym;
    const uint32_t *wide = sym;

    if (j->width == 2)
        for (size_t i = 0; i < n; i++)
            count[narrow[i]]++;
    else
        for (size_t i = 0; i < n; i++)
            count[wide[i]]++;
    return TSR_OK;
}

static tsr_error look_buckets(void *cookie, int i, int index)
{
    job *j = cookie;
    return each_piece(j, (size_t)i << LOG_UNIT, part(j->n, (size_t)i, LOG_UNIT),
                      count_buckets, &j->workers[index]);
}

static tsr_error look_tokens(void *cookie, int i, int index)
{
    job *j = cookie;
    return each_piece(j, (size_t)i << LOG_UNIT, part(j->n, (size_t)i, LOG_UNIT),
                      count_tokens, &j->workers[index]);
}

/* How often each symbol occurs, in the first worker's counts. */
static tsr_error count_all(job *j)
{
    const size_t alphabet = (size_t)j->head.last + 1;

    for (int i = 0; i < j->threads; i++) {
        j->workers[i].tokens = tsri_calloc(j->ctx, alphabet, sizeof(uint32_t));
        if (!j->workers[i].tokens)
            return TSR_E_NOMEM;
    }
    TSR_TRY(look(j, look_tokens));
    for (int i = 1; i < j->threads; i++)
        for (size_t s = 0; s < alphabet; s++)
            j->workers->tokens[s] += j->workers[i].tokens[s];
    return TSR_OK;
}

/* Codes with classes, where they pay: *cost is what is to be undercut.  The
 * buckets are taken to cost 1/256 more than the symbols. */
static tsr_error put_classes(job *j, uint8_t *classes, uint64_t *cost)
{
    const size_t n = (size_t)j->head.last + 1, room = tsr_symbols_bound(n, 1);
    tsri_symbols_count *count = &j->workers->one;
    uint64_t tokens = tsri_symbols_token_cost(j->workers->tokens, n, j->n);

    for (size_t s = 0; s < n; s++)
        classes[s] = tsri_symbols_class(j->workers->tokens[s]);
    tsri_symbols_tally(j->ctx, count, classes, n, 2);
    tokens += tokens / 256;
    if (tokens + tsri_symbols_cost(count, n) >= *cost - *cost / 256)
        return TSR_OK;
    j->classes = tsri_alloc(j->ctx, room, 1);
    if (!j->classes)
        return TSR_E_NOMEM;
    TSR_TRY(tsr_symbols_encode(j->ctx, NULL, classes, 1, n, j->classes, room,
                               &j->head.classes_size));
    j->head.classes = j->classes;
    j->head.form = TSRI_SYMBOLS_RANKED;
    *cost = tokens + j->head.classes_size;
    return tsri_symbols_ranked(&j->large, j->ctx, classes, n);
}

static tsr_error try_ranked(job *j, uint64_t *cost)
{
    uint8_t *classes;
    tsr_error error;

    TSR_TRY(count_all(j));
    classes = tsri_alloc(j->ctx, (size_t)j->head.last + 1, 1);
    if (!classes)
        return TSR_E_NOMEM;
    error = put_classes(j, classes, cost);
    tsri_free(j->ctx, classes);
    return error;
}

static tsr_error choose_large(job *j, uint64_t *cost)
{
    const size_t alphabet = (size_t)j->head.last + 1;
    const uint64_t packed = *cost;
    tsri_symbols_table *t = &j->head.table;

    TSR_TRY(look(j, look_buckets));
    const tsri_symbols_count count = j->workers->sum;
    j->head.form = TSRI_SYMBOLS_BUCKETS;
    j->head.bits = TSRI_SYMBOLS_BITS;
    t->size = (uint16_t)tsri_bigtable_buckets(alphabet);
    TSR_TRY(tsri_bigtable_normalise(alphabet, count.of, t->freq));
    *cost = tsri_symbols_bucket_cost(&count, alphabet) + t->size;
    *cost = *cost < packed ? *cost : packed;
    return j->n >> 32 || !tsri_symbols_unsorted(&count, alphabet)
               ? TSR_OK : try_ranked(j, cost);
}

static void choose_chunks(job *j, uint64_t cost)
{
    const uint64_t units = tsri_symbols_chunks(j->n, LOG_UNIT);
    int log = LOG_UNIT;

    for (j->cost = cost / units; !j->head.own && log < TSRI_SYMBOLS_LOG_MAX &&
         j->cost < CHUNK_BYTES; j->cost *= 2)
        log++;
    j->head.log_chunk = log;
}

/* The form; PACKED where tables save less than 1/256. */
static tsr_error choose(job *j, bool fast)
{
    const uint64_t packed = packed_bytes(j) + CRC;
    uint64_t cost = packed;

    j->head.form = TSRI_SYMBOLS_PACKED;
    if (j->least == j->most || j->head.last >= TSRI_BIGTABLE_MAX)
        return TSR_OK;
    TSR_TRY(j->head.last < 256 ? choose_table(j, fast, &cost)
                               : choose_large(j, &cost));
    if (cost > packed - packed / 256)
        j->head.form = TSRI_SYMBOLS_PACKED;
    choose_chunks(j, cost);
    return TSR_OK;
}

static tsr_error look_and_choose(job *j, bool fast)
{
    const worker *w = j->workers;
    int least = 0, most = 255;

    if (j->width > 1) {
        TSR_TRY(look(j, find_range));
        set_range(j, w->least, w->most);
        if (j->head.last < 256)
            TSR_TRY(look(j, tally));
    } else {
        TSR_TRY(look(j, tally));
        while (!w->sum.seen[least])
            least++;
        while (!w->sum.seen[most])
            most--;
        set_range(j, (uint32_t)least, (uint32_t)most);
    }
    return choose(j, fast);
}

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
    const uint8_t *bytes = as_bytes(j, w, first, &n);
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
    const size_t n = part(j->n, chunk, j->head.log_chunk);
    const uint32_t crc = j->head.crc + (uint32_t)chunk;

    s->table_size = 0;
    if (!j->large)
        return code_small(j, s, &j->workers[index], first, n, crc);
    TSR_TRY(each_piece(j, first, n, put_tokens, s->enc));
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

    tsri_ints_pack(j->sym, j->width, first, part(j->n, (size_t)i, LOG_UNIT),
                   j->head.base, bits, j->out + first / 8 * (size_t)bits);
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
    const size_t bytes = (size_t)packed_bytes(j);
    const bool digits = bytes < fixed_bytes(j);
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

    set_range(j, j->least, j->most);
    j->head.form = TSRI_SYMBOLS_RANGE;
    sym = as_bytes(j, j->workers, 0, &n);
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
    TSR_TRY(look_and_choose(j, s->fast));
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
    return *size && *size < packed_bytes(j) + CRC
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
