/* SPDX-License-Identifier: BSD-2-Clause */
/* The parts of cuda_image. */
#ifndef TSR_TESTS_CUDA_IMAGE_H
#define TSR_TESTS_CUDA_IMAGE_H
#include "tests/gpu_streams.h"

/** How near to a border what was quantised lay, where two encoders chose
 *  differently: `worst` is the greatest distance from a border, over the length
 *  of the vector; of codec hyper the greatest difference of both encoders'
 *  latents, in quantiser steps. */
typedef struct ties {
    size_t count;           /* of places looked at */
    double worst;
} ties;

/** cpu, gpu  contexts of both sides
 *  a, b      the tokens that they made of the picture, at quality 100 */
ties cuda_image_ties(tsr_context *cpu, tsr_context *gpu, tsr_model *model,
                     const tsr_image *image, const gpu_tokens *a,
                     const gpu_tokens *b);

/** NULL: cannot be opened. */
tsr_context *cuda_image_context(const char *device, int precision, int threads);

void verdict(bool good, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/** Device memory in and out: include/tessera/cuda.h. */
void cuda_image_memory(const char *device);
#endif
