/* SPDX-License-Identifier: BSD-2-Clause */
/* Codes to samples: what waits goes through the nets as samples are asked for. */
#include <string.h>
#include "codecs/audio/audio.h"

/* ---- the queue ---- */

tsri_audio_item *tsri_audio_item_new(const tsr_audio_decoder *d, uint64_t units,
                                     size_t frames, int books)
{
    const size_t groups = (size_t)tsri_audio_groups(&d->head);
    const size_t side = frames ? groups * (size_t)d->head.side : 0;
    size_t codes, sides, bytes;

    if (!tsri_mul(frames, groups * (size_t)books * sizeof(uint16_t), &codes) ||
        !tsri_mul(side, (size_t)units, &sides) || !tsri_add(codes, sides, &bytes) ||
        !tsri_add(bytes, sizeof(tsri_audio_item), &bytes))
        return NULL;
    tsri_audio_item *item = tsri_alloc(d->m.ctx, bytes, 1);
    if (item)
        *item = (tsri_audio_item){ .lost = !frames, .books = books,
                                   .units = units, .frames = frames,
                                   .side = (uint8_t *)item + bytes - sides };
    return item;
}

/* Room for one more run. */
static tsr_error make_run(tsr_audio_decoder *d)
{
    if (d->run && 2 * d->run >= d->runs_end) {
        memmove(d->runs, d->runs + d->run,
                (d->runs_end - d->run) * sizeof *d->runs);
        d->runs_end -= d->run;
        d->run = 0;
    }
    return tsri_grow(d->m.ctx, &d->runs, &d->runs_room, d->runs_end, 1,
                     sizeof *d->runs);
}

tsr_error tsri_audio_queue(tsr_audio_decoder *d, tsri_audio_item *item,
                           uint64_t samples)
{
    tsri_audio_run *tail;

    if (make_run(d)) {
        tsri_free(d->m.ctx, item);
        return tsri_nomem(d->m.ctx);
    }
    tail = d->runs + d->runs_end - 1;
    if (d->run < d->runs_end && tail->lost == item->lost)
        tail->samples += samples;
    else
        d->runs[d->runs_end++] = (tsri_audio_run){ samples, item->lost };
    if (d->last)
        d->last->next = item;
    else
        d->first = item;
    d->last = item;
    return TSR_OK;
}

tsr_error tsri_audio_conceal(tsr_audio_decoder *d, uint64_t units)
{
    tsri_audio_item *item = tsri_audio_item_new(d, units, 0, 0);

    if (!item)
        return tsri_nomem(d->m.ctx);
    TSR_TRY(tsri_audio_queue(d, item, tsri_audio_span(&d->head, units)));
    d->concealed += units * (uint64_t)tsri_max(1, d->head.segment_frames);
    return TSR_OK;
}

void tsri_audio_drop_items(tsr_audio_decoder *d)
{
    for (tsri_audio_item *item = d->first, *next; item; item = next) {
        next = item->next;
        tsri_free(d->m.ctx, item);
    }
    d->first = d->last = NULL;
}

/* ---- through the nets ---- */

/* Keeps the last unit of an item that is used up, for what is lost after it. */
static void keep_last(tsr_audio_decoder *d, const tsri_audio_item *item)
{
    const size_t groups = (size_t)tsri_audio_groups(&d->head);
    const size_t frames = d->head.segment_frames ? (size_t)item->last_frames : 1;
    const size_t n = frames * (size_t)item->books;
    const size_t side = (size_t)d->head.side, units = (size_t)item->units;
    const size_t matrix = item->frames * (size_t)item->books;

    for (size_t g = 0; g < groups; g++) {
        memcpy(d->keep + g * n, item->codes + (g + 1) * matrix - n,
               n * sizeof *d->keep);
        memcpy(d->keep_side + g * side, item->side + ((g + 1) * units - 1) * side,
               side);
    }
    d->keep_books = item->books;
    d->keep_frames = (int)frames;
}

/* `n` frames from item->at on, or a segment, of group g. */
static tsr_error feed_sound(tsr_audio_decoder *d, const tsri_audio_item *item,
                            size_t g, size_t n)
{
    const size_t full = (size_t)d->head.segment_frames, at = (size_t)item->at;
    const size_t before = !full ? at
                          : at + 1 < item->units
                              ? at * full
                              : item->frames - (size_t)item->last_frames;
    const size_t frame = g * item->frames + before;
    const size_t unit = g * (size_t)item->units + at;

    if (full)
        n = (size_t)tsri_audio_segment_frames(&d->head, item->units,
                                              item->frames, item->last_frames,
                                              item->at);
    return d->m.codec->dec_push(d->dec[g],
                                item->codes + frame * (size_t)item->books, (int)n,
                                item->books,
                                item->side + unit * (size_t)d->head.side, false);
}

/* The last frame n times, or the last segment, once more. */
static tsr_error feed_kept(tsr_audio_decoder *d, size_t g, size_t n)
{
    const size_t frame = (size_t)(d->keep_frames * d->keep_books);
    const uint16_t *codes = d->keep + g * frame;

    if (d->head.segment_frames)
        return d->m.codec->dec_push(d->dec[g], codes, d->keep_frames,
                                    d->keep_books,
                                    d->keep_side + g * (size_t)d->head.side,
                                    false);
    for (size_t t = 0; t < n; t++)
        memcpy(d->batch + t * frame, codes, frame * sizeof *codes);
    return d->m.codec->dec_push(d->dec[g], d->batch, (int)n, d->keep_books, NULL,
                                false);
}

static tsr_error feed_end(tsr_audio_decoder *d)
{
    d->drained = true;
    for (int g = 0; d->fed && g < tsri_audio_groups(&d->head); g++)
        TSR_TRY(d->m.codec->dec_push(d->dec[g], d->keep, 0, d->keep_books, NULL,
                                     true));
    return TSR_OK;
}

static void next_item(tsr_audio_decoder *d)
{
    tsri_audio_item *item = d->first;
    d->first = item->next;
    if (!d->first)
        d->last = NULL;
    tsri_free(d->m.ctx, item);
}

/* Gives the nets a little of what waits; *more = false: nothing waits. */
static tsr_error feed(tsr_audio_decoder *d, bool *more)
{
    tsri_audio_item *item = d->first;
    const size_t groups = (size_t)tsri_audio_groups(&d->head);

    *more = item || (d->finished && !d->drained);
    if (!item)
        return *more ? feed_end(d) : TSR_OK;
    if (item->lost && !d->keep_frames) {
        d->silence += tsri_audio_span(&d->head, item->units);
        next_item(d);
        return TSR_OK;
    }
    const uint64_t left = item->units - item->at;
    const size_t n = d->head.segment_frames ? 1
                     : left < TSRI_AUDIO_BATCH ? (size_t)left : TSRI_AUDIO_BATCH;
    d->fed = true;
    for (size_t g = 0; g < groups; g++)
        TSR_TRY(item->lost ? feed_kept(d, g, n) : feed_sound(d, item, g, n));
    item->at += n;
    if (item->at < item->units)
        return TSR_OK;
    if (!item->lost)
        keep_last(d, item);
    next_item(d);
    return TSR_OK;
}

/* ---- samples out ---- */

static uint64_t samples_out(const tsri_audio_head *head)
{
    return (uint64_t)tsri_max(1, head->rate / 10);
}

static uint64_t samples_in(const tsri_audio_head *head)
{
    return (uint64_t)tsri_max(1, head->rate / 100);
}

/* In these units both ramps have whole steps, so that pieces make no
 * difference. */
uint64_t tsri_audio_full_level(const tsri_audio_head *head)
{
    return samples_out(head) * samples_in(head);
}

/* What is lost fades to silence within 100 ms, what comes back fades in within
 * 10 ms. */
static void fade(tsr_audio_decoder *d, float *x, size_t n, bool lost)
{
    const uint64_t full = tsri_audio_full_level(&d->head);
    const uint64_t down = samples_in(&d->head), up = samples_out(&d->head);

    for (size_t t = 0; t < n; t++) {
        if (lost)
            d->level -= d->level < down ? d->level : down;
        else if (d->level == full)
            return;
        else
            d->level = full - d->level < up ? full : d->level + up;
        const float gain = (float)((double)d->level / (double)full);
        for (int c = 0; c < d->head.channels; c++)
            *x++ *= gain;
    }
}

/* At most n samples from the nets of all groups, interleaved. */
static tsr_error take(tsr_audio_decoder *d, float *x, size_t n, size_t *got)
{
    const size_t channels = (size_t)d->head.channels;
    const size_t own = (size_t)d->head.group_channels;
    size_t m;

    *got = 0;
    if (own == channels)
        return d->m.codec->dec_take(d->dec[0], x, n, got);
    for (size_t g = 0; g < channels / own; g++) {
        TSR_TRY(d->m.codec->dec_take(d->dec[g], d->piece, g ? *got : n, &m));
        if (!g)
            *got = m;
        else if (m != *got)
            return tsri_fail(d->m.ctx, TSR_E_INTERNAL, "groups differ in length");
        for (size_t t = 0; t < m; t++)
            for (size_t c = 0; c < own; c++)
                x[t * channels + g * own + c] = d->piece[t * own + c];
        if (!m)
            return TSR_OK;
    }
    return TSR_OK;
}

/* At most n samples, all of the present run; *got = 0: the nets need more. */
static tsr_error pull_run(tsr_audio_decoder *d, float *x, size_t n, size_t *got)
{
    tsri_audio_run *run = &d->runs[d->run];
    const size_t most = (size_t)TSRI_AUDIO_BATCH * (size_t)d->head.hop;

    *got = 0;
    n = n < most ? n : most;
    n = n < run->samples ? n : (size_t)run->samples;
    if (d->silence) {
        *got = n < d->silence ? n : (size_t)d->silence;
        memset(x, 0, *got * (size_t)d->head.channels * sizeof *x);
        d->silence -= *got;
        d->level = 0;
    } else if (d->fed) {
        TSR_TRY(take(d, x, n, got));
        fade(d, x, *got, run->lost);
    }
    run->samples -= *got;
    d->run += !run->samples;
    return TSR_OK;
}

static tsr_error pull(tsr_audio_decoder *d, float *x, size_t room, size_t *n)
{
    bool more = true;
    size_t got;

    while (*n < room && d->run < d->runs_end && more) {
        TSR_TRY(pull_run(d, x + *n * (size_t)d->head.channels, room - *n, &got));
        *n += got;
        if (!got)
            TSR_TRY(feed(d, &more));
    }
    if (!more && d->finished)
        return tsri_fail(d->m.ctx, TSR_E_INTERNAL, "samples are missing");
    return TSR_OK;
}

tsr_error tsr_audio_decoder_pull(tsr_audio_decoder *d, float *samples,
                                 size_t room, size_t *n)
{
    *n = 0;
    if (!d->failed)
        d->failed = pull(d, samples, room, n);
    if (d->failed)
        return d->failed;
    return room && !*n && d->finished && d->run == d->runs_end ? TSR_E_EOF
                                                               : TSR_OK;
}

tsr_error tsr_audio_decoder_finish(tsr_audio_decoder *d)
{
    if (d->failed)
        return d->failed;
    d->finished = true;
    return TSR_OK;
}
