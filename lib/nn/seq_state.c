/* SPDX-License-Identifier: BSD-2-Clause */
/* Streams as bytes, little-endian: the net's structure (u32), 1 = zero start +
 * 2 = ended (u32), outputs taken (u64), samples made by each live node (u64);
 * then, as floats of the machine, the samples that each of them still holds and
 * the states of LSTMs.  What is held follows from the counts. */
#include <string.h>
#include "lib/bytes.h"
#include "lib/nn/seq_internal.h"

enum { HEAD = 16, LONGEST = 48 };

static size_t head_bytes(const tsri_seq *seq)
{
    size_t bytes = HEAD;
    for (int i = 0; i < seq->nodes; i++)
        bytes += seq->node[i].live ? 8 : 0;
    return bytes;
}

/* The first number that is saved: padding is not. */
static int64_t first_of(const tsri_seq_stream *s, int i)
{
    const int64_t low = i == s->seq->output ? s->taken : tsri_seq_keeps(s, i);
    return low < 0 ? 0 : low;
}

/* Samples of node i, those included that wait for a device. */
static int64_t made_by(const tsri_seq_stream *s, int i)
{
    return s->track[i].made + (i ? 0 : (int64_t)s->waiting);
}

/* Bytes of the samples and of the LSTM state of node i; false: too many. */
static bool node_bytes(const tsri_seq_stream *s, int i, size_t *samples,
                       size_t *state)
{
    const tsri_seq_node *n = &s->seq->node[i];
    const size_t row = (size_t)n->channels * sizeof(float);

    *state = n->live && s->track[i].state ? 2 * row : 0;
    *samples = 0;
    return !n->live || tsri_mul((size_t)(made_by(s, i) - first_of(s, i)), row,
                                samples);
}

/* Of the whole state; false: more than memory can hold. */
static bool all_bytes(const tsri_seq_stream *s, size_t *bytes)
{
    size_t samples, state;

    *bytes = head_bytes(s->seq);
    for (int i = 0; i < s->seq->nodes; i++)
        if (!node_bytes(s, i, &samples, &state) ||
            !tsri_add(*bytes, samples, bytes) || !tsri_add(*bytes, state, bytes))
            return false;
    return true;
}

size_t tsri_seq_state_bytes(const tsri_seq_stream *s)
{
    size_t bytes;
    return all_bytes(s, &bytes) ? bytes : 0;
}

/* The samples and the state of a node of a stream on a device: those that it
 * holds, those that came back, those that wait. */
static tsr_error save_there(tsri_seq_stream *s, int i, uint8_t *p, size_t state)
{
    const size_t channels = (size_t)s->seq->node[i].channels;
    const size_t row = channels * sizeof(float);
    const int64_t first = first_of(s, i), made = s->track[i].made;
    const int64_t skip = first > made ? first - made : 0;
    const size_t held = first < made ? (size_t)(made - first) : 0;
    const size_t waits = i ? 0 : s->waiting - (size_t)skip;

    if (held && i == s->seq->output)
        memcpy(p, (char *)s->out.data + (size_t)(first - s->out_first) * row,
               held * row);
    else if (held)
        TSR_TRY(tsri_seq_device_leave(s, (float *)(void *)p,
                                      tsri_seq_at(s, i, first), held * channels));
    if (waits)
        memcpy(p + held * row, (char *)s->in.data + (size_t)skip * row,
               waits * row);
    if (state)
        TSR_TRY(s->ops->download(s->dev, p + held * row, s->track[i].state,
                                 state));
    return s->ops->wait(s->dev);
}

static tsr_error load_there(tsri_seq_stream *s, int i, const uint8_t *p,
                            size_t samples, size_t state)
{
    float *to;

    if (samples && i == s->seq->output) {
        const size_t row = (size_t)s->seq->node[i].channels * sizeof *to;
        s->fetched = s->taken;
        TSR_TRY(tsri_seq_device_out(s, samples / row, &to));
        memcpy(to, p, samples);
        s->fetched = s->track[i].made;
    } else if (samples)
        TSR_TRY(tsri_seq_device_enter(s, tsri_seq_at(s, i, first_of(s, i)),
                                      (const float *)(const void *)p,
                                      samples / sizeof *to));
    if (state)
        TSR_TRY(s->ops->upload(s->dev, s->track[i].state, p + samples, state));
    return s->ops->wait(s->dev);
}

void tsri_seq_state_save(tsri_seq_stream *s, uint8_t *p)
{
    const tsri_seq *seq = s->seq;
    size_t samples, state;

    tsri_put32(p, seq->print);
    tsri_put32(p + 4, (uint32_t)s->zero_start |
                      (uint32_t)s->track[0].ended << 1);
    tsri_put64(p + 8, (uint64_t)s->taken);
    p += HEAD;
    for (int i = 0; i < seq->nodes; i++)
        if (seq->node[i].live) {
            tsri_put64(p, (uint64_t)made_by(s, i));
            p += 8;
        }
    for (int i = 0; i < seq->nodes; i++) {
        node_bytes(s, i, &samples, &state);
        if (s->ops) {
            memset(p, 0, samples + state);
            s->broken = save_there(s, i, p, state) || s->broken;
        } else {
            if (samples)
                memcpy(p, tsri_seq_at(s, i, first_of(s, i)), samples);
            if (state)
                memcpy(p + samples, s->track[i].state, state);
        }
        p += samples + state;
    }
}

/* Whether node i can have made `made` samples of what its inputs have made. */
static bool possible(const tsri_seq_stream *s, int i, uint64_t made)
{
    const tsri_seq_node *n = &s->seq->node[i];
    const uint64_t limit = i ? (uint64_t)tsri_seq_limit(s, i) :
                           (uint64_t)1 << LONGEST;

    if (made > limit)
        return false;
    if (s->track[0].ended)
        return !i || made == limit;
    return !made || (made + (uint64_t)n->trim) % (uint64_t)n->fold == 0;
}

static bool read_counts(tsri_seq_stream *s, const uint8_t *p)
{
    const tsri_seq *seq = s->seq;
    const uint32_t flags = tsri_get32(p + 4);
    const uint64_t taken = tsri_get64(p + 8);

    if (tsri_get32(p) != seq->print || flags > 3 ||
        (flags & 1) != (uint32_t)s->zero_start)
        return false;
    p += HEAD;
    for (int i = 0; i < seq->nodes; i++) {
        s->track[i].ended = flags >> 1;
        if (!seq->node[i].live)
            continue;
        if (!possible(s, i, tsri_get64(p)))
            return false;
        s->track[i].made = (int64_t)tsri_get64(p);
        p += 8;
    }
    s->taken = (int64_t)taken;
    s->fetched = s->track[seq->output].made;
    return taken <= (uint64_t)s->track[seq->output].made;
}

/* Makes room for what node i holds.  Nodes that have made nothing stay as they
 * are: a transposed convolution begins below number 0. */
static tsr_error hold(tsri_seq_stream *s, int i)
{
    tsri_seq_track *t = &s->track[i];
    const int64_t made = t->made, low = tsri_seq_keeps(s, i);
    tsr_error error = TSR_OK;

    if (!made)
        return TSR_OK;
    t->base = t->made = low;    /* nothing to be moved */
    if ((uint64_t)(made - low) > t->room)
        error = tsri_seq_move(s, i, low, (size_t)(made - low));
    t->made = made;
    return error;
}

static tsr_error load(tsri_seq_stream *s, const uint8_t *p, size_t bytes)
{
    const size_t head = head_bytes(s->seq);
    size_t all, samples, state;

    if (bytes < head || !read_counts(s, p) || !all_bytes(s, &all) ||
        all != bytes)
        return tsri_fail(s->ctx, TSR_E_CORRUPT, "the saved state is damaged or "
                         "of another net");
    p += head;
    for (int i = 0; i < s->seq->nodes; i++) {
        node_bytes(s, i, &samples, &state);
        TSR_TRY(hold(s, i));
        if (s->ops) {
            TSR_TRY(load_there(s, i, p, samples, state));
            p += samples + state;
            continue;
        }
        if (samples)
            memcpy(tsri_seq_at(s, i, first_of(s, i)), p, samples);
        if (state)
            memcpy(s->track[i].state, p + samples, state);
        p += samples + state;
    }
    return TSR_OK;
}

tsr_error tsri_seq_state_load(tsri_seq_stream *s, const uint8_t *state,
                              size_t bytes)
{
    tsr_error error;

    tsri_seq_reset(s);
    error = s->broken ? TSR_E_BACKEND : load(s, state, bytes);
    s->broken = error != TSR_OK;
    return error;
}
