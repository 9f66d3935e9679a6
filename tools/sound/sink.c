/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdlib.h>
#include "tools/say.h"
#include "tools/sound/sink.h"
#include "tools/sound/sound.h"

int sound_sample_type(const args *a)
{
    const char *name = a->sample_format ? a->sample_format : a->codec_a;
    const wav_type type = name ? wav_type_named(name) : WAV_S16;
    if (!type)
        say_error(RC_USAGE, NULL, "unknown sample format '%s' (s16, s24, s32,"
                  " flt)", name);
    return (int)type;
}

int sound_sink_open(sound_sink *s, const args *a, output *out,
                    const char *name)
{
    *s = (sound_sink){ .name = name, .want = { a->rate, a->channels } };
    s->wav.out = out;
    s->wav.type = (wav_type)sound_sample_type(a);
    return s->wav.type ? RC_OK : RC_USAGE;
}

static tsr_error begin(void *cookie, int rate, int channels)
{
    sound_sink *s = cookie;
    s->form = (sound_form){ rate, channels };
    if (!s->want.rate)
        s->want.rate = rate;
    if (!s->want.channels)
        s->want.channels = channels;
    if (s->want.channels != channels && s->want.channels != 1 && channels != 1)
        s->failed = say_error(RC_USAGE, s->name, "has %d channels: -ac wants 1"
                              " or %d", channels, channels);
    if (!s->failed)
        s->failed = convert_open(&s->convert, s->name, s->form, s->want);
    if (s->failed)
        return TSR_E_IO;
    s->block = malloc(sizeof *s->block * CONVERT_BLOCK *
                      (size_t)s->want.channels);
    if (!s->block)
        return TSR_E_NOMEM;
    s->begun = 1;
    return wav_begin(&s->wav, s->wav.out, s->wav.type, s->want.rate,
                     s->want.channels) ? TSR_E_IO : TSR_OK;
}

/* x NULL: the end. */
static int pass(sound_sink *s, const float *x, size_t n)
{
    size_t used, made;
    do {
        convert_run(&s->convert, x, n, &used, s->block, CONVERT_BLOCK, &made);
        if (made && wav_write(&s->wav, s->block, made))
            return -1;
        if (x)
            x += used * (size_t)s->form.channels;
        n -= used;
    } while (n || made == CONVERT_BLOCK || (!x && made));
    return 0;
}

static tsr_error take(void *cookie, const float *x, size_t n)
{
    sound_sink *s = cookie;
    if (n && pass(s, x, n))
        return TSR_E_IO;
    s->got += n;
    if (s->progress)
        progress_sound(s->progress, (double)s->got / s->form.rate);
    return TSR_OK;
}

tsr_audio_sink sound_sink_hook(sound_sink *s)
{
    return (tsr_audio_sink){ s, begin, take };
}

int sound_sink_finish(sound_sink *s)
{
    if (!s->begun || s->failed)
        return s->failed;
    return pass(s, NULL, 0) || wav_end(&s->wav) ? RC_USAGE : RC_OK;
}

void sound_sink_close(sound_sink *s)
{
    convert_close(&s->convert);
    free(s->block);
    s->block = NULL;
}
