/* SPDX-License-Identifier: BSD-2-Clause */
/* Nets on a device: the work that net_device.c hands out, step by step.
 *
 * Everything is queued in order; nothing waits but wait().  Samples are NHWC in
 * the device's number format, channels filled up to whole lanes (of
 * TSRI_NN_LANE) with zeros; "wide" blocks are float.  Sums are made in float in
 * any case.  Several inputs of one size are items that lie behind each other; what is
 * made of one does not depend on how many there are.  tests/nn_device_plain.h is the
 * oracle. */
#ifndef TSR_LIB_NN_DEVICE_H
#define TSR_LIB_NN_DEVICE_H
#include "lib/nn/net_internal.h"

typedef struct tsri_dev tsri_dev;
typedef struct tsri_dev_record tsri_dev_record;

/** The part `rect` of the planes of some items: sample (y, x), channel c of item i
 *  is element (((i * rows) + y - rect.y0) * columns + x - rect.x0) * lanes + c. */
typedef struct tsri_dev_map {
    void *data;
    tsri_rect rect;
    int lanes, items;
} tsri_dev_map;

/** A part of what a convolution reads: source through unshuffle, norm and `pre`,
 *  upsampled and padded, as net_run.c's gather() does it. */
typedef struct tsri_dev_gather {
    tsri_dev_map src;
    int channels;           /* of the source that are not filling */
    void *dst;              /* items x rows(to) x cols(to) x lanes */
    bool wide;              /* dst is float */
    tsri_rect to;           /* may stick out of height x width */
    int lanes, height, width;
    int unshuffle, upsample;
    tsri_pad pad;
    tsri_pre pre;
    const float *norm;      /* [items][3][lanes of src] mean, scale, shift; or
                             * NULL */
} tsri_dev_gather;

/** Weights as pack() made them. */
typedef struct tsri_dev_weights {
    void *weight;           /* [out][kernel][kernel][in] */
    float *bias;            /* [out] */
    bool wide;
} tsri_dev_weights;

/** dst[y][x] = act(bias + sum of weight * src) + add, float sums. */
typedef struct tsri_dev_conv {
    const tsri_nn_conv *conv;
    const void *src;        /* height x width samples of conv->in lanes */
    size_t row;             /* elements from one of its rows to the next */
    size_t plane;           /* and from one of its items to the next */
    int items;
    int height, width;
    int top, left, bottom, right;   /* zeros around it */
    void *dst;              /* items x rows x cols x conv->out, dense */
    const void *add;        /* the same, not dst; NULL: none */
    int rows, cols;
} tsri_dev_conv;

/** What becomes of a block. */
typedef struct tsri_dev_post {
    tsri_post post;
    const void *row;        /* items of dst x rows(rect) x cols(rect) x lanes */
    bool wide;
    tsri_rect rect;
    int lanes;
    tsri_dev_map arg[2];
    tsri_dev_map dst;       /* may be an argument's memory */
    int channels;           /* of dst */
    int shuffle;
    bool permuted;
} tsri_dev_post;

typedef struct tsri_dev_norm {
    tsri_dev_map src;       /* the whole plane */
    int channels, groups;
    float eps;
    const float *weights;   /* gamma [lanes], beta [lanes] */
    float *out;             /* [items][3][lanes]; zeros beyond channels */
} tsri_dev_norm;

typedef struct tsri_dev_attention {
    tsri_dev_map q, k, v, dst;  /* whole planes */
    int channels;
    bool windowed;          /* queries see tsri_attention_window() */
} tsri_dev_attention;

/** Planar floats [channels][rows][cols] of the rect of a map of one item, in device
 *  memory. */
typedef struct tsri_dev_planar {
    tsri_dev_map map;
    float *planes;
    int channels;
} tsri_dev_planar;

/** Pixels in device memory as samples of a plane, or the other way round. */
typedef struct tsri_dev_pixels {
    tsri_dev_map map;       /* of one item */
    tsri_pixels pixels;     /* data, stride: of device memory; an output's alpha
                               is left alone */
} tsri_dev_pixels;

/* All return TSR_OK; TSR_E_NOMEM; TSR_E_BACKEND. */
typedef struct tsri_dev_ops {
    int element;            /**< bytes of a number: 2 or 4 */
    tsr_error (*open)(tsri_dev **dev, tsr_context *ctx);
    void (*close)(tsri_dev **dev);
    tsr_error (*alloc)(tsri_dev *dev, void **mem, size_t bytes);
    void (*free)(tsri_dev *dev, void *mem);
    /** The same, in the order of what is queued. */
    tsr_error (*take)(tsri_dev *dev, void **mem, size_t bytes);
    void (*give)(tsri_dev *dev, void *mem);
    /** Host memory that copies are fast from and to. */
    tsr_error (*alloc_host)(tsri_dev *dev, void **mem, size_t bytes);
    void (*free_host)(tsri_dev *dev, void *mem);
    tsr_error (*upload)(tsri_dev *dev, void *to, const void *from, size_t bytes);
    tsr_error (*download)(tsri_dev *dev, void *to, const void *from,
                          size_t bytes);
    tsr_error (*wait)(tsri_dev *dev);
    /** weight [out][in][kernel][kernel], on the host; waits. */
    tsr_error (*pack)(tsri_dev *dev, const tsri_nn_conv *conv,
                      const float *weight, bool wide, tsri_dev_weights **packed);
    void (*unpack)(tsri_dev *dev, tsri_dev_weights *packed);
    tsr_error (*enter)(tsri_dev *dev, const tsri_dev_planar *p);
    tsr_error (*leave)(tsri_dev *dev, const tsri_dev_planar *p);
    /** The same, planes being [items][rows][cols][channels]. */
    tsr_error (*enter_map)(tsri_dev *dev, const tsri_dev_planar *p);
    tsr_error (*leave_map)(tsri_dev *dev, const tsri_dev_planar *p);
    tsr_error (*enter_pixels)(tsri_dev *dev, const tsri_dev_pixels *p);
    tsr_error (*leave_pixels)(tsri_dev *dev, const tsri_dev_pixels *p);
    tsr_error (*gather)(tsri_dev *dev, const tsri_dev_gather *g);
    tsr_error (*conv)(tsri_dev *dev, const tsri_dev_conv *c);
    tsr_error (*post)(tsri_dev *dev, const tsri_dev_post *p);
    tsr_error (*norm)(tsri_dev *dev, const tsri_dev_norm *n);
    tsr_error (*attention)(tsri_dev *dev, const tsri_dev_attention *a);
    /** What is queued from record() on is kept and not done, until end_record(),
     *  which gives it back to be done any number of times.  NULL, false: the
     *  device cannot, or what was queued.  Memory must be the same then;
     *  replay() is false where the device's own is not, or it fails. */
    bool (*record)(tsri_dev *dev);
    tsri_dev_record *(*end_record)(tsri_dev *dev);
    bool (*replay)(tsri_dev *dev, const tsri_dev_record *record);
    void (*forget)(tsri_dev *dev, tsri_dev_record *record);
} tsri_dev_ops;

/** A backend of these operations. */
#define TSRI_NN_DEVICE_BACKEND(name_, ops_)                           \
    { .name = name_, .open = tsri_device_open, .close = tsri_device_close, \
      .pack = tsri_device_pack, .unpack = tsri_device_unpack, .device = ops_ }
tsr_error tsri_device_open(tsri_nn_state **state, tsr_context *ctx,
                           const tsri_nn_backend *self);
void tsri_device_close(tsri_nn_state **state);
tsr_error tsri_device_pack(tsri_nn_state *state, tsri_nn_conv *conv,
                           const float *weight);
void tsri_device_unpack(tsri_nn_state *state, tsri_nn_conv *conv);

/** Runs the last plan: as tsri_run_plan(), with the memory left to itself. */
tsr_error tsri_device_run(const tsri_net *net, const tsri_buffers *m);
#endif
