/* SPDX-License-Identifier: BSD-2-Clause */
/* EnCodec's segments, of which the end of the sound cuts the last one short and
 * sometimes the one before it: sounds of all lengths around that. */
#include "tests/audio_model.h"
#include "tests/memory.h"
#include <tessera/audio.h>
#include <tessera/ecdc.h>
#include "tests/audio_case.h"

enum { STEP = 495, SEGMENT = 500, HOP = 6, FULL = 84, CHANNELS = 2 };

static const encodec_sizes sizes = {
    .rate = 48000, .channels = CHANNELS, .filters = 2, .decoder_filters = 2,
    .ratio = { 3, 2 }, .ratios = 2, .residuals = 1, .lstms = 1, .dim = 4,
    .books = 3, .codewords = 64, .norm = true, .segment = SEGMENT, .step = STEP
};

static tsr_context *ctx;
static tsr_model *net;

static tsr_model *model_of(const encodec_sizes *s)
{
    check_tensors list = encodec_model(s, 7);
    tsr_model *model = audio_model(ctx, &list, SIZE_MAX, "encodec",
                                   "test_audio_ends.safetensors");
    check_tensors_free(&list);
    return model;
}

static int setup(void **state)
{
    (void)state;
    ctx = check_context("c", 1);
    ctx->logger.log = NULL;
    net = model_of(&sizes);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tsr_model_unref(&net);
    tsr_context_close(&ctx);
    return 0;
}

static tsr_audio_settings packets_of(int units)
{
    tsr_audio_settings s;
    tsr_audio_settings_init(&s);
    s.books = 3;
    s.packet_frames = units * FULL;
    return s;
}

/* Frames of all segments, as published: ceil(samples / hop) of each. */
static size_t frames_of(size_t n)
{
    size_t frames = 0;

    for (size_t at = 0; at < n; at += STEP)
        frames += ((n - at < SEGMENT ? n - at : SEGMENT) + HOP - 1) / HOP;
    return frames;
}

static size_t frames_in(const sound_stream *s)
{
    size_t frames = 0;

    for (size_t i = 0; i < s->packets; i++)
        frames += (size_t)s->packet[i].is.frames;
    return frames;
}

/* The same with the encoder, then the decoder, moved to another one in the
 * middle and at the end. */
static void move_encoder(tsr_audio_encoder **e, const tsr_audio_settings *s)
{
    const size_t bytes = tsr_audio_encoder_state_bytes(*e);
    uint8_t *state = malloc(bytes);
    assert_non_null(state);
    tsr_audio_encoder_state_save(*e, state);
    tsr_audio_encoder_close(e);
    assert_int_equal(tsr_audio_encoder_open(e, ctx, net, s), TSR_OK);
    assert_int_equal(tsr_audio_encoder_state_load(*e, state, bytes), TSR_OK);
    free(state);
}

static void check_moved_encoder(const tsr_audio_settings *s, const float *x,
                                size_t n, const sound_stream *want)
{
    tsr_audio_encoder *e;
    sound_stream got;

    assert_int_equal(tsr_audio_encoder_open(&e, ctx, net, s), TSR_OK);
    sound_begin(e, &got);
    assert_int_equal(tsr_audio_encoder_push(e, x, n / 2), TSR_OK);
    move_encoder(&e, s);
    assert_int_equal(tsr_audio_encoder_push(e, x + n / 2 * CHANNELS, n - n / 2),
                     TSR_OK);
    assert_int_equal(tsr_audio_encoder_finish(e), TSR_OK);
    move_encoder(&e, s);
    assert_int_equal(sound_take(e, &got), TSR_E_EOF);
    tsr_audio_encoder_close(&e);
    sound_same_streams(&got, want);
    sound_free_stream(&got);
}

static void move_decoder(tsr_audio_decoder **d, const sound_stream *s)
{
    const size_t bytes = tsr_audio_decoder_state_bytes(*d);
    uint8_t *state = malloc(bytes);
    sound_samples none;
    assert_non_null(state);
    tsr_audio_decoder_state_save(*d, state);
    tsr_audio_decoder_close(d);
    *d = sound_decoder(ctx, net, s, 0, &none);
    assert_int_equal(tsr_audio_decoder_state_load(*d, state, bytes), TSR_OK);
    free(state);
}

static void check_moved_decoder(const sound_stream *s, const sound_samples *want)
{
    sound_samples got;
    tsr_audio_decoder *d = sound_decoder(ctx, net, s, 0, &got);

    for (size_t i = 0; i < s->packets; i++) {
        assert_int_equal(tsr_audio_decoder_push(d, s->packet[i].data,
                                                s->packet[i].is.bytes), TSR_OK);
        move_decoder(&d, s);
        if (i % 2)
            assert_int_equal(sound_pull(d, &got, 100), TSR_OK);
    }
    got = sound_end(&d, &got, 7);
    sound_same_samples(&got, want);
    free(got.x);
}

static void check_length(size_t n, int units)
{
    tsr_audio_settings s = packets_of(units);
    s.search = units % 3 * 4;
    float *x = sound_tones(n, CHANNELS, n);
    sound_stream whole = sound_encode(ctx, net, &s, x, n, CHANNELS, 0, 1);
    sound_stream pieces = sound_encode(ctx, net, &s, x, n, CHANNELS, 70, n);
    sound_samples all = sound_decode(ctx, net, &whole, 0, 0, NULL);
    sound_samples some = sound_decode(ctx, net, &whole, 1, 50, NULL);

    assert_int_equal(frames_in(&whole), frames_of(n));
    assert_int_equal(all.n, n);
    assert_int_equal(all.concealed, 0);
    sound_same_streams(&pieces, &whole);
    sound_same_samples(&some, &all);
    check_moved_encoder(&s, x, n, &whole);
    check_moved_decoder(&whole, &all);
    sound_free_stream(&whole);
    sound_free_stream(&pieces);
    free(all.x);
    free(some.x);
    free(x);
}

/* The last two segments in one packet, and in two. */
static void test_lengths(void **state)
{
    (void)state;
    for (size_t k = 1; k <= 3; k++)
        for (size_t r = 0; r <= 8; r++)
            for (int units = 1; units <= 4; units++)
                check_length(k * STEP + r - 1, units);
}

/* Samples do not depend on where packets are cut. */
static void test_packets(void **state)
{
    const size_t n = 3 * STEP + 1;
    float *x = sound_tones(n, CHANNELS, 3);
    sound_samples first = { 0 };
    (void)state;

    for (int units = 1; units <= 5; units++) {
        const tsr_audio_settings s = packets_of(units);
        sound_stream whole = sound_encode(ctx, net, &s, x, n, CHANNELS, 0, 1);
        sound_samples got = sound_decode(ctx, net, &whole, 0, 0, NULL);
        if (first.x)
            sound_same_samples(&got, &first);
        free(first.x);
        first = got;
        sound_free_stream(&whole);
    }
    free(first.x);
    free(x);
}

typedef struct tape {
    const float *x;
    size_t n;
} tape;

static tsr_error read_tape(void *cookie, float *samples, size_t n, size_t *got)
{
    tape *t = cookie;
    *got = n < t->n ? n : t->n;
    if (*got)
        memcpy(samples, t->x, *got * CHANNELS * sizeof *samples);
    t->x += *got * CHANNELS;
    t->n -= *got;
    return TSR_OK;
}

/* To EnCodec's own container and back. */
static void check_ecdc(size_t n, int units)
{
    const tsr_audio_settings settings = packets_of(units);
    float *x = sound_tones(n, CHANNELS, n);
    tape t = { x, n };
    const tsr_audio_source tones = { &t, read_tape, n };
    mem_file tess = { 0 }, ecdc = { 0 }, back = { 0 }, again = { 0 };

    assert_int_equal(tsr_audio_encode(ctx, net, &settings, &tones,
                                      &(tsr_sink){ &tess, mem_write }), TSR_OK);
    assert_int_equal(tsr_ecdc_write(ctx, net, &(tsr_source){ &tess, mem_read },
                                    &(tsr_sink){ &ecdc, mem_write }), TSR_OK);
    assert_int_equal(tsr_ecdc_read(ctx, net, &(tsr_source){ &ecdc, mem_read },
                                   &(tsr_sink){ &back, mem_write }), TSR_OK);
    assert_int_equal(tsr_ecdc_write(ctx, net, &(tsr_source){ &back, mem_read },
                                    &(tsr_sink){ &again, mem_write }), TSR_OK);
    assert_int_equal(again.size, ecdc.size);
    assert_memory_equal(again.data, ecdc.data, ecdc.size);
    free(tess.data);
    free(ecdc.data);
    free(back.data);
    free(again.data);
    free(x);
}

static void test_ecdc(void **state)
{
    (void)state;
    for (size_t r = 0; r <= 7; r++)
        for (int units = 1; units <= 3; units++)
            check_ecdc(2 * STEP + r, units);
}

/* With a longer overlap more than two would be short. */
static void test_overlap(void **state)
{
    encodec_sizes s = sizes;
    tsr_audio_model_info info;
    (void)state;

    s.step = FULL * HOP / 2;
    tsr_model *model = model_of(&s);
    assert_int_equal(tsr_audio_model_describe(ctx, model, &info), TSR_OK);
    tsr_model_unref(&model);
    s.step--;
    model = model_of(&s);
    assert_int_equal(tsr_audio_model_describe(ctx, model, &info), TSR_E_SHAPE);
    tsr_model_unref(&model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_packets),
        cmocka_unit_test(test_ecdc),
        cmocka_unit_test(test_overlap),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
