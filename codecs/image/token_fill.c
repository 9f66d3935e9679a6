/* SPDX-License-Identifier: BSD-2-Clause */
#include <string.h>
#include "codecs/image/token_fill.h"
#include "codecs/image/token_fill_net.h"
#include "lib/pool.h"

struct tsri_token_fill {
    tsr_context *ctx;
    tsri_fill_net *net;         /* NULL: the model has none */
};

tsr_error tsri_token_fill_open(tsri_token_fill **fill, tsr_context *ctx,
                               const tsr_model *model,
                               const tsri_token_book *book)
{
    tsri_token_fill *f = tsri_calloc(ctx, 1, sizeof *f);

    *fill = NULL;
    if (!f)
        return tsri_nomem(ctx);
    f->ctx = ctx;
    const tsr_error error = tsri_fill_net_open(&f->net, ctx, model, book);
    if (error)
        tsri_free(ctx, f);
    else
        *fill = f;
    return error;
}

void tsri_token_fill_close(tsri_token_fill **fill, tsr_context *ctx)
{
    if (!fill || !*fill)
        return;
    tsri_fill_net_close(&(*fill)->net, ctx);
    tsri_free(ctx, *fill);
    *fill = NULL;
}

bool tsri_token_fill_trained(const tsri_token_fill *fill)
{
    return fill->net;
}

/* What is known of a row to z. */
static tsr_error known_row(void *cookie, int y, int worker)
{
    void *const *pair = cookie;
    const tsri_near_grid *g = pair[0];
    const tsri_fmap *z = pair[1];
    const size_t first = (size_t)y * (size_t)g->width;
    const size_t dim = (size_t)g->dim;

    (void)worker;
    for (size_t c = 0; c < dim; c++) {
        float *to = z->data + c * z->plane + (size_t)y * z->row;
        for (size_t x = 0; x < (size_t)g->width; x++)
            if (!g->lost[first + x])
                to[x] = g->words[(size_t)g->id[first + x] * dim + c];
    }
    return TSR_OK;
}

tsr_error tsri_token_fill_run(const tsri_token_fill *fill,
                              const tsri_token_book *book, int level,
                              const tsri_token_grid *grid, tsri_fmap *z)
{
    const float *words = tsri_token_book_words(book, level);
    const int dim = tsri_token_book_dim(book);
    const size_t count = (size_t)grid->height * (size_t)grid->width;
    tsri_near_grid g = {
        grid->id, grid->lost, grid->height, grid->width, words, dim,
        words + (size_t)tsri_token_book_common(book, level) * (size_t)dim
    };
    void *pair[] = { &g, z };
    bool whole = true;

    TSR_TRY(tsri_pool_for(fill->ctx->pool, g.height, known_row, pair));
    for (size_t i = 0; whole && i < count; i++)
        whole = !grid->lost[i];
    if (whole)
        return TSR_OK;
    TSR_TRY(tsri_near_fill(fill->ctx, &g, z));
    return fill->net ? tsri_fill_net_run(fill->net, fill->ctx, book, &g, z) :
           TSR_OK;
}
