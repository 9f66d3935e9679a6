/* SPDX-License-Identifier: BSD-2-Clause */
/* A language model of codes in integers only: EnCodec's transformer, whose
 * floats nobody decodes on another machine.  docs/audio-format.md 3.5 is what is
 * computed.  All sums are proved not to overflow when the model is opened, so
 * plain C and vectors give the same numbers.
 *
 * Source of the network: Defossez et al., "High fidelity neural audio
 * compression", arXiv:2210.13438, section 3.3 of it and the published code. */
#ifndef TSR_CODECS_AUDIO_CODES_LM_H
#define TSR_CODECS_AUDIO_CODES_LM_H
#include "codecs/audio/codes_impl.h"

enum {
    TSRI_LM_MAX_DIM = 512, TSRI_LM_MAX_LAYERS = 64, TSRI_LM_MAX_WINDOW = 4096,
    TSRI_LM_MAX_HEAD = 32,      /* numbers of an attention head */
    TSRI_LM_STATE = 16383,      /* limit of what layers hand on, 10 bits of it a
                                   fraction */
    TSRI_LM_HIDDEN = 8191,      /* of the hidden units, 9 bits of fraction, of
                                   queries and keys */
    TSRI_LM_SINE = 4096, TSRI_LM_CURVE = 1024
};

/** Rows of weights, padded with zeros to `stride`, a multiple of 16. */
typedef struct tsri_lm_linear {
    int in, out, stride, shift;
    int16_t *weight;    /* [out][stride] */
    int32_t *bias;      /* [out], 2^(shift-1) included */
} tsri_lm_linear;

typedef struct tsri_lm_norm {
    int shift;
    int16_t *gain;
    int32_t *bias;      /* 2^(shift-1) included */
} tsri_lm_norm;

typedef struct tsri_lm_layer {
    tsri_lm_linear query, key, value, out, up, down;
    tsri_lm_norm norm1, norm2;
    int score_shift;
} tsri_lm_layer;

typedef struct tsri_codes_lm {
    int books, codewords, dim, heads, layers, window;
    int head;           /* dim / heads */
    int16_t *emb;       /* [books][codewords + 1][dim] */
    int16_t *coarser;   /* [books][codewords][dim] times 2^coarser_shift: what a
                           code of this book says of the finer ones; NULL:
                           nothing */
    int coarser_shift;
    tsri_lm_norm norm_in;
    tsri_lm_layer *layer;
    tsri_lm_linear *logits;     /* [books] */
    int32_t *phase;     /* [dim / 2] of 2^32 */
    int16_t sine[TSRI_LM_SINE], curve[TSRI_LM_CURVE + 1];
    uint16_t exp2[256]; /* 2^(16 - i / 256), one less for i = 0 */
} tsri_codes_lm;

/** *lm NULL: the model has none.  Returns as tsri_codes_open(). */
tsr_error tsri_codes_lm_open(tsri_codes_lm **lm, tsr_context *ctx,
                             const tsr_model *model, int books, int codewords);
void tsri_codes_lm_close(tsri_codes_lm **lm, tsr_context *ctx);

/** The inner loops. */
typedef struct tsri_lm_kernels {
    /** y[i] = bias[i] + sum of w[i][j] x[j], j < stride (a multiple of 16), in
     *  int32 that does not overflow; bias NULL: 0. */
    void (*rows)(const int16_t *w, const int32_t *bias, int n, int stride,
                 const int16_t *x, int32_t *y);
    /** y[j] = sum of p[i] v[i][j], j < stride.  p[n] is 0 where n is odd, and
     *  v[n] can be read. */
    void (*blend)(const int16_t *p, const int16_t *v, int n, int stride,
                  int32_t *y);
} tsri_lm_kernels;

const tsri_lm_kernels *tsri_lm_kernels_plain(void);
/** NULL: not in this build. */
const tsri_lm_kernels *tsri_lm_kernels_avx2(void);

/** Positions since the packet's start, its caches, scratch. */
typedef struct tsri_lm_state tsri_lm_state;

tsr_error tsri_lm_state_open(tsri_lm_state **state, tsr_context *ctx,
                             const tsri_codes_lm *lm);
void tsri_lm_state_close(tsri_lm_state **state, tsr_context *ctx);
void tsri_lm_reset(tsri_lm_state *state);

/** Takes in frame f - 1 of the view (f = 0: none); frames in order from 0.
 *  Cost: 12 dim^2 + 2 dim window multiply-adds a layer. */
void tsri_lm_frame(tsri_lm_state *state, const tsri_codes_view *view, int f);

/** Where the slots of code (f, k) begin: [codewords + 1], the state's until the
 *  next call.  Books in order from 0.  Cost: dim * codewords multiply-adds. */
const uint32_t *tsri_lm_starts(tsri_lm_state *state, const tsri_codes_view *view,
                               int f, int k);

/** floor(sqrt(v)) */
uint32_t tsri_lm_sqrt(uint64_t v);
#endif
