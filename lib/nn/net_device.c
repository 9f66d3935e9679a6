/* SPDX-License-Identifier: BSD-2-Clause */
/* Runs a plan on a device.  The plan is the host's: the same places in an arena,
 * counted in the device's numbers. */
#include <string.h>
#include "lib/nn/net_device.h"

typedef struct tsri_nn_state state;
typedef struct tsri_room room;

/* ---- the backend's calls ---- */

tsr_error tsri_device_open(tsri_nn_state **out, tsr_context *ctx,
                           const tsri_nn_backend *self)
{
    state *s = tsri_calloc(ctx, 1, sizeof *s);
    *out = s;
    if (!s)
        return tsri_nomem(ctx);
    s->ctx = ctx;
    s->ops = self->device;
    s->staging.host = true;
    const tsr_error error = s->ops->open(&s->dev, ctx);
    if (error) {
        tsri_free(ctx, s);
        *out = NULL;
    }
    return error;
}

static void forget(state *s)
{
    if (s->kept.record)
        s->ops->forget(s->dev, s->kept.record);
    s->kept.record = NULL;
}

static void give_up(state *s, room *r)
{
    if (r->host)
        s->ops->free_host(s->dev, r->mem);
    else
        s->ops->free(s->dev, r->mem);
    r->mem = NULL;
    r->bytes = 0;
}

static void drop_coefficients(state *s)
{
    for (int i = 0; i < s->nodes; i++) {
        s->ops->free(s->dev, s->coefficients[i]);
        s->coefficients[i] = NULL;
    }
    s->room_items = 0;
}

void tsri_device_close(tsri_nn_state **out)
{
    state *s = *out;
    room *const all[] = { &s->arena, &s->in, &s->out, &s->block, &s->result,
                          &s->planes, &s->staging };

    forget(s);
    tsri_free(s->ctx, s->kept.place);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        give_up(s, all[i]);
    drop_coefficients(s);
    tsri_free(s->ctx, s->coefficients);
    s->ops->close(&s->dev);
    tsri_free(s->ctx, s);
    *out = NULL;
}

/* Squares of 16-bit numbers are none: the norms of GDN are made in float. */
tsr_error tsri_device_pack(tsri_nn_state *s, tsri_nn_conv *c,
                           const float *weight)
{
    return s->ops->pack(s->dev, c, weight, c->wide,
                        (tsri_dev_weights **)&c->packed);
}

void tsri_device_unpack(tsri_nn_state *s, tsri_nn_conv *c)
{
    if (c->packed)
        s->ops->unpack(s->dev, c->packed);
    c->packed = NULL;
}

/* ---- memory of a run ---- */

tsr_error tsri_device_need(state *s, room *r, size_t count, size_t size)
{
    size_t bytes;

    if (!tsri_mul(count, size, &bytes) || bytes > SIZE_MAX / 2)
        return tsri_nomem(s->ctx);
    if (bytes <= r->bytes)
        return TSR_OK;
    give_up(s, r);
    bytes += bytes / 8 + 256;
    TSR_TRY(r->host ? s->ops->alloc_host(s->dev, &r->mem, bytes)
                    : s->ops->alloc(s->dev, &r->mem, bytes));
    r->bytes = bytes;
    return TSR_OK;
}

static size_t samples(tsri_rect r)
{
    return (size_t)tsri_rows(r) * (size_t)tsri_cols(r);
}

/* Gamma and beta go up when the net is first run. */
static tsr_error coefficients_of(const tsri_net *net, int x)
{
    state *s = net->state;
    const tsri_node *n = &net->node[x];
    const size_t lanes = (size_t)tsri_lanes(n->channels);

    if (s->coefficients[x])
        return TSR_OK;
    TSR_TRY(s->ops->alloc(s->dev, (void **)&s->coefficients[x],
                          (2 + 3 * (size_t)s->room_items) * lanes *
                              sizeof(float)));
    return s->ops->upload(s->dev, s->coefficients[x], n->weights,
                          2 * lanes * sizeof(float));
}

static tsr_error open_coefficients(const tsri_net *net)
{
    state *s = net->state;

    if (!s->coefficients) {
        s->coefficients = tsri_calloc(s->ctx, (size_t)net->nodes,
                                      sizeof *s->coefficients);
        if (!s->coefficients)
            return tsri_nomem(s->ctx);
        s->nodes = net->nodes;
    }
    if (s->items > s->room_items) {
        drop_coefficients(s);
        s->room_items = s->items;
    }
    for (int i = 0; i < net->steps; i++)
        if (net->step[i].work == TSRI_WORK_STATISTICS)
            TSR_TRY(coefficients_of(net, net->step[i].dst));
    return TSR_OK;
}

tsri_dev_map tsri_device_map(const tsri_net *net, int x)
{
    state *s = net->state;
    const tsri_place *p = &net->place[x];
    tsri_dev_map m = { NULL, p->rect, tsri_lanes(net->node[x].channels), s->items };

    m.data = x == 0 ? s->in.mem : x == net->output ? s->out.mem :
             (uint8_t *)s->arena.mem + p->offset * (size_t)s->items *
                 (size_t)s->ops->element;
    return m;
}

static const float *norm_of(const tsri_net *net, int x)
{
    return net->state->coefficients[x] +
           2 * (size_t)tsri_lanes(net->node[x].channels);
}

/* ---- steps ---- */

/* Whether the convolution can read the source as it lies. */
static bool direct(const tsri_step *s, tsri_rect reads, int height, int width)
{
    const bool inside = reads.y0 >= 0 && reads.x0 >= 0 && reads.y1 <= height &&
                        reads.x1 <= width;
    return s->has_conv && s->unshuffle == 1 && s->upsample == 1 && !s->norm &&
           s->pre == TSRI_PRE_COPY && (s->pad == TSRI_PAD_ZERO || inside);
}

static tsr_error gather(const tsri_net *net, const tsri_step *s, tsri_rect reads,
                        int height, int width)
{
    state *st = net->state;
    const tsri_dev_gather g = {
        .src = tsri_device_map(net, s->src), .channels = net->node[s->src].channels,
        .to = reads, .wide = s->conv.wide, .lanes = s->conv.in,
        .height = height, .width = width, .unshuffle = s->unshuffle,
        .upsample = s->upsample, .pad = s->pad, .pre = s->pre,
        .norm = s->norm ? norm_of(net, s->norm) : NULL
    };
    tsri_dev_gather with = g;

    TSR_TRY(tsri_device_need(st, &st->block, (size_t)st->items * samples(reads) *
                                     (size_t)s->conv.in,
                 s->conv.wide ? sizeof(float) : (size_t)st->ops->element));
    with.dst = st->block.mem;
    return st->ops->gather(st->dev, &with);
}

static tsr_error convolve(const tsri_net *net, const tsri_step *s,
                          tsri_rect reads, tsri_rect r, bool from_source,
                          const void *add, void *to)
{
    state *st = net->state;
    tsri_dev_conv c = { .conv = &s->conv, .src = st->block.mem,
                        .row = (size_t)tsri_cols(reads) * (size_t)s->conv.in,
                        .plane = samples(reads) * (size_t)s->conv.in,
                        .items = st->items,
                        .height = tsri_rows(reads), .width = tsri_cols(reads),
                        .dst = to, .add = add, .rows = tsri_rows(r),
                        .cols = tsri_cols(r) };

    if (from_source) {
        const tsri_dev_map m = tsri_device_map(net, s->src);
        const tsri_place *p = &net->place[s->src];
        const tsri_rect in = { tsri_max(reads.y0, 0), tsri_max(reads.x0, 0),
                               tsri_min(reads.y1, p->height),
                               tsri_min(reads.x1, p->width) };
        c.row = (size_t)tsri_cols(m.rect) * (size_t)m.lanes;
        c.plane = samples(m.rect) * (size_t)m.lanes;
        c.src = (uint8_t *)m.data + (size_t)st->ops->element *
                ((size_t)(in.y0 - m.rect.y0) * c.row +
                 (size_t)(in.x0 - m.rect.x0) * (size_t)m.lanes);
        c.height = tsri_rows(in);
        c.width = tsri_cols(in);
        c.top = in.y0 - reads.y0;
        c.left = in.x0 - reads.x0;
        c.bottom = reads.y1 - in.y1;
        c.right = reads.x1 - in.x1;
    }
    return st->ops->conv(st->dev, &c);
}

/* Whether the convolution can write the destination itself. */
static bool lands(const tsri_net *net, const tsri_step *s, tsri_rect r,
                  const tsri_dev_map *dst, bool from_source)
{
    return s->post == TSRI_POST_STORE && !s->conv.wide &&
           !memcmp(&r, &dst->rect, sizeof r) &&
           !(from_source && dst->data == tsri_device_map(net, s->src).data);
}

/* Whether it can add the argument, too. */
static bool lands_adding(const tsri_net *net, const tsri_step *s, tsri_rect r,
                         const tsri_dev_map *dst, bool from_source)
{
    const tsri_dev_map more = s->post == TSRI_POST_ADD ? tsri_device_map(net, s->arg[0])
                                                       : *dst;
    return s->post == TSRI_POST_ADD && !s->conv.wide && s->shuffle == 1 &&
           s->conv.act == TSRI_ACT_NONE && more.data != dst->data &&
           !memcmp(&r, &dst->rect, sizeof r) &&
           !memcmp(&r, &more.rect, sizeof r) &&
           more.lanes == s->conv.out && dst->lanes == s->conv.out &&
           !(from_source && dst->data == tsri_device_map(net, s->src).data);
}

static tsr_error run_conv(const tsri_net *net, const tsri_step *s)
{
    state *st = net->state;
    const tsri_place *src = &net->place[s->src];
    const int height = src->height * s->upsample / s->unshuffle;
    const int width = src->width * s->upsample / s->unshuffle;
    const tsri_rect r = tsri_step_grid(net, s).rect;
    const tsri_rect reads = tsri_step_reads(s, r);
    const bool from_source = direct(s, reads, height, width);
    const tsri_dev_map dst = tsri_device_map(net, s->dst);
    tsri_dev_post p = { .post = s->post, .wide = s->conv.wide, .rect = r,
                        .lanes = s->conv.out, .dst = dst,
                        .channels = net->node[s->dst].channels,
                        .shuffle = s->shuffle, .permuted = s->permuted };

    if (!from_source)
        TSR_TRY(gather(net, s, reads, height, width));
    p.row = st->block.mem;
    if (s->has_conv && lands(net, s, r, &dst, from_source))
        return convolve(net, s, reads, r, from_source, NULL, dst.data);
    if (s->has_conv && lands_adding(net, s, r, &dst, from_source))
        return convolve(net, s, reads, r, from_source,
                        tsri_device_map(net, s->arg[0]).data, dst.data);
    if (s->has_conv) {
        TSR_TRY(tsri_device_need(st, &st->result, (size_t)st->items * samples(r) *
                                          (size_t)s->conv.out,
                     s->conv.wide ? sizeof(float) : (size_t)st->ops->element));
        TSR_TRY(convolve(net, s, reads, r, from_source, NULL,
                         st->result.mem));
        p.row = st->result.mem;
    }
    for (int i = 0; i < s->args; i++)
        p.arg[i] = tsri_device_map(net, s->arg[i]);
    return st->ops->post(st->dev, &p);
}

static bool is_whole(const tsri_net *net, int x)
{
    const tsri_place *p = &net->place[x];
    return p->rect.y0 == 0 && p->rect.x0 == 0 && p->rect.y1 == p->height &&
           p->rect.x1 == p->width;
}

static tsr_error run_norm(const tsri_net *net, const tsri_step *s)
{
    state *st = net->state;
    const tsri_node *n = &net->node[s->dst];
    float *all = st->coefficients[s->dst];
    const tsri_dev_norm norm = {
        .src = tsri_device_map(net, s->src), .channels = n->channels,
        .groups = n->groups, .eps = n->eps, .weights = all,
        .out = all + 2 * (size_t)tsri_lanes(n->channels)
    };
    if (!is_whole(net, s->src))
        return tsri_fail(net->ctx, TSR_E_INTERNAL, "statistics of a part");
    return st->ops->norm(st->dev, &norm);
}

static tsr_error run_attention(const tsri_net *net, const tsri_step *s)
{
    state *st = net->state;
    const tsri_dev_attention a = {
        .q = tsri_device_map(net, s->src), .k = tsri_device_map(net, s->arg[0]),
        .v = tsri_device_map(net, s->arg[1]), .dst = tsri_device_map(net, s->dst),
        .channels = net->node[s->dst].channels,
        .windowed = tsri_attention_windowed(net, s->dst)
    };
    return st->ops->attention(st->dev, &a);
}

static tsr_error run_step(const tsri_net *net, const tsri_step *s)
{
    return s->work == TSRI_WORK_CONV ? run_conv(net, s) :
           s->work == TSRI_WORK_STATISTICS ? run_norm(net, s) :
           run_attention(net, s);
}

/* ---- in and out ---- */

/* Before the staging is written or read. */
tsr_error tsri_device_wait(state *s)
{
    if (!s->staged)
        return TSR_OK;
    s->staged = false;
    return s->ops->wait(s->dev);
}

static size_t planar_floats(const tsri_net *net, int x)
{
    return samples(net->place[x].rect) * (size_t)net->node[x].channels;
}

static tsr_error enter(const tsri_net *net, const tsri_buffers *m)
{
    state *s = net->state;
    const tsri_rect r = net->place[0].rect;
    const size_t n = planar_floats(net, 0);
    tsri_fmap map = { s->staging.mem, net->node[0].channels, tsri_rows(r),
                      tsri_cols(r), samples(r), (size_t)tsri_cols(r) };
    const tsri_dev_planar p = { tsri_device_map(net, 0), s->planes.mem, map.channels };

    TSR_TRY(tsri_device_wait(s));
    TSR_TRY(m->source(m->cookie, r, &map));
    s->staged = true;
    TSR_TRY(s->ops->upload(s->dev, s->planes.mem, map.data, n * sizeof(float)));
    return s->ops->enter(s->dev, &p);
}

static tsr_error leave(const tsri_net *net, const tsri_buffers *m)
{
    state *s = net->state;
    const tsri_dev_planar p = { tsri_device_map(net, net->output), s->planes.mem,
                                tsri_net_out_channels(net) };
    const float *from = s->staging.mem;

    TSR_TRY(s->ops->leave(s->dev, &p));
    s->staged = true;
    TSR_TRY(s->ops->download(s->dev, s->staging.mem, s->planes.mem,
                             planar_floats(net, net->output) * sizeof(float)));
    TSR_TRY(tsri_device_wait(s));
    for (int c = 0; c < m->dst->channels; c++)
        for (int y = 0; y < m->dst->height; y++, from += m->dst->width)
            memcpy(m->dst->data + (size_t)c * m->dst->plane +
                   (size_t)y * m->dst->row, from,
                   (size_t)m->dst->width * sizeof *from);
    return TSR_OK;
}

/* Of an item. */
size_t tsri_device_numbers(const tsri_net *net, int x)
{
    return samples(net->place[x].rect) *
           (size_t)tsri_lanes(net->node[x].channels);
}

tsr_error tsri_device_memory(const tsri_net *net)
{
    state *s = net->state;
    const size_t element = (size_t)s->ops->element * (size_t)s->items;

    TSR_TRY(tsri_device_need(s, &s->arena, net->arena, element));
    TSR_TRY(tsri_device_need(s, &s->in, tsri_device_numbers(net, 0), element));
    TSR_TRY(tsri_device_need(s, &s->out, tsri_device_numbers(net, net->output), element));
    return open_coefficients(net);
}

static tsr_error queue_steps(const tsri_net *net)
{
    for (int i = 0; i < net->steps; i++)
        if (tsri_planned(net, &net->step[i]))
            TSR_TRY(run_step(net, &net->step[i]));
    return TSR_OK;
}

/* ---- steps that are done again ---- */

static bool same_place(const tsri_place *a, const tsri_place *b)
{
    return a->height == b->height && a->width == b->width &&
           a->offset == b->offset && !memcmp(&a->rect, &b->rect, sizeof a->rect);
}

static void memory_of(const state *s, void *mem[5])
{
    mem[0] = s->arena.mem;
    mem[1] = s->in.mem;
    mem[2] = s->out.mem;
    mem[3] = s->block.mem;
    mem[4] = s->result.mem;
}

/* Whether the plan and the memory are those of the last run. */
static bool same_run(const tsri_net *net)
{
    const state *s = net->state;
    void *mem[5];

    memory_of(s, mem);
    if (!s->kept.place || s->kept.items != s->items ||
        memcmp(mem, s->kept.mem, sizeof mem))
        return false;
    for (int x = 0; x < net->nodes; x++)
        if (!same_place(&net->place[x], &s->kept.place[x]))
            return false;
    return true;
}

/* After a run, since memory grows during the first. */
static void note_run(const tsri_net *net)
{
    state *s = net->state;

    if (!s->kept.place)
        s->kept.place = tsri_alloc(s->ctx, (size_t)net->nodes,
                                   sizeof *s->kept.place);
    if (!s->kept.place)
        return;
    memcpy(s->kept.place, net->place, (size_t)net->nodes * sizeof *net->place);
    s->kept.items = s->items;
    memory_of(s, s->kept.mem);
}

/* That it cannot be done is no error. */
static void record_steps(const tsri_net *net)
{
    state *s = net->state;
    const tsr_logger logger = s->ctx->logger;

    if (!s->ops->record(s->dev)) {
        s->kept.cannot = true;
        return;
    }
    s->ctx->logger = (tsr_logger){ NULL, NULL };
    const tsr_error error = queue_steps(net);
    s->ctx->logger = logger;
    s->kept.record = s->ops->end_record(s->dev);
    if (error)
        forget(s);
    s->kept.cannot = !s->kept.record;
}

/* The second run of a plan is recorded, that and later ones are played. */
tsr_error tsri_device_steps(const tsri_net *net)
{
    state *s = net->state;

    if (!s->ops->record || s->kept.cannot)
        return queue_steps(net);
    if (same_run(net)) {
        if (!s->kept.record)
            record_steps(net);
        if (s->kept.record && s->ops->replay(s->dev, s->kept.record))
            return TSR_OK;
    }
    forget(s);
    TSR_TRY(queue_steps(net));
    note_run(net);
    return TSR_OK;
}

tsr_error tsri_device_run(const tsri_net *net, const tsri_buffers *m)
{
    state *s = net->state;
    const size_t in = planar_floats(net, 0);
    const size_t out = planar_floats(net, net->output);

    s->items = 1;
    TSR_TRY(tsri_device_wait(s));
    TSR_TRY(tsri_device_memory(net));
    TSR_TRY(tsri_device_need(s, &s->planes, in > out ? in : out, sizeof(float)));
    TSR_TRY(tsri_device_need(s, &s->staging, in > out ? in : out, sizeof(float)));
    TSR_TRY(enter(net, m));
    TSR_TRY(tsri_device_steps(net));
    return leave(net, m);
}
