/* SPDX-License-Identifier: BSD-2-Clause */
/* The exact nearest search of vq/codebook.h on a CUDA device: the same codes,
 * bit for bit, for every input, Inf and NaN included.
 *
 * Tensor cores find, for each vector and each group of codewords, the lowest
 * score in half precision; what a proven bound cannot rule out is searched
 * again in float, in the order of the definition.  How long that takes depends
 * on the data only where very many codewords are almost equally near. */
#ifndef TSR_VQ_CUDA_NEAREST_CUDA_H
#define TSR_VQ_CUDA_NEAREST_CUDA_H
#include "lib/cuda/device.h"

enum {
    TSRI_NEAREST_CUDA_K = 1 << 24,      /* most codewords */
    TSRI_NEAREST_CUDA_DIM = 4096
};

/** How to search; the codes are the same. */
typedef enum tsri_nearest_how {
    TSRI_NEAREST_AUTO,
    TSRI_NEAREST_SWEEP,         /* tensor cores first */
    TSRI_NEAREST_EXACT          /* float alone */
} tsri_nearest_how;

/**
 * Bytes of device memory that a prepared codebook takes (about 6 k dim), and of
 * scratch that a search of n vectors takes: about n (2 dim + k / 64), at most
 * about 1 GiB, as more vectors are searched in turns.
 * 0 where k or dim is below 1 or above the limits.
 */
size_t tsri_nearest_cuda_book_size(int k, int dim);
size_t tsri_nearest_cuda_work_size(size_t n, int k, int dim);

/**
 * Queues the preparation of a codebook.
 *
 * book       out, device memory of tsri_nearest_cuda_book_size() bytes
 * codewords  [k][dim] floats of device memory; not needed after that
 *
 * Returns TSR_OK; TSR_E_ARG k or dim outside the limits; else lib/cuda/device.h.
 */
tsr_error tsri_nearest_cuda_prepare(tsri_cuda *gpu, void *book,
                                    const float *codewords, int k, int dim);

/**
 * Queues a search; nothing is allocated and nothing waited for.
 *
 * codes    out, n indices
 * book     of tsri_nearest_cuda_prepare(), for the same k and dim
 * x        [n][dim] floats; n <= 2^31 - 1, 0 does nothing
 * work     device memory of tsri_nearest_cuda_work_size() bytes
 *
 * Returns as tsri_nearest_cuda_prepare().
 * Cost: n k dim multiply-adds of half precision and, in float, about one group
 * of 128 to 512 codewords per vector.
 */
tsr_error tsri_nearest_cuda_search(tsri_cuda *gpu, int32_t *codes,
                                   const void *book, int k, int dim,
                                   const float *x, size_t n, void *work,
                                   tsri_nearest_how how);
#endif
