/* SPDX-License-Identifier: BSD-2-Clause */
/* Our files as libav's. */
#ifndef TOOLS_MEDIA_AV_IO_H
#define TOOLS_MEDIA_AV_IO_H
#include <libavformat/avio.h>
#include "tools/input.h"
#include "tools/media/whole.h"
#include "tools/output.h"

/** A file for libav to read, from where it stands (its start). */
typedef struct av_reader {
    AVIOContext *io;
    input *in;
    int seekable;
    whole watch;        /**< fed where the file cannot seek */
} av_reader;

/** A file for libav to write. */
typedef struct av_writer {
    AVIOContext *io;
    output *out;
    uint64_t at;        /* where it writes next */
} av_writer;

/** `r` or `w` must stay where it is until it is closed.  Return an exit status;
 *  have said what was wrong. */
int av_reader_open(av_reader *r, input *in, int nut);
int av_writer_open(av_writer *w, output *out);

void av_reader_close(av_reader *r);
/** Writes what is in the buffer. */
void av_writer_close(av_writer *w);

/** libav's word for a failure; a static text. */
const char *av_words(int error);
#endif
