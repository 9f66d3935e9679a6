/* SPDX-License-Identifier: BSD-2-Clause */
/* The elements of the tensors of a model. */
#include <string.h>
#include "codecs/import/import_impl.h"
#include "entropy/freq.h"
#include "lib/bytes.h"
#include "lib/nn/seq_kernels.h"
#include "lib/weights.h"

/* ---- number formats ---- */

/* Nearest half, ties to even; false: it is too large. */
static bool to_half(float value, uint16_t *half)
{
    uint32_t u;
    memcpy(&u, &value, sizeof u);
    const uint16_t sign = (uint16_t)(u >> 16 & 0x8000);
    const uint32_t size = u & 0x7fffffff;
    if (size >= 0x477ff000)                 /* rounds to over 65504 */
        return false;
    if (size < 0x38800000) {                /* below 2^-14: in units of 2^-24 */
        float small;
        memcpy(&small, &size, sizeof small);
        small += 0.5f;                      /* whose last bit is 2^-24 */
        memcpy(&u, &small, sizeof u);
        *half = (uint16_t)(sign | (u - 0x3f000000));
        return true;
    }
    u = size + 0xfff + (size >> 13 & 1);
    *half = (uint16_t)(sign | ((u >> 13) - (112 << 10)));
    return true;
}

/* Floats to halves in place. */
static tsr_error halve(const tsr_import *im, float *values, size_t n,
                       const char *name)
{
    uint8_t *to = (uint8_t *)values;
    uint16_t half;

    for (size_t i = 0; i < n; i++) {
        if (!to_half(values[i], &half))
            return tsri_fail(im->ctx, TSR_E_SHAPE, "'%s' has a number that is "
                             "too large for F16", name);
        tsri_put16(to + 2 * i, half);
    }
    return TSR_OK;
}

/* Whether all of n floats are finite: no exponent of ones. */
static bool finite32(const uint8_t *p, size_t n)
{
    uint32_t bad = 0;
    for (size_t i = 0; i < n; i++)
        bad |= (tsri_get32(p + 4 * i) & 0x7f800000) == 0x7f800000;
    return !bad;
}

static bool finite16(const uint8_t *p, size_t n)
{
    uint32_t bad = 0;
    for (size_t i = 0; i < n; i++)
        bad |= (tsri_get16(p + 2 * i) & 0x7c00) == 0x7c00;
    return !bad;
}

static tsr_error not_finite(const tsr_import *im, const char *name)
{
    return tsri_fail(im->ctx, TSR_E_SHAPE, "'%s' has a number that is not "
                     "finite", name);
}

/* ---- inputs ---- */

static tsr_error read_input(tsr_import *im, size_t input, tsr_tensor *t)
{
    const tsri_import_input *in = &im->input[input];

    *t = *tsri_import_tensor(im, input);
    return tsri_checkpoint_data(im->file[in->file].checkpoint, in->number,
                                &t->data);
}

/* An input as finite floats, which the caller frees. */
static tsr_error input_floats(tsr_import *im, size_t input, float **out)
{
    tsr_tensor t;

    *out = NULL;
    TSR_TRY(read_input(im, input, &t));
    TSR_TRY(tsri_tensor_floats(im->ctx, &t, out));
    if (finite32((const uint8_t *)*out, tsri_tensor_count(&t)))
        return TSR_OK;
    tsri_free(im->ctx, *out);
    *out = NULL;
    return not_finite(im, t.name);
}

/* ---- ways ---- */

/* Of the same type: the checkpoint's own bytes. */
static tsr_error make_same(tsr_import *im, const tsri_import_output *out,
                           const void **data)
{
    tsr_tensor t;

    TSR_TRY(read_input(im, out->from[0], &t));
    const size_t n = tsri_tensor_count(&t);
    if ((t.dtype == TSR_F32 && !finite32(t.data, n)) ||
        (t.dtype == TSR_F16 && !finite16(t.data, n)))
        return not_finite(im, t.name);
    *data = t.data;
    return TSR_OK;
}

static tsr_error make_norm(tsr_import *im, const tsri_import_output *out,
                           float **values)
{
    const tsr_tensor *t = &out->tensor;
    const size_t rows = (size_t)t->dims[0];
    float *g;

    TSR_TRY(input_floats(im, out->from[0], values));
    const tsr_error error = input_floats(im, out->from[1], &g);
    if (!error)
        tsri_weight_norm(*values, g, (int)rows,
                         tsri_tensor_count(tsri_import_tensor(im,
                                                      out->from[0])) / rows);
    tsri_free(im->ctx, g);
    return error;
}

/* to[k][d] = rows[k][e] . matrix[d][e] + addend[d], in double. */
static void project(const float *rows, const float *matrix, const float *addend,
                    size_t k, size_t d, size_t e, float *to)
{
    for (size_t i = 0; i < k; i++)
        for (size_t j = 0; j < d; j++) {
            double sum = 0;
            for (size_t c = 0; c < e; c++)
                sum += (double)rows[i * e + c] * (double)matrix[j * e + c];
            to[i * d + j] = (float)(sum + (double)addend[j]);
        }
}

/* Some rows at a time, since the codebook may be most of the file. */
static tsr_error project_rows(tsr_import *im, const tsri_import_output *out,
                              const float *matrix, const float *addend,
                              float *to)
{
    enum { ROWS = 4096 };
    const size_t d = (size_t)out->tensor.dims[1];
    tsr_tensor all, part;
    tsr_error error;

    TSR_TRY(read_input(im, out->from[0], &all));
    const size_t k = (size_t)all.dims[0], row = all.bytes / k;
    part = all;
    for (size_t i = 0; i < k; i += ROWS) {
        const size_t n = k - i < ROWS ? k - i : ROWS;
        float *rows;
        part.data = (const uint8_t *)all.data + i * row;
        part.bytes = n * row;
        TSR_TRY(tsri_tensor_floats(im->ctx, &part, &rows));
        error = finite32((const uint8_t *)rows, tsri_tensor_count(&part))
                    ? TSR_OK : not_finite(im, all.name);
        if (!error)
            project(rows, matrix, addend, n, d, (size_t)all.dims[1],
                    to + i * d);
        tsri_free(im->ctx, rows);
        if (error)
            return error;
    }
    return TSR_OK;
}

static tsr_error make_projected(tsr_import *im, const tsri_import_output *out,
                                float **values)
{
    const tsr_tensor *t = &out->tensor;
    float *matrix = NULL, *addend = NULL;

    *values = tsri_alloc(im->ctx, (size_t)(t->dims[0] * t->dims[1]),
                         sizeof **values);
    tsr_error error = *values ? TSR_OK : tsri_nomem(im->ctx);
    if (!error)
        error = input_floats(im, out->from[1], &matrix);
    if (!error)
        error = input_floats(im, out->from[2], &addend);
    if (!error)
        error = project_rows(im, out, matrix, addend, *values);
    tsri_free(im->ctx, matrix);
    tsri_free(im->ctx, addend);
    return error;
}

/* Rows of probabilities to rows of cumulative integers. */
static tsr_error make_tables(tsr_import *im, const tsri_import_output *out,
                             void **values)
{
    const size_t rows = (size_t)out->tensor.dims[0];
    const size_t k = (size_t)out->tensor.dims[1] - 1;
    tsr_error error = TSR_OK;
    float *ema;

    TSR_TRY(input_floats(im, out->from[0], &ema));
    uint32_t *cdf = tsri_alloc(im->ctx, rows * (k + 1), sizeof *cdf);
    if (!cdf)
        error = tsri_nomem(im->ctx);
    for (size_t i = 0; !error && i < rows; i++) {
        tsri_pmf_from_ema(ema + i * k, (int)k, ema + i * k);
        error = tsri_cdf_from_pmf(ema + i * k, (int)k, cdf + i * (k + 1));
        if (error)
            error = tsri_fail(im->ctx, TSR_E_SHAPE, "'%s' makes no frequency "
                              "table",
                              tsri_import_tensor(im, out->from[0])->name);
    }
    for (size_t i = 0; !error && i < rows * (k + 1); i++) {
        const uint32_t v = cdf[i];
        tsri_put32((uint8_t *)(cdf + i), v);
    }
    tsri_free(im->ctx, ema);
    *values = cdf;
    return error;
}

/* Floats that were computed, in the type of the output. */
static tsr_error make_floats(tsr_import *im, const tsri_import_output *out,
                             void **values)
{
    const tsr_tensor *t = &out->tensor;
    float *floats = NULL;
    tsr_error error;

    switch (out->way) {
    case TSRI_IMPORT_WEIGHT_NORM: error = make_norm(im, out, &floats); break;
    case TSRI_IMPORT_PROJECT: error = make_projected(im, out, &floats); break;
    default: error = input_floats(im, out->from[0], &floats); break;
    }
    *values = floats;
    if (error)
        return error;
    if (!finite32((const uint8_t *)floats, tsri_tensor_count(t)))
        return not_finite(im, out->name);
    return t->dtype == TSR_F16 ? halve(im, floats, tsri_tensor_count(t),
                                       out->name)
                               : TSR_OK;
}

tsr_error tsri_import_make(tsr_import *im, size_t output, const void **data)
{
    tsri_import_output *out = &im->output[output];
    void *values = NULL;
    tsr_error error;

    tsri_free(im->ctx, im->scratch);
    im->scratch = NULL;
    *data = out->made;
    if (out->made)
        return TSR_OK;
    if (out->way == TSRI_IMPORT_NUMBERS) {
        *data = out->ints;
        return TSR_OK;
    }
    if (out->way == TSRI_IMPORT_COPY &&
        out->tensor.dtype == tsri_import_tensor(im, out->from[0])->dtype)
        return make_same(im, out, data);
    error = out->way == TSRI_IMPORT_TABLES ? make_tables(im, out, &values)
                                           : make_floats(im, out, &values);
    if (!error && (out->way == TSRI_IMPORT_PROJECT ||
                   out->way == TSRI_IMPORT_TABLES))
        out->made = values;
    else
        im->scratch = values;
    *data = values;
    return error;
}
