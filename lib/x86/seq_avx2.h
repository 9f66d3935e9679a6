/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TSR_LIB_X86_SEQ_AVX2_H
#define TSR_LIB_X86_SEQ_AVX2_H
#include "lib/nn/seq_kernels.h"

tsri_conv1d_fn tsri_conv1d_avx2;
#endif
