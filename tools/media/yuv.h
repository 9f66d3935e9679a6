/* SPDX-License-Identifier: BSD-2-Clause */
/* YUV to RGB, with the matrix, the range and the places of the chroma samples
 * said.  Source: ITU-T H.273 (matrix coefficients), BT.601-7, BT.709-6, BT.2020-2
 * (ranges). */
#ifndef TOOLS_MEDIA_YUV_H
#define TOOLS_MEDIA_YUV_H
#include <stddef.h>
#include <stdint.h>
#include <tessera/image.h>

/** Numbers of H.273; others count as YUV_BT601. */
enum { YUV_BT709 = 1, YUV_FCC = 4, YUV_BT601 = 5, YUV_BT601_NTSC = 6,
       YUV_SMPTE240 = 7, YUV_BT2020 = 9 };

typedef struct yuv_form {
    int depth;          /**< bits of a sample, 8 to 16; over 8 they are two
                             bytes, low byte first */
    int sub_x, sub_y;   /**< log2 of luma samples to a chroma sample, 0 to 2 */
    int between_x, between_y; /**< 1: a chroma sample lies in the middle of its
                             luma samples; 0: on the first of them */
    int full;           /**< range 0..2^depth-1, else 16..235 (240) scaled */
    int matrix;
} yuv_form;

/** The matrix of pictures that name none: BT.601 below 720 lines, BT.709 from
 *  there on. */
int yuv_matrix_of(int height);

/** The weights of red and blue in luma. */
void yuv_weights(int matrix, double *kr, double *kb);

/** A plane: rows of `stride` bytes. */
typedef struct yuv_plane { const uint8_t *data; size_t stride; } yuv_plane;

/**
 * Makes RGB (channels 0 to 2 of image, of 8 bits or 16) of planes Y, U and V.
 * Chroma is interpolated linearly between its places, repeated at the edges;
 * results are rounded to nearest and clipped, within 1 of exact arithmetic.
 *
 * image  width, height, channels (3 or 4), bits, stride and data are set;
 *        chroma planes have (width + 2^sub - 1) >> sub_x samples in a row, and
 *        rows so
 *
 * Returns 0, or -1 out of memory (four rows of floats).
 */
int yuv_to_rgb(const yuv_form *form, const yuv_plane plane[3],
               tsr_image *image);

/** Grey (channel 0) of a Y plane. */
void yuv_to_grey(const yuv_form *form, const yuv_plane *plane,
                 tsr_image *image);

/** A plane of `depth` bits and full range into channel `channel`: alpha. */
void yuv_to_channel(const yuv_form *form, const yuv_plane *plane,
                    tsr_image *image, int channel);
#endif
