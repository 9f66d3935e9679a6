/* SPDX-License-Identifier: BSD-2-Clause */
#include <math.h>
#include <string.h>
#include "lib/nn/exp.h"
#include "lib/nn/ivdep.h"
#include "lib/nn/plane.h"
#include "lib/pool.h"

enum { STRIP = TSRI_PLANE_STRIP, HEAD = TSRI_PLANE_HEAD, LANES = 8,
       PANEL = TSRI_CONV1D_PANEL, ALIGN = 16 };

static size_t round_up(size_t n, size_t step)
{
    return (n + step - 1) / step * step;
}

tsr_error tsri_plane_open(tsri_plane_runner *run, tsr_context *ctx, int channels,
                          int positions)
{
    const size_t threads = (size_t)tsri_pool_threads(ctx->pool);
    const size_t keys = round_up((size_t)positions, PANEL);
    const size_t gathered = (size_t)STRIP * 9 * (size_t)channels;
    const size_t attention = (STRIP + 2 * HEAD) * keys;

    *run = (tsri_plane_runner){ .ctx = ctx,
                                .kernels = tsri_seq_kernels_pick(ctx->cpu) };
    run->each = round_up(gathered > attention ? gathered : attention, ALIGN);
    run->scratch = tsri_alloc(ctx, threads * run->each, sizeof *run->scratch);
    run->zero = tsri_calloc(ctx, keys + PANEL, sizeof *run->zero);
    if (run->scratch && run->zero)
        return TSR_OK;
    tsri_plane_close(run);
    return tsri_nomem(ctx);
}

void tsri_plane_close(tsri_plane_runner *run)
{
    if (!run->ctx)
        return;
    tsri_free(run->ctx, run->scratch);
    tsri_free(run->ctx, run->zero);
    *run = (tsri_plane_runner){ 0 };
}

/* ---- convolutions ---- */

tsr_error tsri_plane_conv_open(tsri_plane_conv *conv, tsr_context *ctx, int in,
                               int out, int kernel, const float *weight,
                               const float *bias)
{
    const int taps = kernel * kernel;

    *conv = (tsri_plane_conv){ .kernel = kernel, .stride = 1 };
    /* The samples of a position stand one behind another, so outputs are as many
     * samples apart as they have taps. */
    return tsri_conv1d_open(&conv->layer, ctx, in, out, taps, taps, 1, weight,
                            bias);
}

void tsri_plane_conv_close(tsri_plane_conv *conv, tsr_context *ctx)
{
    tsri_conv1d_close(&conv->layer, ctx);
}

void tsri_plane_conv_size(const tsri_plane_conv *conv, int *height, int *width)
{
    *height = tsri_ceil_div(*height << conv->twice, conv->stride);
    *width = tsri_ceil_div(*width << conv->twice, conv->stride);
}

/* One layer at work. */
typedef struct job {
    const tsri_plane_runner *run;
    const tsri_plane_conv *conv;
    const tsri_conv1d *layer;
    const float *x, *add;
    size_t xrow;
    int height, width;          /* of x */
    int across, n;              /* of y: its width, its positions */
    float *y;
    int shares;                 /* parts of the outputs, for threads beyond strips */
} job;

/* The samples around position (row, column) of y, zeros outside the plane. */
static void gather_one(const job *j, int row, int column, float *to)
{
    const int twice = j->conv->twice, stride = j->conv->stride;
    const size_t c = (size_t)j->layer->in;

    for (int dy = -1; dy <= 1; dy++)
        for (int dx = -1; dx <= 1; dx++, to += c) {
            const int y = row * stride + dy, x = column * stride + dx;
            if (y < 0 || x < 0 || y >= j->height << twice ||
                x >= j->width << twice)
                memset(to, 0, c * sizeof *to);
            else
                memcpy(to, j->x + ((size_t)(y >> twice) * (size_t)j->width +
                                   (size_t)(x >> twice)) * c, c * sizeof *to);
        }
}

static tsr_error run_strip(void *cookie, int part, int worker)
{
    const job *j = cookie;
    const int strip = part / j->shares, share = part % j->shares;
    const int panels = tsri_conv1d_panels(j->layer);
    const int from = panels * share / j->shares;
    const int end = panels * (share + 1) / j->shares;
    const int first = strip * STRIP, n = tsri_min(STRIP, j->n - first);
    const size_t out = (size_t)j->layer->out;
    const float *x = j->x + (size_t)first * j->xrow;
    size_t xrow = j->xrow;

    if (j->conv && j->conv->kernel == 3) {
        float *to = j->run->scratch + (size_t)worker * j->run->each;
        xrow = (size_t)j->layer->in;
        x = to;
        for (int i = first; i < first + n; i++, to += 9 * xrow)
            gather_one(j, i / j->across, i % j->across, to);
    }
    j->run->kernels->conv1d(j->layer, x, xrow, n, from, end,
                            j->add ? j->add + (size_t)first * out : NULL,
                            j->y + (size_t)first * out, out);
    return TSR_OK;
}

static tsr_error run_job(job *j)
{
    const int threads = tsri_pool_threads(j->run->ctx->pool);
    const int strips = tsri_ceil_div(j->n, STRIP);

    j->shares = tsri_min(tsri_ceil_div(threads, strips),
                         tsri_conv1d_panels(j->layer));
    return tsri_pool_for(j->run->ctx->pool, strips * j->shares, run_strip, j);
}

tsr_error tsri_plane_conv_run(const tsri_plane_runner *run,
                              const tsri_plane_conv *conv, const float *x,
                              int height, int width, const float *add, float *y)
{
    job j = { .run = run, .conv = conv, .layer = &conv->layer, .x = x, .add = add,
              .xrow = (size_t)conv->layer.in, .height = height, .width = width,
              .y = y };

    tsri_plane_conv_size(conv, &height, &width);
    j.across = width;
    j.n = height * width;
    return run_job(&j);
}

tsr_error tsri_plane_linear(const tsri_plane_runner *run,
                            const tsri_conv1d *layer, const float *x, size_t xrow,
                            int n, const float *add, float *y)
{
    job j = { .run = run, .layer = layer, .x = x, .add = add, .xrow = xrow,
              .n = n, .y = y };
    return run_job(&j);
}

/* ---- norms ---- */

typedef struct norm_job {
    const float *x;
    const float *mean, *scale, *shift;  /* of each channel */
    int n, channels;
    bool silu;
    float *y;
} norm_job;

static tsr_error norm_strip(void *cookie, int strip, int worker)
{
    const norm_job *j = cookie;
    const int c = j->channels, first = strip * STRIP;
    const size_t at = (size_t)first * (size_t)c;
    const float *x = j->x + at;
    float *y = j->y + at;

    (void)worker;
    for (int i = tsri_min(STRIP, j->n - first); i > 0; i--, x += c, y += c) {
        for (int k = 0; k < c; k++)
            y[k] = (x[k] - j->mean[k]) * j->scale[k] + j->shift[k];
        for (int k = 0; k < c && j->silu; k++)
            y[k] = y[k] / (1 + tsri_exp(-y[k]));
    }
    return TSR_OK;
}

/* sums[c] = sum over positions of (x - mean[c])^power, power 1 or 2. */
static void sum_channels(const float *x, int n, int c, const float *mean,
                         double *sums)
{
    for (int k = 0; k < c; k++)
        sums[k] = 0;
    for (int i = 0; i < n; i++, x += c)
        if (mean)
            for (int k = 0; k < c; k++) {
                const double d = (double)x[k] - (double)mean[k];
                sums[k] += d * d;
            }
        else
            for (int k = 0; k < c; k++)
                sums[k] += (double)x[k];
}

static double group_sum(const double *sums, int each, int group)
{
    double sum = 0;

    for (int k = 0; k < each; k++)
        sum += sums[group * each + k];
    return sum;
}

tsr_error tsri_plane_norm(const tsri_plane_runner *run, const float *x, int n,
                          int channels, int groups, float eps, const float *gamma,
                          const float *beta, bool silu, float *y)
{
    const size_t c = (size_t)channels;
    const int each = channels / groups;
    const double count = (double)n * each;
    double *sums = tsri_alloc(run->ctx, c, sizeof *sums);
    float *mean = tsri_alloc(run->ctx, 2 * c, sizeof *mean);
    tsr_error error = TSR_E_NOMEM;

    if (sums && mean) {
        float *scale = mean + c;
        sum_channels(x, n, channels, NULL, sums);
        for (int k = 0; k < channels; k++)
            mean[k] = (float)(group_sum(sums, each, k / each) / count);
        sum_channels(x, n, channels, mean, sums);
        for (int k = 0; k < channels; k++)
            scale[k] = gamma[k] * (float)(1 / sqrt(
                group_sum(sums, each, k / each) / count + (double)eps));
        norm_job j = { x, mean, scale, beta, n, channels, silu, y };
        error = tsri_pool_for(run->ctx->pool, tsri_ceil_div(n, STRIP), norm_strip,
                              &j);
    }
    tsri_free(run->ctx, sums);
    tsri_free(run->ctx, mean);
    return error;
}

/* ---- attention ---- */

typedef struct attention {
    const tsri_plane_runner *run;
    const float *q, *k, *v;
    int n, m, channels;
    float *out;
} attention;

/* Keys as the weights of a layer with an output for each of them; values as those
 * of one with an input for each. */
static void pack_head(const attention *a, int head, float *key, float *value)
{
    const size_t c = (size_t)a->channels, m = (size_t)a->m;

    memset(key, 0, round_up(m, PANEL) * HEAD * sizeof *key);
    for (size_t j = 0; j < m; j++) {
        const float *k = a->k + j * c + head * HEAD;
        const float *v = a->v + j * c + head * HEAD;
        float *to = key + j / PANEL * HEAD * PANEL + j % PANEL;
        for (int i = 0; i < HEAD; i++) {
            to[i * PANEL] = k[i];
            value[((size_t)(i / PANEL) * m + j) * PANEL + (size_t)(i % PANEL)] =
                v[i];
        }
    }
}

/* Of m numbers; the row has room for a multiple of PANEL.  Loops of a fixed number
 * become vectors. */
static void softmax(float *x, int m)
{
    const int wide = (int)round_up((size_t)m, PANEL);
    float top[LANES], part[LANES] = { 0 }, most, sum = 0;

    for (int i = m; i < wide; i++)
        x[i] = -INFINITY;
    memcpy(top, x, sizeof top);
    for (int i = LANES; i < wide; i += LANES)
        for (int l = 0; l < LANES; l++)
            top[l] = x[i + l] > top[l] ? x[i + l] : top[l];
    most = top[0];
    for (int l = 1; l < LANES; l++)
        most = top[l] > most ? top[l] : most;
    for (int i = 0; i < wide; i += LANES)
        for (int l = 0; l < LANES; l++)
            x[i + l] = tsri_exp(x[i + l] - most);
    for (int i = 0; i < wide; i += LANES)
        for (int l = 0; l < LANES; l++)
            part[l] += x[i + l];
    for (int l = 0; l < LANES; l++)
        sum += part[l];
    const float scale = 1 / sum;
    for (int i = 0; i < wide; i += LANES)
        for (int l = 0; l < LANES; l++)
            x[i + l] *= scale;
}

static tsr_error attend_head(void *cookie, int head, int worker)
{
    const attention *a = cookie;
    const int wide = (int)round_up((size_t)a->m, PANEL);
    const size_t c = (size_t)a->channels;
    float *score = a->run->scratch + (size_t)worker * a->run->each;
    float *key = score + (size_t)STRIP * (size_t)wide;
    float *value = key + (size_t)HEAD * (size_t)wide;
    const tsri_conv1d to_score = { HEAD, wide, 1, 1, 1, key, a->run->zero };
    const tsri_conv1d to_out = { a->m, HEAD, 1, 1, 1, value, a->run->zero };

    pack_head(a, head, key, value);
    for (int first = 0; first < a->n; first += STRIP) {
        const int n = tsri_min(STRIP, a->n - first);
        const size_t at = (size_t)first * c + (size_t)(head * HEAD);
        a->run->kernels->conv1d(&to_score, a->q + at, c, n, 0,
                                tsri_conv1d_panels(&to_score), NULL, score,
                                (size_t)wide);
        for (int i = 0; i < n; i++)
            softmax(score + (size_t)i * (size_t)wide, a->m);
        a->run->kernels->conv1d(&to_out, score, (size_t)wide, n, 0,
                                tsri_conv1d_panels(&to_out), NULL, a->out + at, c);
    }
    return TSR_OK;
}

tsr_error tsri_plane_attend(const tsri_plane_runner *run, const float *q, int n,
                            const float *k, const float *v, int m, int channels,
                            float *out)
{
    attention a = { run, q, k, v, n, m, channels, out };
    return tsri_pool_for(run->ctx->pool, channels / HEAD, attend_head, &a);
}

/* ---- gates ---- */

/* Abramowitz and Stegun's 7.1.26, of |x|: within 1.5e-7. */
static inline float gelu(float x)
{
    const float z = fabsf(x) * 0.70710678f, t = 1 / (1 + 0.3275911f * z);
    const float tail = ((((1.061405429f * t - 1.453152027f) * t + 1.421413741f) *
                         t - 0.284496736f) * t + 0.254829592f) * t *
                       tsri_exp(-z * z);
    return 0.5f * (x + fabsf(x)) - 0.5f * fabsf(x) * tail;
}

typedef struct gate_job {
    const float *x;
    int n, channels;
    float *y;
} gate_job;

static tsr_error gate_strip(void *cookie, int strip, int worker)
{
    const gate_job *j = cookie;
    const int c = j->channels, first = strip * STRIP;
    const float *x = j->x + (size_t)first * 2 * (size_t)c;
    float *y = j->y + (size_t)first * (size_t)c;

    (void)worker;
    for (int i = tsri_min(STRIP, j->n - first); i > 0; i--, x += 2 * c, y += c)
        for (int k = 0; k < c; k += LANES)
            TSRI_IVDEP
            for (int l = 0; l < LANES; l++)
                y[k + l] = x[k + l] * gelu(x[c + k + l]);
    return TSR_OK;
}

tsr_error tsri_plane_geglu(const tsri_plane_runner *run, const float *x, int n,
                           int channels, float *y)
{
    gate_job j = { x, n, channels, y };
    return tsri_pool_for(run->ctx->pool, tsri_ceil_div(n, STRIP), gate_strip, &j);
}
