/* SPDX-License-Identifier: BSD-2-Clause */
/* A norm and what follows it, for one row of samples: the text of the plain and
 * of the AVX2 function, which give the same bits (nothing is contracted). */
#ifndef TSR_LIB_NN_NORM_ROW_H
#define TSR_LIB_NN_NORM_ROW_H
#include <string.h>
#include "lib/nn/exp.h"
#include "lib/nn/ivdep.h"
#include "lib/nn/net_internal.h"

static inline float tsri_sigmoid(float x)
{
    return 1.0f / (1.0f + tsri_exp(-x));
}

#define EACH_NORMED(n, expression)                                       \
    for (int i = 0; i < (n); i++, src += TSRI_NN_LANE, dst += TSRI_NN_LANE) \
        TSRI_IVDEP                                                       \
        for (int l = 0; l < TSRI_NN_LANE; l++) {                         \
            const float v = (src[l] - mean[l]) * scale[l] + shift[l];    \
            dst[l] = (expression);                                       \
        }

static inline void tsri_norm_row(tsri_pre pre, float *dst, const float *src,
                                 int n, const float *coefficients)
{
    float mean[TSRI_NN_LANE], scale[TSRI_NN_LANE], shift[TSRI_NN_LANE];

    memcpy(mean, coefficients, sizeof mean);
    memcpy(scale, coefficients + TSRI_NN_LANE, sizeof scale);
    memcpy(shift, coefficients + 2 * TSRI_NN_LANE, sizeof shift);
    if (pre == TSRI_PRE_SILU)
        EACH_NORMED(n, v * tsri_sigmoid(v))
    else if (pre == TSRI_PRE_RELU)
        EACH_NORMED(n, v < 0 ? 0 : v)
    else
        EACH_NORMED(n, v)
}
#endif
