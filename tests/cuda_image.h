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

static inline size_t cuda_image_different(const gpu_tokens *a, const gpu_tokens *b)
{
    size_t n = 0;
    assert_int_equal(a->n, b->n);
    for (size_t i = 0; i < a->n; i++)
        n += a->id[i] != b->id[i];
    return n;
}

/** NULL: cannot be opened. */
tsr_context *cuda_image_context(const char *device, int precision, int threads);

/** By tsr_precision. */
extern const char *const precision_name[];

void verdict(bool good, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/** Batches of small pictures with one of gpu_models: the streams and pictures of one
 *  after the other, to the bit. */
void cuda_image_batches(const char *device, const char *model);

/** The same of larger pictures, several times, with the model mosaic and toys of
 *  published widths, of which several go through the networks at once. */
void cuda_image_wide(const char *device);

/** Device memory in and out: include/tessera/cuda.h. */
void cuda_image_memory(const char *device);
#endif
