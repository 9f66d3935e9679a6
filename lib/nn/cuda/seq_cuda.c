/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/nn/cuda/seq_cuda.h"
#include <string.h>
#include "lib/cuda/device_cuda.h"
#include "lib/nn/cuda/seq_kernels.h"

enum { BLOCKS = 16, SPARE = 8 };

/* Host memory that copies are fast from, given back and kept: to get it takes
 * longer than to code a second of sound. */
typedef struct spare {
    void *mem;
    size_t bytes;
    bool used;
} spare;

struct tsri_seq_dev {
    tsr_context *ctx;
    tsri_cuda *gpu;
    sqk_type type;
    bool clusters;
    spare host[SPARE];
    double *sums;               /* of group norms; grows */
    size_t sums_room;
};

typedef struct conv_weights {
    void *weight;
    float *bias;
} conv_weights;

typedef struct lstm_weights {
    float *weight;
    int blocks, units, parts;
} lstm_weights;

/* Weights of either kind begin so. */
typedef struct weights {
    bool recurrent;
    union {
        conv_weights conv;
        lstm_weights lstm;
    };
} weights;

static size_t element_of(sqk_type type)
{
    return type == SQK_F32 ? 4 : 2;
}

static cudaStream_t stream_of(const tsri_seq_dev *dev)
{
    return tsri_cuda_stream(dev->gpu);
}

static tsr_error check(tsri_seq_dev *dev, cudaError_t status, const char *what)
{
    return tsri_cuda_check(dev->gpu, status, what);
}

/* ---- memory ---- */

static tsr_error dev_alloc(tsri_seq_dev *dev, void **mem, size_t bytes)
{
    return tsri_cuda_take(dev->gpu, mem, bytes);
}

static void dev_free(tsri_seq_dev *dev, void *mem)
{
    tsri_cuda_give(dev->gpu, mem);
}

static tsr_error dev_alloc_host(tsri_seq_dev *dev, void **mem, size_t bytes)
{
    spare *free_one = NULL;

    *mem = NULL;
    for (int i = 0; i < SPARE; i++) {
        spare *s = &dev->host[i];
        if (s->mem && !s->used && s->bytes >= bytes && s->bytes / 4 <= bytes) {
            s->used = true;
            *mem = s->mem;
            return TSR_OK;
        }
        if (!s->mem)
            free_one = s;
    }
    TSR_TRY(tsri_cuda_use(dev->gpu));
    TSR_TRY(check(dev, cudaMallocHost(mem, bytes ? bytes : 1), "host memory"));
    if (free_one)
        *free_one = (spare){ *mem, bytes, true };
    return TSR_OK;
}

static void dev_free_host(tsri_seq_dev *dev, void *mem)
{
    for (int i = 0; mem && i < SPARE; i++)
        if (dev->host[i].mem == mem) {
            dev->host[i].used = false;
            return;
        }
    if (mem && !tsri_cuda_use(dev->gpu))
        check(dev, cudaFreeHost(mem), "free");
}

static tsr_error dev_upload(tsri_seq_dev *dev, void *to, const void *from,
                            size_t bytes)
{
    return tsri_cuda_upload(dev->gpu, to, from, bytes);
}

static tsr_error dev_download(tsri_seq_dev *dev, void *to, const void *from,
                              size_t bytes)
{
    return tsri_cuda_download(dev->gpu, to, from, bytes);
}

static tsr_error dev_copy(tsri_seq_dev *dev, void *to, const void *from,
                          size_t bytes)
{
    return tsri_cuda_copy(dev->gpu, to, from, bytes);
}

static tsr_error dev_clear(tsri_seq_dev *dev, void *to, size_t bytes)
{
    return tsri_cuda_fill(dev->gpu, to, 0, bytes);
}

static tsr_error dev_wait(tsri_seq_dev *dev)
{
    return tsri_cuda_sync(dev->gpu);
}

/* ---- opening ---- */

static void dev_close(tsri_seq_dev **out)
{
    tsri_seq_dev *dev = *out;

    if (!dev)
        return;
    dev_free(dev, dev->sums);
    if (!dev_wait(dev))
        for (int i = 0; i < SPARE; i++)
            if (dev->host[i].mem)
                check(dev, cudaFreeHost(dev->host[i].mem), "free");
    tsri_free(dev->ctx, dev);
    *out = NULL;
}

static tsr_error dev_open(tsri_seq_dev **out, tsr_context *ctx, sqk_type type,
                          int *element)
{
    tsri_seq_dev *dev = tsri_calloc(ctx, 1, sizeof *dev);
    int major = 0;

    *out = dev;
    if (!dev)
        return tsri_nomem(ctx);
    dev->ctx = ctx;
    dev->gpu = ctx->gpu;
    dev->type = type;
    *element = (int)element_of(type);
    const tsr_error error =
        check(dev, cudaDeviceGetAttribute(&major,
                                          cudaDevAttrComputeCapabilityMajor,
                                          dev->gpu->index), "device");
    dev->clusters = major >= 9;
    if (error)
        dev_close(out);
    return error;
}

static tsr_error open_f32(tsri_seq_dev **dev, tsr_context *ctx, int *element)
{
    return dev_open(dev, ctx, SQK_F32, element);
}

static tsr_error open_f16(tsri_seq_dev **dev, tsr_context *ctx, int *element)
{
    return dev_open(dev, ctx, SQK_F16, element);
}

static tsr_error open_bf16(tsri_seq_dev **dev, tsr_context *ctx, int *element)
{
    return dev_open(dev, ctx, SQK_BF16, element);
}

/* ---- numbers ---- */

static tsr_error dev_enter(tsri_seq_dev *dev, void *to, const float *from,
                           size_t n)
{
    TSR_TRY(tsri_cuda_use(dev->gpu));
    return check(dev, sqk_enter_run(dev->type, to, from, n, stream_of(dev)),
                 "input");
}

static tsr_error dev_leave(tsri_seq_dev *dev, float *to, const void *from,
                           size_t n)
{
    TSR_TRY(tsri_cuda_use(dev->gpu));
    return check(dev, sqk_leave_run(dev->type, to, from, n, stream_of(dev)),
                 "output");
}

/* ---- weights ---- */

static void dev_unpack(tsri_seq_dev *dev, void *packed)
{
    weights *w = packed;

    if (!w)
        return;
    if (w->recurrent)
        dev_free(dev, w->lstm.weight);
    else {
        dev_free(dev, w->conv.weight);
        dev_free(dev, w->conv.bias);
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
    *out = tsri_calloc(dev->ctx, 1, sizeof(weights));
    *host = *out ? tsri_calloc(dev->ctx, n, sizeof **host) : NULL;
    return *host ? TSR_OK : tsri_nomem(dev->ctx);
}

/* n floats to device memory in the device's numbers; waits. */
static tsr_error put(tsri_seq_dev *dev, void **to, const float *from, size_t n,
                     sqk_type type)
{
    float *floats = NULL;

    TSR_TRY(dev_alloc(dev, to, n * element_of(type)));
    tsr_error error = dev_alloc(dev, (void **)&floats, n * sizeof *floats);
    if (!error)
        error = dev_upload(dev, floats, from, n * sizeof *floats);
    if (!error)
        error = check(dev, sqk_enter_run(type, *to, floats, n, stream_of(dev)),
                      "weights");
    dev_free(dev, floats);
    return error ? error : dev_wait(dev);
}

static tsr_error dev_pack(tsri_seq_dev *dev, const tsri_conv1d *c, void **out)
{
    const size_t depth = filled((size_t)c->taps * (size_t)c->in, SQK_CONV_K);
    const size_t width = filled((size_t)c->out, SQK_CONV_OUT);
    const bool floats = dev->type == SQK_F32;
    float *host;
    tsr_error error = new_weights(dev, out, (depth + 1) * width, &host);
    weights *w = *out;

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
static void share_out(const tsri_seq_dev *dev, int hidden, lstm_weights *w)
{
    w->blocks = 1;
    while (dev->clusters && w->blocks < BLOCKS &&
           hidden > w->blocks * SQK_LSTM_GROUPS)
        w->blocks *= 2;
    w->units = tsri_ceil_div(hidden, w->blocks);
    w->units += w->units % 2;
    w->parts = tsri_ceil_div(hidden, 4 * SQK_LSTM_LANES);
}

/* Where the weight of a unit's gate for hidden value k is. */
static size_t weight_at(const lstm_weights *w, int gate, int own, int k)
{
    const int block = own / w->units, unit = own % w->units;
    const int part = k / (4 * SQK_LSTM_LANES), lane = k / 4 % SQK_LSTM_LANES;
    const size_t row = ((size_t)block * (size_t)w->parts + (size_t)part) * 4 +
                       (size_t)gate;

    return ((row * (size_t)w->units + (size_t)unit) * SQK_LSTM_LANES +
            (size_t)lane) * 4 + (size_t)(k % 4);
}

static tsr_error dev_pack_lstm(tsri_seq_dev *dev, const tsri_lstm *l, void **out)
{
    lstm_weights shape = { NULL, 0, 0, 0 };
    float *host;

    share_out(dev, l->hidden, &shape);
    const size_t n = (size_t)shape.blocks * (size_t)shape.parts * 16 *
                     (size_t)shape.units * SQK_LSTM_LANES;
    tsr_error error = new_weights(dev, out, n, &host);
    weights *w = *out;
    for (int g = 0; !error && g < 4; g++)
        for (int u = 0; u < l->hidden; u++)
            for (int k = 0; k < l->hidden; k++)
                host[weight_at(&shape, g, u, k)] = tsri_lstm_weight(l, g, u, k);
    if (!error) {
        w->recurrent = true;
        w->lstm = shape;
        error = put(dev, (void **)&w->lstm.weight, host, n, SQK_F32);
    }
    tsri_free(dev->ctx, host);
    return error;
}

/* ---- steps ---- */

static sqk_curve curve_of(const tsri_seq_dev_curve *k)
{
    return (sqk_curve){ (int)k->curve, k->slope, k->alpha, k->period };
}

static tsr_error dev_conv(tsri_seq_dev *dev, const tsri_seq_dev_conv *c)
{
    const weights *w = c->weights;
    const sqk_conv k = {
        .x = c->x, .add = c->add, .weight = w->conv.weight, .bias = w->conv.bias,
        .y = c->y, .in = c->conv->in, .out = c->conv->out,
        .taps = c->conv->taps, .stride = c->conv->stride,
        .dilation = c->conv->dilation, .first = c->first, .made = c->made,
        .top = c->top, .front = c->reflect_front, .back = c->reflect_back,
        .rows = c->rows, .wide = c->wide, .curve = curve_of(&c->curve)
    };
    TSR_TRY(tsri_cuda_use(dev->gpu));
    return check(dev, sqk_conv_run(dev->type, &k, stream_of(dev)), "convolution");
}

static tsr_error dev_lstm(tsri_seq_dev *dev, const tsri_seq_dev_lstm *l)
{
    const weights *w = l->weights;
    const sqk_lstm k = {
        .weight = w->lstm.weight, .gates = l->gates, .state = l->state, .y = l->y,
        .hidden = l->lstm->hidden, .rows = l->rows, .blocks = w->lstm.blocks,
        .units = w->lstm.units, .parts = w->lstm.parts,
        .clusters = dev->clusters, .curve = curve_of(&l->curve)
    };
    return check(dev, sqk_lstm_run(dev->type, &k, stream_of(dev)), "LSTM");
}

static tsr_error dev_rows(tsri_seq_dev *dev, const tsri_seq_dev_rows *r)
{
    const sqk_rows k = {
        .x = r->x, .add = r->add, .y = r->y,
        .n = r->rows * (size_t)r->channels, .channels = r->channels,
        .scale = r->scale, .shift = r->shift, .bias = r->bias,
        .curve = curve_of(&r->curve)
    };
    return check(dev, sqk_rows_run(dev->type, &k, stream_of(dev)), "step");
}

static tsr_error dev_measure(tsri_seq_dev *dev, const tsri_seq_dev_measure *m)
{
    const size_t n = sqk_measure_doubles(m->channels);
    sqk_measure k = { .x = m->x, .length = m->length, .channels = m->channels,
                      .groups = m->groups, .eps = m->eps, .weight = m->weight,
                      .shift = m->shift };

    if (n > dev->sums_room) {
        dev_free(dev, dev->sums);
        dev->sums_room = 0;
        TSR_TRY(dev_alloc(dev, (void **)&dev->sums, n * sizeof *dev->sums));
        dev->sums_room = n;
    }
    k.sums = dev->sums;
    return check(dev, sqk_measure_run(dev->type, &k, stream_of(dev)),
                 "statistics");
}

#define OPS(opener) {                                                         \
    .open = opener, .close = dev_close, .alloc = dev_alloc, .free = dev_free, \
    .alloc_host = dev_alloc_host, .free_host = dev_free_host,                 \
    .upload = dev_upload, .download = dev_download, .copy = dev_copy,         \
    .clear = dev_clear, .wait = dev_wait, .enter = dev_enter,                 \
    .leave = dev_leave, .pack = dev_pack, .pack_lstm = dev_pack_lstm,         \
    .unpack = dev_unpack, .conv = dev_conv, .lstm = dev_lstm,                 \
    .rows = dev_rows, .measure = dev_measure                                  \
}

const tsri_seq_ops *tsri_seq_cuda(int precision)
{
    static const tsri_seq_ops f32 = OPS(open_f32), f16 = OPS(open_f16),
                              bf16 = OPS(open_bf16);

    return precision == TSR_PRECISION_F16 ? &f16 :
           precision == TSR_PRECISION_BF16 ? &bf16 : &f32;
}
