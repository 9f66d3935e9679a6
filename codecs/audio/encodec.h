/* SPDX-License-Identifier: BSD-2-Clause */
/* The nets of EnCodec (docs/codecs/encodec.md), for its codec and its tests.
 *
 * Source: Defossez et al., "High Fidelity Neural Audio Compression",
 * arXiv 2210.13438; the network is that of its authors' release. */
#ifndef TSR_CODECS_ENCODEC_H
#define TSR_CODECS_ENCODEC_H
#include "codecs/audio/loader.h"

/**
 * Builds the encoder or the decoder, or only what comes before layer `layers`
 * of the published numbering (tests compare what lies between; INT_MAX = all).
 *
 * Returns TSR_OK; TSR_E_SHAPE, the message names the tensor; TSR_E_NOMEM.
 */
tsr_error tsri_encodec_encoder(tsri_seq **seq, tsr_context *ctx,
                               const tsr_model *model,
                               const tsri_audio_form *form, int layers);
tsr_error tsri_encodec_decoder(tsri_seq **seq, tsr_context *ctx,
                               const tsr_model *model,
                               const tsri_audio_form *form, int layers);
#endif
