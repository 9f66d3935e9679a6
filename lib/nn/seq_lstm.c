/* SPDX-License-Identifier: BSD-2-Clause */
#include <math.h>
#include <string.h>
#include "lib/nn/seq_kernels.h"
#include "lib/weights.h"

enum { U = TSRI_LSTM_UNITS, GATES = 4, LANE = 4 };

typedef float vec __attribute__((vector_size(16)));

/* Whether w is a half, finite, and which. */
static bool to_half(float w, uint16_t *half)
{
    const float least = 0x1p-14f, size = fabsf(w);
    uint32_t bits;

    if (size < least)
        bits = (uint32_t)(size * 0x1p24f);
    else {
        memcpy(&bits, &size, sizeof bits);
        bits = size < 0x1p16f ? (bits >> 13) - (112 << 10) : 0;
    }
    *half = (uint16_t)(bits | (signbit(w) ? 0x8000u : 0));
    return tsri_half_to_float(*half) == w;
}

static bool halves(const float *weight, size_t n)
{
    uint16_t half;
    while (n > 0 && to_half(weight[n - 1], &half))
        n--;
    return n == 0;
}

/* [hidden / U][k][gate][U]; units beyond the last have weights 0. */
static size_t packed_at(const tsri_lstm *l, size_t gate, size_t u, size_t k)
{
    return ((u / U * (size_t)l->hidden + k) * GATES + gate) * U + u % U;
}

float tsri_lstm_weight(const tsri_lstm *l, int gate, int unit, int k)
{
    const size_t at = packed_at(l, (size_t)gate, (size_t)unit, (size_t)k);
    return l->half ? tsri_half_to_float(l->half[at]) : l->packed[at];
}

static void pack(tsri_lstm *l, const float *weight)
{
    const size_t h = (size_t)l->hidden;

    for (size_t gate = 0; gate < GATES; gate++)
        for (size_t u = 0; u < h; u++)
            for (size_t k = 0; k < h; k++, weight++) {
                const size_t at = packed_at(l, gate, u, k);
                if (l->half)
                    to_half(*weight, l->half + at);
                else
                    l->packed[at] = *weight;
            }
}

/* Cleared memory for the recurrent weights, as halves or floats. */
static bool room(tsri_lstm *l, tsr_context *ctx, bool half)
{
    const size_t hidden = (size_t)l->hidden;
    const size_t padded = (hidden + U - 1) / U * U;

    if (half)
        l->half = tsri_calloc(ctx, padded, hidden * GATES * sizeof *l->half);
    else
        l->packed = tsri_calloc(ctx, padded, hidden * GATES * sizeof *l->packed);
    return l->half || l->packed;
}

tsr_error tsri_lstm_open(tsri_lstm *l, tsr_context *ctx, int in, int hidden,
                         const float *weight_ih, const float *weight_hh,
                         const float *bias_ih, const float *bias_hh)
{
    const size_t weights = (size_t)hidden * (size_t)hidden * GATES;

    *l = (tsri_lstm){ .in = in, .hidden = hidden };
    TSR_TRY(tsri_conv1d_open(&l->input, ctx, in, GATES * hidden, 1, 1, 1, weight_ih,
                             bias_ih));
    for (int i = 0; i < GATES * hidden; i++)
        l->input.bias[i] += bias_hh[i];
    if (!room(l, ctx, ctx->cpu & TSR_CPU_AVX2 && halves(weight_hh, weights))) {
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
    tsri_free(ctx, l->half);
    l->packed = NULL;
    l->half = NULL;
}

static float sigmoid(float x)
{
    return 1 / (1 + expf(-x));
}

/* GATES x U weights from `at` on. */
static const float *weights_at(const tsri_lstm *l, size_t at, float *buffer)
{
    if (!l->half)
        return l->packed + at;
    for (int i = 0; i < GATES * U; i++)
        buffer[i] = tsri_half_to_float(l->half[at + (size_t)i]);
    return buffer;
}

/* The gates of U units: what the input made of them plus W h. */
static void recur(const tsri_lstm *l, int unit, const float *gates, const float *h,
                  float out[GATES][U])
{
    const size_t block = (size_t)unit * (size_t)l->hidden * GATES;
    const int units = tsri_min(U, l->hidden - unit);
    vec sum[GATES * U / LANE];

    memset(out, 0, GATES * U * sizeof **out);
    for (int g = 0; g < GATES; g++)
        memcpy(out[g], gates + g * l->hidden + unit, (size_t)units * sizeof **out);
    memcpy(sum, out, sizeof sum);
    for (int k = 0; k < l->hidden; k++) {
        float buffer[GATES * U];
        const float *w = weights_at(l, block + (size_t)k * GATES * U, buffer);
        for (int i = 0; i < GATES * U / LANE; i++) {
            vec v;
            memcpy(&v, w + i * LANE, sizeof v);
            sum[i] += v * h[k];
        }
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
