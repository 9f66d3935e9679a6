/* SPDX-License-Identifier: BSD-2-Clause */
/* -map: which streams of the input are taken. */
#ifndef TOOLS_MEDIA_MAP_H
#define TOOLS_MEDIA_MAP_H
#include "tools/args.h"

/** One stream of a file. */
typedef struct media_stream {
    char kind;      /**< v picture, a sound, s subtitles, d data, t attachment */
    int attached;   /**< a picture that belongs to the sound: a cover */
} media_stream;

/** Numbers of streams; -1: none. */
typedef struct media_choice { int video, audio; } media_choice;

/**
 * Changes `choice`, what would be taken without -map, into what -map says:
 * all options that add replace it, those that begin with - take away.  Of
 * several streams of a kind it is the one of `choice`, else the first; that there
 * are more is said.  Returns an exit status; has said what was wrong.
 */
int media_map(const args *a, const char *file, const media_stream *streams,
              int n, media_choice *choice);

/** For programs that take any number of streams: order[i] > 0 for those that
 *  -map names, without it for all; else 0. */
int media_map_all(const args *a, const media_stream *streams, int n,
                  int *order);

/** For files of one stream: whether it is taken, else RC_USAGE, said. */
int media_map_only(const args *a, const char *file, char kind);
#endif
