/* SPDX-License-Identifier: BSD-2-Clause */
/* Decoded segments that overlap, cross-faded into one sound. */
#include <math.h>
#include <string.h>
#include "codecs/audio/flow.h"
#include "lib/bytes.h"

/* No sound is that long; sums of positions stay far from overflow. */
#define POSITION_MAX ((uint64_t)1 << 60)

tsr_error tsri_segments_open(tsri_segments **segments, const tsri_flow *flow)
{
    const tsri_audio_shape *shape = &flow->shape;
    const size_t span = (size_t)shape->segment_frames * (size_t)shape->hop;

    tsri_segments *s = tsri_calloc(flow->ctx, 1, sizeof *s + span *
                                   (size_t)shape->channels * sizeof *s->acc);
    *segments = s;
    if (!s)
        return tsri_nomem(flow->ctx);
    s->flow = flow;
    s->span = span;
    s->sum = tsri_calloc(flow->ctx, span, sizeof *s->sum);
    return s->sum ? TSR_OK : tsri_nomem(flow->ctx);
}

void tsri_segments_close(tsri_segments **segments)
{
    tsri_segments *s = *segments;
    if (!s)
        return;
    tsri_free(s->flow->ctx, s->sum);
    tsri_free(s->flow->ctx, s->out.data);
    tsri_free(s->flow->ctx, s);
    *segments = NULL;
}

bool tsri_segments_scale(const uint8_t *side, float *scale)
{
    *scale = tsri_getf32(side);
    return isfinite(*scale) && *scale > 0 && *scale <= (float)TSRI_SCALE_MAX;
}

/* Gives out all before position `to`, at most span samples. */
static tsr_error flush(tsri_segments *s, uint64_t to)
{
    const size_t channels = (size_t)s->flow->shape.channels;

    if (to <= s->base)
        return TSR_OK;
    const size_t n = (size_t)(to - s->base), rest = s->span - n;
    for (size_t t = 0; t < n; t++)
        for (size_t c = 0; c < channels; c++)
            s->acc[t * channels + c] /= s->sum[t] > 0 ? s->sum[t] : 1;
    TSR_TRY(tsri_fifo_put(&s->out, s->flow->ctx, s->acc, n * channels));
    memmove(s->acc, s->acc + n * channels, rest * channels * sizeof *s->acc);
    memset(s->acc + rest * channels, 0, n * channels * sizeof *s->acc);
    memmove(s->sum, s->sum + n, rest * sizeof *s->sum);
    memset(s->sum + rest, 0, n * sizeof *s->sum);
    s->base = to;
    return TSR_OK;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

tsr_error tsri_segments_add(tsri_segments *s, const float *y, size_t n,
                            float scale)
{
    const size_t channels = (size_t)s->flow->shape.channels;

    if (s->ended || s->next > POSITION_MAX)
        return tsri_fail(s->flow->ctx, TSR_E_ARG, "a segment after the end");
    TSR_TRY(flush(s, s->next));
    if (s->first < n)
        s->first = n;
    for (size_t t = 0; t < n; t++) {
        const double at = (double)(t + 1) / (double)(s->first + 1);
        const float weight = (float)(0.5 - fabs(at - 0.5));
        s->sum[t] += weight;
        for (size_t c = 0; c < channels; c++)
            s->acc[t * channels + c] += weight * (y[t * channels + c] * scale);
    }
    s->end = s->next + n;
    s->next += (uint64_t)s->flow->shape.segment_step;
    return flush(s, least(s->next, s->end));
}

tsr_error tsri_segments_end(tsri_segments *s)
{
    s->ended = true;
    return flush(s, s->end);
}

/* ---- state ---- */

enum { NUMBERS = 6 };

size_t tsri_segments_state_bytes(const tsri_segments *s)
{
    const size_t channels = (size_t)s->flow->shape.channels;
    return NUMBERS * 8 + (s->span * (channels + 1) + s->out.used) *
                         sizeof(float);
}

void tsri_segments_state_save(const tsri_segments *s, uint8_t *state)
{
    tsri_saver saver = { state };

    tsri_save64(&saver, s->ended);
    tsri_save64(&saver, s->first);
    tsri_save64(&saver, s->base);
    tsri_save64(&saver, s->next);
    tsri_save64(&saver, s->end);
    tsri_save64(&saver, s->out.used);
    tsri_save_floats(&saver, s->acc, s->span *
                                     (size_t)s->flow->shape.channels);
    tsri_save_floats(&saver, s->sum, s->span);
    tsri_save_floats(&saver, tsri_fifo_at(&s->out), s->out.used);
}

/* Positions that add() and end() could have left. */
static bool positions_good(const tsri_segments *s)
{
    const uint64_t step = (uint64_t)s->flow->shape.segment_step;

    if (!s->next)
        return !s->first && !s->base && !s->end;
    const uint64_t start = s->next - step;
    return s->next % step == 0 && s->first >= 1 && s->end > start &&
           s->end - start <= s->first && s->base >= start &&
           s->base <= (s->ended ? s->end : least(s->next, s->end)) &&
           s->base >= least(s->next, s->end);
}

tsr_error tsri_segments_state_load(tsri_segments *s, const uint8_t *state,
                                   size_t bytes)
{
    const size_t channels = (size_t)s->flow->shape.channels;
    tsri_restorer r = { state, state + bytes, true };

    s->ended = tsri_restore64(&r, 1) != 0;
    s->first = tsri_restore64(&r, s->span);
    s->base = tsri_restore64(&r, 2 * POSITION_MAX);
    s->next = tsri_restore64(&r, 2 * POSITION_MAX);
    s->end = tsri_restore64(&r, 2 * POSITION_MAX);
    const size_t out = (size_t)tsri_restore64(&r, bytes);
    r.good = r.good && positions_good(s) && out % channels == 0 &&
             (size_t)(r.end - r.at) == (s->span * (channels + 1) + out) *
                                           sizeof(float);
    tsri_restore_floats(&r, s->acc, s->span * channels);
    tsri_restore_floats(&r, s->sum, s->span);
    s->out.head = s->out.used = 0;
    if (r.good)
        TSR_TRY(tsri_grow(s->flow->ctx, &s->out.data, &s->out.room, 0, out,
                          sizeof(float)));
    if (tsri_restore_floats(&r, s->out.data, out)) {
        s->out.used = out;
        return TSR_OK;
    }
    return tsri_fail(s->flow->ctx, TSR_E_CORRUPT, "the state is damaged");
}
