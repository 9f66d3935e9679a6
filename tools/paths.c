/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>
#include <string.h>
#include "tools/commands.h"
#include "tools/say.h"

int command_output(args *a, const char *from, const char *to,
                   char made[NAME_SIZE])
{
    const char *slash = strrchr(a->in, '/');
    const char *base = slash ? slash + 1 : a->in;
    const char *dot = strrchr(base, '.');
    size_t n = strlen(a->in);

    if (a->out)
        return RC_OK;
    if (args_is_pipe(a->in)) {
        a->out = "-";
        return RC_OK;
    }
    if (dot && dot != base && (!from || !strcmp(dot, from)))
        n = (size_t)(dot - a->in);
    if (n + strlen(to) >= NAME_SIZE)
        return say_error(RC_USAGE, a->in, "the name is too long");
    snprintf(made, NAME_SIZE, "%.*s%s", (int)n, a->in, to);
    a->out = made;
    return RC_OK;
}

int command_files(args *a)
{
    int used = 0;
    if (!a->in && used < a->files)
        a->in = a->file[used++];
    if (!a->out && used < a->files)
        a->out = a->file[used++];
    if (!a->in)
        return say_error(RC_USAGE, NULL, "no input; -i FILE names it");
    if (!*a->in || (a->out && !*a->out))
        return say_error(RC_USAGE, NULL, "the name of the %s is empty",
                         *a->in ? "output" : "input");
    if (used < a->files)
        return say_error(RC_USAGE, a->file[used],
                         "one input and one output at a time");
    return RC_OK;
}

int command_paths(args *a, const char *from, const char *to,
                  char made[NAME_SIZE])
{
    const int rc = command_files(a);
    return rc ? rc : command_output(a, from, to, made);
}
