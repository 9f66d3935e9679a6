/* SPDX-License-Identifier: BSD-2-Clause */
/* The compute backends behind the graph runner.  Which file defines
 * tsri_nn_onednn() is the Makefile's choice, so no caller has an #ifdef.
 *
 * A backend computes one thing: a convolution without padding, on one thread,
 * from one dense block of samples to another.  Padding, fusion with what comes
 * before and after, tiling and threads are the runner's, the same for all.
 *
 * Layout of a block of C channels (a multiple of TSRI_NN_LANE), h x w samples:
 * [C / 8][h][w][8].  This is oneDNN's nChw8c; measured on Zen 3 it is 10 to 40
 * per cent faster than nhwc for 3x3 kernels, and no loop has a tail. */
#ifndef TSR_LIB_NN_BACKEND_H
#define TSR_LIB_NN_BACKEND_H
#include "lib/nn/net.h"

enum {
    TSRI_NN_LANE = 8,
    TSRI_NN_KERNELS = 4     /* kernels of one step, see prepare */
};

typedef struct tsri_nn_backend tsri_nn_backend;
typedef struct tsri_nn_state tsri_nn_state;     /* each backend's own */
typedef struct tsri_nn_kernel tsri_nn_kernel;

/** Channels are multiples of TSRI_NN_LANE; those that only fill up have zero
 *  weights.  The sum over (channel block, row, column, channel) runs in an
 *  order that depends on nothing but the kernel. */
typedef struct tsri_nn_conv {
    int in, out, kernel, stride;
    tsri_act act;           /* applied to the result */
    float *bias;            /* [out] */
    void *packed;           /* weights as pack() made them */
    bool wide;              /* reads squares: 16-bit numbers will not do */
} tsri_nn_conv;

struct tsri_nn_backend {
    const char *name;

    /** State of one net: used by one thread at a time but for run(). */
    tsr_error (*open)(tsri_nn_state **state, tsr_context *ctx,
                      const tsri_nn_backend *self);
    void (*close)(tsri_nn_state **state);

    /** Makes conv->packed from weight [out][in][kernel][kernel]. */
    tsr_error (*pack)(tsri_nn_state *state, tsri_nn_conv *conv,
                      const float *weight);
    void (*unpack)(tsri_nn_state *state, tsri_nn_conv *conv);

    /** The kernel for an output block of height x width; the state owns it
     *  and keeps at least the last TSRI_NN_KERNELS that were asked for. */
    tsr_error (*prepare)(tsri_nn_state *state, const tsri_nn_conv *conv,
                         int height, int width, const tsri_nn_kernel **kernel);

    /** src has stride * (height - 1) + kernel rows, columns likewise; both
     *  blocks are 64-byte aligned.  Called by several threads at once. */
    tsr_error (*run)(const tsri_nn_kernel *kernel, const tsri_nn_conv *conv,
                     const float *src, float *dst);

    /** NULL; or the backend has its samples elsewhere and whole steps are its
     *  work (device.h): then prepare and run are not there. */
    const struct tsri_dev_ops *device;
};

const tsri_nn_backend *tsri_nn_plain(void);
const tsri_nn_backend *tsri_nn_onednn(void); /* NULL: not in this build */
#endif
