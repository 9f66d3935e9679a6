/* SPDX-License-Identifier: BSD-2-Clause */
/* ffmpeg's manner: tessera [options] -i IN [options] OUT. */
#ifndef TOOLS_MANNER_H
#define TOOLS_MANNER_H

/** Reads argv[0..argc-1], finds out which command is meant, and runs it.  Returns
 *  an exit status; has said what was wrong. */
int manner_run(int argc, char **argv);
#endif
