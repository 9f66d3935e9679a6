/* SPDX-License-Identifier: BSD-2-Clause */
/* What audio codecs made of an encoder net, a residual quantiser and a decoder
 * net have in common: everything but their nets.
 *
 * Sound flows through the nets in one of three ways:
 *   plain     samples in, frames out, states carried from push to push;
 *   segments  the sound is cut into overlapping segments; each is divided by
 *             its loudness, coded alone, and the decoded ones are cross-faded
 *             (segments.c);
 *   windows   an encoder that normalises over its whole input gets windows with
 *             a context on both sides, each as a sound of its own (blocks.c).
 *             The decoder is plain. */
#ifndef TSR_CODECS_AUDIO_FLOW_H
#define TSR_CODECS_AUDIO_FLOW_H
#include "codecs/audio/audio_codec.h"
#include "codecs/audio/loader.h"
#include "codecs/audio/quantiser.h"
#include "codecs/audio/search.h"

extern const tsri_audio_codec tsri_audio_codec_encodec;
extern const tsri_audio_codec tsri_audio_codec_hificodec;
extern const tsri_audio_codec tsri_audio_codec_xcodec;
extern const tsri_audio_codec tsri_audio_codec_semantic;

/** An opened model: constant, shared by streams. */
typedef struct tsri_flow {
    tsr_context *ctx;
    tsr_model *model;
    tsri_audio_shape shape;
    tsri_seq *enc, *dec;    /* enc NULL: a model that only decodes */
    tsri_quantiser quantiser;
    int context;            /* of windows: frames on each side */
} tsri_flow;

/** A flow with a reference to `model`, to which `fill` gives the nets and all
 *  else; *self is NULL where that fails.  Returns TSR_E_NOMEM, and what fill
 *  does. */
tsr_error tsri_flow_open(void **self, tsr_context *ctx, tsr_model *model,
                         tsr_error (*fill)(tsri_flow *flow));
/**
 * Fills in the shape from `form`, the nets and the quantiser, which must have
 * been set (`whole` and `drops_tail` stay as they are), and checks that they
 * fit each other.
 *
 * default_books  also what costs are given for
 *
 * Returns TSR_OK; TSR_E_SHAPE.
 */
tsr_error tsri_flow_ready(tsri_flow *flow, const tsri_audio_form *form,
                          int default_books);

/** TSR_E_ARG, which says how many books the model has. */
tsr_error tsri_flow_bad_books(const tsri_flow *flow, int books);

/** Makes the quantiser of the books quantizer.vq.layers.N._codebook.embed.
 *  encodec.c */
tsr_error tsri_encodec_books(tsri_flow *flow);

/** Latents that are moved at a time; a device has many at once. */
enum { TSRI_FLOW_BATCH = 64, TSRI_FLOW_BATCH_DEVICE = 1 << 12 };
static inline int tsri_flow_batch(const tsri_flow *flow)
{
    return flow->ctx->gpu ? TSRI_FLOW_BATCH_DEVICE : TSRI_FLOW_BATCH;
}

/* ---- samples that wait ---- */

typedef struct tsri_fifo {
    float *data;
    size_t head, used, room; /* floats; [head, head + used) wait */
} tsri_fifo;

tsr_error tsri_fifo_put(tsri_fifo *fifo, tsr_context *ctx, const float *x,
                        size_t n);
static inline const float *tsri_fifo_at(const tsri_fifo *fifo)
{
    return fifo->data + fifo->head;
}
/** Drops the first n <= used. */
static inline void tsri_fifo_drop(tsri_fifo *fifo, size_t n)
{
    fifo->head += n;
    fifo->used -= n;
    if (!fifo->used)
        fifo->head = 0;
}

/* ---- states as bytes ---- */

/** Numbers written one after the other, then floats. */
typedef struct tsri_saver { uint8_t *at; } tsri_saver;
typedef struct tsri_restorer {
    const uint8_t *at, *end;
    bool good;
} tsri_restorer;

void tsri_save64(tsri_saver *s, uint64_t v);
void tsri_save_floats(tsri_saver *s, const float *x, size_t n);
/** A number, at most `limit`; 0 and not good otherwise. */
uint64_t tsri_restore64(tsri_restorer *r, uint64_t limit);
/** Are there n floats, all finite?  Then x, n floats, becomes them. */
bool tsri_restore_floats(tsri_restorer *r, float *x, size_t n);
/** How many floats are left. */
size_t tsri_restore_left(const tsri_restorer *r);

/** A state begins with what it belongs to: these bytes. */
enum { TSRI_FLOW_HEAD = 16, TSRI_FLOW_ENC = 0x43455354, TSRI_FLOW_DEC = 0x43445354 };
void tsri_flow_head_save(uint8_t *state, uint32_t magic, bool blocks, int books);
/** Returns TSR_OK; TSR_E_CORRUPT another head, or fewer bytes. */
tsr_error tsri_flow_head_load(const tsri_flow *flow, const uint8_t *state,
                              size_t bytes, uint32_t magic, bool blocks,
                              int books);

/* ---- blocks: segments and windows, encoder ---- */

/** Of a segment: loudness beyond it is cut, a decoder refuses it. */
#define TSRI_SCALE_MAX 1e6

/** Encodes [start - before, start + step + after) of the sound, as far as there
 *  is sound, for start = 0, step, 2 step, ... */
typedef struct tsri_blocks {
    const tsri_flow *flow;
    tsri_seq_stream *stream;
    tsri_search *search;
    int books;
    uint64_t step, before, after; /* samples */
    bool ended;
    uint64_t had;           /* samples in front of `start` that wait */
    tsri_fifo wait;         /* samples from start - had */
    uint16_t *codes;        /* [frames of a block][books] */
    size_t room;
    size_t first, count;    /* frames of those that were not taken */
    float scale;            /* of the segment they are of */
    float z[];              /* [tsri_flow_batch()][latent] */
} tsri_blocks;

tsr_error tsri_blocks_open(tsri_blocks **blocks, const tsri_flow *flow,
                           const tsri_audio_options *options);
void tsri_blocks_close(tsri_blocks **blocks);
tsr_error tsri_blocks_push(tsri_blocks *b, const float *x, size_t n, bool end);
tsr_error tsri_blocks_take(tsri_blocks *b, uint16_t *codes, int room,
                           int *frames, uint8_t *side);
size_t tsri_blocks_state_bytes(const tsri_blocks *b);
void tsri_blocks_state_save(const tsri_blocks *b, uint8_t *state);
tsr_error tsri_blocks_state_load(tsri_blocks *b, const uint8_t *state,
                                 size_t bytes);

/* ---- segments, decoder ---- */

typedef struct tsri_segments {
    const tsri_flow *flow;
    size_t span;            /* samples of a full segment, decoded */
    bool ended;
    uint64_t first;         /* samples of the first segment, 0: none yet */
    uint64_t base;          /* position of acc[0] */
    uint64_t next, end;     /* start of the next segment, end of the last */
    tsri_fifo out;
    float *sum;             /* [span] of weights */
    float acc[];            /* [span][channels] weighted samples */
} tsri_segments;

tsr_error tsri_segments_open(tsri_segments **segments, const tsri_flow *flow);
void tsri_segments_close(tsri_segments **segments);
/** Is this a scale?  *scale: out. */
bool tsri_segments_scale(const uint8_t *side, float *scale);
/** y: the decoded segment, n <= span samples. */
tsr_error tsri_segments_add(tsri_segments *s, const float *y, size_t n,
                            float scale);
/** The last segment has been added. */
tsr_error tsri_segments_end(tsri_segments *s);
size_t tsri_segments_state_bytes(const tsri_segments *s);
void tsri_segments_state_save(const tsri_segments *s, uint8_t *state);
tsr_error tsri_segments_state_load(tsri_segments *s, const uint8_t *state,
                                   size_t bytes);

/* ---- the functions of tsri_audio_codec ---- */

void tsri_flow_close(void **self);
const tsri_audio_shape *tsri_flow_shape(const void *self);
tsr_error tsri_flow_words(const void *self, float *z, int *dim);
tsr_error tsri_flow_enc_open(void **enc, const void *self,
                             const tsri_audio_options *options);
void tsri_flow_enc_close(void **enc);
tsr_error tsri_flow_enc_push(void *enc, const float *x, size_t n, bool end);
tsr_error tsri_flow_enc_take(void *enc, uint16_t *codes, int room, int *frames,
                             uint8_t *side);
void tsri_flow_enc_latency(const void *enc, uint64_t *start,
                           uint64_t *running);
size_t tsri_flow_enc_state_bytes(const void *enc);
void tsri_flow_enc_state_save(const void *enc, uint8_t *state);
tsr_error tsri_flow_enc_state_load(void *enc, const uint8_t *state,
                                   size_t bytes);
bool tsri_flow_side_good(const uint8_t *side);
tsr_error tsri_flow_dec_open(void **dec, const void *self,
                             const tsri_audio_options *options);
void tsri_flow_dec_close(void **dec);
tsr_error tsri_flow_dec_push(void *dec, const uint16_t *codes, int frames,
                             int books, const uint8_t *side, bool end);
tsr_error tsri_flow_dec_take(void *dec, float *x, size_t room, size_t *n);
size_t tsri_flow_dec_state_bytes(const void *dec);
void tsri_flow_dec_state_save(const void *dec, uint8_t *state);
tsr_error tsri_flow_dec_state_load(void *dec, const uint8_t *state,
                                   size_t bytes);

/** All of a codec's table but id, number and open; and without enc_open, for
 *  codecs that have their own. */
#define TSRI_FLOW_FUNCTIONS                                                    \
    .enc_open = tsri_flow_enc_open, TSRI_FLOW_OTHER_FUNCTIONS

#define TSRI_FLOW_OTHER_FUNCTIONS                                              \
    .close = tsri_flow_close, .shape = tsri_flow_shape,                        \
    .words = tsri_flow_words, .enc_close = tsri_flow_enc_close,                \
    .enc_push = tsri_flow_enc_push, .enc_take = tsri_flow_enc_take,            \
    .enc_latency = tsri_flow_enc_latency,                                      \
    .enc_state_bytes = tsri_flow_enc_state_bytes,                              \
    .enc_state_save = tsri_flow_enc_state_save,                                \
    .enc_state_load = tsri_flow_enc_state_load,                                \
    .side_good = tsri_flow_side_good,                                          \
    .dec_open = tsri_flow_dec_open, .dec_close = tsri_flow_dec_close,          \
    .dec_push = tsri_flow_dec_push, .dec_take = tsri_flow_dec_take,            \
    .dec_state_bytes = tsri_flow_dec_state_bytes,                              \
    .dec_state_save = tsri_flow_dec_state_save,                                \
    .dec_state_load = tsri_flow_dec_state_load
#endif
