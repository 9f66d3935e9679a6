/* SPDX-License-Identifier: BSD-2-Clause */
/* Decoded sound on its way into a WAV file. */
#ifndef TOOLS_SOUND_SINK_H
#define TOOLS_SOUND_SINK_H
#include <tessera/audio.h>
#include "tools/io/wav.h"
#include "tools/progress.h"
#include "tools/sound/convert.h"

typedef struct sound_sink {
    const char *name;       /**< of the sound, for messages */
    sound_form want;        /**< of the file; 0: as it comes */
    sound_form form;        /**< of what comes */
    wav_writer wav;
    converter convert;
    progress *progress;     /**< told how far it is; may be NULL */
    uint64_t got;           /**< samples of each channel so far */
    float *block;           /* CONVERT_BLOCK samples of the file */
    int failed;             /* an exit status: a reason was said */
    int begun;
} sound_sink;

/** A sink for `out` as -ar, -ac and -sample_fmt say.  Returns an exit status;
 *  has said what was wrong.  sound_sink_close() in any case. */
int sound_sink_open(sound_sink *s, const args *a, output *out,
                    const char *name);

/** For the library; `s` must outlive it. */
tsr_audio_sink sound_sink_hook(sound_sink *s);

/** The sound is whole: writes what is left. */
int sound_sink_finish(sound_sink *s);
void sound_sink_close(sound_sink *s);
#endif
