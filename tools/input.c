/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "tools/args.h"
#include "tools/input.h"
#include "tools/say.h"

static int read_head(input *in)
{
    errno = 0;
    in->head_used = 0;
    in->head_size = fread(in->head, 1, INPUT_HEAD, in->file);
    if (ferror(in->file)) {
        say_error(RC_USAGE, in->name, "%s", strerror(errno));
        input_close(in);
        return RC_USAGE;
    }
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
    return read_head(in);
}

size_t input_read(input *in, void *data, size_t size)
{
    size_t got = in->head_size - in->head_used;
    if (got > size)
        got = size;
    memcpy(data, in->head + in->head_used, got);
    in->head_used += got;
    if (got == size)
        return got;
    errno = 0;
    got += fread((uint8_t *)data + got, 1, size - got, in->file);
    if (ferror(in->file) && !in->fault)
        in->fault = errno ? errno : EIO;
    return got;
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
    return RC_OK;
}

int input_rewindable(input *in)
{
    int rc = RC_OK;
    if (fseek(in->file, 0, SEEK_CUR))
        rc = spool(in);
    return rc ? rc : input_rewind(in);
}

int input_rewind(input *in)
{
    if (fseek(in->file, 0, SEEK_SET))
        return say_error(RC_USAGE, in->name, "%s", strerror(errno));
    return read_head(in);
}

static tsr_error source_read(void *cookie, void *data, size_t size, size_t *got)
{
    input *in = cookie;
    *got = input_read(in, data, size);
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
