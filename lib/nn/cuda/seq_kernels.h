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
    SQK_LSTM_GROUPS = 32    /* units that a block has threads for */
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
    int loose;              /* the launcher's: y is written number by number */
    sqk_curve curve;
} sqk_conv;

/** A cluster of `blocks` blocks has `units` units each, an even number.
 *  weight[block][parts][4 gates][units][lane] are four floats each: unit u of
 *  a block is block * units + u of the layer, and lane l of part p is for the
 *  hidden values 4 (16 p + l) and the next three; zeros beyond the layer. */
typedef struct sqk_lstm {
    const float *weight, *gates;
    float *state;
    void *y;
    int hidden, rows;
    int blocks, units, parts;
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
cudaError_t sqk_lstm_run(sqk_type type, const sqk_lstm *l, cudaStream_t stream);
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
