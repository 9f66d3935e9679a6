/* SPDX-License-Identifier: BSD-2-Clause */
/* Convolutions by cuDNN 9, through its graph interface.
 *
 * The library is opened when a device is first used (libcudnn.so.9), so that a
 * program needs it only then: nothing is linked.  Plans are made once for each
 * shape and kept: of the first engines that cuDNN's heuristics name, and of our own
 * kernel, the fastest one for one item, by measuring.  It is chosen once
 * for all contexts of a process on a device, so that they make the same bits; another
 * process may choose another.  Several items are done at once by the same engine with
 * the same settings where that gives the first of them that come the bits that it
 * gives each alone, and else one by one. */
#ifndef TSR_LIB_NN_CUDA_DNN_H
#define TSR_LIB_NN_CUDA_DNN_H
#include "lib/cuda/device_cuda.h"
#include "lib/nn/cuda/steps_kernels.h"

/** A convolution of NHWC samples; sums are floats.  NNK_F32 is computed in
 *  floats throughout, without TF32. */
typedef struct tsri_dnn_shape {
    int64_t items;          /**< of x and y */
    int64_t row, plane;     /**< elements of x from one row to the next, and from one
                                 item to the next; first, so that nothing is
                                 between the fields */
    int type;               /**< nnk_type of x, weight and y */
    int height, width;      /**< of x */
    int in, out, kernel, stride;
    int top, left, bottom, right;   /**< zeros around x */
    int rows, cols;         /**< of y, dense: [items][rows][cols][out] */
    int act;                /**< 0 none, 1 silu, 2 relu */
    int add;                /**< something like y is added; act is 0 */
    int wide;               /**< y is float whatever the type */
} tsri_dnn_shape;

/** Returns TSR_OK; TSR_E_UNSUPPORTED no cuDNN 9 on this machine; TSR_E_BACKEND;
 *  TSR_E_NOMEM.  gpu must outlive it. */
tsr_error tsri_dnn_open(tsri_dnn **dnn, tsri_cuda *gpu);
void tsri_dnn_close(tsri_dnn **dnn);

/** After the device's stream has changed. */
tsr_error tsri_dnn_use_stream(tsri_dnn *dnn);

/** What a convolution reads and writes. */
typedef struct tsri_dnn_operands {
    const void *x, *weight; /**< weight [out][kernel][kernel][in] */
    const float *bias;
    const void *add;        /**< where the shape says so; not y */
    void *y;
} tsri_dnn_operands;

/** y = act(bias + conv(x, weight)) + add.  Queued on the device's stream; the
 *  first call of a shape waits. */
tsr_error tsri_dnn_conv(tsri_dnn *dnn, const tsri_dnn_shape *shape,
                        const tsri_dnn_operands *operands);

/** How many shapes this one has chosen a kernel for, since no other context of the
 *  process had. */
int tsri_dnn_chosen(const tsri_dnn *dnn);

/** Memory that what was queued works in; another one when it had to grow. */
const void *tsri_dnn_workspace(const tsri_dnn *dnn);
#endif
