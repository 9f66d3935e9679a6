/* SPDX-License-Identifier: BSD-2-Clause */
/* Codes as arrays, by kind of what they are codes of.  The command looks at a file,
 * opens model and output, and comes here. */
#ifndef TOOLS_TOKENS_H
#define TOOLS_TOKENS_H
#include <tessera/model.h>
#include "tools/batch.h"
#include "tools/io/picture.h"
#include "tools/media/in.h"

/** One file, and what all files have in common. */
typedef struct tokens_job {
    tsr_context *ctx;
    batch batch;
    tsr_model *model;       /**< of the last file; the next may use it */
    int kind;               /**< what it is for: enum tsr_kind */
    const args *a;          /**< from here on: of the current file */
    input *in;
    media_in *media;        /**< what is in it, if it has pixels or samples */
    output *out;
    const picture_format *format; /**< of the picture that codes become */
    int damaged;            /**< parts of it are missing */
} tokens_job;

/** Media, or a stream, to an array.  Return an exit status; have said what was
 *  wrong. */
int tokens_sound_take(tokens_job *j);
int tokens_sound_read(tokens_job *j);
int tokens_picture_take(tokens_job *j);
int tokens_picture_read(tokens_job *j);

/** Codes of sound, [frames][groups][books]; `codes` is the caller's to free(). */
typedef struct tokens_codes {
    uint16_t *codes;
    size_t frames;
    int groups, books;
} tokens_codes;

/** Those of j->media, or if it is NULL of the stream j->in. */
int tokens_sound_codes(tokens_job *j, tokens_codes *codes);

/** `tessera tokens --find`: all of it. */
int tokens_find(args *a);

/** An array back to a stream, to a WAV file, to a picture in `format`. */
int tokens_sound_write(tokens_job *j);
int tokens_sound_play(tokens_job *j);
int tokens_picture_write(tokens_job *j);
int tokens_picture_show(tokens_job *j);

/** The bytes of a code in an array: what -dtype says, else `usual`; 0: has said
 *  that it says nothing sensible. */
int tokens_width(const args *a, int usual);

/** "-dtype uint16" and so on, for the head of an array. */
const char *tokens_type(int bytes);
#endif
