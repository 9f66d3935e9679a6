/* SPDX-License-Identifier: BSD-2-Clause */
#include <math.h>
#include <string.h>
#include "lib/pool.h"
#include "vq/codebook.h"
#include "vq/nearest.h"

enum { LANES = TSRI_NEAREST_LANES, BLOCK = TSRI_NEAREST_BLOCK };

struct tsri_codebook {
    int m, k, d, panels;
    float *code;                /* [m][panels][d][16] */
    float *norm;                /* [m][panels][16] */
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
    *out = cb;
    return TSR_OK;
}

void tsri_codebook_free(tsri_codebook **codebook, tsr_context *ctx)
{
    tsri_codebook *cb = *codebook;
    if (!cb)
        return;
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
    float *scratch;             /* [threads][d][BLOCK] */
} search;

/* x[j][v] = channel j of the v-th vector from raster position `first`. */
static void gather(const search *s, int group, int first, int n, float *x)
{
    const tsri_fmap *map = s->x;
    for (int j = 0; j < s->cb->d; j++, x += BLOCK) {
        const float *plane =
            map->data + (size_t)(group * s->cb->d + j) * map->plane;
        int row = first / map->width, at = first % map->width;
        for (int done = 0; done < n; row++, at = 0) {
            const int run = tsri_min(n - done, map->width - at);
            memcpy(x + done, plane + (size_t)row * map->row + at,
                   (size_t)run * sizeof *x);
            done += run;
        }
        memset(x + n, 0, (size_t)(BLOCK - n) * sizeof *x);
    }
}

static tsr_error search_block(void *cookie, int i, int worker)
{
    const search *s = cookie;
    const tsri_codebook *cb = s->cb;
    const int width = s->x->width, group = i % cb->m;
    const int first = i / cb->m * BLOCK;
    const int n = tsri_min(BLOCK, s->x->height * width - first);
    float *x = s->scratch + (size_t)worker * (size_t)cb->d * BLOCK;
    const tsri_nearest_book book = {
        .panels = cb->panels, .d = cb->d,
        .code = cb->code + (size_t)group * group_floats(cb),
        .norm = cb->norm + (size_t)group * (size_t)cb->panels * LANES,
    };
    int32_t code[BLOCK];

    gather(s, group, first, n, x);
    s->nearest(&book, x, code);
    for (int v = 0; v < n; v++)
        s->codes->data[(size_t)group * s->codes->plane +
                       (size_t)((first + v) / width) * s->codes->row +
                       (size_t)((first + v) % width)] = code[v];
    return TSR_OK;
}

tsr_error tsri_codebook_encode(const tsri_codebook *cb, tsr_context *ctx,
                               const tsri_fmap *x, const tsri_codes *codes)
{
    search s = { .cb = cb, .x = x, .codes = codes };
    const int threads = tsri_pool_threads(ctx->pool);

    TSR_TRY(check_shape(cb, ctx, x, codes));
    if (x->height < 1 || x->width < 1)
        return TSR_OK;
    if (x->height > INT32_MAX / 2 / x->width ||
        tsri_ceil_div(x->height * x->width, BLOCK) > INT32_MAX / cb->m)
        return tsri_fail(ctx, TSR_E_SHAPE, "map of %d x %d vectors is too "
                         "large for one search", x->height, x->width);
    s.nearest = ctx->cpu & TSR_CPU_AVX2 ? tsri_nearest_avx2() : NULL;
    if (!s.nearest)
        s.nearest = tsri_nearest_plain;
    s.scratch = tsri_alloc(ctx, (size_t)threads * (size_t)cb->d,
                           BLOCK * sizeof *s.scratch);
    if (!s.scratch)
        return tsri_nomem(ctx);
    const int blocks = tsri_ceil_div(x->height * x->width, BLOCK);
    const tsr_error error =
        tsri_pool_for(ctx->pool, blocks * cb->m, search_block, &s);
    tsri_free(ctx, s.scratch);
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
