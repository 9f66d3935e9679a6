/* SPDX-License-Identifier: BSD-2-Clause */
/* Tokens without entropy coding, for codebooks that are used evenly: numbers of
 * a fixed width, or several tokens as the digits of one number, which saves the
 * fraction of a bit that an alphabet is short of a power of two.
 *
 * Both are one form.  d tokens t0 .. t(d-1) of an alphabet of A are the number
 * t0 + t1 A + t2 A^2 + .., written in as many bits as A^d - 1 has, low bit
 * first; the bits of one number follow those of the one before.  Fixed width is
 * d = 1.  docs/entropy.md is the format.
 *
 * Nothing here logs or allocates. */
#ifndef TSR_ENTROPY_PACKING_H
#define TSR_ENTROPY_PACKING_H
#include "lib/core.h"

enum {
    TSRI_PACKING_MAX = 1 << 20, /**< symbols of an alphabet */
    TSRI_PACKING_WORD = 56      /**< bits of a number, at most: wherever it
                                     begins, 8 bytes hold it */
};

/** How an alphabet is packed; a value, to be copied.  Read only. */
typedef struct tsri_packing {
    uint32_t alphabet;  /**< A */
    int digits;         /**< d: tokens of a number */
    int bits;           /**< of a number of d tokens */
    int shift;          /**< x / A = x * mul >> (64 + shift), x < 2^56 */
    uint64_t mul;
} tsri_packing;

/** One token a number, ceil(log2 A) bits each.  TSR_OK; TSR_E_ARG A is not in
 *  1..2^20. */
tsr_error tsri_packing_fixed(tsri_packing *packing, size_t alphabet);

/** As many tokens a number as cost the fewest bits each, of equals the fewest;
 *  that is 1 where A is a power of two, 3 for 100,000 (50 bits).  TSR_OK;
 *  TSR_E_ARG A is not in 1..2^20. */
tsr_error tsri_packing_radix(tsri_packing *packing, size_t alphabet);

/** Bytes of n tokens, exactly; false when they do not fit a size_t. */
bool tsri_packing_size(const tsri_packing *packing, size_t n, size_t *size);

/**
 * Packs n tokens.
 *
 * data  out, tsri_packing_size() bytes, and none behind them
 *
 * Returns TSR_OK; TSR_E_ARG a token is not below A (data is then of no use).
 */
tsr_error tsri_pack16(const tsri_packing *packing, const tsr_context *ctx,
                      const uint16_t *token, size_t n, uint8_t *data);
tsr_error tsri_pack32(const tsri_packing *packing, const tsr_context *ctx,
                      const uint32_t *token, size_t n, uint8_t *data);

/**
 * The reverse; data and its size come from outside.
 *
 * token  out, n tokens, each below A; undefined on error
 *
 * Returns TSR_OK; TSR_E_CORRUPT size is not that of n tokens, a number is A^d
 * or more, or a bit after the last number is set; TSR_E_ARG tsri_unpack16() of
 * an alphabet above 65536.
 */
tsr_error tsri_unpack16(const tsri_packing *packing, const tsr_context *ctx,
                        const uint8_t *data, size_t size, uint16_t *token,
                        size_t n);
tsr_error tsri_unpack32(const tsri_packing *packing, const tsr_context *ctx,
                        const uint8_t *data, size_t size, uint32_t *token,
                        size_t n);

#endif
