/* SPDX-License-Identifier: BSD-2-Clause */
/* The codec "hyper" on a device: a picture goes in as bytes and comes back as
 * symbols for the entropy coder, tokens stay there and come back as a picture. */
#include "codecs/image/cuda/hyper_gpu.h"
#include "codecs/image/cuda/maps.h"
#include "codecs/image/device_book.h"
#include "codecs/image/hyper.h"

enum { STEP = TSRI_HYPER_STEP, UNIT = TSRI_HYPER_UNIT };

/* ---- encoder ---- */

/* From the picture to y and z, in the entropy model's memory. */
static tsr_error run_encoder(const tsri_hyper_nets *nets, const tsri_hyper_model *m,
                             tsr_context *ctx, const tsri_hyper_view *v,
                             const tsri_pixels *pixels)
{
    tsri_dmap y = { NULL, 1, nets->latents, v->rows, v->columns };
    tsri_dmap z = { NULL, 1, nets->hyper_latents, tsri_hyper_z_side(v->rows),
                    tsri_hyper_z_side(v->columns) };
    const tsri_net_io image = { .pixels = pixels }, at_y = { .map = &y };
    const tsri_net_io at_z = { .map = &z };
    const float *gain;

    TSR_TRY(tsri_hyper_gpu_maps(m->gpu, v->rows, v->columns, &y.data, &z.data));
    TSR_TRY(tsri_hyper_gpu_gain(m->gpu, TSRI_HYPER_GAIN_ENC, v->gain, &gain));
    TSR_TRY(tsri_net_run_io(nets->enc, 1, v->rows * STEP, v->columns * STEP, &image,
                            &at_y));
    TSR_TRY(tsri_maps_scale(ctx->gpu, y.data, gain,
                            (size_t)v->rows * (size_t)v->columns, y.channels));
    return tsri_net_run_io(nets->hyper_enc, 1, v->rows, v->columns, &at_y, &at_z);
}

tsr_error tsri_hyper_look(const tsri_hyper_nets *nets, const tsri_hyper_model *m,
                          tsr_context *ctx, const tsri_hyper_view *v,
                          tsri_rans_enc *enc, uint32_t crc, const uint8_t **data,
                          size_t *size, bool *done)
{
    const tsri_pixels pixels = tsri_image_pixels(ctx, v->image, 2, -1);

    /* z of a unit is made of that unit's y alone. */
    *done = tsri_max(v->rows, v->columns) <= UNIT &&
            tsri_net_fits(nets->hyper_enc, 1, v->rows, v->columns) &&
            tsri_net_fits(nets->enc, 1, v->rows * STEP, v->columns * STEP);
    if (!*done)
        return TSR_OK;
    TSR_TRY(run_encoder(nets, m, ctx, v, &pixels));
    return tsri_hyper_gpu_put_maps(m->gpu, enc, v->rows, v->columns, crc, data, size);
}

/* ---- decoder ---- */

tsr_error tsri_hyper_hold(const tsri_hyper_model *m, tsr_context *ctx, size_t n,
                          int16_t **held)
{
    const size_t size = n * sizeof **held;

    TSR_TRY(tsri_cuda_take(ctx->gpu, held, size));
    const tsr_error error =
        tsri_cuda_copy(ctx->gpu, *held, tsri_hyper_gpu_fixed(m->gpu), size);
    if (error) {
        tsri_cuda_give(ctx->gpu, *held);
        *held = NULL;
    }
    return error;
}

tsr_error tsri_hyper_fetch(tsr_context *ctx, const int16_t *held, size_t n,
                           int16_t *tokens)
{
    TSR_TRY(tsri_cuda_download(ctx->gpu, tokens, held, n * sizeof *tokens));
    return tsri_cuda_sync(ctx->gpu);
}

bool tsri_hyper_shows(const tsri_hyper_nets *nets, tsr_context *ctx, int rows,
                      int columns)
{
    return ctx->gpu && tsri_net_fits(nets->dec, 1, rows, columns);
}

static tsr_error put_units(tsr_context *ctx, const tsri_dmap *map, const float *gain,
                           int16_t *const *held)
{
    const int across = tsri_ceil_div(map->width, UNIT);
    const int units = across * tsri_ceil_div(map->height, UNIT);

    for (int i = 0; i < units; i++) {
        const int y0 = i / across * UNIT, x0 = i % across * UNIT;
        TSR_TRY(tsri_maps_tokens(ctx->gpu, map->data, map->width, held[i], gain, y0, x0,
                                 tsri_min(UNIT, map->height - y0),
                                 tsri_min(UNIT, map->width - x0), map->channels));
    }
    return TSR_OK;
}

tsr_error tsri_hyper_show(const tsri_hyper_nets *nets, const tsri_hyper_model *m,
                          tsr_context *ctx, const tsri_hyper_view *v,
                          int16_t *const *held)
{
    const tsri_pixels pixels = tsri_image_pixels(ctx, v->image, 1, 0);
    tsri_dmap y;
    const tsri_net_io in = { .map = &y }, out = { .pixels = &pixels };
    const float *gain;

    TSR_TRY(tsri_hyper_gpu_gain(m->gpu, TSRI_HYPER_GAIN_DEC, v->gain, &gain));
    TSR_TRY(tsri_dmap_new(nets->dec, 1, nets->latents, v->rows, v->columns, &y));
    tsr_error error = put_units(ctx, &y, gain, held);
    if (!error)
        error = tsri_net_run_io(nets->dec, 1, v->rows, v->columns, &in, &out);
    tsri_dmap_free(nets->dec, &y);
    return error;
}
