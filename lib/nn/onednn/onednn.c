/* SPDX-License-Identifier: BSD-2-Clause */
/* Convolutions of oneDNN 2.x, one block on one thread each.
 *
 * Taken are direct kernels that need no scratch memory: those sum in an order
 * that does not depend on the block's size, which im2col with a blocked GEMM
 * and Winograd do.  The primitives of one net are kept by shape and shared by
 * all its convolutions of that shape, the weights being an argument. */
#include <omp.h>
#include <oneapi/dnnl/dnnl.h>
#include <string.h>
#include "lib/nn/backend.h"

enum { KEPT = 256, NOMINAL = 16 };

struct tsri_nn_kernel {
    int shape[7];               /* in, out, kernel, stride, act, height, width */
    uint64_t used;              /* time of the last use; 0: free */
    dnnl_primitive_t primitive;
    dnnl_engine_t engine;
};

struct tsri_nn_state {
    tsr_context *ctx;
    dnnl_engine_t engine;
    uint64_t clock;
    tsri_nn_kernel kernel[KEPT];
};

typedef struct packed {
    dnnl_memory_desc_t desc;
    dnnl_memory_t weight, bias;
    float *data;
} packed;

static tsr_error failed(tsr_context *ctx, dnnl_status_t status, const char *what)
{
    return status == dnnl_out_of_memory ? tsri_nomem(ctx) :
           tsri_fail(ctx, TSR_E_BACKEND, "oneDNN: %s: status %d", what,
                     (int)status);
}

static tsr_error onednn_open(tsri_nn_state **out, tsr_context *ctx,
                             const tsri_nn_backend *self)
{
    (void)self;
    tsri_nn_state *state = tsri_calloc(ctx, 1, sizeof *state);
    dnnl_status_t status;

    *out = state;
    if (!state)
        return tsri_nomem(ctx);
    state->ctx = ctx;
    status = dnnl_engine_create(&state->engine, dnnl_cpu, 0);
    return status ? failed(ctx, status, "no CPU engine") : TSR_OK;
}

static void onednn_close(tsri_nn_state **out)
{
    tsri_nn_state *state = *out;
    for (int i = 0; i < KEPT; i++)
        if (state->kernel[i].primitive)
            dnnl_primitive_destroy(state->kernel[i].primitive);
    if (state->engine)
        dnnl_engine_destroy(state->engine);
    tsri_free(state->ctx, state);
    *out = NULL;
}

static dnnl_status_t make_attr(dnnl_primitive_attr_t *attr, tsri_act act)
{
    const dnnl_alg_kind_t kind = act == TSRI_ACT_SILU ? dnnl_eltwise_swish :
                                 dnnl_eltwise_relu;
    const float alpha = act == TSRI_ACT_SILU;
    dnnl_post_ops_t post = NULL;
    dnnl_status_t status = dnnl_primitive_attr_create(attr);

    if (!status)
        status = dnnl_primitive_attr_set_scratchpad_mode(
            *attr, dnnl_scratchpad_mode_user);
    if (status || act == TSRI_ACT_NONE)
        return status;
    status = dnnl_post_ops_create(&post);
    if (!status)
        status = dnnl_post_ops_append_eltwise(post, 1, kind, alpha, 0);
    if (!status)
        status = dnnl_primitive_attr_set_post_ops(*attr, post);
    if (post)
        dnnl_post_ops_destroy(post);
    return status;
}

static dnnl_status_t describe(dnnl_convolution_desc_t *desc,
                              const tsri_nn_conv *c, int height, int width,
                              const dnnl_memory_desc_t *weight)
{
    const int border = c->kernel - c->stride;
    const dnnl_dims_t src = { 1, c->in, height * c->stride + border,
                              width * c->stride + border };
    const dnnl_dims_t dst = { 1, c->out, height, width }, bias = { c->out };
    const dnnl_dims_t strides = { c->stride, c->stride }, none = { 0, 0 };
    dnnl_memory_desc_t s, d, b;
    dnnl_status_t status;

    status = dnnl_memory_desc_init_by_tag(&s, 4, src, dnnl_f32, dnnl_nChw8c);
    if (!status)
        status = dnnl_memory_desc_init_by_tag(&d, 4, dst, dnnl_f32,
                                              dnnl_nChw8c);
    if (!status)
        status = dnnl_memory_desc_init_by_tag(&b, 1, bias, dnnl_f32, dnnl_a);
    return status ? status : dnnl_convolution_forward_desc_init(
        desc, dnnl_forward_inference, dnnl_convolution_direct, &s, weight, &b,
        &d, strides, none, none);
}

/* The first implementation without scratch memory; the reference one, last,
 * has none. */
static dnnl_status_t pick(dnnl_primitive_desc_t *out, dnnl_engine_t engine,
                          const dnnl_convolution_desc_t *desc,
                          dnnl_primitive_attr_t attr)
{
    dnnl_primitive_desc_iterator_t it;
    dnnl_status_t status = dnnl_primitive_desc_iterator_create(
        &it, desc, attr, engine, NULL);

    if (status)
        return status;
    for (; !status; status = dnnl_primitive_desc_iterator_next(it)) {
        *out = dnnl_primitive_desc_iterator_fetch(it);
        if (!*out) {
            status = dnnl_out_of_memory;
            break;
        }
        if (!dnnl_memory_desc_get_size(dnnl_primitive_desc_query_md(
                *out, dnnl_query_scratchpad_md, 0)))
            break;
        dnnl_primitive_desc_destroy(*out);
    }
    dnnl_primitive_desc_iterator_destroy(it);
    return status;
}

/* oneDNN plans for the threads it may use when it is asked. */
static dnnl_status_t create_desc(dnnl_primitive_desc_t *out,
                                 dnnl_engine_t engine, const tsri_nn_conv *c,
                                 int height, int width,
                                 const dnnl_memory_desc_t *weight)
{
    const int threads = omp_get_max_threads();
    dnnl_primitive_attr_t attr = NULL;
    dnnl_convolution_desc_t desc;
    dnnl_status_t status = describe(&desc, c, height, width, weight);

    if (!status)
        status = make_attr(&attr, c->act);
    omp_set_num_threads(1);
    if (!status)
        status = pick(out, engine, &desc, attr);
    omp_set_num_threads(threads);
    if (attr)
        dnnl_primitive_attr_destroy(attr);
    return status;
}

/* The order in which the kernel for a usual block wants the weights. */
static dnnl_status_t weight_order(dnnl_memory_desc_t *out, dnnl_engine_t engine,
                                  const tsri_nn_conv *c)
{
    const dnnl_dims_t dims = { c->out, c->in, c->kernel, c->kernel };
    dnnl_primitive_desc_t pd;
    dnnl_memory_desc_t any;
    dnnl_status_t status = dnnl_memory_desc_init_by_tag(
        &any, 4, dims, dnnl_f32, dnnl_format_tag_any);

    if (!status)
        status = create_desc(&pd, engine, c, NOMINAL, NOMINAL, &any);
    if (status)
        return status;
    *out = *dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0);
    return dnnl_primitive_desc_destroy(pd);
}

static dnnl_status_t reorder(dnnl_engine_t engine, dnnl_memory_t from,
                             dnnl_memory_t to)
{
    const dnnl_exec_arg_t args[] = { { DNNL_ARG_FROM, from },
                                     { DNNL_ARG_TO, to } };
    const int threads = omp_get_max_threads();
    const dnnl_memory_desc_t *src, *dst;
    dnnl_primitive_desc_t pd = NULL;
    dnnl_primitive_t primitive = NULL;
    dnnl_stream_t stream = NULL;
    dnnl_status_t status;

    dnnl_memory_get_memory_desc(from, &src);
    dnnl_memory_get_memory_desc(to, &dst);
    omp_set_num_threads(1);
    status = dnnl_reorder_primitive_desc_create(&pd, src, engine, dst, engine,
                                                NULL);
    if (!status)
        status = dnnl_primitive_create(&primitive, pd);
    if (!status)
        status = dnnl_stream_create(&stream, engine, dnnl_stream_default_flags);
    if (!status)
        status = dnnl_primitive_execute(primitive, stream, 2, args);
    omp_set_num_threads(threads);
    if (stream)
        dnnl_stream_destroy(stream);
    if (primitive)
        dnnl_primitive_destroy(primitive);
    if (pd)
        dnnl_primitive_desc_destroy(pd);
    return status;
}

static dnnl_status_t fill(const tsri_nn_state *state, const tsri_nn_conv *c,
                          packed *p, const float *weight)
{
    const dnnl_dims_t dims = { c->out, c->in, c->kernel, c->kernel };
    const dnnl_dims_t n = { c->out };
    dnnl_memory_desc_t plain, bias;
    dnnl_memory_t from = NULL;
    dnnl_status_t status;

    status = dnnl_memory_desc_init_by_tag(&plain, 4, dims, dnnl_f32, dnnl_oihw);
    if (!status)
        status = dnnl_memory_desc_init_by_tag(&bias, 1, n, dnnl_f32, dnnl_a);
    if (!status)
        status = dnnl_memory_create(&p->bias, &bias, state->engine, c->bias);
    if (!status)
        status = dnnl_memory_create(&p->weight, &p->desc, state->engine,
                                    p->data);
    if (!status)
        status = dnnl_memory_create(&from, &plain, state->engine,
                                    (float *)(uintptr_t)weight);
    if (!status)
        status = reorder(state->engine, from, p->weight);
    if (from)
        dnnl_memory_destroy(from);
    return status;
}

static tsr_error onednn_pack(tsri_nn_state *state, tsri_nn_conv *c,
                             const float *weight)
{
    packed *p = tsri_calloc(state->ctx, 1, sizeof *p);
    dnnl_status_t status;

    c->packed = p;
    if (!p)
        return tsri_nomem(state->ctx);
    status = weight_order(&p->desc, state->engine, c);
    if (status)
        return failed(state->ctx, status, "no convolution");
    p->data = tsri_alloc(state->ctx, dnnl_memory_desc_get_size(&p->desc), 1);
    if (!p->data)
        return tsri_nomem(state->ctx);
    status = fill(state, c, p, weight);
    return status ? failed(state->ctx, status, "cannot pack weights") : TSR_OK;
}

static void onednn_unpack(tsri_nn_state *state, tsri_nn_conv *c)
{
    packed *p = c->packed;
    if (!p)
        return;
    if (p->weight)
        dnnl_memory_destroy(p->weight);
    if (p->bias)
        dnnl_memory_destroy(p->bias);
    tsri_free(state->ctx, p->data);
    tsri_free(state->ctx, p);
    c->packed = NULL;
}

static dnnl_status_t create_kernel(tsri_nn_kernel *k, dnnl_engine_t engine,
                                   const tsri_nn_conv *c, int height, int width)
{
    const packed *p = c->packed;
    const int threads = omp_get_max_threads();
    dnnl_primitive_desc_t pd;
    dnnl_status_t status = create_desc(&pd, engine, c, height, width, &p->desc);

    if (status)
        return status;
    k->engine = engine;
    omp_set_num_threads(1);
    status = dnnl_primitive_create(&k->primitive, pd);
    omp_set_num_threads(threads);
    dnnl_primitive_desc_destroy(pd);
    return status;
}

/* The kernel of that shape, or the one unused for longest. */
static tsri_nn_kernel *find(tsri_nn_state *state, const int shape[7])
{
    tsri_nn_kernel *oldest = state->kernel;
    for (int i = 0; i < KEPT; i++) {
        tsri_nn_kernel *k = &state->kernel[i];
        if (k->used && !memcmp(k->shape, shape, sizeof k->shape))
            return k;
        if (k->used < oldest->used)
            oldest = k;
    }
    return oldest;
}

static tsr_error onednn_prepare(tsri_nn_state *state, const tsri_nn_conv *c,
                                int height, int width,
                                const tsri_nn_kernel **kernel)
{
    const bool flat = c->kernel == 1 && c->stride == 1;
    const int h = flat ? 1 : height, w = flat ? height * width : width;
    const int shape[7] = { c->in, c->out, c->kernel, c->stride, (int)c->act, h,
                           w };
    tsri_nn_kernel *k = find(state, shape);
    dnnl_status_t status = dnnl_success;

    if (!k->used || memcmp(k->shape, shape, sizeof shape)) {
        if (k->primitive)
            dnnl_primitive_destroy(k->primitive);
        *k = (tsri_nn_kernel){ .primitive = NULL };
        status = create_kernel(k, state->engine, c, h, w);
        memcpy(k->shape, shape, sizeof shape);
    }
    if (status)
        return failed(state->ctx, status, "no convolution of this shape");
    k->used = ++state->clock;
    *kernel = k;
    return TSR_OK;
}

/* Runs on the calling thread alone. */
static dnnl_status_t execute(const tsri_nn_kernel *k, int n,
                             const dnnl_exec_arg_t *args)
{
    const int threads = omp_get_max_threads();
    dnnl_stream_t stream;
    dnnl_status_t status = dnnl_stream_create(&stream, k->engine,
                                              dnnl_stream_default_flags);
    if (status)
        return status;
    omp_set_num_threads(1);
    status = dnnl_primitive_execute(k->primitive, stream, n, args);
    omp_set_num_threads(threads);
    dnnl_stream_destroy(stream);
    return status;
}

/* Wraps the block that a primitive takes as its source or destination. */
static dnnl_status_t wrap(dnnl_memory_t *out, const tsri_nn_kernel *k,
                          dnnl_query_t what, const float *data)
{
    const_dnnl_primitive_desc_t pd;
    const dnnl_status_t status = dnnl_primitive_get_primitive_desc(
        k->primitive, &pd);
    return status ? status :
           dnnl_memory_create(out, dnnl_primitive_desc_query_md(pd, what, 0),
                              k->engine, (float *)(uintptr_t)data);
}

static tsr_error onednn_run(const tsri_nn_kernel *k, const tsri_nn_conv *c,
                            const float *src, float *dst)
{
    const packed *p = c->packed;
    dnnl_memory_t in = NULL, out = NULL;
    dnnl_status_t status = wrap(&in, k, dnnl_query_src_md, src);

    if (!status)
        status = wrap(&out, k, dnnl_query_dst_md, dst);
    if (!status)
        status = execute(k, 4, (dnnl_exec_arg_t[]){
            { DNNL_ARG_SRC, in }, { DNNL_ARG_WEIGHTS, p->weight },
            { DNNL_ARG_BIAS, p->bias }, { DNNL_ARG_DST, out } });
    if (in)
        dnnl_memory_destroy(in);
    if (out)
        dnnl_memory_destroy(out);
    return status == dnnl_out_of_memory ? TSR_E_NOMEM :
           status ? TSR_E_BACKEND : TSR_OK;
}

const tsri_nn_backend *tsri_nn_onednn(void)
{
    static const tsri_nn_backend backend = {
        .name = "onednn", .open = onednn_open, .close = onednn_close,
        .pack = onednn_pack, .unpack = onednn_unpack,
        .prepare = onednn_prepare, .run = onednn_run
    };
    return &backend;
}
