/* SPDX-License-Identifier: BSD-2-Clause */
/* A codec that is opened to decode: the units and bands of one picture after
 * another. */
#include <string.h>
#include "codecs/image/image.h"

tsr_error tsri_parts_open(tsri_image_parts *p, tsr_context *ctx,
                          tsr_model *given, const tsri_image_head *head)
{
    p->ctx = ctx;
    p->codec = head->codec;
    if (!head->codec)
        return tsri_fail(ctx, TSR_E_UNSUPPORTED,
                         "image codec number %d is not in this build",
                         head->codec_number);
    if ((uint64_t)head->width * (uint64_t)head->height > ctx->max_pixels)
        return tsri_fail(ctx, TSR_E_LIMIT,
                         "the stream says %dx%d, over the limit of %llu pixels",
                         head->width, head->height,
                         (unsigned long long)ctx->max_pixels);
    if (!given)
        p->model = tsri_coder_model(ctx, head->hash, head->hash_bytes);
    if (!p->model)
        TSR_TRY(tsri_modl_find(ctx, given, head->hash, head->hash_bytes,
                               head->model_name, &p->model));
    if (strcmp(tsr_model_codec(p->model), head->codec->id))
        return tsri_fail(ctx, TSR_E_MODEL, "model '%s' is not of codec '%s'",
                         tsr_model_name(p->model), head->codec->id);
    return tsri_coder_open(&p->self, ctx, head->codec, p->model);
}

void tsri_parts_close(tsri_image_parts *p, bool sound)
{
    tsri_coder_close(&p->self, p->ctx, p->codec, p->model, sound);
    tsri_free(p->ctx, p->seen);
    p->seen = NULL;
    tsr_model_unref(&p->model);
}

tsr_error tsri_parts_begin(tsri_image_parts *p, int width, int height,
                           const uint8_t *params, uint32_t crc)
{
    int units;

    p->found = 0;
    TSR_TRY(p->codec->begin(p->self, width, height, params, crc, &units));
    if (!p->seen || units != p->units) {
        tsri_free(p->ctx, p->seen);
        p->seen = tsri_alloc(p->ctx, (size_t)units, sizeof *p->seen);
        if (!p->seen)
            return tsri_nomem(p->ctx);
    }
    memset(p->seen, 0, (size_t)units * sizeof *p->seen);
    p->units = units;
    return TSR_OK;
}

void tsri_parts_note(tsri_image_parts *p, tsr_error error)
{
    if (!p->damage)
        p->damage = error;
}

/* Damage is noted, all else returned. */
static tsr_error keep_on(tsri_image_parts *p, tsr_error error)
{
    if (error != TSR_E_CORRUPT)
        return error;
    tsri_parts_note(p, error);
    return TSR_OK;
}

tsr_error tsri_parts_unit(tsri_image_parts *p, int unit, const tsri_span *layers)
{
    const tsr_error error =
        p->codec->decode(p->self, unit, layers, p->codec->layers);
    if (!error) {
        p->found++;
        p->seen[unit] = true;
    }
    return keep_on(p, error);
}

tsr_error tsri_parts_alpha(tsri_image_parts *p, const tsr_image *image,
                           const uint8_t *data, size_t size)
{
    return keep_on(p, tsri_alpha_decode(p->ctx, image, data, size));
}

void tsri_parts_tell(const tsri_image_parts *p)
{
    if (p->damage)
        tsri_log(p->ctx, TSR_LOG_WARNING, "%s: %d of %d units decoded",
                 tsr_error_string(p->damage), p->found, p->units);
}

tsr_error tsri_parts_pixels(tsri_image_parts *p, const tsr_image *image,
                            const tsr_progress *progress)
{
    if (p->found < p->units)
        tsri_parts_note(p, TSR_E_CORRUPT);
    TSR_TRY(tsri_image_show(p->ctx, p->codec, p->self, image, progress));
    tsri_parts_tell(p);
    return TSR_OK;
}
