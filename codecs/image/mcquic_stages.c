/* SPDX-License-Identifier: BSD-2-Clause */
/* Codes of a picture, and a picture of codes, on the CPU: part after part of the
 * network, each over its whole plane in tiles. */
#include "codecs/image/image.h"
#include "codecs/image/mcquic.h"

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

tsr_error tsri_mcquic_analyse(tsri_mcquic *self, const tsr_image *image,
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

tsr_error tsri_mcquic_pixels(tsri_mcquic *self, tsri_image_put put,
                             void *put_cookie, const tsr_progress *progress)
{
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
