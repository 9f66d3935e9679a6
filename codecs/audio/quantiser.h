/* SPDX-License-Identifier: BSD-2-Clause */
/* The residual quantiser of a model, in the order of codes of a stream: all
 * groups of level 0, all of level 1, ... so that the first books of a frame are
 * always its coarsest. */
#ifndef TSR_CODECS_AUDIO_QUANTISER_H
#define TSR_CODECS_AUDIO_QUANTISER_H
#include <tessera/vq.h>
#include "lib/core.h"
#include "vq/cuda/rvq_cuda.h"

typedef struct tsri_quantiser {
    tsr_context *ctx;
    tsr_rvq *rvq;
    tsr_rvq_shape shape;
    float *words;           /* [groups][stages][k][dim]; NULL for one group */
    tsri_rvq_cuda *cuda;    /* on the context's device, if it has one */
} tsri_quantiser;

/** words: [groups][stages][k][dim], copied. */
tsr_error tsri_quantiser_open(tsri_quantiser *q, tsr_context *ctx,
                              const tsr_rvq_shape *shape, const float *words);
void tsri_quantiser_close(tsri_quantiser *q);

/** Books of a frame: groups * stages. */
static inline int tsri_quantiser_books(const tsri_quantiser *q)
{
    return q->shape.groups * q->shape.stages;
}

/** z: [n][groups * dim]; codes: out, [n][books], the first `books` >= groups of
 *  each frame. */
tsr_error tsri_quantiser_search(const tsri_quantiser *q, const float *z, int n,
                                int books, uint16_t *codes);

/** The reverse; groups that have no book are 0.  TSR_E_ARG a code outside 0..k-1.
 */
tsr_error tsri_quantiser_lookup(const tsri_quantiser *q, const uint16_t *codes,
                                int n, int books, float *z);
#endif
