/* SPDX-License-Identifier: BSD-2-Clause */
#include "entropy/bank_impl.h"

size_t tsri_rans_rows_avx2(tsri_rans_dec *dec, const tsri_bank *bank,
                           const uint16_t *cls, int table, uint16_t *sym,
                           size_t n)
{
    (void)dec, (void)bank, (void)cls, (void)table, (void)sym, (void)n;
    return 0;
}

size_t tsri_rans_slots_avx2(tsri_rans_dec *dec, const tsri_bank *bank,
                            int table, uint16_t *sym, size_t n)
{
    (void)dec, (void)bank, (void)table, (void)sym, (void)n;
    return 0;
}

size_t tsri_rans_slots8_avx2(tsri_rans_dec *dec, const tsri_bank *bank,
                             int table, uint8_t *sym, size_t n)
{
    (void)dec, (void)bank, (void)table, (void)sym, (void)n;
    return 0;
}

size_t tsri_rans_slots8_pair_avx2(tsri_rans_dec *dec[2], const tsri_bank *bank,
                                  const tsri_rans_run8 runs[2])
{
    (void)dec, (void)bank, (void)runs;
    return 0;
}

size_t tsri_rans_search8_avx2(tsri_rans_dec *dec, const tsri_bank *bank,
                              int table, uint8_t *sym, size_t n)
{
    (void)dec, (void)bank, (void)table, (void)sym, (void)n;
    return 0;
}

size_t tsri_rans_search8_pair_avx2(tsri_rans_dec *dec[2], const tsri_bank *bank,
                                   const tsri_rans_run8 runs[2])
{
    (void)dec, (void)bank, (void)runs;
    return 0;
}

int tsri_rans_most_avx2(const uint16_t *cls, size_t n)
{
    (void)cls, (void)n;
    return 0;
}

int tsri_rans_most8_avx2(const uint8_t *sym, size_t n)
{
    (void)sym, (void)n;
    return 0;
}

bool tsri_rans_places_avx2(const uint16_t *sym, size_t n, uint32_t first,
                           uint32_t size, uint32_t *place)
{
    (void)sym, (void)n, (void)first, (void)size, (void)place;
    return false;
}

void tsri_rans_sums_avx2(const tsri_rans_sym *records, int64_t first,
                         const uint32_t *place, size_t n, int lanes,
                         uint16_t *sum)
{
    (void)records, (void)first, (void)place, (void)n, (void)lanes, (void)sum;
}

uint8_t *tsri_rans_encode_avx2(const tsri_rans_sym *records,
                               const uint32_t *place, size_t n, int lanes,
                               uint32_t *state, uint8_t *end)
{
    (void)records, (void)place, (void)n, (void)lanes, (void)state;
    return end;
}

void tsri_rans_sums8_avx2(const uint8_t *sym, size_t n, int lanes,
                          uint16_t *sum)
{
    (void)sym, (void)n, (void)lanes, (void)sum;
}

uint8_t *tsri_rans_encode8_avx2(const tsri_bank *bank, int table,
                                const uint8_t *sym, size_t n, int lanes,
                                uint32_t *state, uint8_t *end)
{
    (void)bank, (void)table, (void)sym, (void)n, (void)lanes, (void)state;
    return end;
}
