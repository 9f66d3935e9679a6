/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TSR_KV_CUDA_H
#define TSR_KV_CUDA_H
#include <tessera/kv.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * The KV codec on a CUDA device: the same objects, bit for bit.  Calls queue
 * work on the caller's stream and return; nothing is allocated and nothing
 * waits.  What happened to an object is in its status, on the device.
 */
typedef struct tsr_kv_cuda tsr_kv_cuda;

/** Brings a coder's tables and its profile to device `device`; kv must outlive
 *  it.  Returns TSR_OK; TSR_E_UNSUPPORTED no CUDA in this build, no driver, or
 *  no such device; TSR_E_NOMEM; TSR_E_BACKEND. */
TSR_API TSR_CHECKED tsr_error tsr_kv_cuda_open(tsr_kv_cuda **gpu, tsr_kv *kv,
                                               int device);
TSR_API void tsr_kv_cuda_close(tsr_kv_cuda **gpu);

/** One object of a batch.  Pointers but view.base itself are device memory. */
typedef struct tsr_kv_cuda_item {
    tsr_kv_view view;       /**< all items of a call: same dtype, strides and
                                 number of tokens, and the same base array */
    size_t first_token;     /**< the object's token 0 is the view's token
                                 first_token */
    uint64_t pos0;          /**< encode */
    uint8_t *data;          /**< the object, 16-byte aligned, in memory that
                                 ends at a multiple of 16, too */
    size_t size;            /**< encode: room; decode: bytes readable */
    uint64_t *bytes;        /**< encode, out: size of the object */
    int32_t *status;        /**< out: a tsr_error, as of tsr_kv_encode() and
                                 tsr_kv_decode(); TSR_E_UNSUPPORTED positions
                                 of 2^20 and more, with a rotation */
    int level;              /**< decode: levels to use, 1..; 0: all there are */
    const int32_t *token_ids;   /**< of the object's tokens, or NULL; encode: to
                                     be kept in the object if the settings say
                                     so; to predict and match with if the profile
                                     does.  Decode: where the object needs them
                                     and has none */
    const uint8_t *boost;   /**< encode: of the object's tokens, 0..7, as in
                                 tsr_kv_call; or NULL */
    size_t part_first, part_tokens; /**< decode: only these of the object's tokens are
                                 decoded and stored, at their places in the view;
                                 part_tokens 0: all from part_first on */
} tsr_kv_cuda_item;

/** Device scratch, 256-byte aligned, that a call with n items of `tokens` tokens
 *  needs.  Published methods that are entropy-coded take several times the cache. */
TSR_API TSR_CHECKED tsr_error
tsr_kv_cuda_scratch_size(const tsr_kv_cuda *gpu, size_t tokens, size_t items,
                         size_t *bytes);

/** stream: a cudaStream_t.  Steps must be set: step and value_ratio of the settings
 *  (not 0 = automatic). */
TSR_API TSR_CHECKED tsr_error
tsr_kv_cuda_encode(tsr_kv_cuda *gpu, const tsr_kv_cuda_item *items, size_t n,
                   size_t tokens, void *scratch, size_t scratch_size,
                   void *stream);

/** Decodes objects of `tokens` tokens, or parts of them: planes whose base is NULL are
 *  left out, and so are tokens outside an item's part.  Tiles without wanted tokens are
 *  not read and may be damaged, but an object must not be cut; in tiles of a published
 *  method values that are not wanted are not looked at.
 *
 *  Headers are checked on the device against the coder's settings: another tile, span or
 *  parameter of a method is TSR_E_MODEL, too, and so are more levels than the coder's, and
 *  a step that leaves other coefficients of the profile alive (fewer levels and other
 *  steps are fine). */
TSR_API TSR_CHECKED tsr_error
tsr_kv_cuda_decode(tsr_kv_cuda *gpu, const tsr_kv_cuda_item *items, size_t n,
                   size_t tokens, void *scratch, size_t scratch_size,
                   void *stream);

/**
 * Where a pull's chunks go in device memory: tsr_kv_cuda_destination_take is a
 * tsr_kv_stream_settings.arrival, with the destination as its cookie.  Each chunk
 * is brought to the device and decoded on `stream`, and waited for there, on the
 * job's thread: a chunk that is damaged counts as one that is not there, and what
 * it left in the cache must not be used.
 */
typedef struct tsr_kv_cuda_destination tsr_kv_cuda_destination;
struct tsr_kv_arrival;

/** Opens one.
 *
 *  context  for coders, which are opened as objects ask for them; used by the
 *           job's thread alone until the job is closed
 *  view     in device memory, room for all tokens of the context; copied but for
 *           the block table
 *  profile  as for the pull, or NULL
 *  ids      view->tokens token ids of the context, in host memory, copied; NULL
 *           where no object needs any
 *  device, stream  a cudaStream_t of that device
 *
 *  Memory on the device: an object and the scratch of one call, tsr_kv_cuda_scratch_size()
 *  of the longest chunk.  Returns as tsr_kv_cuda_open(), and TSR_E_ARG. */
TSR_API TSR_CHECKED tsr_error
tsr_kv_cuda_destination_open(tsr_kv_cuda_destination **destination,
                             tsr_context *context, const tsr_kv_shape *shape,
                             const tsr_kv_view *view, tsr_model *profile,
                             const int32_t *ids, int device, void *stream);

/** Decodes an object; what the job is told of it. */
TSR_API TSR_CHECKED tsr_error
tsr_kv_cuda_destination_take(void *destination,
                             const struct tsr_kv_arrival *arrival);

/** After the job was closed. */
TSR_API void
tsr_kv_cuda_destination_close(tsr_kv_cuda_destination **destination);

#ifdef __cplusplus
}
#endif
#endif
