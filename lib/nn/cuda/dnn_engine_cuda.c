/* SPDX-License-Identifier: BSD-2-Clause */
/* Plans of cuDNN's engines.  An engine's number and settings say what it does for any
 * number of items; its place in the heuristics' list says so for one number alone. */
#include "lib/nn/cuda/dnn_inside.h"

typedef struct tsri_dnn_engine engine;

/* Engines that want more memory are left out. */
static const int64_t max_workspace = (int64_t)256 << 20;

bool tsri_dnn_make_plan(tsri_dnn *d, descriptor config, plan *p)
{
    maker m = { d, CUDNN_STATUS_SUCCESS };

    p->plan = create(&m, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    set(&m, p->plan, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1,
        &d->handle);
    set(&m, p->plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG,
        CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &config);
    finish(&m, p->plan);
    get(&m, p->plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1,
        &p->workspace);
    if (m.status != CUDNN_STATUS_SUCCESS || p->workspace > max_workspace)
        destroy(d, &p->plan);
    return p->plan != NULL;
}

static void read_knobs(maker *m, descriptor config, engine *e)
{
    descriptor knob[TSRI_DNN_KNOBS];

    for (int i = 0; i < TSRI_DNN_KNOBS; i++)
        knob[i] = create(m, CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR);
    const int64_t n = get(m, config, CUDNN_ATTR_ENGINECFG_KNOB_CHOICES,
                          CUDNN_TYPE_BACKEND_DESCRIPTOR, TSRI_DNN_KNOBS, knob);
    e->knobs = n < TSRI_DNN_KNOBS ? (int)n : TSRI_DNN_KNOBS;
    for (int i = 0; i < e->knobs; i++) {
        get(m, knob[i], CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, CUDNN_TYPE_KNOB_TYPE, 1,
            &e->type[i]);
        get(m, knob[i], CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, CUDNN_TYPE_INT64, 1,
            &e->value[i]);
    }
    for (int i = 0; i < TSRI_DNN_KNOBS; i++)
        destroy(m->d, &knob[i]);
    if (n >= TSRI_DNN_KNOBS)        /* there may be more */
        m->status = CUDNN_STATUS_NOT_SUPPORTED;
}

void tsri_dnn_read_engine(tsri_dnn *d, descriptor config, engine *e)
{
    maker m = { d, CUDNN_STATUS_SUCCESS };
    descriptor of = create(&m, CUDNN_BACKEND_ENGINE_DESCRIPTOR);

    get(&m, config, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
        &of);
    get(&m, of, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, 1, &e->index);
    destroy(d, &of);
    read_knobs(&m, config, e);
    e->known = m.status == CUDNN_STATUS_SUCCESS;
}

/* Such a configuration for a graph, *config; returns its engine.  Both are to be
 * destroyed, whatever becomes of the maker. */
static descriptor make_engine(maker *m, const graph *g, const engine *e,
                              descriptor *config)
{
    descriptor knob[TSRI_DNN_KNOBS] = { NULL };
    descriptor of = create(m, CUDNN_BACKEND_ENGINE_DESCRIPTOR);

    set(m, of, CUDNN_ATTR_ENGINE_OPERATION_GRAPH, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
        &g->ops);
    set(m, of, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, 1, &e->index);
    finish(m, of);
    for (int i = 0; i < e->knobs; i++) {
        knob[i] = create(m, CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR);
        set(m, knob[i], CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, CUDNN_TYPE_KNOB_TYPE, 1,
            &e->type[i]);
        set(m, knob[i], CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, CUDNN_TYPE_INT64, 1,
            &e->value[i]);
        finish(m, knob[i]);
    }
    *config = create(m, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    set(m, *config, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
        &of);
    if (e->knobs)
        set(m, *config, CUDNN_ATTR_ENGINECFG_KNOB_CHOICES,
            CUDNN_TYPE_BACKEND_DESCRIPTOR, e->knobs, knob);
    finish(m, *config);
    for (int i = 0; i < e->knobs; i++)
        destroy(m->d, &knob[i]);
    return of;
}

void tsri_dnn_follow_engine(tsri_dnn *d, plan *p)
{
    maker m = { d, CUDNN_STATUS_SUCCESS };
    descriptor config = NULL;
    graph g = { .x = NULL };

    if (!p->way.engine.known)
        return;
    tsri_dnn_make_graph(&m, &g, &p->shape, p->way.fused);
    descriptor of = make_engine(&m, &g, &p->way.engine, &config);
    if (m.status == CUDNN_STATUS_SUCCESS)
        tsri_dnn_make_plan(d, config, p);
    destroy(d, &config);
    destroy(d, &of);
    tsri_dnn_free_graph(d, &g);
}

/* ---- several items ---- */

/* Sets *differ, device memory, if an item of y is not what the plan of one makes of
 * it in `y`, which has room for an item. */
static tsr_error compare_items(tsri_dnn *d, const plan *p, const plan *one,
                               const operands *o, void *y, int *differ)
{
    const size_t bytes = tsri_dnn_out_bytes(&one->shape);

    TSR_TRY(tsri_cuda_fill(d->gpu, differ, 0, sizeof *differ));
    TSR_TRY(tsri_dnn_run(d, p, o));
    for (int64_t i = 0; i < p->shape.items; i++) {
        operands item = tsri_dnn_item(&p->shape, o, i);
        const void *made = item.y;
        item.y = y;
        TSR_TRY(tsri_dnn_run(d, one, &item));
        TSR_TRY(tsri_cuda_check(d->gpu, nnk_differ_run(
            made, y, bytes / 2, differ, tsri_cuda_stream(d->gpu)), "comparing"));
    }
    return TSR_OK;
}

/* Whether the plan gives these items the bits that the plan of one gives each. */
static bool same_bits(tsri_dnn *d, const plan *p, const plan *one, const operands *o)
{
    int *differ = NULL, found = 1;
    void *y = NULL;
    tsr_error error = tsri_cuda_take(d->gpu, &differ, sizeof *differ);

    if (!error)
        error = tsri_cuda_take(d->gpu, &y, tsri_dnn_out_bytes(&one->shape));
    if (!error)
        error = compare_items(d, p, one, o, y, differ);
    if (!error)
        error = tsri_cuda_download(d->gpu, &found, differ, sizeof found);
    if (!error)
        error = tsri_cuda_sync(d->gpu);
    tsri_cuda_give(d->gpu, y);
    tsri_cuda_give(d->gpu, differ);
    return !error && !found;
}

void tsri_dnn_spread(tsri_dnn *d, const plan *one, const operands *o, plan *p)
{
    const tsr_logger logger = d->ctx->logger;

    p->way = one->way;
    d->ctx->logger = (tsr_logger){ NULL, NULL };  /* that it fails is no error */
    if (!p->way.own)
        tsri_dnn_follow_engine(d, p);
    p->way.singly = !(p->way.own || p->plan) || !same_bits(d, p, one, o);
    d->ctx->logger = logger;
    if (p->way.singly)
        destroy(d, &p->plan);
}
