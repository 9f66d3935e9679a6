/* SPDX-License-Identifier: BSD-2-Clause */
#include <string.h>
#include "lib/nn/seq_kernels.h"

enum { P = TSRI_CONV1D_PANEL, ROWS = 2, LANE = 4 };

/* What any CPU of today has registers for. */
typedef float vec __attribute__((vector_size(16)));

static vec load(const float *p)
{
    vec v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* Where weight (o, tap, c) stands. */
static size_t packed_at(const tsri_conv1d *l, int o, int tap, int c)
{
    const size_t in = (size_t)l->in, taps = (size_t)l->taps;
    const size_t k = (size_t)tap * in + (size_t)c;

    if (tsri_conv1d_narrow(l))
        return (size_t)o * taps * in + k;
    return ((size_t)(o / P) * taps * in + k) * P + (size_t)(o % P);
}

float tsri_conv1d_weight(const tsri_conv1d *l, int o, int c, int tap)
{
    return l->packed[packed_at(l, o, tap, c)];
}

static void pack(tsri_conv1d *l, const float *weight, const float *bias)
{
    for (int o = 0; o < l->out; o++) {
        l->bias[o] = bias ? bias[o] : 0;
        for (int c = 0; c < l->in; c++)
            for (int tap = 0; tap < l->taps; tap++)
                l->packed[packed_at(l, o, tap, c)] = *weight++;
    }
}

tsr_error tsri_conv1d_open(tsri_conv1d *l, tsr_context *ctx, int in, int out,
                           int taps, int stride, int dilation,
                           const float *weight, const float *bias)
{
    size_t each, padded;

    *l = (tsri_conv1d){ .in = in, .out = out, .taps = taps, .stride = stride,
                        .dilation = dilation };
    padded = (size_t)tsri_conv1d_panels(l) * P;
    if (tsri_mul((size_t)in * sizeof *l->packed, (size_t)taps, &each)) {
        l->packed = tsri_calloc(ctx, tsri_conv1d_narrow(l) ? (size_t)out : padded,
                                each);
        l->bias = tsri_calloc(ctx, padded, sizeof *l->bias);
    }
    if (!l->packed || !l->bias) {
        tsri_conv1d_close(l, ctx);
        return tsri_nomem(ctx);
    }
    pack(l, weight, bias);
    return TSR_OK;
}

void tsri_conv1d_close(tsri_conv1d *l, tsr_context *ctx)
{
    tsri_free(ctx, l->packed);
    tsri_free(ctx, l->bias);
    l->packed = l->bias = NULL;
}

/* Unless the loops over rows are unrolled, the sums live in memory. */
#define UNROLL _Pragma("GCC unroll 4")

/* A panel of `rows` outputs in time, whose inputs are `step` floats apart;
 * always inlined with a constant, so that the sums stay in registers. */
static inline __attribute__((always_inline))
void panel(const tsri_conv1d *l, int first, const float *x, size_t xrow,
           float out[ROWS][P], const int rows)
{
    const size_t step = (size_t)l->stride * xrow;
    const float *w = l->packed + packed_at(l, first, 0, 0);
    vec sum[ROWS][P / LANE];

    UNROLL
    for (int r = 0; r < rows; r++)
        UNROLL
        for (int i = 0; i < P / LANE; i++)
            sum[r][i] = load(l->bias + first + i * LANE);
    for (int tap = 0; tap < l->taps; tap++, x += (size_t)l->dilation * xrow)
        for (int c = 0; c < l->in; c++, w += P)
            UNROLL
            for (int r = 0; r < rows; r++)
                UNROLL
                for (int i = 0; i < P / LANE; i++)
                    sum[r][i] += load(w + i * LANE) * x[(size_t)r * step +
                                                        (size_t)c];
    UNROLL
    for (int r = 0; r < rows; r++)
        memcpy(out[r], sum[r], sizeof out[r]);
}

static void put(const float *sum, int count, const float *add, float *y)
{
    for (int o = 0; o < count; o++)
        y[o] = add ? sum[o] + add[o] : sum[o];
}

static float narrow(const tsri_conv1d *l, int o, const float *x, size_t xrow)
{
    const float *w = l->packed + packed_at(l, o, 0, 0);
    float sum = l->bias[o];

    for (int tap = 0; tap < l->taps; tap++, x += (size_t)l->dilation * xrow)
        for (int c = 0; c < l->in; c++)
            sum += *w++ * x[c];
    return sum;
}

void tsri_conv1d_plain(const tsri_conv1d *l, const float *x, size_t xrow, int n,
                       int first, int last, const float *add, float *y,
                       size_t yrow)
{
    const size_t step = (size_t)l->stride * xrow;
    float sum[ROWS][P];

    for (int o = first * P; o < last * P; o += P) {
        const int count = tsri_min(P, l->out - o);
        for (int t = 0, rows; t < n; t += rows) {
            const float *from = x + (size_t)t * step;
            rows = n - t < ROWS ? 1 : ROWS;
            if (tsri_conv1d_narrow(l))
                for (int i = 0; i < rows * count; i++)
                    sum[i / count][i % count] =
                        narrow(l, i % count, from + (size_t)(i / count) * step, xrow);
            else if (rows == ROWS)
                panel(l, o, from, xrow, sum, ROWS);
            else
                panel(l, o, from, xrow, sum, 1);
            for (int r = 0; r < rows; r++) {
                const size_t at = (size_t)(t + r) * yrow + (size_t)o;
                put(sum[r], count, add ? add + at : NULL, y + at);
            }
        }
    }
}
