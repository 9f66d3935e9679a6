/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Part of libavcodec once apply.sh has put it there: packets of libtessera to
 * sound.  The extradata say all but the samples, so the model is not looked for
 * before the first packet: what only probes or copies needs none. */
#include <string.h>
#include <tessera/audio.h>
#include <tessera/model.h>
#include <libavcodec/codec_internal.h>
#include <libavcodec/internal.h>
#include <libavcodec/libtessera.h>
#include <libavutil/common.h>
#include <libavutil/internal.h>
#include <libavutil/mathematics.h>
#include <libavutil/mem.h>

enum { PULL = 4096, CONCEALED_SECONDS = 10 };

typedef struct SoundDecoder {
    tsr_context *context;
    tsr_model *model;
    tsr_audio_decoder *decoder;
    uint8_t *extradata;     /* in use: the stream's own or newer ones */
    size_t extradata_bytes;
    tsr_audio_info info;
    int failed;             /* what opening it ended with: said once */
    int finished;
    uint64_t next;          /* number of the packet to come */
    int64_t end;            /* samples before it, as packets count them */
    int64_t position;       /* samples before the next one pulled, likewise */
    int64_t origin;         /* pts of sample 0, or none */
    float *samples;         /* pulled, not yet given out */
    size_t count, room;
} SoundDecoder;

static int describe(AVCodecContext *avctx, const uint8_t *extradata, size_t bytes)
{
    SoundDecoder *s = avctx->priv_data;
    tsr_error error = tsr_audio_describe(s->context, extradata, bytes, &s->info);
    uint8_t *copy;

    if (error)
        return ff_tessera_error(error);
    if (!(copy = av_memdup(extradata, bytes)))
        return AVERROR(ENOMEM);
    av_free(s->extradata);
    s->extradata = copy;
    s->extradata_bytes = bytes;
    avctx->sample_fmt = AV_SAMPLE_FMT_FLT;
    avctx->sample_rate = s->info.rate;
    if (avctx->ch_layout.nb_channels != s->info.channels ||
        avctx->ch_layout.order == AV_CHANNEL_ORDER_UNSPEC) {
        av_channel_layout_uninit(&avctx->ch_layout);
        av_channel_layout_default(&avctx->ch_layout, s->info.channels);
    }
    return 0;
}

static av_cold int sound_init(AVCodecContext *avctx)
{
    SoundDecoder *s = avctx->priv_data;
    const int ret = ff_tessera_context(avctx, &s->context);

    s->origin = AV_NOPTS_VALUE;
    if (ret < 0)
        return ret;
    return describe(avctx, avctx->extradata, avctx->extradata_size);
}

/* All that can be had now. */
static int pull(SoundDecoder *s)
{
    const size_t channels = s->info.channels;
    size_t n = 1;

    while (s->decoder && n) {
        tsr_error error;
        if (s->room < s->count + PULL) {
            const size_t room = 2 * (s->count + PULL);
            const int ret = av_reallocp_array(&s->samples, room,
                                              channels * sizeof(float));
            s->room = room;
            if (ret < 0) {
                s->count = s->room = 0;
                return ret;
            }
        }
        error = tsr_audio_decoder_pull(s->decoder,
                                       s->samples + s->count * channels, PULL,
                                       &n);
        if (error == TSR_E_EOF)
            n = 0;
        else if (error)
            return ff_tessera_error(error);
        s->count += n;
    }
    return 0;
}

/* No more packets of this run of them: what the decoder holds comes out. */
static int finish(SoundDecoder *s)
{
    tsr_error error = TSR_OK;
    if (s->decoder && !s->finished)
        error = tsr_audio_decoder_finish(s->decoder);
    s->finished = 1;
    return error ? ff_tessera_error(error) : pull(s);
}

static void forget(SoundDecoder *s)
{
    tsr_audio_decoder_close(&s->decoder);
    s->finished = 0;
}

/* With live = 1 each packet brings out all it can, as a player needs it. */
static int start(SoundDecoder *s, const tsr_audio_packet *packet)
{
    tsr_error error = TSR_OK;

    if (s->failed)
        return s->failed;
    if (!s->model)
        error = tsr_model_open_hash(&s->model, s->context, s->info.model_hash,
                                    sizeof s->info.model_hash);
    if (!error)
        error = tsr_audio_decoder_open(&s->decoder, s->context, s->model,
                                       s->extradata, s->extradata_bytes, 1);
    if (!error)
        error = tsr_audio_decoder_start(s->decoder, packet->number);
    if (error)
        forget(s);
    s->position = (int64_t)packet->pts - (int64_t)s->count;
    return s->failed = ff_tessera_error(error);
}

static int64_t to_pts(const AVCodecContext *avctx, int64_t samples)
{
    const SoundDecoder *s = avctx->priv_data;
    return av_rescale_q(samples, (AVRational){ 1, s->info.rate },
                        avctx->pkt_timebase);
}

/* Whether a packet does not continue what came before it, not even with some
 * lost in between: other files were joined there, or one was cut.  A loss leaves
 * the time of each sample as it was; a cut moves what follows it. */
static int is_splice(const AVCodecContext *avctx, const tsr_audio_packet *packet,
                     int64_t pts)
{
    const SoundDecoder *s = avctx->priv_data;
    const int64_t gap = (int64_t)packet->pts - s->end;
    int64_t moved;

    if (packet->number == s->next)
        return 0;
    if (packet->number < s->next ||
        gap > (int64_t)CONCEALED_SECONDS * s->info.rate)
        return 1;
    if (s->origin == AV_NOPTS_VALUE || pts == AV_NOPTS_VALUE)
        return 0;
    moved = av_sat_sub64(av_sat_sub64(pts, s->origin),
                         to_pts(avctx, packet->pts));
    return moved > to_pts(avctx, gap) / 2 || moved < -to_pts(avctx, gap) / 2;
}

/* What a decoder of another sound held back is dropped with it. */
static int take_extradata(AVCodecContext *avctx, const AVPacket *pkt)
{
    SoundDecoder *s = avctx->priv_data;
    size_t bytes;
    const uint8_t *extradata =
        av_packet_get_side_data(pkt, AV_PKT_DATA_NEW_EXTRADATA, &bytes);

    if (!extradata || (bytes == s->extradata_bytes &&
                       !memcmp(extradata, s->extradata, bytes)))
        return 0;
    forget(s);
    tsr_model_unref(&s->model);
    s->failed = 0;
    s->count = s->room = 0;
    av_freep(&s->samples);
    return describe(avctx, extradata, bytes);
}

static int push(AVCodecContext *avctx, const AVPacket *pkt, int *concealed)
{
    SoundDecoder *s = avctx->priv_data;
    const int64_t pts = avctx->pkt_timebase.num ? pkt->pts : AV_NOPTS_VALUE;
    tsr_audio_packet packet;
    int ret = take_extradata(avctx, pkt);
    tsr_error error;

    if (ret < 0)
        return ret;
    error = tsr_audio_describe_packet(s->context, s->extradata,
                                      s->extradata_bytes, pkt->data, pkt->size,
                                      &packet);
    if (!error && packet.pts > INT64_MAX / 2)
        error = TSR_E_CORRUPT;
    if (s->finished)
        forget(s);
    if (error && !s->decoder)
        return ff_tessera_error(error);
    if (!error) {
        if (s->decoder && is_splice(avctx, &packet, pts)) {
            if ((ret = finish(s)) < 0)
                return ret;
            forget(s);
        }
        if (!s->decoder && (ret = start(s, &packet)) < 0)
            return ret;
        s->next = packet.number + 1;
        s->end = packet.pts + packet.samples;
        if (pts != AV_NOPTS_VALUE)
            s->origin = av_sat_sub64(pts, to_pts(avctx, packet.pts));
    }
    error = tsr_audio_decoder_push(s->decoder, pkt->data, pkt->size);
    *concealed = error == TSR_E_CORRUPT;
    if (error && !*concealed)
        return ff_tessera_error(error);
    return pull(s);
}

static int give(AVCodecContext *avctx, AVFrame *frame)
{
    SoundDecoder *s = avctx->priv_data;
    const size_t count = s->count;
    int ret;

    s->count = 0;
    if (count > INT_MAX)
        return AVERROR_INVALIDDATA;
    frame->nb_samples = count;
    if ((ret = ff_get_buffer(avctx, frame, 0)) < 0)
        return ret;
    memcpy(frame->data[0], s->samples,
           count * s->info.channels * sizeof(float));
    if (s->origin != AV_NOPTS_VALUE) {
        frame->pts = av_sat_add64(s->origin, to_pts(avctx, s->position));
        frame->pkt_duration = to_pts(avctx, count);
    }
    s->position += count;
    return 0;
}

static int sound_decode(AVCodecContext *avctx, AVFrame *frame, int *got_frame,
                        AVPacket *pkt)
{
    SoundDecoder *s = avctx->priv_data;
    int concealed = 0;
    int ret = pkt->data ? push(avctx, pkt, &concealed) : finish(s);

    if (ret < 0)
        return ret;
    if (concealed && (avctx->err_recognition & AV_EF_EXPLODE))
        return AVERROR_INVALIDDATA;
    if (s->count) {
        if ((ret = give(avctx, frame)) < 0)
            return ret;
        if (concealed)
            frame->decode_error_flags |= FF_DECODE_ERROR_CONCEALMENT_ACTIVE;
        *got_frame = 1;
    }
    return pkt->size;
}

static void sound_flush(AVCodecContext *avctx)
{
    SoundDecoder *s = avctx->priv_data;
    forget(s);
    s->count = 0;
    s->origin = AV_NOPTS_VALUE;
}

static av_cold int sound_close(AVCodecContext *avctx)
{
    SoundDecoder *s = avctx->priv_data;
    forget(s);
    tsr_model_unref(&s->model);
    tsr_context_close(&s->context);
    av_freep(&s->extradata);
    av_freep(&s->samples);
    return 0;
}

const FFCodec ff_libtessera_audio_decoder = {
    .p.name = "libtessera_audio",
    .p.long_name = NULL_IF_CONFIG_SMALL("Tessera audio"),
    .p.type = AVMEDIA_TYPE_AUDIO,
    .p.id = AV_CODEC_ID_TESSERA_AUDIO,
    .p.capabilities = AV_CODEC_CAP_DR1 | AV_CODEC_CAP_DELAY |
                      AV_CODEC_CAP_OTHER_THREADS,
    .p.wrapper_name = "libtessera",
    .priv_data_size = sizeof(SoundDecoder),
    .init = sound_init,
    FF_CODEC_DECODE_CB(sound_decode),
    .flush = sound_flush,
    .close = sound_close,
    .caps_internal = FF_CODEC_CAP_AUTO_THREADS | FF_CODEC_CAP_INIT_CLEANUP,
};
