/* SPDX-License-Identifier: BSD-2-Clause */
/* Launchers of the nearest search, on device pointers: nearest_cuda.h has the
 * meaning of everything. */
#ifndef TSR_VQ_CUDA_NEAREST_KERNELS_H
#define TSR_VQ_CUDA_NEAREST_KERNELS_H
#include <cuda_runtime_api.h>
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif
/** Bytes of a prepared codebook, and of scratch for n vectors; sizes that
 *  nearest_cuda.h allows cannot overflow. */
size_t tsri_nearest_book_bytes(int k, int dim);
size_t tsri_nearest_work_bytes(size_t n, int k, int dim);

cudaError_t tsri_launch_nearest_prepare(void *book, const float *codewords,
                                        int k, int dim, cudaStream_t stream);

/** sms: the device's multiprocessors; sweep: false for the exact search of
 *  everything. */
cudaError_t tsri_launch_nearest(int32_t *codes, const void *book, int k, int dim,
                                const float *x, size_t n, void *work, int sms,
                                int sweep, cudaStream_t stream);
#ifdef __cplusplus
}
#endif
#endif
