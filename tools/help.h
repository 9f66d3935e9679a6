/* SPDX-License-Identifier: BSD-2-Clause */
/* What the program says about itself, all of it from the commands' tables: help
 * texts, the pages of the manual, completion for bash. */
#ifndef TOOLS_HELP_H
#define TOOLS_HELP_H
#include "tools/args.h"

/** Each prints to stdout. */
void help_overview(void);
void help_command(const command *cmd);
void help_bash(void);

/** The page "tessera" or "tessera-COMMAND" in mdoc.  Returns an exit status; has
 *  said that there is no such page. */
int help_page(const char *name);

/** The exit statuses, as a manual lists them; NULL ends them. */
typedef struct help_status {
    const char *number, *text;
} help_status;
extern const help_status help_statuses[];

/** Texts of overview and manual: one line; the first examples; ffmpeg's manner. */
extern const char help_summary[], help_usage[], help_manner[];
#endif
