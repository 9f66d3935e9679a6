/* SPDX-License-Identifier: BSD-2-Clause */
/* The nets of HiFi-Codec (docs/codecs/hificodec.md), for its codec and its
 * tests.
 *
 * Source: Yang et al., "HiFi-Codec: Group-residual Vector quantization for High
 * Fidelity Audio Codec", arXiv 2305.02765; the network is that of its authors'
 * release; Kong et al., "HiFi-GAN", NeurIPS 2020. */
#ifndef TSR_CODECS_HIFICODEC_H
#define TSR_CODECS_HIFICODEC_H
#include "codecs/audio/loader.h"

enum { TSRI_HIFICODEC_STAGES = 8, TSRI_HIFICODEC_KERNELS = 8,
       TSRI_HIFICODEC_STEPS = 8 };

/** Sizes that both nets share. */
typedef struct tsri_hificodec_sizes {
    const char *generator;  /* name of the decoder's tensors */
    float last_slope;       /* of its last activation */
    bool longer;            /* kernels that differ from their rate by an odd number
                               are allowed: they give one sample more */
    int stages;
    int rate[TSRI_HIFICODEC_STAGES];    /* of the decoder, in its order */
    int kernels;            /* residual blocks of a stage */
    int steps;              /* of a residual block */
    bool pairs;             /* two convolutions a step ("resblock 1") */
    int dilation[TSRI_HIFICODEC_KERNELS][TSRI_HIFICODEC_STEPS];
} tsri_hificodec_sizes;

/** Reads them.  hop: their product.  Returns TSR_OK; TSR_E_SHAPE, the message
 *  names the tensor; TSR_E_NOMEM. */
tsr_error tsri_hificodec_sizes_read(tsr_context *ctx, const tsr_model *model,
                                    int hop, tsri_hificodec_sizes *sizes);

/** Those of a HiFi-GAN alone, whose tensors are `generator`.*; rate[stages]: of
 *  its stages.  Returns as tsri_hificodec_sizes_read(). */
tsr_error tsri_hifigan_sizes_read(tsr_context *ctx, const tsr_model *model,
                                  const char *generator, const int *rate,
                                  int stages, tsri_hificodec_sizes *sizes);

/**
 * Builds the encoder, or only what leads to the output of layer `until` (its
 * published name; tests compare what lies between; NULL = all).
 *
 * reach  out, or NULL: samples on each side of a frame that it depends on,
 *        group normalisation aside
 *
 * Returns TSR_OK; TSR_E_SHAPE, the message names the tensor; TSR_E_NOMEM.
 */
tsr_error tsri_hificodec_encoder(tsri_seq **seq, tsr_context *ctx,
                                 const tsr_model *model,
                                 const tsri_hificodec_sizes *sizes,
                                 const char *until, uint64_t *reach);
/** The same for the decoder; latent: its channels. */
tsr_error tsri_hificodec_decoder(tsri_seq **seq, tsr_context *ctx,
                                 const tsr_model *model,
                                 const tsri_hificodec_sizes *sizes, int latent,
                                 const char *until);
#endif
