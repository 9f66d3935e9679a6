/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Part of libavcodec once apply.sh has put it there: sound to packets of
 * libtessera.  One AVPacket is one packet of it. */
#include <math.h>
#include <tessera/audio.h>
#include <tessera/model.h>
#include <libavcodec/audio_frame_queue.h>
#include <libavcodec/codec_internal.h>
#include <libavcodec/encode.h>
#include <libavcodec/libtessera.h>
#include <libavutil/internal.h>
#include <libavutil/mem.h>
#include <libavutil/opt.h>
#include <libavutil/samplefmt.h>

typedef struct SoundEncoder {
    const AVClass *class;
    char *model;
    int books, live, droppable;
    double packet;
    tsr_context *context;
    tsr_audio_encoder *encoder;
    AudioFrameQueue queue;
    AVFrame *frame;
    float *samples;         /* planes, interleaved */
    unsigned samples_room;
} SoundEncoder;

static int sound_check(AVCodecContext *avctx, const char *model,
                       const tsr_audio_model_info *info)
{
    if (avctx->sample_rate != info->rate) {
        av_log(avctx, AV_LOG_ERROR, "model '%s' codes sound of %d Hz, not %d:"
               " -ar %d resamples\n", model, info->rate, avctx->sample_rate,
               info->rate);
        return AVERROR(EINVAL);
    }
    if (avctx->ch_layout.nb_channels % info->channels ||
        avctx->ch_layout.nb_channels > TSR_AUDIO_MAX_CHANNELS) {
        av_log(avctx, AV_LOG_ERROR, "model '%s' codes %d channels at a time,"
               " there are %d: -ac %d mixes\n", model, info->channels,
               avctx->ch_layout.nb_channels, info->channels);
        return AVERROR(EINVAL);
    }
    return 0;
}

/* Short enough for files where sound and pictures lie side by side. */
static int packet_frames(const SoundEncoder *s, const tsr_audio_model_info *info)
{
    const double seconds = s->packet > 0 ? s->packet : 1;
    return av_clip(lrint(seconds * info->rate / info->hop), 1,
                   TSR_AUDIO_MAX_FRAMES);
}

static int sound_open_model(AVCodecContext *avctx, tsr_model *model)
{
    SoundEncoder *s = avctx->priv_data;
    const int channels = avctx->ch_layout.nb_channels;
    tsr_audio_settings settings;
    tsr_audio_model_info info;
    tsr_error error = tsr_audio_model_describe(s->context, model, &info);
    int ret = error ? ff_tessera_error(error)
                    : sound_check(avctx, s->model, &info);

    if (ret < 0)
        return ret;
    tsr_audio_settings_init(&settings);
    settings.channels = channels;
    settings.bitrate = (double)avctx->bit_rate * info.channels / channels;
    settings.books = s->books;
    settings.live = s->live;
    settings.droppable = s->droppable;
    if (s->packet > 0 || !s->live)
        settings.packet_frames = packet_frames(s, &info);
    return ff_tessera_error(tsr_audio_encoder_open(&s->encoder, s->context,
                                                   model, &settings));
}

/* There is no padding in front: sample n of the first packet is sample n of
 * the first frame, and the last packet says how many it stands for. */
static av_cold int sound_open(AVCodecContext *avctx)
{
    SoundEncoder *s = avctx->priv_data;
    tsr_model *model = NULL;
    const uint8_t *data;
    size_t bytes;
    int ret = ff_tessera_context(avctx, &s->context);

    if (ret < 0)
        return ret;
    ret = ff_tessera_error(tsr_model_open(&model, s->context, s->model));
    if (ret >= 0)
        ret = sound_open_model(avctx, model);
    tsr_model_unref(&model);
    if (ret < 0)
        return ret;
    ff_af_queue_init(avctx, &s->queue);
    if (!(s->frame = av_frame_alloc()))
        return AVERROR(ENOMEM);
    tsr_audio_encoder_extradata(s->encoder, &data, &bytes);
    return ff_tessera_extradata(avctx, data, bytes);
}

static const float *interleave(SoundEncoder *s, const AVFrame *frame, int channels)
{
    av_fast_malloc(&s->samples, &s->samples_room,
                   (size_t)frame->nb_samples * channels * sizeof(float));
    if (!s->samples)
        return NULL;
    for (int c = 0; c < channels; c++) {
        const float *plane = (const float *)frame->extended_data[c];
        for (int t = 0; t < frame->nb_samples; t++)
            s->samples[(size_t)t * channels + c] = plane[t];
    }
    return s->samples;
}

/* libavcodec makes no difference between a plane and packed samples of one
 * channel. */
static int is_other_format(const AVCodecContext *avctx, const AVFrame *frame)
{
    if (avctx->ch_layout.nb_channels == 1)
        return av_get_packed_sample_fmt(frame->format) != AV_SAMPLE_FMT_FLT;
    return frame->format != avctx->sample_fmt;
}

static int push_frame(AVCodecContext *avctx, const AVFrame *frame)
{
    SoundEncoder *s = avctx->priv_data;
    const int channels = avctx->ch_layout.nb_channels;
    const float *samples = (const float *)frame->extended_data[0];
    int ret;

    if (is_other_format(avctx, frame) ||
        (frame->sample_rate && frame->sample_rate != avctx->sample_rate) ||
        (frame->ch_layout.nb_channels &&
         frame->ch_layout.nb_channels != channels)) {
        av_log(avctx, AV_LOG_ERROR, "a frame of %d Hz, %d channels and %s in a"
               " sound of %d Hz, %d and %s\n", frame->sample_rate,
               frame->ch_layout.nb_channels,
               (char *)av_x_if_null(av_get_sample_fmt_name(frame->format), "?"),
               avctx->sample_rate, channels,
               av_get_sample_fmt_name(avctx->sample_fmt));
        return AVERROR(EINVAL);
    }
    if (frame->format == AV_SAMPLE_FMT_FLTP && channels > 1)
        samples = interleave(s, frame, channels);
    if (!samples)
        return AVERROR(ENOMEM);
    if ((ret = ff_af_queue_add(&s->queue, frame)) < 0)
        return ret;
    return ff_tessera_error(tsr_audio_encoder_push(s->encoder, samples,
                                                   frame->nb_samples));
}

static int take_frame(AVCodecContext *avctx)
{
    SoundEncoder *s = avctx->priv_data;
    int ret = ff_encode_get_frame(avctx, s->frame);

    if (ret == AVERROR_EOF)
        return ff_tessera_error(tsr_audio_encoder_finish(s->encoder));
    if (ret < 0)
        return ret;
    ret = push_frame(avctx, s->frame);
    av_frame_unref(s->frame);
    return ret;
}

static int sound_encode(AVCodecContext *avctx, AVPacket *pkt)
{
    SoundEncoder *s = avctx->priv_data;
    tsr_audio_packet packet;
    int ret;

    for (;;) {
        ret = ff_tessera_error(tsr_audio_encoder_pull(s->encoder, &packet));
        if (ret < 0)
            return ret;
        if (packet.data)
            break;
        if ((ret = take_frame(avctx)) < 0)
            return ret;
    }
    ret = ff_tessera_packet(avctx, pkt, packet.data, packet.bytes);
    if (ret < 0)
        return ret;
    ff_af_queue_remove(&s->queue, packet.samples, &pkt->pts, &pkt->duration);
    pkt->dts = pkt->pts;
    pkt->flags |= AV_PKT_FLAG_KEY;
    return 0;
}

static av_cold int sound_close(AVCodecContext *avctx)
{
    SoundEncoder *s = avctx->priv_data;
    if (s->queue.avctx)
        ff_af_queue_close(&s->queue);
    tsr_audio_encoder_close(&s->encoder);
    tsr_context_close(&s->context);
    av_frame_free(&s->frame);
    av_freep(&s->samples);
    return 0;
}

#define OFFSET(x) offsetof(SoundEncoder, x)
#define FLAGS (AV_OPT_FLAG_AUDIO_PARAM | AV_OPT_FLAG_ENCODING_PARAM)
static const AVOption sound_options[] = {
    { "model", "name or path of a sound model", OFFSET(model),
      AV_OPT_TYPE_STRING, { .str = "sound" }, 0, 0, FLAGS },
    { "books", "codebooks of a frame, instead of -b:a", OFFSET(books),
      AV_OPT_TYPE_INT, { .i64 = 0 }, 0, TSR_AUDIO_MAX_BOOKS, FLAGS },
    { "packet", "seconds of a packet; 0: one, live a single frame",
      OFFSET(packet), AV_OPT_TYPE_DOUBLE, { .dbl = 0 }, 0, 1e5, FLAGS },
    { "live", "with the least delay", OFFSET(live), AV_OPT_TYPE_BOOL,
      { .i64 = 0 }, 0, 1, FLAGS },
    { "droppable", "the finer books can be cut off later", OFFSET(droppable),
      AV_OPT_TYPE_BOOL, { .i64 = 0 }, 0, 1, FLAGS },
    { NULL }
};

static const AVClass sound_class = {
    .class_name = "libtessera_audio", .item_name = av_default_item_name,
    .option = sound_options, .version = LIBAVUTIL_VERSION_INT,
};

/* The model's own rate, not libavcodec's, where -b:a says nothing. */
static const FFCodecDefault sound_defaults[] = { { "b", "0" }, { NULL } };

static const enum AVSampleFormat sound_formats[] = {
    AV_SAMPLE_FMT_FLT, AV_SAMPLE_FMT_FLTP, AV_SAMPLE_FMT_NONE
};

const FFCodec ff_libtessera_audio_encoder = {
    .p.name = "libtessera_audio",
    .p.long_name = NULL_IF_CONFIG_SMALL("Tessera audio"),
    .p.type = AVMEDIA_TYPE_AUDIO,
    .p.id = AV_CODEC_ID_TESSERA_AUDIO,
    .p.capabilities = AV_CODEC_CAP_DR1 | AV_CODEC_CAP_DELAY |
                      AV_CODEC_CAP_VARIABLE_FRAME_SIZE |
                      AV_CODEC_CAP_OTHER_THREADS,
    .p.sample_fmts = sound_formats,
    .p.priv_class = &sound_class,
    .p.wrapper_name = "libtessera",
    .priv_data_size = sizeof(SoundEncoder),
    .init = sound_open,
    FF_CODEC_RECEIVE_PACKET_CB(sound_encode),
    .close = sound_close,
    .defaults = sound_defaults,
    .caps_internal = FF_CODEC_CAP_AUTO_THREADS | FF_CODEC_CAP_INIT_CLEANUP,
};
