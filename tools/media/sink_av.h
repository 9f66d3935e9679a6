/* SPDX-License-Identifier: BSD-2-Clause */
/* Frames and sound as libav's encoders take them. */
#ifndef TOOLS_MEDIA_SINK_AV_H
#define TOOLS_MEDIA_SINK_AV_H
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/audio_fifo.h>
#include <libswresample/swresample.h>
#include <libswscale/swscale.h>
#include "tools/media/sink.h"

/** One encoder; codec NULL: there is none. */
typedef struct av_encoder {
    AVCodecContext *codec;
    AVStream *stream;
    AVFrame *frame;         /**< to be encoded */
    AVPacket *packet;
    AVRational unit;        /**< of the times that come */
    int64_t duration;       /**< of the last frame, in codec->time_base */
    int64_t next;           /**< video: the earliest time of the next frame;
                                 sound: the time of the next sample */
    int began;
    struct SwsContext *sws;
    SwrContext *swr;
    AVAudioFifo *fifo;
} av_encoder;

/** Chooses the encoder, -c:v or that of the format, and sets it; to be opened by
 *  the caller.  codec stays NULL where the format has no video.  Returns an exit
 *  status; has said what was wrong. */
int av_video_open(av_encoder *e, const args *a, const AVOutputFormat *format,
                  const sink_source *from);
/** 1: e->frame is ready.  0: *rc says why not; RC_OK: it is not later than the
 *  one before. */
int av_video_take(av_encoder *e, const tsr_image *image, int64_t pts,
                  uint64_t duration, int *rc);

/** The same for sound: -c:a -ar -ac. */
int av_audio_open(av_encoder *e, const args *a, const AVOutputFormat *format,
                  const sink_source *from);
/** After the encoder was opened. */
int av_audio_prepare(av_encoder *e);
/** x NULL: the end. */
int av_audio_take(av_encoder *e, const float *x, size_t n, int64_t pts);
/** 1: e->frame is ready; last: even if it is a short one. */
int av_audio_frame(av_encoder *e, int last, int *rc);

/** The encoder that `name` means, else that of `id`; NULL: said why. */
const AVCodec *av_encoder_named(const char *name, enum AVMediaType type,
                                enum AVCodecID id);
void av_encoder_close(av_encoder *e);
#endif
