/* SPDX-License-Identifier: BSD-2-Clause */
#include "entropy/adaptive_impl.h"

size_t tsri_adapt_get_avx2(tsri_rans_dec *dec, const tsri_adapt_set *set,
                           const uint16_t *context, uint8_t *sym, size_t n)
{
    (void)dec, (void)set, (void)context, (void)sym, (void)n;
    return 0;
}

void tsri_adapt_model_avx2(const tsri_adapt_rows *rows, uint32_t *record,
                           uint16_t *sum)
{
    (void)rows, (void)record, (void)sum;
}

uint8_t *tsri_adapt_code_avx2(const uint32_t *record, size_t n, int lanes,
                              uint32_t *state, uint8_t *end)
{
    (void)record, (void)n, (void)lanes, (void)state;
    return end;
}
