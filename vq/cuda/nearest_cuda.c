/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/cuda/device_cuda.h"
#include "vq/cuda/nearest_cuda.h"
#include "vq/cuda/nearest_kernels.h"

/* Below this many multiply-adds two more launches cost more than they save. */
static const double few = 1 << 25;

static bool allowed(int k, int dim)
{
    return k >= 1 && k <= TSRI_NEAREST_CUDA_K && dim >= 1 &&
           dim <= TSRI_NEAREST_CUDA_DIM;
}

size_t tsri_nearest_cuda_book_size(int k, int dim)
{
    return allowed(k, dim) ? tsri_nearest_book_bytes(k, dim) : 0;
}

size_t tsri_nearest_cuda_work_size(size_t n, int k, int dim)
{
    return allowed(k, dim) ? tsri_nearest_work_bytes(n, k, dim) : 0;
}

tsr_error tsri_nearest_cuda_prepare(tsri_cuda *gpu, void *book,
                                    const float *codewords, int k, int dim)
{
    if (!allowed(k, dim))
        return tsri_fail(gpu->ctx, TSR_E_ARG, "codebook of %d x %d", k, dim);
    TSR_TRY(tsri_cuda_use(gpu));
    return tsri_cuda_check(gpu,
                           tsri_launch_nearest_prepare(book, codewords, k, dim,
                                                       gpu->stream),
                           "codebook");
}

tsr_error tsri_nearest_cuda_search(tsri_cuda *gpu, int32_t *codes,
                                   const void *book, int k, int dim,
                                   const float *x, size_t n, void *work,
                                   tsri_nearest_how how)
{
    const bool sweep = how == TSRI_NEAREST_SWEEP ||
                       (how == TSRI_NEAREST_AUTO &&
                        (double)n * k * dim >= few);

    if (!allowed(k, dim) || n > INT32_MAX)
        return tsri_fail(gpu->ctx, TSR_E_ARG, "search of %zu vectors in a "
                         "codebook of %d x %d", n, k, dim);
    TSR_TRY(tsri_cuda_use(gpu));
    return tsri_cuda_check(gpu,
                           tsri_launch_nearest(codes, book, k, dim, x, n, work,
                                               gpu->sms, sweep, gpu->stream),
                           "nearest search");
}
