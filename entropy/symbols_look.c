/* SPDX-License-Identifier: BSD-2-Clause */
/* Looking at an array's symbols, and choosing the form they are coded in. */
#include <string.h>
#include "entropy/symbols_job.h"
#include "lib/pool.h"

enum {
    LOG_UNIT = TSRI_SYMBOLS_LOG_UNIT,
    MANY = 1 << 20,         /* symbols of which a smaller part tells enough */
    CHUNK_BYTES = 1 << 17,  /* chunks grow until they are about so large */
    PAIRS_MIN = 1 << 15,    /* symbols that make a table of pairs worth while */
    ROWS_MIN = 1 << 14,     /* symbols in which a drift is looked for */
    MEMORY = 11             /* of models that follow one */
};

typedef tsri_symbols_worker worker;
typedef tsri_symbols_job job;

static tsr_error find_range(void *cookie, int i, int index)
{
    job *j = cookie;
    worker *w = &j->workers[index];
    const uint8_t *sym = j->sym;
    uint32_t least, most;

    tsri_ints_range(sym + (((size_t)i << LOG_UNIT) * (size_t)j->width),
                    j->width, tsri_symbols_unit(j, i), &least, &most);
    w->least = least < w->least ? least : w->least;
    w->most = most > w->most ? most : w->most;
    return TSR_OK;
}

const uint8_t *tsri_symbols_as_bytes(const job *j, worker *w, size_t first,
                                     size_t *n)
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
    size_t n = tsri_symbols_unit(j, i);
    const uint8_t *bytes = tsri_symbols_as_bytes(j, w, (size_t)i << LOG_UNIT, &n);

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

void tsri_symbols_set_range(job *j, uint32_t least, uint32_t most)
{
    j->least = least;
    j->most = most;
    j->head.base = most < 256 || (most - least >= 256 && most < TSRI_BIGTABLE_MAX)
                       ? 0 : least;
    j->head.last = most - j->head.base;
}

uint64_t tsri_symbols_fixed_bytes(const job *j)
{
    const int bits = tsri_symbols_width(j->most - j->least);
    return (j->n * (uint64_t)bits + 7) / 8;
}

uint64_t tsri_symbols_packed_bytes(const job *j)
{
    const uint64_t fixed = tsri_symbols_fixed_bytes(j);
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

tsr_error tsri_symbols_each_piece(const job *j, size_t first, size_t n,
                                  tsr_error (*body)(const job *, void *,
                                                    const void *, size_t),
                                  void *cookie)
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
    return tsri_symbols_each_piece(j, (size_t)i << LOG_UNIT,
                                   tsri_symbols_unit(j, i), count_buckets,
                                   &j->workers[index]);
}

static tsr_error look_tokens(void *cookie, int i, int index)
{
    job *j = cookie;
    return tsri_symbols_each_piece(j, (size_t)i << LOG_UNIT,
                                   tsri_symbols_unit(j, i), count_tokens,
                                   &j->workers[index]);
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
    const uint64_t packed = tsri_symbols_packed_bytes(j) + TSRI_SYMBOLS_CRC;
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

tsr_error tsri_symbols_look(job *j, bool fast)
{
    const worker *w = j->workers;
    int least = 0, most = 255;

    if (j->width > 1) {
        TSR_TRY(look(j, find_range));
        tsri_symbols_set_range(j, w->least, w->most);
        if (j->head.last < 256)
            TSR_TRY(look(j, tally));
    } else {
        TSR_TRY(look(j, tally));
        while (!w->sum.seen[least])
            least++;
        while (!w->sum.seen[most])
            most--;
        tsri_symbols_set_range(j, (uint32_t)least, (uint32_t)most);
    }
    return choose(j, fast);
}
