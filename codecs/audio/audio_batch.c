/* SPDX-License-Identifier: BSD-2-Clause */
#include "codecs/audio/audio.h"
#include "codecs/lanes.h"

/* On a device more sounds at a time only wait for each other. */
enum { DEVICE_LANES = 8 };

static int lanes_for(const tsr_context *ctx, size_t count)
{
    const int lanes = tsri_lanes_alone(ctx, count);
    return ctx->gpu ? tsri_min(lanes, DEVICE_LANES) : lanes;
}

typedef struct encoding {
    tsr_model *model;
    tsr_audio_settings settings;
    const tsr_audio_source *sounds;
    const tsr_sink *sinks;
} encoding;

static tsr_error encode_one(void *cookie, tsr_context *ctx, size_t i,
                            const tsr_progress *progress)
{
    const encoding *e = cookie;
    tsr_audio_settings own = e->settings;

    own.progress = *progress;
    return tsr_audio_encode(ctx, e->model, &own, &e->sounds[i], &e->sinks[i]);
}

tsr_error tsr_audio_encode_batch(tsr_context *ctx, tsr_model *model,
                                 const tsr_audio_settings *settings,
                                 size_t count, const tsr_audio_source *sounds,
                                 const tsr_sink *sinks, tsr_error *errors)
{
    encoding e = { .model = model, .sounds = sounds, .sinks = sinks };

    tsri_audio_settings_take(&e.settings, settings);
    return tsri_lanes_run(ctx, lanes_for(ctx, count), count, encode_one, &e,
                          &e.settings.progress, errors);
}

typedef struct decoding {
    tsr_model *model;
    const tsr_source *sources;
    const tsr_audio_sink *sinks;
} decoding;

static tsr_error decode_one(void *cookie, tsr_context *ctx, size_t i,
                            const tsr_progress *progress)
{
    const decoding *d = cookie;
    return tsr_audio_decode(ctx, d->model, progress, &d->sources[i], 0,
                            UINT64_MAX, &d->sinks[i]);
}

tsr_error tsr_audio_decode_batch(tsr_context *ctx, tsr_model *model,
                                 const tsr_progress *progress, size_t count,
                                 const tsr_source *sources,
                                 const tsr_audio_sink *sinks, tsr_error *errors)
{
    decoding d = { model, sources, sinks };

    return tsri_lanes_run(ctx, lanes_for(ctx, count), count, decode_one, &d,
                          progress, errors);
}
