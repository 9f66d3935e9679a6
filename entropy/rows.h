/* SPDX-License-Identifier: BSD-2-Clause */
/* Rows: matrices of small integers [token][coefficient] whose spread differs
 * from coefficient to coefficient, as of transformed key/value caches.
 * docs/entropy.md, "Rows", is the format.
 *
 * A segment (entropy/rans.h, 32 lanes) holds `tokens` tokens of `coefs`
 * coefficients.  Tokens are walked in order, the coefficients of a token in
 * strips of 32; a strip is a run of 32 lanes (the last may be shorter), so a
 * lane of a strip is one coefficient all the way down.  The table of a symbol
 * is that of the coefficient's class, which is known beforehand: from a
 * profile, or a byte that was sent.  There is one fixed family of tables, made
 * by integers from constants.  (Contexts from neighbouring tokens and
 * coefficients were tried on real caches and gain less than 2 %.)
 *
 * Values are refined in further segments: with q0 known, a finer q is
 * 3 * q0 + r, r in -1..1: mid-tread quantisers whose steps have the ratio 3
 * nest exactly.
 *
 * Nothing here but open logs or allocates; coders may run on workers. */
#ifndef TSR_ENTROPY_ROWS_H
#define TSR_ENTROPY_ROWS_H
#include "entropy/bank.h"

enum {
    TSRI_ROWS_LANES = 32,
    TSRI_ROWS_BITS = 12,        /**< precision of all tables */
    TSRI_ROWS_REACH = 14,       /**< symbols 0..28 are 0, -1, 1, -2, 2, ..., 14;
                                     29 and 30 are escapes of either sign */
    TSRI_ROWS_SYMBOLS = 32,     /**< room for */
    TSRI_ROWS_CLASSES = 64,     /**< four to an octave of mean magnitude */
    TSRI_ROWS_CLASS_ONE = 14,   /**< that of a mean magnitude of one step: of
                                     z / step before rounding */
    TSRI_ROWS_LOW = 11,         /**< raw low bits of a class, at most */
    TSRI_ROWS_COEFS = 4096,     /**< of a segment, at most */
    TSRI_ROWS_TOKENS = 4096     /**< of a segment, at most */
};

/** The tables.  Immutable after open: may be shared by threads. */
typedef struct tsri_rows tsri_rows;

tsr_error tsri_rows_open(tsri_rows **rows, tsr_context *ctx);
void tsri_rows_close(tsri_rows **rows, tsr_context *ctx);

/** The class for a coefficient whose rounded magnitudes have the sum `sum` over
 *  n values, n >= 1; integers only. */
int tsri_rows_class(uint64_t sum, uint32_t n);

/** What a strip needs ready at hand; 32 lanes each, those behind the last
 *  coefficient cost nothing.  Arrays of them from tsri_alloc(), for the
 *  alignment.  Private to entropy/; rows_impl.h has the order of lanes. */
typedef struct tsri_rows_strip {
    _Alignas(32) uint16_t bound[15][TSRI_ROWS_LANES];
    uint16_t refine[3][2][TSRI_ROWS_LANES];
    uint16_t first[TSRI_ROWS_LANES], scale[TSRI_ROWS_LANES];
    uint16_t inverse[TSRI_ROWS_LANES];
    uint8_t cls[TSRI_ROWS_LANES], low[TSRI_ROWS_LANES];
    uint8_t reach[TSRI_ROWS_LANES];
    uint8_t any_low, depth;
} tsri_rows_strip;

/** Prepares ceil(coefs / 32) strips; cls[c] < TSRI_ROWS_CLASSES (the caller has
 *  checked).  Cost: a few operations a coefficient. */
void tsri_rows_prepare(const tsri_rows *rows, const uint8_t *cls, int coefs,
                       tsri_rows_strip *strips);

/** A matrix of values and how its tokens are coded. */
typedef struct tsri_rows_matrix {
    int16_t *q;             /**< value of token t, coefficient c at
                                 q[t * pitch + c]; |q| <= 32767 */
    size_t pitch;
    int tokens, coefs;      /**< 1.., at most TSRI_ROWS_* */
    const tsri_rows_strip *const *strips;   /**< strips[which[t]]: how token t
                                 is coded */
    const uint8_t *which;   /**< of each token, or NULL: all 0 */
} tsri_rows_matrix;

/** Most bytes of a segment; scratch bytes (64-byte aligned) of either coder.
 *  tokens and coefs within the limits. */
size_t tsri_rows_bound(int tokens, int coefs);
size_t tsri_rows_scratch(int tokens, int coefs);

/**
 * Codes a segment.
 *
 * cpu   TSR_CPU_* of the context; bytes do not depend on it
 * m     read only
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

/** A segment, and where its values go. */
typedef struct tsri_rows_segment {
    const uint8_t *data;
    size_t size;
    uint32_t crc;
    tsri_rows_matrix m;
} tsri_rows_segment;

/** tsri_rows_decode(), or with `refine` tsri_rows_refine_decode(), of two
 *  segments of as many tokens at once, which is faster by a sixth.  All values
 *  are undefined when either is corrupt. */
tsr_error tsri_rows_decode_pair(const tsri_rows *rows, unsigned cpu,
                                const tsri_rows_segment segment[2], bool refine,
                                void *scratch);

/** Codes r of 3 * q0 + r, r -1..1; q0 as decoded.  The tables go by min(|q0|, 2)
 *  and the class, which is that of the finer values: 4 log2(3) = 6.3 above that
 *  of q0. */
size_t tsri_rows_refine_encode(const tsri_rows *rows, unsigned cpu,
                               const tsri_rows_matrix *q0, const int8_t *r,
                               size_t r_pitch, uint32_t crc, uint8_t *out,
                               void *scratch);

/** The reverse: turns q0, |q0| <= 10922, into 3 * q0 + r in place. */
tsr_error tsri_rows_refine_decode(const tsri_rows *rows, unsigned cpu,
                                  const uint8_t *data, size_t size,
                                  uint32_t crc, const tsri_rows_matrix *q0,
                                  void *scratch);
#endif
