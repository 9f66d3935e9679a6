/* SPDX-License-Identifier: BSD-2-Clause */
/* A line in ffmpeg's manner, as it was read. */
#ifndef TOOLS_MANNER_IMPL_H
#define TOOLS_MANNER_IMPL_H
#include "tools/args.h"

enum { WORDS_MAX = 256 };
enum { BEFORE, AFTER, TRAILING };   /* -i IN; IN; OUT */
enum { VIDEO, AUDIO };

typedef struct words {
    char *word[WORDS_MAX];
    int n;
} words;

typedef struct times { double start, length, until; } times;

typedef struct line {
    const char *in, *out;
    const char *in_format, *out_format;     /* -f; NULL: none */
    const char *raw;                        /* -s -r -pix_fmt in front of -i */
    const char *codec[2];                   /* -c:v, -c:a; NULL: none */
    int none[2];                            /* -vn, -an */
    times time[2];
    words words[2];                         /* all other options */
    char start[32], end[32];                /* -ss, -to of both sides; empty: none */
    int side;
} line;

/** Adds one.  Returns an exit status; has said that there are too many. */
int words_add(words *w, const char *word);

/** Runs the command that the line means. */
int manner_choose(line *l);
#endif
