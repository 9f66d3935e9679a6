/* SPDX-License-Identifier: BSD-2-Clause */
/* The container: any bytes, and files of a few chunks of which parts were changed,
 * left out or put in; whole and by the byte. */
#include "tests/fuzz/fuzz.h"
#include <tessera/stream.h>
#include "lib/crc32c.h"

enum { ROOM = 1 << 13, CHUNKS = 12 };

typedef struct file {
    const uint8_t *data;
    size_t size, at, step;  /* step: bytes that a read gives at most */
} file;

static tsr_error give(void *cookie, void *data, size_t size, size_t *got)
{
    file *f = cookie;
    size_t n = f->size - f->at < size ? f->size - f->at : size;

    if (n > f->step)
        n = f->step;
    if (n)
        memcpy(data, f->data + f->at, n);
    f->at += n;
    *got = n;
    return TSR_OK;
}

/* What a reader told. */
typedef struct told {
    tsr_error error;
    int kind, chunks;
    uint32_t sum;
    tsr_stream_damage damage;
} told;

static told read_file(const uint8_t *data, size_t size, size_t step)
{
    file f = { data, size, 0, step };
    const tsr_source source = { &f, give };
    tsr_stream_reader *r;
    tsr_chunk c;
    told t;

    memset(&t, 0, sizeof t);
    t.error = tsr_stream_reader_open(&r, fuzz_context(true), &source);
    FUZZ_CHECK(!t.error == !!r);
    if (t.error)
        return t;
    t.kind = tsr_stream_reader_kind(r);
    while (!(t.error = tsr_stream_reader_next(r, &c))) {
        t.chunks++;
        FUZZ_CHECK(c.bytes <= size && c.offset <= size - c.bytes);
        t.sum = tsri_crc32c(t.sum, c.data, c.bytes);
        t.sum = tsri_crc32c(t.sum, &c.offset, sizeof c.offset);
    }
    FUZZ_CHECK(t.error == TSR_E_EOF);
    t.damage = tsr_stream_reader_damage(r);
    FUZZ_CHECK(t.damage.skipped_bytes <= size);
    tsr_stream_reader_close(&r);
    return t;
}

/* ---- files that were whole once ---- */

typedef struct growing {
    uint8_t data[ROOM];
    size_t size;
} growing;

static tsr_error put(void *cookie, const void *data, size_t size)
{
    growing *g = cookie;

    if (size > sizeof g->data - g->size)
        return TSR_E_IO;
    if (size)
        memcpy(g->data + g->size, data, size);
    g->size += size;
    return TSR_OK;
}

static void write_chunks(tsr_stream_writer *w, fuzz_input *in)
{
    uint8_t data[512];

    for (int i = (int)fuzz_below(in, CHUNKS); i > 0; i--) {
        const uint32_t type = fuzz_u8(in) % 3 ? TSR_FOURCC('D', 'A', 'T', 'A')
                                              : TSR_FOURCC('m', 'e', 't', 'a');
        const size_t n = fuzz_u16(in) % sizeof data;
        for (size_t k = 0; k < n; k++)
            data[k] = (uint8_t)fuzz_at(in, k);
        FUZZ_CHECK(!tsr_stream_writer_chunk(w, type, (int)fuzz_below(in, 3),
                                            fuzz_u8(in), data, n));
    }
}

/* Takes bytes out, or repeats them, or sets one. */
static void damage(growing *g, fuzz_input *in)
{
    for (int i = 0; i < 4 && in->size && g->size; i++) {
        const uint32_t how = fuzz_u8(in) % 4;
        const size_t at = fuzz_u16(in) % g->size;
        size_t n = fuzz_u8(in);
        n = n < g->size - at ? n : g->size - at;
        if (how == 0) {
            g->data[at] = (uint8_t)fuzz_u8(in);
        } else if (how == 1) {
            memmove(g->data + at, g->data + at + n, g->size - at - n);
            g->size -= n;
        } else if (how == 2 && g->size + n <= sizeof g->data) {
            memmove(g->data + at + n, g->data + at, g->size - at);
            g->size += n;
        } else {
            g->size = at;
        }
    }
}

static void built(fuzz_input *in)
{
    static growing g;
    const tsr_sink sink = { &g, put };
    tsr_stream_writer *w;

    g.size = 0;
    FUZZ_CHECK(!tsr_stream_writer_open(&w, fuzz_context(true), &sink,
                                       TSR_KIND_GENERIC));
    write_chunks(w, in);
    FUZZ_CHECK(!tsr_stream_writer_finish(w));
    tsr_stream_writer_close(&w);
    const told whole = read_file(g.data, g.size, g.size);
    FUZZ_CHECK(!whole.damage.lost_chunks && !whole.damage.truncated);
    damage(&g, in);
    const told a = read_file(g.data, g.size, g.size + 1);
    const told b = read_file(g.data, g.size, 1);
    FUZZ_CHECK(!memcmp(&a, &b, sizeof a));
}

void fuzz_target(const uint8_t *data, size_t size)
{
    fuzz_input in = { data, size };

    if (fuzz_u8(&in) % 2) {
        built(&in);
        return;
    }
    uint8_t *copy = fuzz_copy(&in);
    const told a = read_file(copy, in.size, in.size + 1);
    const told b = read_file(copy, in.size, 1);
    FUZZ_CHECK(!memcmp(&a, &b, sizeof a));
    free(copy);
}
