/* SPDX-License-Identifier: BSD-2-Clause */
/* Coded packets to frames and sound in files that others read. */
#ifndef TOOLS_MEDIA_DECODE_H
#define TOOLS_MEDIA_DECODE_H
#include <tessera/model.h>
#include "tools/args.h"
#include "tools/input.h"
#include "tools/media/packets.h"

/** Decodes from `p` (of `in`), in constant memory, to a->out: y4m, raw video, WAV,
 *  pictures, or whatever libav writes, as -f or the name says; -ss, -t, -to, -vn,
 *  -an, -map choose what.  model: to use for the streams it is made for, else
 *  NULL: all are found by their hash.
 *
 *  Returns an exit status; has said what was wrong: RC_INPUT where parts were
 *  damaged, and the rest is in the file. */
int media_decode(tsr_context *ctx, tsr_model *model, const args *a, input *in,
                 packets_in *p);

/** The extension of the output that nobody named: ".wav" where there is no
 *  video, else that of a container, or of y4m without libav. */
const char *media_decode_extension(const packets_in *p);
#endif
