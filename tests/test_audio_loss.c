/* SPDX-License-Identifier: BSD-2-Clause */
/* Packets that are lost, damaged, late or too many. */
#include "tests/audio_toy_case.h"

static sound_stream make_stream(const float *x, size_t n)
{
    const form s = { TOY_MONO, 1, 4, FRAMES, 1, 0, 0 };
    const tsr_audio_settings settings = settings_of(&s);
    return sound_encode(quiet, model[TOY_MONO], &settings, x, n, 1, 0, 1);
}

/* Level of sample t, after losses, as docs/audio-format.md section 4 has it. */
static double next_level(double level, bool lost)
{
    return lost ? fmax(0, level - 1.0 / 800) : fmin(1, level + 1.0 / 80);
}

/* What comes out with losses is what the codes say: the last frame again and
 * again, faded. */
static void check_losses(const sound_stream *s, const sound_samples *good,
                         const char *lost)
{
    sound_samples got = sound_decode(quiet, model[TOY_MONO], s, 0, 64, lost);
    double level = 1;
    size_t found = 0, gone = 0;
    bool any = false;

    while (lost[s->packets - 1 - gone])
        gone++; /* nobody knows of these */
    for (size_t t = 0; t < got.n; t++) {
        const size_t p = t / SPAN;
        level = next_level(level, lost[p]);
        if (!any && lost[p]) {
            level = 0;
            assert_true(got.x[t] == 0);
            continue;
        }
        if (!lost[p]) {
            any = true;
            found = p;
        }
        /* The sample before one that is memory comes from another place. */
        if (t % SPAN == 0 && p && lost[p] + lost[p - 1])
            continue;
        const size_t k = t % TOY_HOP;
        const size_t from = lost[p] ? (found + 1) * SPAN - TOY_HOP + k : t;
        if (lost[p] && k == 0)
            continue;
        assert_float_equal(got.x[t], (float)level * good->x[from], 1e-5f);
    }
    assert_true(got.n == good->n || gone);
    assert_int_equal(got.n, gone ? (s->packets - gone) * SPAN : good->n);
    free(got.x);
}

static void test_losses(void **state)
{
    float *x = sound_tones(20 * SPAN - 3, 1, 9);
    sound_stream s = make_stream(x, 20 * SPAN - 3);
    sound_samples good = sound_decode(quiet, model[TOY_MONO], &s, 0, 0, NULL);
    check_rng rng = { 4 };
    (void)state;

    assert_int_equal(s.packets, 20);
    for (int i = 0; i < 60; i++) {
        char lost[20] = { 0 };
        for (int j = 0; j < 20; j++)
            lost[j] = i < 20 ? i == j : check_below(&rng, 8) < (uint32_t)i % 7;
        lost[check_below(&rng, 20)] = 0;
        check_losses(&s, &good, lost);
    }
    sound_free_stream(&s);
    free(good.x);
    free(x);
}

/* lost() does what a gap does; damage what lost() does; late ones nothing. */
static void test_lost_and_damaged(void **state)
{
    float *x = sound_tones(12 * SPAN, 1, 9);
    sound_stream s = make_stream(x, 12 * SPAN);
    char lost[12] = { 0, 0, 1, 0, 0, 1, 1, 0, 0, 0, 0, 0 };
    sound_samples gap = sound_decode(quiet, model[TOY_MONO], &s, 0, 0, lost);
    (void)state;

    assert_int_equal(gap.concealed, 3 * FRAMES);
    for (int how = 0; how < 3; how++) {
        sound_samples out;
        tsr_audio_decoder *d = sound_decoder(quiet, model[TOY_MONO], &s, how == 1,
                                             &out);
        for (size_t i = 0; i < s.packets; i++) {
            const size_t bytes = s.packet[i].is.bytes;
            if (!lost[i])
                assert_int_equal(tsr_audio_decoder_push(d, s.packet[i].data, bytes),
                                 TSR_OK);
            else if (how == 0)
                assert_int_equal(tsr_audio_decoder_lost(d), TSR_OK);
            else if (how == 1) /* cut */
                assert_int_equal(tsr_audio_decoder_push(d, s.packet[i].data,
                                                        i % 2 ? bytes - 1 : 0),
                                 TSR_E_CORRUPT);
            if (i > 1) /* again, and too late */
                assert_int_equal(tsr_audio_decoder_push(d, s.packet[i - 2].data,
                                     s.packet[i - 2].is.bytes), TSR_OK);
            assert_int_equal(sound_pull(d, &out, 0), TSR_OK);
        }
        /* All packets of the sound but the last are full: not the end. */
        assert_int_equal(tsr_audio_decoder_finish(d), TSR_OK);
        assert_int_equal(tsr_audio_decoder_lost(d), TSR_E_ARG);
        assert_int_equal(tsr_audio_decoder_push(d, s.packet[0].data, 5), TSR_E_ARG);
        out = sound_end(&d, &out, 0);
        sound_same_samples(&out, &gap);
        free(out.x);
    }
    sound_free_stream(&s);
    free(gap.x);
    free(x);
}

/* A gap is filled for ten seconds at most, and from the beginning with silence. */
static void test_long_gaps(void **state)
{
    const form f = { TOY_MONO, 1, 4, FRAMES, 1, 0, 0 };
    const tsr_audio_settings settings = settings_of(&f);
    float *x = sound_tones(600 * SPAN, 1, 9);
    sound_stream s = sound_encode(quiet, model[TOY_MONO], &settings, x, 600 * SPAN, 1,
                                  0, 1);
    (void)state;

    for (size_t first = 0; first < 2; first++) {
        char lost[600];
        memset(lost, 1, sizeof lost);
        lost[0] = first == 0;
        lost[599] = 0;
        sound_samples got = sound_decode(quiet, model[TOY_MONO], &s, 0, 0, lost);
        assert_int_equal(got.concealed, 20000);
        assert_int_equal(got.n, 80000 + (1 + first) * SPAN);
        for (size_t t = first * (SPAN + 800); t < got.n - SPAN; t++)
            assert_true(got.x[t] == 0);
        free(got.x);
    }
    sound_free_stream(&s);
    free(x);
}

/* A lost packet of segments: the last one again and again. */
static void test_lost_segments(void **state)
{
    const form f = { TOY_SEGMENTS, 2, 4, 200, 1, 0, 0 };
    const tsr_audio_settings settings = settings_of(&f);
    const size_t span = 2 * 396, n = 6 * span - 100;
    const char lost[6] = { 1, 0, 0, 1, 0, 0 };
    float *x = sound_tones(n, 2, 9);
    sound_stream s = sound_encode(quiet, model[TOY_SEGMENTS], &settings, x, n, 2, 0, 1);
    sound_samples good = sound_decode(quiet, model[TOY_SEGMENTS], &s, 0, 0, NULL);
    sound_samples got = sound_decode(quiet, model[TOY_SEGMENTS], &s, 0, 7, lost);
    double level = 0;
    (void)state;

    assert_int_equal(got.n, n);
    assert_int_equal(got.concealed, 400);
    for (size_t t = 0; t < 2 * n; t++) {
        const size_t p = t / 2 / span, in = t / 2 % 396;
        if (t % 2 == 0)
            level = p ? next_level(level, lost[p]) : 0;
        /* The overlap with what is not there any more. */
        if (in < TOY_OVERLAP && (lost[p] || (p && lost[p - 1])))
            continue;
        const size_t from = lost[p] ? 2 * (3 * span - 396 + in) + t % 2 : t;
        assert_float_equal(got.x[t], (float)level * good.x[p ? from : t], 1e-5f);
    }
    sound_free_stream(&s);
    free(good.x);
    free(got.x);
    free(x);
}

/* Packets in another order: who is overtaken is lost. */
static void test_reordered(void **state)
{
    static const size_t order[] = { 0, 2, 1, 4, 3, 3, 5 };
    const char lost[6] = { 0, 1, 0, 1, 0, 0 };
    float *x = sound_tones(6 * SPAN, 1, 9);
    sound_stream s = make_stream(x, 6 * SPAN);
    sound_samples want = sound_decode(quiet, model[TOY_MONO], &s, 0, 0, lost), got;
    tsr_audio_decoder *d = sound_decoder(quiet, model[TOY_MONO], &s, 1, &got);
    (void)state;

    for (size_t i = 0; i < sizeof order / sizeof *order; i++)
        assert_int_equal(tsr_audio_decoder_push(d, s.packet[order[i]].data,
                             s.packet[order[i]].is.bytes), TSR_OK);
    sound_end(&d, &got, 0);
    sound_same_samples(&got, &want);
    sound_free_stream(&s);
    free(want.x);
    free(got.x);
    free(x);
}

/* What comes after a last packet is refused, and changes nothing. */
static void test_after_the_last(void **state)
{
    float *x = sound_tones(6 * SPAN, 1, 9);
    sound_stream longer = make_stream(x, 6 * SPAN), s = make_stream(x, 3 * SPAN - 7);
    sound_samples got;
    tsr_audio_decoder *d = sound_decoder(quiet, model[TOY_MONO], &s, 1, &got);
    (void)state;

    for (size_t i = 0; i < 6; i++) {
        const sound_packet *p = i < 3 ? &s.packet[i] : &longer.packet[i];
        assert_int_equal(tsr_audio_decoder_push(d, p->data, p->is.bytes),
                         i < 3 ? TSR_OK : TSR_E_CORRUPT);
    }
    assert_int_equal(tsr_audio_decoder_lost(d), TSR_OK);
    sound_end(&d, &got, 0);
    as_expected(&got, x, 3 * SPAN - 7);
    assert_int_equal(got.concealed, 0);
    sound_free_stream(&s);
    sound_free_stream(&longer);
    free(got.x);
    free(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_losses),
        cmocka_unit_test(test_lost_and_damaged),
        cmocka_unit_test(test_long_gaps),
        cmocka_unit_test(test_lost_segments),
        cmocka_unit_test(test_reordered),
        cmocka_unit_test(test_after_the_last),
    };
    return cmocka_run_group_tests_name("audio loss", tests, setup, teardown);
}
