/* SPDX-License-Identifier: BSD-2-Clause */
/* Runs steps block by block: gather with padding, convolve, combine, store.
 * The threads share out the blocks; no sample depends on how they are cut. */
#include <string.h>
#include "lib/nn/device.h"
#include "lib/pool.h"

enum { LANE = TSRI_NN_LANE };

typedef struct tsri_job {
    const tsri_net *net;
    const tsri_step *step;
    tsri_grid grid;
    tsri_view src, dst, arg[2];
    int height, width;      /* of the gathered plane */
    const tsri_nn_kernel *kernel[TSRI_NN_KERNELS];
    float *scratch;
} tsri_job;

/* One block at work: its part of the convolution's output, its memory. */
typedef struct tsri_block {
    tsri_rect rect;
    int kernel;
    float *in, *out, *temp[3];
} tsri_block;

/* Where a sample outside 0..n-1 comes from; -1: it is zero. */
static int source_of(int i, int n, tsri_pad pad)
{
    if (i >= 0 && i < n)
        return i;
    if (pad == TSRI_PAD_ZERO)
        return -1;
    return i < 0 ? tsri_min(-i, n - 1) : tsri_max(2 * n - 2 - i, 0);
}

/* Sample x of a row that starts at x0, from the same row or zero. */
static void pad_sample(const tsri_job *j, float *row, int x0, int x)
{
    const int from = source_of(x, j->width, j->step->pad);
    float *p = row + (x - x0) * LANE;
    if (from < 0)
        memset(p, 0, LANE * sizeof *p);
    else
        memcpy(p, row + (from - x0) * LANE, LANE * sizeof *p);
}

/* Columns x0..x1-1 of a row of the gathered plane, before `pre`; n: how many
 * samples of the source these are. */
static const float *source_row(const tsri_job *j, int b, int y, int x0, int x1,
                               int *n, float *temp)
{
    const tsri_step *s = j->step;
    const int d = s->upsample;

    *n = (x1 - 1) / d + 1 - x0 / d;
    return s->unshuffle == 1 ?
        tsri_row_get(&j->src, b, y / d, x0 / d, *n, temp) :
        tsri_row_unshuffled(&j->src, s->unshuffle, b, y, x0, *n, temp);
}

static void apply_pre(const tsri_job *j, int b, float *dst, const float *src,
                      int n)
{
    const tsri_step *s = j->step;
    if (s->norm)
        j->net->row_norm(s->pre, dst, src, n,
                         tsri_norm_of(&j->net->node[s->norm], b));
    else
        tsri_row_pre(s->pre, dst, src, n);
}

/* Row y of channel block b of `r`, which may stick out of the plane. */
static void gather_row(const tsri_job *j, tsri_rect r, int b, int y, float *row,
                       float *temp)
{
    const tsri_step *s = j->step;
    const int from = source_of(y, j->height, s->pad);
    const int x0 = tsri_max(r.x0, 0), x1 = tsri_min(r.x1, j->width);
    const float *p;
    int n;

    if (from < 0) {
        memset(row, 0, (size_t)tsri_cols(r) * LANE * sizeof *row);
        return;
    }
    p = source_row(j, b, from, x0, x1, &n, temp);
    if (s->upsample == 1) {
        apply_pre(j, b, row + (x0 - r.x0) * LANE, p, n);
    } else {
        apply_pre(j, b, temp, p, n);
        for (int x = x0; x < x1; x++)
            memcpy(row + (x - r.x0) * LANE, temp + (x / 2 - x0 / 2) * LANE,
                   LANE * sizeof *row);
    }
    for (int x = r.x0; x < x0; x++)
        pad_sample(j, row, r.x0, x);
    for (int x = x1; x < r.x1; x++)
        pad_sample(j, row, r.x0, x);
}

static void gather(const tsri_job *j, const tsri_block *k)
{
    const tsri_rect r = tsri_step_reads(j->step, k->rect);
    float *row = k->in;

    for (int b = 0; b < j->step->conv.in / LANE; b++)
        for (int y = r.y0; y < r.y1; y++) {
            gather_row(j, r, b, y, row, k->temp[0]);
            row += tsri_cols(r) * LANE;
        }
}

static void store(const tsri_job *j, const tsri_block *k, const float *row)
{
    const tsri_step *s = j->step;
    const tsri_rect r = k->rect;
    const int n = tsri_cols(r);
    const float *a[2] = { NULL, NULL };

    if (s->post == TSRI_POST_SHUFFLE) {
        tsri_shuffle_put(&j->dst, s->shuffle, s->permuted, row, r.y0, r.x0,
                         tsri_rows(r), n);
        return;
    }
    for (int b = 0; b < s->conv.out / LANE; b++)
        for (int y = r.y0; y < r.y1; y++, row += n * LANE) {
            float *to = tsri_row_out(&j->dst, b, y, r.x0, k->temp[2]);
            for (int i = 0; i < s->args; i++)
                a[i] = tsri_row_get(&j->arg[i], b, y, r.x0, n, k->temp[i]);
            tsri_row_post(s->post, to, row, a[0], a[1], n);
            tsri_row_put(&j->dst, b, y, r.x0, n, to);
        }
}

static tsri_block block_of(const tsri_job *j, int i, int worker)
{
    const tsri_grid *g = &j->grid;
    const int by = i / g->nx, bx = i % g->nx;
    const int y = g->rect.y0 + by * g->bh, x = g->rect.x0 + bx * g->bw;
    const size_t row = (size_t)(g->bw * j->step->conv.stride + 2) * LANE;
    tsri_block k = {
        .rect = { y, x, tsri_min(y + g->bh, g->rect.y1),
                  tsri_min(x + g->bw, g->rect.x1) },
        .kernel = 2 * (by == g->ny - 1) + (bx == g->nx - 1),
        .in = j->scratch + (size_t)worker * j->net->scratch,
    };
    k.out = k.in + (g->src + 15) / 16 * 16;
    k.temp[0] = k.out + g->dst;
    k.temp[1] = k.temp[0] + row;
    k.temp[2] = k.temp[1] + row;
    return k;
}

static tsr_error run_block(void *cookie, int i, int worker)
{
    const tsri_job *j = cookie;
    const tsri_block k = block_of(j, i, worker);

    gather(j, &k);
    if (j->step->has_conv)
        TSR_TRY(j->net->backend->run(j->kernel[k.kernel], &j->step->conv, k.in,
                                     k.out));
    store(j, &k, j->step->has_conv ? k.out : k.in);
    return TSR_OK;
}

/* Kernels for the four sizes of block: bit 1 the last row, bit 0 the last
 * column of blocks. */
static tsr_error prepare(tsri_job *j)
{
    const tsri_grid *g = &j->grid;

    for (int i = 0; i < TSRI_NN_KERNELS && j->step->has_conv; i++) {
        const int y = i & 2 ? g->rect.y0 + (g->ny - 1) * g->bh : g->rect.y0;
        const int x = i & 1 ? g->rect.x0 + (g->nx - 1) * g->bw : g->rect.x0;
        TSR_TRY(j->net->backend->prepare(
            j->net->state, &j->step->conv, tsri_min(g->bh, g->rect.y1 - y),
            tsri_min(g->bw, g->rect.x1 - x), &j->kernel[i]));
    }
    return TSR_OK;
}

static tsri_fmap input_map(const tsri_net *net, const tsri_buffers *m)
{
    const tsri_rect r = net->place[0].rect;
    const size_t row = (size_t)tsri_cols(r);
    return (tsri_fmap){ m->arena + net->place[0].offset, net->node[0].channels,
                        tsri_rows(r), tsri_cols(r), row * (size_t)tsri_rows(r),
                        row };
}

tsri_view tsri_view_of(const tsri_net *net, const tsri_buffers *m, int x)
{
    const tsri_place *p = &net->place[x];
    const tsri_fmap input = input_map(net, m);
    if (x == 0)
        return tsri_view_planar(&input, p->rect);
    if (x == net->output)
        return tsri_view_planar(m->dst, p->rect);
    if (net->held[x].data)
        return tsri_view_blocked(net->held[x].data, (tsri_rect)
                                 { 0, 0, p->height, p->width },
                                 net->node[x].channels);
    return tsri_view_blocked(m->arena + p->offset, p->rect,
                             net->node[x].channels);
}

static tsr_error run_conv(const tsri_net *net, const tsri_step *s,
                          const tsri_buffers *m)
{
    const tsri_place *src = &net->place[s->src];
    tsri_job j = { .net = net, .step = s, .grid = tsri_step_grid(net, s),
                   .src = tsri_view_of(net, m, s->src), .scratch = m->scratch,
                   .dst = tsri_view_of(net, m, s->dst),
                   .height = src->height * s->upsample / s->unshuffle,
                   .width = src->width * s->upsample / s->unshuffle };

    for (int k = 0; k < s->args; k++)
        j.arg[k] = tsri_view_of(net, m, s->arg[k]);
    TSR_TRY(prepare(&j));
    return tsri_pool_for(net->ctx->pool, j.grid.ny * j.grid.nx, run_block, &j);
}

static tsr_error run_statistics(const tsri_net *net, const tsri_step *s,
                                const tsri_buffers *m)
{
    const tsri_view x = tsri_view_of(net, m, s->src);
    TSR_TRY(tsri_norm_sum(net, s, &x, net->place[s->dst].rect, m->extra));
    tsri_norm_finish(net, s, m->extra);
    return TSR_OK;
}

static tsr_error run_step(const tsri_net *net, const tsri_step *s,
                          const tsri_buffers *m)
{
    return s->work == TSRI_WORK_CONV ? run_conv(net, s, m) :
           s->work == TSRI_WORK_STATISTICS ? run_statistics(net, s, m) :
           tsri_attention_run(net, s, m);
}

static tsr_error run_steps(const tsri_net *net, const tsri_buffers *m)
{
    tsri_fmap input = input_map(net, m);

    if (!tsri_empty(net->place[0].rect))
        TSR_TRY(m->source(m->cookie, net->place[0].rect, &input));
    for (int i = 0; i < net->steps; i++)
        if (tsri_planned(net, &net->step[i]))
            TSR_TRY(run_step(net, &net->step[i], m));
    return TSR_OK;
}

void tsri_buffers_free(const tsri_net *net, tsri_buffers *m)
{
    tsri_free(net->ctx, m->extra);
    tsri_free(net->ctx, m->scratch);
    tsri_free(net->ctx, m->arena);
    m->arena = m->scratch = m->extra = NULL;
}

tsr_error tsri_run_plan(const tsri_net *net, tsri_buffers *m)
{
    tsr_context *ctx = net->ctx;
    tsr_error error;

    if (net->backend->device)
        return tsri_device_run(net, m);
    m->arena = tsri_alloc(ctx, net->arena, sizeof *m->arena);
    m->scratch = tsri_alloc(ctx, net->scratch,
                            (size_t)ctx->threads * sizeof *m->scratch);
    if (net->extra)
        m->extra = tsri_alloc(ctx, net->extra, sizeof *m->extra);
    error = m->arena && m->scratch && (m->extra || !net->extra) ?
            run_steps(net, m) : tsri_nomem(ctx);
    if (error)
        tsri_buffers_free(net, m);
    return error;
}

tsr_error tsri_net_run(const tsri_net *net, int height, int width, tsri_rect out,
                       tsri_net_source source, void *cookie, tsri_fmap *dst)
{
    tsri_buffers m = { .dst = dst, .source = source, .cookie = cookie };

    TSR_TRY(tsri_plan((tsri_net *)(uintptr_t)net, height, width, out));
    if (dst->channels != tsri_net_out_channels(net) ||
        dst->height != tsri_rows(out) || dst->width != tsri_cols(out))
        return tsri_fail(net->ctx, TSR_E_ARG,
                         "the destination has another size");
    TSR_TRY(tsri_run_plan(net, &m));
    tsri_buffers_free(net, &m);
    return TSR_OK;
}
