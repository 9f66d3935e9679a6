/* SPDX-License-Identifier: BSD-2-Clause */
#include <libavutil/imgutils.h>
#include <libavutil/pixdesc.h>
#include "tools/media/sink_av.h"
#include "tools/media/yuv.h"
#include "tools/say.h"

const AVCodec *av_encoder_named(const char *name, enum AVMediaType type,
                                enum AVCodecID id)
{
    const AVCodec *codec = NULL;
    const AVCodecDescriptor *d;

    if (name) {
        codec = avcodec_find_encoder_by_name(name);
        d = codec ? NULL : avcodec_descriptor_get_by_name(name);
        if (d)
            codec = avcodec_find_encoder(d->id);
    } else {
        codec = avcodec_find_encoder(id);
    }
    if (codec && codec->type == type)
        return codec;
    say_error(RC_USAGE, NULL, "libav has no encoder '%s' for %s",
              name ? name : avcodec_get_name(id),
              type == AVMEDIA_TYPE_VIDEO ? "video" : "sound");
    return NULL;
}

void av_encoder_close(av_encoder *e)
{
    avcodec_free_context(&e->codec);
    av_frame_free(&e->frame);
    av_packet_free(&e->packet);
    sws_freeContext(e->sws);
    swr_free(&e->swr);
    if (e->fifo)
        av_audio_fifo_free(e->fifo);
}

static enum AVPixelFormat source_format(int channels, int bits)
{
    static const enum AVPixelFormat formats[2][4] = {
        { AV_PIX_FMT_GRAY8, AV_PIX_FMT_YA8, AV_PIX_FMT_RGB24,
          AV_PIX_FMT_RGBA },
        { AV_PIX_FMT_GRAY16, AV_PIX_FMT_YA16, AV_PIX_FMT_RGB48,
          AV_PIX_FMT_RGBA64 }
    };
    return formats[bits == 16][channels - 1];
}

static int has_format(const AVCodec *codec, enum AVPixelFormat format)
{
    for (const enum AVPixelFormat *p = codec->pix_fmts;
         p && *p != AV_PIX_FMT_NONE; p++)
        if (*p == format)
            return 1;
    return !codec->pix_fmts;
}

/* What players show: 4:2:0, or for odd sizes 4:4:4, of 8 bits; where the encoder
 * has neither, what is nearest to the source. */
static enum AVPixelFormat choose_format(const AVCodec *codec, const args *a,
                                        const tsr_video_info *v)
{
    const enum AVPixelFormat source = source_format(v->channels, v->bits);
    const int odd = v->width % 2 || v->height % 2;
    const enum AVPixelFormat usual = odd ? AV_PIX_FMT_YUV444P
                                         : AV_PIX_FMT_YUV420P;
    if (a->pixel_format)
        return av_get_pix_fmt(a->pixel_format);
    if (codec->id == AV_CODEC_ID_RAWVIDEO)
        return AV_PIX_FMT_YUV420P;
    if (codec->pix_fmts && has_format(codec, AV_PIX_FMT_YUVJ420P) &&
        codec->id == AV_CODEC_ID_MJPEG)
        return AV_PIX_FMT_YUVJ420P;
    if (codec->pix_fmts && has_format(codec, usual))
        return usual;
    if (codec->pix_fmts && has_format(codec, AV_PIX_FMT_YUV420P))
        return AV_PIX_FMT_YUV420P;
    return codec->pix_fmts
        ? avcodec_find_best_pix_fmt_of_list(codec->pix_fmts, source, 0, NULL)
        : source;
}

/* Codecs whose frames come at a constant rate. */
static int is_steady(enum AVCodecID id)
{
    return id == AV_CODEC_ID_MPEG4 || id == AV_CODEC_ID_MPEG2VIDEO ||
           id == AV_CODEC_ID_MPEG1VIDEO;
}

/* The stream's unit of time; where codec or container count frames, or -r says a
 * rate, a frame. */
static AVRational unit_of(const sink_source *from, const args *a,
                          const AVOutputFormat *format, enum AVCodecID id)
{
    const int steady = is_steady(id) || a->frame_rate ||
                       !(format->flags & AVFMT_VARIABLE_FPS);
    AVRational unit;
    int64_t num = from->time_num, den = from->time_den;

    if (steady && from->rate_num) {
        num = from->rate_den;
        den = from->rate_num;
    } else if (steady) {
        num = 1;
        den = 25;
    }
    av_reduce(&unit.num, &unit.den, num, den, steady ? 65535 : INT32_MAX);
    return unit;
}

static void set_colours(AVCodecContext *c, const tsr_video_info *v)
{
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(c->pix_fmt);
    const int named = v->matrix && v->matrix != 2;
    const int jpeg = c->pix_fmt == AV_PIX_FMT_YUVJ420P ||
                     c->pix_fmt == AV_PIX_FMT_YUVJ444P ||
                     c->pix_fmt == AV_PIX_FMT_YUVJ422P;
    c->color_primaries = (enum AVColorPrimaries)v->primaries;
    c->color_trc = (enum AVColorTransferCharacteristic)v->transfer;
    if (d->flags & AV_PIX_FMT_FLAG_RGB)
        return;
    c->colorspace = (enum AVColorSpace)(named ? v->matrix
                                              : yuv_matrix_of(v->height));
    c->color_range = v->full_range || jpeg ? AVCOL_RANGE_JPEG
                                           : AVCOL_RANGE_MPEG;
}

static int set_scaler(av_encoder *e, const tsr_video_info *v)
{
    const AVCodecContext *c = e->codec;
    e->sws = sws_getContext(v->width, v->height,
                            source_format(v->channels, v->bits), v->width,
                            v->height, c->pix_fmt, SWS_BICUBIC |
                            SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT, NULL, NULL,
                            NULL);
    if (!e->sws)
        return say_error(RC_USAGE, NULL, "libav makes no %s of these pictures",
                         av_get_pix_fmt_name(c->pix_fmt));
    sws_setColorspaceDetails(e->sws, sws_getCoefficients(SWS_CS_DEFAULT), 1,
                             sws_getCoefficients((int)c->colorspace),
                             c->color_range == AVCOL_RANGE_JPEG, 0, 1 << 16,
                             1 << 16);
    return RC_OK;
}

static int set_frame(av_encoder *e)
{
    e->packet = av_packet_alloc();
    e->frame = av_frame_alloc();
    if (!e->packet || !e->frame)
        return say_error(RC_MACHINE, NULL, "out of memory");
    e->frame->format = e->codec->pix_fmt;
    e->frame->width = e->codec->width;
    e->frame->height = e->codec->height;
    e->frame->color_range = e->codec->color_range;
    e->frame->colorspace = e->codec->colorspace;
    e->frame->color_primaries = e->codec->color_primaries;
    e->frame->color_trc = e->codec->color_trc;
    return av_frame_get_buffer(e->frame, 0) < 0
        ? say_error(RC_MACHINE, NULL, "out of memory") : RC_OK;
}

int av_video_open(av_encoder *e, const args *a, const AVOutputFormat *format,
                  const sink_source *from)
{
    const tsr_video_info *v = from->video;
    const enum AVCodecID id = av_guess_codec(format, NULL, a->out, NULL,
                                             AVMEDIA_TYPE_VIDEO);
    const AVCodec *codec;
    AVCodecContext *c;
    int rc;

    /* A picture that goes with the sound is no video. */
    if (!a->codec_v && (id == AV_CODEC_ID_NONE ||
                        avformat_query_codec(format, id, 0) ==
                        MKTAG('A', 'P', 'I', 'C')))
        return RC_OK;
    codec = av_encoder_named(a->codec_v, AVMEDIA_TYPE_VIDEO, id);
    if (!codec)
        return RC_USAGE;
    c = e->codec = avcodec_alloc_context3(codec);
    if (!c)
        return say_error(RC_MACHINE, NULL, "out of memory");
    c->width = v->width;
    c->height = v->height;
    c->sample_aspect_ratio = (AVRational){ v->sar_num,
                                           v->sar_den ? v->sar_den : 1 };
    c->time_base = unit_of(from, a, format, codec->id);
    if (from->rate_num)
        av_reduce(&c->framerate.num, &c->framerate.den, from->rate_num,
                  from->rate_den, INT32_MAX);
    c->thread_count = a->threads;
    c->pix_fmt = choose_format(codec, a, v);
    if (c->pix_fmt == AV_PIX_FMT_NONE || !has_format(codec, c->pix_fmt))
        return say_error(RC_USAGE, NULL, "-pix_fmt %s: the encoder %s does not"
                         " take it", a->pixel_format ? a->pixel_format : "",
                         codec->name);
    set_colours(c, v);
    if (codec->id == AV_CODEC_ID_MJPEG) {
        /* libav's default is made for video of 200 kbit/s. */
        c->flags |= AV_CODEC_FLAG_QSCALE;
        c->global_quality = 2 * FF_QP2LAMBDA;
    }
    e->unit = (AVRational){ (int)from->time_num, (int)from->time_den };
    e->next = INT64_MIN;
    rc = set_scaler(e, v);
    return rc ? rc : set_frame(e);
}

int av_video_take(av_encoder *e, const tsr_image *image, int64_t pts,
                  uint64_t duration, int *rc)
{
    const uint8_t *planes[4] = { image->data };
    const int strides[4] = { (int)image->stride };
    const int64_t time = av_rescale_q(pts, e->unit, e->codec->time_base);

    *rc = RC_OK;
    if (time < e->next)
        return 0;
    if (av_frame_make_writable(e->frame) < 0) {
        *rc = say_error(RC_MACHINE, NULL, "out of memory");
        return 0;
    }
    sws_scale(e->sws, planes, strides, 0, image->height, e->frame->data,
              e->frame->linesize);
    e->frame->pts = time;
    e->next = time + 1;
    e->duration = av_rescale_q((int64_t)duration, e->unit,
                               e->codec->time_base);
    if (e->duration < 1)
        e->duration = 1;
    return 1;
}
