/* SPDX-License-Identifier: BSD-2-Clause */
/* Layers over small planes that are computed whole, position by position: what a
 * UNet with attention to a condition is made of.  (Nets over planes of any size,
 * in tiles, are lib/nn/net.h's.)
 *
 * A plane is [height][width][channels]; for layers that do not look beside a
 * position it is [n][channels].  Products are those of lib/nn/seq_kernels.h: each
 * output is summed in an order that depends on the layer alone, so a result is
 * the same whatever the threads.  Functions use the context's threads. */
#ifndef TSR_LIB_NN_PLANE_H
#define TSR_LIB_NN_PLANE_H
#include "lib/nn/seq_kernels.h"

typedef struct tsri_plane_runner {
    tsr_context *ctx;
    const tsri_seq_kernels *kernels;
    float *scratch;             /**< of all threads */
    size_t each;                /**< floats of one */
    float *zero;                /**< a bias */
} tsri_plane_runner;

enum {
    TSRI_PLANE_STRIP = 32,      /**< positions that are computed at once */
    TSRI_PLANE_CHANNELS = 4096, /**< most of a plane */
    TSRI_PLANE_HEAD = 32        /**< channels of a head of attention */
};

/**
 * Makes scratch memory.
 *
 * channels   most that a convolution of 3 x 3 reads
 * positions  most keys of an attention
 *
 * Returns TSR_OK; TSR_E_NOMEM.
 */
tsr_error tsri_plane_open(tsri_plane_runner *run, tsr_context *ctx, int channels,
                          int positions);
void tsri_plane_close(tsri_plane_runner *run);

/** A convolution of 1 x 1 or 3 x 3, padded by zeros on every side. */
typedef struct tsri_plane_conv {
    tsri_conv1d layer;          /**< over the 1 or 9 samples of a position */
    int kernel, stride;         /**< 1 or 3; 1 or 2 */
    bool twice;                 /**< reads each sample twice both ways: nearest
                                     upsampling in front of it */
} tsri_plane_conv;

/** weight: [out][in][kernel][kernel]; bias: [out] or NULL; copied.  TSR_OK;
 *  TSR_E_NOMEM. */
tsr_error tsri_plane_conv_open(tsri_plane_conv *conv, tsr_context *ctx, int in,
                               int out, int kernel, const float *weight,
                               const float *bias);
void tsri_plane_conv_close(tsri_plane_conv *conv, tsr_context *ctx);
/** Size of the result. */
void tsri_plane_conv_size(const tsri_plane_conv *conv, int *height, int *width);
/** y = conv(x) + add; add: NULL or [..] of the result's size, may be y. */
tsr_error tsri_plane_conv_run(const tsri_plane_runner *run,
                              const tsri_plane_conv *conv, const float *x,
                              int height, int width, const float *add, float *y);
/** The same of n rows for a layer of one tap; x: rows of `xrow` floats. */
tsr_error tsri_plane_linear(const tsri_plane_runner *run,
                            const tsri_conv1d *layer, const float *x, size_t xrow,
                            int n, const float *add, float *y);

/** GroupNorm over n positions, then SiLU if asked for; groups divide the channels.
 *  Sums in double, in one order.  y may be x. */
tsr_error tsri_plane_norm(const tsri_plane_runner *run, const float *x, int n,
                          int channels, int groups, float eps, const float *gamma,
                          const float *beta, bool silu, float *y);

/** out[i] = softmax over j of q[i] . k[j] / sqrt(head), times v[j], head by head:
 *  q, out [n][channels], k, v [m][channels]; channels a multiple of
 *  TSRI_PLANE_HEAD.  Queries are to come divided by the root. */
tsr_error tsri_plane_attend(const tsri_plane_runner *run, const float *q, int n,
                            const float *k, const float *v, int m, int channels,
                            float *out);

/** y[i][c] = x[i][c] * gelu(x[i][channels + c]), GELU with the error function,
 *  within 1e-7 of |x|; x: [n][2 channels], channels a multiple of 8.
 *  Source: Shazeer, "GLU variants improve transformer", 2020. */
tsr_error tsri_plane_geglu(const tsri_plane_runner *run, const float *x, int n,
                           int channels, float *y);
#endif
