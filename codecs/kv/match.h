/* SPDX-License-Identifier: BSD-2-Clause */
/* Match compensation: a token's coefficients resemble those of the place where
 * the text before it stood earlier.  docs/kv-format.md section 5.4. */
#ifndef TSR_CODECS_KV_MATCH_H
#define TSR_CODECS_KV_MATCH_H
#include "codecs/kv/profile.h"

/**
 * For each token the earlier one it refers to, and how well they match.
 *
 * ids      n token ids; NULL only for references that need none
 * sinks    tokens before it are never referred to
 * ref      out: an earlier token, or -1
 * match    out: class of the length of the common run that ends at both: 0 no
 *          reference, 1: 1, 2: 2, 3: 3, 4: 4-5, 5: 6-8, 6: 9-11, 7: 12 and more.
 *          1 for references other than matches
 * scratch  tsri_kv_match_scratch(n) bytes
 *
 * Of the last 64 places where the token stands, that with the longest run (12
 * is enough), the latest of equals.
 */
void tsri_kv_match(const tsri_kv_profile *profile, const int32_t *ids, size_t n,
                   size_t sinks, int32_t *ref, uint8_t *match, void *scratch);
size_t tsri_kv_match_scratch(size_t n);

/** Fixed-point reconstruction in units of step / 64: predicted value from that
 *  of the reference; the same everywhere.  |ref| <= 2^23, |rho| <= 128. */
static inline int32_t tsri_kv_carry(int rho, int32_t ref)
{
    return (rho * ref + 32) >> 6;
}
#endif
