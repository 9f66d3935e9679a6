/* SPDX-License-Identifier: BSD-2-Clause */
/* Codes into an encoder instead of sound: the same packets, in pieces of any
 * size, saved and restored; what it refuses. */
#include "tests/audio_model.h"
#include <tessera/audio.h>

enum { ROOM = 1 << 16, FRAMES = 64 };

static const encodec_sizes sizes = {
    .rate = 24000, .channels = 1, .filters = 2, .decoder_filters = 2,
    .ratio = { 5, 4, 4, 2 }, .ratios = 4, .residuals = 1, .lstms = 1, .dim = 4,
    .books = 3, .codewords = 16, .causal = true, .folded = true
};

typedef struct box {
    tsr_context *ctx;
    tsr_model *model;
} box;

/* A model, of EnCodec with segments where `step`. */
static box open_box(int step)
{
    box b = { .ctx = NULL };
    encodec_sizes s = sizes;
    check_tensors list;

    if (step) {
        s.causal = false;
        s.norm = true;
        s.segment = 4800;
        s.step = step;
    }
    list = encodec_model(&s, 7);
    b.ctx = check_context("c", 1);
    b.ctx->logger.log = NULL;
    b.model = audio_model(b.ctx, &list, SIZE_MAX, "encodec",
                          "test_audio_tokens.safetensors");
    check_tensors_free(&list);
    return b;
}

static void close_box(box *b)
{
    tsr_model_unref(&b->model);
    tsr_context_close(&b->ctx);
}

static tsr_audio_encoder *open_encoder(box *b, int channels)
{
    tsr_audio_settings s;
    tsr_audio_encoder *e;
    tsr_audio_settings_init(&s);
    s.channels = channels;
    s.books = 3;
    s.packet_frames = 10;
    assert_int_equal(tsr_audio_encoder_open(&e, b->ctx, b->model, &s), TSR_OK);
    return e;
}

/* All packets that are ready, one after another behind their lengths. */
static size_t pull(tsr_audio_encoder *e, uint8_t *to, tsr_error *last)
{
    tsr_audio_packet p;
    size_t n = 0;
    while (!(*last = tsr_audio_encoder_pull(e, &p)) && p.data) {
        assert_true(n + p.bytes + 2 < ROOM);
        to[n++] = (uint8_t)p.bytes;
        to[n++] = (uint8_t)(p.bytes >> 8);
        memcpy(to + n, p.data, p.bytes);
        n += p.bytes;
    }
    return n;
}

static float *noise(size_t n)
{
    check_rng rng = { 3 };
    float *x = malloc(n * sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = check_float(&rng);
    return x;
}

/* A whole number of frames, so that the packets stand for the same samples. */
static void test_packets(void **state)
{
    static uint8_t want[ROOM], have[ROOM];
    static uint16_t codes[FRAMES * 2 * 3];
    float *x = noise(2 * FRAMES * 160);
    check_rng rng = { 11 };
    box b = open_box(0);
    tsr_error last;
    size_t frames, n, got = 0;

    (void)state;
    tsr_audio_encoder *e = open_encoder(&b, 2);
    assert_int_equal(tsr_audio_encoder_push(e, x, FRAMES * 160), TSR_OK);
    assert_int_equal(tsr_audio_encoder_finish(e), TSR_OK);
    n = pull(e, want, &last);
    assert_int_equal(last, TSR_E_EOF);
    tsr_audio_encoder_close(&e);

    e = open_encoder(&b, 2);
    assert_int_equal(tsr_audio_encoder_push(e, x, FRAMES * 160), TSR_OK);
    assert_int_equal(tsr_audio_encoder_finish(e), TSR_OK);
    assert_int_equal(tsr_audio_encoder_pull_codes(e, codes, FRAMES, &frames),
                     TSR_OK);
    assert_int_equal(frames, FRAMES);
    tsr_audio_encoder_close(&e);

    e = open_encoder(&b, 2);
    for (size_t at = 0; at < FRAMES;) {
        size_t piece = check_below(&rng, 12);
        piece = piece < FRAMES - at ? piece : FRAMES - at;
        assert_int_equal(tsr_audio_encoder_push_codes(e, codes + at * 6, piece),
                         TSR_OK);
        at += piece;
        got += pull(e, have + got, &last);
        const size_t size = tsr_audio_encoder_state_bytes(e);
        uint8_t *saved = malloc(size);
        tsr_audio_encoder_state_save(e, saved);
        tsr_audio_encoder_close(&e);
        e = open_encoder(&b, 2);
        assert_int_equal(tsr_audio_encoder_state_load(e, saved, size), TSR_OK);
        free(saved);
    }
    assert_int_equal(tsr_audio_encoder_push(e, x, 1), TSR_E_ARG);
    assert_int_equal(tsr_audio_encoder_finish(e), TSR_OK);
    got += pull(e, have + got, &last);
    assert_int_equal(last, TSR_E_EOF);
    assert_int_equal(got, n);
    assert_memory_equal(have, want, n);
    assert_int_equal(tsr_audio_encoder_push_codes(e, codes, 1), TSR_E_ARG);
    tsr_audio_encoder_close(&e);
    close_box(&b);
    free(x);
}

static void test_refused(void **state)
{
    const uint16_t good[] = { 0, 15, 3 }, bad[] = { 0, 16, 3 };
    const float x[1] = { 0 };
    static uint8_t have[ROOM];
    tsr_error last;
    box b = open_box(0);

    (void)state;
    tsr_audio_encoder *e = open_encoder(&b, 1);
    assert_int_equal(tsr_audio_encoder_push_codes(e, bad, 1), TSR_E_ARG);
    /* That was no harm, and took nothing. */
    assert_int_equal(tsr_audio_encoder_push(e, x, 1), TSR_OK);
    assert_int_equal(tsr_audio_encoder_push_codes(e, good, 1), TSR_E_ARG);
    tsr_audio_encoder_close(&e);
    e = open_encoder(&b, 1);
    assert_int_equal(tsr_audio_encoder_push_codes(e, NULL, 0), TSR_OK);
    assert_int_equal(tsr_audio_encoder_push_codes(e, good, 1), TSR_OK);
    assert_int_equal(tsr_audio_encoder_finish(e), TSR_OK);
    assert_true(pull(e, have, &last) > 0);
    tsr_audio_encoder_close(&e);
    close_box(&b);
    b = open_box(4752);
    e = open_encoder(&b, 1);
    assert_int_equal(tsr_audio_encoder_push_codes(e, good, 1),
                     TSR_E_UNSUPPORTED);
    tsr_audio_encoder_close(&e);
    close_box(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_packets),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
