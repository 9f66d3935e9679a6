/* SPDX-License-Identifier: BSD-2-Clause */
/* Another sampling rate, by libsoxr: band-limited, linear phase, as long as the
 * input and in step with it (no delay to cut off), in pieces.
 *
 * Why libsoxr (LGPL-2.1, linked dynamically and only if it is there) and not
 * libsamplerate (BSD-2-Clause): at the same stop band it is several times as
 * fast, it takes out its own delay at both ends, and it is what ffmpeg and
 * SoX users know. */
#ifndef TOOLS_SOUND_RESAMPLE_H
#define TOOLS_SOUND_RESAMPLE_H
#include <stddef.h>

typedef struct resampler resampler;

/**
 * file      whose sound it is, for messages
 * from, to  samples a second, 1 to 768000, not equal
 *
 * Returns an exit status; has said what was wrong, which is always so in a
 * program built without the library.
 */
int resampler_open(resampler **r, const char *file, int from, int to,
                   int channels);
void resampler_close(resampler **r);

/** Takes up to n of the samples x, makes up to `room` samples y; interleaved.
 *  x NULL: no more come, and all that is left is made; made 0 is the end. */
void resampler_run(resampler *r, const float *x, size_t n, size_t *used,
                   float *y, size_t room, size_t *made);
#endif
