/* SPDX-License-Identifier: BSD-2-Clause */
#include <math.h>
#include <string.h>
#include "lib/nn/seq_kernels.h"

enum { U = TSRI_LSTM_UNITS, GATES = 4, LANE = 4 };

typedef float vec __attribute__((vector_size(16)));

/* [hidden / U][k][gate][U]; units beyond the last have weights 0. */
static void pack(tsri_lstm *l, const float *weight)
{
    const size_t h = (size_t)l->hidden;

    for (size_t gate = 0; gate < GATES; gate++)
        for (size_t u = 0; u < h; u++)
            for (size_t k = 0; k < h; k++)
                l->packed[((u / U * h + k) * GATES + gate) * U + u % U] =
                    *weight++;
}

tsr_error tsri_lstm_open(tsri_lstm *l, tsr_context *ctx, int in, int hidden,
                         const float *weight_ih, const float *weight_hh,
                         const float *bias_ih, const float *bias_hh)
{
    const size_t padded = (size_t)tsri_ceil_div(hidden, U) * U;
    tsr_error error;

    *l = (tsri_lstm){ .in = in, .hidden = hidden };
    error = tsri_conv1d_open(&l->input, ctx, in, GATES * hidden, 1, 1, 1, weight_ih,
                             bias_ih);
    if (error)
        return error;
    for (int i = 0; i < GATES * hidden; i++)
        l->input.bias[i] += bias_hh[i];
    l->packed = tsri_calloc(ctx, padded, (size_t)hidden * GATES * sizeof *l->packed);
    if (!l->packed) {
        tsri_lstm_close(l, ctx);
        return tsri_nomem(ctx);
    }
    pack(l, weight_hh);
    return TSR_OK;
}

void tsri_lstm_close(tsri_lstm *l, tsr_context *ctx)
{
    tsri_conv1d_close(&l->input, ctx);
    tsri_free(ctx, l->packed);
    l->packed = NULL;
}

static float sigmoid(float x)
{
    return 1 / (1 + expf(-x));
}

/* The gates of U units: what the input made of them plus W h. */
static void recur(const tsri_lstm *l, int unit, const float *gates, const float *h,
                  float out[GATES][U])
{
    const float *w = l->packed + (size_t)unit * (size_t)l->hidden * GATES;
    const int units = tsri_min(U, l->hidden - unit);
    vec sum[GATES * U / LANE];

    memset(out, 0, GATES * U * sizeof **out);
    for (int g = 0; g < GATES; g++)
        memcpy(out[g], gates + g * l->hidden + unit, (size_t)units * sizeof **out);
    memcpy(sum, out, sizeof sum);
    for (int k = 0; k < l->hidden; k++, w += GATES * U)
        for (int i = 0; i < GATES * U / LANE; i++) {
            vec v;
            memcpy(&v, w + i * LANE, sizeof v);
            sum[i] += v * h[k];
        }
    memcpy(out, sum, sizeof sum);
}

void tsri_lstm_plain(const tsri_lstm *l, const float *gates, int n, float *state,
                     float *y, size_t yrow)
{
    const size_t hidden = (size_t)l->hidden;
    float *h = state, *c = state + hidden;

    for (int t = 0; t < n; t++, gates += GATES * hidden, y += yrow) {
        for (int unit = 0; unit < l->hidden; unit += U) {
            float g[GATES][U];
            recur(l, unit, gates, h, g);
            for (int i = 0; i < tsri_min(U, l->hidden - unit); i++) {
                const float in = sigmoid(g[0][i]), keep = sigmoid(g[1][i]);
                c[unit + i] = keep * c[unit + i] + in * tanhf(g[2][i]);
                y[unit + i] = sigmoid(g[3][i]) * tanhf(c[unit + i]);
            }
        }
        memcpy(h, y, hidden * sizeof *h);
    }
}
