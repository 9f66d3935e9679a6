/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/nn/cuda/seq_cuda.h"
#include "lib/nn/cuda/plane_cuda.h"
#include "lib/nn/cuda/seq_inside.h"

static cudaStream_t stream_of(const tsri_seq_dev *dev)
{
    return dev->sides ? dev->side[dev->sides - 1] : tsri_cuda_stream(dev->gpu);
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
    tsri_seq_spare *free_one = NULL;

    *mem = NULL;
    for (int i = 0; i < TSRI_SEQ_SPARE; i++) {
        tsri_seq_spare *s = &dev->host[i];
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
        *free_one = (tsri_seq_spare){ *mem, bytes, true };
    return TSR_OK;
}

static void dev_free_host(tsri_seq_dev *dev, void *mem)
{
    for (int i = 0; mem && i < TSRI_SEQ_SPARE; i++)
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

/* ---- aside ---- */

/* Before other streams' work: steps that wait for each other want little of the
 * device, but at once. */
static tsr_error open_sides(tsri_seq_dev *dev)
{
    int least, most;

    if (dev->event)
        return TSR_OK;
    TSR_TRY(tsri_cuda_use(dev->gpu));
    TSR_TRY(check(dev, cudaDeviceGetStreamPriorityRange(&least, &most), "stream"));
    for (int i = 0; i < TSRI_SEQ_SIDES; i++)
        if (!dev->side[i])
            TSR_TRY(check(dev, cudaStreamCreateWithPriority(
                &dev->side[i], cudaStreamNonBlocking, most), "stream"));
    return check(dev, cudaEventCreateWithFlags(&dev->event,
                                               cudaEventDisableTiming), "event");
}

/* What `after` does next waits for all that is queued in `before`. */
static tsr_error follow(tsri_seq_dev *dev, cudaStream_t after, cudaStream_t before)
{
    TSR_TRY(check(dev, cudaEventRecord(dev->event, before), "event"));
    return check(dev, cudaStreamWaitEvent(after, dev->event, 0), "event");
}

static tsr_error dev_aside(tsri_seq_dev *dev)
{
    TSR_TRY(open_sides(dev));
    TSR_TRY(follow(dev, dev->side[dev->sides], stream_of(dev)));
    dev->sides++;
    return TSR_OK;
}

static void dev_back(tsri_seq_dev *dev)
{
    dev->sides--;
}

static tsr_error dev_join(tsri_seq_dev *dev)
{
    TSR_TRY(open_sides(dev));
    for (int i = 0; i < TSRI_SEQ_SIDES; i++)
        TSR_TRY(follow(dev, stream_of(dev), dev->side[i]));
    return TSR_OK;
}

/* ---- opening ---- */

static void dev_close(tsri_seq_dev **out)
{
    tsri_seq_dev *dev = *out;

    if (!dev)
        return;
    dev_free(dev, dev->sums);
    if (!dev_wait(dev))
        for (int i = 0; i < TSRI_SEQ_SPARE; i++)
            if (dev->host[i].mem)
                check(dev, cudaFreeHost(dev->host[i].mem), "free");
    for (int i = 0; i < TSRI_SEQ_SIDES; i++)
        if (dev->side[i])
            check(dev, cudaStreamDestroy(dev->side[i]), "stream");
    if (dev->event)
        check(dev, cudaEventDestroy(dev->event), "event");
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
    *element = (int)tsri_seq_element(type);
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

/* ---- steps ---- */

static sqk_curve curve_of(const tsri_seq_dev_curve *k)
{
    return (sqk_curve){ (int)k->curve, k->slope, k->alpha, k->period };
}

static tsr_error dev_conv(tsri_seq_dev *dev, const tsri_seq_dev_conv *c)
{
    const tsri_seq_weights *w = c->weights;
    const sqk_conv k = {
        .x = c->x, .add = c->add, .weight = w->conv.weight, .bias = w->conv.bias,
        .y = c->y, .in = c->conv->in, .out = c->conv->out,
        .taps = c->conv->taps, .stride = c->conv->stride,
        .dilation = c->conv->dilation, .first = c->first, .made = c->made,
        .top = c->top, .front = c->reflect_front, .back = c->reflect_back,
        .rows = c->rows, .wide = c->wide, .beside = dev->gpu->ctx->beside,
        .curve = curve_of(&c->curve)
    };
    TSR_TRY(tsri_cuda_use(dev->gpu));
    return check(dev, sqk_conv_run(dev->type, &k, stream_of(dev)), "convolution");
}

static tsr_error dev_lstm(tsri_seq_dev *dev, const tsri_seq_dev_lstm *l)
{
    const tsri_seq_weights *w = l->weights;
    const sqk_lstm k = {
        .weight = w->lstm.weight, .gates = l->gates, .state = l->state, .y = l->y,
        .hidden = l->lstm->hidden, .rows = l->rows, .blocks = w->lstm.blocks,
        .units = w->lstm.units, .parts = w->lstm.parts, .steps = w->lstm.steps,
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
    .clear = dev_clear, .wait = dev_wait, .aside = dev_aside,                 \
    .back = dev_back, .join = dev_join, .enter = dev_enter,                   \
    .leave = dev_leave, .pack = tsri_seq_cuda_pack,                           \
    .pack_lstm = tsri_seq_cuda_pack_lstm, .unpack = tsri_seq_cuda_unpack,     \
    .conv = dev_conv, .lstm = dev_lstm, .rows = dev_rows,                     \
    .measure = dev_measure, .plane = &tsri_plane_cuda                         \
}

const tsri_seq_ops *tsri_seq_cuda(int precision)
{
    static const tsri_seq_ops f32 = OPS(open_f32), f16 = OPS(open_f16),
                              bf16 = OPS(open_bf16);

    return precision == TSR_PRECISION_F16 ? &f16 :
           precision == TSR_PRECISION_BF16 ? &bf16 : &f32;
}
