/* SPDX-License-Identifier: BSD-2-Clause */
/* Attention as two products of matrices by cuDNN with a softmax of our own in
 * between.  Scores are floats and are held for a part of the queries at a time,
 * for at most 2^26 pairs (or those of one query), so memory is bounded. */
#ifndef TSR_LIB_NN_CUDA_ATTEND_CUDA_H
#define TSR_LIB_NN_CUDA_ATTEND_CUDA_H
#include "lib/nn/cuda/dnn.h"
#include "lib/nn/device.h"

/** Bytes of memory that it works in. */
size_t tsri_attend_bytes(nnk_type type, const tsri_dev_attention *a);

/** Maps of one item.  memory: tsri_attend_bytes(), 256-byte aligned.  Queued.  Errors are those of
 *  tsri_dnn_conv(). */
tsr_error tsri_attend(tsri_cuda *gpu, tsri_dnn *dnn, nnk_type type,
                      const tsri_dev_attention *a, void *memory);
#endif
