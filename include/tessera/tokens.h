/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TSR_TOKENS_H
#define TSR_TOKENS_H
#include <stdint.h>
#include <tessera/context.h>
#include <tessera/error.h>
#include <tessera/image.h>
#include <tessera/io.h>
#include <tessera/model.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Pictures as grids of tokens, for those who compute with tokens: models of
 * the codecs "vqgan" and "simvq", for which a picture is one grid of indices of
 * codewords.  All else is TSR_E_UNSUPPORTED here. */

enum { TSR_TOKENS_LEVELS = 8 };

/** What a model of token pictures is. */
typedef struct tsr_tokens_model {
    int factor;     /**< a token stands for factor x factor pixels */
    int levels;     /**< of nested codebooks, >= 1; 0 is the finest */
    int codes[TSR_TOKENS_LEVELS]; /**< of each level; 0 behind the last */
    int context;    /**< 1: neighbours help to code a token */
    int filling;    /**< 1: a net fills in lost tokens; 0: their neighbours'
                         codewords do */
} tsr_tokens_model;

/**
 * Says what a model is; its nets are checked, but no weights are read.
 * Returns TSR_OK; TSR_E_UNSUPPORTED a model of another codec; TSR_E_SHAPE a
 * tensor of the model; TSR_E_NOMEM.
 */
TSR_API TSR_CHECKED tsr_error tsr_tokens_describe(tsr_context *context,
                                                  tsr_model *model,
                                                  tsr_tokens_model *info);

/** The level that a quality 0..100 stands for: level 0 for 100, the coarsest
 *  for 0, equal shares of the scale for each. */
TSR_API int tsr_tokens_level(const tsr_tokens_model *info, double quality);

/**
 * A picture's tokens, row by row: token (y, x) is id[y * width + x] and stands
 * for the pixels from row y * factor and column x * factor on, factor of each.
 * Where the picture ends before them it goes on by reflection.
 */
typedef struct tsr_tokens {
    int height, width;  /**< tokens, >= 1 */
    int level;          /**< of the codebook */
    int codes;          /**< of that level: ids are 0..codes - 1 */
    int factor;         /**< pixels of a token's side */
    int32_t *id;        /**< [height][width]; -1: lost (where that is said) */
} tsr_tokens;

/**
 * Finds the tokens of a picture.
 *
 * settings  NULL = the defaults; quality is the level's, progress is called,
 *           the rest does not matter
 * image     borrowed; any size from 1x1
 * tokens    out; free with tsr_tokens_free()
 *
 * Returns TSR_OK; TSR_E_ARG; TSR_E_LIMIT; TSR_E_UNSUPPORTED; TSR_E_SHAPE a
 * tensor of the model; TSR_E_CANCELED; TSR_E_NOMEM; TSR_E_BACKEND.
 */
TSR_API TSR_CHECKED tsr_error
tsr_tokens_from_image(tsr_context *context, tsr_model *model,
                      const tsr_image_settings *settings,
                      const tsr_image *image, tsr_tokens *tokens);

/**
 * Makes a picture of tokens.
 *
 * progress  or NULL
 * tokens    borrowed, of this model: level, codes and factor must be its.  Ids
 *           of -1 are filled in as lost tokens are
 * image     in: width and height, at most the grid's times factor, or 0 for
 *           that; channels and bits, or 0 for 3 and 8.  Out: the pixels, freed
 *           with tsr_image_free(); data is NULL on failure
 *
 * Returns TSR_OK; TSR_E_ARG, the message has the place of the first bad id;
 * otherwise as tsr_tokens_from_image().
 */
TSR_API TSR_CHECKED tsr_error
tsr_tokens_to_image(tsr_context *context, tsr_model *model,
                    const tsr_progress *progress, const tsr_tokens *tokens,
                    tsr_image *image);

/**
 * Reads the tokens of a .tess picture; no nets are run.
 *
 * model   or NULL to find it by the hash in the stream
 * tokens  out; free with tsr_tokens_free(); set, with ids of -1 for what was
 *         lost, also when the result is TSR_E_CORRUPT, TSR_E_CHECKSUM or
 *         TSR_E_TRUNCATED and id is not NULL
 * width, height  out, of the picture in pixels; or NULL
 *
 * Returns as tsr_image_decode(), and TSR_E_UNSUPPORTED for other codecs.
 */
TSR_API TSR_CHECKED tsr_error
tsr_tokens_read(tsr_context *context, tsr_model *model,
                const tsr_source *source, tsr_tokens *tokens, int *width,
                int *height);

/**
 * Writes tokens as a .tess picture: the one that tsr_image_encode() writes of a
 * picture with these tokens.
 *
 * settings       NULL = the defaults; interleave and container count
 * tokens         borrowed, of this model, none lost
 * width, height  of the picture in pixels: it needs just this grid; or both 0,
 *                the grid's times factor
 *
 * Returns TSR_OK; TSR_E_ARG, the message has the place of the first bad id;
 * what the sink returned; otherwise as tsr_tokens_from_image().
 */
TSR_API TSR_CHECKED tsr_error
tsr_tokens_write(tsr_context *context, tsr_model *model,
                 const tsr_image_settings *settings, const tsr_tokens *tokens,
                 int width, int height, const tsr_sink *sink);

/** Frees the ids; id becomes NULL. */
TSR_API void tsr_tokens_free(tsr_context *context, tsr_tokens *tokens);

/**
 * Writes a .tess picture anew, at a lower rate or in another form, without
 * making pixels: the result is what tsr_image_encode() writes of the original
 * picture with these settings.
 *
 * model     or NULL to find it by the hash in the stream
 * settings  NULL = the defaults, but with the stream's level; quality is the
 *           wanted level's, negative for the stream's
 *
 * Alpha is kept, or dropped where settings->lossless_alpha is 0.
 * Returns TSR_OK; TSR_E_ARG a finer level than the stream's; TSR_E_UNSUPPORTED
 * not a picture of a token codec; TSR_E_CORRUPT, TSR_E_CHECKSUM or
 * TSR_E_TRUNCATED a damaged stream, of which nothing is written; what source
 * or sink returned; otherwise as tsr_image_decode().
 */
TSR_API TSR_CHECKED tsr_error
tsr_image_transcode(tsr_context *context, tsr_model *model,
                    const tsr_image_settings *settings,
                    const tsr_source *source, const tsr_sink *sink);

/** Set with tsr_tokens_nest_settings_init(). */
typedef struct tsr_tokens_nest_settings {
    size_t size;
    int levels;     /**< coarser levels to make, 0..TSR_TOKENS_LEVELS - 1;
                         default 4 */
    int codes[TSR_TOKENS_LEVELS - 1]; /**< of each of them, falling; default
                         16384, 4096, 1024, 256.  Those that are not fewer than
                         the codebook has are left out */
    uint64_t seed;  /**< of the random choices; default 1 */
    tsr_progress progress;
} tsr_tokens_nest_settings;

TSR_API void
tsr_tokens_nest_settings_init(tsr_tokens_nest_settings *settings);

/** What has been made, and what a token costs on pictures that were held back:
 *  every fifth of five or more, else (held is 0) on those it was made from. */
typedef struct tsr_tokens_nest_result {
    int levels;                 /**< with the finest, the model's own */
    int codes[TSR_TOKENS_LEVELS];
    int context;                /**< 1: there is one */
    uint64_t fitted, held;      /**< tokens made from; tokens held back */
    double fixed_bits[TSR_TOKENS_LEVELS];     /**< log2 of `codes` */
    double frequency_bits[TSR_TOKENS_LEVELS]; /**< coded by frequency */
    double context_bits[TSR_TOKENS_LEVELS];   /**< and by neighbours; 0 without
                                                   a context */
} tsr_tokens_nest_result;

/**
 * Makes a model's codes cheaper to write, and its rate variable: counts how often
 * pictures use them, clusters its codewords into coarser codebooks nested in each
 * other, and learns how the coarsest clusters follow from their neighbours' (if
 * there are at most 256).  Writes the model with that, as safetensors; what it had
 * of the kind, and a net to fill in lost tokens, which is made for it, are left
 * out.
 *
 * settings  NULL = the defaults
 * tokens    n >= 1 pictures' tokens of this model at level 0, none lost; borrowed
 * result    out, or NULL
 *
 * The result depends on the arguments alone, not on threads.
 * Returns TSR_OK; TSR_E_ARG; TSR_E_UNSUPPORTED a model of another codec;
 * TSR_E_SHAPE a tensor of the model; TSR_E_CANCELED; TSR_E_NOMEM; what the sink
 * returned.
 * Cost: k-means of up to 20 rounds a level (tsr_kmeans()), then 12 passes over all
 * tokens, 4 us each for 256 clusters.
 * Source: Mao et al., "Extreme image compression using fine-tuned VQGANs", DCC
 *         2024 (nested codebooks).
 */
TSR_API TSR_CHECKED tsr_error
tsr_tokens_nest(tsr_context *context, tsr_model *model,
                const tsr_tokens_nest_settings *settings,
                const tsr_tokens *tokens, size_t n, const tsr_sink *sink,
                tsr_tokens_nest_result *result);

#ifdef __cplusplus
}
#endif
#endif
