/* SPDX-License-Identifier: BSD-2-Clause */
/* A file of its own, so that a test can link with codecs of its own. */
#include <string.h>
#include "codecs/audio/audio_codec.h"

#define TSRI_AUDIO_CODEC(name) \
    extern const tsri_audio_codec tsri_audio_codec_##name;
#include "codecs/audio_registry.list"
#undef TSRI_AUDIO_CODEC

static const tsri_audio_codec *const audio_codecs[] = {
#define TSRI_AUDIO_CODEC(name) &tsri_audio_codec_##name,
#include "codecs/audio_registry.list"
#undef TSRI_AUDIO_CODEC
    NULL
};
enum { AUDIO_CODECS = sizeof audio_codecs / sizeof *audio_codecs - 1 };

const tsri_audio_codec *tsri_audio_codec_by_id(const char *id)
{
    for (int i = 0; i < AUDIO_CODECS; i++)
        if (!strcmp(audio_codecs[i]->id, id))
            return audio_codecs[i];
    return NULL;
}

const tsri_audio_codec *tsri_audio_codec_by_number(int number)
{
    for (int i = 0; i < AUDIO_CODECS; i++)
        if (audio_codecs[i]->number == number)
            return audio_codecs[i];
    return NULL;
}

const char *tsr_audio_codec_at(int i)
{
    return i >= 0 && i < AUDIO_CODECS ? audio_codecs[i]->id : NULL;
}
