/* SPDX-License-Identifier: BSD-2-Clause */
#include "codecs/image/cuda/maps.h"
#include "codecs/image/cuda/maps_kernels.h"
#include "lib/cuda/device_cuda.h"

static tsr_error done(tsri_cuda *gpu, cudaError_t status)
{
    return tsri_cuda_check(gpu, status, "maps");
}

tsr_error tsri_maps_words_of(tsri_cuda *gpu, float *dst, const float *from,
                             const tsri_maps_words *w)
{
    TSR_TRY(tsri_cuda_use(gpu));
    return done(gpu, tsri_launch_words(dst, from, w->words, w->codes, w->n,
                                       w->groups, w->k, w->dim, gpu->stream));
}

tsr_error tsri_maps_add(tsri_cuda *gpu, float *dst, const float *src, size_t count)
{
    TSR_TRY(tsri_cuda_use(gpu));
    return done(gpu, tsri_launch_add(dst, src, count, gpu->stream));
}

tsr_error tsri_maps_split(tsri_cuda *gpu, float *dst, const float *src, size_t n,
                          int groups, int dim)
{
    TSR_TRY(tsri_cuda_use(gpu));
    return done(gpu, tsri_launch_split(dst, src, n, groups, dim, gpu->stream));
}

tsr_error tsri_maps_scale(tsri_cuda *gpu, float *map, const float *gain, size_t n,
                          int channels)
{
    TSR_TRY(tsri_cuda_use(gpu));
    return done(gpu, tsri_launch_scale(map, gain, n, channels, gpu->stream));
}

tsr_error tsri_maps_planar(tsri_cuda *gpu, float *dst, const float *src, size_t n,
                           int channels)
{
    TSR_TRY(tsri_cuda_use(gpu));
    return done(gpu, tsri_launch_planar(dst, src, n, channels, gpu->stream));
}

tsr_error tsri_maps_tokens(tsri_cuda *gpu, float *map, int width,
                           const int16_t *tokens, const float *gain, int y0,
                           int x0, int rows, int columns, int channels)
{
    TSR_TRY(tsri_cuda_use(gpu));
    return done(gpu, tsri_launch_tokens(map, tokens, gain, width, y0, x0, rows,
                                        columns, channels, gpu->stream));
}
