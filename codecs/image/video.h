/* SPDX-License-Identifier: BSD-2-Clause */
/* What both ends of video share: extradata and the parts of a packet.
 * docs/format.md section 6 is the format. */
#ifndef TSR_CODECS_VIDEO_H
#define TSR_CODECS_VIDEO_H
#include <tessera/video.h>
#include "codecs/image/image.h"

enum { TSRI_VIDEO_HEAD_BYTES = 28 };

/** HEAD and MODL.  `image` is what they have in common with those of a picture
 *  (params and units are each packet's); info's fields of codec and geometry
 *  are filled in by tsri_video_head_info(). */
typedef struct tsri_video_head {
    tsri_image_head image;
    tsr_video_info info;
} tsri_video_head;

/** Writes extradata to out[TSR_VIDEO_EXTRADATA_MAX]; returns its bytes. */
size_t tsri_video_extradata_put(const tsri_video_head *head, uint8_t *out);

/** Reads and checks it; hostile.  Fills in all of *head.  TSR_E_CORRUPT. */
tsr_error tsri_video_extradata_get(tsr_context *ctx, tsri_video_head *head,
                                   const uint8_t *data, size_t size);

/** Whether those of *info are that are neither the codec's nor geometry. */
bool tsri_video_info_possible(const tsr_video_info *info);
#endif
