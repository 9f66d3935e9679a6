/* SPDX-License-Identifier: BSD-2-Clause */
#include <string.h>
#include "codecs/audio/unet_device_impl.h"

typedef tsri_unet_device device;

/* ---- memory ---- */

tsr_error tsri_unet_device_take(device *d, void **mem, size_t bytes)
{
    TSR_TRY(tsri_grow(d->ctx, &d->memory, &d->memory_room, d->memories, 1,
                      sizeof *d->memory));
    TSR_TRY(d->ops->alloc(d->dev, mem, bytes));
    d->memory[d->memories++] = *mem;
    return TSR_OK;
}

tsr_error tsri_unet_device_take_items(device *d, void **mem, size_t n)
{
    return tsri_unet_device_take(d, mem, (n ? n : 1) * TSRI_UNET_ITEMS * d->element);
}

tsr_error tsri_unet_device_put(device *d, float **to, const float *from, size_t n)
{
    TSR_TRY(tsri_unet_device_take(d, (void **)to, n * sizeof **to));
    return d->ops->upload(d->dev, *to, from, n * sizeof **to);
}

/* ---- what residual blocks add ---- */

/* Writes what those of a block add, for time_floats, and moves on. */
static tsr_error block_shifts(tsri_unet *u, const tsri_unet_block *b, float **to,
                              size_t *n)
{
    for (int i = 0; i < b->parts; i++) {
        const tsri_unet_residual *r = b->part[i].residual;
        if (!r)
            continue;
        if (*to) {
            TSR_TRY(tsri_plane_linear(&u->run, &r->time, u->time_floats, 0, 1,
                                      NULL, *to));
            *to += r->time.out;
        }
        *n += (size_t)r->time.out;
    }
    return TSR_OK;
}

/* All blocks in the order of the steps; to: NULL: only counts. */
static tsr_error all_shifts(tsri_unet *u, float *to, size_t *n)
{
    *n = 0;
    for (int i = 0; i < u->ins; i++)
        TSR_TRY(block_shifts(u, &u->in[i], &to, n));
    TSR_TRY(block_shifts(u, &u->middle, &to, n));
    for (int i = 0; i < u->outs; i++)
        TSR_TRY(block_shifts(u, &u->out[i], &to, n));
    return TSR_OK;
}

static tsr_error make_table(device *d, const int *time, int times)
{
    TSR_TRY(all_shifts(d->u, NULL, &d->shifts));
    const size_t all = (size_t)times * d->shifts;
    float *table = tsri_alloc(d->ctx, all, sizeof *table);
    tsr_error error = table ? TSR_OK : tsri_nomem(d->ctx);
    for (int i = 0; i < times && !error; i++) {
        error = tsri_unet_embed(d->u, time[i]);
        if (!error)
            error = all_shifts(d->u, table + (size_t)i * d->shifts, &d->shifts);
    }
    if (!error)
        error = tsri_unet_device_put(d, &d->table, table, all);
    if (!error)
        error = d->ops->wait(d->dev);
    tsri_free(d->ctx, table);
    return error ? error : tsri_unet_device_take(d, (void **)&d->shift,
                                d->shifts * sizeof *d->shift);
}

/* ---- conditions ---- */

/* Keys and values of an item. */
static tsr_error set_condition(device *d, int item, const float *context)
{
    const size_t rows = (size_t)d->u->positions;
    const size_t n = rows * (size_t)d->u->context;

    TSR_TRY(d->ops->upload(d->dev, d->context_floats, context,
                           n * sizeof *context));
    TSR_TRY(d->ops->enter(d->dev, d->context, d->context_floats, n));
    for (int i = 0; i < d->u->conditions; i++) {
        const tsri_unet_pair *c = &d->condition[i];
        const size_t from = (size_t)item * rows * (size_t)c->layer->k.out;
        tsri_seq_dev_conv k = { .conv = &c->layer->k, .weights = c->key_weights,
                                .x = d->context, .made = (int)rows,
                                .rows = (int)rows,
                                .y = tsri_unet_device_at(d, c->key, from) };
        TSR_TRY(d->ops->conv(d->dev, &k));
        k.conv = &c->layer->v;
        k.weights = c->value_weights;
        k.y = tsri_unet_device_at(d, c->value, from);
        TSR_TRY(d->ops->conv(d->dev, &k));
    }
    return TSR_OK;
}

/* ---- opening ---- */

static tsr_error make_memory(device *d)
{
    tsri_unet *u = d->u;
    const size_t context = (size_t)u->positions * (size_t)u->context;
    tsri_unet_flow kept[TSRI_UNET_BLOCKS];
    tsri_unet_sizes s;

    tsri_unet_size(u, &s, kept);
    d->n = (size_t)u->height * (size_t)u->width * (size_t)u->channels;
    for (int i = 0; i < u->ins; i++)
        TSR_TRY(tsri_unet_device_take_items(d, &d->skip[i],
                                            tsri_unet_floats(&kept[i])));
    for (int i = 0; i < 2; i++)
        TSR_TRY(tsri_unet_device_take_items(d, &d->plane_x[i], s.plane));
    for (int i = 0; i < 4; i++)
        TSR_TRY(tsri_unet_device_take_items(d, &d->work[i], s.work[i]));
    TSR_TRY(tsri_unet_device_take_items(d, &d->gathered, s.gathered));
    TSR_TRY(tsri_unet_device_take_items(d, &d->numbers, d->n));
    TSR_TRY(tsri_unet_device_take(d, (void **)&d->x, d->n * sizeof *d->x));
    TSR_TRY(tsri_unet_device_take(d, (void **)&d->v,
                                  TSRI_UNET_ITEMS * d->n * sizeof *d->v));
    TSR_TRY(tsri_unet_device_take(d, (void **)&d->noise, d->n * sizeof *d->noise));
    TSR_TRY(tsri_unet_device_take(d, (void **)&d->context_floats,
                                  context * sizeof(float)));
    TSR_TRY(tsri_unet_device_take(d, &d->context, context * d->element));
    d->condition = tsri_calloc(d->ctx, (size_t)u->conditions + 1,
                               sizeof *d->condition);
    if (!d->condition)
        return tsri_nomem(d->ctx);
    return d->ops->alloc_host(d->dev, (void **)&d->ahead,
                              TSRI_UNET_AHEAD * d->n * sizeof *d->ahead);
}

static tsr_error open_all(device *d, const float *none, const int *time, int times)
{
    int element;

    TSR_TRY(d->ops->open(&d->dev, d->ctx, &element));
    d->element = (size_t)element;
    TSR_TRY(make_memory(d));
    TSR_TRY(make_table(d, time, times));
    TSR_TRY(tsri_unet_device_plan(d));
    TSR_TRY(set_condition(d, 0, none));
    return d->ops->wait(d->dev);
}

tsr_error tsri_unet_device_open(tsri_unet_device **out, tsri_unet *u,
                                const float *none, const int *time, int times)
{
    const tsri_seq_ops *ops = tsri_seq_device_of(u->ctx, true);

    *out = NULL;
    if (!ops || !ops->plane)
        return TSR_OK;
    device *d = *out = tsri_calloc(u->ctx, 1, sizeof *d);
    if (!d)
        return tsri_nomem(u->ctx);
    d->u = u;
    d->ctx = u->ctx;
    d->ops = ops;
    d->plane = ops->plane;
    const tsr_error error = open_all(d, none, time, times);
    if (error)
        tsri_unet_device_close(out);
    return error;
}

void tsri_unet_device_close(tsri_unet_device **out)
{
    device *d = *out;

    *out = NULL;
    if (!d)
        return;
    if (d->dev) {
        d->plane->forget(d->dev, d->record);
        for (size_t i = 0; i < d->packs; i++)
            d->ops->unpack(d->dev, d->packed[i]);
        for (size_t i = 0; i < d->memories; i++)
            d->ops->free(d->dev, d->memory[i]);
        d->ops->free_host(d->dev, d->ahead);
        d->ops->close(&d->dev);
    }
    tsri_free(d->ctx, d->memory);
    tsri_free(d->ctx, d->packed);
    tsri_free(d->ctx, d->step);
    tsri_free(d->ctx, d->condition);
    tsri_free(d->ctx, d);
}

/* ---- running ---- */

static tsr_error run_step(device *d, const tsri_unet_work *s)
{
    switch (s->kind) {
    case TSRI_UNET_WORK_CONV: return d->ops->conv(d->dev, &s->conv);
    case TSRI_UNET_WORK_GATHER: return d->plane->gather(d->dev, &s->gather);
    case TSRI_UNET_WORK_NORM: return d->plane->norm(d->dev, &s->norm);
    case TSRI_UNET_WORK_ROWS: return d->plane->layer_norm(d->dev, &s->rows);
    case TSRI_UNET_WORK_ATTEND: return d->plane->attend(d->dev, &s->attend);
    case TSRI_UNET_WORK_GATE: return d->plane->gate(d->dev, &s->gate);
    case TSRI_UNET_WORK_JOIN: return d->plane->join(d->dev, &s->join);
    case TSRI_UNET_WORK_COPY: break;
    }
    return d->ops->copy(d->dev, s->copy.to, s->copy.from, s->copy.bytes);
}

static tsr_error run_all(device *d)
{
    for (size_t i = 0; i < d->steps; i++)
        TSR_TRY(run_step(d, &d->step[i]));
    return TSR_OK;
}

/* The first time as it is: a device loads its kernels then.  The second time it is
 * recorded. */
static tsr_error run(device *d)
{
    if (d->record)
        return d->plane->replay(d->dev, d->record);
    if (!d->ran || d->cannot_record || !d->plane->record(d->dev)) {
        d->ran = true;
        return run_all(d);
    }
    const tsr_error error = run_all(d);
    d->record = d->plane->end_record(d->dev);
    d->cannot_record = !d->record;
    if (error)
        return error;
    return d->record ? d->plane->replay(d->dev, d->record) : run_all(d);
}

tsr_error tsri_unet_device_begin(tsri_unet_device *d, const float *context,
                                 const float *x)
{
    const size_t bytes = d->n * d->element;

    TSR_TRY(set_condition(d, 1, context));
    TSR_TRY(d->ops->upload(d->dev, d->x, x, d->n * sizeof *x));
    TSR_TRY(d->ops->enter(d->dev, d->numbers, d->x, d->n));
    TSR_TRY(d->ops->copy(d->dev, (char *)d->numbers + bytes, d->numbers, bytes));
    d->next = 0;
    return d->ops->wait(d->dev);
}

tsr_error tsri_unet_device_noise(tsri_unet_device *d, float **noise)
{
    const unsigned slot = d->next++ % TSRI_UNET_AHEAD;

    *noise = d->ahead + slot * d->n;
    return slot ? TSR_OK : d->ops->wait(d->dev);
}

tsr_error tsri_unet_device_step(tsri_unet_device *d, int which,
                                const tsri_unet_step *by)
{
    const float *noise = d->ahead + (d->next - 1) % TSRI_UNET_AHEAD * d->n;
    const tsri_plane_mix mix = {
        .x = d->x, .v = d->v, .noise = d->noise, .numbers = d->numbers,
        .n = (int)d->n, .by_x = by->by_x, .by_v = by->by_v,
        .by_noise = by->by_noise, .guidance = by->guidance };

    TSR_TRY(d->ops->copy(d->dev, d->shift, d->table + (size_t)which * d->shifts,
                         d->shifts * sizeof *d->shift));
    TSR_TRY(run(d));
    TSR_TRY(d->ops->upload(d->dev, d->noise, noise, d->n * sizeof *noise));
    return d->plane->mix(d->dev, &mix);
}

tsr_error tsri_unet_device_end(tsri_unet_device *d, float *x)
{
    TSR_TRY(d->ops->download(d->dev, x, d->x, d->n * sizeof *x));
    return d->ops->wait(d->dev);
}
