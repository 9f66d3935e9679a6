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
    TSRI_ROWS_NOTHING = TSRI_ROWS_SYMBOLS - 1,  /**< no symbol; its record leaves
                                                 a state as it is */
    TSRI_ROWS_GROUP = 3,        /**< bits of an escape in a run */
    TSRI_ROWS_GROUPS = 5,       /**< at most */
    TSRI_ROWS_RUNS = 2 + TSRI_ROWS_GROUPS,  /**< of a strip, at most */
    TSRI_ROWS_REFINED = 3,      /**< kinds of q0: 0, 1, more */
    TSRI_ROWS_MAX_REFINED = 10922   /**< of |q0| */
};

/** Tables by class; without pointers, so that a device can have a copy. */
struct tsri_rows {
    uint16_t freq[TSRI_ROWS_CLASSES][TSRI_ROWS_SYMBOLS];    /**< 0: beyond its
                                             reach, and the last */
    uint16_t start[TSRI_ROWS_CLASSES][TSRI_ROWS_SYMBOLS];
    uint16_t refine[TSRI_ROWS_CLASSES][TSRI_ROWS_REFINED][4]; /**< frequencies
                                             of 3 symbols, and 0 */
    uint8_t low[TSRI_ROWS_CLASSES];     /**< raw low bits */
    uint8_t reach[TSRI_ROWS_CLASSES];   /**< greater magnitudes are escapes */
    uint64_t brief[TSRI_ROWS_CLASSES][TSRI_ROWS_SYMBOLS];   /**< records, see
                                             tsri_rans_brief() */
    uint64_t refine_brief[TSRI_ROWS_CLASSES][TSRI_ROWS_REFINED][4];
    uint16_t bound[3][TSRI_ROWS_CLASSES][TSRI_ROWS_ESCAPE]; /**< of strips of
                                             depth 2, 3, 4 */
    uint16_t refine_bound[TSRI_ROWS_CLASSES][TSRI_ROWS_REFINED][2];
};

/*
 * A tsri_rows_strip has, of each lane,
 *
 * bound   where levels begin, for a binary search of `depth` steps (2..4): the
 *         level in the middle first, then those of the quarters, and so on.  The
 *         last level of the search is that of escapes
 * refine  where symbols 1 and 2 of each kind begin
 * first   32 * class
 * scale   2^low
 * inverse 2^(15 - low)
 *
 * Lanes behind the last coefficient have bounds of 2^12: one symbol that costs
 * nothing.  Bound and refine are in the order that packing vectors of eight
 * 32-bit numbers gives, see tsri_rows_place(); the others as they are.
 */
static inline int tsri_rows_place(int lane)
{
    return (lane & 0x13) | (lane & 4) << 1 | (lane & 8) >> 1;
}

/** The greatest level that a search of this depth finds. */
static inline int tsri_rows_top(int depth)
{
    return (1 << depth) - 1;
}

/** How token t is coded. */
static inline const tsri_rows_strip *tsri_rows_strips(const tsri_rows_matrix *m,
                                                      int t)
{
    return m->strips[m->which ? m->which[t] : 0];
}

/** Decodes all values of one or two segments of as many tokens, or refines them,
 *  with `dec` at their starts; the caller looks at their ends. */
tsr_error tsri_rows_decode_avx2(tsri_rans_dec *const *dec,
                                const tsri_rows_matrix *const *m, int count,
                                bool refine, void *scratch);

/** Codes all values, or (unless NULL) their r, with the words going down from
 *  `end`; returns the first and leaves the states. */
uint8_t *tsri_rows_encode_avx2(const tsri_rows *rows, const tsri_rows_matrix *m,
                               const int8_t *r, size_t r_pitch, uint32_t seed,
                               uint32_t *state, uint8_t *end, void *scratch);
#endif
