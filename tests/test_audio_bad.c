/* SPDX-License-Identifier: BSD-2-Clause */
/* Sound from hostile bytes, and with too little memory. */
#include "tests/audio_toy_case.h"
#include "tests/poor.h"
#include "lib/crc32c.h"

/* Without check of their codes (adaptive), with layers, segments, channels. */
static const form forms[] = {
    { TOY_MONO, 1, 4, 20, 1, 0, 0 }, { TOY_MONO, 3, 3, 33, 4, 1, 1 },
    { TOY_TAIL, 2, 8, 50, 4, 0, 0 }, { TOY_SEGMENTS, 2, 4, 200, 1, 1, 0 },
};
enum { FORMS = sizeof forms / sizeof *forms, N = 1999 };

static sound_stream make(const form *f)
{
    const tsr_audio_settings settings = settings_of(f);
    float *x = sound_tones(N, f->channels, 2);
    sound_stream s = sound_encode(quiet, model[f->toy], &settings, x, N, f->channels,
                                  0, 1);
    free(x);
    return s;
}

/* ---- extradata ---- */

static tsr_error try_extradata(tsr_model *m, const uint8_t *data, size_t bytes)
{
    uint8_t *copy = sound_copy(data, bytes);
    tsr_audio_decoder *d;
    const tsr_error error = tsr_audio_decoder_open(&d, quiet, m, copy, bytes, 0);

    assert_true(!error == (d != NULL));
    tsr_audio_decoder_close(&d);
    free(copy);
    return error;
}

static void test_extradata(void **state)
{
    (void)state;

    for (int i = 0; i < FORMS; i++) {
        sound_stream s = make(&forms[i]);
        tsr_model *m = model[forms[i].toy];
        assert_int_equal(try_extradata(m, s.extradata, s.extradata_bytes), TSR_OK);
        for (size_t n = 0; n < 60; n++)
            assert_int_equal(try_extradata(m, s.extradata, n), TSR_E_CORRUPT);
        assert_int_equal(try_extradata(m, s.extradata, 124), TSR_E_CORRUPT);
        for (size_t bit = 0; bit < 60 * 8; bit++) {
            uint8_t bad[160];
            memcpy(bad, s.extradata, sizeof bad);
            bad[bit / 8] ^= (uint8_t)(1 << bit % 8);
            const tsr_error error = try_extradata(m, bad, s.extradata_bytes);
            const size_t at_byte = bit / 8;
            if (at_byte >= 28)
                assert_int_equal(error, TSR_E_MODEL);
            else if (at_byte == 0)
                assert_true(error == TSR_E_UNSUPPORTED || error == TSR_E_CORRUPT ||
                            error == TSR_E_MODEL);
            else if (at_byte >= 5 && (at_byte < 12 || at_byte >= 16))
                assert_int_equal(error, TSR_E_CORRUPT);
            else /* channels, books, entropy, flags, packets: some are possible */
                assert_true(!error || error == TSR_E_CORRUPT);
        }
        sound_free_stream(&s);
    }
}

/* Numbers that no model has. */
static void test_absurd_heads(void **state)
{
    static const struct { int at, bytes; uint32_t value; } cases[] = {
        { 1, 1, 0 }, { 1, 1, 65 }, { 1, 1, 255 }, { 2, 1, 0 }, { 2, 1, 65 },
        { 3, 1, 0 }, { 3, 1, 6 }, { 4, 1, 4 }, { 4, 1, 128 }, { 5, 1, 0 },
        { 5, 1, 3 }, { 6, 2, 0 }, { 8, 4, 0 }, { 8, 4, 384001 },
        { 8, 4, 0xffffffff }, { 12, 4, 0 }, { 12, 4, 65537 },
        { 12, 4, 0xffffffff }, { 16, 4, 0 }, { 16, 4, 1 }, { 16, 4, 65537 },
        { 16, 4, 0x80000000 }, { 20, 4, 0x80000000 }, { 20, 4, 401 },
        { 24, 2, 0 }, { 24, 2, 3 }, { 24, 2, 65535 }, { 26, 1, 5 }, { 27, 1, 1 },
        { 27, 1, 16 }, { 27, 1, 17 }, { 27, 1, 8 }, { 27, 1, 128 }, { 27, 1, 255 },
    };
    sound_stream s = make(&forms[3]);
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t bad[160];
        memcpy(bad, s.extradata, sizeof bad);
        for (int k = 0; k < cases[i].bytes; k++)
            bad[cases[i].at + k] = (uint8_t)(cases[i].value >> 8 * k);
        assert_int_equal(try_extradata(model[TOY_SEGMENTS], bad, s.extradata_bytes),
                         TSR_E_CORRUPT);
    }
    sound_free_stream(&s);
}

/* Packets that would need more than the limit of memory are refused at once. */
static void test_memory_limit(void **state)
{
    form f = forms[0];
    tsr_context_settings settings;
    tsr_audio_decoder *d;
    tsr_context *ctx;
    (void)state;

    f.channels = 64;
    f.frames = 65536;
    sound_stream s = make(&f);
    tsr_context_settings_init(&settings);
    settings.max_memory = 64 * 65536 * 4 * 2 - 1;
    assert_int_equal(tsr_context_open(&ctx, &settings), TSR_OK);
    assert_int_equal(tsr_audio_decoder_open(&d, ctx, model[TOY_MONO], s.extradata,
                                            s.extradata_bytes, 0), TSR_E_LIMIT);
    assert_null(d);
    tsr_context_close(&ctx);
    sound_free_stream(&s);
}

/* ---- packets ---- */

/* One packet for a new decoder; the samples it gave. */
static size_t try_packet(const form *f, const sound_stream *s, const uint8_t *data,
                         size_t bytes, tsr_error *error)
{
    uint8_t *copy = sound_copy(data, bytes);
    sound_samples out;
    tsr_audio_decoder *d = sound_decoder(quiet, model[f->toy], s, 0, &out);
    uint16_t codes[400 * 8 * 2];
    size_t frames;

    *error = tsr_audio_decoder_push(d, copy, bytes);
    const tsr_error other = tsr_audio_decoder_codes(d, copy, bytes, codes,
                                                    sizeof codes / sizeof *codes,
                                                    &frames);
    assert_true(other == *error);
    free(copy);
    free(sound_end(&d, &out, 0).x);
    return out.n;
}

/* Damage of any bit is found, but for once in 128 times in segments of at most 64
 * bytes, and what is found is concealed.  `books` of layered packets may be
 * changed by anybody. */
static void test_damaged_packets(void **state)
{
    int missed = 0, tried = 0;
    (void)state;

    for (int i = 0; i < FORMS; i++) {
        const form *f = &forms[i];
        sound_stream s = make(f);
        uint8_t *data = s.packet[0].data;
        const size_t bytes = s.packet[0].is.bytes;
        tsr_error error;
        assert_int_equal(try_packet(f, &s, data, bytes, &error),
                         s.packet[0].is.samples);
        assert_int_equal(error, TSR_OK);
        for (size_t n = 0; n < bytes; n++) {
            assert_int_equal(try_packet(f, &s, data, n, &error),
                             s.packet[0].is.samples);
            assert_int_equal(error, TSR_E_CORRUPT);
        }
        for (size_t bit = 0; bit < 8 * bytes && bit < 3000; bit++, tried++) {
            data[bit / 8] ^= (uint8_t)(1 << bit % 8);
            const size_t n = try_packet(f, &s, data, bytes, &error);
            data[bit / 8] ^= (uint8_t)(1 << bit % 8);
            missed += !error;
            if (error) {
                assert_int_equal(error, TSR_E_CORRUPT);
                assert_int_equal(n, s.packet[0].is.samples);
            }
        }
        sound_free_stream(&s);
    }
    assert_in_range(missed, 0, tried / 100);
}

/* Bytes of no meaning at all. */
static void test_random_packets(void **state)
{
    check_rng rng = { 77 };
    (void)state;

    for (int i = 0; i < FORMS; i++) {
        sound_stream s = make(&forms[i]);
        sound_samples out;
        tsr_audio_decoder *d = sound_decoder(quiet, model[forms[i].toy], &s, 1, &out);
        uint64_t frames = 0;
        for (int j = 0; j < 3000; j++) {
            uint8_t data[200];
            const size_t n = check_below(&rng, sizeof data + 1);
            for (size_t k = 0; k < n; k++)
                data[k] = (uint8_t)check_u32(&rng);
            if (n > 4 && j % 2) { /* begin well */
                data[0] = (uint8_t)(j / 9);
                data[2] = (uint8_t)forms[i].books;
                data[3] = 1;
            }
            uint8_t *copy = sound_copy(data, n);
            const tsr_error error = tsr_audio_decoder_push(d, copy, n);
            assert_true(!error || error == TSR_E_CORRUPT);
            free(copy);
            assert_int_equal(sound_pull(d, &out, 5000), TSR_OK);
            out.n = 0;
            assert_true(tsr_audio_decoder_concealed(d) >= frames);
            frames = tsr_audio_decoder_concealed(d);
        }
        assert_true(frames > 0);
        free(sound_end(&d, &out, 0).x);
        sound_free_stream(&s);
    }
}

/* A packet of toy segments, written by hand: `units` of them, of `frames` the
 * last one, `before` the one before it, `full` the others. */
static tsr_error try_three(uint64_t samples, int units, int full, int before,
                           int frames)
{
    const form f = { TOY_SEGMENTS, 1, 4, 400, 1, 0, 0 };
    const int all = units < 2 ? frames : (units - 2) * full + before + frames;
    sound_stream s = make(&f);
    uint8_t data[1 << 14];
    size_t n = 1, head;
    tsr_error error;

    data[0] = 0;
    n += tsri_put_varint(data + n, samples);
    data[n++] = 4;
    n += tsri_put_varint(data + n, (uint64_t)units);
    for (int i = 0; i < units; i++)
        n += tsri_put_varint(data + n, (uint64_t)(i < units - 2   ? full
                                                  : i < units - 1 ? before
                                                                  : frames));
    memset(data + n, 1, 2 * (size_t)units);
    n += 2 * (size_t)units;
    head = n;
    /* Packed codes, all 0: the check is crc(c, codes), 23 bits of it. */
    static const uint8_t zeros[1 << 14];
    const uint32_t crc = tsri_crc32c(tsri_crc32c(0, data, head), zeros,
                                     8 * (size_t)tsri_max(all, 0));
    data[n++] = (uint8_t)(crc << 1);
    tsri_put16(data + n, (uint16_t)(crc >> 7));
    n += 2;
    for (int i = 0; i < 4 * all; i++)
        data[n++] = 0;
    const size_t got = try_packet(&f, &s, data, n, &error);
    assert_int_equal(got, error ? 4 * 396 : samples);
    sound_free_stream(&s);
    return error;
}

static tsr_error try_segments(uint64_t samples, int units, int before, int frames)
{
    return try_three(samples, units, before, before, frames);
}

static void test_segment_lengths(void **state)
{
    (void)state;
    assert_int_equal(try_three(3 * 396 + 1, 4, 100, 99, 1), TSR_OK);
    assert_int_equal(try_three(2 * 396, 2, 100, 99, 99), TSR_OK);
    assert_int_equal(try_three(2 * 396, 2, 100, 99, 100), TSR_E_CORRUPT);
    assert_int_equal(try_three(3 * 396 + 1, 4, 100, 98, 1), TSR_E_CORRUPT);
    assert_int_equal(try_three(3 * 396 + 1, 4, 99, 99, 1), TSR_E_CORRUPT);
    assert_int_equal(try_three(3 * 396 + 1, 4, 100, 101, 1), TSR_E_CORRUPT);
    assert_int_equal(try_three(4 * 396, 4, 100, 100, 99), TSR_OK);
    assert_int_equal(try_segments(4 * 396, 4, 100, 100), TSR_OK);
    assert_int_equal(try_segments(1, 4, 100, 100), TSR_OK);
    assert_int_equal(try_segments(2 * 396 + 40, 3, 100, 10), TSR_OK);
    assert_int_equal(try_segments(2 * 396 + 41, 3, 100, 10), TSR_E_CORRUPT);
    assert_int_equal(try_segments(4 * 396 + 1, 4, 100, 100), TSR_E_CORRUPT);
    assert_int_equal(try_segments(396, 3, 99, 100), TSR_E_CORRUPT);
    assert_int_equal(try_segments(396, 3, 100, 0), TSR_E_CORRUPT);
    assert_int_equal(try_segments(396, 3, 100, 101), TSR_E_CORRUPT);
    assert_int_equal(try_segments(396, 5, 100, 100), TSR_E_CORRUPT);
    assert_int_equal(try_segments(0, 1, 100, 100), TSR_E_CORRUPT);
}

/* A number that would run over. */
static void test_last_number(void **state)
{
    static const uint8_t big[] = { 0xff, 0xff, 0xff, 0xff, 0x0f, 4, 4, 1, 1 };
    static const uint8_t bigger[] = { 0x80, 0x80, 0x80, 0x80, 0x10, 4, 4, 1, 1 };
    sound_stream s = make(&forms[0]);
    tsr_error error;
    (void)state;

    try_packet(&forms[0], &s, big, sizeof big, &error);
    assert_int_equal(error, TSR_E_CORRUPT);
    try_packet(&forms[0], &s, bigger, sizeof bigger, &error);
    assert_int_equal(error, TSR_E_CORRUPT);
    sound_free_stream(&s);
}

/* ---- memory runs out ---- */

/* Everything once; returns the first error. */
static tsr_error all_of_it(tsr_context *ctx, const form *f, const float *x)
{
    const tsr_audio_settings settings = settings_of(f);
    tsr_audio_encoder *e = NULL;
    tsr_audio_decoder *d = NULL;
    tsr_audio_packet p = { 0 };
    tsr_audio_model_info info;
    const uint8_t *extradata;
    float y[100 * 4];
    size_t bytes, n = 1;
    tsr_error error = tsr_audio_model_describe(ctx, model[f->toy], &info);

    if (!error)
        error = tsr_audio_encoder_open(&e, ctx, model[f->toy], &settings);
    if (!error)
        tsr_audio_encoder_extradata(e, &extradata, &bytes);
    if (!error)
        error = tsr_audio_decoder_open(&d, ctx, model[f->toy], extradata, bytes, 0);
    if (!error)
        error = tsr_audio_encoder_push(e, x, N);
    if (!error)
        error = tsr_audio_encoder_finish(e);
    while (!error && !(error = tsr_audio_encoder_pull(e, &p)))
        if (p.number % 3 == 0 || p.number == 2)
            error = tsr_audio_decoder_push(d, p.data, p.bytes);
    if (error == TSR_E_EOF)
        error = tsr_audio_decoder_finish(d);
    while (!error && n)
        error = tsr_audio_decoder_pull(d, y, 100, &n);
    tsr_audio_encoder_close(&e);
    tsr_audio_decoder_close(&d);
    return error == TSR_E_EOF ? TSR_OK : error;
}

static void test_no_memory(void **state)
{
    float *x = sound_tones(N, 4, 2);
    (void)state;

    for (int i = 0; i < FORMS; i++) {
        tsr_context *ctx = poor_context("c", 1);
        const int held = poor_held;
        int n = 0;
        for (tsr_error error = TSR_E_NOMEM; error; n++) {
            poor_left = n;
            error = all_of_it(ctx, &forms[i], x);
            assert_true(!error || error == TSR_E_NOMEM);
            assert_int_equal(poor_held, held);
        }
        assert_true(n > 20);
        tsr_context_close(&ctx);
    }
    free(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_extradata),
        cmocka_unit_test(test_absurd_heads),
        cmocka_unit_test(test_memory_limit),
        cmocka_unit_test(test_damaged_packets),
        cmocka_unit_test(test_random_packets),
        cmocka_unit_test(test_segment_lengths),
        cmocka_unit_test(test_last_number),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests_name("audio bad", tests, setup, teardown);
}
