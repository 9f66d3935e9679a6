/* SPDX-License-Identifier: BSD-2-Clause */
/* One input and its output, or many inputs and a folder. */
#ifndef TOOLS_BATCH_H
#define TOOLS_BATCH_H
#include "tools/commands.h"
#include "tools/input.h"
#include "tools/output.h"
#include "tools/progress.h"

typedef struct batch {
    args *a;                /**< in and out are those of the current file */
    const char **in;        /**< names of the inputs */
    int count, at;          /**< of them, the current one */
    const char *folder;     /**< NULL: one input, and a->out may name its output */
    char **made;            /**< names in the folder, one of each input; NULL
                                 where nothing was written */
    progress progress;      /**< of all files together */
    int began;              /**< it is open */
    char label[64];         /**< how it calls the current file */
    uint64_t bytes;         /**< written */
    int failed;             /**< files */
    int stop;               /**< set it: what failed would fail for all */
} batch;

/** The option -i of commands that take many. */
extern const opt batch_options[];

/**
 * Finds out what is read and written: the inputs are those of -i and the plain
 * arguments; the output is -o, else the last plain argument if it is a folder or the
 * second of two names.  Returns an exit status; has said what was wrong.
 * batch_close() in any case.
 */
int batch_open(batch *b, args *a);

/** What batch_output() returns, and `one` then does: there is nothing to do. */
enum { BATCH_SKIP = -1 };

/** Runs `one` for each input, with a->in and in single mode a->out set; goes on
 *  after a failure unless b->stop is set.  The worst of their exit statuses. */
int batch_run(batch *b, int (*one)(void *cookie, args *a), void *cookie);

/**
 * Opens the output of the current file, once for each: as the command line says,
 * else, and in a folder, the input's name with its extension changed to `ending`.
 * Starts the progress.  in: as in output_open().  Returns an exit status, or
 * BATCH_SKIP: it is in the folder already, and -n leaves it alone.
 */
int batch_output(batch *b, const char *ending, const input *in, output *out);

/** The name that batch_output() would take, where no folder changes it; NULL in
 *  a folder, and where none is given. */
const char *batch_named(const batch *b);

/** Closes the output; keeps it if `keep`.  rc, or what went wrong in closing. */
int batch_finish(batch *b, output *out, int rc, int keep);

void batch_close(batch *b);
#endif
