/* SPDX-License-Identifier: BSD-2-Clause */
/* Tables that the model has.  They are stored as logarithms, a byte each: the
 * difference costs less than 10^-3 bit a code, and a model of many tables is
 * half as large. */
#include "codecs/audio/codes_impl.h"
#include <string.h>
#include "lib/weights.h"

/* round(2^(8 + i / 16)): the weight of logarithm v is
 * octave[v % 16] << v / 16. */
static const uint16_t octave[16] = { 256, 267, 279, 292, 304, 318, 332, 347,
                                     362, 378, 395, 412, 431, 450, 470, 490 };

/* Starts from weights, which stand in start[0..n-1]. */
static void make_starts(uint32_t *start, int n)
{
    uint64_t sum = 0, scale;

    for (int s = 0; s < n; s++)
        sum += start[s];
    scale = tsri_codes_scale((uint32_t)n, sum);
    sum = 0;
    for (int s = 0; s < n; s++) {
        const uint32_t w = start[s];
        start[s] = tsri_codes_start((uint32_t)s, sum, scale);
        sum += w;
    }
    start[n] = 1 << TSRI_CODES_BITS;
}

static tsr_error want_u8(tsr_context *ctx, const tsr_model *model,
                         const tsr_tensor **t, int rank, const uint64_t *dims,
                         const char *name)
{
    TSR_TRY(tsri_want(ctx, model, t, rank, dims, "%s", name));
    if ((*t)->dtype != TSR_U8)
        return tsri_fail(ctx, TSR_E_SHAPE, "%s is not U8", name);
    return TSR_OK;
}

static tsr_error get_statics(tsri_codes_tables *t, tsr_context *ctx,
                             const tsr_model *model, int books)
{
    const size_t n = (size_t)t->codewords;
    const tsr_tensor *logs;

    TSR_TRY(want_u8(ctx, model, &logs, 2, (uint64_t[]){ (uint64_t)books, n },
                    "codes.static"));
    t->statics = tsri_alloc(ctx, (size_t)books * (n + 1), sizeof *t->statics);
    if (!t->statics)
        return tsri_nomem(ctx);
    for (size_t k = 0; k < (size_t)books; k++) {
        uint32_t *start = t->statics + k * (n + 1);
        for (size_t s = 0; s < n; s++)
            start[s] = t->weight[((const uint8_t *)logs->data)[k * n + s]];
        make_starts(start, t->codewords);
    }
    return TSR_OK;
}

static tsr_error copy_u8(tsr_context *ctx, const tsr_model *model, int rank,
                         const uint64_t *dims, const char *name, uint8_t **out)
{
    const tsr_tensor *t;

    TSR_TRY(want_u8(ctx, model, &t, rank, dims, name));
    *out = tsri_alloc(ctx, t->bytes, 1);
    if (!*out)
        return tsri_nomem(ctx);
    memcpy(*out, t->data, t->bytes);
    return TSR_OK;
}

/* Does relation r of book k look at what a decoder of k + 1 layers knows, and do
 * its classes have rows? */
static bool sound_relation(const tsri_codes_tables *t, int k, int r, size_t rows)
{
    const size_t at = (size_t)(k * t->relations + r), n = (size_t)t->codewords + 1;
    const uint8_t back = t->relation[2 * at], book = t->relation[2 * at + 1];
    int most = 0;

    if (back == UINT8_MAX)
        return true;
    for (size_t s = 0; s < n; s++)
        most = tsri_max(most, t->cls[at * n + s]);
    return back <= TSRI_CODES_BACK && (back ? book <= k : book < k) &&
           t->base[at] >= 0 && (size_t)t->base[at] + (size_t)most < rows;
}

static tsr_error get_contexts(tsri_codes_tables *t, tsr_context *ctx,
                              const tsr_model *model, int books)
{
    const uint64_t nbooks = (uint64_t)books, n = (uint64_t)t->codewords;
    const tsr_tensor *rows, *base;

    TSR_TRY(want_u8(ctx, model, &rows, 2, (uint64_t[]){ TSRI_ANY, n },
                    "codes.context.rows"));
    TSR_TRY(tsri_want(ctx, model, &base, 2, (uint64_t[]){ nbooks, TSRI_ANY },
                      "codes.context.base"));
    if (base->dims[1] > TSRI_CODES_RELATIONS)
        return tsri_fail(ctx, TSR_E_SHAPE, "codes.context.base is too large");
    const uint64_t r = base->dims[1];
    t->relations = (int)r;
    TSR_TRY(tsri_tensor_ints(ctx, base, &t->base));
    TSR_TRY(copy_u8(ctx, model, 3, (uint64_t[]){ nbooks, r, 2 },
                    "codes.context.relation", &t->relation));
    TSR_TRY(copy_u8(ctx, model, 3, (uint64_t[]){ nbooks, r, n + 1 },
                    "codes.context.class", &t->cls));
    for (int i = 0; i < books * t->relations; i++)
        if (!sound_relation(t, i / t->relations, i % t->relations,
                            (size_t)rows->dims[0]))
            return tsri_fail(ctx, TSR_E_CORRUPT, "codes.context: relation %d of "
                             "book %d", i % t->relations, i / t->relations);
    return copy_u8(ctx, model, 2, rows->dims, "codes.context.rows", &t->rows);
}

static const tsri_logs_kernels *pick(const tsr_context *ctx)
{
    const tsri_logs_kernels *avx2 = tsri_logs_kernels_avx2();

    return avx2 && ctx->cpu & TSR_CPU_AVX2 ? avx2 : tsri_logs_kernels_plain();
}

tsr_error tsri_codes_tables_open(tsri_codes_tables *t, tsr_context *ctx,
                                 const tsr_model *model, int books,
                                 int codewords)
{
    *t = (tsri_codes_tables){ .kernels = pick(ctx), .codewords = codewords };
    for (int i = 0; i < 256; i++)
        t->weight[i] = (uint32_t)octave[i & 15] << (i >> 4);
    if (tsr_model_tensor(model, "codes.static"))
        TSR_TRY(get_statics(t, ctx, model, books));
    if (tsr_model_tensor(model, "codes.context.rows"))
        TSR_TRY(get_contexts(t, ctx, model, books));
    return TSR_OK;
}

void tsri_codes_tables_close(tsri_codes_tables *t, tsr_context *ctx)
{
    tsri_free(ctx, t->statics);
    tsri_free(ctx, t->rows);
    tsri_free(ctx, t->relation);
    tsri_free(ctx, t->cls);
    tsri_free(ctx, t->base);
}

const uint32_t *tsri_codes_static(const tsri_codes_tables *t, int k)
{
    return t->statics + (size_t)k * ((size_t)t->codewords + 1);
}

/* The row of a relation of code (f, k); NULL: there is none. */
static const uint8_t *row_of(const tsri_codes_tables *t,
                             const tsri_codes_view *view, int f, int k, int r)
{
    const size_t at = (size_t)(k * t->relations + r), n = (size_t)t->codewords;
    const int back = t->relation[2 * at], book = t->relation[2 * at + 1];

    if (back == UINT8_MAX)
        return NULL;
    const size_t code = f >= back ? *tsri_codes_at(view, f - back, book) : n;
    return t->rows + ((size_t)t->base[at] + t->cls[at * (n + 1) + code]) * n;
}

void tsri_codes_logs(const tsri_codes_tables *t, const tsri_codes_view *view,
                     int f, int k, int16_t *logs)
{
    const size_t n = (size_t)t->codewords;
    const uint8_t *rows[TSRI_CODES_RELATIONS];
    int count = 0;

    for (int r = 0; r < t->relations; r++) {
        rows[count] = row_of(t, view, f, k, r);
        count += rows[count] != NULL;
    }
    if (count)
        t->kernels->add(rows, count, t->codewords, logs);
    else
        memset(logs, 0, n * sizeof *logs);
}

void tsri_codes_context(const tsri_codes_tables *t, const tsri_codes_view *view,
                        int f, int k, int16_t *logs, uint64_t *before,
                        tsri_codes_table *table)
{
    const int n = t->codewords;

    tsri_codes_logs(t, view, f, k, logs);
    const uint64_t sum = t->kernels->sum(t->weight, logs, n, before);
    *table = (tsri_codes_table){ .logs = logs, .weight = t->weight,
                                 .before = before, .n = n,
                                 .scale = tsri_codes_scale((uint32_t)n, sum) };
}
