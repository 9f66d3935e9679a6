/* SPDX-License-Identifier: BSD-2-Clause */
/* What the kernels of plans offer to C: launchers on device pointers. */
#ifndef TSR_ENTROPY_CUDA_PLAN_KERNELS_H
#define TSR_ENTROPY_CUDA_PLAN_KERNELS_H
#include <cuda_runtime_api.h>
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif
cudaError_t tsri_launch_transpose(uint8_t *to, const uint8_t *from, size_t rows,
                                  size_t columns, cudaStream_t stream);
#ifdef __cplusplus
}
#endif
#endif
