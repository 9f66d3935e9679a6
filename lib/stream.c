/* SPDX-License-Identifier: BSD-2-Clause */
#include <tessera/stream.h>
#include "lib/bytes.h"
#include "lib/core.h"
#include "lib/crc32c.h"
#include "lib/stream.h"

enum {
    FILE_HEADER = 16, FOOTER = 16, CRC = 4, INDEX_ENTRY = 24,
    HEADER = 24, HEADER_WIDE = 32, /* of a chunk, by its length */
    MAJOR = 1, MINOR = 0
};
static const uint32_t SYNC = TSR_FOURCC('T', 'S', 'R', 'K');
static const uint32_t END = TSR_FOURCC('T', 'S', 'R', 'E');
static const uint32_t DATA = TSR_FOURCC('D', 'A', 'T', 'A');
static const uint32_t INDX = TSR_FOURCC('I', 'N', 'D', 'X');
static const uint32_t WIDE = 0xffffffff; /* the length follows in 64 bits */
static const uint8_t magic[8] = { 0x89, 'T', 'S', 'R', '\r', '\n', 0x1a, '\n' };

/* Bytes of padding after `size` bytes. */
static size_t padding(uint64_t size)
{
    return (size_t)(-size & 7);
}

/* ---- writer ---- */

struct tsr_stream_writer {
    tsr_context *ctx;
    tsr_sink sink;
    uint64_t offset;     /* bytes written so far */
    uint32_t seq;
    uint8_t *index;      /* in file form */
    size_t index_bytes, index_room;
    tsr_error failed;    /* a write failed: nothing works any more */
    bool finished;
};

static tsr_error put(tsr_stream_writer *w, const void *data, size_t size)
{
    if (!w->failed && size)
        w->failed = w->sink.write(w->sink.cookie, data, size);
    w->offset += size;
    return w->failed;
}

tsr_error tsr_stream_writer_open(tsr_stream_writer **out, tsr_context *context,
                                 const tsr_sink *sink, int kind)
{
    uint8_t header[FILE_HEADER] = { 0 };
    tsr_stream_writer *w;
    tsr_error error;

    *out = NULL;
    if (kind < TSR_KIND_IMAGE || kind > TSR_KIND_MEDIA)
        return tsri_fail(context, TSR_E_ARG, "unknown kind of file %d", kind);
    w = tsri_calloc(context, 1, sizeof *w);
    if (!w)
        return tsri_nomem(context);
    w->ctx = context;
    w->sink = *sink;
    memcpy(header, magic, sizeof magic);
    header[8] = MAJOR;
    header[9] = MINOR;
    header[10] = (uint8_t)kind;
    error = put(w, header, sizeof header);
    if (error)
        tsr_stream_writer_close(&w);
    *out = w;
    return error;
}

static size_t make_header(uint8_t *p, uint32_t type, int stream, uint32_t seq,
                          uint64_t bytes)
{
    size_t n = 12;

    tsri_put32(p, SYNC);
    tsri_put32(p + 4, type);
    tsri_put32(p + 8, bytes < WIDE ? (uint32_t)bytes : WIDE);
    if (bytes >= WIDE) {
        tsri_put64(p + n, bytes);
        n += 8;
    }
    tsri_put16(p + n, (uint16_t)stream);
    tsri_put16(p + n + 2, 0);
    tsri_put32(p + n + 4, seq);
    tsri_put32(p + n + 8, tsri_crc32c(0, p, n + 8));
    return n + 12;
}

static tsr_error put_chunk(tsr_stream_writer *w, uint32_t type, int stream,
                           const void *data, size_t bytes)
{
    uint8_t header[HEADER_WIDE], tail[CRC + 7] = { 0 };

    TSR_TRY(put(w, header, make_header(header, type, stream, w->seq++, bytes)));
    TSR_TRY(put(w, data, bytes));
    tsri_put32(tail, tsri_crc32c(0, data, bytes));
    return put(w, tail, CRC + padding(w->offset + CRC));
}

static tsr_error add_to_index(tsr_stream_writer *w, int stream, uint64_t pts,
                              size_t bytes)
{
    if (w->index_bytes + INDEX_ENTRY > w->index_room) {
        const size_t room = 2 * w->index_room + 64 * INDEX_ENTRY;
        uint8_t *bigger = tsri_alloc(w->ctx, room, 1);
        if (!bigger)
            return tsri_nomem(w->ctx);
        if (w->index_bytes)
            memcpy(bigger, w->index, w->index_bytes);
        tsri_free(w->ctx, w->index);
        w->index = bigger;
        w->index_room = room;
    }
    uint8_t *p = w->index + w->index_bytes;
    tsri_put64(p, pts);
    tsri_put64(p + 8, w->offset);
    tsri_put32(p + 16, bytes < WIDE ? (uint32_t)bytes : WIDE);
    tsri_put32(p + 20, (uint32_t)stream);
    w->index_bytes += INDEX_ENTRY;
    return TSR_OK;
}

tsr_error tsr_stream_writer_chunk(tsr_stream_writer *w, uint32_t type,
                                  int stream, uint64_t pts, const void *data,
                                  size_t bytes)
{
    if (w->failed)
        return w->failed;
    if (w->finished || stream < 0 || stream > UINT16_MAX || type == INDX)
        return tsri_fail(w->ctx, TSR_E_ARG, "no such chunk can be written now");
    if (w->seq == UINT32_MAX)
        return tsri_fail(w->ctx, TSR_E_LIMIT, "too many chunks for one file");
    if (type == DATA)
        TSR_TRY(add_to_index(w, stream, pts, bytes));
    return put_chunk(w, type, stream, data, bytes);
}

tsr_error tsr_stream_writer_finish(tsr_stream_writer *w)
{
    uint8_t footer[FOOTER];

    if (w->failed || w->finished)
        return w->failed ? w->failed : TSR_E_ARG;
    w->finished = true;
    tsri_put64(footer, w->offset);
    TSR_TRY(put_chunk(w, INDX, 0, w->index, w->index_bytes));
    tsri_put32(footer + 8, (uint32_t)(w->offset + FOOTER));
    tsri_put32(footer + 12, END);
    return put(w, footer, sizeof footer);
}

void tsr_stream_writer_close(tsr_stream_writer **writer)
{
    tsr_stream_writer *w = writer ? *writer : NULL;
    if (!w)
        return;
    tsri_free(w->ctx, w->index);
    tsri_free(w->ctx, w);
    *writer = NULL;
}

/* ---- reader ---- */

enum { READ_LEAST = 4096 };

struct tsr_stream_reader {
    tsr_context *ctx;
    tsr_source source;
    uint8_t *buf;
    size_t room, begin, end; /* bytes begin..end of buf are not yet used */
    uint64_t offset;         /* of `begin` in the file */
    uint64_t wasted;         /* bytes of payloads that were read in vain */
    size_t used;             /* of the chunk last returned */
    uint32_t seq;            /* expected */
    int kind;
    bool source_ended, lost, done; /* lost: looking for a chunk */
    bool any_seq;            /* the next chunk may have any number */
    tsr_stream_damage damage;
};

typedef struct header {
    uint32_t type, seq;
    uint16_t stream, flags;
    uint64_t bytes;
    size_t size;       /* of the header itself */
} header;

static size_t available(const tsr_stream_reader *r)
{
    return r->end - r->begin;
}

static void drop(tsr_stream_reader *r, size_t bytes)
{
    r->begin += bytes;
    r->offset += bytes;
}

/* Room for `need` bytes from begin on; but never for more than twice what has
 * arrived, since `need` is what some header claims. */
static tsr_error make_room(tsr_stream_reader *r, size_t need)
{
    const size_t have = available(r);
    size_t room = 2 * have < READ_LEAST ? READ_LEAST : 2 * have;
    uint8_t *to = r->buf;

    if (r->room - r->begin >= need || r->room > r->end)
        return TSR_OK;
    if (room > need && need > READ_LEAST)
        room = need;
    if (room > r->room) {
        to = tsri_alloc(r->ctx, room, 1);
        if (!to)
            return tsri_nomem(r->ctx);
        r->room = room;
    }
    if (have)
        memmove(to, r->buf + r->begin, have);
    if (to != r->buf)
        tsri_free(r->ctx, r->buf);
    r->buf = to;
    r->begin = 0;
    r->end = have;
    return TSR_OK;
}

/* Reads until `need` bytes are available or the source ends. */
static tsr_error want(tsr_stream_reader *r, size_t need)
{
    while (available(r) < need && !r->source_ended) {
        TSR_TRY(make_room(r, need));
        const size_t missing = need - available(r), free = r->room - r->end;
        size_t got = 0;
        TSR_TRY(r->source.read(r->source.cookie, r->buf + r->end,
                               missing < free ? missing : free, &got));
        r->end += got;
        r->source_ended = !got;
    }
    return TSR_OK;
}

static tsr_error read_file_header(tsr_stream_reader *r)
{
    TSR_TRY(want(r, FILE_HEADER));
    const uint8_t *p = r->buf;
    const size_t n = available(r) < sizeof magic ? available(r) : sizeof magic;

    if (n && memcmp(p, magic, n))
        return tsri_fail(r->ctx, TSR_E_FORMAT, "%s", n > 4 &&
                         !memcmp(p, magic, 4) ? "a .tess file that was changed "
                         "as if it were text" : "not a .tess file");
    if (available(r) < FILE_HEADER)
        return tsri_fail(r->ctx, TSR_E_TRUNCATED, "the file header is cut");
    if (p[8] != MAJOR)
        return tsri_fail(r->ctx, TSR_E_VERSION, "file of version %d, this "
                         "library reads version %d", p[8], MAJOR);
    r->kind = p[10];
    drop(r, FILE_HEADER);
    return TSR_OK;
}

static tsr_error new_reader(tsr_stream_reader **out, tsr_context *context,
                            const tsr_source *source)
{
    tsr_stream_reader *r = tsri_calloc(context, 1, sizeof *r);

    *out = r;
    if (!r)
        return tsri_nomem(context);
    r->ctx = context;
    r->source = *source;
    return TSR_OK;
}

tsr_error tsr_stream_reader_open(tsr_stream_reader **out, tsr_context *context,
                                 const tsr_source *source)
{
    TSR_TRY(new_reader(out, context, source));
    const tsr_error error = read_file_header(*out);
    if (error)
        tsr_stream_reader_close(out);
    return error;
}

tsr_error tsri_stream_reader_open_at(tsr_stream_reader **out,
                                     tsr_context *context,
                                     const tsr_source *source, uint64_t offset)
{
    TSR_TRY(new_reader(out, context, source));
    tsri_stream_reader_jump(*out, offset);
    return TSR_OK;
}

void tsri_stream_reader_jump(tsr_stream_reader *r, uint64_t offset)
{
    r->begin = r->end = r->used = 0;
    r->offset = offset;
    r->wasted = 0;
    r->source_ended = r->lost = r->done = false;
    r->any_seq = true;
}

uint64_t tsri_stream_reader_position(const tsr_stream_reader *reader)
{
    return reader->offset + available(reader);
}

int tsr_stream_reader_kind(const tsr_stream_reader *reader)
{
    return reader->kind;
}

static bool parse_header(const tsr_stream_reader *r, header *h)
{
    const uint8_t *p = r->buf + r->begin;
    const size_t n = available(r);
    size_t at = 12;

    if (n < HEADER || tsri_get32(p) != SYNC)
        return false;
    h->type = tsri_get32(p + 4);
    h->bytes = tsri_get32(p + 8);
    if (h->bytes == WIDE) {
        h->bytes = n < HEADER_WIDE ? 0 : tsri_get64(p + at);
        at += 8;
        if (h->bytes < WIDE)
            return false;
    }
    h->stream = tsri_get16(p + at);
    h->flags = tsri_get16(p + at + 2);
    h->seq = tsri_get32(p + at + 4);
    h->size = at + 12;
    return tsri_get32(p + at + 8) == tsri_crc32c(0, p, at + 8);
}

/* Goes on to the next byte that may begin a chunk, but not into what may be
 * the footer. */
static void skip(tsr_stream_reader *r)
{
    const uint8_t *p = r->buf + r->begin;
    const uint8_t *next = memchr(p + 1, 'T', available(r) - 1);
    size_t n = next ? (size_t)(next - p) : available(r);

    if (available(r) > FOOTER && n > available(r) - FOOTER)
        n = available(r) - FOOTER;

    r->damage.skipped_bytes += n;
    drop(r, n);
}

/* A footer in its place, which says so itself. */
static bool at_footer(const tsr_stream_reader *r)
{
    const uint8_t *p = r->buf + r->begin;
    return available(r) >= FOOTER && tsri_get32(p + 12) == END &&
           tsri_get32(p + 8) == (uint32_t)(r->offset + FOOTER) &&
           tsri_get64(p) < r->offset;
}

/* The source has ended and what is left is no chunk.  A footer's numbers may be
 * wrong by what the file has lost. */
static tsr_error finish(tsr_stream_reader *r)
{
    const size_t n = available(r);
    const uint8_t *end = r->buf + r->end;
    const bool footer = n >= FOOTER && tsri_get32(end - 4) == END &&
                        tsri_get64(end - FOOTER) < r->offset;

    r->damage.truncated = !footer;
    r->damage.skipped_bytes += footer ? n - FOOTER : n;
    drop(r, n);
    r->done = true;
    return TSR_E_EOF;
}

/* Counts chunk `seq` as seen and those before it as lost. */
static void count(tsr_stream_reader *r, uint32_t seq, bool sound)
{
    if (seq > r->seq && !r->any_seq)
        r->damage.lost_chunks += seq - r->seq;
    r->damage.lost_chunks += !sound;
    r->seq = seq + 1;
    r->any_seq = false;
}

/* The chunk of this header is damaged, or cut by bytes that are missing.  Then
 * others may begin inside what looks like its payload: look there, unless a
 * file made for it would have us do so again and again. */
static void lose(tsr_stream_reader *r, const header *h, size_t size)
{
    count(r, h->seq, false);
    r->lost = true;
    r->wasted += size;
    if (r->wasted > 4 * (r->offset + available(r))) {
        r->damage.skipped_bytes += size - 1;
        drop(r, size - 1);
    }
    skip(r);
}

/* Reads the chunk that begins here; TSR_E_CHECKSUM when it is not sound. */
static tsr_error take(tsr_stream_reader *r, const header *h, tsr_chunk *chunk)
{
    const uint64_t whole = h->size + h->bytes + CRC;
    const uint8_t *payload;

    if (h->bytes > r->ctx->max_memory || h->bytes > SIZE_MAX - 2 * HEADER_WIDE) {
        lose(r, h, h->size);
        return tsri_fail(r->ctx, TSR_E_LIMIT, "a chunk of %llu bytes is over "
                         "the memory limit", (unsigned long long)h->bytes);
    }
    TSR_TRY(want(r, (size_t)whole + padding(whole)));
    payload = r->buf + r->begin + h->size;
    if (available(r) < whole || tsri_get32(payload + h->bytes) !=
                                tsri_crc32c(0, payload, (size_t)h->bytes)) {
        lose(r, h, available(r) < whole ? available(r) : (size_t)whole);
        return TSR_E_CHECKSUM;
    }
    count(r, h->seq, true);
    *chunk = (tsr_chunk){ .type = h->type, .stream = h->stream,
                          .flags = h->flags, .seq = h->seq, .offset = r->offset,
                          .data = payload, .bytes = (size_t)h->bytes };
    r->used = (size_t)whole + padding(whole);
    if (r->used > available(r))
        r->used = available(r);
    r->lost = false;
    return TSR_OK;
}

tsr_error tsr_stream_reader_next(tsr_stream_reader *r, tsr_chunk *chunk)
{
    header h;

    drop(r, r->used);
    r->used = 0;
    while (!r->done) {
        TSR_TRY(want(r, r->lost ? READ_LEAST : FOOTER));
        if (!r->lost && at_footer(r)) {
            drop(r, FOOTER);
            r->done = true;
            break;
        }
        TSR_TRY(want(r, HEADER));
        if (available(r) < HEADER)
            return finish(r);
        if (tsri_get32(r->buf + r->begin + 8) == WIDE)
            TSR_TRY(want(r, HEADER_WIDE));
        if (!parse_header(r, &h)) {
            r->lost = true;
            skip(r);
            continue;
        }
        const tsr_error error = take(r, &h, chunk);
        if (error != TSR_E_CHECKSUM)
            return error;
    }
    return TSR_E_EOF;
}

tsr_stream_damage tsr_stream_reader_damage(const tsr_stream_reader *reader)
{
    return reader->damage;
}

void tsr_stream_reader_close(tsr_stream_reader **reader)
{
    tsr_stream_reader *r = reader ? *reader : NULL;
    if (!r)
        return;
    tsri_free(r->ctx, r->buf);
    tsri_free(r->ctx, r);
    *reader = NULL;
}
