/* SPDX-License-Identifier: BSD-2-Clause */
/* Channels and sampling rates: in pieces of any size, in step, in tune. */
#include "tests/check.h"
#include <math.h>
#include "tools/say.h"
#include "tools/sound/convert.h"

enum { MAX = 200000 };

/* Converts n samples in random pieces; returns how many came out. */
static size_t convert(sound_form from, sound_form to, const float *x, size_t n,
                      float *y, uint64_t seed)
{
    check_rng r = { seed };
    converter c;
    size_t at = 0, out = 0, used, made;
    int end;
    const int rc = convert_open(&c, "sound", from, to);

    if (rc) {
        convert_close(&c);
        skip();
    }
    do {
        size_t now = seed ? 1 + check_below(&r, 700) : MAX;
        const size_t room = seed ? 1 + check_below(&r, 900) : MAX;
        now = now < n - at ? now : n - at;
        end = at == n;
        convert_run(&c, at < n ? x + at * (size_t)from.channels : NULL, now,
                    &used, y + out * (size_t)to.channels,
                    room < MAX - out ? room : MAX - out, &made);
        assert_true(used <= now);
        at += used;
        out += made;
    } while (!end || made);
    convert_close(&c);
    return out;
}

static void test_channels(void **state)
{
    const float x[] = { 1, 0.5f, 0, -0.5f, 0.25f, 0.75f };
    float y[16];
    (void)state;
    assert_int_equal(convert((sound_form){ 8000, 2 }, (sound_form){ 8000, 1 },
                             x, 3, y, 0), 3);
    assert_true(y[0] == 0.75f && y[1] == -0.25f && y[2] == 0.5f);
    assert_int_equal(convert((sound_form){ 8000, 1 }, (sound_form){ 8000, 2 },
                             x, 3, y, 7), 3);
    assert_true(y[0] == 1 && y[1] == 1 && y[2] == 0.5f && y[5] == 0);
    assert_int_equal(convert((sound_form){ 8000, 3 }, (sound_form){ 8000, 3 },
                             x, 2, y, 7), 2);
    assert_memory_equal(x, y, sizeof x);
    assert_int_equal(convert((sound_form){ 8000, 6 }, (sound_form){ 8000, 2 },
                             x, 1, y, 7), 1);
    assert_true(y[0] == y[1] && fabsf(y[0] - 2.0f / 6) < 1e-6f);
}

/* A sine stays that sine: no delay, no other level, as long as it was. */
static void test_rates(void **state)
{
    static const int rates[][2] = {
        { 48000, 24000 }, { 44100, 24000 }, { 16000, 24000 }, { 24000, 44100 },
        { 192000, 24000 }, { 8000, 24000 }, { 11025, 16000 }, { 44101, 24000 },
    };
    static float x[MAX], y[MAX], z[MAX];
    (void)state;
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
        const sound_form from = { rates[i][0], 1 }, to = { rates[i][1], 1 };
        const double tone = 2 * 3.14159265358979323846 * 1000;
        const size_t n = (size_t)from.rate / 2;
        const double want = (double)n * to.rate / from.rate;
        size_t got;
        for (size_t k = 0; k < n; k++)
            x[k] = (float)sin(tone * (double)k / from.rate);
        got = convert(from, to, x, n, y, 0);
        assert_true(fabs((double)got - want) <= 1);
        for (size_t k = 1000; k < got - 1000; k++)
            assert_true(fabs((double)y[k] - sin(tone * (double)k / to.rate)) <
                        2e-5);
        assert_int_equal(convert(from, to, x, n, z, 3 + i), got);
        assert_memory_equal(y, z, got * sizeof *y);
    }
}

static void test_extremes(void **state)
{
    static float x[MAX], y[MAX];
    (void)state;
    x[0] = 1;
    assert_int_equal(convert((sound_form){ 48000, 1 }, (sound_form){ 24000, 1 },
                             x, 1, y, 3), 1);
    assert_int_equal(convert((sound_form){ 1, 1 }, (sound_form){ 24000, 1 }, x,
                             2, y, 3), 48000);
    assert_int_equal(convert((sound_form){ 768000, 64 },
                             (sound_form){ 24000, 64 }, x, 3000, y, 3), 94);
    assert_int_equal(convert((sound_form){ 48000, 2 }, (sound_form){ 24000, 1 },
                             x, 0, y, 3), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_channels),
        cmocka_unit_test(test_rates),
        cmocka_unit_test(test_extremes),
    };
    say_set_level("quiet");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
