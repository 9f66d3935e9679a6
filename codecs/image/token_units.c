/* SPDX-License-Identifier: BSD-2-Clause */
#include <limits.h>
#include <string.h>
#include "codecs/image/token_book_impl.h"
#include "codecs/image/token_units.h"
#include "entropy/range.h"
#include "lib/bytes.h"
#include "lib/crc32c.h"

enum {
    CHECK_BYTES = 2,
    SLOT_BYTES = 3,             /* a decision costs 20 bits and a little */
    END_BYTES = 4,
    ROW = TSRI_TOKEN_REGION + 2 /* classes of a row, and one at either side */
};

/* ---- ways ---- */

static int log2_of(int n)
{
    return 31 - __builtin_clz((unsigned)n);
}

tsr_error tsri_token_way_get(tsr_context *ctx, const tsri_token_book *book,
                             uint8_t byte, tsri_token_way *way)
{
    *way = (tsri_token_way){ byte & 7, 1 << (byte >> 3 & 3), byte >> 5 & 1 };
    if (byte >> 6)
        return tsri_fail(ctx, TSR_E_CORRUPT, "no such coding of tokens");
    if (way->level >= book->levels)
        return tsri_fail(ctx, TSR_E_CORRUPT, "tokens of level %d, but the model "
                         "has %d", way->level, book->levels);
    if (way->context && !book->context.classes)
        return tsri_fail(ctx, TSR_E_CORRUPT, "the model lacks the context that "
                         "the tokens were coded with");
    return TSR_OK;
}

uint8_t tsri_token_way_put(const tsri_token_way *way)
{
    return (uint8_t)(way->level | log2_of(way->interleave) << 3 |
                     way->context << 5);
}

/* ---- units ---- */

/* The tokens of a unit: rows y0, y0 + step .. below y1, columns likewise. */
typedef struct coset {
    int y0, x0, y1, x1, step;
} coset;

static int64_t units(const tsri_token_grid *grid, const tsri_token_way *way)
{
    return (int64_t)tsri_ceil_div(grid->height, TSRI_TOKEN_REGION) *
           tsri_ceil_div(grid->width, TSRI_TOKEN_REGION) *
           (way->interleave * way->interleave);
}

int tsri_token_units(const tsri_token_grid *grid, const tsri_token_way *way)
{
    const int64_t n = units(grid, way);

    return n > INT_MAX ? 0 : (int)n;
}

static coset coset_of(const tsri_token_grid *grid, const tsri_token_way *way,
                      int unit)
{
    const int n = way->interleave, region = unit / (n * n);
    const int across = tsri_ceil_div(grid->width, TSRI_TOKEN_REGION);
    const int y = region / across * TSRI_TOKEN_REGION;
    const int x = region % across * TSRI_TOKEN_REGION;

    return (coset){ y + unit % (n * n) / n, x + unit % n,
                    tsri_min(grid->height, y + TSRI_TOKEN_REGION),
                    tsri_min(grid->width, x + TSRI_TOKEN_REGION), n };
}

static size_t along(int from, int to, int step)
{
    return from < to ? (size_t)tsri_ceil_div(to - from, step) : 0;
}

static size_t tokens(const coset *c)
{
    return along(c->y0, c->y1, c->step) * along(c->x0, c->x1, c->step);
}

size_t tsri_token_unit_bound(const tsri_token_grid *grid,
                             const tsri_token_way *way, int unit)
{
    const coset c = coset_of(grid, way, unit);
    const size_t n = tokens(&c);

    return n ? n * SLOT_BYTES * (way->context ? 2 : 1) + CHECK_BYTES + END_BYTES
             : 0;
}

static void mark(tsri_token_grid *grid, const coset *c, uint8_t lost)
{
    for (int y = c->y0; y < c->y1; y += c->step)
        for (int x = c->x0; x < c->x1; x += c->step)
            grid->lost[(size_t)y * (size_t)grid->width + (size_t)x] = lost;
}

void tsri_token_unit_clear(tsri_token_grid *grid, const tsri_token_way *way,
                           int unit)
{
    const coset c = coset_of(grid, way, unit);

    mark(grid, &c, 1);
}

/* ---- one decision: a part `below`, `above` of `total` <= 2^20 ---- */

static uint32_t slot_of(uint32_t sum, uint32_t total)
{
    return (uint32_t)(((uint64_t)sum << TSRI_TOKEN_BITS) / total);
}

static void put_part(tsri_range_enc *enc, uint32_t below, uint32_t above,
                     uint32_t total)
{
    tsri_range_put_slots(enc, slot_of(below, total), slot_of(above, total),
                         TSRI_TOKEN_BITS);
}

static void take_part(tsri_range_dec *dec, uint32_t below, uint32_t above,
                      uint32_t total)
{
    tsri_range_take(dec, slot_of(below, total), slot_of(above, total),
                    TSRI_TOKEN_BITS);
}

/* The sum that the next part holds: slot_of(below) <= slot < slot_of(above) just
 * where below <= sum < above. */
static uint32_t next_sum(const tsri_range_dec *dec, uint32_t total)
{
    const uint64_t slot = tsri_range_slot(dec, TSRI_TOKEN_BITS);

    return (uint32_t)(((slot + 1) * total - 1) >> TSRI_TOKEN_BITS);
}

/* ---- a place among from..to - 1 of a level, by the weights ---- */

static void put_place(tsri_range_enc *enc, const tsri_token_level *l, int from,
                      int to, int place)
{
    const uint32_t *b = l->below;

    put_part(enc, b[place] - b[from], b[place + 1] - b[from], b[to] - b[from]);
}

static int get_place(tsri_range_dec *dec, const tsri_token_level *l, int from,
                     int to)
{
    const uint32_t *b = l->below, base = b[from], total = b[to] - base;
    const uint32_t sum = base + next_sum(dec, total);
    int n = to - from, at = from;

    /* b[at] <= sum < b[at + n] */
    while (n > 1) {
        const int half = n / 2;
        at = b[at + half] <= sum ? at + half : at;
        n -= half;
    }
    take_part(dec, b[at] - base, b[at + 1] - base, total);
    return at;
}

/* ---- the class of a token, by those around it ---- */

/* The classes above and at the left, and the weights that follow from them. */
typedef struct around {
    const tsri_token_context *c;
    uint16_t row[2][ROW];       /* [y & 1][1 + x]; `classes` where none is */
    int32_t score[TSRI_TOKEN_CLASSES];
    uint32_t below[TSRI_TOKEN_CLASSES + 1];
} around;

static void around_open(around *a, const tsri_token_context *c)
{
    a->c = c;
    for (int i = 0; i < ROW; i++)
        a->row[0][i] = a->row[1][i] = (uint16_t)c->classes;
}

/* Fills a->score; the best of them.  In blocks whose loops compilers turn into
 * vectors; what pads the last one is never the best. */
static int32_t add_scores(around *a, const int8_t *const from[])
{
    const tsri_token_context *c = a->c;
    int32_t top[TSRI_TOKEN_BLOCK], best;
    int16_t sum[TSRI_TOKEN_BLOCK];

    for (int i = 0; i < TSRI_TOKEN_BLOCK; i++)
        top[i] = INT32_MIN;
    for (int k = 0; k < c->stride; k += TSRI_TOKEN_BLOCK) {
        const int8_t *left = from[0] + k, *up = from[1] + k;
        const int8_t *right = from[2] + k, *corner = from[3] + k;
        const int32_t *bias = c->bias + k;
        int32_t *score = a->score + k;
        for (int i = 0; i < TSRI_TOKEN_BLOCK; i++)
            sum[i] = (int16_t)(left[i] + up[i] + right[i] + corner[i]);
        for (int i = 0; i < TSRI_TOKEN_BLOCK; i++)
            score[i] = bias[i] + sum[i];
        for (int i = 0; i < TSRI_TOKEN_BLOCK; i++)
            top[i] = tsri_max(top[i], score[i]);
    }
    best = top[0];
    for (int i = 1; i < TSRI_TOKEN_BLOCK; i++)
        best = tsri_max(best, top[i]);
    return best;
}

/* Fills a->below for the token at (y, x). */
static void predict(around *a, int y, int x)
{
    const tsri_token_context *c = a->c;
    const size_t stride = (size_t)c->stride;
    const size_t table = ((size_t)c->classes + 1) * stride;
    const uint16_t *here = a->row[y & 1], *up = a->row[~y & 1];
    const int8_t *const from[TSRI_TOKEN_NEIGHBOURS] = {
        c->weight + here[x] * stride, c->weight + table + up[x + 1] * stride,
        c->weight + 2 * table + up[x + 2] * stride,
        c->weight + 3 * table + up[x] * stride
    };
    const int32_t best = add_scores(a, from);
    uint32_t sum = 0;

    for (int k = 0; k < c->classes; k++) {
        a->below[k] = sum;
        sum += c->chance[tsri_min(best - a->score[k], TSRI_TOKEN_WEIGHTS)];
    }
    a->below[c->classes] = sum;
}

static void put_class(tsri_range_enc *enc, around *a, int y, int x, int k)
{
    predict(a, y, x);
    put_part(enc, a->below[k], a->below[k + 1], a->below[a->c->classes]);
    a->row[y & 1][x + 1] = (uint16_t)k;
}

static int get_class(tsri_range_dec *dec, around *a, int y, int x)
{
    int k = 0;

    predict(a, y, x);
    const uint32_t total = a->below[a->c->classes];
    const uint32_t sum = next_sum(dec, total);
    while (a->below[k + 1] <= sum)
        k++;
    take_part(dec, a->below[k], a->below[k + 1], total);
    a->row[y & 1][x + 1] = (uint16_t)k;
    return k;
}

/* ---- encoder ---- */

typedef struct writer {
    const tsri_token_book *book;
    int level;
    tsri_range_enc enc;
    around *around;             /* NULL without a context */
} writer;

static void put_token(writer *w, int y, int x, int place)
{
    const tsri_token_level *l = &w->book->level[w->level];

    if (!w->around) {
        put_place(&w->enc, l, 0, l->size, place);
        return;
    }
    const int k = l->class_of[place];
    put_class(&w->enc, w->around, y, x, k);
    if (w->level < w->book->levels - 1)
        put_place(&w->enc, l, l->class_start[k], l->class_start[k + 1], place);
}

static tsr_error put_tokens(writer *w, tsr_context *ctx,
                            const tsri_token_grid *grid, const coset *c)
{
    const int size = w->book->level[w->level].size;

    for (int y = c->y0, i = 0; y < c->y1; y += c->step, i++) {
        for (int x = c->x0, j = 0; x < c->x1; x += c->step, j++) {
            const size_t at = (size_t)y * (size_t)grid->width + (size_t)x;
            const int32_t id = grid->id[at];
            if (grid->lost[at] || id < 0 || id >= size)
                return tsri_fail(ctx, TSR_E_ARG, "token %d of row %d: no id "
                                 "below %d", x, y, size);
            put_token(w, i, j, tsri_token_place(w->book, w->level, id));
        }
    }
    return TSR_OK;
}

static tsr_error no_unit(tsr_context *ctx, int unit)
{
    return tsri_fail(ctx, TSR_E_ARG, "no unit %d", unit);
}

tsr_error tsri_token_unit_put(tsr_context *ctx, const tsri_token_book *book,
                              const tsri_token_way *way,
                              const tsri_token_grid *grid, int unit,
                              uint32_t crc, uint8_t *out, size_t room,
                              size_t *bytes)
{
    around state;
    writer w = { .book = book, .level = way->level };

    *bytes = 0;
    if (unit < 0 || unit >= units(grid, way))
        return no_unit(ctx, unit);
    const coset c = coset_of(grid, way, unit);
    if (room < tsri_token_unit_bound(grid, way, unit))
        return tsri_fail(ctx, TSR_E_ARG, "no room for unit %d", unit);
    if (!tokens(&c))
        return TSR_OK;
    if (way->context) {
        w.around = &state;
        around_open(&state, &book->context);
    }
    tsri_range_enc_open(&w.enc, out + CHECK_BYTES, room - CHECK_BYTES);
    TSR_TRY(put_tokens(&w, ctx, grid, &c));
    TSR_TRY(tsri_range_finish(&w.enc, bytes));
    tsri_put16(out, (uint16_t)tsri_crc32c(crc, out + CHECK_BYTES, *bytes));
    *bytes += CHECK_BYTES;
    return TSR_OK;
}

/* ---- decoder ---- */

typedef struct reader {
    const tsri_token_book *book;
    int level;
    tsri_range_dec dec;
    around *around;
} reader;

static int get_token(reader *r, int y, int x)
{
    const tsri_token_level *l = &r->book->level[r->level];

    if (!r->around)
        return get_place(&r->dec, l, 0, l->size);
    const int k = get_class(&r->dec, r->around, y, x);
    if (r->level == r->book->levels - 1)
        return k;
    return get_place(&r->dec, l, l->class_start[k], l->class_start[k + 1]);
}

static tsr_error get_tokens(reader *r, tsri_token_grid *grid, const coset *c)
{
    for (int y = c->y0, i = 0; y < c->y1; y += c->step, i++) {
        int32_t *row = grid->id + (size_t)y * (size_t)grid->width;
        for (int x = c->x0, j = 0; x < c->x1; x += c->step, j++)
            row[x] = tsri_token_id(r->book, r->level, get_token(r, i, j));
    }
    return tsri_range_dec_end(&r->dec);
}

static tsr_error get_unit(const tsri_token_book *book,
                          const tsri_token_way *way, tsri_token_grid *grid,
                          const coset *c, uint32_t crc, const uint8_t *data,
                          size_t bytes)
{
    around state;
    reader r = { .book = book, .level = way->level };

    if (!tokens(c))
        return bytes ? TSR_E_CORRUPT : TSR_OK;
    if (bytes < CHECK_BYTES)
        return TSR_E_CORRUPT;
    data += CHECK_BYTES;
    bytes -= CHECK_BYTES;
    if (tsri_get16(data - CHECK_BYTES) !=
        (tsri_crc32c(crc, data, bytes) & 0xffff))
        return TSR_E_CORRUPT;
    if (way->context) {
        r.around = &state;
        around_open(&state, &book->context);
    }
    tsri_range_dec_open(&r.dec, data, bytes);
    return get_tokens(&r, grid, c);
}

tsr_error tsri_token_unit_get(tsr_context *ctx, const tsri_token_book *book,
                              const tsri_token_way *way, tsri_token_grid *grid,
                              int unit, uint32_t crc, const uint8_t *data,
                              size_t bytes)
{
    if (unit < 0 || unit >= units(grid, way))
        return no_unit(ctx, unit);
    const coset c = coset_of(grid, way, unit);
    const tsr_error error = get_unit(book, way, grid, &c, crc, data, bytes);
    mark(grid, &c, error != TSR_OK);
    if (error)
        return tsri_fail(ctx, error, "unit %d is damaged", unit);
    return TSR_OK;
}
