/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/check.h"
#include <tessera/stream.h>
#include "lib/bytes.h"
#include "lib/core.h"
#include "lib/crc32c.h"

typedef struct memory {
    uint8_t *data;
    size_t size, at, step;   /* step: most bytes a read gives */
    size_t fail_at;          /* a write or read beyond this fails */
} memory;

static tsr_error mem_write(void *cookie, const void *data, size_t size)
{
    memory *m = cookie;
    if (m->size + size > m->fail_at)
        return TSR_E_IO;
    m->data = realloc(m->data, m->size + size + 1);
    memcpy(m->data + m->size, data, size);
    m->size += size;
    return TSR_OK;
}

static tsr_error mem_read(void *cookie, void *data, size_t size, size_t *got)
{
    memory *m = cookie;
    size_t n = size < m->step ? size : m->step;
    if (n > m->size - m->at)
        n = m->size - m->at;
    if (m->at + n > m->fail_at)
        return TSR_E_IO;
    memcpy(data, m->data + m->at, n);
    m->at += n;
    *got = n;
    return TSR_OK;
}

enum { CHUNKS = 7, BIG = 10000 };
static uint8_t big[BIG];
static const struct { char type[5]; int stream; size_t bytes; } chunks[CHUNKS] = {
    { "HEAD", 0, 9 }, { "MODL", 0, 40 }, { "DATA", 0, 0 }, { "meta", 1, 3 },
    { "DATA", 2, BIG }, { "DATA", 65535, 17 }, { "RSYN", 0, 8 },
};

static uint32_t type_of(const char *t)
{
    return TSR_FOURCC((uint8_t)t[0], (uint8_t)t[1], (uint8_t)t[2], (uint8_t)t[3]);
}

static memory make_file(tsr_context *ctx)
{
    memory m = { .fail_at = SIZE_MAX };
    const tsr_sink sink = { &m, mem_write };
    tsr_stream_writer *w;
    check_rng r = { 3 };

    for (size_t i = 0; i < BIG; i++)
        big[i] = (uint8_t)check_u32(&r);
    memcpy(big + 5000, "TSRKTSRE", 8);
    assert_int_equal(tsr_stream_writer_open(&w, ctx, &sink, TSR_KIND_KV), TSR_OK);
    for (int i = 0; i < CHUNKS; i++)
        assert_int_equal(tsr_stream_writer_chunk(w, type_of(chunks[i].type),
                             chunks[i].stream, (uint64_t)i * 1000, big,
                             chunks[i].bytes), TSR_OK);
    assert_int_equal(tsr_stream_writer_finish(w), TSR_OK);
    assert_int_equal(tsr_stream_writer_finish(w), TSR_E_ARG);
    tsr_stream_writer_close(&w);
    m.step = SIZE_MAX;
    return m;
}

/* Reads all; returns the bits of the chunks that came back as written. */
static unsigned read_file(tsr_context *ctx, memory m, tsr_stream_damage *damage)
{
    const tsr_source source = { &m, mem_read };
    tsr_stream_reader *r;
    tsr_chunk c;
    tsr_error error;
    unsigned seen = 0;

    if (tsr_stream_reader_open(&r, ctx, &source)) {
        assert_null(r);
        return 1u << 31;
    }
    while (!(error = tsr_stream_reader_next(r, &c))) {
        assert_in_range(c.seq, 0, CHUNKS);
        if (c.seq < CHUNKS) {
            assert_int_equal(c.type, type_of(chunks[c.seq].type));
            assert_int_equal(c.stream, chunks[c.seq].stream);
            assert_int_equal(c.bytes, chunks[c.seq].bytes);
            assert_memory_equal(c.data, big, c.bytes);
        }
        seen |= 1u << c.seq;
    }
    assert_int_equal(error, TSR_E_EOF);
    assert_int_equal(tsr_stream_reader_next(r, &c), TSR_E_EOF);
    *damage = tsr_stream_reader_damage(r);
    tsr_stream_reader_close(&r);
    assert_null(r);
    return seen;
}

enum { ALL = (1 << (CHUNKS + 1)) - 1 };

static void test_round_trip(void **state)
{
    tsr_context *ctx = check_context("c", 1);
    memory m = make_file(ctx);
    tsr_stream_damage d;
    (void)state;
    static const size_t steps[] = { SIZE_MAX, 1, 7, 4096 };
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        m.step = steps[i];
        assert_int_equal(read_file(ctx, m, &d), ALL);
        assert_true(!d.lost_chunks && !d.skipped_bytes && !d.truncated);
    }
    free(m.data);
    tsr_context_close(&ctx);
}

/* Index and footer, and that nothing behind the footer is asked for. */
static void test_index(void **state)
{
    tsr_context *ctx = check_context("c", 1);
    memory m = make_file(ctx);
    const uint8_t *foot = m.data + m.size - 16;
    const uint8_t *head = m.data + tsri_get64(foot), *entry = head + 24;
    (void)state;
    assert_memory_equal(foot + 12, "TSRE", 4);
    assert_int_equal(tsri_get32(foot + 8), m.size);
    assert_memory_equal(head, "TSRKINDX", 8);
    assert_int_equal(tsri_get32(head + 8), 3 * 24);
    assert_int_equal(tsri_get32(head + 16), CHUNKS);
    for (int i = 0, k = 0; i < CHUNKS; i++)
        if (!strcmp(chunks[i].type, "DATA")) {
            const uint8_t *e = entry + 24 * k++;
            const uint8_t *c = m.data + tsri_get64(e + 8);
            assert_int_equal(tsri_get64(e), i * 1000);
            assert_memory_equal(c, "TSRKDATA", 8);
            assert_int_equal(tsri_get32(e + 16), chunks[i].bytes);
            assert_int_equal(tsri_get32(e + 20), chunks[i].stream);
            assert_int_equal(tsri_get32(c + 16), i);
        }
    mem_write(&m, "more", 4);
    m.fail_at = m.size - 4;
    tsr_stream_damage d;
    assert_int_equal(read_file(ctx, m, &d), ALL);
    assert_true(!d.skipped_bytes && !d.truncated);
    free(m.data);
    tsr_context_close(&ctx);
}

static void test_truncation(void **state)
{
    tsr_context *ctx = check_context("c", 1);
    memory m = make_file(ctx);
    const size_t size = m.size;
    unsigned before = 0;
    tsr_stream_damage d;
    (void)state;
    ctx->logger.log = NULL;
    for (m.size = 0; m.size < 16; m.size++)
        assert_int_equal(read_file(ctx, m, &d), 1u << 31);
    for (; m.size < size; m.size++) {
        const unsigned seen = read_file(ctx, m, &d);
        /* whole chunks from the front, never fewer with more bytes */
        assert_true(!(seen & (seen + 1)) && (seen & before) == before);
        assert_true(d.truncated);
        assert_in_range(d.lost_chunks, 0, 1);
        before = seen;
    }
    assert_int_equal(before, ALL);
    free(m.data);
    tsr_context_close(&ctx);
}

/* Which chunk a byte belongs to; -1: file header, padding or footer. */
static int owner(const memory *m, size_t at)
{
    size_t begin = 16;
    for (int i = 0; i <= CHUNKS; i++) {
        const size_t end = begin + 28 + tsri_get32(m->data + begin + 8);
        if (at >= begin && at < end)
            return i;
        begin = (end + 7) / 8 * 8;
    }
    return -1;
}

static void test_flips(void **state)
{
    tsr_context *ctx = check_context("c", 1);
    memory m = make_file(ctx);
    (void)state;
    ctx->logger.log = NULL;
    for (size_t at = 0; at < m.size; at++) {
        const int hit = owner(&m, at);
        m.data[at] ^= (uint8_t)(1 << at % 8);
        tsr_stream_damage d = { 0 };
        const unsigned seen = read_file(ctx, m, &d);
        m.data[at] ^= (uint8_t)(1 << at % 8);
        if (at < 9) {
            assert_int_equal(seen, 1u << 31);
        } else if (hit < 0) {
            assert_int_equal(seen, ALL);
        } else {
            assert_int_equal(seen, ALL & ~(1 << hit));
            assert_true(d.skipped_bytes >= 28 && d.skipped_bytes < BIG + 40);
            assert_int_equal(d.truncated, 0);
            if (hit < CHUNKS)
                assert_int_equal(d.lost_chunks, 1);
        }
    }
    free(m.data);
    tsr_context_close(&ctx);
}

/* Bytes missing from the middle, or put into it: the rest is found. */
static void test_moved(void **state)
{
    tsr_context *ctx = check_context("c", 1);
    memory m = make_file(ctx);
    tsr_stream_damage d;
    (void)state;
    for (size_t at = 17; at < m.size - 60; at += 13) {
        for (size_t n = 1; n <= 40; n += 13) {
            const int first = owner(&m, at), last = owner(&m, at + n - 1);
            memory hole = m, more = m;
            hole.data = malloc(m.size + n);
            memcpy(hole.data, m.data, at);
            memcpy(hole.data + at, m.data + at + n, m.size - at - n);
            hole.size -= n;
            unsigned seen = read_file(ctx, hole, &d);
            if (last >= 0)
                assert_true(seen >> (last + 1) == (unsigned)ALL >> (last + 1));
            more.data = hole.data;
            memset(more.data + at, 'T', n);
            memcpy(more.data + at + n, m.data + at, m.size - at);
            more.size += n;
            seen = read_file(ctx, more, &d);
            if (first >= 0)
                assert_true((seen | 1 << first) == ALL);
            free(hole.data);
        }
    }
    free(m.data);
    tsr_context_close(&ctx);
}

/* A heap that remembers the largest request. */
static size_t largest;
static int blocks = 1 << 30; /* that may still be had */
static void *watch_alloc(void *cookie, size_t size, size_t align)
{
    (void)cookie;
    if (blocks-- <= 0)
        return NULL;
    if (size > largest)
        largest = size;
    return aligned_alloc(align, (size + align - 1) / align * align);
}
static void watch_free(void *cookie, void *p)
{
    (void)cookie;
    free(p);
}

static tsr_context *watched(uint64_t max_memory)
{
    tsr_context_settings s;
    tsr_context *ctx;
    tsr_context_settings_init(&s);
    s.allocator = (tsr_allocator){ NULL, watch_alloc, watch_free };
    s.max_memory = max_memory;
    assert_int_equal(tsr_context_open(&ctx, &s), TSR_OK);
    return ctx;
}

/* A header that claims `bytes`, with a right checksum, and little behind it. */
static memory claim(uint64_t bytes, bool wide)
{
    memory m = { .step = SIZE_MAX, .fail_at = SIZE_MAX };
    uint8_t h[32];
    mem_write(&m, "\x89TSR\r\n\x1a\n\1\0\1\0\0\0\0", 16);
    memcpy(h, "TSRKDATA", 8);
    tsri_put32(h + 8, wide ? UINT32_MAX : (uint32_t)bytes);
    if (wide)
        tsri_put64(h + 12, bytes);
    memset(h + 12 + 8 * wide, 0, 8);
    tsri_put32(h + 20 + 8 * wide, tsri_crc32c(0, h, 20u + 8 * wide));
    mem_write(&m, h, 24u + 8 * wide);
    mem_write(&m, big, 30);
    return m;
}

static void test_absurd(void **state)
{
    tsr_context *ctx = watched((uint64_t)1 << 40);
    static const uint64_t claims[] = { 31, 0xfffffffe, 0xffffffff,
                                       (uint64_t)1 << 39, UINT64_MAX - 3 };
    (void)state;
    for (size_t i = 0; i < sizeof claims / sizeof *claims; i++) {
        memory m = claim(claims[i], claims[i] >= UINT32_MAX);
        const tsr_source source = { &m, mem_read };
        tsr_stream_reader *r;
        tsr_chunk c;
        largest = 0;
        assert_int_equal(tsr_stream_reader_open(&r, ctx, &source), TSR_OK);
        tsr_error error = tsr_stream_reader_next(r, &c);
        if (claims[i] > (uint64_t)1 << 40) {
            assert_int_equal(error, TSR_E_LIMIT);
            error = tsr_stream_reader_next(r, &c);
        }
        assert_int_equal(error, TSR_E_EOF);
        assert_int_equal(tsr_stream_reader_damage(r).lost_chunks, 1);
        assert_int_equal(tsr_stream_reader_damage(r).truncated, 1);
        assert_int_equal(tsr_stream_reader_damage(r).skipped_bytes, m.size - 16);
        assert_in_range(largest, 1, 8192);
        tsr_stream_reader_close(&r);
        free(m.data);
    }
    ctx->max_memory = UINT64_MAX; /* no limit: then what fits an address */
    for (uint64_t k = 0; k < 48; k++) {
        memory m = claim(UINT64_MAX - k, true);
        const tsr_source source = { &m, mem_read };
        tsr_stream_reader *r;
        tsr_chunk c;
        assert_int_equal(tsr_stream_reader_open(&r, ctx, &source), TSR_OK);
        assert_int_equal(tsr_stream_reader_next(r, &c), TSR_E_LIMIT);
        assert_int_equal(tsr_stream_reader_next(r, &c), TSR_E_EOF);
        tsr_stream_reader_close(&r);
        free(m.data);
    }
    memory m = claim(20, true); /* a short length must not be spelled long */
    tsr_stream_damage d;
    assert_int_equal(read_file(ctx, m, &d), 0);
    assert_int_equal(d.skipped_bytes, m.size - 16);
    free(m.data);
    tsr_context_close(&ctx);
}

static tsr_error read_all(tsr_context *ctx, memory m)
{
    const tsr_source source = { &m, mem_read };
    tsr_stream_reader *r;
    tsr_chunk c;
    tsr_error error = tsr_stream_reader_open(&r, ctx, &source);
    while (!error)
        error = tsr_stream_reader_next(r, &c);
    tsr_stream_reader_close(&r);
    return error;
}

static tsr_error write_all(tsr_context *ctx)
{
    memory m = { .fail_at = SIZE_MAX };
    const tsr_sink sink = { &m, mem_write };
    tsr_stream_writer *w;
    tsr_error error = tsr_stream_writer_open(&w, ctx, &sink, TSR_KIND_IMAGE);
    for (int i = 0; i < 100 && !error; i++)
        error = tsr_stream_writer_chunk(w, type_of("DATA"), 0, 0, big, 1);
    if (!error)
        error = tsr_stream_writer_finish(w);
    tsr_stream_writer_close(&w);
    free(m.data);
    return error;
}

static void test_no_memory(void **state)
{
    tsr_context *ctx = watched(1 << 30), *rich = check_context("c", 1);
    memory m = make_file(rich);
    (void)state;
    for (int n = 0; n < 5; n++) {
        blocks = n; /* the reader; its buffer, which grows twice */
        assert_int_equal(read_all(ctx, m), n < 4 ? TSR_E_NOMEM : TSR_E_EOF);
        blocks = n; /* the writer; its index, which grows once */
        assert_int_equal(write_all(ctx), n < 3 ? TSR_E_NOMEM : TSR_OK);
    }
    blocks = 1 << 30;
    free(m.data);
    tsr_context_close(&rich);
    tsr_context_close(&ctx);
}

static void test_limit(void **state)
{
    tsr_context *ctx = check_context("c", 1), *small = watched(BIG - 1);
    memory m = make_file(ctx);
    const tsr_source source = { &m, mem_read };
    tsr_stream_reader *r;
    tsr_chunk c;
    (void)state;
    largest = 0;
    assert_int_equal(tsr_stream_reader_open(&r, small, &source), TSR_OK);
    for (int i = 0; i < CHUNKS; i++) {
        assert_int_equal(tsr_stream_reader_next(r, &c),
                         chunks[i].bytes == BIG ? TSR_E_LIMIT : TSR_OK);
    }
    assert_in_range(largest, 1, 8192);
    assert_int_equal(tsr_stream_reader_damage(r).lost_chunks, 1);
    tsr_stream_reader_close(&r);
    free(m.data);
    tsr_context_close(&small);
    tsr_context_close(&ctx);
}

/* Headers inside headers, each claiming the rest of the file: the work stays
 * in proportion to the file. */
static void test_nested(void **state)
{
    enum { N = 100000 };
    tsr_context *ctx = check_context("c", 1);
    memory m = { .step = SIZE_MAX, .fail_at = SIZE_MAX, .size = 16 + 24 * N };
    tsr_stream_damage d;
    const tsr_source source = { &m, mem_read };
    tsr_stream_reader *r;
    tsr_chunk c;
    (void)state;
    m.data = malloc(m.size);
    memcpy(m.data, "\x89TSR\r\n\x1a\n\1\0\1\0\0\0\0", 16);
    for (uint32_t i = 0; i < N; i++) {
        uint8_t *h = m.data + 16 + 24 * i;
        memcpy(h, "TSRKDATA", 8);
        tsri_put32(h + 8, 24 * (N - i) - 28);
        tsri_put32(h + 12, 0);
        tsri_put32(h + 16, i);
        tsri_put32(h + 20, tsri_crc32c(0, h, 20));
    }
    tsri_put32(m.data + m.size - 24 + 8, 0);
    assert_int_equal(tsr_stream_reader_open(&r, ctx, &source), TSR_OK);
    assert_int_equal(tsr_stream_reader_next(r, &c), TSR_E_EOF);
    d = tsr_stream_reader_damage(r);
    assert_int_equal(d.skipped_bytes, m.size - 16);
    assert_in_range(d.lost_chunks, 1, 20);
    tsr_stream_reader_close(&r);
    free(m.data);
    tsr_context_close(&ctx);
}

static tsr_error try_open(tsr_context *ctx, const memory *like, size_t at,
                          uint8_t value)
{
    memory m = *like;
    const tsr_source source = { &m, mem_read };
    tsr_stream_reader *r;
    const uint8_t old = m.data[at];
    m.data[at] = value;
    const tsr_error error = tsr_stream_reader_open(&r, ctx, &source);
    m.data[at] = old;
    tsr_stream_reader_close(&r);
    return error;
}

static void test_header(void **state)
{
    tsr_context *ctx = check_context("c", 1);
    memory m = make_file(ctx);
    (void)state;
    ctx->logger.log = NULL;
    assert_int_equal(try_open(ctx, &m, 0, 0x89), TSR_OK);
    assert_int_equal(try_open(ctx, &m, 0, 0x09), TSR_E_FORMAT);
    assert_int_equal(try_open(ctx, &m, 5, '\r'), TSR_E_FORMAT);
    assert_int_equal(try_open(ctx, &m, 8, 2), TSR_E_VERSION);
    assert_int_equal(try_open(ctx, &m, 9, 200), TSR_OK); /* minor */
    m.size = 12;
    assert_int_equal(try_open(ctx, &m, 0, 0x89), TSR_E_TRUNCATED);
    m.size = 2;
    assert_int_equal(try_open(ctx, &m, 0, 0xC7), TSR_E_FORMAT);
    m.size = 0;
    assert_int_equal(try_open(ctx, &m, 0, 0x89), TSR_E_TRUNCATED);
    free(m.data);
    tsr_context_close(&ctx);
}

static void test_errors(void **state)
{
    tsr_context *ctx = check_context("c", 1);
    memory whole = make_file(ctx), m = { .fail_at = 100 };
    const tsr_sink sink = { &m, mem_write };
    const tsr_source source = { &whole, mem_read };
    tsr_stream_writer *w;
    tsr_stream_reader *r;
    tsr_chunk c;
    (void)state;
    ctx->logger.log = NULL;
    assert_int_equal(tsr_stream_writer_open(&w, ctx, &sink, 0), TSR_E_ARG);
    assert_null(w);
    assert_int_equal(tsr_stream_writer_open(&w, ctx, &sink, 1), TSR_OK);
    assert_int_equal(tsr_stream_writer_chunk(w, type_of("INDX"), 0, 0, big, 1),
                     TSR_E_ARG);
    assert_int_equal(tsr_stream_writer_chunk(w, type_of("HEAD"), 65536, 0, big,
                                             1), TSR_E_ARG);
    assert_int_equal(tsr_stream_writer_chunk(w, type_of("HEAD"), 0, 0, big, 100),
                     TSR_E_IO);
    m.fail_at = SIZE_MAX;
    assert_int_equal(tsr_stream_writer_chunk(w, type_of("HEAD"), 0, 0, big, 1),
                     TSR_E_IO);
    assert_int_equal(tsr_stream_writer_finish(w), TSR_E_IO);
    tsr_stream_writer_close(&w);
    tsr_stream_writer_close(&w);
    tsr_stream_reader_close(NULL);
    whole.fail_at = 300;
    assert_int_equal(tsr_stream_reader_open(&r, ctx, &source), TSR_OK);
    for (int i = 0; i < 4; i++)
        assert_int_equal(tsr_stream_reader_next(r, &c), TSR_OK);
    assert_int_equal(tsr_stream_reader_next(r, &c), TSR_E_IO);
    tsr_stream_reader_close(&r);
    free(m.data);
    free(whole.data);
    tsr_context_close(&ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_index),
        cmocka_unit_test(test_truncation),
        cmocka_unit_test(test_flips),
        cmocka_unit_test(test_moved),
        cmocka_unit_test(test_absurd),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_nested),
        cmocka_unit_test(test_header),
        cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
