/* SPDX-License-Identifier: BSD-2-Clause */
/* The codec table of "hyper": pictures cut into units, units into tiles that
 * fit the memory limit. */
#include <math.h>
#include <string.h>
#include "codecs/image/hyper.h"
#include "codecs/image/image.h"
#include "lib/cuda/device.h"

enum {
    STEP = TSRI_HYPER_STEP, UNIT = TSRI_HYPER_UNIT,
    QUALITY_TOP = TSRI_HYPER_STEPS * (TSRI_HYPER_LEVELS - 1),
    SIDE_MAX = 1 << 27 /* pixels: no sum of coordinates overflows an int */
};

typedef struct hyper {
    tsr_context *ctx;
    tsri_hyper_nets nets;
    tsri_hyper_model model;
    tsri_hyper_work *work;
    tsri_rans_enc *enc;
    float *gain;                /* [latents], of the picture's quality */
    /* The picture. */
    int width, height;          /* pixels */
    int rows, columns;          /* latent positions */
    int units_down, units_across;
    int quality;                /* code, 0..QUALITY_TOP */
    uint32_t crc;
    int16_t **tokens;           /* of each unit: 128 times y; NULL: missing */
    int16_t **held;             /* or they are in the device's memory */
    int8_t *z;                  /* of the unit at hand */
} hyper;

static int units_of(const hyper *h)
{
    return h->units_down * h->units_across;
}

static void give_held(hyper *h)
{
    for (int i = 0; h->held && i < units_of(h); i++)
        if (h->held[i]) {
            tsri_cuda_give(h->ctx->gpu, h->held[i]);
            h->held[i] = NULL;
        }
}

static void forget_picture(hyper *h)
{
    for (int i = 0; h->tokens && i < units_of(h); i++)
        tsri_free(h->ctx, h->tokens[i]);
    give_held(h);
    tsri_free(h->ctx, h->tokens);
    tsri_free(h->ctx, h->held);
    tsri_free(h->ctx, h->z);
    tsri_hyper_work_close(&h->work);
    h->tokens = h->held = NULL;
    h->z = NULL;
}

static void hyper_close(void **self)
{
    hyper *h = *self;
    if (!h)
        return;
    forget_picture(h);
    tsri_rans_enc_close(&h->enc);
    tsri_hyper_model_close(&h->model, h->ctx);
    tsri_hyper_nets_close(&h->nets, h->ctx);
    tsri_free(h->ctx, h->gain);
    tsri_free(h->ctx, h);
    *self = NULL;
}

static tsr_error load(hyper *h, const tsr_model *model)
{
    TSR_TRY(tsri_hyper_nets_open(&h->nets, h->ctx, model));
    TSR_TRY(tsri_hyper_model_open(&h->model, h->ctx, model));
    if (h->nets.latents != h->model.latents ||
        h->nets.hyper_latents != h->model.hyper_latents)
        return tsri_fail(h->ctx, TSR_E_SHAPE,
                         "%s: networks and entropy model do not fit",
                         tsr_model_path(model));
    h->gain = tsri_alloc(h->ctx, (size_t)h->nets.latents, sizeof *h->gain);
    return h->gain ? tsri_rans_enc_open(&h->enc, h->ctx) : tsri_nomem(h->ctx);
}

static tsr_error hyper_open(void **self, tsr_context *ctx, tsr_model *model)
{
    hyper *h = tsri_calloc(ctx, 1, sizeof *h);
    tsr_error error;

    *self = h;
    if (!h)
        return tsri_nomem(ctx);
    h->ctx = ctx;
    error = load(h, model);
    if (error)
        hyper_close(self);
    return error;
}

/* The quality code: 16 steps between two levels of gains. */
static tsr_error hyper_choose(void *self, int width, int height, double quality,
                              int interleave, uint8_t *params)
{
    (void)self;
    (void)width;
    (void)height;
    (void)interleave;
    params[0] = (uint8_t)lround(quality / 100 * QUALITY_TOP);
    return TSR_OK;
}

static double hyper_quality(const uint8_t *params)
{
    return (double)params[0] * 100 / QUALITY_TOP;
}

/* Side i of `units` along an axis of n positions. */
static int unit_side(int n, int i)
{
    return tsri_min(UNIT, n - i * UNIT);
}

static tsr_error make_room(hyper *h)
{
    const int rows = tsri_min(h->rows, UNIT), columns = tsri_min(h->columns, UNIT);
    const size_t z = (size_t)tsri_hyper_z_side(rows) *
                     (size_t)tsri_hyper_z_side(columns);

    h->tokens = tsri_calloc(h->ctx, (size_t)units_of(h), sizeof *h->tokens);
    h->held = tsri_calloc(h->ctx, (size_t)units_of(h), sizeof *h->held);
    h->z = tsri_alloc(h->ctx, (size_t)h->nets.hyper_latents, z);
    if (!h->tokens || !h->held || !h->z)
        return tsri_nomem(h->ctx);
    return tsri_hyper_work_open(&h->work, h->ctx, &h->model, rows, columns);
}

static tsr_error hyper_begin(void *self, int width, int height,
                             const uint8_t *params, uint32_t crc, int *units)
{
    hyper *h = self;

    forget_picture(h);
    if (params[0] > QUALITY_TOP)
        return tsri_fail(h->ctx, TSR_E_CORRUPT, "quality code %d", params[0]);
    if (width > SIDE_MAX || height > SIDE_MAX ||
        (uint64_t)width * (uint64_t)height > (uint64_t)INT32_MAX * STEP * STEP)
        return tsri_fail(h->ctx, TSR_E_LIMIT, "a picture of %dx%d", width, height);
    tsri_hyper_gain(&h->nets, h->nets.gain_dec, params[0], h->gain);
    h->width = width;
    h->height = height;
    h->rows = tsri_ceil_div(height, STEP);
    h->columns = tsri_ceil_div(width, STEP);
    h->units_down = tsri_ceil_div(h->rows, UNIT);
    h->units_across = tsri_ceil_div(h->columns, UNIT);
    h->crc = crc;
    h->quality = params[0];
    *units = units_of(h);
    return make_room(h);
}

/* ---- encoder ---- */

/* The encoder's input: pixels in -1..1, edges repeated to a multiple of 16. */
typedef struct pixel_source {
    const hyper *h;
    const tsr_image *image;
} pixel_source;

static tsr_error read_pixels(void *cookie, tsri_rect r, tsri_fmap *dst)
{
    const pixel_source *s = cookie;
    int *ys = tsri_alloc(s->h->ctx, (size_t)(r.y1 - r.y0), sizeof *ys);
    int *xs = tsri_alloc(s->h->ctx, (size_t)(r.x1 - r.x0), sizeof *xs);
    const bool good = ys && xs;

    for (int y = r.y0; good && y < r.y1; y++)
        ys[y - r.y0] = tsri_min(y, s->h->height - 1);
    for (int x = r.x0; good && x < r.x1; x++)
        xs[x - r.x0] = tsri_min(x, s->h->width - 1);
    if (good)
        tsri_image_gather(s->image, ys, xs, dst);
    tsri_free(s->h->ctx, ys);
    tsri_free(s->h->ctx, xs);
    for (int c = 0; good && c < 3; c++)
        for (int y = 0; y < dst->height; y++) {
            float *row = dst->data + (size_t)c * dst->plane + (size_t)y * dst->row;
            for (int x = 0; x < dst->width; x++)
                row[x] = row[x] * 2 - 1;
        }
    return good ? TSR_OK : tsri_nomem(s->h->ctx);
}

static tsr_error read_map(void *cookie, tsri_rect r, tsri_fmap *dst)
{
    const tsri_fmap *src = cookie;
    for (int c = 0; c < dst->channels; c++)
        for (int y = 0; y < dst->height; y++)
            memcpy(dst->data + (size_t)c * dst->plane + (size_t)y * dst->row,
                   src->data + (size_t)c * src->plane +
                       (size_t)(y + r.y0) * src->row + r.x0,
                   (size_t)dst->width * sizeof *dst->data);
    return TSR_OK;
}

/* y of the unit: in as few tiles as the memory limit allows. */
static tsr_error encode_tiles(hyper *h, const tsr_image *image, tsri_rect unit,
                              tsri_fmap *y)
{
    pixel_source source = { h, image };
    const int height = h->rows * STEP, width = h->columns * STEP;
    int side = UNIT;

    while (side > 8 && tsri_net_memory(h->nets.enc, height, width,
               (tsri_rect){ unit.y0, unit.x0, tsri_min(unit.y0 + side, unit.y1),
                            tsri_min(unit.x0 + side, unit.x1) }) > h->ctx->max_memory)
        side /= 2;
    for (int y0 = unit.y0; y0 < unit.y1; y0 += side)
        for (int x0 = unit.x0; x0 < unit.x1; x0 += side) {
            const tsri_rect r = { y0, x0, tsri_min(y0 + side, unit.y1),
                                  tsri_min(x0 + side, unit.x1) };
            tsri_fmap part = *y;
            part.data += (size_t)(y0 - unit.y0) * y->row + (size_t)(x0 - unit.x0);
            part.height = r.y1 - r.y0;
            part.width = r.x1 - r.x0;
            TSR_TRY(tsri_net_run(h->nets.enc, height, width, r, read_pixels, &source,
                                 &part));
        }
    return TSR_OK;
}

static void scale_map(tsri_fmap *map, const float *gain)
{
    for (int c = 0; c < map->channels; c++)
        for (size_t i = 0; i < map->plane; i++)
            map->data[(size_t)c * map->plane + i] *= gain[c];
}

static tsr_error make_z(hyper *h, tsri_fmap *y, float *buffer)
{
    const int zh = tsri_hyper_z_side(y->height), zw = tsri_hyper_z_side(y->width);
    tsri_fmap z = { buffer, h->nets.hyper_latents, zh, zw,
                    (size_t)zh * (size_t)zw, (size_t)zw };

    return tsri_net_run(h->nets.hyper_enc, y->height, y->width,
                        (tsri_rect){ 0, 0, zh, zw }, read_map, y, &z);
}

static void round_z(hyper *h, int rows, int columns, const float *z)
{
    const size_t n = (size_t)tsri_hyper_z_side(rows) *
                     (size_t)tsri_hyper_z_side(columns) *
                     (size_t)h->nets.hyper_latents;

    for (size_t i = 0; i < n; i++) {
        const float v = rintf(z[i]);
        h->z[i] = (int8_t)(v >= TSRI_HYPER_Z_LIMIT ? TSRI_HYPER_Z_LIMIT
                           : v > -TSRI_HYPER_Z_LIMIT ? v
                           : v <= -TSRI_HYPER_Z_LIMIT ? -TSRI_HYPER_Z_LIMIT : 0);
    }
}

/* Buffers of one unit's encoding on the host. */
typedef struct unit_room {
    float *y, *z;
    int16_t *fixed;             /* NULL where the entropy model is on a device */
} unit_room;

/* They are of the greatest unit. */
static tsr_error take_room(const hyper *h, unit_room *room)
{
    const size_t area = (size_t)tsri_min(h->rows, UNIT) *
                        (size_t)tsri_min(h->columns, UNIT);
    const size_t latents = (size_t)h->nets.latents;

    if (room->y)
        return TSR_OK;
    room->y = tsri_alloc(h->ctx, area, latents * sizeof *room->y);
    room->z = tsri_alloc(h->ctx, area, (size_t)h->nets.hyper_latents *
                                           sizeof *room->z);
    if (!h->model.gpu)
        room->fixed = tsri_alloc(h->ctx, area, latents * sizeof *room->fixed);
    return room->y && room->z && (room->fixed || h->model.gpu) ? TSR_OK
                                                               : tsri_nomem(h->ctx);
}

static void free_room(const hyper *h, unit_room *room)
{
    tsri_free(h->ctx, room->y);
    tsri_free(h->ctx, room->z);
    tsri_free(h->ctx, room->fixed);
}

static tsr_error encode_unit(hyper *h, const tsr_image *image, int unit,
                             const float *gain, unit_room *room, tsri_span *out)
{
    const int down = unit / h->units_across, across = unit % h->units_across;
    const int rows = unit_side(h->rows, down), columns = unit_side(h->columns, across);
    const tsri_rect r = { down * UNIT, across * UNIT, down * UNIT + rows,
                          across * UNIT + columns };
    const tsri_hyper_view view = { image, h->rows, h->columns, gain };
    bool done = false;

    if (h->ctx->gpu)
        TSR_TRY(tsri_hyper_look(&h->nets, &h->model, h->ctx, &view, h->enc, h->crc,
                                &out->data, &out->bytes, &done));
    if (done)
        return TSR_OK;
    TSR_TRY(tsri_image_on_host(h->ctx));
    TSR_TRY(take_room(h, room));
    tsri_fmap y = { room->y, h->nets.latents, rows, columns,
                    (size_t)rows * (size_t)columns, (size_t)columns };
    TSR_TRY(encode_tiles(h, image, r, &y));
    scale_map(&y, gain);
    TSR_TRY(make_z(h, &y, room->z));
    round_z(h, rows, columns, room->z);
    return tsri_hyper_put(h->work, &h->model, h->enc, rows, columns, h->z, room->y,
                          room->fixed, h->crc, &out->data, &out->bytes);
}

static tsr_error encode_units(hyper *h, const tsr_image *image, const float *gain,
                              unit_room *room, tsri_image_emit emit, void *cookie,
                              const tsr_progress *progress)
{
    const int units = units_of(h);
    tsri_span span;

    for (int i = 0; i < units; i++) {
        TSR_TRY(tsri_report(progress, (double)i / units));
        TSR_TRY(encode_unit(h, image, i, gain, room, &span));
        TSR_TRY(emit(cookie, i, &span, 1));
    }
    return tsri_report(progress, 1);
}

static tsr_error hyper_encode(void *self, const tsr_image *image,
                              tsri_image_emit emit, void *cookie,
                              const tsr_progress *progress)
{
    hyper *h = self;
    float *gain = tsri_alloc(h->ctx, (size_t)h->nets.latents, sizeof *gain);
    unit_room room = { NULL, NULL, NULL };

    if (!gain)
        return tsri_nomem(h->ctx);
    tsri_hyper_gain(&h->nets, h->nets.gain_enc, h->quality, gain);
    const tsr_error error = encode_units(h, image, gain, &room, emit, cookie,
                                         progress);
    free_room(h, &room);
    tsri_free(h->ctx, gain);
    return error;
}

/* ---- decoder ---- */

static size_t count_tokens(const hyper *h, int unit)
{
    return (size_t)unit_side(h->rows, unit / h->units_across) *
           (size_t)unit_side(h->columns, unit % h->units_across) *
           (size_t)h->nets.latents;
}

static tsr_error decode_unit(hyper *h, int unit, const tsri_span *data,
                             int16_t *tokens)
{
    return tsri_hyper_get(h->work, &h->model,
                          unit_side(h->rows, unit / h->units_across),
                          unit_side(h->columns, unit % h->units_across), data->data,
                          data->bytes, h->crc, h->z, tokens);
}

static tsr_error hyper_decode(void *self, int unit, const tsri_span *layers, int n)
{
    hyper *h = self;
    int16_t *tokens;
    tsr_error error;

    if (n != 1 || h->tokens[unit] || h->held[unit])
        return TSR_E_CORRUPT;
    if (tsri_hyper_shows(&h->nets, h->ctx, h->rows, h->columns)) {
        TSR_TRY(decode_unit(h, unit, layers, NULL));
        return tsri_hyper_hold(&h->model, h->ctx, count_tokens(h, unit),
                               &h->held[unit]);
    }
    tokens = tsri_alloc(h->ctx, count_tokens(h, unit), sizeof *tokens);
    if (!tokens)
        return tsri_nomem(h->ctx);
    error = decode_unit(h, unit, layers, tokens);
    if (!error)
        h->tokens[unit] = tokens;
    else
        tsri_free(h->ctx, tokens);
    return error;
}

const int16_t *tsri_hyper_tokens(void *self, int unit, size_t *n)
{
    hyper *h = self;
    int16_t *tokens;

    *n = count_tokens(h, unit);
    if (h->tokens[unit] || !h->held[unit])
        return h->tokens[unit];
    tokens = tsri_alloc(h->ctx, *n, sizeof *tokens);
    if (tokens && tsri_hyper_fetch(h->ctx, h->held[unit], *n, tokens)) {
        tsri_free(h->ctx, tokens);
        return NULL;
    }
    return h->tokens[unit] = tokens;
}

/* One row of one unit's part of rectangle r, all channels. */
static void copy_tokens(const hyper *h, int y, int x0, int x1, tsri_rect r,
                        tsri_fmap *dst)
{
    const int down = y / UNIT, across = x0 / UNIT;
    const size_t columns = (size_t)unit_side(h->columns, across);
    const size_t plane = (size_t)unit_side(h->rows, down) * columns;
    const int16_t *tokens = h->tokens[down * h->units_across + across];
    const size_t from = (size_t)(y - down * UNIT) * columns +
                        (size_t)(x0 - across * UNIT);

    for (int c = 0; c < h->nets.latents; c++) {
        float *to = dst->data + (size_t)c * dst->plane +
                    (size_t)(y - r.y0) * dst->row + (size_t)(x0 - r.x0);
        const float gain = h->gain[c] / TSRI_HYPER_ONE;
        for (int x = 0; x < x1 - x0; x++)
            to[x] = tokens ? (float)tokens[(size_t)c * plane + from + (size_t)x] * gain
                           : 0;
    }
}

static tsr_error read_tokens(void *cookie, tsri_rect r, tsri_fmap *dst)
{
    const hyper *h = cookie;
    for (int y = r.y0; y < r.y1; y++)
        for (int x = r.x0, end; x < r.x1; x = end) {
            end = tsri_min(r.x1, (x / UNIT + 1) * UNIT);
            copy_tokens(h, y, x, end, r, dst);
        }
    return TSR_OK;
}

static tsr_error hyper_pixels(void *self, tsri_image_put put, void *cookie,
                              const tsr_progress *progress)
{
    hyper *h = self;
    tsri_image_out out = { h->width, h->height, put, cookie, progress };
    return tsri_net_run_tiled(h->nets.dec, h->rows, h->columns, h->ctx->max_memory,
                              STEP, read_tokens, h, tsri_image_tile, &out);
}

/* The tokens are given back in the order of the work that reads them, which the next
 * picture may not wait for. */
static tsr_error hyper_show(void *self, const tsr_image *image, bool *done)
{
    hyper *h = self;
    const tsri_hyper_view view = { image, h->rows, h->columns, h->gain };

    *done = tsri_hyper_shows(&h->nets, h->ctx, h->rows, h->columns);
    if (!*done)
        return TSR_OK;
    const tsr_error error = tsri_hyper_show(&h->nets, &h->model, h->ctx, &view,
                                            h->held);
    give_held(h);
    return error;
}

const tsri_image_codec tsri_image_codec_hyper = {
    .id = "hyper", .number = 2, .variable_rate = true,
    .params = 1, .layers = 1, .layer_name = { "tokens" },
    .open = hyper_open, .close = hyper_close, .choose = hyper_choose,
    .begin = hyper_begin, .encode = hyper_encode, .decode = hyper_decode,
    .pixels = hyper_pixels, .show = hyper_show, .quality = hyper_quality,
};
