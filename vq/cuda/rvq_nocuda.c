/* SPDX-License-Identifier: BSD-2-Clause */
#include "vq/cuda/rvq_cuda.h"

tsr_error tsri_rvq_cuda_open(tsri_rvq_cuda **rvq, const tsr_rvq *q,
                             tsri_cuda *gpu)
{
    (void)gpu;
    *rvq = NULL;
    return tsri_fail(q->ctx, TSR_E_UNSUPPORTED, "there is no CUDA in this build");
}

void tsri_rvq_cuda_close(tsri_rvq_cuda **rvq)
{
    *rvq = NULL;
}

tsr_error tsri_rvq_cuda_encode(tsri_rvq_cuda *rvq, const float *x, size_t n,
                               int stages, int32_t *codes)
{
    (void)rvq;
    (void)x;
    (void)n;
    (void)stages;
    (void)codes;
    return TSR_E_UNSUPPORTED;
}
