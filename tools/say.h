/* SPDX-License-Identifier: BSD-2-Clause */
/* What the program tells people: one line on stderr per failure, and the exit
 * status that goes with it.  Nothing else in tools/ writes to stderr. */
#ifndef TOOLS_SAY_H
#define TOOLS_SAY_H
#include <tessera/context.h>
#include <tessera/error.h>

/** Exit statuses; scripts depend on them. */
enum {
    RC_OK = 0,
    RC_USAGE = 1,    /**< usage, reading or writing, overwriting refused */
    RC_INPUT = 2,    /**< input that is damaged or of another kind */
    RC_MODEL = 3,    /**< model missing, damaged or not the right one */
    RC_MACHINE = 4,  /**< memory, limits, compute library */
    RC_SIGNAL = 255
};

/** Takes a name as ffmpeg spells it (quiet, error, warning, info, verbose,
 *  debug); returns 0 for an unknown one.  The default is "warning". */
int say_set_level(const char *name);

/** Prints "tessera: FILE: MESSAGE" and returns `rc`.  file may be NULL. */
int say_error(int rc, const char *file, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/** The same for what went on all the same, at level "warning" and above. */
void say_warning(const char *file, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/** As say_error() for a failed library call: the library's own words. */
int say_failure(const char *file, tsr_error error);
int say_failure_as(int rc, const char *file, tsr_error error);

/** The exit status that belongs to `error`. */
int say_rc(tsr_error error);

/** A line for whoever watches; shown at level "info" and above. */
void say_info(const char *format, ...) __attribute__((format(printf, 1, 2)));

/** Whether libraries beneath may talk: at "verbose" and "debug". */
int say_is_verbose(void);

/** Shows, or replaces, the progress line; say_status_end() takes it away. */
void say_status(const char *format, ...)
    __attribute__((format(printf, 1, 2)));
void say_status_end(void);

/** For tsr_context_settings.logger: keeps the last error or warning for
 *  say_failure() and say_take_detail(). */
tsr_logger say_logger(void);

/** The last error or warning the library logged, "" if none; forgets it. */
const char *say_take_detail(void);

/** Prints a warning that belonged to no failure. */
void say_rest(void);
#endif
