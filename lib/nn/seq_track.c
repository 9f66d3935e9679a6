/* SPDX-License-Identifier: BSD-2-Clause */
/* The memory between the nodes of a one-dimensional net. */
#include <string.h>
#include "lib/nn/seq_internal.h"

static int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t max64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* The lowest number that node i still reads of the `made` of its input k. */
static int64_t reads_from(const tsri_seq_stream *s, int i, int k, int64_t made)
{
    const tsri_seq_node *n = &s->seq->node[i];
    const tsri_seq_track *t = &s->track[i];
    int64_t at;

    if (t->ended)
        return made;
    if (k)
        return min64(t->made, made);
    at = tsri_seq_row(n, t->made) * n->stride - n->left;
    if (n->tail)
        at = min64(at, max64(made - n->tail, 0));
    return min64(at, made);
}

int64_t tsri_seq_keeps(const tsri_seq_stream *s, int i)
{
    const tsri_seq *seq = s->seq;
    const tsri_seq_node *n = &seq->node[i];
    const int *user = seq->user + n->first_user;
    const int64_t made = s->track[i].made + (i ? 0 : (int64_t)s->waiting);
    int64_t low = i != seq->output ? made : s->ops ? s->fetched : s->taken;

    for (int u = 0; u < n->users; u++)
        low = min64(low, reads_from(s, user[u] / 2, user[u] % 2, made));
    return low;
}

static size_t row_bytes(const tsri_seq_stream *s, int i)
{
    return (size_t)s->seq->node[i].channels * s->element;
}

void *tsri_seq_at(const tsri_seq_stream *s, int i, int64_t number)
{
    const tsri_seq_track *t = &s->track[i];
    return (char *)t->data + (number - t->base) * (int64_t)row_bytes(s, i);
}

static tsr_error take_memory(tsri_seq_stream *s, void **data, size_t room,
                             size_t row)
{
    if (s->ops)
        return s->ops->alloc(s->dev, data, room * row);
    *data = tsri_alloc(s->ctx, room, row);
    return *data ? TSR_OK : tsri_nomem(s->ctx);
}

static void give_memory(tsri_seq_stream *s, void *data)
{
    if (s->ops)
        s->ops->free(s->dev, data);
    else
        tsri_free(s->ctx, data);
}

/* Not overlapping. */
static tsr_error copy(tsri_seq_stream *s, void *to, const void *from, size_t bytes)
{
    if (s->ops)
        return s->ops->copy(s->dev, to, from, bytes);
    memcpy(to, from, bytes);
    return TSR_OK;
}

tsr_error tsri_seq_move(tsri_seq_stream *s, int i, int64_t low, size_t room)
{
    tsri_seq_track *t = &s->track[i];
    const size_t row = row_bytes(s, i);
    const int64_t kept = max64(low, 0);     /* padding is written again */
    const uint64_t rest = s->bytes - t->room * row;
    tsr_error error = TSR_OK;
    void *data;
    size_t bytes;

    if (!tsri_mul(room, row, &bytes))
        return tsri_nomem(s->ctx);
    if (rest > s->ctx->max_memory || bytes > s->ctx->max_memory - rest)
        return tsri_fail(s->ctx, TSR_E_LIMIT, "the samples between the layers "
                         "need more memory than the limit of %llu bytes",
                         (unsigned long long)s->ctx->max_memory);
    TSR_TRY(take_memory(s, &data, room, row));
    if (t->made > kept && t->data)
        error = copy(s, (char *)data + (size_t)(kept - low) * row,
                     tsri_seq_at(s, i, kept), (size_t)(t->made - kept) * row);
    give_memory(s, t->data);
    t->data = data;
    t->room = room;
    t->base = low;
    s->bytes = rest + bytes;
    return error;
}

/* The same for a device, whose memory must not overlap in a move: what is kept
 * goes to the front when the end is reached, or to new memory. */
static tsr_error reserve_there(tsri_seq_stream *s, int i, int64_t from,
                               int64_t to)
{
    tsri_seq_track *t = &s->track[i];
    const int64_t low = min64(tsri_seq_keeps(s, i), from);
    const int64_t held = t->made - low, need = to - low;
    const int64_t room = (int64_t)t->room, kept = max64(low, 0);

    if (to <= t->base + room)
        return TSR_OK;
    if (need > room || 2 * held > room || low - t->base < held)
        return tsri_seq_move(s, i, low,
                             (size_t)(need + max64(held, need / 8)));
    if (t->made > kept)
        TSR_TRY(copy(s, (char *)t->data + (size_t)(kept - low) * row_bytes(s, i),
                     tsri_seq_at(s, i, kept),
                     (size_t)(t->made - kept) * row_bytes(s, i)));
    t->base = low;
    return TSR_OK;
}

/* Samples are moved to the front of their memory when they are few beside what
 * is written next, so that little memory is touched, or when the end is reached
 * and at least as much room is won as is moved: either way at a constant cost a
 * sample. */
tsr_error tsri_seq_reserve(tsri_seq_stream *s, int i, int64_t from, int64_t to)
{
    tsri_seq_track *t = &s->track[i];
    const int64_t low = min64(tsri_seq_keeps(s, i), from);
    const int64_t held = t->made - low, need = to - low;
    const int64_t room = (int64_t)t->room, kept = max64(low, 0);
    const bool fits = to <= t->base + room;

    if (s->ops)
        return reserve_there(s, i, from, to);
    if (fits && (low == t->base || 4 * held > to - t->made))
        return TSR_OK;
    if (need > room || (!fits && 2 * held > room))
        return tsri_seq_move(s, i, low,
                             (size_t)(need + max64(held, need / 2)));
    if (t->made > kept)
        memmove((char *)t->data + (size_t)(kept - low) * row_bytes(s, i),
                tsri_seq_at(s, i, kept),
                (size_t)(t->made - kept) * row_bytes(s, i));
    t->base = low;
    return TSR_OK;
}
