/* SPDX-License-Identifier: BSD-2-Clause */
/* Runs steps block by block: gather with padding, convolve, combine, store.
 * The threads share out the blocks; no sample depends on how they are cut. */
#include <string.h>
#include "lib/nn/net_internal.h"
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

/* Row y of channel block b of `r`, which may stick out of the plane. */
static void gather_row(const tsri_job *j, tsri_rect r, int b, int y, float *row,
                       float *temp)
{
    const tsri_step *s = j->step;
    const int from = source_of(y, j->height, s->pad);
    const int x0 = tsri_max(r.x0, 0), x1 = tsri_min(r.x1, j->width);
    const float *p;

    if (from < 0) {
        memset(row, 0, (size_t)tsri_cols(r) * LANE * sizeof *row);
        return;
    }
    p = s->unshuffle == 1 ?
        tsri_row_get(&j->src, b, from, x0, x1 - x0, temp) :
        tsri_row_unshuffled(&j->src, s->unshuffle, b, from, x0, x1 - x0, temp);
    tsri_row_pre(s->pre, row + (x0 - r.x0) * LANE, p, x1 - x0);
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

typedef struct tsri_buffers {
    float *arena, *scratch;
    const tsri_fmap *dst;
} tsri_buffers;

static tsri_fmap input_map(const tsri_net *net, const tsri_buffers *m)
{
    const tsri_rect r = net->place[0].rect;
    const size_t row = (size_t)tsri_cols(r);
    return (tsri_fmap){ m->arena + net->place[0].offset, net->node[0].channels,
                        tsri_rows(r), tsri_cols(r), row * (size_t)tsri_rows(r),
                        row };
}

static tsri_view view_of(const tsri_net *net, const tsri_buffers *m, int x)
{
    const tsri_place *p = &net->place[x];
    const tsri_fmap input = input_map(net, m);
    if (x == 0)
        return tsri_view_planar(&input, p->rect);
    if (x == net->output)
        return tsri_view_planar(m->dst, p->rect);
    return tsri_view_blocked(m->arena + p->offset, p->rect,
                             net->node[x].channels);
}

static tsr_error run_step(const tsri_net *net, const tsri_step *s,
                          const tsri_buffers *m)
{
    const tsri_place *src = &net->place[s->src];
    tsri_job j = { .net = net, .step = s, .grid = tsri_step_grid(net, s),
                   .src = view_of(net, m, s->src), .scratch = m->scratch,
                   .dst = view_of(net, m, s->dst),
                   .height = src->height / s->unshuffle,
                   .width = src->width / s->unshuffle };

    for (int k = 0; k < s->args; k++)
        j.arg[k] = view_of(net, m, s->arg[k]);
    TSR_TRY(prepare(&j));
    return tsri_pool_for(net->ctx->pool, j.grid.ny * j.grid.nx, run_block, &j);
}

static tsr_error run_steps(const tsri_net *net, const tsri_buffers *m,
                           tsri_net_source source, void *cookie)
{
    tsri_fmap input = input_map(net, m);

    TSR_TRY(source(cookie, net->place[0].rect, &input));
    for (int i = 0; i < net->steps; i++)
        TSR_TRY(run_step(net, &net->step[i], m));
    return TSR_OK;
}

tsr_error tsri_net_run(const tsri_net *net, int height, int width, tsri_rect out,
                       tsri_net_source source, void *cookie, tsri_fmap *dst)
{
    tsr_context *ctx = net->ctx;
    tsri_buffers m = { .dst = dst };
    tsr_error error;

    TSR_TRY(tsri_plan((tsri_net *)(uintptr_t)net, height, width, out));
    if (dst->channels != tsri_net_out_channels(net) ||
        dst->height != tsri_rows(out) || dst->width != tsri_cols(out))
        return tsri_fail(ctx, TSR_E_ARG, "the destination has another size");
    m.arena = tsri_alloc(ctx, net->arena, sizeof *m.arena);
    m.scratch = tsri_alloc(ctx, net->scratch,
                           (size_t)ctx->threads * sizeof *m.scratch);
    error = m.arena && m.scratch ? run_steps(net, &m, source, cookie) :
                                   tsri_nomem(ctx);
    tsri_free(ctx, m.scratch);
    tsri_free(ctx, m.arena);
    return error;
}

/* ny x nx tiles of at most bh x bw samples. */
typedef struct tsri_tiling {
    int height, width;      /* of the output plane */
    int bh, bw, ny, nx;
} tsri_tiling;

static void count_tiles(tsri_tiling *t)
{
    t->ny = tsri_ceil_div(t->height, t->bh);
    t->nx = tsri_ceil_div(t->width, t->bw);
}

/* The next smaller multiple of align that makes a difference. */
static int smaller(int side, int align)
{
    const int units = tsri_ceil_div(side, align);
    return (units - 1 - units / 9) * align;
}

static tsri_rect tile(const tsri_tiling *t, int y, int x)
{
    const int y0 = y * t->bh, x0 = x * t->bw;
    return (tsri_rect){ y0, x0, t->height - y0 < t->bh ? t->height : y0 + t->bh,
                        t->width - x0 < t->bw ? t->width : x0 + t->bw };
}

static uint64_t tile_bytes(const tsri_net *net, tsri_rect r)
{
    return (uint64_t)tsri_rows(r) * (uint64_t)tsri_cols(r) * sizeof(float) *
           (uint64_t)tsri_net_out_channels(net);
}

/* The first, a middle and the last tile of either direction stand for all. */
static uint64_t tiling_memory(const tsri_net *net, int height, int width,
                              const tsri_tiling *t)
{
    const int ys[3] = { 0, t->ny / 2, t->ny - 1 };
    const int xs[3] = { 0, t->nx / 2, t->nx - 1 };
    uint64_t most = 0;

    for (int i = 0; i < 9; i++) {
        const tsri_rect r = tile(t, ys[i / 3], xs[i % 3]);
        const uint64_t m = tsri_net_memory(net, height, width, r);
        const uint64_t all = m > UINT64_MAX - tile_bytes(net, r) ? UINT64_MAX :
                             m + tile_bytes(net, r);
        most = all > most ? all : most;
    }
    return most;
}

/* Ever smaller tiles, as square as can be, until they fit the budget or none
 * smaller is allowed. */
static tsri_tiling pick_tiles(const tsri_net *net, int height, int width,
                              uint64_t budget, int align)
{
    tsri_tiling t = { .bh = 1, .bw = 1 };

    tsri_net_out_size(net, height, width, &t.height, &t.width);
    if (t.height < 1)
        return t;
    t.bh = t.height;
    t.bw = t.width;
    for (count_tiles(&t); tiling_memory(net, height, width, &t) > budget;
         count_tiles(&t)) {
        if (t.bh > align && (t.bh >= t.bw || t.bw <= align))
            t.bh = smaller(t.bh, align);
        else if (t.bw > align)
            t.bw = smaller(t.bw, align);
        else
            break;
    }
    return t;
}

tsr_error tsri_net_run_tiled(const tsri_net *net, int height, int width,
                             uint64_t budget, int align,
                             tsri_net_source source, void *source_cookie,
                             tsri_net_sink sink, void *sink_cookie)
{
    tsr_error error = TSR_OK;
    tsri_tiling t;
    float *data;

    if (align < 1)
        return tsri_fail(net->ctx, TSR_E_ARG, "bad tile alignment %d", align);
    t = pick_tiles(net, height, width, budget, align);
    if (t.height < 1)
        return TSR_E_ARG;
    data = tsri_alloc(net->ctx, tile_bytes(net, tile(&t, 0, 0)), 1);
    if (!data)
        return tsri_nomem(net->ctx);
    for (int i = 0; i < t.ny && !error; i++)
        for (int k = 0; k < t.nx && !error; k++) {
            const tsri_rect r = tile(&t, i, k);
            const size_t row = (size_t)tsri_cols(r);
            tsri_fmap map = { data, tsri_net_out_channels(net), tsri_rows(r),
                              tsri_cols(r), row * (size_t)tsri_rows(r), row };
            error = tsri_net_run(net, height, width, r, source, source_cookie,
                                 &map);
            if (!error)
                error = sink(sink_cookie, r, &map);
        }
    tsri_free(net->ctx, data);
    return error;
}
