/* SPDX-License-Identifier: BSD-2-Clause */
/* Streams: what comes in goes down the net block by block.  The node nearest
 * the output that can work always goes first, so a block is used while it is in
 * the cache and no more waits between two nodes than their nature asks for. */
#include <string.h>
#include "lib/nn/seq_internal.h"

enum { TOO_LONG = 48 };     /* log2 of samples of one stream */

/* A device that cannot clear its memory has failed: the stream is of no more
 * use. */
void tsri_seq_reset(tsri_seq_stream *s)
{
    s->broken = s->ops && tsri_seq_device_reset(s);
    for (int i = 0; i < s->seq->nodes; i++) {
        const tsri_seq_node *n = &s->seq->node[i];
        tsri_seq_track *t = &s->track[i];
        t->base = -n->front;
        t->made = 0;
        t->ended = false;
        if (t->state && !s->ops)
            memset(t->state, 0, 2 * (size_t)n->channels * sizeof *t->state);
    }
    s->taken = s->out_first = 0;
}

/* What node i has besides its samples. */
static tsr_error open_track(tsri_seq_stream *s, int i, int *hidden)
{
    const tsri_seq_node *n = &s->seq->node[i];
    const size_t channels = (size_t)n->channels;
    tsri_seq_track *t = &s->track[i];

    if (n->live && n->kind == TSRI_SEQ_LSTM) {
        *hidden = tsri_max(*hidden, n->channels);
        t->state = tsri_alloc(s->ctx, 2 * channels, sizeof *t->state);
        return t->state ? TSR_OK : tsri_nomem(s->ctx);
    }
    if (n->live && n->kind == TSRI_SEQ_NORM) {
        t->sum = tsri_alloc(s->ctx, 2 * channels, sizeof *t->sum);
        t->shift = tsri_alloc(s->ctx, 2 * channels, sizeof *t->shift);
        return t->sum && t->shift ? TSR_OK : tsri_nomem(s->ctx);
    }
    return TSR_OK;
}

static tsr_error open_tracks(tsri_seq_stream *s)
{
    int hidden = 0;

    s->track = tsri_calloc(s->ctx, (size_t)s->seq->nodes, sizeof *s->track);
    if (!s->track)
        return tsri_nomem(s->ctx);
    if (s->ops)
        return tsri_seq_device_open(s);
    for (int i = 0; i < s->seq->nodes; i++)
        TSR_TRY(open_track(s, i, &hidden));
    s->gates = tsri_alloc(s->ctx, (size_t)hidden * TSRI_SEQ_BATCH,
                          4 * sizeof *s->gates);
    return s->gates ? TSR_OK : tsri_nomem(s->ctx);
}

tsr_error tsri_seq_open(tsri_seq_stream **out, const tsri_seq *seq,
                        tsr_context *ctx, bool zero_start)
{
    tsri_seq_stream *s = tsri_calloc(ctx, 1, sizeof *s);
    tsr_error error;

    *out = s;
    if (!s)
        return tsri_nomem(ctx);
    s->seq = seq;
    s->ctx = ctx;
    s->kernels = tsri_seq_kernels_pick(ctx->cpu);
    s->zero_start = zero_start;
    s->element = sizeof(float);
    if (seq->ops && ctx == seq->ctx) {
        s->ops = seq->ops;
        s->dev = seq->dev;
        s->element = seq->element;
    }
    error = open_tracks(s);
    if (error)
        tsri_seq_close(out);
    else
        tsri_seq_reset(s);
    return error;
}

void tsri_seq_close(tsri_seq_stream **out)
{
    tsri_seq_stream *s = out ? *out : NULL;
    if (!s)
        return;
    if (s->ops)
        tsri_seq_device_close(s);
    for (int i = 0; !s->ops && s->track && i < s->seq->nodes; i++) {
        tsri_free(s->ctx, s->track[i].data);
        tsri_free(s->ctx, s->track[i].state);
        tsri_free(s->ctx, s->track[i].sum);
        tsri_free(s->ctx, s->track[i].shift);
    }
    tsri_free(s->ctx, s->gates);
    tsri_free(s->ctx, s->track);
    tsri_free(s->ctx, s);
    *out = NULL;
}

static bool inputs_ended(const tsri_seq_stream *s, const tsri_seq_node *n)
{
    for (int k = 0; k < n->inputs; k++)
        if (!s->track[n->in[k]].ended)
            return false;
    return true;
}

int64_t tsri_seq_limit(const tsri_seq_stream *s, int i)
{
    const tsri_seq_node *n = &s->seq->node[i];
    const uint64_t a = (uint64_t)s->track[n->in[0]].made;
    const uint64_t b = (uint64_t)s->track[n->in[1]].made;

    return (int64_t)(inputs_ended(s, n) ? tsri_seq_length(n, a, b) :
                     tsri_seq_known(n, a, b, s->zero_start));
}

/* Runs node i if it can: *ran. */
static tsr_error try_node(tsri_seq_stream *s, int i, bool lazy, bool *ran)
{
    const tsri_seq_node *n = &s->seq->node[i];
    tsri_seq_track *t = &s->track[i];
    const int64_t limit = tsri_seq_limit(s, i), more = limit - t->made;
    const bool last = inputs_ended(s, n);

    *ran = last || more >= (lazy ? (int64_t)n->fold * TSRI_SEQ_BATCH : 1);
    if (*ran && more)
        TSR_TRY(tsri_seq_step(s, i, limit));
    t->ended = last && t->made == limit;
    return TSR_OK;
}

static tsr_error run(tsri_seq_stream *s, bool lazy)
{
    int i = s->seq->output;
    bool ran;

    while (i > 0) {
        ran = false;
        if (s->seq->node[i].live && !s->track[i].ended)
            TSR_TRY(try_node(s, i, lazy, &ran));
        i = ran ? s->seq->node[i].last_user : i - 1;
    }
    return TSR_OK;
}

/* To the end of the input's track. */
static tsr_error append(tsri_seq_stream *s, const float *x, size_t n)
{
    const size_t row = (size_t)s->seq->node[0].channels;
    tsri_seq_track *t = &s->track[0];

    TSR_TRY(tsri_seq_reserve(s, 0, t->made, t->made + (int64_t)n));
    if (s->ops)
        TSR_TRY(tsri_seq_device_enter(s, tsri_seq_at(s, 0, t->made), x, n * row));
    else
        memcpy(tsri_seq_at(s, 0, t->made), x, n * row * sizeof *x);
    t->made += (int64_t)n;
    return TSR_OK;
}

tsr_error tsri_seq_run(tsri_seq_stream *s, const float *x, size_t n, bool lazy,
                       bool end)
{
    const size_t channels = (size_t)s->seq->node[0].channels;
    const size_t block = s->ops ? s->portion : (size_t)s->seq->node[0].block;
    tsri_seq_track *t = &s->track[0];

    if (n > ((uint64_t)1 << TOO_LONG) - (uint64_t)t->made)
        return tsri_fail(s->ctx, TSR_E_LIMIT, "the signal is too long");
    do {
        const size_t k = n < block ? n : block;
        if (k) {
            TSR_TRY(append(s, x, k));
            x += k * channels;
        }
        n -= k;
        t->ended = end && !n;
        TSR_TRY(run(s, lazy || n));
    } while (n);
    return TSR_OK;
}

tsr_error tsri_seq_push(tsri_seq_stream *s, const float *x, size_t n, bool lazy,
                        bool end)
{
    tsr_error error;

    if (s->broken || s->track[0].ended)
        return tsri_fail(s->ctx, TSR_E_ARG, s->broken ?
                         "the stream has failed before" :
                         "samples behind the end of a stream");
    error = s->ops ? tsri_seq_device_push(s, x, n, lazy, end) :
                     tsri_seq_run(s, x, n, lazy, end);
    s->broken = error != TSR_OK;
    return error;
}

size_t tsri_seq_ready(const tsri_seq_stream *s)
{
    const int64_t there = s->ops ? s->fetched : s->track[s->seq->output].made;
    return (size_t)(there - s->taken);
}

size_t tsri_seq_take(tsri_seq_stream *s, float *y, size_t n)
{
    const int output = s->seq->output;
    const size_t channels = (size_t)s->seq->node[output].channels;
    const size_t ready = tsri_seq_ready(s), k = n < ready ? n : ready;

    if (s->ops)
        return tsri_seq_device_take(s, y, n);
    if (k)
        memcpy(y, tsri_seq_at(s, output, s->taken), k * channels * sizeof *y);
    s->taken += (int64_t)k;
    return k;
}
