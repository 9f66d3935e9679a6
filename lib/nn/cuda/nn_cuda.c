/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/nn/cuda/nn_cuda.h"
#include <string.h>
#include "lib/nn/cuda/attend_cuda.h"
#include "lib/nn/cuda/dnn.h"
#include "lib/nn/device.h"

struct tsri_dev {
    tsr_context *ctx;
    tsri_cuda *gpu;
    tsri_dnn *dnn;
    nnk_type type;
    /* Memory that grows. */
    float *sums;                /* of norms */
    size_t sums_floats;
    void *scores;               /* of attention */
    size_t scores_bytes;
    bool no_products;           /* of attention, by cuDNN */
};

/* Recorded work, and the memory it works in. */
struct tsri_dev_record {
    cudaGraphExec_t exec;
    const void *sums, *scores, *workspace;
};

static size_t element_of(nnk_type type)
{
    return type == NNK_F32 ? 4 : 2;
}

static cudaStream_t stream_of(const tsri_dev *dev)
{
    return tsri_cuda_stream(dev->gpu);
}

static void dev_close(tsri_dev **out)
{
    tsri_dev *dev = *out;
    if (!dev)
        return;
    tsri_cuda_free(dev->gpu, dev->sums);
    tsri_cuda_free(dev->gpu, dev->scores);
    tsri_free(dev->ctx, dev);
    *out = NULL;
}

static tsr_error dev_open(tsri_dev **out, tsr_context *ctx, nnk_type type)
{
    tsri_dev *dev = tsri_calloc(ctx, 1, sizeof *dev);

    *out = dev;
    if (!dev)
        return tsri_nomem(ctx);
    dev->ctx = ctx;
    dev->gpu = ctx->gpu;
    dev->dnn = ctx->dnn;
    dev->type = type;
    return TSR_OK;
}

static tsr_error open_f16(tsri_dev **dev, tsr_context *ctx)
{
    return dev_open(dev, ctx, NNK_F16);
}

static tsr_error open_bf16(tsri_dev **dev, tsr_context *ctx)
{
    return dev_open(dev, ctx, NNK_BF16);
}

static tsr_error open_f32(tsri_dev **dev, tsr_context *ctx)
{
    return dev_open(dev, ctx, NNK_F32);
}

tsr_error tsri_nn_cuda_open(tsr_context *ctx, int index)
{
    tsr_error error = tsri_cuda_open(&ctx->gpu, ctx, index);
    if (!error)
        error = tsri_dnn_open(&ctx->dnn, ctx->gpu);
    if (error)
        tsri_nn_cuda_close(ctx);
    return error;
}

tsr_error tsri_nn_cuda_stream(tsr_context *ctx, void *stream)
{
    TSR_TRY(tsri_cuda_use_stream(ctx->gpu, stream));
    return tsri_dnn_use_stream(ctx->dnn);
}

void tsri_nn_cuda_close(tsr_context *ctx)
{
    if (!ctx->gpu)
        return;
    tsri_dnn_close(&ctx->dnn);
    tsri_cuda_close(&ctx->gpu);
}

int tsri_nn_cuda_chosen(const tsr_context *ctx)
{
    return tsri_dnn_chosen(ctx->dnn);
}

/* ---- memory ---- */

static tsr_error dev_alloc(tsri_dev *dev, void **mem, size_t bytes)
{
    return tsri_cuda_alloc(dev->gpu, mem, bytes, 1);
}

static void dev_free(tsri_dev *dev, void *mem)
{
    tsri_cuda_free(dev->gpu, mem);
}

static tsr_error dev_take(tsri_dev *dev, void **mem, size_t bytes)
{
    return tsri_cuda_take(dev->gpu, mem, bytes);
}

static void dev_give(tsri_dev *dev, void *mem)
{
    tsri_cuda_give(dev->gpu, mem);
}

static tsr_error dev_alloc_host(tsri_dev *dev, void **mem, size_t bytes)
{
    *mem = NULL;
    TSR_TRY(tsri_cuda_use(dev->gpu));
    return tsri_cuda_check(dev->gpu, cudaMallocHost(mem, bytes ? bytes : 1),
                           "host memory");
}

static void dev_free_host(tsri_dev *dev, void *mem)
{
    if (mem && !tsri_cuda_use(dev->gpu))
        tsri_cuda_check(dev->gpu, cudaFreeHost(mem), "free");
}

static tsr_error dev_upload(tsri_dev *dev, void *to, const void *from,
                            size_t bytes)
{
    return tsri_cuda_upload(dev->gpu, to, from, bytes);
}

static tsr_error dev_download(tsri_dev *dev, void *to, const void *from,
                              size_t bytes)
{
    return tsri_cuda_download(dev->gpu, to, from, bytes);
}

static tsr_error dev_wait(tsri_dev *dev)
{
    return tsri_cuda_sync(dev->gpu);
}

/* ---- weights ---- */

static void dev_unpack(tsri_dev *dev, tsri_dev_weights *p)
{
    tsri_cuda_free(dev->gpu, p->weight);
    tsri_cuda_free(dev->gpu, p->bias);
    tsri_free(dev->ctx, p);
}

/* [out][in][taps] to [out][taps][in] */
static void turn(float *to, const float *from, size_t out, size_t in,
                 size_t taps)
{
    for (size_t o = 0; o < out; o++)
        for (size_t i = 0; i < in; i++)
            for (size_t t = 0; t < taps; t++)
                to[(o * taps + t) * in + i] = from[(o * in + i) * taps + t];
}

static tsr_error put_weights(tsri_dev *dev, tsri_dev_weights *p,
                             const tsri_nn_conv *c, const float *turned,
                             size_t n, float *floats)
{
    const nnk_type type = p->wide ? NNK_F32 : dev->type;

    TSR_TRY(tsri_cuda_upload(dev->gpu, floats, turned, n * sizeof *floats));
    TSR_TRY(tsri_cuda_alloc(dev->gpu, &p->weight, n, element_of(type)));
    TSR_TRY(tsri_cuda_check(dev->gpu, nnk_convert_run(type, p->weight, floats, n,
                                                      stream_of(dev)),
                            "weights"));
    TSR_TRY(tsri_cuda_alloc(dev->gpu, &p->bias, (size_t)c->out,
                            sizeof *p->bias));
    TSR_TRY(tsri_cuda_upload(dev->gpu, p->bias, c->bias,
                             (size_t)c->out * sizeof *p->bias));
    return tsri_cuda_sync(dev->gpu);
}

static tsr_error dev_pack(tsri_dev *dev, const tsri_nn_conv *c,
                          const float *weight, bool wide, tsri_dev_weights **out)
{
    const size_t taps = (size_t)c->kernel * (size_t)c->kernel;
    const size_t n = (size_t)c->out * (size_t)c->in * taps;
    tsri_dev_weights *p = tsri_calloc(dev->ctx, 1, sizeof *p);
    float *turned = tsri_alloc(dev->ctx, n, sizeof *turned), *floats = NULL;
    tsr_error error = p && turned ? TSR_OK : tsri_nomem(dev->ctx);

    *out = p;
    if (!error)
        error = tsri_cuda_alloc(dev->gpu, &floats, n, sizeof *floats);
    if (!error) {
        p->wide = wide;
        turn(turned, weight, (size_t)c->out, (size_t)c->in, taps);
        error = put_weights(dev, p, c, turned, n, floats);
    }
    tsri_cuda_free(dev->gpu, floats);
    tsri_free(dev->ctx, turned);
    return error;
}

/* ---- steps ---- */

static nnk_map map_of(const tsri_dev_map *m)
{
    return (nnk_map){ m->data, m->rect.y0, m->rect.x0, tsri_rows(m->rect),
                      tsri_cols(m->rect), m->lanes, m->items };
}

static tsr_error launched(tsri_dev *dev, cudaError_t status, const char *what)
{
    return tsri_cuda_check(dev->gpu, status, what);
}

static tsr_error dev_enter(tsri_dev *dev, const tsri_dev_planar *p)
{
    const nnk_map m = map_of(&p->map);
    TSR_TRY(tsri_cuda_use(dev->gpu));
    return launched(dev, nnk_enter(dev->type, &m, p->planes, p->channels,
                                   stream_of(dev)), "input");
}

static tsr_error dev_leave(tsri_dev *dev, const tsri_dev_planar *p)
{
    const nnk_map m = map_of(&p->map);
    return launched(dev, nnk_leave(dev->type, &m, p->planes, p->channels,
                                   stream_of(dev)), "output");
}

static tsr_error dev_enter_map(tsri_dev *dev, const tsri_dev_planar *p)
{
    const nnk_map m = map_of(&p->map);
    TSR_TRY(tsri_cuda_use(dev->gpu));
    return launched(dev, nnk_enter_map(dev->type, &m, p->planes, p->channels,
                                       stream_of(dev)), "input");
}

static tsr_error dev_leave_map(tsri_dev *dev, const tsri_dev_planar *p)
{
    const nnk_map m = map_of(&p->map);
    return launched(dev, nnk_leave_map(dev->type, &m, p->planes, p->channels,
                                       stream_of(dev)), "output");
}

static nnk_pixels pixels_of(const tsri_pixels *p)
{
    return (nnk_pixels){ p->data, p->width, p->height, p->channels,
                         p->bits == 16, p->stride, p->top, p->left, p->reflect,
                         p->truncates, p->scale, p->offset };
}

static tsr_error dev_enter_pixels(tsri_dev *dev, const tsri_dev_pixels *p)
{
    const nnk_map m = map_of(&p->map);
    const nnk_pixels k = pixels_of(&p->pixels);
    TSR_TRY(tsri_cuda_use(dev->gpu));
    return launched(dev, nnk_enter_pixels(dev->type, &m, &k, stream_of(dev)),
                    "pixels");
}

static tsr_error dev_leave_pixels(tsri_dev *dev, const tsri_dev_pixels *p)
{
    const nnk_map m = map_of(&p->map);
    const nnk_pixels k = pixels_of(&p->pixels);
    return launched(dev, nnk_leave_pixels(dev->type, &m, &k, stream_of(dev)),
                    "pixels");
}

static tsr_error dev_gather(tsri_dev *dev, const tsri_dev_gather *g)
{
    const nnk_gather k = {
        .src = map_of(&g->src), .dst = g->dst, .wide = g->wide,
        .channels = g->channels, .y0 = g->to.y0, .x0 = g->to.x0,
        .rows = tsri_rows(g->to), .cols = tsri_cols(g->to), .lanes = g->lanes,
        .height = g->height, .width = g->width, .unshuffle = g->unshuffle,
        .upsample = g->upsample, .reflect = g->pad == TSRI_PAD_REFLECT,
        .pre = g->pre == TSRI_PRE_SILU ? 1 : g->pre == TSRI_PRE_RELU ? 2 :
               g->pre == TSRI_PRE_SQUARE ? 3 : 0, .norm = g->norm
    };
    return launched(dev, nnk_gather_run(dev->type, &k, stream_of(dev)),
                    "gathering");
}

static tsr_error dev_conv(tsri_dev *dev, const tsri_dev_conv *c)
{
    const tsri_dev_weights *w = c->conv->packed;
    const tsri_dnn_shape s = {
        .row = (int64_t)c->row, .plane = (int64_t)c->plane, .items = c->items,
        .type = (int)(w->wide ? NNK_F32 : dev->type),
        .height = c->height, .width = c->width, .in = c->conv->in,
        .out = c->conv->out, .kernel = c->conv->kernel,
        .stride = c->conv->stride, .top = c->top, .left = c->left,
        .bottom = c->bottom, .right = c->right, .rows = c->rows,
        .cols = c->cols, .act = c->conv->act == TSRI_ACT_SILU ? 1 :
                                c->conv->act == TSRI_ACT_RELU ? 2 : 0,
        .add = c->add != NULL
    };
    return tsri_dnn_conv(dev->dnn, &s, &(tsri_dnn_operands){
        c->src, w->weight, w->bias, c->add, c->dst });
}

static int post_of(tsri_post post)
{
    switch (post) {
    case TSRI_POST_ADD: return 1;
    case TSRI_POST_GATE: return 2;
    case TSRI_POST_GDN: return 3;
    case TSRI_POST_IGDN: return 4;
    default: return 0;
    }
}

static tsr_error dev_post(tsri_dev *dev, const tsri_dev_post *p)
{
    const tsri_dev_map row = { (void *)(uintptr_t)p->row, p->rect, p->lanes,
                               p->dst.items };
    const nnk_post k = {
        .post = post_of(p->post), .row = map_of(&row), .wide = p->wide,
        .arg = { map_of(&p->arg[0]), map_of(&p->arg[1]) },
        .dst = map_of(&p->dst), .channels = p->channels,
        .shuffle = p->shuffle, .permuted = p->permuted
    };
    return launched(dev, nnk_post_run(dev->type, &k, stream_of(dev)), "step");
}

static tsr_error dev_norm(tsri_dev *dev, const tsri_dev_norm *n)
{
    nnk_norm k = { .src = map_of(&n->src), .channels = n->channels,
                   .groups = n->groups, .eps = n->eps, .weights = n->weights,
                   .out = n->out };
    const size_t floats = (size_t)k.src.items *
                          nnk_norm_floats(k.src.rows, k.src.cols, k.src.lanes);

    if (floats > dev->sums_floats) {
        tsri_cuda_free(dev->gpu, dev->sums);
        dev->sums_floats = 0;
        TSR_TRY(tsri_cuda_alloc(dev->gpu, &dev->sums, floats, sizeof(float)));
        dev->sums_floats = floats;
    }
    k.sums = dev->sums;
    return launched(dev, nnk_norm_run(dev->type, &k, stream_of(dev)),
                    "statistics");
}

/* By products of matrices; TSR_E_BACKEND where cuDNN has none. */
static tsr_error attend_by_products(tsri_dev *dev, const tsri_dev_attention *a)
{
    const size_t bytes = tsri_attend_bytes(dev->type, a);
    const tsr_logger logger = dev->ctx->logger;

    if (bytes > dev->scores_bytes) {
        tsri_cuda_free(dev->gpu, dev->scores);
        dev->scores = NULL;
        dev->scores_bytes = 0;
        TSR_TRY(tsri_cuda_alloc(dev->gpu, &dev->scores, bytes, 1));
        dev->scores_bytes = bytes;
    }
    dev->ctx->logger = (tsr_logger){ NULL, NULL };
    const tsr_error error = tsri_attend(dev->gpu, dev->dnn, dev->type, a,
                                        dev->scores);
    dev->ctx->logger = logger;
    return error;
}

static tsr_error attend_item(tsri_dev *dev, const tsri_dev_attention *a)
{
    const nnk_attention k = { map_of(&a->q), map_of(&a->k), map_of(&a->v),
                              map_of(&a->dst), a->channels, a->windowed };

    if (!dev->no_products) {
        const tsr_error error = attend_by_products(dev, a);
        if (error != TSR_E_BACKEND)
            return error ? tsri_fail(dev->ctx, error, "attention: %s",
                                     tsr_error_string(error)) : TSR_OK;
        dev->no_products = true;
    }
    if (a->channels > 1024)
        return tsri_fail(dev->ctx, TSR_E_UNSUPPORTED, "attention of %d channels"
                         " has no kernel", a->channels);
    return launched(dev, nnk_attention_run(dev->type, &k, stream_of(dev)),
                    "attention");
}

/* Item i of a map. */
static tsri_dev_map item_of(const tsri_dev *dev, tsri_dev_map m, int i)
{
    m.data = (uint8_t *)m.data + (size_t)i * (size_t)tsri_rows(m.rect) *
             (size_t)tsri_cols(m.rect) * (size_t)m.lanes * element_of(dev->type);
    m.items = 1;
    return m;
}

/* One after the other: a plane's products are large enough. */
static tsr_error dev_attention(tsri_dev *dev, const tsri_dev_attention *a)
{
    for (int i = 0; i < a->q.items; i++) {
        tsri_dev_attention one = *a;
        one.q = item_of(dev, a->q, i);
        one.k = item_of(dev, a->k, i);
        one.v = item_of(dev, a->v, i);
        one.dst = item_of(dev, a->dst, i);
        TSR_TRY(attend_item(dev, &one));
    }
    return TSR_OK;
}

/* ---- recorded work ---- */

static bool dev_record(tsri_dev *dev)
{
    return tsri_cuda_record(dev->gpu);
}

static tsri_dev_record *dev_end_record(tsri_dev *dev)
{
    const cudaGraphExec_t exec = tsri_cuda_end_record(dev->gpu);
    tsri_dev_record *r = exec ? tsri_calloc(dev->ctx, 1, sizeof *r) : NULL;

    if (!r) {
        if (exec)
            (void)cudaGraphExecDestroy(exec);
        return NULL;
    }
    r->exec = exec;
    r->sums = dev->sums;
    r->scores = dev->scores;
    r->workspace = tsri_dnn_workspace(dev->dnn);
    return r;
}

static bool dev_replay(tsri_dev *dev, const tsri_dev_record *r)
{
    return r->sums == dev->sums && r->scores == dev->scores &&
           r->workspace == tsri_dnn_workspace(dev->dnn) &&
           !tsri_cuda_use(dev->gpu) &&
           !launched(dev, cudaGraphLaunch(r->exec, stream_of(dev)), "steps");
}

static void dev_forget(tsri_dev *dev, tsri_dev_record *r)
{
    if (!tsri_cuda_sync(dev->gpu))
        launched(dev, cudaGraphExecDestroy(r->exec), "steps");
    tsri_free(dev->ctx, r);
}

#define OPS(bytes, opener) {                                                  \
    .element = bytes, .open = opener, .close = dev_close, .alloc = dev_alloc, \
    .free = dev_free, .take = dev_take, .give = dev_give,                     \
    .alloc_host = dev_alloc_host,                                             \
    .free_host = dev_free_host, .upload = dev_upload,                         \
    .download = dev_download, .wait = dev_wait, .pack = dev_pack,             \
    .unpack = dev_unpack, .enter = dev_enter, .leave = dev_leave,             \
    .enter_map = dev_enter_map, .leave_map = dev_leave_map,                   \
    .enter_pixels = dev_enter_pixels, .leave_pixels = dev_leave_pixels,       \
    .gather = dev_gather, .conv = dev_conv, .post = dev_post,                 \
    .norm = dev_norm, .attention = dev_attention, .record = dev_record,       \
    .end_record = dev_end_record, .replay = dev_replay, .forget = dev_forget }

static const tsri_dev_ops ops_f16 = OPS(2, open_f16);
static const tsri_dev_ops ops_bf16 = OPS(2, open_bf16);
static const tsri_dev_ops ops_f32 = OPS(4, open_f32);

const tsri_nn_backend *tsri_nn_cuda(tsr_precision precision)
{
    static const tsri_nn_backend f16 = TSRI_NN_DEVICE_BACKEND("cuda-f16", &ops_f16);
    static const tsri_nn_backend bf16 = TSRI_NN_DEVICE_BACKEND("cuda-bf16",
                                                               &ops_bf16);
    static const tsri_nn_backend f32 = TSRI_NN_DEVICE_BACKEND("cuda-f32", &ops_f32);

    return precision == TSR_PRECISION_F16 ? &f16 :
           precision == TSR_PRECISION_BF16 ? &bf16 : &f32;
}
