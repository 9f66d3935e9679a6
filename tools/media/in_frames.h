/* SPDX-License-Identifier: BSD-2-Clause */
/* What y4m and raw video share: frames of raw samples, one after the other. */
#ifndef TOOLS_MEDIA_IN_FRAMES_H
#define TOOLS_MEDIA_IN_FRAMES_H
#include "tools/media/planes.h"
#include "tools/media/reader.h"

typedef struct frames_reader {
    media_reader base;
    tsr_context *ctx;
    input *in;
    planes form;
    /** What stands in front of a frame: 1 there is one, 0 the end, -1 it is
     *  damaged.  NULL: nothing does. */
    int (*head)(input *in);
    uint8_t *frame;
    size_t bytes;
    tsr_image image;
    int64_t count;
    int cut;        /**< the last frame was not whole */
} frames_reader;

/** Opens, when `form` and the rate are known.  Returns an exit status. */
int frames_open(media_reader **r, const media_setup *s, const planes *form,
                int (*head)(input *in), uint32_t num, uint32_t den);
#endif
