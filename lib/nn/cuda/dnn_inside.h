/* SPDX-License-Identifier: BSD-2-Clause */
/* What the parts of dnn.h share: dnn_cuda.c opens cuDNN and runs plans,
 * dnn_graph_cuda.c describes convolutions to it, dnn_plan_cuda.c chooses how they
 * are done, dnn_engine_cuda.c says it again for other numbers of items. */
#ifndef TSR_LIB_NN_CUDA_DNN_INSIDE_H
#define TSR_LIB_NN_CUDA_DNN_INSIDE_H
#include <cudnn.h>
#include "lib/nn/cuda/dnn.h"

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
typedef tsri_dnn_operands operands;

enum { TSRI_DNN_KNOBS = 24 };   /* of an engine, at most */

/* An engine and how it is set. */
typedef struct tsri_dnn_engine {
    bool known;             /* what follows is */
    int knobs;
    int64_t index, value[TSRI_DNN_KNOBS];
    cudnnBackendKnobType_t type[TSRI_DNN_KNOBS];
} tsri_dnn_engine;

/* How a convolution is done. */
typedef struct way {
    bool own;               /* by our kernel; what follows is of cuDNN's */
    bool fused;             /* they add the bias and so on, too */
    bool singly;            /* item by item, each as one of those is done */
    cudnnBackendHeurMode_t mode;
    int64_t listed;         /* for one item: which engine that the heuristics name */
    tsri_dnn_engine engine;
} way;

/* A way that is ready to be gone. */
typedef struct plan {
    tsri_dnn_shape shape;
    way way;
    descriptor plan;        /* NULL: own, or singly */
    int64_t workspace;
    float ms;               /* as measured when it was chosen */
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
    double spent;           /* seconds, choosing */
    int chosen;
};

/* Numbers of tensors in a graph. */
enum { ID_X = 1, ID_WEIGHT, ID_BIAS, ID_Y, ID_SUM, ID_BIASED, ID_ADD };

/* ---- descriptors ---- */

/* A chain of calls that stops at the first failure; failing is no error of the
 * user's, since what has no engine in one form has one in another. */
typedef struct maker {
    tsri_dnn *d;
    cudnnStatus_t status;
} maker;

static inline descriptor create(maker *m, cudnnBackendDescriptorType_t type)
{
    descriptor x = NULL;
    if (m->status == CUDNN_STATUS_SUCCESS)
        m->status = m->d->call.cudnnBackendCreateDescriptor(type, &x);
    return x;
}

static inline void set(maker *m, descriptor x, cudnnBackendAttributeName_t name,
                       cudnnBackendAttributeType_t type, int64_t n,
                       const void *value)
{
    if (m->status == CUDNN_STATUS_SUCCESS)
        m->status = m->d->call.cudnnBackendSetAttribute(x, name, type, n, value);
}

/* Returns how many there are, of which the first `room` are written. */
static inline int64_t get(maker *m, descriptor x, cudnnBackendAttributeName_t name,
                          cudnnBackendAttributeType_t type, int64_t room,
                          void *value)
{
    int64_t n = 0;
    if (m->status == CUDNN_STATUS_SUCCESS)
        m->status = m->d->call.cudnnBackendGetAttribute(x, name, type, room, &n,
                                                        value);
    return m->status == CUDNN_STATUS_SUCCESS ? n : 0;
}

static inline void finish(maker *m, descriptor x)
{
    if (m->status == CUDNN_STATUS_SUCCESS)
        m->status = m->d->call.cudnnBackendFinalize(x);
}

static inline void destroy(tsri_dnn *d, descriptor *x)
{
    if (*x)
        d->call.cudnnBackendDestroyDescriptor(*x);
    *x = NULL;
}

/* ---- dnn_graph_cuda.c ---- */

/* A convolution and what becomes of its sums. */
typedef struct graph {
    descriptor x, weight, bias, y, sum, biased, more, conv, conv_op, add, add_op,
               act, act_op, ops;
} graph;

void tsri_dnn_make_graph(maker *m, graph *g, const tsri_dnn_shape *s, bool fused);
void tsri_dnn_free_graph(tsri_dnn *d, graph *g);

/* ---- dnn_engine_cuda.c ---- */

/* What a configuration stands for. */
void tsri_dnn_read_engine(tsri_dnn *d, descriptor config, tsri_dnn_engine *e);

/* A plan of a configuration, p->plan; false and NULL where there is none, or one that
 * wants too much memory. */
bool tsri_dnn_make_plan(tsri_dnn *d, descriptor config, plan *p);

/* A plan of p's engine for p's shape, p->plan; NULL where there is none. */
void tsri_dnn_follow_engine(tsri_dnn *d, plan *p);

/* p's way for its several items: that of one, if it gives these operands the bits that
 * it gives them one by one; else one by one. */
void tsri_dnn_spread(tsri_dnn *d, const plan *one, const operands *o, plan *p);

/* ---- dnn_plan_cuda.c ---- */

/* A plan of a shape: the one that the process has chosen for this device, else the
 * fastest, which is found by running it with these operands.  What is fastest for one
 * item is taken for several.  *p: the context's to close.  Returns TSR_OK;
 * TSR_E_BACKEND there is none; TSR_E_NOMEM. */
tsr_error tsri_dnn_plan(plan **p, tsri_dnn *d, const tsri_dnn_shape *s,
                        const operands *o);

/* ---- dnn_cuda.c ---- */

/* The context's plan of a shape, made if it is the first time.  Returns what
 * tsri_dnn_plan() does. */
tsr_error tsri_dnn_find(const plan **p, tsri_dnn *d, const tsri_dnn_shape *s,
                        const operands *o);

tsr_error tsri_dnn_run(tsri_dnn *d, const plan *p, const operands *o);

/* Bytes of y of an item, and item i's operands. */
size_t tsri_dnn_out_bytes(const tsri_dnn_shape *s);
operands tsri_dnn_item(const tsri_dnn_shape *s, const operands *o, int64_t i);

/* Whether our kernel can do it. */
bool tsri_dnn_has_own(const tsri_dnn_shape *s);
#endif
