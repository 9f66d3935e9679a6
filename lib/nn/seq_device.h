/* SPDX-License-Identifier: BSD-2-Clause */
/* One-dimensional nets on a device: the operations that seq_device*.c queue.
 *
 * A stream's tracks lie in device memory, time-major as on the host, in the
 * device's number format; sums, gates and states are floats in any case.
 * Everything happens in the order it was queued, but for what is queued aside;
 * only wait() waits.
 * tests/seq_device_plain.h is the oracle. */
#ifndef TSR_LIB_NN_SEQ_DEVICE_H
#define TSR_LIB_NN_SEQ_DEVICE_H
#include "lib/nn/seq_kernels.h"

typedef struct tsri_seq_dev tsri_seq_dev;

/** Applied last; alpha: [period] in device memory, sample i of a row has
 *  alpha[i % period]. */
typedef struct tsri_seq_dev_curve {
    tsri_curve curve;
    float slope;
    const float *alpha;
    int period;
} tsri_seq_dev_curve;

/** Output t, t < rows, reads the samples first + t * stride + tap * dilation of
 *  x.  Those below 0 are x[-i], or zero; those from `made` on x[2 top - i], or
 *  zero; what would itself be beyond `made` is zero, too. */
typedef struct tsri_seq_dev_conv {
    const tsri_conv1d *conv;
    const void *weights;        /**< of pack() */
    const void *x;              /**< sample 0; dense rows of conv->in */
    int first, made, top;
    bool reflect_front, reflect_back;
    int rows;
    const void *add;            /**< [rows][conv->out] or NULL; may be y */
    void *y;                    /**< [rows][conv->out] */
    bool wide;                  /**< y is float, and has no curve */
    tsri_seq_dev_curve curve;
} tsri_seq_dev_conv;

typedef struct tsri_seq_dev_lstm {
    const tsri_lstm *lstm;
    const void *weights;        /**< of pack_lstm() */
    const float *gates;         /**< [rows][4 hidden] */
    int rows;
    float *state;               /**< [2][hidden]: h, c */
    void *y;                    /**< [rows][hidden]: curve(h) */
    tsri_seq_dev_curve curve;
} tsri_seq_dev_lstm;

/** y = curve(scale * (x + add)), or with `shift` curve((x - mean) * gain +
 *  bias); dense rows.  y may be x or add. */
typedef struct tsri_seq_dev_rows {
    const void *x, *add;        /**< add: NULL: none */
    void *y;
    size_t rows;
    int channels;
    float scale;
    const float *shift;         /**< [2][channels] mean, gain; or NULL */
    const float *bias;          /**< [channels] */
    tsri_seq_dev_curve curve;
} tsri_seq_dev_rows;

/** Group norm's coefficients of a whole signal; sums in double. */
typedef struct tsri_seq_dev_measure {
    const void *x;
    size_t length;
    int channels, groups;
    float eps;
    const float *weight;        /**< [channels] */
    float *shift;               /**< out: [2][channels]: mean, gain */
} tsri_seq_dev_measure;

struct tsri_plane_ops;

/* All return TSR_OK; TSR_E_NOMEM; TSR_E_BACKEND; open() also
 * TSR_E_UNSUPPORTED. */
struct tsri_seq_ops {
    /** *element: bytes of a number: 4 (float) or 2. */
    tsr_error (*open)(tsri_seq_dev **dev, tsr_context *ctx, int *element);
    void (*close)(tsri_seq_dev **dev);
    tsr_error (*alloc)(tsri_seq_dev *dev, void **mem, size_t bytes);
    void (*free)(tsri_seq_dev *dev, void *mem);
    /** Host memory that copies are fast from and to. */
    tsr_error (*alloc_host)(tsri_seq_dev *dev, void **mem, size_t bytes);
    void (*free_host)(tsri_seq_dev *dev, void *mem);
    tsr_error (*upload)(tsri_seq_dev *dev, void *to, const void *from,
                        size_t bytes);
    tsr_error (*download)(tsri_seq_dev *dev, void *to, const void *from,
                          size_t bytes);
    /** Device to device, not overlapping. */
    tsr_error (*copy)(tsri_seq_dev *dev, void *to, const void *from,
                      size_t bytes);
    tsr_error (*clear)(tsri_seq_dev *dev, void *to, size_t bytes);
    tsr_error (*wait)(tsri_seq_dev *dev);
    /** Until back(), conv() and lstm() are done beside what is queued later,
     *  in their own order and after all that was queued before; also once
     *  inside of itself.  join(), outside: what is queued later comes after all
     *  of them; needed before memory that they use is freed. */
    tsr_error (*aside)(tsri_seq_dev *dev);
    void (*back)(tsri_seq_dev *dev);
    tsr_error (*join)(tsri_seq_dev *dev);
    /** n floats of device memory to numbers, and back. */
    tsr_error (*enter)(tsri_seq_dev *dev, void *to, const float *from, size_t n);
    tsr_error (*leave)(tsri_seq_dev *dev, float *to, const void *from, size_t n);
    /** From the host's packed weights; waits. */
    tsr_error (*pack)(tsri_seq_dev *dev, const tsri_conv1d *conv,
                      void **weights);
    tsr_error (*pack_lstm)(tsri_seq_dev *dev, const tsri_lstm *lstm,
                           void **weights);
    void (*unpack)(tsri_seq_dev *dev, void *weights);
    tsr_error (*conv)(tsri_seq_dev *dev, const tsri_seq_dev_conv *c);
    tsr_error (*lstm)(tsri_seq_dev *dev, const tsri_seq_dev_lstm *l);
    tsr_error (*rows)(tsri_seq_dev *dev, const tsri_seq_dev_rows *r);
    tsr_error (*measure)(tsri_seq_dev *dev, const tsri_seq_dev_measure *m);
    /** Layers over planes (lib/nn/plane_device.h); NULL: it has none. */
    const struct tsri_plane_ops *plane;
};

/** That of the context, in its precision; NULL: none. */
const tsri_seq_ops *tsri_seq_device_of(const tsr_context *ctx, bool decoder);
#endif
