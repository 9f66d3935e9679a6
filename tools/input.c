/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tools/args.h"
#include "tools/input.h"
#include "tools/output.h"
#include "tools/say.h"

/* One read; a signal that was not the end of us is no fault. */
static size_t read_once(input *in, void *data, size_t size)
{
    ssize_t got;
    if (in->over || in->fault || output_stopped())
        return 0;
    do
        got = read(fileno(in->file), data, size);
    while (got < 0 && errno == EINTR && !output_stopped());
    if (got < 0 && errno != EINTR)
        in->fault = errno;
    in->over = got <= 0;
    return got > 0 ? (size_t)got : 0;
}

size_t input_some(input *in, void *data, size_t size)
{
    size_t got;
    if (in->at == in->end) {
        if (size >= INPUT_BUFFER)
            return read_once(in, data, size);
        in->at = 0;
        in->end = read_once(in, in->buffer, INPUT_BUFFER);
    }
    got = in->end - in->at < size ? in->end - in->at : size;
    memcpy(data, in->buffer + in->at, got);
    in->at += got;
    return got;
}

size_t input_read(input *in, void *data, size_t size)
{
    size_t got = 0, n;
    while (got < size && (n = input_some(in, (uint8_t *)data + got, size - got)))
        got += n;
    return got;
}

/* Leaves the head in the buffer. */
static int read_head(input *in)
{
    size_t n;
    in->at = in->end = 0;
    in->over = in->fault = 0;
    while (in->end < INPUT_HEAD &&
           (n = read_once(in, in->buffer + in->end, INPUT_BUFFER - in->end)))
        in->end += n;
    if (in->fault) {
        say_error(RC_USAGE, in->name, "%s", strerror(in->fault));
        input_close(in);
        return RC_USAGE;
    }
    in->head_size = in->end < INPUT_HEAD ? in->end : INPUT_HEAD;
    memcpy(in->head, in->buffer, in->head_size);
    return RC_OK;
}

int input_open(input *in, const char *path)
{
    *in = (input){ .name = path };
    if (args_is_pipe(path)) {
        in->name = "standard input";
        if (isatty(STDIN_FILENO))
            return say_error(RC_USAGE, in->name, "is a terminal");
        in->file = stdin;
    } else {
        in->file = fopen(path, "rb");
        if (!in->file)
            return say_error(RC_USAGE, path, "%s", strerror(errno));
    }
    setvbuf(in->file, NULL, _IONBF, 0);
    return read_head(in);
}

/* Moves what is left of a pipe into a file without a name. */
static int spool(input *in)
{
    uint8_t block[16384];
    size_t n;
    FILE *copy = tmpfile();
    if (!copy)
        return say_error(RC_USAGE, in->name, "no temporary file: %s",
                         strerror(errno));
    while ((n = input_read(in, block, sizeof block)) > 0) {
        if (fwrite(block, 1, n, copy) != n) {
            say_error(RC_USAGE, in->name, "temporary file: %s",
                      strerror(errno));
            fclose(copy);
            return RC_USAGE;
        }
    }
    if (in->file != stdin)
        fclose(in->file);
    in->file = copy;
    return in->fault ? input_failed(in) : RC_OK;
}

int input_rewindable(input *in)
{
    int rc = RC_OK;
    if (lseek(fileno(in->file), 0, SEEK_CUR) < 0)
        rc = spool(in);
    return rc ? rc : input_rewind(in);
}

int input_rewind(input *in)
{
    if (fflush(in->file) || lseek(fileno(in->file), 0, SEEK_SET) < 0)
        return say_error(RC_USAGE, in->name, "%s", strerror(errno));
    return read_head(in);
}

uint64_t input_left(const input *in)
{
    struct stat st;
    off_t at;
    if (fstat(fileno(in->file), &st) || !S_ISREG(st.st_mode))
        return UINT64_MAX;
    at = lseek(fileno(in->file), 0, SEEK_CUR);
    if (at < 0)
        return UINT64_MAX;
    return in->end - in->at + (at < st.st_size ? (uint64_t)(st.st_size - at)
                                               : 0);
}

int input_seekable(const input *in)
{
    return input_left(in) != UINT64_MAX;
}

int input_seek(input *in, uint64_t offset)
{
    in->at = in->end = 0;
    in->over = 0;
    if (offset > INT64_MAX ||
        lseek(fileno(in->file), (off_t)offset, SEEK_SET) < 0)
        in->fault = EINVAL;
    return in->fault ? -1 : 0;
}

int input_is_tess(const input *in, int kind)
{
    return in->head_size > 10 && !memcmp(in->head, "\x89TSR\r\n\x1a\n", 8) &&
           in->head[10] == kind;
}

static tsr_error source_read(void *cookie, void *data, size_t size, size_t *got)
{
    input *in = cookie;
    *got = input_some(in, data, size);
    return in->fault ? TSR_E_IO : TSR_OK;
}

tsr_source input_source(input *in)
{
    return (tsr_source){ in, source_read };
}

int input_failed(const input *in)
{
    return say_error(RC_USAGE, in->name, "read: %s", strerror(in->fault));
}

void input_close(input *in)
{
    if (in->file && in->file != stdin)
        fclose(in->file);
    in->file = NULL;
}
