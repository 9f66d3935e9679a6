/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>
#include <string.h>
#include <tessera/context.h>
#include "tools/commands.h"
#include "tools/help.h"

enum { WIDTH = 79, COLUMN = 26 };

const help_status help_statuses[] = {
    { "0", "all went well" },
    { "1", "usage, reading, writing, or overwriting refused" },
    { "2", "damaged or foreign input; what is whole was written" },
    { "3", "a model is missing, damaged or not the right one" },
    { "4", "memory, a limit, or the device" },
    { "255", "a signal; an output that can be finished is finished" },
    { NULL, NULL }
};

const char help_summary[] =
    "pictures, sound, video and KV caches as bitstreams, and back";

const char help_usage[] =
    "  tessera encode photo.png             writes photo.tess\n"
    "  tessera decode photo.tess            writes photo.png\n"
    "  tessera info photo.tess              where its bytes go\n"
    "  tessera encode speech.wav            writes speech.tess; decode, info and\n"
    "                                       compare take sound just so\n";

/* Words of `text` from column `at` on, broken before WIDTH. */
static void wrap(const char *text, size_t at)
{
    while (*text) {
        const size_t n = strcspn(text, " ");
        if (at + 1 + n > WIDTH) {
            printf("\n%*s", COLUMN, "");
            at = COLUMN;
        } else if (at > COLUMN) {
            printf(" ");
            at++;
        }
        printf("%.*s", (int)n, text);
        at += n;
        text += n + strspn(text + n, " ");
    }
    printf("\n");
}

static void print_option(const opt *o)
{
    char text[128];
    const int n = snprintf(text, sizeof text, "  %s %s", o->names,
                           o->value ? o->value : "");
    if (n < COLUMN)
        printf("%-*s", COLUMN, text);
    else
        printf("%s\n%*s", text, COLUMN, "");
    wrap(o->help, COLUMN);
}

void help_command(const command *cmd)
{
    printf("tessera %s: %s\n\n  tessera %s %s\n\n%s\nOptions, with one dash or"
           " two\n", cmd->name, cmd->summary, cmd->name, cmd->synopsis,
           cmd->usage);
    for (int t = 0; cmd->tables[t]; t++)
        for (const opt *o = cmd->tables[t]; o->names; o++)
            print_option(o);
    if (cmd->notes)
        printf("\n%s", cmd->notes);
}

void help_overview(void)
{
    printf("tessera %s: %s\n\n%s\nCommands\n", tsr_version(), help_summary,
           help_usage);
    for (int i = 0; commands[i]; i++)
        printf("  %-10s %s\n", commands[i]->name, commands[i]->summary);
    printf("\n'tessera help COMMAND' shows the options of one.\n\n"
           "Exit status\n");
    for (const help_status *s = help_statuses; s->number; s++)
        printf("  %-4s %s\n", s->number, s->text);
}
