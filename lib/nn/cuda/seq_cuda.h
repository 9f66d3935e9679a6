/* SPDX-License-Identifier: BSD-2-Clause */
/* One-dimensional nets on a CUDA device: the operations of lib/nn/seq_device.h by
 * kernels of our own, on the device of the context. */
#ifndef TSR_LIB_NN_CUDA_SEQ_CUDA_H
#define TSR_LIB_NN_CUDA_SEQ_CUDA_H
#include "lib/nn/seq_device.h"

/** precision: F32, F16 or BF16 of enum tsr_precision.  NULL: not in this
 *  build. */
const tsri_seq_ops *tsri_seq_cuda(int precision);
#endif
