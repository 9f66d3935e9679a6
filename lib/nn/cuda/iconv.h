/* SPDX-License-Identifier: BSD-2-Clause */
/* Integer convolutions (lib/nn/iconv.h) on a CUDA device: the same numbers,
 * from the tensor cores' products of bytes.
 *
 * An int16 is 256 times its signed upper byte plus its unsigned lower one, so a
 * product of two is four products of bytes.  Sums of each kind wrap around in
 * int32; the total is right, since it fits (see tsri_iconv_open()).
 *
 * A map has for each position `stride` bytes, 64 for each 32 channels: lower and
 * upper byte of channel c at tsri_iconv_byte(c) and 8 bytes on. */
#ifndef TSR_LIB_NN_CUDA_ICONV_H
#define TSR_LIB_NN_CUDA_ICONV_H
#include "lib/nn/iconv.h"

enum {
    TSRI_ICONV_CHUNK = 32,      /* channels of a step */
    TSRI_ICONV_CHUNK_BYTES = 64,
    TSRI_ICONV_TILE = 32        /* outputs of a block of threads */
};

/** Bytes of a position of `channels` channels. */
static inline size_t tsri_iconv_stride(int channels)
{
    return (size_t)tsri_ceil_div(channels, TSRI_ICONV_CHUNK) *
           TSRI_ICONV_CHUNK_BYTES;
}

/** A layer's numbers as the kernel reads them; weights and biases may be in
 *  either memory. */
typedef struct tsri_iconv_bytes {
    uint8_t *weight;    /* [tiles][2][steps][lower, upper][32 lanes][16] */
    int32_t *bias;      /* [tiles][TSRI_ICONV_TILE], rounding term included */
    int tiles, taps, chunks, shift;
    int out;            /* rows that are outputs */
} tsri_iconv_bytes;

/** The sizes of a layer of so many rows; the pointers are left NULL. */
tsri_iconv_bytes tsri_iconv_bytes_of(const tsri_iconv *layer, int rows);
size_t tsri_iconv_weight_size(const tsri_iconv_bytes *b);
size_t tsri_iconv_bias_size(const tsri_iconv_bytes *b);

/** Fills b's memory, on the host: row r is the layer's output row_of[r], or none
 *  where that is negative. */
void tsri_iconv_bytes_fill(const tsri_iconv_bytes *b, const tsri_iconv *layer,
                           const int *row_of);
#endif
