/* SPDX-License-Identifier: BSD-2-Clause */
/* The arithmetic coder of torchac and CacheGen: 16-bit cumulative tables, a
 * 32-bit interval, bits from the highest of each byte down.  Only for reading
 * and writing such streams; Tessera's own use rans.h, which is a hundred times
 * as fast.
 *
 * A table is symbols + 1 numbers, rising strictly from 0; the last one counts as
 * 65536 whatever it holds (torchac wraps it to 0, CacheGen has 65535).
 *
 * Source: Mentzer et al., "Practical Full Resolution Learned Lossless Image
 * Compression", CVPR 2019 (its coder); CacheGen: Liu et al., SIGCOMM 2024. */
#ifndef TSR_ENTROPY_TORCHAC_H
#define TSR_ENTROPY_TORCHAC_H
#include "lib/core.h"

/** Tables of 1..65535 symbols for n symbols. */
typedef struct tsri_torchac_tables {
    const uint16_t *cdf;    /**< borrowed */
    int symbols;            /**< 1..65535 */
    size_t step;            /**< numbers from a symbol's table to the next
                                 symbol's; 0: one table for all */
} tsri_torchac_tables;

/**
 * CacheGen's table of a channel: cdf[i] = floor((65535 - symbols) * (count of the
 * symbols before i) / n) + i, so that all symbols can be coded.
 *
 * count  how often each of the symbols came; their sum n is 1..65535, as
 *        CacheGen counts in 16 bits
 * cdf    out, symbols + 1
 *
 * Returns TSR_OK; TSR_E_ARG.
 */
tsr_error tsri_torchac_table(const uint32_t *count, int symbols, uint16_t *cdf);

/** Most bytes that n symbols can take: two each and a little
 *  more; SIZE_MAX: too many. */
size_t tsri_torchac_bound(size_t n);

/**
 * Encodes n symbols.
 *
 * out, room  where to; tsri_torchac_bound(n) is always enough
 * size       out: bytes written.  n = 0 gives one byte, as torchac does
 *
 * Returns TSR_OK; TSR_E_ARG a symbol outside its table or of probability 0;
 * TSR_E_LIMIT the room is too small.
 * Cost: about 80 clock cycles a symbol.
 */
tsr_error tsri_torchac_encode(const tsri_torchac_tables *tables,
                              const uint16_t *sym, size_t n, uint8_t *out,
                              size_t room, size_t *size);

/**
 * Decodes n symbols.
 *
 * tables  need not be sound: symbols are in range whatever they hold
 * used    out: bytes that an encoder writes for these symbols; bytes beyond it
 *         are not looked at but for the last 4 of the interval.  May be NULL
 *
 * Returns TSR_OK; TSR_E_ARG; TSR_E_CORRUPT the stream is shorter than that.
 * The format has no other check: damage gives wrong symbols.
 * Cost: about 120 clock cycles a symbol.
 */
tsr_error tsri_torchac_decode(const tsri_torchac_tables *tables,
                              const uint8_t *data, size_t size, uint16_t *sym,
                              size_t n, size_t *used);

#endif
