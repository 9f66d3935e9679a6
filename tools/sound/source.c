/* SPDX-License-Identifier: BSD-2-Clause */
#include <string.h>
#include "tools/say.h"
#include "tools/sound/source.h"

/* The next block of samples, unless there is still some of the last. */
static void fill(sound_source *s)
{
    while (!s->over && !s->rc && s->at == s->item.n) {
        s->rc = media_in_next(s->media, &s->item, &s->over);
        s->at = 0;
        if (s->over || s->rc || !s->item.audio)
            s->item.n = 0;
    }
}

int sound_source_open(sound_source *s, media_in *m, int rate, int channels)
{
    const media_in_want want = { .audio = 1, .rate = rate, .group = channels };
    const media_in_info *info = media_in_about(m);
    int rc = media_in_sound(m, &want);

    *s = (sound_source){ .media = m, .name = media_in_input(m)->name };
    if (rc)
        return rc;
    s->form = (sound_form){ info->rate, info->channels };
    s->length = (uint64_t)(info->seconds * info->rate + 0.5);
    fill(s);
    if (s->item.n || s->rc)
        return s->rc;
    return media_in_faults(m) ? media_in_finish(m)
        : say_error(RC_INPUT, s->name, "%s", media_in_is_cut(m)
                    ? "has no sound after -ss" : "has no samples");
}

size_t sound_source_read(sound_source *s, float *x, size_t n)
{
    const size_t channels = (size_t)s->form.channels;
    fill(s);
    if (n > s->item.n - s->at)
        n = s->item.n - s->at;
    if (n)
        memcpy(x, s->item.samples + s->at * channels,
               n * channels * sizeof *x);
    s->at += n;
    s->given += n;
    if (s->progress)
        progress_sound(s->progress, (double)s->given / s->form.rate);
    return n;
}

static tsr_error read_hook(void *cookie, float *x, size_t n, size_t *got)
{
    sound_source *s = cookie;
    *got = sound_source_read(s, x, n);
    return s->rc ? TSR_E_IO : TSR_OK;
}

tsr_audio_source sound_source_hook(sound_source *s)
{
    return (tsr_audio_source){ s, read_hook, s->length };
}
