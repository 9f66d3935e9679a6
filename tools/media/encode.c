/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdlib.h>
#include <string.h>
#include <tessera/audio.h>
#include <tessera/video.h>
#include "tools/media/encode.h"
#include "tools/media/mix.h"
#include "tools/progress.h"
#include "tools/say.h"
#include "tools/sound/sound.h"

/* Seconds of sound in a packet beside video, where -packet says nothing: so much
 * video waits for it, and a copy can be cut there. */
static const double packet_beside_video = 1;

/* A frame that was coded and waits for the next one, which tells how long it is
 * shown. */
typedef struct held {
    uint8_t *data;
    size_t bytes, room;
    int64_t pts;
    uint64_t duration;      /* as the input says; 0: it does not */
    int full;
} held;

typedef struct encoding {
    tsr_context *ctx;
    const args *a;
    media_in *m;
    const media_in_info *about;
    output *out;
    packets_out *file;
    mix mix;
    tsr_video_encoder *video;
    tsr_audio_encoder *audio;
    int picture, sound;     /* numbers of streams; -1: none */
    held held;
    uint64_t last;          /* how long the last frame is shown */
    int64_t sound_start;    /* pts of the first sample */
    int sound_began;
    double seconds;         /* that were encoded */
    progress progress;
} encoding;

/* ---- streams ---- */

static int add_stream(encoding *e, int type, uint32_t num, uint32_t den,
                      const uint8_t *extradata, size_t bytes, int *index)
{
    const tsr_media_stream s = { type, num, den, extradata, bytes };
    const int rc = packets_out_stream(e->file, &s, index);
    if (!rc)
        mix_stream(&e->mix, &s);
    return rc;
}

static int open_video(encoding *e, tsr_model *model)
{
    tsr_video_settings s;
    const uint8_t *data;
    size_t bytes;
    tsr_error error;

    tsr_video_settings_init(&s);
    s.info = e->about->picture;
    s.quality = e->a->quality < 0 ? 50 : e->a->quality;
    s.lossless_alpha = !e->a->noalpha;
    error = tsr_video_encoder_open(&e->video, e->ctx, model, &s);
    if (error)
        return say_failure(say_rc(error) == RC_MODEL
                           ? tsr_model_path(model) : media_in_input(e->m)->name,
                           error);
    tsr_video_encoder_extradata(e->video, &data, &bytes);
    return add_stream(e, TSR_MEDIA_VIDEO, e->about->time_num,
                      e->about->time_den, data, bytes, &e->picture);
}

static int open_audio(encoding *e, tsr_model *model)
{
    args own = *e->a;
    tsr_audio_model_info info;
    tsr_audio_settings s;
    const uint8_t *data;
    size_t bytes;
    tsr_error error;
    int rc = sound_describe(e->ctx, model, &info);

    if (e->about->video && !(own.packet > 0) && !own.live)
        own.packet = packet_beside_video;
    if (!rc)
        rc = sound_settings(&s, &own, &info, e->about->channels);
    if (rc)
        return rc;
    error = tsr_audio_encoder_open(&e->audio, e->ctx, model, &s);
    if (error)
        return say_failure(tsr_model_path(model), error);
    tsr_audio_encoder_extradata(e->audio, &data, &bytes);
    return add_stream(e, TSR_MEDIA_AUDIO, 1, (uint32_t)e->about->rate, data,
                      bytes, &e->sound);
}

/* ---- frames ---- */

static uint64_t frame_units(const encoding *e)
{
    const tsr_video_info *v = &e->about->picture;
    const double units = v->rate_num
        ? (double)v->rate_den * e->about->time_den /
          ((double)v->rate_num * e->about->time_num) : 1;
    return units > 1 ? (uint64_t)(units + 0.5) : 1;
}

/* Writes the frame that waits; it is shown until `next`, or if that is not
 * later, as long as the input said, or one frame of the rate. */
static int let_go(encoding *e, int64_t next)
{
    held *h = &e->held;
    tsr_media_packet p = { .stream = e->picture, .pts = h->pts, .data = h->data,
                           .bytes = h->bytes };
    if (!h->full)
        return RC_OK;
    h->full = 0;
    p.duration = next > h->pts ? (uint64_t)(next - h->pts)
        : h->duration ? h->duration : frame_units(e);
    return mix_put(&e->mix, &p, next > h->pts ? next : h->pts + 1);
}

static int hold(encoding *e, const media_in_item *item, const uint8_t *data,
                size_t bytes)
{
    held *h = &e->held;
    if (h->room < bytes) {
        free(h->data);
        h->room = bytes + bytes / 2;
        h->data = malloc(h->room);
        if (!h->data) {
            h->room = 0;
            return say_error(RC_MACHINE, NULL, "out of memory");
        }
    }
    memcpy(h->data, data, bytes);
    h->bytes = bytes;
    h->pts = item->pts;
    h->duration = item->duration;
    h->full = 1;
    return RC_OK;
}

static int take_frame(encoding *e, const media_in_item *item)
{
    const uint8_t *data;
    size_t bytes;
    tsr_error error;
    int rc;

    /* A frame that is not later than the one before would not be seen. */
    if (e->held.full && item->pts <= e->held.pts) {
        e->progress.dropped++;
        return RC_OK;
    }
    rc = let_go(e, item->pts);
    if (rc)
        return rc;
    error = tsr_video_encoder_encode(e->video, &item->image, -1, &data, &bytes);
    if (error)
        return say_failure(media_in_input(e->m)->name, error);
    e->progress.frames++;
    e->seconds = (double)(item->pts + (int64_t)item->duration) *
                 e->about->time_num / e->about->time_den;
    return hold(e, item, data, bytes);
}

/* ---- sound ---- */

static int sound_failed(const encoding *e, tsr_error error)
{
    return say_failure(media_in_input(e->m)->name, error);
}

/* Packets that are ready. */
static int pull(encoding *e)
{
    tsr_audio_packet k;
    tsr_error error;
    int rc = RC_OK;

    while (!rc && !(error = tsr_audio_encoder_pull(e->audio, &k)) && k.data) {
        const int64_t pts = (int64_t)k.pts + e->sound_start;
        const tsr_media_packet p = { e->sound, pts, k.samples, k.data, k.bytes };
        rc = mix_put(&e->mix, &p, pts + k.samples);
        if (e->picture < 0)
            e->seconds = (double)(k.pts + k.samples) / e->about->rate;
    }
    return rc ? rc : error && error != TSR_E_EOF ? sound_failed(e, error)
                                                 : RC_OK;
}

static int take_samples(encoding *e, const media_in_item *item)
{
    tsr_error error;
    /* Files of sound alone begin at 0. */
    if (!e->sound_began && (e->picture >= 0 ||
                            strcmp(packets_format(e->a, e->a->out), "tess")))
        e->sound_start = item->pts;
    e->sound_began = 1;
    error = tsr_audio_encoder_push(e->audio, item->samples, item->n);
    return error ? sound_failed(e, error) : pull(e);
}

static int end_sound(encoding *e)
{
    const tsr_error error = tsr_audio_encoder_finish(e->audio);
    const int rc = error ? sound_failed(e, error) : pull(e);
    return rc ? rc : mix_end(&e->mix, e->sound);
}

/* ---- all of it ---- */

/* The part that can fail in the middle of the input.  A signal ends it, and what
 * reading says of that is not a failure. */
static int take_all(encoding *e)
{
    media_in_item item;
    int end = 0, rc = RC_OK;

    while (!rc && !output_stopped()) {
        const int bad = media_in_next(e->m, &item, &end);
        if (end || output_stopped() || bad)
            return output_stopped() ? RC_OK : bad;
        rc = item.audio ? take_samples(e, &item) : take_frame(e, &item);
        progress_sound(&e->progress, e->seconds);
    }
    return rc;
}

/* What was read is finished, however it ended. */
static int complete(encoding *e)
{
    int rc = let_go(e, INT64_MIN);
    if (!rc && e->picture >= 0)
        rc = mix_end(&e->mix, e->picture);
    if (!rc && e->sound >= 0)
        rc = end_sound(e);
    return rc ? rc : packets_out_finish(e->file);
}

static void tell(const encoding *e)
{
    const double took = progress_seconds(&e->progress);
    char frames[64] = "";
    if (e->picture >= 0)
        snprintf(frames, sizeof frames, "%llu frames, ",
                 (unsigned long long)e->progress.frames);
    say_info("%s: %llu bytes, %s%.3f s, %.3f kbit/s, %.2f s (%.2fx)",
             e->out->name, (unsigned long long)e->out->bytes, frames,
             e->seconds, e->seconds > 0
             ? 8e-3 * (double)e->out->bytes / e->seconds : 0, took,
             took > 0 ? e->seconds / took : 0);
}

static int start(encoding *e, tsr_model *picture, tsr_model *sound)
{
    int rc = packets_out_open(&e->file, e->ctx, e->a, e->about->video
                              ? TSR_KIND_MEDIA : TSR_KIND_AUDIO, e->out);
    e->mix.out = e->file;
    if (!rc && e->about->video)
        rc = open_video(e, picture);
    if (!rc && e->about->audio)
        rc = open_audio(e, sound);
    if (!rc)
        rc = progress_open(&e->progress, e->a, e->a->out);
    if (rc)
        return rc;
    e->progress.video = e->about->video;
    e->progress.quality = e->a->quality < 0 ? 50 : e->a->quality;
    e->progress.sound_length = e->about->seconds;
    e->progress.bytes = &e->out->bytes;
    return RC_OK;
}

static int run(encoding *e, tsr_model *picture, tsr_model *sound)
{
    int rc = start(e, picture, sound), rc_end;
    if (rc)
        return rc;
    output_record();
    rc = take_all(e);
    if (!rc || rc == RC_INPUT) {
        rc_end = complete(e);
        if (!rc_end && !rc && !output_stopped())
            rc = media_in_finish(e->m);
        rc = rc_end ? rc_end : rc;
    }
    progress_close(&e->progress, e->out->bytes, !rc);
    if (!rc)
        tell(e);
    return rc;
}

static void release(encoding *e)
{
    mix_close(&e->mix);
    packets_out_close(&e->file);
    tsr_video_encoder_close(&e->video);
    tsr_audio_encoder_close(&e->audio);
    free(e->held.data);
}

int media_encode(tsr_context *ctx, const args *a, const input *in, media_in *m,
                 tsr_model *picture, tsr_model *sound)
{
    encoding e = { .ctx = ctx, .a = a, .m = m, .about = media_in_about(m),
                   .picture = -1, .sound = -1 };
    output out;
    const char *name;
    int rc = output_open(&out, a, in, a->out), rc_close, any;

    if (rc)
        return rc;
    name = out.name;
    out.flow = !output_patches(&out);
    e.out = &out;
    rc = run(&e, picture, sound);
    any = e.seconds > 0 || e.progress.frames;
    release(&e);
    rc_close = output_close(&out, !rc || (rc == RC_INPUT && any));
    if (!rc && !rc_close && output_stopped())
        return say_error(RC_SIGNAL, name, "ends where the signal came");
    return rc_close ? rc_close : rc;
}
