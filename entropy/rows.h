/* SPDX-License-Identifier: BSD-2-Clause */
/* Rows: matrices of small integers [token][coefficient] whose spread differs
 * from coefficient to coefficient and drifts from token to token, as of
 * transformed key/value caches.  docs/entropy.md, "Rows", is the format.
 *
 * A segment (entropy/rans.h, 32 lanes) holds `tokens` tokens of `coefs`
 * coefficients.  Tokens are walked in order, the coefficients of a token in
 * strips of 32; a strip is a run of 32 lanes (the last may be shorter), so a
 * lane of a strip is one coefficient all the way down.  The table of each
 * symbol is
 *
 *     map[class of the coefficient][activity][energy]
 *
 * where the class is known beforehand (a profile, or a byte that was sent), the
 * activity comes from the two tokens before, and the energy from the strips of
 * the same token that are already decoded.  All of it is integers.
 *
 * Values are refined in further segments: with q0 known, a finer q is
 * 3 * q0 + r, r in -1..1: mid-tread quantisers whose steps have the ratio 3
 * nest exactly.
 *
 * Nothing here logs or allocates; coders may run on workers. */
#ifndef TSR_ENTROPY_ROWS_H
#define TSR_ENTROPY_ROWS_H
#include "entropy/bank.h"

enum {
    TSRI_ROWS_LANES = 32,
    TSRI_ROWS_BITS = 12,        /**< precision of all tables */
    TSRI_ROWS_REACH = 15,       /**< symbols -15..15 are 0..30, 31 is escape */
    TSRI_ROWS_SYMBOLS = 32,
    TSRI_ROWS_TABLES = 128,     /**< at most */
    TSRI_ROWS_CLASSES = 64,     /**< at most */
    TSRI_ROWS_ACT = 8,          /**< at most */
    TSRI_ROWS_EN = 4,           /**< at most */
    TSRI_ROWS_LOW = 10,         /**< raw low bits of a class, at most */
    TSRI_ROWS_COEFS = 4096,     /**< of a segment, at most */
    TSRI_ROWS_TOKENS = 4096     /**< of a segment, at most */
};

/** How classes are coded: the part of a profile that the coder reads. */
typedef struct tsri_rows_shape {
    int classes, act, en, tables;
    const uint16_t *freq;   /**< tables x 32, each >= 1, sums 4096 */
    const uint8_t *low;     /**< classes: raw low bits k of its values */
    const uint16_t *expect; /**< classes: expected magnitude in 1/16, >= 1 */
    const uint16_t *edge;   /**< classes x (act - 1), rising: activity is the
                                 number of them that are below A */
    const uint16_t *ratio;  /**< en - 1, rising, in 1/16 */
    const uint8_t *map;     /**< classes x act x en: a table */
    const uint16_t *refine; /**< classes x 3 x act x 3 frequencies of r + 1,
                                 each >= 1, sums 4096 */
} tsri_rows_shape;

/** Immutable after open: may be shared by threads. */
typedef struct tsri_rows tsri_rows;

/** Checks and copies a shape (which may come from a file).  Returns TSR_OK;
 *  TSR_E_CORRUPT what is wrong, logged; TSR_E_NOMEM. */
tsr_error tsri_rows_open(tsri_rows **rows, tsr_context *ctx,
                         const tsri_rows_shape *shape);
void tsri_rows_close(tsri_rows **rows, tsr_context *ctx);

/** The built-in shape for data of unknown spread: Laplacian-Gaussian tables,
 *  classes of a third of an octave, no file needed.  Class of an expected
 *  magnitude: see tsri_rows_class(). */
const tsri_rows_shape *tsri_rows_builtin(void);

/** The built-in class of a coefficient from the sum of its magnitudes over n
 *  tokens; integers only. */
int tsri_rows_class(uint64_t sum, uint32_t n);

/** What a strip needs ready at hand; 32 lanes each. */
typedef struct tsri_rows_strip {
    uint16_t map[TSRI_ROWS_LANES];      /**< first index of its class in map */
    uint16_t edge[TSRI_ROWS_ACT - 1][TSRI_ROWS_LANES];
    uint8_t low[TSRI_ROWS_LANES];
    uint16_t energy[TSRI_ROWS_EN - 1];  /**< edges of the sum of the strip
                                             before it */
    uint8_t any_low;
} tsri_rows_strip;

/** Prepares ceil(coefs / 32) strips; cls[c] below the shape's classes (the
 *  caller has checked).  Cost: a few operations a coefficient. */
void tsri_rows_prepare(const tsri_rows *rows, const uint8_t *cls, int coefs,
                       tsri_rows_strip *strips);

/** A matrix of values and how its tokens are coded. */
typedef struct tsri_rows_matrix {
    int16_t *q;             /**< value of token t, coefficient c at
                                 q[t * pitch + c] */
    size_t pitch;
    int tokens, coefs;      /**< 1.., at most TSRI_ROWS_* */
    const tsri_rows_strip *const *strips;   /**< strips[which[t]]: how token t
                                 is coded */
    const uint8_t *which;   /**< of each token, or NULL: all 0 */
    const uint8_t *boost;   /**< of each token, 0..7, or NULL: all 0.  Values of
                                 a boosted token are 2^b times as large; their
                                 magnitudes count in contexts as |q| >> b */
} tsri_rows_matrix;

/** Most bytes of a segment; scratch bytes (64-byte aligned) of either coder.
 *  tokens and coefs within the limits. */
size_t tsri_rows_bound(int tokens, int coefs);
size_t tsri_rows_scratch(int tokens, int coefs);

/**
 * Codes a segment.
 *
 * cpu   TSR_CPU_* of the context; bytes do not depend on it
 * m     read only; |q| <= 32767
 * crc   seed of the lanes, see tsri_rans_finish()
 * out   room for tsri_rows_bound() bytes
 *
 * Returns the bytes written.
 */
size_t tsri_rows_encode(const tsri_rows *rows, unsigned cpu,
                        const tsri_rows_matrix *m, uint32_t crc, uint8_t *out,
                        void *scratch);

/** The reverse; data comes from outside.  TSR_OK; TSR_E_CORRUPT, and m->q is
 *  undefined. */
tsr_error tsri_rows_decode(const tsri_rows *rows, unsigned cpu,
                           const uint8_t *data, size_t size, uint32_t crc,
                           const tsri_rows_matrix *m, void *scratch);

/** Codes r of 3 * q0 + r: q0 as decoded (same pitch and contexts), r -1..1. */
size_t tsri_rows_refine_encode(const tsri_rows *rows, unsigned cpu,
                               const tsri_rows_matrix *q0, const int8_t *r,
                               size_t r_pitch, uint32_t crc, uint8_t *out,
                               void *scratch);

/** The reverse: turns q0 into 3 * q0 + r in place. */
tsr_error tsri_rows_refine_decode(const tsri_rows *rows, unsigned cpu,
                                  const uint8_t *data, size_t size,
                                  uint32_t crc, const tsri_rows_matrix *q0,
                                  void *scratch);
#endif
