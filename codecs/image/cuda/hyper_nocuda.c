/* SPDX-License-Identifier: BSD-2-Clause */
/* A build without CUDA: no device ever opens, so nothing else is reached. */
#include "codecs/image/cuda/hyper_gpu.h"

static const tsr_error none = TSR_E_UNSUPPORTED;

tsr_error tsri_hyper_gpu_open(tsri_hyper_gpu **gpu, tsri_cuda *cuda,
                              const tsri_hyper_model *m)
{
    (void)cuda, (void)m;
    *gpu = NULL;
    return none;
}

void tsri_hyper_gpu_close(tsri_hyper_gpu **gpu)
{
    (void)gpu;
}

tsr_error tsri_hyper_gpu_put(tsri_hyper_gpu *gpu, tsri_rans_enc *enc, int height,
                             int width, const int8_t *z, const float *y,
                             int16_t *fixed, uint32_t crc, const uint8_t **data,
                             size_t *size)
{
    (void)gpu, (void)enc, (void)height, (void)width, (void)z, (void)y, (void)fixed;
    (void)crc, (void)data, (void)size;
    return none;
}

tsr_error tsri_hyper_gpu_get(tsri_hyper_gpu *gpu, int height, int width,
                             const uint8_t *data, size_t size, uint32_t crc,
                             int8_t *z, int16_t *fixed)
{
    (void)gpu, (void)height, (void)width, (void)data, (void)size, (void)crc;
    (void)z, (void)fixed;
    return none;
}

tsr_error tsri_hyper_gpu_maps(tsri_hyper_gpu *gpu, int height, int width, float **y,
                              float **z)
{
    (void)gpu, (void)height, (void)width, (void)y, (void)z;
    return none;
}

tsr_error tsri_hyper_gpu_put_maps(tsri_hyper_gpu *gpu, tsri_rans_enc *enc, int height,
                                  int width, uint32_t crc, const uint8_t **data,
                                  size_t *size)
{
    (void)gpu, (void)enc, (void)height, (void)width, (void)crc, (void)data;
    (void)size;
    return none;
}

const int16_t *tsri_hyper_gpu_fixed(const tsri_hyper_gpu *gpu)
{
    (void)gpu;
    return NULL;
}

tsr_error tsri_hyper_gpu_gain(tsri_hyper_gpu *gpu, int kind, const float *gain,
                              const float **on_device)
{
    (void)gpu, (void)kind, (void)gain, (void)on_device;
    return none;
}
