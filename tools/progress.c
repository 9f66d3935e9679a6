/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "tools/progress.h"
#include "tools/say.h"

/* Seconds between two reports. */
static const double interval = 0.1;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int open_url(progress *p, const char *url, const char *out)
{
    if (!strcmp(url, "-") || !strcmp(url, "pipe:1")) {
        if (args_is_pipe(out))
            return say_error(RC_USAGE, NULL,
                             "-progress %s: stdout carries the output", url);
        p->file = stdout;
    } else if (!strcmp(url, "pipe:2")) {
        p->file = stderr;
    } else {
        p->file = fopen(url, "w");
    }
    return p->file ? RC_OK
                   : say_error(RC_USAGE, url, "%s", strerror(errno));
}

int progress_open(progress *p, const args *a, const char *out)
{
    *p = (progress){ .what = out, .start = now() };
    p->line = !a->nostats && (a->stats || isatty(STDERR_FILENO));
    return a->progress ? open_url(p, a->progress, out) : RC_OK;
}

double progress_seconds(const progress *p)
{
    return now() - p->start;
}

static void write_keys(progress *p, double done, uint64_t bytes, int last)
{
    const long long us = (long long)(1e6 * progress_seconds(p));
    fprintf(p->file, "percent=%.1f\n", 100 * done);
    if (last)
        fprintf(p->file, "total_size=%llu\n", (unsigned long long)bytes);
    fprintf(p->file, "elapsed_us=%lld\nprogress=%s\n", us,
            last ? "end" : "continue");
    fflush(p->file);
}

static int report(void *cookie, double done)
{
    progress *p = cookie;
    const double t = now();
    if (t - p->shown < interval)
        return 0;
    p->shown = t;
    if (p->line)
        say_status("%s: %3.0f %%  %.1f s", p->what, 100 * done, t - p->start);
    if (p->file)
        write_keys(p, done, 0, 0);
    return 0;
}

tsr_progress progress_hook(progress *p)
{
    return (tsr_progress){ p, report };
}

void progress_close(progress *p, uint64_t bytes)
{
    say_status_end();
    if (!p->file)
        return;
    write_keys(p, 1, bytes, 1);
    if (p->file != stdout && p->file != stderr)
        fclose(p->file);
    p->file = NULL;
}
