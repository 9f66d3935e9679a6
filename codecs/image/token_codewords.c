/* SPDX-License-Identifier: BSD-2-Clause */
/* The codewords of a model: as they are, or a table times a matrix. */
#include <math.h>
#include "codecs/image/token_book.h"
#include "codecs/image/token_net.h"
#include "lib/weights.h"
#include "vq/project.h"

enum { WIDTH_MAX = 4096 };

/* The ways that models have codewords, and the projection each may have. */
static const struct form {
    const char *table, *weight, *bias;
} forms[] = {
    { "tessera.codebook", NULL, NULL },
    { "tok_embeddings.weight", "codebook_projection.weight",
      "codebook_projection.bias" },
    { "quantize.embedding.weight", "quantize.embedding_proj.weight",
      "quantize.embedding_proj.bias" },
};
enum { FORMS = sizeof forms / sizeof *forms };

static tsr_error finite(tsr_context *ctx, const tsr_model *model,
                        const char *name, const float *values, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(values[i]))
            return tsri_fail(ctx, TSR_E_SHAPE, "%s: element %zu of '%s' is not "
                             "finite", tsr_model_path(model), i, name);
    return TSR_OK;
}

/* A tensor of finite numbers; *values is set on success only. */
static tsr_error take(tsr_context *ctx, const tsr_model *model,
                      const char *name, int rank, const uint64_t *dims,
                      float **values)
{
    const tsr_tensor *tensor;
    float *all;

    TSR_TRY(tsri_want(ctx, model, &tensor, rank, dims, "%s", name));
    TSR_TRY(tsri_tensor_floats(ctx, tensor, &all));
    const tsr_error error = finite(ctx, model, name, all,
                                   tsri_tensor_count(tensor));
    if (error)
        tsri_free(ctx, all);
    else
        *values = all;
    return error;
}

typedef struct parts {
    float *table, *weight, *bias, *out;
} parts;

static tsr_error fold(tsr_context *ctx, const tsr_model *model,
                      const struct form *form, int codes, int width, int dim,
                      parts *p)
{
    const uint64_t dims[] = { (uint64_t)dim, (uint64_t)width };

    TSR_TRY(take(ctx, model, form->weight, 2, dims, &p->weight));
    TSR_TRY(take(ctx, model, form->bias, 1, dims, &p->bias));
    p->out = tsri_alloc(ctx, (size_t)codes, (size_t)dim * sizeof *p->out);
    if (!p->out)
        return tsri_nomem(ctx);
    TSR_TRY(tsri_project(ctx, p->table, p->weight, p->bias, codes, width, dim,
                         p->out));
    return finite(ctx, model, form->table, p->out,
                  (size_t)codes * (size_t)dim);
}

static const struct form *form_of(const tsr_model *model)
{
    for (int i = 0; i < FORMS - 1; i++)
        if (tsr_model_tensor(model, forms[i].table))
            return &forms[i];
    return &forms[FORMS - 1];
}

static bool projected(const tsr_model *model, const struct form *form)
{
    return form->weight && tsr_model_tensor(model, form->weight);
}

static tsr_error table_of(tsr_context *ctx, const tsr_model *model, int dim,
                          const struct form *form, const tsr_tensor **table)
{
    const uint64_t dims[] = { TSRI_ANY, projected(model, form) ? TSRI_ANY
                                                               : (uint64_t)dim };

    TSR_TRY(tsri_want(ctx, model, table, 2, dims, "%s", form->table));
    if ((*table)->dims[0] <= TSRI_TOKEN_CODES && (*table)->dims[1] <= WIDTH_MAX)
        return TSR_OK;
    return tsri_fail(ctx, TSR_E_SHAPE, "%s: '%s' is larger than any codebook "
                     "may be", tsr_model_path(model), form->table);
}

tsr_error tsri_token_codes(tsr_context *ctx, const tsr_model *model, int dim,
                           int *codes)
{
    const tsr_tensor *table;

    TSR_TRY(table_of(ctx, model, dim, form_of(model), &table));
    *codes = (int)table->dims[0];
    return TSR_OK;
}

static tsr_error load(tsr_context *ctx, const tsr_model *model, int dim,
                      int *codes, parts *p)
{
    const struct form *form = form_of(model);
    const tsr_tensor *table;

    TSR_TRY(table_of(ctx, model, dim, form, &table));
    *codes = (int)table->dims[0];
    TSR_TRY(take(ctx, model, form->table, 2, table->dims, &p->table));
    if (projected(model, form))
        return fold(ctx, model, form, *codes, (int)table->dims[1], dim, p);
    p->out = p->table;
    p->table = NULL;
    return TSR_OK;
}

tsr_error tsri_token_codewords(tsr_context *ctx, const tsr_model *model,
                               int dim, int *codes, float **words)
{
    parts p = { NULL, NULL, NULL, NULL };
    const tsr_error error = load(ctx, model, dim, codes, &p);

    tsri_free(ctx, p.table);
    tsri_free(ctx, p.weight);
    tsri_free(ctx, p.bias);
    if (error)
        tsri_free(ctx, p.out);
    *words = error ? NULL : p.out;
    return error;
}
