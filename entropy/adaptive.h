/* SPDX-License-Identifier: BSD-2-Clause */
/* Adaptive models for the entropy coder: no table is sent, both sides learn.
 * docs/entropy.md is the format; states, words, raw bits and the check at the
 * end are those of rans.h.
 *
 * A model set has a model for each context; the caller tells the context of
 * each symbol, and at the decoder may work it out from what it has decoded.
 * Symbols go in runs as in rans.h: symbol i of a run belongs to lane i mod W.
 * All W symbols of a row are coded with the models as they stood before it, and
 * then counted.  A model counts its symbols and makes frequencies of the counts
 * ever less often as it gets older, and halves the counts at a limit.  That is
 * integer arithmetic, the same on every machine.
 *
 * Alphabets of up to 16 symbols are one rANS symbol; larger ones two, the high
 * four bits and then the low four, with a model for each value of the high.
 *
 * Nothing here logs: coders may run on workers.
 *
 * Cost of a decoder's row of 32, AVX2, micro-operations a symbol of four bits.
 * One model for all lanes (no contexts, alphabets of 16 or the high bits of
 * larger ones): compare with its 15 bounds 2, start and end 0.5, count 2, states
 * 3.  A model each: slot to all places of a vector 1, compare 1, number of those
 * below 2, start and end 2, symbol out 1, count 3 (contexts: 5), states 3.
 * Contexts that stay the same for whole rows are slower than mixed ones, since
 * counting then waits for itself.
 *
 * Source: rANS as in rans.h; adaptive counts with halving: Moffat, Neal and
 * Witten, "Arithmetic coding revisited", ACM TOIS 16(3), 1998. */
#ifndef TSR_ENTROPY_ADAPTIVE_H
#define TSR_ENTROPY_ADAPTIVE_H
#include "entropy/rans.h"

enum {
    TSRI_ADAPT_MAX_SETS = 16,
    /** Models of all sets: one for each context of up to 16 symbols, else 17. */
    TSRI_ADAPT_MAX_MODELS = 1 << 16,
    TSRI_ADAPT_MIN_MEMORY = 6, TSRI_ADAPT_MAX_MEMORY = 14
};

/** A model set. */
typedef struct tsri_adapt_shape {
    int symbols;    /**< of the alphabet, 1..256 */
    int contexts;   /**< 1..65536, see TSRI_ADAPT_MAX_MODELS */
    int memory;     /**< 6..14: a model halves its counts when it has more
                         than 2^memory.  12 for most data; less where it drifts
                         fast, 14 where it never does */
} tsri_adapt_shape;

/* ---- encoder ---- */

typedef struct tsri_adapt_enc tsri_adapt_enc;

/**
 * An empty encoder, to be used for any number of segments; each starts from
 * models that know nothing.
 *
 * sets  1..16 shapes; copied
 *
 * Returns TSR_OK; TSR_E_ARG a number outside its limits; TSR_E_NOMEM.
 * Memory: 128 bytes a model.
 */
tsr_error tsri_adapt_enc_open(tsri_adapt_enc **enc, tsr_context *ctx,
                              const tsri_adapt_shape *sets, int nsets);
void tsri_adapt_enc_close(tsri_adapt_enc **enc);

/** Forgets what was put since the last finish. */
void tsri_adapt_enc_reset(tsri_adapt_enc *enc);

/**
 * Appends a run.
 *
 * set      0..nsets - 1
 * context  of each symbol, or NULL: all 0; copied
 * sym      n symbols, each below the set's number; copied
 *
 * Returns TSR_OK; TSR_E_ARG a set, context or symbol out of range (nothing is
 * appended); TSR_E_NOMEM.  Memory: 1 or 3 bytes a symbol, and 6 (up to 16
 * symbols) or 12 more at finish.
 */
tsr_error tsri_adapt_put(tsri_adapt_enc *enc, int set, const uint16_t *context,
                         const uint8_t *sym, size_t n);

/** Appends raw bits, as tsri_rans_put_bits(). */
tsr_error tsri_adapt_put_bits(tsri_adapt_enc *enc, uint32_t value, int nbits);

/**
 * Writes the segment and leaves the encoder empty.
 *
 * crc, data, size  as tsri_rans_finish()
 * lanes            1, 4, 8, 32, or 0: chosen by size as there.  Fewer lanes
 *                  also learn sooner
 *
 * Returns TSR_OK; TSR_E_ARG; TSR_E_NOMEM.
 */
tsr_error tsri_adapt_finish(tsri_adapt_enc *enc, uint32_t crc, int lanes,
                            const uint8_t **data, size_t *size);

/* ---- decoder ---- */

typedef struct tsri_adapt_dec tsri_adapt_dec;

/** A decoder for any number of segments, of the encoder's sets; returns as
 *  tsri_adapt_enc_open(). */
tsr_error tsri_adapt_dec_open(tsri_adapt_dec **dec, tsr_context *ctx,
                              const tsri_adapt_shape *sets, int nsets);
void tsri_adapt_dec_close(tsri_adapt_dec **dec);

/** Starts on a segment, with models that know nothing; else as
 *  tsri_rans_dec_open().  To be called before all that follows. */
tsr_error tsri_adapt_start(tsri_adapt_dec *dec, const uint8_t *data,
                           size_t size, uint32_t crc);

/**
 * Decodes a run: the same set, contexts and n as at the encoder.
 *
 * sym   out, n symbols, each below the set's number; undefined on error
 *
 * Returns TSR_OK; TSR_E_CORRUPT the segment ran out; TSR_E_ARG a set or context
 * out of range.
 */
tsr_error tsri_adapt_get(tsri_adapt_dec *dec, int set, const uint16_t *context,
                         uint8_t *sym, size_t n);

/** Raw bits, as tsri_rans_get_bits(). */
uint32_t tsri_adapt_get_bits(tsri_adapt_dec *dec, int nbits);

/** Did raw bits run out? */
bool tsri_adapt_cut(const tsri_adapt_dec *dec);

/** To be called when all has been decoded; as tsri_rans_dec_end(). */
tsr_error tsri_adapt_end(const tsri_adapt_dec *dec);

#endif
