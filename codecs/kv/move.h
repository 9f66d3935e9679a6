/* SPDX-License-Identifier: BSD-2-Clause */
/* Between caches as engines keep them and tiles of floats: strides, block
 * tables, 16-bit and 8-bit floats. */
#ifndef TSR_CODECS_KV_MOVE_H
#define TSR_CODECS_KV_MOVE_H
#include "codecs/kv/kv.h"
#include "codecs/kv/rope.h"

/** Is it a view of `shape`: dtype, alignment, block numbers, strides that do not
 *  overflow?  writing: planes may be left out (base NULL), and tokens and heads
 *  must not lie on each other.  Strides may be negative; a view of no tokens
 *  is one whatever its pointers are.  Reads the block table: host memory.
 *  TSR_E_ARG, logged. */
tsr_error tsri_kv_view_check(tsr_context *ctx, const tsr_kv_view *view,
                             const tsr_kv_shape *shape, bool writing);

/**
 * Tokens first .. first + n - 1 of one plane, as floats x[t][heads * dim].
 * pitch: floats from token to token.  The view is one (see above), with a base
 * for this plane.
 *
 * Returns false when a value is not finite (all are written nevertheless).
 */
bool tsri_kv_gather(const tsr_kv_view *view, const tsr_kv_shape *shape,
                    unsigned cpu, int layer, int plane, size_t first, size_t n,
                    float *x, size_t pitch);

/** The reverse, rounded to nearest even; values beyond an 8-bit float's range
 *  become its largest finite value, of the others infinity; NaN stays one. */
void tsri_kv_scatter(const tsr_kv_view *view, const tsr_kv_shape *shape,
                     unsigned cpu, int layer, int plane, size_t first, size_t n,
                     const float *x, size_t pitch);

/** The same moves without conversion: elements as they are, without gaps. */
void tsri_kv_copy_out(const tsr_kv_view *view, const tsr_kv_shape *shape,
                      int layer, int plane, size_t first, size_t n, void *out);
void tsri_kv_copy_in(const tsr_kv_view *view, const tsr_kv_shape *shape,
                     int layer, int plane, size_t first, size_t n,
                     const void *in);

/** Rows of n numbers: the conversions alone.  from_ returns false when one is
 *  not finite. */
bool tsri_kv_from_dtype(tsr_kv_dtype dtype, unsigned cpu, const void *in,
                        size_t n, float *x);
void tsri_kv_to_dtype(tsr_kv_dtype dtype, unsigned cpu, const float *x,
                      size_t n, void *out);
size_t tsri_kv_dtype_bytes(tsr_kv_dtype dtype);     /* 0: no dtype */

/**
 * The uniform quantiser of rows (docs/kv-format.md section 4).
 *
 *     q = nearest even of (x - m) * inverse;   x = q * step + m
 *
 * m      of each of n coefficients, or NULL: 0
 * sum    of each, += |q|, or NULL
 *
 * Returns false when a |q| is over 32767 (q is then clamped) or x is no number
 * (q is then undefined, within the range).
 */
bool tsri_kv_quantise(unsigned cpu, const float *x, const float *m,
                      float inverse, size_t n, int16_t *q, uint32_t *sum);
void tsri_kv_dequantise(unsigned cpu, const int16_t *q, const float *m,
                        float step, size_t n, float *x);

/** q1 -> q0 = round(q1 / 3) and r = q1 - 3 * q0, in place and out.  r is -1, 0
 *  or 1: there are no ties. */
void tsri_kv_coarsen(unsigned cpu, int16_t *q, size_t n, int8_t *r);

/** sum[i] += |q[i]| >> boost. */
void tsri_kv_add_magnitudes(unsigned cpu, const int16_t *q, size_t n, int boost,
                            uint32_t *sum);

/**
 * Centres of coefficients: the lower median of 32 tokens, tokens
 * i * count / 32 of x[count][pitch], i = 0..31, as multiples of step / 4: the
 * nearest even of median * (4 / step), the quotient rounded, clamped to 16
 * bits; count 0: zeros.  x is finite.  A median of quantised values is the
 * quantised median, so decoding and encoding again gives the same centres.
 */
void tsri_kv_centres(unsigned cpu, const float *x, size_t pitch, size_t count,
                     size_t n, float step, int16_t *centre);

/* ---- all of it in one pass, for rows that are channels ---- */

/** A tile of one plane, in a view (which is one, with a base for this plane). */
typedef struct tsri_kv_patch {
    const tsr_kv_view *view;
    const tsr_kv_shape *shape;
    const tsri_rope *rope;  /* taken off plane 0, put back; NULL: none */
    uint64_t pos;           /* position of token 0 of the view */
    int layer, plane;
    size_t first, n;        /* tokens */
    const uint8_t *boost;   /* of token first and those behind it, 0..7, or
                               NULL: all 0 */
} tsri_kv_patch;

/**
 * Gather, rotation off, quantise, and the sums of magnitudes: the same to the
 * bit as
 *
 *     tsri_kv_gather; for each token t: tsri_rope_take_off by the angles of
 *     pos + t; tsri_kv_quantise with inverse * 2^boost(t);
 *     tsri_kv_add_magnitudes with boost(t)
 *
 * but through registers where the CPU can: use it wherever coefficients are
 * channels.
 *
 * m        of each channel, or NULL: 0
 * inverse  1 / step, rounded
 * q        out, q[t * pitch + channel], t from 0
 * sum      of each channel, += |q| >> boost, or NULL
 *
 * Returns false when a value is not finite or a |q| over 32767; q and sum are
 * then undefined.
 *
 * Cost, in cache on a Zen 3 core with AVX2, 16-bit floats, heads of 128: 0.3 ns
 * a value, and 0.2 for the reverse.
 */
bool tsri_kv_load_tile(const tsri_kv_patch *from, unsigned cpu, const float *m,
                       float inverse, int16_t *q, size_t pitch, uint32_t *sum);

/** The reverse: tsri_kv_dequantise with step * 2^-boost(t), tsri_rope_put_back,
 *  tsri_kv_scatter.  m and step are finite and below 1e33, so that no NaN comes
 *  of it. */
void tsri_kv_store_tile(const tsri_kv_patch *to, unsigned cpu, const int16_t *q,
                        size_t pitch, const float *m, float step);
#endif
