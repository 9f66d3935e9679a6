/* SPDX-License-Identifier: BSD-2-Clause */
/* Residual vector quantisation, in groups: see tsr_rvq in <tessera/vq.h>, of
 * which these are the insides. */
#ifndef TSR_VQ_RVQ_H
#define TSR_VQ_RVQ_H
#include <tessera/vq.h>
#include "lib/core.h"
#include "vq/codebook.h"

struct tsr_rvq {
    tsr_context *ctx;
    tsr_rvq_shape s;
    tsri_codebook *book[TSR_RVQ_MAX_STAGES];    /* all groups of one stage */
    float *words;                               /* [stages][groups][k][dim] */
};

static inline const float *tsri_rvq_word(const tsr_rvq *q, int stage, int group,
                                         int code)
{
    const size_t book = (size_t)stage * (size_t)q->s.groups + (size_t)group;
    return q->words + (book * (size_t)q->s.k + (size_t)code) *
                      (size_t)q->s.dim;
}

/** The sum of one group's codewords, `use` stages; false at a code outside its
 *  book. */
bool tsri_rvq_decode_group(const tsr_rvq *q, const int32_t *codes, int group,
                           int use, float *x);
#endif
