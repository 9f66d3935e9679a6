/* SPDX-License-Identifier: BSD-2-Clause */
/* CacheGen's quantiser, and its own streams: what its encoder keeps of a cache,
 * as plain arrays.
 *
 * Of L layers, T tokens and C channels there are 2 L "layers", the keys and
 * then the values.  A chunk is 256 tokens (the last: the rest); in it, each
 * channel of each layer is a string of the arithmetic coder of
 * entropy/torchac.h.  All chunks share the table of a channel.
 *
 * Source: Liu et al., "CacheGen: KV Cache Compression and Streaming for Fast
 * Large Language Model Serving", SIGCOMM 2024; its code and LMCache's. */
#ifndef TSR_CODECS_KV_CACHEGEN_H
#define TSR_CODECS_KV_CACHEGEN_H
#include <tessera/kv_cachegen.h>
#include "codecs/kv/kv.h"

enum {
    TSRI_CACHEGEN_BINS = 256,
    TSRI_CACHEGEN_CHUNK = 256   /* tokens, and bytes of a string at most */
};

/**
 * Bins of a layer.
 *
 * level   0: LMCache's rule for any model; 1, 2, 3: CacheGen's QUANT_LEVEL;
 *         4: its table for the 80 layers of LongAlpaca-70B
 */
int tsri_cachegen_bins(int level, int layers, int layer, int plane);

/**
 * Quantises a token, all heads of a plane:
 *     q = nearest even of x * (M / s) + M,  M = bins / 2 - 1,  s = max |x|
 * Symbols are 0..2 M; a token of zeros is M (CacheGen's: undefined).
 * Returns s.
 */
float tsri_cachegen_quantise(const float *x, size_t channels, int bins,
                             uint8_t *q);
/** x = (q - M) / M * s */
void tsri_cachegen_dequantise(const uint8_t *q, size_t channels, int bins,
                              float s, float *x);

/** What a CacheGen stream is of: the decoder must be told. */
typedef struct tsri_cachegen_shape {
    int layers, tokens, channels;   /* 1..1024, 1..65535, 1..16384 */
    int level;
    tsr_kv_dtype dtype;             /* of the scales */
} tsri_cachegen_shape;

/** The fields of CacheGen's stream. */
typedef struct tsri_cachegen {
    uint8_t *bytes;         /* bytestream of all chunks, one after another */
    size_t size;
    size_t *chunk_size;     /* of each chunk */
    int chunks;
    int32_t *lengths;       /* bytestream_lengths: [chunks][2 L][C] */
    uint16_t *cdf;          /* [2 L][C][table], CacheGen's int16 */
    int table;              /* most bins of a layer + 1 */
    uint8_t *scale;         /* max_tensors of keys, then values: [2][L][T] of
                               dtype */
} tsri_cachegen;

/**
 * Encodes a cache.
 *
 * x     [2 L][T][C], finite; values of shape->dtype
 * out   to be freed; nothing on failure
 *
 * Returns TSR_OK; TSR_E_ARG a number of shape is outside its limits; TSR_E_LIMIT
 * a string is over 256 bytes, which CacheGen's decoder has no room for (and its
 * encoder writes beyond its memory); TSR_E_NOMEM.
 * Cost: about 100 clock cycles a value.
 */
tsr_error tsri_cachegen_encode(tsr_context *ctx,
                               const tsri_cachegen_shape *shape, const float *x,
                               tsri_cachegen *out);
void tsri_cachegen_free(tsri_cachegen *stream, tsr_context *ctx);

/** Takes n tokens of a plane from token `first` on, as floats x[n][C]. */
typedef void tsri_cachegen_take(void *cookie, int plane, int layer,
                                size_t first, size_t n, const float *x);

/**
 * Decodes one; the numbers in its arrays come from outside, their sizes must be
 * as above.
 *
 * Returns TSR_OK; TSR_E_ARG; TSR_E_MODEL tables of another level; TSR_E_CORRUPT
 * lengths do not add up, or a string is cut; TSR_E_NOMEM.  The format has no
 * checksum: damage gives wrong values.
 */
tsr_error tsri_cachegen_decode(tsr_context *ctx,
                               const tsri_cachegen_shape *shape,
                               const tsri_cachegen *in,
                               tsri_cachegen_take *take, void *cookie);

/**
 * The arrays as LMCache pickles them, of `heads` heads.
 *
 * Returns TSR_OK; TSR_E_UNSUPPORTED scales of 8 bits; what the sink returned;
 * TSR_E_NOMEM.
 */
tsr_error tsri_cachegen_save(tsr_context *ctx, const tsri_cachegen_shape *shape,
                             int heads, const tsri_cachegen *stream,
                             const tsr_sink *sink);

/** Reads such a pickle: arrays of the sizes that tsri_cachegen_decode() needs,
 *  to be freed.  shape: out, its level excepted; out NULL: the shape only.
 *  Returns as tsr_cachegen_probe(). */
tsr_error tsri_cachegen_load(tsr_context *ctx, const uint8_t *data, size_t size,
                             tsri_cachegen_shape *shape, int *heads,
                             tsri_cachegen *out);

/** Bytes of all arrays: what CacheGen stores, less its pickle. */
uint64_t tsri_cachegen_bytes(const tsri_cachegen_shape *shape,
                             const tsri_cachegen *stream);
#endif
