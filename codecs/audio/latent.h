/* SPDX-License-Identifier: BSD-2-Clause */
/* From a latent to sound: the decoder of a variational autoencoder, which gives
 * mel bands, and a vocoder; SemantiCodec's, by the names of its checkpoint.
 *
 * Sources: Kingma and Welling, "Auto-encoding variational Bayes", ICLR 2014; its
 *          network is that of Rombach et al., CVPR 2022; Kong et al., "HiFi-GAN",
 *          NeurIPS 2020. */
#ifndef TSR_CODECS_AUDIO_LATENT_H
#define TSR_CODECS_AUDIO_LATENT_H
#include "codecs/audio/hificodec.h"
#include "lib/nn/net.h"

enum { TSRI_LATENT_LEVELS = 6, TSRI_LATENT_RATES = 5 };
/** Of the vocoder, in its order. */
extern const int tsri_latent_rates[TSRI_LATENT_RATES];

typedef struct tsri_latent {
    tsr_context *ctx;
    tsri_net *bands;            /**< latent to mel bands, as a picture of them */
    tsri_seq *vocoder;
    int channels;               /**< of the latent */
    int times;                  /**< frames of bands of one latent row */
    int wide, mel;              /**< columns of a latent; bands */
    double macs;                /**< of one frame of bands, the vocoder's */
} tsri_latent;

/** Loads `first_stage_model.*`.  TSR_OK; TSR_E_SHAPE, the message names the tensor;
 *  TSR_E_NOMEM.  Close it in any case. */
tsr_error tsri_latent_open(tsri_latent *latent, tsr_context *ctx,
                           const tsr_model *model);
void tsri_latent_close(tsri_latent *latent);

/** Bands [rows * times][mel] of a latent [channels][rows][wide].  TSR_OK;
 *  TSR_E_NOMEM; TSR_E_LIMIT; TSR_E_BACKEND. */
tsr_error tsri_latent_bands(const tsri_latent *latent, const float *z, int rows,
                            float *bands);
/** The first n samples of what the vocoder makes of `frames` frames; TSR_E_SHAPE:
 *  there are not so many. */
tsr_error tsri_latent_sound(const tsri_latent *latent, const float *bands,
                            int frames, float *x, size_t n);
#endif
