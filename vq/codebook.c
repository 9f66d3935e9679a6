/* SPDX-License-Identifier: BSD-2-Clause */
#include <math.h>
#include <string.h>
#include "lib/pool.h"
#include "vq/coarse.h"
#include "vq/codebook.h"
#include "vq/nearest.h"

enum {
    LANES = TSRI_NEAREST_LANES, BLOCK = TSRI_NEAREST_BLOCK,
    ROWS = TSRI_COARSE_ROWS
};

struct tsri_codebook {
    int m, k, d, panels;
    float *code;                /* [m][panels][d][16] */
    float *norm;                /* [m][panels][16] */
    tsri_coarse_book **coarse;  /* [m]; NULL where the pass is of no use */
};

static size_t group_floats(const tsri_codebook *cb)
{
    return (size_t)cb->panels * (size_t)cb->d * LANES;
}

static void pack(tsri_codebook *cb, const float *codewords)
{
    for (int g = 0; g < cb->m; g++)
        for (int c = 0; c < cb->panels * LANES; c++) {
            float *to = cb->code + (size_t)g * group_floats(cb) +
                        (size_t)(c / LANES) * (size_t)cb->d * LANES + c % LANES;
            float norm = c < cb->k ? 0 : INFINITY;
            for (int j = 0; j < cb->d; j++) {
                const float v = c < cb->k ? *codewords++ : 0;
                to[(size_t)j * LANES] = v;
                norm += v * v;
            }
            cb->norm[((size_t)g * (size_t)cb->panels) * LANES + (size_t)c] =
                norm;
        }
}

/* The pass helps only if there are kernels for it. */
static tsr_error add_coarse(tsri_codebook *cb, tsr_context *ctx,
                            const float *codewords)
{
    cb->coarse = tsri_calloc(ctx, (size_t)cb->m, sizeof(tsri_coarse_book *));
    if (!cb->coarse)
        return tsri_nomem(ctx);
    if (!(ctx->cpu & TSR_CPU_AVX2) || !tsri_coarse_avx2())
        return TSR_OK;
    for (int g = 0; g < cb->m; g++)
        TSR_TRY(tsri_coarse_new(&cb->coarse[g], ctx, cb->k, cb->d, codewords +
                                (size_t)g * (size_t)cb->k * (size_t)cb->d));
    return TSR_OK;
}

tsr_error tsri_codebook_new(tsri_codebook **out, tsr_context *ctx, int m, int k,
                            int d, const float *codewords)
{
    size_t padded, codes, floats;

    *out = NULL;
    if (m < 1 || k < 1 || d < 1 || k > INT32_MAX - LANES ||
        m > INT32_MAX / d)
        return tsri_fail(ctx, TSR_E_ARG, "codebook of %d x %d x %d", m, k, d);
    padded = (size_t)tsri_ceil_div(k, LANES) * LANES;
    if (!tsri_mul((size_t)m, padded, &codes) ||
        !tsri_mul(codes, (size_t)d, &floats) || floats > PTRDIFF_MAX / 8)
        return tsri_fail(ctx, TSR_E_ARG, "codebook of %d x %d x %d", m, k, d);
    tsri_codebook *cb = tsri_calloc(ctx, 1, sizeof *cb);
    if (!cb)
        return tsri_nomem(ctx);
    *cb = (tsri_codebook){ .m = m, .k = k, .d = d,
                           .panels = tsri_ceil_div(k, LANES) };
    cb->code = tsri_alloc(ctx, floats, sizeof *cb->code);
    cb->norm = tsri_alloc(ctx, codes, sizeof *cb->norm);
    if (!cb->code || !cb->norm) {
        tsri_codebook_free(&cb, ctx);
        return tsri_nomem(ctx);
    }
    pack(cb, codewords);
    const tsr_error error = add_coarse(cb, ctx, codewords);
    if (error)
        tsri_codebook_free(&cb, ctx);
    *out = cb;
    return error;
}

void tsri_codebook_free(tsri_codebook **codebook, tsr_context *ctx)
{
    tsri_codebook *cb = *codebook;
    if (!cb)
        return;
    for (int g = 0; cb->coarse && g < cb->m; g++)
        tsri_coarse_free(&cb->coarse[g], ctx);
    tsri_free(ctx, cb->coarse);
    tsri_free(ctx, cb->code);
    tsri_free(ctx, cb->norm);
    tsri_free(ctx, cb);
    *codebook = NULL;
}

int tsri_codebook_groups(const tsri_codebook *codebook)
{
    return codebook->m;
}

int tsri_codebook_size(const tsri_codebook *codebook)
{
    return codebook->k;
}

int tsri_codebook_channels(const tsri_codebook *codebook)
{
    return codebook->m * codebook->d;
}

static tsr_error check_shape(const tsri_codebook *cb, tsr_context *ctx,
                             const tsri_fmap *x, const tsri_codes *codes)
{
    if (x->channels != cb->m * cb->d || codes->groups != cb->m ||
        x->height != codes->height || x->width != codes->width)
        return tsri_fail(ctx, TSR_E_SHAPE,
                         "codebook of %d x %d channels: map %dx%dx%d, "
                         "codes %dx%dx%d", cb->m, cb->d, x->channels, x->height,
                         x->width, codes->groups, codes->height, codes->width);
    return TSR_OK;
}

/* One search: index i of the loop is block i / m of group i % m. */
typedef struct search {
    const tsri_codebook *cb;
    const tsri_fmap *x;
    const tsri_codes *codes;
    tsri_nearest_fn nearest;
    const tsri_coarse_kernels *kernels;
    int block;                  /* vectors of one index */
    struct worker {
        float *x;               /* [d][64]; coarse: [block][d] */
        int32_t *code;          /* [block] */
        tsri_coarse_work *work; /* NULL: the float search */
    } *worker;                  /* [threads] */
} search;

/* x[j * channel + v * vector] = channel j of the v-th vector from raster
 * position `first`. */
static void gather(const search *s, int group, int first, int n, float *x,
                   size_t channel, size_t vector)
{
    const tsri_fmap *map = s->x;
    for (int j = 0; j < s->cb->d; j++) {
        const float *plane =
            map->data + (size_t)(group * s->cb->d + j) * map->plane;
        float *to = x + (size_t)j * channel;
        int row = first / map->width, at = first % map->width;
        for (int left = n; left > 0; row++, at = 0)
            for (; left > 0 && at < map->width; at++, left--) {
                *to = plane[(size_t)row * map->row + (size_t)at];
                to += vector;
            }
    }
}

/* The same of vectors that are rows: [n][d]. */
static void gather_rows(const search *s, int group, int first, int n, float *x)
{
    const tsri_fmap *map = s->x;
    const size_t d = (size_t)s->cb->d;
    for (int v = 0; v < n; v++)
        memcpy(x + (size_t)v * d, map->data + (size_t)group * d +
               (size_t)(first + v) * map->row, d * sizeof *x);
}

tsri_nearest_book tsri_codebook_packed(const tsri_codebook *cb, int group)
{
    return (tsri_nearest_book){
        .panels = cb->panels, .d = cb->d,
        .code = cb->code + (size_t)group * group_floats(cb),
        .norm = cb->norm + (size_t)group * (size_t)cb->panels * LANES,
    };
}

/* n vectors of one group. */
static void search_some(const search *s, const struct worker *w, int group,
                        int first, int n)
{
    const tsri_codebook *cb = s->cb;
    const tsri_nearest_book book = tsri_codebook_packed(cb, group);

    if (w->work) {
        if (s->x->plane == 1 && s->x->width == 1)
            gather_rows(s, group, first, n, w->x);
        else
            gather(s, group, first, n, w->x, 1, (size_t)cb->d);
        tsri_coarse_search(s->kernels, cb->coarse[group], &book, s->nearest,
                           w->work, w->x, n, w->code);
    } else {
        gather(s, group, first, n, w->x, BLOCK, 1);
        s->nearest(&book, w->x, w->code);
    }
}

static tsr_error search_block(void *cookie, int i, int worker)
{
    const search *s = cookie;
    const struct worker *w = &s->worker[worker];
    const int width = s->x->width, group = i % s->cb->m;
    const int first = i / s->cb->m * s->block;
    const int n = tsri_min(s->block, s->x->height * width - first);

    search_some(s, w, group, first, n);
    for (int v = 0; v < n; v++)
        s->codes->data[(size_t)group * s->codes->plane +
                       (size_t)((first + v) / width) * s->codes->row +
                       (size_t)((first + v) % width)] = w->code[v];
    return TSR_OK;
}

static void release(search *s, tsr_context *ctx, int threads)
{
    for (int t = 0; s->worker && t < threads; t++) {
        tsri_free(ctx, s->worker[t].x);
        tsri_free(ctx, s->worker[t].code);
        tsri_coarse_work_free(s->worker[t].work, ctx);
    }
    tsri_free(ctx, s->worker);
}

static tsr_error acquire(search *s, tsr_context *ctx, int threads, bool coarse)
{
    const int d = s->cb->d;

    s->worker = tsri_calloc(ctx, (size_t)threads, sizeof *s->worker);
    for (int t = 0; s->worker && t < threads; t++) {
        struct worker *w = &s->worker[t];
        w->x = tsri_calloc(ctx, (size_t)s->block * (size_t)d, sizeof *w->x);
        w->code = tsri_alloc(ctx, (size_t)s->block, sizeof *w->code);
        if (coarse)
            w->work = tsri_coarse_work_new(ctx, s->block, d);
        if (!w->x || !w->code || (coarse && !w->work))
            return tsri_nomem(ctx);
    }
    return s->worker ? TSR_OK : tsri_nomem(ctx);
}

/* The pass for all groups or for none: their vectors are cut up alike. */
static bool use_coarse(const search *s)
{
    for (int g = 0; g < s->cb->m; g++)
        if (!s->cb->coarse[g])
            return false;
    return s->kernels;
}

tsr_error tsri_codebook_encode(const tsri_codebook *cb, tsr_context *ctx,
                               const tsri_fmap *x, const tsri_codes *codes)
{
    search s = { .cb = cb, .x = x, .codes = codes, .block = BLOCK };
    const int threads = tsri_pool_threads(ctx->pool);
    const bool avx2 = ctx->cpu & TSR_CPU_AVX2;

    TSR_TRY(check_shape(cb, ctx, x, codes));
    if (x->height < 1 || x->width < 1)
        return TSR_OK;
    if (x->height > INT32_MAX / 2 / x->width ||
        tsri_ceil_div(x->height * x->width, ROWS) > INT32_MAX / cb->m)
        return tsri_fail(ctx, TSR_E_SHAPE, "map of %d x %d vectors is too "
                         "large for one search", x->height, x->width);
    const int n = x->height * x->width;
    s.nearest = avx2 ? tsri_nearest_avx2() : NULL;
    s.kernels = avx2 ? tsri_coarse_avx2() : NULL;
    if (!s.nearest)
        s.nearest = tsri_nearest_plain;
    const bool coarse = use_coarse(&s);
    if (coarse)
        s.block = tsri_min(tsri_coarse_block(cb->d),
                           tsri_ceil_div(tsri_ceil_div(n, threads), ROWS) *
                           ROWS);
    tsr_error error = acquire(&s, ctx, threads, coarse);
    if (!error)
        error = tsri_pool_for(ctx->pool, tsri_ceil_div(n, s.block) * cb->m,
                              search_block, &s);
    release(&s, ctx, threads);
    return error;
}

/* Row y of group g; false at a code outside the book. */
static bool decode_row(const tsri_codebook *cb, const tsri_codes *codes, int g,
                       int y, tsri_fmap *map)
{
    const int32_t *code =
        codes->data + (size_t)g * codes->plane + (size_t)y * codes->row;
    float *to = map->data + (size_t)(g * cb->d) * map->plane +
                (size_t)y * map->row;

    for (int x = 0; x < codes->width; x++) {
        if (code[x] < 0 || code[x] >= cb->k)
            return false;
        const float *from = cb->code + (size_t)g * group_floats(cb) +
                            (size_t)(code[x] / LANES) * (size_t)cb->d * LANES +
                            code[x] % LANES;
        for (int j = 0; j < cb->d; j++)
            to[(size_t)j * map->plane + (size_t)x] = from[(size_t)j * LANES];
    }
    return true;
}

tsr_error tsri_codebook_decode(const tsri_codebook *cb, tsr_context *ctx,
                               const tsri_codes *codes, tsri_fmap *y)
{
    TSR_TRY(check_shape(cb, ctx, y, codes));
    for (int g = 0; g < cb->m; g++)
        for (int row = 0; row < codes->height; row++)
            if (!decode_row(cb, codes, g, row, y))
                return tsri_fail(ctx, TSR_E_ARG,
                                 "a code outside its codebook of %d", cb->k);
    return TSR_OK;
}
