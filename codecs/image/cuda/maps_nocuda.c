/* SPDX-License-Identifier: BSD-2-Clause */
/* A build without CUDA: no context has a device, so nothing here is reached. */
#include "codecs/image/cuda/maps.h"

tsr_error tsri_maps_words_of(tsri_cuda *gpu, float *dst, const float *from,
                             const tsri_maps_words *w)
{
    (void)gpu, (void)dst, (void)from, (void)w;
    return TSR_E_UNSUPPORTED;
}

tsr_error tsri_maps_add(tsri_cuda *gpu, float *dst, const float *src, size_t count)
{
    (void)gpu, (void)dst, (void)src, (void)count;
    return TSR_E_UNSUPPORTED;
}

tsr_error tsri_maps_split(tsri_cuda *gpu, float *dst, const float *src, size_t n,
                          int groups, int dim)
{
    (void)gpu, (void)dst, (void)src, (void)n, (void)groups, (void)dim;
    return TSR_E_UNSUPPORTED;
}

tsr_error tsri_maps_scale(tsri_cuda *gpu, float *map, const float *gain, size_t n,
                          int channels)
{
    (void)gpu, (void)map, (void)gain, (void)n, (void)channels;
    return TSR_E_UNSUPPORTED;
}

tsr_error tsri_maps_planar(tsri_cuda *gpu, float *dst, const float *src, size_t n,
                           int channels)
{
    (void)gpu, (void)dst, (void)src, (void)n, (void)channels;
    return TSR_E_UNSUPPORTED;
}

tsr_error tsri_maps_tokens(tsri_cuda *gpu, float *map, int width,
                           const int16_t *tokens, const float *gain, int y0,
                           int x0, int rows, int columns, int channels)
{
    (void)gpu, (void)map, (void)width, (void)tokens, (void)gain, (void)y0;
    (void)x0, (void)rows, (void)columns, (void)channels;
    return TSR_E_UNSUPPORTED;
}
