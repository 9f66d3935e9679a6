/* SPDX-License-Identifier: BSD-2-Clause */
/* Counts and limits of byte symbols, what tables are chosen by. */
#ifndef TSR_ENTROPY_HISTOGRAM_H
#define TSR_ENTROPY_HISTOGRAM_H
#include "lib/core.h"

/** count[v] = how many of the n < 2^32 symbols are v; what was there is lost.
 *  Costs about a clock a symbol of a long run and 600 of any. */
void tsri_rans_count8(const uint8_t *sym, size_t n, uint32_t count[256]);

/** The smallest and the largest of n symbols; 255 and 0 of none.  At the speed
 *  of memory. */
void tsri_rans_limits8(const uint8_t *sym, size_t n, uint8_t *least,
                       uint8_t *most);

#endif
