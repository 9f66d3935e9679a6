/* SPDX-License-Identifier: BSD-2-Clause */
/* Whole planes of maps on a device, and of pictures. */
#include <string.h>
#include "lib/nn/net_device.h"

typedef struct tsri_nn_state state;

tsr_error tsri_dmap_new(const tsri_net *net, int items, int channels, int height,
                        int width, tsri_dmap *map)
{
    const state *s = net->state;
    size_t n;
    void *mem;

    *map = (tsri_dmap){ NULL, items, channels, height, width };
    if (!tsri_mul((size_t)height * (size_t)width, (size_t)channels, &n) ||
        !tsri_mul(n, (size_t)items, &n) ||
        !tsri_mul(n, sizeof(float), &n))
        return tsri_nomem(net->ctx);
    TSR_TRY(s->ops->take(s->dev, &mem, n));
    map->data = mem;
    return TSR_OK;
}

void tsri_dmap_free(const tsri_net *net, tsri_dmap *map)
{
    if (map->data)
        net->state->ops->give(net->state->dev, map->data);
    map->data = NULL;
}

/* The input is there whole, even if its last row or column is not needed. */
static tsr_error plan_whole(const tsri_net *net, int height, int width)
{
    int h, w;

    tsri_net_out_size(net, height, width, &h, &w);
    TSR_TRY(tsri_plan((tsri_net *)(uintptr_t)net, height, width,
                      (tsri_rect){ 0, 0, h, w }));
    net->place[0].rect = (tsri_rect){ 0, 0, height, width };
    return TSR_OK;
}

bool tsri_net_fits(const tsri_net *net, int items, int height, int width)
{
    if (!net->backend->device || plan_whole(net, height, width))
        return false;
    return (double)items * net->backend->device->element *
           ((double)net->arena + (double)tsri_device_numbers(net, 0) +
            (double)tsri_device_numbers(net, net->output)) <=
           (double)net->ctx->max_memory;
}

static bool is_map(const tsri_net *net, int x, const tsri_dmap *map)
{
    return map->items == net->state->items &&
           map->channels == net->node[x].channels &&
           map->height == net->place[x].height &&
           map->width == net->place[x].width;
}

static int colours(const tsri_pixels *p)
{
    return p->channels < 3 ? 1 : 3;
}

static size_t row_bytes(const tsri_pixels *p)
{
    return (size_t)p->width * (size_t)p->channels * (size_t)(p->bits / 8);
}

static size_t picture_bytes(const tsri_pixels *p)
{
    return p->on_device ? 0 : (row_bytes(p) * (size_t)p->height + 15) / 16 * 16;
}

/* Room for the pictures on both sides, where they are not on the device. */
static tsr_error stage_pixels(state *s, const tsri_pixels *p)
{
    size_t bytes = 0;

    for (int i = 0; i < s->items; i++)
        bytes += picture_bytes(&p[i]);
    if (!bytes)
        return TSR_OK;
    TSR_TRY(tsri_device_wait(s));
    TSR_TRY(tsri_device_need(s, &s->planes, bytes, 1));
    return tsri_device_need(s, &s->staging, bytes, 1);
}

/* Picture i as the device has it, `at` bytes from the beginning of that room if it
 * is there. */
static tsri_dev_pixels pixels_at(const tsri_net *net, int x, const tsri_pixels *p,
                                 int i, size_t at)
{
    state *s = net->state;
    tsri_dev_pixels d = { .map = tsri_device_map(net, x), .pixels = p[i] };

    d.map.items = 1;
    d.map.data = (uint8_t *)d.map.data + (size_t)i * tsri_device_numbers(net, x) *
                                             (size_t)s->ops->element;
    if (!p[i].on_device) {
        d.pixels.stride = row_bytes(&p[i]);
        d.pixels.data = (uint8_t *)s->planes.mem + at;
    }
    return d;
}

static tsr_error enter_picture(const tsri_net *net, const tsri_pixels *all, int i,
                               size_t at)
{
    state *s = net->state;
    const tsri_pixels *p = &all[i];
    const tsri_dev_pixels in = pixels_at(net, 0, all, i, at);
    const size_t row = row_bytes(p);
    uint8_t *staged = (uint8_t *)s->staging.mem + at;

    if (!p->on_device) {
        for (int y = 0; y < p->height; y++)
            memcpy(staged + (size_t)y * row,
                   (const uint8_t *)p->data + (size_t)y * p->stride, row);
        s->staged = true;
        TSR_TRY(s->ops->upload(s->dev, in.pixels.data, staged,
                               (size_t)p->height * row));
    }
    return s->ops->enter_pixels(s->dev, &in);
}

static tsr_error enter_pixels(const tsri_net *net, const tsri_pixels *p)
{
    size_t at = 0;

    TSR_TRY(stage_pixels(net->state, p));
    for (int i = 0; i < net->state->items; i++) {
        TSR_TRY(enter_picture(net, p, i, at));
        at += picture_bytes(&p[i]);
    }
    return TSR_OK;
}

/* A row of pixels without the alpha that the device did not write. */
static void copy_row(const tsri_pixels *p, uint8_t *to, const uint8_t *from)
{
    const size_t each = (size_t)(p->bits / 8);
    const size_t pixel = (size_t)p->channels * each;
    const size_t colour = (size_t)colours(p) * each;

    if (pixel == colour) {
        memcpy(to, from, row_bytes(p));
        return;
    }
    for (int x = 0; x < p->width; x++)
        memcpy(to + (size_t)x * pixel, from + (size_t)x * pixel, colour);
}

static tsr_error leave_picture(const tsri_net *net, const tsri_pixels *all, int i,
                               size_t at)
{
    state *s = net->state;
    const tsri_dev_pixels out = pixels_at(net, net->output, all, i, at);

    TSR_TRY(s->ops->leave_pixels(s->dev, &out));
    if (all[i].on_device)
        return TSR_OK;
    s->staged = true;
    return s->ops->download(s->dev, (uint8_t *)s->staging.mem + at, out.pixels.data,
                            (size_t)all[i].height * row_bytes(&all[i]));
}

/* From the staging to the caller's memory, where it is not the device's. */
static void fetch_picture(const state *s, const tsri_pixels *p, size_t at)
{
    const uint8_t *from = (const uint8_t *)s->staging.mem + at;
    const size_t row = row_bytes(p);

    for (int y = 0; y < p->height && !p->on_device; y++)
        copy_row(p, (uint8_t *)p->data + (size_t)y * p->stride,
                 from + (size_t)y * row);
}

static tsr_error leave_pixels(const tsri_net *net, const tsri_pixels *p)
{
    state *s = net->state;
    size_t at = 0;

    TSR_TRY(stage_pixels(s, p));
    for (int i = 0; i < s->items; i++) {
        TSR_TRY(leave_picture(net, p, i, at));
        at += picture_bytes(&p[i]);
    }
    if (at)
        TSR_TRY(tsri_device_wait(s));
    at = 0;
    for (int i = 0; i < s->items; i++) {
        fetch_picture(s, &p[i], at);
        at += picture_bytes(&p[i]);
    }
    return TSR_OK;
}

static bool is_io(const tsri_net *net, int x, const tsri_net_io *io)
{
    return io->map ? is_map(net, x, io->map) : net->node[x].channels == 3;
}

tsr_error tsri_net_run_io(const tsri_net *net, int items, int height, int width,
                          const tsri_net_io *in, const tsri_net_io *out)
{
    state *s = net->state;

    TSR_TRY(plan_whole(net, height, width));
    if (net->backend->device)
        s->items = items;
    if (!net->backend->device || items < 1 || !is_io(net, 0, in) ||
        !is_io(net, net->output, out))
        return tsri_fail(net->ctx, TSR_E_ARG, "a net's input or output has"
                         " another size");
    TSR_TRY(tsri_device_memory(net));
    const tsri_dev_planar from = { tsri_device_map(net, 0), in->map ? in->map->data : NULL,
                                   net->node[0].channels };
    const tsri_dev_planar to = { tsri_device_map(net, net->output),
                                 out->map ? out->map->data : NULL,
                                 net->node[net->output].channels };
    TSR_TRY(in->map ? s->ops->enter_map(s->dev, &from)
                    : enter_pixels(net, in->pixels));
    TSR_TRY(tsri_device_steps(net));
    return out->map ? s->ops->leave_map(s->dev, &to)
                    : leave_pixels(net, out->pixels);
}
