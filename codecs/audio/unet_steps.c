/* SPDX-License-Identifier: BSD-2-Clause */
/* From the blocks of a UNet to steps of a device. */
#include "codecs/audio/unet_device_impl.h"

typedef tsri_unet_device device;

static tsr_error pack(device *d, const tsri_conv1d *layer, void **weights)
{
    TSR_TRY(tsri_grow(d->ctx, &d->packed, &d->pack_room, d->packs, 1,
                      sizeof *d->packed));
    const tsr_error error = d->ops->pack(d->dev, layer, weights);
    d->packed[d->packs++] = *weights;
    return error;
}

/* The net being made into steps: where the plane is. */
typedef struct maker {
    device *d;
    tsri_unet_flow f;
    int at;
    size_t shift;               /* of the next residual block */
} maker;

static int positions(const maker *m)
{
    return m->f.height * m->f.width;
}

static void *plane_of(const maker *m)
{
    return m->d->plane_x[m->at];
}

static tsr_error append(device *d, const tsri_unet_work *s)
{
    TSR_TRY(tsri_grow(d->ctx, &d->step, &d->step_room, d->steps, 1,
                      sizeof *d->step));
    d->step[d->steps++] = *s;
    return TSR_OK;
}

/* Rows of a layer, whose input has its taps side by side. */
static tsr_error make_layer(device *d, const tsri_conv1d *layer, const void *x,
                            int rows, const void *add, bool wide, void *y)
{
    tsri_unet_work s = { .kind = TSRI_UNET_WORK_CONV,
               .conv = { .conv = layer, .x = x, .made = rows * layer->taps,
                         .rows = rows, .add = add, .y = y, .wide = wide } };
    void *weights;

    TSR_TRY(pack(d, layer, &weights));
    s.conv.weights = weights;
    return append(d, &s);
}

static tsr_error linear(const maker *m, const tsri_conv1d *layer, const void *x,
                        const void *add, void *y)
{
    return make_layer(m->d, layer, x, TSRI_UNET_ITEMS * positions(m), add, false, y);
}

/* Goes on with the size of the result. */
static tsr_error conv(maker *m, const tsri_plane_conv *c, const void *x,
                      const void *add, bool wide, void *y)
{
    const tsri_unet_flow f = m->f;

    tsri_plane_conv_size(c, &m->f.height, &m->f.width);
    m->f.channels = c->layer.out;
    if (c->kernel == 3) {
        const tsri_unet_work s = { .kind = TSRI_UNET_WORK_GATHER, .gather = {
            .x = x, .y = m->d->gathered, .items = TSRI_UNET_ITEMS, .height = f.height,
            .width = f.width, .channels = c->layer.in, .rows = m->f.height,
            .columns = m->f.width, .stride = c->stride, .twice = c->twice } };
        TSR_TRY(append(m->d, &s));
        x = m->d->gathered;
    }
    return make_layer(m->d, &c->layer, x, TSRI_UNET_ITEMS * positions(m), add, wide, y);
}

static tsr_error norm(const maker *m, const tsri_unet_norm *n, const void *x,
                      float eps, const float *add, bool silu, void *y)
{
    tsri_unet_work s = { .kind = TSRI_UNET_WORK_NORM, .norm = {
        .x = x, .y = y, .items = TSRI_UNET_ITEMS, .positions = positions(m),
        .channels = n->channels, .groups = TSRI_UNET_GROUPS, .eps = eps,
        .add = add, .silu = silu } };
    float *weight;

    TSR_TRY(tsri_unet_device_put(m->d, &weight, n->weight, 2 * (size_t)n->channels));
    s.norm.weight = weight;
    return append(m->d, &s);
}

static tsr_error norm_rows(const maker *m, const tsri_unet_norm *n, const void *x,
                           void *y)
{
    tsri_unet_work s = { .kind = TSRI_UNET_WORK_ROWS, .rows = { .x = x, .y = y,
                                            .rows = TSRI_UNET_ITEMS * positions(m),
                                            .channels = n->channels } };
    float *weight;

    TSR_TRY(tsri_unet_device_put(m->d, &weight, n->weight, 2 * (size_t)n->channels));
    s.rows.weight = weight;
    return append(m->d, &s);
}

static tsr_error residual(maker *m, const tsri_unet_residual *b)
{
    device *d = m->d;
    void *x = plane_of(m), *y = d->work[1];
    const void *shortcut = x;
    const tsri_unet_flow f = m->f;

    TSR_TRY(norm(m, &b->norm1, x, TSRI_UNET_RESIDUAL_EPS, NULL, true, d->work[0]));
    TSR_TRY(conv(m, &b->conv1, d->work[0], NULL, false, y));
    TSR_TRY(norm(m, &b->norm2, y, TSRI_UNET_RESIDUAL_EPS, d->shift + m->shift,
                 true, y));
    m->shift += (size_t)b->conv1.layer.out;
    if (b->changes) {
        const tsri_unet_flow after = m->f;
        m->f = f;
        TSR_TRY(conv(m, &b->skip, x, NULL, false, d->work[2]));
        m->f = after;
        shortcut = d->work[2];
    }
    return conv(m, &b->conv2, y, shortcut, false, x);
}

/* A layer of the condition, which is run once a window. */
static tsr_error make_condition(device *d, const tsri_unet_attention *a,
                                tsri_unet_pair *c)
{
    const size_t n = (size_t)d->u->positions * (size_t)a->k.out;

    c->layer = a;
    TSR_TRY(pack(d, &a->k, &c->key_weights));
    TSR_TRY(pack(d, &a->v, &c->value_weights));
    TSR_TRY(tsri_unet_device_take_items(d, &c->key, n));
    return tsri_unet_device_take_items(d, &c->value, n);
}

/* x += attention of normed x to itself or a condition. */
static tsr_error attend(const maker *m, const tsri_unet_former *f, int which,
                        void *x)
{
    const tsri_unet_attention *a = &f->attention[which];
    device *d = m->d;
    const size_t size = TSRI_UNET_ITEMS * tsri_unet_floats(&m->f);
    void *k = tsri_unet_device_at(d, d->work[1], size);
    void *v = tsri_unet_device_at(d, d->work[1], 2 * size);
    tsri_unet_work s = { .kind = TSRI_UNET_WORK_ATTEND, .attend = {
        .q = d->work[1], .k = k, .v = v, .y = d->work[3], .items = TSRI_UNET_ITEMS,
        .n = positions(m), .m = positions(m), .channels = m->f.channels } };

    TSR_TRY(norm_rows(m, &f->norms[which], x, d->work[0]));
    TSR_TRY(linear(m, &a->q, d->work[0], NULL, d->work[1]));
    if (!which || f->condition < 0) {
        TSR_TRY(linear(m, &a->k, d->work[0], NULL, k));
        TSR_TRY(linear(m, &a->v, d->work[0], NULL, v));
    } else {
        tsri_unet_pair *c = &d->condition[f->condition];
        TSR_TRY(make_condition(d, a, c));
        s.attend.k = c->key;
        s.attend.v = c->value;
        s.attend.m = d->u->positions;
    }
    TSR_TRY(append(d, &s));
    return linear(m, &a->out, d->work[3], x, x);
}

static tsr_error former(maker *m, const tsri_unet_former *f)
{
    device *d = m->d;
    void *x = plane_of(m), *y = d->plane_x[1 - m->at];
    const tsri_unet_work gate = { .kind = TSRI_UNET_WORK_GATE, .gate = {
        .x = d->work[1], .y = d->work[2], .rows = TSRI_UNET_ITEMS * positions(m),
        .channels = 4 * m->f.channels } };

    TSR_TRY(norm(m, &f->norm, x, TSRI_UNET_FORMER_EPS, NULL, false, d->work[0]));
    TSR_TRY(linear(m, &f->in, d->work[0], NULL, y));
    TSR_TRY(attend(m, f, 0, y));
    TSR_TRY(attend(m, f, 1, y));
    TSR_TRY(norm_rows(m, &f->norms[2], y, d->work[0]));
    TSR_TRY(linear(m, &f->up, d->work[0], NULL, d->work[1]));
    TSR_TRY(append(d, &gate));
    TSR_TRY(linear(m, &f->down, d->work[2], y, y));
    return linear(m, &f->out, y, x, x);
}

static tsr_error block(maker *m, const tsri_unet_block *b)
{
    for (int i = 0; i < b->parts; i++) {
        const tsri_unet_part *p = &b->part[i];
        if (p->kind == TSRI_UNET_RESIDUAL) {
            TSR_TRY(residual(m, p->residual));
        } else if (p->kind == TSRI_UNET_FORMER) {
            TSR_TRY(former(m, p->former));
        } else {
            const void *x = plane_of(m);
            m->at = 1 - m->at;
            TSR_TRY(conv(m, &p->conv, x, NULL, false, plane_of(m)));
        }
    }
    return TSR_OK;
}

static tsr_error copy(device *d, void *to, const void *from, size_t numbers)
{
    const tsri_unet_work s = { .kind = TSRI_UNET_WORK_COPY,
                     .copy = { to, from, TSRI_UNET_ITEMS * numbers * d->element } };
    return append(d, &s);
}

static tsr_error join(maker *m, const void *kept, int channels)
{
    tsri_unet_work s = { .kind = TSRI_UNET_WORK_JOIN, .join = {
        .a = plane_of(m), .b = kept, .rows = TSRI_UNET_ITEMS * positions(m),
        .a_channels = m->f.channels, .b_channels = channels } };

    m->f.channels += channels;
    m->at = 1 - m->at;
    s.join.y = plane_of(m);
    return append(m->d, &s);
}

tsr_error tsri_unet_device_plan(tsri_unet_device *d)
{
    tsri_unet *u = d->u;
    maker m = { .d = d, .f = { u->height, u->width, u->channels } };
    int channels[TSRI_UNET_BLOCKS];

    TSR_TRY(copy(d, plane_of(&m), d->numbers, d->n));
    for (int i = 0; i < u->ins; i++) {
        TSR_TRY(block(&m, &u->in[i]));
        TSR_TRY(copy(d, d->skip[i], plane_of(&m), tsri_unet_floats(&m.f)));
        channels[i] = m.f.channels;
    }
    TSR_TRY(block(&m, &u->middle));
    for (int i = 0; i < u->outs; i++) {
        const int from = u->ins - 1 - i;
        TSR_TRY(join(&m, d->skip[from], channels[from]));
        TSR_TRY(block(&m, &u->out[i]));
    }
    TSR_TRY(norm(&m, &u->last, plane_of(&m), TSRI_UNET_RESIDUAL_EPS, NULL, true,
                 d->work[0]));
    return conv(&m, &u->end, d->work[0], NULL, true, d->v);
}
