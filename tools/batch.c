/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "tools/batch.h"
#include "tools/say.h"

const opt batch_options[] = {
    { "-i --input", "FILE", "an input; also plain arguments; many go into the"
      " folder that -o names; - is stdin", OPT_LIST, offsetof(args, inputs), 0,
      0 },
    { NULL, NULL, NULL, OPT_FLAG, 0, 0, 0 }
};

static int is_folder(const char *path)
{
    struct stat st;
    return *path && (path[strlen(path) - 1] == '/' ||
                     (!stat(path, &st) && S_ISDIR(st.st_mode)));
}

static int exists(const char *path)
{
    struct stat st;
    return !stat(path, &st);
}

/* Takes the output off the plain arguments, if -o did not name it. */
static int plain_output(const args *a)
{
    const int all = a->inputs.n + a->files;
    return !a->out && a->files && all > 1 &&
           (all == 2 || is_folder(a->file[a->files - 1]));
}

static int take_names(batch *b, int plain)
{
    const args *a = b->a;

    b->count = a->inputs.n + plain;
    if (!b->count)
        return say_error(RC_USAGE, NULL, "no input; -i FILE names it");
    b->in = malloc((size_t)b->count * sizeof *b->in);
    b->made = calloc((size_t)b->count, sizeof *b->made);
    if (!b->in || !b->made)
        return say_error(RC_MACHINE, NULL, "out of memory");
    memcpy(b->in, a->inputs.item, (size_t)a->inputs.n * sizeof *b->in);
    memcpy(b->in + a->inputs.n, a->file, (size_t)plain * sizeof *b->in);
    return RC_OK;
}

static int check_names(const batch *b)
{
    const char *out = b->a->out;
    for (int i = 0; i < b->count; i++)
        if (!*b->in[i] || (out && !*out))
            return say_error(RC_USAGE, NULL, "the name of the %s is empty",
                             *b->in[i] ? "output" : "input");
    if (b->count > 1 && (!out || args_is_pipe(out)))
        return say_error(RC_USAGE, NULL, "%d inputs go into a folder: -o"
                         " FOLDER names it", b->count);
    if (b->folder && exists(out) && !is_folder(out))
        return say_error(RC_USAGE, out, "is a file, and many inputs go into a"
                         " folder");
    for (int i = 0; i < b->count && b->folder; i++)
        if (args_is_pipe(b->in[i]))
            return say_error(RC_USAGE, NULL, "standard input goes into a file,"
                             " not into the folder %s", out);
    return RC_OK;
}

int batch_open(batch *b, args *a)
{
    const int named = plain_output(a);
    int rc;

    *b = (batch){ .a = a };
    rc = take_names(b, a->files - named);
    if (rc)
        return rc;
    if (named)
        a->out = a->file[a->files - 1];
    if (a->out && !args_is_pipe(a->out) && (b->count > 1 || is_folder(a->out)))
        b->folder = a->out;
    rc = check_names(b);
    for (int i = 0; i < b->count && !rc; i++)
        rc = progress_spares(a, b->in[i]);
    return rc;
}

int batch_run(batch *b, int (*one)(void *cookie, args *a), void *cookie)
{
    const char *out = b->a->out;
    int worst = RC_OK;

    for (b->at = 0; b->at < b->count && !b->stop; b->at++) {
        int rc;
        b->a->in = b->in[b->at];
        b->a->out = b->folder ? NULL : out;
        rc = one(cookie, b->a);
        b->failed += rc > RC_OK;
        worst = rc > worst ? rc : worst;
    }
    if (b->began)
        progress_close(&b->progress, b->bytes, !worst);
    b->began = 0;
    if (b->failed && b->count > 1 && !b->stop)
        say_error(worst, NULL, "%d of %d files failed", b->failed, b->count);
    return worst;
}

const char *batch_named(const batch *b)
{
    return b->folder ? NULL : b->a->out;
}

static const char *base_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static int make_folder(batch *b)
{
    if (!mkdir(b->folder, 0777) || errno == EEXIST)
        return RC_OK;
    b->stop = 1;
    return say_error(RC_USAGE, b->folder, "%s", strerror(errno));
}

/* Nobody's output may be that of another input, with -y either. */
static int check_unique(const batch *b, const char *name)
{
    for (int i = 0; i < b->at; i++)
        if (b->made[i] && !strcmp(b->made[i], name))
            return say_error(RC_USAGE, b->in[b->at], "would become %s, as %s"
                             " did", name, b->in[i]);
    return RC_OK;
}

static int name_in_folder(batch *b, const char *ending)
{
    const char *base = base_of(b->in[b->at]), *dot = strrchr(base, '.');
    const int n = dot && dot != base ? (int)(dot - base) : (int)strlen(base);
    const size_t all = strlen(b->folder) + 1 + (size_t)n + strlen(ending) + 1;
    const int slash = b->folder[strlen(b->folder) - 1] == '/';
    char *name = malloc(all);
    int rc;

    if (!name)
        return say_error(RC_MACHINE, NULL, "out of memory");
    snprintf(name, all, "%s%s%.*s%s", b->folder, slash ? "" : "/", n, base,
             ending);
    rc = check_unique(b, name);
    if (rc) {
        free(name);
        return rc;
    }
    b->made[b->at] = name;
    b->a->out = name;
    return make_folder(b);
}

static int start_progress(batch *b)
{
    int rc = RC_OK;
    if (!b->began)
        rc = progress_open(&b->progress, b->a, b->a->out);
    if (rc) {
        b->stop = 1;
        return rc;
    }
    b->began = 1;
    b->progress.at = b->at;
    b->progress.of = b->count;
    if (b->count > 1) {
        snprintf(b->label, sizeof b->label, "%.24s (%d of %d)",
                 base_of(b->in[b->at]), b->at + 1, b->count);
        b->progress.what = b->label;
    }
    return RC_OK;
}

int batch_output(batch *b, const char *ending, const input *in, output *out)
{
    static char made[NAME_SIZE];
    int rc = b->folder ? name_in_folder(b, ending)
                       : command_output(b->a, NULL, ending, made);
    if (!rc)
        rc = start_progress(b);
    if (rc)
        return rc;
    if (b->folder && b->a->no && exists(b->a->out))
        return BATCH_SKIP;
    return output_open(out, b->a, in, b->a->out);
}

int batch_finish(batch *b, output *out, int rc, int keep)
{
    const int closed = output_close(out, keep);
    b->bytes += out->bytes;
    return closed ? closed : rc;
}

void batch_close(batch *b)
{
    for (int i = 0; i < b->count && b->made; i++)
        free(b->made[i]);
    free(b->made);
    free(b->in);
}
