/* SPDX-License-Identifier: BSD-2-Clause */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "tools/kv/calibrate.h"
#include "tools/kv/linear.h"
#include "tools/say.h"

/* Of the regression of values on embeddings of norm sqrt(hidden). */
static const double ridge = 30;

static int no_memory(void)
{
    return say_error(RC_MACHINE, NULL, "out of memory");
}

static float half_at(const uint8_t *halves, size_t i)
{
    const int bits = halves[2 * i] | halves[2 * i + 1] << 8;
    const int e = bits >> 10 & 31, f = bits & 1023;
    const float v = e ? ldexpf((float)(f | 1024), e - 25)
                      : ldexpf((float)f, -24);
    return bits & 0x8000 ? -v : v;
}

int cal_features(const calibration *c)
{
    return c->predictors * c->hidden + 1;
}

/* Features of the tokens of one cache that count, row by row. */
static void features(const calibration *c, const cache *in, float *out)
{
    const size_t n = (size_t)cal_features(c), h = (size_t)c->hidden;
    for (size_t t = (size_t)c->sinks; t < in->view.tokens; t++, out += n) {
        memset(out, 0, n * sizeof *out);
        out[n - 1] = 1;
        for (size_t j = 0; j < (size_t)c->predictors && j <= t; j++) {
            const int32_t id = in->ids[t - j];
            if (id < 0 || id >= c->vocabulary)
                continue;
            for (size_t i = 0; i < h; i++)
                out[j * h + i] = half_at(c->embedding, (size_t)id * h + i);
        }
    }
}

static size_t rows_of(const calibration *c, const cache *in)
{
    const size_t sinks = (size_t)c->sinks;
    return in->view.tokens > sinks ? in->view.tokens - sinks : 0;
}

static size_t most_rows(const calibration *c)
{
    size_t most = 0;
    for (int i = 0; i < c->count; i++)
        if (rows_of(c, &c->in[i]) > most)
            most = rows_of(c, &c->in[i]);
    return most;
}

static int open_features(calibration *c)
{
    const int n = cal_features(c);
    const size_t square = (size_t)n * (size_t)n;
    float *f = malloc(most_rows(c) * (size_t)n * sizeof *f + 1);
    float *work = malloc(square * sizeof *work);

    c->gram = calloc(square, sizeof *c->gram);
    if (!f || !work || !c->gram) {
        free(f);
        free(work);
        return no_memory();
    }
    for (int i = 0; i < c->count; i++) {
        features(c, &c->in[i], f);
        linear_cross(f, n, f, n, rows_of(c, &c->in[i]), c->gram, work);
    }
    for (int i = 0; i < n - 1; i++)
        c->gram[(size_t)i * (size_t)n + (size_t)i] += ridge;
    c->gram[square - 1] += 1e-6;
    free(f);
    free(work);
    return RC_OK;
}

int cal_matches(const calibration *c)
{
    return c->reference ? CAL_MATCHES : 1;
}

/* References to the token before or an anchor, docs/kv-format.md 5.5; those
 * that are sinks say nothing. */
static void refer_back(const calibration *c, size_t n, int32_t *ref,
                       uint8_t *cls)
{
    for (size_t t = 0; t < n; t++) {
        const size_t back = c->reference == 1 ? 1 : t % (size_t)c->anchor;
        const int good = back && t >= back && t - back >= (size_t)c->sinks;
        ref[t] = good ? (int32_t)(t - back) : -1;
        cls[t] = (uint8_t)good;
    }
}

static int open_references(calibration *c)
{
    c->ref = calloc((size_t)c->count, sizeof *c->ref);
    c->cls = calloc((size_t)c->count, sizeof *c->cls);
    if (!c->ref || !c->cls)
        return no_memory();
    for (int i = 0; i < c->count; i++) {
        const size_t n = c->in[i].view.tokens;
        c->ref[i] = malloc(n * sizeof *c->ref[i] + 1);
        c->cls[i] = malloc(n + 1);
        if (!c->ref[i] || !c->cls[i])
            return no_memory();
        tsr_error error = TSR_OK;
        if (c->reference == 3)
            error = tsr_kv_matches(c->ctx, c->in[i].ids, n, (size_t)c->sinks,
                                   c->ref[i], c->cls[i]);
        else
            refer_back(c, n, c->ref[i], c->cls[i]);
        if (error)
            return say_failure(c->in[i].name, error);
    }
    return RC_OK;
}

int cal_open(calibration *c)
{
    int rc = RC_OK;
    for (int i = 0; i < c->count; i++) {
        c->rows += rows_of(c, &c->in[i]);
        if ((c->predictors || c->reference == 3) && !c->in[i].ids)
            return say_error(RC_INPUT, c->in[i].name, "has no token_ids, which"
                             " -predict and -match need");
    }
    if (c->rows < 64)
        return say_error(RC_INPUT, NULL, "%zu tokens are too few to calibrate;"
                         " some thousands are wanted", c->rows);
    if (c->predictors)
        rc = open_features(c);
    return rc || !c->reference ? rc : open_references(c);
}

void cal_close(calibration *c)
{
    for (int i = 0; i < c->count; i++) {
        if (c->ref)
            free(c->ref[i]);
        if (c->cls)
            free(c->cls[i]);
    }
    free(c->ref);
    free(c->cls);
    free(c->gram);
}

/* What a group is learnt from. */
typedef struct work {
    const calibration *c;
    cal_group *g;
    size_t n;
    float *x;               /* rows x n: values, then what is not predicted */
    float *f;               /* features of one cache */
    float *turn;            /* n x n floats, and scratch of linear_cross() */
    double *covariance, *metric, *a, *b, *w;
} work;

static int load(work *w)
{
    const calibration *c = w->c;
    const tsr_kv_shape *s = &c->in[0].shape;
    float *plane = malloc((most_rows(c) + (size_t)c->sinks) * 16384 *
                          sizeof *plane);
    size_t row = 0;
    int rc = plane ? RC_OK : no_memory();

    for (int i = 0; !rc && i < c->count; i++) {
        const cache *in = &c->in[i];
        size_t at = 0;
        for (int k = 0; !rc && k < w->g->layers * s->planes; k++) {
            const int p = k % s->planes;
            const size_t width = (size_t)s->heads[p] * (size_t)s->dim[p];
            const tsr_error error =
                tsr_kv_values(c->ctx, s, &in->rope, &in->view,
                              w->g->first_layer + k / s->planes, p, in->pos0,
                              plane);
            if (error)
                rc = say_failure_as(RC_INPUT, in->name, error);
            for (size_t t = 0; !rc && t < rows_of(c, in); t++)
                memcpy(w->x + (row + t) * w->n + at,
                       plane + (t + (size_t)c->sinks) * width,
                       width * sizeof *plane);
            at += width;
        }
        row += rows_of(c, in);
    }
    free(plane);
    return rc;
}

static int centre(work *w)
{
    double *sum = calloc(w->n, sizeof *sum);
    if (!sum)
        return no_memory();
    for (size_t r = 0; r < w->c->rows; r++)
        for (size_t i = 0; i < w->n; i++)
            sum[i] += w->x[r * w->n + i];
    for (size_t i = 0; i < w->n; i++)
        w->g->mean[i] = (float)(sum[i] / (double)w->c->rows);
    for (size_t r = 0; r < w->c->rows; r++)
        for (size_t i = 0; i < w->n; i++)
            w->x[r * w->n + i] -= w->g->mean[i];
    free(sum);
    return RC_OK;
}

/* Regression of the values on features; x becomes what is left. */
static int predict(work *w)
{
    const calibration *c = w->c;
    const int f = cal_features(c), n = (int)w->n;
    const size_t size = (size_t)f * w->n;
    double *gram = malloc((size_t)f * (size_t)f * sizeof *gram);
    double *sums = calloc(size, sizeof *sums);
    float *weights = malloc(size * sizeof *weights);
    size_t row = 0;
    int rc = RC_OK;

    w->g->predict = weights;
    w->f = malloc(most_rows(c) * (size_t)f * sizeof *w->f + 1);
    if (!gram || !sums || !weights || !w->f)
        rc = no_memory();
    for (int i = 0; !rc && i < c->count; i++) {
        features(c, &c->in[i], w->f);
        linear_cross(w->f, f, w->x + row * w->n, n, rows_of(c, &c->in[i]),
                     sums, weights);
        row += rows_of(c, &c->in[i]);
    }
    if (!rc) {
        memcpy(gram, c->gram, (size_t)f * (size_t)f * sizeof *gram);
        if (linear_solve(gram, f, sums, n))
            rc = say_error(RC_INPUT, NULL, "the embeddings do not span a"
                           " regression");
    }
    for (size_t i = 0; !rc && i < size; i++)
        weights[i] = (float)sums[i];
    row = 0;
    for (int i = 0; !rc && i < c->count; i++) {
        features(c, &c->in[i], w->f);
        linear_product(w->f, rows_of(c, &c->in[i]), f, weights, n, -1, 1,
                       w->x + row * w->n);
        row += rows_of(c, &c->in[i]);
    }
    free(gram);
    free(sums);
    return rc;
}

/* a = v^T diag(values^power) v for eigenvectors v in rows. */
static void power_of(const double *v, const double *values, int n, double power,
                     double *scaled, double *a)
{
    const double least = values[n - 1] * 1e-9;
    for (int i = 0; i < n; i++) {
        const double f = pow(values[i] > least ? values[i] : least, power);
        for (int j = 0; j < n; j++)
            scaled[(size_t)i * (size_t)n + (size_t)j] =
                f * v[(size_t)i * (size_t)n + (size_t)j];
    }
    linear_multiply(v, scaled, n, n, n, 1, a);
}

/* Root h of the metric and its inverse; both the identity where none is. */
static int roots(work *w, double *h, double *inverse)
{
    const int n = (int)w->n;
    /* Of Fisher's matrix the power 3/4 is the better metric: large errors in
     * keys draw attention to far tokens, which gradients do not see. */
    const double power = w->c->metric == CAL_FISHER ? 0.375 : 0.5;

    if (!w->metric) {
        memset(h, 0, w->n * w->n * sizeof *h);
        for (size_t i = 0; i < w->n; i++)
            h[i * w->n + i] = 1;
        memcpy(inverse, h, w->n * w->n * sizeof *h);
        return RC_OK;
    }
    if (linear_eigen(w->metric, n, w->w) || !(w->w[n - 1] > 0))
        return say_error(RC_INPUT, NULL, "the statistics of layer %d are no"
                         " metric", w->g->first_layer);
    power_of(w->metric, w->w, n, power, w->a, h);
    power_of(w->metric, w->w, n, -power, w->a, inverse);
    return RC_OK;
}

/* Eigenvectors of h C h, largest first, become forward and inverse. */
static int transform(work *w)
{
    const size_t n = w->n, square = n * n;
    const double step = w->c->step;
    double *h = malloc(2 * square * sizeof *h), *inverse = h + square;
    int rc = h ? roots(w, h, inverse) : no_memory();

    if (!rc) {
        linear_multiply(w->covariance, h, (int)n, (int)n, (int)n, 0, w->a);
        linear_multiply(h, w->a, (int)n, (int)n, (int)n, 0, w->b);
        if (linear_eigen(w->b, (int)n, w->w))
            rc = say_error(RC_INPUT, NULL, "layer %d has no principal"
                           " components", w->g->first_layer);
    }
    if (!rc) {
        linear_multiply(w->b, h, (int)n, (int)n, (int)n, 0, w->a);
        for (size_t i = 0; i < square; i++)
            w->g->forward[i] = (float)(w->a[(n - 1 - i / n) * n + i % n] / step);
        linear_multiply(w->b, inverse, (int)n, (int)n, (int)n, 0, w->a);
        for (size_t i = 0; i < square; i++)
            w->g->inverse[i] = (float)(w->a[(n - 1 - i / n) * n + i % n] * step);
    }
    free(h);
    return rc;
}

/* Coefficients of all tokens take the place of the values. */
static int project(work *w)
{
    const size_t n = w->n;
    float *z = malloc(w->c->rows * n * sizeof *z);

    if (!z)
        return no_memory();
    for (size_t i = 0; i < n * n; i++)
        w->turn[i % n * n + i / n] = w->g->forward[i];
    linear_product(w->x, w->c->rows, (int)n, w->turn, (int)n, 1, 0, z);
    free(w->x);
    w->x = z;
    return RC_OK;
}

/* Leaves the first coefficients, those of a mean magnitude of `keep` steps. */
static void cut(work *w, double keep)
{
    const size_t n = w->n, rows = w->c->rows;
    size_t live = 0;
    double all = 0;

    for (size_t i = 0; i < n; i++) {
        double sum = 0;
        for (size_t r = 0; r < rows; r++)
            sum += fabsf(w->x[r * n + i]);
        all += sum;
        if (sum / (double)rows >= keep)
            live = i + 1;
    }
    live = live ? live : 1;
    w->g->magnitude = all / (double)rows / (double)n;
    w->g->r = (int)live;
    for (size_t r = 0; r < rows; r++)
        memmove(w->x + r * live, w->x + r * n, live * sizeof *w->x);
}

static int learn(work *w, double keep)
{
    const calibration *c = w->c;
    int rc = load(w);

    if (!rc)
        rc = centre(w);
    if (!rc && c->predictors)
        rc = predict(w);
    if (!rc) {
        linear_cross(w->x, (int)w->n, w->x, (int)w->n, c->rows, w->covariance,
                     w->turn);
        for (size_t i = 0; i < w->n * w->n; i++)
            w->covariance[i] /= (double)c->rows;
        rc = cal_metric_open(c, w->g->first_layer, w->g->layers, (int)w->n,
                             &w->metric);
    }
    if (!rc)
        rc = transform(w);
    if (!rc)
        rc = project(w);
    if (rc)
        return rc;
    cut(w, keep);
    return cal_references(c, w->x, w->g);
}

static int group_width(const calibration *c, int layers)
{
    const tsr_kv_shape *s = &c->in[0].shape;
    int n = 0;
    for (int p = 0; p < s->planes; p++)
        n += s->heads[p] * s->dim[p];
    return n * layers;
}

int cal_group_learn(const calibration *c, int first_layer, int layers,
                    double keep, cal_group *g)
{
    const size_t n = (size_t)group_width(c, layers), square = n * n;
    work w = { .c = c, .g = g, .n = n };
    int rc = RC_OK;

    memset(g, 0, sizeof *g);
    g->first_layer = first_layer;
    g->layers = layers;
    g->n = (int)n;
    g->mean = malloc(n * sizeof *g->mean);
    g->forward = malloc(square * sizeof *g->forward);
    g->inverse = malloc(square * sizeof *g->inverse);
    w.x = malloc(c->rows * n * sizeof *w.x);
    w.turn = malloc(square * sizeof *w.turn);
    w.covariance = calloc(square, sizeof *w.covariance);
    w.a = malloc(square * sizeof *w.a);
    w.b = malloc(square * sizeof *w.b);
    w.w = malloc(n * sizeof *w.w);
    if (!g->mean || !g->forward || !g->inverse || !w.x || !w.turn ||
        !w.covariance || !w.a || !w.b || !w.w)
        rc = no_memory();
    rc = rc ? rc : learn(&w, keep);
    free(w.x);
    free(w.f);
    free(w.turn);
    free(w.covariance);
    free(w.metric);
    free(w.a);
    free(w.b);
    free(w.w);
    if (rc)
        cal_group_free(g);
    return rc;
}

void cal_group_free(cal_group *g)
{
    free(g->mean);
    free(g->forward);
    free(g->inverse);
    free(g->predict);
    free(g->cls);
    free(g->rho);
    memset(g, 0, sizeof *g);
}
