/* SPDX-License-Identifier: BSD-2-Clause */
/* Pictures that are stored turned or mirrored. */
#ifndef TOOLS_MEDIA_TURN_H
#define TOOLS_MEDIA_TURN_H
#include <tessera/image.h>

/** What is done to a picture, in this order. */
enum { TURN_SWAP = 1,   /**< rows become columns */
       TURN_X = 2,      /**< left becomes right */
       TURN_Y = 4 };    /**< top becomes bottom */

/** `to`: of from's channels and bits, its size swapped if how has TURN_SWAP. */
void media_turn(const tsr_image *from, int how, tsr_image *to);

/** What makes a picture upright that EXIF says is of orientation 1 to 8. */
int media_turn_exif(int orientation);

/** The same for a display matrix of MOV, rows of three 16.16 and 2.30 numbers of
 *  which the first two of each of the first two rows count; -1: it is turned by
 *  something else than quarters. */
int media_turn_matrix(const int32_t matrix[9]);
#endif
