/* SPDX-License-Identifier: BSD-2-Clause */
#include "codecs/image/image.h"
#include "codecs/lanes.h"

typedef struct encoding {
    tsr_model *model;
    tsr_image_settings settings;
    const tsr_image *images;
    const tsr_sink *sinks;
} encoding;

static tsr_error encode_one(void *cookie, tsr_context *ctx, size_t i,
                            const tsr_progress *progress)
{
    const encoding *e = cookie;
    tsr_image_settings own = e->settings;

    own.progress = *progress;
    return tsr_image_encode(ctx, e->model, &own, &e->images[i], &e->sinks[i]);
}

tsr_error tsr_image_encode_batch(tsr_context *ctx, tsr_model *model,
                                 const tsr_image_settings *settings,
                                 size_t count, const tsr_image *images,
                                 const tsr_sink *sinks, tsr_error *errors)
{
    encoding e = { .model = model, .images = images, .sinks = sinks };
    const tsri_image_codec *codec;

    TSR_TRY(tsri_image_settings_take(ctx, &e.settings, settings));
    TSR_TRY(tsri_image_codec_of(ctx, model, &codec));
    if (tsri_image_groups(ctx, codec))
        return tsri_image_encode_groups(ctx, codec, model, &e.settings, count,
                                        images, sinks, errors);
    return tsri_lanes_run(ctx, tsri_lanes(ctx, count), count, encode_one, &e,
                          &e.settings.progress, errors);
}

typedef struct decoding {
    tsr_model *model;
    const tsr_source *sources;
    tsr_image *images;
} decoding;

static tsr_error decode_one(void *cookie, tsr_context *ctx, size_t i,
                            const tsr_progress *progress)
{
    const decoding *d = cookie;
    return tsr_image_decode(ctx, d->model, progress, &d->sources[i],
                            &d->images[i]);
}

tsr_error tsr_image_decode_batch(tsr_context *ctx, tsr_model *model,
                                 const tsr_progress *progress, size_t count,
                                 const tsr_source *sources, tsr_image *images,
                                 tsr_error *errors)
{
    decoding d = { model, sources, images };

    for (size_t i = 0; i < count; i++)
        images[i] = (tsr_image){ 0 };
    if (tsri_image_groups(ctx, NULL))
        return tsri_image_decode_groups(ctx, model, progress, count, sources, images,
                                        errors);
    return tsri_lanes_run(ctx, tsri_lanes(ctx, count), count, decode_one, &d,
                          progress, errors);
}
