/* SPDX-License-Identifier: BSD-2-Clause */
/* The codecs of one grid of tokens, "vqgan" and "simvq": a net makes a vector
 * of every square of pixels, the nearest codeword's index is its token, a net
 * makes pixels of codewords.  docs/codecs/vqgan.md is the format. */
#ifndef TSR_CODECS_TOKEN_H
#define TSR_CODECS_TOKEN_H
#include <tessera/tokens.h>
#include "codecs/image/device_book.h"
#include "codecs/image/image_codec.h"
#include "codecs/image/token_fill.h"
#include "codecs/image/token_net.h"
#include "codecs/image/token_units.h"
#include "vq/codebook.h"

/** What is behind the table's `self`. */
typedef struct tsri_token_codec {
    tsr_context *ctx;
    tsr_model *model;
    const tsri_token_family *family;
    tsri_token_shape shape;
    int codes;
    float *words;               /* [codes][dim] */
    tsri_token_book *book;
    /* Made when first used. */
    tsri_codebook *search;
    tsri_token_fill *fill;
    tsri_net *net[2];           /* by tsri_token_part */
    tsri_device_book on_device[TSR_TOKENS_LEVELS]; /* the words of each level */
    /* The present picture. */
    int width, height;          /* pixels */
    tsri_token_grid grid;
    int level;                  /* of the grid's ids */
    bool ready;                 /* the grid is what is to be encoded */
    tsri_token_way way;
    int units;
    uint32_t crc;
} tsri_token_codec;

extern const tsri_image_codec tsri_image_codec_vqgan, tsri_image_codec_simvq;

/** The codec behind the table's self; NULL for a table of another codec. */
tsri_token_codec *tsri_token_of(const tsri_image_codec *codec, void *self);

/** The family of networks of a codec's id; NULL: no token codec. */
const tsri_token_family *tsri_token_family_of(const char *id);

/** The net of a direction, made when it is first used. */
tsr_error tsri_token_part_net(tsri_token_codec *t, tsri_token_part part);

/** Drops the present picture. */
void tsri_token_forget(tsri_token_codec *t);

/** Bytes of the present grid, and the error that it is too large. */
uint64_t tsri_token_grid_bytes(const tsri_token_codec *t);
tsr_error tsri_token_too_large(tsri_token_codec *t);

/** Tokens of a picture as large as the present one, and pixels of the present
 *  tokens, on the CPU (token_host.c); for the first the encoder's net is there. */
tsr_error tsri_token_analyse(tsri_token_codec *t, const tsr_image *image,
                             const tsr_progress *progress);
tsr_error tsri_token_pixels(tsri_token_codec *t, tsri_image_put put, void *cookie,
                            const tsr_progress *progress);

/** Is a token of the grid lost? */
bool tsri_token_any_lost(const tsri_token_grid *grid);

/** Makes pixels of tokens, or tokens of pixels, of n pictures (<= TSRI_IMAGE_GROUP)
 *  that are as large as the present one, on the context's device
 *  (token_device.c); the net of the direction is there.  ids [n][places of the
 *  grid]: of the level, or to be.  *done false: it does not fit, and nothing was
 *  done. */
tsr_error tsri_token_show(tsri_token_codec *t, int n, int level,
                          int32_t *const *ids, const tsr_image *const *images,
                          bool *done);
tsr_error tsri_token_look(tsri_token_codec *t, int n, const tsr_image *const *images,
                          int32_t *const *ids, bool *done);

extern const tsri_image_group tsri_token_group;

/** The level that a quality 0..100 stands for, of `levels`: 100 the finest. */
int tsri_token_level(int levels, double quality);

/** A quality that stands for a level. */
double tsri_token_quality(int levels, int level);

/** Makes the grid of a picture of width x height pixels, all tokens lost, at
 *  `level`.  TSR_OK; TSR_E_ARG; TSR_E_LIMIT; TSR_E_NOMEM. */
tsr_error tsri_token_size(tsri_token_codec *t, int width, int height,
                          int level);

/** The same for a grid of rows x columns tokens, whole. */
tsr_error tsri_token_grid_size(tsri_token_codec *t, int rows, int columns,
                               int level);
#endif
