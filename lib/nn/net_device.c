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
};

typedef struct tsri_nn_state state;
typedef struct tsri_room room;

/* ---- the backend's calls ---- */

static tsr_error device_open(tsri_nn_state **out, tsr_context *ctx)
{
    state *s = tsri_calloc(ctx, 1, sizeof *s);
    *out = s;
    if (!s)
        return tsri_nomem(ctx);
    s->ctx = ctx;
    s->ops = ctx->nn->device;
    s->staging.host = true;
    const tsr_error error = s->ops->open(&s->dev, ctx);
    if (error) {
        tsri_free(ctx, s);
        *out = NULL;
    }
    return error;
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

static void device_close(tsri_nn_state **out)
{
    state *s = *out;
    room *const all[] = { &s->arena, &s->in, &s->out, &s->block, &s->result,
                          &s->planes, &s->staging };

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
static tsr_error device_pack(tsri_nn_state *s, tsri_nn_conv *c,
                             const float *weight)
{
    return s->ops->pack(s->dev, c, weight, c->wide,
                        (tsri_dev_weights **)&c->packed);
}

static void device_unpack(tsri_nn_state *s, tsri_nn_conv *c)
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
                          void *to)
{
    state *st = net->state;
    tsri_dev_conv c = { .conv = &s->conv, .src = st->block.mem,
                        .row = (size_t)tsri_cols(reads) * (size_t)s->conv.in,
                        .height = tsri_rows(reads), .width = tsri_cols(reads),
                        .dst = to, .rows = tsri_rows(r), .cols = tsri_cols(r) };

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
        return convolve(net, s, reads, r, from_source, dst.data);
    if (s->has_conv) {
        TSR_TRY(need(st, &st->result, samples(r) * (size_t)s->conv.out,
                     s->conv.wide ? sizeof(float) : (size_t)st->ops->element));
        TSR_TRY(convolve(net, s, reads, r, from_source, st->result.mem));
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

    TSR_TRY(m->source(m->cookie, r, &map));
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
    TSR_TRY(s->ops->download(s->dev, s->staging.mem, s->planes.mem,
                             planar_floats(net, net->output) * sizeof(float)));
    TSR_TRY(s->ops->wait(s->dev));
    for (int c = 0; c < m->dst->channels; c++)
        for (int y = 0; y < m->dst->height; y++, from += m->dst->width)
            memcpy(m->dst->data + (size_t)c * m->dst->plane +
                   (size_t)y * m->dst->row, from,
                   (size_t)m->dst->width * sizeof *from);
    return TSR_OK;
}

static tsr_error take_memory(const tsri_net *net)
{
    state *s = net->state;
    const size_t element = (size_t)s->ops->element;
    const size_t in = planar_floats(net, 0);
    const size_t out = planar_floats(net, net->output);
    const tsri_dev_map a = map_of(net, 0), b = map_of(net, net->output);

    TSR_TRY(need(s, &s->arena, net->arena, element));
    TSR_TRY(need(s, &s->in, samples(a.rect) * (size_t)a.lanes, element));
    TSR_TRY(need(s, &s->out, samples(b.rect) * (size_t)b.lanes, element));
    TSR_TRY(need(s, &s->planes, in > out ? in : out, sizeof(float)));
    return need(s, &s->staging, in > out ? in : out, sizeof(float));
}

tsr_error tsri_device_run(const tsri_net *net, const tsri_buffers *m)
{
    TSR_TRY(take_memory(net));
    TSR_TRY(open_coefficients(net));
    TSR_TRY(enter(net, m));
    for (int i = 0; i < net->steps; i++)
        if (tsri_planned(net, &net->step[i]))
            TSR_TRY(run_step(net, &net->step[i]));
    return leave(net, m);
}

void tsri_nn_device_backend(tsri_nn_backend *b, const char *name,
                            const tsri_dev_ops *ops)
{
    *b = (tsri_nn_backend){ .name = name, .open = device_open,
                            .close = device_close, .pack = device_pack,
                            .unpack = device_unpack, .device = ops };
}
