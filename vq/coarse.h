/* SPDX-License-Identifier: BSD-2-Clause */
/* The fast way to the exact nearest codeword: a pass in 16-bit integers finds
 * the few tiles of the codebook that can hold it, and only those are searched
 * in float.
 *
 * With m the mean of the codewords, c' = c - m and x' = x - m, the nearest
 * codeword is the one with the largest s = x'.c' - |c'|^2 / 2.  The pass works
 * on xq, cq, the nearest integers of x' / sx, c' / sc, and computes
 *
 *     a = xq.cq - round(|c'|^2 / (2 sx sc))              (32 bits, no overflow)
 *
 * |sx sc a - s| is at most A = |ex.c'| + |sx xq.ec| + the rounding of the last
 * term, where ex = x' - sx xq and ec = c' - sc cq; a product is at most that of
 * the norms, and at most the largest element of one side times the sum of
 * magnitudes of the other.  The float score that
 * defines the result is, up to a constant, -2 s but for an error of at most
 * 2 P (its own rounding).  So the codeword that wins in float has
 * sx sc a >= max(sx sc a) - 2 (A + P); tiles without such an a are left out.
 * All bounds are computed in double from the values at hand. */
#ifndef TSR_VQ_COARSE_H
#define TSR_VQ_COARSE_H
#include "lib/core.h"
#include "vq/nearest.h"

enum {
    TSRI_COARSE_ROWS = 6,       /* vectors of one register tile */
    TSRI_COARSE_LIST = 30       /* tiles that are remembered for one vector */
};

/** One group's codewords for the pass. */
typedef struct tsri_coarse_book {
    int panels;             /* of 16 codewords, as in the float book */
    int d, pairs;           /* channels; pairs, of which the last may be padded */
    int tile;               /* panels of one tile */
    int16_t *code;          /* [panels][pairs][16][2]: cq */
    float *norm;            /* [panels][16]: |c'|^2; +inf for padding */
    float *mean;            /* [d] */
    double scale;           /* sc */
    double radius, error, reach;    /* largest |c'|, |ec|, |c| */
    double sum;                     /* largest sum of magnitudes of a c' */
} tsri_coarse_book;

/** What the pass knows of one vector. */
typedef struct tsri_coarse_list {
    int32_t limit;          /* tiles with an `a` above this are added; INT32_MAX
                               for a vector that must be searched in full */
    int32_t margin;         /* 2 (A + P) in units of sx sc, rounded up */
    int32_t best;           /* largest a so far */
    int32_t count;          /* tiles; -1 = search in full */
    struct tsri_coarse_tile { int32_t tile, best; } at[TSRI_COARSE_LIST];
} tsri_coarse_list;

/** The vector kernels; each has one implementation per instruction set. */
typedef struct tsri_coarse_kernels {
    /** |x'|^2, |x|^2 and the sum of the magnitudes of x', in float, sums in
     *  any order. */
    void (*norms)(const float *x, const float *mean, int d, float out[3]);
    /** out[pair * 12 + 0..1] = x' * inverse, rounded.  An odd d's last pair is half
     *  written: it must hold 0. */
    void (*quantise)(const float *x, const float *mean, int d, float inverse,
                     int16_t *out);
    /** Six vectors against panels first..last-1, which are tile number `tile`:
     *  adds it to the lists of those that have an `a` above their limit.
     *  x: [pairs][6][2]; factor: 1 / (2 sx sc). */
    void (*tile)(const tsri_coarse_book *book, int tile, const int16_t *x,
                 float factor, tsri_coarse_list *list);
    /** The plain float search (see tsri_codebook_encode()) of one vector in
     *  panels first..last-1; *score and *code are the best so far and take a
     *  strictly lower score only. */
    void (*panels)(const tsri_nearest_book *book, int first, int last,
                   const float *x, float *score, int32_t *code);
} tsri_coarse_kernels;

/** NULL in builds for other processors. */
const tsri_coarse_kernels *tsri_coarse_avx2(void);

/** Adds a tile to a list, raises the limit.  For the kernels. */
void tsri_coarse_add(tsri_coarse_list *list, int tile, int32_t best);

/**
 * Prepares k codewords of d floats.  *out is NULL, without an error, where the
 * pass is of no use: few codewords, values that are not finite or out of its
 * range.  Returns TSR_OK; TSR_E_NOMEM.  Memory: half of the codewords'.
 */
tsr_error tsri_coarse_new(tsri_coarse_book **out, tsr_context *ctx, int k,
                          int d, const float *codewords);
void tsri_coarse_free(tsri_coarse_book **book, tsr_context *ctx);

/** One search of up to tsri_coarse_block() vectors. */
typedef struct tsri_coarse_work tsri_coarse_work;

/** Vectors that one call takes at best, a multiple of 6. */
int tsri_coarse_block(int d);

/** Scratch for calls of up to n vectors; one per thread.  NULL: no memory. */
tsri_coarse_work *tsri_coarse_work_new(tsr_context *ctx, int n, int d);
void tsri_coarse_work_free(tsri_coarse_work *work, tsr_context *ctx);

/**
 * Finds the nearest codewords of n vectors.
 *
 * x     n x d floats, row-major
 * full  searches the 64 vectors x[j][v] in full (for vectors with too many
 *       near ties, or out of the range of the pass)
 * code  out, n indices, those of tsri_nearest_plain()
 */
void tsri_coarse_search(const tsri_coarse_kernels *kernels,
                        const tsri_coarse_book *coarse,
                        const tsri_nearest_book *book, tsri_nearest_fn full,
                        tsri_coarse_work *work, const float *x, int n,
                        int32_t *code);
#endif
