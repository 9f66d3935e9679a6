/* SPDX-License-Identifier: BSD-2-Clause */
/* Every set of kernels against double precision, and against itself: pieces of
 * any size must give the same bits. */
#include <float.h>
#include <limits.h>
#include <math.h>
#include "tests/check.h"
#include "tests/poor.h"
#include "lib/nn/seq_kernels.h"
#include "lib/weights.h"

typedef const tsri_seq_kernels set;

static float *floats(check_rng *rng, size_t n, float scale)
{
    float *p = malloc((n ? n : 1) * sizeof *p);
    assert_non_null(p);
    for (size_t i = 0; i < n; i++)
        p[i] = check_float(rng) * scale;
    return p;
}

static void same(const float *a, const float *b, size_t n)
{
    assert_memory_equal(a, b, n * sizeof *a);
}

/* Runs a test with each set of this build and machine. */
static void each(void (*test)(tsr_context *, set *))
{
    tsr_context *ctx = check_context("c", 1);
    test(ctx, tsri_seq_kernels_plain());
    if (tsri_seq_kernels_pick(ctx->cpu) != tsri_seq_kernels_plain())
        test(ctx, tsri_seq_kernels_pick(ctx->cpu));
    tsr_context_close(&ctx);
}

/* A layer, its weights as trained, and a signal for n outputs whose memory ends
 * with the last input that may be read. */
typedef struct layer {
    tsri_conv1d conv;
    float *weight, *bias, *x, *add, *y;
    int n;
    size_t xrow, yrow;
} layer;

static layer make(tsr_context *ctx, check_rng *rng, int in, int out, int taps,
                  int stride, int dilation, int n)
{
    layer l = { .n = n, .xrow = (size_t)in, .yrow = (size_t)out };
    const size_t samples = (size_t)((n - 1) * stride + (taps - 1) * dilation + 1);

    l.weight = floats(rng, (size_t)(in * out * taps), 1);
    l.bias = floats(rng, (size_t)out, 1);
    l.x = floats(rng, samples * l.xrow, 1);
    l.add = floats(rng, (size_t)n * l.yrow, 1);
    l.y = floats(rng, (size_t)n * l.yrow, 1);
    assert_int_equal(tsri_conv1d_open(&l.conv, ctx, in, out, taps, stride, dilation,
                                      l.weight, l.bias), TSR_OK);
    return l;
}

static void drop(tsr_context *ctx, layer *l)
{
    tsri_conv1d_close(&l->conv, ctx);
    free(l->weight);
    free(l->bias);
    free(l->x);
    free(l->add);
    free(l->y);
}

/* The definition; *most: what no rounding can exceed by much. */
static double naive(const layer *l, int t, int o, double *most)
{
    const tsri_conv1d *c = &l->conv;
    double sum = l->bias[o];

    *most = fabs(sum);
    for (int j = 0; j < c->taps; j++)
        for (int i = 0; i < c->in; i++) {
            const double term = (double)l->weight[(o * c->in + i) * c->taps + j] *
                l->x[(size_t)(t * c->stride + j * c->dilation) * l->xrow +
                     (size_t)i];
            sum += term;
            *most += fabs(term);
        }
    return sum;
}

static void against_double(const layer *l, set *k)
{
    const tsri_conv1d *c = &l->conv;
    const double terms = c->taps * c->in + 2;

    k->conv1d(c, l->x, l->xrow, l->n, 0, tsri_conv1d_panels(c), NULL, l->y, l->yrow);
    for (int t = 0; t < l->n; t++)
        for (int o = 0; o < c->out; o++) {
            double most;
            const double right = naive(l, t, o, &most);
            assert_true(fabs(l->y[(size_t)t * l->yrow + (size_t)o] - right) <=
                        terms * most * FLT_EPSILON / 2);
        }
}

/* Random pieces of time, panels in any order, roomier rows, `add` in place. */
static void pieces(check_rng *rng, const layer *l, set *k)
{
    const tsri_conv1d *c = &l->conv;
    const int panels = tsri_conv1d_panels(c);
    const size_t samples = (size_t)((l->n - 1) * c->stride +
                                    (c->taps - 1) * c->dilation + 1);
    const size_t xrow = l->xrow + check_below(rng, 3), yrow = l->yrow + 3;
    const size_t size = (size_t)l->n * yrow;
    float *x = floats(rng, samples * xrow, 1), *y = floats(rng, size, 1);

    for (size_t t = 0; t < samples; t++)
        memcpy(x + t * xrow, l->x + t * l->xrow, l->xrow * sizeof *x);
    for (int t = 0; t < l->n; t++) {
        memcpy(y + (size_t)t * yrow, l->add + (size_t)t * l->yrow,
               l->yrow * sizeof *y);
        for (size_t o = l->yrow; o < yrow; o++)
            y[(size_t)t * yrow + o] = -7;
    }
    k->conv1d(c, l->x, l->xrow, l->n, 0, panels, l->add, l->y, l->yrow);
    for (int p = panels, p0; p > 0; p = p0) {
        p0 = p - 1 - (int)check_below(rng, (uint32_t)p);
        for (int t = 0, n; t < l->n; t += n) {
            n = 1 + (int)check_below(rng, (uint32_t)tsri_min(l->n - t, 40));
            k->conv1d(c, x + (size_t)(t * c->stride) * xrow, xrow, n, p0, p,
                      y + (size_t)t * yrow, y + (size_t)t * yrow, yrow);
        }
    }
    for (int t = 0; t < l->n; t++) {
        same(y + (size_t)t * yrow, l->y + (size_t)t * l->yrow, l->yrow);
        for (size_t o = l->yrow; o < yrow; o++)
            assert_true(y[(size_t)t * yrow + o] == -7);
    }
    free(x);
    free(y);
}

static void conv_sizes(tsr_context *ctx, set *k)
{
    static const int some[] = { 1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 32, 33, 48, 70 };
    enum { SOME = sizeof some / sizeof *some };
    check_rng rng = { 5 };

    for (int i = 0; i < 300; i++) {
        const int in = some[check_below(&rng, SOME)], out = some[check_below(&rng, SOME)];
        const int taps = 1 + (int)check_below(&rng, 11);
        const int stride = 1 + (int)check_below(&rng, 4);
        const int dilation = 1 + (int)check_below(&rng, 5);
        layer l = make(ctx, &rng, in, out, taps, stride, dilation,
                       1 + (int)check_below(&rng, 30));
        against_double(&l, k);
        pieces(&rng, &l, k);
        drop(ctx, &l);
    }
}

static void conv_large(tsr_context *ctx, set *k)
{
    static const int sizes[][6] = { /* in, out, taps, stride, dilation, n */
        { 1, 32, 7, 1, 1, 500 },    { 32, 1, 7, 1, 1, 500 },
        { 32, 2, 7, 1, 1, 300 },    { 32, 16, 3, 1, 1, 400 },
        { 256, 512, 16, 8, 1, 7 },  { 1024, 40, 2, 1, 1, 13 },
        { 512, 32, 7, 1, 1, 110 },  { 128, 128, 11, 1, 5, 40 },
        { 700, 20, 3, 2, 3, 21 },   { 5000, 3, 1, 1, 1, 5 },
        { 5000, 17, 1, 1, 1, 9 },
    };
    check_rng rng = { 6 };

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const int *s = sizes[i];
        layer l = make(ctx, &rng, s[0], s[1], s[2], s[3], s[4], s[5]);
        against_double(&l, k);
        pieces(&rng, &l, k);
        drop(ctx, &l);
    }
}

/* A NaN reaches the outputs that read it and no others. */
static void conv_nan(tsr_context *ctx, set *k)
{
    check_rng rng = { 7 };

    for (int out = 1; out < 40; out += 19) {
        layer l = make(ctx, &rng, 5, out, 3, 2, 2, 33);
        l.x[20 * 5 + 4] = NAN;
        k->conv1d(&l.conv, l.x, l.xrow, l.n, 0, tsri_conv1d_panels(&l.conv), NULL,
                  l.y, l.yrow);
        for (int t = 0; t < l.n; t++)
            for (int o = 0; o < out; o++)
                assert_int_equal(!!isnan(l.y[t * out + o]),
                                 t >= 8 && t <= 10);
        drop(ctx, &l);
    }
}

static void test_conv(void **state)
{
    (void)state;
    each(conv_sizes);
    each(conv_large);
    each(conv_nan);
}

/* Without a bias it is 0. */
static void test_conv_bias(void **state)
{
    tsr_context *ctx = check_context("c", 1);
    const float weight[2] = { 3, -2 }, x[2] = { 5, 7 };
    tsri_conv1d conv;
    float y = 1;
    (void)state;
    assert_int_equal(tsri_conv1d_open(&conv, ctx, 1, 1, 2, 1, 1, weight, NULL),
                     TSR_OK);
    tsri_conv1d_plain(&conv, x, 1, 1, 0, 1, NULL, &y, 1);
    assert_true(y == 1);
    tsri_conv1d_close(&conv, ctx);
    tsr_context_close(&ctx);
}

typedef struct cell {
    tsri_lstm lstm;
    float *wi, *wh, *bi, *bh;
} cell;

/* bits: 11 for recurrent weights that are halves, 24 for some that are not. */
static cell make_cell(tsr_context *ctx, check_rng *rng, int in, int hidden, int bits)
{
    const size_t h = (size_t)hidden;
    const float scale = 3 / sqrtf((float)hidden);
    cell c = { .wi = floats(rng, 4 * h * (size_t)in, 1),
               .wh = floats(rng, 4 * h * h, scale),
               .bi = floats(rng, 4 * h, 1), .bh = floats(rng, 4 * h, 1) };
    if (bits == 11)
        for (size_t i = 0; i < 4 * h * h; i++) {
            int e;
            frexpf(c.wh[i], &e);
            e = tsri_max(e, -13) - 11;
            c.wh[i] = i % 9 ? ldexpf(truncf(ldexpf(c.wh[i], -e)), e) :
                      ldexpf(truncf(c.wh[i] * 1000), -24); /* subnormal, 0 */
        }
    assert_int_equal(tsri_lstm_open(&c.lstm, ctx, in, hidden, c.wi, c.wh, c.bi, c.bh),
                     TSR_OK);
    assert_int_equal(!c.lstm.packed, bits == 11 && ctx->cpu & TSR_CPU_AVX2);
    assert_int_equal(!c.lstm.half, !!c.lstm.packed);
    return c;
}

/* What is no half must not become one. */
static void test_lstm_halves(void **state)
{
    static const float none[] = { 65520, 65536, 1e30f, 1 + 0x1p-11f, 0x1p-25f,
                                  0x1.8p-24f, 0x1.002p-14f, NAN, INFINITY };
    static const float some[] = { 65504, -65504, 1 + 0x1p-10f, 0x1p-24f, -0x1p-24f,
                                  0x1.004p-14f, 0x1.ff8p-15f, 0, -0.f };
    const float zero[4] = { 0 };
    tsr_context *ctx = check_context("c", 1);
    (void)state;
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        float wh[4] = { 1, -1, none[i], 0 };
        tsri_lstm l;
        assert_int_equal(tsri_lstm_open(&l, ctx, 1, 1, zero, wh, zero, zero), TSR_OK);
        assert_non_null(l.packed);
        tsri_lstm_close(&l, ctx);
        wh[2] = some[i];
        assert_int_equal(tsri_lstm_open(&l, ctx, 1, 1, zero, wh, zero, zero), TSR_OK);
        assert_int_equal(!!l.half, ctx->cpu & TSR_CPU_AVX2);
        if (l.half)
            assert_true(tsri_half_to_float(l.half[2 * TSRI_LSTM_UNITS]) == some[i]);
        tsri_lstm_close(&l, ctx);
    }
    tsr_context_close(&ctx);
}

static void drop_cell(tsr_context *ctx, cell *c)
{
    tsri_lstm_close(&c->lstm, ctx);
    free(c->wi);
    free(c->wh);
    free(c->bi);
    free(c->bh);
}

static double logistic(double x)
{
    return 1 / (1 + exp(-x));
}

/* One step in double from the state as it stands. */
static void step(const cell *c, const float *x, const float *state, double *h,
                 double *next)
{
    const int hidden = c->lstm.hidden, in = c->lstm.in;

    for (int u = 0; u < hidden; u++) {
        double g[4];
        for (int i = 0; i < 4; i++) {
            const int row = i * hidden + u;
            g[i] = (double)c->bi[row] + c->bh[row];
            for (int k = 0; k < in; k++)
                g[i] += (double)c->wi[row * in + k] * x[k];
            for (int k = 0; k < hidden; k++)
                g[i] += (double)c->wh[row * hidden + k] * state[k];
        }
        next[u] = logistic(g[1]) * state[hidden + u] + logistic(g[0]) * tanh(g[2]);
        h[u] = logistic(g[3]) * tanh(next[u]);
    }
}

static void lstm_one(tsr_context *ctx, set *k, check_rng *rng, int in, int hidden,
                     int n, int bits)
{
    const size_t h = (size_t)hidden, row = h + 2;
    cell c = make_cell(ctx, rng, in, hidden, bits);
    float *x = floats(rng, (size_t)(n * in), 2), *state = floats(rng, 2 * h, 1);
    float *whole = floats(rng, 2 * h, 1), *gates = floats(rng, 4 * h * (size_t)n, 0);
    float *y = floats(rng, (size_t)n * row, 1), *y2 = floats(rng, (size_t)n * h, 1);
    double *right = malloc(2 * h * sizeof *right);

    assert_non_null(right);
    memcpy(whole, state, 2 * h * sizeof *state);
    k->conv1d(&c.lstm.input, x, (size_t)in, n, 0, tsri_conv1d_panels(&c.lstm.input),
              NULL, gates, 4 * h);
    for (int t = 0; t < n; t++) {
        step(&c, x + t * in, state, right, right + h);
        k->lstm(&c.lstm, gates + 4 * h * (size_t)t, 1, state, y + (size_t)t * row,
                row);
        for (size_t u = 0; u < h; u++) {
            assert_true(fabs(state[u] - right[u]) < 1e-6 * (4 + in / 8.));
            assert_true(fabs(state[h + u] - right[h + u]) < 2e-6 * (4 + in / 8.));
        }
        same(y + (size_t)t * row, state, h);
    }
    k->lstm(&c.lstm, gates, n, whole, y2, h);
    for (int t = 0; t < n; t++)
        same(y + (size_t)t * row, y2 + (size_t)t * h, h);
    same(whole, state, 2 * h);
    free(x); free(state); free(whole); free(gates); free(y); free(y2); free(right);
    drop_cell(ctx, &c);
}

static void lstm_sizes(tsr_context *ctx, set *k)
{
    static const int hidden[] = { 1, 2, 7, 8, 9, 16, 17, 23, 24, 25, 33, 40, 64, 129 };
    check_rng rng = { 8 };

    for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++)
        for (int bits = 11; bits <= 24; bits += 13)
            lstm_one(ctx, k, &rng, 1 + (int)check_below(&rng, 20), hidden[i], 12,
                     bits);
}

/* Gates far out: sigmoid and tanh must saturate, not overflow. */
static void lstm_extreme(tsr_context *ctx, set *k)
{
    static const float far[] = { 0, -0.f, 20, -20, 90, -90, 1e30f, -1e30f,
                                 INFINITY, -INFINITY };
    enum { FAR = sizeof far / sizeof *far };
    const float zero[64] = { 0 };
    tsri_lstm l;

    assert_int_equal(tsri_lstm_open(&l, ctx, 1, 3, zero, zero, zero, zero), TSR_OK);
    for (int i = 0; i < FAR * FAR; i++) {
        const float a = far[i / FAR], b = far[i % FAR];
        const float gates[12] = { a, b, 1, b, a, 2, b, 1, a, a, b, b };
        float state[6] = { 0, 0, 0, 1, -2, 3 }, y[3];
        k->lstm(&l, gates, 1, state, y, 3);
        for (int u = 0; u < 3; u++) {
            const double c = logistic(gates[3 + u]) * (u == 0 ? 1 : u == 1 ? -2 : 3) +
                             logistic(gates[u]) * tanh(gates[6 + u]);
            assert_true(fabs(state[3 + u] - c) < 1e-6);
            assert_true(fabs(y[u] - logistic(gates[9 + u]) * tanh(c)) < 1e-6);
        }
    }
    tsri_lstm_close(&l, ctx);
}

/* The network recovers from nothing: a NaN stays in the state. */
static void lstm_nan(tsr_context *ctx, set *k)
{
    check_rng rng = { 9 };
    cell c = make_cell(ctx, &rng, 2, 9, 24);
    float gates[36] = { 0 }, state[18] = { 0 }, y[9];

    gates[9 + 4] = NAN;
    k->lstm(&c.lstm, gates, 1, state, y, 9);
    for (int u = 0; u < 9; u++)
        assert_int_equal(!!isnan(y[u]), u == 4);
    drop_cell(ctx, &c);
}

static void test_lstm(void **state)
{
    (void)state;
    each(lstm_sizes);
    each(lstm_extreme);
    each(lstm_nan);
}

static double curve_right(tsri_curve curve, double x, float slope, float alpha)
{
    const double s = sin(alpha * x);
    switch (curve) {
    case TSRI_CURVE_ELU: return x >= 0 ? x : expm1(x);
    case TSRI_CURVE_LEAKY: return x >= 0 ? x : slope * x;
    case TSRI_CURVE_SNAKE: return x + s * s / (alpha + 1e-9);
    case TSRI_CURVE_TANH: return tanh(x);
    default: return x;
    }
}

static double ulp(double x)
{
    const float f = fabsf((float)x);
    return nextafterf(f, INFINITY) - (double)f;
}

static void curve_check(set *k, tsri_curve curve, const float *x, const float *alpha,
                        size_t n, int c)
{
    float *y = malloc(n * (size_t)c * sizeof *y);

    assert_non_null(y);
    k->curve(curve, 0.1f, alpha, x, n, c, y);
    for (size_t i = 0; i < n * (size_t)c; i++) {
        const float a = alpha ? alpha[i % (size_t)c] : 0;
        const double right = curve_right(curve, x[i], 0.1f, a);
        if (isnan(right))
            assert_true(isnan(y[i]));
        else if (isinf(right))
            assert_true(y[i] == right);
        else if (!(fabs(y[i] - right) <= fmax(4 * ulp(right), 1e-7)))
            fail_msg("%s: curve %d of %.9g (%g) is %.9g, not %.9g", k->name, curve,
                     x[i], a, y[i], right);
    }
    free(y);
}

static void curve_sweep(tsr_context *ctx, set *k)
{
    enum { C = 13, N = 4000 };
    static float x[C * N], alpha[C];
    check_rng rng = { 10 };

    (void)ctx;
    for (int c = 0; c < C; c++)
        alpha[c] = (float)pow(10, c / 3. - 2) * (c % 5 == 4 ? -1 : 1);
    for (tsri_curve curve = TSRI_CURVE_NONE; curve <= TSRI_CURVE_TANH; curve++)
        for (int part = 0; part < 4; part++) {
            const double width[] = { 120, 12, 1, 1e-3 };
            for (int i = 0; i < C * N; i++)
                x[i] = (float)((2. * i / (C * N - 1) - 1) * width[part]);
            curve_check(k, curve, x, alpha, N, C);
        }
    for (int i = 0; i < C * N; i++) { /* any bits at all */
        const uint32_t bits = check_u32(&rng);
        memcpy(x + i, &bits, sizeof bits);
    }
    for (tsri_curve curve = TSRI_CURVE_NONE; curve <= TSRI_CURVE_TANH; curve++)
        curve_check(k, curve, x, alpha, N, C);
    for (int i = 0; i < C * N; i++)
        x[i] = (float)ldexp(check_float(&rng), (int)check_below(&rng, 60) - 30);
    curve_check(k, TSRI_CURVE_SNAKE, x, alpha, N, C);
}

static void curve_special(tsr_context *ctx, set *k)
{
    static const float x[] = { 0, -0.f, INFINITY, -INFINITY, NAN, 1e-45f, -1e-45f,
                               FLT_MIN, -FLT_MIN, FLT_MAX, -FLT_MAX, 87.3f, -87.3f,
                               88.8f, -88.8f, -103.9f, -104.1f, 1e-20f, -1e-20f };
    enum { N = sizeof x / sizeof *x };
    const float alpha[1] = { 1 };
    float y[N];

    (void)ctx;
    for (tsri_curve curve = TSRI_CURVE_NONE; curve <= TSRI_CURVE_TANH; curve++) {
        curve_check(k, curve, x, alpha, N, 1);
        k->curve(curve, 0.1f, alpha, x, N, 1, y);
        assert_true(y[0] == 0 && y[1] == 0);
        assert_true(isnan(y[4]));
    }
}

/* In place, in pieces: the same bits. */
static void curve_pieces(tsr_context *ctx, set *k)
{
    enum { N = 67 };
    check_rng rng = { 12 };

    (void)ctx;
    for (tsri_curve curve = TSRI_CURVE_NONE; curve <= TSRI_CURVE_TANH; curve++)
        for (int c = 1; c < 40; c += 3) {
            const size_t size = (size_t)(N * c);
            float *x = floats(&rng, size, 5), *y = floats(&rng, size, 1);
            float *alpha = floats(&rng, (size_t)c, 1);
            x[size / 2] = NAN;
            k->curve(curve, 0.2f, alpha, x, N, c, y);
            for (int t = 0, n; t < N; t += n) {
                n = 1 + (int)check_below(&rng, (uint32_t)tsri_min(N - t, 9));
                k->curve(curve, 0.2f, alpha, x + t * c, (size_t)n, c, x + t * c);
            }
            same(x, y, size);
            free(x);
            free(y);
            free(alpha);
        }
}

static void test_curve(void **state)
{
    (void)state;
    each(curve_sweep);
    each(curve_special);
    each(curve_pieces);
}

static void test_weight_norm(void **state)
{
    float v[9] = { 3, 0, 4, 0, 0, 0, 1e-30f, 0, 0 };
    const float g[3] = { 10, 2, -3 };
    (void)state;
    tsri_weight_norm(v, g, 3, 3);
    assert_true(v[0] == 6 && v[1] == 0 && v[2] == 8);
    assert_true(v[3] == 0 && v[4] == 0 && v[5] == 0);
    assert_true(v[6] == -3);
}

static void test_nomem(void **state)
{
    tsr_context *ctx = poor_context("c", 1);
    const int held = poor_held;
    check_rng rng = { 13 };
    float *weights = floats(&rng, 4 * 9 * 9, 1);
    tsri_lstm l;
    (void)state;
    for (int allowed = 0; allowed < 3; allowed++) {
        poor_left = allowed;
        assert_int_equal(tsri_lstm_open(&l, ctx, 9, 9, weights, weights, weights,
                                        weights), TSR_E_NOMEM);
        assert_int_equal(poor_held, held);
    }
    poor_left = 3;
    assert_int_equal(tsri_lstm_open(&l, ctx, 9, 9, weights, weights, weights, weights),
                     TSR_OK);
    tsri_lstm_close(&l, ctx);
    tsri_lstm_close(&l, ctx);
    assert_int_equal(poor_held, held);
    tsr_context_close(&ctx);
    free(weights);
}

/* Sizes whose product does not fit: refused before the weights are read. */
static void test_huge(void **state)
{
    tsr_context *ctx;
    tsri_conv1d conv;
    const float one = 1;
    (void)state;
    assert_int_equal(tsr_context_open(&ctx, NULL), TSR_OK);
    assert_int_equal(tsri_conv1d_open(&conv, ctx, INT_MAX, INT_MAX, INT_MAX, 1, 1,
                                      &one, NULL), TSR_E_NOMEM);
    tsr_context_close(&ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conv),
        cmocka_unit_test(test_conv_bias),
        cmocka_unit_test(test_lstm),
        cmocka_unit_test(test_lstm_halves),
        cmocka_unit_test(test_curve),
        cmocka_unit_test(test_weight_norm),
        cmocka_unit_test(test_nomem),
        cmocka_unit_test(test_huge),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
