/* SPDX-License-Identifier: BSD-2-Clause */
/* Tokens of a picture, and a picture of tokens, on the CPU. */
#include <string.h>
#include "codecs/image/image.h"
#include "codecs/image/token.h"

enum { TILE_STEP = 16 };        /* pixels that sides of tiles are multiples of */

typedef tsri_token_codec token;

/* ---- encoder ---- */

/* The encoder net's input and output. */
typedef struct analysis {
    token *t;
    const tsr_image *image;
    int *ys, *xs;               /* the picture's sample at each padded place */
    const tsr_progress *progress;
} analysis;

static tsr_error read_pixels(void *cookie, tsri_rect r, tsri_fmap *dst)
{
    const analysis *a = cookie;

    tsri_image_gather(a->image, a->ys + r.y0, a->xs + r.x0, dst);
    for (int c = 0; c < dst->channels; c++)
        for (int y = 0; y < dst->height; y++) {
            float *row = dst->data + (size_t)c * dst->plane +
                         (size_t)y * dst->row;
            for (int x = 0; x < dst->width; x++)
                row[x] = row[x] * 2 - 1;
        }
    return TSR_OK;
}

static tsr_error search(void *cookie, tsri_rect r, const tsri_fmap *src)
{
    const analysis *a = cookie;
    const tsri_token_grid *g = &a->t->grid;
    const tsri_codes codes = {
        .data = g->id + (size_t)r.y0 * (size_t)g->width + (size_t)r.x0,
        .groups = 1, .height = r.y1 - r.y0, .width = r.x1 - r.x0,
        .plane = (size_t)g->height * (size_t)g->width, .row = (size_t)g->width,
    };

    TSR_TRY(tsri_codebook_encode(a->t->search, a->t->ctx, src, &codes));
    return tsri_report(a->progress, ((double)r.y0 * g->width +
                                     (double)(r.y1 - r.y0) * r.x1) /
                                        ((double)g->height * g->width));
}

static tsr_error run_encoder(analysis *a)
{
    token *t = a->t;
    const int f = t->shape.factor;
    const uint64_t held = tsri_token_grid_bytes(t), limit = t->ctx->max_memory;

    if (!a->ys || !a->xs)
        return tsri_nomem(t->ctx);
    if (!t->search)
        TSR_TRY(tsri_codebook_new(&t->search, t->ctx, 1, t->codes,
                                  t->shape.dim, t->words));
    return tsri_net_run_tiled(t->net[TSRI_TOKEN_ENCODER], t->grid.height * f,
                              t->grid.width * f, limit - held, 1, read_pixels,
                              a, search, a);
}

tsr_error tsri_token_analyse(token *t, const tsr_image *image,
                             const tsr_progress *progress)
{
    const tsri_token_grid *g = &t->grid;
    const int f = t->shape.factor;
    analysis a = {
        t, image, tsri_image_padding(t->ctx, image->height, g->height * f, 0),
        tsri_image_padding(t->ctx, image->width, g->width * f, 0), progress,
    };
    const tsr_error error = run_encoder(&a);
    tsri_free(t->ctx, a.ys);
    tsri_free(t->ctx, a.xs);
    return error;
}

/* ---- decoder ---- */

/* The decoder net's input and output. */
typedef struct synthesis {
    token *t;
    const float *words;         /* of the level */
    tsri_fmap z;                /* all code vectors; without data: no token is
                                   lost, and `words` has them */
    tsri_image_out out;
} synthesis;

static tsr_error read_words(void *cookie, tsri_rect r, tsri_fmap *dst)
{
    const synthesis *s = cookie;
    const tsri_token_grid *g = &s->t->grid;

    for (int y = 0; y < dst->height; y++)
        for (int x = 0; x < dst->width; x++) {
            const size_t at = (size_t)(r.y0 + y) * (size_t)g->width +
                              (size_t)(r.x0 + x);
            const float *word = s->words + (size_t)g->id[at] *
                                               (size_t)dst->channels;
            float *to = dst->data + (size_t)y * dst->row + (size_t)x;
            for (int c = 0; c < dst->channels; c++)
                to[(size_t)c * dst->plane] = word[c];
        }
    return TSR_OK;
}

static tsr_error read_filled(void *cookie, tsri_rect r, tsri_fmap *dst)
{
    const tsri_fmap *z = &((const synthesis *)cookie)->z;

    for (int c = 0; c < dst->channels; c++)
        for (int y = 0; y < dst->height; y++)
            memcpy(dst->data + (size_t)c * dst->plane + (size_t)y * dst->row,
                   z->data + (size_t)c * z->plane +
                       (size_t)(r.y0 + y) * z->row + (size_t)r.x0,
                   (size_t)dst->width * sizeof *dst->data);
    return TSR_OK;
}

/* The code vectors of a grid with holes. */
static tsr_error fill_in(token *t, tsri_fmap *z)
{
    const size_t n = (size_t)t->grid.height * (size_t)t->grid.width;

    *z = (tsri_fmap){ NULL, t->shape.dim, t->grid.height, t->grid.width, n,
                      (size_t)t->grid.width };
    if ((t->ctx->max_memory - tsri_token_grid_bytes(t)) / sizeof *z->data /
            (uint64_t)t->shape.dim < n)
        return tsri_token_too_large(t);
    if (!t->fill)
        TSR_TRY(tsri_token_fill_open(&t->fill, t->ctx, t->model, t->book));
    z->data = tsri_alloc(t->ctx, n, (size_t)t->shape.dim * sizeof *z->data);
    if (!z->data)
        return tsri_nomem(t->ctx);
    return tsri_token_fill_run(t->fill, t->book, t->level, &t->grid, z);
}

static tsr_error run_decoder(synthesis *s)
{
    token *t = s->t;
    uint64_t held = tsri_token_grid_bytes(t);

    if (s->z.data)
        held += (uint64_t)s->z.plane * (uint64_t)t->shape.dim *
                sizeof *s->z.data;
    return tsri_net_run_tiled(t->net[TSRI_TOKEN_DECODER], t->grid.height,
                              t->grid.width, t->ctx->max_memory - held,
                              tsri_min(t->shape.factor, TILE_STEP),
                              s->z.data ? read_filled : read_words, s,
                              tsri_image_tile, &s->out);
}

tsr_error tsri_token_pixels(token *t, tsri_image_put put, void *cookie,
                            const tsr_progress *progress)
{
    synthesis s = { .t = t, .words = tsri_token_book_words(t->book, t->level),
                    .out = { t->width, t->height, put, cookie, progress } };
    tsr_error error = tsri_token_part_net(t, TSRI_TOKEN_DECODER);

    if (!error && tsri_token_any_lost(&t->grid))
        error = fill_in(t, &s.z);
    if (!error)
        error = run_decoder(&s);
    tsri_free(t->ctx, s.z.data);
    return error;
}
