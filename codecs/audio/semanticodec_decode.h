/* SPDX-License-Identifier: BSD-2-Clause */
/* SemantiCodec's tokens to sound: windows that are drawn from a diffusion model
 * and cross-faded (docs/codecs/semanticodec.md). */
#ifndef TSR_CODECS_SEMANTICODEC_DECODE_H
#define TSR_CODECS_SEMANTICODEC_DECODE_H
#include "codecs/audio/diffusion.h"
#include "codecs/audio/flow.h"
#include "codecs/audio/latent.h"
#include "codecs/audio/semanticodec.h"

/** Steps and guidance, int32 [2]. */
#define TSRI_SEMANTICODEC_SAMPLER "tessera.semanticodec.sampler"
/** One part of so many of a window overlaps the next one. */
enum { TSRI_SEMANTICODEC_OVERLAP = 16 };

/** What a model has for it; its nets work for one decoder at a time. */
typedef struct tsri_semanticodec_nets {
    const tsri_semanticodec *codec;
    tsri_diffusion diffusion;
    tsri_latent latent;
    float *words;           /* [acoustic words][dim] */
    int context;            /* numbers of a position in a condition */
    float *condition;       /* [positions][context] */
    float *z, *bands;
    float scale;            /* of latents */
} tsri_semanticodec_nets;

/** Does the model have a decoder? */
bool tsri_semanticodec_decodes(const tsri_semanticodec *codec);
/** Multiply-adds of a window; 0 without a decoder.  Looks at shapes alone. */
double tsri_semanticodec_macs(const tsri_semanticodec *codec);
/** TSR_E_SHAPE, the message names the tensor; TSR_E_NOMEM.  Close it in any case. */
tsr_error tsri_semanticodec_nets_open(tsri_semanticodec_nets *nets,
                                      const tsri_semanticodec *codec);
void tsri_semanticodec_nets_close(tsri_semanticodec_nets *nets);

/** A window's sound: n = 1..positions tokens [n][2], those of their books; x:
 *  positions * hop samples, out.  TSR_E_NOMEM; TSR_E_LIMIT; TSR_E_BACKEND. */
tsr_error tsri_semanticodec_draw(tsri_semanticodec_nets *nets,
                                 const uint16_t *tokens, int n, uint32_t seed,
                                 uint64_t window, float *x);

/* Functions of tsri_audio_codec. */
tsr_error tsri_semanticodec_dec_open(void **dec, const void *self,
                                     const tsri_audio_options *options);
void tsri_semanticodec_dec_close(void **dec);
tsr_error tsri_semanticodec_dec_push(void *dec, const uint16_t *codes, int frames,
                                     int books, const uint8_t *side, bool end);
tsr_error tsri_semanticodec_dec_take(void *dec, float *x, size_t room, size_t *n);
size_t tsri_semanticodec_dec_bytes(const void *dec);
void tsri_semanticodec_dec_save(const void *dec, uint8_t *state);
tsr_error tsri_semanticodec_dec_load(void *dec, const uint8_t *state,
                                     size_t bytes);
#endif
