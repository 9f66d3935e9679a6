/* SPDX-License-Identifier: BSD-2-Clause */
/* The index: only a hint.  What it says is used where the chunk it leads to
 * says the same. */
#include <string.h>
#include "codecs/media/media.h"
#include "lib/bytes.h"
#include "lib/stream.h"

enum { FILE_HEADER = 16, FOOTER = 16, ENTRY = 24 };
static const uint32_t END = TSR_FOURCC('T', 'S', 'R', 'E');

static tsr_error go(tsr_media_reader *r, uint64_t offset)
{
    return r->seeker.seek(r->seeker.cookie, offset);
}

/* Reads exactly `size` bytes, or says that the source has ended before. */
static tsr_error read_all(tsr_media_reader *r, uint8_t *data, size_t size,
                          bool *whole)
{
    size_t got = 1;

    for (size_t n = 0; n < size && got; n += got)
        TSR_TRY(r->source.read(r->source.cookie, data + n, size - n, &got));
    *whole = got;
    return TSR_OK;
}

/* Where the footer says that the index is; 0: there is no sound footer. */
static tsr_error find_index(tsr_media_reader *r, uint64_t *offset)
{
    const uint64_t bytes = r->seeker.bytes;
    uint8_t footer[FOOTER];
    bool whole;

    *offset = 0;
    if (bytes < FILE_HEADER + FOOTER)
        return TSR_OK;
    TSR_TRY(go(r, bytes - FOOTER));
    TSR_TRY(read_all(r, footer, sizeof footer, &whole));
    const uint64_t at = tsri_get64(footer);
    if (whole && tsri_get32(footer + 12) == END &&
        tsri_get32(footer + 8) == (uint32_t)bytes && at >= FILE_HEADER &&
        at < bytes - FOOTER)
        *offset = at;
    return TSR_OK;
}

/* The sound chunk that begins at `offset`: *chunk is valid until *reader is
 * closed; data is NULL where there is none. */
static tsr_error chunk_at(tsr_media_reader *r, uint64_t offset,
                          tsr_stream_reader **reader, tsr_chunk *chunk)
{
    *chunk = (tsr_chunk){ .data = NULL };
    *reader = NULL;
    TSR_TRY(go(r, offset));
    TSR_TRY(tsri_stream_reader_open_at(reader, r->ctx, &r->source, offset));
    const tsr_error error = tsr_stream_reader_next(*reader, chunk);
    if (error || chunk->offset != offset)
        chunk->data = NULL;
    return error == TSR_E_EOF || error == TSR_E_LIMIT ? TSR_OK : error;
}

/* Entries of streams that are left out are left out.  False: impossible. */
static bool take_entries(tsr_media_reader *r, const tsr_chunk *chunk)
{
    uint64_t before = FILE_HEADER - 1;

    for (size_t i = 0; i < chunk->bytes; i += ENTRY) {
        const uint8_t *p = chunk->data + i;
        const tsr_chunk named = { .stream = tsri_get16(p + 20) };
        const uint64_t offset = tsri_get64(p + 8);
        if (offset <= before || offset >= chunk->offset)
            return false;
        before = offset;
        if (tsri_media_number(r, &named) >= 0)
            r->entry[r->entries++] = (tsri_media_entry){
                tsri_get64(p), offset, tsri_media_number(r, &named) };
    }
    return true;
}

static tsr_error load(tsr_media_reader *r, const tsr_chunk *chunk)
{
    if (!chunk->data || chunk->type != TSRI_INDX || chunk->bytes % ENTRY)
        return TSR_OK;
    r->entry = tsri_alloc(r->ctx, chunk->bytes / ENTRY, sizeof *r->entry);
    if (!r->entry)
        return tsri_nomem(r->ctx);
    if (!take_entries(r, chunk))
        r->entries = 0;
    return TSR_OK;
}

/* The packet that an entry leads to; *good: it is the one that the entry says.
 * Only its times are valid. */
static tsr_error look(tsr_media_reader *r, const tsri_media_entry *e,
                      tsr_media_packet *packet, bool *good)
{
    tsr_stream_reader *reader;
    tsr_chunk chunk;
    const tsr_error error = chunk_at(r, e->offset, &reader, &chunk);

    *good = !error && chunk.data && chunk.type == TSRI_DATA &&
            tsri_media_number(r, &chunk) == e->stream &&
            !tsri_media_packet_get(r, &chunk, packet) &&
            (packet->pts < 0 ? 0 : (uint64_t)packet->pts) == e->pts;
    tsr_stream_reader_close(&reader);
    return error;
}

static double seconds(const tsr_media_reader *r, int stream, double pts)
{
    const tsr_media_stream *s = &r->stream[stream];
    return pts * s->time_num / s->time_den;
}

/* The entry of a stream whose packet comes last; NULL: the stream has none. */
static const tsri_media_entry *last_of(const tsr_media_reader *r, int stream)
{
    const tsri_media_entry *last = NULL;

    for (size_t i = 0; i < r->entries; i++)
        if (r->entry[i].stream == stream &&
            (!last || r->entry[i].pts >= last->pts))
            last = &r->entry[i];
    return last;
}

static tsr_error find_duration(tsr_media_reader *r)
{
    for (int i = 0; i < r->streams; i++) {
        const tsri_media_entry *last = last_of(r, i);
        tsr_media_packet packet;
        bool good = false;
        if (last)
            TSR_TRY(look(r, last, &packet, &good));
        if (!good)
            continue;
        const double end =
            seconds(r, i, (double)packet.pts + (double)packet.duration);
        r->duration = end > r->duration ? end : r->duration;
    }
    return TSR_OK;
}

static tsr_error read_index(tsr_media_reader *r)
{
    tsr_stream_reader *reader;
    tsr_chunk chunk;
    uint64_t offset;
    tsr_error error;

    TSR_TRY(find_index(r, &offset));
    if (!offset)
        return TSR_OK;
    error = chunk_at(r, offset, &reader, &chunk);
    if (!error)
        error = load(r, &chunk);
    tsr_stream_reader_close(&reader);
    return error ? error : find_duration(r);
}

tsr_error tsri_media_index_read(tsr_media_reader *r)
{
    TSR_TRY(read_index(r));
    return go(r, tsri_stream_reader_position(r->chunks));
}

/* Where reading has to begin for a stream: its packet at that time or before
 * it, or else its first one.  NULL: it has none. */
static const tsri_media_entry *entry_at(const tsr_media_reader *r, int stream,
                                        double time)
{
    const tsri_media_entry *first = NULL, *best = NULL;

    for (size_t i = 0; i < r->entries; i++) {
        const tsri_media_entry *e = &r->entry[i];
        if (e->stream != stream)
            continue;
        first = first ? first : e;
        if (seconds(r, stream, (double)e->pts) <= time &&
            (!best || e->pts > best->pts))
            best = e;
    }
    return best ? best : first;
}

tsr_error tsr_media_reader_seek(tsr_media_reader *r, double time)
{
    const tsri_media_entry *to = NULL;
    tsr_media_packet packet;
    tsr_error error;
    bool good;

    for (int i = 0; i < r->streams; i++) {
        const tsri_media_entry *e = entry_at(r, i, time);
        if (e && (!to || e->offset < to->offset))
            to = e;
    }
    if (!to)
        return TSR_E_UNSUPPORTED;
    error = look(r, to, &packet, &good);
    const tsr_error back = go(r, !error && good
                                     ? to->offset
                                     : tsri_stream_reader_position(r->chunks));
    if (error || back)
        return error ? error : back;
    if (!good)
        return TSR_E_UNSUPPORTED;
    tsri_stream_reader_jump(r->chunks, to->offset);
    r->held = false;
    return TSR_OK;
}
