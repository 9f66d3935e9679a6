/* SPDX-License-Identifier: BSD-2-Clause */
/* Scalar quantisers of blocks with a step for each channel: uniform with a dead
 * zone, and tables of levels (Lloyd-Max; "NUQ").  Symbols are bytes.
 *
 * Every result is fixed to the bit, on every processor: all operations are on
 * floats, rounded one by one in the order given, never fused.  Nothing here
 * logs or allocates but the training, so that workers may call it. */
#ifndef TSR_VQ_SCALAR_H
#define TSR_VQ_SCALAR_H
#include "lib/core.h"

enum { TSRI_LEVELS_MAX = 256 };

/**
 * A block of rows x cols values, and the channels' parameters.
 *
 * Token-major: a row is a token, a column a channel (by_row = false).
 * Channel-major: a row is a channel (by_row = true).
 */
typedef struct tsri_scalar_block {
    size_t rows, cols;
    size_t x_row, symbol_row;   /* from row to row, in elements */
    bool by_row;                /* parameter i belongs to row i, not column i */
    const float *step;          /* finite, TSRI_SCALAR_MIN_STEP or more */
    const float *inverse;       /* tsri_scalar_invert() of step */
    const float *offset;        /* finite; what symbol 0 of a quantiser that
                                   is symmetric about zero stands for */
} tsri_scalar_block;

/** 1 / step is then finite; the largest step is 1 / this. */
#define TSRI_SCALAR_MIN_STEP 1e-30f

/** inverse[i] = 1 / step[i], rounded; false if a step or an offset (may be
 *  NULL) is out of its range.  To be called before the arrays are used. */
bool tsri_scalar_invert(const float *step, const float *offset, size_t n,
                        float *inverse);

/**
 * Uniform with a dead zone.
 *
 *     a = |x - offset| * inverse + round
 *     q = floor(a) with the sign of x - offset, clamped to low..high
 *     symbol = q - low
 *
 *     y = (|q| - shift) * step with the sign of q, 0 for q = 0;  y + offset
 *
 * round  0..0.5.  0.5 rounds to the nearest step, halves away from zero;
 *        1/3 or 1/6 are usual dead zones for rate
 * shift  0..0.5: how far points lie toward zero of the step's multiple
 * low, high  -32768 <= low <= 0 <= high <= 32767, high - low <= 255
 *
 * A NaN becomes q = 0, an infinity high or low.
 */
typedef struct tsri_uniform {
    float round, shift;
    int low, high;
} tsri_uniform;

/** False if a number is out of its range. */
bool tsri_uniform_check(const tsri_uniform *u);

/** cpu: TSR_CPU_* of the context. */
void tsri_uniform_encode(const tsri_uniform *u, const tsri_scalar_block *b,
                         unsigned cpu, const float *x, uint8_t *symbols);

/** Any byte is a symbol; those over high - low go on beyond high. */
void tsri_uniform_decode(const tsri_uniform *u, const tsri_scalar_block *b,
                         unsigned cpu, const uint8_t *symbols, float *x);

/**
 * A table of levels.
 *
 *     v = (x - offset) * inverse;  symbol = the level nearest to v
 *     y = level * step + offset
 *
 * Nearest is exact: of two levels the midpoint decides, as a real number, and a
 * v on it takes the lower one.  A NaN becomes symbol 0.
 */
typedef struct tsri_levels {
    int count;                          /* 1..256 */
    float level[TSRI_LEVELS_MAX];       /* rising; then the last again */
    float above[TSRI_LEVELS_MAX];       /* above[i]: v > this is over i; +inf
                                           from count - 1 on */
} tsri_levels;

/** Makes a table; false unless 1..256 finite levels of at most 1e30 rise
 *  strictly. */
bool tsri_levels_set(tsri_levels *levels, const float *level, int count);

void tsri_levels_encode(const tsri_levels *levels, const tsri_scalar_block *b,
                        unsigned cpu, const float *x, uint8_t *symbols);

/** Symbols over count - 1 stand for the last level. */
void tsri_levels_decode(const tsri_levels *levels, const tsri_scalar_block *b,
                        unsigned cpu, const uint8_t *symbols, float *x);

/**
 * Trains levels with a small weighted sum of squared errors: the quantiser of
 * Lloyd and Max for the samples given.
 *
 * x        n samples, finite, at most 1e15 in magnitude; 1 <= n <= 2^30
 * weights  n weights, 0..1e15, not all 0, or NULL = all 1
 * count    levels wanted, 1..256; fewer are made where x has fewer values of
 *          weight
 *
 * Begins at quantiles, ends when nothing moves or after 200 rounds.  All sums
 * are made in double over the samples in rising order, so the result depends on
 * the arguments alone.
 * Returns TSR_OK; TSR_E_ARG; TSR_E_NOMEM (40 n bytes).
 * Cost: a sort, then little.
 * Source: Lloyd, IEEE Trans. Inf. Theory 28(2), 1982 (written 1957);
 *         Max, IRE Trans. Inf. Theory 6(1), 1960.
 */
tsr_error tsri_levels_train(tsri_levels *levels, tsr_context *ctx,
                            const float *x, const float *weights, size_t n,
                            int count);

/** The vector variants: n values of one row.  step, inverse and offset have n
 *  elements, or one where `one` says so. */
typedef struct tsri_scalar_kernels {
    void (*uniform_encode)(const tsri_uniform *u, const float *inverse,
                           const float *offset, bool one, const float *x,
                           size_t n, uint8_t *symbols);
    void (*uniform_decode)(const tsri_uniform *u, const float *step,
                           const float *offset, bool one,
                           const uint8_t *symbols, size_t n, float *x);
    void (*levels_encode)(const tsri_levels *levels, const float *inverse,
                          const float *offset, bool one, const float *x,
                          size_t n, uint8_t *symbols);
    void (*levels_decode)(const tsri_levels *levels, const float *step,
                          const float *offset, bool one,
                          const uint8_t *symbols, size_t n, float *x);
} tsri_scalar_kernels;

extern const tsri_scalar_kernels tsri_scalar_plain;
/** NULL in builds for other processors. */
const tsri_scalar_kernels *tsri_scalar_avx2(void);
#endif
