/* SPDX-License-Identifier: BSD-2-Clause */
/* CacheGen's streams from and to caches in memory. */
#include "codecs/kv/cachegen.h"
#include "codecs/kv/move.h"

int tsr_cachegen_is(const uint8_t *data, size_t size)
{
    return size >= 2 && data[0] == 0x80 && data[1] >= 2 && data[1] <= 5;
}

static void fill_info(const tsri_cachegen_shape *shape, int heads,
                      tsr_cachegen_info *info)
{
    const int dim = shape->channels / heads;

    *info = (tsr_cachegen_info){
        { shape->layers, 2, { heads, heads }, { dim, dim } }, shape->dtype,
        (size_t)shape->tokens
    };
}

tsr_error tsr_cachegen_probe(tsr_context *ctx, const uint8_t *data, size_t size,
                             tsr_cachegen_info *info)
{
    tsri_cachegen_shape shape;
    int heads;

    TSR_TRY(tsri_cachegen_load(ctx, data, size, &shape, &heads, NULL));
    fill_info(&shape, heads, info);
    return TSR_OK;
}

/* ---- decoder ---- */

typedef struct target {
    const tsr_kv_view *view;
    const tsr_kv_shape *shape;
} target;

static void take(void *cookie, int plane, int layer, size_t first, size_t n,
                 const float *x)
{
    const target *t = cookie;

    if (t->view->base[layer * t->shape->planes + plane])
        tsri_kv_scatter(t->view, t->shape, 0, layer, plane, first, n, x,
                        (size_t)(t->shape->heads[0] * t->shape->dim[0]));
}

static tsr_error check_view(tsr_context *ctx, const tsr_cachegen_info *info,
                            const tsr_kv_view *view)
{
    if (view->tokens != info->tokens)
        return tsri_fail(ctx, TSR_E_ARG, "a view of %zu tokens for %zu",
                         view->tokens, info->tokens);
    return tsri_kv_view_check(ctx, view, &info->shape, true);
}

tsr_error tsr_cachegen_decode(tsr_context *ctx, const uint8_t *data,
                              size_t size, int level, const tsr_kv_view *view)
{
    tsri_cachegen_shape shape;
    tsr_cachegen_info info;
    tsri_cachegen stream;
    int heads;

    TSR_TRY(tsri_cachegen_load(ctx, data, size, &shape, &heads, &stream));
    shape.level = level;
    fill_info(&shape, heads, &info);
    target t = { view, &info.shape };
    tsr_error error = check_view(ctx, &info, view);
    if (!error)
        error = tsri_cachegen_decode(ctx, &shape, &stream, take, &t);
    tsri_cachegen_free(&stream, ctx);
    return error;
}

/* ---- encoder ---- */

/* All of a cache as [2][L][T][C]. */
static tsr_error gather(tsr_context *ctx, const tsr_kv_shape *shape,
                        const tsr_kv_view *view, float *x)
{
    const size_t channels = (size_t)(shape->heads[0] * shape->dim[0]);

    for (int i = 0; i < 2 * shape->layers; i++, x += view->tokens * channels)
        if (!tsri_kv_gather(view, shape, 0, i % shape->layers,
                            i / shape->layers, 0, view->tokens, x, channels))
            return tsri_fail(ctx, TSR_E_ARG, "layer %d: a value is not finite",
                             i % shape->layers);
    return TSR_OK;
}

static tsr_error check_shape(tsr_context *ctx, const tsr_kv_shape *shape)
{
    if (shape->planes != 2 || shape->heads[0] != shape->heads[1] ||
        shape->dim[0] != shape->dim[1])
        return tsri_fail(ctx, TSR_E_UNSUPPORTED, "CacheGen: only keys and "
                         "values of one size");
    return TSR_OK;
}

tsr_error tsr_cachegen_encode(tsr_context *ctx, const tsr_kv_shape *shape,
                              const tsr_kv_view *view, int level,
                              const tsr_sink *sink)
{
    size_t values;
    tsri_cachegen stream;

    TSR_TRY(check_shape(ctx, shape));
    TSR_TRY(tsri_kv_view_check(ctx, view, shape, false));
    const tsri_cachegen_shape own = {
        shape->layers, (int)view->tokens, shape->heads[0] * shape->dim[0], level,
        view->dtype
    };
    if (!tsri_mul(2 * (size_t)(own.layers * own.channels), view->tokens, &values))
        return tsri_nomem(ctx);
    float *x = tsri_alloc(ctx, values, sizeof *x);
    tsr_error error = x ? gather(ctx, shape, view, x) : tsri_nomem(ctx);
    if (!error)
        error = tsri_cachegen_encode(ctx, &own, x, &stream);
    tsri_free(ctx, x);
    if (error)
        return error;
    error = tsri_cachegen_save(ctx, &own, shape->heads[0], &stream, sink);
    tsri_cachegen_free(&stream, ctx);
    return error;
}
