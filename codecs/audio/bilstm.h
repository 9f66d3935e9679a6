/* SPDX-License-Identifier: BSD-2-Clause */
/* LSTM layers that run forward and backward over a window, and a linear layer
 * behind them.  Source: Graves & Schmidhuber, 2005. */
#ifndef TSR_CODECS_AUDIO_BILSTM_H
#define TSR_CODECS_AUDIO_BILSTM_H
#include "codecs/audio/loader.h"
#include "lib/nn/seq_kernels.h"

enum { TSRI_BILSTM_LAYERS = 16 };

typedef struct tsri_bilstm {
    tsr_context *ctx;
    const tsri_seq_kernels *kernels;
    int in, hidden, out, layers;
    tsri_lstm lstm[TSRI_BILSTM_LAYERS][2];  /* forward, backward */
    tsri_conv1d last;
    double macs;            /* of a position */
} tsri_bilstm;

/**
 * Reads the tensors encoder.{weight,bias}_{ih,hh}_lN{,_reverse}, of `in` inputs,
 * and encoder_output_linear.weight of `out` outputs.
 *
 * Returns TSR_OK; TSR_E_SHAPE, the message names the tensor; TSR_E_NOMEM.  After
 * an error, too, tsri_bilstm_close() is to be called.
 */
tsr_error tsri_bilstm_open(tsri_bilstm *b, tsr_context *ctx,
                           const tsr_model *model, int in, int out);
void tsri_bilstm_close(tsri_bilstm *b);
/** Fills in the sizes alone, by shapes: there is nothing to run or to close.
 *  TSR_OK; TSR_E_SHAPE. */
tsr_error tsri_bilstm_measure(tsri_bilstm *b, tsr_context *ctx,
                              const tsr_model *model, int in, int out);

/** x: [n][in]; y: out, [n][out].  TSR_OK; TSR_E_NOMEM.  Uses two of the
 *  context's threads. */
tsr_error tsri_bilstm_run(const tsri_bilstm *b, const float *x, int n, float *y);
#endif
