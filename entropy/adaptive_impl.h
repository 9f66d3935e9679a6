/* SPDX-License-Identifier: BSD-2-Clause */
/* The inside of the adaptive models, for their coders. */
#ifndef TSR_ENTROPY_ADAPTIVE_IMPL_H
#define TSR_ENTROPY_ADAPTIVE_IMPL_H
#include "entropy/adaptive.h"

enum {
    TSRI_ADAPT_BITS = 15,   /* precision of all models */
    TSRI_ADAPT_MAX_WAIT = 256
};

/** A model of at most 16 symbols, in two cache lines.  Symbol s has the slots
 *  last[s] + 1 to last[s + 1]; last[0] = -1, and where there are fewer than 16
 *  symbols, the rest of `last` is 2^15 - 1.  So the slots that are larger than
 *  last[0..15] tell the symbol: it is one less than their number. */
typedef struct tsri_adapt_model {
    _Alignas(64) int16_t last[17];
    int16_t left;       /**< symbols until it is to be renewed, or fewer */
    uint16_t symbols;
    uint16_t limit;     /**< halve the counts when they are more */
    _Alignas(64) uint16_t fresh[16]; /**< symbols counted since it was renewed */
    uint16_t above[16]; /**< symbols >= i counted before; [0]: all */
} tsri_adapt_model;

/** A model set at work. */
typedef struct tsri_adapt_set {
    tsri_adapt_shape shape;
    tsri_adapt_model *model;    /**< of context 0 */
    int models;     /**< of a context: 1, or 17: of the high four bits, and of the
                         low ones for each value of the high */
} tsri_adapt_set;

/** The model sets of a coder. */
typedef struct tsri_adapt_sets {
    tsri_adapt_set set[TSRI_ADAPT_MAX_SETS];
    int n;
} tsri_adapt_sets;

/** Memory for the models of n sets, which know nothing before they are told to
 *  forget; sets->set[0].model is tsri_free()d.  TSR_OK; TSR_E_ARG a number outside
 *  its limits; TSR_E_NOMEM. */
tsr_error tsri_adapt_sets_open(tsri_adapt_sets *sets, tsr_context *ctx,
                               const tsri_adapt_shape *shape, int n);
void tsri_adapt_sets_forget(const tsri_adapt_sets *sets);

/** Are a run's set and contexts (or NULL) there? */
bool tsri_adapt_fit(const tsri_adapt_sets *sets, int set, const uint16_t *context,
                    size_t n, bool avx2);

/** The models of a row's symbols, or of their high four bits. */
void tsri_adapt_find(const tsri_adapt_set *set, const uint16_t *context, int n,
                     tsri_adapt_model **models);

/** What follows a row: its symbols are counted, then models whose time has come
 *  are renewed. */
void tsri_adapt_learn(tsri_adapt_model *const *models, const uint8_t *sym, int n);

/** A run of whole rows at the encoder. */
typedef struct tsri_adapt_rows {
    const tsri_adapt_set *set;
    const uint16_t *context;    /**< or NULL */
    const uint8_t *sym;
    size_t n;
    int lanes;
} tsri_adapt_rows;

/** Decodes whole rows while enough words are left for certain; returns the
 *  number of symbols done.  Needs contexts checked by the caller.  0 where there
 *  is no such code, or none for so few lanes. */
size_t tsri_adapt_get_avx2(tsri_rans_dec *dec, const tsri_adapt_set *set,
                           const uint16_t *context, uint8_t *sym, size_t n);

/** Models rows of 8 or 32 lanes: a record (last[s] | last[s + 1] << 16) for each
 *  four bits in the order of the decoder, and the lanes' sums. */
void tsri_adapt_model_avx2(const tsri_adapt_rows *rows, uint32_t *record,
                           uint16_t *sum);

/** Codes n records, a multiple of 8 or 32 lanes, last first, with the words
 *  going down from `end`, which is returned as it is then. */
uint8_t *tsri_adapt_code_avx2(const uint32_t *record, size_t n, int lanes,
                              uint32_t *state, uint8_t *end);

#endif
