/* SPDX-License-Identifier: BSD-2-Clause */
#include <math.h>
#include "lib/nn/seq_kernels.h"

const tsri_seq_kernels *tsri_seq_kernels_plain(void)
{
    static const tsri_seq_kernels plain = {
        .name = "c", .conv1d = tsri_conv1d_plain, .lstm = tsri_lstm_plain,
        .curve = tsri_curve_plain
    };
    return &plain;
}

const tsri_seq_kernels *tsri_seq_kernels_pick(unsigned cpu)
{
    const tsri_seq_kernels *avx2 = cpu & TSR_CPU_AVX2 ? tsri_seq_kernels_avx2() :
                                   NULL;
    return avx2 ? avx2 : tsri_seq_kernels_plain();
}

void tsri_weight_norm(float *v, const float *g, int rows, size_t cols)
{
    for (int r = 0; r < rows; r++, v += cols) {
        double norm = 0, scale;
        for (size_t i = 0; i < cols; i++)
            norm += (double)v[i] * v[i];
        scale = norm > 0 ? g[r] / sqrt(norm) : 0;
        for (size_t i = 0; i < cols; i++)
            v[i] = (float)(v[i] * scale);
    }
}
