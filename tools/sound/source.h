/* SPDX-License-Identifier: BSD-2-Clause */
/* The sound of any media as a model wants it. */
#ifndef TOOLS_SOUND_SOURCE_H
#define TOOLS_SOUND_SOURCE_H
#include <tessera/audio.h>
#include "tools/media/in.h"
#include "tools/progress.h"
#include "tools/sound/convert.h"

typedef struct sound_source {
    media_in *media;
    const char *name;       /**< of the file, for messages */
    sound_form form;        /**< of what is read from it */
    uint64_t length;        /**< samples of each channel, about; 0: not known */
    uint64_t given;         /**< so far */
    progress *progress;     /**< told about them; may be NULL */
    int rc;                 /**< an exit status: reading failed, that was said */
    /* The rest is its own. */
    media_in_item item;     /* samples `at` and on of it are to be given */
    size_t at;
    int over;
} sound_source;

/**
 * Opens the sound of `m` for a model of `rate` and `channels`: resampled, mixed
 * down or doubled as -ac says, cut as -ss, -t and -to say.  Reads the first
 * samples.  Returns an exit status; has said what was wrong.  `m` stays the
 * caller's and must outlive it.
 */
int sound_source_open(sound_source *s, media_in *m, int rate, int channels);

/** For the library; `s` must outlive it. */
tsr_audio_source sound_source_hook(sound_source *s);

/** Up to n samples of each channel, at least 1 but at the end or after s->rc
 *  was set. */
size_t sound_source_read(sound_source *s, float *x, size_t n);
#endif
