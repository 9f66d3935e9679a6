/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TSR_KV_CACHEGEN_H
#define TSR_KV_CACHEGEN_H
#include <tessera/io.h>
#include <tessera/kv.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * CacheGen's own streams, as LMCache stores them: a Python pickle of its class
 * CacheGenGPUEncoderOutput, whose tensors hold strings of an arithmetic coder,
 * their lengths, tables of probabilities and scales.  The pickle is read as
 * data; nothing in it is executed.  Tensors that lay on a GPU lie in the pickle
 * like any others.  The format has no checksum: damage can give wrong values.
 *
 * Source: Liu et al., "CacheGen: KV Cache Compression and Streaming for Fast
 * Large Language Model Serving", SIGCOMM 2024.
 */

/** Bins of the quantiser by layer, which the stream does not say.  0: what
 *  LMCache uses with any model, and CacheGen at its middle level; 1, 2, 3:
 *  CacheGen's QUANT_LEVEL; 4: CacheGen's for models of 80 layers. */
enum { TSR_CACHEGEN_LEVELS = 5 };

typedef struct tsr_cachegen_info {
    tsr_kv_shape shape;     /**< two planes alike */
    tsr_kv_dtype dtype;     /**< of the cache that was coded */
    size_t tokens;
} tsr_cachegen_info;

/** Whether data begin as a pickle does; our own objects and safetensors do not. */
TSR_API int tsr_cachegen_is(const uint8_t *data, size_t size);

/**
 * What is in a stream.
 *
 * Returns TSR_OK; TSR_E_FORMAT no pickle, or of something else; TSR_E_TRUNCATED,
 * TSR_E_CORRUPT, TSR_E_LIMIT, TSR_E_UNSUPPORTED a broken or hostile one, or
 * arrays that do not belong together; TSR_E_NOMEM.
 */
TSR_API TSR_CHECKED tsr_error tsr_cachegen_probe(tsr_context *context,
                                                 const uint8_t *data,
                                                 size_t size,
                                                 tsr_cachegen_info *info);

/**
 * Decodes a stream into host memory.
 *
 * level  see above
 * view   of the stream's shape and number of tokens
 *
 * Memory: the arrays of the stream once more, and 1 KiB a channel.  Cost: about
 * 100 clock cycles a value.
 *
 * Returns as above; TSR_E_ARG a view of another size, a level that is none;
 * TSR_E_MODEL the tables are not those of this level: try another one;
 * TSR_E_CORRUPT strings that are cut.  Where it fails the view is undefined.
 */
TSR_API TSR_CHECKED tsr_error tsr_cachegen_decode(tsr_context *context,
                                                  const uint8_t *data,
                                                  size_t size, int level,
                                                  const tsr_kv_view *view);

/**
 * Encodes a cache as LMCache's decoder reads it: class and device are LMCache's
 * (lmcache.v1, cuda:0).
 *
 * shape  two planes alike, up to 16384 channels
 * view   1..65535 tokens of numbers of 16 or 32 bits
 *
 * Memory: 6 bytes a value.
 *
 * Returns TSR_OK; TSR_E_ARG the view is not one, a value is not finite, or a
 * limit above; TSR_E_UNSUPPORTED another shape, 8-bit floats; TSR_E_LIMIT a
 * string is longer than LMCache's decoder has room for; what the sink returned;
 * TSR_E_NOMEM.
 */
TSR_API TSR_CHECKED tsr_error tsr_cachegen_encode(tsr_context *context,
                                                  const tsr_kv_shape *shape,
                                                  const tsr_kv_view *view,
                                                  int level,
                                                  const tsr_sink *sink);

#ifdef __cplusplus
}
#endif
#endif
