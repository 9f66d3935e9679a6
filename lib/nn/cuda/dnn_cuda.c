/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/nn/cuda/dnn_inside.h"
#include <dlfcn.h>
#include <string.h>

static tsr_error check(tsri_dnn *d, cudnnStatus_t status, const char *what)
{
    if (status == CUDNN_STATUS_SUCCESS)
        return TSR_OK;
    return tsri_fail(d->ctx, TSR_E_BACKEND, "cuDNN: %s: %s", what,
                     d->call.cudnnGetErrorString(status));
}

/* ---- the library ---- */

static bool load_calls(tsri_dnn *d)
{
    bool good = true;
#define LOAD(name)                                              \
    *(void **)&d->call.name = dlsym(d->library, #name);         \
    good = good && d->call.name;
    CALLS(LOAD)
#undef LOAD
    return good;
}

static tsr_error open_library(tsri_dnn *d)
{
    d->library = dlopen("libcudnn.so.9", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!d->library)
        return tsri_fail(d->ctx, TSR_E_UNSUPPORTED, "nets on a GPU need cuDNN 9:"
                         " %s", dlerror());
    if (!load_calls(d) || d->call.cudnnGetVersion() / 10000 != 9)
        return tsri_fail(d->ctx, TSR_E_UNSUPPORTED, "libcudnn.so.9 is not"
                         " cuDNN 9");
    TSR_TRY(check(d, d->call.cudnnCreate(&d->handle), "opening"));
    return tsri_dnn_use_stream(d);
}

tsr_error tsri_dnn_use_stream(tsri_dnn *d)
{
    return check(d, d->call.cudnnSetStream(d->handle,
                                           tsri_cuda_stream(d->gpu)), "stream");
}

tsr_error tsri_dnn_open(tsri_dnn **out, tsri_cuda *gpu)
{
    tsri_dnn *d = tsri_calloc(gpu->ctx, 1, sizeof *d);

    *out = d;
    if (!d)
        return tsri_nomem(gpu->ctx);
    d->ctx = gpu->ctx;
    d->gpu = gpu;
    tsr_error error = tsri_cuda_use(gpu);
    if (!error)
        error = open_library(d);
    if (error)
        tsri_dnn_close(out);
    return error;
}

void tsri_dnn_close(tsri_dnn **out)
{
    tsri_dnn *d = *out;
    if (!d)
        return;
    while (d->plans) {
        plan *p = d->plans;
        d->plans = p->next;
        destroy(d, &p->plan);
        tsri_free(d->ctx, p);
    }
    tsri_cuda_free(d->gpu, d->workspace);
    if (d->handle)
        d->call.cudnnDestroy(d->handle);
    if (d->library)
        dlclose(d->library);
    tsri_free(d->ctx, d);
    *out = NULL;
}

/* ---- running ---- */

static tsr_error take_workspace(tsri_dnn *d, int64_t bytes)
{
    if (bytes <= 0 || (uint64_t)bytes <= d->workspace_bytes)
        return TSR_OK;
    tsri_cuda_free(d->gpu, d->workspace);
    d->workspace = NULL;
    d->workspace_bytes = 0;
    TSR_TRY(tsri_cuda_alloc(d->gpu, &d->workspace, (size_t)bytes, 1));
    d->workspace_bytes = (size_t)bytes;
    return TSR_OK;
}

/* What is left to do where cuDNN's kernel does not do it. */
static tsr_error add_bias(tsri_dnn *d, const tsri_dnn_shape *s, const operands *o)
{
    return tsri_cuda_check(d->gpu, nnk_bias_run(
        s->wide ? NNK_F32 : s->type, o->y, o->bias, o->add,
        (size_t)s->items * (size_t)s->rows * (size_t)s->cols, s->out, s->act,
        tsri_cuda_stream(d->gpu)), "bias");
}

bool tsri_dnn_has_own(const tsri_dnn_shape *s)
{
    const int piece = s->type == NNK_F32 ? 4 : 8;

    return s->in % piece == 0 && s->out % 4 == 0 && s->row % piece == 0 &&
           s->plane % piece == 0 &&
           (int64_t)s->rows * s->cols < INT32_MAX - 128;
}

static tsr_error run_own(tsri_dnn *d, const tsri_dnn_shape *s, const operands *o)
{
    const nnk_conv c = {
        .x = o->x, .weight = o->weight, .bias = o->bias, .add = o->add, .y = o->y,
        .row = s->row, .plane = s->plane, .items = (int)s->items,
        .height = s->height, .width = s->width, .in = s->in,
        .out = s->out, .kernel = s->kernel, .stride = s->stride, .top = s->top,
        .left = s->left, .rows = s->rows, .cols = s->cols, .act = s->act,
        .wide = s->wide
    };
    return tsri_cuda_check(d->gpu, nnk_conv_run(s->type, &c,
                                                tsri_cuda_stream(d->gpu)),
                           "convolution");
}

static size_t bytes_of(int type, int64_t numbers)
{
    return (type == NNK_F32 ? 4 : 2) * (size_t)numbers;
}

size_t tsri_dnn_out_bytes(const tsri_dnn_shape *s)
{
    return bytes_of(s->wide ? NNK_F32 : s->type, (int64_t)s->rows * s->cols * s->out);
}

operands tsri_dnn_item(const tsri_dnn_shape *s, const operands *o, int64_t i)
{
    const size_t x = (size_t)i * bytes_of(s->type, s->plane);
    const size_t y = (size_t)i * tsri_dnn_out_bytes(s);

    return (operands){ (const uint8_t *)o->x + x, o->weight, o->bias,
                       o->add ? (const uint8_t *)o->add + y : NULL,
                       (uint8_t *)o->y + y };
}

static tsr_error run_singly(tsri_dnn *d, const tsri_dnn_shape *s, const operands *o)
{
    tsri_dnn_shape one = *s;

    one.items = 1;
    for (int64_t i = 0; i < s->items; i++) {
        const operands item = tsri_dnn_item(s, o, i);
        TSR_TRY(tsri_dnn_conv(d, &one, &item));
    }
    return TSR_OK;
}

tsr_error tsri_dnn_run(tsri_dnn *d, const plan *p, const operands *o)
{
    maker m = { d, CUDNN_STATUS_SUCCESS };
    const void *pointers[5] = { o->x, o->weight, o->y, o->bias, o->add };
    const int64_t ids[5] = { ID_X, ID_WEIGHT, ID_Y, ID_BIAS, ID_ADD };
    const int64_t n = !p->way.fused ? 3 : p->shape.add ? 5 : 4;

    if (p->way.singly)
        return run_singly(d, &p->shape, o);
    if (p->way.own)
        return run_own(d, &p->shape, o);
    TSR_TRY(take_workspace(d, p->workspace));
    descriptor pack = create(&m, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
    set(&m, pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, n,
        pointers);
    set(&m, pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, n, ids);
    set(&m, pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1,
        &d->workspace);
    finish(&m, pack);
    if (m.status == CUDNN_STATUS_SUCCESS)
        m.status = d->call.cudnnBackendExecute(d->handle, p->plan, pack);
    destroy(d, &pack);
    TSR_TRY(check(d, m.status, "convolution"));
    return p->way.fused ? TSR_OK : add_bias(d, &p->shape, o);
}

tsr_error tsri_dnn_find(const plan **out, tsri_dnn *d, const tsri_dnn_shape *s,
                        const operands *o)
{
    plan *p = d->plans;

    while (p && memcmp(&p->shape, s, sizeof *s))
        p = p->next;
    if (!p) {
        TSR_TRY(tsri_dnn_plan(&p, d, s, o));
        p->next = d->plans;
        d->plans = p;
    }
    *out = p;
    return TSR_OK;
}

tsr_error tsri_dnn_conv(tsri_dnn *d, const tsri_dnn_shape *s, const operands *o)
{
    const plan *p;

    TSR_TRY(tsri_cuda_use(d->gpu));
    TSR_TRY(tsri_dnn_find(&p, d, s, o));
    return tsri_dnn_run(d, p, o);
}

int tsri_dnn_chosen(const tsri_dnn *d)
{
    return d->chosen;
}

const void *tsri_dnn_workspace(const tsri_dnn *d)
{
    return d->workspace;
}
