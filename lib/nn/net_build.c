/* SPDX-License-Identifier: BSD-2-Clause */
/* From nodes to steps: what can be computed inside the block of a convolution
 * is put there, so that only what other steps read is ever stored. */
#include <string.h>
#include "lib/nn/cuda/nn_cuda.h"
#include "lib/nn/net_internal.h"

enum { LANE = TSRI_NN_LANE, MAX_CHANNELS = 1 << 16, MAX_SCALE = 1 << 12 };

static int fault(tsri_net *net, const char *what)
{
    if (!net->error)
        net->error = tsri_fail(net->ctx, TSR_E_ARG, "net node %d: %s",
                               net->nodes, what);
    return -1;
}

static tsr_error grow(tsri_net *net)
{
    const int capacity = net->capacity ? 2 * net->capacity : 32;
    tsri_node *node = tsri_alloc(net->ctx, (size_t)capacity, sizeof *node);
    if (!node)
        return tsri_nomem(net->ctx);
    if (net->nodes)
        memcpy(node, net->node, (size_t)net->nodes * sizeof *node);
    tsri_free(net->ctx, net->node);
    net->node = node;
    net->capacity = capacity;
    return TSR_OK;
}

static int gcd(int a, int b)
{
    return b ? gcd(b, a % b) : a;
}

/* Scale up / down: the limit keeps every product far from overflow. */
static bool set_scale(tsri_node *n, int up, int down)
{
    const int d = gcd(up, down);
    n->up = up / d;
    n->down = down / d;
    return n->up <= MAX_SCALE && n->down <= MAX_SCALE;
}

/* Appends `n`, whose inputs are filled in; checks what all nodes share. */
static int append(tsri_net *net, tsri_node *n, int up, int down)
{
    if (net->error)
        return -1;
    if (net->output >= 0)
        return fault(net, "the net is finished");
    if (n->channels < 1 || n->channels > MAX_CHANNELS)
        return fault(net, "bad number of channels");
    if (!set_scale(n, up, down))
        return fault(net, "scale out of range");
    if (net->nodes == net->capacity) {
        net->error = grow(net);
        if (net->error)
            return -1;
    }
    net->node[net->nodes] = *n;
    return net->nodes++;
}

/* NULL, with the fault noted, where there is no node x. */
static const tsri_node *input(tsri_net *net, int x)
{
    if (net->error)
        return NULL;
    if (x >= 0 && x < net->nodes)
        return &net->node[x];
    fault(net, "reads a node that does not exist");
    return NULL;
}

static const tsri_nn_backend *backend_of(const tsr_context *ctx,
                                         tsri_net_part part)
{
    const tsr_precision asked = (tsr_precision)ctx->precision;
    return tsri_nn_cuda(asked != TSR_PRECISION_AUTO ? asked :
                        part == TSRI_NET_ENCODER ? TSR_PRECISION_F32
                                                 : TSR_PRECISION_F16);
}

tsr_error tsri_net_new(tsri_net **out, tsr_context *ctx, int channels)
{
    tsri_net *net = tsri_calloc(ctx, 1, sizeof *net);
    tsr_error error;

    *out = net;
    if (!net)
        return tsri_nomem(ctx);
    net->ctx = ctx;
    net->backend = ctx->gpu ? backend_of(ctx, TSRI_NET_DECODER) : ctx->nn;
    net->row_norm = tsri_row_norm_pick(ctx->cpu);
    net->output = -1;
    net->exact = TSRI_ATTENTION_EXACT;
    append(net, &(tsri_node){ .kind = TSRI_INPUT, .channels = channels }, 1, 1);
    error = net->error;
    if (!error)
        error = net->backend->open(&net->state, ctx, net->backend);
    if (error)
        tsri_net_free(out);
    return error;
}

void tsri_net_precision(tsri_net *net, tsri_net_part part)
{
    const tsri_nn_backend *backend;

    if (net->error || !net->ctx->gpu)
        return;
    backend = backend_of(net->ctx, part);
    if (backend == net->backend)
        return;
    net->backend->close(&net->state);
    net->backend = backend;
    net->error = backend->open(&net->state, net->ctx, backend);
}

void tsri_net_free(tsri_net **out)
{
    tsri_net *net = out ? *out : NULL;
    if (!net)
        return;
    for (int i = 0; i < net->steps; i++) {
        net->backend->unpack(net->state, &net->step[i].conv);
        tsri_free(net->ctx, net->step[i].conv.bias);
    }
    if (net->state)
        net->backend->close(&net->state);
    for (int i = 0; i < net->nodes; i++)
        tsri_free(net->ctx, net->node[i].weights);
    tsri_free(net->ctx, net->held);
    tsri_free(net->ctx, net->place);
    tsri_free(net->ctx, net->step);
    tsri_free(net->ctx, net->node);
    tsri_free(net->ctx, net);
    *out = NULL;
}

int tsri_net_conv(tsri_net *net, int x, const tsri_conv *conv)
{
    const tsri_node *from = input(net, x);
    if (!from)
        return -1;
    if ((conv->kernel != 1 && conv->kernel != 3) || conv->stride < 1 ||
        conv->stride > 2)
        return fault(net, "bad kernel or stride");
    if (conv->side != TSRI_BOTH &&
        (conv->side != TSRI_END || conv->pad != TSRI_PAD_ZERO))
        return fault(net, "bad padding");
    if (!conv->weight)
        return fault(net, "no weights");
    if (conv->in != from->channels)
        return fault(net, "the input has another number of channels");
    return append(net, &(tsri_node){ .kind = TSRI_CONV, .in = { x },
                  .inputs = 1, .channels = conv->out, .conv = *conv },
                  from->up, from->down * conv->stride);
}

int tsri_net_act(tsri_net *net, int x, tsri_act act)
{
    const tsri_node *from = input(net, x);
    return !from ? -1 :
           append(net, &(tsri_node){ .kind = TSRI_ACT, .in = { x }, .inputs = 1,
                  .channels = from->channels, .act = act },
                  from->up, from->down);
}

int tsri_net_gdn(tsri_net *net, int x, const float *beta, const float *gamma,
                 bool inverse)
{
    const tsri_node *from = input(net, x);
    if (!from)
        return -1;
    if (!beta || !gamma)
        return fault(net, "no weights");
    return append(net, &(tsri_node){ .kind = TSRI_GDN, .in = { x }, .inputs = 1,
                  .channels = from->channels, .beta = beta, .gamma = gamma,
                  .inverse = inverse }, from->up, from->down);
}

int tsri_net_shuffle(tsri_net *net, int x, int r)
{
    const tsri_node *from = input(net, x);
    if (!from)
        return -1;
    if (r < 1 || r > 64 || from->channels % (r * r))
        return fault(net, "channels are no multiple of r r");
    return append(net, &(tsri_node){ .kind = TSRI_SHUFFLE, .in = { x },
                  .inputs = 1, .channels = from->channels / (r * r), .r = r },
                  from->up * r, from->down);
}

int tsri_net_unshuffle(tsri_net *net, int x, int r)
{
    const tsri_node *from = input(net, x);
    if (!from)
        return -1;
    if (r < 1 || r > 64 || from->channels > MAX_CHANNELS / (r * r))
        return fault(net, "bad r");
    return append(net, &(tsri_node){ .kind = TSRI_UNSHUFFLE, .in = { x },
                  .inputs = 1, .channels = from->channels * r * r, .r = r },
                  from->up, from->down * r);
}

static bool alike(const tsri_node *a, const tsri_node *b)
{
    return a->channels == b->channels && a->up == b->up && a->down == b->down;
}

int tsri_net_upsample(tsri_net *net, int x)
{
    const tsri_node *from = input(net, x);
    return !from ? -1 :
           append(net, &(tsri_node){ .kind = TSRI_UPSAMPLE, .in = { x },
                  .inputs = 1, .channels = from->channels },
                  2 * from->up, from->down);
}

int tsri_net_norm(tsri_net *net, int x, const tsri_norm *norm)
{
    const tsri_node *from = input(net, x);
    int up, down;
    tsri_node n;

    if (!from)
        return -1;
    if (norm->groups < 1 || from->channels % norm->groups)
        return fault(net, "channels are no multiple of the groups");
    if (!norm->gamma || !norm->beta || !(norm->eps >= 0))
        return fault(net, "no weights or a bad epsilon");
    n = (tsri_node){ .kind = TSRI_STATISTICS, .in = { x }, .inputs = 1,
                     .channels = from->channels, .gamma = norm->gamma,
                     .beta = norm->beta, .groups = norm->groups,
                     .eps = norm->eps };
    up = from->up;
    down = from->down;
    n.in[1] = append(net, &n, up, down);
    n.kind = TSRI_NORM;
    n.inputs = 2;
    return append(net, &n, up, down);
}

int tsri_net_add(tsri_net *net, int a, int b)
{
    const tsri_node *x = input(net, a), *y = input(net, b);
    if (!x || !y)
        return -1;
    if (!alike(x, y))
        return fault(net, "adds planes of different channels or scale");
    return append(net, &(tsri_node){ .kind = TSRI_ADD, .in = { a, b },
                  .inputs = 2, .channels = x->channels }, x->up, x->down);
}

/* The keys' and values' own planes are read: an input is copied to one. */
static int blocked(tsri_net *net, int x)
{
    return x ? x : tsri_net_act(net, x, TSRI_ACT_NONE);
}

int tsri_net_attention(tsri_net *net, int q, int k, int v)
{
    k = blocked(net, k);
    v = blocked(net, v);
    const tsri_node *a = input(net, q), *b = input(net, k), *c = input(net, v);
    if (!a || !b || !c)
        return -1;
    if (!alike(a, b) || !alike(a, c))
        return fault(net, "attends planes of different channels or scale");
    return append(net, &(tsri_node){ .kind = TSRI_ATTENTION,
                  .in = { q, k, v }, .inputs = 3, .channels = a->channels },
                  a->up, a->down);
}

int tsri_net_gate(tsri_net *net, int skip, int value, int gate)
{
    const tsri_node *s = input(net, skip), *v = input(net, value),
                    *g = input(net, gate);
    if (!s || !v || !g)
        return -1;
    if (!alike(s, v) || !alike(s, g))
        return fault(net, "gates planes of different channels or scale");
    return append(net, &(tsri_node){ .kind = TSRI_GATE,
                  .in = { skip, value, gate }, .inputs = 3,
                  .channels = s->channels }, s->up, s->down);
}

/* A node that only `output` or one live node reads can be computed inside the
 * step of that reader. */
static bool inside(const tsri_net *net, int x, tsri_kind kind)
{
    return net->node[x].uses == 1 && net->node[x].kind == kind;
}

static void count_uses(tsri_net *net, int output)
{
    for (int i = 0; i < net->nodes; i++)
        net->node[i].uses = i == output;
    for (int i = output; i >= 0; i--)
        if (net->node[i].uses)
            for (int k = 0; k < net->node[i].inputs; k++)
                net->node[net->node[i].in[k]].uses++;
}

static tsri_pre pre_of(tsri_act act)
{
    return act == TSRI_ACT_SILU ? TSRI_PRE_SILU :
           act == TSRI_ACT_RELU ? TSRI_PRE_RELU : TSRI_PRE_COPY;
}

/* What a gathering step takes in on its way: the plane of node x, and whatever
 * can be done to it on the way if nobody else wants that.  `own`: x is the node
 * that the step computes, never mind who reads it. */
static void set_source(const tsri_net *net, tsri_step *s, int x, bool own)
{
    const tsri_node *n = &net->node[x];

    if ((own || n->uses == 1) && n->kind == TSRI_ACT &&
        !inside(net, n->in[0], TSRI_CONV)) {
        s->pre = pre_of(n->act);
        x = n->in[0];
        n = &net->node[x];
        own = false;
    }
    s->src = x;
    if (n->kind == TSRI_NORM) {
        s->norm = n->in[1];
        s->src = n->in[0];
    } else if ((own || n->uses == 1) && n->kind == TSRI_UNSHUFFLE) {
        s->unshuffle = n->r;
        s->src = n->in[0];
    } else if ((own || n->uses == 1) && n->kind == TSRI_UPSAMPLE) {
        s->upsample = 2;
        s->src = n->in[0];
    }
}

/* Weights that fill up the channels to whole blocks are zero; the output
 * channels may change places. */
static tsr_error pack(tsri_net *net, tsri_step *s, const float *weight,
                      const float *bias, int in, int out, float fill)
{
    tsri_nn_conv *c = &s->conv;
    const size_t taps = (size_t)c->kernel * (size_t)c->kernel;
    float *w = tsri_calloc(net->ctx, (size_t)c->out * (size_t)c->in * taps,
                           sizeof *w);
    const int rr = s->shuffle * s->shuffle;
    tsr_error error;

    c->bias = tsri_alloc(net->ctx, (size_t)c->out, sizeof *c->bias);
    if (!w || !c->bias) {
        tsri_free(net->ctx, w);
        return tsri_nomem(net->ctx);
    }
    for (int o = 0; o < c->out; o++) {
        const int from = s->permuted ? o % (out / rr) * rr + o / (out / rr) : o;
        c->bias[o] = o >= out ? fill : bias ? bias[from] : 0;
        if (o < out)
            memcpy(w + (size_t)o * (size_t)c->in * taps,
                   weight + (size_t)from * (size_t)in * taps,
                   (size_t)in * taps * sizeof *w);
    }
    error = net->backend->pack(net->state, c, w);
    tsri_free(net->ctx, w);
    return error;
}

static tsr_error set_conv(tsri_net *net, tsri_step *s, const tsri_conv *c,
                          float fill)
{
    s->has_conv = true;
    s->pad = c->pad;
    s->side = c->side;
    s->macs = (double)c->in * c->out * c->kernel * c->kernel;
    s->permuted = s->post == TSRI_POST_SHUFFLE &&
                  c->out % (s->shuffle * s->shuffle * LANE) == 0;
    s->conv.in = tsri_lanes(c->in);
    s->conv.out = tsri_lanes(c->out);
    s->conv.kernel = c->kernel;
    s->conv.stride = c->stride;
    return pack(net, s, c->weight, c->bias, c->in, c->out, fill);
}

/* The part of a step below its `post`: node x, by itself or inside. */
static tsr_error set_inner(tsri_net *net, tsri_step *s, int x, bool inner)
{
    const tsri_node *n = &net->node[x];

    if (inner && n->kind == TSRI_ACT && inside(net, n->in[0], TSRI_CONV)) {
        s->conv.act = n->act;
        x = n->in[0];
        n = &net->node[x];
    }
    if (inner && n->kind == TSRI_CONV) {
        set_source(net, s, n->in[0], false);
        return set_conv(net, s, &n->conv, 0);
    }
    s->src = x;
    if (inner)
        set_source(net, s, x, true);
    s->conv.in = s->conv.out = tsri_lanes(n->channels);
    s->conv.kernel = s->conv.stride = 1;
    return TSR_OK;
}

static bool can_be_inside(const tsri_net *net, int x)
{
    return inside(net, x, TSRI_CONV) || inside(net, x, TSRI_ACT) ||
           inside(net, x, TSRI_UNSHUFFLE) || inside(net, x, TSRI_UPSAMPLE) ||
           net->node[x].kind == TSRI_NORM;
}

/* Gamma and beta, filled up with zeros, and room for coefficients. */
static tsr_error set_statistics(tsri_net *net, tsri_step *s, int x)
{
    tsri_node *n = &net->node[x];
    const size_t lanes = (size_t)tsri_lanes(n->channels);

    s->work = TSRI_WORK_STATISTICS;
    s->src = n->in[0];
    s->conv.in = s->conv.out = (int)lanes;
    s->conv.kernel = s->conv.stride = 1;
    n->weights = tsri_calloc(net->ctx, 5 * lanes, sizeof *n->weights);
    if (!n->weights)
        return tsri_nomem(net->ctx);
    memcpy(n->weights, n->gamma, (size_t)n->channels * sizeof *n->weights);
    memcpy(n->weights + lanes, n->beta,
           (size_t)n->channels * sizeof *n->weights);
    return TSR_OK;
}

static tsr_error set_attention(tsri_step *s, const tsri_node *n)
{
    s->work = TSRI_WORK_ATTENTION;
    s->src = n->in[0];
    s->arg[0] = n->in[1];
    s->arg[1] = n->in[2];
    s->args = 2;
    s->conv.in = s->conv.out = tsri_lanes(n->channels);
    s->conv.kernel = s->conv.stride = 1;
    return TSR_OK;
}

static tsr_error set_gdn(tsri_net *net, tsri_step *s, const tsri_node *n)
{
    const tsri_conv c = { .in = n->channels, .out = n->channels, .kernel = 1,
                          .stride = 1, .weight = n->gamma, .bias = n->beta };
    s->post = n->inverse ? TSRI_POST_IGDN : TSRI_POST_GDN;
    s->pre = TSRI_PRE_SQUARE;
    s->conv.wide = true;
    s->src = s->arg[0] = n->in[0];
    s->args = 1;
    return set_conv(net, s, &c, 1);     /* fill: 0 / sqrt(1) stays 0 */
}

static tsr_error set_step(tsri_net *net, tsri_step *s, int x)
{
    const tsri_node *n = &net->node[x];
    int inner = x;

    *s = (tsri_step){ .dst = x, .unshuffle = 1, .upsample = 1, .shuffle = 1 };
    switch (n->kind) {
    case TSRI_STATISTICS:
        return set_statistics(net, s, x);
    case TSRI_ATTENTION:
        return set_attention(s, n);
    case TSRI_GDN:
        return set_gdn(net, s, n);
    case TSRI_ADD:
        inner = can_be_inside(net, n->in[1]) ? n->in[1] : n->in[0];
        s->arg[0] = inner == n->in[1] ? n->in[0] : n->in[1];
        s->args = 1;
        s->post = TSRI_POST_ADD;
        break;
    case TSRI_GATE:
        inner = n->in[2];
        s->arg[0] = n->in[0];
        s->arg[1] = n->in[1];
        s->args = 2;
        s->post = TSRI_POST_GATE;
        break;
    case TSRI_SHUFFLE:
        inner = n->in[0];
        s->shuffle = n->r;
        s->post = TSRI_POST_SHUFFLE;
        break;
    default:
        return set_inner(net, s, x, true);
    }
    return set_inner(net, s, inner, can_be_inside(net, inner));
}

/* From the output down: a node that some step reads becomes a step. */
static tsr_error make_steps(tsri_net *net, int output)
{
    bool *wanted = tsri_calloc(net->ctx, (size_t)net->nodes, sizeof *wanted);
    tsr_error error = wanted ? TSR_OK : tsri_nomem(net->ctx);

    if (wanted)
        wanted[output] = true;
    for (int x = output; x > 0 && !error; x--) {
        tsri_step *s = &net->step[net->steps];
        if (!wanted[x])
            continue;
        net->steps++;
        error = set_step(net, s, x);
        wanted[s->src] = true;
        if (s->norm)
            wanted[s->norm] = true;
        for (int k = 0; k < s->args; k++)
            wanted[s->arg[k]] = true;
    }
    tsri_free(net->ctx, wanted);
    for (int i = 0, j = net->steps - 1; i < j; i++, j--) {
        const tsri_step s = net->step[i];
        net->step[i] = net->step[j];
        net->step[j] = s;
    }
    return error;
}

/* Nodes are numbered in the order of their steps. */
static void find_cuts(tsri_net *net)
{
    int least = net->nodes;

    for (int i = net->steps - 1; i >= 0; i--) {
        tsri_step *s = &net->step[i];
        s->cut = s->work != TSRI_WORK_STATISTICS && least >= s->dst;
        least = tsri_min(least, s->src);
        for (int k = 0; k < s->args; k++)
            least = tsri_min(least, s->arg[k]);
    }
}

tsr_error tsri_net_finish(tsri_net *net, int output)
{
    const tsri_node *last = input(net, output);

    /* What other steps may hold is none of the caller's planes. */
    if (last && (last->kind == TSRI_INPUT || last->kind == TSRI_ATTENTION))
        output = tsri_net_act(net, output, TSRI_ACT_NONE);
    if (net->error)
        return net->error;
    net->step = tsri_calloc(net->ctx, (size_t)net->nodes, sizeof *net->step);
    net->place = tsri_calloc(net->ctx, (size_t)net->nodes, sizeof *net->place);
    net->held = tsri_calloc(net->ctx, (size_t)net->nodes, sizeof *net->held);
    if (!net->step || !net->place || !net->held)
        return net->error = tsri_nomem(net->ctx);
    count_uses(net, output);
    net->error = make_steps(net, output);
    find_cuts(net);
    net->output = output;
    return net->error;
}

int tsri_net_in_channels(const tsri_net *net)
{
    return net->node[0].channels;
}

int tsri_net_out_channels(const tsri_net *net)
{
    return net->node[net->output].channels;
}
