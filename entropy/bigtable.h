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
 * Memory: 4 bytes a symbol, above 65536 symbols 8, none where the frequencies
 * fall; 8 more until it returns.  Time: a sort of n.
 */
tsr_error tsri_bigtable_open(tsri_bigtable **table, tsr_context *ctx,
                             const uint32_t *freq, size_t n);
void tsri_bigtable_close(tsri_bigtable **table, tsr_context *ctx);

/* ---- codebooks in order of falling frequency: token = rank ----
 *
 * Sort a codebook once and a segment needs no frequency of each token, only
 * those of its buckets, which fit the data better, too. */

enum { TSRI_BIGTABLE_BUCKETS = 256 }; /**< room for any bucket table */

/** Buckets of an alphabet: n of up to 256 symbols, at most 76 of 2^20.
 *  0 for n = 0 or above 2^20. */
int tsri_bigtable_buckets(size_t n);

/** Raw bits of a token in that bucket of an alphabet of n. */
int tsri_bigtable_tail(size_t n, int bucket);

/**
 * Adds the buckets of `count` tokens of an alphabet of n to bucket[], of
 * tsri_bigtable_buckets(n) elements, which the caller clears first.
 *
 * Returns TSR_OK; TSR_E_ARG n out of range or a token >= n (bucket[] is then
 * of no use).
 */
tsr_error tsri_bigtable_count16(const tsr_context *ctx, size_t n,
                                const uint16_t *token, size_t count,
                                uint64_t *bucket);
tsr_error tsri_bigtable_count32(const tsr_context *ctx, size_t n,
                                const uint32_t *token, size_t count,
                                uint64_t *bucket);

/** The bucket table for those counts: normalised to a sum of 4096, with 0 for
 *  0, so that unused buckets cost nothing; all 0 counts as all equal.  Returns
 *  TSR_OK; TSR_E_ARG n out of range or a sum of 2^63 or more. */
tsr_error tsri_bigtable_normalise(size_t n, const uint64_t *bucket,
                                  uint16_t *freq);

/**
 * A table of tokens that are ranks, from the frequencies of its buckets.
 *
 * freq  tsri_bigtable_buckets(n) frequencies, may come from outside: each
 *       0..4096, their sum 4096; copied.  A token of a bucket of 0 cannot be
 *       coded (TSR_E_ARG) and never comes out
 * n     1..2^20
 *
 * Returns TSR_OK; TSR_E_ARG n out of range; TSR_E_CORRUPT a wrong sum;
 * TSR_E_NOMEM.  Memory: that of a bank of one table.
 */
tsr_error tsri_bigtable_open_sorted(tsri_bigtable **table, tsr_context *ctx,
                                    const uint16_t *freq, size_t n);

/* ---- coding ---- */

/** Appends a run of n tokens: TSR_OK; TSR_E_ARG a token >= the alphabet or of a
 *  bucket of frequency 0 (nothing is appended); TSR_E_NOMEM (the segment is
 *  then unusable: reset the encoder). */
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

/** Decodes a run of n[i] tokens of each of two segments, faster than one after
 *  the other.  Returns as above; after an error neither run is of use. */
tsr_error tsri_bigtable_get16_pair(const tsri_bigtable *table,
                                   tsri_rans_dec *dec[2], uint16_t *token[2],
                                   const size_t n[2]);
tsr_error tsri_bigtable_get32_pair(const tsri_bigtable *table,
                                   tsri_rans_dec *dec[2], uint32_t *token[2],
                                   const size_t n[2]);

#endif
