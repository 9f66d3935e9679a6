/* SPDX-License-Identifier: BSD-2-Clause */
/* Codes to bytes and back, by units.  docs/codecs/mcquic.md is the format. */
#include <stdio.h>
#include <string.h>
#include "codecs/image/mcquic.h"
#include "entropy/freq.h"
#include "lib/weights.h"

/* ---- tables ---- */

/* The tensor of frozen tables, checked. */
static tsr_error stored_cdf(tsri_mcquic *self, int level, uint32_t *cdf)
{
    const int k = self->shape.k[level], m = self->shape.m;
    const uint64_t dims[] = { (uint64_t)m, (uint64_t)k + 1 };
    const tsr_tensor *tensor;
    int32_t *values;
    bool good = true;

    TSR_TRY(tsri_want(self->ctx, self->model, &tensor, 2, dims,
                      "tessera.cdf.%d", level));
    TSR_TRY(tsri_tensor_ints(self->ctx, tensor, &values));
    for (int g = 0; g < m; g++) {
        const int32_t *row = values + (size_t)g * ((size_t)k + 1);
        good = good && row[0] == 0 && row[k] == 65536;
        for (int i = 0; i < k; i++)
            good = good && row[i] < row[i + 1];
    }
    for (size_t i = 0; good && i < (size_t)m * ((size_t)k + 1); i++)
        cdf[i] = (uint32_t)values[i];
    tsri_free(self->ctx, values);
    if (good)
        return TSR_OK;
    return tsri_fail(self->ctx, TSR_E_SHAPE, "%s: '%s' is not a frequency "
                     "table", tsr_model_path(self->model), tensor->name);
}

static tsr_error computed_cdf(tsri_mcquic *self, int level, uint32_t *cdf)
{
    const int k = self->shape.k[level], m = self->shape.m;
    const uint64_t dims[] = { (uint64_t)m, (uint64_t)k };
    const tsr_tensor *tensor;
    tsr_error error = TSR_OK;
    float *ema;

    TSR_TRY(tsri_want(self->ctx, self->model, &tensor, 2, dims,
                      "_quantizer._entropyCoder._freqEMA.%d", level));
    TSR_TRY(tsri_tensor_floats(self->ctx, tensor, &ema));
    for (int g = 0; !error && g < m; g++) {
        float *row = ema + (size_t)g * (size_t)k;
        tsri_pmf_from_ema(row, k, row);
        error = tsri_cdf_from_pmf(row, k,
                                  cdf + (size_t)g * ((size_t)k + 1));
    }
    tsri_free(self->ctx, ema);
    if (!error)
        return TSR_OK;
    return tsri_fail(self->ctx, TSR_E_SHAPE, "%s: '%s' makes no frequency "
                     "table", tsr_model_path(self->model), tensor->name);
}

/* The coder's table of group g, and the code it takes for the likeliest. */
static tsr_error open_table(tsri_mcquic *self, int level, int g)
{
    tsri_mcquic_level *l = &self->level[level];
    const int k = self->shape.k[level];
    const uint32_t *cdf = l->cdf + (size_t)g * ((size_t)k + 1);
    uint32_t *freq = tsri_alloc(self->ctx, (size_t)k, sizeof *freq);

    if (!freq)
        return tsri_nomem(self->ctx);
    l->common[g] = 0;
    for (int i = 0; i < k; i++) {
        freq[i] = cdf[i + 1] - cdf[i];
        if (freq[i] > freq[l->common[g]])
            l->common[g] = i;
    }
    const tsr_error error =
        tsri_bigtable_open(&l->table[g], self->ctx, freq, (size_t)k);
    tsri_free(self->ctx, freq);
    return error;
}

tsr_error tsri_mcquic_tables(tsri_mcquic *self, int level)
{
    tsri_mcquic_level *l = &self->level[level];
    const size_t m = (size_t)self->shape.m;
    const size_t row = (size_t)self->shape.k[level] + 1;
    char name[32];

    l->cdf = tsri_alloc(self->ctx, m * row, sizeof *l->cdf);
    l->table = tsri_calloc(self->ctx, m, sizeof *l->table);
    l->common = tsri_alloc(self->ctx, m, sizeof *l->common);
    if (!l->cdf || !l->table || !l->common)
        return tsri_nomem(self->ctx);
    snprintf(name, sizeof name, "tessera.cdf.%d", level);
    TSR_TRY((tsr_model_tensor(self->model, name) ? stored_cdf : computed_cdf)(
        self, level, l->cdf));
    for (int g = 0; g < self->shape.m; g++)
        TSR_TRY(open_table(self, level, g));
    return TSR_OK;
}

/* ---- units ---- */

/* The levels in a layer: level 2 - layer; layer 0 has the coarser ones too,
 * the coarsest first.  Empty (top < bottom) where the model has fewer. */
static void layer_levels(const tsri_mcquic *self, int layer, int *top,
                         int *bottom)
{
    *bottom = TSRI_MCQUIC_LAYERS - 1 - layer;
    *top = layer ? tsri_min(*bottom, self->shape.levels - 1)
                 : self->shape.levels - 1;
}

/* The codes of a unit at a level. */
static tsri_rect unit_rect(const tsri_mcquic *self, int unit, int level)
{
    const tsri_codes *c = &self->level[level].codes;
    const int side = TSRI_MCQUIC_UNIT >> (4 + level);
    const int y = unit / self->units_x * side, x = unit % self->units_x * side;
    return (tsri_rect){ y, x, tsri_min(y + side, c->height),
                        tsri_min(x + side, c->width) };
}

enum { RUN = (TSRI_MCQUIC_UNIT / 16) * (TSRI_MCQUIC_UNIT / 16) };

static int32_t *code_row(const tsri_codes *c, int g, int y, int x)
{
    return c->data + (size_t)g * c->plane + (size_t)y * c->row + (size_t)x;
}

void tsri_mcquic_unit_clear(tsri_mcquic *self, int unit)
{
    for (int level = 0; level < self->shape.levels; level++) {
        const tsri_mcquic_level *l = &self->level[level];
        const tsri_rect r = unit_rect(self, unit, level);
        for (int g = 0; g < self->shape.m; g++)
            for (int y = r.y0; y < r.y1; y++)
                for (int x = r.x0; x < r.x1; x++)
                    *code_row(&l->codes, g, y, x) = l->common[g];
    }
}

static tsr_error put_level(tsri_mcquic *self, int unit, int level)
{
    const tsri_mcquic_level *l = &self->level[level];
    const tsri_rect r = unit_rect(self, unit, level);
    const size_t w = (size_t)(r.x1 - r.x0);
    uint32_t run[RUN];

    for (int g = 0; g < self->shape.m; g++) {
        size_t n = 0;
        for (int y = r.y0; y < r.y1; y++, n += w)
            memcpy(run + n, code_row(&l->codes, g, y, r.x0), w * sizeof *run);
        if (tsri_bigtable_put32(l->table[g], self->enc, run, n))
            return tsri_fail(self->ctx, TSR_E_NOMEM,
                             "cannot code the tokens of level %d", level);
    }
    return TSR_OK;
}

static tsr_error put_layer(tsri_mcquic *self, int unit, int layer,
                           tsri_span *out)
{
    const uint8_t *data;
    int top, bottom;
    size_t size;

    layer_levels(self, layer, &top, &bottom);
    for (int level = top; level >= bottom; level--)
        TSR_TRY(put_level(self, unit, level));
    TSR_TRY(tsri_rans_finish(self->enc, self->crc, 0, &data, &size));
    uint8_t *copy = tsri_alloc(self->ctx, size, 1);
    if (!copy)
        return tsri_nomem(self->ctx);
    memcpy(copy, data, size);
    *out = (tsri_span){ copy, size };
    return TSR_OK;
}

static tsr_error emit_unit(tsri_mcquic *self, int unit, tsri_image_emit emit,
                           void *cookie)
{
    tsri_span layers[TSRI_MCQUIC_LAYERS] = { { NULL, 0 } };
    tsr_error error = TSR_OK;

    for (int i = 0; !error && i < TSRI_MCQUIC_LAYERS; i++)
        error = put_layer(self, unit, i, &layers[i]);
    if (!error)
        error = emit(cookie, unit, layers, TSRI_MCQUIC_LAYERS);
    for (int i = 0; i < TSRI_MCQUIC_LAYERS; i++)
        tsri_free(self->ctx, (void *)layers[i].data);
    return error;
}

tsr_error tsri_mcquic_units_emit(tsri_mcquic *self, tsri_image_emit emit,
                                 void *cookie)
{
    for (int unit = 0; unit < self->units_x * self->units_y; unit++) {
        tsri_rans_enc_reset(self->enc);
        TSR_TRY(emit_unit(self, unit, emit, cookie));
    }
    return TSR_OK;
}

static tsr_error get_level(tsri_mcquic *self, tsri_rans_dec *dec, int unit,
                           int level)
{
    const tsri_mcquic_level *l = &self->level[level];
    const tsri_rect r = unit_rect(self, unit, level);
    const size_t w = (size_t)(r.x1 - r.x0), h = (size_t)(r.y1 - r.y0);
    uint32_t run[RUN];

    for (int g = 0; g < self->shape.m; g++) {
        TSR_TRY(tsri_bigtable_get32(l->table[g], dec, run, h * w));
        for (size_t y = 0; y < h; y++)
            memcpy(code_row(&l->codes, g, r.y0 + (int)y, r.x0), run + y * w,
                   w * sizeof *run);
    }
    return TSR_OK;
}

static tsr_error get_layer(tsri_mcquic *self, int unit, int layer,
                           const tsri_span *in)
{
    tsri_rans_dec dec;
    int top, bottom;

    layer_levels(self, layer, &top, &bottom);
    if (top < bottom)
        return in->bytes ? TSR_E_CORRUPT : TSR_OK;
    TSR_TRY(tsri_rans_dec_open(&dec, self->ctx, in->data, in->bytes,
                               self->crc));
    for (int level = top; level >= bottom; level--)
        TSR_TRY(get_level(self, &dec, unit, level));
    return tsri_rans_dec_end(&dec);
}

/* Layers may be left out from the last one backward, so after the last with
 * bytes come only empty ones. */
tsr_error tsri_mcquic_unit_decode(tsri_mcquic *self, int unit,
                                  const tsri_span *layers, int n)
{
    tsr_error error = n > TSRI_MCQUIC_LAYERS ? TSR_E_CORRUPT : TSR_OK;

    if (unit < 0 || unit >= self->units_x * self->units_y)
        return tsri_fail(self->ctx, TSR_E_ARG, "no unit %d", unit);
    while (n > 0 && !layers[n - 1].bytes)
        n--;
    for (int i = 0; !error && i < n; i++)
        error = get_layer(self, unit, i, &layers[i]);
    if (!error)
        return TSR_OK;
    tsri_mcquic_unit_clear(self, unit);
    return tsri_fail(self->ctx, error, "unit %d is damaged", unit);
}
