/* SPDX-License-Identifier: BSD-2-Clause */
/* The public codebook that is ready for searches. */
#include <string.h>
#include "lib/pool.h"
#include "vq/rows.h"

enum { BLOCK = 256 };

struct tsr_codebook {
    tsr_context *ctx;
    tsri_codebook *book;
    float *words;               /* [k][dim], for the distances */
    int k, dim;
};

tsr_error tsr_codebook_open(tsr_codebook **out, tsr_context *ctx,
                            const float *codewords, int k, int dim)
{
    const size_t floats = (size_t)k * (size_t)dim;
    tsr_error error;

    *out = NULL;
    TSR_TRY(tsri_rows_check(ctx, 0, dim, k));
    tsr_codebook *b = tsri_calloc(ctx, 1, sizeof *b);
    if (!b)
        return tsri_nomem(ctx);
    *b = (tsr_codebook){ .ctx = ctx, .k = k, .dim = dim };
    b->words = tsri_alloc(ctx, floats, sizeof *b->words);
    error = b->words ? tsri_codebook_new(&b->book, ctx, 1, k, dim, codewords)
                     : tsri_nomem(ctx);
    if (error)
        tsr_codebook_close(&b);
    else
        memcpy(b->words, codewords, floats * sizeof *b->words);
    *out = b;
    return error;
}

void tsr_codebook_close(tsr_codebook **book)
{
    tsr_codebook *b = book ? *book : NULL;
    if (!b)
        return;
    tsri_codebook_free(&b->book, b->ctx);
    tsri_free(b->ctx, b->words);
    tsri_free(b->ctx, b);
    *book = NULL;
}

typedef struct measure {
    const tsr_codebook *b;
    const float *x;
    size_t n;
    const int32_t *codes;
    float *distance;
} measure;

static tsr_error measure_block(void *cookie, int block, int worker)
{
    const measure *m = cookie;
    const size_t dim = (size_t)m->b->dim, from = (size_t)block * BLOCK;
    const size_t to = from + BLOCK < m->n ? from + BLOCK : m->n;

    (void)worker;
    for (size_t i = from; i < to; i++) {
        const float *word = m->b->words + (size_t)m->codes[i] * dim;
        const float *x = m->x + i * dim;
        double sum = 0;
        for (size_t j = 0; j < dim; j++) {
            const double diff = (double)x[j] - (double)word[j];
            sum += diff * diff;
        }
        m->distance[i] = (float)sum;
    }
    return TSR_OK;
}

tsr_error tsr_codebook_search(const tsr_codebook *b, const float *x, size_t n,
                              int32_t *codes, float *distance)
{
    measure m = { b, x, n, codes, distance };

    TSR_TRY(tsri_rows_check(b->ctx, n, b->dim, b->k));
    /* The search only reads the map. */
    const tsri_fmap map = tsri_rows_map((float *)(uintptr_t)x, n, b->dim);
    const tsri_codes out = tsri_rows_codes(codes, n, 1, 1);
    TSR_TRY(tsri_codebook_encode(b->book, b->ctx, &map, &out));
    if (!distance)
        return TSR_OK;
    return tsri_pool_for(b->ctx->pool, tsri_ceil_div((int)n, BLOCK),
                         measure_block, &m);
}
