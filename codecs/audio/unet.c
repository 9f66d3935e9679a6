/* SPDX-License-Identifier: BSD-2-Clause */
/* A UNet at work. */
#include <math.h>
#include <string.h>
#include "codecs/audio/unet_impl.h"

static const double period = 10000;

typedef tsri_unet_flow flow;

static tsr_error make_memory(tsri_unet *u, const tsr_model *model)
{
    flow kept[TSRI_UNET_BLOCKS];
    tsri_unet_sizes s;

    if (!tsri_unet_size(u, &s, kept))
        return tsri_fail(u->ctx, TSR_E_SHAPE, "%s: 'model.diffusion_model' does "
                         "not fit the network", tsr_model_path(model));
    u->macs = s.macs;
    u->condition_macs = s.condition_macs;
    bool good = true;
    for (int i = 0; i < u->ins; i++)
        good = (u->skip[i] = tsri_alloc(u->ctx, tsri_unet_floats(&kept[i]),
                                        sizeof **u->skip)) && good;
    for (int i = 0; i < 2; i++)
        good = (u->x[i] = tsri_alloc(u->ctx, s.plane, sizeof **u->x)) && good;
    for (int i = 0; i < 4; i++)
        good = (u->work[i] = tsri_alloc(u->ctx, s.work[i],
                                        sizeof **u->work)) && good;
    u->time_floats = tsri_alloc(u->ctx, 3 * (size_t)s.wide,
                                sizeof *u->time_floats);
    if (!good || !u->time_floats)
        return tsri_nomem(u->ctx);
    return tsri_plane_open(&u->run, u->ctx, s.read, s.keys);
}

tsr_error tsri_unet_open(tsri_unet **out, tsr_context *ctx,
                         const tsr_model *model, int height, int width,
                         int positions, int context)
{
    tsri_unet *u = tsri_calloc(ctx, 1, sizeof *u);

    *out = u;
    if (!u)
        return tsri_nomem(ctx);
    u->ctx = ctx;
    u->height = height;
    u->width = width;
    u->positions = positions;
    u->context = context;
    tsr_error error = tsri_unet_load(u, model);
    if (!error)
        error = make_memory(u, model);
    if (error)
        tsri_unet_close(out);
    return error;
}

void tsri_unet_close(tsri_unet **out)
{
    tsri_unet *u = *out;

    *out = NULL;
    if (!u)
        return;
    tsri_unet_unload(u);
    for (int i = 0; i < TSRI_UNET_BLOCKS; i++)
        tsri_free(u->ctx, u->skip[i]);
    for (int i = 0; i < 2; i++)
        tsri_free(u->ctx, u->x[i]);
    for (int i = 0; i < 4; i++)
        tsri_free(u->ctx, u->work[i]);
    tsri_free(u->ctx, u->time_floats);
    tsri_plane_close(&u->run);
    tsri_free(u->ctx, u);
}

int tsri_unet_channels(const tsri_unet *u)
{
    return u->channels;
}

double tsri_unet_macs(const tsri_unet *u)
{
    return u->macs;
}

double tsri_unet_condition_macs(const tsri_unet *u)
{
    return u->condition_macs;
}

/* ---- conditions ---- */

static tsr_error make_condition(tsri_unet_condition *c, tsri_unet *u,
                                const tsri_unet_block *b, const float *context)
{
    for (int i = 0; i < b->parts; i++) {
        const tsri_unet_former *f = b->part[i].former;
        if (!f || f->condition < 0)
            continue;
        const tsri_unet_attention *a = &f->attention[1];
        const size_t n = (size_t)u->positions, row = (size_t)u->context;
        float **key = &c->key[f->condition], **value = &c->value[f->condition];
        *key = tsri_alloc(u->ctx, n, (size_t)a->k.out * sizeof **key);
        *value = tsri_alloc(u->ctx, n, (size_t)a->v.out * sizeof **value);
        if (!*key || !*value)
            return TSR_E_NOMEM;
        TSR_TRY(tsri_plane_linear(&u->run, &a->k, context, row, u->positions,
                                  NULL, *key));
        TSR_TRY(tsri_plane_linear(&u->run, &a->v, context, row, u->positions,
                                  NULL, *value));
    }
    return TSR_OK;
}

tsr_error tsri_unet_condition_open(tsri_unet_condition **out, tsri_unet *u,
                                   const float *context)
{
    const size_t n = (size_t)u->conditions + 1;
    tsri_unet_condition *c = tsri_calloc(u->ctx, 1, sizeof *c);
    tsr_error error = TSR_E_NOMEM;

    *out = c;
    if (c) {
        c->key = tsri_calloc(u->ctx, n, sizeof *c->key);
        c->value = tsri_calloc(u->ctx, n, sizeof *c->value);
    }
    if (c && c->key && c->value)
        error = make_condition(c, u, &u->middle, context);
    for (int i = 0; i < u->ins && !error; i++)
        error = make_condition(c, u, &u->in[i], context);
    for (int i = 0; i < u->outs && !error; i++)
        error = make_condition(c, u, &u->out[i], context);
    if (error) {
        tsri_unet_condition_close(out, u);
        return tsri_nomem(u->ctx);
    }
    return TSR_OK;
}

void tsri_unet_condition_close(tsri_unet_condition **out, tsri_unet *u)
{
    tsri_unet_condition *c = *out;

    *out = NULL;
    if (!c)
        return;
    for (int i = 0; c->key && c->value && i < u->conditions; i++) {
        tsri_free(u->ctx, c->key[i]);
        tsri_free(u->ctx, c->value[i]);
    }
    tsri_free(u->ctx, c->key);
    tsri_free(u->ctx, c->value);
    tsri_free(u->ctx, c);
}

/* ---- running ---- */

/* A run: the plane is u->x[at]. */
typedef struct runner {
    tsri_unet *u;
    const tsri_unet_condition *condition;
    flow f;
    int at;
} runner;

static int positions(const runner *r)
{
    return r->f.height * r->f.width;
}

static tsr_error norm(const runner *r, const tsri_unet_norm *n, const float *x,
                      float eps, bool silu, float *y)
{
    return tsri_plane_norm(&r->u->run, x, positions(r), n->channels,
                           TSRI_UNET_GROUPS, eps, n->weight,
                           n->weight + n->channels, silu, y);
}

static void silu(float *x, int n)
{
    for (int i = 0; i < n; i++)
        x[i] = x[i] / (1 + expf(-x[i]));
}

tsr_error tsri_unet_embed(tsri_unet *u, int t)
{
    const int half = u->first / 2, wide = 4 * u->first;
    float *a = u->time_floats, *b = a + wide;

    for (int i = 0; i < half; i++) {
        const double angle = t * exp(-log(period) * i / half);
        a[i] = (float)cos(angle);
        a[half + i] = (float)sin(angle);
    }
    TSR_TRY(tsri_plane_linear(&u->run, &u->time[0], a, 0, 1, NULL, b));
    silu(b, wide);
    TSR_TRY(tsri_plane_linear(&u->run, &u->time[1], b, 0, 1, NULL, a));
    silu(a, wide);
    return TSR_OK;
}

static tsr_error residual(runner *r, const tsri_unet_residual *b)
{
    tsri_unet *u = r->u;
    float *x = u->x[r->at], *y = u->work[1], *shortcut = x;
    float *emb = u->time_floats + 4 * u->first;
    const size_t c = (size_t)b->conv1.layer.out;

    TSR_TRY(norm(r, &b->norm1, x, TSRI_UNET_RESIDUAL_EPS, true, u->work[0]));
    TSR_TRY(tsri_plane_linear(&u->run, &b->time, u->time_floats, 0, 1, NULL, emb));
    TSR_TRY(tsri_plane_conv_run(&u->run, &b->conv1, u->work[0], r->f.height,
                                r->f.width, NULL, y));
    for (int i = 0; i < positions(r); i++)
        for (size_t k = 0; k < c; k++)
            y[(size_t)i * c + k] += emb[k];
    TSR_TRY(norm(r, &b->norm2, y, TSRI_UNET_RESIDUAL_EPS, true, y));
    if (b->changes) {
        shortcut = u->work[2];
        TSR_TRY(tsri_plane_conv_run(&u->run, &b->skip, x, r->f.height, r->f.width,
                                    NULL, shortcut));
    }
    r->f.channels = (int)c;
    return tsri_plane_conv_run(&u->run, &b->conv2, y, r->f.height, r->f.width,
                               shortcut, x);
}

/* x += attention of normed x to itself or a condition. */
static tsr_error attend(const runner *r, const tsri_unet_former *f, int which,
                        float *x)
{
    const tsri_unet_attention *a = &f->attention[which];
    const int n = positions(r), c = f->norm.channels;
    const bool own = !which || f->condition < 0;
    const size_t row = (size_t)c, size = (size_t)n * row;
    tsri_unet *u = r->u;
    float *normed = u->work[0], *q = u->work[1], *result = u->work[3];
    const float *k = q + size, *v = k + size;

    tsri_layer_norm(x, n, c, f->norms[which].weight, f->norms[which].weight + c,
                    normed);
    TSR_TRY(tsri_plane_linear(&u->run, &a->q, normed, row, n, NULL, q));
    if (own) {
        TSR_TRY(tsri_plane_linear(&u->run, &a->k, normed, row, n, NULL, q + size));
        TSR_TRY(tsri_plane_linear(&u->run, &a->v, normed, row, n, NULL,
                                  q + 2 * size));
    } else {
        k = r->condition->key[f->condition];
        v = r->condition->value[f->condition];
    }
    TSR_TRY(tsri_plane_attend(&u->run, q, n, k, v, own ? n : u->positions, c,
                              result));
    return tsri_plane_linear(&u->run, &a->out, result, row, n, x, x);
}

static tsr_error former(runner *r, const tsri_unet_former *f)
{
    const int n = positions(r), c = f->norm.channels;
    const size_t row = (size_t)c;
    tsri_unet *u = r->u;
    float *x = u->x[r->at], *y = u->x[1 - r->at];

    TSR_TRY(norm(r, &f->norm, x, TSRI_UNET_FORMER_EPS, false, u->work[0]));
    TSR_TRY(tsri_plane_linear(&u->run, &f->in, u->work[0], row, n, NULL, y));
    TSR_TRY(attend(r, f, 0, y));
    TSR_TRY(attend(r, f, 1, y));
    tsri_layer_norm(y, n, c, f->norms[2].weight, f->norms[2].weight + c,
                    u->work[0]);
    TSR_TRY(tsri_plane_linear(&u->run, &f->up, u->work[0], row, n, NULL,
                              u->work[1]));
    TSR_TRY(tsri_plane_geglu(&u->run, u->work[1], n, 4 * c, u->work[2]));
    TSR_TRY(tsri_plane_linear(&u->run, &f->down, u->work[2], 4 * row, n, y, y));
    return tsri_plane_linear(&u->run, &f->out, y, row, n, x, x);
}

static tsr_error block(runner *r, const tsri_unet_block *b)
{
    tsri_unet *u = r->u;

    for (int i = 0; i < b->parts; i++) {
        const tsri_unet_part *p = &b->part[i];
        if (p->kind == TSRI_UNET_RESIDUAL) {
            TSR_TRY(residual(r, p->residual));
            continue;
        }
        if (p->kind == TSRI_UNET_FORMER) {
            TSR_TRY(former(r, p->former));
            continue;
        }
        TSR_TRY(tsri_plane_conv_run(&u->run, &p->conv, u->x[r->at], r->f.height,
                                    r->f.width, NULL, u->x[1 - r->at]));
        tsri_plane_conv_size(&p->conv, &r->f.height, &r->f.width);
        r->f.channels = p->conv.layer.out;
        r->at = 1 - r->at;
    }
    return TSR_OK;
}

/* What the first half kept, beside the plane. */
static void join(runner *r, const float *kept, int channels)
{
    const size_t a = (size_t)r->f.channels, b = (size_t)channels;
    const float *x = r->u->x[r->at];
    float *y = r->u->x[1 - r->at];

    for (int i = 0; i < positions(r); i++, x += a, kept += b, y += a + b) {
        memcpy(y, x, a * sizeof *y);
        memcpy(y + a, kept, b * sizeof *y);
    }
    r->f.channels += channels;
    r->at = 1 - r->at;
}

tsr_error tsri_unet_run(tsri_unet *u, const float *x, int t,
                        const tsri_unet_condition *condition, float *y)
{
    runner r = { .u = u, .condition = condition,
                 .f = { u->height, u->width, u->channels } };
    int channels[TSRI_UNET_BLOCKS];

    TSR_TRY(tsri_unet_embed(u, t));
    memcpy(u->x[0], x, tsri_unet_floats(&r.f) * sizeof *x);
    for (int i = 0; i < u->ins; i++) {
        TSR_TRY(block(&r, &u->in[i]));
        memcpy(u->skip[i], u->x[r.at], tsri_unet_floats(&r.f) * sizeof *x);
        channels[i] = r.f.channels;
    }
    TSR_TRY(block(&r, &u->middle));
    for (int i = 0; i < u->outs; i++) {
        const int from = u->ins - 1 - i;
        join(&r, u->skip[from], channels[from]);
        TSR_TRY(block(&r, &u->out[i]));
    }
    TSR_TRY(norm(&r, &u->last, u->x[r.at], TSRI_UNET_RESIDUAL_EPS, true, u->work[0]));
    return tsri_plane_conv_run(&u->run, &u->end, u->work[0], r.f.height,
                               r.f.width, NULL, y);
}
