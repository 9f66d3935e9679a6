/* SPDX-License-Identifier: BSD-2-Clause */
/* The operations of lib/nn/plane_device.h in plain C on the host, in floats: the
 * oracle of a device's kernels, and a device for machines that have none. */
#ifndef TSR_TESTS_PLANE_DEVICE_PLAIN_H
#define TSR_TESTS_PLANE_DEVICE_PLAIN_H
#include "lib/nn/plane_device.h"
#include "tests/seq_device_plain.h"

static tsr_error plain_gather(tsri_seq_dev *dev, const tsri_plane_gather *g)
{
    const size_t c = (size_t)g->channels;
    const int height = g->height << g->twice, width = g->width << g->twice;
    float *to = g->y;

    TSR_TRY(plain_seq_begin(dev));
    for (int i = 0; i < g->items * g->rows * g->columns; i++)
        for (int tap = 0; tap < 9; tap++, to += c) {
            const int y = i / g->columns % g->rows * g->stride + tap / 3 - 1;
            const int x = i % g->columns * g->stride + tap % 3 - 1;
            const size_t item = (size_t)(i / g->columns / g->rows);
            memset(to, 0, c * sizeof *to);
            if (y < 0 || x < 0 || y >= height || x >= width)
                continue;
            const size_t row = item * (size_t)g->height + (size_t)(y >> g->twice);
            memcpy(to, (const float *)g->x +
                       (row * (size_t)g->width + (size_t)(x >> g->twice)) * c,
                   c * sizeof *to);
        }
    return TSR_OK;
}

static tsr_error plain_norm(tsri_seq_dev *dev, const tsri_plane_norm_step *n)
{
    const int each = n->channels / n->groups, c = n->channels;
    const double count = (double)n->positions * each;

    TSR_TRY(plain_seq_begin(dev));
    for (int g = 0; g < n->items * n->groups; g++) {
        const int first = g % n->groups * each;
        const size_t item = (size_t)(g / n->groups * n->positions * c);
        const float *x = (const float *)n->x + item;
        float *y = (float *)n->y + item;
        double mean = 0, squares = 0;
        for (int i = 0; i < n->positions; i++)
            for (int k = first; k < first + each; k++)
                mean += ((double)x[i * c + k] + (n->add ? n->add[k] : 0)) / count;
        for (int i = 0; i < n->positions; i++)
            for (int k = first; k < first + each; k++)
                squares += pow((double)x[i * c + k] + (n->add ? n->add[k] : 0) -
                               mean, 2) / count;
        for (int i = 0; i < n->positions; i++)
            for (int k = first; k < first + each; k++) {
                const double v =
                    ((double)x[i * c + k] + (n->add ? n->add[k] : 0) - mean) /
                    sqrt(squares + n->eps) * n->weight[k] + n->weight[c + k];
                y[i * c + k] = (float)(n->silu ? v / (1 + exp(-v)) : v);
            }
    }
    return TSR_OK;
}

static tsr_error plain_layer_norm(tsri_seq_dev *dev, const tsri_plane_layer_norm *n)
{
    const tsri_plane_norm_step whole = {
        .x = n->x, .y = n->y, .items = n->rows, .positions = 1,
        .channels = n->channels, .groups = 1, .eps = 1e-5f, .weight = n->weight };
    return plain_norm(dev, &whole);
}

/* One query of one head: its row of y. */
static void plain_attend_one(const tsri_plane_attention *a, const float *q,
                             const float *k, const float *v, float *y)
{
    enum { HEAD = 32 };
    double out[HEAD] = { 0 }, sum = 0;

    for (int j = 0; j < a->m; j++, k += a->channels, v += a->channels) {
        double score = 0;
        for (int c = 0; c < HEAD; c++)
            score += (double)q[c] * (double)k[c];
        const double weight = exp(score);
        sum += weight;
        for (int c = 0; c < HEAD; c++)
            out[c] += weight * (double)v[c];
    }
    for (int c = 0; c < HEAD; c++)
        y[c] = (float)(out[c] / sum);
}

static tsr_error plain_attend(tsri_seq_dev *dev, const tsri_plane_attention *a)
{
    const int heads = a->channels / 32;

    TSR_TRY(plain_seq_begin(dev));
    for (int i = 0; i < a->items * a->n * heads; i++) {
        const int head = i % heads, item = i / heads / a->n;
        const size_t at = (size_t)(i / heads * a->channels + head * 32);
        const size_t keys = (size_t)(item * a->m * a->channels + head * 32);
        plain_attend_one(a, (const float *)a->q + at, (const float *)a->k + keys,
                         (const float *)a->v + keys, (float *)a->y + at);
    }
    return TSR_OK;
}

static tsr_error plain_gate(tsri_seq_dev *dev, const tsri_plane_gate *g)
{
    const float *x = g->x;
    float *y = g->y;

    TSR_TRY(plain_seq_begin(dev));
    for (int i = 0; i < g->rows; i++, x += 2 * g->channels, y += g->channels)
        for (int c = 0; c < g->channels; c++) {
            const double b = (double)x[g->channels + c];
            y[c] = (float)((double)x[c] * 0.5 * b * (1 + erf(b * sqrt(0.5))));
        }
    return TSR_OK;
}

static tsr_error plain_join(tsri_seq_dev *dev, const tsri_plane_join *j)
{
    const size_t n = (size_t)j->a_channels, m = (size_t)j->b_channels;
    const float *a = j->a, *b = j->b;
    float *y = j->y;

    TSR_TRY(plain_seq_begin(dev));
    for (int i = 0; i < j->rows; i++, a += n, b += m, y += n + m) {
        memcpy(y, a, n * sizeof *y);
        memcpy(y + n, b, m * sizeof *y);
    }
    return TSR_OK;
}

static tsr_error plain_mix(tsri_seq_dev *dev, const tsri_plane_mix *m)
{
    float *numbers = m->numbers;

    TSR_TRY(plain_seq_begin(dev));
    for (int i = 0; i < m->n; i++) {
        const float v = m->v[i] + m->guidance * (m->v[m->n + i] - m->v[i]);
        m->x[i] = m->by_x * m->x[i] + m->by_v * v + m->by_noise * m->noise[i];
        numbers[i] = numbers[m->n + i] = m->x[i];
    }
    return TSR_OK;
}

/* This device keeps nothing. */
static bool plain_record(tsri_seq_dev *dev)
{
    (void)dev;
    return false;
}

static void plain_forget(tsri_seq_dev *dev, tsri_plane_record *record)
{
    (void)dev;
    assert_null(record);
}

static const tsri_plane_ops plain_plane_ops = {
    .gather = plain_gather, .norm = plain_norm, .layer_norm = plain_layer_norm,
    .attend = plain_attend, .gate = plain_gate, .join = plain_join,
    .mix = plain_mix, .record = plain_record, .forget = plain_forget
};
#endif
