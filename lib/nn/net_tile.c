/* SPDX-License-Identifier: BSD-2-Clause */
/* A whole plane in tiles.
 *
 * Without barriers (statistics and attention) tiles of the output are all there
 * is to it.  With them, and a budget that the whole plane does not fit, the net
 * is run in *passes*.  A pass computes what a barrier wants, tile by tile or,
 * where that fits, whole, from what is held: the net's input or a *checkpoint*,
 * a node that all later ones depend on and on no earlier one. */
#include "lib/nn/net_internal.h"

enum { GROUP = 32 };            /* tiles of attention: see net_attention.c */

/* ny x nx tiles of at most bh x bw samples. */
typedef struct tsri_tiling {
    int height, width;      /* of the plane that is cut */
    int bh, bw, ny, nx;
} tsri_tiling;

/* A run of a net, and what of it does not change from pass to pass. */
typedef struct tsri_tour {
    tsri_net *net;
    uint64_t budget, held;  /* bytes; of what is held */
    int done;               /* steps before this one are not looked at */
    tsri_buffers m;
} tsri_tour;

/* What a pass computes. */
typedef struct tsri_goal {
    int node[2], nodes;     /* of the same plane */
    const tsri_step *sums;  /* statistics to be made of node[0], or NULL */
    int align;
    size_t sample;          /* bytes for each sample of a tile besides */
} tsri_goal;

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

static uint64_t sum(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static uint64_t tile_memory(const tsri_tour *o, const tsri_goal *g, tsri_rect r)
{
    const uint64_t more = (uint64_t)tsri_rows(r) * (uint64_t)tsri_cols(r) *
                          g->sample;
    if (!tsri_plan_nodes(o->net, g->node, g->nodes, r))
        return UINT64_MAX;
    return sum(sum(tsri_plan_bytes(o->net), more), o->held);
}

/* The first, a middle and the last tile of either direction stand for all. */
static uint64_t tiling_memory(const tsri_tour *o, const tsri_goal *g,
                              const tsri_tiling *t)
{
    const int ys[3] = { 0, t->ny / 2, t->ny - 1 };
    const int xs[3] = { 0, t->nx / 2, t->nx - 1 };
    uint64_t most = 0;

    for (int i = 0; i < 9; i++) {
        const tsri_rect r = tile(t, ys[i / 3], xs[i % 3]);
        const uint64_t m = tile_memory(o, g, r);
        most = m > most ? m : most;
    }
    return most;
}

static tsri_tiling whole(const tsri_net *net, int node)
{
    const tsri_place *p = &net->place[node];
    return (tsri_tiling){ p->height, p->width, p->height, p->width, 1, 1 };
}

/* Ever smaller tiles, as square as can be, until they fit the budget or none
 * smaller is allowed. */
static tsri_tiling pick_tiles(const tsri_tour *o, const tsri_goal *g)
{
    tsri_tiling t = whole(o->net, g->node[0]);

    for (; tiling_memory(o, g, &t) > o->budget; count_tiles(&t)) {
        if (t.bh > g->align && (t.bh >= t.bw || t.bw <= g->align))
            t.bh = smaller(t.bh, g->align);
        else if (t.bw > g->align)
            t.bw = smaller(t.bw, g->align);
        else
            break;
    }
    return t;
}

/* ---- the output ---- */

static tsr_error run_tile(tsri_tour *o, tsri_rect r, float *data,
                          tsri_net_sink sink, void *cookie)
{
    const size_t row = (size_t)tsri_cols(r);
    tsri_fmap map = { data, tsri_net_out_channels(o->net), tsri_rows(r),
                      tsri_cols(r), row * (size_t)tsri_rows(r), row };

    o->m.dst = &map;
    if (!tsri_plan_nodes(o->net, &o->net->output, 1, r))
        return tsri_nomem(o->net->ctx);
    TSR_TRY(tsri_run_plan(o->net, &o->m));
    tsri_buffers_free(o->net, &o->m);
    return sink(cookie, r, &map);
}

static tsri_goal output_goal(const tsri_net *net, int align)
{
    return (tsri_goal){ .node = { net->output }, .nodes = 1, .align = align,
                        .sample = sizeof(float) *
                                  (size_t)tsri_net_out_channels(net) };
}

static tsr_error run_output(tsri_tour *o, int align, tsri_net_sink sink,
                            void *cookie)
{
    const tsri_goal g = output_goal(o->net, align);
    const tsri_tiling t = pick_tiles(o, &g);
    const tsri_rect r = tile(&t, 0, 0);
    float *data = tsri_alloc(o->net->ctx, (size_t)tsri_rows(r) *
                             (size_t)tsri_cols(r), g.sample);
    tsr_error error = data ? TSR_OK : tsri_nomem(o->net->ctx);

    for (int i = 0; i < t.ny && !error; i++)
        for (int k = 0; k < t.nx && !error; k++)
            error = run_tile(o, tile(&t, i, k), data, sink, cookie);
    tsri_free(o->net->ctx, data);
    return error;
}

/* ---- what is held ---- */

/* Memory for node x, to be written by the next pass. */
static tsr_error hold(tsri_tour *o, int x)
{
    tsri_held *h = &o->net->held[x];
    const tsri_tiling t = whole(o->net, x);

    if (h->data)
        return TSR_OK;
    if (!tsri_floats_of(o->net, x, tile(&t, 0, 0), &h->size))
        return tsri_nomem(o->net->ctx);
    h->data = tsri_alloc(o->net->ctx, h->size, sizeof *h->data);
    if (!h->data)
        return tsri_nomem(o->net->ctx);
    o->held += h->size * sizeof *h->data;
    return TSR_OK;
}

static void drop(tsri_tour *o, int x)
{
    tsri_held *h = &o->net->held[x];

    if (!h->data)
        return;
    tsri_free(o->net->ctx, h->data);
    o->held -= h->size * sizeof *h->data;
    *h = (tsri_held){ NULL, 0, false };
}

static uint64_t bytes_of(const tsri_net *net, int x)
{
    const tsri_tiling t = whole(net, x);
    size_t floats;
    return tsri_floats_of(net, x, tile(&t, 0, 0), &floats) ?
           floats * sizeof(float) : UINT64_MAX;
}

/* Node x is computed; nothing before a cut is needed any more. */
static void is_ready(tsri_tour *o, const tsri_step *s)
{
    o->net->held[s->dst].ready = true;
    for (int x = 0; x < s->dst && s->cut; x++)
        drop(o, x);
}

static const tsri_step *step_of(const tsri_net *net, int node)
{
    const tsri_step *s = net->step;
    while (s->dst != node)
        s++;
    return s;
}

/* ---- passes ---- */

static bool is_barrier(const tsri_step *s)
{
    return s->work != TSRI_WORK_CONV;
}

/* A quarter of the budget is kept for tiles. */
static bool may_hold(const tsri_tour *o, uint64_t more)
{
    const uint64_t all = sum(o->held, more);
    return all <= o->budget - o->budget / 4;
}

static tsr_error run_goal_tile(tsri_tour *o, const tsri_goal *g, tsri_rect r,
                               float *cells)
{
    tsr_error error = TSR_OK;

    if (!tsri_plan_nodes(o->net, g->node, g->nodes, r))
        return tsri_nomem(o->net->ctx);
    TSR_TRY(tsri_run_plan(o->net, &o->m));
    if (g->sums) {
        const tsri_view x = tsri_view_of(o->net, &o->m, g->node[0]);
        error = tsri_norm_sum(o->net, g->sums, &x, r, cells);
    }
    tsri_buffers_free(o->net, &o->m);
    return error;
}

static tsr_error run_goal(tsri_tour *o, const tsri_goal *g, float *cells)
{
    const tsri_tiling t = pick_tiles(o, g);

    for (int i = 0; i < t.ny; i++)
        for (int k = 0; k < t.nx; k++)
            TSR_TRY(run_goal_tile(o, g, tile(&t, i, k), cells));
    return TSR_OK;
}

static tsr_error pass_statistics(tsri_tour *o, const tsri_step *s)
{
    tsri_net *net = o->net;
    const tsri_place *p = &net->place[s->dst];
    const tsri_goal g = { .node = { s->src }, .nodes = 1, .sums = s,
                          .align = tsri_norm_cell(p->height, p->width) };
    tsr_error error;
    float *cells;
    size_t floats;

    if (!tsri_norm_floats(net, s, &floats))
        return tsri_nomem(net->ctx);
    if (s->src && step_of(net, s->src)->cut &&
        may_hold(o, bytes_of(net, s->src)))
        TSR_TRY(hold(o, s->src));
    cells = tsri_alloc(net->ctx, floats, sizeof *cells);
    if (!cells)
        return tsri_nomem(net->ctx);
    o->held += floats * sizeof *cells;
    error = run_goal(o, &g, cells);
    if (!error) {
        tsri_norm_finish(net, s, cells);
        net->held[s->dst].ready = true;
        if (net->held[s->src].data)
            is_ready(o, step_of(net, s->src));
    }
    o->held -= floats * sizeof *cells;
    tsri_free(net->ctx, cells);
    return error;
}

static tsr_error pass_attention(tsri_tour *o, const tsri_step *s)
{
    tsri_net *net = o->net;
    tsri_goal g = { .node = { s->arg[0], s->arg[1] }, .nodes = 2,
                    .align = GROUP };
    const uint64_t more = sum(2 * bytes_of(net, s->arg[0]),
                              bytes_of(net, s->dst));

    const bool was[2] = { net->held[s->arg[0]].ready,
                          net->held[s->arg[1]].ready };

    if (s->arg[0] == s->arg[1])
        g.nodes = 1;
    if (!tsri_attention_windowed(net, s->dst) || may_hold(o, more)) {
        for (int i = 0; i < g.nodes; i++)
            TSR_TRY(hold(o, g.node[i]));
        TSR_TRY(run_goal(o, &g, NULL));
        for (int i = 0; i < g.nodes; i++)
            net->held[g.node[i]].ready = true;
    }
    TSR_TRY(hold(o, s->dst));
    TSR_TRY(run_goal(o, &(tsri_goal){ .node = { s->dst }, .nodes = 1,
                                      .align = GROUP }, NULL));
    for (int i = 0; i < g.nodes; i++)
        if (!was[i])            /* a checkpoint stays one */
            drop(o, g.node[i]);
    is_ready(o, s);
    return TSR_OK;
}

/* Whether the plane of the cut `s` can be computed whole and held. */
static bool fits_whole(const tsri_tour *o, const tsri_step *s)
{
    const uint64_t bytes = bytes_of(o->net, s->dst);
    const tsri_tiling t = whole(o->net, s->dst);
    const tsri_goal g = { .node = { s->dst }, .nodes = 1 };
    tsri_held *h = &o->net->held[s->dst];
    float none;                 /* stands for its plane */
    uint64_t all;

    if (!may_hold(o, bytes))
        return false;
    h->data = &none;
    all = sum(tile_memory(o, &g, tile(&t, 0, 0)), bytes);
    h->data = NULL;
    return all <= o->budget;
}

/* The last cut that can be reached whole and lies behind the next barrier. */
static const tsri_step *reachable(const tsri_tour *o, int next)
{
    const tsri_net *net = o->net;
    const tsri_step *best = NULL;

    for (int i = next; i < net->steps; i++) {
        const tsri_step *s = &net->step[i];
        if (!s->cut || s->dst == net->output)
            continue;
        if (!fits_whole(o, s))
            break;
        best = s;
    }
    return best;
}

static tsr_error pass_whole(tsri_tour *o, const tsri_step *s)
{
    tsri_net *net = o->net;
    const tsri_tiling t = whole(net, s->dst);
    const tsri_goal g = { .node = { s->dst }, .nodes = 1 };

    TSR_TRY(hold(o, s->dst));
    TSR_TRY(run_goal_tile(o, &g, tile(&t, 0, 0), NULL));
    is_ready(o, s);
    return TSR_OK;
}

/* The next barrier from step `o->done` on; net->steps: none. */
static int next_barrier(const tsri_tour *o)
{
    int i = o->done;
    while (i < o->net->steps && !is_barrier(&o->net->step[i]))
        i++;
    return i;
}

static bool output_fits(const tsri_tour *o, int align)
{
    const tsri_goal g = output_goal(o->net, align);
    const tsri_tiling t = whole(o->net, o->net->output);
    return tile_memory(o, &g, tile(&t, 0, 0)) <= o->budget;
}

static tsr_error run_passes(tsri_tour *o, int align)
{
    const tsri_net *net = o->net;
    int i;

    while (i = next_barrier(o), i < net->steps && !output_fits(o, align)) {
        const tsri_step *s = &net->step[i], *cut = reachable(o, i);
        if (cut)
            TSR_TRY(pass_whole(o, cut));
        else if (s->work == TSRI_WORK_STATISTICS)
            TSR_TRY(pass_statistics(o, s));
        else
            TSR_TRY(pass_attention(o, s));
        o->done = (cut ? (int)(cut - net->step) : i) + 1;
    }
    return TSR_OK;
}

tsr_error tsri_net_run_tiled(const tsri_net *net, int height, int width,
                             uint64_t budget, int align,
                             tsri_net_source source, void *source_cookie,
                             tsri_net_sink sink, void *sink_cookie)
{
    tsri_tour o = { .net = (tsri_net *)(uintptr_t)net, .budget = budget,
                    .m = { .source = source, .cookie = source_cookie } };
    tsr_error error;

    if (align < 1)
        return tsri_fail(net->ctx, TSR_E_ARG, "bad tile alignment %d", align);
    TSR_TRY(tsri_plan_planes(o.net, height, width));
    /* A device has memory of its own, and no passes: nets with barriers run
     * whole on it. */
    if (net->backend->device && next_barrier(&o) < net->steps)
        o.budget = UINT64_MAX;
    error = run_passes(&o, align);
    if (!error)
        error = run_output(&o, align, sink, sink_cookie);
    for (int x = 0; x < net->nodes; x++) {
        drop(&o, x);
        o.net->held[x].ready = false;
    }
    return error;
}
