/* SPDX-License-Identifier: BSD-2-Clause */
#include <string.h>
#include "vq/rows.h"

tsr_error tsri_rows_check(tsr_context *ctx, size_t n, int dim, int k)
{
    if (n > TSR_VQ_MAX_VECTORS)
        return tsri_fail(ctx, TSR_E_ARG, "%zu vectors; %d at most", n,
                         TSR_VQ_MAX_VECTORS);
    if (dim < 1 || dim > TSR_VQ_MAX_DIM)
        return tsri_fail(ctx, TSR_E_ARG, "vectors of %d numbers; 1 to %d", dim,
                         TSR_VQ_MAX_DIM);
    if (k < 1 || k > TSR_VQ_MAX_CODEWORDS)
        return tsri_fail(ctx, TSR_E_ARG, "%d codewords; 1 to %d", k,
                         TSR_VQ_MAX_CODEWORDS);
    return TSR_OK;
}

tsr_error tsr_codebook_nearest(tsr_context *ctx, const float *codewords, int k,
                               int dim, const float *x, size_t n,
                               int32_t *codes)
{
    tsri_codebook *book;
    tsr_error error;

    TSR_TRY(tsri_rows_check(ctx, n, dim, k));
    TSR_TRY(tsri_codebook_new(&book, ctx, 1, k, dim, codewords));
    /* The search only reads the map. */
    const tsri_fmap map = tsri_rows_map((float *)(uintptr_t)x, n, dim);
    const tsri_codes out = tsri_rows_codes(codes, n, 1, 1);
    error = tsri_codebook_encode(book, ctx, &map, &out);
    tsri_codebook_free(&book, ctx);
    return error;
}

tsr_error tsr_codebook_lookup(tsr_context *ctx, const float *codewords, int k,
                              int dim, const int32_t *codes, size_t n, float *x)
{
    TSR_TRY(tsri_rows_check(ctx, n, dim, k));
    for (size_t i = 0; i < n; i++) {
        if (codes[i] < 0 || codes[i] >= k)
            return tsri_fail(ctx, TSR_E_ARG, "code %d at %zu is outside a "
                             "codebook of %d", (int)codes[i], i, k);
        memcpy(x + i * (size_t)dim,
               codewords + (size_t)codes[i] * (size_t)dim,
               (size_t)dim * sizeof *x);
    }
    return TSR_OK;
}
