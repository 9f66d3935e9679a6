/* SPDX-License-Identifier: BSD-2-Clause */
/* Files of several streams, and of one sound, as packets: written, read through
 * pipes, sought in. */
#include "tests/audio_toy_case.h"
#include "tests/memory.h"
#include <tessera/media.h>
#include <tessera/stream.h>
#include <tessera/video.h>
#include "lib/bytes.h"

/* ---- streams and files ---- */

/* Extradata by hand: no model is needed to carry packets. */
static size_t video_extradata(uint8_t *out, int width)
{
    memset(out, 0x5a, TSR_VIDEO_EXTRADATA_MAX);
    memset(out, 0, 28);
    out[0] = 2;
    out[1] = 3;
    out[2] = 8;
    out[3] = 1;
    tsri_put32(out + 4, (uint32_t)width);
    tsri_put32(out + 8, 48);
    memcpy(out + 60, "a name", 6);
    return 66;
}

static size_t sound_extradata(uint8_t *out, int rate)
{
    memset(out, 0x33, TSR_VIDEO_EXTRADATA_MAX);
    memset(out, 0, 28);
    out[0] = 1;
    out[1] = out[2] = out[3] = out[5] = 1;
    tsri_put16(out + 6, 320);
    tsri_put32(out + 8, (uint32_t)rate);
    tsri_put32(out + 12, 10);
    tsri_put32(out + 16, 1024);
    return 60;
}

static uint8_t picture_data[TSR_VIDEO_EXTRADATA_MAX],
    sound_data[TSR_VIDEO_EXTRADATA_MAX];
static tsr_media_stream pictures = { .type = TSR_MEDIA_VIDEO, .time_num = 1,
                                     .time_den = 25, .extradata = picture_data };
static tsr_media_stream sound = { .type = TSR_MEDIA_AUDIO, .time_num = 1,
                                  .time_den = 16000, .extradata = sound_data };

static tsr_media_writer *writer_for(mem_file *m, int kind)
{
    const tsr_sink sink = { m, mem_write };
    tsr_media_writer *w;

    assert_int_equal(tsr_media_writer_open(&w, quiet, &sink, kind), TSR_OK);
    return w;
}

static void add(tsr_media_writer *w, const tsr_media_stream *s, int expected)
{
    int index = -1;

    assert_int_equal(tsr_media_writer_stream(w, s, &index), TSR_OK);
    assert_int_equal(index, expected);
}

static tsr_media_reader *reader_for(mem_file *m, bool seeks)
{
    const tsr_source source = { m, mem_read };
    const tsr_seeker seeker = { m, mem_seek, m->size };
    tsr_media_reader *r;

    m->at = 0;
    m->seeks = 1000000;
    assert_int_equal(tsr_media_reader_open(&r, quiet, &source,
                                           seeks ? &seeker : NULL), TSR_OK);
    return r;
}

/* Packet i of pictures is at i, of sound at 0.2 s * i. */
enum { FRAMES_OF_FILE = 50, SOUNDS_OF_FILE = 10, SOUND_SPAN = 3200 };

static void put(tsr_media_writer *w, int stream, int64_t pts, uint64_t duration,
                uint32_t content)
{
    uint8_t data[200];
    const tsr_media_packet p = { stream, pts, duration, data, content % 150 };
    check_rng rng = { content + 1 };

    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)check_u32(&rng);
    assert_int_equal(tsr_media_writer_packet(w, &p), TSR_OK);
}

static void is(const tsr_media_packet *p, int stream, int64_t pts,
               uint64_t duration, uint32_t content)
{
    check_rng rng = { content + 1 };

    assert_int_equal(p->stream, stream);
    assert_true(p->pts == pts);
    assert_true(p->duration == duration);
    assert_int_equal(p->bytes, content % 150);
    for (size_t i = 0; i < p->bytes; i++)
        assert_int_equal(p->data[i], (uint8_t)check_u32(&rng));
}

static mem_file film(void)
{
    mem_file m = { 0 };
    tsr_media_writer *w = writer_for(&m, TSR_KIND_MEDIA);

    add(w, &pictures, 0);
    add(w, &sound, 1);
    for (int i = 0; i < FRAMES_OF_FILE; i++) {
        if (i % 5 == 0)
            put(w, 1, i / 5 * SOUND_SPAN, SOUND_SPAN, 1000 + (uint32_t)i);
        put(w, 0, i, 1, (uint32_t)i);
    }
    assert_int_equal(tsr_media_writer_finish(w), TSR_OK);
    tsr_media_writer_close(&w);
    assert_null(w);
    return m;
}

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
    assert_float_equal(tsr_media_reader_duration(r), (double)N / s->time_den, 1e-9);
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
    pictures.extradata_bytes = video_extradata(picture_data, 64);
    sound.extradata_bytes = sound_extradata(sound_data, 16000);
    return setup(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_times),
        cmocka_unit_test(test_seek), cmocka_unit_test(test_sound_file),
    };
    return cmocka_run_group_tests(tests, start, teardown);
}
