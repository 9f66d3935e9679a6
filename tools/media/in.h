/* SPDX-License-Identifier: BSD-2-Clause */
/* Any media as frames and samples, whoever reads it: our readers of PNG, PNM,
 * WAV, y4m and raw video, or libav, where the build has it, for all else. */
#ifndef TOOLS_MEDIA_IN_H
#define TOOLS_MEDIA_IN_H
#include <stdint.h>
#include <tessera/image.h>
#include <tessera/video.h>
#include "tools/args.h"
#include "tools/input.h"

/** What is in the input, after -map, -ss, -t, -to, -s, -ac chose from it. */
typedef struct media_in_info {
    int video;              /**< 1: there are frames */
    int still;              /**< 1: exactly one, a picture (PNG, JPEG, ...) */
    tsr_video_info picture; /**< of the frames as they are given; codec and
                                 model fields are empty */
    uint32_t time_num, time_den; /**< seconds of a unit of pts of the frames */
    uint64_t frames;        /**< in all, as far as the file says; 0: unknown */
    int audio;              /**< 1: there is sound */
    int rate, channels;     /**< of the sound as it is given */
    double seconds;         /**< of what will be given; 0: not known */
} media_in_info;

/** A frame, or a block of samples. */
typedef struct media_in_item {
    int audio;              /**< 0 a frame, 1 samples */
    tsr_image image;        /**< the reader's until the next call */
    int64_t pts;            /**< of the frame in units of time, of the samples in
                                 samples at the given rate; 0 is -ss */
    uint64_t duration;      /**< of the frame; 0: not known */
    const float *samples;   /**< interleaved, the reader's until the next call;
                                 sound is without gaps: the next block begins
                                 where this one ends */
    size_t n;               /**< of each channel, >= 1 */
} media_in_item;

/** What the caller takes. */
typedef struct media_in_want {
    int video, audio;       /**< 0: none of it, even if there is */
    int rate;               /**< samples a second: resampled to it */
    int group;              /**< channels that the model codes together: the
                                 channels given are a multiple of it; policy of
                                 mixing as `tessera help encode` says */
} media_in_want;

typedef struct media_in media_in;

/** -f -ss -t -to -map -s -r -pix_fmt. */
extern const opt media_in_options[];

/**
 * Opens `in` (a file or a pipe, its head read already) by what its first bytes are,
 * or as -f says; `a` and `in` must outlive it.  want may be NULL: pictures and
 * sound as they are.  The form of the sound can be set later, before the first
 * item, by media_in_sound(), which says what -ac does.
 *
 * Returns an exit status; has said what was wrong: no video or sound stream, DRM,
 * an unknown codec, MP4 on a pipe that needs seeking, an input that only libav
 * reads in a build without it (says how to pipe from ffmpeg instead).
 */
int media_in_open(media_in **m, tsr_context *ctx, const args *a, input *in,
                  const media_in_want *want);
int media_in_sound(media_in *m, const media_in_want *want);

const media_in_info *media_in_about(const media_in *m);

/** The next item: frames, and samples, each in the order of time, the two as
 *  the file mixes them.  *end: 1 after the last.  Returns an exit status, has said
 *  what was wrong; RC_OK also after damage, which is counted.  The first signal
 *  after output_record() ends the input here, too. */
int media_in_next(media_in *m, media_in_item *item, int *end);

/** Frames and packets that were damaged and left out. */
uint64_t media_in_faults(const media_in *m);

/** After the last item, once: says what was odd.  RC_INPUT, said, if parts were
 *  damaged and left out: what was made of the rest is kept. */
int media_in_finish(media_in *m);

/** Whether -ss leaves something out. */
int media_in_is_cut(const media_in *m);

/** The input, for its name. */
const input *media_in_input(const media_in *m);

void media_in_close(media_in **m);
#endif
