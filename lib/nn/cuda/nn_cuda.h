/* SPDX-License-Identifier: BSD-2-Clause */
/* Nets on a CUDA device: the operations of lib/nn/device.h by kernels of our own
 * and cuDNN. */
#ifndef TSR_LIB_NN_CUDA_NN_CUDA_H
#define TSR_LIB_NN_CUDA_NN_CUDA_H
#include "lib/nn/backend.h"

/** Opens a device for a context: ctx->gpu and ctx->dnn, both or none.  Returns as
 *  tsri_cuda_open(); TSR_E_UNSUPPORTED also where cuDNN 9 is not to be had. */
tsr_error tsri_nn_cuda_open(tsr_context *ctx, int index);
void tsri_nn_cuda_close(tsr_context *ctx);

/** Queues the context's work on a caller's cudaStream_t; NULL: its own. */
tsr_error tsri_nn_cuda_stream(tsr_context *ctx, void *stream);

/** How many shapes of convolutions the context has chosen a kernel for, since no
 *  other context of the process had. */
int tsri_nn_cuda_chosen(const tsr_context *ctx);

/** The backend that computes in these numbers (not AUTO); NULL: not in this
 *  build. */
const tsri_nn_backend *tsri_nn_cuda(tsr_precision precision);
#endif
