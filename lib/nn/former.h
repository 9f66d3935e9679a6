/* SPDX-License-Identifier: BSD-2-Clause */
/* A small transformer encoder over the positions of a rectangular window.
 *
 * Pre-norm blocks: x += out(attention(norm1(x))); x += down(gelu(up(norm2(x)))).
 * Attention is softmax over all positions of the window of
 * (q . k) / sqrt(width / heads) + near[head][dy][dx], where (dy, dx) is the
 * key's place seen from the query's: the only thing that knows about places, so
 * a window may have fewer rows and columns than the largest.  GELU is its tanh
 * form.  Or, for published encoders whose inputs know about their places: positions
 * in a row, softmax of q . k / sqrt(width / heads) alone, and GELU with the error
 * function.  Matrix products are those of lib/nn/seq_kernels.h, whose sums have one
 * order; a result depends on the set of kernels alone.
 *
 * Sources: Vaswani et al., "Attention is all you need", NeurIPS 2017; Shaw et
 *          al., "Self-attention with relative position representations", NAACL
 *          2018; Chang et al., "MaskGIT: masked generative image transformer",
 *          CVPR 2022 (what it is for). */
#ifndef TSR_LIB_NN_FORMER_H
#define TSR_LIB_NN_FORMER_H
#include "lib/nn/seq_kernels.h"

enum {
    TSRI_FORMER_SIDE = 64,      /**< most positions of a window's side */
    TSRI_FORMER_ROW = 4096,     /**< most positions in a row */
    TSRI_FORMER_WIDTH = 4096,   /**< most numbers of a position */
    TSRI_FORMER_LANES = 8       /**< width / heads is a multiple of it */
};

typedef struct tsri_former tsri_former;

typedef struct tsri_former_sizes {
    int width, heads, hidden;   /**< hidden: between up and down */
    int blocks;
    int side;                   /**< of the largest window */
} tsri_former_sizes;

/** The weights of a block, as PyTorch has them; borrowed for the call. */
typedef struct tsri_former_weights {
    const float *norm1_weight, *norm1_bias;     /**< [width] */
    const float *qkv_weight, *qkv_bias;         /**< [3 width][width], [3 width] */
    const float *near;          /**< [heads][2 side - 1][2 side - 1] */
    const float *out_weight, *out_bias;         /**< [width][width], [width] */
    const float *norm2_weight, *norm2_bias;
    const float *up_weight, *up_bias;           /**< [hidden][width], [hidden] */
    const float *down_weight, *down_bias;       /**< [width][hidden], [width] */
} tsri_former_weights;

/**
 * Makes an encoder whose blocks are still to be set.
 *
 * former  out; NULL on failure
 *
 * Returns TSR_OK; TSR_E_ARG sizes below 1 or beyond the limits above, heads
 * that do not divide the width into multiples of TSRI_FORMER_LANES;
 * TSR_E_NOMEM.
 */
tsr_error tsri_former_open(tsri_former **former, tsr_context *ctx,
                           const tsri_former_sizes *sizes);

/** The same of positions in a row, sizes->side of them; eps: of its norms, else
 *  1e-5.  The blocks' `near` is NULL. */
tsr_error tsri_former_open_row(tsri_former **former, tsr_context *ctx,
                               const tsri_former_sizes *sizes, float eps);

/** Sets block i (0..blocks - 1), once each.  TSR_OK; TSR_E_NOMEM.  Memory: the
 *  weights as floats. */
tsr_error tsri_former_set(tsri_former *former, int i,
                          const tsri_former_weights *weights);

/** NULL is allowed. */
void tsri_former_close(tsri_former **former);

/** y = (x - mean) / sqrt(variance + 1e-5) * weight + bias for each of n rows of
 *  `width`, a multiple of TSRI_FORMER_LANES; y may be x.
 *  Source: Ba et al., "Layer normalization", 2016. */
void tsri_layer_norm(const float *x, int n, int width, const float *weight,
                     const float *bias, float *y);
/** The same with another number than 1e-5. */
void tsri_layer_norm_eps(const float *x, int n, int width, float eps,
                         const float *weight, const float *bias, float *y);

/** Floats of scratch memory that a run takes. */
size_t tsri_former_scratch(const tsri_former *former);

/**
 * Runs all blocks over one window.
 *
 * rows, cols  of the window, 1..side
 * x           [rows][cols][width], in and out
 * scratch     tsri_former_scratch() floats, 64-byte aligned
 *
 * Immutable: any number of threads may run one at once.
 * Cost: with n positions, n * blocks * width * (4 width + 2 hidden + 2 n)
 * multiply-adds.
 */
void tsri_former_run(const tsri_former *former, const tsri_seq_kernels *kernels,
                     int rows, int cols, float *x, float *scratch);
/** Runs block i alone.  Of positions in a row, rows is 1. */
void tsri_former_block(const tsri_former *former,
                       const tsri_seq_kernels *kernels, int i, int rows,
                       int cols, float *x, float *scratch);
#endif
