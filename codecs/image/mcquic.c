/* SPDX-License-Identifier: BSD-2-Clause */
#include <limits.h>
#include "codecs/image/image.h"
#include "codecs/image/mcquic.h"
#include "lib/weights.h"

/* ---- open and close ---- */

static void close_level(tsri_mcquic *self, int level)
{
    tsri_mcquic_level *l = &self->level[level];

    tsri_codebook_free(&l->book, self->ctx);
    tsri_free(self->ctx, l->cdf);
    for (int g = 0; l->table && g < self->shape.m; g++)
        tsri_bigtable_close(&l->table[g], self->ctx);
    tsri_free(self->ctx, l->table);
    tsri_free(self->ctx, l->common);
    tsri_free(self->ctx, l->codes.data);
    tsri_device_book_close(&l->on_device);
}

static void mcquic_close(void **cookie)
{
    tsri_mcquic *self = *cookie;
    if (!self)
        return;
    for (int level = 0; level < TSRI_MCQUIC_LEVELS; level++) {
        close_level(self, level);
        for (int part = 0; part < TSRI_MCQUIC_PARTS; part++)
            tsri_net_free(&self->net[part][level]);
    }
    tsri_rans_enc_close(&self->enc);
    tsr_model_unref(&self->model);
    tsri_free(self->ctx, self);
    *cookie = NULL;
}

tsr_error tsri_mcquic_words(const tsri_mcquic *self, int level, float **words)
{
    const uint64_t any[] = { TSRI_ANY, TSRI_ANY, TSRI_ANY };
    const tsr_tensor *tensor;

    TSR_TRY(tsri_want(self->ctx, self->model, &tensor, 3, any,
                      "_quantizer._encoders.%d._quantizer._codebook", level));
    return tsri_tensor_floats(self->ctx, tensor, words);
}

static tsr_error open_level(tsri_mcquic *self, int level)
{
    const tsri_mcquic_shape *s = &self->shape;
    float *words;

    TSR_TRY(tsri_mcquic_tables(self, level));
    TSR_TRY(tsri_mcquic_words(self, level, &words));
    const tsr_error error =
        tsri_codebook_new(&self->level[level].book, self->ctx, s->m,
                          s->k[level], s->channels / s->m, words);
    tsri_free(self->ctx, words);
    return error;
}

/* Weights are checked now and packed when a direction is first used: who only
 * decodes does not pay for the encoder. */
static tsr_error open_all(tsri_mcquic *self)
{
    TSR_TRY(tsri_mcquic_shape_read(self->ctx, self->model, &self->shape));
    for (tsri_mcquic_part part = 0; part < TSRI_MCQUIC_PARTS; part++)
        for (int level = 0; level < self->shape.levels; level++)
            if (tsri_mcquic_has(&self->shape, part, level))
                TSR_TRY(tsri_mcquic_net_check(self->ctx, self->model,
                                              &self->shape, part, level));
    for (int level = 0; level < self->shape.levels; level++)
        TSR_TRY(open_level(self, level));
    return tsri_rans_enc_open(&self->enc, self->ctx);
}

static tsr_error mcquic_open(void **out, tsr_context *ctx, tsr_model *model)
{
    tsri_mcquic *self = tsri_calloc(ctx, 1, sizeof *self);

    *out = self;
    if (!self)
        return tsri_nomem(ctx);
    self->ctx = ctx;
    self->model = tsr_model_ref(model);
    const tsr_error error = open_all(self);
    if (error)
        mcquic_close(out);
    return error;
}

tsr_error tsri_mcquic_part_net(tsri_mcquic *self, tsri_mcquic_part part, int level,
                               const tsri_net **net)
{
    tsri_net **place = &self->net[part][level];
    if (!*place)
        TSR_TRY(tsri_mcquic_net(place, self->ctx, self->model, &self->shape,
                                part, level, INT_MAX));
    *net = *place;
    return TSR_OK;
}

/* ---- a picture ---- */

static tsr_error mcquic_choose(void *cookie, int width, int height,
                               double quality, int interleave, uint8_t *params)
{
    (void)cookie;
    (void)width;
    (void)height;
    (void)quality;
    (void)interleave;
    (void)params;
    return TSR_OK;
}

static double mcquic_quality(const uint8_t *params)
{
    (void)params;
    return -1;
}

static int level_side(int padded, int level)
{
    return padded >> (4 + level);
}

/* Bytes that are held whole: the codes, and at level 0 two maps of floats. */
static uint64_t whole_bytes(const tsri_mcquic *self)
{
    uint64_t bytes = 2 * tsri_map_bytes(self->shape.channels,
                                        level_side(self->padded_height, 0),
                                        level_side(self->padded_width, 0));
    for (int level = 0; level < self->shape.levels; level++)
        bytes += tsri_map_bytes(self->shape.m,
                                level_side(self->padded_height, level),
                                level_side(self->padded_width, level));
    return bytes;
}

static tsr_error new_codes(tsri_mcquic *self, int level)
{
    tsri_codes *c = &self->level[level].codes;
    size_t count;

    tsri_free(self->ctx, c->data);
    *c = (tsri_codes){ .groups = self->shape.m };
    c->height = level_side(self->padded_height, level);
    c->width = level_side(self->padded_width, level);
    c->row = (size_t)c->width;
    c->plane = (size_t)c->height * c->row;
    if (tsri_mul(c->plane, (size_t)c->groups, &count))
        c->data = tsri_alloc(self->ctx, count, sizeof *c->data);
    return c->data ? TSR_OK : tsri_nomem(self->ctx);
}

static tsr_error mcquic_begin(void *cookie, int width, int height,
                              const uint8_t *params, uint32_t crc, int *units)
{
    tsri_mcquic *self = cookie;
    const int step = 16 << self->shape.levels;

    (void)params;
    if (self->given && width == self->width && height == self->height) {
        *units = self->units_x * self->units_y;
        self->crc = crc;
        return TSR_OK;
    }
    self->given = false;
    if (width < 1 || height < 1)
        return tsri_fail(self->ctx, TSR_E_ARG, "a picture of %d x %d", width,
                         height);
    if (tsri_max(width, height) > INT_MAX - TSRI_MCQUIC_UNIT ||
        (uint64_t)width * (uint64_t)height > INT_MAX)
        return tsri_fail(self->ctx, TSR_E_LIMIT, "%d x %d is too large", width,
                         height);
    self->width = width;
    self->height = height;
    self->padded_width = tsri_ceil_div(width, step) * step;
    self->padded_height = tsri_ceil_div(height, step) * step;
    self->left = (self->padded_width - width) / 2;
    self->top = (self->padded_height - height) / 2;
    self->units_x = tsri_ceil_div(self->padded_width, TSRI_MCQUIC_UNIT);
    self->units_y = tsri_ceil_div(self->padded_height, TSRI_MCQUIC_UNIT);
    self->crc = crc;
    if (whole_bytes(self) > self->ctx->max_memory ||
        self->units_x > INT_MAX / self->units_y)
        return tsri_fail(self->ctx, TSR_E_LIMIT, "%d x %d pixels need %llu "
                         "bytes, more than the memory limit", width, height,
                         (unsigned long long)whole_bytes(self));
    for (int level = 0; level < self->shape.levels; level++)
        TSR_TRY(new_codes(self, level));
    *units = self->units_x * self->units_y;
    for (int unit = 0; unit < *units; unit++)
        tsri_mcquic_unit_clear(self, unit);
    return TSR_OK;
}

tsri_mcquic_codes tsri_mcquic_own_codes(const tsri_mcquic *self)
{
    tsri_mcquic_codes codes;

    for (int level = 0; level < TSRI_MCQUIC_LEVELS; level++)
        codes.level[level] = self->level[level].codes.data;
    return codes;
}

static tsr_error mcquic_encode(void *cookie, const tsr_image *image,
                               tsri_image_emit emit, void *emit_cookie,
                               const tsr_progress *progress)
{
    tsri_mcquic *self = cookie;
    const tsri_mcquic_codes codes = tsri_mcquic_own_codes(self);
    bool done = self->given;

    self->given = false;
    if (!done && self->ctx->gpu)
        TSR_TRY(tsri_mcquic_look(self, 1, &image, &codes, &done));
    if (!done) {
        TSR_TRY(tsri_image_on_host(self->ctx));
        TSR_TRY(tsri_mcquic_analyse(self, image, progress));
    }
    return tsri_mcquic_units_emit(self, emit, emit_cookie);
}

static tsr_error mcquic_pixels(void *cookie, tsri_image_put put,
                               void *put_cookie, const tsr_progress *progress)
{
    return tsri_mcquic_pixels(cookie, put, put_cookie, progress);
}

static tsr_error mcquic_decode(void *cookie, int unit, const tsri_span *layers,
                               int n)
{
    return tsri_mcquic_unit_decode(cookie, unit, layers, n);
}

static tsr_error mcquic_show(void *cookie, const tsr_image *image, bool *done)
{
    const tsri_mcquic_codes codes = tsri_mcquic_own_codes(cookie);
    return tsri_mcquic_show(cookie, 1, &codes, &image, done);
}

const tsri_image_codec tsri_image_codec_mcquic = {
    .id = "mcquic",
    .number = 1,
    .truncates = true,
    .layers = TSRI_MCQUIC_LAYERS,
    .layer_name = { "level 2", "level 1", "level 0" },
    .open = mcquic_open,
    .close = mcquic_close,
    .choose = mcquic_choose,
    .begin = mcquic_begin,
    .encode = mcquic_encode,
    .decode = mcquic_decode,
    .pixels = mcquic_pixels,
    .show = mcquic_show,
    .group = &tsri_mcquic_group,
    .quality = mcquic_quality,
};
