/* SPDX-License-Identifier: BSD-2-Clause */
/* The encoder of AudioMAE: a vision transformer over square patches of mel
 * bands, whose output is the mean of what its last three blocks give, normed.
 *
 * Sources: Huang et al., "Masked autoencoders that listen", NeurIPS 2022;
 *          Dosovitskiy et al., "An image is worth 16x16 words", ICLR 2021. */
#ifndef TSR_CODECS_AUDIO_VIT_H
#define TSR_CODECS_AUDIO_VIT_H
#include <tessera/model.h>
#include "lib/nn/former.h"

typedef struct tsri_vit {
    tsr_context *ctx;
    const tsri_seq_kernels *kernels;
    int bands, frames;      /* of the input */
    int side;               /* of a patch, in bands and frames */
    int patches;            /* frames / side times bands / side */
    int width, hidden, blocks;  /* hidden: between up and down */
    double macs;            /* of a run */
    tsri_former *former;
    tsri_conv1d patch;
    float *place;           /* [1 + patches][width]; the first with the class
                               token */
    float *norm;            /* [2][width] */
} tsri_vit;

/**
 * Reads the tensors audiomae.model.*; what their shapes do not tell: heads have 64
 * numbers, there are `bands` bands.
 *
 * Returns TSR_OK; TSR_E_SHAPE, the message names the tensor; TSR_E_NOMEM.  After
 * an error, too, tsri_vit_close() is to be called.
 */
tsr_error tsri_vit_open(tsri_vit *vit, tsr_context *ctx, const tsr_model *model,
                        int bands);
void tsri_vit_close(tsri_vit *vit);
/** Fills in the sizes alone, by shapes: there is nothing to run or to close.
 *  TSR_OK; TSR_E_SHAPE. */
tsr_error tsri_vit_measure(tsri_vit *vit, tsr_context *ctx, const tsr_model *model,
                           int bands);

/** Floats of scratch memory that a run takes. */
size_t tsri_vit_scratch(const tsri_vit *vit);

/** mel: [frames][bands]; y: out, [patches][width], patch (t, f) being number
 *  t * (bands / side) + f; scratch: 64-byte aligned. */
void tsri_vit_run(const tsri_vit *vit, const float *mel, float *y,
                  float *scratch);
#endif
