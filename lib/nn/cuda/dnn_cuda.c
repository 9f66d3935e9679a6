/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/nn/cuda/dnn.h"
#include <cudnn.h>
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { LISTED = 16, RUNS = 3, NOTES = 16 };

/* Engines that want more memory are left out. */
static const int64_t max_workspace = (int64_t)256 << 20;

/* Of a context, for compiling and trying kernels; then the first that is there is
 * taken. */
static const double search_seconds = 3;

/* The calls that are used, by name. */
#define CALLS(X) \
    X(cudnnCreate) X(cudnnDestroy) X(cudnnSetStream) X(cudnnGetErrorString) \
    X(cudnnGetVersion) X(cudnnBackendCreateDescriptor) \
    X(cudnnBackendDestroyDescriptor) X(cudnnBackendSetAttribute) \
    X(cudnnBackendGetAttribute) X(cudnnBackendFinalize) X(cudnnBackendExecute)

typedef struct calls {
#define DECLARE(name) __typeof__(&name) name;
    CALLS(DECLARE)
#undef DECLARE
} calls;

typedef cudnnBackendDescriptor_t descriptor;

/* A plan, and whether it adds the bias and applies the activation, too. */
typedef struct plan {
    tsri_dnn_shape shape;
    descriptor plan;
    int64_t workspace;
    bool fused;
    float ms;
    struct plan *next;
} plan;

struct tsri_dnn {
    tsr_context *ctx;
    tsri_cuda *gpu;
    void *library;
    calls call;
    cudnnHandle_t handle;
    plan *plans;
    void *workspace;
    size_t workspace_bytes;
    double spent;               /* seconds, searching for plans */
};

/* Numbers of tensors in a plan. */
enum { ID_X = 1, ID_WEIGHT, ID_BIAS, ID_Y, ID_SUM, ID_BIASED, ID_ADD };

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

static void destroy(tsri_dnn *d, descriptor *x)
{
    if (*x)
        d->call.cudnnBackendDestroyDescriptor(*x);
    *x = NULL;
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

/* ---- descriptors ---- */

/* A chain of calls that stops at the first failure; failing is no error of the
 * user's, since what has no engine in one form has one in another. */
typedef struct maker {
    tsri_dnn *d;
    cudnnStatus_t status;
} maker;

static descriptor create(maker *m, cudnnBackendDescriptorType_t type)
{
    descriptor x = NULL;
    if (m->status == CUDNN_STATUS_SUCCESS)
        m->status = m->d->call.cudnnBackendCreateDescriptor(type, &x);
    return x;
}

static void set(maker *m, descriptor x, cudnnBackendAttributeName_t name,
                cudnnBackendAttributeType_t type, int64_t n, const void *value)
{
    if (m->status == CUDNN_STATUS_SUCCESS)
        m->status = m->d->call.cudnnBackendSetAttribute(x, name, type, n, value);
}

static void finish(maker *m, descriptor x)
{
    if (m->status == CUDNN_STATUS_SUCCESS)
        m->status = m->d->call.cudnnBackendFinalize(x);
}

static cudnnDataType_t data_type(int type)
{
    return type == NNK_F32 ? CUDNN_DATA_FLOAT :
           type == NNK_F16 ? CUDNN_DATA_HALF : CUDNN_DATA_BFLOAT16;
}

/* dims and strides: n, c, h, w. */
static descriptor tensor(maker *m, int64_t id, cudnnDataType_t type,
                         const int64_t dims[4], const int64_t strides[4],
                         bool inner)
{
    const int64_t align = 16;
    descriptor x = create(m, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    set(m, x, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
    set(m, x, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, dims);
    set(m, x, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, strides);
    set(m, x, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &id);
    set(m, x, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &align);
    set(m, x, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &inner);
    finish(m, x);
    return x;
}

static descriptor nhwc(maker *m, int64_t id, cudnnDataType_t type, int64_t h,
                       int64_t w, int64_t c, int64_t row, bool inner)
{
    const int64_t dims[4] = { 1, c, h, w }, strides[4] = { h * row, 1, row, c };
    return tensor(m, id, type, dims, strides, inner);
}

/* The parts of a graph, to be destroyed with it. */
typedef struct graph {
    descriptor x, weight, bias, y, sum, biased, more, conv, conv_op, add, add_op,
               act, act_op, ops;
} graph;

static void set_conv(maker *m, graph *g, const tsri_dnn_shape *s)
{
    const int64_t before[2] = { s->top, s->left }, after[2] = { s->bottom,
                                                                s->right };
    const int64_t stride[2] = { s->stride, s->stride }, one[2] = { 1, 1 };
    const int64_t spatial = 2;
    const cudnnDataType_t compute = CUDNN_DATA_FLOAT;
    const cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
    const float alpha = 1, beta = 0;

    g->conv = create(m, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
    set(m, g->conv, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, 1,
        &spatial);
    set(m, g->conv, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1,
        &compute);
    set(m, g->conv, CUDNN_ATTR_CONVOLUTION_CONV_MODE,
        CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode);
    set(m, g->conv, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 2,
        before);
    set(m, g->conv, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 2,
        after);
    set(m, g->conv, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 2, one);
    set(m, g->conv, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 2,
        stride);
    finish(m, g->conv);
    g->conv_op = create(m, CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR);
    set(m, g->conv_op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
        CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &g->conv);
    set(m, g->conv_op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
        CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &g->x);
    set(m, g->conv_op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
        CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &g->weight);
    set(m, g->conv_op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
        CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, g->sum ? &g->sum : &g->y);
    set(m, g->conv_op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
        CUDNN_TYPE_FLOAT, 1, &alpha);
    set(m, g->conv_op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA,
        CUDNN_TYPE_FLOAT, 1, &beta);
    finish(m, g->conv_op);
}

/* y = mode(x, b). */
static void set_pointwise(maker *m, descriptor *kind, descriptor *op,
                          cudnnPointwiseMode_t mode, descriptor x, descriptor b,
                          descriptor y)
{
    const cudnnDataType_t compute = CUDNN_DATA_FLOAT;

    *kind = create(m, CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
    set(m, *kind, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode);
    set(m, *kind, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, 1,
        &compute);
    finish(m, *kind);
    *op = create(m, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    set(m, *op, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR,
        CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, kind);
    set(m, *op, CUDNN_ATTR_OPERATION_POINTWISE_XDESC,
        CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &x);
    if (b)
        set(m, *op, CUDNN_ATTR_OPERATION_POINTWISE_BDESC,
            CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &b);
    set(m, *op, CUDNN_ATTR_OPERATION_POINTWISE_YDESC,
        CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &y);
    finish(m, *op);
}

static void set_tensors(maker *m, graph *g, const tsri_dnn_shape *s, bool fused)
{
    const cudnnDataType_t type = data_type(s->type);
    const int64_t k = s->kernel, c = s->in, out = s->out;
    const int64_t dims[4] = { out, c, k, k }, strides[4] = { k * k * c, 1, k * c,
                                                             c };

    g->x = nhwc(m, ID_X, type, s->height, s->width, c, s->row, false);
    g->weight = tensor(m, ID_WEIGHT, type, dims, strides, false);
    g->y = nhwc(m, ID_Y, s->wide ? CUDNN_DATA_FLOAT : type, s->rows, s->cols, out,
                s->cols * out, false);
    if (!fused)
        return;
    g->bias = nhwc(m, ID_BIAS, CUDNN_DATA_FLOAT, 1, 1, out, out, false);
    g->sum = nhwc(m, ID_SUM, CUDNN_DATA_FLOAT, s->rows, s->cols, out,
                  s->cols * out, true);
    if (s->add)
        g->more = nhwc(m, ID_ADD, type, s->rows, s->cols, out, s->cols * out,
                       false);
    if (s->act || s->add)
        g->biased = nhwc(m, ID_BIASED, CUDNN_DATA_FLOAT, s->rows, s->cols, out,
                         s->cols * out, true);
}

static cudnnPointwiseMode_t last_of(const tsri_dnn_shape *s)
{
    return s->add ? CUDNN_POINTWISE_ADD :
           s->act == 1 ? CUDNN_POINTWISE_SWISH_FWD : CUDNN_POINTWISE_RELU_FWD;
}

static void make_graph(maker *m, graph *g, const tsri_dnn_shape *s, bool fused)
{
    descriptor ops[3];
    int64_t n = 0;

    set_tensors(m, g, s, fused);
    set_conv(m, g, s);
    ops[n++] = g->conv_op;
    if (fused) {
        set_pointwise(m, &g->add, &g->add_op, CUDNN_POINTWISE_ADD, g->sum,
                      g->bias, s->act || s->add ? g->biased : g->y);
        ops[n++] = g->add_op;
    }
    if (fused && (s->act || s->add)) {
        set_pointwise(m, &g->act, &g->act_op, last_of(s), g->biased, g->more,
                      g->y);
        ops[n++] = g->act_op;
    }
    g->ops = create(m, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    set(m, g->ops, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
        n, ops);
    set(m, g->ops, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1,
        &m->d->handle);
    finish(m, g->ops);
}

static void free_graph(tsri_dnn *d, graph *g)
{
    descriptor *const all[] = { &g->ops, &g->act_op, &g->act, &g->add_op, &g->add,
                                &g->conv_op, &g->conv, &g->more, &g->biased,
                                &g->sum,
                                &g->y, &g->bias, &g->weight, &g->x };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        destroy(d, all[i]);
}

/* ---- plans ---- */

/* Notes of a configuration's engine; returns how many, -1 where it has none. */
static int64_t notes_of(tsri_dnn *d, descriptor config,
                        cudnnBackendAttributeName_t name,
                        cudnnBackendAttributeType_t type, void *note)
{
    maker m = { d, CUDNN_STATUS_SUCCESS };
    int64_t n = 0;

    descriptor engine = create(&m, CUDNN_BACKEND_ENGINE_DESCRIPTOR);
    if (m.status == CUDNN_STATUS_SUCCESS)
        m.status = d->call.cudnnBackendGetAttribute(
            config, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR,
            1, &n, &engine);
    n = 0;
    if (m.status == CUDNN_STATUS_SUCCESS)
        m.status = d->call.cudnnBackendGetAttribute(engine, name, type, NOTES,
                                                    &n, note);
    destroy(d, &engine);
    return m.status != CUDNN_STATUS_SUCCESS ? -1 : n < NOTES ? n : NOTES;
}

/* The same bits every time; floats stay floats: no engine that rounds its inputs
 * for tensor cores. */
static bool fit(tsri_dnn *d, descriptor config, int type)
{
    cudnnBackendNumericalNote_t note[NOTES];
    const int64_t n = notes_of(d, config, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE,
                               CUDNN_TYPE_NUMERICAL_NOTE, note);
    bool good = n >= 0;

    for (int64_t i = 0; good && i < n; i++)
        good = note[i] != CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC &&
               note[i] != CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION &&
               (type != NNK_F32 ||
                (note[i] != CUDNN_NUMERICAL_NOTE_TENSOR_CORE &&
                 note[i] != CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS));
    return good;
}

/* Whether its kernel is there, and not to be compiled first. */
static bool ready(tsri_dnn *d, descriptor config)
{
    cudnnBackendBehaviorNote_t note[NOTES];
    const int64_t n = notes_of(d, config, CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE,
                               CUDNN_TYPE_BEHAVIOR_NOTE, note);
    bool good = n >= 0;

    for (int64_t i = 0; good && i < n; i++)
        good = note[i] != CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION;
    return good;
}

static bool make_plan(tsri_dnn *d, descriptor config, plan *p)
{
    maker m = { d, CUDNN_STATUS_SUCCESS };
    int64_t n = 0;

    p->plan = create(&m, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    set(&m, p->plan, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1,
        &d->handle);
    set(&m, p->plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG,
        CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &config);
    finish(&m, p->plan);
    if (m.status == CUDNN_STATUS_SUCCESS)
        m.status = d->call.cudnnBackendGetAttribute(
            p->plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64,
            1, &n, &p->workspace);
    if (m.status != CUDNN_STATUS_SUCCESS)
        destroy(d, &p->plan);
    return m.status == CUDNN_STATUS_SUCCESS;
}

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

typedef tsri_dnn_operands operands;

static tsr_error run(tsri_dnn *d, const plan *p, const operands *o)
{
    maker m = { d, CUDNN_STATUS_SUCCESS };
    const void *pointers[5] = { o->x, o->weight, o->y, o->bias, o->add };
    const int64_t ids[5] = { ID_X, ID_WEIGHT, ID_Y, ID_BIAS, ID_ADD };
    const int64_t n = !p->fused ? 3 : p->shape.add ? 5 : 4;

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
    if (p->fused)
        return TSR_OK;
    return tsri_cuda_check(d->gpu, nnk_bias_run(
        p->shape.wide ? NNK_F32 : p->shape.type, o->y, o->bias, o->add,
        (size_t)p->shape.rows * (size_t)p->shape.cols, p->shape.out, p->shape.act,
        tsri_cuda_stream(d->gpu)), "bias");
}

/* Milliseconds of a run, the least of some. */
static tsr_error measure(tsri_dnn *d, const plan *p, const operands *o,
                         float *least)
{
    tsri_cuda_mark *from = NULL, *to = NULL;
    tsr_error error = run(d, p, o);

    *least = 0;
    if (!error)
        error = tsri_cuda_mark_open(d->gpu, &from);
    if (!error)
        error = tsri_cuda_mark_open(d->gpu, &to);
    for (int i = 0; !error && i < RUNS; i++) {
        float ms;
        error = tsri_cuda_mark_set(d->gpu, from);
        error = error ? error : run(d, p, o);
        error = error ? error : tsri_cuda_mark_set(d->gpu, to);
        error = error ? error : tsri_cuda_mark_between(d->gpu, from, to, &ms);
        if (!error && (i == 0 || ms < *least))
            *least = ms;
    }
    if (from)
        tsri_cuda_mark_close(d->gpu, &from);
    if (to)
        tsri_cuda_mark_close(d->gpu, &to);
    return error;
}

/* Configurations that the heuristics name, best first; returns how many. */
static int64_t configs_of(maker *m, const graph *g, cudnnBackendHeurMode_t mode,
                          descriptor *config)
{
    int64_t n = 0;
    descriptor heuristic = create(m, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    set(m, heuristic, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH,
        CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &g->ops);
    set(m, heuristic, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
    finish(m, heuristic);
    for (int i = 0; i < LISTED; i++)
        config[i] = create(m, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    if (m->status == CUDNN_STATUS_SUCCESS)
        m->status = m->d->call.cudnnBackendGetAttribute(
            heuristic, CUDNN_ATTR_ENGINEHEUR_RESULTS,
            CUDNN_TYPE_BACKEND_DESCRIPTOR, LISTED, &n, config);
    destroy(m->d, &heuristic);
    return m->status == CUDNN_STATUS_SUCCESS ? n < LISTED ? n : LISTED : 0;
}

/* A form of the graph, and how many of its engines are tried. */
typedef struct form {
    bool fused, compiled;       /* compiled: engines that compile a kernel, too */
    cudnnBackendHeurMode_t mode;
    int most;
} form;

/* Keeps a plan if it runs and is faster than what there is; whether it runs. */
static bool try_plan(tsri_dnn *d, const operands *o, plan *one, plan *p)
{
    float ms;

    if (one->workspace > max_workspace || measure(d, one, o, &ms)) {
        destroy(d, &one->plan);
        return false;
    }
    if (p->plan && ms >= p->ms) {
        destroy(d, &one->plan);
        return true;
    }
    destroy(d, &p->plan);
    p->plan = one->plan;
    p->workspace = one->workspace;
    p->fused = one->fused;
    p->ms = ms;
    return true;
}

/* The fastest plan of a form that runs, if it is faster than p; p->plan stays
 * NULL where none does. */
static void best_of(tsri_dnn *d, const operands *o, form f, plan *p)
{
    maker m = { d, CUDNN_STATUS_SUCCESS };
    descriptor config[LISTED] = { NULL };
    const tsr_logger logger = d->ctx->logger;
    graph g = { NULL };
    int ran = 0;

    d->ctx->logger = (tsr_logger){ NULL, NULL };  /* that one fails is no error */
    make_graph(&m, &g, &p->shape, f.fused);
    const int64_t n = configs_of(&m, &g, f.mode, config);
    for (int64_t i = 0; i < n && ran < f.most; i++) {
        plan one = { .shape = p->shape, .fused = f.fused };
        if (fit(d, config[i], p->shape.type) &&
            (f.compiled || ready(d, config[i])) && make_plan(d, config[i], &one))
            ran += try_plan(d, o, &one, p);
    }
    for (int i = 0; i < LISTED; i++)
        destroy(d, &config[i]);
    free_graph(d, &g);
    d->ctx->logger = logger;
}

static double seconds(void)
{
    struct timespec t;
    timespec_get(&t, TIME_UTC);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* A fused kernel is compiled, which takes some tenths of a second: that is done
 * until the context's time for it is spent.  What is there already is tried in
 * milliseconds. */
static void search(tsri_dnn *d, const operands *o, plan *p)
{
    const double start = seconds();
    const bool rich = d->spent < search_seconds, f32 = p->shape.type == NNK_F32;
    const form forms[] = {
        { true, true, CUDNN_HEUR_MODE_A, rich ? f32 ? 4 : 1 : 0 },
        { false, false, CUDNN_HEUR_MODE_A, rich ? 3 : 1 },
        { false, false, CUDNN_HEUR_MODE_FALLBACK, f32 && rich ? 3 : 0 }
    };
    const form last[] = {
        { false, true, CUDNN_HEUR_MODE_FALLBACK, 1 },
        { true, true, CUDNN_HEUR_MODE_A, 1 },
        { false, true, CUDNN_HEUR_MODE_A, 1 }
    };

    for (int i = 0; i < 3; i++)
        if (forms[i].most)
            best_of(d, o, forms[i], p);
    for (int i = 0; i < 3 && !p->plan; i++)
        best_of(d, o, last[i], p);
    d->spent += seconds() - start;
}

static tsr_error new_plan(tsri_dnn *d, const tsri_dnn_shape *s,
                          const operands *o, plan **out)
{
    plan *p = tsri_calloc(d->ctx, 1, sizeof *p);

    if (!p)
        return tsri_nomem(d->ctx);
    p->shape = *s;
    search(d, o, p);
    if (!p->plan) {
        tsri_free(d->ctx, p);
        return tsri_fail(d->ctx, TSR_E_BACKEND, "cuDNN has no engine for a"
                         " convolution of %d x %d, %d to %d channels, kernel %d"
                         " stride %d", s->height, s->width, s->in, s->out,
                         s->kernel, s->stride);
    }
    p->next = d->plans;
    *out = d->plans = p;
    return TSR_OK;
}

tsr_error tsri_dnn_conv(tsri_dnn *d, const tsri_dnn_shape *s, const operands *o)
{
    plan *p = d->plans;

    TSR_TRY(tsri_cuda_use(d->gpu));
    while (p && memcmp(&p->shape, s, sizeof *s))
        p = p->next;
    if (!p)
        TSR_TRY(new_plan(d, s, o, &p));
    return run(d, p, o);
}

const void *tsri_dnn_workspace(const tsri_dnn *d)
{
    return d->workspace;
}
