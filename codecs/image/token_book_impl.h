/* SPDX-License-Identifier: BSD-2-Clause */
/* What is in a book, for the files that code with it. */
#ifndef TSR_CODECS_TOKEN_BOOK_IMPL_H
#define TSR_CODECS_TOKEN_BOOK_IMPL_H
#include "codecs/image/token_book.h"

enum {
    TSRI_TOKEN_WEIGHTS = 13 * 32,   /* scores so far from the best weigh 1 */
    TSRI_TOKEN_BLOCK = 16           /* scores are added up in blocks */
};

/** Clusters stand by their place: their number in tree order, which is the id
 *  at all levels but 0. */
typedef struct tsri_token_level {
    int size;
    int32_t common;             /* an id */
    int32_t *start;             /* [size]: first place at level 0 */
    uint32_t *below;            /* [size + 1]: sum of the weights before */
    int32_t *parent;            /* [size]: place one level coarser; NULL at the
                                   coarsest */
    uint8_t *class_of;          /* [size]; these two NULL without a context */
    int32_t *class_start;       /* [classes + 1]: its first place */
    const float *words;         /* [size][dim] by id */
    float *own;                 /* where `words` are the book's */
} tsri_token_level;

/** Scores of the next token's class. */
typedef struct tsri_token_context {
    int classes;                /* 0: there is none */
    int stride;                 /* classes, padded to whole blocks */
    int32_t *bias;              /* [stride]; where it pads, far below all */
    int8_t *weight;             /* [4][classes + 1][stride]; 0 where it pads */
    uint16_t chance[TSRI_TOKEN_WEIGHTS + 1]; /* by distance from the best */
} tsri_token_context;

struct tsri_token_book {
    int levels, dim;
    tsri_token_level level[TSRI_TOKEN_LEVELS];
    int32_t *place, *code;      /* of level 0: place of an id, id of a place */
    tsri_token_context context;
};

/** Weights of parts by their score's distance from the best: 2^-(1/32) a step.
 *  The page has these numbers. */
void tsri_token_chances(uint16_t chance[TSRI_TOKEN_WEIGHTS + 1]);

static inline int32_t tsri_token_place(const tsri_token_book *book, int level,
                                       int32_t id)
{
    return level ? id : book->place[id];
}

static inline int32_t tsri_token_id(const tsri_token_book *book, int level,
                                    int32_t place)
{
    return level ? place : book->code[place];
}
#endif
