/* SPDX-License-Identifier: BSD-2-Clause */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "tools/media/scale.h"

enum { LOBES = 3 };

/* Of one direction: sample i of the result is the sum of `taps` samples of the
 * picture from first[i] on, each times its weight. */
typedef struct filter {
    int from, to, taps;
    int *first;
    float *weight;
} filter;

struct media_scale {
    filter x, y;
    float *rows;        /* y.taps of them, each of x.to samples of a channel */
    int *have;          /* which row of the picture each holds; -1: none */
    float *line, *sum;  /* x.from, x.to samples */
};

static double lanczos(double x)
{
    const double pi = 3.14159265358979323846;
    if (fabs(x) < 1e-9)
        return 1;
    if (fabs(x) >= LOBES)
        return 0;
    return LOBES * sin(pi * x) * sin(pi * x / LOBES) / (pi * pi * x * x);
}

/* Weights of samples outside go to the edge; all add up to 1. */
static void set_weights(filter *f, int i, double scale, double wide)
{
    const double middle = (i + 0.5) * scale - 0.5;
    const int low = (int)ceil(middle - LOBES * wide);
    float *weight = f->weight + (size_t)i * (size_t)f->taps;
    int first = low < 0 ? 0 : low;
    double sum = 0;

    if (first > f->from - f->taps)
        first = f->from > f->taps ? f->from - f->taps : 0;
    f->first[i] = first;
    for (int k = low; (double)k <= middle + LOBES * wide; k++)
        sum += lanczos((k - middle) / wide);
    for (int k = low; (double)k <= middle + LOBES * wide; k++) {
        const int inside = k < 0 ? 0 : k >= f->from ? f->from - 1 : k;
        weight[inside - first] += (float)(lanczos((k - middle) / wide) / sum);
    }
}

static int filter_open(filter *f, int from, int to)
{
    const double scale = (double)from / to, wide = scale > 1 ? scale : 1;
    const double taps = floor(2 * LOBES * wide) + 2;

    f->from = from;
    f->to = to;
    f->taps = taps < from ? (int)taps : from;
    f->first = malloc((size_t)to * sizeof *f->first);
    f->weight = calloc((size_t)to * (size_t)f->taps, sizeof *f->weight);
    if (!f->first || !f->weight)
        return -1;
    for (int i = 0; i < to; i++)
        set_weights(f, i, scale, wide);
    return 0;
}

media_scale *media_scale_open(int from_width, int from_height, int to_width,
                              int to_height)
{
    media_scale *s = calloc(1, sizeof *s);
    int bad = !s || filter_open(&s->x, from_width, to_width) ||
              filter_open(&s->y, from_height, to_height);
    if (!bad) {
        s->rows = malloc((size_t)s->y.taps * (size_t)to_width * sizeof *s->rows);
        s->have = malloc((size_t)s->y.taps * sizeof *s->have);
        s->line = malloc((size_t)from_width * sizeof *s->line);
        s->sum = malloc((size_t)to_width * sizeof *s->sum);
        bad = !s->rows || !s->have || !s->line || !s->sum;
    }
    if (bad)
        media_scale_close(&s);
    return s;
}

void media_scale_close(media_scale **p)
{
    media_scale *s = *p;
    if (!s)
        return;
    free(s->x.first);
    free(s->x.weight);
    free(s->y.first);
    free(s->y.weight);
    free(s->rows);
    free(s->have);
    free(s->line);
    free(s->sum);
    free(s);
    *p = NULL;
}

static void read_line(const tsr_image *image, int y, int channel, float *to)
{
    const void *row = (const uint8_t *)image->data +
                      (size_t)y * image->stride;
    const size_t step = (size_t)image->channels;
    for (size_t x = 0; x < (size_t)image->width; x++)
        to[x] = image->bits == 16
            ? ((const uint16_t *)row)[x * step + (size_t)channel]
            : ((const uint8_t *)row)[x * step + (size_t)channel];
}

/* Row y of the picture, as wide as the result; kept until another one needs its
 * place. */
static const float *wide_row(media_scale *s, const tsr_image *from, int y,
                             int channel)
{
    const int slot = y % s->y.taps;
    float *row = s->rows + (size_t)slot * (size_t)s->x.to;

    if (s->have[slot] == y)
        return row;
    s->have[slot] = y;
    read_line(from, y, channel, s->line);
    for (int i = 0; i < s->x.to; i++) {
        const float *weight = s->x.weight + (size_t)i * (size_t)s->x.taps;
        const float *at = s->line + s->x.first[i];
        float sum = 0;
        for (int k = 0; k < s->x.taps; k++)
            sum += weight[k] * at[k];
        row[i] = sum;
    }
    return row;
}

static void put_row(const float *sum, tsr_image *to, int y, int channel)
{
    void *row = (uint8_t *)to->data + (size_t)y * to->stride;
    const float top = to->bits == 16 ? 65535 : 255;
    for (int x = 0; x < to->width; x++) {
        const float v = sum[x] < 0 ? 0 : sum[x] > top ? top : sum[x];
        const size_t i = (size_t)x * (size_t)to->channels + (size_t)channel;
        if (to->bits == 16)
            ((uint16_t *)row)[i] = (uint16_t)(v + 0.5f);
        else
            ((uint8_t *)row)[i] = (uint8_t)(v + 0.5f);
    }
}

static void scale_channel(media_scale *s, const tsr_image *from, tsr_image *to,
                          int channel)
{
    float *sum = s->sum;
    for (int k = 0; k < s->y.taps; k++)
        s->have[k] = -1;
    for (int y = 0; y < to->height; y++) {
        const float *weight = s->y.weight + (size_t)y * (size_t)s->y.taps;
        memset(sum, 0, (size_t)to->width * sizeof *sum);
        for (int k = 0; k < s->y.taps; k++) {
            const float *row = wide_row(s, from, s->y.first[y] + k, channel);
            for (int x = 0; x < to->width; x++)
                sum[x] += weight[k] * row[x];
        }
        put_row(sum, to, y, channel);
    }
}

void media_scale_run(media_scale *s, const tsr_image *from, tsr_image *to)
{
    for (int c = 0; c < from->channels; c++)
        scale_channel(s, from, to, c);
}
