/* SPDX-License-Identifier: BSD-2-Clause */
#include "vq/cuda/rvq_kernels.h"

namespace {

constexpr int THREADS = 256;

/* to[group][i] = from[i][group], vectors of dim floats. */
__global__ void spread(float *to, const float *from, size_t n, int groups, int dim)
{
    const size_t all = n * groups * dim;
    for (size_t i = blockIdx.x * (size_t)THREADS + threadIdx.x; i < all;
         i += (size_t)gridDim.x * THREADS) {
        const size_t v = i / dim, group = v % groups;
        to[(group * n + v / groups) * dim + i % dim] = from[i];
    }
}

/* What a codeword leaves. */
__global__ void subtract(float *x, const float *words, const int32_t *codes,
                         size_t n, int dim)
{
    for (size_t i = blockIdx.x * (size_t)THREADS + threadIdx.x; i < n * dim;
         i += (size_t)gridDim.x * THREADS)
        x[i] -= words[(size_t)codes[i / dim] * dim + i % dim];
}

int grid_of(size_t n)
{
    const size_t blocks = (n + THREADS - 1) / THREADS;
    return (int)(blocks < 1 ? 1 : blocks < 4096 ? blocks : 4096);
}

}

cudaError_t tsri_launch_rvq_spread(float *to, const float *from, size_t n,
                                   int groups, int dim, cudaStream_t stream)
{
    spread<<<grid_of(n * groups * dim), THREADS, 0, stream>>>(to, from, n, groups,
                                                              dim);
    return cudaGetLastError();
}

cudaError_t tsri_launch_rvq_subtract(float *x, const float *words,
                                     const int32_t *codes, size_t n, int dim,
                                     cudaStream_t stream)
{
    subtract<<<grid_of(n * dim), THREADS, 0, stream>>>(x, words, codes, n, dim);
    return cudaGetLastError();
}
