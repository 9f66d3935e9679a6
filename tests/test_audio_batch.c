/* SPDX-License-Identifier: BSD-2-Clause */
/* Batches of sounds: each as by itself, whatever becomes of its neighbours, one
 * after the other and on several threads. */
#include "tests/audio_toy_case.h"
#include "tests/memory.h"
#include "tests/progress_count.h"
#include "tests/poor.h"

enum { COUNT = 9, MOST = 12000 };
static const size_t lengths[COUNT] = { 4000, 0, 1, 12000, 777, 4096, 9, 10001,
                                       5000 };

/* A sound that is read; fail_at: samples beyond it cannot be. */
typedef struct tape {
    const float *x;
    size_t n, at, fail_at;
} tape;

typedef struct ear {
    float x[MOST];
    size_t n, fail_at;
    int begun;
} ear;

typedef struct batch {
    tsr_context *ctx;
    tsr_model *model;
    tsr_audio_settings settings;
    float *x;
    tape tape[COUNT];
    mem_file file[COUNT], alone[COUNT], copy[COUNT];
    ear ear[COUNT], want[COUNT];
    tsr_audio_source sound[COUNT];
    tsr_sink sink[COUNT];
    tsr_source source[COUNT];
    tsr_audio_sink speaker[COUNT];
    tsr_error error[COUNT];
} batch;

static tsr_error tape_read(void *cookie, float *samples, size_t n, size_t *got)
{
    tape *t = cookie;

    if (t->fail_at && t->at >= t->fail_at)
        return TSR_E_BACKEND;
    *got = t->n - t->at < n ? t->n - t->at : n;
    *got = *got > 777 ? 777 : *got;
    memcpy(samples, t->x + t->at, *got * sizeof *samples);
    t->at += *got;
    return TSR_OK;
}

static tsr_error ear_begin(void *cookie, int rate, int channels)
{
    ear *e = cookie;
    e->begun++;
    return rate == 8000 && channels == 1 ? TSR_OK : TSR_E_INTERNAL;
}

static tsr_error ear_write(void *cookie, const float *samples, size_t n)
{
    ear *e = cookie;

    if (e->fail_at && e->n + n > e->fail_at)
        return TSR_E_IO;
    if (e->n + n > MOST)
        return TSR_E_INTERNAL;
    memcpy(e->x + e->n, samples, n * sizeof *samples);
    e->n += n;
    return TSR_OK;
}

/* What is read is at its beginning, what is written is empty. */
static void rewind_all(batch *b)
{
    for (int i = 0; i < COUNT; i++) {
        b->tape[i].at = b->file[i].size = b->copy[i].at = 0;
        b->ear[i].n = 0;
        b->ear[i].begun = 0;
        b->error[i] = TSR_E_INTERNAL;
    }
}

static void one_by_one(batch *b)
{
    for (int i = 0; i < COUNT; i++) {
        const tsr_sink sink = { &b->alone[i], mem_write };
        const tsr_audio_sink speaker = { &b->want[i], ear_begin, ear_write };
        const tsr_source source = { &b->copy[i], mem_read };
        assert_int_equal(tsr_audio_encode(b->ctx, b->model, &b->settings,
                                          &b->sound[i], &sink), TSR_OK);
        b->copy[i] = (mem_file){ .data = sound_copy(b->alone[i].data,
                                                    b->alone[i].size),
                                 .size = b->alone[i].size };
        assert_int_equal(tsr_audio_decode(b->ctx, b->model, NULL, &source, 0,
                                          UINT64_MAX, &speaker), TSR_OK);
        assert_int_equal(b->want[i].n, lengths[i]);
    }
}

static void open_batch(batch *b, tsr_context *ctx)
{
    *b = (batch){ .ctx = ctx, .model = model[TOY_MONO] };
    b->settings = defaults();
    b->settings.packet_frames = 100;
    b->x = sound_tones(MOST, 1, 3);
    for (int i = 0; i < COUNT; i++) {
        b->tape[i] = (tape){ b->x, lengths[i], 0, 0 };
        b->sound[i] = (tsr_audio_source){ &b->tape[i], tape_read, lengths[i] };
        b->sink[i] = (tsr_sink){ &b->file[i], mem_write };
        b->source[i] = (tsr_source){ &b->copy[i], mem_read };
        b->speaker[i] = (tsr_audio_sink){ &b->ear[i], ear_begin, ear_write };
    }
    one_by_one(b);
    rewind_all(b);
}

static void close_batch(batch *b)
{
    for (int i = 0; i < COUNT; i++) {
        free(b->file[i].data);
        free(b->alone[i].data);
        free(b->copy[i].data);
    }
    free(b->x);
    tsr_context_close(&b->ctx);
}

static void as_alone(const batch *b, int i)
{
    assert_int_equal(b->error[i], TSR_OK);
    assert_int_equal(b->file[i].size, b->alone[i].size);
    assert_memory_equal(b->file[i].data, b->alone[i].data, b->alone[i].size);
}

static void heard_as_alone(const batch *b, int i)
{
    assert_int_equal(b->error[i], TSR_OK);
    assert_int_equal(b->ear[i].begun, 1);
    assert_int_equal(b->ear[i].n, b->want[i].n);
    assert_memory_equal(b->ear[i].x, b->want[i].x,
                        b->want[i].n * sizeof *b->want[i].x);
}

static tsr_error encode(batch *b, tsr_error *errors)
{
    return tsr_audio_encode_batch(b->ctx, b->model, &b->settings, COUNT, b->sound,
                                  b->sink, errors);
}

static tsr_error decode(batch *b, tsr_model *with, tsr_error *errors)
{
    return tsr_audio_decode_batch(b->ctx, with, NULL, COUNT, b->source,
                                  b->speaker, errors);
}

static void test_same(void **state)
{
    static batch b;

    (void)state;
    for (int threads = 1; threads <= 12; threads += threads < 3 ? 1 : 9) {
        open_batch(&b, sound_quiet(threads));
        assert_int_equal(encode(&b, b.error), TSR_OK);
        assert_null(b.ctx->kept);
        for (int i = 0; i < COUNT; i++)
            as_alone(&b, i);
        assert_int_equal(decode(&b, b.model, b.error), TSR_OK);
        for (int i = 0; i < COUNT; i++)
            heard_as_alone(&b, i);
        rewind_all(&b);
        assert_int_equal(encode(&b, NULL), TSR_OK);
        assert_int_equal(decode(&b, b.model, NULL), TSR_OK);
        assert_int_equal(tsr_audio_encode_batch(b.ctx, b.model, NULL, 0, NULL, NULL,
                                                NULL), TSR_OK);
        assert_int_equal(tsr_audio_decode_batch(b.ctx, NULL, NULL, 0, NULL, NULL,
                                                NULL), TSR_OK);
        close_batch(&b);
    }
}

/* Bad ones among good ones, in both directions. */
static void test_bad(void **state)
{
    static batch b;

    (void)state;
    for (int threads = 1; threads <= 3; threads += 2) {
        open_batch(&b, sound_quiet(threads));
        b.tape[3].fail_at = 5000;
        b.file[5].fail_at = 40;
        assert_int_equal(encode(&b, b.error), TSR_E_BACKEND);
        for (int i = 0; i < COUNT; i++)
            if (i == 3 || i == 5)
                assert_int_equal(b.error[i], i == 3 ? TSR_E_BACKEND : TSR_E_IO);
            else
                as_alone(&b, i);
        b.copy[2].size = 0;
        b.copy[4].data[0] ^= 1;
        b.copy[7].data[b.copy[7].size / 2] ^= 1;
        b.ear[8].fail_at = 4999;
        assert_int_equal(decode(&b, b.model, b.error), TSR_E_TRUNCATED);
        for (int i = 0; i < COUNT; i++)
            if (i == 7)
                assert_true(b.error[i] == TSR_E_CHECKSUM ||
                            b.error[i] == TSR_E_CORRUPT);
            else if (i == 2 || i == 4 || i == 8)
                assert_int_equal(b.error[i], i == 2 ? TSR_E_TRUNCATED :
                                             i == 4 ? TSR_E_FORMAT : TSR_E_IO);
            else
                heard_as_alone(&b, i);
        assert_int_equal(b.ear[7].n, lengths[7]);
        b.settings.search = 1000;
        assert_int_equal(encode(&b, b.error), TSR_E_ARG);
        for (int i = 0; i < COUNT; i++)
            assert_int_equal(b.error[i], TSR_E_ARG);
        close_batch(&b);
    }
}

static void test_progress(void **state)
{
    progress_count c = { 0, 0, 0 };
    static batch b;

    (void)state;
    open_batch(&b, sound_quiet(1));
    b.settings.progress = (tsr_progress){ &c, progress_up };
    assert_int_equal(encode(&b, b.error), TSR_OK);
    assert_true(c.calls >= COUNT && c.last > 0.99);
    c = (progress_count){ 0, 3, 0 };
    assert_int_equal(tsr_audio_decode_batch(b.ctx, b.model, &b.settings.progress,
                                            COUNT, b.source, b.speaker, b.error),
                     TSR_E_CANCELED);
    assert_int_equal(c.calls, 3);
    assert_int_equal(b.error[COUNT - 1], TSR_E_CANCELED);
    close_batch(&b);
    open_batch(&b, sound_quiet(3));
    c = (progress_count){ 0, 1, 0 };
    b.settings.progress = (tsr_progress){ &c, progress_up };
    rewind_all(&b);
    const tsr_error error = encode(&b, b.error);
    /* The others may have been through before this thread began. */
    assert_int_equal(error, c.calls ? TSR_E_CANCELED : TSR_OK);
    close_batch(&b);
}

/* One whose packets are over the limit, among others. */
static void test_limit(void **state)
{
    tsr_context_settings s;
    static batch b;
    tsr_context *ctx;

    (void)state;
    open_batch(&b, sound_quiet(1));
    const tsr_sink sink = { &b.file[0], mem_write };
    b.settings.packet_frames = TSR_AUDIO_MAX_FRAMES;
    b.settings.books = 4;
    assert_int_equal(tsr_audio_encode(b.ctx, b.model, &b.settings, &b.sound[0],
                                      &sink), TSR_OK);
    free(b.copy[4].data);
    b.copy[4] = (mem_file){ .data = sound_copy(b.file[0].data, b.file[0].size),
                            .size = b.file[0].size };
    tsr_context_settings_init(&s);
    s.threads = 3;
    s.backend = "c";
    s.max_memory = 400000;
    assert_int_equal(tsr_context_open(&ctx, &s), TSR_OK);
    tsr_context_close(&b.ctx);
    b.ctx = ctx;
    rewind_all(&b);
    assert_int_equal(decode(&b, b.model, b.error), TSR_E_LIMIT);
    for (int i = 0; i < COUNT; i++)
        if (i == 4)
            assert_int_equal(b.error[i], TSR_E_LIMIT);
        else
            heard_as_alone(&b, i);
    close_batch(&b);
}

/* Any allocation fails: nothing is lost, and who has no error is right. */
static void test_no_memory(void **state)
{
    static batch b;

    (void)state;
    for (int threads = 1; threads <= 3; threads += 2)
        for (int left = 0, all = 1; all; left += 1 + left / 8) {
            const int before = poor_held;
            open_batch(&b, poor_context("c", threads));
            poor_left = left;
            all = encode(&b, b.error) || decode(&b, b.model, b.error);
            poor_left = POOR_MANY;
            rewind_all(&b);
            assert_int_equal(encode(&b, b.error), TSR_OK);
            assert_int_equal(decode(&b, b.model, b.error), TSR_OK);
            for (int i = 0; i < COUNT; i++)
                heard_as_alone(&b, i);
            close_batch(&b);
            assert_int_equal(poor_held, before);
        }
}

/* A context that keeps models finds them without their file. */
static void test_kept(void **state)
{
    static batch b;

    (void)state;
    open_batch(&b, sound_quiet(1));
    assert_int_equal(decode(&b, NULL, b.error), TSR_E_MODEL);
    rewind_all(&b);
    b.ctx->keeps = true;    /* as on a device */
    assert_int_equal(encode(&b, b.error), TSR_OK);
    assert_non_null(b.ctx->kept);
    assert_int_equal(decode(&b, NULL, b.error), TSR_OK);
    for (int i = 0; i < COUNT; i++)
        heard_as_alone(&b, i);
    close_batch(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_progress),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_kept),
    };
    return cmocka_run_group_tests_name("audio batches", tests, setup, teardown);
}
