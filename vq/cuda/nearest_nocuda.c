/* SPDX-License-Identifier: BSD-2-Clause */
/* A build without CUDA: no device ever opens, so nothing here is reached. */
#include "vq/cuda/nearest_cuda.h"

size_t tsri_nearest_cuda_book_size(int k, int dim)
{
    (void)k, (void)dim;
    return 0;
}

size_t tsri_nearest_cuda_work_size(size_t n, int k, int dim)
{
    (void)n, (void)k, (void)dim;
    return 0;
}

tsr_error tsri_nearest_cuda_prepare(tsri_cuda *gpu, void *book,
                                    const float *codewords, int k, int dim)
{
    (void)gpu, (void)book, (void)codewords, (void)k, (void)dim;
    return TSR_E_UNSUPPORTED;
}

tsr_error tsri_nearest_cuda_search(tsri_cuda *gpu, int32_t *codes,
                                   const void *book, int k, int dim,
                                   const float *x, size_t n, void *work,
                                   tsri_nearest_how how)
{
    (void)gpu, (void)codes, (void)book, (void)k, (void)dim, (void)x, (void)n;
    (void)work, (void)how;
    return TSR_E_UNSUPPORTED;
}
