/* SPDX-License-Identifier: BSD-2-Clause */
/* Media files that are damaged, cut, or lie: what is read is right, and what is
 * missing is told. */
#include "tests/media_case.h"
#include "tests/poor.h"
#include "lib/crc32c.h"

/* ---- what is refused ---- */

static void test_writer(void **state)
{
    static const int kinds[] = { TSR_KIND_IMAGE, TSR_KIND_KV, TSR_KIND_GENERIC, 0, 6 };
    mem_file m = { 0 };
    const tsr_sink sink = { &m, mem_write };
    const tsr_media_packet p = { .stream = 0 };
    tsr_media_writer *w;
    tsr_media_stream s;
    int index;
    (void)state;
    for (int i = 0; i < 5; i++) {
        assert_int_equal(tsr_media_writer_open(&w, media_ctx, &sink, kinds[i]),
                         TSR_E_ARG);
        assert_null(w);
    }
    assert_int_equal(m.size, 0);
    w = writer_for(&m, TSR_KIND_MEDIA);
    assert_int_equal(tsr_media_writer_packet(w, &p), TSR_E_ARG);
    assert_int_equal(tsr_media_writer_finish(w), TSR_E_ARG);
#define REFUSED(from, field, value) \
    s = from; \
    s.field = value; \
    assert_int_equal(tsr_media_writer_stream(w, &s, &index), TSR_E_ARG)
    REFUSED(pictures, time_num, 0);
    REFUSED(pictures, time_den, 0);
    REFUSED(pictures, type, 0);
    REFUSED(pictures, type, 3);
    REFUSED(pictures, extradata_bytes, 59);
    REFUSED(pictures, extradata_bytes, 0);
    REFUSED(pictures, extradata_bytes, 124);
    REFUSED(sound, extradata_bytes, 59);
    REFUSED(sound, time_den, 16001);
    REFUSED(sound, time_num, 2);
    REFUSED(sound, extradata, picture_data);
#undef REFUSED
    for (int i = 0; i < TSR_MEDIA_MAX_STREAMS; i++)
        add(w, i % 2 ? &sound : &pictures, i);
    assert_int_equal(tsr_media_writer_stream(w, &sound, &index), TSR_E_LIMIT);
    put(w, 63, 5, 6, 7);
    put(w, 0, 0, 0, 8);
    assert_int_equal(tsr_media_writer_stream(w, &sound, &index), TSR_E_ARG);
    const tsr_media_packet no = { .stream = 64 }, negative = { .stream = -1 };
    assert_int_equal(tsr_media_writer_packet(w, &no), TSR_E_ARG);
    assert_int_equal(tsr_media_writer_packet(w, &negative), TSR_E_ARG);
    assert_int_equal(tsr_media_writer_finish(w), TSR_OK);
    assert_int_equal(tsr_media_writer_finish(w), TSR_E_ARG);
    tsr_media_writer_close(&w);

    tsr_media_reader *r = reader_for(&m, true);
    tsr_media_packet got;
    assert_int_equal(tsr_media_reader_streams(r), TSR_MEDIA_MAX_STREAMS);
    assert_int_equal(tsr_media_reader_next(r, &got), TSR_OK);
    is(&got, 63, 5, 6, 7);
    assert_int_equal(tsr_media_reader_next(r, &got), TSR_OK);
    is(&got, 0, 0, 0, 8);
    tsr_media_reader_close(&r);
    free(m.data);
}

/* A packet of `sound`, as its encoder would make it, but for the codes. */
static size_t sound_packet(uint8_t *out, uint64_t number, uint32_t samples)
{
    size_t n = tsri_put_varint(out, number);
    n += tsri_put_varint(out + n, samples);
    out[n++] = 1;
    out[n++] = (uint8_t)((samples + 319) / 320);
    out[n++] = 0xaa;
    return n;
}

static void test_sound_writer(void **state)
{
    mem_file m = { 0 };
    tsr_media_writer *w = writer_for(&m, TSR_KIND_AUDIO);
    uint8_t data[40];
    tsr_media_packet p = { .data = data };
    int index;
    (void)state;
    assert_int_equal(tsr_media_writer_stream(w, &pictures, &index), TSR_E_ARG);
    add(w, &sound, 0);
    assert_int_equal(tsr_media_writer_stream(w, &sound, &index), TSR_E_ARG);
    p.bytes = sound_packet(data, 3, SOUND_SPAN);
    for (p.pts = 3 * SOUND_SPAN - 1; p.pts <= 3 * SOUND_SPAN + 1; p.pts++)
        assert_int_equal(tsr_media_writer_packet(w, &p),
                         p.pts == 3 * SOUND_SPAN ? TSR_OK : TSR_E_ARG);
    p.pts = -3 * SOUND_SPAN;
    assert_int_equal(tsr_media_writer_packet(w, &p), TSR_E_ARG);
    p.pts = 4 * SOUND_SPAN;
    p.bytes = sound_packet(data, 4, SOUND_SPAN + 1);
    assert_int_equal(tsr_media_writer_packet(w, &p), TSR_E_CORRUPT);
    p.bytes = 0;
    assert_int_equal(tsr_media_writer_packet(w, &p), TSR_E_CORRUPT);
    p.bytes = sound_packet(data, 4, 100);
    assert_int_equal(tsr_media_writer_packet(w, &p), TSR_OK);
    assert_int_equal(tsr_media_writer_finish(w), TSR_OK);
    tsr_media_writer_close(&w);

    /* Kind 5 takes any time of a packet: it says where a cut sound belongs. */
    tsr_media_reader *r = reader_for(&m, true);
    assert_float_equal(tsr_media_reader_duration(r), (4 * SOUND_SPAN + 100) / 16000.0f,
                       1e-12);
    assert_int_equal(tsr_media_reader_seek(r, 0.79), TSR_OK);
    assert_int_equal(tsr_media_reader_next(r, &p), TSR_OK);
    assert_int_equal(p.pts, 3 * SOUND_SPAN);
    assert_int_equal(p.duration, SOUND_SPAN);
    assert_int_equal(tsr_media_reader_seek(r, 0.8), TSR_OK);
    assert_int_equal(tsr_media_reader_next(r, &p), TSR_OK);
    assert_int_equal(p.pts, 4 * SOUND_SPAN);
    assert_int_equal(p.duration, 100);
    tsr_media_reader_close(&r);
    free(m.data);
}

static tsr_error open_error(mem_file *m, bool seeks)
{
    const tsr_source source = { m, mem_read };
    const tsr_seeker seeker = { m, mem_seek, m->size };
    tsr_media_reader *r;

    m->at = 0;
    const tsr_error error = tsr_media_reader_open(&r, media_ctx, &source,
                                                  seeks ? &seeker : NULL);
    assert_true(!error == !!r);
    tsr_media_reader_close(&r);
    return error;
}

static void test_reader(void **state)
{
    mem_file m = film(), text = { .data = (uint8_t *)"hello, this is text",
                                  .size = 19 };
    (void)state;
    assert_int_equal(open_error(&text, false), TSR_E_FORMAT);
    text.size = 0;
    assert_int_equal(open_error(&text, false), TSR_E_TRUNCATED);
    m.data[8] = 2;
    assert_int_equal(open_error(&m, false), TSR_E_VERSION);
    m.data[8] = 1;
    for (m.data[10] = 0; m.data[10] < 8; m.data[10]++)
        if (m.data[10] != TSR_KIND_MEDIA && m.data[10] != TSR_KIND_AUDIO)
            assert_int_equal(open_error(&m, false), TSR_E_UNSUPPORTED);
    m.data[10] = TSR_KIND_AUDIO; /* its stream 0 is no sound */
    assert_int_equal(open_error(&m, false), TSR_E_CORRUPT);
    free(m.data);
}

/* ---- faults of source, seeker and sink ---- */

static void test_faults(void **state)
{
    mem_file m = film();
    tsr_media_packet p;
    (void)state;
    for (size_t at = 1; at < m.size; at += 97) {
        m.fail_at = at;
        tsr_error error = open_error(&m, false);
        assert_true(error == TSR_OK || error == TSR_E_IO);
        if (error)
            continue;
        tsr_media_reader *r = reader_for(&m, false);
        while (!(error = tsr_media_reader_next(r, &p)))
            assert_in_range(p.stream, 0, 1);
        assert_int_equal(error, TSR_E_IO);
        tsr_media_reader_close(&r);
    }
    m.fail_at = 0;
    int needed = 0;
    for (; m.seeks = needed, open_error(&m, true); needed++)
        assert_in_range(needed, 0, 20);
    assert_in_range(needed, 3, 20);
    tsr_media_reader *r = reader_for(&m, true);
    for (int n = 0; n < 2; n++) { /* to look, to go there */
        m.seeks = n;
        assert_int_equal(tsr_media_reader_seek(r, 1), TSR_E_IO);
    }
    tsr_media_reader_close(&r);
    free(m.data);
    for (size_t at = 1; at < 2000; at += 31) {
        mem_file out = { .fail_at = at };
        const tsr_sink sink = { &out, mem_write };
        tsr_media_writer *w;
        int index = 0;
        tsr_error error = tsr_media_writer_open(&w, media_ctx, &sink, TSR_KIND_MEDIA);
        if (!error)
            error = tsr_media_writer_stream(w, &pictures, &index);
        p = (tsr_media_packet){ .data = picture_data, .bytes = 100 };
        for (int i = 0; i < 20 && !error; i++)
            error = tsr_media_writer_packet(w, &p);
        assert_int_equal(error, TSR_E_IO);
        if (w)
            assert_int_equal(tsr_media_writer_finish(w),
                             at >= 16 + 40 + 56 + 72 ? TSR_E_IO : TSR_E_ARG);
        tsr_media_writer_close(&w);
        free(out.data);
    }
}

/* ---- damage ---- */

/* Reads a file that may be damaged: each packet must be one of the film, none
 * twice, in order.  Returns how many. */
static int read_film(tsr_media_reader *r)
{
    int frame = 0, block = 0, n = 0;
    int picture = -1, audio = -1;
    tsr_media_packet p;
    tsr_error error;

    for (int i = 0; i < tsr_media_reader_streams(r); i++)
        *(tsr_media_reader_stream(r, i)->type == TSR_MEDIA_VIDEO ? &picture
                                                                 : &audio) = i;
    for (; !(error = tsr_media_reader_next(r, &p)); n++)
        if (p.stream == picture) {
            assert_in_range(p.pts, frame, FRAMES_OF_FILE - 1);
            is(&p, picture, p.pts, 1, (uint32_t)p.pts);
            frame = (int)p.pts + 1;
        } else {
            assert_in_range(p.pts, block * SOUND_SPAN,
                            SOUNDS_OF_FILE * SOUND_SPAN - 1);
            block = (int)(p.pts / SOUND_SPAN);
            is(&p, audio, block * SOUND_SPAN, SOUND_SPAN, 1000 + 5 * (uint32_t)block);
            block++;
        }
    assert_int_equal(error, TSR_E_EOF);
    return n;
}

static bool damaged(const tsr_media_reader *r)
{
    const tsr_stream_damage d = tsr_media_reader_damage(r);
    return d.lost_chunks || d.skipped_bytes || d.truncated;
}

enum { ALL = FRAMES_OF_FILE + SOUNDS_OF_FILE };

static void one_damage(mem_file *m, bool seeks)
{
    tsr_media_reader *r;

    m->seeks = 1000;
    const tsr_error error = open_error(m, seeks);
    if (error) {
        assert_true(error == TSR_E_FORMAT || error == TSR_E_VERSION ||
                    error == TSR_E_TRUNCATED || error == TSR_E_CORRUPT ||
                    error == TSR_E_UNSUPPORTED);
        return;
    }
    r = reader_for(m, seeks);
    const int n = read_film(r);
    assert_in_range(n, 0, ALL);
    assert_true(damaged(r) || (n == ALL && tsr_media_reader_streams(r) == 2));
    if (seeks && !tsr_media_reader_seek(r, 1.0)) {
        tsr_media_packet p;
        const tsr_error next = tsr_media_reader_next(r, &p);
        assert_true(next == TSR_E_EOF ||
                    p.pts <= (p.duration == 1 ? 25 : 16000));
    }
    tsr_media_reader_close(&r);
}

static void test_damage(void **state)
{
    mem_file m = film();
    const size_t size = m.size;
    check_rng rng = { 77 };
    (void)state;
    for (m.size = 0; m.size < size; m.size++)
        one_damage(&m, m.size % 2);
    m.size = size;
    for (int i = 0; i < 20000; i++) {
        const uint32_t bit = check_below(&rng, 8 * (uint32_t)size);
        m.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        one_damage(&m, i % 2);
        m.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    one_damage(&m, true);
    free(m.data);
}

/* ---- an index that lies ---- */

/* Where the index' payload begins, and how many entries it has. */
static size_t index_of(const mem_file *m, size_t *entries)
{
    const size_t at = (size_t)tsri_get64(m->data + m->size - 16);
    *entries = tsri_get32(m->data + at + 8) / 24;
    return at + 24;
}

static void seal_index(mem_file *m)
{
    size_t n;
    const size_t at = index_of(m, &n);
    tsri_put32(m->data + at + 24 * n, tsri_crc32c(0, m->data + at, 24 * n));
}

/* Whatever it says: reading is right, and a seek is refused or goes where, for
 * both streams, what is asked for is still to come. */
static void try_index(mem_file *m, bool believed)
{
    tsr_media_reader *r;
    tsr_media_packet p;

    seal_index(m);
    r = reader_for(m, true);
    for (int i = 0; i < 8; i++) {
        const tsr_error error = tsr_media_reader_seek(r, i * 0.25);
        assert_true(error == TSR_OK || error == TSR_E_UNSUPPORTED);
        if (believed)
            assert_int_equal(error, TSR_OK);
        if (!error && !tsr_media_reader_next(r, &p))
            assert_true((double)p.pts / (p.stream ? 16000 : 25) <= i * 0.25);
    }
    tsr_media_reader_close(&r);
    r = reader_for(m, true);
    assert_int_equal(read_film(r), ALL);
    assert_false(damaged(r));
    assert_true(tsr_media_reader_duration(r) <= 2);
    tsr_media_reader_close(&r);
}

static void test_index(void **state)
{
    static const uint64_t lies[] = { 0, 1, 15, 16, 24, 1 << 20, UINT64_MAX,
                                     UINT64_MAX - 23, 1ull << 63 };
    mem_file m = film();
    size_t n;
    const size_t at = index_of(&m, &n);
    uint8_t *saved = malloc(24 * n);
    (void)state;
    assert_int_equal(n, ALL);
    memcpy(saved, m.data + at, 24 * n);
    try_index(&m, true);
    for (size_t i = 0; i < n; i += 7)
        for (int field = 0; field < 16; field += 8)
            for (size_t k = 0; k < 18; k++) {
                uint8_t *p = m.data + at + 24 * i + field;
                tsri_put64(p, k < 9 ? lies[k] : tsri_get64(p) + lies[k - 9]);
                try_index(&m, false);
                memcpy(m.data + at, saved, 24 * n);
            }
    for (size_t i = 0; i < n; i++) { /* all of another stream, or of none */
        m.data[at + 24 * i + 20] = 1;
    }
    try_index(&m, false);
    for (size_t i = 0; i < n; i++)
        m.data[at + 24 * i + 20] = (uint8_t)(5 + i);
    try_index(&m, false);
    memcpy(m.data + at, saved, 24 * n);
    for (size_t i = 0; i < n; i++) /* all lead to the first packet */
        memcpy(m.data + at + 24 * i + 8, saved + 8, 8);
    try_index(&m, false);
    free(saved);
    free(m.data);
}

/* A footer that leads elsewhere is none. */
static void test_footer(void **state)
{
    mem_file m = film();
    uint8_t *footer = m.data + m.size - 16;
    const uint64_t offsets[] = { 0, 15, 16, 17, tsri_get64(footer) - 1,
                                 tsri_get64(footer) + 1, m.size - 17, m.size - 16,
                                 m.size, UINT64_MAX, UINT64_MAX - 15 };
    (void)state;
    for (size_t i = 0; i < sizeof offsets / sizeof *offsets; i++) {
        tsri_put64(footer, offsets[i]);
        tsr_media_reader *r = reader_for(&m, true);
        assert_int_equal(tsr_media_reader_seek(r, 1), TSR_E_UNSUPPORTED);
        assert_true(tsr_media_reader_duration(r) == 0);
        assert_int_equal(read_film(r), ALL);
        tsr_media_reader_close(&r);
    }
    free(m.data);
}

/* ---- files in a row, and memory ---- */

static void test_row(void **state)
{
    mem_file m = film(), both = { 0 };
    const tsr_source source = { &both, mem_read };
    (void)state;
    for (int i = 0; i < 3; i++)
        assert_int_equal(mem_write(&both, m.data, m.size), TSR_OK);
    for (int i = 0; i < 3; i++) {
        tsr_media_reader *r;
        assert_int_equal(tsr_media_reader_open(&r, media_ctx, &source, NULL), TSR_OK);
        assert_int_equal(read_film(r), ALL);
        assert_false(damaged(r));
        assert_int_equal(both.at, ((size_t)i + 1) * m.size);
        tsr_media_reader_close(&r);
    }
    free(both.data);
    free(m.data);
}

/* All that a reader does. */
static tsr_error read_poor(tsr_context *ctx, mem_file *m)
{
    const tsr_source source = { m, mem_read };
    const tsr_seeker seeker = { m, mem_seek, m->size };
    tsr_media_reader *r;
    tsr_media_packet p;

    m->at = 0;
    m->seeks = 1000;
    tsr_error error = tsr_media_reader_open(&r, ctx, &source, &seeker);
    for (int i = 0; i < 9 && !error; i++)
        error = tsr_media_reader_next(r, &p);
    if (!error)
        error = tsr_media_reader_seek(r, 1.5);
    while (!error)
        error = tsr_media_reader_next(r, &p);
    tsr_media_reader_close(&r);
    return error == TSR_E_EOF ? TSR_OK : error;
}

static tsr_error write_poor(tsr_context *ctx, mem_file *m)
{
    const tsr_sink sink = { m, mem_write };
    const tsr_media_packet p = { .data = picture_data, .bytes = 99 };
    tsr_media_writer *w;
    int index;

    m->size = 0;
    tsr_error error = tsr_media_writer_open(&w, ctx, &sink, TSR_KIND_MEDIA);
    if (!error)
        error = tsr_media_writer_stream(w, &pictures, &index);
    for (int i = 0; i < 100 && !error; i++)
        error = tsr_media_writer_packet(w, &p);
    if (!error)
        error = tsr_media_writer_finish(w);
    tsr_media_writer_close(&w);
    return error;
}

static void starve(tsr_context *ctx, mem_file *m,
                   tsr_error (*work)(tsr_context *, mem_file *))
{
    const int before = poor_held;
    int n = 0;

    for (tsr_error error = TSR_E_NOMEM; error; n++) {
        poor_left = n;
        error = work(ctx, m);
        assert_int_equal(poor_held, before);
        assert_true(!error || error == TSR_E_NOMEM);
        assert_in_range(n, 0, 200);
    }
    assert_in_range(n, 4, 200);
}

static void test_no_memory(void **state)
{
    mem_file m = film(), out = { 0 };
    tsr_context *ctx = poor_context("c", 1);
    (void)state;
    starve(ctx, &m, read_poor);
    starve(ctx, &out, write_poor);
    poor_left = POOR_MANY;
    tsr_context_close(&ctx);
    assert_int_equal(poor_held, 0);
    free(out.data);
    free(m.data);
}

/* What a file claims costs nothing before it is there. */
static void test_claims(void **state)
{
    mem_file m = film();
    tsr_context *ctx = poor_context("c", 1);
    uint8_t *data = m.data + 16, head[32];
    (void)state;
    tsri_put32(head, TSR_FOURCC('T', 'S', 'R', 'K'));
    tsri_put32(head + 4, TSR_FOURCC('H', 'E', 'A', 'D'));
    tsri_put32(head + 8, 0x3fffffff); /* a gigabyte of it */
    tsri_put32(head + 12, 0);
    tsri_put32(head + 16, 0);
    tsri_put32(head + 20, tsri_crc32c(0, head, 20));
    memcpy(data, head, 24);
    poor_largest = 0;
    poor_left = POOR_MANY;
    assert_int_equal(read_poor(ctx, &m), TSR_OK);
    assert_in_range(poor_largest, 1, 1 << 17);
    tsr_context_close(&ctx);
    free(m.data);
}

static int start(void **state)
{
    tsr_context *ctx;
    (void)state;
    if (tsr_context_open(&ctx, NULL))
        return -1;
    media_case_open(ctx);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    tsr_context_close(&media_ctx);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_writer), cmocka_unit_test(test_sound_writer),
        cmocka_unit_test(test_reader), cmocka_unit_test(test_faults),
        cmocka_unit_test(test_damage), cmocka_unit_test(test_index),
        cmocka_unit_test(test_footer), cmocka_unit_test(test_row),
        cmocka_unit_test(test_no_memory), cmocka_unit_test(test_claims),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
