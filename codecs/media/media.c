/* SPDX-License-Identifier: BSD-2-Clause */
#include <tessera/video.h>
#include "codecs/media/media.h"

tsr_error tsri_media_stream_check(tsr_context *ctx, const tsr_media_stream *s)
{
    tsr_video_info video;
    tsr_audio_info sound;

    if (s->time_num < 1 || s->time_den < 1)
        return tsri_fail(ctx, TSR_E_CORRUPT, "a stream's time base is %u/%u",
                         s->time_num, s->time_den);
    if (s->type == TSR_MEDIA_VIDEO)
        return tsr_video_describe(ctx, s->extradata, s->extradata_bytes, &video);
    if (s->type != TSR_MEDIA_AUDIO)
        return tsri_fail(ctx, TSR_E_CORRUPT, "a stream of unknown type %d",
                         s->type);
    TSR_TRY(tsr_audio_describe(ctx, s->extradata, s->extradata_bytes, &sound));
    if (s->time_num != 1 || s->time_den != (uint32_t)sound.rate)
        return tsri_fail(ctx, TSR_E_CORRUPT, "sound of %d Hz with time base "
                         "%u/%u", sound.rate, s->time_num, s->time_den);
    return TSR_OK;
}

tsr_error tsri_media_sound(tsr_context *ctx, const tsr_media_stream *s,
                           const void *data, size_t bytes,
                           tsr_audio_packet *packet)
{
    TSR_TRY(tsr_audio_describe_packet(ctx, s->extradata, s->extradata_bytes, data,
                                      bytes, packet));
    if (packet->pts > INT64_MAX)
        return tsri_fail(ctx, TSR_E_CORRUPT, "a packet beyond the end of time");
    return TSR_OK;
}
