/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TSR_VIDEO_H
#define TSR_VIDEO_H
#include <stddef.h>
#include <stdint.h>
#include <tessera/context.h>
#include <tessera/error.h>
#include <tessera/image.h>
#include <tessera/model.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Moving pictures as independent frames: one picture in, one packet out, and
 * back, with the nets kept open between them.  Every packet decodes alone.
 * docs/format.md section 6 is the format of extradata and packets; when a
 * frame is shown is not part of them: the container says it (<tessera/media.h>,
 * or MOV and NUT with the tag TSRv).
 */

/** What a stream of frames is: part of the extradata.  The pixels that are coded are
 *  RGB or grey as in tsr_image; the colour numbers say what they were made of, so
 *  that a reader can make the same again. */
typedef struct tsr_video_info {
    char codec[16];         /**< id; out only; "" unknown */
    uint8_t model_hash[TSR_MODEL_HASH_BYTES]; /**< out only */
    char model_name[64];    /**< out only */
    int width, height;      /**< pixels, >= 1 */
    int channels;           /**< 1..4, as in tsr_image */
    int bits;               /**< 8 or 16 */
    uint32_t rate_num, rate_den; /**< frames a second; 0/0: varies, or unknown */
    uint16_t sar_num, sar_den;   /**< width of a pixel over its height; 0/0
                                      unknown */
    uint8_t primaries, transfer, matrix; /**< of the source, numbers of ITU-T
                                              H.273; 2: not known; default 2 */
    uint8_t full_range;     /**< of the source's samples: 0 limited, 1 full */
} tsr_video_info;

/** Set with tsr_video_settings_init(). */
typedef struct tsr_video_settings {
    size_t size;
    tsr_video_info info;    /**< width, height, channels, bits must be set */
    double quality;         /**< 0..100; models of a single rate ignore it.
                                 Default 50 */
    int lossless_alpha;     /**< 1 (default) keep alpha exactly, 0 drop it */
} tsr_video_settings;

TSR_API void tsr_video_settings_init(tsr_video_settings *settings);

typedef struct tsr_video_encoder tsr_video_encoder;

/**
 * Opens an encoder.
 *
 * model     of an image codec; referenced until close
 * settings  copied
 *
 * Returns TSR_OK; TSR_E_ARG a setting outside its limits; TSR_E_LIMIT over
 * max_pixels or max_memory; TSR_E_MODEL not an image model; TSR_E_SHAPE;
 * TSR_E_NOMEM.
 * Memory: the nets, one frame's tokens and one tile of activations; the same
 * for every frame.
 */
TSR_API TSR_CHECKED tsr_error
tsr_video_encoder_open(tsr_video_encoder **encoder, tsr_context *context,
                       tsr_model *model, const tsr_video_settings *settings);
TSR_API void tsr_video_encoder_close(tsr_video_encoder **encoder);

/** What a decoder has to know before the first packet, the encoder's until
 *  close; at most TSR_VIDEO_EXTRADATA_MAX bytes. */
enum { TSR_VIDEO_EXTRADATA_MAX = 160 };
TSR_API void tsr_video_encoder_extradata(const tsr_video_encoder *encoder,
                                         const uint8_t **data, size_t *bytes);

/**
 * Encodes one frame.
 *
 * image    borrowed; width, height, channels and bits as in the settings
 * quality  0..100 for this frame; below 0: that of the settings
 * data     out: the packet, the encoder's until its next call
 *
 * Returns TSR_OK; TSR_E_ARG another geometry, or a quality over 100;
 * TSR_E_NOMEM; TSR_E_BACKEND.
 */
TSR_API TSR_CHECKED tsr_error
tsr_video_encoder_encode(tsr_video_encoder *encoder, const tsr_image *image,
                         double quality, const uint8_t **data, size_t *bytes);

typedef struct tsr_video_decoder tsr_video_decoder;

/**
 * Opens a decoder.
 *
 * model  to decode with, or NULL: found by the hash in the extradata
 *
 * Returns TSR_OK; TSR_E_CORRUPT bad extradata; TSR_E_LIMIT; TSR_E_MODEL not the
 * model, or none found; TSR_E_UNSUPPORTED a codec this build does not have;
 * TSR_E_SHAPE; TSR_E_NOMEM.
 */
TSR_API TSR_CHECKED tsr_error
tsr_video_decoder_open(tsr_video_decoder **decoder, tsr_context *context,
                       tsr_model *model, const void *extradata, size_t bytes);
TSR_API void tsr_video_decoder_close(tsr_video_decoder **decoder);

TSR_API const tsr_video_info *
tsr_video_decoder_info(const tsr_video_decoder *decoder);

/**
 * Decodes one packet.
 *
 * image  out: geometry, and pixels that are the decoder's until its next call;
 *        data is NULL where nothing could be decoded
 *
 * Returns TSR_OK; TSR_E_CORRUPT damaged: parts that are missing are filled in as
 * the codec says, decoding may go on with the next packet; TSR_E_NOMEM;
 * TSR_E_BACKEND.
 */
TSR_API TSR_CHECKED tsr_error
tsr_video_decoder_decode(tsr_video_decoder *decoder, const void *packet,
                         size_t bytes, tsr_image *image);

/** Reads extradata; needs no model.  Returns TSR_OK; TSR_E_CORRUPT. */
TSR_API TSR_CHECKED tsr_error
tsr_video_describe(tsr_context *context, const void *extradata, size_t bytes,
                   tsr_video_info *info);

#ifdef __cplusplus
}
#endif
#endif
