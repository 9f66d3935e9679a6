/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
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

static int same_file(const char *a, const char *b)
{
    struct stat x, y;
    return !strcmp(a, b) || (!stat(a, &x) && !stat(b, &y) &&
                             x.st_dev == y.st_dev && x.st_ino == y.st_ino);
}

static int open_url(progress *p, const args *a, const char *out)
{
    const char *url = a->progress;
    if (!args_is_pipe(url) && (same_file(url, a->in) || same_file(url, out)))
        return say_error(RC_USAGE, url, "-progress would overwrite the %s",
                         same_file(url, out) ? "output" : "input");
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

double progress_seconds(const progress *p)
{
    return now() - p->start;
}

/* Million pixels per second so far; 0 while nothing is known. */
static double speed(const progress *p, double seconds)
{
    const double pixels = p->image
        ? (double)p->image->width * p->image->height : 0;
    return seconds > 0 ? 1e-6 * pixels * p->done / seconds : 0;
}

/* Seconds still to go, if all goes on at the same pace. */
static double left(const progress *p, double seconds)
{
    return p->done > 0 ? seconds * (1 - p->done) / p->done : 0;
}

static void write_line(const progress *p, double seconds)
{
    const char *slash = strrchr(p->what, '/');
    const char *name = slash ? slash + 1 : p->what;
    const long to_go = (long)(left(p, seconds) + 0.999);
    if (p->done > 0 && !p->image)
        say_status("%.40s: %3.0f %%  %ld:%02ld left", name, 100 * p->done,
                   to_go / 60, to_go % 60);
    else if (p->done > 0)
        say_status("%.40s: %3.0f %%  %.2f MP/s  %ld:%02ld left", name,
                   100 * p->done, speed(p, seconds), to_go / 60, to_go % 60);
    else
        say_status("%.40s:   0 %%", name);
}

int progress_open(progress *p, const args *a, const char *out)
{
    *p = (progress){ .what = out, .start = now() };
    p->line = !a->nostats && (a->stats || isatty(STDERR_FILENO));
    if (p->line)
        write_line(p, 0);
    return a->progress ? open_url(p, a, out) : RC_OK;
}

static void write_keys(const progress *p, double seconds)
{
    fprintf(p->file, "percent=%.1f\nspeed=%.3f\nelapsed_us=%lld\n"
            "left_us=%lld\n", 100 * p->done, speed(p, seconds),
            (long long)(1e6 * seconds), (long long)(1e6 * left(p, seconds)));
}

static int report(void *cookie, double done)
{
    progress *p = cookie;
    const double t = now();
    p->done = done;
    if (done < 1 && t - p->shown < interval)
        return 0;
    p->shown = t;
    if (p->line)
        write_line(p, t - p->start);
    if (p->file) {
        write_keys(p, t - p->start);
        fputs("progress=continue\n", p->file);
        fflush(p->file);
    }
    return 0;
}

tsr_progress progress_hook(progress *p)
{
    return (tsr_progress){ p, report };
}

void progress_close(progress *p, uint64_t bytes, int whole)
{
    say_status_end();
    if (!p->file)
        return;
    if (whole)
        p->done = 1;
    write_keys(p, progress_seconds(p));
    fprintf(p->file, "total_size=%llu\nprogress=end\n",
            (unsigned long long)bytes);
    if (p->file == stdout || p->file == stderr)
        fflush(p->file);
    else
        fclose(p->file);
    p->file = NULL;
}
