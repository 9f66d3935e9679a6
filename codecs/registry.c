/* SPDX-License-Identifier: BSD-2-Clause */
#include <string.h>
#include "codecs/image/image_codec.h"

#define TSRI_IMAGE_CODEC(name) \
    extern const tsri_image_codec tsri_image_codec_##name;
#include "codecs/registry.list"
#undef TSRI_IMAGE_CODEC

static const tsri_image_codec *const image_codecs[] = {
#define TSRI_IMAGE_CODEC(name) &tsri_image_codec_##name,
#include "codecs/registry.list"
#undef TSRI_IMAGE_CODEC
};
enum { IMAGE_CODECS = sizeof image_codecs / sizeof *image_codecs };

const tsri_image_codec *tsri_image_codec_by_id(const char *id)
{
    for (int i = 0; i < IMAGE_CODECS; i++)
        if (!strcmp(image_codecs[i]->id, id))
            return image_codecs[i];
    return NULL;
}

const tsri_image_codec *tsri_image_codec_by_number(int number)
{
    for (int i = 0; i < IMAGE_CODECS; i++)
        if (image_codecs[i]->number == number)
            return image_codecs[i];
    return NULL;
}

const char *tsr_image_codec_at(int i)
{
    return i >= 0 && i < IMAGE_CODECS ? image_codecs[i]->id : NULL;
}
