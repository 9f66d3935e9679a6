/* SPDX-License-Identifier: BSD-2-Clause */
/* The entropy model of "hyper" on a CUDA device: the predictions run there,
 * exactly; the chain of rANS states stays on the host.
 *
 * The encoder queues all passes of a unit at once, since its symbols depend on y
 * alone, and waits once.  The decoder waits for each pass's list of classes.
 * Streams are byte for byte those of hyper_units.c, and so are its verdicts. */
#ifndef TSR_CODECS_HYPER_GPU_H
#define TSR_CODECS_HYPER_GPU_H
#include "codecs/image/hyper.h"
#include "lib/cuda/device.h"

/** A model's weights on a device, and room for a unit, which grows. */
typedef struct tsri_hyper_gpu tsri_hyper_gpu;

/** m must outlive it.  Returns as lib/cuda/device.h. */
tsr_error tsri_hyper_gpu_open(tsri_hyper_gpu **gpu, tsri_cuda *cuda,
                              const tsri_hyper_model *m);
void tsri_hyper_gpu_close(tsri_hyper_gpu **gpu);

/** As tsri_hyper_put() and tsri_hyper_get(); fixed may be NULL: not wanted. */
tsr_error tsri_hyper_gpu_put(tsri_hyper_gpu *gpu, tsri_rans_enc *enc, int height,
                             int width, const int8_t *z, const float *y,
                             int16_t *fixed, uint32_t crc, const uint8_t **data,
                             size_t *size);
tsr_error tsri_hyper_gpu_get(tsri_hyper_gpu *gpu, int height, int width,
                             const uint8_t *data, size_t size, uint32_t crc,
                             int8_t *z, int16_t *fixed);
#endif
