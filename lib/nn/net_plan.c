/* SPDX-License-Identifier: BSD-2-Clause */
/* Sizes of planes, rectangles that are needed, memory for them. */
#include <string.h>
#include "lib/nn/net_internal.h"

enum {
    LANE = TSRI_NN_LANE,
    /* Blocks of a step: wide enough for the kernels, small enough for their
     * two sides to stay in a second-level cache.  Where a norm with its
     * activation is done again for every row that blocks share, higher ones
     * are a tenth faster. */
    BLOCK_COLS = 64, BLOCK_FLOATS = 48 * 1024, NORM_FLOATS = 144 * 1024
};

/* Sides stay below this, so that int arithmetic on them cannot overflow. */
static const int max_side = 1 << 28;

static bool side_of(const tsri_node *n, int in, int *out)
{
    *out = in;
    if (n->kind == TSRI_CONV)
        *out = tsri_ceil_div(in, n->conv.stride);
    else if (n->kind == TSRI_UNSHUFFLE)
        *out = in / n->r;
    else if (n->kind == TSRI_SHUFFLE)
        *out = in <= max_side / n->r ? in * n->r : 0;
    else if (n->kind == TSRI_UPSAMPLE)
        *out = in <= max_side / 2 ? in * 2 : 0;
    return *out > 0 && (n->kind != TSRI_UNSHUFFLE || in % n->r == 0);
}

static bool set_plane(tsri_net *net, int x)
{
    const tsri_node *n = &net->node[x];
    const tsri_place *in = net->place;
    tsri_place *p = &net->place[x];

    if (!side_of(n, in[n->in[0]].height, &p->height) ||
        !side_of(n, in[n->in[0]].width, &p->width))
        return false;
    for (int k = 1; k < n->inputs; k++)
        if (in[n->in[k]].height != p->height || in[n->in[k]].width != p->width)
            return false;
    return true;
}

/* Nodes that the output does not need have no say. */
tsr_error tsri_plan_planes(tsri_net *net, int height, int width)
{
    if (height < 1 || width < 1 || height > max_side || width > max_side)
        return tsri_fail(net->ctx, TSR_E_ARG, "bad plane %d x %d", height,
                         width);
    memset(net->place, 0, (size_t)net->nodes * sizeof *net->place);
    net->place[0].height = height;
    net->place[0].width = width;
    for (int x = 1; x <= net->output; x++)
        if (net->node[x].uses && !set_plane(net, x))
            return tsri_fail(net->ctx, TSR_E_ARG,
                             "a plane of %d x %d does not fit net node %d",
                             height, width, x);
    return TSR_OK;
}

static void include(tsri_rect *r, tsri_rect more)
{
    if (tsri_empty(*r)) {
        *r = more;
        return;
    }
    r->y0 = tsri_min(r->y0, more.y0);
    r->x0 = tsri_min(r->x0, more.x0);
    r->y1 = tsri_max(r->y1, more.y1);
    r->x1 = tsri_max(r->x1, more.x1);
}

/* What a step reads of its source for the part r of the gathered plane. */
static tsri_rect source_rect(const tsri_step *s, tsri_rect r)
{
    const int k = s->unshuffle, d = s->upsample;
    return (tsri_rect){ r.y0 * k / d, r.x0 * k / d, tsri_ceil_div(r.y1 * k, d),
                        tsri_ceil_div(r.x1 * k, d) };
}

static tsri_rect whole_of(const tsri_place *p)
{
    return (tsri_rect){ 0, 0, p->height, p->width };
}

/* The part of the convolution's output that the part r of dst is made of. */
static tsri_rect conv_rect(const tsri_step *s, tsri_rect r)
{
    return (tsri_rect){ r.y0 / s->shuffle, r.x0 / s->shuffle,
                        tsri_ceil_div(r.y1, s->shuffle),
                        tsri_ceil_div(r.x1, s->shuffle) };
}

tsri_rect tsri_step_reads(const tsri_step *s, tsri_rect r)
{
    const int pad = s->side == TSRI_END ? 0 : s->conv.kernel / 2;
    const int stride = s->conv.stride, end = s->conv.kernel - pad;
    return (tsri_rect){ r.y0 * stride - pad, r.x0 * stride - pad,
                        (r.y1 - 1) * stride + end, (r.x1 - 1) * stride + end };
}

/* Reflected samples are always among those that lie inside: a kernel of 3
 * that reads row -1 or row `height` reads the row it is a copy of, too. */
static void set_conv_needs(tsri_net *net, const tsri_step *s)
{
    tsri_place *src = &net->place[s->src];
    const tsri_rect out = net->place[s->dst].rect;
    tsri_rect in = tsri_step_reads(s, conv_rect(s, out));

    in.y0 = tsri_max(in.y0, 0);
    in.x0 = tsri_max(in.x0, 0);
    in.y1 = tsri_min(in.y1, src->height * s->upsample / s->unshuffle);
    in.x1 = tsri_min(in.x1, src->width * s->upsample / s->unshuffle);
    include(&src->rect, source_rect(s, in));
    for (int k = 0; k < s->args; k++)
        include(&net->place[s->arg[k]].rect, out);
    if (s->norm)
        net->place[s->norm].rect = whole_of(&net->place[s->norm]);
}

static void set_needs(tsri_net *net, const tsri_step *s)
{
    const tsri_rect out = net->place[s->dst].rect;

    if (s->work == TSRI_WORK_CONV) {
        set_conv_needs(net, s);
        return;
    }
    include(&net->place[s->src].rect, out);
    for (int k = 0; k < s->args; k++)
        include(&net->place[s->arg[k]].rect, tsri_attention_keys(net, s, out));
}

static int parts(int n, int most)
{
    return tsri_ceil_div(n, most);
}

tsri_grid tsri_step_grid(const tsri_net *net, const tsri_step *s)
{
    const tsri_rect r = conv_rect(s, net->place[s->dst].rect);
    const int rows = tsri_rows(r), cols = tsri_cols(r), st = s->conv.stride;
    const int border = s->conv.kernel - st;
    const size_t in = (size_t)s->conv.in, out = (size_t)s->conv.out;
    tsri_grid g = { .rect = r };
    size_t columns, per_row;

    g.nx = parts(cols, BLOCK_COLS);
    g.bw = tsri_ceil_div(cols, g.nx);
    columns = (size_t)(g.bw * st + border);
    per_row = in * columns * (size_t)st + out * (size_t)g.bw;
    g.bh = tsri_clamp((int)((s->norm ? NORM_FLOATS : BLOCK_FLOATS) / per_row),
                      1, rows);
    /* Small planes: still something for every thread, unless it is crumbs. */
    while (g.bh > 4 && (int64_t)parts(rows, g.bh) * g.nx <
                           2 * net->ctx->threads)
        g.bh = tsri_ceil_div(g.bh, 2);
    g.bh = tsri_ceil_div(rows, parts(rows, g.bh));
    g.ny = parts(rows, g.bh);
    g.nx = parts(cols, g.bw);
    g.src = in * columns * (size_t)(g.bh * st + border);
    g.dst = out * (size_t)g.bh * (size_t)g.bw;
    return g;
}

static void at_least(size_t *most, size_t n)
{
    if (n > *most)
        *most = n;
}

/* Scratch of one thread: both blocks and three rows in blocked order. */
static bool grow_scratch(tsri_net *net, const tsri_step *s)
{
    size_t scratch = 0, extra = 0, packed = 0;

    if (s->work == TSRI_WORK_CONV) {
        const tsri_grid g = tsri_step_grid(net, s);
        const size_t row = (size_t)(g.bw * s->conv.stride + 2) * LANE;
        scratch = (g.src + g.dst + 3 * row + 63) / 16 * 16;
    } else if (s->work == TSRI_WORK_STATISTICS) {
        if (!tsri_norm_floats(net, s, &extra))
            return false;
    } else if (!tsri_attention_floats(net, s, &scratch, &extra, &packed)) {
        return false;
    }
    at_least(&net->scratch, scratch);
    at_least(&net->extra, extra);
    at_least(&net->packed, packed);
    return true;
}

bool tsri_floats_of(const tsri_net *net, int x, tsri_rect r, size_t *out)
{
    size_t n = (size_t)tsri_lanes(net->node[x].channels);
    if (x == 0)
        n = (size_t)net->node[x].channels;
    return tsri_mul(n, (size_t)tsri_rows(r), &n) &&
           tsri_mul(n, (size_t)tsri_cols(r), &n) &&
           tsri_add(n, 15, out) && (*out = *out / 16 * 16, n <= SIZE_MAX / 8);
}

/* The lowest gap that is long enough. */
static size_t find_gap(const tsri_net *net, size_t size)
{
    size_t at = 0;
    bool moved = true;

    while (moved) {
        moved = false;
        for (int x = 0; x < net->nodes; x++) {
            const tsri_place *p = &net->place[x];
            if (p->live && at < p->offset + p->size && p->offset < at + size) {
                at = p->offset + p->size;
                moved = true;
            }
        }
    }
    return at;
}

static bool same_rect(tsri_rect a, tsri_rect b)
{
    return !memcmp(&a, &b, sizeof a);
}

/* What a device's convolution adds it may read at any time. */
static bool adds_on_device(const tsri_net *net, const tsri_step *s)
{
    return net->backend->device && s->has_conv && s->post == TSRI_POST_ADD;
}

/* dst may take over the memory of x when every sample of x that is read for
 * a sample of dst lies at its place and is read before that is written. */
static bool takes_over(const tsri_net *net, int i, int x)
{
    const tsri_step *s = &net->step[i];
    const tsri_place *p = &net->place[x], *d = &net->place[s->dst];
    const bool pointwise = s->conv.kernel == 1 && s->conv.stride == 1 &&
                           s->unshuffle == 1 && s->upsample == 1;

    return x != 0 && p->live && s->work == TSRI_WORK_CONV && p->last == i &&
           !adds_on_device(net, s) && s->shuffle == 1 && p->size == d->size &&
           same_rect(p->rect, d->rect) && (x != s->src || pointwise) &&
           net->node[x].channels == net->node[s->dst].channels;
}

static bool take_over(tsri_net *net, int i)
{
    const tsri_step *s = &net->step[i];
    for (int k = 0; k <= s->args; k++) {
        const int x = k < s->args ? s->arg[k] : s->src;
        if (!takes_over(net, i, x))
            continue;
        net->place[s->dst].offset = net->place[x].offset;
        net->place[x].live = false;
        net->place[s->dst].live = true;
        return true;
    }
    return false;
}

static bool give_place(tsri_net *net, int x)
{
    tsri_place *p = &net->place[x];
    size_t end;

    p->offset = find_gap(net, p->size);
    p->live = true;
    if (!tsri_add(p->offset, p->size, &end) || end > SIZE_MAX / 8)
        return false;
    if (end > net->arena)
        net->arena = end;
    return true;
}

static void note_last(tsri_net *net, const int *node, int nodes)
{
    for (int i = 0; i < net->steps; i++) {
        const tsri_step *s = &net->step[i];
        if (!tsri_planned(net, s))
            continue;
        net->place[s->src].last = i;
        for (int k = 0; k < s->args; k++)
            net->place[s->arg[k]].last = i;
    }
    for (int i = 0; i < nodes; i++)
        net->place[node[i]].last = net->steps;
}

/* Neither the output, whose last step writes the caller's planes, nor what is
 * held is in the arena. */
static bool in_arena(const tsri_net *net, int x)
{
    return x != net->output && !net->held[x].data &&
           net->node[x].kind != TSRI_STATISTICS;
}

static bool set_place(tsri_net *net, int i)
{
    const int dst = net->step[i].dst;
    tsri_place *p = &net->place[dst];

    return !in_arena(net, dst) ||
           (tsri_floats_of(net, dst, p->rect, &p->size) &&
            (take_over(net, i) || give_place(net, dst)));
}

static bool set_places(tsri_net *net)
{
    tsri_place *input = &net->place[0];

    if (!tsri_empty(input->rect) &&
        (!tsri_floats_of(net, 0, input->rect, &input->size) ||
         !give_place(net, 0)))
        return false;
    for (int i = 0; i < net->steps; i++) {
        const int dst = net->step[i].dst;
        if (!tsri_planned(net, &net->step[i]))
            continue;
        if (!set_place(net, i))
            return false;
        for (int x = 0; x < net->nodes; x++)
            if (net->place[x].live && x != dst && net->place[x].last <= i)
                net->place[x].live = false;
    }
    return true;
}

bool tsri_plan_nodes(tsri_net *net, const int *node, int nodes, tsri_rect rect)
{
    net->arena = net->scratch = net->extra = net->packed = 0;
    for (int x = 0; x < net->nodes; x++)
        net->place[x] = (tsri_place){ .height = net->place[x].height,
                                      .width = net->place[x].width };
    for (int i = 0; i < nodes; i++)
        net->place[node[i]].rect = rect;
    for (int i = net->steps - 1; i >= 0; i--) {
        const tsri_step *s = &net->step[i];
        if (!tsri_planned(net, s))
            continue;
        set_needs(net, s);
        if (!grow_scratch(net, s))
            return false;
    }
    note_last(net, node, nodes);
    return set_places(net);
}

tsr_error tsri_plan(tsri_net *net, int height, int width, tsri_rect out)
{
    const tsri_place *last = &net->place[net->output];

    TSR_TRY(tsri_plan_planes(net, height, width));
    if (tsri_empty(out) || out.y0 < 0 || out.x0 < 0 || out.y1 > last->height ||
        out.x1 > last->width)
        return tsri_fail(net->ctx, TSR_E_ARG, "bad rectangle %d,%d..%d,%d",
                         out.y0, out.x0, out.y1, out.x1);
    return tsri_plan_nodes(net, &net->output, 1, out) ? TSR_OK :
                                                        tsri_nomem(net->ctx);
}

uint64_t tsri_plan_bytes(const tsri_net *net)
{
    return ((uint64_t)net->arena + net->extra + net->packed +
            (uint64_t)net->scratch * (uint64_t)net->ctx->threads) *
           sizeof(float);
}

/* The plan is scratch that belongs to the net, not a part of what it is. */
static tsri_net *scratch_of(const tsri_net *net)
{
    return (tsri_net *)(uintptr_t)net;
}

void tsri_net_out_size(const tsri_net *net, int height, int width,
                       int *out_height, int *out_width)
{
    *out_height = *out_width = 0;
    if (tsri_plan_planes(scratch_of(net), height, width))
        return;
    *out_height = net->place[net->output].height;
    *out_width = net->place[net->output].width;
}

tsri_rect tsri_net_in_rect(const tsri_net *net, int height, int width,
                           tsri_rect out)
{
    if (tsri_plan(scratch_of(net), height, width, out))
        return (tsri_rect){ 0, 0, 0, 0 };
    return net->place[0].rect;
}

uint64_t tsri_net_memory(const tsri_net *net, int height, int width,
                         tsri_rect out)
{
    if (tsri_plan(scratch_of(net), height, width, out))
        return UINT64_MAX;
    return tsri_plan_bytes(net);
}

double tsri_net_macs(const tsri_net *net, int height, int width, tsri_rect out)
{
    double sum = 0;
    if (tsri_plan(scratch_of(net), height, width, out))
        return 0;
    for (int i = 0; i < net->steps; i++) {
        const tsri_step *s = &net->step[i];
        const tsri_rect r = conv_rect(s, net->place[s->dst].rect);
        sum += s->work == TSRI_WORK_ATTENTION ? tsri_attention_macs(net, s) :
               s->macs * tsri_rows(r) * tsri_cols(r);
    }
    return sum;
}
