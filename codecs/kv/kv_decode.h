/* SPDX-License-Identifier: BSD-2-Clause */
/* One call of decode. */
#ifndef TSR_CODECS_KV_KV_DECODE_H
#define TSR_CODECS_KV_KV_DECODE_H
#include "codecs/kv/kv_internal.h"

typedef struct tsri_kv_decoding {
    tsri_kv_work work;
    const uint8_t *in;
    size_t size;            /* bytes of the object that are there */
    int first_layer, layers, levels;
    size_t first_token, tokens;
    int first_group, first_tile, last_tile;
    int jobs;               /* of a group */
} tsri_kv_decoding;

/** Is plane i of group g to be written? */
bool tsri_kv_plane_wanted(const tsri_kv_decoding *d, int g, int i);

/** Tiles first..last of a group, of which those from d->first_tile on are
 *  wanted.  Data comes from outside; nothing is logged. */
tsr_error tsri_kv_decode_group(const tsri_kv_decoding *d, tsri_kv_worker *worker,
                               int g, size_t first, size_t last);
tsr_error tsri_kv_decode_method(const tsri_kv_decoding *d,
                                tsri_kv_worker *worker, int g, size_t tile);
#endif
