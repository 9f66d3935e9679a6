/* SPDX-License-Identifier: BSD-2-Clause */
/* A net of the graph runner and, beside it, a naive double-precision
 * interpreter of the same graph, which carries a bound of the float error with
 * every sample. */
#ifndef TSR_TESTS_NN_TWIN_H
#define TSR_TESTS_NN_TWIN_H
#include <math.h>
#include "tests/check.h"
#include "lib/nn/net.h"

enum { MAX_NODES = 64 };
static const double unit = 1.0 / (1 << 24);     /* half an ulp of 1 */

typedef struct plane {
    int channels, h, w;
    double *v, *e;          /* value, bound of |float result - value| */
} plane;

typedef struct twin_node {
    char kind;              /* i c a g s u + * */
    int in[3], channels, r;
    bool inverse;
    tsri_act act;
    tsri_conv conv;
    const float *beta, *gamma;
} twin_node;

/** A net and the same graph for the interpreter. */
typedef struct twin {
    tsri_net *net;
    check_rng rng;
    int nodes;
    twin_node node[MAX_NODES];
    float *weights[4 * MAX_NODES];
    int owned;
} twin;

static float *random_floats(twin *t, size_t n, float lo, float hi)
{
    float *p = malloc(n * sizeof *p);
    assert_non_null(p);
    for (size_t i = 0; i < n; i++)
        p[i] = lo + (hi - lo) * 0.5f * (check_float(&t->rng) + 1);
    t->weights[t->owned++] = p;
    return p;
}

static void twin_open(twin *t, tsr_context *ctx, int channels, uint64_t seed)
{
    *t = (twin){ .rng = { seed }, .nodes = 1 };
    t->node[0] = (twin_node){ .kind = 'i', .channels = channels };
    assert_int_equal(tsri_net_new(&t->net, ctx, channels), TSR_OK);
}

static void twin_close(twin *t)
{
    tsri_net_free(&t->net);
    assert_null(t->net);
    for (int i = 0; i < t->owned; i++)
        free(t->weights[i]);
}

static int twin_add(twin *t, int number, twin_node n)
{
    assert_int_equal(number, t->nodes);
    t->node[t->nodes] = n;
    return t->nodes++;
}

/** Weights that keep the variance of what goes through. */
static int conv(twin *t, int x, int out, int kernel, int stride, tsri_pad pad)
{
    const int in = t->node[x].channels, taps = in * kernel * kernel;
    const float a = sqrtf(3.0f / (float)taps);
    const tsri_conv c = { in, out, kernel, stride, pad,
                          random_floats(t, (size_t)(out * taps), -a, a),
                          out % 3 ? random_floats(t, (size_t)out, -1, 1) :
                                    NULL, TSRI_BOTH };
    return twin_add(t, tsri_net_conv(t->net, x, &c),
                    (twin_node){ .kind = 'c', .in = { x }, .channels = out,
                                 .conv = c });
}

static int act(twin *t, int x, tsri_act a)
{
    return twin_add(t, tsri_net_act(t->net, x, a),
                    (twin_node){ .kind = 'a', .in = { x },
                                 .channels = t->node[x].channels, .act = a });
}

static int gdn(twin *t, int x, bool inverse)
{
    const int c = t->node[x].channels;
    const float *beta = random_floats(t, (size_t)c, 0.5f, 1.5f);
    const float *gamma = random_floats(t, (size_t)(c * c), 0, 1 / (float)c);
    return twin_add(t, tsri_net_gdn(t->net, x, beta, gamma, inverse),
                    (twin_node){ .kind = 'g', .in = { x }, .channels = c,
                                 .beta = beta, .gamma = gamma,
                                 .inverse = inverse });
}

static int shuffle(twin *t, int x, int r)
{
    return twin_add(t, tsri_net_shuffle(t->net, x, r),
                    (twin_node){ .kind = 's', .in = { x },
                                 .channels = t->node[x].channels / (r * r),
                                 .r = r });
}

static int unshuffle(twin *t, int x, int r)
{
    return twin_add(t, tsri_net_unshuffle(t->net, x, r),
                    (twin_node){ .kind = 'u', .in = { x },
                                 .channels = t->node[x].channels * r * r,
                                 .r = r });
}

static int add(twin *t, int a, int b)
{
    return twin_add(t, tsri_net_add(t->net, a, b),
                    (twin_node){ .kind = '+', .in = { a, b },
                                 .channels = t->node[a].channels });
}

static int gate(twin *t, int skip, int value, int g)
{
    return twin_add(t, tsri_net_gate(t->net, skip, value, g),
                    (twin_node){ .kind = '*', .in = { skip, value, g },
                                 .channels = t->node[skip].channels });
}

static void finish(twin *t)
{
    assert_int_equal(tsri_net_finish(t->net, t->nodes - 1), TSR_OK);
    assert_int_equal(tsri_net_in_channels(t->net), t->node[0].channels);
    assert_int_equal(tsri_net_out_channels(t->net),
                     t->node[t->nodes - 1].channels);
}

/* The interpreter. */

static plane plane_new(int channels, int h, int w)
{
    plane p = { channels, h, w, NULL, NULL };
    const size_t n = (size_t)channels * (size_t)h * (size_t)w;
    p.v = calloc(n, sizeof *p.v);
    p.e = calloc(n, sizeof *p.e);
    assert_true(p.v && p.e);
    return p;
}

static size_t at(const plane *p, int c, int y, int x)
{
    return ((size_t)c * (size_t)p->h + (size_t)y) * (size_t)p->w + (size_t)x;
}

static int reflect(int i, int n)
{
    if (n == 1)
        return 0;
    return i < 0 ? -i : i >= n ? 2 * (n - 1) - i : i;
}

/* A sum of n products in float, in any order, is off by at most n + 1 half
 * ulps of the sum of their magnitudes (Higham, 2002, section 3.1). */
static void conv_sample(const tsri_conv *k, const plane *in, plane *out, int o,
                        int y, int x)
{
    double sum = k->bias ? k->bias[o] : 0, size = fabs(sum), error = 0;
    const int p = k->kernel / 2;

    for (int c = 0; c < k->in; c++)
        for (int i = 0; i < k->kernel * k->kernel; i++) {
            int sy = y * k->stride + i / k->kernel - p;
            int sx = x * k->stride + i % k->kernel - p;
            const double w = k->weight[(o * k->in + c) * k->kernel * k->kernel +
                                       i];
            if (k->pad == TSRI_PAD_REFLECT) {
                sy = reflect(sy, in->h);
                sx = reflect(sx, in->w);
            } else if (sy < 0 || sx < 0 || sy >= in->h || sx >= in->w) {
                continue;
            }
            sum += w * in->v[at(in, c, sy, sx)];
            size += fabs(w * in->v[at(in, c, sy, sx)]);
            error += fabs(w) * in->e[at(in, c, sy, sx)];
        }
    out->v[at(out, o, y, x)] = sum;
    out->e[at(out, o, y, x)] = error + (k->in * k->kernel * k->kernel + 2) *
                               unit * (size + error);
}

static plane eval_conv(const tsri_conv *k, const plane *in)
{
    plane out = plane_new(k->out, (in->h + k->stride - 1) / k->stride,
                          (in->w + k->stride - 1) / k->stride);
    for (int o = 0; o < k->out; o++)
        for (int y = 0; y < out.h; y++)
            for (int x = 0; x < out.w; x++)
                conv_sample(k, in, &out, o, y, x);
    return out;
}

/* exp is good to 4 ulp in every backend, 1 + exp, the division and the product
 * add half an ulp each; |silu'| <= 1.1. */
static plane eval_act(tsri_act a, const plane *in)
{
    plane out = plane_new(in->channels, in->h, in->w);
    for (size_t i = 0; i < at(in, in->channels, 0, 0); i++) {
        const double x = in->v[i], e = in->e[i];
        out.v[i] = a == TSRI_ACT_SILU ? x / (1 + exp(-x)) :
                   a == TSRI_ACT_RELU ? fmax(x, 0) : x;
        out.e[i] = a == TSRI_ACT_SILU ? 1.1 * e + 12 * unit * fabs(x) : e;
    }
    return out;
}

static plane eval_gdn(const twin_node *n, const plane *in)
{
    plane square = plane_new(in->channels, in->h, in->w);
    const tsri_conv c = { n->channels, n->channels, 1, 1, TSRI_PAD_ZERO,
                          n->gamma, n->beta, TSRI_BOTH };
    for (size_t i = 0; i < at(in, in->channels, 0, 0); i++) {
        const double x = fabs(in->v[i]), e = in->e[i];
        square.v[i] = x * x;
        square.e[i] = (2 * x + e) * e + unit * x * x;
    }
    plane out = eval_conv(&c, &square);
    for (size_t i = 0; i < at(in, in->channels, 0, 0); i++) {
        const double root = sqrt(out.v[i]), x = in->v[i];
        const double factor = n->inverse ? root : 1 / root;
        const double relative = out.e[i] / (out.v[i] - out.e[i]) + 3 * unit;
        out.v[i] = x * factor;
        out.e[i] = factor * (in->e[i] + (fabs(x) + in->e[i]) * relative);
    }
    free(square.v);
    free(square.e);
    return out;
}

static plane eval_shuffle(const twin_node *n, const plane *in)
{
    const int r = n->r;
    plane out = n->kind == 's' ? plane_new(n->channels, in->h * r, in->w * r) :
                                 plane_new(n->channels, in->h / r, in->w / r);
    const plane *big = n->kind == 's' ? &out : in;
    for (int c = 0; c < big->channels; c++)
        for (int y = 0; y < big->h; y++)
            for (int x = 0; x < big->w; x++) {
                const int deep = c * r * r + y % r * r + x % r;
                const size_t a = at(big, c, y, x);
                const size_t b = at(big == in ? &out : in, deep, y / r, x / r);
                out.v[big == in ? b : a] = in->v[big == in ? a : b];
                out.e[big == in ? b : a] = in->e[big == in ? a : b];
            }
    return out;
}

static plane eval_pointwise(const twin_node *n, const plane *all)
{
    const plane *a = &all[n->in[0]], *b = &all[n->in[1]], *c = &all[n->in[2]];
    plane out = plane_new(a->channels, a->h, a->w);
    for (size_t i = 0; i < at(a, a->channels, 0, 0); i++) {
        double v = b->v[i], e = b->e[i];
        if (n->kind == '*') {
            const double s = 1 / (1 + exp(-c->v[i]));
            e = e * s + (fabs(v) + e) * (0.25 * c->e[i] + 12 * unit);
            v *= s;
        }
        out.v[i] = a->v[i] + v;
        out.e[i] = a->e[i] + e + unit * (fabs(out.v[i]) + a->e[i] + e);
    }
    return out;
}

static plane eval_node(const twin_node *n, const plane *all)
{
    const plane *in = &all[n->in[0]];
    switch (n->kind) {
    case 'c': return eval_conv(&n->conv, in);
    case 'a': return eval_act(n->act, in);
    case 'g': return eval_gdn(n, in);
    case 's':
    case 'u': return eval_shuffle(n, in);
    default: return eval_pointwise(n, all);
    }
}

static plane eval(const twin *t, const float *x, int h, int w)
{
    plane all[MAX_NODES];
    all[0] = plane_new(t->node[0].channels, h, w);
    for (size_t i = 0; i < at(&all[0], t->node[0].channels, 0, 0); i++)
        all[0].v[i] = x[i];
    for (int i = 1; i < t->nodes; i++)
        all[i] = eval_node(&t->node[i], all);
    for (int i = 0; i < t->nodes - 1; i++) {
        free(all[i].v);
        free(all[i].e);
    }
    return all[t->nodes - 1];
}
#endif
