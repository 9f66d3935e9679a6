/* SPDX-License-Identifier: BSD-2-Clause */
#include "entropy/bank_impl.h"

size_t tsri_rans_rows_avx2(tsri_rans_dec *dec, const tsri_bank *bank,
                           const uint16_t *cls, int table, uint16_t *sym,
                           size_t n)
{
    (void)dec, (void)bank, (void)cls, (void)table, (void)sym, (void)n;
    return 0;
}

int tsri_rans_most_avx2(const uint16_t *cls, size_t n)
{
    (void)cls, (void)n;
    return 0;
}
