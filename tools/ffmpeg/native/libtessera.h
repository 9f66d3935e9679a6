/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Part of libavcodec once apply.sh has put it there.  What the encoders and the
 * decoders of libtessera share. */
#ifndef AVCODEC_LIBTESSERA_H
#define AVCODEC_LIBTESSERA_H
#include <tessera/context.h>
#include <tessera/error.h>
#include <libavcodec/avcodec.h>
#include <libavutil/pixfmt.h>

/** A pixel format, as libtessera calls it. */
typedef struct TesseraPixels {
    enum AVPixelFormat format;
    int channels, bits;
} TesseraPixels;

/** Those there are; the last one's format is AV_PIX_FMT_NONE. */
extern const TesseraPixels ff_tessera_pixels[];

/** The AVERROR of an error, 0 of TSR_OK. */
int ff_tessera_error(tsr_error error);

/** Opens a context that speaks through av_log and has the threads of avctx;
 *  returns an AVERROR. */
int ff_tessera_context(AVCodecContext *avctx, tsr_context **context);

/** Copies what a decoder has to know first into avctx; returns an AVERROR. */
int ff_tessera_extradata(AVCodecContext *avctx, const uint8_t *data,
                         size_t bytes);

/** Copies a packet into a buffer of avctx; returns an AVERROR. */
int ff_tessera_packet(AVCodecContext *avctx, AVPacket *pkt,
                      const uint8_t *data, size_t bytes);
#endif
