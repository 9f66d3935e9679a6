/* SPDX-License-Identifier: BSD-2-Clause */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "vq/rows.h"

tsr_error tsr_codes_count(tsr_context *ctx, const int32_t *codes, size_t n,
                          int k, uint64_t *counts)
{
    TSR_TRY(tsri_rows_check(ctx, 0, 1, k));
    memset(counts, 0, (size_t)k * sizeof *counts);
    for (size_t i = 0; i < n; i++) {
        if (codes[i] < 0 || codes[i] >= k)
            return tsri_fail(ctx, TSR_E_ARG, "code %d at %zu is outside a "
                             "codebook of %d", (int)codes[i], i, k);
        counts[codes[i]]++;
    }
    return TSR_OK;
}

void tsr_codes_describe(const uint64_t *counts, int k, tsr_codes_stats *stats)
{
    tsr_codes_stats s = { 0 };
    double bits = 0;

    for (int c = 0; c < k; c++)
        s.total += counts[c];
    for (int c = 0; c < k; c++)
        if (counts[c]) {
            s.used++;
            bits += (double)counts[c] *
                    log2((double)s.total / (double)counts[c]);
        }
    s.utilisation = k > 0 ? (double)s.used / k : 0;
    s.entropy = s.total ? bits / (double)s.total : 0;
    s.perplexity = exp2(s.entropy);
    *stats = s;
}

typedef struct ranked { uint64_t count; int32_t code; } ranked;

static int by_count(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    if (x->count != y->count)
        return x->count < y->count ? 1 : -1;
    return x->code < y->code ? -1 : x->code > y->code;
}

tsr_error tsr_codes_rank(tsr_context *ctx, const uint64_t *counts, int k,
                         int32_t *order)
{
    ranked *list;

    TSR_TRY(tsri_rows_check(ctx, 0, 1, k));
    list = tsri_alloc(ctx, (size_t)k, sizeof *list);
    if (!list)
        return tsri_nomem(ctx);
    for (int c = 0; c < k; c++)
        list[c] = (ranked){ counts[c], c };
    qsort(list, (size_t)k, sizeof *list, by_count);
    for (int r = 0; r < k; r++)
        order[r] = list[r].code;
    tsri_free(ctx, list);
    return TSR_OK;
}
