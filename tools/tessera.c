/* SPDX-License-Identifier: BSD-2-Clause */
/* The program: finds the command, reads its options, runs it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <tessera/context.h>
#include "tools/commands.h"
#include "tools/help.h"
#include "tools/manner.h"
#include "tools/output.h"
#include "tools/say.h"

const command *const commands[] = {
    &command_encode, &command_decode, &command_remux, &command_transcode,
    &command_info, &command_models, &command_import, &command_compare, &command_tokens,
    &command_codebook, &command_kv, NULL
};

static const command *find(const char *name)
{
    for (int i = 0; commands[i]; i++)
        if (!strcmp(commands[i]->name, name))
            return commands[i];
    return NULL;
}

static const char *next_command(void *cookie)
{
    const command *const **at = cookie;
    return **at ? (*(*at)++)->name : NULL;
}

static int unknown(const char *name)
{
    const command *const *at = commands;
    const char *nearest = args_nearest(name, next_command, &at);
    if (nearest)
        return say_error(RC_USAGE, NULL, "unknown command '%s'; did you mean"
                         " '%s'?", name, nearest);
    return say_error(RC_USAGE, NULL, "unknown command '%s'; see 'tessera"
                     " help'", name);
}

/* Behind help -man NAME and help -bash stands what the build makes the manual
 * and the completion of. */
static int help(int argc, char **argv)
{
    const command *cmd;
    if (argc == 2 && !strcmp(argv[0], "-man"))
        return help_page(argv[1]);
    if (argc < 1 || !strcmp(argv[0], "help"))
        help_overview();
    else if (!strcmp(argv[0], "-bash"))
        help_bash();
    else if (!strcmp(argv[0], "ffmpeg"))
        printf("%s", help_manner);
    else if (!(cmd = find(argv[0])))
        return unknown(argv[0]);
    else
        help_command(cmd);
    return RC_OK;
}

static int is_one_of(const char *word, const char *const *names)
{
    for (; *names; names++)
        if (!strcmp(word, *names))
            return 1;
    return 0;
}

static int dispatch(int argc, char **argv)
{
    static const char *const help_names[] = { "help", "-h", "-help", "--help",
                                              "-?", NULL };
    static const char *const version_names[] = { "version", "-version",
                                                 "--version", "-V", NULL };
    const command *cmd;
    args a;
    int rc;

    if (argc < 2)
        return help(0, NULL);
    if (is_one_of(argv[1], help_names))
        return help(argc - 2, argv + 2);
    if (is_one_of(argv[1], version_names)) {
        printf("tessera %s\n", tsr_version());
        return RC_OK;
    }
    if (argv[1][0] == '-')
        return manner_run(argc - 1, argv + 1);
    cmd = find(argv[1]);
    if (!cmd)
        return unknown(argv[1]);
    rc = args_parse(&a, cmd, argc - 2, argv + 2);
    if (rc)
        return rc;
    if (a.help) {
        help_command(cmd);
        return RC_OK;
    }
    return cmd->run(&a);
}

int main(int argc, char **argv)
{
    int rc;
    output_catch_signals();
    rc = dispatch(argc, argv);
    say_rest();
    /* A report that did not reach its reader is a failure too. */
    if (fflush(stdout) && !rc)
        rc = say_error(RC_USAGE, "standard output", "write: %s",
                       strerror(errno));
    return rc;
}
