/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tools/ffmpeg/plug.h"

enum { PATH_BYTES = 4096, LAST_NUMBER = 9999, LINE_BYTES = 1024 };

struct plug_side {
    FILE *file;
    tsr_context *context;   /* its own: never waits for a codec */
    tsr_media_writer *writer;
    int index, broken, said;
    char path[PATH_BYTES], reason[LINE_BYTES];
};

static tsr_error put(void *cookie, const void *data, size_t size)
{
    plug_side *side = cookie;
    if (fwrite(data, 1, size, side->file) == size)
        return TSR_OK;
    snprintf(side->reason, sizeof side->reason, "%s", strerror(errno));
    return TSR_E_IO;
}

static void take_message(void *cookie, tsr_log_level level, const char *message)
{
    plug_side *side = cookie;
    if (level <= TSR_LOG_WARNING)
        snprintf(side->reason, sizeof side->reason, "%s", message);
}

static void fail(plug_side *side, tsr_error error)
{
    side->broken = 1;
    plug_say_once(&side->said, "%s: %s", side->path,
                  *side->reason ? side->reason : tsr_error_string(error));
}

/* Writes `path` with number n before its extension; 0: as it is. */
static int numbered(char made[PATH_BYTES], const char *path, int n)
{
    const char *slash = strrchr(path, '/');
    const char *base = slash ? slash + 1 : path, *dot = strrchr(base, '.');
    const char *end = dot && dot != base ? dot : path + strlen(path);
    int length;

    if (!n)
        length = snprintf(made, PATH_BYTES, "%s", path);
    else
        length = snprintf(made, PATH_BYTES, "%.*s.%d%s", (int)(end - path),
                          path, n, end);
    return length < PATH_BYTES;
}

/* Creates the first of these names that is free. */
static FILE *create(plug_side *side, const char *path)
{
    struct stat st;
    FILE *file;
    int fd = -1;

    errno = ENAMETOOLONG;
    if (!numbered(side->path, path, 0))
        return NULL;
    if (!stat(path, &st) && (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode)))
        return fopen(path, "wb");
    for (int n = 0; fd < 0 && n <= LAST_NUMBER; n++) {
        errno = ENAMETOOLONG;
        if (!numbered(side->path, path, n))
            return NULL;
        fd = open(side->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd < 0 && errno != EEXIST)
            return NULL;
    }
    if (fd < 0)
        return NULL;
    file = fdopen(fd, "wb");
    if (!file)
        close(fd);
    return file;
}

static tsr_error open_writer(plug_side *side, int kind,
                             const tsr_media_stream *stream)
{
    const tsr_sink sink = { side, put };
    tsr_context_settings settings;
    tsr_error error;

    tsr_context_settings_init(&settings);
    settings.logger = (tsr_logger){ side, take_message };
    error = tsr_context_open(&side->context, &settings);
    if (!error)
        error = tsr_media_writer_open(&side->writer, side->context, &sink, kind);
    if (!error)
        error = tsr_media_writer_stream(side->writer, stream, &side->index);
    return error;
}

plug_side *plug_side_open(const char *path, int kind,
                          const tsr_media_stream *stream)
{
    plug_side *side = calloc(1, sizeof *side);
    tsr_error error;

    if (!side)
        return NULL;
    side->file = create(side, path);
    if (!side->file) {
        plug_say_once(&side->said, "%s: %s", path, strerror(errno));
        plug_side_close(&side);
        return NULL;
    }
    error = open_writer(side, kind, stream);
    if (error) {
        fail(side, error);
        plug_side_close(&side);
    }
    return side;
}

void plug_side_packet(plug_side *side, int64_t pts, uint64_t duration,
                      const void *data, size_t bytes)
{
    const tsr_media_packet packet = {
        .stream = side->index, .pts = pts, .duration = duration,
        .data = data, .bytes = bytes
    };
    tsr_error error;

    if (side->broken)
        return;
    error = tsr_media_writer_packet(side->writer, &packet);
    if (error)
        fail(side, error);
}

void plug_side_close(plug_side **at)
{
    plug_side *side = *at;
    tsr_error error = TSR_OK;

    if (!side)
        return;
    if (side->writer && !side->broken)
        error = tsr_media_writer_finish(side->writer);
    if (side->file && fclose(side->file) && !error && !side->broken) {
        snprintf(side->reason, sizeof side->reason, "%s", strerror(errno));
        error = TSR_E_IO;
    }
    if (error)
        fail(side, error);
    tsr_media_writer_close(&side->writer);
    tsr_context_close(&side->context);
    free(side);
    *at = NULL;
}
