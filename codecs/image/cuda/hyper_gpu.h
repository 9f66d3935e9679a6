/* SPDX-License-Identifier: BSD-2-Clause */
/* The entropy model of "hyper" on a CUDA device: the predictions run there,
 * exactly; the chain of rANS states stays on the host.
 *
 * The encoder queues all passes of a unit at once, since its symbols depend on y
 * alone, and waits once.  The decoder waits for each pass's list of classes.  What
 * is queued between two waits is a CUDA graph from the second unit of a size on.
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

/** Device memory for a unit's y and z, [position][channel], until the next call
 *  with another size. */
tsr_error tsri_hyper_gpu_maps(tsri_hyper_gpu *gpu, int height, int width, float **y,
                              float **z);

/** As tsri_hyper_put() of what was queued to be written there: y is times the gain,
 *  z is as the net gives it.  Waits once. */
tsr_error tsri_hyper_gpu_put_maps(tsri_hyper_gpu *gpu, tsri_rans_enc *enc, int height,
                                  int width, uint32_t crc, const uint8_t **data,
                                  size_t *size);

/** The values of the last unit coded, as `fixed`, in device memory. */
const int16_t *tsri_hyper_gpu_fixed(const tsri_hyper_gpu *gpu);

/** gain[latents] in device memory; one of each kind is kept. */
enum { TSRI_HYPER_GAIN_ENC, TSRI_HYPER_GAIN_DEC, TSRI_HYPER_GAINS };
tsr_error tsri_hyper_gpu_gain(tsri_hyper_gpu *gpu, int kind, const float *gain,
                              const float **on_device);
#endif
