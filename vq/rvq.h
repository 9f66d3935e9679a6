/* SPDX-License-Identifier: BSD-2-Clause */
/* Residual vector quantisation, in groups: a vector of groups * d channels is
 * split into groups of d consecutive channels, and each is quantised by
 * `stages` codebooks of k codewords, of which stage s takes what stages
 * 0..s-1 have left.  One group is RVQ, one stage a product quantiser. */
#ifndef TSR_VQ_RVQ_H
#define TSR_VQ_RVQ_H
#include "lib/core.h"

enum { TSRI_RVQ_MAX_STAGES = 64, TSRI_RVQ_MAX_BEAM = 64 };

typedef struct tsri_rvq tsri_rvq;

typedef struct tsri_rvq_shape {
    int groups;     /* groups * d: 1..TSR_VQ_MAX_DIM */
    int stages;     /* 1..TSRI_RVQ_MAX_STAGES */
    int k;          /* codewords of each book, 1..TSR_VQ_MAX_CODEWORDS */
    int d;
} tsri_rvq_shape;

/**
 * Makes a quantiser from its codewords.
 *
 * rvq        out; NULL on failure; free with tsri_rvq_free()
 * codewords  [groups][stages][k][d] floats, copied
 *
 * Returns TSR_OK; TSR_E_ARG a number outside its limits; TSR_E_NOMEM.
 * Memory: the codewords twice, plain and packed for the search.
 */
tsr_error tsri_rvq_new(tsri_rvq **rvq, tsr_context *ctx,
                       const tsri_rvq_shape *shape, const float *codewords);
void tsri_rvq_free(tsri_rvq **rvq, tsr_context *ctx);

/**
 * Encodes vectors.
 *
 * x       n x (groups * d) floats, row-major; borrowed; n <= TSR_VQ_MAX_VECTORS
 * stages  stages to run, 1..the shape's; fewer give a shorter code
 * beam    1: greedy, each stage takes the codeword nearest to the residual;
 *         2..TSRI_RVQ_MAX_BEAM: the best `beam` partial codes of each group are
 *         kept from stage to stage, and the best of the last stage is taken
 * codes   out, [n][groups][stages]
 * error   out, n squared distances left after the last stage, or NULL
 *
 * Residuals are floats, rounded after each stage.  The greedy search is that of
 * tsri_codebook_encode(), ties and NaN included.  The beam search compares
 * distances in double; of equals the partial code that ranked higher wins, then
 * the lower index.  A vector with a NaN gets codes in range, no more is said of
 * them.  Codes do not depend on threads or processor.
 *
 * Returns TSR_OK; TSR_E_ARG a number outside its limits; TSR_E_NOMEM.
 * Cost: n * groups * stages * k * d multiply-adds, times `beam` (and without
 *       the vector kernels) for a beam.
 * Source: Juang & Gray, "Multiple stage vector quantization for speech coding",
 *         ICASSP 1982; groups: Yang et al., "HiFi-Codec", arXiv 2305.02765;
 *         beam: LeBlanc et al., "Efficient search and design procedures for
 *         robust multi-stage VQ of LPC parameters", IEEE Trans. Speech Audio
 *         Process. 1(4), 1993.
 */
tsr_error tsri_rvq_encode(const tsri_rvq *rvq, tsr_context *ctx, const float *x,
                          size_t n, int stages, int beam, int32_t *codes,
                          double *error);

/**
 * The reverse: the sum of the codewords, stage 0 first, each sum rounded.
 *
 * codes   [n][groups][stages], stages as encoded; only the first `use` stages
 *         are added, 1..stages
 * x       out, n x (groups * d) floats
 *
 * Returns TSR_OK; TSR_E_ARG a number outside its limits or a code outside
 * 0..k-1 (x is then undefined).
 */
tsr_error tsri_rvq_decode(const tsri_rvq *rvq, tsr_context *ctx,
                          const int32_t *codes, size_t n, int stages, int use,
                          float *x);
#endif
