/* SPDX-License-Identifier: BSD-2-Clause */
/* The operations of lib/nn/seq_device.h in plain C on the host, in floats: the
 * oracle of a device's kernels, and a device for machines that have none. */
#ifndef TSR_TESTS_SEQ_DEVICE_PLAIN_H
#define TSR_TESTS_SEQ_DEVICE_PLAIN_H
#include <math.h>
#include "lib/nn/seq_device.h"
#include "tests/check.h"

enum { PLAIN_SEQ_LATER = 256 };

struct tsri_seq_dev {
    tsr_context *ctx;
    int steps;              /* that still succeed */
    /* What is done aside is done as late as can be. */
    int aside, waiting;
    struct plain_seq_later {
        bool recurrent;
        tsri_seq_dev_conv conv;
        tsri_seq_dev_lstm lstm;
    } later[PLAIN_SEQ_LATER];
};

/* Of devices that are opened: how many steps succeed. */
static int plain_seq_steps = 1 << 30;

static tsr_error plain_seq_open(tsri_seq_dev **dev, tsr_context *ctx,
                                int *element)
{
    *element = sizeof(float);
    *dev = tsri_calloc(ctx, 1, sizeof **dev);
    if (!*dev)
        return tsri_nomem(ctx);
    (*dev)->ctx = ctx;
    (*dev)->steps = plain_seq_steps;
    return TSR_OK;
}

static void plain_seq_close(tsri_seq_dev **dev)
{
    tsri_free((*dev)->ctx, *dev);
    *dev = NULL;
}

/* Poisoned, as device memory is not cleared. */
static tsr_error plain_seq_alloc(tsri_seq_dev *dev, void **mem, size_t bytes)
{
    *mem = tsri_alloc(dev->ctx, bytes, 1);
    if (!*mem)
        return tsri_nomem(dev->ctx);
    memset(*mem, 0xff, bytes);
    return TSR_OK;
}

static void plain_seq_free(tsri_seq_dev *dev, void *mem)
{
    tsri_free(dev->ctx, mem);
}

static tsr_error plain_seq_copy(tsri_seq_dev *dev, void *to, const void *from,
                                size_t bytes)
{
    const char *a = to, *b = from;
    (void)dev;
    assert_true(a + bytes <= b || b + bytes <= a);
    memcpy(to, from, bytes);
    return TSR_OK;
}

static tsr_error plain_seq_clear(tsri_seq_dev *dev, void *to, size_t bytes)
{
    (void)dev;
    memset(to, 0, bytes);
    return TSR_OK;
}

static tsr_error plain_seq_wait(tsri_seq_dev *dev)
{
    assert_int_equal(dev->waiting, 0);
    return TSR_OK;
}

static tsr_error plain_seq_enter(tsri_seq_dev *dev, void *to, const float *from,
                                 size_t n)
{
    return plain_seq_copy(dev, to, from, n * sizeof *from);
}

static tsr_error plain_seq_leave(tsri_seq_dev *dev, float *to, const void *from,
                                 size_t n)
{
    return plain_seq_copy(dev, to, from, n * sizeof *to);
}

/* ---- weights ---- */

/* [out][taps][in] */
static tsr_error plain_seq_pack(tsri_seq_dev *dev, const tsri_conv1d *c,
                                void **out)
{
    float *w = tsri_alloc(dev->ctx, (size_t)c->out * (size_t)c->taps,
                          (size_t)c->in * sizeof *w);
    *out = w;
    for (int o = 0; w && o < c->out; o++)
        for (int t = 0; t < c->taps; t++)
            for (int i = 0; i < c->in; i++)
                *w++ = tsri_conv1d_weight(c, o, i, t);
    return w ? TSR_OK : tsri_nomem(dev->ctx);
}

/* [4][hidden][hidden] */
static tsr_error plain_seq_pack_lstm(tsri_seq_dev *dev, const tsri_lstm *l,
                                     void **out)
{
    float *w = tsri_alloc(dev->ctx, 4 * (size_t)l->hidden,
                          (size_t)l->hidden * sizeof *w);
    *out = w;
    for (int g = 0; w && g < 4; g++)
        for (int u = 0; u < l->hidden; u++)
            for (int k = 0; k < l->hidden; k++)
                *w++ = tsri_lstm_weight(l, g, u, k);
    return w ? TSR_OK : tsri_nomem(dev->ctx);
}

/* ---- steps ---- */

static tsr_error plain_seq_begin(tsri_seq_dev *dev)
{
    return dev->steps-- > 0 ? TSR_OK :
           tsri_fail(dev->ctx, TSR_E_BACKEND, "the device has failed");
}

static float plain_seq_curve(const tsri_seq_dev_curve *k, float x, size_t i)
{
    float y;
    tsri_curve_plain(k->curve, k->slope, k->curve == TSRI_CURVE_SNAKE ?
                     k->alpha + i % (size_t)k->period : NULL, &x, 1, 1, &y);
    return y;
}

/* NULL: zeros */
static const float *plain_seq_sample(const tsri_seq_dev_conv *c, int i)
{
    const bool behind = i >= c->made;
    const int from = i < 0 ? -i : behind ? 2 * c->top - i : i;

    if ((i < 0 && !c->reflect_front) || (behind && !c->reflect_back) ||
        from >= c->made)
        return NULL;
    assert_true(from >= 0);
    return (const float *)c->x + (size_t)from * (size_t)c->conv->in;
}

static float plain_seq_sum(const tsri_seq_dev_conv *c, int t, int o)
{
    const tsri_conv1d *l = c->conv;
    const float *w = (const float *)c->weights +
                     (size_t)o * (size_t)l->taps * (size_t)l->in;
    float sum = l->bias[o];

    for (int tap = 0; tap < l->taps; tap++, w += l->in) {
        const float *x = plain_seq_sample(c, c->first + t * l->stride +
                                             tap * l->dilation);
        for (int i = 0; x && i < l->in; i++)
            sum += w[i] * x[i];
    }
    return sum;
}

static struct plain_seq_later *plain_seq_next(tsri_seq_dev *dev)
{
    assert_true(dev->waiting < PLAIN_SEQ_LATER);
    return &dev->later[dev->waiting++];
}

static tsr_error plain_seq_conv(tsri_seq_dev *dev, const tsri_seq_dev_conv *c)
{
    const size_t out = (size_t)c->conv->out;
    const float *add = c->add;
    float *y = c->y;

    if (dev->aside) {
        *plain_seq_next(dev) = (struct plain_seq_later){ .conv = *c };
        return TSR_OK;
    }
    TSR_TRY(plain_seq_begin(dev));
    for (int t = 0; t < c->rows; t++)
        for (size_t o = 0; o < out; o++) {
            const float sum = plain_seq_sum(c, t, (int)o) +
                              (add ? *add++ : 0);
            *y++ = c->wide ? sum : plain_seq_curve(&c->curve, sum, o);
        }
    return TSR_OK;
}

static float plain_seq_sigmoid(float x)
{
    return 1 / (1 + expf(-x));
}

static tsr_error plain_seq_lstm(tsri_seq_dev *dev, const tsri_seq_dev_lstm *l)
{
    const size_t h = (size_t)l->lstm->hidden;
    const float *w = l->weights;
    float *y = l->y, g[4];

    if (dev->aside) {
        *plain_seq_next(dev) = (struct plain_seq_later){ true, .lstm = *l };
        return TSR_OK;
    }
    TSR_TRY(plain_seq_begin(dev));
    float *next = malloc(h * sizeof *next);
    for (int t = 0; t < l->rows; t++, y += h) {
        for (size_t u = 0; u < h; u++) {
            for (size_t k = 0; k < 4; k++) {
                g[k] = l->gates[((size_t)t * 4 + k) * h + u];
                for (size_t i = 0; i < h; i++)
                    g[k] += w[(k * h + u) * h + i] * l->state[i];
            }
            float *c = l->state + h + u;
            *c = plain_seq_sigmoid(g[1]) * *c +
                 plain_seq_sigmoid(g[0]) * tanhf(g[2]);
            next[u] = plain_seq_sigmoid(g[3]) * tanhf(*c);
            y[u] = plain_seq_curve(&l->curve, next[u], u);
        }
        memcpy(l->state, next, h * sizeof *next);
    }
    free(next);
    return TSR_OK;
}

static tsr_error plain_seq_aside(tsri_seq_dev *dev)
{
    TSR_TRY(plain_seq_begin(dev));
    assert_true(dev->aside < 2);
    dev->aside++;
    return TSR_OK;
}

static void plain_seq_back(tsri_seq_dev *dev)
{
    dev->aside--;
}

static tsr_error plain_seq_join(tsri_seq_dev *dev)
{
    tsr_error error = TSR_OK;

    assert_int_equal(dev->aside, 0);
    for (int i = 0; i < dev->waiting && !error; i++)
        error = dev->later[i].recurrent ?
                plain_seq_lstm(dev, &dev->later[i].lstm) :
                plain_seq_conv(dev, &dev->later[i].conv);
    dev->waiting = 0;
    return error;
}

static tsr_error plain_seq_rows(tsri_seq_dev *dev, const tsri_seq_dev_rows *r)
{
    const size_t channels = (size_t)r->channels;
    const float *x = r->x, *add = r->add;
    float *y = r->y;

    TSR_TRY(plain_seq_begin(dev));
    for (size_t i = 0; i < r->rows * channels; i++) {
        const size_t c = i % channels;
        const float v = r->shift ? (x[i] - r->shift[c]) *
                                   r->shift[channels + c] + r->bias[c] :
                        r->scale * (add ? x[i] + add[i] : x[i]);
        y[i] = plain_seq_curve(&r->curve, v, c);
    }
    return TSR_OK;
}

static tsr_error plain_seq_measure(tsri_seq_dev *dev,
                                   const tsri_seq_dev_measure *m)
{
    const int each = m->channels / m->groups;
    const double n = (double)m->length * each;
    const float *x = m->x;

    TSR_TRY(plain_seq_begin(dev));
    for (int c = 0; c < m->channels; c++) {
        const int from = c / each * each;
        double mean = 0, var = 0;
        for (size_t t = 0; t < m->length; t++)
            for (int k = from; k < from + each; k++)
                mean += x[t * (size_t)m->channels + (size_t)k] / n;
        for (size_t t = 0; t < m->length; t++)
            for (int k = from; k < from + each; k++)
                var += pow(x[t * (size_t)m->channels + (size_t)k] - mean, 2) / n;
        m->shift[c] = (float)mean;
        m->shift[m->channels + c] = (float)(m->weight[c] /
                                            sqrt(var + (double)m->eps));
    }
    return TSR_OK;
}

static const tsri_seq_ops plain_seq_ops = {
    .open = plain_seq_open, .close = plain_seq_close, .alloc = plain_seq_alloc,
    .free = plain_seq_free, .alloc_host = plain_seq_alloc,
    .free_host = plain_seq_free, .upload = plain_seq_copy,
    .download = plain_seq_copy, .copy = plain_seq_copy,
    .clear = plain_seq_clear, .wait = plain_seq_wait,
    .aside = plain_seq_aside, .back = plain_seq_back, .join = plain_seq_join,
    .enter = plain_seq_enter, .leave = plain_seq_leave, .pack = plain_seq_pack,
    .pack_lstm = plain_seq_pack_lstm, .unpack = plain_seq_free,
    .conv = plain_seq_conv, .lstm = plain_seq_lstm, .rows = plain_seq_rows,
    .measure = plain_seq_measure
};

/** A context whose one-dimensional nets run on the plain device. */
static inline tsr_context *plain_seq_context(void)
{
    tsr_context *ctx = check_context("c", 1);
    ctx->seq = &plain_seq_ops;
    return ctx;
}
#endif
