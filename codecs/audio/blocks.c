/* SPDX-License-Identifier: BSD-2-Clause */
/* Sound that is encoded block by block, each as a sound of its own. */
#include <math.h>
#include <string.h>
#include "codecs/audio/flow.h"
#include "lib/bytes.h"

/* Longer windows would be the whole sound anyway. */
#define WINDOW_FRAMES_MAX 1e7

static void set_sizes(tsri_blocks *b, const tsri_audio_options *options)
{
    const tsri_audio_shape *s = &b->flow->shape;
    const uint64_t hop = (uint64_t)s->hop;

    if (s->segmented) {
        b->step = (uint64_t)s->segment_step;
        b->after = (uint64_t)(s->segment_samples - s->segment_step);
        return;
    }
    const double frames = options->window * s->rate / s->hop;
    b->step = hop * (uint64_t)fmax(1, rint(fmin(frames, WINDOW_FRAMES_MAX)));
    b->before = b->after = hop * (uint64_t)b->flow->context;
}

tsr_error tsri_blocks_open(tsri_blocks **blocks, const tsri_flow *flow,
                           const tsri_audio_options *options)
{
    const size_t latent = (size_t)tsri_seq_out_channels(flow->enc);

    tsri_blocks *b = tsri_calloc(flow->ctx, 1, sizeof *b +
                                 (size_t)tsri_flow_batch(flow) * latent *
                                 sizeof *b->z);
    *blocks = b;
    if (!b)
        return tsri_nomem(flow->ctx);
    b->flow = flow;
    b->books = options->books;
    set_sizes(b, options);
    TSR_TRY(tsri_search_open(&b->search, &flow->quantiser, options->codes,
                             b->books, options->beam));
    return tsri_seq_open(&b->stream, flow->enc, flow->ctx, false);
}

void tsri_blocks_close(tsri_blocks **blocks)
{
    tsri_blocks *b = *blocks;
    if (!b)
        return;
    tsri_seq_close(&b->stream);
    tsri_search_close(&b->search);
    tsri_free(b->flow->ctx, b->wait.data);
    tsri_free(b->flow->ctx, b->codes);
    tsri_free(b->flow->ctx, b);
    *blocks = NULL;
}

tsr_error tsri_blocks_push(tsri_blocks *b, const float *x, size_t n, bool end)
{
    if (b->ended)
        return tsri_fail(b->flow->ctx, TSR_E_ARG, "samples after the end");
    b->ended = end;
    return tsri_fifo_put(&b->wait, b->flow->ctx, x,
                         n * (size_t)b->flow->shape.channels);
}

/* ---- one block ---- */

/* Root of the mean square of the mean of the channels, a little more than 0. */
static float loudness(const float *x, size_t n, int channels)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++) {
        double mean = 0;
        for (int c = 0; c < channels; c++)
            mean += (double)x[i * (size_t)channels + (size_t)c];
        mean /= channels;
        sum += mean * mean;
    }
    const double scale = 1e-8 + sqrt(sum / (double)n);
    return (float)fmin(scale, TSRI_SCALE_MAX);
}

/* Pushes a segment, divided by b->scale. */
static tsr_error push_scaled(tsri_blocks *b, const float *x, size_t n)
{
    enum { PIECE = 1024 };
    const size_t channels = (size_t)b->flow->shape.channels;
    float piece[PIECE * 2];

    for (size_t done = 0; done < n;) {
        const size_t m = n - done < PIECE ? n - done : PIECE;
        for (size_t i = 0; i < m * channels; i++)
            piece[i] = x[done * channels + i] / b->scale;
        done += m;
        TSR_TRY(tsri_seq_push(b->stream, piece, m, true, done == n));
    }
    return TSR_OK;
}

/* Moves `keep` frames after the first `skip` from the net to b->codes. */
static tsr_error take_frames(tsri_blocks *b, size_t skip, size_t keep)
{
    const size_t books = (size_t)b->books;
    const size_t batch = (size_t)tsri_flow_batch(b->flow);

    while (skip) {
        const size_t want = skip < batch ? skip : batch;
        skip -= tsri_seq_take(b->stream, b->z, want);
    }
    TSR_TRY(tsri_grow(b->flow->ctx, &b->codes, &b->room, 0, keep * books,
                      sizeof *b->codes));
    b->first = b->count = 0;
    while (b->count < keep) {
        const size_t left = keep - b->count;
        const size_t n = tsri_seq_take(b->stream, b->z,
                                       left < batch ? left : batch);
        TSR_TRY(tsri_search_frames(b->search, b->z, (int)n,
                                   b->codes + b->count * books));
        b->count += n;
    }
    return TSR_OK;
}

static tsr_error run_block(tsri_blocks *b, size_t n)
{
    const tsri_audio_shape *s = &b->flow->shape;
    const float *x = tsri_fifo_at(&b->wait);

    tsri_seq_reset(b->stream);
    if (s->segmented) {
        b->scale = loudness(x, n, s->channels);
        TSR_TRY(push_scaled(b, x, n));
        return take_frames(b, 0, tsri_seq_ready(b->stream));
    }
    TSR_TRY(tsri_seq_push(b->stream, x, n, true, true));
    const size_t frames = tsri_seq_ready(b->stream);
    const size_t skip = (size_t)b->had / (size_t)s->hop;
    const size_t rest = frames > skip ? frames - skip : 0;
    const size_t step = (size_t)b->step / (size_t)s->hop;
    return take_frames(b, rest ? skip : 0, rest < step ? rest : step);
}

/* Goes on to the next block. */
static void advance(tsri_blocks *b, uint64_t waits)
{
    const uint64_t rest = waits - b->had;
    const uint64_t reach = b->had + (rest < b->step ? rest : b->step);
    const uint64_t keep = reach < b->before ? reach : b->before;

    tsri_fifo_drop(&b->wait, (size_t)(reach - keep) *
                             (size_t)b->flow->shape.channels);
    b->had = keep;
}

tsr_error tsri_blocks_take(tsri_blocks *b, uint16_t *codes, int room,
                           int *frames, uint8_t *side)
{
    const size_t channels = (size_t)b->flow->shape.channels;

    while (!b->count) {
        const uint64_t waits = b->wait.used / channels;
        const uint64_t whole = b->had + b->step + b->after;
        if (b->ended ? waits == b->had : waits < whole) {
            *frames = 0;
            return TSR_OK;
        }
        TSR_TRY(run_block(b, (size_t)(waits < whole ? waits : whole)));
        advance(b, waits);
    }
    const size_t n = (size_t)room < b->count ? (size_t)room : b->count;
    memcpy(codes, b->codes + b->first * (size_t)b->books,
           n * (size_t)b->books * sizeof *codes);
    b->first += n;
    b->count -= n;
    *frames = (int)n;
    if (b->flow->shape.segmented) {
        uint32_t bits;
        memcpy(&bits, &b->scale, sizeof bits);
        tsri_put32(side, bits);
    }
    return TSR_OK;
}

/* ---- state ---- */

enum { NUMBERS = 6 };

size_t tsri_blocks_state_bytes(const tsri_blocks *b)
{
    return NUMBERS * 8 + (1 + b->wait.used) * sizeof(float) +
           b->count * (size_t)b->books * sizeof *b->codes +
           tsri_search_state_bytes(b->search);
}

void tsri_blocks_state_save(const tsri_blocks *b, uint8_t *state)
{
    tsri_saver s = { state };

    tsri_save64(&s, b->step);
    tsri_save64(&s, b->after);
    tsri_save64(&s, b->ended);
    tsri_save64(&s, b->had);
    tsri_save64(&s, b->wait.used);
    tsri_save64(&s, b->count);
    tsri_save_floats(&s, &b->scale, 1);
    tsri_save_floats(&s, tsri_fifo_at(&b->wait), b->wait.used);
    if (b->count)
        memcpy(s.at, b->codes + b->first * (size_t)b->books,
               b->count * (size_t)b->books * sizeof *b->codes);
    tsri_search_state_save(b->search, s.at + b->count * (size_t)b->books *
                                                 sizeof *b->codes);
}

/* The rest must be exactly these samples and codes. */
static tsr_error load_arrays(tsri_blocks *b, tsri_restorer *r, size_t waits,
                             size_t codes)
{
    tsr_context *ctx = b->flow->ctx;

    r->good = r->good && (size_t)(r->end - r->at) ==
                             (1 + waits) * sizeof(float) + codes * 2 +
                             tsri_search_state_bytes(b->search);
    if (!r->good)
        return TSR_OK;
    b->wait.head = b->wait.used = 0;
    TSR_TRY(tsri_grow(ctx, &b->wait.data, &b->wait.room, 0, waits,
                      sizeof(float)));
    TSR_TRY(tsri_grow(ctx, &b->codes, &b->room, 0, codes, sizeof *b->codes));
    tsri_restore_floats(r, &b->scale, 1);
    if (!tsri_restore_floats(r, b->wait.data, waits))
        return TSR_OK;
    b->wait.used = waits;
    if (codes)
        memcpy(b->codes, r->at, codes * sizeof *b->codes);
    for (size_t i = 0; i < codes; i++)
        r->good = r->good && b->codes[i] < b->flow->shape.codewords;
    r->good = tsri_search_state_load(b->search, r->at + 2 * codes) && r->good;
    return TSR_OK;
}

tsr_error tsri_blocks_state_load(tsri_blocks *b, const uint8_t *state,
                                 size_t bytes)
{
    const size_t channels = (size_t)b->flow->shape.channels;
    tsri_restorer r = { state, state + bytes, true };

    r.good = tsri_restore64(&r, UINT64_MAX) == b->step && r.good;
    r.good = tsri_restore64(&r, UINT64_MAX) == b->after && r.good;
    b->ended = tsri_restore64(&r, 1) != 0;
    b->had = tsri_restore64(&r, b->before);
    const size_t waits = (size_t)tsri_restore64(&r, bytes);
    b->first = 0;
    b->count = (size_t)tsri_restore64(&r, bytes);
    r.good = r.good && waits % channels == 0 && waits / channels >= b->had &&
             (!b->flow->shape.segmented ||
              b->count <= (size_t)b->flow->shape.segment_frames);
    TSR_TRY(load_arrays(b, &r, waits, b->count * (size_t)b->books));
    if (r.good && b->scale >= 0 && b->scale <= (float)TSRI_SCALE_MAX &&
        b->had % (uint64_t)b->flow->shape.hop == 0)
        return TSR_OK;
    return tsri_fail(b->flow->ctx, TSR_E_CORRUPT, "the state is damaged");
}
