/* SPDX-License-Identifier: BSD-2-Clause */
/* What the image codecs do to maps between nets, on a CUDA device.
 *
 * Maps are floats, NHWC without gaps: channel c of place i is
 * map[i * channels + c]; n places.  All pointers are device memory, calls are
 * queued on the handle's stream, results are those of the CPU, bit for bit.
 * Errors as lib/cuda/device.h. */
#ifndef TSR_CODECS_IMAGE_MAPS_H
#define TSR_CODECS_IMAGE_MAPS_H
#include "lib/cuda/device.h"

/** Product codebooks: words [groups][k][dim], codes [groups][n] below k. */
typedef struct tsri_maps_words {
    const float *words;
    const int32_t *codes;
    size_t n;
    int groups, k, dim;
} tsri_maps_words;

/** dst = the codewords or, where from is not NULL, from - the codewords; dst may
 *  be from. */
tsr_error tsri_maps_words_of(tsri_cuda *gpu, float *dst, const float *from,
                             const tsri_maps_words *words);

/** dst += src, count numbers. */
tsr_error tsri_maps_add(tsri_cuda *gpu, float *dst, const float *src,
                        size_t count);

/** dst [groups][n][dim] = src [n][groups * dim] */
tsr_error tsri_maps_split(tsri_cuda *gpu, float *dst, const float *src, size_t n,
                          int groups, int dim);

/** map *= gain[channels] */
tsr_error tsri_maps_scale(tsri_cuda *gpu, float *map, const float *gain, size_t n,
                          int channels);

/** dst [channels][n] = src */
tsr_error tsri_maps_planar(tsri_cuda *gpu, float *dst, const float *src, size_t n,
                           int channels);

/** Tokens of codec hyper, [channels][rows][columns], times gain / 128, into the
 *  rectangle at (y0, x0) of a map that is `width` places wide; tokens NULL:
 *  zeros. */
tsr_error tsri_maps_tokens(tsri_cuda *gpu, float *map, int width,
                           const int16_t *tokens, const float *gain, int y0,
                           int x0, int rows, int columns, int channels);
#endif
