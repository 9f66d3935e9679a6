/* SPDX-License-Identifier: BSD-2-Clause */
/* The UNet of a latent diffusion model with attention to a condition, as
 * SemantiCodec's decoder has it: docs/codecs/semanticodec.md.
 *
 * Sources: Rombach et al., "High-resolution image synthesis with latent diffusion
 *          models", CVPR 2022; Liu et al., "AudioLDM 2", IEEE/ACM TASLP 32, 2024;
 *          the network is that of SemantiCodec's release. */
#ifndef TSR_CODECS_AUDIO_UNET_H
#define TSR_CODECS_AUDIO_UNET_H
#include <tessera/model.h>
#include "codecs/audio/loader.h"
#include "lib/nn/former.h"
#include "lib/nn/plane.h"

typedef struct tsri_unet tsri_unet;
/** What attention sees of a condition: keys and values of all its layers, which are
 *  the same at every step. */
typedef struct tsri_unet_condition tsri_unet_condition;

/**
 * Loads the tensors `model.diffusion_model.*`; sizes come from their shapes.
 *
 * unet           out; NULL on failure
 * height, width  of the planes that it will be run on
 * positions      of a condition, width of each: `context`
 *
 * Returns TSR_OK; TSR_E_SHAPE, the message names the tensor; TSR_E_NOMEM.
 */
tsr_error tsri_unet_open(tsri_unet **unet, tsr_context *ctx,
                         const tsr_model *model, int height, int width,
                         int positions, int context);
/** NULL is allowed. */
void tsri_unet_close(tsri_unet **unet);
/** Of what goes in and comes out. */
int tsri_unet_channels(const tsri_unet *unet);
/** Multiply-adds of a run. */
double tsri_unet_macs(const tsri_unet *unet);
/** Of keys and values of a condition. */
double tsri_unet_condition_macs(const tsri_unet *unet);

/** context: [positions][context].  TSR_OK; TSR_E_NOMEM. */
tsr_error tsri_unet_condition_open(tsri_unet_condition **condition,
                                   tsri_unet *unet, const float *context);
void tsri_unet_condition_close(tsri_unet_condition **condition, tsri_unet *unet);

/**
 * Computes y from x at time t >= 0, both [height][width][channels]; y may be x.
 * One run of a net at a time.
 *
 * Returns TSR_OK; TSR_E_NOMEM.
 */
tsr_error tsri_unet_run(tsri_unet *unet, const float *x, int t,
                        const tsri_unet_condition *condition, float *y);
#endif
