/* SPDX-License-Identifier: BSD-2-Clause */
#include <string.h>
#include "codecs/audio/quantiser.h"

enum { BATCH = 32, BOOKS_MAX = 64,
       FEW = 4 };           /* frames that the processor has sooner than a device */

tsr_error tsri_quantiser_open(tsri_quantiser *q, tsr_context *ctx,
                              const tsr_rvq_shape *shape, const float *words)
{
    const size_t n = (size_t)shape->groups * (size_t)shape->stages *
                     (size_t)shape->k * (size_t)shape->dim;

    *q = (tsri_quantiser){ .ctx = ctx, .shape = *shape };
    TSR_TRY(tsr_rvq_open(&q->rvq, ctx, shape, words));
    if (ctx->gpu) {
        const tsr_error error = tsri_rvq_cuda_open(&q->cuda, q->rvq, ctx->gpu);
        if (error) {
            tsri_quantiser_close(q);
            return error;
        }
    }
    if (shape->groups == 1)
        return TSR_OK;
    q->words = tsri_alloc(ctx, n, sizeof *q->words);
    if (!q->words) {
        tsri_quantiser_close(q);
        return tsri_nomem(ctx);
    }
    memcpy(q->words, words, n * sizeof *words);
    return TSR_OK;
}

void tsri_quantiser_close(tsri_quantiser *q)
{
    tsri_rvq_cuda_close(&q->cuda);
    tsr_rvq_close(&q->rvq);
    if (q->ctx)
        tsri_free(q->ctx, q->words);
    *q = (tsri_quantiser){ 0 };
}

/* found: [n][groups][levels] */
static void in_order(const tsri_quantiser *q, const int32_t *found, int n,
                     int books, uint16_t *codes)
{
    const int groups = q->shape.groups, levels = tsri_ceil_div(books, groups);

    for (int i = 0; i < n; i++)
        for (int b = 0; b < books; b++)
            codes[i * books + b] = (uint16_t)
                found[(i * groups + b % groups) * levels + b / groups];
}

static tsr_error search(const tsri_quantiser *q, const float *z, int n,
                        int books, uint16_t *codes)
{
    const int levels = tsri_ceil_div(books, q->shape.groups);
    int32_t found[BATCH * BOOKS_MAX];

    TSR_TRY(tsr_rvq_encode(q->rvq, z, (size_t)n, levels, 1, found, NULL));
    in_order(q, found, n, books, codes);
    return TSR_OK;
}

/* The same codes. */
static tsr_error search_there(const tsri_quantiser *q, const float *z, int n,
                              int books, uint16_t *codes)
{
    const int levels = tsri_ceil_div(books, q->shape.groups);
    int32_t *found = tsri_alloc(q->ctx, (size_t)n * (size_t)q->shape.groups,
                                (size_t)levels * sizeof *found);
    if (!found)
        return tsri_nomem(q->ctx);
    const tsr_error error = tsri_rvq_cuda_encode(q->cuda, z, (size_t)n, levels,
                                                 found);
    if (!error)
        in_order(q, found, n, books, codes);
    tsri_free(q->ctx, found);
    return error;
}

tsr_error tsri_quantiser_search(const tsri_quantiser *q, const float *z, int n,
                                int books, uint16_t *codes)
{
    const size_t width = (size_t)q->shape.groups * (size_t)q->shape.dim;

    if (q->cuda && n > FEW)
        return search_there(q, z, n, books, codes);
    for (int i = 0; i < n; i += BATCH)
        TSR_TRY(search(q, z + (size_t)i * width, tsri_min(n - i, BATCH), books,
                       codes + (size_t)i * (size_t)books));
    return TSR_OK;
}

/* Adds the books that are left over after whole levels. */
static void add_rest(const tsri_quantiser *q, const uint16_t *codes, int level,
                     int rest, float *z)
{
    const size_t dim = (size_t)q->shape.dim, k = (size_t)q->shape.k;
    const size_t stages = (size_t)q->shape.stages;

    for (int g = 0; g < rest; g++) {
        const float *word = q->words + (((size_t)g * stages + (size_t)level) *
                                        k + codes[g]) * dim;
        for (size_t d = 0; d < dim; d++)
            z[(size_t)g * dim + d] += word[d];
    }
}

static tsr_error lookup(const tsri_quantiser *q, const uint16_t *codes, int n,
                        int books, float *z)
{
    const int groups = q->shape.groups, levels = books / groups;
    const size_t width = (size_t)groups * (size_t)q->shape.dim;
    int32_t used[BATCH * BOOKS_MAX];

    for (int i = 0; i < n; i++)
        for (int b = 0; b < levels * groups; b++)
            used[(i * groups + b % groups) * levels + b / groups] =
                codes[i * books + b];
    if (levels)
        TSR_TRY(tsr_rvq_decode(q->rvq, used, (size_t)n, levels, levels, z));
    else
        memset(z, 0, (size_t)n * width * sizeof *z);
    for (int i = 0; i < n; i++)
        add_rest(q, codes + i * books + levels * groups, levels,
                 books % groups, z + (size_t)i * width);
    return TSR_OK;
}

tsr_error tsri_quantiser_lookup(const tsri_quantiser *q, const uint16_t *codes,
                                int n, int books, float *z)
{
    const size_t width = (size_t)q->shape.groups * (size_t)q->shape.dim;

    for (size_t i = 0; i < (size_t)n * (size_t)books; i++)
        if (codes[i] >= q->shape.k)
            return tsri_fail(q->ctx, TSR_E_ARG, "a code outside its book");
    for (int i = 0; i < n; i += BATCH)
        TSR_TRY(lookup(q, codes + (size_t)i * (size_t)books,
                       tsri_min(n - i, BATCH), books, z + (size_t)i * width));
    return TSR_OK;
}
