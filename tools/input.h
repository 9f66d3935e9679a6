/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TOOLS_INPUT_H
#define TOOLS_INPUT_H
#include <stdint.h>
#include <stdio.h>
#include <tessera/io.h>

enum { INPUT_HEAD = 16 };

/** A file, or standard input, whose first bytes were looked at. */
typedef struct input {
    const char *name;         /**< for messages */
    FILE *file;
    uint8_t head[INPUT_HEAD]; /**< the first bytes of the file */
    size_t head_size;         /**< < INPUT_HEAD only in a shorter file */
    size_t head_used;
    int fault;                /**< errno of the last failed read, else 0 */
} input;

/** Opens `path` ("-" and "pipe:" are standard input) and reads its head.
 *  Returns an exit status; has said what was wrong. */
int input_open(input *in, const char *path);

/** Up to `size` bytes; fewer only at the end or after a fault. */
size_t input_read(input *in, void *data, size_t size);

/** Back to the start.  A pipe is copied to a temporary file first, so this
 *  is asked for before anything but the head is read, and may be repeated. */
int input_rewindable(input *in);
int input_rewind(input *in);

/** A source that reads from `in`, which must outlive it. */
tsr_source input_source(input *in);

/** Says why reading failed (`fault` is set); returns the exit status. */
int input_failed(const input *in);

void input_close(input *in);
#endif
