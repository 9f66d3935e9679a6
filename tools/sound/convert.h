/* SPDX-License-Identifier: BSD-2-Clause */
/* Channels and sampling rate of sound, in pieces. */
#ifndef TOOLS_SOUND_CONVERT_H
#define TOOLS_SOUND_CONVERT_H
#include <stddef.h>
#include "tools/sound/resample.h"

enum { CONVERT_BLOCK = 1024 };

/**
 * Between numbers of channels that differ, all channels are mixed to one (their
 * mean, so that nothing is clipped) and that is what each new channel gets:
 * stereo to mono is (L + R) / 2, mono to stereo is twice the same.
 */
typedef struct converter {
    int from, to;           /**< channels */
    resampler *resampler;   /**< NULL: the rate stays */
    float *mixed;           /**< CONVERT_BLOCK x to */
} converter;

typedef struct sound_form { int rate, channels; } sound_form;

/** Opens; file: whose sound it is.  Returns an exit status; has said what was
 *  wrong; convert_close() in any case. */
int convert_open(converter *c, const char *file, sound_form from,
                 sound_form to);
void convert_close(converter *c);

/** As resampler_run(); *used is at most CONVERT_BLOCK. */
void convert_run(converter *c, const float *x, size_t n, size_t *used,
                 float *y, size_t room, size_t *made);
#endif
