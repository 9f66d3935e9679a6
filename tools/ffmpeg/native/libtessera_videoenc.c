/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Part of libavcodec once apply.sh has put it there: frames to packets of
 * libtessera.  One AVPacket is one packet of it and one key frame. */
#include <tessera/model.h>
#include <tessera/video.h>
#include <libavcodec/codec_internal.h>
#include <libavcodec/libtessera.h>
#include <libavutil/imgutils.h>
#include <libavutil/internal.h>
#include <libavutil/mem.h>
#include <libavutil/opt.h>
#include <libavutil/pixdesc.h>

typedef struct VideoEncoder {
    const AVClass *class;
    char *model;
    double quality;
    int alpha;
    tsr_context *context;
    tsr_video_encoder *encoder;
    tsr_image image;        /* geometry of every frame */
    uint8_t *rows;          /* a frame whose rows cannot be borrowed */
    unsigned rows_room;
} VideoEncoder;

/* The numbers of ITU-T H.273 are those of libavutil.  A frame of RGB without a
 * range has the full one. */
static void video_info(const AVCodecContext *avctx, const tsr_image *image,
                       tsr_video_info *info)
{
    const AVRational rate = avctx->framerate, sar = avctx->sample_aspect_ratio;
    int num = 0, den = 0;

    info->width = image->width;
    info->height = image->height;
    info->channels = image->channels;
    info->bits = image->bits;
    if (rate.num > 0 && rate.den > 0) {
        info->rate_num = rate.num;
        info->rate_den = rate.den;
    }
    if (sar.num > 0 && sar.den > 0)
        av_reduce(&num, &den, sar.num, sar.den, UINT16_MAX);
    if (num > 0 && den > 0) {
        info->sar_num = num;
        info->sar_den = den;
    }
    info->primaries = avctx->color_primaries;
    info->transfer = avctx->color_trc;
    info->matrix = avctx->colorspace;
    info->full_range = avctx->color_range == AVCOL_RANGE_JPEG ||
        (avctx->color_range == AVCOL_RANGE_UNSPECIFIED &&
         avctx->colorspace == AVCOL_SPC_RGB);
}

static av_cold int video_open(AVCodecContext *avctx)
{
    VideoEncoder *s = avctx->priv_data;
    const TesseraPixels *pixels = ff_tessera_pixels;
    tsr_video_settings settings;
    tsr_model *model = NULL;
    const uint8_t *data;
    size_t bytes;
    tsr_error error;
    int ret = ff_tessera_context(avctx, &s->context);

    if (ret < 0)
        return ret;
    while (pixels->format != avctx->pix_fmt)
        pixels++;
    s->image.width = avctx->width;
    s->image.height = avctx->height;
    s->image.channels = pixels->channels;
    s->image.bits = pixels->bits;
    tsr_video_settings_init(&settings);
    video_info(avctx, &s->image, &settings.info);
    settings.quality = s->quality;
    if (avctx->flags & AV_CODEC_FLAG_QSCALE)
        settings.quality = (double)avctx->global_quality / FF_QP2LAMBDA;
    settings.lossless_alpha = s->alpha;
    error = tsr_model_open(&model, s->context, s->model);
    if (!error)
        error = tsr_video_encoder_open(&s->encoder, s->context, model,
                                       &settings);
    tsr_model_unref(&model);
    if (error)
        return ff_tessera_error(error);
    tsr_video_encoder_extradata(s->encoder, &data, &bytes);
    return ff_tessera_extradata(avctx, data, bytes);
}

/* libtessera reads rows from the top, aligned to a sample; what a filter like
 * vflip gives is copied. */
static int borrow_rows(VideoEncoder *s, const AVFrame *frame)
{
    const int sample = s->image.bits / 8;
    const int row = s->image.width * s->image.channels * sample;

    s->image.data = frame->data[0];
    s->image.stride = frame->linesize[0];
    if (frame->linesize[0] >= row && frame->linesize[0] % sample == 0 &&
        (uintptr_t)frame->data[0] % sample == 0)
        return 0;
    av_fast_malloc(&s->rows, &s->rows_room, (size_t)row * s->image.height);
    if (!s->rows)
        return AVERROR(ENOMEM);
    av_image_copy_plane(s->rows, row, frame->data[0], frame->linesize[0], row,
                        s->image.height);
    s->image.data = s->rows;
    s->image.stride = row;
    return 0;
}

static int video_encode(AVCodecContext *avctx, AVPacket *pkt,
                        const AVFrame *frame, int *got_packet)
{
    VideoEncoder *s = avctx->priv_data;
    const uint8_t *data;
    size_t bytes;
    int ret;

    if (frame->width != s->image.width || frame->height != s->image.height ||
        frame->format != avctx->pix_fmt) {
        av_log(avctx, AV_LOG_ERROR, "a frame of %dx%d %s in a stream of %dx%d"
               " %s: every frame has the same size and format\n", frame->width,
               frame->height,
               (char *)av_x_if_null(av_get_pix_fmt_name(frame->format), "?"),
               s->image.width, s->image.height,
               av_get_pix_fmt_name(avctx->pix_fmt));
        return AVERROR(EINVAL);
    }
    if ((ret = borrow_rows(s, frame)) < 0)
        return ret;
    ret = ff_tessera_error(tsr_video_encoder_encode(s->encoder, &s->image, -1,
                                                    &data, &bytes));
    if (!ret)
        ret = ff_tessera_packet(avctx, pkt, data, bytes);
    *got_packet = ret >= 0;
    return FFMIN(ret, 0);
}

static av_cold int video_close(AVCodecContext *avctx)
{
    VideoEncoder *s = avctx->priv_data;
    tsr_video_encoder_close(&s->encoder);
    tsr_context_close(&s->context);
    av_freep(&s->rows);
    return 0;
}

#define OFFSET(x) offsetof(VideoEncoder, x)
#define FLAGS (AV_OPT_FLAG_VIDEO_PARAM | AV_OPT_FLAG_ENCODING_PARAM)
static const AVOption video_options[] = {
    { "model", "name or path of an image model", OFFSET(model),
      AV_OPT_TYPE_STRING, { .str = "photo" }, 0, 0, FLAGS },
    { "quality", "0 (smallest) to 100 (best); -q:v is the same",
      OFFSET(quality), AV_OPT_TYPE_DOUBLE, { .dbl = 50 }, 0, 100, FLAGS },
    { "alpha", "keep alpha, without loss", OFFSET(alpha), AV_OPT_TYPE_BOOL,
      { .i64 = 1 }, 0, 1, FLAGS },
    { NULL }
};

static const AVClass video_class = {
    .class_name = "libtessera_video", .item_name = av_default_item_name,
    .option = video_options, .version = LIBAVUTIL_VERSION_INT,
};

static const enum AVPixelFormat video_formats[] = {
    AV_PIX_FMT_RGB24, AV_PIX_FMT_RGBA, AV_PIX_FMT_GRAY8, AV_PIX_FMT_YA8,
    AV_PIX_FMT_RGB48, AV_PIX_FMT_RGBA64, AV_PIX_FMT_GRAY16, AV_PIX_FMT_YA16,
    AV_PIX_FMT_NONE
};

const FFCodec ff_libtessera_video_encoder = {
    .p.name = "libtessera_video",
    .p.long_name = NULL_IF_CONFIG_SMALL("Tessera video"),
    .p.type = AVMEDIA_TYPE_VIDEO,
    .p.id = AV_CODEC_ID_TESSERA_VIDEO,
    .p.capabilities = AV_CODEC_CAP_DR1 | AV_CODEC_CAP_OTHER_THREADS,
    .p.pix_fmts = video_formats,
    .p.priv_class = &video_class,
    .p.wrapper_name = "libtessera",
    .priv_data_size = sizeof(VideoEncoder),
    .init = video_open,
    FF_CODEC_ENCODE_CB(video_encode),
    .close = video_close,
    .caps_internal = FF_CODEC_CAP_AUTO_THREADS | FF_CODEC_CAP_INIT_CLEANUP,
};
