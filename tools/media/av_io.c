/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <libavutil/error.h>
#include <libavutil/mem.h>
#include <unistd.h>
#include "tools/media/av_io.h"
#include "tools/say.h"

enum { BUFFER = 32768 };

static int read_some(void *cookie, uint8_t *data, int size)
{
    av_reader *r = cookie;
    const size_t got = input_some(r->in, data, (size_t)size);
    if (r->in->fault)
        return AVERROR(EIO);
    if (got && !r->seekable)
        whole_feed(&r->watch, data, got);
    return got ? (int)got : AVERROR_EOF;
}

static int64_t seek_in(void *cookie, int64_t offset, int whence)
{
    av_reader *r = cookie;
    const int64_t at = (int64_t)lseek(fileno(r->in->file), 0, SEEK_CUR) -
                       (int64_t)(r->in->end - r->in->at);
    const int64_t size = at + (int64_t)input_left(r->in);

    if (whence & AVSEEK_SIZE)
        return size;
    whence &= ~AVSEEK_FORCE;
    if (whence != SEEK_SET)
        offset += whence == SEEK_CUR ? at : size;
    /* A damaged file sends one anywhere. */
    if (offset < 0 || offset > size || input_seek(r->in, (uint64_t)offset))
        return AVERROR(EINVAL);
    return offset;
}

int av_reader_open(av_reader *r, input *in, int nut)
{
    uint8_t *buffer = av_malloc(BUFFER);
    *r = (av_reader){ .in = in, .seekable = input_seekable(in),
                      .watch.nut = nut };
    if (buffer)
        r->io = avio_alloc_context(buffer, BUFFER, 0, r, read_some, NULL,
                                   r->seekable ? seek_in : NULL);
    if (r->io)
        return RC_OK;
    av_free(buffer);
    return say_error(RC_MACHINE, in->name, "out of memory");
}

static void close_io(AVIOContext **io)
{
    if (*io)
        av_freep(&(*io)->buffer);
    avio_context_free(io);
}

void av_reader_close(av_reader *r)
{
    close_io(&r->io);
}

/* libav writes again what it wrote before, sizes above all. */
static int write_all(void *cookie, uint8_t *data, int size)
{
    av_writer *w = cookie;
    const int failed = w->at == w->out->bytes
        ? output_write(w->out, data, (size_t)size)
        : output_patch(w->out, w->at, data, (size_t)size);
    w->at += (uint64_t)size;
    return failed ? AVERROR(w->out->fault) : size;
}

static int64_t seek_out(void *cookie, int64_t offset, int whence)
{
    av_writer *w = cookie;
    const int64_t size = (int64_t)w->out->bytes;

    if (whence & AVSEEK_SIZE)
        return size;
    whence &= ~AVSEEK_FORCE;
    if (whence != SEEK_SET)
        offset += whence == SEEK_CUR ? (int64_t)w->at : size;
    if (offset < 0 || offset > size)
        return AVERROR(EINVAL);
    w->at = (uint64_t)offset;
    return offset;
}

int av_writer_open(av_writer *w, output *out)
{
    uint8_t *buffer = av_malloc(BUFFER);
    *w = (av_writer){ .out = out, .at = out->bytes };
    if (buffer)
        w->io = avio_alloc_context(buffer, BUFFER, 1, w, NULL, write_all,
                                   output_patches(out) ? seek_out : NULL);
    if (w->io)
        return RC_OK;
    av_free(buffer);
    return say_error(RC_MACHINE, out->name, "out of memory");
}

void av_writer_close(av_writer *w)
{
    if (w->io)
        avio_flush(w->io);
    close_io(&w->io);
}

const char *av_words(int error)
{
    static char text[AV_ERROR_MAX_STRING_SIZE];
    av_strerror(error, text, sizeof text);
    return text;
}
