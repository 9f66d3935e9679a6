/* SPDX-License-Identifier: BSD-2-Clause */
/* Media files: any bytes, chunks of any content with right checksums, a sound
 * file with another index; read through a pipe and with seeks. */
#include "tests/fuzz/fuzz.h"
#include <tessera/media.h>
#include "lib/bytes.h"
#include "lib/crc32c.h"

enum { FILE_MAX = 1 << 16 };

/* A file in memory. */
typedef struct file {
    uint8_t data[FILE_MAX];
    size_t size, at;
} file;

static tsr_error put(void *cookie, const void *data, size_t size)
{
    file *f = cookie;

    if (size > sizeof f->data - f->size)
        return TSR_E_IO;
    if (size)
        memcpy(f->data + f->size, data, size);
    f->size += size;
    return TSR_OK;
}

static tsr_error give(void *cookie, void *data, size_t size, size_t *got)
{
    file *f = cookie;

    *got = f->size - f->at < size ? f->size - f->at : size;
    if (*got)
        memcpy(data, f->data + f->at, *got);
    f->at += *got;
    return TSR_OK;
}

static tsr_error seek(void *cookie, uint64_t offset)
{
    file *f = cookie;

    FUZZ_CHECK(offset <= f->size);
    f->at = (size_t)offset;
    return TSR_OK;
}

static const uint8_t *touch(const uint8_t *data, size_t bytes, uint32_t *sum)
{
    *sum = tsri_crc32c(*sum, data, bytes);
    return data;
}

static void check_streams(const tsr_media_reader *r)
{
    const int n = tsr_media_reader_streams(r);

    FUZZ_CHECK(n >= 1 && n <= TSR_MEDIA_MAX_STREAMS);
    for (int i = 0; i < n; i++) {
        const tsr_media_stream *s = tsr_media_reader_stream(r, i);
        FUZZ_CHECK(s->type == TSR_MEDIA_VIDEO || s->type == TSR_MEDIA_AUDIO);
        FUZZ_CHECK(s->time_num && s->time_den && s->extradata_bytes >= 60);
    }
}

/* All packets; returns how many, *sum: of what they are. */
static int read_rest(tsr_media_reader *r, uint32_t *sum)
{
    tsr_media_packet p;
    tsr_error error;
    int n = 0;

    while ((error = tsr_media_reader_next(r, &p)) != TSR_E_EOF) {
        FUZZ_CHECK(!error || error == TSR_E_UNSUPPORTED || error == TSR_E_LIMIT);
        if (error)
            continue;
        n++;
        FUZZ_CHECK(p.stream >= 0 && p.stream < tsr_media_reader_streams(r));
        touch(p.data, p.bytes, sum);
        touch((const uint8_t *)&p.pts, sizeof p.pts, sum);
    }
    return n;
}

static tsr_error open_file(tsr_media_reader **r, file *f, bool seeks)
{
    const tsr_source source = { f, give };
    const tsr_seeker seeker = { f, seek, f->size };

    f->at = 0;
    const tsr_error error = tsr_media_reader_open(r, fuzz_context(true), &source,
                                                  seeks ? &seeker : NULL);
    FUZZ_CHECK(!error == !!*r);
    FUZZ_CHECK(error != TSR_E_IO && error != TSR_E_NOMEM && error != TSR_E_ARG);
    return error;
}

/* The same with and without a seeker; and after seeks no packet that is not
 * there without them. */
static void try_file(file *f, fuzz_input *in)
{
    tsr_media_reader *r;
    uint32_t sum[2] = { 0 }, any = 0;
    int n[2] = { 0 };
    tsr_error error[2];

    for (int seeks = 0; seeks < 2; seeks++) {
        error[seeks] = open_file(&r, f, seeks);
        if (error[seeks])
            continue;
        check_streams(r);
        n[seeks] = read_rest(r, &sum[seeks]);
        for (int i = 0; seeks && i < 4; i++) {
            const double to = (double)fuzz_u16(in) / 100 - 1;
            const tsr_error moved = tsr_media_reader_seek(r, to);
            FUZZ_CHECK(!moved || moved == TSR_E_UNSUPPORTED);
            if (moved) /* at the end, as before */
                FUZZ_CHECK(read_rest(r, &any) == 0);
            else
                FUZZ_CHECK(read_rest(r, &any) >= 1);
        }
        tsr_media_reader_close(&r);
    }
    FUZZ_CHECK(error[0] == error[1] && n[0] == n[1] && sum[0] == sum[1]);
}

/* ---- files that get further than any bytes do ---- */

static size_t extradata(fuzz_input *in, bool sound, uint8_t *out)
{
    memset(out, 0, 160);
    if (sound) {
        memcpy(out, "\1\1\1\1\0\1\4\0", 8);
        tsri_put32(out + 8, 8000);
        tsri_put32(out + 12, 50);
        tsri_put32(out + 16, 256);
    } else {
        memcpy(out, "\2\3\10\1", 4);
        tsri_put32(out + 4, 10);
        tsri_put32(out + 8, 10);
    }
    for (uint32_t i = fuzz_below(in, 4); i; i--)
        out[fuzz_below(in, 28)] = (uint8_t)fuzz_u8(in);
    return 60 + fuzz_below(in, 70);
}

/* One chunk of any kind. */
static void put_chunk(tsr_stream_writer *w, fuzz_input *in)
{
    static const char types[][5] = { "STRM", "HEAD", "MODL", "DATA", "DATA", "meta",
                                     "ALPH", "STRM" };
    const char *type = types[fuzz_below(in, 8)];
    const int stream = (int)fuzz_below(in, 3) + (fuzz_u8(in) == 77 ? 62 : 0);
    uint8_t data[256] = { 0 };
    size_t n = fuzz_below(in, 40);

    if (!memcmp(type, "STRM", 4)) {
        data[0] = (uint8_t)(fuzz_below(in, 3) + (stream < 2));
        tsri_put32(data + 4, 1 + fuzz_below(in, 2));
        tsri_put32(data + 8, data[0] == 2 ? 8000 : 25);
        n = fuzz_u8(in) == 1 ? n : 12;
    } else if (!memcmp(type, "HEAD", 4)) {
        extradata(in, fuzz_below(in, 2), data);
        n = fuzz_u8(in) == 1 ? n : 28;
    } else if (!memcmp(type, "MODL", 4)) {
        n = 32 + fuzz_below(in, 70);
    } else {
        for (size_t i = 0; i < n; i++)
            data[i] = (uint8_t)fuzz_u8(in);
    }
    (void)!tsr_stream_writer_chunk(w, TSR_FOURCC(type[0], type[1], type[2], type[3]),
                                   stream, fuzz_u8(in), data, n);
}

static void build(file *f, fuzz_input *in)
{
    const tsr_sink sink = { f, put };
    const int kind = fuzz_below(in, 3) ? TSR_KIND_MEDIA : TSR_KIND_AUDIO;
    tsr_stream_writer *w;

    FUZZ_CHECK(!tsr_stream_writer_open(&w, fuzz_context(true), &sink, kind));
    for (int i = 0; i < 40 && in->size > 8; i++)
        put_chunk(w, in);
    if (fuzz_u8(in) % 4)
        (void)!tsr_stream_writer_finish(w);
    tsr_stream_writer_close(&w);
}

/* What the writer takes comes back. */
static void write_film(file *f, fuzz_input *in)
{
    const tsr_sink sink = { f, put };
    uint8_t head[160], data[64];
    tsr_media_writer *w;
    int index, streams = 0;
    uint32_t sum = 0, back = 0;
    int n = 0;

    FUZZ_CHECK(!tsr_media_writer_open(&w, fuzz_context(true), &sink, TSR_KIND_MEDIA));
    for (int i = 1 + (int)fuzz_below(in, 4); i; i--) {
        const bool sound = fuzz_below(in, 2);
        const tsr_media_stream s = {
            .type = sound ? TSR_MEDIA_AUDIO : TSR_MEDIA_VIDEO, .time_num = 1,
            .time_den = sound ? 8000 : 25, .extradata_bytes = extradata(in, sound, head),
            .extradata = head };
        if (!tsr_media_writer_stream(w, &s, &index))
            FUZZ_CHECK(index == streams++);
    }
    for (int i = 0; i < 30 && streams && in->size; i++, n++) {
        const tsr_media_packet p = {
            .stream = (int)fuzz_below(in, (uint32_t)streams),
            .pts = (int16_t)fuzz_u16(in), .duration = fuzz_u8(in), .data = data,
            .bytes = fuzz_below(in, sizeof data) };
        memset(data, i, sizeof data);
        FUZZ_CHECK(!tsr_media_writer_packet(w, &p));
        touch(p.data, p.bytes, &sum);
        touch((const uint8_t *)&p.pts, sizeof p.pts, &sum);
    }
    FUZZ_CHECK(!tsr_media_writer_finish(w) == !!streams);
    tsr_media_writer_close(&w);
    tsr_media_reader *r;
    if (!streams)
        return;
    FUZZ_CHECK(!open_file(&r, f, true));
    FUZZ_CHECK(tsr_media_reader_streams(r) == streams);
    FUZZ_CHECK(read_rest(r, &back) == n && back == sum);
    FUZZ_CHECK(!tsr_media_reader_damage(r).lost_chunks);
    tsr_media_reader_close(&r);
}

/* The index changed here and there, its checksum made right. */
static void change_index(file *f, fuzz_input *in)
{
    if (f->size < 16)
        return;
    const uint64_t at = tsri_get64(f->data + f->size - 16);
    if (at + 28 > f->size || tsri_get32(f->data + at) != TSR_FOURCC('T', 'S', 'R', 'K'))
        return;
    const size_t n = tsri_get32(f->data + at + 8);
    uint8_t *payload = f->data + at + 24;
    for (int i = 0; n && i < 6 && in->size; i++)
        payload[fuzz_u16(in) % n] = (uint8_t)fuzz_u8(in);
    tsri_put32(payload + n, tsri_crc32c(0, payload, n));
}

void fuzz_target(const uint8_t *data, size_t size)
{
    static file f;
    fuzz_input in = { data, size };
    const uint32_t mode = fuzz_u8(&in) % 4;

    f.size = f.at = 0;
    if (mode == 0) {
        (void)!put(&f, in.data, in.size);
    } else if (mode == 1) {
        build(&f, &in);
    } else {
        write_film(&f, &in);
        if (mode == 3)
            change_index(&f, &in);
    }
    try_file(&f, &in);
}
