/* SPDX-License-Identifier: BSD-2-Clause */
/* Loops over rows of samples.  Inner loops run over the 8 channels of a block,
 * so that every compiler vectorises them at -O2. */
#include <math.h>
#include <string.h>
#include "lib/nn/ivdep.h"
#include "lib/nn/norm_row.h"

enum { LANE = TSRI_NN_LANE };

tsri_view tsri_view_blocked(float *data, tsri_rect rect, int channels)
{
    const size_t row = (size_t)tsri_cols(rect) * LANE;
    return (tsri_view){ data, rect, channels, row * (size_t)tsri_rows(rect), 1,
                        row, LANE };
}

tsri_view tsri_view_planar(const tsri_fmap *map, tsri_rect rect)
{
    return (tsri_view){ map->data, rect, map->channels, LANE * map->plane,
                        map->plane, map->row, 1 };
}

static float *sample(const tsri_view *v, int b, int y, int x)
{
    return v->data + (size_t)b * v->block + (size_t)(y - v->rect.y0) * v->row +
           (size_t)(x - v->rect.x0) * v->px;
}

/* Channels of block b that exist. */
static int lanes_of(const tsri_view *v, int b)
{
    return tsri_min(LANE, v->channels - b * LANE);
}

const float *tsri_row_get(const tsri_view *v, int b, int y, int x, int n,
                          float *temp)
{
    const float *p = sample(v, b, y, x);
    const int lanes = lanes_of(v, b);

    if (v->px == LANE)
        return p;
    if (lanes < LANE)
        memset(temp, 0, (size_t)n * LANE * sizeof *temp);
    for (int l = 0; l < lanes; l++)
        for (int i = 0; i < n; i++)
            temp[i * LANE + l] = p[(size_t)l * v->lane + (size_t)i];
    return temp;
}

const float *tsri_row_unshuffled(const tsri_view *v, int r, int b, int y, int x,
                                 int n, float *temp)
{
    memset(temp, 0, (size_t)n * LANE * sizeof *temp);
    for (int l = 0; l < LANE; l++) {
        const int channel = b * LANE + l;
        const int c = channel / (r * r), i = channel / r % r, j = channel % r;
        if (c >= v->channels)
            break;
        const float *p = sample(v, c / LANE, y * r + i, x * r + j) +
                         (size_t)(c % LANE) * v->lane;
        const size_t step = v->px * (size_t)r;
        for (int k = 0; k < n; k++)
            temp[k * LANE + l] = p[(size_t)k * step];
    }
    return temp;
}

float *tsri_row_out(const tsri_view *v, int b, int y, int x, float *temp)
{
    return v->px == LANE ? sample(v, b, y, x) : temp;
}

void tsri_row_put(const tsri_view *v, int b, int y, int x, int n,
                  const float *row)
{
    float *p = sample(v, b, y, x);
    const int lanes = lanes_of(v, b);

    if (v->px == LANE)
        return;
    for (int l = 0; l < lanes; l++)
        for (int i = 0; i < n; i++)
            p[(size_t)l * v->lane + (size_t)i] = row[i * LANE + l];
}

/* dst may be src, so the compiler is told only that iterations do not depend
 * on each other: that much holds. */
#define EACH_LANE(n, expression)                        \
    for (int i = 0; i < (n); i++)                       \
        TSRI_IVDEP                                      \
        for (int k = i * LANE; k < i * LANE + LANE; k++) \
            expression

void tsri_row_pre(tsri_pre pre, float *dst, const float *src, int n)
{
    switch (pre) {
    case TSRI_PRE_COPY:
        memmove(dst, src, (size_t)n * LANE * sizeof *dst);
        break;
    case TSRI_PRE_SILU:
        EACH_LANE(n, dst[k] = src[k] * tsri_sigmoid(src[k]);)
        break;
    case TSRI_PRE_RELU:
        EACH_LANE(n, dst[k] = src[k] < 0 ? 0 : src[k];)
        break;
    case TSRI_PRE_SQUARE:
        EACH_LANE(n, dst[k] = src[k] * src[k];)
        break;
    }
}

void tsri_row_norm(tsri_pre pre, float *dst, const float *src, int n,
                   const float *coefficients)
{
    tsri_norm_row(pre, dst, src, n, coefficients);
}

void tsri_row_post(tsri_post post, float *dst, const float *row,
                   const float *a0, const float *a1, int n)
{
    switch (post) {
    case TSRI_POST_STORE:
    case TSRI_POST_SHUFFLE:
        memmove(dst, row, (size_t)n * LANE * sizeof *dst);
        break;
    case TSRI_POST_ADD:
        EACH_LANE(n, dst[k] = a0[k] + row[k];)
        break;
    case TSRI_POST_GATE:
        EACH_LANE(n, dst[k] = a0[k] + a1[k] * tsri_sigmoid(row[k]);)
        break;
    case TSRI_POST_GDN:
        EACH_LANE(n, dst[k] = a0[k] / sqrtf(row[k]);)
        break;
    case TSRI_POST_IGDN:
        EACH_LANE(n, dst[k] = a0[k] * sqrtf(row[k]);)
        break;
    }
}

/* One row of one output channel block, from the r blocks that hold its
 * columns: block (i r + j) cb + b of the permuted order. */
static void shuffle_row_permuted(const tsri_view *dst, int r, const float *block,
                                 size_t plane, int b, int y, int x, int n)
{
    for (int j = 0; j < r; j++) {
        const float *p = block + (size_t)(j * (dst->channels / LANE)) * plane;
        for (int k = 0; k < n; k++) {
            const int to = (x + k) * r + j;
            if (to < dst->rect.x0 || to >= dst->rect.x1)
                continue;
            float *s = sample(dst, b, y, to);
            for (size_t l = 0; l < LANE; l++)
                s[l * dst->lane] = p[(size_t)k * LANE + l];
        }
    }
}

/* One row of one output channel c = 8 b + l. */
static void shuffle_row(const tsri_view *dst, int r, const float *row,
                        size_t plane, int c, int i, int y, int x, int n)
{
    for (int j = 0; j < r; j++) {
        const int from = c * r * r + i * r + j;
        const float *p = row + (size_t)(from / LANE) * plane + from % LANE;
        for (int k = 0; k < n; k++) {
            const int to = (x + k) * r + j;
            if (to >= dst->rect.x0 && to < dst->rect.x1)
                sample(dst, c / LANE, y, to)[(size_t)(c % LANE) * dst->lane] =
                    p[k * LANE];
        }
    }
}

/* Blocked rows that are not full keep zeros in the lanes that only fill up. */
static void clear_row(const tsri_view *dst, int y, int x, int n)
{
    const int b = dst->channels / LANE;
    const int x0 = tsri_max(x, dst->rect.x0);
    const int x1 = tsri_min(x + n, dst->rect.x1);

    if (dst->px == LANE && dst->channels % LANE && x0 < x1)
        memset(sample(dst, b, y, x0), 0,
               (size_t)(x1 - x0) * LANE * sizeof *dst->data);
}

void tsri_shuffle_put(const tsri_view *dst, int r, bool permuted,
                      const float *block, int y, int x, int h, int w)
{
    const size_t plane = (size_t)h * (size_t)w * LANE;
    const int cb = dst->channels / LANE;

    for (int k = 0; k < h * r; k++) {
        const int to = y * r + k, i = k % r;
        const float *row = block + (size_t)(k / r) * (size_t)w * LANE;
        if (to < dst->rect.y0 || to >= dst->rect.y1)
            continue;
        if (permuted) {
            for (int b = 0; b < cb; b++)
                shuffle_row_permuted(dst, r, row +
                                     (size_t)(i * r * cb + b) * plane, plane, b,
                                     to, x, w);
            continue;
        }
        clear_row(dst, to, x * r, w * r);
        for (int c = 0; c < dst->channels; c++)
            shuffle_row(dst, r, row, plane, c, i, to, x, w);
    }
}
