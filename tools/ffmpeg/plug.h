/* SPDX-License-Identifier: BSD-2-Clause */
/* What the filter plugins share: one context and one copy of each model for the
 * whole process, a side file for the bitstream, and messages that are said
 * once.  Hosts load several plugins and make instances on several threads: all
 * of this may be called from any thread. */
#ifndef TOOLS_FFMPEG_PLUG_H
#define TOOLS_FFMPEG_PLUG_H
#include <stddef.h>
#include <stdint.h>
#include <tessera/media.h>
#include <tessera/model.h>

/** The process's context, opened at the first call with at most TESSERA_THREADS
 *  threads (default: all); NULL: said once why. */
tsr_context *plug_context(void);

/** A reference to the model of that name or path, opened at the first call and
 *  shared by all who hold one; NULL: said once why. */
tsr_model *plug_model(const char *name);
void plug_model_unref(tsr_model **model);

/** One line on standard error, "tessera: ...", the first time only that this
 *  `place` (a variable of the caller's, 0 at first) is passed. */
void plug_say_once(int *place, const char *format, ...);

/** A .tess file that packets of one stream are written to as they are made. */
typedef struct plug_side plug_side;

/** Opens `path` for a stream; an existing file is never written over: the name gets
 *  a number, name.1.tess.  NULL: said once why. */
plug_side *plug_side_open(const char *path, int kind,
                          const tsr_media_stream *stream);
void plug_side_packet(plug_side *side, int64_t pts, uint64_t duration,
                      const void *data, size_t bytes);

/** Finishes and closes; NULL is allowed. */
void plug_side_close(plug_side **side);
#endif
