/* SPDX-License-Identifier: BSD-2-Clause */
/* What an image codec is to the rest of the library: one table of functions.
 * Everything around it (container, compact form, alpha, grey, bit depth, the
 * search for the model) is image.c's work. */
#ifndef TSR_CODECS_IMAGE_CODEC_H
#define TSR_CODECS_IMAGE_CODEC_H
#include <tessera/image.h>
#include "lib/core.h"
#include "lib/nn/net.h"

enum {
    TSRI_IMAGE_PARAMS_MAX = 16,
    TSRI_IMAGE_LAYERS_MAX = 8,
    TSRI_IMAGE_GROUP = 4,       /* pictures that are given to a device at once */
    TSRI_IMAGE_WIDE = 128       /* channels of an encoder's first layer from which on
                                   that is worth while: pictures of narrower networks
                                   are faster each on a stream of its own */
};

typedef struct tsri_span {
    const uint8_t *data;
    size_t bytes;
} tsri_span;

/** Takes unit `unit` of the picture, `n` layers of it; borrowed. */
typedef tsr_error (*tsri_image_emit)(void *cookie, int unit,
                                     const tsri_span *layers, int n);

/** Takes decoded samples: three planes R, G, B in [0, 1] (may exceed it) of
 *  rectangle r of the picture. */
typedef tsr_error (*tsri_image_put)(void *cookie, tsri_rect r,
                                    const tsri_fmap *rgb);

/** The tokens of a picture by themselves, at the head of a codec's own struct: they
 *  go from one open codec to another of the same model, in any thread. */
typedef struct tsri_image_tokens {
    int width, height;          /* of the picture */
    int kind;                   /* pictures of one size and kind can be shown
                                   together; -1: with no other */
} tsri_image_tokens;

/** What a codec does with n pictures of one size at once, on the context's device,
 *  with pixels in host memory. */
typedef struct tsri_image_group {
    /** Whether that is faster than one after the other with this model. */
    bool (*wide)(const void *self);
    /** Tokens of pictures, [n] out, each to be given or dropped.  *done false: they
     *  do not fit together, and nothing was done. */
    tsr_error (*look)(void *self, int n, const tsr_image *const *images,
                      tsri_image_tokens **tokens, bool *done);
    /** Pixels of the tokens, which are of one kind, in the images' colour channels.
     *  *done as above. */
    tsr_error (*show)(void *self, int n, tsri_image_tokens *const *tokens,
                      const tsr_image *const *images, bool *done);
    /** What was decoded leaves the codec, which then has no picture. */
    tsr_error (*take)(void *self, tsri_image_tokens **tokens);
    /** They become the codec's picture, as if it had analysed or decoded it; they
     *  are gone, whatever is returned. */
    tsr_error (*give)(void *self, tsri_image_tokens **tokens);
    /** Frees them; NULL is allowed. */
    void (*drop)(tsr_context *ctx, tsri_image_tokens **tokens);
} tsri_image_group;

typedef struct tsri_image_codec {
    const char *id;             /* also metadata tessera.codec of its models */
    uint8_t number;             /* 1..62, in streams; fixed for ever */
    bool truncates;             /* 8-bit output is floor(v * 255.999) as McQuic
                                   has it, not round(v * 255) */
    bool variable_rate;         /* obeys the quality setting */
    size_t params;              /* bytes of parameters in a stream, the same
                                   for every picture */
    int layers;                 /* of every unit, 1..8 */
    const char *layer_name[TSRI_IMAGE_LAYERS_MAX];

    /** Loads the nets and tables of `model` (referenced while open). */
    tsr_error (*open)(void **self, tsr_context *ctx, tsr_model *model);
    void (*close)(void **self);

    /** Encoder, where not NULL: does the work on a picture that needs no
     *  parameters; the next choose, begin and encode are for this picture. */
    tsr_error (*analyse)(void *self, const tsr_image *image,
                         const tsr_progress *progress);

    /** Encoder: chooses the parameters (`params` bytes, at most
     *  TSRI_IMAGE_PARAMS_MAX) for a picture of this size, quality 0..100 and
     *  interleave 1, 2, 4 or 8 (codecs that have none ignore it). */
    tsr_error (*choose)(void *self, int width, int height, double quality,
                        int interleave, uint8_t *params);

    /** Starts a picture, to encode or to decode.  params come from a stream:
     *  they are hostile.  crc: of what stands before the units, for every
     *  entropy segment (see tsri_rans_finish()).  *units: independently coded parts, >= 1.  Forgets
     *  the picture before. */
    tsr_error (*begin)(void *self, int width, int height, const uint8_t *params,
                       uint32_t crc, int *units);

    /** Encodes the picture begun; emits units 0, 1, ... in order.  A codec that
     *  analyses has looked at the image before. */
    tsr_error (*encode)(void *self, const tsr_image *image,
                        tsri_image_emit emit, void *cookie,
                        const tsr_progress *progress);

    /** Decodes the tokens of one unit; any order, no unit again that was
     *  sound.  Units never given or failed leave default tokens.  TSR_E_CORRUPT when the
     *  bytes are not exactly a unit. */
    tsr_error (*decode)(void *self, int unit, const tsri_span *layers, int n);

    /** Turns the tokens into pixels: the rectangles tile the picture. */
    tsr_error (*pixels)(void *self, tsri_image_put put, void *cookie,
                        const tsr_progress *progress);

    /** Where not NULL: the same straight into a picture (its colour channels), on
     *  the context's device.  *done false: that cannot be, and pixels() is to do
     *  it.  Waits for the pixels only where they are to be in host memory. */
    tsr_error (*show)(void *self, const tsr_image *image, bool *done);

    const tsri_image_group *group; /* NULL: it does one picture at a time */

    /** Quality 0..100 that params stand for; < 0 where there is one rate, or
     *  where only the model knows. */
    double (*quality)(const uint8_t *params);

    /** Where not NULL: fills in info->token_*. */
    void (*describe)(const uint8_t *params, tsr_image_info *info);
} tsri_image_codec;

/** The registry; NULL where there is none. */
const tsri_image_codec *tsri_image_codec_by_id(const char *id);
const tsri_image_codec *tsri_image_codec_by_number(int number);

/**
 * Gathers samples as RGB in [0, 1]: dst(c, i, j) is the picture at row ys[i],
 * column xs[j] (padding is a matter of these index lists).  Grey is repeated,
 * alpha ignored.  dst: 3 planes.
 */
void tsri_image_gather(const tsr_image *image, const int *ys, const int *xs,
                       tsri_fmap *dst);

/** Index of the sample that stands at position i (any integer) of a line of n
 *  samples that is continued by reflection without repeating the border. */
int tsri_image_reflect(int i, int n);

/** That index for `padded` positions, the first of which is -before.  To be
 *  freed; NULL: no memory. */
int *tsri_image_padding(tsr_context *ctx, int n, int padded, int before);

/** Calls the progress function if there is one: TSR_OK or TSR_E_CANCELED. */
tsr_error tsri_report(const tsr_progress *progress, double done);

/** Where a decoder net's tiles go. */
typedef struct tsri_image_out {
    int width, height;          /* of the picture */
    tsri_image_put put;
    void *cookie;
    const tsr_progress *progress;
} tsri_image_out;

/** A tsri_net_sink whose cookie is a tsri_image_out: what of the tile lies in the
 *  picture, not in its padding, goes to `put`. */
tsr_error tsri_image_tile(void *out, tsri_rect r, const tsri_fmap *tile);
#endif
