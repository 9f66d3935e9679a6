/* SPDX-License-Identifier: BSD-2-Clause */
/* The arithmetic of one-dimensional nets, on one thread, from memory to memory.
 *
 * Signals are time-major: sample t of channel c is x[t * row + c].  In that
 * order a convolution without dilation is a matrix product whose left rows
 * overlap (row t begins at x + t * stride * row and is taps * in long), so
 * nothing is gathered; a transposed convolution by s is one with s * out
 * channels, whose rows are the samples s t .. s t + s - 1 as they stand.
 *
 * Every function computes each output in an order that depends on the layer
 * alone, never on how many outputs are asked for at once: a signal cut into
 * chunks gives the same floats, bit for bit, on one machine and variant.  Plain
 * C is the definition: a sum starts with the bias (a gate with what the input
 * made of it), goes over the taps, inside over the channels, each product
 * rounded before it is added, and `add` comes last.  Variants differ from it by
 * float rounding. */
#ifndef TSR_LIB_NN_SEQ_KERNELS_H
#define TSR_LIB_NN_SEQ_KERNELS_H
#include "lib/core.h"

enum {
    TSRI_CONV1D_PANEL = 16, /**< outputs that are computed together */
    TSRI_CONV1D_NARROW = 4, /**< layers of so few are sums over channels instead */
    TSRI_LSTM_UNITS = 8     /**< hidden units that are computed together */
};

/** y[t][o] = bias[o] + sum over j, c of
 *  weight[o][c][j] * x[t * stride + j * dilation][c]; no padding. */
typedef struct tsri_conv1d {
    int in, out, taps, stride, dilation;
    float *packed;          /**< [panel][tap][in][TSRI_CONV1D_PANEL]; of narrow
                                 layers [out][tap][in] */
    float *bias;            /**< [out rounded up to TSRI_CONV1D_PANEL] */
} tsri_conv1d;

/**
 * Packs a layer.
 *
 * weight  [out][in][taps], finite; copied
 * bias    [out] or NULL = 0; copied
 *
 * Returns TSR_OK; TSR_E_NOMEM.  Memory: the weights, `out` rounded up.
 */
tsr_error tsri_conv1d_open(tsri_conv1d *conv, tsr_context *ctx, int in, int out,
                           int taps, int stride, int dilation,
                           const float *weight, const float *bias);
void tsri_conv1d_close(tsri_conv1d *conv, tsr_context *ctx);

/** Weight (o, c, tap) of a packed layer. */
float tsri_conv1d_weight(const tsri_conv1d *conv, int o, int c, int tap);

static inline bool tsri_conv1d_narrow(const tsri_conv1d *conv)
{
    return conv->out <= TSRI_CONV1D_NARROW;
}

/** Panels of outputs: the unit in which threads share a layer out. */
static inline int tsri_conv1d_panels(const tsri_conv1d *conv)
{
    return tsri_ceil_div(conv->out, TSRI_CONV1D_PANEL);
}

/**
 * Computes n outputs in time of panels first..last - 1.
 *
 * x    the first input of output 0; n > 0: the last input read is
 *      x[(n - 1) * stride + (taps - 1) * dilation]
 * xrow floats from one sample of x to the next, >= in
 * add  NULL, or what is added to the result: [n][yrow], may be y
 * y    out, rows of yrow >= out floats; only the channels of the panels are
 *      written
 *
 * Cost: n * in * taps multiply-adds an output channel.
 */
typedef void tsri_conv1d_fn(const tsri_conv1d *conv, const float *x, size_t xrow,
                            int n, int first, int last, const float *add,
                            float *y, size_t yrow);
tsri_conv1d_fn tsri_conv1d_plain;

/** One LSTM layer.  Source: Hochreiter & Schmidhuber, "Long short-term memory",
 *  1997; gates in PyTorch's order i, f, g, o. */
typedef struct tsri_lstm {
    int in, hidden;
    tsri_conv1d input;      /**< in -> 4 hidden, both biases added */
    float *packed;          /**< recurrent weights,
                                 [units][hidden][4 gates][TSRI_LSTM_UNITS];
                                 NULL: they are in */
    uint16_t *half;         /**< as IEEE 754 halves: where each of them is one
                                 and the CPU converts (TSR_CPU_AVX2), for what a
                                 step costs is to read them; else NULL */
} tsri_lstm;

/** weight_ih [4 hidden][in], weight_hh [4 hidden][hidden], bias_ih and bias_hh
 *  [4 hidden]; copied.  hidden <= INT_MAX / 4.  Returns as
 *  tsri_conv1d_open(). */
tsr_error tsri_lstm_open(tsri_lstm *lstm, tsr_context *ctx, int in, int hidden,
                         const float *weight_ih, const float *weight_hh,
                         const float *bias_ih, const float *bias_hh);
void tsri_lstm_close(tsri_lstm *lstm, tsr_context *ctx);
/** Recurrent weight of gate 0..3 of a unit for hidden value k. */
float tsri_lstm_weight(const tsri_lstm *lstm, int gate, int unit, int k);

/**
 * Runs n steps.
 *
 * gates  [n][4 hidden]: what `input` makes of the n samples
 * state  [2][hidden]: h and c before and after
 * y      out, [n][yrow]: h of each step; not gates
 *
 * Cost: 4 hidden^2 multiply-adds a step; the weights are read once a step.
 */
typedef void tsri_lstm_fn(const tsri_lstm *lstm, const float *gates, int n,
                          float *state, float *y, size_t yrow);
tsri_lstm_fn tsri_lstm_plain;

typedef enum tsri_curve {
    TSRI_CURVE_NONE,
    TSRI_CURVE_ELU,         /**< x >= 0 ? x : exp(x) - 1 */
    TSRI_CURVE_LEAKY,       /**< x >= 0 ? x : slope * x */
    TSRI_CURVE_SNAKE,       /**< x + sin(a x)^2 / (a + 1e-9), a per channel.
                                 Source: Ziyin et al., NeurIPS 2020 */
    TSRI_CURVE_TANH
} tsri_curve;

/** y = curve(x) of n samples of c channels, dense rows; y may be x.  slope: of
 *  LEAKY; alpha: [c], of SNAKE.  Error: 4 units in the last place or 1e-7.
 *  NaN stays NaN. */
typedef void tsri_curve_fn(tsri_curve curve, float slope, const float *alpha,
                           const float *x, size_t n, int c, float *y);
tsri_curve_fn tsri_curve_plain;

/** A set of variants. */
typedef struct tsri_seq_kernels {
    const char *name;
    tsri_conv1d_fn *conv1d;
    tsri_lstm_fn *lstm;
    tsri_curve_fn *curve;
} tsri_seq_kernels;

/** The fastest for these CPU features (TSR_CPU_*). */
const tsri_seq_kernels *tsri_seq_kernels_pick(unsigned cpu);
const tsri_seq_kernels *tsri_seq_kernels_plain(void);
const tsri_seq_kernels *tsri_seq_kernels_avx2(void); /**< NULL: not in this build */

/** Weight normalisation, folded: w = g v / |v|, the norm over all but the first
 *  dimension.  v: [rows][cols], becomes w; g: [rows].  Norms in double; a row
 *  of zeros stays one.
 *  Source: Salimans & Kingma, NeurIPS 2016. */
void tsri_weight_norm(float *v, const float *g, int rows, size_t cols);
#endif
