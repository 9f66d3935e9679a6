/* SPDX-License-Identifier: BSD-2-Clause */
#include "entropy/plan_impl.h"

void tsri_plan_to_rows_avx2(const uint8_t *matrix, ptrdiff_t step,
                            const int32_t *place, int first,
                            const uint8_t *offset, int n, uint8_t *rows,
                            size_t tokens)
{
    (void)matrix, (void)step, (void)place, (void)first, (void)offset;
    (void)n, (void)rows, (void)tokens;
}

void tsri_plan_from_rows_avx2(const uint8_t *rows, size_t tokens,
                              const int32_t *place, int first,
                              const uint8_t *offset, int n, uint8_t *matrix,
                              ptrdiff_t step)
{
    (void)rows, (void)tokens, (void)place, (void)first, (void)offset;
    (void)n, (void)matrix, (void)step;
}

void tsri_plan_shift_avx2(const uint8_t *from, uint8_t by, uint8_t *to,
                          size_t n)
{
    (void)from, (void)by, (void)to, (void)n;
}
