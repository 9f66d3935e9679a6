/* SPDX-License-Identifier: BSD-2-Clause */
/* Builds without AVX2; never called there. */
#include "entropy/rows_impl.h"

tsr_error tsri_rows_decode_avx2(tsri_rans_dec *const *dec,
                                const tsri_rows_matrix *const *m, int count,
                                bool refine, void *scratch)
{
    (void)dec;
    (void)m;
    (void)count;
    (void)refine;
    (void)scratch;
    return TSR_E_INTERNAL;
}

uint8_t *tsri_rows_encode_avx2(const tsri_rows *rows, const tsri_rows_matrix *m,
                               const int8_t *r, size_t r_pitch, uint32_t seed,
                               uint32_t *state, uint8_t *end, void *scratch)
{
    (void)rows;
    (void)m;
    (void)r;
    (void)r_pitch;
    (void)seed;
    (void)state;
    (void)scratch;
    return end;
}
