/* SPDX-License-Identifier: BSD-2-Clause */
/* The kernels of the nearest search, and of searches that need more than the
 * nearest, with their variants. */
#ifndef TSR_VQ_NEAREST_H
#define TSR_VQ_NEAREST_H
#include <stdint.h>

enum {
    TSRI_NEAREST_LANES = 16,    /* codewords that lie side by side */
    TSRI_NEAREST_BLOCK = 64,    /* vectors of one call */
    TSRI_SCORES_BLOCK = 4       /* the same of the scores */
};

/** One group's codewords, packed for the kernels. */
typedef struct tsri_nearest_book {
    int panels;                 /* of 16 codewords; the last may hold padding */
    int d;
    const float *code;          /* [panels][d][16], 64-byte aligned */
    const float *norm;          /* [panels][16], |c|^2; +inf for padding */
} tsri_nearest_book;

/**
 * code[v] = the index of the codeword nearest to vector v, v < 64.
 * x: [d][64], 64-byte aligned; vectors that are not needed may hold anything.
 * See tsri_codebook_encode() for the order of the sums, ties and NaN.
 */
typedef void (*tsri_nearest_fn)(const tsri_nearest_book *book, const float *x,
                                int32_t *code);

void tsri_nearest_plain(const tsri_nearest_book *book, const float *x,
                        int32_t *code);

/** The AVX2 variant; NULL in builds for other processors. */
tsri_nearest_fn tsri_nearest_avx2(void);

/**
 * The scores that the nearest search compares, |c|^2 - 2 c.x in the order of sums
 * of tsri_codebook_encode(), of `blocks` times 4 vectors with all codewords.
 *
 * x      [blocks][d][4]
 * score  out, [blocks][4][panels * 16]; +inf (or NaN) for padding
 *
 * Cost: 64 * blocks * panels * d multiply-adds.
 */
typedef void (*tsri_scores_fn)(const tsri_nearest_book *book, const float *x,
                               int blocks, float *score);

void tsri_scores_plain(const tsri_nearest_book *book, const float *x, int blocks,
                       float *score);

/** The AVX2 variant; NULL in builds for other processors. */
tsri_scores_fn tsri_scores_avx2(void);
#endif
