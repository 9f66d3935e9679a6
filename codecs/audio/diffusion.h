/* SPDX-License-Identifier: BSD-2-Clause */
/* Latents drawn from a diffusion model: a UNet that is run step by step, with and
 * without a condition, on noise that a seed and the window's number tell.
 *
 * Sources: Song et al., "Denoising diffusion implicit models", ICLR 2021; Ho and
 *          Salimans, "Classifier-free diffusion guidance", 2022; Salimans and Ho,
 *          "Progressive distillation for fast sampling of diffusion models", ICLR
 *          2022 (v); schedule and order as SemantiCodec's release has them. */
#ifndef TSR_CODECS_AUDIO_DIFFUSION_H
#define TSR_CODECS_AUDIO_DIFFUSION_H
#include "codecs/audio/unet.h"
#include "codecs/audio/unet_device.h"

enum { TSRI_DIFFUSION_TIMES = 1000 };

typedef struct tsri_diffusion {
    tsr_context *ctx;
    tsri_unet *unet;
    tsri_unet_device *device;   /* NULL: it is computed on the host */
    tsri_unet_condition *none;
    int rows, wide;             /* of a latent */
    int steps;                  /* divides TSRI_DIFFUSION_TIMES */
    float guidance;
    float kept[TSRI_DIFFUSION_TIMES]; /* what is left of the signal at each time:
                                         products of 1 - beta */
    float *x, *noise, *v[2];    /* [rows][wide][channels]; noise as drawn */
} tsri_diffusion;

/**
 * Loads the UNet.
 *
 * rows, wide  of a latent
 * none        [positions][context]: what stands for no condition
 *
 * Returns TSR_OK; TSR_E_SHAPE; TSR_E_NOMEM; TSR_E_BACKEND.  Close it in any case.
 */
tsr_error tsri_diffusion_open(tsri_diffusion *d, tsr_context *ctx,
                              const tsr_model *model, int rows, int wide,
                              int positions, int context, const float *none,
                              int steps, float guidance);
void tsri_diffusion_close(tsri_diffusion *d);

/** Draws the latent z, [channels][rows][wide], of a window with this condition.
 *  The first noise is that of step 0, the one of step s in 1..steps is added in
 *  it; numbers of noise are in the order of z.  TSR_OK; TSR_E_NOMEM;
 *  TSR_E_BACKEND. */
tsr_error tsri_diffusion_run(tsri_diffusion *d, const float *context,
                             uint32_t seed, uint64_t window, float *z);
#endif
