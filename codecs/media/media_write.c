/* SPDX-License-Identifier: BSD-2-Clause */
#include <string.h>
#include "codecs/media/media.h"
#include "lib/bytes.h"

struct tsr_media_writer {
    tsr_context *ctx;
    tsr_stream_writer *chunks;
    int kind;
    int streams;
    bool begun;             /* a packet was written: no more streams */
    tsr_media_stream sound; /* TSR_KIND_AUDIO */
    uint8_t extradata[TSRI_MEDIA_EXTRADATA_MAX];
    uint8_t *payload;       /* of the DATA chunk being made */
    size_t room;
};

tsr_error tsr_media_writer_open(tsr_media_writer **out, tsr_context *context,
                                const tsr_sink *sink, int kind)
{
    tsr_media_writer *w;
    tsr_error error;

    *out = NULL;
    if (kind != TSR_KIND_MEDIA && kind != TSR_KIND_AUDIO)
        return tsri_fail(context, TSR_E_ARG, "packets do not go into files of kind"
                         " %d", kind);
    w = tsri_calloc(context, 1, sizeof *w);
    if (!w)
        return tsri_nomem(context);
    w->ctx = context;
    w->kind = kind;
    error = tsr_stream_writer_open(&w->chunks, context, sink, kind);
    if (error)
        tsr_media_writer_close(&w);
    *out = w;
    return error;
}

void tsr_media_writer_close(tsr_media_writer **writer)
{
    tsr_media_writer *w = writer ? *writer : NULL;
    if (!w)
        return;
    tsr_stream_writer_close(&w->chunks);
    tsri_free(w->ctx, w->payload);
    tsri_free(w->ctx, w);
    *writer = NULL;
}

static tsr_error check_stream(tsr_media_writer *w, const tsr_media_stream *s)
{
    if (w->begun)
        return tsri_fail(w->ctx, TSR_E_ARG, "a stream after the first packet");
    if (w->streams == TSR_MEDIA_MAX_STREAMS)
        return tsri_fail(w->ctx, TSR_E_LIMIT, "more than %d streams",
                         TSR_MEDIA_MAX_STREAMS);
    if (w->kind == TSR_KIND_AUDIO && (w->streams || s->type != TSR_MEDIA_AUDIO))
        return tsri_fail(w->ctx, TSR_E_ARG, "a file of sound holds one sound");
    return tsri_media_stream_check(w->ctx, s) ? TSR_E_ARG : TSR_OK;
}

/* Packets of the only sound of a file are checked: that takes its extradata. */
static void keep(tsr_media_writer *w, const tsr_media_stream *s)
{
    w->sound = *s;
    w->sound.extradata = memcpy(w->extradata, s->extradata, s->extradata_bytes);
}

static tsr_error put_time_base(tsr_media_writer *w, const tsr_media_stream *s)
{
    uint8_t strm[TSRI_MEDIA_STRM_BYTES] = { (uint8_t)s->type };

    tsri_put32(strm + 4, s->time_num);
    tsri_put32(strm + 8, s->time_den);
    return tsr_stream_writer_chunk(w->chunks, TSRI_STRM, w->streams, 0, strm,
                                   sizeof strm);
}

tsr_error tsr_media_writer_stream(tsr_media_writer *w, const tsr_media_stream *s,
                                  int *index)
{
    TSR_TRY(check_stream(w, s));
    if (w->kind == TSR_KIND_MEDIA)
        TSR_TRY(put_time_base(w, s));
    else
        keep(w, s);
    TSR_TRY(tsr_stream_writer_chunk(w->chunks, TSRI_HEAD, w->streams, 0,
                                    s->extradata, TSRI_MEDIA_HEAD_BYTES));
    TSR_TRY(tsr_stream_writer_chunk(w->chunks, TSRI_MODL, w->streams, 0,
                                    s->extradata + TSRI_MEDIA_HEAD_BYTES,
                                    s->extradata_bytes - TSRI_MEDIA_HEAD_BYTES));
    *index = w->streams++;
    return TSR_OK;
}

/* The only sound of a file: its packets say themselves when they are heard. */
static tsr_error put_sound(tsr_media_writer *w, const tsr_media_packet *packet)
{
    tsr_audio_packet p;

    TSR_TRY(tsri_media_sound(w->ctx, &w->sound, packet->data, packet->bytes, &p));
    if (packet->pts != (int64_t)p.pts)
        return tsri_fail(w->ctx, TSR_E_ARG, "packet %llu of a sound is at %lld, "
                         "not at %llu", (unsigned long long)p.number,
                         (long long)packet->pts, (unsigned long long)p.pts);
    return tsr_stream_writer_chunk(w->chunks, TSRI_DATA, 0, p.pts, packet->data,
                                   packet->bytes);
}

/* Times before 0 are odd, others even, so that small ones are short. */
static uint64_t fold(int64_t pts)
{
    return pts < 0 ? ~((uint64_t)pts << 1) : (uint64_t)pts << 1;
}

static tsr_error put_timed(tsr_media_writer *w, const tsr_media_packet *packet)
{
    size_t n, bytes;

    if (!tsri_add(packet->bytes, 2 * TSRI_VARINT_MAX, &bytes) ||
        tsri_grow(w->ctx, &w->payload, &w->room, 0, bytes, 1))
        return tsri_nomem(w->ctx);
    n = tsri_put_varint(w->payload, fold(packet->pts));
    n += tsri_put_varint(w->payload + n, packet->duration);
    if (packet->bytes)
        memcpy(w->payload + n, packet->data, packet->bytes);
    return tsr_stream_writer_chunk(w->chunks, TSRI_DATA, packet->stream,
                                   packet->pts < 0 ? 0 : (uint64_t)packet->pts,
                                   w->payload, n + packet->bytes);
}

tsr_error tsr_media_writer_packet(tsr_media_writer *w,
                                  const tsr_media_packet *packet)
{
    if (packet->stream < 0 || packet->stream >= w->streams)
        return tsri_fail(w->ctx, TSR_E_ARG, "a packet of stream %d of %d",
                         packet->stream, w->streams);
    w->begun = true;
    return w->kind == TSR_KIND_AUDIO ? put_sound(w, packet) : put_timed(w, packet);
}

tsr_error tsr_media_writer_finish(tsr_media_writer *w)
{
    if (!w->streams)
        return tsri_fail(w->ctx, TSR_E_ARG, "a media file without a stream");
    return tsr_stream_writer_finish(w->chunks);
}
