/* SPDX-License-Identifier: BSD-2-Clause */
#include <limits.h>
#include <string.h>
#include "entropy/bank_impl.h"
#include "entropy/plan_impl.h"
#include "lib/pool.h"

enum {
    BLOCK_HEAD = 160,   /* more than a segment has besides its words */
    STRIP = 16          /* tokens that plain C moves at a time */
};

/* ---- the plan ---- */

static tsr_error check_shape(tsr_context *ctx, const tsri_bank *bank,
                             const tsri_plan_shape *shape)
{
    if (shape->channels < 1 || shape->channels > TSRI_PLAN_MAX_CHANNELS ||
        shape->group < 1 || shape->group > shape->channels ||
        shape->tile < 1 || shape->tile > TSRI_PLAN_MAX_TILE)
        return tsri_fail(ctx, TSR_E_ARG, "blocks of %d of %d channels and %d "
                         "tokens", shape->group, shape->channels, shape->tile);
    if (shape->lanes != 0 && shape->lanes != 1 && shape->lanes != 4 &&
        shape->lanes != 8 && shape->lanes != 32)
        return tsri_fail(ctx, TSR_E_ARG, "blocks of %d lanes", shape->lanes);
    for (int c = 0; c < shape->channels; c++) {
        const int t = shape->cls[c];
        if (t >= bank->tables || bank->first[t + 1] - bank->first[t] > 256)
            return tsri_fail(ctx, TSR_E_ARG, "channel %d has class %d, which "
                             "is no table of at most 256 symbols", c, t);
    }
    return TSR_OK;
}

/* Classes in order, equal ones by channel: a counting sort. */
static void sort_channels(tsri_plan *plan, const uint8_t *cls)
{
    int32_t next[257] = { 0 };

    for (int c = 0; c < plan->channels; c++)
        next[cls[c] + 1]++;
    for (int i = 0; i < 256; i++)
        next[i + 1] += next[i];
    for (int c = 0; c < plan->channels; c++) {
        plan->place[c] = next[cls[c]]++;
        plan->channel[plan->place[c]] = c;
    }
}

/* The places of each group by channel; first_run counts them meanwhile. */
static void sort_groups(tsri_plan *plan)
{
    for (int c = 0; c < plan->channels; c++) {
        const int g = plan->place[c] / plan->group;
        plan->sorted[(ptrdiff_t)g * plan->group + plan->first_run[g]++] =
            plan->place[c];
    }
}

static void find_runs(tsri_plan *plan, const uint8_t *cls)
{
    int n = 0;

    for (int p = 0; p < plan->channels; p++) {
        const int table = cls[plan->channel[p]];
        if (p % plan->group == 0)
            plan->first_run[p / plan->group] = n;
        if (p % plan->group == 0 || plan->runs[n - 1].table != table)
            plan->runs[n++] = (tsri_plan_run){ table, p, 0 };
        plan->runs[n - 1].count++;
    }
    plan->first_run[plan->groups] = n;
}

static tsr_error allocate(tsri_plan *plan, tsr_context *ctx)
{
    const size_t n = (size_t)plan->channels, groups = (size_t)plan->groups;

    plan->channel = tsri_alloc(ctx, n, sizeof *plan->channel);
    plan->place = tsri_alloc(ctx, n, sizeof *plan->place);
    plan->sorted = tsri_alloc(ctx, n, sizeof *plan->sorted);
    plan->offset = tsri_calloc(ctx, n, 1);
    plan->runs = tsri_alloc(ctx, n, sizeof *plan->runs);
    plan->first_run = tsri_calloc(ctx, groups + 1, sizeof *plan->first_run);
    return plan->channel && plan->place && plan->sorted && plan->offset &&
           plan->runs && plan->first_run ? TSR_OK : tsri_nomem(ctx);
}

tsr_error tsri_plan_open(tsri_plan **out, tsr_context *ctx,
                         const tsri_bank *bank, const tsri_plan_shape *shape)
{
    tsri_plan *plan;

    *out = NULL;
    TSR_TRY(check_shape(ctx, bank, shape));
    plan = tsri_calloc(ctx, 1, sizeof *plan);
    if (!plan)
        return tsri_nomem(ctx);
    plan->bank = bank;
    plan->channels = shape->channels;
    plan->group = shape->group;
    plan->tile = shape->tile;
    plan->lanes = shape->lanes;
    plan->groups = tsri_ceil_div(shape->channels, shape->group);
    const tsr_error error = allocate(plan, ctx);
    if (error) {
        tsri_plan_close(&plan, ctx);
        return error;
    }
    if (shape->offset)
        memcpy(plan->offset, shape->offset, (size_t)plan->channels);
    sort_channels(plan, shape->cls);
    sort_groups(plan);
    find_runs(plan, shape->cls);
    *out = plan;
    return TSR_OK;
}

void tsri_plan_close(tsri_plan **out, tsr_context *ctx)
{
    tsri_plan *plan = *out;
    if (!plan)
        return;
    tsri_free(ctx, plan->channel);
    tsri_free(ctx, plan->place);
    tsri_free(ctx, plan->sorted);
    tsri_free(ctx, plan->offset);
    tsri_free(ctx, plan->runs);
    tsri_free(ctx, plan->first_run);
    tsri_free(ctx, plan);
    *out = NULL;
}

static size_t count_tiles(const tsri_plan *plan, size_t tokens)
{
    return tokens / (size_t)plan->tile + (tokens % (size_t)plan->tile != 0);
}

size_t tsri_plan_blocks(const tsri_plan *plan, size_t tokens)
{
    size_t blocks;
    return tsri_mul(count_tiles(plan, tokens), (size_t)plan->groups, &blocks)
               ? blocks : 0;
}

/* A symbol is a word of 2 bytes at most. */
size_t tsri_plan_bound(const tsri_plan *plan, size_t tokens)
{
    const size_t blocks = tsri_plan_blocks(plan, tokens);
    size_t symbols, heads, bytes;

    if (tokens && !blocks)
        return 0;
    return tsri_mul(tokens, 2 * (size_t)plan->channels, &symbols) &&
           tsri_mul(blocks, BLOCK_HEAD, &heads) &&
           tsri_add(symbols, heads, &bytes) ? bytes : 0;
}

/* ---- between the matrix and rows of tokens ---- */

/* Channels whose rows lie together: n places, sorted by channel, from `first`
 * on. */
typedef struct part {
    const tsri_plan *plan;
    const int32_t *place;
    int n, first;
} part;

static part whole(const tsri_plan *plan)
{
    return (part){ plan, plan->place, plan->channels, 0 };
}

static part one_group(const tsri_plan *plan, int g)
{
    const int first = g * plan->group;
    return (part){ plan, plan->sorted + first,
                   tsri_min(plan->group, plan->channels - first), first };
}

/* A matrix of one tile, and its rows. */
typedef struct view {
    uint8_t *data;
    ptrdiff_t token_step, channel_step;
    uint8_t *rows;
    size_t tokens;
    bool avx2;
} view;

/* How many channels of the part from i on are neighbours. */
static int neighbours(const part *p, int i)
{
    const int32_t *channel = p->plan->channel;
    int n = 1;

    while (i + n < p->n &&
           channel[p->place[i + n]] == channel[p->place[i]] + n)
        n++;
    return n;
}

/* Tokens t..t + n of a channel, whose row and column are given. */
static void move(uint8_t *row, uint8_t *column, ptrdiff_t step, uint8_t offset,
                 size_t n, bool to_rows)
{
    if (to_rows)
        for (size_t t = 0; t < n; t++, column += step)
            row[t] = (uint8_t)(*column - offset);
    else
        for (size_t t = 0; t < n; t++, column += step)
            *column = (uint8_t)(row[t] + offset);
}

/* Strips of a few tokens, so that lines of the matrix stay in the cache. */
static void move_plain(const part *p, int begin, int n, const view *v,
                       bool to_rows)
{
    const tsri_plan *plan = p->plan;

    for (size_t t = 0; t < v->tokens; t += STRIP) {
        const size_t some = v->tokens - t < STRIP ? v->tokens - t : STRIP;
        for (int i = begin; i < begin + n; i++) {
            const int c = plan->channel[p->place[i]];
            move(v->rows + (size_t)(p->place[i] - p->first) * v->tokens + t,
                 v->data + (ptrdiff_t)t * v->token_step + c * v->channel_step,
                 v->token_step, plan->offset[c], some, to_rows);
        }
    }
}

static void move_planar(const part *p, const view *v, bool to_rows)
{
    for (int i = 0; i < p->n; i++) {
        const int c = p->plan->channel[p->place[i]];
        const uint8_t offset = p->plan->offset[c];
        uint8_t *row = v->rows + (size_t)(p->place[i] - p->first) * v->tokens;
        uint8_t *column = v->data + c * v->channel_step;
        if (!v->avx2)
            move(row, column, 1, offset, v->tokens, to_rows);
        else if (to_rows)
            tsri_plan_shift_avx2(column, (uint8_t)-offset, row, v->tokens);
        else
            tsri_plan_shift_avx2(row, offset, column, v->tokens);
    }
}

static void move_neighbours(const part *p, int begin, int n, const view *v,
                            bool to_rows)
{
    const int32_t *place = p->place + begin;
    const int c = p->plan->channel[*place];
    const uint8_t *offset = p->plan->offset + c;

    if (to_rows)
        tsri_plan_to_rows_avx2(v->data + c, v->token_step, place, p->first,
                               offset, n, v->rows, v->tokens);
    else
        tsri_plan_from_rows_avx2(v->rows, v->tokens, place, p->first, offset,
                                 n, v->data + c, v->token_step);
}

static void move_part(const part *p, const view *v, bool to_rows)
{
    const bool squares = v->avx2 && v->channel_step == 1 &&
                         v->tokens >= TSRI_PLAN_SQUARE;

    if (v->token_step == 1) {
        move_planar(p, v, to_rows);
        return;
    }
    for (int i = 0, n; i < p->n; i += n) {
        n = squares ? neighbours(p, i) : p->n;
        if (squares && n >= TSRI_PLAN_SQUARE)
            move_neighbours(p, i, n, v, to_rows);
        else
            move_plain(p, i, n, v, to_rows);
    }
}

/* ---- what is shared out to the threads ---- */

/* An item is one or two tiles of one group, or of all groups, so that channels
 * that are neighbours in the matrix are moved together. */
typedef struct job {
    const tsri_plan *plan;
    tsr_context *ctx;
    const tsri_bytes2d *matrix;
    uint32_t crc;
    size_t tiles;
    int tiles_at_once, parts;   /* parts: 1, or the groups */
    size_t rows_size;           /* of the rows of an item's tile */
    uint8_t **rows;             /* of each worker */
    int workers;
    /* Encoder */
    tsri_rans_enc **enc;        /* of each worker */
    uint8_t *out;
    uint32_t *sizes;
    /* Decoder */
    const uint8_t *data;
    const size_t *starts;       /* of the blocks, and the end */
} job;

static size_t tokens_of(const job *j, size_t tile)
{
    const size_t at = tile * (size_t)j->plan->tile;
    const size_t left = j->matrix->tokens - at;

    return left < (size_t)j->plan->tile ? left : (size_t)j->plan->tile;
}

static view view_of(const job *j, size_t tile, uint8_t *rows)
{
    const tsri_bytes2d *m = j->matrix;
    const ptrdiff_t at = (ptrdiff_t)(tile * (size_t)j->plan->tile);

    return (view){ m->data + at * m->token_step, m->token_step,
                   m->channel_step, rows, tokens_of(j, tile),
                   j->ctx->cpu & TSR_CPU_AVX2 };
}

/* As many items as there are threads, if it can be: better two tiles than one
 * at once, better all groups than one. */
static tsr_error set_items(job *j, int tiles_at_once, int *items)
{
    const size_t threads = (size_t)j->workers, tokens = j->matrix->tokens;
    const size_t groups = (size_t)j->plan->groups;
    size_t steps;

    j->tiles = count_tiles(j->plan, tokens);
    steps = j->tiles / (size_t)tiles_at_once + j->tiles % (size_t)tiles_at_once;
    j->parts = steps < threads ? j->plan->groups : 1;
    j->tiles_at_once = steps * groups < threads ? 1 : tiles_at_once;
    if (j->tiles_at_once == 1)
        steps = j->tiles;
    if (tsri_plan_blocks(j->plan, tokens) / groups != j->tiles ||
        steps > (size_t)INT_MAX / (size_t)j->parts)
        return TSR_E_ARG;
    *items = (int)(steps * (size_t)j->parts);
    return TSR_OK;
}

static tsr_error open_rows(job *j)
{
    const size_t tokens = j->tiles > 1 ? (size_t)j->plan->tile
                                       : j->matrix->tokens;
    const int channels = j->parts > 1 ? j->plan->group : j->plan->channels;

    if (!tsri_mul(tokens, (size_t)channels, &j->rows_size))
        return TSR_E_NOMEM;
    j->rows = tsri_calloc(j->ctx, (size_t)j->workers, sizeof *j->rows);
    if (!j->rows)
        return TSR_E_NOMEM;
    for (int i = 0; i < j->workers; i++) {
        j->rows[i] = tsri_alloc(j->ctx, j->rows_size,
                                (size_t)j->tiles_at_once);
        if (!j->rows[i])
            return TSR_E_NOMEM;
    }
    return TSR_OK;
}

static void close_rows(job *j)
{
    for (int i = 0; j->rows && i < j->workers; i++)
        tsri_free(j->ctx, j->rows[i]);
    tsri_free(j->ctx, j->rows);
}

/* ---- encoder ---- */

/* Where block g of a tile may be written until its place is known. */
static uint8_t *room_of(const job *j, size_t tile, int g)
{
    const tsri_plan *plan = j->plan;
    const size_t n = (size_t)plan->channels, groups = (size_t)plan->groups;
    const size_t before = (size_t)g * (size_t)plan->group;

    return j->out + tile * (2 * n * (size_t)plan->tile + groups * BLOCK_HEAD) +
           2 * before * tokens_of(j, tile) + (size_t)g * BLOCK_HEAD;
}

static tsr_error encode_block(job *j, tsri_rans_enc *enc, size_t tile, int g,
                              const uint8_t *rows)
{
    const tsri_plan *plan = j->plan;
    const size_t block = tile * (size_t)plan->groups + (size_t)g;
    const size_t tokens = tokens_of(j, tile);
    const uint8_t *data;
    size_t size;

    for (int r = plan->first_run[g]; r < plan->first_run[g + 1]; r++) {
        const size_t n = (size_t)plan->runs[r].count * tokens;
        const tsr_error error = tsri_rans_put8(enc, plan->bank,
                                               plan->runs[r].table, rows, n);
        if (error) {
            tsri_rans_enc_reset(enc);
            return error;
        }
        rows += n;
    }
    TSR_TRY(tsri_rans_finish(enc, j->crc + (uint32_t)block,
                             j->plan->lanes, &data, &size));
    if (size > UINT32_MAX)
        return TSR_E_ARG;
    memcpy(room_of(j, tile, g), data, size);
    j->sizes[block] = (uint32_t)size;
    return TSR_OK;
}

static tsr_error encode_item(void *cookie, int item, int worker)
{
    job *j = cookie;
    const tsri_plan *plan = j->plan;
    const size_t tile = (size_t)(item / j->parts);
    const int g = item % j->parts;
    const part p = j->parts > 1 ? one_group(plan, g) : whole(plan);
    const view v = view_of(j, tile, j->rows[worker]);

    move_part(&p, &v, true);
    if (j->parts > 1)
        return encode_block(j, j->enc[worker], tile, g, v.rows);
    for (int i = 0; i < plan->groups; i++) {
        const size_t before = (size_t)i * (size_t)plan->group;
        TSR_TRY(encode_block(j, j->enc[worker], tile, i,
                             v.rows + before * v.tokens));
    }
    return TSR_OK;
}

static tsr_error open_encoders(job *j)
{
    j->enc = tsri_calloc(j->ctx, (size_t)j->workers, sizeof *j->enc);
    if (!j->enc)
        return TSR_E_NOMEM;
    for (int i = 0; i < j->workers; i++)
        TSR_TRY(tsri_rans_enc_open(&j->enc[i], j->ctx));
    return TSR_OK;
}

/* Moves the blocks together; returns the bytes. */
static size_t close_gaps(const job *j)
{
    uint8_t *end = j->out;

    for (size_t tile = 0; tile < j->tiles; tile++)
        for (int g = 0; g < j->plan->groups; g++) {
            const size_t size = j->sizes[tile * (size_t)j->plan->groups +
                                         (size_t)g];
            memmove(end, room_of(j, tile, g), size);
            end += size;
        }
    return (size_t)(end - j->out);
}

tsr_error tsri_plan_encode(const tsri_plan *plan, tsr_context *ctx,
                           const tsri_bytes2d *in, uint32_t crc,
                           uint8_t *out, uint32_t *sizes, size_t *size)
{
    job j = { .plan = plan, .ctx = ctx, .matrix = in, .crc = crc, .out = out,
              .sizes = sizes, .workers = tsri_pool_threads(ctx->pool) };
    int items = 0;
    tsr_error error = set_items(&j, 1, &items);

    *size = 0;
    if (error || !items)
        return error;
    error = open_rows(&j);
    if (!error)
        error = open_encoders(&j);
    if (!error)
        error = tsri_pool_for(ctx->pool, items, encode_item, &j);
    if (!error)
        *size = close_gaps(&j);
    for (int i = 0; j.enc && i < j.workers; i++)
        tsri_rans_enc_close(&j.enc[i]);
    tsri_free(ctx, j.enc);
    close_rows(&j);
    return error;
}

/* ---- decoder ---- */

static tsr_error open_block(const job *j, tsri_rans_dec *dec, size_t tile, int g)
{
    const size_t block = tile * (size_t)j->plan->groups + (size_t)g;
    const size_t *start = j->starts + block;

    return tsri_rans_dec_open(dec, j->ctx, j->data + start[0],
                              start[1] - start[0], j->crc + (uint32_t)block);
}

/* A run takes its table's 16 KiB from memory bit by bit: they are sent for while
 * the run before is decoded. */
static void fetch_table(const tsri_bank *bank, int table)
{
    enum { LINE = 64 / sizeof *bank->slot };

    if (tsri_bank_has_slots(bank, table))
        for (size_t i = 0; i < (size_t)1 << bank->bits; i += LINE)
            __builtin_prefetch(bank->slot + ((size_t)table << bank->bits) + i,
                               0, 2);
}

/* Block g of a tile, and of the tile behind it where there is one: the tables
 * are the same. */
static tsr_error decode_blocks(const job *j, size_t tile, int tiles, int g,
                               uint8_t *const rows[2])
{
    const tsri_plan *plan = j->plan;
    const int first = g * plan->group;
    tsri_rans_dec dec[2], *both[2] = { &dec[0], &dec[1] };
    size_t tokens[2];

    for (int i = 0; i < tiles; i++) {
        tokens[i] = tokens_of(j, tile + (size_t)i);
        TSR_TRY(open_block(j, &dec[i], tile + (size_t)i, g));
    }
    for (int r = plan->first_run[g]; r < plan->first_run[g + 1]; r++) {
        const tsri_plan_run *run = &plan->runs[r];
        tsri_rans_run8 runs[2];
        if (r + 1 < plan->first_run[g + 1])
            fetch_table(plan->bank, run[1].table);
        for (int i = 0; i < tiles; i++)
            runs[i] = (tsri_rans_run8){
                run->table, rows[i] + (size_t)(run->first - first) * tokens[i],
                (size_t)run->count * tokens[i]
            };
        TSR_TRY(tiles > 1 ? tsri_rans_get8_pair(both, plan->bank, runs)
                          : tsri_rans_get8(&dec[0], plan->bank, run->table,
                                           runs[0].sym, runs[0].n));
    }
    for (int i = 0; i < tiles; i++)
        TSR_TRY(tsri_rans_dec_end(&dec[i]));
    return TSR_OK;
}

static tsr_error decode_item(void *cookie, int item, int worker)
{
    job *j = cookie;
    const tsri_plan *plan = j->plan;
    const size_t tile = (size_t)(item / j->parts) * (size_t)j->tiles_at_once;
    const int g = item % j->parts;
    const part p = j->parts > 1 ? one_group(plan, g) : whole(plan);
    const int tiles = j->tiles - tile > 1 ? j->tiles_at_once : 1;
    view v[2];

    for (int i = 0; i < tiles; i++)
        v[i] = view_of(j, tile + (size_t)i,
                       j->rows[worker] + (size_t)i * j->rows_size);
    for (int k = j->parts > 1 ? g : 0; k < (j->parts > 1 ? g + 1 : plan->groups);
         k++) {
        const size_t before = (size_t)(k * plan->group - p.first);
        uint8_t *rows[2] = { v[0].rows + before * v[0].tokens, NULL };
        if (tiles > 1)
            rows[1] = v[1].rows + before * v[1].tokens;
        TSR_TRY(decode_blocks(j, tile, tiles, k, rows));
    }
    for (int i = 0; i < tiles; i++)
        move_part(&p, &v[i], false);
    return TSR_OK;
}

/* Where the blocks begin; their sizes must add up. */
static tsr_error find_starts(job *j, size_t **starts, size_t size,
                             const uint32_t *sizes)
{
    const size_t blocks = j->tiles * (size_t)j->plan->groups;
    size_t at = 0;

    *starts = tsri_alloc(j->ctx, blocks + 1, sizeof **starts);
    if (!*starts)
        return TSR_E_NOMEM;
    for (size_t b = 0; b < blocks; b++) {
        (*starts)[b] = at;
        if (sizes[b] > size - at)
            return TSR_E_CORRUPT;
        at += sizes[b];
    }
    (*starts)[blocks] = at;
    j->starts = *starts;
    return at == size ? TSR_OK : TSR_E_CORRUPT;
}

tsr_error tsri_plan_decode(const tsri_plan *plan, tsr_context *ctx,
                           const uint8_t *data, size_t size,
                           const uint32_t *sizes, uint32_t crc,
                           const tsri_bytes2d *out)
{
    job j = { .plan = plan, .ctx = ctx, .matrix = out, .crc = crc,
              .data = data, .workers = tsri_pool_threads(ctx->pool) };
    int items = 0;
    size_t *starts = NULL;
    tsr_error error = set_items(&j, 2, &items);

    if (!error)
        error = find_starts(&j, &starts, size, sizes);
    if (!error && items)
        error = open_rows(&j);
    if (!error && items)
        error = tsri_pool_for(ctx->pool, items, decode_item, &j);
    close_rows(&j);
    tsri_free(ctx, starts);
    return error;
}
