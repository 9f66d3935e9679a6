/* SPDX-License-Identifier: BSD-2-Clause */
/* The tables of tools/complete.bash, which stands behind them in the file that
 * is installed. */
#include <stdio.h>
#include <string.h>
#include <tessera/context.h>
#include "tools/commands.h"
#include "tools/help.h"

/* A function of the script, with a case for each command. */
static void put_function(const char *name, void (*body)(const command *cmd))
{
    printf("\n%s\n{\n    case $1 in\n", name);
    for (int i = 0; commands[i]; i++) {
        printf("    %s) echo '", commands[i]->name);
        body(commands[i]);
        printf("' ;;\n");
    }
    printf("    esac\n}\n");
}

static void put_verbs(const command *cmd)
{
    printf("%s", cmd->verbs ? cmd->verbs : "");
}

static void put_endings(const command *cmd)
{
    printf("%s", cmd->takes ? cmd->takes : "");
}

static void put_options(const command *cmd)
{
    for (int t = 0; cmd->tables[t]; t++)
        for (const opt *o = cmd->tables[t]; o->names; o++)
            printf("%s ", o->names);
}

/* The kind of a value: its words, FILE, MODEL, or - for what only the user
 * knows. */
static const char *kind_of(const opt *o)
{
    if (strchr(o->value, '|'))
        return o->value;
    if (!strcmp(o->value, "FILE") || !strcmp(o->value, "URL"))
        return "FILE";
    return strstr(o->names, "-model") ? "MODEL" : "-";
}

static void put_value(const command *cmd, const opt *o)
{
    char name[ARGS_NAME_SIZE];
    const char *at = o->names, *between = "    ";

    while (args_next_name(&at, name)) {
        printf("%s%s\\ %s", between, cmd->name, name);
        between = "|";
    }
    printf(") echo '%s' ;;\n", kind_of(o));
}

static void put_values(void)
{
    printf("\n_tessera_value() # COMMAND OPTION: FILE, MODEL, words with |"
           " between them, - for others, nothing for flags\n"
           "{\n    case \"$1 $2\" in\n");
    for (int i = 0; commands[i]; i++)
        for (int t = 0; commands[i]->tables[t]; t++)
            for (const opt *o = commands[i]->tables[t]; o->names; o++)
                if (o->value)
                    put_value(commands[i], o);
    printf("    esac\n}\n\n");
}

void help_bash(void)
{
    printf("# SPDX-License-Identifier: BSD-2-Clause\n"
           "# bash completion for tessera %s, made by the program.\n\n"
           "_tessera_commands='", tsr_version());
    for (int i = 0; commands[i]; i++)
        printf("%s%s", i ? " " : "", commands[i]->name);
    printf("'\n");
    put_function("_tessera_verbs() # COMMAND", put_verbs);
    put_function("_tessera_endings() # COMMAND: of its files", put_endings);
    put_function("_tessera_options() # COMMAND", put_options);
    put_values();
}
