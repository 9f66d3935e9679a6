/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/nn/norm_row.h"

static void norm_avx2(tsri_pre pre, float *dst, const float *src, int n,
                      const float *coefficients)
{
    tsri_norm_row(pre, dst, src, n, coefficients);
}

tsri_row_normer tsri_row_norm_pick(unsigned cpu)
{
    return cpu & TSR_CPU_AVX2 ? norm_avx2 : tsri_row_norm;
}
