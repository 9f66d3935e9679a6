/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdlib.h>
#include "tools/media/track.h"
#include "tools/say.h"

/* Times of blocks are rounded, now and then coarsely; what they are off by more
 * than this is a gap, and more than that another clock. */
static const double least_gap = 0.1, largest_gap = 60;

static int64_t samples(const media_track *t, double seconds)
{
    return (int64_t)(seconds * t->from.rate + 0.5);
}

/* What is coded of `have` channels by a model of `own`; 0: has said why not. */
static int choose_channels(const args *a, const char *file, int have, int own)
{
    if (!own)
        return have;
    if (!a->channels) {
        if (have > own)
            say_warning(file, "%d channels are mixed to one; -ac %d codes each"
                        " alone, at %d times the bits", have, have, have);
        return own;
    }
    if (a->channels != have && a->channels != 1 && have != 1)
        return say_error(0, file, "has %d channels: -ac wants 1 or %d", have,
                         have);
    if (a->channels % own)
        return say_error(0, NULL, "-ac %d: this model codes %d channels at a"
                         " time", a->channels, own);
    return a->channels;
}

static void set_cut(media_track *t, const args *a)
{
    t->begin = samples(t, a->start);
    t->end = INT64_MAX;
    if (a->length > 0)
        t->end = t->begin + samples(t, a->length);
    else if (a->until > 0)
        t->end = samples(t, a->until);
}

int media_track_open(media_track *t, const args *a, const char *file,
                     sound_form from, const media_in_want *want)
{
    *t = (media_track){ .from = from, .first = -1, .next = INT64_MIN };
    set_cut(t, a);
    t->to.rate = want->rate ? want->rate : from.rate;
    t->to.channels = choose_channels(a, file, from.channels, want->group);
    if (!t->to.channels)
        return RC_USAGE;
    t->out = malloc(sizeof *t->out * CONVERT_BLOCK * (size_t)t->to.channels);
    t->zero = calloc((size_t)CONVERT_BLOCK * (size_t)from.channels,
                     sizeof *t->zero);
    if (!t->out || !t->zero)
        return say_error(RC_MACHINE, file, "out of memory");
    return convert_open(&t->convert, file, from, t->to);
}

void media_track_close(media_track *t)
{
    convert_close(&t->convert);
    free(t->out);
    free(t->zero);
    t->out = t->zero = NULL;
}

/* Where a block lies that says it is at `pts`: right behind the one before it,
 * or behind a gap. */
static int64_t place(media_track *t, int64_t pts)
{
    int64_t off;
    if (t->next == INT64_MIN)
        return pts;
    off = pts - t->next;
    if ((double)off < least_gap * t->from.rate ||
        (double)off > largest_gap * t->from.rate)
        return t->next;
    return pts;
}

void media_track_take(media_track *t, const media_in_item *block)
{
    int64_t at = place(t, block->pts), skip = 0;
    int64_t n = (int64_t)block->n;

    if (t->over)
        return;
    if (t->first >= 0 && at > t->next)
        t->silence = (uint64_t)((at < t->end ? at : t->end) - t->next);
    t->filled += t->silence;
    t->next = at + n;
    if (at < t->begin)
        skip = t->begin - at < n ? t->begin - at : n;
    if (at + n > t->end)
        n = at < t->end ? t->end - at : 0;
    t->over = t->next >= t->end;
    t->have = n > skip ? (size_t)(n - skip) : 0;
    t->at = block->samples + (size_t)skip * (size_t)t->from.channels;
    if (t->have && t->first < 0)
        t->first = at + skip;
}

static void give(media_track *t, media_in_item *item, size_t n)
{
    const double scale = (double)t->to.rate / t->from.rate;
    const int64_t first = t->first - t->begin;
    *item = (media_in_item){ .audio = 1, .samples = t->out, .n = n };
    item->pts = (int64_t)((double)first * scale + 0.5) + (int64_t)t->made;
    t->made += n;
}

int media_track_make(media_track *t, media_in_item *item, int last)
{
    size_t used, made;
    for (;;) {
        const float *x = t->silence ? t->zero : t->have ? t->at : NULL;
        size_t n = t->have;
        if (!x && !last)
            return 0;
        if (t->silence)
            n = t->silence < CONVERT_BLOCK ? (size_t)t->silence : CONVERT_BLOCK;
        convert_run(&t->convert, x, n, &used, t->out, CONVERT_BLOCK, &made);
        if (t->silence) {
            t->silence -= used;
        } else if (x) {
            t->at += used * (size_t)t->from.channels;
            t->have -= used;
        }
        if (made) {
            give(t, item, made);
            return 1;
        }
        if (!x)
            return 0;
    }
}
