/* SPDX-License-Identifier: BSD-2-Clause */
/* Multi-codebook (product) vector quantisation: a vector of m * d channels is
 * split into m groups of d consecutive channels, each with a codebook of k
 * codewords.  m = 1 is the plain vector quantiser. */
#ifndef TSR_VQ_CODEBOOK_H
#define TSR_VQ_CODEBOOK_H
#include "lib/core.h"
#include "lib/nn/net.h"
#include "vq/nearest.h"

typedef struct tsri_codebook tsri_codebook;

/** Codes of a rectangle: code of group g at (y, x) is
 *  data[g * plane + y * row + x]. */
typedef struct tsri_codes {
    int32_t *data;
    int groups, height, width;
    size_t plane, row;          /* in codes */
} tsri_codes;

/**
 * Makes a quantiser from its codewords.
 *
 * codebook   out; NULL on failure; free with tsri_codebook_free()
 * m, k, d    groups, codewords per group, channels per group; >= 1
 * codewords  [m][k][d] floats, copied
 *
 * Returns TSR_OK; TSR_E_ARG a number below 1 or a product that does not fit;
 * TSR_E_NOMEM.  Memory: m * d * k floats, k rounded up to 16, and m * k norms.
 */
tsr_error tsri_codebook_new(tsri_codebook **codebook, tsr_context *ctx, int m,
                            int k, int d, const float *codewords);
void tsri_codebook_free(tsri_codebook **codebook, tsr_context *ctx);

/** The codewords of a group as the kernels take them; the codebook's. */
tsri_nearest_book tsri_codebook_packed(const tsri_codebook *codebook, int group);

int tsri_codebook_groups(const tsri_codebook *codebook);
int tsri_codebook_size(const tsri_codebook *codebook);      /* k */
int tsri_codebook_channels(const tsri_codebook *codebook);  /* m * d */

/**
 * Finds the nearest codeword (squared L2 distance) of every vector of a map.
 *
 * x      m * d channels; borrowed
 * codes  out, m groups of x's height and width
 *
 * The score |c|^2 - 2 c.x, without |x|^2 which does not change the order, is
 * computed in float: products are added from channel 0 upward, each rounded,
 * never fused.  Every variant keeps that order, so codes are the same on every
 * processor and thread count.  A tie goes to the lowest index; a vector with a
 * NaN gets code 0.  Uses the context's threads.
 *
 * Returns TSR_OK; TSR_E_SHAPE x or codes of another size; TSR_E_NOMEM for
 * 64 vectors of scratch per thread.
 * Cost: height * width * m * k * d multiply-adds.
 * Source: Zhu et al., "Unified Multivariate Gaussian Mixture for Efficient
 *         Neural Image Compression", CVPR 2022 (m codebooks side by side);
 *         the product quantiser is Jegou et al., TPAMI 33(1), 2011.
 */
tsr_error tsri_codebook_encode(const tsri_codebook *codebook, tsr_context *ctx,
                               const tsri_fmap *x, const tsri_codes *codes);

/**
 * The reverse: writes the codewords of `codes` to y, m * d channels.
 *
 * Returns TSR_OK; TSR_E_SHAPE sizes that do not fit; TSR_E_ARG a code outside
 * 0..k-1 (y is then undefined).
 */
tsr_error tsri_codebook_decode(const tsri_codebook *codebook, tsr_context *ctx,
                               const tsri_codes *codes, tsri_fmap *y);
#endif
