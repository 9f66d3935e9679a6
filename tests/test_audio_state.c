/* SPDX-License-Identifier: BSD-2-Clause */
/* Encoders and decoders that are saved and go on elsewhere. */
#include "tests/audio_toy_case.h"
#include "lib/crc32c.h"

static const form forms[] = {
    { TOY_MONO, 1, 4, 7, 1, 0, 0 },      { TOY_MONO, 3, 4, 100, 1, 1, 1 },
    { TOY_TAIL, 4, 8, 20, 4, 0, 0 },     { TOY_SEGMENTS, 2, 3, 300, 1, 0, 0 },
    { TOY_OVERLAPPED, 1, 4, 200, 1, 0, 0 }, { TOY_OVERLAPPED, 1, 4, 400, 1, 0, 0 },
};
/* Of overlapped, the last two segments are short: in two packets, and in one. */
enum { FORMS = sizeof forms / sizeof *forms, N = 8 * 394 + 1 };

static uint8_t *save_encoder(const tsr_audio_encoder *e, size_t *bytes)
{
    *bytes = tsr_audio_encoder_state_bytes(e);
    uint8_t *state = malloc(*bytes);
    assert_non_null(state);
    tsr_audio_encoder_state_save(e, state);
    return state;
}

static uint8_t *save_decoder(const tsr_audio_decoder *d, size_t *bytes)
{
    *bytes = tsr_audio_decoder_state_bytes(d);
    uint8_t *state = malloc(*bytes);
    assert_non_null(state);
    tsr_audio_decoder_state_save(d, state);
    return state;
}

static tsr_audio_encoder *open_encoder(const form *f)
{
    const tsr_audio_settings settings = settings_of(f);
    tsr_audio_encoder *e;
    assert_int_equal(tsr_audio_encoder_open(&e, quiet, model[f->toy], &settings),
                     TSR_OK);
    return e;
}

/* The encoder's state moves to a new encoder, half of the time to one that has
 * already done something else. */
static void move_encoder(tsr_audio_encoder **e, const form *f, const float *x,
                         bool used)
{
    tsr_audio_encoder *to = open_encoder(f);
    size_t bytes;
    uint8_t *state = save_encoder(*e, &bytes);

    if (used)
        assert_int_equal(tsr_audio_encoder_push(to, x, 950), TSR_OK);
    assert_int_equal(tsr_audio_encoder_state_load(to, state, bytes), TSR_OK);
    tsr_audio_encoder_close(e);
    free(state);
    *e = to;
}

static void check_encoder(const form *f, uint64_t seed)
{
    const tsr_audio_settings settings = settings_of(f);
    float *x = sound_tones(N, f->channels, 2);
    sound_stream want = sound_encode(quiet, model[f->toy], &settings, x, N,
                                     f->channels, 0, 1), got;
    tsr_audio_encoder *e = open_encoder(f);
    check_rng rng = { seed };

    sound_begin(e, &got);
    for (size_t at = 0, n; at < N; at += n) {
        n = 1 + check_below(&rng, 900);
        n = n < N - at ? n : N - at;
        assert_int_equal(tsr_audio_encoder_push(e, x + at * (size_t)f->channels, n),
                         TSR_OK);
        move_encoder(&e, f, x, check_below(&rng, 2));
        if (check_below(&rng, 2))
            assert_int_equal(sound_take(e, &got), TSR_OK);
    }
    assert_int_equal(tsr_audio_encoder_finish(e), TSR_OK);
    move_encoder(&e, f, x, false);
    assert_int_equal(sound_take(e, &got), TSR_E_EOF);
    move_encoder(&e, f, x, true);
    assert_int_equal(sound_take(e, &got), TSR_E_EOF);
    sound_same_streams(&got, &want);
    tsr_audio_encoder_close(&e);
    sound_free_stream(&got);
    sound_free_stream(&want);
    free(x);
}

static void test_encoders(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 3 * FORMS; i++)
        check_encoder(&forms[i % FORMS], i + 1);
}

static void move_decoder(tsr_audio_decoder **d, const form *f,
                         const sound_stream *s, bool used)
{
    sound_samples none;
    tsr_audio_decoder *to = sound_decoder(quiet, model[f->toy], s, 0, &none);
    size_t bytes;
    uint8_t *state = save_decoder(*d, &bytes);

    if (used)
        assert_int_equal(tsr_audio_decoder_push(to, s->packet[0].data,
                                                s->packet[0].is.bytes), TSR_OK);
    assert_int_equal(tsr_audio_decoder_state_load(to, state, bytes), TSR_OK);
    tsr_audio_decoder_close(d);
    free(state);
    *d = to;
}

/* With losses at the beginning and in the middle; samples are left in it. */
static void check_decoder(const form *f, uint64_t seed)
{
    const tsr_audio_settings settings = settings_of(f);
    float *x = sound_tones(N, f->channels, 2);
    sound_stream s = sound_encode(quiet, model[f->toy], &settings, x, N, f->channels,
                                  0, 1);
    char *lost = calloc(s.packets, 1);
    sound_samples got;
    tsr_audio_decoder *d = sound_decoder(quiet, model[f->toy], &s, 0, &got);
    check_rng rng = { seed };
    size_t n;

    assert_non_null(lost);
    for (size_t i = 0; i + 1 < s.packets; i++)
        lost[i] = check_below(&rng, 3) == 0;
    sound_samples want = sound_decode(quiet, model[f->toy], &s, 0, 0, lost);
    got.x = malloc((N + 1000) * (size_t)f->channels * sizeof *got.x);
    for (size_t i = 0; i < s.packets; i++) {
        if (!lost[i])
            assert_int_equal(tsr_audio_decoder_push(d, s.packet[i].data,
                                                    s.packet[i].is.bytes), TSR_OK);
        move_decoder(&d, f, &s, check_below(&rng, 2));
        if (i % 3)
            continue;
        assert_int_equal(tsr_audio_decoder_pull(
                             d, got.x + got.n * (size_t)f->channels,
                             check_below(&rng, i < 6 ? 20 : 900), &n), TSR_OK);
        got.n += n;
        move_decoder(&d, f, &s, check_below(&rng, 2));
    }
    assert_int_equal(tsr_audio_decoder_finish(d), TSR_OK);
    move_decoder(&d, f, &s, true);
    assert_int_equal(sound_pull(d, &got, 0), TSR_E_EOF);
    move_decoder(&d, f, &s, true);
    assert_int_equal(sound_pull(d, &got, 0), TSR_E_EOF);
    assert_int_equal(tsr_audio_decoder_concealed(d), want.concealed);
    sound_same_samples(&got, &want);
    tsr_audio_decoder_close(&d);
    sound_free_stream(&s);
    free(lost);
    free(got.x);
    free(want.x);
    free(x);
}

static void test_decoders(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 4 * FORMS; i++)
        check_decoder(&forms[i % FORMS], i + 1);
}

/* ---- what is refused ---- */

/* A coder in the middle of its work, and its state. */
static tsr_audio_encoder *busy_encoder(const form *f, uint8_t **state, size_t *bytes)
{
    tsr_audio_encoder *e = open_encoder(f);
    float *x = sound_tones(N, f->channels, 2);

    assert_int_equal(tsr_audio_encoder_push(e, x, N), TSR_OK);
    *state = save_encoder(e, bytes);
    free(x);
    return e;
}

static tsr_audio_decoder *busy_decoder(const form *f, uint8_t **state, size_t *bytes)
{
    const tsr_audio_settings settings = settings_of(f);
    float *x = sound_tones(N, f->channels, 2);
    sound_stream s = sound_encode(quiet, model[f->toy], &settings, x, N, f->channels,
                                  0, 1);
    sound_samples got;
    tsr_audio_decoder *d = sound_decoder(quiet, model[f->toy], &s, 0, &got);
    float room[64 * 10];
    size_t n;

    for (size_t i = 0; i < s.packets; i++)
        if (i != 1)
            assert_int_equal(tsr_audio_decoder_push(d, s.packet[i].data,
                                                    s.packet[i].is.bytes), TSR_OK);
    assert_int_equal(tsr_audio_decoder_pull(d, room, 10, &n), TSR_OK);
    assert_int_equal(n, 10);
    *state = save_decoder(d, bytes);
    sound_free_stream(&s);
    free(x);
    return d;
}

/* Tries a state in a coder of its own, which has to stay closable, and says
 * no to all else if the state was refused. */
static tsr_error try_encoder(const form *f, const uint8_t *state, size_t bytes)
{
    tsr_audio_encoder *e = open_encoder(f);
    uint8_t *copy = sound_copy(state, bytes);
    const tsr_error error = tsr_audio_encoder_state_load(e, copy, bytes);
    tsr_audio_packet p;

    free(copy);
    for (int i = 0; i < 9 && !tsr_audio_encoder_pull(e, &p) && p.data; i++)
        assert_int_equal(error, TSR_OK);
    tsr_audio_encoder_close(&e);
    return error;
}

static tsr_error try_decoder(const form *f, const uint8_t *state, size_t bytes)
{
    sound_stream s;
    sound_samples none;
    tsr_audio_encoder *e = open_encoder(f);

    sound_begin(e, &s);
    tsr_audio_encoder_close(&e);
    tsr_audio_decoder *d = sound_decoder(quiet, model[f->toy], &s, 0, &none);
    uint8_t *copy = sound_copy(state, bytes);
    const tsr_error error = tsr_audio_decoder_state_load(d, copy, bytes);
    float room[64 * 50];
    size_t n = 1;
    free(copy);
    for (int i = 0; i < 99 && n && !tsr_audio_decoder_pull(d, room, 50, &n); i++)
        assert_int_equal(error, TSR_OK);
    tsr_audio_decoder_close(&d);
    return error;
}

/* Puts the check value right again. */
static void forge(uint8_t *state, size_t bytes)
{
    tsri_put32(state + bytes - 4, tsri_crc32c(0, state, bytes - 4));
}

/* Cut states, damaged ones, and damaged ones with a right check value: of these
 * some may be states, but none may do harm. */
static void check_hostile(const form *f, bool decoder)
{
    uint8_t *state;
    size_t bytes;
    tsr_audio_encoder *e = decoder ? NULL : busy_encoder(f, &state, &bytes);
    tsr_audio_decoder *d = decoder ? busy_decoder(f, &state, &bytes) : NULL;
    check_rng rng = { bytes };
    int taken = 0;

    assert_int_equal(decoder ? try_decoder(f, state, bytes)
                             : try_encoder(f, state, bytes), TSR_OK);
    for (size_t n = 0; n < bytes; n += 1 + n / 50)
        assert_int_equal(decoder ? try_decoder(f, state, n)
                                 : try_encoder(f, state, n), TSR_E_CORRUPT);
    for (int i = 0; i < 1500; i++) {
        const size_t at = i < 400 ? (size_t)i / 2 % bytes
                                  : check_below(&rng, (uint32_t)bytes);
        const uint8_t was = state[at], by = (uint8_t)(1 << check_below(&rng, 8));
        state[at] = i % 2 ? (uint8_t)(was ^ by) : (uint8_t)~was;
        assert_int_equal(decoder ? try_decoder(f, state, bytes)
                                 : try_encoder(f, state, bytes), TSR_E_CORRUPT);
        forge(state, bytes);
        taken += !(decoder ? try_decoder(f, state, bytes)
                           : try_encoder(f, state, bytes));
        state[at] = was;
        forge(state, bytes);
    }
    assert_in_range(taken, 1, 1499);
    tsr_audio_encoder_close(&e);
    tsr_audio_decoder_close(&d);
    free(state);
}

static void test_hostile(void **state)
{
    (void)state;
    for (int i = 0; i < FORMS; i++) {
        check_hostile(&forms[i], false);
        check_hostile(&forms[i], true);
    }
}

/* States of other models, settings and ends. */
static void test_foreign(void **state)
{
    form other = forms[0];
    uint8_t *of_encoder, *of_decoder;
    size_t bytes, more;
    tsr_audio_encoder *e = busy_encoder(&forms[0], &of_encoder, &bytes);
    tsr_audio_decoder *d = busy_decoder(&forms[0], &of_decoder, &more);
    (void)state;

    other.frames++;
    assert_int_equal(try_encoder(&other, of_encoder, bytes), TSR_E_CORRUPT);
    other = forms[0];
    other.live = 1;
    assert_int_equal(try_encoder(&other, of_encoder, bytes), TSR_E_CORRUPT);
    assert_int_equal(try_encoder(&forms[2], of_encoder, bytes), TSR_E_CORRUPT);
    assert_int_equal(try_encoder(&forms[0], of_decoder, more), TSR_E_CORRUPT);
    assert_int_equal(try_decoder(&forms[0], of_encoder, bytes), TSR_E_CORRUPT);
    /* After a refusal nothing works but closing. */
    assert_int_equal(tsr_audio_encoder_state_load(e, of_decoder, more), TSR_E_CORRUPT);
    assert_int_equal(tsr_audio_encoder_push(e, NULL, 0), TSR_E_CORRUPT);
    assert_int_equal(tsr_audio_encoder_finish(e), TSR_E_CORRUPT);
    assert_int_equal(tsr_audio_decoder_state_load(d, of_encoder, bytes), TSR_E_CORRUPT);
    assert_int_equal(tsr_audio_decoder_push(d, of_encoder, 3), TSR_E_CORRUPT);
    assert_int_equal(tsr_audio_decoder_lost(d), TSR_E_CORRUPT);
    assert_int_equal(tsr_audio_decoder_finish(d), TSR_E_CORRUPT);
    tsr_audio_encoder_close(&e);
    tsr_audio_decoder_close(&d);
    free(of_encoder);
    free(of_decoder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_encoders),
        cmocka_unit_test(test_decoders),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_foreign),
    };
    return cmocka_run_group_tests_name("audio states", tests, setup, teardown);
}
