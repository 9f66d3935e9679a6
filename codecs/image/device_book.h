/* SPDX-License-Identifier: BSD-2-Clause */
/* A product codebook in the memory of a context's device: the codes are those
 * of vq/codebook.h, bit for bit.  Everything is queued; nothing waits. */
#ifndef TSR_CODECS_DEVICE_BOOK_H
#define TSR_CODECS_DEVICE_BOOK_H
#include <tessera/image.h>
#include "lib/nn/net.h"

typedef struct tsri_device_book {
    tsr_context *ctx;
    int groups, k, dim;
    float *words;               /* [groups][k][dim] */
    uint8_t *prepared;          /* [groups], for the search; when first used */
} tsri_device_book;

/** words [groups][k][dim] on the host, copied.  TSR_OK; TSR_E_NOMEM;
 *  TSR_E_BACKEND.  On failure there is nothing to close. */
tsr_error tsri_device_book_open(tsri_device_book *book, tsr_context *ctx,
                                const float *words, int groups, int k, int dim);
/** Waits for the device.  One that is all 0 is allowed. */
void tsri_device_book_close(tsri_device_book *book);

/** codes [groups][places of z, of all its items], device memory: the nearest words.
 *  z has groups * dim channels. */
tsr_error tsri_device_book_encode(tsri_device_book *book, const tsri_dmap *z,
                                  int32_t *codes);

/** to = the words of codes or, with `from` (of the same size, may be to), from -
 *  the words. */
tsr_error tsri_device_book_decode(const tsri_device_book *book,
                                  const int32_t *codes, const tsri_dmap *from,
                                  const tsri_dmap *to);

/** Device memory with `count` numbers of the host; give it to
 *  tsri_cuda_give(). */
tsr_error tsri_device_codes(tsr_context *ctx, const int32_t *codes, size_t count,
                            int32_t **mem);

/** A picture as nets read it and write it: -1..1 is scale 2, offset -1; the rest
 *  is the caller's. */
tsri_pixels tsri_image_pixels(const tsr_context *ctx, const tsr_image *image,
                              float scale, float offset);
#endif
