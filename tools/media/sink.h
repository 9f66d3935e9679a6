/* SPDX-License-Identifier: BSD-2-Clause */
/* Where decoded frames and sound go: one kind for each sort of file. */
#ifndef TOOLS_MEDIA_SINK_H
#define TOOLS_MEDIA_SINK_H
#include <tessera/image.h>
#include <tessera/video.h>
#include "tools/args.h"
#include "tools/output.h"
#include "tools/progress.h"

/** What will come.  Times count from -ss. */
typedef struct sink_source {
    const tsr_video_info *video;    /**< NULL: no frames */
    uint32_t time_num, time_den;    /**< seconds of a unit of their time */
    uint32_t rate_num, rate_den;    /**< frames a second as -r says, else as the
                                         stream says; 0/0: varies */
    int rate, channels;             /**< of the sound; 0: there is none */
} sink_source;

typedef struct media_sink media_sink;

/** A sink begins with this.  All return an exit status and have said what was
 *  wrong; a failed write is said when the output is closed. */
struct media_sink {
    /** A frame that is shown from `pts` on for `duration` (0: not known).
     *  NULL: the sink takes no frames. */
    int (*frame)(media_sink *s, const tsr_image *image, int64_t pts,
                 uint64_t duration);
    /** Samples of sound, the first one at `pts` samples; each call goes on where
     *  the last one ended.  NULL: the sink takes no sound. */
    int (*sound)(media_sink *s, const float *samples, size_t n, int64_t pts);
    int (*finish)(media_sink *s);
    void (*close)(media_sink *s);
    uint64_t doubled, dropped;  /**< frames, for a constant rate */
    int done;                   /**< it takes no more */
};

/** Frames at a constant rate: y4m, or raw video.  `out` must outlive a sink. */
int sink_frames_open(media_sink **s, const args *a, const sink_source *from,
                     int y4m, output *out);

/** Pictures: the first frame into `out`; or (out NULL) each into a file whose
 *  number stands in a->out, as in name%04d.png. */
int sink_pictures_open(media_sink **s, const args *a, output *out);
/** Whether `path` has such a place for a number. */
int sink_pictures_many(const char *path);

/** Sound into a WAV file. */
int sink_wav_open(media_sink **s, const args *a, const sink_source *from,
                  output *out);

/** Any container that libav writes; a build without it says so. */
int sink_av_open(media_sink **s, const args *a, const sink_source *from,
                 output *out);
/** Whether libav knows a container for -f or the name of the output. */
int sink_av_knows(const args *a);
#endif
