/* SPDX-License-Identifier: BSD-2-Clause */
/* The inside of rows, for their coders. */
#ifndef TSR_ENTROPY_ROWS_IMPL_H
#define TSR_ENTROPY_ROWS_IMPL_H
#include "entropy/bank_impl.h"
#include "entropy/rows.h"

enum {
    TSRI_ROWS_LEVELS = TSRI_ROWS_REACH + 2, /**< of magnitude; the last is that
                                                 of escapes */
    TSRI_ROWS_ESCAPE = TSRI_ROWS_LEVELS - 1,
    TSRI_ROWS_GROUP = 3,        /**< bits of an escape in a run */
    TSRI_ROWS_GROUPS = 5,       /**< at most */
    TSRI_ROWS_RUNS = 2 + TSRI_ROWS_GROUPS,  /**< of a strip, at most */
    TSRI_ROWS_REFINED = 3       /**< kinds of q0: 0, 1, more */
};

/** Tables by class; all go without pointers, so that a device can have a
 *  copy. */
struct tsri_rows {
    uint16_t freq[TSRI_ROWS_CLASSES][TSRI_ROWS_SYMBOLS];    /**< 0: beyond its reach,
                                             and the last */
    uint16_t start[TSRI_ROWS_CLASSES][TSRI_ROWS_SYMBOLS];
    uint16_t refine[TSRI_ROWS_CLASSES][TSRI_ROWS_REFINED][4]; /**< frequencies
                                             of 3 symbols, and 0 */
    uint8_t low[TSRI_ROWS_CLASSES];     /**< raw low bits */
    uint8_t reach[TSRI_ROWS_CLASSES];   /**< greater magnitudes are escapes */
    uint64_t brief[TSRI_ROWS_CLASSES][TSRI_ROWS_SYMBOLS];   /**< records, see
                                             tsri_rans_brief() */
    uint64_t refine_brief[TSRI_ROWS_CLASSES][TSRI_ROWS_REFINED][4];
};

/** How token t is coded. */
static inline const tsri_rows_strip *tsri_rows_strips(const tsri_rows_matrix *m,
                                                      int t)
{
    return m->strips[m->which ? m->which[t] : 0];
}

/** What is decoded, with the lanes started by the caller, who looks at their
 *  end.  r: values are refined. */
tsr_error tsri_rows_decode_avx2(const tsri_rows *rows, tsri_rans_dec *dec,
                                const tsri_rows_matrix *m, bool refine,
                                void *scratch);

/** Codes all values, or their r, with the words going down from `end`; returns
 *  the first and leaves the states, which begin as seed ^ their sums. */
uint8_t *tsri_rows_encode_avx2(const tsri_rows *rows, const tsri_rows_matrix *m,
                               const int8_t *r, size_t r_pitch, uint32_t seed,
                               uint32_t *state, uint8_t *end, void *scratch);
#endif
