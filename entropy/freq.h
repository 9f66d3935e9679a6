/* SPDX-License-Identifier: BSD-2-Clause */
/* From counts and probabilities to integer tables.  Integers only where a
 * decoder depends on the result (but for tsri_cdf_from_pmf, which imitates a
 * published float rule; its result is stored, not recomputed). */
#ifndef TSR_ENTROPY_FREQ_H
#define TSR_ENTROPY_FREQ_H
#include "lib/core.h"

/**
 * Frequencies that sum to 2^bits, each >= 1, near count * 2^bits / sum(count).
 * Deterministic: docs/format.md section 3.3 has the rule.
 *
 * count  n counts of any scale, 0 allowed; all 0 counts as all equal.  Their
 *        sum must be below 2^63
 * n      1..2^bits
 * bits   1..15
 * freq   out, n
 *
 * Returns TSR_OK; TSR_E_ARG.  Time: O(n * corrections), at most n^2.
 */
tsr_error tsri_freq_normalise(const uint64_t *count, int n, int bits,
                              uint16_t *freq);

/**
 * The cumulative table of the McQuic and CompressAI rANS coder, 16 bits:
 * c = round-half-away(pmf * 65536) in float32, scaled by integers to a sum of
 * at most 65536, prefix sums, and for each empty symbol one taken from the
 * first of the smallest frequencies > 1.
 *
 * pmf  n probabilities >= 0, not all 0 (see tsri_pmf_from_ema)
 * n    1..65536
 * cdf  out, n + 1: cdf[0] = 0, strictly rising, cdf[n] = 65536
 *
 * Returns TSR_OK; TSR_E_CORRUPT no such table exists (NaN, negative, all 0).
 * Time: n for every different frequency that gives some away, at most 361.
 */
tsr_error tsri_cdf_from_pmf(const float *pmf, int n, uint32_t *cdf);

/** pmf = ema / sum(ema) in float32, the sum in the order the reference uses;
 *  n >= 1.  In place is allowed. */
void tsri_pmf_from_ema(const float *ema, int n, float *pmf);

#endif
