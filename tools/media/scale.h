/* SPDX-License-Identifier: BSD-2-Clause */
/* Pictures of another size. */
#ifndef TOOLS_MEDIA_SCALE_H
#define TOOLS_MEDIA_SCALE_H
#include <tessera/image.h>

typedef struct media_scale media_scale;

/** Opens for pictures from one size to another; NULL: out of memory. */
media_scale *media_scale_open(int from_width, int from_height, int to_width,
                              int to_height);
void media_scale_close(media_scale **s);

/**
 * Scales each channel by Lanczos's kernel of three lobes (Duchon, "Lanczos
 * Filtering in One and Two Dimensions", 1979), widened where the picture becomes
 * smaller; edges are repeated, results rounded and clipped.
 *
 * from, to  of the same channels and bits, and of the sizes it was opened for
 *
 * Memory: as many rows of floats as the kernel is high.  Cost: 6 to 6 times the
 * reduction multiply-adds a sample, each way.
 */
void media_scale_run(media_scale *s, const tsr_image *from, tsr_image *to);
#endif
