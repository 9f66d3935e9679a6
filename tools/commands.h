/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TOOLS_COMMANDS_H
#define TOOLS_COMMANDS_H
#include "tools/args.h"

extern const command command_encode;
extern const command command_decode;
extern const command command_remux;
extern const command command_transcode;
extern const command command_info;
extern const command command_models;
extern const command command_compare;
extern const command command_codebook;
extern const command command_kv;
extern const command command_tokens;
extern const command command_import;

/** All of them, in the order of the help; NULL ends the list. */
extern const command *const commands[];

/**
 * What encode and decode read and write: -i and -o, else the plain arguments;
 * a->out stays NULL where neither says it.  Returns an exit status.
 */
int command_files(args *a);

/**
 * Names an output that has no name yet: the input's with its extension changed
 * to `to` if it ends in `from` (NULL: any extension), or with `to` added; a pipe
 * makes a pipe.  `made` holds the name.  Returns an exit status.
 */
enum { NAME_SIZE = 4096 };
int command_output(args *a, const char *from, const char *to,
                   char made[NAME_SIZE]);

/** Both. */
int command_paths(args *a, const char *from, const char *to,
                  char made[NAME_SIZE]);

/** The part of remux that is files of codecs' own programs: whether the input's
 *  or the output's name ends in .mcq or .ecdc; the work.  Returns an exit
 *  status. */
int foreign_is_meant(const args *a);
int foreign_remux(const args *a);
#endif
