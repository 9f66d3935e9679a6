/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdlib.h>
#include <string.h>
#include "tools/media/map.h"
#include "tools/say.h"

/* A -map option, read: 0, 0:2, 0:a, 0:a:1, 0:v?, -0:a. */
typedef struct rule {
    int minus, optional;
    char kind;      /* 0: any; V: v but no cover */
    int number;     /* of those of the kind; -1: all */
} rule;

static int bad_rule(const char *text)
{
    return say_error(RC_USAGE, NULL, "-map %s is not understood; -map 0, 0:v,"
                     " 0:a:1, 0:2 and -0:s are", text);
}

static int number(const char **at, int *value)
{
    char *end;
    long n;
    if (**at < '0' || **at > '9')
        return 0;
    n = strtol(*at, &end, 10);
    *at = end;
    *value = n < 1 << 20 ? (int)n : 1 << 20;
    return 1;
}

static int read_rule(const char *text, rule *r)
{
    const char *at = text;
    int file;

    *r = (rule){ .number = -1 };
    r->minus = *at == '-';
    at += r->minus;
    if (!number(&at, &file))
        return bad_rule(text);
    if (file)
        return say_error(RC_USAGE, NULL, "-map %s: there is one input, number"
                         " 0", text);
    if (*at == ':' && at[1] && strchr("vVasdt", at[1])) {
        r->kind = at[1];
        at += 2;
    }
    if (*at == ':') {
        at++;
        if (!number(&at, &r->number))
            return bad_rule(text);
    }
    r->optional = *at == '?';
    return at[r->optional] ? bad_rule(text) : RC_OK;
}

static int matches(const rule *r, const media_stream *s)
{
    if (r->kind == 'V')
        return s->kind == 'v' && !s->attached;
    return !r->kind || r->kind == s->kind;
}

/* Sets `order` of the streams that the rule names: a positive one says when they
 * were named, 0 is not taken. */
static int apply(const rule *r, const char *text, const media_stream *streams,
                 int n, int *order, int *last)
{
    int seen = 0, found = 0;
    for (int i = 0; i < n; i++) {
        if (!matches(r, &streams[i]))
            continue;
        if (r->number < 0 || r->number == seen) {
            found = 1;
            if (r->minus)
                order[i] = 0;
            else if (!order[i])
                order[i] = ++*last;
        }
        seen++;
    }
    return found || r->optional || r->minus ? RC_OK
        : say_error(RC_USAGE, NULL, "-map %s: the input has no such stream",
                    text);
}

static int pick(const char *file, const media_stream *streams, int n,
                const int *order, char kind, int first)
{
    int best = -1, count = 0;
    for (int i = 0; i < n; i++) {
        if (streams[i].kind != kind || !order[i])
            continue;
        count++;
        if (best < 0 || i == first ||
            (best != first && order[i] < order[best]))
            best = i;
    }
    if (count > 1)
        say_warning(file, "-map names %d streams of %s; stream 0:%d is taken",
                    count, kind == 'v' ? "pictures" : "sound", best);
    return best;
}

/* All -map options, one after the other. */
static int apply_all(const args *a, const media_stream *streams, int n,
                     int *order)
{
    int last = 0, rc = RC_OK;
    for (int i = 0; i < a->map.n && !rc; i++) {
        rule r;
        rc = read_rule(a->map.item[i], &r);
        if (!rc)
            rc = apply(&r, a->map.item[i], streams, n, order, &last);
    }
    return rc;
}

/* Whether some -map names streams, rather than all taking away. */
static int adds(const args *a)
{
    for (int i = 0; i < a->map.n; i++)
        if (a->map.item[i][0] != '-')
            return 1;
    return 0;
}

static int change(const args *a, const char *file, const media_stream *streams,
                  int n, int *order, media_choice *choice)
{
    int rc;
    if (!adds(a) && choice->video >= 0)
        order[choice->video] = 1;
    if (!adds(a) && choice->audio >= 0)
        order[choice->audio] = 1;
    rc = apply_all(a, streams, n, order);
    if (rc)
        return rc;
    choice->video = pick(file, streams, n, order, 'v', choice->video);
    choice->audio = pick(file, streams, n, order, 'a', choice->audio);
    return RC_OK;
}

int media_map(const args *a, const char *file, const media_stream *streams,
              int n, media_choice *choice)
{
    int *order;
    int rc;

    if (!a->map.n)
        return RC_OK;
    order = calloc((size_t)n + 1, sizeof *order);
    if (!order)
        return say_error(RC_MACHINE, file, "out of memory");
    rc = change(a, file, streams, n, order, choice);
    free(order);
    if (!rc && choice->video < 0 && choice->audio < 0)
        rc = say_error(RC_USAGE, file, "-map leaves neither pictures nor"
                       " sound");
    return rc;
}

int media_map_all(const args *a, const media_stream *streams, int n,
                  int *order)
{
    for (int i = 0; i < n; i++)
        order[i] = !adds(a);
    return apply_all(a, streams, n, order);
}

int media_map_only(const args *a, const char *file, char kind)
{
    const media_stream stream = { kind, 0 };
    media_choice choice = { kind == 'v' ? 0 : -1, kind == 'a' ? 0 : -1 };
    return media_map(a, file, &stream, 1, &choice);
}
