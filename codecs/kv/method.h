/* SPDX-License-Identifier: BSD-2-Clause */
/* Published KV quantisers, to be compared with in one tool; each is one file.
 * Groups are planes.  A method codes a tile of a plane by itself. */
#ifndef TSR_CODECS_KV_METHOD_H
#define TSR_CODECS_KV_METHOD_H
#include "codecs/kv/kv.h"

/** What a method sees of a plane's tile. */
typedef struct tsri_kv_tile {
    int layer, plane, layers;
    int heads, dim;             /* channels = heads * dim */
    int tokens;                 /* 1..4096 */
    uint64_t first, total;      /* number of the first token, tokens of object */
    const uint8_t *boost;       /* of the tile's tokens, or NULL: classes for
                                   ZipCache and MiKV, > 0 is salient */
    tsr_kv_dtype dtype;
    const uint8_t *params;      /* 40 bytes of the header */
    const tsr_model *profile;   /* tables of KVQuant and the like, or NULL */
} tsri_kv_tile;

typedef struct tsri_kv_method {
    const char *name;           /* of settings.method, at most 15 bytes */
    uint8_t number;             /* of the header, 1.. */
    bool pre_rope;              /* sees plane 0 without rotation */
    bool raw;                   /* x is not floats but the source's elements */
    int tile;                   /* tokens of a tile it wants by default */
    /** Fills params; TSR_E_ARG. */
    tsr_error (*settings)(tsr_context *ctx, const tsr_kv_settings *settings,
                          uint8_t params[40]);
    /** Params and shape from a file: may they be? */
    tsr_error (*check)(const uint8_t params[40], const tsr_kv_shape *shape);
    /** Bytes of a unit; of scratch.  They depend on neither `first`, `total`
     *  nor `boost`, and do not fall with the tokens. */
    size_t (*bound)(const tsri_kv_tile *tile);
    size_t (*scratch)(const tsri_kv_tile *tile);
    /** x: tokens x channels floats (or elements, raw), may be changed.
     *  Returns 0 bytes on values it cannot code. */
    size_t (*encode)(const tsri_kv_tile *tile, unsigned cpu, void *x,
                     uint8_t *out, void *scratch);
    /** Data comes from outside: TSR_OK or TSR_E_CORRUPT. */
    tsr_error (*decode)(const tsri_kv_tile *tile, unsigned cpu,
                        const uint8_t *data, size_t size, void *x,
                        void *scratch);
} tsri_kv_method;

/** By number or by name; NULL when there is none. */
const tsri_kv_method *tsri_kv_method_number(int number);
const tsri_kv_method *tsri_kv_method_name(const char *name);
const tsri_kv_method *tsri_kv_method_index(int i);
#endif
