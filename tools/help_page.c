/* SPDX-License-Identifier: BSD-2-Clause */
/* Pages of the manual in mdoc(7), from the same tables as the help. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <tessera/context.h>
#include "tools/commands.h"
#include "tools/help.h"
#include "tools/say.h"

/* When the texts changed last: pages are the same whenever they are made. */
static const char page_date[] = "November 22, 2026";

static void upper(const char *text)
{
    for (; *text; text++)
        putchar(toupper((unsigned char)*text));
}

/* One character of running text or of an example, as roff wants it.  A dash at
 * the start of a word is that of an option and stays ASCII. */
static void put(char c, int dash)
{
    if (c == '\\')
        printf("\\e");
    else if (c == '-' && dash)
        printf("\\-");
    else
        putchar(c);
}

/* A line of n characters that no macro can hide in. */
static void put_line(const char *text, size_t n, int literal)
{
    if (*text == '.' || *text == '\'')
        printf("\\&");
    for (size_t i = 0; i < n; i++)
        put(text[i], literal || i == 0 || !isalnum((unsigned char)text[i - 1]));
    putchar('\n');
}

/* Where the sentence that begins at `text` ends; a full stop inside of a line
 * is one if a capital follows. */
static size_t sentence(const char *text, size_t n)
{
    for (size_t i = 0; i + 2 < n; i++)
        if (text[i] == '.' && text[i + 1] == ' ' &&
            isupper((unsigned char)text[i + 2]))
            return i + 1;
    return n;
}

static void literal_begin(int *literal)
{
    if (!*literal)
        printf(".Bd -literal\n");
    *literal = 1;
}

static void literal_end(int *literal)
{
    if (*literal)
        printf(".Ed\n");
    *literal = 0;
}

/* Paragraphs, as notes are written: an empty line parts them, what is indented
 * stays as it is. */
static void put_text(const char *text)
{
    int literal = 0, fresh = 0;

    while (*text) {
        const size_t n = strcspn(text, "\n");
        const int indented = !strncmp(text, "  ", 2);
        if (indented)
            literal_begin(&literal);
        else
            literal_end(&literal);
        if (!n)
            fresh = text[1] && text[1] != ' ';
        else if (fresh) {
            printf(".Pp\n");
            fresh = 0;
        }
        for (size_t at = 0, end; at < n; at = end + (text[end] == ' ')) {
            end = indented ? n : at + sentence(text + at, n - at);
            put_line(text + at, end - at, indented);
        }
        text += n + (text[n] == '\n');
    }
    literal_end(&literal);
}

/* "[options] [-i] IN" as macros. */
static void put_synopsis(const char *text)
{
    while (*text) {
        const size_t n = *text == '[' || *text == ']' ? 1
                                                      : strcspn(text, " []");
        const int length = (int)n;
        if (*text == '[')
            printf(".Oo\n");
        else if (*text == ']')
            printf(".Oc\n");
        else if (*text == '-')
            printf(".Fl %.*s\n", length - 1, text + 1);
        else if (isupper((unsigned char)*text))
            printf(".Ar %.*s\n", length, text);
        else if (islower((unsigned char)*text))
            printf(".Cm %.*s\n", length, text);
        else
            printf("\\&%.*s\n", length, text);
        text += n + strspn(text + n, " ");
    }
}

static void put_option(const opt *o)
{
    const char *at = o->names;
    char name[ARGS_NAME_SIZE];
    int first = 1;

    printf(".It");
    while (*at) {
        const char *dash = strchr(at, '-');
        if (!dash || !args_next_name(&at, name))
            break;
        printf("%s Fl %s%s", first ? "" : " ,", dash[1] == '-' ? "-" : "",
               name);
        first = 0;
    }
    if (o->value)
        printf(" %s %s", strchr(o->value, '|') ? "Cm" : "Ar", o->value);
    putchar('\n');
    put_text(o->help);
}

static void put_options(const command *cmd)
{
    printf("The options, with one dash or two:\n"
           ".Bl -tag -width Ds\n");
    for (int t = 0; cmd->tables[t]; t++)
        for (const opt *o = cmd->tables[t]; o->names; o++)
            put_option(o);
    printf(".El\n");
}

static void put_head(const char *name, const char *summary)
{
    printf(".\\\" SPDX-License-Identifier: BSD-2-Clause\n"
           ".\\\" Made by the program from its tables of options.\n"
           ".Dd %s\n.Dt ", page_date);
    upper(name);
    printf(" 1\n.Os Tessera %s\n.Sh NAME\n.Nm %s\n.Nd %s\n.Sh SYNOPSIS\n",
           tsr_version(), name, summary);
}

static void put_environment(void)
{
    printf(".Sh ENVIRONMENT\n"
           ".Bl -tag -width TESSERA_MODELS\n"
           ".It Ev TESSERA_MODELS\n"
           "folders to look for models in, separated by colons\n"
           ".It Ev XDG_DATA_HOME\n"
           "the user's data, in place of\n"
           ".Pa ~/.local/share\n"
           ".El\n");
}

static void put_files(void)
{
    printf(".Sh FILES\n"
           ".Bl -tag -width Ds\n"
           ".It Pa ~/.local/share/tessera/models/NAME.safetensors\n"
           "the user's models\n"
           ".It Pa " TSR_DATADIR "/models/NAME.safetensors\n"
           "the installed ones; of two models of a name the first found counts:"
           "\n.Ev TESSERA_MODELS ,\nthe user's, the installed ones\n"
           ".El\n");
}

static void put_statuses(void)
{
    printf(".Sh EXIT STATUS\n.Bl -tag -width 255x -compact\n");
    for (const help_status *s = help_statuses; s->number; s++)
        printf(".It %s\n%s\n", s->number, s->text);
    printf(".El\n");
}

static void put_examples(const char *usage)
{
    printf(".Sh EXAMPLES\n");
    put_text(usage);
}

/* Whether a command looks for models. */
static int wants_models(const command *cmd)
{
    for (int t = 0; cmd->tables[t]; t++)
        if (cmd->tables[t] == args_engine_options)
            return 1;
    return cmd == &command_models || cmd == &command_info;
}

static void put_command(const command *cmd, const char *name)
{
    put_head(name, cmd->summary);
    printf(".Nm tessera %s\n", cmd->name);
    put_synopsis(cmd->synopsis);
    printf(".Sh DESCRIPTION\n");
    if (cmd->notes) {
        put_text(cmd->notes);
        printf(".Pp\n");
    }
    put_options(cmd);
    if (wants_models(cmd)) {
        put_environment();
        put_files();
    }
    put_statuses();
    put_examples(cmd->usage);
    printf(".Sh SEE ALSO\n.Xr tessera 1 ,\n.Xr tess 5\n");
}

/* The name that comes after `name` in the alphabet; NULL after the last. */
static const char *next_by_name(const char *name)
{
    const char *next = NULL;
    for (int i = 0; commands[i]; i++)
        if (strcmp(commands[i]->name, name) > 0 &&
            (!next || strcmp(commands[i]->name, next) < 0))
            next = commands[i]->name;
    return next;
}

static void put_overview(void)
{
    put_head("tessera", help_summary);
    printf(".Nm\n.Ar command\n.Op Ar options\n.Op Ar file ...\n"
           ".Nm\n.Op Ar options\n.Fl i Ar IN\n.Op Ar options\n.Ar OUT\n"
           ".Nm\n.Cm help\n.Op Ar command\n"
           ".Sh DESCRIPTION\n"
           "Turns pictures, video and sound, with neural networks, and the"
           " key/value caches\nof language models into entropy-coded"
           " bitstreams, and back.\nThe commands:\n"
           ".Bl -tag -width codebookx\n");
    for (int i = 0; commands[i]; i++)
        printf(".It Cm %s\n%s; see\n.Xr tessera-%s 1\n", commands[i]->name,
               commands[i]->summary, commands[i]->name);
    printf(".El\n.Pp\n"
           "Options are spelt as in\n.Xr ffmpeg 1 .\n"
           "A file called\n.Sq -\nis standard input or output, like\n"
           ".Sq pipe: .\n"
           ".Ss ffmpeg's manner\n");
    put_text(help_manner);
    put_environment();
    put_files();
    put_statuses();
    put_examples(help_usage);
    printf(".Sh SEE ALSO\n.Xr ffmpeg 1 ,\n");
    for (const char *name = ""; (name = next_by_name(name)); )
        printf(".Xr tessera-%s 1 ,\n", name);
    printf(".Xr libtessera 3 ,\n.Xr tess 5\n");
}

int help_page(const char *name)
{
    char own[ARGS_NAME_SIZE + sizeof "tessera-"];

    if (!strcmp(name, "tessera")) {
        put_overview();
        return RC_OK;
    }
    for (int i = 0; commands[i]; i++) {
        snprintf(own, sizeof own, "tessera-%s", commands[i]->name);
        if (strcmp(own, name))
            continue;
        put_command(commands[i], own);
        return RC_OK;
    }
    return say_error(RC_USAGE, NULL, "no page '%s'", name);
}
