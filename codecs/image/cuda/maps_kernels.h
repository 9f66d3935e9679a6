/* SPDX-License-Identifier: BSD-2-Clause */
/* Launchers of maps.h, on device pointers. */
#ifndef TSR_CODECS_IMAGE_MAPS_KERNELS_H
#define TSR_CODECS_IMAGE_MAPS_KERNELS_H
#include <cuda_runtime_api.h>
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif
cudaError_t tsri_launch_words(float *dst, const float *from, const float *words,
                              const int32_t *codes, size_t n, int groups, int k,
                              int dim, cudaStream_t stream);
cudaError_t tsri_launch_add(float *dst, const float *src, size_t count,
                            cudaStream_t stream);
cudaError_t tsri_launch_split(float *dst, const float *src, size_t n, int groups,
                              int dim, cudaStream_t stream);
cudaError_t tsri_launch_scale(float *map, const float *gain, size_t n,
                              int channels, cudaStream_t stream);
cudaError_t tsri_launch_planar(float *dst, const float *src, size_t n,
                               int channels, cudaStream_t stream);
cudaError_t tsri_launch_tokens(float *dst, const int16_t *tokens,
                               const float *gain, int width, int y0, int x0,
                               int rows, int columns, int channels,
                               cudaStream_t stream);
#ifdef __cplusplus
}
#endif
#endif
