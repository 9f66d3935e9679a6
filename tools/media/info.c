/* SPDX-License-Identifier: BSD-2-Clause */
#include <inttypes.h>
#include <stdio.h>
#include <tessera/audio.h>
#include <tessera/media.h>
#include <tessera/model.h>
#include <tessera/video.h>
#include "tools/chunks.h"
#include "tools/json.h"
#include "tools/media/info.h"
#include "tools/say.h"
#include "tools/sound/sound.h"

/* One stream. */
typedef struct track {
    tsr_media_stream is;
    tsr_video_info video;
    tsr_audio_info sound;
    int here;               /* the model is on this machine */
    uint64_t packets, frames, bytes;
    double start, end;      /* seconds */
} track;

/* All that is told of one file. */
typedef struct report {
    const char *name;
    int streams;
    track stream[TSR_MEDIA_MAX_STREAMS];
    double seconds;
    uint64_t bytes;         /* of the file */
    tsr_stream_damage damage;
    int damaged, checked;
    chunks found;           /* of --check */
} report;

/* ---- reading ---- */

/* The input, counted. */
typedef struct counter {
    tsr_source source;
    uint64_t bytes;
} counter;

static tsr_error read_counted(void *cookie, void *data, size_t size, size_t *got)
{
    counter *c = cookie;
    const tsr_error error = c->source.read(c->source.cookie, data, size, got);
    if (!error)
        c->bytes += *got;
    return error;
}

static const uint8_t *hash_of(const track *t)
{
    return t->is.type == TSR_MEDIA_VIDEO ? t->video.model_hash
                                         : t->sound.model_hash;
}

static const char *model_of(const track *t)
{
    return t->is.type == TSR_MEDIA_VIDEO ? t->video.model_name
                                         : t->sound.model_name;
}

static tsr_error describe(tsr_context *ctx, track *t)
{
    tsr_model *model;
    const tsr_error error = t->is.type == TSR_MEDIA_VIDEO
        ? tsr_video_describe(ctx, t->is.extradata, t->is.extradata_bytes,
                             &t->video)
        : tsr_audio_describe(ctx, t->is.extradata, t->is.extradata_bytes,
                             &t->sound);
    if (error)
        return error;
    t->here = !tsr_model_open_hash(&model, ctx, hash_of(t), TSR_MODEL_HASH_BYTES);
    tsr_model_unref(&model);
    say_take_detail();
    return TSR_OK;
}

static double seconds_of(const track *t, double time)
{
    return time * t->is.time_num / t->is.time_den;
}

static void count(tsr_context *ctx, track *t, const tsr_media_packet *p)
{
    const double start = seconds_of(t, (double)p->pts);
    const double end = seconds_of(t, (double)p->pts + (double)p->duration);
    tsr_audio_packet sound;

    t->start = !t->packets || start < t->start ? start : t->start;
    t->end = !t->packets || end > t->end ? end : t->end;
    t->packets++;
    t->bytes += p->bytes;
    if (t->is.type == TSR_MEDIA_VIDEO)
        t->frames++;
    else if (!tsr_audio_describe_packet(ctx, t->is.extradata,
                                        t->is.extradata_bytes, p->data, p->bytes,
                                        &sound))
        t->frames += (uint64_t)sound.frames;
}

static tsr_error read_packets(tsr_context *ctx, tsr_media_reader *reader,
                              report *r)
{
    tsr_media_packet packet;
    tsr_error error = TSR_OK;

    r->streams = tsr_media_reader_streams(reader);
    for (int i = 0; !error && i < r->streams; i++) {
        r->stream[i].is = *tsr_media_reader_stream(reader, i);
        error = describe(ctx, &r->stream[i]);
    }
    while (!error && !(error = tsr_media_reader_next(reader, &packet)))
        count(ctx, &r->stream[packet.stream], &packet);
    for (int i = 0; i < r->streams; i++) {
        r->stream[i].is.extradata = NULL; /* the reader's */
        if (r->stream[i].end > r->seconds)
            r->seconds = r->stream[i].end;
    }
    r->damage = tsr_media_reader_damage(reader);
    r->damaged = r->damage.lost_chunks || r->damage.skipped_bytes ||
                 r->damage.truncated;
    return error == TSR_E_EOF ? TSR_OK : error;
}

static int probe(tsr_context *ctx, const args *a, input *in, report *r)
{
    counter c = { .source = input_source(in) };
    const tsr_source source = { &c, read_counted };
    tsr_media_reader *reader;
    tsr_error error;
    int rc = a->check ? input_rewindable(in) : RC_OK;

    if (rc)
        return rc;
    error = tsr_media_reader_open(&reader, ctx, &source, NULL);
    if (!error) {
        error = read_packets(ctx, reader, r);
        tsr_media_reader_close(&reader);
    }
    r->bytes = c.bytes;
    if (error)
        return in->fault ? input_failed(in) : say_failure(in->name, error);
    if (!a->check)
        return RC_OK;
    rc = input_rewind(in);
    if (!rc)
        rc = chunks_check(ctx, in, &r->found);
    r->checked = 1;
    r->damaged |= r->found.bad;
    return rc;
}

/* ---- telling ---- */

static double bit_rate(double seconds, uint64_t bytes)
{
    return seconds > 0 ? 8 * (double)bytes / seconds : 0;
}

static double length_of(const track *t)
{
    return t->end > t->start ? t->end - t->start : 0;
}

static void print_hash(const track *t)
{
    for (int b = 0; b < TSR_MODEL_HASH_BYTES; b++)
        printf("%02x", hash_of(t)[b]);
}

static const char *name_of_channels(int channels)
{
    static const char *const name[] = { "grey", "grey and alpha", "RGB",
                                        "RGB and alpha" };
    return name[channels - 1];
}

static void print_video(const tsr_video_info *v)
{
    printf("video, %d x %d, %s, %d bits", v->width, v->height,
           name_of_channels(v->channels), v->bits);
    if (v->rate_den)
        printf(", %.6g frames a second", (double)v->rate_num / v->rate_den);
    if (v->sar_den && v->sar_num != v->sar_den)
        printf(", pixels %d:%d", v->sar_num, v->sar_den);
    printf("\n  codec    %s\n", v->codec[0] ? v->codec : "unknown");
}

static void print_sound(const tsr_audio_info *s)
{
    char sizes[32];

    printf("sound, %d Hz, %d channel%s\n", s->rate, s->channels,
           s->channels == 1 ? "" : "s");
    printf("  codec    %s, %d book%s of %s, entropy %s%s\n",
           s->codec[0] ? s->codec : "unknown", s->books, s->books == 1 ? "" : "s",
           sound_book_sizes(s, sizes), sound_entropy_name(s->entropy), s->live ? ", live" : "");
}

static void print_track(const track *t, int number)
{
    printf("stream %d   ", number);
    if (t->is.type == TSR_MEDIA_VIDEO)
        print_video(&t->video);
    else
        print_sound(&t->sound);
    printf("  model    %s%s\n  hash     ", model_of(t)[0] ? model_of(t)
                                                          : "without a name",
           t->here ? "" : ", not on this machine");
    print_hash(t);
    printf("\n  time     %.3f s", length_of(t));
    if (t->packets && t->start < 0)
        printf(", %.3f s of them before 0", -t->start);
    else if (t->start > 0)
        printf(" from %.3f s on", t->start);
    printf("\n  packets  %" PRIu64, t->packets);
    if (t->frames != t->packets)
        printf(", %" PRIu64 " frames", t->frames);
    printf("\n  rate     %.3f kbit/s, %" PRIu64 " bytes\n",
           1e-3 * bit_rate(length_of(t), t->bytes), t->bytes);
}

static void print_text(const report *r)
{
    printf("%s\n", r->name);
    printf("media      %.3f s, %d stream%s, %.3f kbit/s, %" PRIu64 " bytes\n",
           r->seconds, r->streams, r->streams == 1 ? "" : "s",
           1e-3 * bit_rate(r->seconds, r->bytes), r->bytes);
    for (int i = 0; i < r->streams; i++)
        print_track(&r->stream[i], i);
    if (r->checked)
        printf("check      %" PRIu64 " of %" PRIu64 " chunks are sound%s\n",
               r->found.sound, r->found.sound + r->found.lost,
               r->found.damage.truncated ? "; the end is missing" : "");
    if (r->damaged)
        printf("damage     %" PRIu64 " chunk%s lost, %" PRIu64 " bytes skipped%s\n",
               r->damage.lost_chunks, r->damage.lost_chunks == 1 ? "" : "s",
               r->damage.skipped_bytes,
               r->damage.truncated ? ", the end is missing" : "");
}

static const char *truth(int value)
{
    return value ? "true" : "false";
}

static void json_codec(const char *type, const char *codec)
{
    printf("\"type\": \"%s\", \"codec\": ", type);
    json_string(codec);
}

static void json_video(const tsr_video_info *v)
{
    json_codec("video", v->codec);
    printf(", \"width\": %d, \"height\": %d, \"channels\": %d, \"bits\": %d, "
           "\"frame_rate\": \"%" PRIu32 "/%" PRIu32 "\", \"pixel_aspect\": \"%d/%d\""
           ", \"primaries\": %d, \"transfer\": %d, \"matrix\": %d, \"range\": "
           "\"%s\"", v->width, v->height, v->channels, v->bits, v->rate_num,
           v->rate_den, v->sar_num, v->sar_den, v->primaries, v->transfer,
           v->matrix, v->full_range ? "full" : "limited");
}

static void json_sound(const tsr_audio_info *s)
{
    json_codec("audio", s->codec);
    printf(", \"rate\": %d, \"channels\": %d, \"groups\": %d, \"books\": %d, "
           "\"codewords\": %d, \"first_codewords\": %d, \"other_codewords\": %d, "
           "\"hop\": %d, \"entropy\": ", s->rate, s->channels, s->groups, s->books,
           s->codewords, s->first_codewords, s->other_codewords, s->hop);
    json_string(sound_entropy_name(s->entropy));
    printf(", \"live\": %s, \"droppable\": %s", truth(s->live),
           truth(s->droppable));
}

static void json_track(const track *t)
{
    if (t->is.type == TSR_MEDIA_VIDEO)
        json_video(&t->video);
    else
        json_sound(&t->sound);
    printf(", \"model\": ");
    json_string(model_of(t));
    printf(", \"model_here\": %s, \"model_hash\": \"", truth(t->here));
    print_hash(t);
    printf("\", \"time_base\": \"%" PRIu32 "/%" PRIu32 "\", \"start\": ",
           t->is.time_num, t->is.time_den);
    json_number(t->start, 6);
    printf(", \"duration\": ");
    json_number(length_of(t), 6);
    printf(", \"packets\": %" PRIu64 ", \"frames\": %" PRIu64 ", \"bytes\": %"
           PRIu64 ", \"bit_rate\": ", t->packets, t->frames, t->bytes);
    json_number(bit_rate(length_of(t), t->bytes), 3);
}

static void print_json(const report *r)
{
    printf("{\"file\": ");
    json_string(r->name);
    printf(", \"duration\": ");
    json_number(r->seconds, 6);
    printf(", \"file_bytes\": %" PRIu64 ", \"bit_rate\": ", r->bytes);
    json_number(bit_rate(r->seconds, r->bytes), 3);
    printf(", \"streams\": [");
    for (int i = 0; i < r->streams; i++) {
        printf("%s{", i ? ", " : "");
        json_track(&r->stream[i]);
        printf("}");
    }
    printf("], \"lost_chunks\": %" PRIu64 ", \"skipped_bytes\": %" PRIu64
           ", \"truncated\": %s", r->damage.lost_chunks, r->damage.skipped_bytes,
           truth(r->damage.truncated));
    if (r->checked)
        printf(", \"chunks_sound\": %" PRIu64 ", \"chunks_lost\": %" PRIu64,
               r->found.sound, r->found.lost);
    printf(", \"damaged\": %s}\n", truth(r->damaged));
}

int media_info(tsr_context *ctx, const args *a, input *in)
{
    report r = { .name = in->name };
    const int rc = probe(ctx, a, in, &r);

    if (rc)
        return rc;
    say_take_detail();
    if (a->json)
        print_json(&r);
    else
        print_text(&r);
    return r.damaged ? say_error(RC_INPUT, r.name, "is damaged") : RC_OK;
}
