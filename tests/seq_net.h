/* SPDX-License-Identifier: BSD-2-Clause */
/* Random one-dimensional nets, declared node by node both to the runner and to
 * an evaluation of whole signals in double, by the definitions; and what comes
 * out of streams. */
#ifndef TSR_TESTS_SEQ_NET_H
#define TSR_TESTS_SEQ_NET_H
#include <math.h>
#include "tests/check.h"
#include "lib/nn/seq.h"

enum { GEN_NODES = 64, GEN_ARRAYS = 4 };

typedef enum gen_kind {
    GEN_INPUT, GEN_CONV, GEN_CONVTR, GEN_ACT, GEN_ADD, GEN_SCALE, GEN_LSTM,
    GEN_NORM, GEN_CROP
} gen_kind;

typedef struct gen_node {
    gen_kind kind;
    int a, b, channels;
    int up, down;               /* rate, not reduced */
    tsri_seq_conv conv;
    tsri_seq_convtr convtr;
    tsri_curve curve;
    float slope, scale;
    int groups;
    int front, back;            /* of CROP */
    float *array[GEN_ARRAYS];
} gen_node;

typedef struct gen_net {
    gen_node node[GEN_NODES];
    int nodes;
} gen_net;

/* [length][channels] */
typedef struct gen_signal {
    double *x;
    size_t length;
    int channels;
} gen_signal;

static inline float *gen_floats(check_rng *r, size_t n, float scale)
{
    float *p = malloc((n ? n : 1) * sizeof *p);
    for (size_t i = 0; i < n; i++)
        p[i] = scale * check_float(r);
    return p;
}

static inline void gen_free(gen_net *g)
{
    for (int i = 0; i < g->nodes; i++)
        for (int k = 0; k < GEN_ARRAYS; k++)
            free(g->node[i].array[k]);
    g->nodes = 0;
}

static inline int gen_append(gen_net *g, gen_node n)
{
    assert_true(g->nodes < GEN_NODES);
    g->node[g->nodes] = n;
    return g->nodes++;
}

static inline void gen_start(gen_net *g, int channels)
{
    g->nodes = 0;
    gen_append(g, (gen_node){ .kind = GEN_INPUT, .channels = channels, .up = 1,
                              .down = 1 });
}

/* A node like x, but of another kind. */
static inline gen_node gen_like(const gen_net *g, int x, gen_kind kind)
{
    const gen_node *from = &g->node[x];
    return (gen_node){ .kind = kind, .a = x, .b = x, .channels = from->channels,
                       .up = from->up, .down = from->down, .scale = 1 };
}

static inline int gen_conv(gen_net *g, check_rng *r, int x, tsri_seq_conv c)
{
    gen_node n = gen_like(g, x, GEN_CONV);
    const size_t fan = (size_t)n.channels * (size_t)c.taps;

    c.in = n.channels;
    n.channels = c.out;
    n.down *= c.stride;
    c.weight = n.array[0] = gen_floats(r, fan * (size_t)c.out,
                                       1.7f / sqrtf((float)fan));
    c.bias = n.array[1] = check_below(r, 4) ?
                          gen_floats(r, (size_t)c.out, 0.3f) : NULL;
    n.conv = c;
    return gen_append(g, n);
}

static inline int gen_convtr(gen_net *g, check_rng *r, int x, tsri_seq_convtr c)
{
    gen_node n = gen_like(g, x, GEN_CONVTR);
    const size_t fan = (size_t)n.channels * (size_t)c.taps;

    c.in = n.channels;
    n.channels = c.out;
    n.up *= c.stride;
    c.weight = n.array[0] = gen_floats(r, fan * (size_t)c.out, 1.7f /
                              sqrtf((float)fan / (float)c.stride));
    c.bias = n.array[1] = check_below(r, 4) ?
                          gen_floats(r, (size_t)c.out, 0.3f) : NULL;
    n.convtr = c;
    return gen_append(g, n);
}

static inline int gen_act(gen_net *g, check_rng *r, int x, tsri_curve curve)
{
    gen_node n = gen_like(g, x, GEN_ACT);
    n.curve = curve;
    n.slope = 0.1f;
    if (curve == TSRI_CURVE_SNAKE) {
        n.array[0] = gen_floats(r, (size_t)n.channels, 0.5f);
        for (int i = 0; i < n.channels; i++)
            n.array[0][i] += 1;
    }
    return gen_append(g, n);
}

static inline int gen_add(gen_net *g, int a, int b, float scale)
{
    gen_node n = gen_like(g, a, GEN_ADD);
    n.b = b;
    n.scale = scale;
    return gen_append(g, n);
}

static inline int gen_scale(gen_net *g, int x, float scale)
{
    gen_node n = gen_like(g, x, GEN_SCALE);
    n.scale = scale;
    return gen_append(g, n);
}

static inline int gen_lstm(gen_net *g, check_rng *r, int x, int hidden)
{
    gen_node n = gen_like(g, x, GEN_LSTM);
    const size_t in = (size_t)n.channels, h = (size_t)hidden;
    n.channels = hidden;
    n.array[0] = gen_floats(r, 4 * h * in, 1 / sqrtf((float)in));
    n.array[1] = gen_floats(r, 4 * h * h, 1 / sqrtf((float)h));
    n.array[2] = gen_floats(r, 4 * h, 0.5f);
    n.array[3] = gen_floats(r, 4 * h, 0.5f);
    return gen_append(g, n);
}

static inline int gen_norm(gen_net *g, check_rng *r, int x, int groups)
{
    gen_node n = gen_like(g, x, GEN_NORM);
    n.groups = groups;
    n.slope = 1e-2f;            /* eps */
    n.array[0] = gen_floats(r, (size_t)n.channels, 1);
    n.array[1] = gen_floats(r, (size_t)n.channels, 1);
    return gen_append(g, n);
}

static inline int gen_crop(gen_net *g, int x, int front, int back)
{
    gen_node n = gen_like(g, x, GEN_CROP);
    n.front = front;
    n.back = back;
    return gen_append(g, n);
}

static inline int gen_declare_node(tsri_seq *q, const gen_node *n)
{
    float *const *w = n->array;
    switch (n->kind) {
    case GEN_CONV: return tsri_seq_conv1d(q, n->a, &n->conv);
    case GEN_CONVTR: return tsri_seq_convtr1d(q, n->a, &n->convtr);
    case GEN_ACT: return tsri_seq_act(q, n->a, n->curve, n->slope, w[0]);
    case GEN_ADD: return tsri_seq_add(q, n->a, n->b, n->scale);
    case GEN_CROP: return tsri_seq_crop(q, n->a, n->front, n->back);
    case GEN_SCALE: return tsri_seq_scale(q, n->a, n->scale);
    case GEN_LSTM:
        return tsri_seq_lstm(q, n->a, n->channels, w[0], w[1], w[2], w[3]);
    case GEN_NORM:
        return tsri_seq_group_norm(q, n->a, n->groups, n->slope, w[0], w[1]);
    default: return 0;
    }
}

/** The net of which node `output` is the result. */
static inline tsri_seq *gen_declare(tsr_context *ctx, const gen_net *g,
                                    int output)
{
    tsri_seq *q;
    assert_int_equal(tsri_seq_new(&q, ctx, g->node[0].channels), TSR_OK);
    for (int i = 1; i < g->nodes; i++)
        assert_int_equal(gen_declare_node(q, &g->node[i]), i);
    assert_int_equal(tsri_seq_finish(q, output), TSR_OK);
    return q;
}

static inline gen_signal gen_signal_new(size_t length, int channels)
{
    return (gen_signal){ calloc(length * (size_t)channels + 1, sizeof(double)),
                         length, channels };
}

static inline double *gen_at(const gen_signal *s, size_t t)
{
    return s->x + t * (size_t)s->channels;
}

/* EnCodec's padding, in its own steps: lengthen, reflect, cut. */
static inline gen_signal gen_padded(const gen_signal *s, size_t left,
                                    size_t right, bool reflect, bool zero_start)
{
    const size_t most = left > right ? left : right;
    const size_t extra = reflect && s->length <= most ? most + 1 - s->length : 0;
    const size_t length = s->length + extra;
    const size_t row = (size_t)s->channels * sizeof(double);
    gen_signal p = gen_signal_new(left + length + right, s->channels);

    memcpy(gen_at(&p, left), s->x, s->length * row);
    for (size_t i = 1; i <= left && reflect && !zero_start; i++)
        memcpy(gen_at(&p, left - i), gen_at(&p, left + i), row);
    for (size_t i = 1; i <= right && reflect; i++)
        memcpy(gen_at(&p, left + length - 1 + i),
               gen_at(&p, left + length - 1 - i), row);
    p.length -= extra;
    return p;
}

static inline gen_signal gen_run_conv(const gen_node *n, const gen_signal *x,
                                      bool zero_start)
{
    const tsri_seq_conv *c = &n->conv;
    const int64_t reach = (int64_t)(c->taps - 1) * c->dilation + 1;
    const int64_t in = (int64_t)x->length;
    int64_t out, right = c->right;
    gen_signal p, y;

    if (!in)
        return gen_signal_new(0, c->out);
    out = (in + c->left + c->right - reach);
    out = out < 0 ? 0 : out / c->stride + 1;
    if (c->complete) {
        out = (in + c->stride - 1) / c->stride;
        right = (out - 1) * c->stride + reach - c->left - in;
        assert_true(right >= 0);
    }
    p = gen_padded(x, (size_t)c->left, (size_t)right,
                   c->pad == TSRI_SEQ_REFLECT, zero_start);
    y = gen_signal_new((size_t)out, c->out);
    for (int64_t t = 0; t < out; t++)
        for (int o = 0; o < c->out; o++) {
            double sum = c->bias ? c->bias[o] : 0;
            for (int i = 0; i < c->in; i++)
                for (int j = 0; j < c->taps; j++)
                    sum += c->weight[(o * c->in + i) * c->taps + j] *
                           gen_at(&p, (size_t)(t * c->stride +
                                               j * c->dilation))[i];
            gen_at(&y, (size_t)t)[o] = sum;
        }
    free(p.x);
    return y;
}

static inline gen_signal gen_run_convtr(const gen_node *n, const gen_signal *x)
{
    const tsri_seq_convtr *c = &n->convtr;
    const int64_t in = (int64_t)x->length;
    const int64_t kept = c->full && in ? (in - 1) * c->stride + c->taps
                                       : in * c->stride;
    gen_signal y = gen_signal_new((size_t)kept, c->out);

    for (int64_t t = 0; t < kept; t++)
        for (int o = 0; o < c->out; o++)
            gen_at(&y, (size_t)t)[o] = c->bias ? c->bias[o] : 0;
    for (int64_t s = 0; s < in; s++)
        for (int j = 0; j < c->taps; j++) {
            const int64_t t = s * c->stride + j - c->trim;
            for (int o = 0; o < c->out && t >= 0 && t < kept; o++)
                for (int i = 0; i < c->in; i++)
                    gen_at(&y, (size_t)t)[o] += gen_at(x, (size_t)s)[i] *
                        c->weight[(i * c->out + o) * c->taps + j];
        }
    return y;
}

static inline double gen_curve(const gen_node *n, double x, int channel)
{
    double a;
    switch (n->curve) {
    case TSRI_CURVE_ELU: return x >= 0 ? x : expm1(x);
    case TSRI_CURVE_LEAKY: return x >= 0 ? x : n->slope * x;
    case TSRI_CURVE_TANH: return tanh(x);
    case TSRI_CURVE_SNAKE:
        a = n->array[0][channel];
        return x + sin(a * x) * sin(a * x) / (a + 1e-9);
    default: return x;
    }
}

/* Activation, sum, scale. */
static inline gen_signal gen_run_each(const gen_node *n, const gen_signal *a,
                                      const gen_signal *b)
{
    gen_signal y = gen_signal_new(a->length < b->length ? a->length : b->length,
                                  n->channels);
    for (size_t t = 0; t < y.length; t++)
        for (int c = 0; c < n->channels; c++) {
            const double u = gen_at(a, t)[c], v = gen_at(b, t)[c];
            gen_at(&y, t)[c] = n->kind == GEN_ACT ? gen_curve(n, u, c) :
                               n->kind == GEN_ADD ? n->scale * (u + v) :
                                                    n->scale * u;
        }
    return y;
}

static inline gen_signal gen_run_lstm(const gen_node *n, const gen_signal *x)
{
    const int h = n->channels, in = x->channels;
    gen_signal y = gen_signal_new(x->length, h);
    double *state = calloc(6 * (size_t)h, sizeof *state);
    double *c = state + h, *gate = state + 2 * h;

    for (size_t t = 0; t < x->length; t++) {
        for (int g = 0; g < 4 * h; g++) {
            gate[g] = n->array[2][g] + n->array[3][g];
            for (int i = 0; i < in; i++)
                gate[g] += n->array[0][g * in + i] * gen_at(x, t)[i];
            for (int i = 0; i < h; i++)
                gate[g] += n->array[1][g * h + i] * state[i];
        }
        for (int i = 0; i < h; i++) {
            c[i] = c[i] / (1 + exp(-gate[h + i])) +
                   tanh(gate[2 * h + i]) / (1 + exp(-gate[i]));
            state[i] = tanh(c[i]) / (1 + exp(-gate[3 * h + i]));
        }
        memcpy(gen_at(&y, t), state, (size_t)h * sizeof *state);
    }
    free(state);
    return y;
}

static inline gen_signal gen_run_norm(const gen_node *n, const gen_signal *x)
{
    const int each = n->channels / n->groups;
    const double count = (double)x->length * each;
    gen_signal y = gen_signal_new(x->length, n->channels);

    for (int first = 0; first < n->channels; first += each) {
        double mean = 0, var = 0;
        for (size_t t = 0; t < x->length; t++)
            for (int c = first; c < first + each; c++)
                mean += gen_at(x, t)[c] / count;
        for (size_t t = 0; t < x->length; t++)
            for (int c = first; c < first + each; c++)
                var += pow(gen_at(x, t)[c] - mean, 2) / count;
        for (size_t t = 0; t < x->length; t++)
            for (int c = first; c < first + each; c++)
                gen_at(&y, t)[c] = (gen_at(x, t)[c] - mean) /
                                   sqrt(var + n->slope) * n->array[0][c] +
                                   n->array[1][c];
    }
    return y;
}

static inline gen_signal gen_run_crop(const gen_node *n, const gen_signal *x)
{
    const size_t front = (size_t)n->front, all = front + (size_t)n->back;
    gen_signal y = gen_signal_new(x->length > all ? x->length - all : 0,
                                  n->channels);
    if (y.length)
        memcpy(y.x, gen_at(x, front), y.length * (size_t)y.channels *
                                      sizeof *y.x);
    return y;
}

static inline gen_signal gen_run_node(const gen_node *n, const gen_signal *all,
                                      bool zero_start)
{
    switch (n->kind) {
    case GEN_CONV: return gen_run_conv(n, &all[n->a], zero_start);
    case GEN_CONVTR: return gen_run_convtr(n, &all[n->a]);
    case GEN_LSTM: return gen_run_lstm(n, &all[n->a]);
    case GEN_CROP: return gen_run_crop(n, &all[n->a]);
    case GEN_NORM: return gen_run_norm(n, &all[n->a]);
    default: return gen_run_each(n, &all[n->a], &all[n->b]);
    }
}

/** What node `output` makes of x: [length][channels]; free its x. */
static inline gen_signal gen_run(const gen_net *g, int output, const float *x,
                                 size_t length, bool zero_start)
{
    gen_signal all[GEN_NODES];

    all[0] = gen_signal_new(length, g->node[0].channels);
    for (size_t i = 0; i < length * (size_t)g->node[0].channels; i++)
        all[0].x[i] = x[i];
    for (int i = 1; i <= output; i++)
        all[i] = gen_run_node(&g->node[i], all, zero_start);
    for (int i = 0; i < output; i++)
        free(all[i].x);
    return all[output];
}

/* A residual block whose sum's inputs come with different delays. */
static inline int gen_residual(gen_net *g, check_rng *r, int x)
{
    const tsri_seq_pad pad = check_below(r, 2) ? TSRI_SEQ_REFLECT : TSRI_SEQ_ZERO;
    const int half = 1 + (int)check_below(r, 2);
    const int out = g->node[x].channels;
    int a = gen_act(g, r, x, TSRI_CURVE_ELU), b = x;

    a = gen_conv(g, r, a, (tsri_seq_conv){ .out = 1 + (int)check_below(r, 9),
                 .taps = 2 * half + 1, .stride = 1, .dilation = 2,
                 .left = 2 * half, .right = 2 * half, .pad = pad });
    a = gen_act(g, r, a, TSRI_CURVE_LEAKY);
    a = gen_conv(g, r, a, (tsri_seq_conv){ .out = out, .taps = 1, .stride = 1,
                                           .dilation = 1 });
    if (check_below(r, 2))
        b = gen_conv(g, r, b, (tsri_seq_conv){ .out = out, .taps = 1,
                                               .stride = 1, .dilation = 1 });
    return check_below(r, 2) ? gen_add(g, a, b, 1) :
                               gen_add(g, b, a, check_below(r, 2) ? 1 : 0.5f);
}

static inline int gen_random_conv(gen_net *g, check_rng *r, int x)
{
    tsri_seq_conv c = { .out = 1 + (int)check_below(r, 20),
                        .taps = 1 + (int)check_below(r, 6),
                        .stride = 1 + (int)check_below(r, 3),
                        .dilation = 1 + (int)check_below(r, 3),
                        .left = (int)check_below(r, 7),
                        .right = (int)check_below(r, 7),
                        .pad = check_below(r, 2) ? TSRI_SEQ_REFLECT :
                                                   TSRI_SEQ_ZERO };
    const int reach = (c.taps - 1) * c.dilation + 1;
    c.complete = check_below(r, 2) && reach >= c.stride;
    if (c.complete)
        c.left = (int)check_below(r, (uint32_t)(reach - c.stride) + 1);
    return gen_conv(g, r, x, c);
}

static inline int gen_random_convtr(gen_net *g, check_rng *r, int x)
{
    tsri_seq_convtr c = { .out = 1 + (int)check_below(r, 9),
                          .stride = 1 + (int)check_below(r, 4) };
    c.taps = c.stride + (int)check_below(r, 7);
    c.full = !check_below(r, 3);
    if (!c.full)
        c.trim = (int)check_below(r, (uint32_t)(c.taps - c.stride) + 1);
    return gen_convtr(g, r, x, c);
}

/* A sum of x with another node that fits it, or with itself. */
static inline int gen_random_add(gen_net *g, check_rng *r, int x)
{
    const gen_node *n = &g->node[x];
    int other = x;
    for (int i = 0; i < g->nodes; i++) {
        const gen_node *o = &g->node[i];
        if (o->channels == n->channels && o->up * n->down == n->up * o->down &&
            check_below(r, 2))
            other = i;
    }
    return gen_add(g, x, other, check_below(r, 2) ? 1 : -0.7f);
}

static inline int gen_random_node(gen_net *g, check_rng *r, int x, bool norm)
{
    const bool dense = g->node[x].up > 4 * g->node[x].down;
    switch (check_below(r, norm ? 12 : 11)) {
    case 0: case 1: case 2: return gen_random_conv(g, r, x);
    case 3: case 4:
        return dense ? gen_random_conv(g, r, x) : gen_random_convtr(g, r, x);
    case 5: return gen_act(g, r, x, (tsri_curve)check_below(r, 5));
    case 6: return gen_residual(g, r, x);
    case 7: return gen_random_add(g, r, x);
    case 8: return gen_scale(g, x, 0.8f);
    case 9: return gen_crop(g, x, (int)check_below(r, 5),
                            (int)check_below(r, 5));
    case 10: return gen_lstm(g, r, x, 1 + (int)check_below(r, 9));
    default: return gen_norm(g, r, x, g->node[x].channels % 2 ? 1 : 2);
    }
}

/** A net of 1 to `most` random parts; returns its output. */
static inline int gen_random(gen_net *g, check_rng *r, int most, bool norm)
{
    const int parts = 1 + (int)check_below(r, (uint32_t)most);
    int x = 0;

    gen_start(g, 1 + (int)check_below(r, 3));
    for (int i = 0; i < parts && g->nodes < GEN_NODES - 8; i++) {
        if (!check_below(r, 5))
            x = (int)check_below(r, (uint32_t)g->nodes);
        x = gen_random_node(g, r, x, norm);
    }
    return x;
}

/* SEANet as EnCodec has it, narrow: encoder and decoder in one. */
static inline int gen_seanet(gen_net *g, check_rng *r, int width, bool causal)
{
    static const int strides[] = { 2, 4, 5 };
    tsri_seq_conv k7 = { .out = width, .taps = 7, .stride = 1, .dilation = 1,
                         .left = causal ? 6 : 3, .complete = true,
                         .pad = TSRI_SEQ_REFLECT };
    tsri_seq_conv k3 = k7, k1 = k7;
    int x, a;

    k3.taps = 3;
    k3.left = causal ? 2 : 1;
    k1.taps = 1;
    k1.left = 0;
    gen_start(g, 1);
    x = gen_conv(g, r, 0, k7);
    for (int i = 0; i < 3; i++, width *= 2) {
        const int s = strides[i], left = causal ? s : s - s / 2;
        k3.out = width / 2;
        k1.out = width;
        a = gen_conv(g, r, gen_act(g, r, x, TSRI_CURVE_ELU), k3);
        a = gen_conv(g, r, gen_act(g, r, a, TSRI_CURVE_ELU), k1);
        x = gen_add(g, gen_conv(g, r, x, k1), a, 1);
        x = gen_conv(g, r, gen_act(g, r, x, TSRI_CURVE_ELU),
                     (tsri_seq_conv){ .out = 2 * width, .taps = 2 * s,
                                      .stride = s, .dilation = 1, .left = left,
                                      .complete = true,
                                      .pad = TSRI_SEQ_REFLECT });
    }
    x = gen_add(g, gen_lstm(g, r, x, width), x, 1);
    x = gen_conv(g, r, gen_act(g, r, x, TSRI_CURVE_ELU), k7);
    for (int i = 2; i >= 0; i--) {
        width /= 2;
        x = gen_convtr(g, r, gen_act(g, r, x, TSRI_CURVE_ELU),
                       (tsri_seq_convtr){ .out = width, .taps = 2 * strides[i],
                                          .stride = strides[i],
                                          .trim = causal ? 0 :
                                              (strides[i] + 1) / 2 });
    }
    k7.out = 1;
    return gen_conv(g, r, gen_act(g, r, x, TSRI_CURVE_ELU), k7);
}

/* What has come out of a stream. */
typedef struct output {
    float *y;
    size_t n, room, channels;
} output;

static inline void drain(tsri_seq_stream *s, output *o, size_t most)
{
    const size_t ready = tsri_seq_ready(s), k = ready < most ? ready : most;

    if (o->n + k > o->room) {
        o->room = 2 * (o->n + k);
        o->y = realloc(o->y, o->room * o->channels * sizeof *o->y);
    }
    assert_int_equal(tsri_seq_take(s, o->y ? o->y + o->n * o->channels : NULL,
                                   most), k);
    o->n += k;
}

static inline output output_new(const tsri_seq *q)
{
    return (output){ .channels = (size_t)tsri_seq_out_channels(q) };
}

static inline output run_whole(tsr_context *ctx, const tsri_seq *q,
                               const float *x, size_t n, bool zero_start)
{
    tsri_seq_stream *s;
    output o = output_new(q);

    assert_int_equal(tsri_seq_open(&s, q, ctx, zero_start), TSR_OK);
    assert_int_equal(tsri_seq_push(s, x, n, false, true), TSR_OK);
    drain(s, &o, SIZE_MAX);
    tsri_seq_close(&s);
    return o;
}

static inline void same(const output *a, const output *b)
{
    assert_int_equal(a->n, b->n);
    assert_int_equal(a->channels, b->channels);
    if (a->n)
        assert_memory_equal(a->y, b->y, a->n * a->channels * sizeof *a->y);
}
#endif
