/* SPDX-License-Identifier: BSD-2-Clause */
/* The operations of lib/nn/device.h in plain C on the host, in floats: the oracle
 * of a device's kernels, and a device for machines that have none. */
#ifndef TSR_TESTS_NN_DEVICE_PLAIN_H
#define TSR_TESTS_NN_DEVICE_PLAIN_H
#include <math.h>
#include <string.h>
#include "codecs/image/image.h"
#include "codecs/image/image_codec.h"
#include "lib/nn/device.h"
#include "tests/check.h"

struct tsri_dev {
    tsr_context *ctx;
};

static tsr_error plain_dev_open(tsri_dev **dev, tsr_context *ctx)
{
    *dev = tsri_calloc(ctx, 1, sizeof **dev);
    if (!*dev)
        return tsri_nomem(ctx);
    (*dev)->ctx = ctx;
    return TSR_OK;
}

static void plain_dev_close(tsri_dev **dev)
{
    tsri_free((*dev)->ctx, *dev);
    *dev = NULL;
}

/* Poisoned, as device memory is not cleared. */
static tsr_error plain_dev_alloc(tsri_dev *dev, void **mem, size_t bytes)
{
    *mem = tsri_alloc(dev->ctx, bytes, 1);
    if (!*mem)
        return tsri_nomem(dev->ctx);
    memset(*mem, 0xff, bytes);
    return TSR_OK;
}

static void plain_dev_free(tsri_dev *dev, void *mem)
{
    tsri_free(dev->ctx, mem);
}

static tsr_error plain_dev_copy(tsri_dev *dev, void *to, const void *from,
                                size_t bytes)
{
    (void)dev;
    memcpy(to, from, bytes);
    return TSR_OK;
}

static tsr_error plain_dev_wait(tsri_dev *dev)
{
    (void)dev;
    return TSR_OK;
}

/* ---- samples ---- */

static float *dev_at(const tsri_dev_map *m, int y, int x)
{
    return (float *)m->data +
           ((size_t)(y - m->rect.y0) * (size_t)tsri_cols(m->rect) +
            (size_t)(x - m->rect.x0)) * (size_t)m->lanes;
}

static size_t dev_count(const tsri_dev_map *m)
{
    return (size_t)tsri_rows(m->rect) * (size_t)tsri_cols(m->rect) *
           (size_t)m->lanes;
}

/* Item i of a map; one without data stays so. */
static tsri_dev_map dev_item(tsri_dev_map m, int i)
{
    if (m.data)
        m.data = (float *)m.data + (size_t)i * dev_count(&m);
    m.items = 1;
    return m;
}

static tsr_error plain_dev_enter(tsri_dev *dev, const tsri_dev_planar *p)
{
    const float *from = p->planes;
    (void)dev;
    memset(p->map.data, 0, dev_count(&p->map) * sizeof(float));
    for (int c = 0; c < p->channels; c++)
        for (int y = p->map.rect.y0; y < p->map.rect.y1; y++)
            for (int x = p->map.rect.x0; x < p->map.rect.x1; x++)
                dev_at(&p->map, y, x)[c] = *from++;
    return TSR_OK;
}

static tsr_error plain_dev_enter_map(tsri_dev *dev, const tsri_dev_planar *p)
{
    const size_t samples = dev_count(&p->map) / (size_t)p->map.lanes *
                           (size_t)p->map.items;
    float *to = p->map.data;
    (void)dev;
    for (size_t i = 0; i < samples; i++)
        for (int c = 0; c < p->map.lanes; c++)
            *to++ = c >= p->channels ? 0 : p->planes[i * (size_t)p->channels +
                                                     (size_t)c];
    return TSR_OK;
}

static tsr_error plain_dev_leave_map(tsri_dev *dev, const tsri_dev_planar *p)
{
    const size_t lanes = (size_t)p->map.lanes;
    const size_t samples = dev_count(&p->map) / lanes * (size_t)p->map.items;
    float *to = p->planes;
    (void)dev;
    for (size_t i = 0; i < samples; i++)
        for (int c = 0; c < p->channels; c++)
            *to++ = ((const float *)p->map.data)[i * lanes + (size_t)c];
    return TSR_OK;
}

/* Index of a picture's line of n samples at position i. */
static int dev_inside(int i, int n, bool reflect)
{
    return reflect ? tsri_image_reflect(i, n) : tsri_clamp(i, 0, n - 1);
}

static tsr_error plain_dev_enter_pixels(tsri_dev *dev, const tsri_dev_pixels *d)
{
    const tsri_pixels *p = &d->pixels;
    const tsr_image image = { p->width, p->height, p->channels, p->bits,
                              p->stride, p->data };
    float rgb[3];
    tsri_fmap one = { rgb, 3, 1, 1, 1, 1 };
    (void)dev;

    for (int y = d->map.rect.y0; y < d->map.rect.y1; y++)
        for (int x = d->map.rect.x0; x < d->map.rect.x1; x++) {
            const int row = dev_inside(y - p->top, p->height, p->reflect);
            const int column = dev_inside(x - p->left, p->width, p->reflect);
            tsri_image_gather(&image, &row, &column, &one);
            for (int c = 0; c < d->map.lanes; c++)
                dev_at(&d->map, y, x)[c] = c < 3 ? rgb[c] * p->scale + p->offset
                                                 : 0;
        }
    return TSR_OK;
}

static tsr_error plain_dev_leave_pixels(tsri_dev *dev, const tsri_dev_pixels *d)
{
    const tsri_pixels *p = &d->pixels;
    tsr_image image = { p->width, p->height, p->channels, p->bits, p->stride,
                        p->data };
    tsri_canvas canvas = { &image, p->truncates };
    float rgb[3];
    tsri_fmap one = { rgb, 3, 1, 1, 1, 1 };
    (void)dev;

    for (int y = 0; y < p->height; y++)
        for (int x = 0; x < p->width; x++) {
            const float *from = dev_at(&d->map, y + p->top, x + p->left);
            for (int c = 0; c < 3; c++)
                rgb[c] = (from[c] - p->offset) / p->scale;
            tsri_canvas_put(&canvas, (tsri_rect){ y, x, y + 1, x + 1 }, &one);
        }
    return TSR_OK;
}

static tsr_error plain_dev_leave(tsri_dev *dev, const tsri_dev_planar *p)
{
    float *to = p->planes;
    (void)dev;
    for (int c = 0; c < p->channels; c++)
        for (int y = p->map.rect.y0; y < p->map.rect.y1; y++)
            for (int x = p->map.rect.x0; x < p->map.rect.x1; x++)
                *to++ = dev_at(&p->map, y, x)[c];
    return TSR_OK;
}

/* Where a sample outside 0..n-1 comes from; -1: it is zero. */
static int dev_source(int i, int n, tsri_pad pad)
{
    if (i >= 0 && i < n)
        return i;
    if (pad == TSRI_PAD_ZERO)
        return -1;
    return i < 0 ? tsri_min(-i, n - 1) : tsri_max(2 * n - 2 - i, 0);
}

static float dev_pre(tsri_pre pre, float v)
{
    return pre == TSRI_PRE_SILU ? v / (1 + expf(-v)) :
           pre == TSRI_PRE_RELU ? (v < 0 ? 0 : v) :
           pre == TSRI_PRE_SQUARE ? v * v : v;
}

static float dev_gathered(const tsri_dev_gather *g, int y, int x, int c)
{
    const int r = g->unshuffle;
    const int from = c / (r * r);
    float v;

    if (from >= g->channels)
        return 0;
    v = dev_at(&g->src, y * r / g->upsample + c / r % r,
               x * r / g->upsample + c % r)[from];
    if (g->norm)
        v = (v - g->norm[from]) * g->norm[g->src.lanes + from] +
            g->norm[2 * g->src.lanes + from];
    return dev_pre(g->pre, v);
}

static tsr_error plain_dev_gather(tsri_dev *dev, const tsri_dev_gather *g)
{
    float *to = g->dst;
    (void)dev;
    for (int i = 0; i < g->src.items; i++) {
        tsri_dev_gather one = *g;
        one.src = dev_item(g->src, i);
        if (g->norm)
            one.norm = g->norm + 3 * i * g->src.lanes;
        for (int y = g->to.y0; y < g->to.y1; y++)
            for (int x = g->to.x0; x < g->to.x1; x++) {
                const int sy = dev_source(y, g->height, g->pad);
                const int sx = dev_source(x, g->width, g->pad);
                for (int c = 0; c < g->lanes; c++)
                    *to++ = sy < 0 || sx < 0 ? 0 : dev_gathered(&one, sy, sx, c);
            }
    }
    return TSR_OK;
}

/* ---- convolution ---- */

static tsr_error plain_dev_pack(tsri_dev *dev, const tsri_nn_conv *c,
                                const float *weight, bool wide,
                                tsri_dev_weights **out)
{
    const size_t taps = (size_t)c->kernel * (size_t)c->kernel;
    const size_t in = (size_t)c->in, n = (size_t)c->out * in * taps;
    tsri_dev_weights *p = tsri_calloc(dev->ctx, 1, sizeof *p);

    *out = p;
    if (!p)
        return tsri_nomem(dev->ctx);
    p->wide = wide;
    p->weight = tsri_alloc(dev->ctx, n, sizeof(float));
    p->bias = tsri_alloc(dev->ctx, (size_t)c->out, sizeof(float));
    if (!p->weight || !p->bias)
        return tsri_nomem(dev->ctx);
    memcpy(p->bias, c->bias, (size_t)c->out * sizeof(float));
    for (size_t i = 0; i < n; i++)      /* [out][in][taps]: [out][taps][in] */
        ((float *)p->weight)[(i / taps / in * taps + i % taps) * in +
                             i / taps % in] = weight[i];
    return TSR_OK;
}

static void plain_dev_unpack(tsri_dev *dev, tsri_dev_weights *p)
{
    tsri_free(dev->ctx, p->weight);
    tsri_free(dev->ctx, p->bias);
    tsri_free(dev->ctx, p);
}

static float dev_conv(const tsri_dev_conv *c, int o, int y, int x)
{
    const tsri_dev_weights *w = c->conv->packed;
    const int k = c->conv->kernel, in = c->conv->in;
    float sum = w->bias[o];

    for (int i = 0; i < k * k; i++) {
        const int sy = y * c->conv->stride + i / k - c->top;
        const int sx = x * c->conv->stride + i % k - c->left;
        if (sy < 0 || sx < 0 || sy >= c->height || sx >= c->width)
            continue;
        const float *s = (const float *)c->src + (size_t)sy * c->row +
                         (size_t)sx * (size_t)in;
        const float *weight = (const float *)w->weight +
                              (size_t)(o * k * k + i) * (size_t)in;
        for (int j = 0; j < in; j++)
            sum += weight[j] * s[j];
    }
    return c->conv->act == TSRI_ACT_SILU ? dev_pre(TSRI_PRE_SILU, sum) :
           c->conv->act == TSRI_ACT_RELU ? dev_pre(TSRI_PRE_RELU, sum) : sum;
}

static tsr_error plain_dev_conv(tsri_dev *dev, const tsri_dev_conv *c)
{
    const int k = c->conv->kernel, s = c->conv->stride;
    const float *add = c->add;
    float *to = c->dst;

    if ((c->rows - 1) * s + k != c->height + c->top + c->bottom ||
        (c->cols - 1) * s + k != c->width + c->left + c->right)
        return tsri_fail(dev->ctx, TSR_E_INTERNAL, "a window of another size");
    for (int i = 0; i < c->items; i++) {
        tsri_dev_conv one = *c;
        one.src = (const float *)c->src + (size_t)i * c->plane;
        for (int y = 0; y < c->rows; y++)
            for (int x = 0; x < c->cols; x++)
                for (int o = 0; o < c->conv->out; o++) {
                    const float more = add ? *add++ : 0;
                    *to++ = more + dev_conv(&one, o, y, x);
                }
    }
    return TSR_OK;
}

/* ---- what follows ---- */

static float dev_post(const tsri_dev_post *p, float v, int y, int x, int c)
{
    const float a = p->arg[0].data ? dev_at(&p->arg[0], y, x)[c] : 0;
    const float b = p->arg[1].data ? dev_at(&p->arg[1], y, x)[c] : 0;

    switch (p->post) {
    case TSRI_POST_ADD: return a + v;
    case TSRI_POST_GATE: return a + b / (1 + expf(-v));
    case TSRI_POST_GDN: return a / sqrtf(v);
    case TSRI_POST_IGDN: return a * sqrtf(v);
    default: return v;
    }
}

/* The channel of the block that sample (y, x), channel c of dst comes from. */
static int dev_channel(const tsri_dev_post *p, int y, int x, int c)
{
    const int r = p->shuffle, at = y % r * r + x % r;
    return p->permuted ? at * p->channels + c : c * r * r + at;
}

static void dev_post_item(const tsri_dev_post *p, const tsri_dev_map block)
{
    const tsri_rect d = p->dst.rect;
    const int r = p->shuffle;

    for (int y = d.y0; y < d.y1; y++)
        for (int x = d.x0; x < d.x1; x++)
            for (int c = 0; c < p->dst.lanes; c++) {
                float v = 0;
                if (c < p->channels || r == 1)
                    v = dev_at(&block, y / r, x / r)[dev_channel(p, y, x, c)];
                dev_at(&p->dst, y, x)[c] = dev_post(p, v, y, x, c);
            }
}

static tsr_error plain_dev_post(tsri_dev *dev, const tsri_dev_post *p)
{
    const tsri_dev_map block = { (void *)(uintptr_t)p->row, p->rect, p->lanes,
                                 p->dst.items };

    (void)dev;
    for (int i = 0; i < p->dst.items; i++) {
        tsri_dev_post one = *p;
        one.dst = dev_item(p->dst, i);
        for (int k = 0; k < 2; k++)
            one.arg[k] = dev_item(p->arg[k], i);
        dev_post_item(&one, dev_item(block, i));
    }
    return TSR_OK;
}

static void dev_norm_item(const tsri_dev_norm *n)
{
    const tsri_rect r = n->src.rect;
    const int size = n->channels / n->groups, lanes = n->src.lanes;
    const double count = (double)tsri_rows(r) * tsri_cols(r) * size;

    memset(n->out, 0, 3 * (size_t)lanes * sizeof *n->out);
    for (int g = 0; g < n->groups; g++) {
        double mean = 0, squares = 0;
        for (int pass = 0; pass < 2; pass++)
            for (int y = r.y0; y < r.y1; y++)
                for (int x = r.x0; x < r.x1; x++)
                    for (int c = g * size; c < (g + 1) * size; c++) {
                        const double v = dev_at(&n->src, y, x)[c];
                        if (!pass)
                            mean += v / count;
                        else
                            squares += (v - mean) * (v - mean) / count;
                    }
        for (int c = g * size; c < (g + 1) * size; c++) {
            n->out[c] = (float)mean;
            n->out[lanes + c] = (float)(n->weights[c] /
                                        sqrt(squares + (double)n->eps));
            n->out[2 * lanes + c] = (float)(n->weights[lanes + c] +
                (n->out[c] - mean) * n->out[lanes + c]);
        }
    }
}

static tsr_error plain_dev_norm(tsri_dev *dev, const tsri_dev_norm *n)
{
    (void)dev;
    for (int i = 0; i < n->src.items; i++) {
        tsri_dev_norm one = *n;
        one.src = dev_item(n->src, i);
        one.out = n->out + 3 * i * n->src.lanes;
        dev_norm_item(&one);
    }
    return TSR_OK;
}

/* One query; w: room for the weights of all keys. */
static void dev_query(const tsri_dev_attention *a, int y, int x, tsri_rect keys,
                      double *w)
{
    const float *q = dev_at(&a->q, y, x);
    const int cols = tsri_cols(keys), n = tsri_rows(keys) * cols;
    double most = -HUGE_VAL, sum = 0;

    for (int j = 0; j < n; j++) {
        const float *k = dev_at(&a->k, keys.y0 + j / cols, keys.x0 + j % cols);
        w[j] = 0;
        for (int c = 0; c < a->channels; c++)
            w[j] += (double)q[c] * k[c];
        w[j] /= sqrt(a->channels);
        most = fmax(most, w[j]);
    }
    for (int j = 0; j < n; j++)
        sum += w[j] = exp(w[j] - most);
    for (int c = 0; c < a->dst.lanes; c++) {
        double v = 0;
        for (int j = 0; j < n; j++)
            v += w[j] * dev_at(&a->v, keys.y0 + j / cols,
                               keys.x0 + j % cols)[c];
        dev_at(&a->dst, y, x)[c] = (float)(v / sum);
    }
}

static tsr_error plain_dev_attention(tsri_dev *dev, const tsri_dev_attention *a)
{
    const tsri_rect r = a->q.rect;
    double *w = tsri_alloc(dev->ctx, (size_t)tsri_rows(r) *
                           (size_t)tsri_cols(r), sizeof *w);

    if (!w)
        return tsri_nomem(dev->ctx);
    for (int i = 0; i < a->q.items; i++) {
        const tsri_dev_attention one = {
            dev_item(a->q, i), dev_item(a->k, i), dev_item(a->v, i),
            dev_item(a->dst, i), a->channels, a->windowed };
        for (int y = r.y0; y < r.y1; y++)
            for (int x = r.x0; x < r.x1; x++)
                dev_query(&one, y, x, a->windowed ?
                          tsri_attention_window(y, x, r.y1, r.x1) : r, w);
    }
    tsri_free(dev->ctx, w);
    return TSR_OK;
}

static const tsri_dev_ops plain_dev_ops = {
    .element = 4, .open = plain_dev_open, .close = plain_dev_close,
    .alloc = plain_dev_alloc, .free = plain_dev_free,
    .alloc_host = plain_dev_alloc, .free_host = plain_dev_free,
    .upload = plain_dev_copy, .download = plain_dev_copy,
    .wait = plain_dev_wait, .pack = plain_dev_pack, .unpack = plain_dev_unpack,
    .take = plain_dev_alloc, .give = plain_dev_free,
    .enter = plain_dev_enter, .leave = plain_dev_leave,
    .enter_map = plain_dev_enter_map, .leave_map = plain_dev_leave_map,
    .enter_pixels = plain_dev_enter_pixels,
    .leave_pixels = plain_dev_leave_pixels,
    .gather = plain_dev_gather, .conv = plain_dev_conv, .post = plain_dev_post,
    .norm = plain_dev_norm, .attention = plain_dev_attention
};

/** The host's backend that a context is opened with for `backend`. */
static inline const char *nn_host(const char *backend)
{
    return strcmp(backend, "device") ? backend : "c";
}

/** Makes a context opened so one of `backend`, "device" being this one. */
static inline void nn_use(tsr_context *ctx, const char *backend)
{
    static const tsri_nn_backend device = TSRI_NN_DEVICE_BACKEND("device",
                                                                 &plain_dev_ops);

    if (!strcmp(backend, "device"))
        ctx->nn = &device;
}

/** A context of a backend by name. */
static inline tsr_context *nn_context(const char *backend, int threads)
{
    tsr_context *ctx = check_context(nn_host(backend), threads);
    nn_use(ctx, backend);
    return ctx;
}
#endif
