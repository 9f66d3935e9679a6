/* SPDX-License-Identifier: BSD-2-Clause */
#include <limits.h>
#include <string.h>
#include "codecs/image/image.h"
#include "codecs/image/token.h"
#include "lib/bytes.h"
#include "lib/crc32c.h"

typedef tsri_token_codec token;

/* ---- open and close ---- */

void tsri_token_forget(token *t)
{
    tsri_free(t->ctx, t->grid.id);
    tsri_free(t->ctx, t->grid.lost);
    t->grid = (tsri_token_grid){ .id = NULL };
    t->ready = false;
}

static void token_close(void **self)
{
    token *t = *self;
    if (!t)
        return;
    tsri_token_forget(t);
    tsri_token_fill_close(&t->fill, t->ctx);
    tsri_token_book_close(&t->book, t->ctx);
    tsri_codebook_free(&t->search, t->ctx);
    for (int i = 0; i < 2; i++)
        tsri_net_free(&t->net[i]);
    for (int i = 0; i < TSR_TOKENS_LEVELS; i++)
        tsri_device_book_close(&t->on_device[i]);
    tsri_free(t->ctx, t->words);
    tsr_model_unref(&t->model);
    tsri_free(t->ctx, t);
    *self = NULL;
}

static tsr_error load(token *t)
{
    TSR_TRY(tsri_token_shape_read(t->ctx, t->model, t->family, &t->shape));
    TSR_TRY(tsri_token_codewords(t->ctx, t->model, t->shape.dim, &t->codes,
                                 &t->words));
    return tsri_token_book_open(&t->book, t->ctx, t->model, t->codes,
                                t->shape.dim, t->words);
}

static tsr_error open_family(void **self, tsr_context *ctx, tsr_model *model,
                             const tsri_token_family *family)
{
    token *t = tsri_calloc(ctx, 1, sizeof *t);

    *self = t;
    if (!t)
        return tsri_nomem(ctx);
    t->ctx = ctx;
    t->model = tsr_model_ref(model);
    t->family = family;
    const tsr_error error = load(t);
    if (error)
        token_close(self);
    return error;
}

static tsr_error vqgan_open(void **self, tsr_context *ctx, tsr_model *model)
{
    return open_family(self, ctx, model, &tsri_token_vqgan);
}

static tsr_error simvq_open(void **self, tsr_context *ctx, tsr_model *model)
{
    return open_family(self, ctx, model, &tsri_token_simvq);
}

/* Weights are packed when a direction is first used: who only decodes does not
 * pay for the encoder. */
tsr_error tsri_token_part_net(token *t, tsri_token_part part)
{
    if (t->net[part])
        return TSR_OK;
    return tsri_token_net(&t->net[part], t->ctx, t->model, t->family,
                          &t->shape, part, NULL);
}

/* ---- a picture's grid ---- */

int tsri_token_level(int levels, double quality)
{
    return levels - 1 - (int)(quality * levels / 100.0001);
}

double tsri_token_quality(int levels, int level)
{
    return 100 * (levels - 1 - level + 0.5) / levels;
}

uint64_t tsri_token_grid_bytes(const token *t)
{
    return (uint64_t)t->grid.height * (uint64_t)t->grid.width *
           (sizeof *t->grid.id + sizeof *t->grid.lost);
}

tsr_error tsri_token_too_large(token *t)
{
    return tsri_fail(t->ctx, TSR_E_LIMIT, "%d x %d pixels need %llu bytes, more "
                     "than the memory limit", t->width, t->height,
                     (unsigned long long)tsri_token_grid_bytes(t));
}

static tsr_error new_grid(token *t)
{
    const size_t n = (size_t)t->grid.height * (size_t)t->grid.width;

    if (tsri_token_grid_bytes(t) > t->ctx->max_memory)
        return tsri_token_too_large(t);
    t->grid.id = tsri_calloc(t->ctx, n, sizeof *t->grid.id);
    t->grid.lost = tsri_alloc(t->ctx, n, sizeof *t->grid.lost);
    if (!t->grid.id || !t->grid.lost)
        return tsri_nomem(t->ctx);
    memset(t->grid.lost, 1, n);
    return TSR_OK;
}

tsr_error tsri_token_grid_size(token *t, int rows, int columns, int level)
{
    const int f = t->shape.factor;

    tsri_token_forget(t);
    if (rows < 1 || columns < 1)
        return tsri_fail(t->ctx, TSR_E_ARG, "a grid of %d x %d tokens", columns,
                         rows);
    if (tsri_max(rows, columns) > INT_MAX / f ||
        (uint64_t)rows * (uint64_t)columns > INT_MAX)
        return tsri_fail(t->ctx, TSR_E_LIMIT, "%d x %d tokens are too many",
                         columns, rows);
    t->width = columns * f;
    t->height = rows * f;
    t->grid.height = rows;
    t->grid.width = columns;
    t->level = level;
    return new_grid(t);
}

tsr_error tsri_token_size(token *t, int width, int height, int level)
{
    const int f = t->shape.factor;

    if (width < 1 || height < 1)
        return tsri_fail(t->ctx, TSR_E_ARG, "a picture of %d x %d", width,
                         height);
    TSR_TRY(tsri_token_grid_size(t, tsri_ceil_div(height, f),
                                 tsri_ceil_div(width, f), level));
    t->width = width;
    t->height = height;
    return TSR_OK;
}

static bool is_ready(const token *t, int width, int height)
{
    return t->ready && t->width == width && t->height == height;
}

static tsr_error count_units(token *t)
{
    t->units = tsri_token_units(&t->grid, &t->way);
    if (t->units > 0)
        return TSR_OK;
    return tsri_fail(t->ctx, TSR_E_LIMIT, "%d x %d pixels with interleave %d "
                     "are too many units", t->width, t->height,
                     t->way.interleave);
}

/* What the units' check values go on from: units that are sound by themselves
 * do not fit a picture of another size or way. */
static uint32_t picture_crc(const token *t, uint8_t param, uint32_t crc)
{
    uint8_t head[9];

    tsri_put32(head, (uint32_t)t->width);
    tsri_put32(head + 4, (uint32_t)t->height);
    head[8] = param;
    return tsri_crc32c(crc, head, sizeof head);
}

static tsr_error token_begin(void *self, int width, int height,
                             const uint8_t *params, uint32_t crc, int *units)
{
    token *t = self;

    TSR_TRY(tsri_token_way_get(t->ctx, t->book, params[0], &t->way));
    if (!is_ready(t, width, height) || t->level != t->way.level)
        TSR_TRY(tsri_token_size(t, width, height, t->way.level));
    t->crc = picture_crc(t, params[0], crc);
    TSR_TRY(count_units(t));
    *units = t->units;
    return TSR_OK;
}

/* ---- encoder ---- */

static tsr_error token_analyse(void *self, const tsr_image *image,
                               const tsr_progress *progress)
{
    token *t = self;
    const tsri_token_grid *g = &t->grid;
    bool done = false;

    TSR_TRY(tsri_token_size(t, image->width, image->height, 0));
    TSR_TRY(tsri_token_part_net(t, TSRI_TOKEN_ENCODER));
    if (t->ctx->gpu)
        TSR_TRY(tsri_token_look(t, 1, &image, &t->grid.id, &done));
    if (!done)
        TSR_TRY(tsri_image_on_host(t->ctx));
    const tsr_error error = done ? tsri_report(progress, 1)
                                 : tsri_token_analyse(t, image, progress);
    t->ready = !error;
    memset(g->lost, 0, (size_t)g->height * (size_t)g->width);
    return error;
}

/* One unit's bytes and their memory. */
typedef struct unit_room {
    uint8_t *data;
    size_t room, bytes;
} unit_room;

static tsr_error put_unit(token *t, const tsri_token_way *way, int unit,
                          unit_room *u)
{
    const size_t bound = tsri_token_unit_bound(&t->grid, way, unit);

    if (bound > u->room) {
        tsri_free(t->ctx, u->data);
        u->room = 0;
        u->data = tsri_alloc(t->ctx, bound, 1);
        if (!u->data)
            return tsri_nomem(t->ctx);
        u->room = bound;
    }
    return tsri_token_unit_put(t->ctx, t->book, way, &t->grid, unit, t->crc,
                               u->data, u->room, &u->bytes);
}

static tsr_error measure(token *t, const tsri_token_way *way, uint64_t *bytes)
{
    unit_room u = { .data = NULL };
    tsr_error error = TSR_OK;

    *bytes = 0;
    for (int i = 0; !error && i < t->units; i++) {
        error = put_unit(t, way, i, &u);
        *bytes += u.bytes;
    }
    tsri_free(t->ctx, u.data);
    return error;
}

/* With or without context: what makes the shorter stream. */
static tsr_error choose_context(token *t)
{
    tsri_token_way plain = t->way, with = t->way;
    uint64_t plain_bytes, with_bytes;

    TSR_TRY(count_units(t));
    with.context = true;
    TSR_TRY(measure(t, &plain, &plain_bytes));
    TSR_TRY(measure(t, &with, &with_bytes));
    t->way.context = with_bytes < plain_bytes;
    return TSR_OK;
}

static tsr_error coarsen(token *t, int level)
{
    const size_t n = (size_t)t->grid.height * (size_t)t->grid.width;

    if (level < t->level)
        return tsri_fail(t->ctx, TSR_E_ARG, "tokens of level %d cannot be made "
                         "ones of level %d, which is finer", t->level, level);
    for (size_t i = 0; i < n; i++)
        t->grid.id[i] = tsri_token_book_coarser(t->book, t->level,
                                                t->grid.id[i], level);
    t->level = level;
    return TSR_OK;
}

/* No more cosets than a small grid has tokens for. */
static int fit_interleave(const token *t, int width, int height, int interleave)
{
    const int f = t->shape.factor;
    const int side = tsri_ceil_div(tsri_max(width, height), f);

    while (interleave > side)
        interleave /= 2;
    return interleave;
}

static tsr_error token_choose(void *self, int width, int height, double quality,
                              int interleave, uint8_t *params)
{
    token *t = self;
    const int levels = tsri_token_book_levels(t->book);

    t->way = (tsri_token_way){ tsri_token_level(levels, quality),
                               fit_interleave(t, width, height, interleave),
                               false };
    if (is_ready(t, width, height)) {
        TSR_TRY(coarsen(t, t->way.level));
        if (tsri_token_book_context(t->book))
            TSR_TRY(choose_context(t));
    }
    params[0] = tsri_token_way_put(&t->way);
    return TSR_OK;
}

static tsr_error token_encode(void *self, const tsr_image *image,
                              tsri_image_emit emit, void *cookie,
                              const tsr_progress *progress)
{
    token *t = self;
    unit_room u = { .data = NULL };
    tsr_error error = TSR_OK;

    (void)image;
    (void)progress;
    for (int i = 0; !error && i < t->units; i++) {
        error = put_unit(t, &t->way, i, &u);
        const tsri_span span = { u.data, u.bytes };
        if (!error)
            error = emit(cookie, i, &span, 1);
    }
    tsri_free(t->ctx, u.data);
    t->ready = false;
    return error;
}

/* ---- decoder ---- */

static tsr_error token_decode(void *self, int unit, const tsri_span *layers,
                              int n)
{
    token *t = self;

    if (n != 1)
        return TSR_E_CORRUPT;
    return tsri_token_unit_get(t->ctx, t->book, &t->way, &t->grid, unit,
                               t->crc, layers->data, layers->bytes);
}

static tsr_error token_pixels(void *self, tsri_image_put put, void *cookie,
                              const tsr_progress *progress)
{
    return tsri_token_pixels(self, put, cookie, progress);
}

bool tsri_token_any_lost(const tsri_token_grid *g)
{
    return memchr(g->lost, 1, (size_t)g->height * (size_t)g->width) != NULL;
}

static tsr_error token_show(void *self, const tsr_image *image, bool *done)
{
    token *t = self;

    *done = false;
    if (tsri_token_any_lost(&t->grid))
        return TSR_OK;
    TSR_TRY(tsri_token_part_net(t, TSRI_TOKEN_DECODER));
    return tsri_token_show(t, 1, t->level, &t->grid.id, &image, done);
}

/* ---- tables ---- */

static void token_describe(const uint8_t *params, tsr_image_info *info)
{
    info->token_level = params[0] & 7;
    info->token_interleave = 1 << (params[0] >> 3 & 3);
    info->token_context = params[0] >> 5 & 1;
}

const tsri_image_codec tsri_image_codec_vqgan = {
    .id = "vqgan", .number = 3, .variable_rate = true,
    .params = 1, .layers = 1, .layer_name = { "tokens" },
    .open = vqgan_open, .close = token_close, .analyse = token_analyse,
    .choose = token_choose, .begin = token_begin, .encode = token_encode,
    .decode = token_decode, .pixels = token_pixels, .show = token_show,
    .group = &tsri_token_group,
    .describe = token_describe,
};

const tsri_image_codec tsri_image_codec_simvq = {
    .id = "simvq", .number = 4, .variable_rate = true,
    .params = 1, .layers = 1, .layer_name = { "tokens" },
    .open = simvq_open, .close = token_close, .analyse = token_analyse,
    .choose = token_choose, .begin = token_begin, .encode = token_encode,
    .decode = token_decode, .pixels = token_pixels, .show = token_show,
    .group = &tsri_token_group,
    .describe = token_describe,
};

token *tsri_token_of(const tsri_image_codec *codec, void *self)
{
    return codec->analyse == token_analyse ? self : NULL;
}

const tsri_token_family *tsri_token_family_of(const char *id)
{
    if (!strcmp(id, tsri_image_codec_vqgan.id))
        return &tsri_token_vqgan;
    return strcmp(id, tsri_image_codec_simvq.id) ? NULL : &tsri_token_simvq;
}
