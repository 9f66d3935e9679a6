/* SPDX-License-Identifier: BSD-2-Clause */
/* A line in ffmpeg's manner becomes that of a command, whose table of options
 * reads it: here is found out only which command it is, and what belongs to the
 * input and what to the output. */
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include "tools/commands.h"
#include "tools/manner.h"
#include "tools/manner_impl.h"
#include "tools/say.h"

/* ffmpeg's names for what is put together here. */
static const struct own {
    const char *name;
    int wanted;         /* a value */
    int video, audio;   /* what it is about */
} owns[] = {
    { "c", 1, 1, 1 }, { "codec", 1, 1, 1 },
    { "c:v", 1, 1, 0 }, { "codec:v", 1, 1, 0 }, { "vcodec", 1, 1, 0 },
    { "c:a", 1, 0, 1 }, { "codec:a", 1, 0, 1 }, { "acodec", 1, 0, 1 },
    { "vn", 0, 1, 0 }, { "an", 0, 0, 1 },
    /* Nothing but pictures and sound is ever taken. */
    { "sn", 0, 0, 0 }, { "dn", 0, 0, 0 }
};

static const struct own *own_option(const char *word)
{
    for (size_t i = 0; i < sizeof owns / sizeof *owns; i++)
        if (!strcmp(owns[i].name, word))
            return &owns[i];
    return NULL;
}

/* The option in the table of whichever command has it. */
static const opt *find_option(const char *word)
{
    const opt *o = args_find(&command_encode, word);
    if (!o)
        o = args_find(&command_decode, word);
    return o ? o : args_find(&command_remux, word);
}

static const char *nearest(const char *word)
{
    const char *name = args_near(&command_encode, word);
    if (!name)
        name = args_near(&command_decode, word);
    return name ? name : args_near(&command_remux, word);
}

static int unknown(const line *l, const char *arg, const char *word)
{
    /* Short words are near to everything. */
    const char *name = strlen(word) > 3 ? nearest(word) : NULL;
    const char *in = l->in ? l->in : "IN";
    if (!strncmp(word, "b:v", 3) || !strcmp(word, "crf"))
        return say_error(RC_USAGE, NULL, "%s: pictures have a quality, not a"
                         " rate: -q 0 (smallest) to 100", arg);
    if (name)
        return say_error(RC_USAGE, NULL, "unknown option '%s'; did you mean"
                         " '-%s'?", arg, name);
    return say_error(RC_USAGE, NULL, "unknown option '%s'; if it is ffmpeg's:"
                     " 'ffmpeg -i %s %s ... -f nut - | tessera -i - OUT'", arg,
                     in, arg);
}

int words_add(words *w, const char *word)
{
    if (w->n == WORDS_MAX)
        return say_error(RC_USAGE, NULL, "more than %d words", WORDS_MAX);
    w->word[w->n++] = (char *)word;
    return RC_OK;
}

static int add_own(line *l, const struct own *own, const char *value)
{
    if (value && l->side == BEFORE)
        return say_error(RC_USAGE, NULL, "-%s belongs to the output: it goes"
                         " behind -i IN", own->name);
    if (own->video && value)
        l->codec[VIDEO] = value;
    if (own->audio && value)
        l->codec[AUDIO] = value;
    if (value)
        return RC_OK;
    l->none[VIDEO] |= own->video;
    l->none[AUDIO] |= own->audio;
    return RC_OK;
}

/* Time options are kept, since those of both sides have to be put together. */
static int add_time(line *l, const char *word, const char *value)
{
    double *field = !strcmp(word, "ss") ? &l->time[l->side].start
        : !strcmp(word, "t") ? &l->time[l->side].length
        : &l->time[l->side].until;
    *field = args_time(value);
    if (*field >= 0 && *field <= 1e7)
        return RC_OK;
    return say_error(RC_USAGE, NULL, "-%s %s: a time is wanted: seconds, or"
                     " hours:minutes:seconds", word, value);
}

/* What says how the output is made has no meaning for the input. */
static int is_of_output(const opt *o)
{
    static const char *const names[] = { "q", "b:a", "books", "entropy",
                                         "noalpha", "container", "interleave",
                                         "map" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (args_has_name(o->names, names[i]))
            return 1;
    return 0;
}

/* What ffmpeg takes anywhere. */
static int is_global(const char *word)
{
    const command global = { .tables = { args_output_options,
                                         args_engine_options,
                                         args_common_options } };
    const opt *o = args_find(&global, word);
    return o && o->offset != offsetof(args, model);
}

static int add_option(line *l, const opt *o, const char *word,
                      const char *arg, const char *value)
{
    words *w = &l->words[l->side == BEFORE ? BEFORE : AFTER];
    int rc;

    if (o->offset == offsetof(args, format) && l->side == BEFORE) {
        l->in_format = value;
        return RC_OK;
    }
    if (o->offset == offsetof(args, format))
        l->out_format = value;
    if (l->side == BEFORE && (o->offset == offsetof(args, size) ||
                              o->offset == offsetof(args, frame_rate) ||
                              o->offset == offsetof(args, pixel_format)))
        l->raw = arg;
    if (o->offset == offsetof(args, out))
        return say_error(RC_USAGE, NULL, "%s: the output stands last, without"
                         " an option", arg);
    if (l->side == BEFORE && is_of_output(o))
        return say_error(RC_USAGE, NULL, "%s belongs to the output: it goes"
                         " behind -i IN", arg);
    if (!strcmp(word, "ss") || !strcmp(word, "t") || !strcmp(word, "to"))
        return add_time(l, word, value);
    rc = words_add(w, arg);
    return rc || !value ? rc : words_add(w, value);
}

static int add_file(line *l, const char *name)
{
    if (!l->in)
        return say_error(RC_USAGE, NULL, "'%s' stands in front of the input;"
                         " 'tessera -i IN %s'", name, name);
    if (l->out)
        return say_error(RC_USAGE, NULL, "one output at a time; 'ffmpeg -i %s"
                         " -map 0 -c copy %s' makes another of it", l->out,
                         name);
    l->out = name;
    l->side = TRAILING;
    return RC_OK;
}

static int add_input(line *l, const char *name)
{
    if (l->in)
        return say_error(RC_USAGE, NULL, "one input at a time; 'ffmpeg -i %s -i"
                         " %s -map 0 -map 1 -c copy -f nut - | tessera -i -"
                         " OUT' makes one of them", l->in, name);
    l->in = name;
    l->side = AFTER;
    return RC_OK;
}

/* One option at argv[*i]; moves *i over its value. */
static int read_option(line *l, int argc, char **argv, int *i)
{
    const char *arg = argv[*i], *word = arg + 1 + (arg[1] == '-');
    const struct own *own = own_option(word);
    const opt *o = own ? NULL : find_option(word);
    const int is_input = !strcmp(word, "i");
    const int wanted = is_input || (own ? own->wanted : o && o->value);
    const char *value = NULL;

    if (!own && !o)
        return unknown(l, arg, word);
    if (wanted && ++*i >= argc)
        return say_error(RC_USAGE, NULL, "%s wants a value", arg);
    if (wanted)
        value = argv[*i];
    if (is_input)
        return add_input(l, value);
    if (l->side == TRAILING && !is_global(word))
        return say_error(RC_USAGE, NULL, "%s stands behind the output %s; it"
                         " goes in front of it", arg, l->out);
    return own ? add_own(l, own, value) : add_option(l, o, word, arg, value);
}

static int read_line(line *l, int argc, char **argv)
{
    int rc = RC_OK;
    for (int i = 0; i < argc && !rc; i++)
        rc = argv[i][0] == '-' && argv[i][1] ? read_option(l, argc, argv, &i)
                                             : add_file(l, argv[i]);
    if (rc)
        return rc;
    if (!l->in)
        return say_error(RC_USAGE, NULL, "no input: 'tessera -i IN OUT', or a"
                         " command; see 'tessera help'");
    if (!l->out)
        return say_error(RC_USAGE, NULL, "no output; 'tessera info %s' tells"
                         " what is in it", l->in);
    return RC_OK;
}

/* Start and end of what is taken, from both sides: those of the output count
 * from the start that the input's options make.  Then one -ss and -to says it. */
static int join_times(line *l)
{
    const times *in = &l->time[BEFORE], *out = &l->time[AFTER];
    const double ends[] = {
        in->length > 0 ? in->start + in->length : in->until,
        out->length > 0 ? in->start + out->start + out->length
                        : out->until > 0 ? in->start + out->until : 0
    };
    const double start = in->start + out->start;
    double end = ends[0];

    if (ends[1] > 0 && (!(end > 0) || ends[1] < end))
        end = ends[1];
    if (end > 0 && end <= start)
        return say_error(RC_USAGE, NULL, "nothing is left between -ss and the"
                         " end that -t or -to says");
    if (start > 0)
        snprintf(l->start, sizeof l->start, "%.6f", start);
    if (end > 0)
        snprintf(l->end, sizeof l->end, "%.6f", end);
    return RC_OK;
}

int manner_run(int argc, char **argv)
{
    line l = { 0 };
    int rc = read_line(&l, argc, argv);
    if (!rc)
        rc = join_times(&l);
    return rc ? rc : manner_choose(&l);
}
