/* SPDX-License-Identifier: BSD-2-Clause */
/* The codec "hyper": a convolutional transform at 1/16 of the resolution, a
 * product scalar quantiser, and an entropy model of integer networks.
 * docs/codecs/hyper.md is the format; this header joins its files.
 *
 * Sources: Balle et al., "Variational image compression with a scale
 * hyperprior", ICLR 2018; Minnen et al., "Joint autoregressive and hierarchical
 * priors", NeurIPS 2018; He et al., "ELIC", CVPR 2022 (channel groups and
 * checkerboard); Cui et al., "Asymmetric gained deep image compression",
 * CVPR 2021 (gain vectors). */
#ifndef TSR_CODECS_HYPER_H
#define TSR_CODECS_HYPER_H
#include <tessera/image.h>
#include <tessera/model.h>
#include "entropy/rans.h"
#include "lib/nn/iconv.h"
#include "lib/nn/net.h"

enum {
    TSRI_HYPER_STEP = 16,       /* pixels of one latent position */
    TSRI_HYPER_UNIT = 128,      /* latent positions of a unit's side */
    TSRI_HYPER_LATENTS_MAX = 1024,
    TSRI_HYPER_GROUPS_MAX = 8,
    TSRI_HYPER_CLASSES = 64,
    TSRI_HYPER_ONE = 128,       /* fixed-point 1.0 of means and context */
    TSRI_HYPER_Z_LIMIT = 15,
    TSRI_HYPER_LEVELS = 8,      /* of quality */
    TSRI_HYPER_STEPS = 16       /* between two of them */
};

/* ---- the float nets ---- */

typedef struct tsri_hyper_nets {
    tsri_net *enc, *dec, *hyper_enc;
    int latents, hyper_latents;         /* channels of y and z */
    float *gain_enc, *gain_dec;         /* [TSRI_HYPER_LEVELS][latents] */
} tsri_hyper_nets;

tsr_error tsri_hyper_nets_open(tsri_hyper_nets *nets, tsr_context *ctx,
                               const tsr_model *model);
void tsri_hyper_nets_close(tsri_hyper_nets *nets, tsr_context *ctx);

/** gain[latents] of quality code q (in steps), from one of the two tables;
 *  between two levels the logarithm is interpolated. */
void tsri_hyper_gain(const tsri_hyper_nets *nets, const float *table, int q,
                     float *gain);

/* ---- the entropy model: integers only ---- */

typedef struct tsri_hyper_group {
    int first, channels;                /* of y */
    bool constant;                      /* the last layer has biases alone */
    tsri_iconv layer[3];
} tsri_hyper_group;

typedef struct tsri_hyper_model {
    int latents, hyper_latents, features;
    tsri_iconv hs[3];
    int groups;
    tsri_hyper_group group[TSRI_HYPER_GROUPS_MAX];
    tsri_bank *z_bank, *y_bank;
    int radius[TSRI_HYPER_CLASSES];     /* symbols -radius..radius, escape */
    int skip;                           /* classes below are not coded */
    tsri_iconv_fn *conv;
    struct tsri_hyper_gpu *gpu;         /* the same on a device, or NULL */
} tsri_hyper_model;

tsr_error tsri_hyper_model_open(tsri_hyper_model *m, tsr_context *ctx,
                                const tsr_model *model);
void tsri_hyper_model_close(tsri_hyper_model *m, tsr_context *ctx);

/** The class that the last layer's second output of a channel means. */
int tsri_hyper_class(int32_t t);

/** Whether a group is constant, and in classes that are not coded. */
bool tsri_hyper_silent(const tsri_hyper_model *m, const tsri_hyper_group *group);

/** The raw bits of a symbol beyond its table's radius. */
tsr_error tsri_hyper_put_escape(tsri_rans_enc *enc, int s, int radius);
tsr_error tsri_hyper_get_escape(tsri_rans_dec *dec, int radius, int *s);

/** Side of z for a side of y. */
static inline int tsri_hyper_z_side(int y_side)
{
    return tsri_ceil_div(tsri_ceil_div(y_side, 2), 2);
}

/** Working memory for units of up to height x width latent positions. */
typedef struct tsri_hyper_work tsri_hyper_work;
tsr_error tsri_hyper_work_open(tsri_hyper_work **work, tsr_context *ctx,
                               const tsri_hyper_model *m, int height, int width);
void tsri_hyper_work_close(tsri_hyper_work **work);

/**
 * Codes one unit.
 *
 * z       [hyper_latents][zh][zw] in -15..15
 * y       [latents][height][width], already times the gain; NaN is taken as 0
 * fixed   out, [latents][height][width]: 128 times what the decoder will have;
 *         with m->gpu also NULL: not wanted
 * crc     see tsri_rans_finish()
 * data    out: the segment, enc's until its next use
 */
tsr_error tsri_hyper_put(tsri_hyper_work *work, const tsri_hyper_model *m,
                         tsri_rans_enc *enc, int height, int width,
                         const int8_t *z, const float *y, int16_t *fixed,
                         uint32_t crc, const uint8_t **data, size_t *size);

/** Decodes one unit into z and fixed, sized as above; with m->gpu fixed may be NULL.
 *  TSR_E_CORRUPT when the bytes are not exactly a unit. */
tsr_error tsri_hyper_get(tsri_hyper_work *work, const tsri_hyper_model *m,
                         int height, int width, const uint8_t *data, size_t size,
                         uint32_t crc, int8_t *z, int16_t *fixed);

/** What tsri_hyper_get() gave of a unit of the picture begun, [latents][height]
 *  [width]; *n: numbers.  NULL: it is missing, or cannot be fetched from the device.
 *  self: of the codec's table. */
const int16_t *tsri_hyper_tokens(void *self, int unit, size_t *n);

/* ---- on the context's device: hyper_device.c ---- */

/** A picture of rows x columns positions. */
typedef struct tsri_hyper_view {
    const tsr_image *image;
    int rows, columns;
    const float *gain;          /* [latents], of the encoder or of the decoder */
} tsri_hyper_view;

/** Codes a whole picture as tsri_hyper_put() does its one unit.  *done false: it
 *  has more, or does not fit, and nothing was done. */
tsr_error tsri_hyper_look(const tsri_hyper_nets *nets, const tsri_hyper_model *m,
                          tsr_context *ctx, const tsri_hyper_view *view,
                          tsri_rans_enc *enc, uint32_t crc, const uint8_t **data,
                          size_t *size, bool *done);

/** n tokens of the unit that tsri_hyper_get() has just decoded, kept in device
 *  memory; to be given back by tsri_cuda_give(). */
tsr_error tsri_hyper_hold(const tsri_hyper_model *m, tsr_context *ctx, size_t n,
                          int16_t **held);

/** They, in the host's memory. */
tsr_error tsri_hyper_fetch(tsr_context *ctx, const int16_t *held, size_t n,
                           int16_t *tokens);

/** Whether tsri_hyper_show() can be done. */
bool tsri_hyper_shows(const tsri_hyper_nets *nets, tsr_context *ctx, int rows,
                      int columns);

/** Pixels of the tokens of all units in device memory (NULL: missing), times
 *  gain / 128. */
tsr_error tsri_hyper_show(const tsri_hyper_nets *nets, const tsri_hyper_model *m,
                          tsr_context *ctx, const tsri_hyper_view *view,
                          int16_t *const *held);
#endif
