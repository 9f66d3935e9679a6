/* SPDX-License-Identifier: BSD-2-Clause */
/* What the moves and their vector variants share.  A variant computes the same
 * as plain C to the bit: every operation rounded by itself, none fused. */
#ifndef TSR_CODECS_KV_MOVE_IMPL_H
#define TSR_CODECS_KV_MOVE_IMPL_H
#include <string.h>
#include "codecs/kv/move.h"

/* Low positions of the rope tables, and most floats of a position's angles. */
enum { TSRI_ROPE_LOW = 256, TSRI_ROPE_ANGLES = 2048 };

bool tsri_kv_from_plain(tsr_kv_dtype dtype, const void *in, size_t n, float *x);
void tsri_kv_to_plain(tsr_kv_dtype dtype, const float *x, size_t n, void *out);
bool tsri_kv_quantise_plain(const float *x, const float *m, float inverse,
                            size_t n, int16_t *q, uint32_t *sum);
void tsri_kv_dequantise_plain(const int16_t *q, const float *m, float step,
                              size_t n, float *x);
void tsri_kv_coarsen_plain(int16_t *q, size_t n, int8_t *r);
void tsri_kv_add_magnitudes_plain(const int16_t *q, size_t n, int boost,
                                  uint32_t *sum);
void tsri_kv_centres_plain(const float *x, size_t pitch, size_t count, size_t n,
                           float inverse, int16_t *centre);
/** Pairs from `first` on. */
void tsri_rope_turn_plain(const tsr_kv_rope *what, const float *cs, int first,
                          bool back, float *x, int heads, int dim);
void tsri_rope_angles_plain(const float *high, const float *low, int pairs,
                            float *cs);

/** What the tokens of a tile have in common. */
typedef struct tsri_kv_line {
    tsr_kv_dtype dtype;
    int heads, dim;
    ptrdiff_t stride;       /* bytes from head to head */
    const tsr_kv_rope *rope;    /* layout 0: none */
    const float *cs;        /* angles of this token */
    const float *m;         /* of each channel */
} tsri_kv_line;

/** Functions of one instruction set; arguments as of those above and of
 *  codecs/kv/rope.h. */
typedef struct tsri_kv_moves {
    bool (*from)(tsr_kv_dtype dtype, const void *in, size_t n, float *x);
    void (*to)(tsr_kv_dtype dtype, const float *x, size_t n, void *out);
    bool (*quantise)(const float *x, const float *m, float inverse, size_t n,
                     int16_t *q, uint32_t *sum);
    void (*dequantise)(const int16_t *q, const float *m, float step, size_t n,
                       float *x);
    void (*coarsen)(int16_t *q, size_t n, int8_t *r);
    void (*add_magnitudes)(const int16_t *q, size_t n, int boost, uint32_t *sum);
    void (*centres)(const float *x, size_t pitch, size_t count, size_t n,
                    float inverse, int16_t *centre);
    /** Turns by the angles of cs, or back. */
    void (*turn)(const tsr_kv_rope *what, const float *cs, bool back, float *x,
                 int heads, int dim);
    /** cs[i] = high[i] * low[i], complex numbers. */
    void (*angles)(const float *high, const float *low, int pairs, float *cs);
    /** One token of a tile; offset, dims / 2 and dim are multiples of 8, m is
     *  not NULL. */
    bool (*load)(const tsri_kv_line *line, const uint8_t *from, float inverse,
                 int boost, int16_t *q, uint32_t *sum);
    void (*store)(const tsri_kv_line *line, const int16_t *q, float step,
                  uint8_t *to);
} tsri_kv_moves;

/** NULL: not in this build. */
const tsri_kv_moves *tsri_kv_moves_avx2(void);

/** Where token t of a plane begins. */
uint8_t *tsri_kv_token_at(const tsr_kv_view *view, const tsr_kv_shape *shape,
                          int layer, int plane, size_t t);

static inline uint32_t tsri_float_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float tsri_bits_float(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
#endif
