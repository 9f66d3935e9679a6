/* SPDX-License-Identifier: BSD-2-Clause */
/* The sound of a WAV file as a model wants it. */
#ifndef TOOLS_SOUND_SOURCE_H
#define TOOLS_SOUND_SOURCE_H
#include <tessera/audio.h>
#include "tools/io/wav.h"
#include "tools/progress.h"
#include "tools/sound/convert.h"

typedef struct sound_source {
    wav_reader wav;
    converter convert;
    sound_form form;        /**< of what is read from it */
    uint64_t length;        /**< samples of each channel of that; 0: not known */
    uint64_t given;         /**< so far */
    progress *progress;     /**< told about them; may be NULL */
    /* The rest is its own. */
    float *block;           /* CONVERT_BLOCK samples of the file */
    size_t at, have, piece; /* of them; samples read at a time */
    uint64_t left;          /* samples of the file that -t lets through */
    int over;
} sound_source;

/**
 * Opens the sound in `in` for a model of `rate` and `channels`: resampled,
 * mixed down or doubled as -ac says, cut as -ss, -t and -to say.  Reads the
 * first samples.  Returns an exit status; has said what was wrong;
 * sound_source_close() in any case.
 */
int sound_source_open(sound_source *s, const args *a, input *in, int rate,
                      int channels);
void sound_source_close(sound_source *s);

/** For the library; `s` must outlive it. */
tsr_audio_source sound_source_hook(sound_source *s);

/** Up to n samples of each channel, at least 1 but at the end. */
size_t sound_source_read(sound_source *s, float *x, size_t n);
#endif
