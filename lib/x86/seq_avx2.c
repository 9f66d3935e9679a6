/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/x86/seq_avx2.h"

const tsri_seq_kernels *tsri_seq_kernels_avx2(void)
{
    static const tsri_seq_kernels avx2 = {
        .name = "avx2", .conv1d = tsri_conv1d_avx2, .lstm = tsri_lstm_plain,
        .curve = tsri_curve_plain
    };
    return &avx2;
}
