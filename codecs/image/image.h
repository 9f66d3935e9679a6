/* SPDX-License-Identifier: BSD-2-Clause */
/* The parts of image.c: what a picture's stream says of itself, and how it is
 * written and read.  docs/format.md sections 4 and 5 are the format. */
#ifndef TSR_CODECS_IMAGE_H
#define TSR_CODECS_IMAGE_H
#include <tessera/stream.h>
#include "codecs/image/image_codec.h"
#include "lib/modl.h"

/** What stands in front of the tokens. */
typedef struct tsri_image_head {
    const tsri_image_codec *codec;  /* NULL: a codec this build does not have */
    int codec_number;
    int width, height, channels, bits, units, layers;
    uint8_t params[TSRI_IMAGE_PARAMS_MAX];
    size_t params_bytes;
    uint8_t hash[TSR_MODEL_HASH_BYTES];
    size_t hash_bytes;              /* 4 or 32 */
    char model_name[TSRI_MODEL_NAME_SIZE]; /* "" in the compact form */
    bool compact;
    uint32_t crc;                   /* of the compact form's head, else 0 */
} tsri_image_head;

enum { TSRI_IMAGE_HEAD_MAX = 128, TSRI_COMPACT_MAX = 64 << 20 };

/** The codec of a model.  TSR_E_MODEL. */
tsr_error tsri_image_codec_of(tsr_context *ctx, const tsr_model *model,
                              const tsri_image_codec **codec);

/** Fills in what says how tokens are made: codec, layers, the model's hash and
 *  name; the rest is 0. */
void tsri_head_init(tsri_image_head *head, const tsri_image_codec *codec,
                    const tsr_model *model);

/* Pixels. */

/** TSR_E_ARG or TSR_E_LIMIT for a picture that cannot be coded. */
tsr_error tsri_geometry_check(tsr_context *ctx, int width, int height,
                              int channels, int bits);

/** The same, and TSR_E_ARG for one without pixels. */
tsr_error tsri_image_check(tsr_context *ctx, const tsr_image *image);

/** Where decoded samples go; its function stores those of rectangle r, the
 *  colour channels only. */
typedef struct tsri_canvas {
    const tsr_image *image;
    bool truncates;             /* as the codec's table has it */
} tsri_canvas;
tsr_error tsri_canvas_put(void *canvas, tsri_rect r, const tsri_fmap *rgb);

/** The decoded pixels of a codec, colour channels only, wherever they are made
 *  best. */
tsr_error tsri_image_show(tsr_context *ctx, const tsri_image_codec *codec,
                          void *self, const tsr_image *image,
                          const tsr_progress *progress);

/** TSR_E_LIMIT where pixels are in device memory, which the host cannot
 *  reach. */
tsr_error tsri_image_on_host(tsr_context *ctx);

/* Encoding: image_encode.c. */

/** *own = theirs (NULL: the defaults), which may be of an older, shorter
 *  struct.  TSR_E_ARG. */
tsr_error tsri_image_settings_take(tsr_context *ctx, tsr_image_settings *own,
                                   const tsr_image_settings *theirs);

/** Writes the stream of a picture whose codec is open, and has analysed it if
 *  it does so; image: its geometry, and the pixels for codecs that do not, and
 *  for alpha.  Errors as tsr_image_encode(). */
tsr_error tsri_image_write(tsr_context *ctx, const tsri_image_codec *codec,
                           void *self, const tsr_model *model,
                           const tsr_image_settings *settings,
                           const tsr_image *image, const tsr_sink *sink);

/* Compact form. */
bool tsri_compact_starts(const uint8_t *data, size_t size);

/** Writes the compact head to out[TSRI_IMAGE_HEAD_MAX]; returns its bytes and
 *  sets head->crc. */
size_t tsri_compact_put(tsri_image_head *head, uint8_t *out);

/** Reads one; *used: its bytes.  TSR_E_TRUNCATED, TSR_E_CORRUPT,
 *  TSR_E_VERSION, TSR_E_UNSUPPORTED (unknown codec: its parameters have an
 *  unknown length). */
tsr_error tsri_compact_get(tsr_context *ctx, tsri_image_head *head,
                           const uint8_t *data, size_t size, size_t *used);

/* Payload of a HEAD chunk. */
size_t tsri_head_put(const tsri_image_head *head, uint8_t *out);
tsr_error tsri_head_get(tsr_context *ctx, tsri_image_head *head,
                        const uint8_t *data, size_t size);

/** The part of it that video has too: codec, channels, bits, layers, width,
 *  height.  TSR_E_CORRUPT for impossible values. */
enum { TSRI_GEOMETRY_BYTES = 12 };
void tsri_geometry_put(const tsri_image_head *head, uint8_t *out);
tsr_error tsri_geometry_get(tsr_context *ctx, tsri_image_head *head,
                            const uint8_t *data);

/** Writes [layer lengths but the last] to out[TSRI_IMAGE_HEAD_MAX]. */
size_t tsri_layers_put(const tsri_span *layers, int n, uint8_t *out);

/** Splits data into n layers; TSR_E_CORRUPT when the lengths do not fit. */
tsr_error tsri_layers_get(const uint8_t *data, size_t size, tsri_span *layers,
                          int n);

/* Alpha planes, kept exactly: bands of rows, each filtered as PNG's Paeth
 * filter does and compressed by zlib. */

/** Called with the payload of each ALPH chunk. */
typedef tsr_error (*tsri_alpha_emit)(void *cookie, int first_row,
                                     const uint8_t *data, size_t size);
tsr_error tsri_alpha_encode(tsr_context *ctx, const tsr_image *image,
                            tsri_alpha_emit emit, void *cookie);

/** Fills the rows of one ALPH payload; TSR_E_CORRUPT when it is not exactly
 *  a band of this picture. */
tsr_error tsri_alpha_decode(tsr_context *ctx, const tsr_image *image,
                            const uint8_t *data, size_t size);

/** Sets every alpha sample to opaque. */
void tsri_alpha_opaque(const tsr_image *image);

bool tsri_has_alpha(int channels);

/** The channels of a stream that keeps alpha, or not. */
int tsri_coded_channels(int channels, bool alpha);

/* Open codecs between calls: image_keep.c. */

/** As codec->open(), but takes one that the context keeps for the model. */
tsr_error tsri_coder_open(void **self, tsr_context *ctx,
                          const tsri_image_codec *codec, tsr_model *model);

/** Closes it or, where the context keeps codecs and this one is `sound`, keeps it
 *  for the next call.  *self becomes NULL; NULL is allowed. */
void tsri_coder_close(void **self, tsr_context *ctx,
                      const tsri_image_codec *codec, tsr_model *model,
                      bool sound);

/** A reference to the model of a codec that is kept, by its hash; or NULL. */
tsr_model *tsri_coder_model(tsr_context *ctx, const uint8_t *hash, size_t bytes);

/* Batches on a device: image_group.c. */

/** Whether the context does pictures of this codec (NULL: of any) in groups. */
bool tsri_image_groups(const tsr_context *ctx, const tsri_image_codec *codec);

/** As tsr_image_encode_batch() and tsr_image_decode_batch(), where the context does
 *  them in groups; settings are whole. */
tsr_error tsri_image_encode_groups(tsr_context *ctx, const tsri_image_codec *codec,
                                   tsr_model *model,
                                   const tsr_image_settings *settings, size_t count,
                                   const tsr_image *images, const tsr_sink *sinks,
                                   tsr_error *errors);
tsr_error tsri_image_decode_groups(tsr_context *ctx, tsr_model *model,
                                   const tsr_progress *progress, size_t count,
                                   const tsr_source *sources, tsr_image *images,
                                   tsr_error *errors);

/* Decoding: image_parts.c. */

/** A codec that is opened to decode one picture after another; all 0 at
 *  first. */
typedef struct tsri_image_parts {
    tsr_context *ctx;
    const tsri_image_codec *codec;
    tsr_model *model;           /* one reference */
    void *self;
    int units, found;           /* of the picture begun; decoded so far */
    bool *seen;                 /* of each unit: decoded */
    tsr_error damage;           /* the first fault that did not stop us */
} tsri_image_parts;

/** Opens codec and model (given, or found by the head's hash) for pictures of
 *  the head's size.  Close it in any case.  TSR_E_UNSUPPORTED, TSR_E_LIMIT,
 *  TSR_E_MODEL, TSR_E_SHAPE, TSR_E_NOMEM. */
tsr_error tsri_parts_open(tsri_image_parts *parts, tsr_context *ctx,
                          tsr_model *given, const tsri_image_head *head);
/** sound: the codec may be kept for the next picture. */
void tsri_parts_close(tsri_image_parts *parts, bool sound);

/** Begins the next picture (`damage` stays as it is); params and crc as the codec's begin has them. */
tsr_error tsri_parts_begin(tsri_image_parts *parts, int width, int height,
                           const uint8_t *params, uint32_t crc);

/** Remembers a fault that does not stop the decoding, if it is the first. */
void tsri_parts_note(tsri_image_parts *parts, tsr_error error);

/** Decodes a unit, or a band of alpha into the picture; damage is noted, not
 *  returned.  A unit that was sound (`seen`) must not come again. */
tsr_error tsri_parts_unit(tsri_image_parts *parts, int unit,
                          const tsri_span *layers);
tsr_error tsri_parts_alpha(tsri_image_parts *parts, const tsr_image *image,
                           const uint8_t *data, size_t size);

/** Says, where something was wrong, what was decoded all the same. */
void tsri_parts_tell(const tsri_image_parts *parts);

/** Makes the pixels of what was decoded; notes units that are missing. */
tsr_error tsri_parts_pixels(tsri_image_parts *parts, const tsr_image *image,
                            const tsr_progress *progress);

/** tsr_image_decode() into the caller's device memory; image: its geometry. */
tsr_error tsri_image_decode_into(tsr_context *ctx, tsr_model *model,
                                 const tsr_source *source, tsr_image *image);

/** A stream that was read: its tokens are in parts.self. */
typedef struct tsri_image_read {
    tsri_image_head head;
    tsri_image_parts parts;     /* damage: what was wrong, or TSR_OK */
    tsr_image image;            /* of streams with alpha: holds that */
} tsri_image_read;

/** Allocates a picture for a stream whose alpha, if it has some, is opaque. */
tsr_error tsri_image_make(tsr_context *ctx, const tsri_image_head *head,
                          tsr_image *image);

/** Reads a stream as tsr_image_decode() does, but makes no pixels.  Close what
 *  was read in any case.  Errors as there; damage is in parts.damage. */
tsr_error tsri_image_read_open(tsri_image_read *read, tsr_context *ctx,
                               tsr_model *model, const tsr_source *source);
void tsri_image_read_close(tsri_image_read *read);
#endif
