/* SPDX-License-Identifier: BSD-2-Clause */
/* Encoders of frames like a picture, and copies of packets, for tests. */
#ifndef TSR_TESTS_VIDEO_CASE_H
#define TSR_TESTS_VIDEO_CASE_H
#include "tests/check.h"
#include <tessera/video.h>

typedef struct video_packet {
    uint8_t *data;
    size_t size;
} video_packet;

/** A copy, exactly as long: whoever reads behind it is found out. */
static inline video_packet video_copy(const void *data, size_t size)
{
    video_packet p = { malloc(size + !size), size };

    assert_non_null(p.data);
    if (size)
        memcpy(p.data, data, size);
    return p;
}

static inline tsr_video_settings video_settings_for(const tsr_image *im)
{
    tsr_video_settings s;

    tsr_video_settings_init(&s);
    s.info.width = im->width;
    s.info.height = im->height;
    s.info.channels = im->channels;
    s.info.bits = im->bits;
    return s;
}

static inline tsr_video_encoder *video_encoder_for(tsr_context *ctx, tsr_model *model,
                                                   const tsr_image *im)
{
    const tsr_video_settings s = video_settings_for(im);
    tsr_video_encoder *e;

    assert_int_equal(tsr_video_encoder_open(&e, ctx, model, &s), TSR_OK);
    return e;
}
#endif
