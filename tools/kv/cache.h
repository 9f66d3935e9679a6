/* SPDX-License-Identifier: BSD-2-Clause */
/* Caches in files: .safetensors with layers.N.key and layers.N.value (or
 * layers.N.latent), one tensor or .npy array of all layers, and raw dumps. */
#ifndef TOOLS_KV_CACHE_H
#define TOOLS_KV_CACHE_H
#include <tessera/kv.h>
#include <tessera/model.h>
#include "tools/args.h"
#include "tools/io/array.h"
#include "tools/output.h"

/** A cache in memory; zeros are an empty one. */
typedef struct cache {
    const char *name;       /**< for messages */
    tsr_kv_shape shape;
    tsr_kv_rope rope;       /**< as far as the file or the options say */
    tsr_kv_view view;
    uint64_t pos0;
    int32_t *ids;           /**< of its tokens, or NULL */
    void **base;            /**< of view */
    uint8_t *own;           /**< memory of the cache itself, or NULL */
    array file;             /**< where it lies otherwise */
} cache;

/** Reads what -layout, -dims, -dtype, -heads and -rope say of `path`.  Returns
 *  an exit status; has said what was wrong.  cache_close() in any case. */
int cache_open(cache *c, tsr_context *ctx, const args *a, const char *path);

/** Memory for a cache of `tokens` tokens in the layout that the output's name
 *  and -layout ask for; values are zeros. */
int cache_make(cache *c, const args *a, const tsr_kv_shape *shape,
               tsr_kv_dtype dtype, size_t tokens);

/** Writes one that cache_make() made: .safetensors, .npy or, under any other
 *  name, the bare numbers. */
int cache_write(const cache *c, const args *a, output *out);

void cache_close(cache *c);

/** Bytes of its values. */
uint64_t cache_bytes(const cache *c);
size_t cache_element(tsr_kv_dtype dtype);
const char *cache_dtype_name(tsr_kv_dtype dtype);

/** One row of head h, token t, plane p of layer l, as floats. */
void cache_row(const cache *c, int l, int p, int h, size_t t, float *out);

/** Reads "none", a number (theta; Hugging Face's pairs) or KEY=VALUE,... with
 *  layout, offset, dims, theta, factor, low, high, original. */
int cache_rope(const char *text, int dim, tsr_kv_rope *rope);
#endif
