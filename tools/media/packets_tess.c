/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>
#include <stdlib.h>
#include "tools/media/packets_impl.h"
#include "tools/say.h"

/* ---- reading ---- */

typedef struct tess_in {
    packets_in base;
    input *in;
    tsr_media_reader *reader;
    char damage[160];
} tess_in;

static int streams(const packets_in *p)
{
    return tsr_media_reader_streams(((const tess_in *)p)->reader);
}

static const tsr_media_stream *stream(const packets_in *p, int index)
{
    return tsr_media_reader_stream(((const tess_in *)p)->reader, index);
}

static double seconds(const packets_in *p)
{
    return tsr_media_reader_duration(((const tess_in *)p)->reader);
}

static int failed(const tess_in *t, tsr_error error)
{
    return t->in->fault ? input_failed(t->in)
                        : say_failure(t->in->name, error);
}

static int next(packets_in *p, tsr_media_packet *packet, int *end)
{
    tess_in *t = (tess_in *)p;
    const tsr_error error = tsr_media_reader_next(t->reader, packet);
    *end = error == TSR_E_EOF;
    return error && !*end ? failed(t, error) : RC_OK;
}

static int seek(packets_in *p, double to)
{
    tess_in *t = (tess_in *)p;
    const tsr_error error = tsr_media_reader_seek(t->reader, to);
    if (error == TSR_E_UNSUPPORTED)
        say_take_detail();
    return error && error != TSR_E_UNSUPPORTED ? failed(t, error) : RC_OK;
}

static const char *damage(packets_in *p)
{
    tess_in *t = (tess_in *)p;
    const tsr_stream_damage d = tsr_media_reader_damage(t->reader);
    const size_t size = sizeof t->damage;
    int n = 0;

    if (!d.lost_chunks && !d.skipped_bytes && !d.truncated)
        return NULL;
    if (d.lost_chunks)
        n += snprintf(t->damage, size, "%llu damaged or lost chunks",
                      (unsigned long long)d.lost_chunks);
    if (d.skipped_bytes)
        n += snprintf(t->damage + n, size - (size_t)n,
                      "%s%llu bytes that belong to nothing", n ? ", " : "",
                      (unsigned long long)d.skipped_bytes);
    if (d.truncated)
        snprintf(t->damage + n, size - (size_t)n,
                 "%sthe file ends too early", n ? ", " : "");
    return t->damage;
}

static void close_in(packets_in *p)
{
    tess_in *t = (tess_in *)p;
    tsr_media_reader_close(&t->reader);
    free(t);
}

static tsr_error set_position(void *cookie, uint64_t offset)
{
    return input_seek(cookie, offset) ? TSR_E_IO : TSR_OK;
}

int packets_tess_open(packets_in **p, tsr_context *ctx, input *in)
{
    static const packets_in_kind kind = { streams, stream, seconds, next, seek,
                                          damage, close_in };
    const tsr_source source = input_source(in);
    const tsr_seeker seeker = { in, set_position, input_left(in) };
    tess_in *t = calloc(1, sizeof *t);
    tsr_error error;

    if (!t)
        return say_error(RC_MACHINE, in->name, "out of memory");
    t->base.kind = &kind;
    t->in = in;
    error = tsr_media_reader_open(&t->reader, ctx, &source,
                                  input_seekable(in) ? &seeker : NULL);
    if (error) {
        const int rc = failed(t, error);
        free(t);
        return rc;
    }
    *p = &t->base;
    return RC_OK;
}

/* ---- writing ---- */

typedef struct tess_out {
    packets_out base;
    output *out;
    tsr_media_writer *writer;
} tess_out;

/* A failed write is said when the output is closed. */
static int written(const tess_out *t, tsr_error error)
{
    if (!error || t->out->fault)
        return error ? RC_USAGE : RC_OK;
    return say_failure(t->out->name, error);
}

static int add_stream(packets_out *p, const tsr_media_stream *s, int *index)
{
    tess_out *t = (tess_out *)p;
    return written(t, tsr_media_writer_stream(t->writer, s, index));
}

static int put(packets_out *p, const tsr_media_packet *packet)
{
    tess_out *t = (tess_out *)p;
    return written(t, tsr_media_writer_packet(t->writer, packet));
}

static int finish(packets_out *p)
{
    tess_out *t = (tess_out *)p;
    return written(t, tsr_media_writer_finish(t->writer));
}

static void close_out(packets_out *p)
{
    tess_out *t = (tess_out *)p;
    tsr_media_writer_close(&t->writer);
    free(t);
}

int packets_tess_create(packets_out **p, tsr_context *ctx, int kind,
                        output *out)
{
    static const packets_out_kind out_kind = { add_stream, put, finish,
                                               close_out };
    const tsr_sink sink = output_sink(out);
    tess_out *t = calloc(1, sizeof *t);
    int rc;

    if (!t)
        return say_error(RC_MACHINE, out->name, "out of memory");
    t->base.kind = &out_kind;
    t->out = out;
    rc = written(t, tsr_media_writer_open(&t->writer, ctx, &sink, kind));
    if (rc)
        free(t);
    else
        *p = &t->base;
    return rc;
}
