/* SPDX-License-Identifier: BSD-2-Clause */
/* The arithmetic coder of EnCodec's .ecdc files, byte for byte.  (Its packed
 * codes are those of entropy/packing.h with a fixed width.)  Not used in
 * Tessera's own formats.
 *
 * A table of n symbols is n cumulative sums c[0..n-1]: symbol s has the part
 * c[s-1]..c[s]-1 of 2^24, c[-1] being 0.  The sum of all is mostly a little less
 * than 2^24, and what is above it is nobody's; floats may also make it a little
 * more, which then is used, as published.  The published coder computes in doubles, but all of its products
 * have at most 49 bits, so integers give the same.
 *
 * Nothing here logs or allocates. */
#ifndef TSR_ENTROPY_ECDC_H
#define TSR_ENTROPY_ECDC_H
#include "lib/core.h"

enum {
    TSRI_ECDC_BITS = 24,
    TSRI_ECDC_MAX_SUM = (1 << TSRI_ECDC_BITS) + (1 << 8),
    TSRI_ECDC_MAX_SYMBOLS = 1 << 16
};

/**
 * The published table of float probabilities: rounded down to multiples of
 * 10^-8, then mixed with equal ones so that each symbol has at least 2 of 2^24.
 *
 * p    n probabilities of a softmax
 * n    1..TSRI_ECDC_MAX_SYMBOLS
 * cdf  out, n
 *
 * Returns TSR_OK; TSR_E_ARG NaN, a negative one, or a sum far above 1.
 */
tsr_error tsri_ecdc_table(const float *p, int n, uint32_t *cdf);

/** Fields are private; lives on the caller's stack, owns nothing. */
typedef struct tsri_ecdc_enc {
    uint64_t low, high;
    int top;            /* the highest bit in use, -1: none */
    uint8_t *out;
    size_t bits, room;  /* written; for how many */
} tsri_ecdc_enc;

/** Starts a stream in the caller's out[0..room). */
void tsri_ecdc_enc_open(tsri_ecdc_enc *enc, uint8_t *out, size_t room);

/** Codes a symbol: TSR_OK; TSR_E_ARG a symbol that has no part; TSR_E_LIMIT the
 *  published coder needs more than 62 bits (about once in 2^37 symbols), or out
 *  is full. */
tsr_error tsri_ecdc_put(tsri_ecdc_enc *enc, const uint32_t *cdf, int symbol);

/** Ends the stream, at a whole byte.  size: out.  TSR_OK; TSR_E_LIMIT. */
tsr_error tsri_ecdc_finish(tsri_ecdc_enc *enc, size_t *size);

typedef struct tsri_ecdc_dec {
    uint64_t low, high, code;
    int top;
    const uint8_t *data;
    size_t bits, size;  /* read; bytes */
} tsri_ecdc_dec;

void tsri_ecdc_dec_open(tsri_ecdc_dec *dec, const uint8_t *data, size_t size);

/** The next symbol, below n: TSR_OK; TSR_E_TRUNCATED the data ran out;
 *  TSR_E_CORRUPT no symbol has this part. */
tsr_error tsri_ecdc_get(tsri_ecdc_dec *dec, const uint32_t *cdf, int n,
                        int *symbol);

/** Bytes that the symbols so far took; a stream ends there. */
size_t tsri_ecdc_used(const tsri_ecdc_dec *dec);
#endif
