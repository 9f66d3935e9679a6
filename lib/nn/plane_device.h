/* SPDX-License-Identifier: BSD-2-Clause */
/* Layers over small planes on a device of one-dimensional nets: what
 * lib/nn/plane.h has beside products of matrices, which are seq_device.h's
 * convolutions of gathered samples.
 *
 * `items` planes of equal size lie behind each other, [item][position][channel], in
 * the device's number format; weights, sums and what is called wide are floats.
 * Everything happens in the order it was queued.  tests/plane_device_plain.h is the
 * oracle. */
#ifndef TSR_LIB_NN_PLANE_DEVICE_H
#define TSR_LIB_NN_PLANE_DEVICE_H
#include "lib/nn/seq_device.h"

typedef struct tsri_plane_record tsri_plane_record;

/** y[item][row][column][3][3][channels]: the samples around a position of the
 *  result, zeros outside of x. */
typedef struct tsri_plane_gather {
    const void *x;
    void *y;
    int items, height, width, channels;     /**< of x */
    int rows, columns;                      /**< of y */
    int stride;                             /**< 1 or 2 */
    bool twice;                             /**< x is read twice both ways */
} tsri_plane_gather;

/** y = GroupNorm of x + add over an item's positions, then SiLU if asked for; sums
 *  in double. */
typedef struct tsri_plane_norm_step {
    const void *x;
    void *y;                    /**< may be x */
    int items, positions, channels, groups;
    float eps;
    const float *weight;        /**< [2][channels]: weight, bias */
    const float *add;           /**< [channels] or NULL */
    bool silu;
} tsri_plane_norm_step;

/** LayerNorm of each row, 1e-5 being added to the variance. */
typedef struct tsri_plane_layer_norm {
    const void *x;
    void *y;
    int rows, channels;
    const float *weight;        /**< [2][channels] */
} tsri_plane_layer_norm;

/** As tsri_plane_attend(), item by item. */
typedef struct tsri_plane_attention {
    const void *q, *k, *v;      /**< [items][n or m][channels] */
    void *y;                    /**< not q */
    int items, n, m, channels;
} tsri_plane_attention;

/** As tsri_plane_geglu(). */
typedef struct tsri_plane_gate {
    const void *x;
    void *y;
    int rows, channels;         /**< of y */
} tsri_plane_gate;

/** y[row] = a[row], then b[row]. */
typedef struct tsri_plane_join {
    const void *a, *b;
    void *y;
    int rows, a_channels, b_channels;
} tsri_plane_join;

/** A step of a sampler: x = by_x x + by_v (v0 + guidance (v1 - v0)) + by_noise
 *  noise; numbers is set to x twice.  v: [2][n]. */
typedef struct tsri_plane_mix {
    float *x;
    const float *v, *noise;
    void *numbers;              /**< [2][n] */
    int n;
    float by_x, by_v, by_noise, guidance;
} tsri_plane_mix;

/* Steps return TSR_OK; TSR_E_BACKEND. */
typedef struct tsri_plane_ops {
    tsr_error (*gather)(tsri_seq_dev *dev, const tsri_plane_gather *g);
    tsr_error (*norm)(tsri_seq_dev *dev, const tsri_plane_norm_step *n);
    tsr_error (*layer_norm)(tsri_seq_dev *dev, const tsri_plane_layer_norm *n);
    tsr_error (*attend)(tsri_seq_dev *dev, const tsri_plane_attention *a);
    tsr_error (*gate)(tsri_seq_dev *dev, const tsri_plane_gate *g);
    tsr_error (*join)(tsri_seq_dev *dev, const tsri_plane_join *j);
    tsr_error (*mix)(tsri_seq_dev *dev, const tsri_plane_mix *m);
    /** What is queued from record() on, steps only, is kept and not done, until
     *  end_record() gives it back to be done any number of times.  false, NULL:
     *  the device cannot. */
    bool (*record)(tsri_seq_dev *dev);
    tsri_plane_record *(*end_record)(tsri_seq_dev *dev);
    tsr_error (*replay)(tsri_seq_dev *dev, const tsri_plane_record *record);
    /** NULL is allowed; waits. */
    void (*forget)(tsri_seq_dev *dev, tsri_plane_record *record);
} tsri_plane_ops;
#endif
