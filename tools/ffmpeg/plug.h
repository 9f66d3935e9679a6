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

/** What a plugin shows to its host; all else is hidden. */
#define PLUG_EXPORT __attribute__((visibility("default")))

/** A reference to the model of that name or path, opened at the first call and
 *  shared by all who hold one; NULL: said once why. */
tsr_model *plug_model(const char *name);

/** Drops it and sets *model to NULL; NULL is allowed.  What was opened with the
 *  process's context must be closed before. */
void plug_model_unref(tsr_model **model);

/** The process's context, with TESSERA_THREADS threads (default: all
 *  processors).  It is open while anybody holds a model: call this with one. */
tsr_context *plug_context(void);

/** The context is for one thread at a time: hold this around every call that
 *  encodes, decodes, opens or closes with it, and around no function of this
 *  header but plug_context() and plug_reason(). */
void plug_lock(void);
void plug_unlock(void);

/** Under the lock: the library's sentence on what failed last, else the phrase
 *  of `error`; until the next call to the library. */
const char *plug_reason(tsr_error error);

/** One line on standard error, "tessera: ...", the first time only that this
 *  `place` (a variable of the caller's, 0 at first) is passed. */
void plug_say_once(int *place, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/** A .tess file that packets of one stream are written to as they are made; one
 *  thread at a time. */
typedef struct plug_side plug_side;

/** Opens `path` for a stream; an existing file is never written over: the name
 *  gets a number, name.1.tess (pipes and devices are opened as they are).
 *  NULL: said why. */
plug_side *plug_side_open(const char *path, int kind,
                          const tsr_media_stream *stream);

/** A failure is said, and ends the file: later packets are dropped. */
void plug_side_packet(plug_side *side, int64_t pts, uint64_t duration,
                      const void *data, size_t bytes);

/** Finishes and closes; NULL is allowed. */
void plug_side_close(plug_side **side);
#endif
