/* SPDX-License-Identifier: BSD-2-Clause */
/* Vectors as rows of a matrix, for the quantiser of maps. */
#ifndef TSR_VQ_ROWS_H
#define TSR_VQ_ROWS_H
#include <tessera/vq.h>
#include "vq/codebook.h"

/** TSR_E_ARG, with words, unless the numbers are within TSR_VQ_MAX_*. */
tsr_error tsri_rows_check(tsr_context *ctx, size_t n, int dim, int k);

/** n rows of `channels` floats as a map that is one vector wide. */
static inline tsri_fmap tsri_rows_map(float *x, size_t n, int channels)
{
    return (tsri_fmap){ x, channels, (int)n, 1, 1, (size_t)channels };
}

/** n rows of codes, one for each group, `step` codes apart in a row. */
static inline tsri_codes tsri_rows_codes(int32_t *codes, size_t n, int groups,
                                         int step)
{
    return (tsri_codes){ codes, groups, (int)n, 1, (size_t)step,
                         (size_t)groups * (size_t)step };
}
#endif
