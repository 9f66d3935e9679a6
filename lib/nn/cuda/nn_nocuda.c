/* SPDX-License-Identifier: BSD-2-Clause */
/* A build without CUDA or cuDNN. */
#include "lib/nn/cuda/nn_cuda.h"

tsr_error tsri_nn_cuda_open(tsr_context *ctx, int index)
{
    return tsri_fail(ctx, TSR_E_UNSUPPORTED, "device cuda:%d: this build has no"
                     " networks on GPUs", index);
}

void tsri_nn_cuda_close(tsr_context *ctx)
{
    (void)ctx;
}

tsr_error tsri_nn_cuda_stream(tsr_context *ctx, void *stream)
{
    (void)ctx, (void)stream;
    return TSR_E_UNSUPPORTED;
}

int tsri_nn_cuda_chosen(const tsr_context *ctx)
{
    (void)ctx;
    return 0;
}

const tsri_nn_backend *tsri_nn_cuda(tsr_precision precision)
{
    (void)precision;
    return NULL;
}
