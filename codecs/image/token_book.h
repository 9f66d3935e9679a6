/* SPDX-License-Identifier: BSD-2-Clause */
/* What a model of the token codecs says about its codes besides the codewords:
 * how often they are, the coarser codebooks they are nested in, and the classes
 * that neighbours predict each other by.  All of it is optional.
 * docs/codecs/vqgan.md is the format; nothing here does floating-point
 * arithmetic.
 *
 * Codes have ids, and a place in *tree order*, in which the codes of a cluster
 * of any level are neighbours.  The id of a cluster is its number in that
 * order; level 0 is the codebook itself, and its ids are those of the codewords.
 *
 * Source: nested codebooks: Mao et al., "Extreme image compression using
 * fine-tuned VQGANs", DCC 2024. */
#ifndef TSR_CODECS_TOKEN_BOOK_H
#define TSR_CODECS_TOKEN_BOOK_H
#include <tessera/model.h>
#include "lib/core.h"

enum {
    TSRI_TOKEN_CODES = 1 << 18,     /* most codes of a model */
    TSRI_TOKEN_LEVELS = 8,          /* most levels */
    TSRI_TOKEN_CLASSES = 256,       /* most classes of a context */
    TSRI_TOKEN_BITS = 20,           /* the weights' sum is at most 2^20 */
    TSRI_TOKEN_NEIGHBOURS = 4
};

/** Immutable: any number of threads may use one. */
typedef struct tsri_token_book tsri_token_book;

/**
 * Reads and checks the tensors `tessera.order`, `tessera.frequency`,
 * `tessera.level.J.start`, `tessera.level.J.codewords` and
 * `tessera.context.{bias,weight}` of a model that has `codes` codewords of
 * `dim` numbers.  The model is not needed afterwards.
 *
 * book       out; NULL on failure; close with tsri_token_book_close()
 * codewords  [codes][dim], borrowed while the book is open
 *
 * Returns TSR_OK; TSR_E_SHAPE, the message names the tensor; TSR_E_NOMEM.
 * Cost: about 0.1 us a code.  Memory: 21 bytes a code, 13 + 4 dim a cluster.
 */
tsr_error tsri_token_book_open(tsri_token_book **book, tsr_context *ctx,
                               const tsr_model *model, int codes, int dim,
                               const float *codewords);

/** NULL is allowed, at both levels. */
void tsri_token_book_close(tsri_token_book **book, tsr_context *ctx);

/** Levels, 1..TSRI_TOKEN_LEVELS; level 0 is the codebook itself. */
int tsri_token_book_levels(const tsri_token_book *book);

/** Ids of a level are 0..size - 1.  level: 0..levels - 1, here and below. */
int tsri_token_book_size(const tsri_token_book *book, int level);

/** Has the model a context? */
bool tsri_token_book_context(const tsri_token_book *book);

/** Numbers of a codeword. */
int tsri_token_book_dim(const tsri_token_book *book);

/** [size][dim], by the ids of that level; the book's. */
const float *tsri_token_book_words(const tsri_token_book *book, int level);

/** The id at level `to` >= `from` of the cluster that holds `id` of level
 *  `from` (in range); at most 8 look-ups. */
int32_t tsri_token_book_coarser(const tsri_token_book *book, int from,
                                int32_t id, int to);

/** The id with the greatest weight, the lowest of equals. */
int32_t tsri_token_book_common(const tsri_token_book *book, int level);

/** Weight of an id; the weights of a level have the same sum at each level, at
 *  most 2^20. */
uint32_t tsri_token_book_weight(const tsri_token_book *book, int level,
                                int32_t id);
uint32_t tsri_token_book_total(const tsri_token_book *book);
#endif
