/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TSR_IMAGE_H
#define TSR_IMAGE_H
#include <stddef.h>
#include <stdint.h>
#include <tessera/context.h>
#include <tessera/error.h>
#include <tessera/io.h>
#include <tessera/model.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Pixels: `height` rows of `width` pixels of `channels` interleaved samples,
 * sRGB.  channels: 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha; alpha is
 * straight.  bits: 8 (uint8_t) or 16 (uint16_t, native byte order).
 */
typedef struct tsr_image {
    int width, height;  /**< pixels, >= 1 */
    int channels;       /**< 1..4 */
    int bits;           /**< per sample, 8 or 16 */
    size_t stride;      /**< bytes from one row to the next */
    void *data;
} tsr_image;

/** Allocates pixels for width, height, channels and bits (set by the caller;
 *  stride and data are set here), within the context's max_pixels.  Returns
 *  TSR_OK; TSR_E_ARG no such geometry; TSR_E_LIMIT; TSR_E_NOMEM. */
TSR_API TSR_CHECKED tsr_error tsr_image_alloc(tsr_context *context,
                                              tsr_image *image);

/** Frees what tsr_image_alloc() or tsr_image_decode() took; data becomes NULL. */
TSR_API void tsr_image_free(tsr_context *context, tsr_image *image);

/** Set with tsr_image_settings_init(). */
typedef struct tsr_image_settings {
    size_t size;
    double quality;        /**< 0 (smallest) .. 100 (best); models of a single
                                rate ignore it.  Default 50 */
    int container;         /**< 1: always the chunked container; 0 (default):
                                the compact form for small pictures */
    int lossless_alpha;    /**< 1 (default) keep the alpha plane exactly,
                                0 drop it */
    tsr_progress progress;
    int interleave;        /**< n = 1 (default), 2, 4 or 8: tokens are dealt out
                                to n x n times as many units, neighbours to
                                different ones, so that a lost unit leaves
                                single holes.  Codecs of one grid of tokens
                                only; over 1 it takes the container.  Small
                                grids get less than asked for */
} tsr_image_settings;

TSR_API void tsr_image_settings_init(tsr_image_settings *settings);

/**
 * Encodes a picture into a .tess stream.
 *
 * model     of an image codec; borrowed for the call
 * settings  NULL = the defaults
 * image     borrowed; any size from 1x1; grey is coded as RGB and marked
 * sink      receives the stream in order
 *
 * Returns TSR_OK; TSR_E_ARG; TSR_E_LIMIT over max_pixels, or larger than the
 * codec can hold in max_memory; TSR_E_MODEL not an
 * image model; TSR_E_SHAPE a tensor of the model; TSR_E_CANCELED; what the
 * sink returned; TSR_E_NOMEM; TSR_E_BACKEND.
 * Memory: the picture's tokens and one tile of activations.
 */
TSR_API TSR_CHECKED tsr_error
tsr_image_encode(tsr_context *context, tsr_model *model,
                 const tsr_image_settings *settings, const tsr_image *image,
                 const tsr_sink *sink);

/**
 * Decodes a .tess stream with one picture.
 *
 * model   the model to use, or NULL to find it by the hash in the stream
 * image   out: geometry and pixels, freed with tsr_image_free(); set, with
 *         the missing parts filled in, also when the result is TSR_E_CORRUPT,
 *         TSR_E_CHECKSUM or TSR_E_TRUNCATED and data is not NULL
 *
 * Returns TSR_OK; TSR_E_FORMAT, TSR_E_VERSION, TSR_E_MODEL, TSR_E_LIMIT; the
 * three above for damage; TSR_E_UNSUPPORTED not a picture, or an unknown codec;
 * TSR_E_SHAPE a tensor of the model; TSR_E_CANCELED; what the source returned;
 * TSR_E_NOMEM; TSR_E_BACKEND.
 */
TSR_API TSR_CHECKED tsr_error
tsr_image_decode(tsr_context *context, tsr_model *model,
                 const tsr_progress *progress, const tsr_source *source,
                 tsr_image *image);

/**
 * Encodes pictures: each as tsr_image_encode() does, with the model made ready
 * once for all.  On a GPU (see tsr_context_settings) up to as many as the
 * context has threads are in work at a time, so that the nets of some run while
 * others are entropy-coded; of wide networks up to 4 pictures of one size go
 * through the nets at once.  Streams are the same as one after the other, on a
 * GPU but for tokens at near ties.  Keep batches going through one context: it
 * keeps what it has made ready.
 *
 * settings   NULL = the defaults; progress is called on the calling thread,
 *            with the part of all pictures that is done
 * count      pictures; 0 does nothing
 * images     [count] borrowed
 * sinks      [count] one for each; on a GPU called from other threads, too,
 *            those of different pictures at the same time
 * errors     [count] out, what tsr_image_encode() returns for each, and
 *            TSR_E_CANCELED for those that were not begun; or NULL
 *
 * A picture that fails does not stop the others.  Returns the error of the first
 * one, in their order, that failed; TSR_E_NOMEM.
 * Memory: on a GPU up to max_memory of the device for those that go through the
 * nets at once, four times, or for each that is in work where they go singly.
 */
TSR_API TSR_CHECKED tsr_error
tsr_image_encode_batch(tsr_context *context, tsr_model *model,
                       const tsr_image_settings *settings, size_t count,
                       const tsr_image *images, const tsr_sink *sinks,
                       tsr_error *errors);

/**
 * Decodes streams: each as tsr_image_decode() does, otherwise as
 * tsr_image_encode_batch() has it.
 *
 * model    of all of them, or NULL to find each one's
 * sources  [count] one for each; on a GPU called from other threads, too
 * images   [count] out, each as tsr_image_decode() leaves it: what could be had
 *          of damaged streams, data NULL where nothing
 *
 * Returns the first error, as above.
 */
TSR_API TSR_CHECKED tsr_error
tsr_image_decode_batch(tsr_context *context, tsr_model *model,
                       const tsr_progress *progress, size_t count,
                       const tsr_source *sources, tsr_image *images,
                       tsr_error *errors);

/** What a stream says of its picture, and where its bytes are. */
typedef struct tsr_image_info {
    int width, height, channels, bits;
    char codec[16];                /**< id, as of tsr_image_codec_at(); ""
                                        unknown */
    uint8_t model_hash[32];        /**< as far as the stream holds it */
    int model_hash_bytes;          /**< 4 (compact) or 32 */
    int compact;                   /**< 1: the compact form */
    double quality;                /**< as coded, 0..100; < 0: single rate, or
                                        only the model knows */
    int units, units_found;        /**< independently coded parts */
    uint64_t file_bytes;
    uint64_t header_bytes;         /**< container, headers, checksums, index */
    uint64_t alpha_bytes;
    uint64_t token_bytes;          /**< entropy-coded tokens */
    uint64_t layer_bytes[8];       /**< token_bytes split by layer */
    const char *layer_name[8];     /**< static names; NULL after the last */
    int damaged;                   /**< checksum, truncation or lost chunks */
    int token_level;               /**< of the codebook, 0 the finest; -1: not
                                        a codec of one grid of tokens */
    int token_interleave;          /**< 1, 2, 4, 8; 0: not such a codec */
    int token_context;             /**< 1: coded with neighbours as context */
} tsr_image_info;

/** Reads the stream without decoding pixels; needs no model.  Returns TSR_OK
 *  for damaged streams whose header is sound (info->damaged tells). */
TSR_API TSR_CHECKED tsr_error tsr_image_probe(tsr_context *context,
                                              const tsr_source *source,
                                              tsr_image_info *info);

/** Number and ids of the image codecs in this build; NULL outside. */
TSR_API const char *tsr_image_codec_at(int i);

#ifdef __cplusplus
}
#endif
#endif
