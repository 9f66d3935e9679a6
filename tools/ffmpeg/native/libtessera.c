/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Part of libavcodec once apply.sh has put it there. */
#include <string.h>
#include <libavcodec/encode.h>
#include <libavcodec/libtessera.h>
#include <libavutil/common.h>
#include <libavutil/error.h>
#include <libavutil/log.h>
#include <libavutil/mem.h>

const TesseraPixels ff_tessera_pixels[] = {
    { AV_PIX_FMT_GRAY8, 1, 8 }, { AV_PIX_FMT_GRAY16, 1, 16 },
    { AV_PIX_FMT_YA8, 2, 8 }, { AV_PIX_FMT_YA16, 2, 16 },
    { AV_PIX_FMT_RGB24, 3, 8 }, { AV_PIX_FMT_RGB48, 3, 16 },
    { AV_PIX_FMT_RGBA, 4, 8 }, { AV_PIX_FMT_RGBA64, 4, 16 },
    { AV_PIX_FMT_NONE, 0, 0 }
};

int ff_tessera_error(tsr_error error)
{
    switch (error) {
    case TSR_OK:
        return 0;
    case TSR_E_ARG:
    case TSR_E_LIMIT:
        return AVERROR(EINVAL);
    case TSR_E_NOMEM:
        return AVERROR(ENOMEM);
    case TSR_E_EOF:
        return AVERROR_EOF;
    case TSR_E_CORRUPT:
    case TSR_E_CHECKSUM:
    case TSR_E_TRUNCATED:
    case TSR_E_FORMAT:
        return AVERROR_INVALIDDATA;
    case TSR_E_UNSUPPORTED:
    case TSR_E_VERSION:
        return AVERROR_PATCHWELCOME;
    case TSR_E_MODEL:
        return AVERROR(ENOENT);
    case TSR_E_IO:
        return AVERROR(EIO);
    default:
        return AVERROR_EXTERNAL;
    }
}

static void message(void *avctx, tsr_log_level level, const char *text)
{
    static const int levels[] = { AV_LOG_ERROR, AV_LOG_WARNING, AV_LOG_VERBOSE,
                                  AV_LOG_DEBUG };
    av_log(avctx, levels[av_clip(level, 0, 3)], "%s\n", text);
}

int ff_tessera_context(AVCodecContext *avctx, tsr_context **context)
{
    tsr_context_settings settings;

    tsr_context_settings_init(&settings);
    settings.threads = av_clip(avctx->thread_count, 0, 256);
    settings.logger.cookie = avctx;
    settings.logger.log = message;
    if (avctx->max_pixels > 0)
        settings.max_pixels = avctx->max_pixels;
    return ff_tessera_error(tsr_context_open(context, &settings));
}

int ff_tessera_extradata(AVCodecContext *avctx, const uint8_t *data,
                         size_t bytes)
{
    avctx->extradata = av_mallocz(bytes + AV_INPUT_BUFFER_PADDING_SIZE);
    if (!avctx->extradata)
        return AVERROR(ENOMEM);
    memcpy(avctx->extradata, data, bytes);
    avctx->extradata_size = bytes;
    return 0;
}

int ff_tessera_packet(AVCodecContext *avctx, AVPacket *pkt,
                      const uint8_t *data, size_t bytes)
{
    const int ret = ff_get_encode_buffer(avctx, pkt, bytes, 0);
    if (ret >= 0)
        memcpy(pkt->data, data, bytes);
    return ret;
}
