/* SPDX-License-Identifier: BSD-2-Clause */
/* A net of the graph runner whose nodes are computed in double precision, by
 * the plainest loops, while it is built. */
#ifndef TSR_TESTS_NN_PAIR_H
#define TSR_TESTS_NN_PAIR_H
#include <math.h>
#include "tests/check.h"
#include "lib/nn/net_internal.h"

enum { PAIR_NODES = 256 };

typedef struct pair_map { int c, h, w; double *v; } pair_map;

typedef struct pair {
    tsri_net *net;
    check_rng rng;
    int exact;                  /* positions of an attention that is exact */
    int every;                  /* attention of the others is not computed */
    float *input;
    uint64_t asked;             /* samples of the source */
    pair_map map[PAIR_NODES];   /* v is NULL where there is no such node */
    float *weights[PAIR_NODES];
    int owned;
} pair;

static pair_map pair_new(int c, int h, int w)
{
    pair_map m = { c, h, w, calloc((size_t)c * (size_t)h * (size_t)w,
                                   sizeof(double)) };
    assert_non_null(m.v);
    return m;
}

static double *pair_at(const pair_map *m, int c, int y, int x)
{
    return m->v + ((size_t)c * (size_t)m->h + (size_t)y) * (size_t)m->w +
           (size_t)x;
}

static size_t pair_count(const pair_map *m)
{
    return (size_t)m->c * (size_t)m->h * (size_t)m->w;
}

/** Input samples: mean + deviation * (-1..1). */
static void pair_open(pair *t, tsr_context *ctx, int c, int h, int w,
                      uint64_t seed, float mean, float deviation)
{
    *t = (pair){ .rng = { seed }, .exact = TSRI_ATTENTION_EXACT,
                 .every = 1 };
    t->map[0] = pair_new(c, h, w);
    t->input = malloc(pair_count(&t->map[0]) * sizeof *t->input);
    assert_non_null(t->input);
    for (size_t i = 0; i < pair_count(&t->map[0]); i++) {
        t->input[i] = mean + deviation * check_float(&t->rng);
        t->map[0].v[i] = t->input[i];
    }
    assert_int_equal(tsri_net_new(&t->net, ctx, c), TSR_OK);
}

static void pair_close(pair *t)
{
    tsri_net_free(&t->net);
    for (int i = 0; i < t->owned; i++)
        free(t->weights[i]);
    for (int i = 0; i < PAIR_NODES; i++)
        free(t->map[i].v);
    free(t->input);
}

static float *pair_floats(pair *t, int n, float lo, float hi)
{
    float *p = malloc((size_t)n * sizeof *p);
    assert_non_null(p);
    assert_true(t->owned < PAIR_NODES);
    for (int i = 0; i < n; i++)
        p[i] = lo + (hi - lo) * 0.5f * (check_float(&t->rng) + 1);
    t->weights[t->owned++] = p;
    return p;
}

static int pair_add(pair *t, int node, pair_map m)
{
    assert_true(node > 0 && node < PAIR_NODES);
    t->map[node] = m;
    return node;
}

/* Adds what weight i gives. */
static void pair_tap(const pair_map *in, const pair_map *m, const tsri_conv *c,
                     int i, int pad)
{
    const int k = c->kernel, s = c->stride;
    const int dy = i / k % k - pad, dx = i % k - pad;

    for (int y = 0; y < m->h; y++) {
        double *to = pair_at(m, i / (k * k * c->in), y, 0);
        if (y * s + dy < 0 || y * s + dy >= in->h)
            continue;
        const double *from = pair_at(in, i / (k * k) % c->in, y * s + dy, 0);
        for (int x = 0; x < m->w; x++)
            if (x * s + dx >= 0 && x * s + dx < in->w)
                to[x] += c->weight[i] * from[x * s + dx];
    }
}

static int pair_conv(pair *t, int x, int out, int kernel, int stride,
                     tsri_side side)
{
    const pair_map *in = &t->map[x];
    const int taps = in->c * kernel * kernel;
    const float a = sqrtf(3.0f / (float)taps);
    const tsri_conv c = { in->c, out, kernel, stride, TSRI_PAD_ZERO,
                          pair_floats(t, out * taps, -a, a),
                          pair_floats(t, out, -0.3f, 0.3f), side };
    const int pad = side == TSRI_END ? 0 : kernel / 2;
    pair_map m = pair_new(out, (in->h + stride - 1) / stride,
                          (in->w + stride - 1) / stride);
    for (int i = 0; i < out * m.h * m.w; i++)
        m.v[i] = c.bias[i / (m.h * m.w)];
    for (int i = 0; i < out * taps; i++)
        pair_tap(in, &m, &c, i, pad);
    return pair_add(t, tsri_net_conv(t->net, x, &c), m);
}

static int pair_act(pair *t, int x, tsri_act act)
{
    const pair_map *in = &t->map[x];
    pair_map m = pair_new(in->c, in->h, in->w);
    for (size_t i = 0; i < pair_count(&m); i++)
        m.v[i] = act == TSRI_ACT_SILU ? in->v[i] / (1 + exp(-in->v[i])) :
                 act == TSRI_ACT_RELU ? fmax(in->v[i], 0) : in->v[i];
    return pair_add(t, tsri_net_act(t->net, x, act), m);
}

static int pair_sum(pair *t, int a, int b)
{
    pair_map m = pair_new(t->map[a].c, t->map[a].h, t->map[a].w);
    for (size_t i = 0; i < pair_count(&m); i++)
        m.v[i] = t->map[a].v[i] + t->map[b].v[i];
    return pair_add(t, tsri_net_add(t->net, a, b), m);
}

static int pair_upsample(pair *t, int x)
{
    const pair_map *in = &t->map[x];
    pair_map m = pair_new(in->c, 2 * in->h, 2 * in->w);
    for (int c = 0; c < m.c; c++)
        for (int y = 0; y < m.h; y++)
            for (int k = 0; k < m.w; k++)
                *pair_at(&m, c, y, k) = *pair_at(in, c, y / 2, k / 2);
    return pair_add(t, tsri_net_upsample(t->net, x), m);
}

static int pair_norm(pair *t, int x, int groups)
{
    const pair_map *in = &t->map[x];
    const tsri_norm n = { groups, 1e-6f, pair_floats(t, in->c, 0.5f, 1.5f),
                          pair_floats(t, in->c, -0.5f, 0.5f) };
    const size_t plane = (size_t)in->h * (size_t)in->w;
    const size_t size = plane * (size_t)(in->c / groups);
    pair_map m = pair_new(in->c, in->h, in->w);
    for (int g = 0; g < groups; g++) {
        const double *p = in->v + (size_t)g * size;
        double mean = 0, squares = 0;
        for (size_t i = 0; i < size; i++)
            mean += p[i] / (double)size;
        for (size_t i = 0; i < size; i++)
            squares += (p[i] - mean) * (p[i] - mean);
        for (size_t i = 0; i < size; i++) {
            const int c = g * in->c / groups + (int)(i / plane);
            m.v[(size_t)g * size + i] = (p[i] - mean) /
                sqrt(squares / (double)size + (double)n.eps) * n.gamma[c] +
                n.beta[c];
        }
    }
    return pair_add(t, tsri_net_norm(t->net, x, &n), m);
}

/* Where the windows of net.h begin for a query at `at`. */
static int pair_window(int at, int n)
{
    const int first = at / 32 * 32 - 48, last = ((n + 15) / 16 - 8) * 16;
    return first < 0 || last < 0 ? 0 : first < last ? first : last;
}

static void pair_attend(const pair_map *q, const pair_map *k, const pair_map *v,
                        bool windowed, pair_map *m, int y, int x)
{
    const int y0 = windowed ? pair_window(y, q->h) : 0;
    const int x0 = windowed ? pair_window(x, q->w) : 0;
    const int y1 = windowed && y0 + 128 < q->h ? y0 + 128 : q->h;
    const int x1 = windowed && x0 + 128 < q->w ? x0 + 128 : q->w;
    double most = -INFINITY, total = 0;
    for (int pass = 0; pass < 2; pass++)
        for (int i = y0; i < y1; i++)
            for (int j = x0; j < x1; j++) {
                double dot = 0, weight;
                for (int c = 0; c < q->c; c++)
                    dot += *pair_at(q, c, y, x) * *pair_at(k, c, i, j);
                dot /= sqrt(q->c);
                most = pass ? most : fmax(most, dot);
                weight = exp(dot - most);
                total += pass ? weight : 0;
                for (int c = 0; c < q->c && pass; c++)
                    *pair_at(m, c, y, x) += weight * *pair_at(v, c, i, j);
            }
    for (int c = 0; c < q->c; c++)
        *pair_at(m, c, y, x) /= total;
}

static int pair_attention(pair *t, int q, int k, int v)
{
    const pair_map *a = &t->map[q];
    pair_map m = pair_new(a->c, a->h, a->w);
    for (int y = 0; y < a->h; y++)
        for (int x = 0; x < a->w; x++)
            if ((y * a->w + x) % t->every == 0)
                pair_attend(a, &t->map[k], &t->map[v],
                            a->h * a->w > t->exact, &m, y, x);
            else
                for (int c = 0; c < a->c; c++)
                    *pair_at(&m, c, y, x) = NAN;
    return pair_add(t, tsri_net_attention(t->net, q, k, v), m);
}

/* ---- running ---- */

static tsr_error pair_source(void *cookie, tsri_rect r, tsri_fmap *dst)
{
    pair *t = cookie;
    const pair_map *m = &t->map[0];

    t->asked += (uint64_t)((r.y1 - r.y0) * (r.x1 - r.x0));
    assert_int_equal(dst->channels, m->c);
    assert_true(r.y0 >= 0 && r.x0 >= 0 && r.y1 <= m->h && r.x1 <= m->w);
    for (int c = 0; c < m->c; c++)
        for (int y = r.y0; y < r.y1; y++)
            memcpy(dst->data + (size_t)c * dst->plane +
                   (size_t)(y - r.y0) * dst->row,
                   t->input + (pair_at(m, c, y, r.x0) - m->v),
                   (size_t)(r.x1 - r.x0) * sizeof *dst->data);
    return TSR_OK;
}

/** calls: of the sink. */
typedef struct pair_out { pair_map shape; float *v; int calls; } pair_out;

static tsr_error pair_sink(void *cookie, tsri_rect r, const tsri_fmap *src)
{
    pair_out *o = cookie;
    for (int c = 0; c < o->shape.c; c++)
        for (int y = r.y0; y < r.y1; y++)
            memcpy(o->v + ((size_t)c * (size_t)o->shape.h + (size_t)y) *
                   (size_t)o->shape.w + (size_t)r.x0,
                   src->data + (size_t)c * src->plane +
                   (size_t)(y - r.y0) * src->row,
                   (size_t)(r.x1 - r.x0) * sizeof *src->data);
    o->calls++;
    return TSR_OK;
}

/** Declares `output` the result. */
static void pair_finish(pair *t, int output)
{
    assert_int_equal(tsri_net_finish(t->net, output), TSR_OK);
    t->net->exact = t->exact;
}

/** The result in tiles; v to be freed. */
static pair_out pair_run(pair *t, uint64_t budget, int align)
{
    pair_out o = { t->map[t->net->output], NULL, 0 };
    o.v = calloc(pair_count(&o.shape), sizeof *o.v);
    assert_non_null(o.v);
    assert_int_equal(tsri_net_run_tiled(t->net, t->map[0].h, t->map[0].w,
                                        budget, align, pair_source, t,
                                        pair_sink, &o), TSR_OK);
    return o;
}

/** Every sample that was computed within `most` times the greatest magnitude. */
static inline void pair_check(const pair *t, const pair_out *got, double most)
{
    const pair_map *want = &t->map[t->net->output];
    double size = 0;
    for (size_t i = 0; i < pair_count(want); i++)
        size = fmax(size, fabs(want->v[i]));
    for (size_t i = 0; i < pair_count(want); i++)
        if (!isnan(want->v[i]) &&
            !(fabs(got->v[i] - want->v[i]) <= most * size))
            fail_msg("sample %zu of %d x %d x %d: %.9g, not %.9g", i, want->c,
                     want->h, want->w, got->v[i], want->v[i]);
}
#endif
