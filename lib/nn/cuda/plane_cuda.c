/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/nn/cuda/plane_cuda.h"
#include "lib/nn/cuda/plane_kernels.h"
#include "lib/nn/cuda/seq_inside.h"

struct tsri_plane_record {
    cudaGraphExec_t exec;
};

static tsr_error check(tsri_seq_dev *dev, cudaError_t status, const char *what)
{
    return tsri_cuda_check(dev->gpu, status, what);
}

static cudaStream_t stream_of(const tsri_seq_dev *dev)
{
    return tsri_cuda_stream(dev->gpu);
}

static tsr_error dev_gather(tsri_seq_dev *dev, const tsri_plane_gather *g)
{
    const plk_gather k = { g->x, g->y, g->items, g->height, g->width, g->channels,
                           g->rows, g->columns, g->stride, g->twice };

    TSR_TRY(tsri_cuda_use(dev->gpu));
    return check(dev, plk_gather_run(dev->type, &k, stream_of(dev)), "gathering");
}

static tsr_error dev_norm(tsri_seq_dev *dev, const tsri_plane_norm_step *n)
{
    const plk_norm k = { n->x, n->y, n->items, n->positions, n->channels,
                         n->groups, n->eps, n->weight, n->add, n->silu };

    TSR_TRY(tsri_cuda_use(dev->gpu));
    return check(dev, plk_norm_run(dev->type, &k, stream_of(dev)), "norm");
}

static tsr_error dev_layer_norm(tsri_seq_dev *dev, const tsri_plane_layer_norm *n)
{
    const plk_layer_norm k = { n->x, n->y, n->rows, n->channels, n->weight };

    TSR_TRY(tsri_cuda_use(dev->gpu));
    return check(dev, plk_layer_norm_run(dev->type, &k, stream_of(dev)),
                 "layer norm");
}

static tsr_error dev_attend(tsri_seq_dev *dev, const tsri_plane_attention *a)
{
    const plk_attention k = { a->q, a->k, a->v, a->y, a->items, a->n, a->m,
                              a->channels };

    TSR_TRY(tsri_cuda_use(dev->gpu));
    return check(dev, plk_attention_run(dev->type, &k, stream_of(dev)),
                 "attention");
}

static tsr_error dev_gate(tsri_seq_dev *dev, const tsri_plane_gate *g)
{
    const plk_gate k = { g->x, g->y, g->rows, g->channels };

    TSR_TRY(tsri_cuda_use(dev->gpu));
    return check(dev, plk_gate_run(dev->type, &k, stream_of(dev)), "gate");
}

static tsr_error dev_join(tsri_seq_dev *dev, const tsri_plane_join *j)
{
    const plk_join k = { j->a, j->b, j->y, j->rows, j->a_channels, j->b_channels };

    TSR_TRY(tsri_cuda_use(dev->gpu));
    return check(dev, plk_join_run(dev->type, &k, stream_of(dev)), "joining");
}

static tsr_error dev_mix(tsri_seq_dev *dev, const tsri_plane_mix *m)
{
    const plk_mix k = { m->x, m->v, m->noise, m->numbers, m->n, m->by_x, m->by_v,
                        m->by_noise, m->guidance };

    TSR_TRY(tsri_cuda_use(dev->gpu));
    return check(dev, plk_mix_run(dev->type, &k, stream_of(dev)), "sampling");
}

/* ---- recorded work ---- */

static bool dev_record(tsri_seq_dev *dev)
{
    return tsri_cuda_record(dev->gpu);
}

static tsri_plane_record *dev_end_record(tsri_seq_dev *dev)
{
    const cudaGraphExec_t exec = tsri_cuda_end_record(dev->gpu);
    tsri_plane_record *r = exec ? tsri_calloc(dev->ctx, 1, sizeof *r) : NULL;

    if (r)
        r->exec = exec;
    else if (exec)
        (void)cudaGraphExecDestroy(exec);
    return r;
}

static tsr_error dev_replay(tsri_seq_dev *dev, const tsri_plane_record *r)
{
    TSR_TRY(tsri_cuda_use(dev->gpu));
    return check(dev, cudaGraphLaunch(r->exec, stream_of(dev)), "steps");
}

static void dev_forget(tsri_seq_dev *dev, tsri_plane_record *r)
{
    if (r && !tsri_cuda_sync(dev->gpu))
        check(dev, cudaGraphExecDestroy(r->exec), "steps");
    tsri_free(dev->ctx, r);
}

const tsri_plane_ops tsri_plane_cuda = {
    .gather = dev_gather, .norm = dev_norm, .layer_norm = dev_layer_norm,
    .attend = dev_attend, .gate = dev_gate, .join = dev_join, .mix = dev_mix,
    .record = dev_record, .end_record = dev_end_record, .replay = dev_replay,
    .forget = dev_forget
};
