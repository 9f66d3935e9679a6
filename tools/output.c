/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tools/output.h"
#include "tools/say.h"

/* The one file to remove when a signal comes; set and cleared as a whole. */
static const char *volatile unfinished;
static volatile sig_atomic_t on_terminal;
static volatile sig_atomic_t recording, stopped;

static void stop(int number)
{
    /* On a terminal the line holds ^C or the progress. */
    static const char text[] = "\r\033[Ktessera: stopped by a signal\n";
    const size_t skip = on_terminal ? 0 : 4;
    const char *path = unfinished;
    (void)number;
    if (recording && !stopped) {
        stopped = 1;
        return;
    }
    if (path)
        unlink(path);
    if (write(STDERR_FILENO, text + skip, sizeof text - 1 - skip) < 0)
        _exit(RC_SIGNAL);
    _exit(RC_SIGNAL);
}

void output_catch_signals(void)
{
    static const int ending[] = { SIGINT, SIGTERM, SIGHUP };
    struct sigaction action = { .sa_handler = stop }, old;

    on_terminal = isatty(STDERR_FILENO);
    sigfillset(&action.sa_mask);
    for (size_t i = 0; i < sizeof ending / sizeof *ending; i++)
        if (!sigaction(ending[i], NULL, &old) && old.sa_handler != SIG_IGN)
            sigaction(ending[i], &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
}

void output_record(void)
{
    recording = 1;
}

int output_stopped(void)
{
    return stopped;
}

static int open_stdout(output *out)
{
    out->name = "standard output";
    if (isatty(STDOUT_FILENO))
        return say_error(RC_USAGE, out->name,
                         "is a terminal; name a file or use a pipe");
    out->file = stdout;
    return RC_OK;
}

static int asked(const output *out)
{
    char answer[16];
    fprintf(stderr, "%s exists. Overwrite? [y/N] ", out->name);
    return fgets(answer, sizeof answer, stdin) &&
           (answer[0] == 'y' || answer[0] == 'Y');
}

static int may_replace(const output *out, const args *a, const input *in)
{
    if (a->yes && !a->no)
        return RC_OK;
    if (!a->no && !a->nostdin && isatty(STDIN_FILENO) &&
        (!in || in->file != stdin)) {
        if (asked(out))
            return RC_OK;
        return say_error(RC_USAGE, out->name, "not overwritten");
    }
    return say_error(RC_USAGE, out->name, "exists; -y overwrites it");
}

static int is_input(const input *in, const struct stat *st)
{
    struct stat own;
    return in && !fstat(fileno(in->file), &own) &&
           own.st_dev == st->st_dev && own.st_ino == st->st_ino;
}

static int open_direct(output *out)
{
    out->file = fopen(out->path, "wb");
    if (!out->file)
        return say_error(RC_USAGE, out->name, "%s", strerror(errno));
    return RC_OK;
}

static int open_part(output *out, const args *a)
{
    const size_t n = strlen(out->path);
    int fd;

    out->part = malloc(n + sizeof ".part");
    if (!out->part)
        return say_error(RC_MACHINE, out->name, "out of memory");
    memcpy(out->part, out->path, n);
    memcpy(out->part + n, ".part", sizeof ".part");
    fd = open(out->part, O_WRONLY | O_CREAT | O_EXCL, 0666);
    if (fd < 0 && errno == EEXIST && a->yes && !unlink(out->part))
        fd = open(out->part, O_WRONLY | O_CREAT | O_EXCL, 0666);
    if (fd < 0) {
        const char *hint = errno == EEXIST ? ", from another run; -y removes it"
                                           : "";
        say_error(RC_USAGE, errno == EEXIST ? out->part : out->name, "%s%s",
                  strerror(errno), hint);
        free(out->part);
        out->part = NULL;
        return RC_USAGE;
    }
    unfinished = out->part;
    out->file = fdopen(fd, "wb");
    if (!out->file) {
        say_error(RC_MACHINE, out->name, "%s", strerror(errno));
        unfinished = NULL;
        close(fd);
        unlink(out->part);
        free(out->part);
        out->part = NULL;
        return RC_MACHINE;
    }
    return RC_OK;
}

static int open_path(output *out, const args *a, const input *in)
{
    struct stat st;
    char *target;

    if (stat(out->path, &st))
        return open_part(out, a);
    if (S_ISDIR(st.st_mode))
        return say_error(RC_USAGE, out->name, "is a folder");
    if (is_input(in, &st))
        return say_error(RC_USAGE, out->name, "is the input too");
    if (!S_ISREG(st.st_mode))
        return open_direct(out);
    if (may_replace(out, a, in))
        return RC_USAGE;
    /* Through a symbolic link: replace what it points to. */
    target = realpath(out->path, NULL);
    if (target) {
        free(out->path);
        out->path = target;
    }
    return open_part(out, a);
}

static void release(output *out)
{
    free(out->path);
    free(out->part);
    out->path = out->part = NULL;
    out->file = NULL;
}

int output_open(output *out, const args *a, const input *in, const char *path)
{
    int rc;
    *out = (output){ .name = path };
    if (args_is_pipe(path))
        return open_stdout(out);
    out->path = strdup(path);
    rc = out->path ? open_path(out, a, in)
                   : say_error(RC_MACHINE, path, "out of memory");
    if (rc)
        release(out);
    return rc;
}

/* At once, past stdio, which loses bytes when a signal comes in between: after
 * the first one the file is still to be finished. */
static int write_through(output *out, const uint8_t *data, size_t size)
{
    while (size) {
        const ssize_t n = write(fileno(out->file), data, size);
        if (n < 0 && errno != EINTR)
            return -1;
        data += n > 0 ? n : 0;
        size -= n > 0 ? (size_t)n : 0;
    }
    return 0;
}

int output_write(output *out, const void *data, size_t size)
{
    errno = 0;
    if (!out->fault && (out->flow ? write_through(out, data, size)
                        : fwrite(data, 1, size, out->file) != size))
        out->fault = errno ? errno : EIO;
    out->bytes += size;
    return out->fault ? -1 : 0;
}

int output_patches(const output *out)
{
    return out->part != NULL;
}

int output_patch(output *out, uint64_t offset, const void *data, size_t size)
{
    errno = 0;
    if (!out->fault && (fseeko(out->file, (off_t)offset, SEEK_SET) ||
                        fwrite(data, 1, size, out->file) != size ||
                        fseeko(out->file, 0, SEEK_END)))
        out->fault = errno ? errno : EIO;
    if (out->bytes < offset + size)
        out->bytes = offset + size;
    return out->fault ? -1 : 0;
}

static tsr_error sink_write(void *cookie, const void *data, size_t size)
{
    return output_write(cookie, data, size) ? TSR_E_IO : TSR_OK;
}

tsr_sink output_sink(output *out)
{
    return (tsr_sink){ out, sink_write };
}

/* stdio may hold the bytes back until here: a full disk shows only now. */
static void flush(output *out)
{
    errno = 0;
    if (fflush(out->file) && !out->fault)
        out->fault = errno ? errno : EIO;
    if (out->file != stdout && fclose(out->file) && !out->fault)
        out->fault = errno ? errno : EIO;
}

int output_close(output *out, int keep)
{
    if (!out->file)
        return RC_OK;
    flush(out);
    if (out->part) {
        if (keep && !out->fault && rename(out->part, out->path))
            out->fault = errno;
        if (!keep || out->fault)
            unlink(out->part);
        unfinished = NULL;
    }
    release(out);
    return out->fault ? say_error(RC_USAGE, out->name, "write: %s",
                                  strerror(out->fault)) : RC_OK;
}
