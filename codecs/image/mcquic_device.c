/* SPDX-License-Identifier: BSD-2-Clause */
/* McQuic on a device: all maps between its parts stay there; pixels and codes
 * are what crosses the bus. */
#include <string.h>
#include "codecs/image/cuda/maps.h"
#include "codecs/image/mcquic.h"

typedef tsri_mcquic_part part;

/* Pictures at work. */
typedef struct work {
    tsri_mcquic *self;
    int n;
    const tsri_net *any;                    /* for memory */
    int32_t *codes[TSRI_MCQUIC_LEVELS];     /* [m][n][places], on the device */
    int32_t *host[TSRI_MCQUIC_LEVELS];      /* the same on the host */
    tsri_dmap map[3];                       /* at hand; data NULL: none */
} work;

static size_t code_count(const work *w, int level)
{
    return (size_t)w->n * w->self->level[level].codes.plane *
           (size_t)w->self->shape.m;
}

static tsr_error new_host(work *w, int level)
{
    w->host[level] = tsri_alloc(w->self->ctx, code_count(w, level),
                                sizeof *w->host[level]);
    return w->host[level] ? TSR_OK : tsri_nomem(w->self->ctx);
}

/* Between the pictures' codes and those of all. */
static void move_codes(const work *w, const tsri_mcquic_codes *codes, int level,
                       bool out)
{
    const size_t plane = w->self->level[level].codes.plane;

    for (size_t g = 0; g < (size_t)w->self->shape.m; g++)
        for (size_t i = 0; i < (size_t)w->n; i++) {
            int32_t *all = w->host[level] + (g * (size_t)w->n + i) * plane;
            int32_t *own = codes[i].level[level] + g * plane;
            memcpy(out ? own : all, out ? all : own, plane * sizeof *own);
        }
}

static tsr_error need_book(tsri_mcquic *self, int level)
{
    tsri_device_book *book = &self->level[level].on_device;
    const tsri_mcquic_shape *s = &self->shape;
    float *words;

    if (book->words)
        return TSR_OK;
    TSR_TRY(tsri_mcquic_words(self, level, &words));
    const tsr_error error = tsri_device_book_open(book, self->ctx, words, s->m,
                                                  s->k[level],
                                                  s->channels / s->m);
    tsri_free(self->ctx, words);
    return error;
}

static void side_of(const tsri_mcquic *self, int level, int *height, int *width)
{
    *height = self->level[level].codes.height;
    *width = self->level[level].codes.width;
}

/* Does the part, whose input has these sides, run here?  Its net is made. */
static tsr_error fits(tsri_mcquic *self, int n, part p, int level, int height,
                      int width, bool *all)
{
    const tsri_net *net;

    if (!*all || !tsri_mcquic_has(&self->shape, p, level))
        return TSR_OK;
    TSR_TRY(tsri_mcquic_part_net(self, p, level, &net));
    *all = tsri_net_fits(net, n, height, width);
    return TSR_OK;
}

static tsr_error level_fits(tsri_mcquic *self, int n, bool encode, int level,
                            bool *all)
{
    int h, w;

    side_of(self, level, &h, &w);
    if (!encode) {
        TSR_TRY(fits(self, n, TSRI_MCQUIC_DEQUANT_HEAD, level, h, w, all));
        TSR_TRY(fits(self, n, TSRI_MCQUIC_SIDE_HEAD, level, h, w, all));
        return fits(self, n, TSRI_MCQUIC_RESTORE_HEAD, level, h, w, all);
    }
    TSR_TRY(fits(self, n, TSRI_MCQUIC_STAGE, level, 2 * h, 2 * w, all));
    TSR_TRY(fits(self, n, TSRI_MCQUIC_QUANT_HEAD, level, h, w, all));
    return fits(self, n, TSRI_MCQUIC_LATENT_HEAD, level, h, w, all);
}

static tsr_error all_fit(tsri_mcquic *self, int n, bool encode, bool *all)
{
    int h, w;

    *all = true;
    side_of(self, 0, &h, &w);
    TSR_TRY(encode ? fits(self, n, TSRI_MCQUIC_ENCODER, 0, self->padded_height,
                          self->padded_width, all)
                   : fits(self, n, TSRI_MCQUIC_DECODER, 0, 2 * h, 2 * w, all));
    for (int level = 0; *all && level < self->shape.levels; level++)
        TSR_TRY(level_fits(self, n, encode, level, all));
    for (int level = 0; *all && level < self->shape.levels; level++)
        TSR_TRY(need_book(self, level));
    return TSR_OK;
}

static void drop(work *w, tsri_dmap *map)
{
    tsri_dmap_free(w->any, map);
}

static tsr_error new_map(work *w, int height, int width, tsri_dmap *map)
{
    drop(w, map);
    return tsri_dmap_new(w->any, w->n, w->self->shape.channels, height, width, map);
}

/* to = part of from; to is made. */
static tsr_error run(work *w, part p, int level, const tsri_dmap *from,
                     tsri_dmap *to)
{
    const tsri_net_io in = { .map = from }, out = { .map = to };
    const tsri_net *net;
    int h, wide;

    TSR_TRY(tsri_mcquic_part_net(w->self, p, level, &net));
    tsri_net_out_size(net, from->height, from->width, &h, &wide);
    TSR_TRY(new_map(w, h, wide, to));
    return tsri_net_run_io(net, w->n, from->height, from->width, &in, &out);
}

static void finish(work *w)
{
    for (int i = 0; i < 3; i++)
        drop(w, &w->map[i]);
    for (int i = 0; i < TSRI_MCQUIC_LEVELS; i++) {
        tsri_cuda_give(w->self->ctx->gpu, w->codes[i]);
        tsri_free(w->self->ctx, w->host[i]);
    }
}

/* Pixels as the outermost nets have them. */
static tsri_pixels pixels_of(const tsri_mcquic *self, const tsr_image *image)
{
    tsri_pixels p = tsri_image_pixels(self->ctx, image, 2, -1);

    p.top = self->top;
    p.left = self->left;
    p.reflect = p.truncates = true;
    return p;
}

/* ---- encoder ---- */

/* Codes of a level from z = map[0]; what is left for the next becomes map[1]. */
static tsr_error quantise(work *w, int level)
{
    tsri_mcquic *self = w->self;
    tsri_device_book *book = &self->level[level].on_device;

    const size_t bytes = code_count(w, level) * sizeof(int32_t);

    TSR_TRY(new_host(w, level));
    TSR_TRY(tsri_cuda_take(self->ctx->gpu, &w->codes[level], bytes));
    TSR_TRY(run(w, TSRI_MCQUIC_QUANT_HEAD, level, &w->map[0], &w->map[2]));
    TSR_TRY(tsri_device_book_encode(book, &w->map[2], w->codes[level]));
    TSR_TRY(tsri_cuda_download(self->ctx->gpu, w->host[level], w->codes[level],
                               bytes));
    if (level + 1 == self->shape.levels)
        return TSR_OK;
    TSR_TRY(run(w, TSRI_MCQUIC_LATENT_HEAD, level, &w->map[0], &w->map[1]));
    return tsri_device_book_decode(book, w->codes[level], &w->map[1],
                                   &w->map[1]);
}

static tsr_error analyse(work *w, const tsri_pixels *pixels,
                         const tsri_mcquic_codes *codes)
{
    tsri_mcquic *self = w->self;
    const tsri_net_io in = { .pixels = pixels }, out = { .map = &w->map[1] };
    int h, wide;

    side_of(self, 0, &h, &wide);
    TSR_TRY(new_map(w, 2 * h, 2 * wide, &w->map[1]));
    TSR_TRY(tsri_net_run_io(w->any, w->n, self->padded_height, self->padded_width,
                            &in, &out));
    for (int level = 0; level < self->shape.levels; level++) {
        TSR_TRY(run(w, TSRI_MCQUIC_STAGE, level, &w->map[1], &w->map[0]));
        TSR_TRY(quantise(w, level));
    }
    TSR_TRY(tsri_cuda_sync(self->ctx->gpu));
    for (int level = 0; level < self->shape.levels; level++)
        move_codes(w, codes, level, true);
    return TSR_OK;
}

tsr_error tsri_mcquic_look(tsri_mcquic *self, int n, const tsr_image *const *images,
                           const tsri_mcquic_codes *codes, bool *done)
{
    tsri_pixels pixels[TSRI_IMAGE_GROUP];
    work w = { .self = self, .n = n };

    TSR_TRY(all_fit(self, n, true, done));
    if (!*done)
        return TSR_OK;
    for (int i = 0; i < n; i++)
        pixels[i] = pixels_of(self, images[i]);
    TSR_TRY(tsri_mcquic_part_net(self, TSRI_MCQUIC_ENCODER, 0, &w.any));
    const tsr_error error = analyse(&w, pixels, codes);
    finish(&w);
    return error;
}

/* ---- decoder ---- */

/* t = map[0] of a level from its codes and the coarser levels' result, map[1]. */
static tsr_error combine(work *w, const tsri_mcquic_codes *codes, int level)
{
    tsri_mcquic *self = w->self;
    const tsri_codes *c = &self->level[level].codes;
    const size_t numbers = (size_t)w->n * c->plane * (size_t)self->shape.channels;

    TSR_TRY(new_host(w, level));
    move_codes(w, codes, level, false);
    TSR_TRY(tsri_device_codes(self->ctx, w->host[level], code_count(w, level),
                              &w->codes[level]));
    TSR_TRY(new_map(w, c->height, c->width, &w->map[2]));
    TSR_TRY(tsri_device_book_decode(&self->level[level].on_device,
                                    w->codes[level], NULL, &w->map[2]));
    TSR_TRY(run(w, TSRI_MCQUIC_DEQUANT_HEAD, level, &w->map[2], &w->map[0]));
    if (!w->map[1].data)
        return TSR_OK;
    TSR_TRY(run(w, TSRI_MCQUIC_SIDE_HEAD, level, &w->map[1], &w->map[2]));
    return tsri_maps_add(self->ctx->gpu, w->map[0].data, w->map[2].data, numbers);
}

static tsr_error synthesise(work *w, const tsri_mcquic_codes *codes,
                            const tsri_pixels *pixels)
{
    const tsri_net_io in = { .map = &w->map[1] }, out = { .pixels = pixels };

    for (int level = w->self->shape.levels - 1; level >= 0; level--) {
        TSR_TRY(combine(w, codes, level));
        TSR_TRY(run(w, TSRI_MCQUIC_RESTORE_HEAD, level, &w->map[0], &w->map[1]));
    }
    return tsri_net_run_io(w->any, w->n, w->map[1].height, w->map[1].width, &in,
                           &out);
}

tsr_error tsri_mcquic_show(tsri_mcquic *self, int n, const tsri_mcquic_codes *codes,
                           const tsr_image *const *images, bool *done)
{
    tsri_pixels pixels[TSRI_IMAGE_GROUP];
    work w = { .self = self, .n = n };

    TSR_TRY(all_fit(self, n, false, done));
    if (!*done)
        return TSR_OK;
    for (int i = 0; i < n; i++)
        pixels[i] = pixels_of(self, images[i]);
    TSR_TRY(tsri_mcquic_part_net(self, TSRI_MCQUIC_DECODER, 0, &w.any));
    const tsr_error error = synthesise(&w, codes, pixels);
    finish(&w);
    return error;
}
