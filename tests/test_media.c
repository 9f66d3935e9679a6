/* SPDX-License-Identifier: BSD-2-Clause */
/* Files of several streams, and of one sound, as packets: written, read through
 * pipes, sought in. */
#include "tests/audio_toy_case.h"
#include "tests/media_case.h"

static void check_streams(const tsr_media_reader *r)
{
    assert_int_equal(tsr_media_reader_kind(r), TSR_KIND_MEDIA);
    assert_int_equal(tsr_media_reader_streams(r), 2);
    assert_null(tsr_media_reader_stream(r, -1));
    assert_null(tsr_media_reader_stream(r, 2));
    for (int i = 0; i < 2; i++) {
        const tsr_media_stream *s = tsr_media_reader_stream(r, i);
        const tsr_media_stream *want = i ? &sound : &pictures;
        assert_int_equal(s->type, want->type);
        assert_int_equal(s->time_num, want->time_num);
        assert_int_equal(s->time_den, want->time_den);
        assert_int_equal(s->extradata_bytes, want->extradata_bytes);
        assert_memory_equal(s->extradata, want->extradata, s->extradata_bytes);
    }
}

/* From frame `i` on, sound `k` on; to the end. */
static void check_rest(tsr_media_reader *r, int i, int k)
{
    tsr_media_packet p;

    while (!tsr_media_reader_next(r, &p))
        if (p.stream) {
            is(&p, 1, k * SOUND_SPAN, SOUND_SPAN, 1000 + 5 * (uint32_t)k);
            k++;
        } else {
            is(&p, 0, i, 1, (uint32_t)i);
            i++;
        }
    assert_int_equal(i, FRAMES_OF_FILE);
    assert_int_equal(k, SOUNDS_OF_FILE);
    assert_int_equal(tsr_media_reader_next(r, &p), TSR_E_EOF);
}

static void test_round_trip(void **state)
{
    mem_file m = film();
    (void)state;
    for (int way = 0; way < 3; way++) {
        m.step = way == 1;
        tsr_media_reader *r = reader_for(&m, way == 2);
        check_streams(r);
        assert_float_equal(tsr_media_reader_duration(r), way == 2 ? 2 : 0, 1e-9);
        check_rest(r, 0, 0);
        const tsr_stream_damage d = tsr_media_reader_damage(r);
        assert_int_equal(d.lost_chunks + d.skipped_bytes + (uint64_t)d.truncated, 0);
        tsr_media_reader_close(&r);
        assert_null(r);
    }
    free(m.data);
}

static void test_times(void **state)
{
    static const int64_t pts[] = { INT64_MIN, -1000, -1, 0, 1, 63, 64, 1 << 20,
                                   INT64_MAX };
    mem_file m = { 0 };
    tsr_media_writer *w = writer_for(&m, TSR_KIND_MEDIA);
    tsr_media_packet p;
    (void)state;
    add(w, &pictures, 0);
    for (int i = 0; i < 9; i++)
        put(w, 0, pts[i], i == 3 ? UINT64_MAX : (uint64_t)i, 150 * (uint32_t)i);
    assert_int_equal(tsr_media_writer_finish(w), TSR_OK);
    tsr_media_writer_close(&w);
    tsr_media_reader *r = reader_for(&m, true);
    for (int i = 0; i < 9; i++) {
        assert_int_equal(tsr_media_reader_next(r, &p), TSR_OK);
        is(&p, 0, pts[i], i == 3 ? UINT64_MAX : (uint64_t)i, 150 * (uint32_t)i);
    }
    assert_int_equal(tsr_media_reader_next(r, &p), TSR_E_EOF);
    tsr_media_reader_close(&r);
    free(m.data);
}

static void test_seek(void **state)
{
    mem_file m = film();
    tsr_media_reader *r = reader_for(&m, true);
    check_rng rng = { 7 };
    (void)state;
    for (int n = 0; n < 60; n++) {
        const int i = (int)check_below(&rng, FRAMES_OF_FILE);
        tsr_media_packet p;
        /* The sound that goes on at frame i began at frame 5 k, and came first. */
        assert_int_equal(tsr_media_reader_seek(r, (i + 0.5) / 25), TSR_OK);
        if (n % 3 == 0) {
            check_rest(r, i / 5 * 5, i / 5);
            continue;
        }
        assert_int_equal(tsr_media_reader_next(r, &p), TSR_OK);
        is(&p, 1, i / 5 * SOUND_SPAN, SOUND_SPAN, 1000 + (uint32_t)(i / 5 * 5));
    }
    assert_int_equal(tsr_media_reader_seek(r, -5), TSR_OK);
    check_rest(r, 0, 0);
    assert_int_equal(tsr_media_reader_seek(r, 1e30), TSR_OK);
    check_rest(r, 45, 9);
    const tsr_stream_damage d = tsr_media_reader_damage(r);
    assert_int_equal(d.lost_chunks + d.skipped_bytes + (uint64_t)d.truncated, 0);
    tsr_media_reader_close(&r);
    r = reader_for(&m, false);
    assert_int_equal(tsr_media_reader_seek(r, 0), TSR_E_UNSUPPORTED);
    check_rest(r, 0, 0);
    tsr_media_reader_close(&r);
    free(m.data);
}

/* ---- a file of one sound ---- */

typedef struct tape {
    const float *x;
    size_t n, at;
} tape;

static tsr_error tape_read(void *cookie, float *samples, size_t n, size_t *got)
{
    tape *t = cookie;

    *got = t->n - t->at < n ? t->n - t->at : n;
    memcpy(samples, t->x + t->at, *got * sizeof *samples);
    t->at += *got;
    return TSR_OK;
}

static mem_file sound_file(size_t n, float *x)
{
    tsr_audio_settings settings = defaults();
    check_rng rng = { 11 };
    tape t = { x, n, 0 };
    const tsr_audio_source source = { &t, tape_read, n };
    mem_file m = { 0 };
    const tsr_sink sink = { &m, mem_write };

    for (size_t i = 0; i < n; i++)
        x[i] = check_float(&rng);
    settings.packet_frames = FRAMES;
    assert_int_equal(tsr_audio_encode(quiet, model[TOY_MONO], &settings, &source,
                                      &sink), TSR_OK);
    return m;
}

/* Read and written again: the same bytes; so are the encoder's own packets. */
static void test_sound_file(void **state)
{
    enum { N = 5 * SPAN + 33 };
    static float x[N];
    mem_file m = sound_file(N, x), copy = { 0 };
    tsr_media_reader *r = reader_for(&m, true);
    tsr_media_writer *w = writer_for(&copy, TSR_KIND_AUDIO);
    const tsr_media_stream *s = tsr_media_reader_stream(r, 0);
    tsr_media_packet p;
    tsr_audio_packet about;
    int n = 0;
    (void)state;
    assert_int_equal(tsr_media_reader_kind(r), TSR_KIND_AUDIO);
    assert_int_equal(tsr_media_reader_streams(r), 1);
    assert_int_equal(s->time_num, 1);
    assert_float_equal(tsr_media_reader_duration(r), (float)N / (float)s->time_den, 1e-9);
    add(w, s, 0);
    for (; !tsr_media_reader_next(r, &p); n++) {
        assert_int_equal(p.pts, n * SPAN);
        assert_int_equal(p.duration, n < 5 ? SPAN : 33);
        assert_int_equal(tsr_audio_describe_packet(quiet, s->extradata,
                                                   s->extradata_bytes, p.data,
                                                   p.bytes, &about), TSR_OK);
        assert_int_equal(about.number, n);
        assert_int_equal(about.pts, p.pts);
        assert_int_equal(about.samples, p.duration);
        assert_int_equal(tsr_media_writer_packet(w, &p), TSR_OK);
    }
    assert_int_equal(n, 6);
    assert_int_equal(tsr_media_writer_finish(w), TSR_OK);
    assert_int_equal(copy.size, m.size);
    assert_memory_equal(copy.data, m.data, m.size);
    tsr_media_writer_close(&w);
    tsr_media_reader_close(&r);
    free(copy.data);
    free(m.data);
}

static int start(void **state)
{
    const int failed = setup(state);

    media_case_open(quiet);
    return failed;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_times),
        cmocka_unit_test(test_seek), cmocka_unit_test(test_sound_file),
    };
    return cmocka_run_group_tests(tests, start, teardown);
}
