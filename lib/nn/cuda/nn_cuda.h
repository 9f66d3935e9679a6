/* SPDX-License-Identifier: BSD-2-Clause */
/* Nets on a CUDA device: the operations of lib/nn/device.h by kernels of our own
 * and cuDNN. */
#ifndef TSR_LIB_NN_CUDA_NN_CUDA_H
#define TSR_LIB_NN_CUDA_NN_CUDA_H
#include "lib/nn/backend.h"

/** The backends "cuda" (halves), "cuda-bf16" and "cuda-f32" on the first device;
 *  NULL: another name, or not in this build.  Whether there is a device shows
 *  when a net is made. */
const tsri_nn_backend *tsri_nn_cuda(const char *name);
#endif
