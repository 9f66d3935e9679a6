/* SPDX-License-Identifier: BSD-2-Clause */
/* Rotary position embeddings, taken off and put back; docs/kv-format.md
 * section 3 fixes every bit. */
#ifndef TSR_CODECS_KV_ROPE_H
#define TSR_CODECS_KV_ROPE_H
#include <tessera/kv.h>
#include "lib/core.h"

typedef struct tsri_rope tsri_rope;

/** Tables for positions below `positions`; 8 * dims bytes for each 256 of them
 *  and 256 of the low ones.  TSR_E_ARG: a field of rope is out of its limits
 *  for heads of `dim`. */
tsr_error tsri_rope_open(tsri_rope **rope, tsr_context *ctx,
                         const tsr_kv_rope *what, int dim, uint64_t positions);
void tsri_rope_close(tsri_rope **rope, tsr_context *ctx);

/** cs[i * 2], cs[i * 2 + 1] = cosine and sine of pair i of position pos,
 *  i < dims / 2. */
void tsri_rope_angles(const tsri_rope *rope, uint64_t pos, float *cs);

/** The tables, for a GPU: [256][pairs][2] and [blocks][pairs][2]. */
const float *tsri_rope_low(const tsri_rope *rope);
const float *tsri_rope_high(const tsri_rope *rope, size_t *blocks);

/** Turns the heads of one token, x[heads][dim], in place. */
void tsri_rope_take_off(const tsr_kv_rope *what, unsigned cpu, const float *cs,
                        float *x, int heads, int dim);
void tsri_rope_put_back(const tsr_kv_rope *what, unsigned cpu, const float *cs,
                        float *x, int heads, int dim);
#endif
