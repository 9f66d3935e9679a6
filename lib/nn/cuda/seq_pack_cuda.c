/* SPDX-License-Identifier: BSD-2-Clause */
/* Weights of one-dimensional nets, as the kernels want them. */
#include <string.h>
#include "lib/nn/cuda/seq_inside.h"

enum { BLOCKS = 16 };       /* of a cluster, at most */

void tsri_seq_cuda_unpack(tsri_seq_dev *dev, void *packed)
{
    tsri_seq_weights *w = packed;

    if (!w)
        return;
    if (w->recurrent)
        tsri_cuda_give(dev->gpu, w->lstm.weight);
    else {
        tsri_cuda_give(dev->gpu, w->conv.weight);
        tsri_cuda_give(dev->gpu, w->conv.bias);
    }
    tsri_free(dev->ctx, w);
}

static size_t filled(size_t n, size_t unit)
{
    return (n + unit - 1) / unit * unit;
}

/* Room on the host for n floats of weights, cleared. */
static tsr_error new_weights(tsri_seq_dev *dev, void **out, size_t n, float **host)
{
    *out = tsri_calloc(dev->ctx, 1, sizeof(tsri_seq_weights));
    *host = *out ? tsri_calloc(dev->ctx, n, sizeof **host) : NULL;
    return *host ? TSR_OK : tsri_nomem(dev->ctx);
}

/* n floats to device memory in the device's numbers; waits. */
static tsr_error put(tsri_seq_dev *dev, void **to, const float *from, size_t n,
                     sqk_type type)
{
    float *floats = NULL;

    TSR_TRY(tsri_cuda_take(dev->gpu, to, n * tsri_seq_element(type)));
    tsr_error error = tsri_cuda_take(dev->gpu, (void **)&floats, n * sizeof *floats);
    if (!error)
        error = tsri_cuda_upload(dev->gpu, floats, from, n * sizeof *floats);
    if (!error)
        error = tsri_cuda_check(dev->gpu, sqk_enter_run(
            type, *to, floats, n, tsri_cuda_stream(dev->gpu)), "weights");
    tsri_cuda_give(dev->gpu, floats);
    return error ? error : tsri_cuda_sync(dev->gpu);
}

tsr_error tsri_seq_cuda_pack(tsri_seq_dev *dev, const tsri_conv1d *c, void **out)
{
    const size_t depth = filled((size_t)c->taps * (size_t)c->in, SQK_CONV_K);
    const size_t width = filled((size_t)c->out, SQK_CONV_OUT);
    const bool floats = dev->type == SQK_F32;
    float *host;
    tsr_error error = new_weights(dev, out, (depth + 1) * width, &host);
    tsri_seq_weights *w = *out;

    for (int o = 0; !error && o < c->out; o++)
        for (int t = 0; t < c->taps; t++)
            for (int i = 0; i < c->in; i++) {
                const size_t k = (size_t)t * (size_t)c->in + (size_t)i;
                host[floats ? k * width + (size_t)o : (size_t)o * depth + k] =
                    tsri_conv1d_weight(c, o, i, t);
            }
    if (!error)
        memcpy(host + depth * width, c->bias, (size_t)c->out * sizeof *host);
    if (!error)
        error = put(dev, &w->conv.weight, host, depth * width, dev->type);
    if (!error)
        error = put(dev, (void **)&w->conv.bias, host + depth * width, width,
                    SQK_F32);
    tsri_free(dev->ctx, host);
    return error;
}

/* As many blocks as their threads are enough for all units, or the most. */
static void share_out(const tsri_seq_dev *dev, int hidden, tsri_seq_lstm_weights *w)
{
    const int most = SQK_LSTM_HALF_STEPS * 16;

    w->blocks = 1;
    while (dev->clusters && w->blocks < BLOCKS &&
           hidden > w->blocks * SQK_LSTM_GROUPS)
        w->blocks *= 2;
    w->units = tsri_ceil_div(hidden, w->blocks);
    w->units += w->units % 2;
    w->parts = tsri_ceil_div(hidden, 4 * SQK_LSTM_LANES);
    if (dev->type == SQK_F32 || w->blocks == 1 || hidden > most)
        return;
    w->units = (int)filled((size_t)w->units, SQK_LSTM_HALF_UNITS);
    w->steps = tsri_ceil_div(w->blocks * w->units, 8 * 16) * 8;
}

/* Where the weight of a unit's gate for hidden value k is. */
static size_t weight_at(const tsri_seq_lstm_weights *w, int gate, int own, int k)
{
    const int block = own / w->units, unit = own % w->units;
    const int part = k / (4 * SQK_LSTM_LANES), lane = k / 4 % SQK_LSTM_LANES;
    const size_t row = ((size_t)block * (size_t)w->parts + (size_t)part) * 4 +
                       (size_t)gate;

    return ((row * (size_t)w->units + (size_t)unit) * SQK_LSTM_LANES +
            (size_t)lane) * 4 + (size_t)(k % 4);
}

/* The same in 16 bits. */
static size_t half_at(const tsri_seq_lstm_weights *w, int gate, int own, int k)
{
    const int each = 4 * w->steps, step = k % each / 4;
    const int lane = gate % 2 * 16 + own % SQK_LSTM_HALF_UNITS * 4 + k / each;
    const size_t row = (size_t)(own / SQK_LSTM_HALF_UNITS * w->steps + step);

    return ((row * 32 + (size_t)lane) * 2 + (size_t)(k % 4 / 2)) * 4 +
           (size_t)(gate / 2 * 2 + k % 2);
}

static size_t weights_of(const tsri_seq_lstm_weights *w)
{
    const size_t units = (size_t)w->blocks * (size_t)w->units;

    return units * 16 * (w->steps ? (size_t)w->steps * 4 :
                                    (size_t)w->parts * SQK_LSTM_LANES);
}

tsr_error tsri_seq_cuda_pack_lstm(tsri_seq_dev *dev, const tsri_lstm *l,
                                  void **out)
{
    tsri_seq_lstm_weights shape = { 0 };
    float *host;

    share_out(dev, l->hidden, &shape);
    const size_t n = weights_of(&shape);
    tsr_error error = new_weights(dev, out, n, &host);
    tsri_seq_weights *w = *out;
    for (int g = 0; !error && g < 4; g++)
        for (int u = 0; u < l->hidden; u++)
            for (int k = 0; k < l->hidden; k++)
                host[shape.steps ? half_at(&shape, g, u, k) :
                                   weight_at(&shape, g, u, k)] =
                    tsri_lstm_weight(l, g, u, k);
    if (!error) {
        w->recurrent = true;
        w->lstm = shape;
        error = put(dev, &w->lstm.weight, host, n,
                    shape.steps ? dev->type : SQK_F32);
    }
    tsri_free(dev->ctx, host);
    return error;
}
