/* SPDX-License-Identifier: BSD-2-Clause */
/* Lost tokens guessed from their neighbours' code vectors: what decoders do
 * without a trained net. */
#ifndef TSR_CODECS_IMAGE_TOKEN_NEAR_H
#define TSR_CODECS_IMAGE_TOKEN_NEAR_H
#include "lib/core.h"
#include "lib/nn/net.h"

/** A grid of height x width tokens, row by row, and their code vectors. */
typedef struct tsri_near_grid {
    const int32_t *id;          /* where lost is not 0, anything */
    const uint8_t *lost;        /* not 0: not known */
    int height, width;          /* >= 1 */
    const float *words;         /* [...][dim], the vector of an id */
    int dim;                    /* >= 1 */
    const float *common;        /* [dim], where nothing at all is known */
} tsri_near_grid;

/**
 * Writes the vectors of the lost tokens to z, dim planes of height x width;
 * leaves the others alone.
 *
 * A hole with at least three known tokens around it (the square grows from 3 x 3
 * to 7 x 7) gets the mean of their vectors, weighted with 1 / distance^2 on the
 * grid.  Holes further away get a smooth surface through the known vectors, from
 * coarser to finer means.  A field of one code comes back exactly.
 *
 * Returns TSR_OK; TSR_E_NOMEM.  Uses the context's threads; the result does not
 * depend on them.  Cost: at most 48 dim multiply-adds a hole and O(dim) a token;
 * memory: dim numbers a thread, and a third of z only if there are holes far
 * from everything.
 * Sources: Shepard, "A two-dimensional interpolation function for irregularly-
 *          spaced data", ACM 1968; Gortler et al., "The Lumigraph", SIGGRAPH 1996
 *          (pull-push).
 */
tsr_error tsri_near_fill(tsr_context *ctx, const tsri_near_grid *grid,
                         tsri_fmap *z);
#endif
