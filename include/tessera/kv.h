/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TSR_KV_H
#define TSR_KV_H
#include <stddef.h>
#include <stdint.h>
#include <tessera/context.h>
#include <tessera/error.h>
#include <tessera/model.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Key/value caches of language models as bitstreams.
 *
 * A cache has `layers` layers of `planes` planes: keys and values, or one
 * latent (MLA).  A plane is [token][head][dim]; heads * dim are its channels.
 * One object, the unit of storage, holds `tokens` consecutive tokens of all
 * layers and is described in docs/kv-format.md.
 *
 * Every function whose result is not TSR_OK has produced nothing that may be
 * used: a serving engine treats every error as a cache miss.
 */

typedef struct tsr_kv_shape {
    int layers;         /**< 1..1024 */
    int planes;         /**< 2: keys and values; 1: latent */
    int heads[2];       /**< of each plane, 1..1024 */
    int dim[2];         /**< 1..2048; heads * dim <= 16384 */
} tsr_kv_shape;

/** Rotary position embedding of plane 0, as the model applies it; it is taken
 *  off before coding and put back after.  Pairs of the dims offset .. offset +
 *  dims - 1 of every head are turned by pos * theta^(-2 i / dims). */
typedef struct tsr_kv_rope {
    int layout;         /**< 0: none; 1: pair (i, i + dims / 2), Hugging Face,
                             NeoX; 2: pair (2 i, 2 i + 1), GPT-J */
    int offset, dims;   /**< dims even; offset + dims <= dim[0] */
    double theta;       /**< 1..1e12 */
    int scaling;        /**< 0: none; 1: linear, positions divided by factor;
                             2: Llama 3 */
    double factor, low_factor, high_factor;
    int original;       /**< Llama 3: positions trained on first */
} tsr_kv_rope;

typedef enum tsr_kv_dtype {
    TSR_KV_F16 = 1, TSR_KV_BF16 = 2, TSR_KV_F32 = 3,
    TSR_KV_E4M3 = 4, TSR_KV_E5M2 = 5    /**< 8-bit floats; E4M3 has no
                                             infinities */
} tsr_kv_dtype;

/**
 * A cache in the caller's memory; nothing is owned.
 *
 * Element (token t, head h, dim d) of plane p of layer l is at
 *     base[l * planes + p] + place(t) + h * head_stride + d * element
 * where place(t) = t * token_stride, or, with a block table,
 *     blocks[t / block_tokens] * block_stride + t % block_tokens * token_stride.
 * Strides are bytes.  So:
 *     [T, H, D]           token_stride H*D*e, head_stride D*e
 *     [H, T, D]           token_stride D*e,   head_stride T*D*e
 *     paged NHD [B,S,H,D] block_stride S*H*D*e, token H*D*e, head D*e
 *     paged HND [B,H,S,D] block_stride H*S*D*e, token D*e, head S*D*e
 * A base of NULL leaves that plane out of a decode; an encode needs all.
 * Elements must be aligned to their size.
 */
typedef struct tsr_kv_view {
    tsr_kv_dtype dtype;
    void *const *base;          /**< layers * planes pointers, in host memory;
                                     for a device view they point to device
                                     memory */
    ptrdiff_t token_stride, head_stride;
    const int32_t *blocks;      /**< NULL: not paged.  Device memory for a
                                     device view.  Negative entries are refused
                                     (host) or undefined (device) */
    int block_tokens;
    ptrdiff_t block_stride;
    size_t tokens;              /**< 0..2^20 */
} tsr_kv_view;

/** Set with tsr_kv_settings_init(). */
typedef struct tsr_kv_settings {
    size_t size;
    tsr_kv_shape shape;         /**< required */
    tsr_kv_rope rope;           /**< default: none; a profile brings its own */
    tsr_model *profile;         /**< borrowed, referenced; NULL: none is used */
    const char *method;         /**< "rows" (default) or a published method:
                                     tsr_kv_method_at() */
    double step;                /**< finest step.  With a profile: a multiple of
                                     its own step, default 1.  Without: in units
                                     of the cache, 0 (default) = chosen from the
                                     first object encoded and kept */
    double value_ratio;         /**< without a profile: step of plane 1 over
                                     that of plane 0; 0 (default) = chosen with
                                     the step */
    int levels;                 /**< nested qualities, 1 (default) .. 3; the
                                     coarsest has 3^(levels - 1) times the
                                     step */
    int sinks;                  /**< first tokens of a context that are kept at
                                     8 bits, 0..64; default 4 */
    int recent, recent_boost;   /**< the last tokens of each object get a step
                                     2^boost times finer; default 0, 0..7 */
    int tile;                   /**< tokens of a unit that decodes alone, a
                                     multiple of 32, 32..4096; 0 (default): 256,
                                     or what the method wants */
    int store_tokens;           /**< 1 (default): token ids given are put into
                                     the object; 0: the decoder is given them,
                                     where the object says that it needs them */
} tsr_kv_settings;

TSR_API void tsr_kv_settings_init(tsr_kv_settings *settings);

/** A coder for caches of one shape.  One thread at a time; it uses the threads
 *  of its context. */
typedef struct tsr_kv tsr_kv;

/** Opens a coder.  Returns TSR_OK; TSR_E_ARG; TSR_E_MODEL not a profile, or of
 *  another shape; TSR_E_CORRUPT a tensor of it; TSR_E_UNSUPPORTED no such
 *  method; TSR_E_NOMEM. */
TSR_API TSR_CHECKED tsr_error tsr_kv_open(tsr_kv **kv, tsr_context *context,
                                          const tsr_kv_settings *settings);

/** Opens a decoder for an object as probed: shape, rope, method and levels come
 *  from info; profile as above, NULL to find it by its hash. */
struct tsr_kv_info;
TSR_API TSR_CHECKED tsr_error tsr_kv_open_for(tsr_kv **kv, tsr_context *context,
                                              const struct tsr_kv_info *info,
                                              tsr_model *profile);
TSR_API void tsr_kv_close(tsr_kv **kv);

/** Ids of the methods in this build: "rows", "cachegen", ...; NULL outside. */
TSR_API const char *tsr_kv_method_at(int i);

/** Most bytes of an object of `tokens` tokens.  Returns TSR_OK; TSR_E_ARG too
 *  many tokens. */
TSR_API TSR_CHECKED tsr_error tsr_kv_encode_bound(const tsr_kv *kv,
                                                  size_t tokens, size_t *bytes);

/** Scratch bytes that encode and decode need, for objects of this coder's
 *  settings or of those of the object it was opened for; after tsr_kv_open() no
 *  call of the coder allocates memory. */
TSR_API TSR_CHECKED tsr_error tsr_kv_scratch_size(const tsr_kv *kv,
                                                  size_t tokens, size_t *bytes);

/** What goes along with one object. */
typedef struct tsr_kv_call {
    uint64_t pos0;              /**< position of the first token; 0..2^31 */
    const int32_t *token_ids;   /**< of the tokens of the view, or NULL */
    const uint8_t *boost;       /**< encode: of each token, 0..7, finer steps
                                     for what matters; or NULL */
    void *scratch;              /**< tsr_kv_scratch_size() bytes, 64-byte
                                     aligned */
    size_t scratch_size;
} tsr_kv_call;

/**
 * Encodes a cache in host memory.
 *
 * out, room  the object, at least tsr_kv_encode_bound() bytes or TSR_E_LIMIT is
 *            possible
 * size       out: its bytes
 *
 * Without a profile, what was decoded with all levels gives the same bytes
 * again, as long as the step is the same, is coarse against the number format,
 * and not all tokens have boosts.
 *
 * Returns TSR_OK; TSR_E_ARG the view is not one, or a value is not finite or
 * over 32767 steps; TSR_E_LIMIT room is too small.
 */
TSR_API TSR_CHECKED tsr_error tsr_kv_encode(tsr_kv *kv, const tsr_kv_view *view,
                                            const tsr_kv_call *call,
                                            uint8_t *out, size_t room,
                                            size_t *size);

/** Which part of an object is wanted. */
typedef struct tsr_kv_part {
    int first_layer, layers;    /**< layers 0: all */
    size_t first_token, tokens; /**< tokens 0: all */
    int level;                  /**< levels to use, 1..; 0: all there are */
} tsr_kv_part;

/**
 * Decodes an object, or a part of it, into host memory.
 *
 * in, size  the object; bytes behind its end are ignored.  Its first bytes are
 *           enough where they hold the part: layers follow each other
 * part      NULL: all
 * view      room for all tokens of the object in place (its token t is the
 *           object's); only the part is written.  Where it fails the part is
 *           undefined, and nothing outside of it was written
 * call      pos0 and boost are ignored (the object has them); token_ids only
 *           where the object does not hold them
 *
 * Returns TSR_OK; TSR_E_FORMAT, TSR_E_VERSION, TSR_E_TRUNCATED, TSR_E_CHECKSUM,
 * TSR_E_CORRUPT of the object; TSR_E_MODEL another profile or shape than kv's;
 * TSR_E_ARG.
 */
TSR_API TSR_CHECKED tsr_error tsr_kv_decode(tsr_kv *kv, const uint8_t *in,
                                            size_t size,
                                            const tsr_kv_part *part,
                                            const tsr_kv_view *view,
                                            const tsr_kv_call *call);

/** What an object says of itself. */
typedef struct tsr_kv_info {
    tsr_kv_shape shape;
    tsr_kv_rope rope;
    char method[16];
    uint8_t params[40];         /**< of the method, as it codes them */
    tsr_kv_dtype dtype;         /**< of what was encoded */
    uint64_t tokens, pos0;
    int levels, tile, sinks;
    double step[2];             /**< finest, of each plane */
    uint8_t profile[8];         /**< start of its hash; zeros: none */
    int token_ids;              /**< 1: holds them */
    uint64_t bytes;             /**< of the object */
    uint64_t head_bytes;        /**< header, directory, checksums */
    uint64_t side_bytes;        /**< token ids, boosts, sinks, classes */
    uint64_t level_bytes[3];    /**< coded values of each level */
    int span, live_shift;       /**< fields of the header that scratch memory
                                     depends on */
} tsr_kv_info;

/** Reads and checks the front of an object (its CRC included); needs no
 *  profile.  Errors as of tsr_kv_decode(); TSR_E_TRUNCATED when `size` does not
 *  hold the front. */
TSR_API TSR_CHECKED tsr_error tsr_kv_probe(tsr_context *context,
                                           const uint8_t *in, size_t size,
                                           tsr_kv_info *info);

/** Bytes of layer l, plane p (-1: coded together) of a probed object. */
TSR_API TSR_CHECKED tsr_error tsr_kv_probe_layer(tsr_context *context,
                                                 const uint8_t *in, size_t size,
                                                 int layer, int plane,
                                                 uint64_t *bytes);

/** Drops all levels but the first `levels`: out may be `in`.  Copies only.
 *  Returns as tsr_kv_probe(), and TSR_E_LIMIT, TSR_E_ARG. */
TSR_API TSR_CHECKED tsr_error tsr_kv_reduce(tsr_context *context,
                                            const uint8_t *in, size_t size,
                                            int levels, uint8_t *out,
                                            size_t room, size_t *out_size);

/** Where the bytes of a part are, for readers that fetch ranges: calls visit
 *  for each range in rising order, neighbours joined, the front first. */
TSR_API TSR_CHECKED tsr_error
tsr_kv_ranges(tsr_context *context, const uint8_t *front, size_t size,
              const tsr_kv_part *part,
              tsr_error (*visit)(void *cookie, uint64_t offset, uint64_t bytes),
              void *cookie);

/* ---- for programs that make profiles ---- */

/** All tokens of one plane as the codec sees them: floats x[tokens][channels],
 *  the rotation by position taken off plane 0.  Returns TSR_OK; TSR_E_ARG the
 *  view is not one or a value is not finite; TSR_E_NOMEM. */
TSR_API TSR_CHECKED tsr_error
tsr_kv_values(tsr_context *context, const tsr_kv_shape *shape,
              const tsr_kv_rope *rope, const tsr_kv_view *view, int layer,
              int plane, uint64_t pos0, float *x);

/** For each of n tokens the earlier one (not below `sinks`) whose preceding ids
 *  match best, or -1, and the class of the match, 0..7: docs/kv-format.md
 *  section 5.5.  Returns TSR_OK; TSR_E_ARG; TSR_E_NOMEM. */
TSR_API TSR_CHECKED tsr_error
tsr_kv_matches(tsr_context *context, const int32_t *ids, size_t n, size_t sinks,
               int32_t *ref, uint8_t *match);

#ifdef __cplusplus
}
#endif
#endif
