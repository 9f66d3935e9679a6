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
    "  tessera encode photo.jpg             writes photo.tess\n"
    "  tessera decode photo.tess            writes photo.png\n"
    "  tessera encode song.mp3              writes song.tess\n"
    "  tessera encode -an film.mp4          writes film.tess: its frames\n"
    "  tessera info film.tess               where its bytes go\n"
    "  tessera -i film.mp4 -b:a 3k film.mov as ffmpeg; see tessera help ffmpeg\n";

const char help_manner[] =
    "As ffmpeg, where the first argument is an option:\n"
    "\n"
    "  tessera [input options] -i IN [output options] OUT\n"
    "\n"
    "What IN is, and what OUT is called or its -f says, chooses the command:\n"
    "\n"
    "  IN           OUT                  -c         is\n"
    "  other media  .tess .mov .nut                 tessera encode\n"
    "  Tessera      other                           tessera decode\n"
    "  Tessera      .tess .mov .nut      copy       tessera remux\n"
    "  Tessera      .tess                           decode, then encode\n"
    "  Tessera      .mov .nut            tessera    decode, then encode\n"
    "\n"
    "Options are those of the command. In front of -i, -f -s -r -pix_fmt tell what\n"
    "raw input is, and -ss -t -to what is read of it; behind it, -f -s are of the\n"
    "output, and -ss -t -to count from the start that was chosen in front. -c, -c:v\n"
    "and -c:a name copy, tessera or a codec; -vn and -an leave video or sound out.\n"
    "There is one input and one output; - and pipe: are standard input and output.\n"
    "-q runs from 0, the smallest, to 100, unlike ffmpeg's.\n"
    "\n"
    "  tessera -i song.wav -b:a 3k song.tess\n"
    "  tessera -ss 10 -t 5 -i film.mp4 -an -q 30 part.mov\n"
    "  tessera -i film.mov -c copy film.tess\n"
    "  tessera -i song.tess -b:a 1.5k small.tess\n"
    "  tessera -i song.tess -f wav - | ffmpeg -i - song.opus\n"
    "  tessera -f rawvideo -pix_fmt rgb24 -s 640x360 -r 25 -i - film.nut\n";

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
