/* SPDX-License-Identifier: BSD-2-Clause */
/* The parts of the McQuic codec (docs/codecs/mcquic.md), for its own files and
 * its tests.
 *
 * Source: Zhu et al., "Unified Multivariate Gaussian Mixture for Efficient
 * Neural Image Compression", CVPR 2022; the network is that of release
 * v0.1.40 of its authors' program. */
#ifndef TSR_CODECS_MCQUIC_H
#define TSR_CODECS_MCQUIC_H
#include "codecs/image/device_book.h"
#include "codecs/image/image_codec.h"
#include "entropy/bigtable.h"
#include "vq/codebook.h"

enum {
    TSRI_MCQUIC_LEVELS = 6,     /* at most */
    TSRI_MCQUIC_LAYERS = 3,     /* of a unit */
    TSRI_MCQUIC_UNIT = 1024     /* side of a unit in padded pixels */
};

/** Sizes of a model; level l has codes at 1 / (16 * 2^l) of the picture. */
typedef struct tsri_mcquic_shape {
    int channels, m, levels;
    int k[TSRI_MCQUIC_LEVELS];
} tsri_mcquic_shape;

/** Parts of the network; all but the encoder and decoder exist per level. */
typedef enum tsri_mcquic_part {
    TSRI_MCQUIC_ENCODER,        /* picture in [-1, 1] -> latent at 1/8 */
    TSRI_MCQUIC_STAGE,          /* residual -> z at half the size */
    TSRI_MCQUIC_QUANT_HEAD,     /* z -> what the codebook search sees */
    TSRI_MCQUIC_LATENT_HEAD,    /* z -> next residual; none at the last level */
    TSRI_MCQUIC_DEQUANT_HEAD,   /* codewords -> t */
    TSRI_MCQUIC_SIDE_HEAD,      /* coarser level -> addend of t; none at the
                                   last level */
    TSRI_MCQUIC_RESTORE_HEAD,   /* t -> twice the size */
    TSRI_MCQUIC_DECODER,        /* latent at 1/8 -> picture in [-1, 1] */
    TSRI_MCQUIC_PARTS
} tsri_mcquic_part;

/**
 * Reads the sizes from the shapes of the tensors, and compares them with the
 * metadata "mcquic.channel", "mcquic.m" and "mcquic.k" where they exist.
 * Returns TSR_OK; TSR_E_SHAPE, the message names the tensor.
 */
tsr_error tsri_mcquic_shape_read(tsr_context *ctx, const tsr_model *model,
                                 tsri_mcquic_shape *shape);

/** Does this part exist at this level? */
bool tsri_mcquic_has(const tsri_mcquic_shape *shape, tsri_mcquic_part part,
                     int level);

/** Checks names, types and dims of the part's tensors: TSR_OK, TSR_E_SHAPE. */
tsr_error tsri_mcquic_net_check(tsr_context *ctx, const tsr_model *model,
                                const tsri_mcquic_shape *shape,
                                tsri_mcquic_part part, int level);

/**
 * Builds a part, or only its first `blocks` blocks (tests compare what lies
 * between; INT_MAX = all).  The caller frees the net.
 */
tsr_error tsri_mcquic_net(tsri_net **net, tsr_context *ctx,
                          const tsr_model *model,
                          const tsri_mcquic_shape *shape,
                          tsri_mcquic_part part, int level, int blocks);

/* ---- running nets over large planes ---- */

/** A whole map: rows without gaps.  Free map->data with tsri_free(). */
tsr_error tsri_map_new(tsr_context *ctx, int channels, int height, int width,
                       tsri_fmap *map);
uint64_t tsri_map_bytes(int channels, int height, int width);

/** The part `r` of a map, sharing its memory. */
tsri_fmap tsri_map_view(const tsri_fmap *map, tsri_rect r);

/** dst = src, same sizes. */
void tsri_map_copy(const tsri_fmap *src, tsri_fmap *dst);

/** A tsri_net_source whose cookie is a whole map. */
tsr_error tsri_map_source(void *map, tsri_rect r, tsri_fmap *dst);

/** Takes the output of rectangle `r`; may change `tile`. */
typedef tsr_error (*tsri_mcquic_sink)(void *cookie, tsri_rect r,
                                      tsri_fmap *tile);

/**
 * Computes rectangle `out` of a net's output in tiles, each at most `budget`
 * bytes of activations (but at least 8 x 8 output samples).
 */
tsr_error tsri_mcquic_tiles(tsr_context *ctx, const tsri_net *net, int height,
                            int width, tsri_rect out, uint64_t budget,
                            tsri_net_source source, void *source_cookie,
                            tsri_mcquic_sink sink, void *sink_cookie);

/**
 * Computes the whole plane of `second` applied to the output of `first`,
 * without ever keeping all of what lies between: that is computed in bands of
 * rows, as many as half the budget holds; rows that the next band needs again
 * are kept.  The result does not depend on the budget.
 *
 * height, width  of the input plane of `first`
 */
tsr_error tsri_mcquic_chain(tsr_context *ctx, const tsri_net *first,
                            const tsri_net *second, int height, int width,
                            uint64_t budget, tsri_net_source source,
                            void *source_cookie, tsri_mcquic_sink sink,
                            void *sink_cookie);

/* ---- the codec ---- */

typedef struct tsri_mcquic_level {
    tsri_codebook *book;
    uint32_t *cdf;              /* [m][k + 1] */
    tsri_bigtable **table;      /* [m] */
    int32_t *common;            /* [m] the most frequent code */
    tsri_codes codes;           /* of the present picture */
    tsri_device_book on_device; /* the words, when first used there */
} tsri_mcquic_level;

typedef struct tsri_mcquic {
    tsr_context *ctx;
    tsr_model *model;
    tsri_mcquic_shape shape;
    tsri_mcquic_level level[TSRI_MCQUIC_LEVELS];
    tsri_net *net[TSRI_MCQUIC_PARTS][TSRI_MCQUIC_LEVELS]; /* when first used */
    tsri_rans_enc *enc;
    /* The present picture. */
    int width, height;
    int padded_width, padded_height, left, top;
    int units_x, units_y;
    uint32_t crc;               /* of what stands before the units */
    bool given;                 /* the picture's codes are there: they are kept
                                   when it begins, and only written */
} tsri_mcquic;

/** The net of a part, made when first asked for. */
tsr_error tsri_mcquic_part_net(tsri_mcquic *self, tsri_mcquic_part part, int level,
                               const tsri_net **net);

/** The codewords of a level, [m][k][d]; tsri_free() them. */
tsr_error tsri_mcquic_words(const tsri_mcquic *self, int level, float **words);

/** The codes of a picture, [m][places] of each level. */
typedef struct tsri_mcquic_codes {
    int32_t *level[TSRI_MCQUIC_LEVELS];
} tsri_mcquic_codes;

/** Those of the present picture. */
tsri_mcquic_codes tsri_mcquic_own_codes(const tsri_mcquic *self);

/** Codes of the picture begun, and its pixels from codes, on the CPU, within the
 *  context's memory limit (mcquic_stages.c). */
tsr_error tsri_mcquic_analyse(tsri_mcquic *self, const tsr_image *image,
                              const tsr_progress *progress);
tsr_error tsri_mcquic_pixels(tsri_mcquic *self, tsri_image_put put,
                             void *put_cookie, const tsr_progress *progress);

/** Codes of n pictures (<= TSRI_IMAGE_GROUP) as large as the present one, or pixels
 *  of codes, on the context's device (mcquic_device.c).  *done false: it does not
 *  fit, and nothing was done. */
tsr_error tsri_mcquic_look(tsri_mcquic *self, int n, const tsr_image *const *images,
                           const tsri_mcquic_codes *codes, bool *done);
tsr_error tsri_mcquic_show(tsri_mcquic *self, int n, const tsri_mcquic_codes *codes,
                           const tsr_image *const *images, bool *done);

/** Loads the integer tables of a level: tensor "tessera.cdf.L" or, without it,
 *  from the frequencies of the checkpoint. */
tsr_error tsri_mcquic_tables(tsri_mcquic *self, int level);

/** Sets all codes of a unit to the most frequent ones. */
void tsri_mcquic_unit_clear(tsri_mcquic *self, int unit);

/** Codes -> bytes, all units in order. */
tsr_error tsri_mcquic_units_emit(tsri_mcquic *self, tsri_image_emit emit,
                                 void *cookie);

/** Bytes -> codes of one unit; see tsri_image_codec.decode. */
tsr_error tsri_mcquic_unit_decode(tsri_mcquic *self, int unit,
                                  const tsri_span *layers, int n);

extern const tsri_image_codec tsri_image_codec_mcquic;
extern const tsri_image_group tsri_mcquic_group;
#endif
