/* SPDX-License-Identifier: BSD-2-Clause */
/* What the parts of the KV codec share.  docs/kv-format.md is the format. */
#ifndef TSR_CODECS_KV_KV_H
#define TSR_CODECS_KV_KV_H
#include <tessera/kv.h>
#include "entropy/rows.h"
#include "lib/core.h"

enum {
    TSRI_KV_HEADER = 160,
    TSRI_KV_MAX_TOKENS = 1 << 20,
    TSRI_KV_MAX_CHANNELS = 16384,   /* of a plane */
    TSRI_KV_MAX_SINKS = 64,
    TSRI_KV_MAX_BOOST = 7
};

enum {
    TSRI_KV_TOKENS = 1, TSRI_KV_BOOSTS = 2, TSRI_KV_NEEDS_TOKENS = 4,
    TSRI_KV_CHAINED = 8     /* a tile needs the tiles before it */
};

/** The header, checked. */
typedef struct tsri_kv_head {
    uint8_t method, flags, dtype, levels, sinks, id_bits;
    int8_t class_shift, live_shift;
    tsr_kv_shape shape;
    tsr_kv_rope rope;
    uint32_t tokens, pos0, groups;
    int tile, span, tiles;
    float step[2];              /* of level 0 */
    uint8_t profile[8], params[40];
    uint64_t size;
    uint32_t section_bytes;
    /* derived: */
    uint64_t front_bytes;       /* all of the front, its CRC included */
} tsri_kv_head;

/** Reads a header from p[0..size): TSR_OK or the error it means; logs. */
tsr_error tsri_kv_head_read(tsr_context *ctx, const uint8_t *p, size_t size,
                            tsri_kv_head *head);
/** Writes one. */
void tsri_kv_head_write(const tsri_kv_head *head, uint8_t p[TSRI_KV_HEADER]);
#endif
