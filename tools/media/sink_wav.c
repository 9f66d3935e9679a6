/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdlib.h>
#include "tools/media/sink.h"
#include "tools/say.h"
#include "tools/sound/sink.h"

typedef struct wav_sink {
    media_sink base;
    sound_sink sound;
    tsr_audio_sink hook;
    int channels, begun;
    int64_t most;           /* samples of an hour */
    output *out;
} wav_sink;

static int result(const wav_sink *w, tsr_error error)
{
    if (!error || w->sound.failed || w->out->fault)
        return error ? w->sound.failed ? w->sound.failed : RC_USAGE : RC_OK;
    return say_failure(w->out->name, error);
}

/* A WAV file has no times: what begins later has silence in front of it, an hour
 * at most, whatever a file says. */
static int pad(wav_sink *w, int64_t n)
{
    static const float zero[1024];
    const size_t most = 1024 / (size_t)w->channels;
    tsr_error error = TSR_OK;

    for (; n > 0 && !error; n -= (int64_t)most)
        error = w->hook.write(w->hook.cookie, zero,
                              n < (int64_t)most ? (size_t)n : most);
    return result(w, error);
}

static int take(media_sink *s, const float *x, size_t n, int64_t pts)
{
    wav_sink *w = (wav_sink *)s;
    int rc = RC_OK;
    if (!w->begun)
        rc = pad(w, pts < w->most ? pts : w->most);
    w->begun = 1;
    return rc ? rc : result(w, w->hook.write(w->hook.cookie, x, n));
}

static int finish(media_sink *s)
{
    return sound_sink_finish(&((wav_sink *)s)->sound);
}

static void close_wav(media_sink *s)
{
    sound_sink_close(&((wav_sink *)s)->sound);
    free(s);
}

int sink_wav_open(media_sink **s, const args *a, const sink_source *from,
                  output *out)
{
    wav_sink *w = calloc(1, sizeof *w);
    int rc;

    if (!w)
        return say_error(RC_MACHINE, NULL, "out of memory");
    w->base = (media_sink){ .sound = take, .finish = finish,
                            .close = close_wav };
    w->channels = from->channels;
    w->most = 3600 * (int64_t)from->rate;
    w->out = out;
    rc = sound_sink_open(&w->sound, a, out, out->name);
    w->hook = sound_sink_hook(&w->sound);
    if (!rc)
        rc = result(w, w->hook.begin(w->hook.cookie, from->rate,
                                     from->channels));
    if (rc)
        close_wav(&w->base);
    else
        *s = &w->base;
    return rc;
}
