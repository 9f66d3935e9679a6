/* SPDX-License-Identifier: BSD-2-Clause */
#include <string.h>
#include "codecs/media/media.h"
#include "lib/bytes.h"
#include "lib/stream.h"

/* ---- what stands before the first packet ---- */

/* A stream of the file, as far as its chunks have come. */
typedef struct track {
    bool strm, head, modl;
    uint64_t bad;           /* chunks of impossible length */
    tsr_media_stream stream;
    uint8_t extradata[TSRI_MEDIA_EXTRADATA_MAX];
} track;

/* The first chunk of a kind counts; false: its length is impossible. */
static bool take_strm(track *t, const tsr_chunk *chunk)
{
    if (t->strm)
        return true;
    if (chunk->bytes != TSRI_MEDIA_STRM_BYTES)
        return false;
    t->stream.type = chunk->data[0];
    t->stream.time_num = tsri_get32(chunk->data + 4);
    t->stream.time_den = tsri_get32(chunk->data + 8);
    t->strm = true;
    return true;
}

static bool take_head(track *t, const tsr_chunk *chunk)
{
    if (t->head)
        return true;
    if (chunk->bytes != TSRI_MEDIA_HEAD_BYTES)
        return false;
    memcpy(t->extradata, chunk->data, chunk->bytes);
    t->head = true;
    return true;
}

static bool take_modl(track *t, const tsr_chunk *chunk)
{
    if (t->modl)
        return true;
    if (chunk->bytes > TSRI_MEDIA_EXTRADATA_MAX - TSRI_MEDIA_HEAD_BYTES)
        return false;
    memcpy(t->extradata + TSRI_MEDIA_HEAD_BYTES, chunk->data, chunk->bytes);
    t->stream.extradata_bytes = TSRI_MEDIA_HEAD_BYTES + chunk->bytes;
    t->modl = true;
    return true;
}

static bool take_front(track *t, const tsr_chunk *chunk)
{
    switch (chunk->type) {
    case TSRI_STRM:
        return take_strm(t, chunk);
    case TSRI_HEAD:
        return take_head(t, chunk);
    case TSRI_MODL:
        return take_modl(t, chunk);
    }
    return true;
}

/* Streams that a file of this kind can have. */
static int most_streams(const tsr_media_reader *r)
{
    return r->kind == TSR_KIND_MEDIA ? TSR_MEDIA_MAX_STREAMS : 1;
}

/* Reads to the first packet, which is held, or to the end of the file. */
static tsr_error read_front(tsr_media_reader *r, track *tracks)
{
    tsr_chunk chunk;
    tsr_error error;

    while (!(error = tsr_stream_reader_next(r->chunks, &chunk))) {
        if (chunk.stream >= most_streams(r))
            continue;
        if (chunk.type == TSRI_DATA) {
            r->first = chunk;
            r->held = true;
            return TSR_OK;
        }
        tracks[chunk.stream].bad += !take_front(&tracks[chunk.stream], &chunk);
    }
    return error == TSR_E_EOF ? TSR_OK : error;
}

/* The time base of a file's only sound is that of its samples. */
static void time_by_rate(tsr_media_reader *r, track *t)
{
    if (r->kind != TSR_KIND_AUDIO || !t->head)
        return;
    t->strm = true;
    t->stream.type = TSR_MEDIA_AUDIO;
    t->stream.time_num = 1;
    t->stream.time_den = tsri_get32(t->extradata + 8);
}

/* A stream that is whole gets a number; one of another type is nothing to us,
 * whatever it holds. */
static void add_stream(tsr_media_reader *r, track *t, int number)
{
    const int n = r->streams;

    r->number[number] = -1;
    if (t->strm && t->stream.type != TSR_MEDIA_VIDEO &&
        t->stream.type != TSR_MEDIA_AUDIO)
        return;
    r->bad += t->bad;
    if (!t->strm || !t->head || !t->modl) {
        /* What was lost on the way has been counted. */
        r->bad += (t->strm || t->head || t->modl) &&
                  !tsr_stream_reader_damage(r->chunks).lost_chunks;
        return;
    }
    memcpy(r->extradata[n], t->extradata, t->stream.extradata_bytes);
    t->stream.extradata = r->extradata[n];
    if (tsri_media_stream_check(r->ctx, &t->stream)) {
        r->bad++;
        return;
    }
    r->stream[n] = t->stream;
    r->number[number] = (int8_t)r->streams++;
}

static tsr_error find_streams(tsr_media_reader *r)
{
    track *tracks = tsri_calloc(r->ctx, TSR_MEDIA_MAX_STREAMS, sizeof *tracks);

    if (!tracks)
        return tsri_nomem(r->ctx);
    tsr_error error = read_front(r, tracks);
    time_by_rate(r, &tracks[0]);
    for (int i = 0; !error && i < TSR_MEDIA_MAX_STREAMS; i++)
        add_stream(r, &tracks[i], i);
    tsri_free(r->ctx, tracks);
    if (error || r->streams)
        return error;
    error = tsr_stream_reader_damage(r->chunks).truncated ? TSR_E_TRUNCATED
                                                          : TSR_E_CORRUPT;
    return tsri_fail(r->ctx, error, "no stream of the file is left whole");
}

static tsr_error open_all(tsr_media_reader *r)
{
    TSR_TRY(tsr_stream_reader_open(&r->chunks, r->ctx, &r->source));
    r->kind = tsr_stream_reader_kind(r->chunks);
    if (r->kind != TSR_KIND_MEDIA && r->kind != TSR_KIND_AUDIO)
        return tsri_fail(r->ctx, TSR_E_UNSUPPORTED, "neither media nor sound");
    TSR_TRY(find_streams(r));
    return r->seeks ? tsri_media_index_read(r) : TSR_OK;
}

tsr_error tsr_media_reader_open(tsr_media_reader **out, tsr_context *context,
                                const tsr_source *source,
                                const tsr_seeker *seeker)
{
    tsr_media_reader *r = tsri_calloc(context, 1, sizeof *r);

    *out = NULL;
    if (!r)
        return tsri_nomem(context);
    r->ctx = context;
    r->source = *source;
    r->seeks = seeker;
    if (seeker)
        r->seeker = *seeker;
    const tsr_error error = open_all(r);
    if (error)
        tsr_media_reader_close(&r);
    *out = r;
    return error;
}

void tsr_media_reader_close(tsr_media_reader **reader)
{
    tsr_media_reader *r = reader ? *reader : NULL;
    if (!r)
        return;
    tsr_stream_reader_close(&r->chunks);
    tsri_free(r->ctx, r->entry);
    tsri_free(r->ctx, r);
    *reader = NULL;
}

int tsr_media_reader_kind(const tsr_media_reader *reader)
{
    return reader->kind;
}

int tsr_media_reader_streams(const tsr_media_reader *reader)
{
    return reader->streams;
}

const tsr_media_stream *tsr_media_reader_stream(const tsr_media_reader *reader,
                                                int index)
{
    return index >= 0 && index < reader->streams ? &reader->stream[index] : NULL;
}

double tsr_media_reader_duration(const tsr_media_reader *reader)
{
    return reader->duration;
}

tsr_stream_damage tsr_media_reader_damage(const tsr_media_reader *reader)
{
    tsr_stream_damage damage = tsr_stream_reader_damage(reader->chunks);

    damage.lost_chunks += reader->bad;
    return damage;
}

/* ---- packets ---- */

int tsri_media_number(const tsr_media_reader *r, const tsr_chunk *chunk)
{
    return chunk->stream < most_streams(r) ? r->number[chunk->stream] : -1;
}

static tsr_error get_sound(const tsr_media_reader *r, const tsr_chunk *chunk,
                           tsr_media_packet *packet)
{
    tsr_audio_packet p;

    TSR_TRY(tsri_media_sound(r->ctx, &r->stream[0], chunk->data, chunk->bytes,
                             &p));
    *packet = (tsr_media_packet){ .pts = (int64_t)p.pts, .duration = p.samples,
                                  .data = chunk->data, .bytes = chunk->bytes };
    return TSR_OK;
}

static int64_t unfold(uint64_t v)
{
    return v & 1 ? -(int64_t)(v >> 1) - 1 : (int64_t)(v >> 1);
}

tsr_error tsri_media_packet_get(const tsr_media_reader *r, const tsr_chunk *chunk,
                                tsr_media_packet *packet)
{
    uint64_t time, duration;
    size_t a, b;

    if (r->kind == TSR_KIND_AUDIO)
        return get_sound(r, chunk, packet);
    a = tsri_get_varint(chunk->data, chunk->bytes, &time);
    b = a ? tsri_get_varint(chunk->data + a, chunk->bytes - a, &duration) : 0;
    if (!b)
        return TSR_E_CORRUPT;
    *packet = (tsr_media_packet){
        .stream = tsri_media_number(r, chunk), .pts = unfold(time),
        .duration = duration, .data = chunk->data + a + b,
        .bytes = chunk->bytes - a - b };
    return TSR_OK;
}

static bool is_known(uint32_t type)
{
    return type == TSRI_STRM || type == TSRI_HEAD || type == TSRI_MODL ||
           type == TSRI_INDX || (type & 0x20); /* lower-case first letter */
}

tsr_error tsr_media_reader_next(tsr_media_reader *r, tsr_media_packet *packet)
{
    tsr_chunk chunk = r->first;

    for (;; r->held = false) {
        if (!r->held)
            TSR_TRY(tsr_stream_reader_next(r->chunks, &chunk));
        if (tsri_media_number(r, &chunk) < 0 || is_known(chunk.type))
            continue;
        if (chunk.type != TSRI_DATA)
            return tsri_fail(r->ctx, TSR_E_UNSUPPORTED, "unknown critical chunk");
        if (!tsri_media_packet_get(r, &chunk, packet))
            break;
        r->bad++;
    }
    r->held = false;
    return TSR_OK;
}
