/* SPDX-License-Identifier: BSD-2-Clause */
/* Makes what token_book.h reads: frequencies from counts, nested codebooks, tree
 * order, and the context, for the codewords of a model and the tokens of some
 * pictures.  tsr_tokens_nest() is the way in; these are its parts. */
#ifndef TSR_CODECS_TOKEN_NEST_H
#define TSR_CODECS_TOKEN_NEST_H
#include <tessera/context.h>
#include "codecs/image/token_book.h"

/** The tokens of a picture: ids of level 0, row by row, all known. */
typedef struct tsri_nest_grid {
    const int32_t *id;
    int height, width;
} tsri_nest_grid;

/** What is made, step by step; arrays are the nest's.  Starts with the first
 *  four members set and all else 0. */
typedef struct tsri_nest {
    tsr_context *ctx;
    int codes, dim;
    const float *words;         /* [codes][dim], borrowed */
    int32_t *weight;            /* [codes]: at least 1, the sum 2^20 */
    int levels;                 /* 1, until there is a tree */
    int size[TSRI_TOKEN_LEVELS];
    int32_t *place;             /* [codes] */
    int32_t *start[TSRI_TOKEN_LEVELS];  /* [size]; NULL at level 0 */
    float *centre[TSRI_TOKEN_LEVELS];   /* [size][dim]; NULL at level 0 */
    int16_t *bias;              /* [classes]; NULL without a context */
    int8_t *context;            /* [4][classes + 1][classes] */
} tsri_nest;

void tsri_nest_close(tsri_nest *nest);

/**
 * Sets `weight` from counts: each count and the same a, scaled.  a is, of 2^-6 ..
 * 2^4, the one with which the tokens are likeliest, each being left out of its
 * own count.  TSR_OK; TSR_E_NOMEM.
 */
tsr_error tsri_nest_weigh(tsri_nest *nest, const uint64_t *counts);

/**
 * Makes the levels: each by k-means of the codewords of the one before, with
 * their weights; a cluster's codeword is the weighted mean of its codes.  Tree
 * order: clusters inside clusters, by falling weight.
 *
 * size   [n] clusters wanted, n 0..TSRI_TOKEN_LEVELS - 1, falling, the first at
 *        most `codes`.  Where codewords coincide there may be fewer.
 *
 * Returns TSR_OK; TSR_E_CANCELED; TSR_E_NOMEM.  Depends on the arguments alone.
 * Cost: up to 20 * size[j - 1] * size[j] * dim multiply-adds a level.
 */
tsr_error tsri_nest_tree(tsri_nest *nest, const int *size, int n, uint64_t seed,
                         const tsr_progress *progress);

/**
 * Fits the context to pictures: a log-linear model of a token's class by those
 * of its four neighbours, with a Gaussian prior; started from their mutual
 * information, which 12 steps along the diagonal of Newton's direction improve.
 *
 * Does nothing where there is no coarser level, or its clusters are more than
 * TSRI_TOKEN_CLASSES, or there are no tokens.
 *
 * Returns TSR_OK; TSR_E_CANCELED; TSR_E_NOMEM.  Sums are made in the order of the
 * tokens.  Cost: 12 passes of about 15 ns a token and class.  Memory: 28
 * classes^2 * 4 bytes.
 * Source: Berger, Della Pietra & Della Pietra, "A maximum entropy approach to
 *         natural language processing", Computational Linguistics 22(1), 1996.
 */
tsr_error tsri_nest_context(tsri_nest *nest, const tsri_nest_grid *grids,
                            size_t n, const tsr_progress *progress);

/** Bits of a token of each level, on average over pictures that have some: by
 *  `weight`, and by the context (0 without one).  It is what the coder spends, but
 *  for its rounding.  [levels] each. */
tsr_error tsri_nest_price(const tsri_nest *nest, const tsri_nest_grid *grids,
                          size_t n, double *by_weight, double *by_context);

/** Tokens of pictures. */
size_t tsri_nest_tokens(const tsri_nest_grid *grids, size_t n);
#endif
