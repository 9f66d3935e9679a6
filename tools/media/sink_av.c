/* SPDX-License-Identifier: BSD-2-Clause */
#include <libavformat/avformat.h>
#include <string.h>
#include "tools/media/av.h"
#include "tools/media/av_io.h"
#include "tools/media/sink.h"
#include "tools/media/sink_av.h"
#include "tools/say.h"

typedef struct sink_av {
    media_sink base;
    av_writer file;
    AVFormatContext *f;
    av_encoder video, audio;
    int single;             /* one picture */
} sink_av;

static int failed(const sink_av *s, int error)
{
    if (s->file.out->fault)
        return RC_USAGE;
    return say_error(error == AVERROR(ENOMEM) ? RC_MACHINE : RC_USAGE,
                     s->file.out->name, "%s", av_words(error));
}

/* Coded packets that are ready go into the file. */
static int drain(sink_av *s, av_encoder *e)
{
    int error;
    while ((error = avcodec_receive_packet(e->codec, e->packet)) >= 0) {
        e->packet->stream_index = e->stream->index;
        if (!e->packet->duration)
            e->packet->duration = e->duration;
        av_packet_rescale_ts(e->packet, e->codec->time_base,
                             e->stream->time_base);
        error = av_interleaved_write_frame(s->f, e->packet);
        if (error < 0 || s->file.out->fault)
            return failed(s, error);
    }
    return error == AVERROR(EAGAIN) || error == AVERROR_EOF ? RC_OK
                                                            : failed(s, error);
}

/* frame NULL: the end. */
static int encode(sink_av *s, av_encoder *e, const AVFrame *frame)
{
    const int error = avcodec_send_frame(e->codec, frame);
    return error < 0 ? failed(s, error) : drain(s, e);
}

static int take_frame(media_sink *m, const tsr_image *image, int64_t pts,
                      uint64_t duration)
{
    sink_av *s = (sink_av *)m;
    int rc;

    if (!av_video_take(&s->video, image, pts, duration, &rc)) {
        m->dropped += !rc;
        return rc;
    }
    m->done = s->single;
    return encode(s, &s->video, s->video.frame);
}

/* Whole frames of sound, or at the end what there is. */
static int encode_sound(sink_av *s, int last)
{
    int rc = RC_OK;
    while (!rc && av_audio_frame(&s->audio, last, &rc))
        rc = encode(s, &s->audio, s->audio.frame);
    return rc;
}

static int take_sound(media_sink *m, const float *x, size_t n, int64_t pts)
{
    sink_av *s = (sink_av *)m;
    const int rc = av_audio_take(&s->audio, x, n, pts);
    return rc ? rc : encode_sound(s, 0);
}

static int finish(media_sink *m)
{
    sink_av *s = (sink_av *)m;
    int rc = RC_OK, error;

    if (s->audio.codec) {
        rc = av_audio_take(&s->audio, NULL, 0, 0);
        if (!rc)
            rc = encode_sound(s, 1);
        if (!rc)
            rc = encode(s, &s->audio, NULL);
    }
    if (!rc && s->video.codec)
        rc = encode(s, &s->video, NULL);
    if (rc)
        return rc;
    error = av_write_trailer(s->f);
    return error < 0 || s->file.out->fault ? failed(s, error) : RC_OK;
}

static void close_av(media_sink *m)
{
    sink_av *s = (sink_av *)m;
    av_encoder_close(&s->video);
    av_encoder_close(&s->audio);
    avformat_free_context(s->f);
    av_writer_close(&s->file);
    av_free(s);
}

/* ---- opening ---- */

static const AVOutputFormat *format_of(const args *a)
{
    return av_guess_format(a->format, args_is_pipe(a->out) ? NULL : a->out,
                           NULL);
}

int sink_av_knows(const args *a)
{
    return format_of(a) != NULL;
}

static int open_format(sink_av *s, const args *a)
{
    const AVOutputFormat *o = format_of(a);
    s->single = !strcmp(o->name, "image2");
    if (s->single)
        o = av_guess_format("image2pipe", NULL, NULL);
    if (!o || o->flags & AVFMT_NOFILE)
        return say_error(RC_USAGE, a->out, "libav writes no single file of that"
                         " format");
    if (avformat_alloc_output_context2(&s->f, o, NULL, NULL) < 0)
        return failed(s, AVERROR(ENOMEM));
    s->f->pb = s->file.io;
    s->f->flags |= AVFMT_FLAG_CUSTOM_IO;
    s->f->flush_packets = s->file.out->flow;
    return RC_OK;
}

static int add_stream(sink_av *s, av_encoder *e)
{
    int error;
    if (s->f->oformat->flags & AVFMT_GLOBALHEADER)
        e->codec->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    error = avcodec_open2(e->codec, NULL, NULL);
    if (error < 0)
        return say_error(RC_USAGE, NULL, "the encoder %s of libav: %s",
                         e->codec->codec->name, av_words(error));
    e->stream = avformat_new_stream(s->f, NULL);
    if (!e->stream || avcodec_parameters_from_context(e->stream->codecpar,
                                                      e->codec) < 0)
        return failed(s, AVERROR(ENOMEM));
    e->stream->time_base = e->codec->time_base;
    e->stream->avg_frame_rate = e->codec->framerate;
    e->stream->sample_aspect_ratio = e->codec->sample_aspect_ratio;
    return RC_OK;
}

/* A container without a codec for a kind of stream does without it. */
static int add_streams(sink_av *s, const args *a, const sink_source *from)
{
    const AVOutputFormat *named = format_of(a);
    int rc = RC_OK;

    if (from->video)
        rc = av_video_open(&s->video, a, named, from);
    if (!rc && s->video.codec)
        rc = add_stream(s, &s->video);
    if (!rc && from->rate && !s->single)
        rc = av_audio_open(&s->audio, a, named, from);
    if (!rc && s->audio.codec)
        rc = add_stream(s, &s->audio);
    if (!rc && !s->video.codec && !s->audio.codec)
        rc = say_error(RC_USAGE, a->out, "%s holds nothing of what there is",
                       named->name);
    s->base.frame = s->video.codec ? take_frame : NULL;
    s->base.sound = s->audio.codec ? take_sound : NULL;
    if (!rc)
        rc = av_audio_prepare(&s->audio);
    return rc;
}

static int begin(sink_av *s)
{
    AVDictionary *options = NULL;
    int error;

    /* MP4 and MOV that cannot go back write fragments. */
    if (!s->file.io->seekable)
        av_dict_set(&options, "movflags", "frag_keyframe+empty_moov", 0);
    error = avformat_write_header(s->f, &options);
    av_dict_free(&options);
    return error < 0 || s->file.out->fault ? failed(s, error) : RC_OK;
}

int sink_av_open(media_sink **out, const args *a, const sink_source *from,
                 output *file)
{
    sink_av *s = av_mallocz(sizeof *s);
    int rc;

    if (!s)
        return say_error(RC_MACHINE, NULL, "out of memory");
    av_log_to_say();
    s->base = (media_sink){ .finish = finish, .close = close_av };
    rc = av_writer_open(&s->file, file);
    if (!rc)
        rc = open_format(s, a);
    if (!rc)
        rc = add_streams(s, a, from);
    if (!rc)
        rc = begin(s);
    if (rc)
        close_av(&s->base);
    else
        *out = &s->base;
    return rc;
}
