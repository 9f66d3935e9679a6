/* SPDX-License-Identifier: BSD-2-Clause */
/* What the commands do with sound; each looks at its input and comes here. */
#ifndef TOOLS_SOUND_SOUND_H
#define TOOLS_SOUND_SOUND_H
#include <tessera/audio.h>
#include "tools/args.h"
#include "tools/input.h"
#include "tools/media/in.h"

/** Options of encode and tokens: -b:a -books -ac ..., and -ss -t -to, which
 *  decode has, too. */
extern const opt sound_encode_options[];
extern const opt sound_cut_options[];
/** Of decode and tokens: -ar -sample_fmt. */
extern const opt sound_write_options[];

/** The sound of `m` to a->out, a .tess file. */
int sound_encode(tsr_context *ctx, tsr_model *model, const args *a,
                 media_in *m);

/** A .tess file (`in`) to a->out; model NULL: by its hash. */
int sound_decode(tsr_context *ctx, tsr_model *model, const args *a, input *in);

/** What a .tess file holds. */
int sound_info(tsr_context *ctx, const args *a, input *in);

/** The sounds of two files. */
int sound_compare(const args *a, media_in *x, media_in *y);

/** The settings that the options mean for a model, for sound of so many
 *  channels.  Returns an exit status; has said what was wrong. */
int sound_settings(tsr_audio_settings *s, const args *a,
                   const tsr_audio_model_info *model, int channels);

/** tsr_audio_model_describe(), with its failure said. */
int sound_describe(tsr_context *ctx, tsr_model *model,
                   tsr_audio_model_info *info);

/** What -entropy calls an entropy coding; "unknown" for another. */
const char *sound_entropy_name(int entropy);

/** "1024", or "2048 and 1024": of book 0 and of the others.  Returns text. */
const char *sound_book_sizes(const tsr_audio_info *info, char text[32]);

/** -sample_fmt, else s16; WAV_NONE: has said that there is none such. */
int sound_sample_type(const args *a);
#endif
