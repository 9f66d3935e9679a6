/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TOOLS_OUTPUT_H
#define TOOLS_OUTPUT_H
#include <stdint.h>
#include <stdio.h>
#include <tessera/io.h>
#include "tools/args.h"
#include "tools/input.h"

/**
 * A file being written.  An ordinary file is written under OUT.part and gets
 * its name when it is whole, so that nobody ever sees half a file; a signal
 * removes it.  Devices, pipes and standard output are written directly.
 */
typedef struct output {
    const char *name;  /**< for messages */
    char *path;        /**< the final name; NULL for standard output */
    char *part;        /**< the name while writing; NULL: written directly */
    FILE *file;
    uint64_t bytes;
    int flow;          /**< set it: every write goes out at once, as live sound
                            in a pipe wants it */
    int fault;         /**< errno of the first failed write, else 0 */
} output;

/**
 * Opens `path`; "-" and "pipe:" are standard output, which must not be a
 * terminal.  An existing file is overwritten with -y, after a question on a
 * terminal, otherwise refused; the file that `in` reads (may be NULL) always.
 * Returns an exit status; has said what was wrong.
 */
int output_open(output *out, const args *a, const input *in, const char *path);

/** 0, or -1 and `fault` is set. */
int output_write(output *out, const void *data, size_t size);

/** Writes again at `offset`, over what was written, and perhaps beyond its end;
 *  only where output_patches() says so: in an ordinary file that is not
 *  standard output. */
int output_patches(const output *out);
int output_patch(output *out, uint64_t offset, const void *data, size_t size);

/** A sink that writes to `out`, which must outlive it. */
tsr_sink output_sink(output *out);

/** Closes; gives the file its name if `keep` and all went well, else removes
 *  it.  Says what went wrong in writing and returns an exit status. */
int output_close(output *out, int keep);

/** Signals that end the program remove the file being written; a full disk
 *  and a closed pipe become errors of write. */
void output_catch_signals(void);

/** From now on the first such signal only ends the input: output_stopped()
 *  becomes true, and what was recorded so far can be finished.  The next one
 *  is as always. */
void output_record(void);
int output_stopped(void);
#endif
