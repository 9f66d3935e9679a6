/* SPDX-License-Identifier: BSD-2-Clause */
/* Rotary position embeddings, taken off and put back; docs/kv-format.md
 * section 3 fixes every bit. */
#ifndef TSR_CODECS_KV_ROPE_H
#define TSR_CODECS_KV_ROPE_H
#include <tessera/kv.h>
#include "lib/core.h"

typedef struct tsri_rope tsri_rope;

/** Are its fields within their limits, for heads of `dim`? */
bool tsri_rope_fits(const tsr_kv_rope *what, int dim);

/** Tables for positions below `positions`; 4 * dims bytes for each 256 of them
 *  and 256 times that for the low ones.  Positions from there on are turned
 *  just the same, their angles are computed when asked for (a few microseconds
 *  for each 256 positions in tsri_kv_load_tile() and its reverse), so no table
 *  need be larger than the contexts that are usual.  layout 0: no pairs.
 *  TSR_E_ARG: a field of rope is out of its limits for heads of `dim`, logged:
 *  scaling's factor 1..1e9; low_factor and high_factor 1e-9..1e9, low below
 *  high; original > 0.  TSR_E_NOMEM. */
tsr_error tsri_rope_open(tsri_rope **rope, tsr_context *ctx,
                         const tsr_kv_rope *what, int dim, uint64_t positions);
void tsri_rope_close(tsri_rope **rope, tsr_context *ctx);

/** What it was opened for. */
const tsr_kv_rope *tsri_rope_what(const tsri_rope *rope);

/** cs[i * 2], cs[i * 2 + 1] = cosine and sine of pair i of position pos,
 *  i < dims / 2. */
void tsri_rope_angles(const tsri_rope *rope, uint64_t pos, float *cs);

/** The tables, for a GPU: [256][pairs][2] and [blocks][pairs][2]. */
const float *tsri_rope_low(const tsri_rope *rope);
const float *tsri_rope_high(const tsri_rope *rope, size_t *blocks);

/** Row `block` of the high table, positions 256 block ..; computed into
 *  spare[pairs][2] where the table does not reach. */
const float *tsri_rope_high_row(const tsri_rope *rope, uint64_t block,
                                float *spare);

/** tsri_rope_angles() with the row of the high table at hand. */
void tsri_rope_angles_at(const tsri_rope *rope, unsigned cpu, uint64_t pos,
                         const float *high, float *cs);

/** Turns the heads of one token, x[heads][dim], in place.  layout 0: nothing
 *  happens. */
void tsri_rope_take_off(const tsr_kv_rope *what, unsigned cpu, const float *cs,
                        float *x, int heads, int dim);
void tsri_rope_put_back(const tsr_kv_rope *what, unsigned cpu, const float *cs,
                        float *x, int heads, int dim);
#endif
