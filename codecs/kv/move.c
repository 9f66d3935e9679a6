/* SPDX-License-Identifier: BSD-2-Clause */
/* Views of caches: checked, read and written. */
#include "codecs/kv/move_impl.h"

/* ---- is it one? ---- */

static size_t magnitude(ptrdiff_t stride)
{
    return stride < 0 ? -(size_t)stride : (size_t)stride;
}

/* *sum += |a| * b, as long as that is an offset. */
static bool add_reach(size_t *sum, ptrdiff_t a, size_t b)
{
    size_t product;
    return tsri_mul(magnitude(a), b, &product) && tsri_add(*sum, product, sum) &&
        *sum <= PTRDIFF_MAX;
}

/* Bytes before or behind base, at most, that the view reaches. */
static bool reach_of(const tsr_kv_view *view, const tsr_kv_shape *shape,
                     int plane, size_t last_block, size_t *reach)
{
    const size_t inner = view->blocks && view->tokens > (size_t)view->block_tokens
        ? (size_t)view->block_tokens : view->tokens;

    *reach = (size_t)shape->dim[plane] * tsri_kv_dtype_bytes(view->dtype);
    return add_reach(reach, view->token_stride, inner - 1) &&
        add_reach(reach, view->head_stride, (size_t)shape->heads[plane] - 1) &&
        (!view->blocks || add_reach(reach, view->block_stride, last_block));
}

static bool base_fits(const tsr_kv_view *view, const void *base, size_t reach)
{
    const uintptr_t at = (uintptr_t)base;
    const bool back = view->token_stride < 0 || view->head_stride < 0 ||
        (view->blocks && view->block_stride < 0);
    return at % tsri_kv_dtype_bytes(view->dtype) == 0 &&
        at <= UINTPTR_MAX - reach && (!back || at >= reach);
}

static tsr_error check_bases(tsr_context *ctx, const tsr_kv_view *view,
                             const tsr_kv_shape *shape, size_t last_block,
                             bool writing)
{
    for (int i = 0; i < shape->layers * shape->planes; i++) {
        const int plane = i % shape->planes;
        size_t reach;
        if (!reach_of(view, shape, plane, last_block, &reach))
            return tsri_fail(ctx, TSR_E_ARG, "the cache's strides overflow");
        if (!view->base[i] && writing)
            continue;
        if (!view->base[i])
            return tsri_fail(ctx, TSR_E_ARG, "layer %d, plane %d of the cache "
                             "is missing", i / shape->planes, plane);
        if (!base_fits(view, view->base[i], reach))
            return tsri_fail(ctx, TSR_E_ARG, "layer %d, plane %d of the cache "
                             "is misaligned or ends outside of memory",
                             i / shape->planes, plane);
    }
    return TSR_OK;
}

static bool aligned(ptrdiff_t stride, size_t element)
{
    return stride % (ptrdiff_t)element == 0;
}

static bool strides_aligned(const tsr_kv_view *view)
{
    const size_t element = tsri_kv_dtype_bytes(view->dtype);
    return aligned(view->token_stride, element) &&
        aligned(view->head_stride, element) &&
        (!view->blocks || aligned(view->block_stride, element));
}

/* Does no token or head lie on its neighbour? */
static bool strides_apart(const tsr_kv_view *view, const tsr_kv_shape *shape)
{
    for (int p = 0; p < shape->planes; p++) {
        const size_t head =
            (size_t)shape->dim[p] * tsri_kv_dtype_bytes(view->dtype);
        if (view->tokens > 1 && magnitude(view->token_stride) < head)
            return false;
        if (shape->heads[p] > 1 && magnitude(view->head_stride) < head)
            return false;
    }
    return true;
}

static tsr_error check_blocks(tsr_context *ctx, const tsr_kv_view *view,
                              size_t *last)
{
    size_t blocks;

    *last = 0;
    if (!view->blocks)
        return TSR_OK;
    if (view->block_tokens < 1)
        return tsri_fail(ctx, TSR_E_ARG, "blocks of %d tokens",
                         view->block_tokens);
    blocks = (view->tokens - 1) / (size_t)view->block_tokens + 1;
    for (size_t i = 0; i < blocks; i++) {
        if (view->blocks[i] < 0)
            return tsri_fail(ctx, TSR_E_ARG, "entry %zu of the block table is "
                             "%d", i, (int)view->blocks[i]);
        if ((size_t)view->blocks[i] > *last)
            *last = (size_t)view->blocks[i];
    }
    return TSR_OK;
}

tsr_error tsri_kv_view_check(tsr_context *ctx, const tsr_kv_view *view,
                             const tsr_kv_shape *shape, bool writing)
{
    size_t last;

    if (!view || !tsri_kv_dtype_bytes(view->dtype))
        return tsri_fail(ctx, TSR_E_ARG, "a cache without a number format");
    if (view->tokens > TSRI_KV_MAX_TOKENS)
        return tsri_fail(ctx, TSR_E_ARG, "a cache of %zu tokens; at most %d",
                         view->tokens, TSRI_KV_MAX_TOKENS);
    if (!view->tokens)
        return TSR_OK;
    if (!view->base)
        return tsri_fail(ctx, TSR_E_ARG, "a cache without base pointers");
    if (!strides_aligned(view))
        return tsri_fail(ctx, TSR_E_ARG, "the cache's strides are no multiples "
                         "of its numbers' size");
    if (writing && !strides_apart(view, shape))
        return tsri_fail(ctx, TSR_E_ARG, "tokens or heads of the cache overlap");
    TSR_TRY(check_blocks(ctx, view, &last));
    return check_bases(ctx, view, shape, last, writing);
}

/* ---- moves ---- */

uint8_t *tsri_kv_token_at(const tsr_kv_view *view, const tsr_kv_shape *shape,
                          int layer, int plane, size_t t)
{
    uint8_t *base = view->base[layer * shape->planes + plane];

    if (view->blocks) {
        const size_t size = (size_t)view->block_tokens;
        base += view->blocks[t / size] * view->block_stride;
        t %= size;
    }
    return base + (ptrdiff_t)t * view->token_stride;
}

/* Heads of a token in runs of numbers without gaps: all in one where they
 * touch. */
typedef struct runs { size_t count, n; ptrdiff_t stride; } runs;

static runs runs_of(const tsr_kv_view *view, const tsr_kv_shape *shape, int plane)
{
    const size_t dim = (size_t)shape->dim[plane];
    const size_t heads = (size_t)shape->heads[plane];
    const size_t bytes = dim * tsri_kv_dtype_bytes(view->dtype);

    if (heads == 1 || view->head_stride == (ptrdiff_t)bytes)
        return (runs){ 1, heads * dim, 0 };
    return (runs){ heads, dim, view->head_stride };
}

bool tsri_kv_gather(const tsr_kv_view *view, const tsr_kv_shape *shape,
                    unsigned cpu, int layer, int plane, size_t first, size_t n,
                    float *x, size_t pitch)
{
    const runs r = runs_of(view, shape, plane);
    bool good = true;

    for (size_t t = 0; t < n; t++) {
        const uint8_t *at =
            tsri_kv_token_at(view, shape, layer, plane, first + t);
        for (size_t k = 0; k < r.count; k++)
            good &= tsri_kv_from_dtype(view->dtype, cpu,
                                       at + (ptrdiff_t)k * r.stride, r.n,
                                       x + t * pitch + k * r.n);
    }
    return good;
}

void tsri_kv_scatter(const tsr_kv_view *view, const tsr_kv_shape *shape,
                     unsigned cpu, int layer, int plane, size_t first, size_t n,
                     const float *x, size_t pitch)
{
    const runs r = runs_of(view, shape, plane);

    for (size_t t = 0; t < n; t++) {
        uint8_t *at = tsri_kv_token_at(view, shape, layer, plane, first + t);
        for (size_t k = 0; k < r.count; k++)
            tsri_kv_to_dtype(view->dtype, cpu, x + t * pitch + k * r.n, r.n,
                             at + (ptrdiff_t)k * r.stride);
    }
}

void tsri_kv_copy_out(const tsr_kv_view *view, const tsr_kv_shape *shape,
                      int layer, int plane, size_t first, size_t n, void *out)
{
    const runs r = runs_of(view, shape, plane);
    const size_t bytes = r.n * tsri_kv_dtype_bytes(view->dtype);
    uint8_t *to = out;

    for (size_t t = 0; t < n; t++) {
        const uint8_t *at =
            tsri_kv_token_at(view, shape, layer, plane, first + t);
        for (size_t k = 0; k < r.count; k++, to += bytes)
            memcpy(to, at + (ptrdiff_t)k * r.stride, bytes);
    }
}

void tsri_kv_copy_in(const tsr_kv_view *view, const tsr_kv_shape *shape,
                     int layer, int plane, size_t first, size_t n,
                     const void *in)
{
    const runs r = runs_of(view, shape, plane);
    const size_t bytes = r.n * tsri_kv_dtype_bytes(view->dtype);
    const uint8_t *from = in;

    for (size_t t = 0; t < n; t++) {
        uint8_t *at = tsri_kv_token_at(view, shape, layer, plane, first + t);
        for (size_t k = 0; k < r.count; k++, from += bytes)
            memcpy(at + (ptrdiff_t)k * r.stride, from, bytes);
    }
}
