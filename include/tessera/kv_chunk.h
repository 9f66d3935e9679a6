/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TSR_KV_CHUNK_H
#define TSR_KV_CHUNK_H
#include <stddef.h>
#include <stdint.h>
#include <tessera/context.h>
#include <tessera/error.h>
#include <tessera/kv.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Names of key/value caches, and the form in which stores keep them
 * (docs/kv-store.md).  A context is cut into chunks of tokens; each is one
 * object of <tessera/kv.h>, kept under a name that says which model's cache of
 * which text it is.  So contexts that begin alike share what they have in
 * common, and nobody needs an index.
 */

enum { TSR_KV_NAME_BYTES = 32, TSR_KV_NAME_TEXT = 65 };

/** The name of a prefix: SHA-256, chained chunk by chunk, so that it depends on
 *  every token before its end and on where chunks were cut. */
typedef struct tsr_kv_prefix {
    uint8_t name[TSR_KV_NAME_BYTES];
    uint64_t tokens;
} tsr_kv_prefix;

/**
 * Begins an empty prefix.
 *
 * model    what must be equal for caches to be interchangeable, as the caller
 *          names it: model, revision, shard ("llama-3-8b@1a2b tp0/2"); UTF-8,
 *          1..1023 bytes
 * profile  start of the profile's hash, tsr_kv_info.profile; NULL: none
 */
TSR_API TSR_CHECKED tsr_error tsr_kv_prefix_begin(tsr_kv_prefix *prefix,
                                                  const char *model,
                                                  const uint8_t *profile);

/** Goes on by one chunk of n tokens, 1..2^20; prefix->name is then its name.
 *  The ids are those that a model sees, in order. */
TSR_API TSR_CHECKED tsr_error tsr_kv_prefix_add(tsr_kv_prefix *prefix,
                                                const int32_t *ids, size_t n);

/** The name in 64 lower-case hexadecimal digits, the key in a store. */
TSR_API void tsr_kv_name_text(const uint8_t name[TSR_KV_NAME_BYTES],
                              char text[TSR_KV_NAME_TEXT]);

/** Reads such a text.  Returns TSR_OK; TSR_E_ARG it is not one. */
TSR_API TSR_CHECKED tsr_error tsr_kv_name_parse(const char *text,
                                                uint8_t name[TSR_KV_NAME_BYTES]);

/** Bytes before the object in a stored chunk. */
enum { TSR_KV_CHUNK_HEAD = 128 };

/** What the first TSR_KV_CHUNK_HEAD bytes of a stored chunk say. */
typedef struct tsr_kv_chunk {
    uint8_t name[TSR_KV_NAME_BYTES];
    uint8_t digest[32];         /**< SHA-256 of all behind the head */
    uint64_t tokens, pos0;
    int layers, levels;
    uint64_t object_bytes;
    uint64_t bytes;             /**< of the stored chunk: head + object */
    uint64_t front_bytes;       /**< head, and the object's front and heads */
    uint64_t level_end[3];      /**< the first level_end[k] bytes hold all layers
                                     with the levels 0..k; of levels that are not
                                     there: bytes */
} tsr_kv_chunk;

/**
 * Makes a stored chunk: a head, then the object's bytes with its units in order
 * of level, then layer, so that the base quality of everything comes first and
 * every level is one range.  Costs a copy and a SHA-256.
 *
 * out, room  size + TSR_KV_CHUNK_HEAD bytes; must not overlap the object
 *
 * Returns TSR_OK; the errors of tsr_kv_probe(); TSR_E_TRUNCATED, TSR_E_CHECKSUM
 * the object is cut or damaged; TSR_E_LIMIT room is too small.
 */
TSR_API TSR_CHECKED tsr_error
tsr_kv_chunk_wrap(tsr_context *context,
                  const uint8_t name[TSR_KV_NAME_BYTES], const uint8_t *object,
                  size_t size, uint8_t *out, size_t room, size_t *bytes);

/** Reads and checks the head alone, whose sizes then are consistent, but can be
 *  as large as 2^48: a reader has its own limit.  Returns TSR_OK; TSR_E_FORMAT;
 *  TSR_E_VERSION; TSR_E_CHECKSUM; TSR_E_CORRUPT; TSR_E_TRUNCATED. */
TSR_API TSR_CHECKED tsr_error tsr_kv_chunk_probe(tsr_context *context,
                                                 const uint8_t *in, size_t size,
                                                 tsr_kv_chunk *chunk);

/** Checks a whole stored chunk: head, front, sizes, SHA-256, and the name if it
 *  is not NULL.  `size` must be its size.  Errors of tsr_kv_chunk_probe() and
 *  tsr_kv_probe(); TSR_E_MODEL another name. */
TSR_API TSR_CHECKED tsr_error
tsr_kv_chunk_check(tsr_context *context, const uint8_t *in, size_t size,
                   const uint8_t *name, tsr_kv_chunk *chunk);

/**
 * Where in the stored chunk the units of one level of some layers are; layers
 * that are coded together come together.
 *
 * in, size     its first bytes, chunk.front_bytes at least
 * level        0..levels - 1
 * layers       0: all from first_layer on
 * begin, end   out: a range of bytes of the stored chunk, which may be empty
 *
 * Returns TSR_OK; the errors of tsr_kv_chunk_probe() and tsr_kv_probe();
 * TSR_E_ARG no such level or layers.
 */
TSR_API TSR_CHECKED tsr_error
tsr_kv_chunk_range(tsr_context *context, const uint8_t *in, size_t size,
                   int level, int first_layer, int layers, uint64_t *begin,
                   uint64_t *end);

/**
 * Puts bytes begin..end of a stored chunk where they belong in its object.
 * When the front and the units of a part are there, tsr_kv_decode() decodes
 * that part; the other bytes of the object are not looked at.
 *
 * chunk, size  the stored chunk from its first byte, as far as it has come, and
 *              bytes begin..end in their place; `size` >= chunk.front_bytes
 * object       chunk.object_bytes bytes
 *
 * The checksums of heads and units that are wholly in the range are looked at,
 * so that a damaged transfer is known before anything decodes.
 *
 * Cost: a copy of the range, a CRC-32C, and a walk over the directory.
 *
 * Returns TSR_OK; the errors of tsr_kv_chunk_probe() and tsr_kv_probe();
 * TSR_E_CHECKSUM a part is damaged, and what was placed is not to be used;
 * TSR_E_ARG the range is not within both; TSR_E_LIMIT room is too small.
 */
TSR_API TSR_CHECKED tsr_error
tsr_kv_chunk_place(tsr_context *context, const uint8_t *chunk, size_t size,
                   uint64_t begin, uint64_t end, uint8_t *object, size_t room);

#ifdef __cplusplus
}
#endif
#endif
