/* SPDX-License-Identifier: BSD-2-Clause */
#include "codecs/audio/flow.h"

/* ---- the model ---- */

tsr_error tsri_flow_open(void **self, tsr_context *ctx, tsr_model *model,
                         tsr_error (*fill)(tsri_flow *flow))
{
    tsri_flow *flow = tsri_calloc(ctx, 1, sizeof *flow);

    *self = flow;
    if (!flow)
        return tsri_nomem(ctx);
    flow->ctx = ctx;
    flow->model = tsr_model_ref(model);
    const tsr_error error = fill(flow);
    if (error)
        tsri_flow_close(self);
    return error;
}

void tsri_flow_close(void **self)
{
    tsri_flow *flow = *self;
    if (!flow)
        return;
    tsri_seq_free(&flow->enc);
    tsri_seq_free(&flow->dec);
    tsri_quantiser_close(&flow->quantiser);
    tsr_model_unref(&flow->model);
    tsri_free(flow->ctx, flow);
    *self = NULL;
}

const tsri_audio_shape *tsri_flow_shape(const void *self)
{
    return &((const tsri_flow *)self)->shape;
}

tsr_error tsri_flow_words(const void *self, float *z, int *dim)
{
    const tsri_flow *flow = self;
    const tsri_quantiser *q = &flow->quantiser;
    *dim = q->shape.groups * q->shape.dim;
    for (int i = 0; z && i < q->shape.k; i++) {
        const uint16_t code = (uint16_t)i;
        TSR_TRY(tsri_quantiser_lookup(q, &code, 1, 1, z + (size_t)i *
                                      (size_t)*dim));
    }
    return TSR_OK;
}

/* Frames in, so many samples out: and the other way round. */
static bool nets_fit(const tsri_flow *flow, const tsri_audio_form *form)
{
    const int latent = flow->quantiser.shape.groups *
                       flow->quantiser.shape.dim;
    const uint64_t frames = 1000, hop = (uint64_t)form->hop;

    if (flow->enc &&
        (tsri_seq_in_channels(flow->enc) != form->channels ||
         tsri_seq_out_channels(flow->enc) != latent ||
         tsri_seq_out_length(flow->enc, frames * hop) != frames))
        return false;
    return tsri_seq_in_channels(flow->dec) == latent &&
           tsri_seq_out_channels(flow->dec) == form->channels &&
           tsri_seq_out_length(flow->dec, frames) == frames * hop;
}

static void set_segments(tsri_audio_shape *s, const tsri_audio_form *form,
                         const tsri_seq *enc)
{
    s->segmented = form->segment > 0;
    if (!s->segmented)
        return;
    s->segment_samples = form->segment;
    s->segment_step = form->step;
    s->segment_frames = (int)tsri_seq_out_length(enc, (uint64_t)form->segment);
    s->side = TSRI_AUDIO_SIDE_MAX;
}

/* Costs and delay, of nets that fit. */
static void set_costs(tsri_flow *flow)
{
    tsri_audio_shape *s = &flow->shape;
    const double frames = (double)s->rate / s->hop;
    const double overlap = s->segmented ? (double)s->segment_samples /
                                          s->segment_step : 1;
    const uint64_t many = 1000;
    const tsr_rvq_shape *q = &flow->quantiser.shape;

    s->macs_encode = !flow->enc ? 0 :
                     overlap * (tsri_seq_macs(flow->enc) * s->rate +
                                (double)s->default_books * q->k * q->dim *
                                frames);
    s->macs_decode = overlap * tsri_seq_macs(flow->dec) * frames;
    if (!s->segmented)
        s->decoder_delay = (int)(tsri_seq_needs(flow->dec,
                                                many * (uint64_t)s->hop,
                                                false) - many);
}

tsr_error tsri_flow_ready(tsri_flow *flow, const tsri_audio_form *form,
                          int default_books)
{
    tsri_audio_shape *s = &flow->shape;
    const tsri_quantiser *q = &flow->quantiser;

    if (!nets_fit(flow, form))
        return tsri_fail(flow->ctx, TSR_E_SHAPE, "%s: 'tessera.audio' does not "
                         "fit the networks", tsr_model_path(flow->model));
    s->rate = form->rate;
    s->channels = form->channels;
    s->hop = form->hop;
    s->books = tsri_quantiser_books(q);
    s->codewords = q->shape.k;
    s->default_books = default_books;
    set_segments(s, form, flow->enc);
    if (s->segment_frames > TSR_AUDIO_MAX_FRAMES)
        return tsri_fail(flow->ctx, TSR_E_SHAPE, "%s: 'tessera.audio' has too "
                         "long segments", tsr_model_path(flow->model));
    if (s->segmented && !tsri_audio_step_fits((uint64_t)s->segment_step,
                                              (uint64_t)s->segment_frames *
                                                  (uint64_t)s->hop))
        return tsri_fail(flow->ctx, TSR_E_SHAPE, "%s: 'tessera.audio' has "
                         "segments that overlap by more than a half",
                         tsr_model_path(flow->model));
    set_costs(flow);
    return TSR_OK;
}

/* ---- samples to codes ---- */

typedef struct encoder {
    const tsri_flow *flow;
    tsri_blocks *blocks;    /* all that is used, if it is used */
    tsri_seq_stream *stream;
    tsri_search *search;    /* with the stream */
    int books;
    bool lazy, zero_start;
    float z[];              /* [tsri_flow_batch()][latent] */
} encoder;

tsr_error tsri_flow_bad_books(const tsri_flow *flow, int books)
{
    return tsri_fail(flow->ctx, TSR_E_ARG, "%d books: this model has %d to %d",
                     books, flow->quantiser.shape.groups, flow->shape.books);
}

tsr_error tsri_flow_enc_open(void **enc, const void *self,
                             const tsri_audio_options *options)
{
    const tsri_flow *flow = self;
    const bool blocks = flow->shape.segmented ||
                        (flow->shape.whole && options->window > 0);
    const size_t latent = (size_t)flow->quantiser.shape.groups *
                          (size_t)flow->quantiser.shape.dim;

    *enc = NULL;
    if (!flow->enc)
        return tsri_fail(flow->ctx, TSR_E_UNSUPPORTED, "%s: a model that only "
                         "decodes: it has no encoder",
                         tsr_model_path(flow->model));
    if (options->books < flow->quantiser.shape.groups ||
        options->books > flow->shape.books)
        return tsri_flow_bad_books(flow, options->books);
    encoder *e = tsri_calloc(flow->ctx, 1, sizeof *e +
                             (size_t)tsri_flow_batch(flow) * latent *
                             sizeof *e->z);
    if (!e)
        return tsri_nomem(flow->ctx);
    e->flow = flow;
    e->books = options->books;
    e->lazy = options->lazy;
    e->zero_start = options->zero_start;
    tsr_error error =
        blocks ? tsri_blocks_open(&e->blocks, flow, options)
               : tsri_seq_open(&e->stream, flow->enc, flow->ctx, e->zero_start);
    if (!blocks && !error)
        error = tsri_search_open(&e->search, &flow->quantiser, options->codes,
                                 e->books, options->beam);
    *enc = e;
    if (error)
        tsri_flow_enc_close(enc);
    return error;
}

void tsri_flow_enc_close(void **enc)
{
    encoder *e = *enc;
    if (!e)
        return;
    tsri_blocks_close(&e->blocks);
    tsri_seq_close(&e->stream);
    tsri_search_close(&e->search);
    tsri_free(e->flow->ctx, e);
    *enc = NULL;
}

tsr_error tsri_flow_enc_push(void *enc, const float *x, size_t n, bool end)
{
    encoder *e = enc;
    if (e->blocks)
        return tsri_blocks_push(e->blocks, x, n, end);
    return tsri_seq_push(e->stream, x, n, e->lazy, end);
}

tsr_error tsri_flow_enc_take(void *enc, uint16_t *codes, int room, int *frames,
                             uint8_t *side)
{
    encoder *e = enc;

    if (e->blocks)
        return tsri_blocks_take(e->blocks, codes, room, frames, side);
    *frames = 0;
    while (*frames < room) {
        const int want = tsri_min(room - *frames, tsri_flow_batch(e->flow));
        const int n = (int)tsri_seq_take(e->stream, e->z, (size_t)want);
        if (!n)
            break;
        TSR_TRY(tsri_search_frames(e->search, e->z, n,
                                   codes + (size_t)*frames * (size_t)e->books));
        *frames += n;
    }
    return TSR_OK;
}

void tsri_flow_enc_latency(const void *enc, uint64_t *start,
                           uint64_t *running)
{
    const encoder *e = enc;
    const tsri_audio_shape *s = &e->flow->shape;
    const uint64_t many = 1000, hop = (uint64_t)s->hop;

    if (s->segmented) {
        *start = (uint64_t)s->segment_samples;
        *running = 0;
    } else if (e->blocks) {
        *start = e->blocks->step + e->blocks->after;
        *running = *start - hop;
    } else {
        *start = tsri_seq_needs(e->flow->enc, 1, e->zero_start);
        const uint64_t later = tsri_seq_needs(e->flow->enc, many,
                                              e->zero_start);
        *running = later == UINT64_MAX ? later
                   : later > many * hop ? later - many * hop : 0;
    }
}

size_t tsri_flow_enc_state_bytes(const void *enc)
{
    const encoder *e = enc;
    return TSRI_FLOW_HEAD + (e->blocks ? tsri_blocks_state_bytes(e->blocks)
                                   : tsri_search_state_bytes(e->search) +
                                         tsri_seq_state_bytes(e->stream));
}

void tsri_flow_enc_state_save(const void *enc, uint8_t *state)
{
    const encoder *e = enc;

    tsri_flow_head_save(state, TSRI_FLOW_ENC, e->blocks != NULL, e->books);
    state += TSRI_FLOW_HEAD;
    if (e->blocks) {
        tsri_blocks_state_save(e->blocks, state);
    } else {
        tsri_search_state_save(e->search, state);
        tsri_seq_state_save(e->stream,
                            state + tsri_search_state_bytes(e->search));
    }
}

tsr_error tsri_flow_enc_state_load(void *enc, const uint8_t *state,
                                   size_t bytes)
{
    encoder *e = enc;

    TSR_TRY(tsri_flow_head_load(e->flow, state, bytes, TSRI_FLOW_ENC,
                                e->blocks != NULL, e->books));
    state += TSRI_FLOW_HEAD;
    bytes -= TSRI_FLOW_HEAD;
    if (e->blocks)
        return tsri_blocks_state_load(e->blocks, state, bytes);
    const size_t own = tsri_search_state_bytes(e->search);
    if (bytes < own || !tsri_search_state_load(e->search, state))
        return tsri_fail(e->flow->ctx, TSR_E_CORRUPT, "the state is damaged");
    return tsri_seq_state_load(e->stream, state + own, bytes - own);
}
