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

/* ---- work in stages ---- */

/* What the sinks of all stages share. */
typedef struct stage {
    tsri_mcquic *self;
    const tsr_progress *progress;
    double from, to;            /* the part of the whole that this stage is */
    double area;                /* output samples of the stage, and so far */
    double done;
    uint64_t held;              /* bytes of whole maps */
    int level;
    tsri_fmap *map;             /* result */
    const tsr_image *image;     /* encoder's input */
    const int *ys, *xs;
    tsri_image_put put;         /* decoder's output */
    void *put_cookie;
} stage;

static uint64_t budget(const stage *s)
{
    const uint64_t limit = s->self->ctx->max_memory;
    return limit > s->held ? limit - s->held : 0;
}

static tsr_error report(stage *s, tsri_rect r)
{
    s->done += (double)(r.y1 - r.y0) * (r.x1 - r.x0);
    return tsri_report(s->progress,
                       s->from + (s->to - s->from) * s->done / s->area);
}

/* Work is nearly all at level 0, and a quarter of that at each next one. */
static void stage_start(stage *s, double share, int height, int width)
{
    s->from = s->to;
    s->to = s->from + share;
    s->area = (double)height * width;
    s->done = 0;
}

static tsri_codes code_view(const tsri_codes *codes, tsri_rect r)
{
    tsri_codes view = *codes;
    view.data += (size_t)r.y0 * codes->row + (size_t)r.x0;
    view.height = r.y1 - r.y0;
    view.width = r.x1 - r.x0;
    return view;
}

static tsr_error new_map(stage *s, int channels, int height, int width,
                         tsri_fmap *map)
{
    TSR_TRY(tsri_map_new(s->self->ctx, channels, height, width, map));
    s->held += tsri_map_bytes(channels, height, width);
    return TSR_OK;
}

static void free_map(stage *s, tsri_fmap *map)
{
    if (map->data)
        s->held -= tsri_map_bytes(map->channels, map->height, map->width);
    tsri_free(s->self->ctx, map->data);
    map->data = NULL;
}

static tsr_error keep_tile(void *cookie, tsri_rect r, tsri_fmap *tile)
{
    stage *s = cookie;
    tsri_fmap part = tsri_map_view(s->map, r);
    tsri_map_copy(tile, &part);
    return report(s, r);
}

/* Runs a part over the whole plane `in`. */
static tsr_error run_part(stage *s, tsri_mcquic_part part, double share,
                          tsri_net_source source, void *cookie, int height,
                          int width, tsri_mcquic_sink sink)
{
    const tsri_net *net;
    tsri_rect all = { 0, 0, 0, 0 };

    TSR_TRY(tsri_mcquic_part_net(s->self, part, s->level, &net));
    tsri_net_out_size(net, height, width, &all.y1, &all.x1);
    stage_start(s, share, all.y1, all.x1);
    return tsri_mcquic_tiles(s->self->ctx, net, height, width, all, budget(s),
                             source, cookie, sink, s);
}

/* Two parts in a row, over a plane; `area`: the size of the output. */
static tsr_error run_two(stage *s, tsri_mcquic_part first,
                         tsri_mcquic_part second, tsri_net_source source,
                         void *cookie, int height, int width,
                         tsri_mcquic_sink sink)
{
    const tsri_net *a, *b;

    TSR_TRY(tsri_mcquic_part_net(s->self, first, 0, &a));
    TSR_TRY(tsri_mcquic_part_net(s->self, second, 0, &b));
    return tsri_mcquic_chain(s->self->ctx, a, b, height, width, budget(s),
                             source, cookie, sink, s);
}

/* ---- encoder ---- */

static tsr_error gather(void *cookie, tsri_rect r, tsri_fmap *dst)
{
    const stage *s = cookie;

    tsri_image_gather(s->image, s->ys + r.y0, s->xs + r.x0, dst);
    for (int c = 0; c < dst->channels; c++)
        for (int y = 0; y < dst->height; y++) {
            float *row = dst->data + (size_t)c * dst->plane +
                         (size_t)y * dst->row;
            for (int x = 0; x < dst->width; x++)
                row[x] = (row[x] - 0.5f) * 2;
        }
    return TSR_OK;
}

static tsr_error search(void *cookie, tsri_rect r, tsri_fmap *tile)
{
    stage *s = cookie;
    const tsri_mcquic_level *l = &s->self->level[s->level];
    const tsri_codes part = code_view(&l->codes, r);

    TSR_TRY(tsri_codebook_encode(l->book, s->self->ctx, tile, &part));
    return report(s, r);
}

/* map = tile - codewords */
static tsr_error subtract(void *cookie, tsri_rect r, tsri_fmap *tile)
{
    stage *s = cookie;
    const tsri_mcquic_level *l = &s->self->level[s->level];
    const tsri_codes part = code_view(&l->codes, r);
    tsri_fmap to = tsri_map_view(s->map, r);

    TSR_TRY(tsri_codebook_decode(l->book, s->self->ctx, &part, &to));
    for (int c = 0; c < to.channels; c++)
        for (int y = 0; y < to.height; y++) {
            float *a = to.data + (size_t)c * to.plane + (size_t)y * to.row;
            const float *b = tile->data + (size_t)c * tile->plane +
                             (size_t)y * tile->row;
            for (int x = 0; x < to.width; x++)
                a[x] = b[x] - a[x];
        }
    return report(s, r);
}

/* Codes of the level from z; r: what is left for the next, or NULL. */
static tsr_error quantise(stage *s, tsri_fmap *z, tsri_fmap *r)
{
    const double share = 0.06 / (1 << (2 * s->level));

    TSR_TRY(run_part(s, TSRI_MCQUIC_QUANT_HEAD, share, tsri_map_source, z,
                     z->height, z->width, search));
    if (!r)
        return TSR_OK;
    TSR_TRY(new_map(s, z->channels, z->height, z->width, r));
    s->map = r;
    return run_part(s, TSRI_MCQUIC_LATENT_HEAD, share, tsri_map_source, z,
                    z->height, z->width, subtract);
}

/* All levels from z of level 0; takes z. */
static tsr_error quantise_all(stage *s, tsri_fmap *z)
{
    tsr_error error = TSR_OK;
    const int levels = s->self->shape.levels;
    tsri_fmap r = { .data = NULL };

    for (s->level = 0; !error && s->level < levels; s->level++) {
        if (s->level > 0) {
            error = new_map(s, r.channels, r.height / 2, r.width / 2, z);
            s->map = z;
            if (!error)
                error = run_part(s, TSRI_MCQUIC_STAGE,
                                 0.06 / (1 << (2 * s->level)), tsri_map_source,
                                 &r, r.height, r.width, keep_tile);
            free_map(s, &r);
        }
        if (!error)
            error = quantise(s, z, s->level + 1 < levels ? &r : NULL);
        free_map(s, z);
    }
    free_map(s, &r);
    return error;
}

static tsr_error analyse(stage *s)
{
    const tsri_mcquic *self = s->self;
    const tsri_codes *c = &self->level[0].codes;
    tsri_fmap z = { .data = NULL };

    tsr_error error = new_map(s, self->shape.channels, c->height, c->width, &z);
    s->map = &z;
    stage_start(s, 0.8, c->height, c->width);
    if (!error)
        error = run_two(s, TSRI_MCQUIC_ENCODER, TSRI_MCQUIC_STAGE, gather, s,
                        self->padded_height, self->padded_width, keep_tile);
    if (!error)
        error = quantise_all(s, &z);
    free_map(s, &z);
    return error;
}

static tsr_error analyse_on_host(tsri_mcquic *self, const tsr_image *image,
                                 const tsr_progress *progress)
{
    int *ys = tsri_image_padding(self->ctx, self->height, self->padded_height,
                                 self->top);
    int *xs = tsri_image_padding(self->ctx, self->width, self->padded_width,
                                 self->left);
    stage s = { .self = self, .progress = progress, .image = image,
                .ys = ys, .xs = xs };

    const tsr_error error = ys && xs ? analyse(&s) : tsri_nomem(self->ctx);
    tsri_free(self->ctx, ys);
    tsri_free(self->ctx, xs);
    return error;
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
        TSR_TRY(analyse_on_host(self, image, progress));
    }
    return tsri_mcquic_units_emit(self, emit, emit_cookie);
}

/* ---- decoder ---- */

static tsr_error codewords(void *cookie, tsri_rect r, tsri_fmap *dst)
{
    const stage *s = cookie;
    const tsri_mcquic_level *l = &s->self->level[s->level];
    const tsri_codes part = code_view(&l->codes, r);
    return tsri_codebook_decode(l->book, s->self->ctx, &part, dst);
}

static tsr_error add_tile(void *cookie, tsri_rect r, tsri_fmap *tile)
{
    stage *s = cookie;
    tsri_fmap to = tsri_map_view(s->map, r);

    for (int c = 0; c < to.channels; c++)
        for (int y = 0; y < to.height; y++) {
            float *a = to.data + (size_t)c * to.plane + (size_t)y * to.row;
            const float *b = tile->data + (size_t)c * tile->plane +
                             (size_t)y * tile->row;
            for (int x = 0; x < to.width; x++)
                a[x] += b[x];
        }
    return report(s, r);
}

/* t of the level from its codes and, unless it is the last, the coarser
 * levels' result. */
static tsr_error combine(stage *s, tsri_fmap *former, tsri_fmap *t)
{
    const tsri_mcquic *self = s->self;
    const tsri_codes *c = &self->level[s->level].codes;
    const double share = 0.06 / (1 << (2 * s->level));

    TSR_TRY(new_map(s, self->shape.channels, c->height, c->width, t));
    s->map = t;
    TSR_TRY(run_part(s, TSRI_MCQUIC_DEQUANT_HEAD, share, codewords, s,
                     c->height, c->width, keep_tile));
    if (!former->data)
        return TSR_OK;
    TSR_TRY(run_part(s, TSRI_MCQUIC_SIDE_HEAD, share, tsri_map_source, former,
                     c->height, c->width, add_tile));
    free_map(s, former);
    return TSR_OK;
}

static tsr_error show(void *cookie, tsri_rect r, tsri_fmap *tile)
{
    stage *s = cookie;
    const tsri_mcquic *self = s->self;
    const tsri_rect picture = {
        tsri_max(r.y0 - self->top, 0), tsri_max(r.x0 - self->left, 0),
        tsri_min(r.y1 - self->top, self->height),
        tsri_min(r.x1 - self->left, self->width),
    };
    if (picture.y0 < picture.y1 && picture.x0 < picture.x1) {
        const tsri_rect inside = {
            picture.y0 + self->top - r.y0, picture.x0 + self->left - r.x0,
            picture.y1 + self->top - r.y0, picture.x1 + self->left - r.x0,
        };
        const tsri_fmap part = tsri_map_view(tile, inside);
        for (size_t i = 0; i < tile->plane * (size_t)tile->channels; i++)
            tile->data[i] = (tile->data[i] + 1) / 2;
        TSR_TRY(s->put(s->put_cookie, picture, &part));
    }
    return report(s, r);
}

/* From the coarsest level to level 0: t is its result. */
static tsr_error combine_all(stage *s, tsri_fmap *former, tsri_fmap *t)
{
    for (s->level = s->self->shape.levels - 1;; s->level--) {
        TSR_TRY(combine(s, former, t));
        if (s->level == 0)
            return TSR_OK;
        TSR_TRY(new_map(s, t->channels, 2 * t->height, 2 * t->width, former));
        s->map = former;
        TSR_TRY(run_part(s, TSRI_MCQUIC_RESTORE_HEAD,
                         0.06 / (1 << (2 * s->level)), tsri_map_source, t,
                         t->height, t->width, keep_tile));
        free_map(s, t);
    }
}

static tsr_error mcquic_pixels(void *cookie, tsri_image_put put,
                               void *put_cookie, const tsr_progress *progress)
{
    tsri_mcquic *self = cookie;
    stage s = { .self = self, .progress = progress, .put = put,
                .put_cookie = put_cookie };
    tsri_fmap former = { .data = NULL }, t = { .data = NULL };

    tsr_error error = combine_all(&s, &former, &t);
    stage_start(&s, 1 - s.to, self->padded_height, self->padded_width);
    if (!error)
        error = run_two(&s, TSRI_MCQUIC_RESTORE_HEAD, TSRI_MCQUIC_DECODER,
                        tsri_map_source, &t, t.height, t.width, show);
    free_map(&s, &former);
    free_map(&s, &t);
    return error;
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
