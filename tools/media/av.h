/* SPDX-License-Identifier: BSD-2-Clause */
/* libav (FFmpeg 5.1 to 8) as our readers and writers see it: the few things that
 * changed between its versions are here and nowhere else. */
#ifndef TOOLS_MEDIA_AV_H
#define TOOLS_MEDIA_AV_H
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/version.h>

/* AVFrame.duration replaced pkt_duration in 57.30. */
static inline int64_t av_duration_of(const AVFrame *frame)
{
#if LIBAVUTIL_VERSION_INT >= AV_VERSION_INT(57, 30, 100)
    return frame->duration;
#else
    return frame->pkt_duration;
#endif
}

/* Side data of streams moved to their parameters in 60.15. */
static inline const uint8_t *av_stream_data(const AVStream *stream,
                                            enum AVPacketSideDataType type)
{
#if LIBAVFORMAT_VERSION_INT >= AV_VERSION_INT(60, 15, 100)
    const AVPacketSideData *d = av_packet_side_data_get(
        stream->codecpar->coded_side_data,
        stream->codecpar->nb_coded_side_data, type);
    return d ? d->data : NULL;
#else
    return av_stream_get_side_data(stream, type, NULL);
#endif
}

/** From now on the messages of libav are shown as ours,
 *  and only where somebody asked for them (-v verbose). */
void av_log_to_say(void);
#endif
