/* SPDX-License-Identifier: BSD-2-Clause */
/* One token between a cache and quantised rows, in registers from end to end. */
#ifndef TSR_CODECS_KV_X86_TILE_AVX2_H
#define TSR_CODECS_KV_X86_TILE_AVX2_H
#include "codecs/kv/move_impl.h"

/** See struct tsri_kv_moves. */
bool tsri_kv_load_avx2(const tsri_kv_line *line, const uint8_t *from,
                       float inverse, int boost, int16_t *q, uint32_t *sum);
void tsri_kv_store_avx2(const tsri_kv_line *line, const int16_t *q, float step,
                        uint8_t *to);
#endif
