/* SPDX-License-Identifier: BSD-2-Clause */
/* An adaptive range coder for tiny streams (headers, less than about a thousand
 * symbols), where the states and tables of rans.h would cost more than the
 * symbols.  It codes one decision after another, forward, with the model that
 * the caller points to, so that contexts may be anything; the end costs at
 * most a byte.  docs/entropy.md is the format.
 *
 * A model is two estimates of the same probability, one that learns fast and
 * one that learns slowly; their mean is used.  Both start fast.
 *
 * Nothing here logs or allocates memory.  Cost: 7 ns a bit, 60 to 80 ns a nibble.
 *
 * Source: carry: Schindler, "A fast renormalisation for arithmetic coding",
 * DCC 1998; bit models: Said, "Introduction to arithmetic coding", HP Labs
 * 2004-76; mean of two rates: as in AV1's and VVC's successors. */
#ifndef TSR_ENTROPY_RANGE_H
#define TSR_ENTROPY_RANGE_H
#include "lib/core.h"

enum { TSRI_RANGE_GAMMA_MAX = 32 };

/** Models; all start as `{ 0 }` and belong to the caller. */
typedef struct tsri_range_bit {
    uint16_t fast, slow;    /**< 2^16 times the probability of a 1 */
    uint16_t seen;          /**< symbols, as far as it matters */
} tsri_range_bit;

typedef struct tsri_range_nibble {
    uint16_t fast[15], slow[15]; /**< [i]: of a symbol above i */
    uint16_t seen;
} tsri_range_nibble;

/** A byte: its high four bits, and its low four given those. */
typedef struct tsri_range_byte {
    tsri_range_nibble high, low[16];
} tsri_range_byte;

/** Numbers 0 .. 2^32 - 2: the length of value + 1 in bits, in unary; the second
 *  highest bit; the rest directly. */
typedef struct tsri_range_gamma {
    tsri_range_bit length[TSRI_RANGE_GAMMA_MAX - 1];
    tsri_range_bit second[TSRI_RANGE_GAMMA_MAX];
} tsri_range_gamma;

/* ---- encoder ---- */

/** Lives on the caller's stack, owns nothing.  Fields are private. */
typedef struct tsri_range_enc {
    uint64_t low;
    uint32_t range;
    uint8_t *out, *at, *end;
    bool full;
} tsri_range_enc;

/** Starts a stream in the caller's out[0..room). */
void tsri_range_enc_open(tsri_range_enc *enc, uint8_t *out, size_t room);

void tsri_range_put_bit(tsri_range_enc *enc, tsri_range_bit *model, int bit);

/** The low `nbits` (1..16) of value, highest first, in a binary tree.
 *  tree: 2^nbits models, of which [0] is not used. */
void tsri_range_put_tree(tsri_range_enc *enc, tsri_range_bit *tree, int nbits,
                         uint32_t value);

/** A symbol 0..15. */
void tsri_range_put_nibble(tsri_range_enc *enc, tsri_range_nibble *model,
                           int symbol);
void tsri_range_put_byte(tsri_range_enc *enc, tsri_range_byte *model, int byte);

/** A decision with a model of the caller's: slots start..end - 1 (start < end) of
 *  2^bits, bits 1..20. */
void tsri_range_put_slots(tsri_range_enc *enc, uint32_t start, uint32_t end,
                          int bits);

/** value <= 2^32 - 2. */
void tsri_range_put_gamma(tsri_range_enc *enc, tsri_range_gamma *model,
                          uint32_t value);

/** The low `nbits` (0..32) of value without a model; its higher bits are 0. */
void tsri_range_put_direct(tsri_range_enc *enc, uint32_t value, int nbits);

/**
 * Ends the stream.
 *
 * size  out: its bytes; the last one is not 0, so it may be 0 bytes
 *
 * Returns TSR_OK; TSR_E_ARG it did not fit.
 */
tsr_error tsri_range_finish(tsri_range_enc *enc, size_t *size);

/* ---- decoder ---- */

/** Lives on the caller's stack, owns nothing.  Fields are private. */
typedef struct tsri_range_dec {
    const uint8_t *at, *end;
    uint32_t code, range, low;
    bool sound;
} tsri_range_dec;

/** Starts on data[0..size), borrowed until the last call; its length comes from
 *  outside.  Behind its end a decoder reads zeros, as many as it is asked for:
 *  loops steered by decoded values need bounds of their own. */
void tsri_range_dec_open(tsri_range_dec *dec, const uint8_t *data, size_t size);

int tsri_range_get_bit(tsri_range_dec *dec, tsri_range_bit *model);
uint32_t tsri_range_get_tree(tsri_range_dec *dec, tsri_range_bit *tree,
                             int nbits);
int tsri_range_get_nibble(tsri_range_dec *dec, tsri_range_nibble *model);
int tsri_range_get_byte(tsri_range_dec *dec, tsri_range_byte *model);
uint32_t tsri_range_get_gamma(tsri_range_dec *dec, tsri_range_gamma *model);
uint32_t tsri_range_get_direct(tsri_range_dec *dec, int nbits);

/** A slot, below 2^bits, of a decision that the caller knows the slots of, who
 *  then takes start..end - 1, which it is among.  Streams that are damaged may
 *  give any slot. */
uint32_t tsri_range_slot(const tsri_range_dec *dec, int bits);
void tsri_range_take(tsri_range_dec *dec, uint32_t start, uint32_t end, int bits);

/**
 * To be called when all has been decoded: TSR_OK when an encoder of the same
 * decisions writes exactly these bytes; else TSR_E_CORRUPT.  Streams that are
 * changed, cut or longer pass with a chance of about 1 in 5: what must be safe
 * from damage needs a checksum.
 */
tsr_error tsri_range_dec_end(const tsri_range_dec *dec);

#endif
