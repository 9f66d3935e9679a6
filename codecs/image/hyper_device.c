/* SPDX-License-Identifier: BSD-2-Clause */
/* The codec "hyper" where its float nets run on a device: a picture goes in as
 * bytes and comes back as latents, tokens go in and come back as a picture. */
#include "codecs/image/cuda/maps.h"
#include "codecs/image/device_book.h"
#include "codecs/image/hyper.h"

enum { STEP = TSRI_HYPER_STEP, UNIT = TSRI_HYPER_UNIT };

/* Device memory with numbers of the host. */
static tsr_error send(tsr_context *ctx, const void *from, size_t bytes, void *mem)
{
    void **to = mem;

    TSR_TRY(tsri_cuda_take(ctx->gpu, to, bytes));
    const tsr_error error = tsri_cuda_send(ctx->gpu, *to, from, bytes);
    if (error)
        tsri_cuda_give(ctx->gpu, *to);
    return error;
}

/* A map, planar, into memory of the host; there when the device is done. */
static tsr_error fetch(tsr_context *ctx, const tsri_dmap *map, float *to)
{
    const size_t n = (size_t)map->height * (size_t)map->width;
    const size_t bytes = n * (size_t)map->channels * sizeof *to;
    float *planar;

    TSR_TRY(tsri_cuda_take(ctx->gpu, &planar, bytes));
    tsr_error error = tsri_maps_planar(ctx->gpu, planar, map->data, n,
                                       map->channels);
    if (!error)
        error = tsri_cuda_download(ctx->gpu, to, planar, bytes);
    tsri_cuda_give(ctx->gpu, planar);
    return error;
}

/* ---- encoder ---- */

typedef struct look {
    tsr_context *ctx;
    const tsri_hyper_nets *nets;
    tsri_dmap y, z;
    float *gain;                /* on the device */
} look;

static tsr_error run_encoder(look *l, const tsri_pixels *pixels, float *y,
                             float *z)
{
    const tsri_net_io image = { .pixels = pixels }, at_y = { .map = &l->y };
    const tsri_net_io at_z = { .map = &l->z };
    const int rows = l->y.height, columns = l->y.width;

    TSR_TRY(tsri_net_run_io(l->nets->enc, rows * STEP, columns * STEP, &image,
                            &at_y));
    TSR_TRY(tsri_maps_scale(l->ctx->gpu, l->y.data, l->gain,
                            (size_t)rows * (size_t)columns, l->y.channels));
    TSR_TRY(fetch(l->ctx, &l->y, y));
    TSR_TRY(tsri_net_run_io(l->nets->hyper_enc, rows, columns, &at_y, &at_z));
    TSR_TRY(fetch(l->ctx, &l->z, z));
    return tsri_cuda_sync(l->ctx->gpu);
}

static tsr_error look_maps(look *l, const tsri_pixels *pixels, const float *gain,
                           int rows, int columns, float *y, float *z)
{
    const tsri_net *net = l->nets->enc;

    TSR_TRY(tsri_dmap_new(net, l->nets->latents, rows, columns, &l->y));
    TSR_TRY(tsri_dmap_new(net, l->nets->hyper_latents, tsri_hyper_z_side(rows),
                          tsri_hyper_z_side(columns), &l->z));
    TSR_TRY(send(l->ctx, gain, (size_t)l->nets->latents * sizeof *gain,
                 &l->gain));
    return run_encoder(l, pixels, y, z);
}

tsr_error tsri_hyper_look(const tsri_hyper_nets *nets, tsr_context *ctx,
                          const tsr_image *image, int rows, int columns,
                          const float *gain, float *y, float *z, bool *done)
{
    const tsri_pixels pixels = tsri_image_pixels(ctx, image, 2, -1);
    look l = { .ctx = ctx, .nets = nets };

    /* z of a unit is made of that unit's y alone. */
    *done = tsri_max(rows, columns) <= UNIT &&
            tsri_net_fits(nets->hyper_enc, rows, columns) &&
            tsri_net_fits(nets->enc, rows * STEP, columns * STEP);
    if (!*done)
        return TSR_OK;
    const tsr_error error = look_maps(&l, &pixels, gain, rows, columns, y, z);
    tsri_dmap_free(nets->enc, &l.y);
    tsri_dmap_free(nets->enc, &l.z);
    tsri_cuda_give(ctx->gpu, l.gain);
    return error;
}

/* ---- decoder ---- */

static tsr_error put_unit(tsr_context *ctx, const tsri_dmap *map, int down,
                          int across, const int16_t *tokens, const float *gain)
{
    const int y0 = down * UNIT, x0 = across * UNIT;
    const int rows = tsri_min(UNIT, map->height - y0);
    const int columns = tsri_min(UNIT, map->width - x0);
    int16_t *mem = NULL;

    if (tokens)
        TSR_TRY(send(ctx, tokens, (size_t)rows * (size_t)columns *
                                      (size_t)map->channels * sizeof *tokens,
                     &mem));
    const tsr_error error = tsri_maps_tokens(ctx->gpu, map->data, map->width, mem,
                                             gain, y0, x0, rows, columns,
                                             map->channels);
    tsri_cuda_give(ctx->gpu, mem);
    return error;
}

static tsr_error put_units(tsr_context *ctx, const tsri_dmap *map,
                           const float *host_gain, int16_t *const *tokens)
{
    const int across = tsri_ceil_div(map->width, UNIT);
    const int units = across * tsri_ceil_div(map->height, UNIT);
    tsr_error error = TSR_OK;
    float *gain;

    TSR_TRY(send(ctx, host_gain, (size_t)map->channels * sizeof *gain, &gain));
    for (int i = 0; !error && i < units; i++)
        error = put_unit(ctx, map, i / across, i % across, tokens[i], gain);
    tsri_cuda_give(ctx->gpu, gain);
    return error;
}

tsr_error tsri_hyper_show(const tsri_hyper_nets *nets, tsr_context *ctx,
                          const tsr_image *image, int rows, int columns,
                          const float *gain, int16_t *const *tokens, bool *done)
{
    const tsri_pixels pixels = tsri_image_pixels(ctx, image, 1, 0);
    tsri_dmap y;
    const tsri_net_io in = { .map = &y }, out = { .pixels = &pixels };

    *done = tsri_net_fits(nets->dec, rows, columns);
    if (!*done)
        return TSR_OK;
    TSR_TRY(tsri_dmap_new(nets->dec, nets->latents, rows, columns, &y));
    tsr_error error = put_units(ctx, &y, gain, tokens);
    if (!error)
        error = tsri_net_run_io(nets->dec, rows, columns, &in, &out);
    tsri_dmap_free(nets->dec, &y);
    return error;
}
