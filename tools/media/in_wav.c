/* SPDX-License-Identifier: BSD-2-Clause */
/* WAV, by our own reader. */
#include <math.h>
#include <stdlib.h>
#include "tools/io/wav.h"
#include "tools/media/map.h"
#include "tools/media/reader.h"
#include "tools/say.h"

enum { BLOCK = 1024 };

/* Of live sound so much is waited for at once, in seconds. */
static const double live_piece = 0.01;

typedef struct sound_reader {
    media_reader base;
    wav_reader wav;
    float *block;
    size_t piece;       /* samples read at a time */
    int64_t at;
} sound_reader;

static int next(media_reader *r, media_in_item *item, int *end)
{
    sound_reader *s = (sound_reader *)r;
    const size_t n = wav_read(&s->wav, s->block, s->piece);

    *end = !n;
    *item = (media_in_item){ .audio = 1, .samples = s->block, .n = n,
                             .pts = s->at };
    s->at += (int64_t)n;
    return !n && s->wav.in->fault ? input_failed(s->wav.in) : RC_OK;
}

static void warn(media_reader *r)
{
    wav_warn(&((sound_reader *)r)->wav);
}

static void close_wav(media_reader *r)
{
    sound_reader *s = (sound_reader *)r;
    free(s->block);
    free(s);
}

static int begin(sound_reader *s, const media_setup *setup)
{
    int rc = wav_open(&s->wav, setup->in);
    if (rc)
        return rc;
    s->piece = BLOCK;
    if (setup->a->live && live_piece * s->wav.rate < BLOCK)
        s->piece = (size_t)ceil(live_piece * s->wav.rate);
    s->block = malloc(sizeof *s->block * BLOCK * (size_t)s->wav.channels);
    return s->block ? RC_OK : say_error(RC_MACHINE, setup->in->name,
                                        "out of memory");
}

int media_open_wav(media_reader **r, const media_setup *setup)
{
    sound_reader *s;
    int rc;

    *r = NULL;
    if (media_map_only(setup->a, setup->in->name, 'a'))
        return RC_USAGE;
    s = calloc(1, sizeof *s);
    if (!s)
        return say_error(RC_MACHINE, setup->in->name, "out of memory");
    s->base = (media_reader){ .next = next, .warn = warn, .close = close_wav };
    rc = begin(s, setup);
    if (rc) {
        close_wav(&s->base);
        return rc;
    }
    s->base.info.audio = 1;
    s->base.info.rate = s->wav.rate;
    s->base.info.channels = s->wav.channels;
    if (s->wav.length != UINT64_MAX)
        s->base.info.seconds = (double)s->wav.length / s->wav.rate;
    *r = &s->base;
    return RC_OK;
}
