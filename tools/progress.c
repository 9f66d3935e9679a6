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

static int spares(const char *url, const char *file, const char *what)
{
    if (args_is_pipe(url) || !same_file(url, file))
        return RC_OK;
    return say_error(RC_USAGE, url, "-progress would overwrite the %s", what);
}

int progress_spares(const args *a, const char *in)
{
    return a->progress ? spares(a->progress, in, "input") : RC_OK;
}

static int open_url(progress *p, const args *a, const char *out)
{
    const char *url = a->progress;
    if (spares(url, out, "output") || progress_spares(a, a->in))
        return RC_USAGE;
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

/* Times faster than one listens. */
static double pace(const progress *p, double seconds)
{
    return seconds > 0 ? p->sound / seconds : 0;
}

/* Bits a second of the output so far; 0 while nothing is known. */
static double bit_rate(const progress *p)
{
    return p->bytes && p->sound > 0 ? 8 * (double)*p->bytes / p->sound : 0;
}

static void write_sound(const progress *p, const char *name, double seconds)
{
    const long at = (long)p->sound, to_go = (long)(left(p, seconds) + 0.999);
    char rate[32] = "", rest[48] = "";

    if (bit_rate(p) > 0)
        snprintf(rate, sizeof rate, "  %.2f kbit/s", 1e-3 * bit_rate(p));
    if (p->done > 0)
        snprintf(rest, sizeof rest, "  %.0f %%  %ld:%02ld left", 100 * p->done,
                 to_go / 60, to_go % 60);
    say_status("%.40s: %02ld:%02ld:%02ld  %.1fx%s%s", name, at / 3600,
               at / 60 % 60, at % 60, pace(p, seconds), rate, rest);
}

static double frame_rate(const progress *p, double seconds)
{
    return seconds > 0 ? (double)p->frames / seconds : 0;
}

/* What ffmpeg shows, and the time that is left. */
static void write_video(const progress *p, double seconds)
{
    const double fps = frame_rate(p, seconds);
    const long long cs = (long long)(100 * p->sound);
    const long to_go = (long)(left(p, seconds) + 0.999);
    char rate[32] = "N/A", rest[32] = "", q[16] = "";

    if (bit_rate(p) > 0)
        snprintf(rate, sizeof rate, "%6.1fkbits/s", 1e-3 * bit_rate(p));
    if (p->quality >= 0)
        snprintf(q, sizeof q, " q=%.1f", p->quality);
    if (p->done > 0)
        snprintf(rest, sizeof rest, " eta=%ld:%02ld:%02ld", to_go / 3600,
                 to_go / 60 % 60, to_go % 60);
    say_status("frame=%5llu fps=%3.*f%s size=%8llukB time=%02lld:%02lld:"
               "%02lld.%02lld bitrate=%s speed=%4.3gx%s",
               (unsigned long long)p->frames, fps < 9.95, fps, q,
               (unsigned long long)(p->bytes ? *p->bytes / 1024 : 0),
               cs / 360000, cs / 6000 % 60, cs / 100 % 60, cs % 100, rate,
               pace(p, seconds), rest);
}

static void write_line(const progress *p, double seconds)
{
    const char *slash = strrchr(p->what, '/');
    const char *name = slash ? slash + 1 : p->what;
    const long to_go = (long)(left(p, seconds) + 0.999);
    if (p->sound >= 0 && p->video)
        write_video(p, seconds);
    else if (p->sound >= 0)
        write_sound(p, name, seconds);
    else if (p->done > 0 && !p->image)
        say_status("%.40s: %3.0f %%  %s%s%ld:%02ld left", name, 100 * p->done,
                   p->detail ? p->detail : "", p->detail ? "  " : "",
                   to_go / 60, to_go % 60);
    else if (p->done > 0)
        say_status("%.40s: %3.0f %%  %.2f MP/s  %ld:%02ld left", name,
                   100 * p->done, speed(p, seconds), to_go / 60, to_go % 60);
    else
        say_status("%.40s:   0 %%", name);
}

int progress_open(progress *p, const args *a, const char *out)
{
    *p = (progress){ .what = out, .start = now(), .sound = -1, .quality = -1 };
    p->line = !a->nostats && (a->stats || isatty(STDERR_FILENO));
    if (p->line)
        write_line(p, 0);
    return a->progress ? open_url(p, a, out) : RC_OK;
}

/* The keys of ffmpeg, in its order, and ours for what it has none for.  Its
 * out_time_ms are microseconds; who reads it knows. */
static void write_sound_keys(const progress *p, double seconds)
{
    const long long us = (long long)(1e6 * p->sound);
    if (p->video)
        fprintf(p->file, "frame=%llu\nfps=%.2f\n",
                (unsigned long long)p->frames, frame_rate(p, seconds));
    if (p->video && p->quality >= 0)
        fprintf(p->file, "stream_0_0_q=%.1f\n", p->quality);
    if (bit_rate(p) > 0)
        fprintf(p->file, "bitrate=%.1fkbits/s\n", 1e-3 * bit_rate(p));
    else
        fputs("bitrate=N/A\n", p->file);
    fprintf(p->file, "total_size=%llu\nout_time_us=%lld\nout_time_ms=%lld\n"
            "out_time=%02lld:%02lld:%02lld.%06lld\n",
            (unsigned long long)(p->bytes ? *p->bytes : 0), us, us,
            us / 3600000000, us / 60000000 % 60, us / 1000000 % 60,
            us % 1000000);
    if (p->video)
        fprintf(p->file, "dup_frames=%llu\ndrop_frames=%llu\n",
                (unsigned long long)p->doubled, (unsigned long long)p->dropped);
    fprintf(p->file, "speed=%.3gx\n", pace(p, seconds));
    if (p->done > 0)
        fprintf(p->file, "percent=%.1f\nleft_us=%lld\n", 100 * p->done,
                (long long)(1e6 * left(p, seconds)));
    fprintf(p->file, "elapsed_us=%lld\n", (long long)(1e6 * seconds));
}

static void write_keys(const progress *p, double seconds)
{
    if (p->sound >= 0) {
        write_sound_keys(p, seconds);
        return;
    }
    fprintf(p->file, "percent=%.1f\nspeed=%.3f\nelapsed_us=%lld\n"
            "left_us=%lld\n", 100 * p->done, speed(p, seconds),
            (long long)(1e6 * seconds), (long long)(1e6 * left(p, seconds)));
}

static int report(void *cookie, double done)
{
    progress *p = cookie;
    const double t = now();
    p->done = p->of ? (p->at + done) / p->of : done;
    if (p->done < 1 && t - p->shown < interval)
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

void progress_sound(progress *p, double seconds)
{
    p->sound = seconds;
    report(p, p->sound_length > 0 && seconds < p->sound_length
              ? seconds / p->sound_length : p->done);
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
    p->bytes = &bytes;
    write_keys(p, progress_seconds(p));
    if (p->sound < 0)
        fprintf(p->file, "total_size=%llu\n", (unsigned long long)bytes);
    fputs("progress=end\n", p->file);
    if (p->file == stdout || p->file == stderr)
        fflush(p->file);
    else
        fclose(p->file);
    p->file = NULL;
}
