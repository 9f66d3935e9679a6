/* SPDX-License-Identifier: BSD-2-Clause */
#include <math.h>
#include <stdio.h>
#include "codecs/image/token_book_impl.h"
#include "lib/weights.h"

/* What is read from. */
typedef struct reading {
    tsr_context *ctx;
    const tsr_model *model;
    int codes;
} reading;

static tsr_error refuse(const reading *f, const tsr_tensor *tensor,
                        const char *what)
{
    return tsri_fail(f->ctx, TSR_E_SHAPE, "%s: tensor '%s' %s",
                     tsr_model_path(f->model), tensor->name, what);
}

/* ---- order and frequency ---- */

static void identity(int32_t *out, int n)
{
    for (int i = 0; i < n; i++)
        out[i] = i;
}

/* code = the inverse of place; false where place is no permutation. */
static bool invert(const int32_t *place, int32_t *code, int n)
{
    for (int i = 0; i < n; i++)
        code[i] = -1;
    for (int i = 0; i < n; i++) {
        if (place[i] < 0 || place[i] >= n || code[place[i]] >= 0)
            return false;
        code[place[i]] = i;
    }
    return true;
}

static tsr_error read_order(tsri_token_book *book, const reading *f)
{
    const uint64_t dims[] = { (uint64_t)f->codes };
    const tsr_tensor *tensor;

    book->code = tsri_alloc(f->ctx, (size_t)f->codes, sizeof *book->code);
    if (!book->code)
        return tsri_nomem(f->ctx);
    if (tsr_model_tensor(f->model, "tessera.order")) {
        TSR_TRY(tsri_want(f->ctx, f->model, &tensor, 1, dims, "tessera.order"));
        TSR_TRY(tsri_tensor_ints(f->ctx, tensor, &book->place));
        if (!invert(book->place, book->code, f->codes))
            return refuse(f, tensor, "is not a permutation");
        return TSR_OK;
    }
    book->place = tsri_alloc(f->ctx, (size_t)f->codes, sizeof *book->place);
    if (!book->place)
        return tsri_nomem(f->ctx);
    identity(book->place, f->codes);
    identity(book->code, f->codes);
    return TSR_OK;
}

/* *weight: by id; taken. */
static tsr_error read_frequency(const reading *f, int32_t **weight)
{
    const uint64_t dims[] = { (uint64_t)f->codes };
    const tsr_tensor *tensor;
    uint64_t sum = 0;
    bool good = true;

    *weight = NULL;
    if (!tsr_model_tensor(f->model, "tessera.frequency")) {
        *weight = tsri_alloc(f->ctx, (size_t)f->codes, sizeof **weight);
        if (!*weight)
            return tsri_nomem(f->ctx);
        for (int i = 0; i < f->codes; i++)
            (*weight)[i] = 1;
        return TSR_OK;
    }
    TSR_TRY(tsri_want(f->ctx, f->model, &tensor, 1, dims, "tessera.frequency"));
    TSR_TRY(tsri_tensor_ints(f->ctx, tensor, weight));
    for (int i = 0; i < f->codes; i++) {
        good = good && (*weight)[i] >= 1;
        sum += (uint32_t)(*weight)[i];
    }
    if (good && sum <= 1u << TSRI_TOKEN_BITS)
        return TSR_OK;
    tsri_free(f->ctx, *weight);
    *weight = NULL;
    return refuse(f, tensor, good ? "has a sum above 2^20"
                                  : "has a number below 1");
}

/* ---- levels ---- */

/* How many levels the names of the tensors speak of. */
static int count_levels(const reading *f)
{
    char name[64];
    int n = 1;

    for (int j = 1; j <= TSRI_TOKEN_LEVELS; j++) {
        snprintf(name, sizeof name, "tessera.level.%d.start", j);
        if (tsr_model_tensor(f->model, name))
            n = j + 1;
        snprintf(name, sizeof name, "tessera.level.%d.codewords", j);
        if (tsr_model_tensor(f->model, name))
            n = j + 1;
    }
    return n;
}

static bool all_finite(const float *x, size_t n)
{
    bool good = true;

    for (size_t i = 0; i < n; i++)
        good = good && isfinite(x[i]);
    return good;
}

/* Are these starts some of those of the finer level, rising, the first 0? */
static bool nested(const int32_t *start, int n, const tsri_token_level *finer)
{
    int at = 0;

    for (int i = 0; i < n; i++, at++) {
        while (at < finer->size && finer->start[at] < start[i])
            at++;
        if (at == finer->size || finer->start[at] != start[i])
            return false;
    }
    return !start[0];
}

static tsr_error read_starts(tsri_token_book *book, const reading *f, int j)
{
    const uint64_t any[] = { TSRI_ANY };
    tsri_token_level *l = &book->level[j];
    const tsr_tensor *tensor;

    TSR_TRY(tsri_want(f->ctx, f->model, &tensor, 1, any,
                      "tessera.level.%d.start", j));
    if (tensor->dims[0] > (uint64_t)l[-1].size)
        return refuse(f, tensor, "has more clusters than the level before");
    l->size = (int)tensor->dims[0];
    TSR_TRY(tsri_tensor_ints(f->ctx, tensor, &l->start));
    if (!nested(l->start, l->size, &l[-1]))
        return refuse(f, tensor, "is not rising from 0 along the starts of the "
                                 "level before");
    return TSR_OK;
}

static tsr_error read_words(tsri_token_book *book, const reading *f, int j)
{
    tsri_token_level *l = &book->level[j];
    const uint64_t dims[] = { (uint64_t)l->size, (uint64_t)book->dim };
    const tsr_tensor *tensor;

    TSR_TRY(tsri_want(f->ctx, f->model, &tensor, 2, dims,
                      "tessera.level.%d.codewords", j));
    TSR_TRY(tsri_tensor_floats(f->ctx, tensor, &l->own));
    l->words = l->own;
    if (!all_finite(l->own, (size_t)l->size * (size_t)book->dim))
        return refuse(f, tensor, "has a number that is not finite");
    return TSR_OK;
}

/* The cluster of each of the finer level's. */
static tsr_error link_level(tsri_token_level *finer,
                            const tsri_token_level *coarser, tsr_context *ctx)
{
    int at = 0;

    finer->parent = tsri_alloc(ctx, (size_t)finer->size, sizeof *finer->parent);
    if (!finer->parent)
        return tsri_nomem(ctx);
    for (int i = 0; i < finer->size; i++) {
        if (at + 1 < coarser->size &&
            coarser->start[at + 1] == finer->start[i])
            at++;
        finer->parent[i] = at;
    }
    return TSR_OK;
}

/* From the sums of level 0: its own are given as weights by id. */
static tsr_error weigh_level(tsri_token_book *book, tsr_context *ctx, int j,
                             const int32_t *weight)
{
    tsri_token_level *l = &book->level[j];
    const uint32_t *finest = book->level[0].below;
    uint32_t most = 0;

    l->below = tsri_alloc(ctx, (size_t)l->size + 1, sizeof *l->below);
    if (!l->below)
        return tsri_nomem(ctx);
    l->below[0] = 0;
    for (int i = 0; i < l->size; i++)
        if (j)
            l->below[i + 1] = finest[i + 1 < l->size
                                     ? l->start[i + 1] : book->level[0].size];
        else
            l->below[i + 1] = l->below[i] + (uint32_t)weight[book->code[i]];
    for (int32_t id = 0; id < l->size; id++) {
        const uint32_t w = tsri_token_book_weight(book, j, id);
        l->common = w > most ? id : l->common;
        most = w > most ? w : most;
    }
    return TSR_OK;
}

static tsr_error read_levels(tsri_token_book *book, const reading *f,
                             const int32_t *weight)
{
    tsri_token_level *l = book->level;

    book->levels = count_levels(f);
    if (book->levels > TSRI_TOKEN_LEVELS)
        return tsri_fail(f->ctx, TSR_E_SHAPE, "%s: tensor 'tessera.level.%d' is "
                         "of one level too many", tsr_model_path(f->model),
                         TSRI_TOKEN_LEVELS);
    l->size = f->codes;
    l->start = tsri_alloc(f->ctx, (size_t)f->codes, sizeof *l->start);
    if (!l->start)
        return tsri_nomem(f->ctx);
    identity(l->start, f->codes);
    TSR_TRY(weigh_level(book, f->ctx, 0, weight));
    for (int j = 1; j < book->levels; j++) {
        TSR_TRY(read_starts(book, f, j));
        TSR_TRY(read_words(book, f, j));
        TSR_TRY(link_level(&l[j - 1], &l[j], f->ctx));
        TSR_TRY(weigh_level(book, f->ctx, j, NULL));
    }
    return TSR_OK;
}

/* ---- context ---- */

/* Reads whole numbers of lowest..highest of a tensor of this shape; taken. */
static tsr_error read_small(const reading *f, const char *name, int rank,
                            const uint64_t *dims, int lowest, int highest,
                            int32_t **out)
{
    const tsr_tensor *tensor;
    bool good = true;

    TSR_TRY(tsri_want(f->ctx, f->model, &tensor, rank, dims, "%s", name));
    TSR_TRY(tsri_tensor_ints(f->ctx, tensor, out));
    for (size_t i = 0; i < tsri_tensor_count(tensor); i++)
        good = good && (*out)[i] >= lowest && (*out)[i] <= highest;
    if (good)
        return TSR_OK;
    tsri_free(f->ctx, *out);
    *out = NULL;
    return refuse(f, tensor, "has a number that is too large");
}

static tsr_error read_bias(tsri_token_context *c, const reading *f)
{
    const uint64_t dims[] = { (uint64_t)c->classes };
    int32_t *x;

    c->bias = tsri_alloc(f->ctx, (size_t)c->stride, sizeof *c->bias);
    if (!c->bias)
        return tsri_nomem(f->ctx);
    TSR_TRY(read_small(f, "tessera.context.bias", 1, dims, INT16_MIN, INT16_MAX,
                       &x));
    for (int k = 0; k < c->stride; k++)
        c->bias[k] = k < c->classes ? x[k] : INT32_MIN / 2;
    tsri_free(f->ctx, x);
    return TSR_OK;
}

static tsr_error read_weights(tsri_token_context *c, const reading *f)
{
    const size_t rows = TSRI_TOKEN_NEIGHBOURS * ((size_t)c->classes + 1);
    const size_t n = (size_t)c->classes, stride = (size_t)c->stride;
    const uint64_t dims[] = { TSRI_TOKEN_NEIGHBOURS, n + 1, n };
    int32_t *x;

    c->weight = tsri_calloc(f->ctx, rows * stride, sizeof *c->weight);
    if (!c->weight)
        return tsri_nomem(f->ctx);
    TSR_TRY(read_small(f, "tessera.context.weight", 3, dims, INT8_MIN, INT8_MAX,
                       &x));
    for (size_t r = 0; r < rows; r++)
        for (size_t k = 0; k < n; k++)
            c->weight[r * stride + k] = (int8_t)x[r * n + k];
    tsri_free(f->ctx, x);
    return TSR_OK;
}

void tsri_token_chances(uint16_t chance[TSRI_TOKEN_WEIGHTS + 1])
{
    static const uint16_t power[32] = {
        4096, 4008, 3922, 3838, 3756, 3676, 3597, 3520, 3444, 3371, 3298,
        3228, 3158, 3091, 3025, 2960, 2896, 2834, 2774, 2714, 2656, 2599,
        2543, 2489, 2435, 2383, 2332, 2282, 2233, 2186, 2139, 2093
    };

    for (int x = 0; x <= TSRI_TOKEN_WEIGHTS; x++)
        chance[x] = (uint16_t)tsri_max(1, power[x & 31] >> (x >> 5));
}

/* Which places of a level each class has: a class is a cluster of the coarsest
 * level. */
static tsr_error class_level(tsri_token_book *book, tsr_context *ctx, int j)
{
    tsri_token_level *l = &book->level[j];
    const int32_t *class_at = book->level[book->levels - 1].start;
    const int classes = book->context.classes;
    int k = -1;

    l->class_of = tsri_alloc(ctx, (size_t)l->size, sizeof *l->class_of);
    l->class_start = tsri_alloc(ctx, (size_t)classes + 1,
                                sizeof *l->class_start);
    if (!l->class_of || !l->class_start)
        return tsri_nomem(ctx);
    for (int i = 0; i < l->size; i++) {
        if (k + 1 < classes && class_at[k + 1] == l->start[i])
            l->class_start[++k] = i;
        l->class_of[i] = (uint8_t)k;
    }
    l->class_start[classes] = l->size;
    return TSR_OK;
}

static tsr_error read_context(tsri_token_book *book, const reading *f)
{
    const tsr_tensor *bias = tsr_model_tensor(f->model, "tessera.context.bias");
    const tsr_tensor *weight =
        tsr_model_tensor(f->model, "tessera.context.weight");
    const int classes = book->level[book->levels - 1].size;
    tsri_token_context *c = &book->context;

    if (!bias && !weight)
        return TSR_OK;
    if (book->levels < 2 || classes > TSRI_TOKEN_CLASSES)
        return refuse(f, bias ? bias : weight,
                      "wants a coarsest level of 256 clusters at most");
    c->classes = classes;
    c->stride = tsri_ceil_div(classes, TSRI_TOKEN_BLOCK) * TSRI_TOKEN_BLOCK;
    tsri_token_chances(c->chance);
    TSR_TRY(read_bias(c, f));
    TSR_TRY(read_weights(c, f));
    for (int j = 0; j < book->levels; j++)
        TSR_TRY(class_level(book, f->ctx, j));
    return TSR_OK;
}

/* ---- the whole ---- */

static tsr_error read_all(tsri_token_book *book, const reading *f)
{
    int32_t *weight;
    tsr_error error;

    TSR_TRY(read_order(book, f));
    TSR_TRY(read_frequency(f, &weight));
    error = read_levels(book, f, weight);
    tsri_free(f->ctx, weight);
    return error ? error : read_context(book, f);
}

tsr_error tsri_token_book_open(tsri_token_book **book, tsr_context *ctx,
                               const tsr_model *model, int codes, int dim,
                               const float *codewords)
{
    const reading f = { ctx, model, codes };
    tsr_error error;

    *book = NULL;
    if (codes < 1 || codes > TSRI_TOKEN_CODES)
        return tsri_fail(ctx, TSR_E_SHAPE, "%s: a codebook of %d codes; %d at "
                         "most", tsr_model_path(model), codes,
                         TSRI_TOKEN_CODES);
    tsri_token_book *b = tsri_calloc(ctx, 1, sizeof *b);
    if (!b)
        return tsri_nomem(ctx);
    b->dim = dim;
    b->level[0].words = codewords;
    error = read_all(b, &f);
    if (error)
        tsri_token_book_close(&b, ctx);
    *book = b;
    return error;
}

void tsri_token_book_close(tsri_token_book **book, tsr_context *ctx)
{
    if (!book || !*book)
        return;
    for (int j = 0; j < TSRI_TOKEN_LEVELS; j++) {
        tsri_token_level *l = &(*book)->level[j];
        tsri_free(ctx, l->start);
        tsri_free(ctx, l->below);
        tsri_free(ctx, l->parent);
        tsri_free(ctx, l->class_of);
        tsri_free(ctx, l->class_start);
        tsri_free(ctx, l->own);
    }
    tsri_free(ctx, (*book)->place);
    tsri_free(ctx, (*book)->code);
    tsri_free(ctx, (*book)->context.bias);
    tsri_free(ctx, (*book)->context.weight);
    tsri_free(ctx, *book);
    *book = NULL;
}

int tsri_token_book_levels(const tsri_token_book *book)
{
    return book->levels;
}

int tsri_token_book_size(const tsri_token_book *book, int level)
{
    return book->level[level].size;
}

bool tsri_token_book_context(const tsri_token_book *book)
{
    return book->context.classes > 0;
}

int tsri_token_book_dim(const tsri_token_book *book)
{
    return book->dim;
}

const float *tsri_token_book_words(const tsri_token_book *book, int level)
{
    return book->level[level].words;
}

int32_t tsri_token_book_coarser(const tsri_token_book *book, int from,
                                int32_t id, int to)
{
    int32_t place = tsri_token_place(book, from, id);

    if (from == to)
        return id;
    for (int j = from; j < to; j++)
        place = book->level[j].parent[place];
    return place;
}

int32_t tsri_token_book_common(const tsri_token_book *book, int level)
{
    return book->level[level].common;
}

uint32_t tsri_token_book_weight(const tsri_token_book *book, int level,
                                int32_t id)
{
    const int32_t place = tsri_token_place(book, level, id);

    return book->level[level].below[place + 1] -
           book->level[level].below[place];
}

uint32_t tsri_token_book_total(const tsri_token_book *book)
{
    return book->level[0].below[book->level[0].size];
}
