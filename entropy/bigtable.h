/* SPDX-License-Identifier: BSD-2-Clause */
/* Tokens of any alphabet from 1 to 2^20, by one static frequency table.
 *
 * Up to 256 symbols: a table of a bank, p = 12.  Above: symbols are ranked by
 * falling frequency (ties: lower symbol first); the rank's logarithmic bucket
 * (exponent and 2 mantissa bits) is coded with a table, p = 12, and the rest
 * of the rank as raw bits.  docs/format.md section 3.4.  All of it is computed
 * from the integers in the table, so every machine has the same. */
#ifndef TSR_ENTROPY_BIGTABLE_H
#define TSR_ENTROPY_BIGTABLE_H
#include "entropy/rans.h"

enum { TSRI_BIGTABLE_MAX = 1 << 20 };

/** Immutable after open: may be shared by threads. */
typedef struct tsri_bigtable tsri_bigtable;

/**
 * freq     how often each of the n symbols is expected, any scale, 0 allowed
 *          (such a symbol can still be coded, and is dear); copied
 * n        1..2^20
 *
 * Returns TSR_OK; TSR_E_ARG; TSR_E_NOMEM.
 * Memory: 8 bytes a symbol.  Time: a sort of n.
 */
tsr_error tsri_bigtable_open(tsri_bigtable **table, tsr_context *ctx,
                             const uint32_t *freq, size_t n);
void tsri_bigtable_close(tsri_bigtable **table, tsr_context *ctx);

/** Appends a run of n tokens: TSR_OK; TSR_E_ARG a token >= the alphabet (the
 *  segment is then unusable: reset the encoder); TSR_E_NOMEM. */
tsr_error tsri_bigtable_put16(const tsri_bigtable *table, tsri_rans_enc *enc,
                              const uint16_t *token, size_t n);
tsr_error tsri_bigtable_put32(const tsri_bigtable *table, tsri_rans_enc *enc,
                              const uint32_t *token, size_t n);

/** Decodes a run: TSR_OK; TSR_E_CORRUPT.  get16 needs an alphabet <= 65536
 *  (else TSR_E_ARG). */
tsr_error tsri_bigtable_get16(const tsri_bigtable *table, tsri_rans_dec *dec,
                              uint16_t *token, size_t n);
tsr_error tsri_bigtable_get32(const tsri_bigtable *table, tsri_rans_dec *dec,
                              uint32_t *token, size_t n);

#endif
