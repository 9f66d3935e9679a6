/* SPDX-License-Identifier: BSD-2-Clause */
#include <math.h>
#include <stdlib.h>
#include "tools/say.h"
#include "tools/sound/source.h"

/* Of live sound so much is waited for at once, in seconds. */
static const double live_piece = 0.01;

/* Samples of the file that `seconds` are. */
static uint64_t samples(const sound_source *s, double seconds)
{
    return (uint64_t)(seconds * s->wav.rate + 0.5);
}

/* What is coded of `have` channels by a model of `own`. */
static int choose_channels(const args *a, const char *file, int have, int own)
{
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

static void fill(sound_source *s)
{
    size_t n = s->left < s->piece ? (size_t)s->left : s->piece;
    s->at = 0;
    s->have = s->over || !n ? 0 : wav_read(&s->wav, s->block, n);
    s->left -= s->have;
    s->over |= s->have < n || !n;
}

/* Leaves out what lies before -ss, and finds what -t and -to leave. */
static int seek(sound_source *s, const args *a)
{
    const uint64_t start = samples(s, a->start);
    uint64_t skipped = 0;

    if (a->until > 0 && a->until <= a->start)
        return say_error(RC_USAGE, NULL, "-to lies before -ss");
    while (skipped < start) {
        const uint64_t rest = start - skipped;
        const size_t n = rest < CONVERT_BLOCK ? (size_t)rest : CONVERT_BLOCK;
        const size_t got = wav_read(&s->wav, s->block, n);
        skipped += got;
        if (got < n)
            break;
    }
    s->left = UINT64_MAX;
    if (a->length > 0)
        s->left = samples(s, a->length);
    else if (a->until > 0)
        s->left = samples(s, a->until) - start;
    if (s->wav.left != UINT64_MAX) {
        const uint64_t n = s->wav.left < s->left ? s->wav.left : s->left;
        s->length = (uint64_t)((double)n * s->form.rate / s->wav.rate + 0.5);
    }
    return RC_OK;
}

int sound_source_open(sound_source *s, const args *a, input *in, int rate,
                      int channels)
{
    int rc;

    *s = (sound_source){ .form = { .rate = rate } };
    rc = wav_open(&s->wav, in);
    if (rc)
        return rc;
    s->form.channels = choose_channels(a, in->name, s->wav.channels, channels);
    if (!s->form.channels)
        return RC_USAGE;
    s->block = malloc(sizeof *s->block * CONVERT_BLOCK *
                      (size_t)s->wav.channels);
    if (!s->block)
        return say_error(RC_MACHINE, in->name, "out of memory");
    s->piece = CONVERT_BLOCK;
    if (a->live && live_piece * s->wav.rate < CONVERT_BLOCK)
        s->piece = (size_t)ceil(live_piece * s->wav.rate);
    rc = convert_open(&s->convert, in->name,
                      (sound_form){ s->wav.rate, s->wav.channels }, s->form);
    if (!rc)
        rc = seek(s, a);
    if (rc)
        return rc;
    fill(s);
    if (s->have)
        return RC_OK;
    return in->fault ? input_failed(in)
        : say_error(RC_INPUT, in->name, "%s", a->start > 0
                    ? "has no sound after -ss" : "has no samples");
}

void sound_source_close(sound_source *s)
{
    convert_close(&s->convert);
    free(s->block);
    s->block = NULL;
}

size_t sound_source_read(sound_source *s, float *x, size_t n)
{
    size_t used, made;
    for (;;) {
        const float *from = s->block + s->at * (size_t)s->wav.channels;
        if (s->at == s->have && !s->over) {
            fill(s);
            from = s->block;
        }
        convert_run(&s->convert, s->at < s->have ? from : NULL,
                    s->have - s->at, &used, x, n, &made);
        s->at += used;
        if (made || (s->over && s->at == s->have && !used))
            break;
    }
    s->given += made;
    if (s->progress)
        progress_sound(s->progress, (double)s->given / s->form.rate);
    return made;
}

static tsr_error read_hook(void *cookie, float *x, size_t n, size_t *got)
{
    sound_source *s = cookie;
    *got = sound_source_read(s, x, n);
    return s->wav.in->fault ? TSR_E_IO : TSR_OK;
}

tsr_audio_source sound_source_hook(sound_source *s)
{
    return (tsr_audio_source){ s, read_hook, s->length };
}
