/* SPDX-License-Identifier: BSD-2-Clause */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <tessera/audio.h>
#include <tessera/video.h>
#include "tools/engine.h"
#include "tools/io/picture.h"
#include "tools/io/wav.h"
#include "tools/media/choose.h"
#include "tools/media/decode.h"
#include "tools/media/reader.h"
#include "tools/media/sink.h"
#include "tools/progress.h"
#include "tools/say.h"

enum { BLOCK = 4096 };
/* Sound that is decoded in front of -ss, for the states of the nets. */
static const double warm_up = 2;

typedef struct decoding {
    tsr_context *ctx;
    const args *a;
    input *in;
    packets_in *p;
    output *out;
    media_sink *sink;
    tsr_video_decoder *video;
    tsr_audio_decoder *audio;
    int picture, sound;         /* numbers of streams; -1: not wanted */
    double end;                 /* seconds, in the time of the input */
    int64_t picture_start;      /* -ss, in units of the stream */
    int64_t sound_start, sound_end;
    int picture_over, sound_over, sound_began;
    int64_t at;                 /* pts of the sample that is pulled next */
    float *block;
    uint64_t number;            /* of the packet of sound that should come */
    double seconds;             /* of video so far */
    uint64_t frames;            /* that went out */
    uint64_t samples;
    uint64_t bad_frames, bad_sounds;
    progress progress;
} decoding;

/* ---- what to make ---- */

typedef enum kind { KIND_NONE, KIND_Y4M, KIND_RAW, KIND_WAV, KIND_PICTURES,
                    KIND_PICTURE, KIND_AV } kind;

/* Names of -f and extensions. */
static const struct { const char *name; kind kind; } kinds[] = {
    { "y4m", KIND_Y4M }, { "yuv4mpegpipe", KIND_Y4M },
    { "rawvideo", KIND_RAW }, { "raw", KIND_RAW }, { "rgb", KIND_RAW },
    { "yuv", KIND_RAW }, { "wav", KIND_WAV }
};

static const char *word_of(const args *a)
{
    const char *slash = strrchr(a->out, '/');
    const char *dot = strrchr(slash ? slash : a->out, '.');
    return a->format ? a->format : dot && !args_is_pipe(a->out) ? dot + 1 : "";
}

static kind kind_of(const decoding *d)
{
    const char *word = word_of(d->a);
    char name[16];

    if (!*word && args_is_pipe(d->a->out))
        return d->picture >= 0 ? KIND_Y4M : KIND_WAV;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (!strcasecmp(kinds[i].name, word))
            return kinds[i].kind;
    snprintf(name, sizeof name, ".%s", word);
    if (picture_named(name))
        return sink_pictures_many(d->a->out) ? KIND_PICTURES : KIND_PICTURE;
    return sink_av_knows(d->a) ? KIND_AV : KIND_NONE;
}

static int no_kind(const decoding *d)
{
    const char *word = word_of(d->a);
    return say_error(RC_USAGE, d->a->format ? NULL : d->a->out, "%s%s is no kind"
                     " of file that decode writes%s; y4m, wav, png and"
                     " rawvideo are", d->a->format ? "-f " : "",
                     *word ? word : "a name without an extension", media_has_av()
                     ? "" : " without libav, which this program was built"
                     " without");
}

/* ---- streams ---- */

static double unit_of(const decoding *d, int stream)
{
    const tsr_media_stream *s = packets_in_stream(d->p, stream);
    return (double)s->time_num / s->time_den;
}

/* Whether a model is one for pictures. */
static int draws(const tsr_model *model)
{
    const char *id;
    for (int i = 0; (id = tsr_image_codec_at(i)); i++)
        if (!strcmp(id, tsr_model_codec(model)))
            return 1;
    return 0;
}

static int stream_failed(const decoding *d, const tsr_model *model,
                         tsr_error error)
{
    return say_failure(error == TSR_E_SHAPE && model ? tsr_model_path(model)
                                                     : d->in->name, error);
}

static int open_video(decoding *d, tsr_model *model)
{
    const tsr_media_stream *s = packets_in_stream(d->p, d->picture);
    tsr_error error;

    if (model && !draws(model))
        model = NULL;
    error = tsr_video_decoder_open(&d->video, d->ctx, model, s->extradata,
                                   s->extradata_bytes);
    d->picture_start = (int64_t)floor(d->a->start / unit_of(d, d->picture) +
                                      1e-6);
    return error ? stream_failed(d, model, error) : RC_OK;
}

static int open_audio(decoding *d, tsr_model *model)
{
    const tsr_media_stream *s = packets_in_stream(d->p, d->sound);
    tsr_error error;
    int rate;

    if (model && draws(model))
        model = NULL;
    error = tsr_audio_decoder_open(&d->audio, d->ctx, model, s->extradata,
                                   s->extradata_bytes, 0);
    if (error)
        return stream_failed(d, model, error);
    rate = tsr_audio_decoder_rate(d->audio);
    d->sound_start = (int64_t)(d->a->start * rate + 0.5);
    d->sound_end = d->end < 1e12 ? (int64_t)(d->end * rate + 0.5) : INT64_MAX;
    d->block = malloc(sizeof *d->block * BLOCK *
                      (size_t)tsr_audio_decoder_channels(d->audio));
    return d->block ? RC_OK : say_error(RC_MACHINE, NULL, "out of memory");
}

static int describe(const decoding *d, sink_source *from)
{
    *from = (sink_source){ .time_num = 1, .time_den = 1 };
    if (d->video) {
        const tsr_media_stream *s = packets_in_stream(d->p, d->picture);
        from->video = tsr_video_decoder_info(d->video);
        from->time_num = s->time_num;
        from->time_den = s->time_den;
        from->rate_num = from->video->rate_num;
        from->rate_den = from->video->rate_den;
    }
    if (d->audio) {
        from->rate = tsr_audio_decoder_rate(d->audio);
        from->channels = tsr_audio_decoder_channels(d->audio);
    }
    return !d->a->frame_rate ? RC_OK
        : media_rate(d->a->frame_rate, &from->rate_num, &from->rate_den);
}

static int open_sink(decoding *d, kind k)
{
    sink_source from;
    int rc = describe(d, &from);
    if (rc)
        return rc;
    switch (k) {
    case KIND_Y4M:
    case KIND_RAW:
        return sink_frames_open(&d->sink, d->a, &from, k == KIND_Y4M, d->out);
    case KIND_WAV:
        return sink_wav_open(&d->sink, d->a, &from, d->out);
    case KIND_PICTURES:
    case KIND_PICTURE:
        return sink_pictures_open(&d->sink, d->a,
                                  k == KIND_PICTURE ? d->out : NULL);
    default:
        return sink_av_open(&d->sink, d->a, &from, d->out);
    }
}

/* Streams that the file cannot hold are not decoded. */
static int choose(decoding *d, kind k)
{
    const int only_video = k == KIND_Y4M || k == KIND_RAW ||
                           k == KIND_PICTURE || k == KIND_PICTURES;
    if (only_video)
        d->sound = -1;
    if (k == KIND_WAV)
        d->picture = -1;
    if (d->picture < 0 && d->sound < 0)
        return say_error(RC_USAGE, d->a->out, "%s has no %s", d->in->name,
                         only_video ? "video that could go there"
                                    : "sound that could go there");
    d->end = d->a->length > 0 ? d->a->start + d->a->length
        : d->a->until > 0 ? d->a->until : 1e300;
    d->picture_over = d->picture < 0;
    d->sound_over = d->sound < 0;
    return RC_OK;
}

/* ---- frames ---- */

/* The part of a frame's time that lies between -ss and -to: *pts counts from -ss.
 * 0: none does. */
static int cut(const decoding *d, int64_t *pts, uint64_t *duration)
{
    const double unit = unit_of(d, d->picture);
    const int64_t length = *duration ? (int64_t)*duration : 1;
    const double end = floor((d->end - d->a->start) / unit + 0.5);

    *pts -= d->picture_start;
    if (*pts + length <= 0 || (double)*pts >= end)
        return 0;
    if (*pts < 0) {
        *duration = *duration ? (uint64_t)(length + *pts) : 0;
        *pts = 0;
    }
    if (*duration && (double)*pts + (double)*duration > end)
        *duration = (uint64_t)(end - (double)*pts);
    return 1;
}

/* Counts, and shows what there is of a damaged frame. */
static int take_frame(decoding *d, const tsr_media_packet *k)
{
    tsr_image image = { 0 };
    int64_t pts = k->pts;
    uint64_t duration = k->duration;
    tsr_error error;
    int rc = RC_OK;

    if (!cut(d, &pts, &duration)) {
        d->picture_over |= pts > 0;
        return RC_OK;
    }
    error = tsr_video_decoder_decode(d->video, k->data, k->bytes, &image);
    if (error && say_rc(error) != RC_INPUT)
        return say_failure(d->in->name, error);
    if (error)
        say_take_detail();
    d->bad_frames += error != TSR_OK;
    if (image.data)
        rc = d->sink->frame(d->sink, &image, pts, duration);
    d->frames += image.data != NULL;
    d->picture_over |= d->sink->done ||
        (d->a->frames > 0 && d->frames >= (uint64_t)d->a->frames);
    return rc;
}

/* ---- sound ---- */

/* The part of n samples that lies between -ss and -to. */
static int give(decoding *d, const float *x, size_t n)
{
    const int channels = tsr_audio_decoder_channels(d->audio);
    const int64_t begin = d->at, end = d->at + (int64_t)n;
    int64_t from = begin < d->sound_start ? d->sound_start : begin;
    int64_t to = end > d->sound_end ? d->sound_end : end;

    d->at = end;
    d->sound_over |= end >= d->sound_end;
    if (from < 0)
        from = 0;
    if (to <= from)
        return RC_OK;
    d->samples += (uint64_t)(to - from);
    return d->sink->sound(d->sink, x + (from - begin) * channels,
                          (size_t)(to - from), from - d->sound_start);
}

static int pull(decoding *d)
{
    size_t n;
    tsr_error error;
    int rc = RC_OK;

    do {
        error = tsr_audio_decoder_pull(d->audio, d->block, BLOCK, &n);
        if (!error && n)
            rc = give(d, d->block, n);
    } while (!rc && !error && n && !d->sound_over && !output_stopped());
    return rc ? rc : error && error != TSR_E_EOF
        ? say_failure(d->in->name, error) : RC_OK;
}

/* A stream may have been cut: it begins with its first packet. */
static int begin_sound(decoding *d, const tsr_media_packet *k, uint64_t number)
{
    tsr_error error;
    d->at = k->pts;
    d->number = number;
    d->sound_began = 1;
    if (!number)
        return RC_OK;
    error = tsr_audio_decoder_start(d->audio, number);
    return error ? say_failure(d->in->name, error) : RC_OK;
}

/* Packets that are missing are concealed one by one, so that what follows stays
 * in its time; more than an hour is no sound any more. */
static int conceal(decoding *d, uint64_t number, uint32_t samples)
{
    const uint64_t most = 3600 * (uint64_t)tsr_audio_decoder_rate(d->audio) /
                          (samples ? samples : 1);
    int rc = RC_OK;

    for (uint64_t i = 0; !rc && i < most && d->number < number; i++) {
        const tsr_error error = tsr_audio_decoder_lost(d->audio);
        rc = error ? say_failure(d->in->name, error) : pull(d);
        d->number++;
    }
    d->number = number;
    return rc;
}

/* What the head of a packet says, and what is missing before it. */
static int place_sound(decoding *d, const tsr_media_packet *k)
{
    const tsr_media_stream *s = packets_in_stream(d->p, d->sound);
    tsr_audio_packet head;

    if (tsr_audio_describe_packet(d->ctx, s->extradata, s->extradata_bytes,
                                  k->data, k->bytes, &head)) {
        say_take_detail();
        return RC_OK;
    }
    return d->sound_began ? conceal(d, head.number, head.samples)
                          : begin_sound(d, k, head.number);
}

static int take_sound(decoding *d, const tsr_media_packet *k)
{
    const double unit = unit_of(d, d->sound);
    tsr_error error;
    int rc;

    if (!d->sound_began && d->a->start > warm_up &&
        (double)(k->pts + (int64_t)k->duration) * unit <
        d->a->start - warm_up)
        return RC_OK;
    rc = place_sound(d, k);
    if (rc)
        return rc;
    error = tsr_audio_decoder_push(d->audio, k->data, k->bytes);
    if (error && say_rc(error) != RC_INPUT)
        return say_failure(d->in->name, error);
    if (error)
        say_take_detail();
    d->number++;
    d->bad_sounds += error != TSR_OK;
    return pull(d);
}

/* ---- all of it ---- */

static void show(decoding *d)
{
    double seconds = d->seconds;
    if (!d->progress.video && d->at > d->sound_start)
        seconds = (double)(d->at - d->sound_start) /
                  tsr_audio_decoder_rate(d->audio);
    d->progress.frames = d->frames;
    d->progress.doubled = d->sink->doubled;
    d->progress.dropped = d->sink->dropped;
    progress_sound(&d->progress, seconds);
}

static int take(decoding *d, const tsr_media_packet *k)
{
    int rc = RC_OK;
    if (k->stream == d->picture && !d->picture_over) {
        const double seconds = unit_of(d, d->picture) * (double)
            (k->pts + (int64_t)k->duration - d->picture_start);
        rc = take_frame(d, k);
        d->seconds = seconds > 0 ? seconds : 0;
    } else if (k->stream == d->sound && !d->sound_over) {
        rc = take_sound(d, k);
    } else {
        return RC_OK;
    }
    show(d);
    return rc;
}

static int take_all(decoding *d)
{
    tsr_media_packet k;
    int end = 0, rc = RC_OK;

    if (d->a->start > 0)
        rc = packets_in_seek(d->p, d->sound < 0 ? d->a->start
                             : d->a->start > warm_up ? d->a->start - warm_up
                                                     : 0);
    while (!rc && !end && !output_stopped() &&
           (!d->picture_over || !d->sound_over)) {
        rc = packets_in_next(d->p, &k, &end);
        if (!rc && !end && !output_stopped())
            rc = take(d, &k);
    }
    if (output_stopped())
        rc = RC_OK;
    if (!rc && d->audio && !d->sound_over) {
        const tsr_error error = tsr_audio_decoder_finish(d->audio);
        rc = error ? say_failure(d->in->name, error) : pull(d);
    }
    return rc ? rc : d->sink->finish(d->sink);
}

static void tell(const decoding *d)
{
    const double took = progress_seconds(&d->progress);
    char frames[64] = "";
    if (d->progress.video)
        snprintf(frames, sizeof frames, "%llu frames, ",
                 (unsigned long long)d->frames);
    say_info("%s: %s%.3f s, %.2f s (%.2fx)", d->a->out, frames,
             d->progress.sound, took, took > 0 ? d->progress.sound / took : 0);
}

/* What was damaged, in one line; RC_OK if nothing was. */
static int say_damage(const decoding *d)
{
    const char *damage = packets_in_damage(d->p);
    const uint64_t concealed = d->audio
        ? tsr_audio_decoder_concealed(d->audio) : 0;
    char frames[64] = "", sound[64] = "";

    if (d->bad_frames)
        snprintf(frames, sizeof frames, "; %llu damaged frames",
                 (unsigned long long)d->bad_frames);
    if (d->bad_sounds || concealed)
        snprintf(sound, sizeof sound, "; %llu frames of sound concealed",
                 (unsigned long long)concealed);
    if (!damage && !*frames && !*sound)
        return RC_OK;
    return say_error(RC_INPUT, d->in->name, "%s%s%s; what could be decoded is in"
                     " %s", damage ? damage : "",
                     frames + (damage || !*frames ? 0 : 2),
                     sound + (damage || *frames || !*sound ? 0 : 2), d->a->out);
}

static int run(decoding *d, kind k)
{
    int rc = open_sink(d, k);
    if (!rc) {
        d->picture_over |= !d->sink->frame;
        d->sound_over |= !d->sink->sound;
        rc = progress_open(&d->progress, d->a, d->a->out);
    }
    if (rc)
        return rc;
    d->progress.video = d->video && d->sink->frame;
    d->progress.bytes = d->out ? &d->out->bytes : NULL;
    d->progress.sound_length = packets_in_seconds(d->p);
    if (d->end < d->progress.sound_length)
        d->progress.sound_length = d->end;
    d->progress.sound_length -= d->a->start;
    output_record();
    rc = take_all(d);
    progress_close(&d->progress, d->out ? d->out->bytes : 0, !rc);
    if (!rc && !output_stopped())
        rc = say_damage(d);
    if (!rc && !output_stopped() && !d->frames && !d->samples)
        rc = say_error(RC_INPUT, d->in->name, d->a->start > 0
                       ? "has nothing after -ss" : "holds nothing");
    if (!rc)
        tell(d);
    return rc;
}

static int run_into(decoding *d, kind k)
{
    output out;
    int rc, rc_close;

    if (k == KIND_PICTURES)
        return run(d, k);
    rc = output_open(&out, d->a, d->in, d->a->out);
    if (rc)
        return rc;
    out.flow = !output_patches(&out);
    d->out = &out;
    rc = run(d, k);
    if (d->sink)
        d->sink->close(d->sink);
    d->sink = NULL;
    rc_close = output_close(&out, !rc || (rc == RC_INPUT &&
                                          (d->frames || d->samples)));
    return rc_close ? rc_close : rc;
}

static void release(decoding *d)
{
    if (d->sink)
        d->sink->close(d->sink);
    tsr_video_decoder_close(&d->video);
    tsr_audio_decoder_close(&d->audio);
    free(d->block);
}

int media_decode(tsr_context *ctx, tsr_model *model, const args *a, input *in,
                 packets_in *p)
{
    decoding d = { .ctx = ctx, .a = a, .in = in, .p = p };
    kind k;
    int rc = choose_pair(a, in, p, &d.picture, &d.sound);

    if (rc)
        return rc;
    k = kind_of(&d);
    rc = a->until > 0 && a->until <= a->start
        ? say_error(RC_USAGE, NULL, "-to lies before -ss")
        : k == KIND_NONE ? no_kind(&d) : choose(&d, k);
    if (!rc && d.picture >= 0)
        rc = open_video(&d, model);
    if (!rc && d.sound >= 0)
        rc = open_audio(&d, model);
    if (!rc)
        rc = run_into(&d, k);
    release(&d);
    if (!rc && output_stopped())
        return say_error(RC_SIGNAL, a->out, "ends where the signal came");
    return rc;
}

const char *media_decode_extension(const packets_in *p)
{
    for (int i = 0; i < packets_in_streams(p); i++)
        if (packets_in_stream(p, i)->type == TSR_MEDIA_VIDEO)
            return media_has_av() ? ".mp4" : ".y4m";
    return ".wav";
}
