/* SPDX-License-Identifier: BSD-2-Clause */
/* Launchers of the kernels behind lib/nn/seq_device.h.  Numbers are those of its
 * structures; memory is the device's; all are queued on `stream`. */
#ifndef TSR_LIB_NN_CUDA_SEQ_KERNELS_H
#define TSR_LIB_NN_CUDA_SEQ_KERNELS_H
#include <cuda_runtime_api.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum { SQK_F32, SQK_F16, SQK_BF16 } sqk_type;

enum {
    SQK_CONV_K = 32,        /* taps * in of weights are filled up to so many */
    SQK_CONV_OUT = 64,      /* and the outputs */
    SQK_LSTM_LANES = 16,    /* threads of a unit */
    SQK_LSTM_GROUPS = 32,   /* units that a block has threads for */
    SQK_LSTM_HALF_UNITS = 4, /* of a warp, in 16 bits */
    SQK_LSTM_HALF_STEPS = 32 /* of 16 hidden values, at most; a multiple of 8 */
};

typedef struct sqk_curve {
    int curve;              /* tsri_curve */
    float slope;
    const float *alpha;
    int period;
} sqk_curve;

typedef struct sqk_conv {
    const void *x, *add;
    /* float: [taps * in filled up][out filled up]; 16 bits: [out filled
     * up][taps * in filled up]; zeros where filled up */
    const void *weight;
    const float *bias;      /* [out filled up] */
    void *y;
    int in, out, taps, stride, dilation;
    int first, made, top, front, back;
    int rows;
    int wide;
    int beside;             /* convolutions that share the device, 1 or more */
    int loose;              /* sqk_conv_run()'s: y is written number by number */
    sqk_curve curve;
} sqk_conv;

/** A cluster of `blocks` blocks has `units` units each, an even number: unit u of
 *  a block is block * units + u of the layer; weights beyond the layer are 0.
 *  Floats (steps 0): weight[block][parts][4 gates][units][lane] are four each:
 *  lane l of part p is for the hidden values 4 (16 p + l) and the next three.
 *  16 bits: weight[unit / 4][steps][32 lanes][2 halves of k][2 gates][2 k]: lane l
 *  is for unit l / 4 % 4, its gates l / 16 and l / 16 + 2, and of step s for the
 *  hidden values 4 (steps (l % 4) + s), the first half of k, and the next three;
 *  blocks is more than 1, units a multiple of 4, and there are clusters. */
typedef struct sqk_lstm {
    const void *weight;
    const float *gates;
    float *state;
    void *y;
    int hidden, rows;
    int blocks, units, parts, steps;
    int clusters;           /* the device has clusters; else blocks is 1 */
    sqk_curve curve;
} sqk_lstm;

typedef struct sqk_rows {
    const void *x, *add;
    void *y;
    size_t n;               /* numbers */
    int channels;
    float scale;
    const float *shift, *bias;
    sqk_curve curve;
} sqk_rows;

typedef struct sqk_measure {
    const void *x;
    size_t length;
    int channels, groups;
    float eps;
    const float *weight;
    float *shift;
    double *sums;           /* scratch: sqk_measure_doubles() */
} sqk_measure;

cudaError_t sqk_conv_run(sqk_type type, const sqk_conv *c, cudaStream_t stream);
/** Its parts, of 16 bits; half: in and out are multiples of 8, y and add lie at
 *  multiples of 16 bytes. */
cudaError_t sqk_conv_half_run(sqk_type type, const sqk_conv *c, cudaStream_t stream);
cudaError_t sqk_conv_odd_run(sqk_type type, const sqk_conv *c, cudaStream_t stream);
cudaError_t sqk_lstm_run(sqk_type type, const sqk_lstm *l, cudaStream_t stream);
/** Its part for weights of 16 bits. */
cudaError_t sqk_lstm_half_run(sqk_type type, const sqk_lstm *l, cudaStream_t stream);
cudaError_t sqk_rows_run(sqk_type type, const sqk_rows *r, cudaStream_t stream);
size_t sqk_measure_doubles(int channels);
cudaError_t sqk_measure_run(sqk_type type, const sqk_measure *m,
                            cudaStream_t stream);
/** n floats to numbers of the type, and back. */
cudaError_t sqk_enter_run(sqk_type type, void *to, const float *from, size_t n,
                          cudaStream_t stream);
cudaError_t sqk_leave_run(sqk_type type, float *to, const void *from, size_t n,
                          cudaStream_t stream);

#ifdef __cplusplus
}
#endif
#endif
