/* SPDX-License-Identifier: BSD-2-Clause */
/* Frequency tables as bytes: one, or a bank of them.  docs/entropy.md has the
 * format.  A table is told by the differences from a prediction: from the
 * frequencies before it, or from a parametric shape (entropy/shapes.h), with
 * Golomb codes that adapt.  16 symbols of a Gaussian take 12 to 18 bytes, 256
 * of one about 30, a parametric table as it is 3. */
#ifndef TSR_ENTROPY_TABLES_H
#define TSR_ENTROPY_TABLES_H
#include "entropy/bank.h"

/** Most bytes that a table of n symbols can take. */
static inline size_t tsri_table_bound(int n)
{
    return 8 * (size_t)n + 16;
}

/**
 * Writes a table, in the shortest of its modes.
 *
 * freq  n frequencies with the sum 2^bits; 0 is allowed
 * n     1..2^bits
 * bits  1..TSRI_BANK_MAX_BITS; not written, the reader must know
 * out   room for tsri_table_bound(n) bytes
 * size  out: bytes written
 *
 * Returns TSR_OK; TSR_E_ARG no such table.  Time: a few times n.
 */
tsr_error tsri_table_write(const uint16_t *freq, int n, int bits, uint8_t *out,
                           size_t *size);

/** The same, also trying some 20 shapes, which saves a few bytes of bells and
 *  Laplacians and takes some 200 us. */
tsr_error tsri_table_write_small(const uint16_t *freq, int n, int bits,
                                 uint8_t *out, size_t *size);

/**
 * Reads a table from data[0..size), which comes from outside and may go on
 * behind it.
 *
 * bits  as at the writer
 * room  of freq; a table of more symbols is refused before any is written
 * freq  out: n frequencies with the sum 2^bits, which may be 0: the bank that
 *       they go into says whether it takes such (tsri_bank_open_sparse)
 * n     out: 1..room
 * used  out: bytes the table takes
 *
 * Returns TSR_OK; TSR_E_CORRUPT; TSR_E_ARG bits outside its limits.
 */
tsr_error tsri_table_read(const uint8_t *data, size_t size, int bits, int room,
                          uint16_t *freq, int *n, size_t *used);

/** Most bytes that a bank of tables with the given sizes can take. */
size_t tsri_tables_bound(const uint16_t *sizes, int tables);

/**
 * Writes a bank: its precision, the number of tables and each of them as small
 * as can be.
 *
 * bits, freq, sizes, tables  as for tsri_bank_open(), but tables of at most 256
 *       symbols; frequencies of 0 are allowed
 * out   room for tsri_tables_bound() bytes
 * size  out: bytes written
 *
 * Returns TSR_OK; TSR_E_ARG.
 */
tsr_error tsri_tables_write(int bits, const uint16_t *freq,
                            const uint16_t *sizes, int tables, uint8_t *out,
                            size_t *size);

/**
 * Reads a bank from data[0..size), which comes from outside and may go on
 * behind it.
 *
 * bank  out: to be closed by the caller; of dense tables only
 * used  out: bytes it takes
 *
 * Returns TSR_OK; TSR_E_CORRUPT; TSR_E_NOMEM.
 */
tsr_error tsri_tables_read(tsri_bank **bank, tsr_context *ctx,
                           const uint8_t *data, size_t size, size_t *used);

#endif
