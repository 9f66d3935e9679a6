/* SPDX-License-Identifier: BSD-2-Clause */
/* Frames and sound of any media to coded packets in one file. */
#ifndef TOOLS_MEDIA_ENCODE_H
#define TOOLS_MEDIA_ENCODE_H
#include <tessera/model.h>
#include "tools/media/in.h"

/**
 * Encodes all that `m` gives to a->out: .tess (video, or video and sound: of
 * kind media; sound alone: of kind sound), MOV or NUT, as -f or the name says.
 * Memory does not grow with the length of the input.  The first SIGINT or SIGTERM
 * ends the input and the file is finished (RC_SIGNAL).
 *
 * in       what m reads; the output must not be the same file
 * m        opened; media_in_sound() was told the rate and the channels of `sound`
 * picture  for the frames; NULL where m gives none
 * sound    for the samples; likewise
 *
 * Returns an exit status; has said what was wrong: RC_INPUT where the input was
 * damaged and the rest of it is in the file.
 */
int media_encode(tsr_context *ctx, const args *a, const input *in, media_in *m,
                 tsr_model *picture, tsr_model *sound);
#endif
