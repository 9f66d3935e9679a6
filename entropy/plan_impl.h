/* SPDX-License-Identifier: BSD-2-Clause */
/* The inside of a plan, for those who code its blocks. */
#ifndef TSR_ENTROPY_PLAN_IMPL_H
#define TSR_ENTROPY_PLAN_IMPL_H
#include "entropy/plan.h"

/** The channels of one class in a group: places first..first + count of the
 *  order. */
typedef struct tsri_plan_run {
    int table, first, count;
} tsri_plan_run;

/** A place is a position in the order of the classes; the places of group g
 *  are g * group and on. */
struct tsri_plan {
    const tsri_bank *bank;
    int channels, group, tile, groups;
    int lanes;              /**< 0: by size */
    int32_t *channel;       /**< of each place */
    int32_t *place;         /**< of each channel */
    int32_t *sorted;        /**< the places of each group, by channel */
    uint8_t *offset;        /**< of each channel */
    tsri_plan_run *runs;    /**< group by group */
    int32_t *first_run;     /**< groups + 1: where a group's runs begin */
};

/* ---- Between a matrix whose channels are neighbours and rows of tokens.
 * Channel i of n has its row of `tokens` bytes at
 * rows + (place[i] - first) * tokens, and the matrix its column i, `step` bytes
 * from token to token.  n and tokens are at least TSRI_PLAN_SQUARE. ---- */

enum { TSRI_PLAN_SQUARE = 32 };

/** rows = matrix - offset[i] */
void tsri_plan_to_rows_avx2(const uint8_t *matrix, ptrdiff_t step,
                            const int32_t *place, int first,
                            const uint8_t *offset, int n, uint8_t *rows,
                            size_t tokens);

/** matrix = rows + offset[i] */
void tsri_plan_from_rows_avx2(const uint8_t *rows, size_t tokens,
                              const int32_t *place, int first,
                              const uint8_t *offset, int n, uint8_t *matrix,
                              ptrdiff_t step);

/** to[i] = from[i] + by, n bytes. */
void tsri_plan_shift_avx2(const uint8_t *from, uint8_t by, uint8_t *to,
                          size_t n);

#endif
