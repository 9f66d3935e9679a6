/* SPDX-License-Identifier: BSD-2-Clause */
/* Launchers of what a residual search does besides nearest searches. */
#ifndef TSR_VQ_CUDA_RVQ_KERNELS_H
#define TSR_VQ_CUDA_RVQ_KERNELS_H
#include <cuda_runtime_api.h>
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif
/** to[groups][n][dim] = from[n][groups][dim]. */
cudaError_t tsri_launch_rvq_spread(float *to, const float *from, size_t n,
                                   int groups, int dim, cudaStream_t stream);
/** x[i] -= words[codes[i]], n vectors. */
cudaError_t tsri_launch_rvq_subtract(float *x, const float *words,
                                     const int32_t *codes, size_t n, int dim,
                                     cudaStream_t stream);
#ifdef __cplusplus
}
#endif
#endif
