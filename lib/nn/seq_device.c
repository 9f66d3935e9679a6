/* SPDX-License-Identifier: BSD-2-Clause */
/* Streams on a device: the runner's tracks lie in its memory.  What comes in is
 * kept on the host until there is a portion of it, for a step costs as much for
 * one sample as for thousands; what comes out returns once a portion. */
#include <string.h>
#include "lib/nn/cuda/seq_cuda.h"
#include "lib/nn/seq_internal.h"

enum {
    SHARE = 3,              /* of max_memory: tracks may take twice what they
                               hold, and others want some */
    LONGEST = 1 << 21,      /* samples of a portion */
    HOST_LEAST = 1 << 18    /* bytes that a host buffer has */
};

typedef struct tsri_seq_room room;

/* ---- weights ---- */

static tsr_error put_floats(tsri_seq *seq, float **to, const float *a,
                            const float *b, int n)
{
    const size_t bytes = (size_t)n * sizeof **to;

    TSR_TRY(seq->ops->alloc(seq->dev, (void **)to, bytes * (b ? 2 : 1)));
    TSR_TRY(seq->ops->upload(seq->dev, *to, a, bytes));
    return b ? seq->ops->upload(seq->dev, *to + n, b, bytes) : TSR_OK;
}

static tsr_error pack_node(tsri_seq *seq, tsri_seq_node *n)
{
    if (n->kind == TSRI_SEQ_CONV)
        TSR_TRY(seq->ops->pack(seq->dev, &n->conv, &n->on_device.weights));
    if (n->kind == TSRI_SEQ_LSTM) {
        TSR_TRY(seq->ops->pack(seq->dev, &n->lstm.input, &n->on_device.weights));
        TSR_TRY(seq->ops->pack_lstm(seq->dev, &n->lstm,
                                    &n->on_device.recurrent));
    }
    if (n->kind == TSRI_SEQ_NORM)
        TSR_TRY(put_floats(seq, &n->on_device.norm, n->weight, n->bias,
                           n->channels));
    return n->alpha ? put_floats(seq, &n->on_device.alpha, n->alpha, NULL,
                                 n->channels) : TSR_OK;
}

const tsri_seq_ops *tsri_seq_device_of(const tsr_context *ctx, bool decoder)
{
    const int asked = ctx->precision;

    if (ctx->seq || !ctx->gpu)
        return ctx->seq;
    return tsri_seq_cuda(asked != TSR_PRECISION_AUTO ? asked :
                         decoder ? TSR_PRECISION_F16 : TSR_PRECISION_F32);
}

tsr_error tsri_seq_device_pack(tsri_seq *seq)
{
    const tsri_seq_ops *ops = tsri_seq_device_of(seq->ctx, seq->decoder);
    int element;

    if (!ops)
        return TSR_OK;
    TSR_TRY(ops->open(&seq->dev, seq->ctx, &element));
    seq->ops = ops;
    seq->element = (size_t)element;
    for (int i = 0; i < seq->nodes; i++)
        if (seq->node[i].live)
            TSR_TRY(pack_node(seq, &seq->node[i]));
    return seq->ops->wait(seq->dev);
}

void tsri_seq_device_drop(tsri_seq *seq)
{
    if (!seq->ops)
        return;
    for (int i = 0; i < seq->nodes; i++) {
        tsri_seq_node *n = &seq->node[i];
        seq->ops->unpack(seq->dev, n->on_device.weights);
        seq->ops->unpack(seq->dev, n->on_device.recurrent);
        seq->ops->free(seq->dev, n->on_device.alpha);
        seq->ops->free(seq->dev, n->on_device.norm);
    }
    seq->ops->close(&seq->dev);
    seq->ops = NULL;
}

/* ---- memory of a stream ---- */

static void give_up(tsri_seq_stream *s, room *r)
{
    if (r->host)
        s->ops->free_host(s->dev, r->data);
    else
        s->ops->free(s->dev, r->data);
    r->data = NULL;
    r->bytes = 0;
}

/* Of a buffer that grows.  Those of the host have few sizes, as they are kept for
 * the next stream: to take new ones costs more than a second of sound. */
static size_t room_for(const room *r, size_t bytes)
{
    size_t all = HOST_LEAST;

    if (!r->host)
        return bytes + bytes / 2 + 256;
    while (all < bytes)
        all *= 2;
    return all;
}

tsr_error tsri_seq_device_need(tsri_seq_stream *s, room *r, size_t count,
                               size_t size, size_t used)
{
    room more = { .host = r->host };
    size_t bytes;

    if (!tsri_mul(count, size, &bytes) || bytes > SIZE_MAX / 2)
        return tsri_nomem(s->ctx);
    if (bytes <= r->bytes)
        return TSR_OK;
    more.bytes = room_for(r, bytes);
    TSR_TRY(r->host ? s->ops->alloc_host(s->dev, &more.data, more.bytes)
                    : s->ops->alloc(s->dev, &more.data, more.bytes));
    if (used)
        memcpy(more.data, r->data, used);
    give_up(s, r);
    *r = more;
    return TSR_OK;
}

/* Bytes that all tracks take for a sample of the input. */
static double density(const tsri_seq_stream *s)
{
    double bytes = 0;

    for (int i = 0; i < s->seq->nodes; i++) {
        const tsri_seq_node *n = &s->seq->node[i];
        const double gates = n->kind == TSRI_SEQ_LSTM ? 16.0 * n->channels : 0;
        if (n->live)
            bytes += ((double)n->channels * (double)s->element + gates) * n->up /
                     n->down;
    }
    return bytes;
}

static tsr_error open_track(tsri_seq_stream *s, int i)
{
    const tsri_seq_node *n = &s->seq->node[i];
    const size_t bytes = 2 * (size_t)n->channels * sizeof(float);
    tsri_seq_track *t = &s->track[i];

    if (n->live && n->kind == TSRI_SEQ_LSTM)
        return s->ops->alloc(s->dev, (void **)&t->state, bytes);
    if (n->live && n->kind == TSRI_SEQ_NORM)
        return s->ops->alloc(s->dev, (void **)&t->shift, bytes);
    return TSR_OK;
}

tsr_error tsri_seq_device_open(tsri_seq_stream *s)
{
    const double most = (double)s->ctx->max_memory / SHARE / density(s);

    s->in.host = s->out.host = true;
    s->portion = most < TSRI_SEQ_BATCH ? TSRI_SEQ_BATCH :
                 most < LONGEST ? (size_t)most : LONGEST;
    for (int i = 0; i < s->seq->nodes; i++)
        TSR_TRY(open_track(s, i));
    return TSR_OK;
}

void tsri_seq_device_close(tsri_seq_stream *s)
{
    room *const all[] = { &s->in, &s->out, &s->planes, &s->gates_of[0],
                          &s->gates_of[1] };

    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        give_up(s, all[i]);
    for (int i = 0; s->track && i < s->seq->nodes; i++) {
        s->ops->free(s->dev, s->track[i].data);
        s->ops->free(s->dev, s->track[i].state);
        s->ops->free(s->dev, s->track[i].shift);
    }
}

tsr_error tsri_seq_device_reset(tsri_seq_stream *s)
{
    s->waiting = 0;
    s->fetched = 0;
    for (int i = 0; i < s->seq->nodes; i++)
        if (s->track[i].state)
            TSR_TRY(s->ops->clear(s->dev, s->track[i].state, 2 *
                                  (size_t)s->seq->node[i].channels *
                                  sizeof(float)));
    return TSR_OK;
}

/* ---- in and out ---- */

tsr_error tsri_seq_device_enter(tsri_seq_stream *s, void *to, const float *x,
                                size_t n)
{
    if (s->element == sizeof *x)
        return s->ops->upload(s->dev, to, x, n * sizeof *x);
    TSR_TRY(tsri_seq_device_need(s, &s->planes, n, sizeof *x, 0));
    TSR_TRY(s->ops->upload(s->dev, s->planes.data, x, n * sizeof *x));
    return s->ops->enter(s->dev, to, s->planes.data, n);
}

tsr_error tsri_seq_device_leave(tsri_seq_stream *s, float *y, const void *from,
                                size_t n)
{
    if (s->element == sizeof *y)
        return s->ops->download(s->dev, y, from, n * sizeof *y);
    TSR_TRY(tsri_seq_device_need(s, &s->planes, n, sizeof *y, 0));
    TSR_TRY(s->ops->leave(s->dev, s->planes.data, from, n));
    return s->ops->download(s->dev, y, s->planes.data, n * sizeof *y);
}

static size_t row_of(const tsri_seq_stream *s, int i)
{
    return (size_t)s->seq->node[i].channels;
}

tsr_error tsri_seq_device_out(tsri_seq_stream *s, size_t n, float **at)
{
    const size_t row = row_of(s, s->seq->output);
    const size_t left = tsri_seq_ready(s) * row;
    float *out = s->out.data;

    if (left && s->out_first < s->taken)
        memmove(out, out + (size_t)(s->taken - s->out_first) * row,
                left * sizeof *out);
    s->out_first = s->taken;
    TSR_TRY(tsri_seq_device_need(s, &s->out, left + n * row, sizeof *out,
                                 left * sizeof *out));
    *at = (float *)s->out.data + left;
    return TSR_OK;
}

/* What the last node has made comes back.  Waits in any case: what came in may
 * be overwritten then. */
static tsr_error fetch(tsri_seq_stream *s)
{
    const int output = s->seq->output;
    const size_t n = (size_t)(s->track[output].made - s->fetched);
    float *to;

    if (n) {
        TSR_TRY(tsri_seq_device_out(s, n, &to));
        TSR_TRY(tsri_seq_device_leave(s, to, tsri_seq_at(s, output, s->fetched),
                                      n * row_of(s, output)));
    }
    TSR_TRY(s->ops->wait(s->dev));
    s->fetched += (int64_t)n;
    return TSR_OK;
}

static tsr_error flush(tsri_seq_stream *s, bool lazy, bool end)
{
    const size_t n = s->waiting;

    s->waiting = 0;
    TSR_TRY(tsri_seq_run(s, s->in.data, n, lazy, end));
    return fetch(s);
}

tsr_error tsri_seq_device_push(tsri_seq_stream *s, const float *x, size_t n,
                               bool lazy, bool end)
{
    const size_t row = row_of(s, 0);

    do {
        const size_t space = s->portion - s->waiting, k = n < space ? n : space;
        const size_t at = s->waiting * row;
        TSR_TRY(tsri_seq_device_need(s, &s->in, at + k * row, sizeof *x,
                                     at * sizeof *x));
        if (k) {
            memcpy((float *)s->in.data + at, x, k * row * sizeof *x);
            x += k * row;
        }
        s->waiting += k;
        n -= k;
        if (s->waiting == s->portion || (!n && (end || !lazy)))
            TSR_TRY(flush(s, lazy || n, end && !n));
    } while (n);
    return TSR_OK;
}

size_t tsri_seq_device_take(tsri_seq_stream *s, float *y, size_t n)
{
    const size_t ready = tsri_seq_ready(s), k = n < ready ? n : ready;
    const size_t row = row_of(s, s->seq->output);

    if (k)
        memcpy(y, (float *)s->out.data +
                  (size_t)(s->taken - s->out_first) * row, k * row * sizeof *y);
    s->taken += (int64_t)k;
    return k;
}
