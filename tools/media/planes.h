/* SPDX-License-Identifier: BSD-2-Clause */
/* Raw frames: the bytes of one picture after the other, as y4m and raw video
 * hold them. */
#ifndef TOOLS_MEDIA_PLANES_H
#define TOOLS_MEDIA_PLANES_H
#include <tessera/image.h>
#include "tools/media/yuv.h"

/** How the samples of a frame lie, and what they mean. */
typedef struct planes {
    int width, height;
    int packed;     /**< channels of interleaved pixels; 0: planes of YUV */
    int swapped;    /**< interleaved B, G, R */
    int count;      /**< planes: 1 grey, 3 YUV, 4 YUV and alpha */
    yuv_form yuv;   /**< of planes; its depth is also that of pixels */
} planes;

/** Sets packed, swapped, count, and depth and subsampling of yuv, from a name of
 *  ffmpeg's: rgb24, gray, yuv420p, yuv420p10le, ...  0: there is none such. */
int planes_named(planes *p, const char *name);

/** Bytes of a frame, of at most 2^31 - 1 pixels; 0: it has more. */
size_t planes_bytes(const planes *p);

/** Sets width, height, channels and bits of the picture that a frame makes: more
 *  than 8 bits become 16. */
void planes_shape(const planes *p, tsr_image *image);

/** The picture of a frame; grey of limited range becomes full.  Returns 0, or
 *  -1 out of memory. */
int planes_unpack(const planes *p, const uint8_t *frame, tsr_image *image);

/** The frame of a picture of any channels and bits: alpha is dropped where there is
 *  no place for it; chroma is the mean of the samples it stands for, which is
 *  what lies between them.  Returns 0, or -1 out of memory. */
int planes_pack(const planes *p, const tsr_image *image, uint8_t *frame);
#endif
