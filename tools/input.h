/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TOOLS_INPUT_H
#define TOOLS_INPUT_H
#include <stdint.h>
#include <stdio.h>
#include <tessera/io.h>

enum { INPUT_HEAD = 64, INPUT_BUFFER = 8192 };

/** A file, or standard input, whose first bytes were looked at.  The bytes of
 *  a pipe can be had as they come, which stdio's buffer does not allow: it is
 *  switched off, and there is one here. */
typedef struct input {
    const char *name;         /**< for messages */
    FILE *file;
    uint8_t head[INPUT_HEAD]; /**< the first bytes of the file */
    size_t head_size;         /**< < INPUT_HEAD only in a shorter file */
    uint8_t buffer[INPUT_BUFFER]; /**< bytes at..end wait to be read */
    size_t at, end;
    int over;                 /**< the end was reached */
    int fault;                /**< errno of the last failed read, else 0 */
} input;

/** Opens `path` ("-" and "pipe:" are standard input) and reads its head.
 *  Returns an exit status; has said what was wrong. */
int input_open(input *in, const char *path);

/** Up to `size` bytes; fewer only at the end or after a fault. */
size_t input_read(input *in, void *data, size_t size);

/** What there is, 1 to `size` bytes, waiting for the first only; 0 at the end
 *  or after a fault. */
size_t input_some(input *in, void *data, size_t size);

/** Bytes to the end of an ordinary file; UINT64_MAX where that is not known. */
uint64_t input_left(const input *in);

/** Back to the start.  A pipe is copied to a temporary file first, so this
 *  is asked for before anything but the head is read, and may be repeated. */
int input_rewindable(input *in);
int input_rewind(input *in);

/** Whether input_seek() works: an ordinary file. */
int input_seekable(const input *in);

/** Goes on at `offset` bytes from the start.  0, or -1 and `fault` is set. */
int input_seek(input *in, uint64_t offset);

/** Whether a picture or sound of this kind (enum tsr_kind) is what the head of
 *  a .tess file announces. */
int input_is_tess(const input *in, int kind);

/** A source that reads from `in`, which must outlive it; it gives what there
 *  is, so that sound flows through pipes. */
tsr_source input_source(input *in);

/** Says why reading failed (`fault` is set); returns the exit status. */
int input_failed(const input *in);

void input_close(input *in);
#endif
