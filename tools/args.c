/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tools/args.h"
#include "tools/say.h"

#define FIELD(name) offsetof(args, name)

const opt args_output_options[] = {
    { "-o --output", "FILE", "the output; also the last plain argument; - is"
      " stdout", OPT_TEXT, FIELD(out), 0, 0 },
    { "-y --force", NULL, "overwrite without asking", OPT_FLAG, FIELD(yes), 0, 0 },
    { "-n", NULL, "never overwrite", OPT_FLAG, FIELD(no), 0, 0 },
    { "-nostdin", NULL, "never ask on the terminal", OPT_FLAG, FIELD(nostdin),
      0, 0 },
    { "-stats", NULL, "a progress line also where stderr is no terminal", OPT_FLAG,
      FIELD(stats), 0, 0 },
    { "-nostats", NULL, "no progress line", OPT_FLAG, FIELD(nostats),
      0, 0 },
    { "-progress", "URL", "key=value progress to a file, pipe:1 or pipe:2",
      OPT_TEXT, FIELD(progress), 0, 0 },
    { NULL, NULL, NULL, OPT_FLAG, 0, 0, 0 }
};

const opt args_engine_options[] = {
    { "-m -model", "NAME", "name or path of the model; see tessera models",
      OPT_TEXT, FIELD(model), 0, 0 },
    { "-threads", "N", "worker threads; 0, the default, is one per processor",
      OPT_INT, FIELD(threads), 0, 256 },
    { "-max_pixels", "N", "refuse larger pictures; default 2147483647", OPT_NUMBER,
      FIELD(max_pixels), 1, 2147483647.0 },
    { "-max_memory", "BYTES", "that networks may plan for, for each file in work;"
      " default 1 GiB", OPT_SCALED, FIELD(max_memory), 1, 1e15 },
    { "-backend", "auto|onednn|c", "what computes the networks", OPT_TEXT, FIELD(backend), 0, 0 },
    { "-device", "cpu|auto|cuda", "where the networks run; cuda:1 is the second"
      " GPU, auto takes a GPU if there is one; default cpu", OPT_TEXT,
      FIELD(device), 0, 0 },
    { "-precision", "auto|fp32|fp16|bf16", "numbers of the networks on a GPU;"
      " default auto: fp32 encodes, fp16 decodes", OPT_TEXT, FIELD(precision),
      0, 0 },
    { "-cpuflags", "0|avx2|avx512", "allow only these instructions; for tests",
      OPT_TEXT, FIELD(cpuflags), 0, 0 },
    { NULL, NULL, NULL, OPT_FLAG, 0, 0, 0 }
};

const opt args_common_options[] = {
    { "-v -loglevel", "quiet|error|warning|info|debug", "how much is said on"
      " stderr; default warning", OPT_TEXT, FIELD(loglevel), 0, 0 },
    { "-hide_banner", NULL, "no effect, since there is no banner", OPT_FLAG,
      FIELD(hide_banner), 0, 0 },
    { "-h --help", NULL, "this text", OPT_FLAG, FIELD(help), 0, 0 },
    { NULL, NULL, NULL, OPT_FLAG, 0, 0, 0 }
};

int args_is_pipe(const char *path)
{
    return !strcmp(path, "-") || !strncmp(path, "pipe:", 5);
}

int args_next_name(const char **at, char name[ARGS_NAME_SIZE])
{
    const char *s = *at + strspn(*at, " -");
    const size_t n = strcspn(s, " ");
    snprintf(name, ARGS_NAME_SIZE, "%.*s", (int)n, s);
    *at = s + n;
    return n > 0;
}

/* Whether one of them is the n characters at `word`. */
static int has_name(const char *names, const char *word, size_t n)
{
    char name[ARGS_NAME_SIZE];
    while (args_next_name(&names, name))
        if (strlen(name) == n && !memcmp(name, word, n))
            return 1;
    return 0;
}

int args_has_name(const char *names, const char *word)
{
    return has_name(names, word, strlen(word));
}

static const opt *find(const command *cmd, const char *word, size_t n)
{
    for (int t = 0; cmd->tables[t]; t++)
        for (const opt *o = cmd->tables[t]; o->names; o++)
            if (has_name(o->names, word, n))
                return o;
    return NULL;
}

const opt *args_find(const command *cmd, const char *word)
{
    return find(cmd, word, strlen(word));
}

/* Levenshtein's distance; words over 31 characters are far from everything. */
static int distance(const char *a, const char *b)
{
    int row[33];
    const size_t n = strlen(b);
    if (n > 31 || strlen(a) > 31)
        return 99;
    for (size_t j = 0; j <= n; j++)
        row[j] = (int)j;
    for (size_t i = 1; a[i - 1]; i++) {
        int corner = row[0];
        row[0] = (int)i;
        for (size_t j = 1; j <= n; j++) {
            const int change = corner + (a[i - 1] != b[j - 1]);
            int least = row[j] < row[j - 1] ? row[j] + 1 : row[j - 1] + 1;
            if (change < least)
                least = change;
            corner = row[j];
            row[j] = least;
        }
    }
    return row[n];
}

const char *args_nearest(const char *word, const char *(*next)(void *cookie),
                         void *cookie)
{
    static char best[ARGS_NAME_SIZE];
    const char *name;
    int least = strlen(word) < 4 ? 2 : 3;
    best[0] = 0;
    while ((name = next(cookie))) {
        const int d = distance(word, name);
        if (d < least && (size_t)d < strlen(name)) {
            least = d;
            snprintf(best, sizeof best, "%s", name);
        }
    }
    return *best ? best : NULL;
}

/* Where a walk through all names of a command's options stands. */
typedef struct walk {
    const opt *const *table;
    const opt *o;
    const char *at;
    char name[ARGS_NAME_SIZE];
} walk;

static const char *next_name(void *cookie)
{
    walk *w = cookie;
    while (!w->at || !args_next_name(&w->at, w->name)) {
        w->o = w->o ? w->o + 1 : *w->table;
        if (!w->o)
            return NULL;
        w->at = w->o->names;
        if (!w->at) {
            w->table++;
            w->o = NULL;
        }
    }
    return w->name;
}

const char *args_near(const command *cmd, const char *word)
{
    walk w = { .table = cmd->tables };
    return args_nearest(word, next_name, &w);
}

static int unknown(const command *cmd, const char *arg, const char *word)
{
    const char *name = args_near(cmd, word);
    if (!name)
        return say_error(RC_USAGE, NULL,
                         "unknown option '%s'; see 'tessera help %s'", arg,
                         cmd->name);
    return say_error(RC_USAGE, NULL, "unknown option '%s'; did you mean"
                     " '%s%s'?", arg, arg[1] == '-' ? "--" : "-", name);
}

static int bad_value(const opt *o, const char *arg, const char *text)
{
    return say_error(RC_USAGE, NULL, "%.*s %s: a number from %.0f to %.0f is"
                     " wanted", (int)strcspn(arg, "="), arg, text, o->min,
                     o->max);
}

double args_time(const char *text)
{
    static const struct { const char *unit; double seconds; } units[] = {
        { "", 1 }, { "s", 1 }, { "ms", 1e-3 }, { "us", 1e-6 }
    };
    double sum = 0;
    char *end;
    int colons = 0;

    for (;; text = end + 1, colons++) {
        const double part = strtod(text, &end);
        if (end == text || strspn(text, "0123456789.") != (size_t)(end - text) ||
            (colons && part >= 60))
            return NAN;
        sum = 60 * sum + part;
        if (*end != ':' || colons == 2)
            break;
    }
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (!strcmp(end, units[i].unit) && (!colons || !i))
            return sum * units[i].seconds;
    return NAN;
}

static int store_time(double *field, const opt *o, const char *arg,
                      const char *text)
{
    *field = args_time(text);
    if (*field >= o->min && *field <= o->max)
        return RC_OK;
    return say_error(RC_USAGE, NULL, "%.*s %s: a time is wanted: seconds, or"
                     " hours:minutes:seconds", (int)strcspn(arg, "="), arg,
                     text);
}

static int store_item(args_list *list, const char *arg, const char *text)
{
    if (list->n == ARGS_MAX_LIST)
        return say_error(RC_USAGE, NULL, "%.*s is given more than %d times",
                         (int)strcspn(arg, "="), arg, ARGS_MAX_LIST);
    list->item[list->n++] = text;
    return RC_OK;
}

static int store(args *a, const opt *o, const char *arg, const char *text)
{
    void *field = (char *)a + o->offset;
    char *end;
    double number;

    if (o->kind == OPT_TEXT) {
        *(const char **)field = text;
        return RC_OK;
    }
    if (o->kind == OPT_LIST)
        return store_item(field, arg, text);
    if (o->kind == OPT_TIME)
        return store_time(field, o, arg, text);
    errno = 0;
    number = strtod(text, &end);
    if (o->kind == OPT_SCALED && end != text && *end) {
        number *= *end == 'k' || *end == 'K' ? 1e3 : *end == 'M' ? 1e6 :
            *end == 'G' ? 1e9 : *end == 'T' ? 1e12 : 1;
        end += strchr("kKMGT", *end) != NULL;
    }
    if (errno || end == text || *end || !(number >= o->min) ||
        !(number <= o->max))
        return bad_value(o, arg, text);
    if (o->kind != OPT_INT)
        *(double *)field = number;
    else if (number != floor(number))
        return bad_value(o, arg, text);
    else
        *(int *)field = (int)number;
    return RC_OK;
}

/* One option at argv[*i]; moves *i over a value that stands apart. */
static int option(args *a, const command *cmd, int argc, char **argv, int *i)
{
    const char *arg = argv[*i];
    const char *word = arg + 1 + (arg[1] == '-');
    const size_t n = strcspn(word, "=");
    const char *text = word[n] ? word + n + 1 : NULL;
    const opt *o = find(cmd, word, n);

    if (!o)
        return unknown(cmd, arg, word);
    if (o->kind == OPT_FLAG) {
        if (text)
            return say_error(RC_USAGE, NULL, "%s takes no value", arg);
        *(int *)((char *)a + o->offset) = 1;
        return RC_OK;
    }
    if (!text && *i + 1 >= argc)
        return say_error(RC_USAGE, NULL, "%s wants a value: %s", arg,
                         o->value);
    if (!text)
        text = argv[++*i];
    return store(a, o, arg, text);
}

static int add_file(args *a, const char *name)
{
    if (a->files == ARGS_MAX_FILES)
        return say_error(RC_USAGE, NULL, "more than %d files",
                         ARGS_MAX_FILES);
    a->file[a->files++] = name;
    return RC_OK;
}

/* The input was just named: what was said before is its form. */
static void end_input(args *a)
{
    a->of_input.format = a->format;
    a->of_input.size = a->size;
    a->of_input.frame_rate = a->frame_rate;
    a->of_input.pixel_format = a->pixel_format;
    a->format = a->size = a->frame_rate = a->pixel_format = NULL;
}

int args_parse(args *a, const command *cmd, int argc, char **argv)
{
    static const char *files[ARGS_MAX_FILES];
    int plain = 0, named = !cmd->sides, rc = RC_OK;

    *a = (args){ .quality = -1, .file = files, .max_pixels = 2147483647.0,
                 .seed = 1, .iterations = 50, .tolerance = 1e-4,
                 .sinks = -1, .boost = -1, .window = -1, .retries = -1,
                 .grace = -1, .search = -1 };
    for (int i = 0; i < argc && !rc; i++) {
        if (plain || argv[i][0] != '-' || !argv[i][1])
            rc = add_file(a, argv[i]);
        else if (!strcmp(argv[i], "--"))
            plain = 1;
        else
            rc = option(a, cmd, argc, argv, &i);
        if (!named && (a->in || a->files)) {
            end_input(a);
            named = 1;
        }
    }
    if (!rc && a->loglevel && !say_set_level(a->loglevel))
        rc = say_error(RC_USAGE, NULL, "unknown log level '%s' (quiet, error,"
                       " warning, info, debug)", a->loglevel);
    return rc;
}
