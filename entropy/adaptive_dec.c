/* SPDX-License-Identifier: BSD-2-Clause */
/* Adaptive decoding. */
#include "entropy/adaptive_impl.h"
#include "entropy/rans_impl.h"

enum { BITS = TSRI_ADAPT_BITS };

struct tsri_adapt_dec {
    tsr_context *ctx;
    tsri_adapt_sets sets;
    tsri_rans_dec rans;
};

tsr_error tsri_adapt_dec_open(tsri_adapt_dec **out, tsr_context *ctx,
                              const tsri_adapt_shape *shapes, int nsets)
{
    tsri_adapt_dec *dec = tsri_calloc(ctx, 1, sizeof *dec);
    tsr_error error;

    *out = NULL;
    if (!dec)
        return TSR_E_NOMEM;
    dec->ctx = ctx;
    error = tsri_adapt_sets_open(&dec->sets, ctx, shapes, nsets);
    if (error)
        tsri_free(ctx, dec);
    else
        *out = dec;
    return error;
}

void tsri_adapt_dec_close(tsri_adapt_dec **out)
{
    tsri_adapt_dec *dec = *out;
    if (!dec)
        return;
    tsri_free(dec->ctx, dec->sets.set[0].model);
    tsri_free(dec->ctx, dec);
    *out = NULL;
}

tsr_error tsri_adapt_start(tsri_adapt_dec *dec, const uint8_t *data,
                           size_t size, uint32_t crc)
{
    tsri_adapt_sets_forget(&dec->sets);
    return tsri_rans_dec_open(&dec->rans, dec->ctx, data, size, crc);
}

/* Decodes a row of at most 16 symbols each; the models learn. */
static tsr_error get_row(tsri_rans_dec *dec, tsri_adapt_model *const *models,
                         uint8_t *sym, int n)
{
    for (int i = 0; i < n; i++) {
        const int16_t *last = models[i]->last;
        uint32_t *x = &dec->state[i];
        const int slot = (int)(*x & ((1 << BITS) - 1));
        int s = 0;
        while (last[s + 1] < slot)
            s++;
        *x = (uint32_t)(last[s + 1] - last[s]) * (*x >> BITS) +
             (uint32_t)(slot - last[s] - 1);
        if (*x < TSRI_RANS_LOW) {
            if (dec->word == dec->word_end)
                return TSR_E_CORRUPT;
            *x = *x << 16 | tsri_get16(dec->word);
            dec->word += 2;
        }
        sym[i] = (uint8_t)s;
    }
    tsri_adapt_learn(models, sym, n);
    return TSR_OK;
}

static tsr_error get_row_of(tsri_rans_dec *dec, const tsri_adapt_set *set,
                            const uint16_t *context, uint8_t *sym, int n)
{
    tsri_adapt_model *models[TSRI_RANS_MAX_LANES];
    uint8_t low[TSRI_RANS_MAX_LANES];

    tsri_adapt_find(set, context, n, models);
    TSR_TRY(get_row(dec, models, sym, n));
    if (set->models > 1) {
        for (int i = 0; i < n; i++)
            models[i] += 1 + sym[i];
        TSR_TRY(get_row(dec, models, low, n));
        for (int i = 0; i < n; i++)
            sym[i] = (uint8_t)(sym[i] << 4 | low[i]);
    }
    for (int i = 0; i < n; i++)
        dec->sum[i] = tsri_rans_sum(dec->sum[i], sym[i]);
    return TSR_OK;
}

tsr_error tsri_adapt_get(tsri_adapt_dec *dec, int set, const uint16_t *context,
                         uint8_t *sym, size_t n)
{
    tsri_rans_dec *rans = &dec->rans;
    const size_t lanes = (size_t)rans->lanes;
    size_t i = 0;

    if (!tsri_adapt_fit(&dec->sets, set, context, n, rans->avx2))
        return TSR_E_ARG;
    if (rans->avx2 && lanes >= 8)
        i = tsri_adapt_get_avx2(rans, &dec->sets.set[set], context, sym, n);
    for (; i < n; i += lanes)
        TSR_TRY(get_row_of(rans, &dec->sets.set[set],
                           context ? context + i : NULL, sym + i,
                           (int)(n - i < lanes ? n - i : lanes)));
    return TSR_OK;
}

uint32_t tsri_adapt_get_bits(tsri_adapt_dec *dec, int nbits)
{
    return tsri_rans_get_bits(&dec->rans, nbits);
}

bool tsri_adapt_cut(const tsri_adapt_dec *dec)
{
    return tsri_rans_cut(&dec->rans);
}

tsr_error tsri_adapt_end(const tsri_adapt_dec *dec)
{
    return tsri_rans_dec_end(&dec->rans);
}
