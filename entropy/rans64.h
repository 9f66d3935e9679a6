/* SPDX-License-Identifier: BSD-2-Clause */
/* The rANS of McQuic streams: one 64-bit state, lower bound 2^31, 32-bit
 * little-endian words, 16-bit probabilities.  Only for reading and writing
 * such files; Tessera's own streams use rans.h. */
#ifndef TSR_ENTROPY_RANS64_H
#define TSR_ENTROPY_RANS64_H
#include "lib/core.h"

/**
 * Encodes groups * n symbols, group after group.
 *
 * cdf     per group a table of tsri_cdf_from_pmf(): `size` + 1 entries
 * sizes   symbols of each group's alphabet, 1..65536
 * sym     groups x n, row-major; each < its group's size
 * out     out: tsri_alloc()ed bytes, the caller frees with tsri_free()
 *
 * Returns TSR_OK; TSR_E_ARG a symbol out of range; TSR_E_NOMEM.
 */
tsr_error tsri_rans64_encode(tsr_context *ctx, const uint32_t *const *cdf,
                             const int *sizes, int groups, const uint32_t *sym,
                             size_t n, uint8_t **out, size_t *bytes);

/**
 * Decodes; data is untrusted, the tables must be sound.
 *
 * Returns TSR_OK; TSR_E_CORRUPT the bytes run out, are left over, or the final
 * state is not 2^31.
 */
tsr_error tsri_rans64_decode(const uint32_t *const *cdf, const int *sizes,
                             int groups, const uint8_t *data, size_t bytes,
                             uint32_t *sym, size_t n);

#endif
