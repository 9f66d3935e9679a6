/* SPDX-License-Identifier: BSD-2-Clause */
/* Integer convolutions: what entropy decoders may depend on.  All arithmetic
 * is exact, so every machine, thread count and vector width gives the same
 * numbers.
 *
 * Activations are int16 in [-TSRI_ICONV_LIMIT, TSRI_ICONV_LIMIT], channel-last:
 * a map of height x width positions is stored with a border of one zero
 * position on every side, `stride` (even) int16 a position.  A layer computes
 *     out = (bias + sum weight * in + 2^(shift-1)) >> shift
 * with an arithmetic shift, in int32 that cannot overflow (checked when the
 * layer is opened).  Source of the idea: Balle et al., "Integer networks for
 * data compression with latent-variable models", ICLR 2019. */
#ifndef TSR_LIB_NN_ICONV_H
#define TSR_LIB_NN_ICONV_H
#include "lib/core.h"

enum {
    TSRI_ICONV_LIMIT = 2047,
    TSRI_ICONV_BLOCK = 16,  /* output channels are padded to a multiple */
    TSRI_ICONV_BATCH = 64   /* positions of one call of tsri_iconv_run() */
};

typedef struct tsri_iconv {
    int in;         /* channels read, even */
    int out;        /* channels written */
    int padded;     /* `out` rounded up to TSRI_ICONV_BLOCK */
    int taps;       /* 1 or 3: kernel side */
    int shift;      /* 1..30 */
    int16_t *weight;/* [padded/16][tap][in/2][16][2] */
    int32_t *bias;  /* [padded], rounding term included */
} tsri_iconv;

/**
 * Packs a layer.
 *
 * weight  [out][in_weights][taps][taps] as trained, values of int16
 * bias    [out]
 * from    [in] for each channel of the map which input channel of `weight` it
 *         is, or -1 for none (its weights are 0)
 *
 * Returns TSR_OK; TSR_E_CORRUPT values that could overflow, a shift outside
 * 1..30 or a weight outside int16; TSR_E_NOMEM.
 */
tsr_error tsri_iconv_open(tsri_iconv *layer, tsr_context *ctx, int in, int out,
                          int taps, int shift, const int32_t *weight,
                          int in_weights, const int32_t *bias, const int *from);
void tsri_iconv_close(tsri_iconv *layer, tsr_context *ctx);

/** The weight of output o for tap `tap` and channel i of the map. */
int tsri_iconv_weight(const tsri_iconv *layer, int o, int tap, int i);

/**
 * Computes n <= TSRI_ICONV_BATCH output positions.
 *
 * at      for each the first input of its window: the position itself (taps 1)
 *         or its upper left neighbour (taps 3)
 * stride  int16 from one position of a row to the next
 * row     int16 from one row to the next
 * out     [n][padded] sums after the shift, not clamped
 * Cost: n * padded * in * taps^2 multiply-adds.
 */
typedef void tsri_iconv_fn(const tsri_iconv *layer, const int16_t *const *at, int n,
                           size_t stride, size_t row, int32_t *out);
tsri_iconv_fn tsri_iconv_plain;

/** The fastest variant for these CPU features. */
tsri_iconv_fn *tsri_iconv_pick(unsigned cpu);

/** The AVX2 variant; NULL: not in this build. */
tsri_iconv_fn *tsri_iconv_avx2(void);
#endif
