/* SPDX-License-Identifier: BSD-2-Clause */
/* One block of one node of a one-dimensional net.  Threads share out its rows,
 * or the panels of a convolution of few rows; no output depends on how. */
#include <math.h>
#include <string.h>
#include "lib/nn/seq_internal.h"
#include "lib/pool.h"

enum {
    SHARE_MACS = 4 << 20,   /* less (0.1 ms) is not worth waking threads */
    SHARE_ROWS = 16,        /* per thread, at least */
    CURVE_MACS = 8          /* what a sample of a curve costs, about */
};

/* Rows first..first + rows - 1 of node i at work. */
typedef struct tsri_seq_work {
    const tsri_seq_stream *s;
    const tsri_seq_node *n;
    const tsri_seq_track *t;
    const float *x, *add;
    float *y;
    int in, out;            /* floats per sample of x, per row of y */
    int rows;
    int part;               /* rows or panels that a thread takes at once */
    bool by_panels;
} tsri_seq_work;

static void norm_rows(const tsri_seq_work *w, const float *x, int n, float *y)
{
    const int channels = w->n->channels;
    const float *mean = w->t->shift, *gain = mean + channels;

    for (int t = 0; t < n; t++, x += channels, y += channels)
        for (int c = 0; c < channels; c++)
            y[c] = (x[c] - mean[c]) * gain[c] + w->n->bias[c];
}

static void scale_rows(float scale, const float *x, const float *add, size_t n,
                       float *y)
{
    if (add)
        for (size_t i = 0; i < n; i++)
            y[i] = scale * (x[i] + add[i]);
    else
        for (size_t i = 0; i < n; i++)
            y[i] = scale * x[i];
}

static void conv_rows(const tsri_seq_work *w, int a, int b, int first, int last)
{
    const size_t y = (size_t)a * (size_t)w->out;
    w->s->kernels->conv1d(&w->n->conv,
                          w->x + (size_t)a * (size_t)w->n->stride *
                              (size_t)w->in, (size_t)w->in,
                          b - a, first, last, w->add ? w->add + y : NULL,
                          w->y + y, (size_t)w->out);
}

static void curve_rows(const tsri_seq_work *w, const float *x, int n, float *y)
{
    const tsri_seq_node *k = w->n;
    w->s->kernels->curve(k->curve, k->slope, k->alpha, x,
                         (size_t)n * (size_t)k->fold, k->channels, y);
}

/* Rows a..b - 1, all channels. */
static void rows(const tsri_seq_work *w, int a, int b)
{
    const size_t at = (size_t)a * (size_t)w->out;
    const size_t n = (size_t)(b - a) * (size_t)w->out;
    const float *x = w->x + at, *add = w->add ? w->add + at : NULL;
    float *y = w->y + at;

    switch (w->n->kind) {
    case TSRI_SEQ_CONV:
        conv_rows(w, a, b, 0, tsri_conv1d_panels(&w->n->conv));
        break;
    case TSRI_SEQ_NORM:
        norm_rows(w, x, b - a, y);
        break;
    case TSRI_SEQ_ACT:
    case TSRI_SEQ_CROP:
        if (w->n->curve == TSRI_CURVE_NONE)
            memcpy(y, x, n * sizeof *y);
        else
            curve_rows(w, x, b - a, y);
        return;
    default:
        scale_rows(w->n->scale, x, add, n, y);
    }
    if (w->n->curve != TSRI_CURVE_NONE)
        curve_rows(w, y, b - a, y);
}

static tsr_error run_part(void *cookie, int i, int worker)
{
    const tsri_seq_work *w = cookie;
    const int all = w->by_panels ? tsri_conv1d_panels(&w->n->conv) : w->rows;
    const int first = i * w->part, last = tsri_min(first + w->part, all);

    (void)worker;
    if (w->by_panels)
        conv_rows(w, 0, w->rows, first, last);
    else
        rows(w, first, last);
    return TSR_OK;
}

static double macs_of(const tsri_seq_work *w)
{
    const tsri_seq_node *n = w->n;
    const double curve = n->curve == TSRI_CURVE_NONE ? 1 : CURVE_MACS;
    const double conv = n->kind == TSRI_SEQ_CONV ?
                        (double)n->conv.in * n->conv.taps : 0;
    return (double)w->rows * w->out * (curve + conv);
}

static void share(tsri_seq_work *w)
{
    const int threads = tsri_pool_threads(w->s->ctx->pool);
    const int panels = w->n->kind == TSRI_SEQ_CONV ?
                       tsri_conv1d_panels(&w->n->conv) : 1;
    int all = w->rows, parts;

    if (threads == 1 || macs_of(w) < SHARE_MACS) {
        rows(w, 0, w->rows);
        return;
    }
    w->by_panels = w->rows < threads * SHARE_ROWS && panels >= threads;
    if (w->by_panels)
        all = panels;
    w->part = tsri_ceil_div(all, 2 * threads);
    if (!w->by_panels)
        w->part = tsri_max(w->part, SHARE_ROWS);
    parts = tsri_ceil_div(all, w->part);
    tsri_pool_for(w->s->ctx->pool, parts, run_part, w);
    if (w->by_panels && w->n->curve != TSRI_CURVE_NONE)
        curve_rows(w, w->y, w->rows, w->y);
}

/* Writes numbers at..end - 1 that lie outside node x's samples: zeros or
 * reflections. */
static void pad(const tsri_seq_stream *s, const tsri_seq_node *n, int64_t at,
                int64_t end, bool reflect)
{
    const int x = n->in[0];
    const int64_t made = s->track[x].made;
    const size_t row = (size_t)s->seq->node[x].channels * sizeof(float);
    int64_t top = made - 1;     /* the number about which the end is reflected */

    if (reflect && end > made) {
        const int64_t behind = (int64_t)tsri_seq_padding(n, (uint64_t)made);
        const int64_t most = behind > n->left ? behind : n->left;
        top = most > top ? most : top;
    }
    for (int64_t i = at; i < end; i++) {
        const int64_t from = i < 0 ? -i : i > top ? 2 * top - i : i;
        if (!reflect || from >= made)
            memset(tsri_seq_at(s, x, i), 0, row);
        else
            memcpy(tsri_seq_at(s, x, i), tsri_seq_at(s, x, from), row);
    }
}

/* What a convolution reads in front of and behind its input. */
static tsr_error pad_input(const tsri_seq_work *w, tsri_seq_stream *s,
                           int64_t at)
{
    const tsri_seq_node *n = w->n;
    const int64_t end = at + (int64_t)(w->rows - 1) * n->stride + n->reach;
    const int64_t made = s->track[n->in[0]].made;

    if (end > made) {
        TSR_TRY(tsri_seq_reserve(s, n->in[0], made, end));
        pad(s, n, made, end, n->reflect);
    }
    if (at < 0)
        pad(s, n, at, 0, n->reflect && !s->zero_start);
    return TSR_OK;
}

static void lstm_rows(const tsri_seq_work *w)
{
    const tsri_lstm *lstm = &w->n->lstm;
    const tsri_seq_node gates = { .kind = TSRI_SEQ_CONV, .conv = lstm->input,
                                  .stride = 1, .fold = 1 };
    tsri_seq_work in = *w;

    in.n = &gates;
    in.y = w->s->gates;
    in.out = 4 * lstm->hidden;
    share(&in);
    w->s->kernels->lstm(lstm, w->s->gates, w->rows, w->t->state, w->y,
                        (size_t)w->out);
    if (w->n->curve != TSRI_CURVE_NONE)
        curve_rows(w, w->y, w->rows, w->y);
}

/* sum[c] = of all samples x (power 1) or (x - mean)^2 (power 2). */
static void sum_samples(const tsri_seq_work *w, int64_t length, int power)
{
    const int channels = w->n->channels;
    const float *x = w->x;
    double *sum = w->t->sum;
    const double *mean = sum + channels;

    memset(sum, 0, (size_t)channels * sizeof *sum);
    for (int64_t t = 0; t < length; t++, x += channels)
        for (int c = 0; c < channels; c++) {
            const double d = x[c] - mean[c];
            sum[c] += power == 1 ? x[c] : d * d;
        }
}

static double group_mean(const double *sum, int n, int64_t length)
{
    double all = 0;

    for (int c = 0; c < n; c++)
        all += sum[c];
    return all / ((double)length * n);
}

/* Statistics of the whole signal, which the track of the input still holds. */
static void measure(const tsri_seq_work *w, int64_t length)
{
    const int channels = w->n->channels, n = channels / w->n->groups;
    double *sum = w->t->sum, *mean = sum + channels;
    float *shift = w->t->shift;

    memset(mean, 0, (size_t)channels * sizeof *mean);
    sum_samples(w, length, 1);
    for (int c = 0; c < channels; c++)
        mean[c] = group_mean(sum + c / n * n, n, length);
    sum_samples(w, length, 2);
    for (int c = 0; c < channels; c++) {
        const double var = group_mean(sum + c / n * n, n, length);
        shift[c] = (float)mean[c];
        shift[channels + c] = (float)(w->n->weight[c] /
                                      sqrt(var + (double)w->n->eps));
    }
}

tsr_error tsri_seq_step(tsri_seq_stream *s, int i, int64_t limit)
{
    const tsri_seq_node *n = &s->seq->node[i];
    tsri_seq_track *t = &s->track[i];
    const int64_t first = tsri_seq_row(n, t->made);
    const int64_t end = (limit + n->trim + n->fold - 1) / n->fold;
    const int64_t from = first * n->fold - n->trim;
    tsri_seq_work w = { .s = s, .n = n, .t = t,
                        .in = s->seq->node[n->in[0]].channels,
                        .out = n->channels * n->fold };
    int64_t to;

    const int block = s->ops ? tsri_seq_device_block(n) : n->block;
    w.rows = (int)(end - first < block ? end - first : block);
    to = from + (int64_t)w.rows * n->fold;
    TSR_TRY(tsri_seq_reserve(s, i, from, to));
    if (s->ops) {
        TSR_TRY(tsri_seq_device_step(s, i, first, from, w.rows));
        t->made = to < limit ? to : limit;
        return TSR_OK;
    }
    if (n->kind == TSRI_SEQ_CONV)
        TSR_TRY(pad_input(&w, s, first * n->stride - n->left));
    w.x = tsri_seq_at(s, n->in[0], first * n->stride - n->left);
    w.y = tsri_seq_at(s, i, from);
    if (n->inputs == 2)
        w.add = tsri_seq_at(s, n->in[1], from);
    if (n->kind == TSRI_SEQ_NORM && !t->made)
        measure(&w, s->track[n->in[0]].made);
    if (n->kind == TSRI_SEQ_LSTM)
        lstm_rows(&w);
    else
        share(&w);
    t->made = to < limit ? to : limit;
    return TSR_OK;
}
