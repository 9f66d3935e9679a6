/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TOOLS_PROGRESS_H
#define TOOLS_PROGRESS_H
#include <stdint.h>
#include <stdio.h>
#include <tessera/image.h>
#include "tools/args.h"

/** How far a command has come: a line on a terminal, key=value text in the
 *  file of -progress, or neither. */
typedef struct progress {
    const char *what;   /**< the file being made */
    int line;           /**< show the line */
    FILE *file;         /**< of -progress, or NULL */
    const tsr_image *image; /**< for the speed, once it has a size; set after
                                 progress_open(), may stay NULL */
    double sound;       /**< seconds of sound or video so far; below 0: neither */
    double sound_length; /**< in all; 0: not known */
    const uint64_t *bytes; /**< of the output so far, for the bit rate of
                                sound and video; may be NULL */
    int video;          /**< there are frames: the line is as ffmpeg's */
    double quality;     /**< of the frames; below 0: not known */
    uint64_t frames, doubled, dropped; /**< so far */
    int at, of;         /**< the file of so many that what is reported is
                             about; of 0: the only one */
    const char *detail; /**< what else the line says; may be NULL */
    double done;        /**< the part done, 0..1 */
    double start;       /**< seconds, of the monotonic clock */
    double shown;       /**< when either was last written */
} progress;

/** Starts the clock.  out: the path being written; -progress must not go
 *  where data goes.  Returns an exit status; has said what was wrong. */
int progress_open(progress *p, const args *a, const char *out);

/** Whether -progress leaves an input alone; says if not. */
int progress_spares(const args *a, const char *in);

/** For the library's calls; `p` must outlive it. */
tsr_progress progress_hook(progress *p);

/** Of sound or video, so many seconds are done now. */
void progress_sound(progress *p, double seconds);

/** Seconds since the start. */
double progress_seconds(const progress *p);

/** Writes the last report and closes.  whole: the work was done. */
void progress_close(progress *p, uint64_t bytes, int whole);
#endif
