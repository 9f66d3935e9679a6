/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tools/io/picture.h"
#include "tools/media/sink.h"
#include "tools/say.h"

typedef struct pictures {
    media_sink base;
    const args *a;
    const picture_format *format;
    output *out;            /* NULL: one file for each */
    int number;
} pictures;

/* Finds the one %d or %04d in a path.  width: of the number; before, after: what
 * stands around it.  0: there is none, or something else with %. */
static int split(const char *path, size_t *before, int *width,
                 const char **after)
{
    const char *at = strchr(path, '%');
    char *end;
    long n = 0;

    if (!at)
        return 0;
    *before = (size_t)(at - path);
    at++;
    if (*at >= '0' && *at <= '9') {
        n = strtol(at, &end, 10);
        at = end;
    }
    *width = n < 20 ? (int)n : 20;
    *after = at + 1;
    return *at == 'd' && !strchr(at, '%');
}

int sink_pictures_many(const char *path)
{
    const char *after;
    size_t before;
    int width;
    return split(path, &before, &width, &after);
}

static char *path_of(const pictures *p)
{
    const size_t size = strlen(p->a->out) + 32;
    const char *after;
    char *path = malloc(size);
    size_t before;
    int width;

    if (path && split(p->a->out, &before, &width, &after))
        snprintf(path, size, "%.*s%0*d%s", (int)before, p->a->out, width,
                 p->number, after);
    return path;
}

static int write_own(pictures *p, const tsr_image *image)
{
    output out;
    char *path;
    int rc, rc_close;

    p->number++;
    path = path_of(p);
    if (!path)
        return say_error(RC_MACHINE, NULL, "out of memory");
    rc = output_open(&out, p->a, NULL, path);
    if (!rc) {
        rc = picture_write(p->format, &out, image);
        rc_close = output_close(&out, !rc);
        rc = rc_close ? rc_close : rc;
    }
    free(path);
    return rc;
}

static int take(media_sink *s, const tsr_image *image, int64_t pts,
                uint64_t duration)
{
    pictures *p = (pictures *)s;
    (void)pts;
    (void)duration;
    if (!p->out)
        return write_own(p, image);
    if (s->done)
        return RC_OK;
    s->done = 1;
    return picture_write(p->format, p->out, image);
}

static int finish(media_sink *s)
{
    (void)s;
    return RC_OK;
}

static void close_pictures(media_sink *s)
{
    free(s);
}

int sink_pictures_open(media_sink **s, const args *a, output *out)
{
    pictures *p = calloc(1, sizeof *p);
    if (!p)
        return say_error(RC_MACHINE, NULL, "out of memory");
    p->base = (media_sink){ .frame = take, .finish = finish,
                            .close = close_pictures };
    p->a = a;
    p->out = out;
    p->format = picture_writer(a->format, a->out);
    if (p->format)
        *s = &p->base;
    else
        free(p);
    return *s ? RC_OK : RC_USAGE;
}
