/* SPDX-License-Identifier: BSD-2-Clause */
/* A bank of frequency tables, what symbols are coded with.  docs/format.md
 * section 3.1 is the meaning of a table. */
#ifndef TSR_ENTROPY_BANK_H
#define TSR_ENTROPY_BANK_H
#include "lib/core.h"

enum {
    TSRI_BANK_MAX_BITS = 15,    /**< precision p: frequencies sum to 2^p */
    TSRI_BANK_MAX_TABLES = 1024
};

/** Immutable after open: may be shared by threads. */
typedef struct tsri_bank tsri_bank;

/**
 * Builds a bank.
 *
 * bits    p, 1..15, of all tables
 * freq    the tables' frequencies one after another, in symbol order; copied.
 *         Each >= 1, each table's sum exactly 2^p
 * sizes   symbols of each table, 1..2^p
 * tables  1..1024
 *
 * A table of one symbol is allowed: its symbol costs nothing (and still takes
 * its lane position, see rans.h).
 *
 * Returns TSR_OK; TSR_E_CORRUPT a frequency of 0 or a wrong sum; TSR_E_ARG
 * bits or tables outside their limits; TSR_E_NOMEM.  Logs why.
 * Memory: 34 bytes a symbol, 160 a table, at most 64 KiB or 8 bytes a symbol
 * more, and where bits <= 12, 4 bytes for each of tables * 2^bits slots up to
 * 4 MiB.  Cost: 10 us for a table of 256 symbols of 12 bits.
 */
tsr_error tsri_bank_open(tsri_bank **bank, tsr_context *ctx, int bits,
                         const uint16_t *freq, const uint16_t *sizes,
                         int tables);

/** The same for tables in which frequencies may be 0, but not all but one of a
 *  table.  A symbol of frequency 0 never comes out of a decoder and must not be
 *  put into an encoder, which does not look: the segment would be wrong. */
tsr_error tsri_bank_open_sparse(tsri_bank **bank, tsr_context *ctx, int bits,
                                const uint16_t *freq, const uint16_t *sizes,
                                int tables);

void tsri_bank_close(tsri_bank **bank, tsr_context *ctx);

/** The place of a table's symbol 0 in the bank, that of symbol s is s more; of
 *  `tables`: how many places there are. */
uint32_t tsri_bank_first(const tsri_bank *bank, int table);

/** Cost of a symbol in 1/2048 bit (rounded up; 0 for the only symbol), for
 *  encoders that choose between codings. */
int tsri_bank_cost(const tsri_bank *bank, int table, int symbol);

#endif
