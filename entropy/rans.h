/* SPDX-License-Identifier: BSD-2-Clause */
/* The entropy coder: interleaved rANS with 32-bit states and 16-bit words,
 * plus a section of raw bits.  One segment = what one encoder writes and one
 * decoder reads, alone.  docs/format.md section 3 is the format.
 *
 * Symbols go in runs.  Symbol i of a run belongs to lane i mod W, so every run
 * starts at lane 0; every symbol takes its position, also one whose table has
 * a single symbol (which costs nothing and leaves the lane as it is).  Symbols
 * that are not to be coded at all are left out of the run by the caller.  Runs
 * and raw bits may be mixed as the decoder needs them, since its next tables
 * may depend only on what it has already decoded.
 *
 * Nothing here logs: coders may run on workers.
 *
 * Source: Duda, "Asymmetric numeral systems", arXiv:1311.2540; interleaving:
 * Giesen, "Interleaved entropy coders", arXiv:1402.3392. */
#ifndef TSR_ENTROPY_RANS_H
#define TSR_ENTROPY_RANS_H
#include "entropy/bank.h"

enum { TSRI_RANS_MAX_LANES = 32 };

/* ---- encoder ---- */

typedef struct tsri_rans_enc tsri_rans_enc;

/** An empty encoder, to be used for any number of segments. */
tsr_error tsri_rans_enc_open(tsri_rans_enc **enc, tsr_context *ctx);
void tsri_rans_enc_close(tsri_rans_enc **enc);

/** Forgets what was put since the last finish. */
void tsri_rans_enc_reset(tsri_rans_enc *enc);

/**
 * Appends a run.
 *
 * bank   must live until finish
 * cls    table of each symbol, or NULL: all use `table`
 * sym    n symbols, each below its table's size; copied
 *
 * Returns TSR_OK; TSR_E_ARG a table or symbol out of range (nothing is
 * appended); TSR_E_NOMEM.  Memory: 4 bytes a symbol, and 2 more at finish.
 */
tsr_error tsri_rans_put(tsri_rans_enc *enc, const tsri_bank *bank,
                        const uint16_t *cls, int table, const uint16_t *sym,
                        size_t n);

/** The same by places, see tsri_bank_first(): borrowed until finish or reset.
 *  Nothing of a bank of more than 2^16 symbols can be put beyond them. */
tsr_error tsri_rans_put_places(tsri_rans_enc *enc, const tsri_bank *bank,
                               const uint16_t *place, size_t n);

/**
 * Appends a run of symbols of one table, a byte each: the same segment as
 * tsri_rans_put() with the same symbols.
 *
 * table  of at most 256 symbols
 * sym    n symbols, each below the table's size; borrowed until finish or reset
 *
 * Returns as tsri_rans_put().  Memory: 2 bytes a symbol at finish.
 */
tsr_error tsri_rans_put8(tsri_rans_enc *enc, const tsri_bank *bank, int table,
                         const uint8_t *sym, size_t n);

/** Appends the low `nbits` (0..32) of `value`, least significant first; the
 *  higher bits of value must be 0. */
tsr_error tsri_rans_put_bits(tsri_rans_enc *enc, uint32_t value, int nbits);

/**
 * Writes the segment and leaves the encoder empty.
 *
 * crc    CRC-32C of what the caller wrote before the segment and wants covered
 *        (0 = nothing).  The lanes start from the low 16 bits of
 *        tsri_crc32c(crc, raw section) xor a sum of their symbols, so a
 *        decoder finds out at its end that any of it was changed
 * lanes  1, 4, 8, 32, or 0: chosen by size (1 below 2 KiB, 4 below 4, 8 below
 *        16, else 32: a lane costs about 3 bytes, so at most 0.6 %)
 * data   out: the segment, `size` bytes, the encoder's until its next call.
 *        0 bytes when nothing was put
 *
 * Returns TSR_OK; TSR_E_ARG; TSR_E_NOMEM.
 */
tsr_error tsri_rans_finish(tsri_rans_enc *enc, uint32_t crc, int lanes,
                           const uint8_t **data, size_t *size);

/* ---- decoder ---- */

/** Lives on the caller's stack, owns nothing, needs no close.  Fields are
 *  private to entropy/. */
typedef struct tsri_rans_dec {
    uint32_t state[TSRI_RANS_MAX_LANES];
    uint16_t sum[TSRI_RANS_MAX_LANES];  /* of the symbols, for the end */
    const uint8_t *word, *word_end; /* 16-bit words not yet read */
    const uint8_t *raw, *raw_end;   /* raw bytes not yet in `bits` */
    uint64_t bits;                  /* raw bits not yet taken, low first */
    int nbits;                      /* how many */
    int lanes;
    uint32_t seed;                  /* what a lane of zeros must end at */
    bool cut;                       /* raw bits were asked for beyond the end */
    bool avx2;
} tsri_rans_dec;

/**
 * Starts on the segment data[0..size), borrowed until the last call; its
 * length comes from outside.  crc: as given to tsri_rans_finish().
 *
 * Returns TSR_OK; TSR_E_CORRUPT it is too short, has an odd number of word
 * bytes, or reserved bits are set.
 */
tsr_error tsri_rans_dec_open(tsri_rans_dec *dec, const tsr_context *ctx,
                             const uint8_t *data, size_t size, uint32_t crc);

/**
 * Decodes a run: the same cls, table, n and bank contents as at the encoder.
 *
 * sym   out, n symbols, each below its table's size; undefined on error
 *
 * Returns TSR_OK; TSR_E_CORRUPT the segment ran out; TSR_E_ARG a table out of
 * range.
 */
tsr_error tsri_rans_get(tsri_rans_dec *dec, const tsri_bank *bank,
                        const uint16_t *cls, int table, uint16_t *sym,
                        size_t n);

/** Decodes a run of symbols of one table of at most 256 symbols, a byte each;
 *  else as tsri_rans_get(). */
tsr_error tsri_rans_get8(tsri_rans_dec *dec, const tsri_bank *bank, int table,
                         uint8_t *sym, size_t n);

/** One of the runs of tsri_rans_get8_pair(). */
typedef struct tsri_rans_run8 {
    int table;
    uint8_t *sym;   /* out, n symbols */
    size_t n;       /* 0 is allowed */
} tsri_rans_run8;

/**
 * tsri_rans_get8() of a run of each of two segments, in one loop where that is
 * faster: a single chain of states leaves half of a processor idle.
 *
 * Returns the first segment's error, else the second's; both runs have been
 * tried, so that a caller may go on with the sound one.
 */
tsr_error tsri_rans_get8_pair(tsri_rans_dec *dec[2], const tsri_bank *bank,
                              const tsri_rans_run8 runs[2]);

/** The next `nbits` (0..32) raw bits.  Beyond the end they are 0 and
 *  tsri_rans_dec_end() fails. */
uint32_t tsri_rans_get_bits(tsri_rans_dec *dec, int nbits);

/** Did raw bits run out?  For callers whose loops are steered by raw bits. */
static inline bool tsri_rans_cut(const tsri_rans_dec *dec)
{
    return dec->cut;
}

/**
 * To be called when all has been decoded: TSR_OK when every word and raw byte
 * was used, unused raw bits are 0 and every lane ends where it began; else
 * TSR_E_CORRUPT, and the symbols are not to be trusted.  Damage passes with a
 * chance of 2^-16; a single changed symbol or header byte, less.
 */
tsr_error tsri_rans_dec_end(const tsri_rans_dec *dec);

#endif
