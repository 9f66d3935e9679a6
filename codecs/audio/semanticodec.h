/* SPDX-License-Identifier: BSD-2-Clause */
/* The encoder of SemantiCodec (docs/codecs/semanticodec.md): sound to one
 * semantic and one acoustic token for each position.  The decoder is
 * semanticodec_decode.h.
 *
 * Source: Liu et al., "SemantiCodec: an ultra low bitrate semantic audio codec for
 *         general sound", IEEE JSTSP 18(8), 2024. */
#ifndef TSR_CODECS_SEMANTICODEC_H
#define TSR_CODECS_SEMANTICODEC_H
#include <pthread.h>
#include <tessera/vq.h>
#include "codecs/audio/audio_codec.h"
#include "codecs/audio/bilstm.h"
#include "codecs/audio/fbank.h"
#include "codecs/audio/vit.h"

extern const tsri_audio_codec tsri_audio_codec_semanticodec;

/** Of the sound, and of the mel bands that are looked at. */
enum { TSRI_SEMANTICODEC_RATE = 16000, TSRI_SEMANTICODEC_WIDTH = 400,
       TSRI_SEMANTICODEC_SHIFT = 160, TSRI_SEMANTICODEC_BANDS = 128 };

/** What an encoder works with: large, and opened by the first one. */
typedef struct tsri_semanticodec_front {
    pthread_mutex_t lock;
    bool opened;
    tsri_fbank *fbank;
    tsri_vit vit;
    tsri_bilstm branch;
    tsr_codebook *semantic, *acoustic;
} tsri_semanticodec_front;

/** An opened model: constant, but for `front`; shared by streams. */
typedef struct tsri_semanticodec {
    tsr_context *ctx;
    tsr_model *model;
    tsri_audio_shape shape;
    tsri_semanticodec_front *front;
    tsri_vit vit;           /* its sizes */
    float *centroid;        /* [centroids][dim] */
    size_t centroids;
    int stack;              /* patches of a position: 1, 2 or 4 */
    int dim;                /* stack times vit.width */
    int positions;          /* of a window */
    size_t window, beyond;  /* samples of one, and that it looks at behind it */
} tsri_semanticodec;

/** Memory of a window: what comes out at each step. */
typedef struct tsri_semanticodec_work {
    float *mel;             /* [frames][bands], normalised */
    float *patch;           /* [patches][vit.width] */
    float *feature;         /* [positions][dim] */
    float *both;            /* [positions][2 dim] */
    float *latent;          /* [positions][dim] */
    float *scratch;
    int32_t *semantic, *acoustic;   /* [positions] */
} tsri_semanticodec_work;

/** Makes `front`, not opened; TSR_OK; TSR_E_NOMEM. */
tsr_error tsri_semanticodec_front_new(tsri_semanticodec *codec);
/** `front` may be NULL. */
void tsri_semanticodec_front_free(tsri_semanticodec *codec);
/** Opens `front` where that has not been done.  TSR_OK; TSR_E_SHAPE; TSR_E_NOMEM.
 *  Any number of threads may call it. */
tsr_error tsri_semanticodec_front_open(const tsri_semanticodec *codec);

/** After that. */
tsr_error tsri_semanticodec_work_open(tsri_semanticodec_work *work,
                                      const tsri_semanticodec *codec);
void tsri_semanticodec_work_close(tsri_semanticodec_work *work,
                                  const tsri_semanticodec *codec);

/**
 * Encodes a window.
 *
 * x     window + beyond samples
 * last  the sound's last window: nothing is behind it, so that its last frames are
 *       missing
 *
 * Returns TSR_OK; TSR_E_NOMEM.
 */
tsr_error tsri_semanticodec_window(const tsri_semanticodec *codec,
                                   const float *x, bool last,
                                   tsri_semanticodec_work *work);
#endif
