/* SPDX-License-Identifier: BSD-2-Clause */
/* Runs a plan on a device.  The plan is the host's: the same places in an arena,
 * counted in the device's numbers. */
#include <string.h>
#include "lib/nn/device.h"

struct tsri_nn_state {
    tsr_context *ctx;
    const tsri_dev_ops *ops;
    tsri_dev *dev;
    /* Memory that is kept from run to run and grows as needed. */
    struct tsri_room {
        void *mem;
        size_t bytes;
        bool host;
    } arena, in, out, block, result, planes, staging;
    float **coefficients;   /* [nodes]: gamma, beta, mean, scale, shift */
    int nodes;
    bool staged;            /* what is queued may still read the staging */
    /* The steps of the last run, to be done again as they were queued. */
    struct tsri_kept {
        tsri_place *place;  /* [nodes] */
        void *mem[5];
        tsri_dev_record *record;
        bool cannot;
    } kept;
};

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

void tsri_device_close(tsri_nn_state **out)
{
    state *s = *out;
    room *const all[] = { &s->arena, &s->in, &s->out, &s->block, &s->result,
                          &s->planes, &s->staging };

    forget(s);
    tsri_free(s->ctx, s->kept.place);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        give_up(s, all[i]);
    for (int i = 0; i < s->nodes; i++)
        s->ops->free(s->dev, s->coefficients[i]);
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

static tsr_error need(state *s, room *r, size_t count, size_t size)
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
                          5 * lanes * sizeof(float)));
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
    for (int i = 0; i < net->steps; i++)
        if (net->step[i].work == TSRI_WORK_STATISTICS)
            TSR_TRY(coefficients_of(net, net->step[i].dst));
    return TSR_OK;
}

static tsri_dev_map map_of(const tsri_net *net, int x)
{
    state *s = net->state;
    const tsri_place *p = &net->place[x];
    tsri_dev_map m = { NULL, p->rect, tsri_lanes(net->node[x].channels) };

    m.data = x == 0 ? s->in.mem : x == net->output ? s->out.mem :
             (uint8_t *)s->arena.mem + p->offset * (size_t)s->ops->element;
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
        .src = map_of(net, s->src), .channels = net->node[s->src].channels,
        .to = reads, .wide = s->conv.wide, .lanes = s->conv.in,
        .height = height, .width = width, .unshuffle = s->unshuffle,
        .upsample = s->upsample, .pad = s->pad, .pre = s->pre,
        .norm = s->norm ? norm_of(net, s->norm) : NULL
    };
    tsri_dev_gather with = g;

    TSR_TRY(need(st, &st->block, samples(reads) * (size_t)s->conv.in,
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
                        .height = tsri_rows(reads), .width = tsri_cols(reads),
                        .dst = to, .add = add, .rows = tsri_rows(r),
                        .cols = tsri_cols(r) };

    if (from_source) {
        const tsri_dev_map m = map_of(net, s->src);
        const tsri_place *p = &net->place[s->src];
        const tsri_rect in = { tsri_max(reads.y0, 0), tsri_max(reads.x0, 0),
                               tsri_min(reads.y1, p->height),
                               tsri_min(reads.x1, p->width) };
        c.row = (size_t)tsri_cols(m.rect) * (size_t)m.lanes;
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
           !(from_source && dst->data == map_of(net, s->src).data);
}

/* Whether it can add the argument, too. */
static bool lands_adding(const tsri_net *net, const tsri_step *s, tsri_rect r,
                         const tsri_dev_map *dst, bool from_source)
{
    const tsri_dev_map more = s->post == TSRI_POST_ADD ? map_of(net, s->arg[0])
                                                       : *dst;
    return s->post == TSRI_POST_ADD && !s->conv.wide && s->shuffle == 1 &&
           s->conv.act == TSRI_ACT_NONE && more.data != dst->data &&
           !memcmp(&r, &dst->rect, sizeof r) &&
           !memcmp(&r, &more.rect, sizeof r) &&
           more.lanes == s->conv.out && dst->lanes == s->conv.out &&
           !(from_source && dst->data == map_of(net, s->src).data);
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
    const tsri_dev_map dst = map_of(net, s->dst);
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
                        map_of(net, s->arg[0]).data, dst.data);
    if (s->has_conv) {
        TSR_TRY(need(st, &st->result, samples(r) * (size_t)s->conv.out,
                     s->conv.wide ? sizeof(float) : (size_t)st->ops->element));
        TSR_TRY(convolve(net, s, reads, r, from_source, NULL,
                         st->result.mem));
        p.row = st->result.mem;
    }
    for (int i = 0; i < s->args; i++)
        p.arg[i] = map_of(net, s->arg[i]);
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
        .src = map_of(net, s->src), .channels = n->channels,
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
        .q = map_of(net, s->src), .k = map_of(net, s->arg[0]),
        .v = map_of(net, s->arg[1]), .dst = map_of(net, s->dst),
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
static tsr_error wait_for(state *s)
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
    const tsri_dev_planar p = { map_of(net, 0), s->planes.mem, map.channels };

    TSR_TRY(wait_for(s));
    TSR_TRY(m->source(m->cookie, r, &map));
    s->staged = true;
    TSR_TRY(s->ops->upload(s->dev, s->planes.mem, map.data, n * sizeof(float)));
    return s->ops->enter(s->dev, &p);
}

static tsr_error leave(const tsri_net *net, const tsri_buffers *m)
{
    state *s = net->state;
    const tsri_dev_planar p = { map_of(net, net->output), s->planes.mem,
                                tsri_net_out_channels(net) };
    const float *from = s->staging.mem;

    TSR_TRY(s->ops->leave(s->dev, &p));
    s->staged = true;
    TSR_TRY(s->ops->download(s->dev, s->staging.mem, s->planes.mem,
                             planar_floats(net, net->output) * sizeof(float)));
    TSR_TRY(wait_for(s));
    for (int c = 0; c < m->dst->channels; c++)
        for (int y = 0; y < m->dst->height; y++, from += m->dst->width)
            memcpy(m->dst->data + (size_t)c * m->dst->plane +
                   (size_t)y * m->dst->row, from,
                   (size_t)m->dst->width * sizeof *from);
    return TSR_OK;
}

static size_t numbers_of(const tsri_net *net, int x)
{
    return samples(net->place[x].rect) *
           (size_t)tsri_lanes(net->node[x].channels);
}

static tsr_error take_memory(const tsri_net *net)
{
    state *s = net->state;
    const size_t element = (size_t)s->ops->element;

    TSR_TRY(need(s, &s->arena, net->arena, element));
    TSR_TRY(need(s, &s->in, numbers_of(net, 0), element));
    TSR_TRY(need(s, &s->out, numbers_of(net, net->output), element));
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
    if (!s->kept.place || memcmp(mem, s->kept.mem, sizeof mem))
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
static tsr_error run_steps(const tsri_net *net)
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

    TSR_TRY(wait_for(s));
    TSR_TRY(take_memory(net));
    TSR_TRY(need(s, &s->planes, in > out ? in : out, sizeof(float)));
    TSR_TRY(need(s, &s->staging, in > out ? in : out, sizeof(float)));
    TSR_TRY(enter(net, m));
    TSR_TRY(run_steps(net));
    return leave(net, m);
}

/* ---- whole planes ---- */

tsr_error tsri_dmap_new(const tsri_net *net, int channels, int height, int width,
                        tsri_dmap *map)
{
    const state *s = net->state;
    size_t n;
    void *mem;

    *map = (tsri_dmap){ NULL, channels, height, width };
    if (!tsri_mul((size_t)height * (size_t)width, (size_t)channels, &n) ||
        !tsri_mul(n, sizeof(float), &n))
        return tsri_nomem(net->ctx);
    TSR_TRY(s->ops->take(s->dev, &mem, n));
    map->data = mem;
    return TSR_OK;
}

void tsri_dmap_free(const tsri_net *net, tsri_dmap *map)
{
    if (map->data)
        net->state->ops->give(net->state->dev, map->data);
    map->data = NULL;
}

/* The input is there whole, even if its last row or column is not needed. */
static tsr_error plan_whole(const tsri_net *net, int height, int width)
{
    int h, w;

    tsri_net_out_size(net, height, width, &h, &w);
    TSR_TRY(tsri_plan((tsri_net *)(uintptr_t)net, height, width,
                      (tsri_rect){ 0, 0, h, w }));
    net->place[0].rect = (tsri_rect){ 0, 0, height, width };
    return TSR_OK;
}

bool tsri_net_fits(const tsri_net *net, int height, int width)
{
    if (!net->backend->device || plan_whole(net, height, width))
        return false;
    return (double)net->backend->device->element *
           ((double)net->arena + (double)numbers_of(net, 0) +
            (double)numbers_of(net, net->output)) <=
           (double)net->ctx->max_memory;
}

static bool is_map(const tsri_net *net, int x, const tsri_dmap *map)
{
    return map->channels == net->node[x].channels &&
           map->height == net->place[x].height &&
           map->width == net->place[x].width;
}

static int colours(const tsri_pixels *p)
{
    return p->channels < 3 ? 1 : 3;
}

static size_t row_bytes(const tsri_pixels *p)
{
    return (size_t)p->width * (size_t)p->channels * (size_t)(p->bits / 8);
}

/* Room for the picture on both sides, where it is not on the device: *dense is
 * where it is there. */
static tsr_error stage_pixels(state *s, const tsri_pixels *p, tsri_pixels *dense)
{
    *dense = *p;
    if (p->on_device)
        return TSR_OK;
    dense->stride = row_bytes(p);
    TSR_TRY(wait_for(s));
    TSR_TRY(need(s, &s->planes, dense->stride, (size_t)p->height));
    TSR_TRY(need(s, &s->staging, dense->stride, (size_t)p->height));
    dense->data = s->planes.mem;
    return TSR_OK;
}

static tsr_error enter_pixels(const tsri_net *net, const tsri_pixels *p)
{
    state *s = net->state;
    tsri_dev_pixels in = { .map = map_of(net, 0) };
    const size_t row = row_bytes(p);

    TSR_TRY(stage_pixels(s, p, &in.pixels));
    if (!p->on_device) {
        for (int y = 0; y < p->height; y++)
            memcpy((uint8_t *)s->staging.mem + (size_t)y * row,
                   (const uint8_t *)p->data + (size_t)y * p->stride, row);
        s->staged = true;
        TSR_TRY(s->ops->upload(s->dev, s->planes.mem, s->staging.mem,
                               (size_t)p->height * row));
    }
    return s->ops->enter_pixels(s->dev, &in);
}

/* A row of pixels without the alpha that the device did not write. */
static void copy_row(const tsri_pixels *p, uint8_t *to, const uint8_t *from)
{
    const size_t each = (size_t)(p->bits / 8);
    const size_t pixel = (size_t)p->channels * each;
    const size_t colour = (size_t)colours(p) * each;

    if (pixel == colour) {
        memcpy(to, from, row_bytes(p));
        return;
    }
    for (int x = 0; x < p->width; x++)
        memcpy(to + (size_t)x * pixel, from + (size_t)x * pixel, colour);
}

static tsr_error leave_pixels(const tsri_net *net, const tsri_pixels *p)
{
    state *s = net->state;
    tsri_dev_pixels out = { .map = map_of(net, net->output) };
    const size_t row = row_bytes(p);

    TSR_TRY(stage_pixels(s, p, &out.pixels));
    TSR_TRY(s->ops->leave_pixels(s->dev, &out));
    if (p->on_device)
        return TSR_OK;
    s->staged = true;
    TSR_TRY(s->ops->download(s->dev, s->staging.mem, s->planes.mem,
                             (size_t)p->height * row));
    TSR_TRY(wait_for(s));
    for (int y = 0; y < p->height; y++)
        copy_row(p, (uint8_t *)p->data + (size_t)y * p->stride,
                 (const uint8_t *)s->staging.mem + (size_t)y * row);
    return TSR_OK;
}

static bool is_io(const tsri_net *net, int x, const tsri_net_io *io)
{
    return io->map ? is_map(net, x, io->map) : net->node[x].channels == 3;
}

tsr_error tsri_net_run_io(const tsri_net *net, int height, int width,
                          const tsri_net_io *in, const tsri_net_io *out)
{
    state *s = net->state;

    TSR_TRY(plan_whole(net, height, width));
    if (!net->backend->device || !is_io(net, 0, in) ||
        !is_io(net, net->output, out))
        return tsri_fail(net->ctx, TSR_E_ARG, "a net's input or output has"
                         " another size");
    TSR_TRY(take_memory(net));
    const tsri_dev_planar from = { map_of(net, 0), in->map ? in->map->data : NULL,
                                   net->node[0].channels };
    const tsri_dev_planar to = { map_of(net, net->output),
                                 out->map ? out->map->data : NULL,
                                 net->node[net->output].channels };
    TSR_TRY(in->map ? s->ops->enter_map(s->dev, &from)
                    : enter_pixels(net, in->pixels));
    TSR_TRY(run_steps(net));
    return out->map ? s->ops->leave_map(s->dev, &to)
                    : leave_pixels(net, out->pixels);
}
