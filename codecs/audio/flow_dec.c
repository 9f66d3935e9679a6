/* SPDX-License-Identifier: BSD-2-Clause */
/* Codes to samples. */
#include <string.h>
#include "codecs/audio/flow.h"

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
        return tsri_flow_bad_books(d->flow, books);
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
    return TSRI_FLOW_HEAD + (d->segments ? tsri_segments_state_bytes(d->segments)
                                     : tsri_seq_state_bytes(d->stream));
}

void tsri_flow_dec_state_save(const void *dec, uint8_t *state)
{
    const decoder *d = dec;

    tsri_flow_head_save(state, TSRI_FLOW_DEC, d->segments != NULL, 0);
    if (d->segments)
        tsri_segments_state_save(d->segments, state + TSRI_FLOW_HEAD);
    else
        tsri_seq_state_save(d->stream, state + TSRI_FLOW_HEAD);
}

tsr_error tsri_flow_dec_state_load(void *dec, const uint8_t *state,
                                   size_t bytes)
{
    decoder *d = dec;

    TSR_TRY(tsri_flow_head_load(d->flow, state, bytes, TSRI_FLOW_DEC,
                                d->segments != NULL, 0));
    state += TSRI_FLOW_HEAD;
    bytes -= TSRI_FLOW_HEAD;
    return d->segments ? tsri_segments_state_load(d->segments, state, bytes)
                       : tsri_seq_state_load(d->stream, state, bytes);
}
