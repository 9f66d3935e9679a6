/* SPDX-License-Identifier: BSD-2-Clause */
/* A graph runner for one-dimensional nets over signals without end.
 *
 * A net is declared node by node and finished once; it is then constant and
 * may be shared by threads.  A *stream* is one signal on its way through it:
 * samples are pushed in pieces of any size and come out as soon as they can be
 * known.  The pieces make no difference: whatever the sizes, the stream gives
 * bit for bit what one push of the whole signal gives.  So causal nets run live,
 * nets that look ahead run live with that delay, and no piece is computed twice.
 *
 * Memory of a stream is bounded by the net and the piece, but for group
 * normalisation, which needs its whole signal before the first output.
 *
 * A net whose context has a device lives there, and so do its streams of the same
 * context.  There the pieces make no difference beyond rounding: an output's sums
 * are made in the same order however the signal is cut. */
#ifndef TSR_LIB_NN_SEQ_H
#define TSR_LIB_NN_SEQ_H
#include "lib/nn/seq_kernels.h"

typedef struct tsri_seq tsri_seq;
typedef struct tsri_seq_stream tsri_seq_stream;

typedef enum tsri_seq_pad { TSRI_SEQ_ZERO, TSRI_SEQ_REFLECT } tsri_seq_pad;

/**
 * A convolution over a signal of L samples, padded by `left` in front and
 * behind by `right`, or, with `complete`, by as much as makes ceil(L / stride)
 * outputs.  Without `complete` the outputs are
 * floor((L + left + right - (taps - 1) dilation - 1) / stride) + 1, at least 0;
 * of no samples there are none.  `complete` asks for
 * left <= (taps - 1) dilation + 1 - stride.
 *
 * Reflection does not repeat the border sample: x[-i] = x[i].  A signal with
 * L <= max(left, right') (right': what is really padded behind) is first
 * lengthened by zeros to max + 1 samples, reflected, and the same number is cut
 * off the end, as EnCodec does.
 */
typedef struct tsri_seq_conv {
    int in, out;            /**< channels, >= 1 */
    int taps, stride, dilation;
    int left, right;
    bool complete;
    tsri_seq_pad pad;
    const float *weight;    /**< [out][in][taps]; used until finish */
    const float *bias;      /**< [out] or NULL */
} tsri_seq_conv;

/** A transposed convolution: of the (L - 1) stride + taps samples that it makes
 *  the first `trim` are dropped and then L * stride are kept (taps >= stride,
 *  0 <= trim <= taps - stride), or, with `full`, all (trim = 0). */
typedef struct tsri_seq_convtr {
    int in, out;
    int taps, stride, trim;
    bool full;
    const float *weight;    /**< [in][out][taps]; used until finish */
    const float *bias;      /**< [out] or NULL */
} tsri_seq_convtr;

/** Starts a net whose node 0 is an input of `channels` channels. */
tsr_error tsri_seq_new(tsri_seq **seq, tsr_context *ctx, int channels);

/* Each of these appends a node that reads node `x` and returns its number.  A
 * fault (bad node, bad sizes, no memory) is remembered and returned by
 * tsri_seq_finish(), so calls may be chained without looking.  Arrays must
 * stay valid until tsri_seq_finish(). */
int tsri_seq_conv1d(tsri_seq *seq, int x, const tsri_seq_conv *conv);
int tsri_seq_convtr1d(tsri_seq *seq, int x, const tsri_seq_convtr *conv);
/** slope: of LEAKY; alpha: [channels], of SNAKE, else NULL. */
int tsri_seq_act(tsri_seq *seq, int x, tsri_curve curve, float slope,
                 const float *alpha);
/** scale * (a + b), same channels and rate; as long as the shorter. */
int tsri_seq_add(tsri_seq *seq, int a, int b, float scale);
/** scale * x. */
int tsri_seq_scale(tsri_seq *seq, int x, float scale);
/** Drops the first `front` and the last `back` samples. */
int tsri_seq_crop(tsri_seq *seq, int x, int front, int back);
/** One LSTM layer over time, state 0 before the first sample. */
int tsri_seq_lstm(tsri_seq *seq, int x, int hidden, const float *weight_ih,
                  const float *weight_hh, const float *bias_ih,
                  const float *bias_hh);
/** Group normalisation over (channels / groups) x all time, biased variance,
 *  sums in double: y = (x - mean) / sqrt(var + eps) * weight[c] + bias[c].
 *  Source: Wu & He, ECCV 2018. */
int tsri_seq_group_norm(tsri_seq *seq, int x, int groups, float eps,
                        const float *weight, const float *bias);

/** The net makes sound of codes: on a device it may run in less precision, as
 *  its context says.  Before finish. */
void tsri_seq_decodes(tsri_seq *seq);

/** Declares node `output` the result.  After an error only tsri_seq_free() may
 *  be called. */
tsr_error tsri_seq_finish(tsri_seq *seq, int output);
void tsri_seq_free(tsri_seq **seq);

int tsri_seq_in_channels(const tsri_seq *seq);
int tsri_seq_out_channels(const tsri_seq *seq);
/** Outputs for an input of n samples. */
uint64_t tsri_seq_out_length(const tsri_seq *seq, uint64_t n);
/** Inputs that must have been pushed for the first m >= 1 outputs to come out
 *  while the signal goes on (zero_start: of a stream opened so); UINT64_MAX:
 *  only its end brings them. */
uint64_t tsri_seq_needs(const tsri_seq *seq, uint64_t m, bool zero_start);
/** Multiply-adds per input sample, in the long run. */
double tsri_seq_macs(const tsri_seq *seq);

/**
 * Opens a stream.
 *
 * seq         must outlive it
 * zero_start  reflections in front of the signal are zeros instead, so that
 *             outputs need not wait for the samples that are reflected
 *
 * Returns TSR_OK; TSR_E_NOMEM.
 */
tsr_error tsri_seq_open(tsri_seq_stream **stream, const tsri_seq *seq,
                        tsr_context *ctx, bool zero_start);
void tsri_seq_close(tsri_seq_stream **stream);
/** Back to the start, keeping its memory. */
void tsri_seq_reset(tsri_seq_stream *stream);

/**
 * Pushes samples, uses the context's threads.
 *
 * x     [n][in channels]; borrowed for the call; NULL is allowed for n = 0
 * lazy  true: nodes may let inputs pile up until a batch is worth its while
 *       (bounded: about 32 of their outputs; on a device samples, as many as
 *       max_memory allows to be worked on at once), for speed; false: all that
 *       can be known comes out at once.  Makes no difference to what comes out
 * end   the signal ends here: all the rest comes out, and no more may be pushed
 *       before tsri_seq_reset()
 *
 * Returns TSR_OK; TSR_E_ARG pushed after the end; TSR_E_LIMIT over the context's
 * max_memory; TSR_E_NOMEM; TSR_E_BACKEND a device failed.  After an error only reset and close may be called.
 */
tsr_error tsri_seq_push(tsri_seq_stream *stream, const float *x, size_t n,
                        bool lazy, bool end);
/** Outputs that wait to be taken. */
size_t tsri_seq_ready(const tsri_seq_stream *stream);
/** Takes at most n of them, [n][out channels]; returns how many. */
size_t tsri_seq_take(tsri_seq_stream *stream, float *y, size_t n);

/** The state as bytes, to go on later, on the same variant and machine type with
 *  the same net and zero_start: size, writing, reading.  Load checks every number
 *  in them: TSR_OK; TSR_E_CORRUPT; TSR_E_LIMIT; TSR_E_NOMEM (then only reset and
 *  close). */
size_t tsri_seq_state_bytes(const tsri_seq_stream *stream);
void tsri_seq_state_save(tsri_seq_stream *stream, uint8_t *state);
tsr_error tsri_seq_state_load(tsri_seq_stream *stream, const uint8_t *state,
                              size_t bytes);
#endif
