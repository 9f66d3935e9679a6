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

static uint32_t weight(uint8_t log)
{
    return (uint32_t)octave[log & 15] << (log >> 4);
}

static void make_starts(const uint8_t *logs, int n, uint32_t *start)
{
    uint64_t sum = 0, scale;

    for (int s = 0; s < n; s++)
        sum += weight(logs[s]);
    scale = tsri_codes_scale((uint32_t)n, sum);
    sum = 0;
    for (int s = 0; s < n; s++) {
        start[s] = tsri_codes_start((uint32_t)s, sum, scale);
        sum += weight(logs[s]);
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

/* [any, or `rows`][codewords] logarithms as starts. */
static tsr_error get_starts(tsr_context *ctx, const tsr_model *model,
                            uint64_t rows, int codewords, const char *name,
                            uint32_t **start, size_t *tables)
{
    const uint64_t dims[2] = { rows, (uint64_t)codewords };
    const size_t n = (size_t)codewords;
    const tsr_tensor *t;

    TSR_TRY(want_u8(ctx, model, &t, 2, dims, name));
    *tables = (size_t)t->dims[0];
    if (*tables > 1 << 16)
        return tsri_fail(ctx, TSR_E_SHAPE, "%s has too many tables", name);
    *start = tsri_alloc(ctx, *tables * (n + 1), sizeof **start);
    if (!*start)
        return tsri_nomem(ctx);
    for (size_t i = 0; i < *tables; i++)
        make_starts((const uint8_t *)t->data + i * n, codewords,
                    *start + i * (n + 1));
    return TSR_OK;
}

/* Copies classes; *most: out, the largest. */
static tsr_error get_classes(tsr_context *ctx, const tsr_model *model, int rank,
                             const uint64_t *dims, const char *name,
                             uint8_t **out, int *most)
{
    const tsr_tensor *t;

    TSR_TRY(want_u8(ctx, model, &t, rank, dims, name));
    *out = tsri_alloc(ctx, t->bytes, 1);
    if (!*out)
        return tsri_nomem(ctx);
    memcpy(*out, t->data, t->bytes);
    *most = 0;
    for (size_t i = 0; i < t->bytes; i++)
        *most = tsri_max(*most, (*out)[i]);
    return TSR_OK;
}

static tsr_error get_map(tsri_codes_tables *t, tsr_context *ctx,
                         const tsr_model *model, uint64_t books, size_t tables)
{
    const tsr_tensor *map;
    int32_t *wide;
    size_t n;
    int most = 0;

    TSR_TRY(tsri_want(ctx, model, &map, 3, (uint64_t[]){ books, TSRI_ANY,
                      TSRI_ANY }, "codes.context.map"));
    if (map->dims[1] > 256 || map->dims[2] > 256)
        return tsri_fail(ctx, TSR_E_SHAPE, "codes.context.map is too large");
    t->nprevious = (int)map->dims[1];
    t->ncoarser = (int)map->dims[2];
    n = tsri_tensor_count(map);
    TSR_TRY(tsri_tensor_ints(ctx, map, &wide));
    t->map = tsri_alloc(ctx, n, sizeof *t->map);
    for (size_t i = 0; t->map && i < n; i++) {
        most = tsri_max(most, wide[i] < 0 ? INT32_MAX : wide[i]);
        t->map[i] = (uint16_t)wide[i];
    }
    tsri_free(ctx, wide);
    if (!t->map)
        return tsri_nomem(ctx);
    return (size_t)most < tables ? TSR_OK : tsri_fail(ctx, TSR_E_CORRUPT,
        "codes.context.map asks for table %d of %zu", most, tables);
}

static tsr_error get_contexts(tsri_codes_tables *t, tsr_context *ctx,
                              const tsr_model *model, int books)
{
    const uint64_t nbooks = (uint64_t)books, n = (uint64_t)t->codewords;
    int previous, coarser, from;
    size_t tables;

    TSR_TRY(get_starts(ctx, model, TSRI_ANY, t->codewords,
                       "codes.context.tables", &t->contexts, &tables));
    TSR_TRY(get_map(t, ctx, model, nbooks, tables));
    TSR_TRY(get_classes(ctx, model, 2, (uint64_t[]){ nbooks, n + 1 },
                        "codes.context.previous", &t->previous, &previous));
    TSR_TRY(get_classes(ctx, model, 2, (uint64_t[]){ nbooks, n },
                        "codes.context.coarser", &t->coarser, &coarser));
    TSR_TRY(get_classes(ctx, model, 1, &nbooks, "codes.context.from", &t->from,
                        &from));
    for (int k = 0; k < books; k++)
        if (t->from[k] > tsri_max(k - 1, 0))
            return tsri_fail(ctx, TSR_E_CORRUPT, "codes.context.from: book %d "
                             "looks at book %d", k, t->from[k]);
    return previous < t->nprevious && coarser < t->ncoarser ? TSR_OK
        : tsri_fail(ctx, TSR_E_CORRUPT, "codes.context: a class is too large");
}

tsr_error tsri_codes_tables_open(tsri_codes_tables *t, tsr_context *ctx,
                                 const tsr_model *model, int books,
                                 int codewords)
{
    size_t tables;

    *t = (tsri_codes_tables){ .codewords = codewords };
    if (tsr_model_tensor(model, "codes.static"))
        TSR_TRY(get_starts(ctx, model, (uint64_t)books, codewords,
                           "codes.static", &t->statics, &tables));
    if (tsr_model_tensor(model, "codes.context.tables"))
        TSR_TRY(get_contexts(t, ctx, model, books));
    return TSR_OK;
}

void tsri_codes_tables_close(tsri_codes_tables *t, tsr_context *ctx)
{
    tsri_free(ctx, t->statics);
    tsri_free(ctx, t->contexts);
    tsri_free(ctx, t->previous);
    tsri_free(ctx, t->coarser);
    tsri_free(ctx, t->from);
    tsri_free(ctx, t->map);
}

static const uint32_t *row(const uint32_t *starts, size_t i, int codewords)
{
    return starts + i * ((size_t)codewords + 1);
}

const uint32_t *tsri_codes_static(const tsri_codes_tables *t, int k)
{
    return row(t->statics, (size_t)k, t->codewords);
}

const uint32_t *tsri_codes_context(const tsri_codes_tables *t,
                                   const tsri_codes_view *view, int f, int k)
{
    const size_t n = (size_t)t->codewords;
    const size_t before = f ? *tsri_codes_at(view, f - 1, k) : n;
    const uint8_t p = t->previous[(size_t)k * (n + 1) + before];
    const uint8_t q = k ? t->coarser[(size_t)k * n +
                                     *tsri_codes_at(view, f, t->from[k])] : 0;
    const size_t at = ((size_t)k * (size_t)t->nprevious + p) *
                      (size_t)t->ncoarser + q;

    return row(t->contexts, t->map[at], t->codewords);
}
