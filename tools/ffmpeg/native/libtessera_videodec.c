/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Part of libavcodec once apply.sh has put it there: packets of libtessera to
 * frames.  The extradata say all but the pixels, so the model is not looked for
 * before the first packet: what only probes or copies needs none. */
#include <tessera/video.h>
#include <libavcodec/codec_internal.h>
#include <libavcodec/internal.h>
#include <libavcodec/libtessera.h>
#include <libavutil/imgutils.h>
#include <libavutil/internal.h>

typedef struct VideoDecoder {
    tsr_context *context;
    tsr_video_decoder *decoder;
    int failed;             /* what opening it ended with: said once */
} VideoDecoder;

/* The frames are RGB or grey of the full range; what else the extradata say of
 * the source's colours is true of them. */
static int take_info(AVCodecContext *avctx, const tsr_video_info *info)
{
    const TesseraPixels *pixels = ff_tessera_pixels;
    const int ret = ff_set_dimensions(avctx, info->width, info->height);

    if (ret < 0)
        return ret;
    while (pixels->format != AV_PIX_FMT_NONE &&
           (pixels->channels != info->channels || pixels->bits != info->bits))
        pixels++;
    if (pixels->format == AV_PIX_FMT_NONE)
        return AVERROR_PATCHWELCOME;
    avctx->pix_fmt = pixels->format;
    if (info->sar_num)
        ff_set_sar(avctx, (AVRational){ info->sar_num, info->sar_den });
    if (info->rate_num && info->rate_num <= INT_MAX && info->rate_den <= INT_MAX)
        avctx->framerate = (AVRational){ info->rate_num, info->rate_den };
    avctx->color_primaries = info->primaries;
    avctx->color_trc = info->transfer;
    avctx->color_range = AVCOL_RANGE_JPEG;
    avctx->colorspace = info->channels < 3 ? AVCOL_SPC_UNSPECIFIED
                                           : AVCOL_SPC_RGB;
    return 0;
}

static int describe(AVCodecContext *avctx, const uint8_t *extradata, size_t bytes)
{
    VideoDecoder *s = avctx->priv_data;
    tsr_video_info info;
    const tsr_error error = tsr_video_describe(s->context, extradata, bytes,
                                               &info);
    return error ? ff_tessera_error(error) : take_info(avctx, &info);
}

static av_cold int video_init(AVCodecContext *avctx)
{
    VideoDecoder *s = avctx->priv_data;
    const int ret = ff_tessera_context(avctx, &s->context);

    if (ret < 0)
        return ret;
    return describe(avctx, avctx->extradata, avctx->extradata_size);
}

/* A stream may go on with other extradata, where files were joined. */
static int open_decoder(AVCodecContext *avctx, const AVPacket *pkt)
{
    VideoDecoder *s = avctx->priv_data;
    size_t bytes = 0;
    const uint8_t *extradata =
        av_packet_get_side_data(pkt, AV_PKT_DATA_NEW_EXTRADATA, &bytes);

    if (extradata) {
        const int ret = describe(avctx, extradata, bytes);
        if (ret < 0)
            return ret;
        tsr_video_decoder_close(&s->decoder);
        s->failed = 0;
    } else {
        extradata = avctx->extradata;
        bytes = avctx->extradata_size;
    }
    if (!s->decoder && !s->failed)
        s->failed = ff_tessera_error(tsr_video_decoder_open(
            &s->decoder, s->context, NULL, extradata, bytes));
    return s->failed;
}

static int video_decode(AVCodecContext *avctx, AVFrame *frame, int *got_frame,
                        AVPacket *pkt)
{
    VideoDecoder *s = avctx->priv_data;
    tsr_image image = { 0 };
    tsr_error error;
    int ret = open_decoder(avctx, pkt);

    if (ret < 0)
        return ret;
    error = tsr_video_decoder_decode(s->decoder, pkt->data, pkt->size, &image);
    if (error && (error != TSR_E_CORRUPT || !image.data ||
                  (avctx->err_recognition & AV_EF_EXPLODE)))
        return ff_tessera_error(error);
    if ((ret = ff_get_buffer(avctx, frame, 0)) < 0)
        return ret;
    av_image_copy_plane(frame->data[0], frame->linesize[0], image.data,
                        image.stride,
                        image.width * image.channels * (image.bits / 8),
                        image.height);
    frame->pict_type = AV_PICTURE_TYPE_I;
    frame->key_frame = 1;
    if (error)
        frame->decode_error_flags |= FF_DECODE_ERROR_CONCEALMENT_ACTIVE;
    *got_frame = 1;
    return pkt->size;
}

static av_cold int video_close(AVCodecContext *avctx)
{
    VideoDecoder *s = avctx->priv_data;
    tsr_video_decoder_close(&s->decoder);
    tsr_context_close(&s->context);
    return 0;
}

const FFCodec ff_libtessera_video_decoder = {
    .p.name = "libtessera_video",
    .p.long_name = NULL_IF_CONFIG_SMALL("Tessera video"),
    .p.type = AVMEDIA_TYPE_VIDEO,
    .p.id = AV_CODEC_ID_TESSERA_VIDEO,
    .p.capabilities = AV_CODEC_CAP_DR1 | AV_CODEC_CAP_OTHER_THREADS,
    .p.wrapper_name = "libtessera",
    .priv_data_size = sizeof(VideoDecoder),
    .init = video_init,
    FF_CODEC_DECODE_CB(video_decode),
    .close = video_close,
    .caps_internal = FF_CODEC_CAP_AUTO_THREADS | FF_CODEC_CAP_INIT_CLEANUP,
};
