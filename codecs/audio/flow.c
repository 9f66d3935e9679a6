/* SPDX-License-Identifier: BSD-2-Clause */
#include <math.h>
#include <string.h>
#include "codecs/audio/flow.h"
#include "lib/bytes.h"

/* ---- samples that wait ---- */

tsr_error tsri_fifo_put(tsri_fifo *fifo, tsr_context *ctx, const float *x,
                        size_t n)
{
    if (fifo->head > fifo->used) { /* cheap: less is moved than was dropped */
        memcpy(fifo->data, fifo->data + fifo->head, fifo->used * sizeof *x);
        fifo->head = 0;
    }
    TSR_TRY(tsri_grow(ctx, &fifo->data, &fifo->room, fifo->head + fifo->used, n,
                      sizeof *x));
    if (n)
        memcpy(fifo->data + fifo->head + fifo->used, x, n * sizeof *x);
    fifo->used += n;
    return TSR_OK;
}

/* ---- states as bytes ---- */

void tsri_save64(tsri_saver *s, uint64_t v)
{
    tsri_put64(s->at, v);
    s->at += 8;
}

void tsri_save_floats(tsri_saver *s, const float *x, size_t n)
{
    if (n)
        memcpy(s->at, x, n * sizeof *x);
    s->at += n * sizeof *x;
}

uint64_t tsri_restore64(tsri_restorer *r, uint64_t limit)
{
    uint64_t v = 0;

    r->good = r->good && r->end - r->at >= 8;
    if (r->good) {
        v = tsri_get64(r->at);
        r->at += 8;
        r->good = v <= limit;
    }
    return r->good ? v : 0;
}

size_t tsri_restore_left(const tsri_restorer *r)
{
    return (size_t)(r->end - r->at) / sizeof(float);
}

bool tsri_restore_floats(tsri_restorer *r, float *x, size_t n)
{
    r->good = r->good && tsri_restore_left(r) >= n;
    if (!r->good)
        return false;
    if (n)
        memcpy(x, r->at, n * sizeof *x);
    r->at += n * sizeof *x;
    for (size_t i = 0; i < n; i++)
        r->good = r->good && isfinite(x[i]);
    return r->good;
}

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

static tsr_error bad_books(const tsri_flow *flow, int books)
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
        return bad_books(flow, options->books);
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

/* A state begins with what it belongs to. */
enum { HEAD_BYTES = 16, ENC_MAGIC = 0x43455354, DEC_MAGIC = 0x43445354 };

static void save_head(uint8_t *state, uint32_t magic, bool blocks, int books)
{
    tsri_put32(state, magic);
    tsri_put32(state + 4, blocks);
    tsri_put32(state + 8, (uint32_t)books);
    tsri_put32(state + 12, 0);
}

static tsr_error load_head(const tsri_flow *flow, const uint8_t *state,
                           size_t bytes, uint32_t magic, bool blocks, int books)
{
    uint8_t want[HEAD_BYTES];

    save_head(want, magic, blocks, books);
    if (bytes >= HEAD_BYTES && !memcmp(state, want, HEAD_BYTES))
        return TSR_OK;
    return tsri_fail(flow->ctx, TSR_E_CORRUPT,
                     "the state is of another stream");
}

size_t tsri_flow_enc_state_bytes(const void *enc)
{
    const encoder *e = enc;
    return HEAD_BYTES + (e->blocks ? tsri_blocks_state_bytes(e->blocks)
                                   : tsri_search_state_bytes(e->search) +
                                         tsri_seq_state_bytes(e->stream));
}

void tsri_flow_enc_state_save(const void *enc, uint8_t *state)
{
    const encoder *e = enc;

    save_head(state, ENC_MAGIC, e->blocks != NULL, e->books);
    state += HEAD_BYTES;
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

    TSR_TRY(load_head(e->flow, state, bytes, ENC_MAGIC, e->blocks != NULL,
                      e->books));
    state += HEAD_BYTES;
    bytes -= HEAD_BYTES;
    if (e->blocks)
        return tsri_blocks_state_load(e->blocks, state, bytes);
    const size_t own = tsri_search_state_bytes(e->search);
    if (bytes < own || !tsri_search_state_load(e->search, state))
        return tsri_fail(e->flow->ctx, TSR_E_CORRUPT, "the state is damaged");
    return tsri_seq_state_load(e->stream, state + own, bytes - own);
}

/* ---- codes to samples ---- */

typedef struct decoder {
    const tsri_flow *flow;
    tsri_segments *segments; /* NULL if there are none */
    tsri_seq_stream *stream;
    bool lazy;
    float *y;               /* a decoded segment */
    float z[];              /* [TSRI_FLOW_BATCH][latent] */
} decoder;

static tsr_error open_segments(decoder *d)
{
    const tsri_audio_shape *s = &d->flow->shape;

    d->y = tsri_alloc(d->flow->ctx, (size_t)s->segment_frames * (size_t)s->hop *
                      (size_t)s->channels, sizeof *d->y);
    if (!d->y)
        return tsri_nomem(d->flow->ctx);
    return tsri_segments_open(&d->segments, d->flow);
}

tsr_error tsri_flow_dec_open(void **dec, const void *self,
                             const tsri_audio_options *options)
{
    const tsri_flow *flow = self;
    const size_t latent = (size_t)tsri_seq_in_channels(flow->dec);

    decoder *d = tsri_calloc(flow->ctx, 1, sizeof *d + TSRI_FLOW_BATCH *
                             latent * sizeof *d->z);
    *dec = d;
    if (!d)
        return tsri_nomem(flow->ctx);
    d->flow = flow;
    d->lazy = options->lazy;
    tsr_error error = tsri_seq_open(&d->stream, flow->dec, flow->ctx,
                                    options->zero_start &&
                                    !flow->shape.segmented);
    if (!error && flow->shape.segmented)
        error = open_segments(d);
    if (error)
        tsri_flow_dec_close(dec);
    return error;
}

void tsri_flow_dec_close(void **dec)
{
    decoder *d = *dec;
    if (!d)
        return;
    tsri_segments_close(&d->segments);
    tsri_seq_close(&d->stream);
    tsri_free(d->flow->ctx, d->y);
    tsri_free(d->flow->ctx, d);
    *dec = NULL;
}

/* Codes into the net. */
static tsr_error run_codes(decoder *d, const uint16_t *codes, int frames,
                           int books, bool lazy, bool end)
{
    int done = 0;

    do {
        const int n = tsri_min(frames - done, TSRI_FLOW_BATCH);
        TSR_TRY(tsri_quantiser_lookup(&d->flow->quantiser,
                                      codes + (size_t)done * (size_t)books, n,
                                      books, d->z));
        done += n;
        TSR_TRY(tsri_seq_push(d->stream, d->z, (size_t)n, lazy,
                              end && done == frames));
    } while (done < frames);
    return TSR_OK;
}

static tsr_error push_segment(decoder *d, const uint16_t *codes, int frames,
                              int books, const uint8_t *side)
{
    const tsri_audio_shape *s = &d->flow->shape;
    float scale;

    if (!tsri_segments_scale(side, &scale))
        return tsri_fail(d->flow->ctx, TSR_E_CORRUPT,
                         "the loudness of a segment is no number");
    if (frames > s->segment_frames)
        return tsri_fail(d->flow->ctx, TSR_E_CORRUPT, "a segment of %d frames, "
                         "at most %d", frames, s->segment_frames);
    tsri_seq_reset(d->stream);
    TSR_TRY(run_codes(d, codes, frames, books, true, true));
    const size_t n = tsri_seq_take(d->stream, d->y,
                                   (size_t)frames * (size_t)s->hop);
    return tsri_segments_add(d->segments, d->y, n, scale);
}

bool tsri_flow_side_good(const uint8_t *side)
{
    float scale;
    return tsri_segments_scale(side, &scale);
}

tsr_error tsri_flow_dec_push(void *dec, const uint16_t *codes, int frames,
                             int books, const uint8_t *side, bool end)
{
    decoder *d = dec;

    if (frames && (books < 1 || books > d->flow->shape.books))
        return bad_books(d->flow, books);
    if (!d->segments)
        return run_codes(d, codes, frames, books, d->lazy, end);
    if (frames)
        TSR_TRY(push_segment(d, codes, frames, books, side));
    return end ? tsri_segments_end(d->segments) : TSR_OK;
}

tsr_error tsri_flow_dec_take(void *dec, float *x, size_t room, size_t *n)
{
    decoder *d = dec;

    if (!d->segments) {
        *n = tsri_seq_take(d->stream, x, room);
        return TSR_OK;
    }
    const size_t channels = (size_t)d->flow->shape.channels;
    const size_t ready = d->segments->out.used / channels;
    *n = room < ready ? room : ready;
    if (*n)
        memcpy(x, tsri_fifo_at(&d->segments->out), *n * channels * sizeof *x);
    tsri_fifo_drop(&d->segments->out, *n * channels);
    return TSR_OK;
}

size_t tsri_flow_dec_state_bytes(const void *dec)
{
    const decoder *d = dec;
    return HEAD_BYTES + (d->segments ? tsri_segments_state_bytes(d->segments)
                                     : tsri_seq_state_bytes(d->stream));
}

void tsri_flow_dec_state_save(const void *dec, uint8_t *state)
{
    const decoder *d = dec;

    save_head(state, DEC_MAGIC, d->segments != NULL, 0);
    if (d->segments)
        tsri_segments_state_save(d->segments, state + HEAD_BYTES);
    else
        tsri_seq_state_save(d->stream, state + HEAD_BYTES);
}

tsr_error tsri_flow_dec_state_load(void *dec, const uint8_t *state,
                                   size_t bytes)
{
    decoder *d = dec;

    TSR_TRY(load_head(d->flow, state, bytes, DEC_MAGIC, d->segments != NULL, 0));
    state += HEAD_BYTES;
    bytes -= HEAD_BYTES;
    return d->segments ? tsri_segments_state_load(d->segments, state, bytes)
                       : tsri_seq_state_load(d->stream, state, bytes);
}
