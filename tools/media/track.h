/* SPDX-License-Identifier: BSD-2-Clause */
/* The sound of a file on its way to who wants it: cut, without gaps, with the
 * channels and at the rate that are asked for. */
#ifndef TOOLS_MEDIA_TRACK_H
#define TOOLS_MEDIA_TRACK_H
#include "tools/media/in.h"
#include "tools/sound/convert.h"

typedef struct media_track {
    sound_form from, to;
    int64_t begin, end;     /**< of the file's samples, end exclusive */
    int over;               /**< `end` was reached */
    uint64_t filled;        /**< samples of silence put into gaps */
    /* The rest is its own. */
    converter convert;
    const float *at;        /* samples of the file that wait */
    size_t have;
    uint64_t silence;       /* before them */
    int64_t next;           /* where in the file the next block should begin */
    int64_t first;          /* of the file, that was used; below 0: none yet */
    uint64_t made;
    float *zero, *out;      /* CONVERT_BLOCK */
} media_track;

/**
 * Opens for the sound `from` of a file, cut as -ss, -t and -to say, with the
 * channels that -ac and want->group say, at want->rate.  Returns an exit status;
 * has said what was wrong; media_track_close() in any case.
 */
int media_track_open(media_track *t, const args *a, const char *file,
                     sound_form from, const media_in_want *want);
void media_track_close(media_track *t);

/** A block of the file, of samples that are the caller's and stay until
 *  media_track_make() has returned 0. */
void media_track_take(media_track *t, const media_in_item *block);

/** Makes the next item of what was taken, or of what is left in it (last: no more
 *  comes).  0: there is none. */
int media_track_make(media_track *t, media_in_item *item, int last);
#endif
