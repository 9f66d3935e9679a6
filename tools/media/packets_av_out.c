/* SPDX-License-Identifier: BSD-2-Clause */
#include <libavformat/avformat.h>
#include <libavutil/mathematics.h>
#include <libavutil/opt.h>
#include <stdio.h>
#include <string.h>
#include <tessera/audio.h>
#include <tessera/video.h>
#include "tools/media/av.h"
#include "tools/media/av_io.h"
#include "tools/media/packets_av.h"
#include "tools/media/packets_impl.h"
#include "tools/say.h"

typedef struct av_out {
    packets_out base;
    tsr_context *ctx;
    av_writer file;
    AVFormatContext *f;
    AVPacket *packet;
    AVRational unit[TSR_MEDIA_MAX_STREAMS];
    int mov, begun;
} av_out;

static int no_memory(const av_out *v)
{
    return say_error(RC_MACHINE, v->file.out->name, "out of memory");
}

/* A failed write is said when the output is closed. */
static int written(const av_out *v, int error)
{
    if (error >= 0 && !v->file.out->fault)
        return RC_OK;
    if (v->file.out->fault)
        return RC_USAGE;
    return error == AVERROR(ENOMEM) ? no_memory(v)
        : say_error(RC_USAGE, v->file.out->name, "%s", av_words(error));
}

/* ---- streams ---- */

static int set_video(const av_out *v, AVStream *s, const tsr_media_stream *m)
{
    char text[64];
    tsr_video_info info;
    const tsr_error error = tsr_video_describe(v->ctx, m->extradata,
                                               m->extradata_bytes, &info);
    if (error)
        return say_failure(v->file.out->name, error);
    s->codecpar->codec_type = AVMEDIA_TYPE_VIDEO;
    s->codecpar->codec_tag = TSR_TAG_VIDEO;
    s->codecpar->width = info.width;
    s->codecpar->height = info.height;
    if (info.rate_num <= INT32_MAX && info.rate_den <= INT32_MAX)
        s->avg_frame_rate = (AVRational){ (int)info.rate_num,
                                          (int)info.rate_den };
    s->sample_aspect_ratio = s->codecpar->sample_aspect_ratio =
        (AVRational){ info.sar_num, info.sar_den ? info.sar_den : 1 };
    snprintf(text, sizeof text, PACKETS_AV_TEXT, (int)m->time_num,
             (int)m->time_den);
    return av_dict_set(&s->metadata, PACKETS_AV_KEY, text, 0) < 0
        ? no_memory(v) : RC_OK;
}

/* Frames of a packet are four bytes in HEAD, with which extradata begins
 * (docs/audio-format.md). */
static int packet_samples(const tsr_media_stream *m, const tsr_audio_info *info)
{
    const uint8_t *p = m->extradata + 12;
    const int64_t frames = (int64_t)p[0] | (int64_t)p[1] << 8 |
                           (int64_t)p[2] << 16 | (int64_t)p[3] << 24;
    const int64_t samples = frames * info->hop;
    return samples <= INT32_MAX ? (int)samples : 0;
}

static int set_audio(const av_out *v, AVStream *s, const tsr_media_stream *m)
{
    tsr_audio_info info;
    const tsr_error error = tsr_audio_describe(v->ctx, m->extradata,
                                               m->extradata_bytes, &info);
    if (error)
        return say_failure(v->file.out->name, error);
    s->codecpar->codec_type = AVMEDIA_TYPE_AUDIO;
    s->codecpar->codec_tag = TSR_TAG_AUDIO;
    s->codecpar->sample_rate = info.rate;
    s->codecpar->frame_size = packet_samples(m, &info);
    av_channel_layout_default(&s->codecpar->ch_layout, info.channels);
    return RC_OK;
}

static int set_extradata(AVStream *s, const tsr_media_stream *m)
{
    s->codecpar->extradata = av_mallocz(m->extradata_bytes +
                                        AV_INPUT_BUFFER_PADDING_SIZE);
    if (!s->codecpar->extradata)
        return 0;
    memcpy(s->codecpar->extradata, m->extradata, m->extradata_bytes);
    s->codecpar->extradata_size = (int)m->extradata_bytes;
    return 1;
}

static int add_stream(packets_out *p, const tsr_media_stream *m, int *index)
{
    av_out *v = (av_out *)p;
    AVStream *s;

    if (m->time_num > INT32_MAX || m->time_den > INT32_MAX)
        return say_error(RC_USAGE, v->file.out->name, "MOV and NUT cannot hold"
                         " a unit of time of %u/%u s", (unsigned)m->time_num,
                         (unsigned)m->time_den);
    if (v->f->nb_streams == TSR_MEDIA_MAX_STREAMS)
        return say_error(RC_USAGE, v->file.out->name, "more than %d streams",
                         TSR_MEDIA_MAX_STREAMS);
    s = avformat_new_stream(v->f, NULL);
    if (!s || !set_extradata(s, m))
        return no_memory(v);
    *index = s->index;
    s->codecpar->codec_id = AV_CODEC_ID_NONE;
    s->time_base = (AVRational){ (int)m->time_num, (int)m->time_den };
    v->unit[s->index] = s->time_base;
    return m->type == TSR_MEDIA_VIDEO ? set_video(v, s, m) : set_audio(v, s, m);
}

/* ---- header ---- */

/* The unit of MOV's edit lists, which say when a stream begins: 1 / 1000 s, unless
 * all streams have a common one. */
static int common_scale(const av_out *v)
{
    int64_t scale = 1;
    for (unsigned i = 0; i < v->f->nb_streams; i++) {
        int64_t den = v->unit[i].den;
        while (v->f->streams[i]->codecpar->codec_type == AVMEDIA_TYPE_VIDEO &&
               den < 10000)
            den *= 2;
        scale = scale / av_gcd(scale, den) * den;
        if (scale > INT32_MAX)
            return 1000;
    }
    return (int)scale;
}

/* A file that cannot seek gets its times in fragments: one for each frame; of
 * sound alone, one a second.  frag_discont: the first ones may be above 0. */
static void set_mov(const av_out *v, AVDictionary **options)
{
    int video = 0;
    for (unsigned i = 0; i < v->f->nb_streams; i++)
        video |= v->f->streams[i]->codecpar->codec_type == AVMEDIA_TYPE_VIDEO;
    av_dict_set_int(options, "movie_timescale", common_scale(v), 0);
    if (v->file.io->seekable)
        return;
    av_dict_set(options, "movflags",
                "empty_moov+default_base_moof+frag_discont", 0);
    if (video)
        av_dict_set(options, "movflags", "+frag_keyframe", AV_DICT_APPEND);
    else
        av_dict_set(options, "frag_duration", "1000000", 0);
    v->f->avoid_negative_ts = AVFMT_AVOID_NEG_TS_MAKE_NON_NEGATIVE;
}

static int begin(av_out *v)
{
    AVDictionary *options = NULL;
    int error;

    v->begun = 1;
    if (v->mov)
        set_mov(v, &options);
    error = avformat_write_header(v->f, &options);
    av_dict_free(&options);
    return written(v, error);
}

/* ---- packets ---- */

static int put(packets_out *p, const tsr_media_packet *m)
{
    av_out *v = (av_out *)p;
    AVPacket *k = v->packet;
    const AVRational unit = v->unit[m->stream];
    AVStream *s = v->f->streams[m->stream];
    int rc = v->begun ? RC_OK : begin(v);

    if (rc)
        return rc;
    if (m->bytes > INT32_MAX)
        return say_error(RC_USAGE, v->file.out->name, "a packet is too large");
    /* Only read: libav's packets are not const. */
    k->data = (uint8_t *)(uintptr_t)m->data;
    k->size = (int)m->bytes;
    k->stream_index = m->stream;
    k->flags = AV_PKT_FLAG_KEY;
    k->pts = k->dts = av_rescale_q(m->pts, unit, s->time_base);
    k->duration = m->duration > INT64_MAX ? 0
        : av_rescale_q((int64_t)m->duration, unit, s->time_base);
    return written(v, av_write_frame(v->f, k));
}

static int finish(packets_out *p)
{
    av_out *v = (av_out *)p;
    const int rc = v->begun ? RC_OK : begin(v);
    return rc ? rc : written(v, av_write_trailer(v->f));
}

static void close_out(packets_out *p)
{
    av_out *v = (av_out *)p;
    av_packet_free(&v->packet);
    avformat_free_context(v->f);
    av_writer_close(&v->file);
    av_free(v);
}

static int create(av_out *v, const char *format, output *out)
{
    const int rc = av_writer_open(&v->file, out);
    if (rc)
        return rc;
    av_log_to_say();
    v->mov = !strcmp(format, "mov");
    v->packet = av_packet_alloc();
    if (!v->packet ||
        avformat_alloc_output_context2(&v->f, NULL, format, NULL) < 0)
        return v->packet ? say_error(RC_USAGE, out->name, "this libavformat"
                                     " writes no %s", format) : no_memory(v);
    v->f->pb = v->file.io;
    v->f->flags |= AVFMT_FLAG_BITEXACT | AVFMT_FLAG_CUSTOM_IO;
    v->f->strict_std_compliance = -2;
    v->f->flush_packets = out->flow;
    return RC_OK;
}

int packets_av_create(packets_out **p, tsr_context *ctx, const char *format,
                      output *out)
{
    static const packets_out_kind kind = { add_stream, put, finish, close_out };
    av_out *v = av_mallocz(sizeof *v);
    int rc;

    if (!v)
        return say_error(RC_MACHINE, out->name, "out of memory");
    v->base.kind = &kind;
    v->ctx = ctx;
    rc = create(v, format, out);
    if (rc)
        close_out(&v->base);
    else
        *p = &v->base;
    return rc;
}
