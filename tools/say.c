/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "tools/say.h"

enum { QUIET = -1 };

static int max_level = TSR_LOG_WARNING;
static int verbose;
static int status_shown;
/* The last message of the library: an error waits for say_failure(), a warning
 * for the failure it may belong to, else for say_rest(). */
static char detail[1024];
static tsr_log_level detail_level;

int say_set_level(const char *name)
{
    static const struct { const char *name; int level; } levels[] = {
        { "quiet", QUIET },
        { "error", TSR_LOG_ERROR },
        { "warning", TSR_LOG_WARNING },
        { "info", TSR_LOG_INFO },
        { "verbose", TSR_LOG_INFO },
        { "debug", TSR_LOG_DEBUG },
    };
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        if (!strcmp(name, levels[i].name)) {
            max_level = levels[i].level;
            verbose = !strcmp(name, "verbose") || !strcmp(name, "debug");
            return 1;
        }
    }
    return 0;
}

int say_is_verbose(void)
{
    return verbose;
}

void say_status_end(void)
{
    if (status_shown)
        fputs("\r\033[K", stderr);
    status_shown = 0;
}

void say_status(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputc('\r', stderr);
    vfprintf(stderr, format, args);
    fputs("\033[K", stderr);
    fflush(stderr);
    va_end(args);
    status_shown = 1;
}

static void say(const char *file, const char *format, va_list args)
{
    say_status_end();
    fprintf(stderr, "tessera: %s%s", file ? file : "", file ? ": " : "");
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
}

int say_error(int rc, const char *file, const char *format, ...)
{
    va_list args;
    if (max_level < TSR_LOG_ERROR)
        return rc;
    va_start(args, format);
    say(file, format, args);
    va_end(args);
    return rc;
}

void say_warning(const char *file, const char *format, ...)
{
    va_list args;
    if (max_level < TSR_LOG_WARNING)
        return;
    va_start(args, format);
    say(file, format, args);
    va_end(args);
}

void say_info(const char *format, ...)
{
    va_list args;
    if (max_level < TSR_LOG_INFO)
        return;
    say_status_end();
    va_start(args, format);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
}

int say_rc(tsr_error error)
{
    switch (error) {
    case TSR_OK:
        return RC_OK;
    case TSR_E_CORRUPT:
    case TSR_E_VERSION:
    case TSR_E_CHECKSUM:
    case TSR_E_TRUNCATED:
    case TSR_E_FORMAT:
    case TSR_E_EOF:
        return RC_INPUT;
    case TSR_E_MODEL:
    case TSR_E_SHAPE:
        return RC_MODEL;
    case TSR_E_NOMEM:
    case TSR_E_LIMIT:
    case TSR_E_BACKEND:
    case TSR_E_INTERNAL:
        return RC_MACHINE;
    default:
        return RC_USAGE;
    }
}

const char *say_take_detail(void)
{
    static char taken[sizeof detail];
    memcpy(taken, detail, sizeof taken);
    detail[0] = 0;
    return taken;
}

int say_failure_as(int rc, const char *file, tsr_error error)
{
    const char *text = say_take_detail();
    const size_t n = file ? strlen(file) : 0;
    /* The library names a model's file itself, now and then. */
    if (n && !strncmp(text, file, n) && text[n] == ':')
        file = NULL;
    return say_error(rc, file, "%s", *text ? text : tsr_error_string(error));
}

int say_failure(const char *file, tsr_error error)
{
    return say_failure_as(say_rc(error), file, error);
}

void say_rest(void)
{
    if (*detail && detail_level == TSR_LOG_WARNING &&
        max_level >= TSR_LOG_WARNING) {
        say_status_end();
        fprintf(stderr, "tessera: %s\n", detail);
    }
    detail[0] = 0;
}

static void take_message(void *cookie, tsr_log_level level, const char *message)
{
    (void)cookie;
    if (level <= TSR_LOG_WARNING) {
        say_rest();
        snprintf(detail, sizeof detail, "%s", message);
        detail_level = level;
    } else if ((int)level <= max_level) {
        say_status_end();
        fprintf(stderr, "tessera: %s\n", message);
    }
}

tsr_logger say_logger(void)
{
    return (tsr_logger){ .log = take_message };
}
