/* SPDX-License-Identifier: BSD-2-Clause */
/* Sound on its way through tools/media/track.h: cuts, gaps, times that jump. */
#include "tests/check.h"
#include "tools/media/track.h"
#include "tools/say.h"

enum { RATE = 1000, MOST = 200000 };

/* What came out: samples, and where the first of them lay. */
typedef struct result { float x[MOST]; size_t n; int64_t first; } result;

static result got;

static void drain(media_track *t, int last)
{
    media_in_item item;
    while (media_track_make(t, &item, last)) {
        if (!got.n)
            got.first = item.pts;
        /* No gaps, no steps back. */
        assert_int_equal(item.pts, got.first + (int64_t)got.n);
        assert_true(got.n + item.n <= MOST);
        memcpy(got.x + got.n, item.samples, item.n * sizeof *got.x);
        got.n += item.n;
    }
}

/* Blocks of `n` samples at the times given; every sample is its number in the
 * order of blocks, from 1. */
static void run(const args *a, const int64_t *times, int blocks, size_t n)
{
    const media_in_want want = { .audio = 1 };
    static float block[5000];
    media_track t;

    got.n = 0;
    assert_int_equal(media_track_open(&t, a, "x", (sound_form){ RATE, 1 },
                                      &want), RC_OK);
    for (int b = 0; b < blocks && !t.over; b++) {
        const media_in_item item = { .audio = 1, .pts = times[b],
                                     .samples = block, .n = n };
        for (size_t i = 0; i < n; i++)
            block[i] = (float)((size_t)b * n + i + 1);
        media_track_take(&t, &item);
        drain(&t, 0);
    }
    drain(&t, 1);
    media_track_close(&t);
}

static void test_plain(void **state)
{
    static const int64_t times[] = { 0, 1500, 3000 };
    (void)state;
    run(&(args){ .start = 0 }, times, 3, 1500);
    assert_int_equal(got.n, 4500);
    assert_int_equal(got.first, 0);
    for (size_t i = 0; i < got.n; i++)
        assert_true(got.x[i] == (float)(i + 1));
}

/* Whatever the sizes of blocks, the cut is exact. */
static void test_cut(void **state)
{
    (void)state;
    for (size_t n = 1; n < 1200; n += 37) {
        int64_t times[4000];
        const int blocks = (int)(3000 / n) + 1;
        for (int b = 0; b < blocks; b++)
            times[b] = (int64_t)((size_t)b * n);
        run(&(args){ .start = 0.75, .length = 1.25 }, times, blocks, n);
        assert_int_equal(got.n, 1250);
        assert_int_equal(got.first, 0);
        assert_true(got.x[0] == 751);
        assert_true(got.x[1249] == 2000);
        run(&(args){ .start = 0.75, .until = 0.8 }, times, blocks, n);
        assert_int_equal(got.n, 50);
        run(&(args){ .start = 9 }, times, blocks, n);
        assert_int_equal(got.n, 0);
    }
}

/* Sound that begins late keeps its place. */
static void test_late(void **state)
{
    static const int64_t times[] = { 400, 900 };
    (void)state;
    run(&(args){ .start = 0 }, times, 2, 500);
    assert_int_equal(got.first, 400);
    assert_int_equal(got.n, 1000);
    run(&(args){ .start = 0.1, .length = 0.5 }, times, 2, 500);
    assert_int_equal(got.first, 300);
    assert_int_equal(got.n, 200);
}

static void test_gaps(void **state)
{
    static const int64_t hole[] = { 0, 1300 };
    static const int64_t coarse[] = { 0, 530, 980, 1510 };
    static const int64_t clock[] = { 0, 500000, 10, -300 };
    (void)state;
    run(&(args){ .start = 0 }, hole, 2, 1000);
    assert_int_equal(got.n, 2300);
    assert_true(got.x[999] == 1000 && got.x[1000] == 0 && got.x[1299] == 0);
    assert_true(got.x[1300] == 1001);
    run(&(args){ .start = 1.2 }, hole, 2, 1000);
    assert_int_equal(got.first, 100);
    assert_true(got.x[0] == 1001);
    run(&(args){ .start = 0, .length = 1.1 }, hole, 2, 1000);
    assert_int_equal(got.n, 1100);
    /* Times that are only rounded, and those that jump by minutes or back. */
    run(&(args){ .start = 0 }, coarse, 4, 500);
    assert_int_equal(got.n, 2000);
    run(&(args){ .start = 0 }, clock, 4, 500);
    assert_int_equal(got.n, 2000);
    for (size_t i = 0; i < got.n; i++)
        assert_true(got.x[i] == (float)(i + 1));
}

/* Absurd times do no harm. */
static void test_extremes(void **state)
{
    static const int64_t times[] = { INT64_C(1) << 56, -(INT64_C(1) << 56), 0 };
    (void)state;
    run(&(args){ .start = 0 }, times, 3, 500);
    assert_int_equal(got.n, 1500);
    run(&(args){ .start = 1e7, .length = 1 }, times, 3, 500);
    assert_int_equal(got.n, 0);
}

static void test_channels(void **state)
{
    const sound_form six = { RATE, 6 };
    media_track t;
    (void)state;
    say_set_level("quiet");
    assert_int_equal(media_track_open(&t, &(args){ .channels = 4 }, "x", six,
                                      &(media_in_want){ .group = 1 }),
                     RC_USAGE);
    media_track_close(&t);
    assert_int_equal(media_track_open(&t, &(args){ .channels = 6 }, "x", six,
                                      &(media_in_want){ .group = 4 }),
                     RC_USAGE);
    media_track_close(&t);
    assert_int_equal(media_track_open(&t, &(args){ .channels = 6 }, "x", six,
                                      &(media_in_want){ .group = 2 }), RC_OK);
    assert_int_equal(t.to.channels, 6);
    media_track_close(&t);
    assert_int_equal(media_track_open(&t, &(args){ .channels = 0 }, "x", six,
                                      &(media_in_want){ .group = 2 }), RC_OK);
    assert_int_equal(t.to.channels, 2);
    media_track_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain), cmocka_unit_test(test_cut),
        cmocka_unit_test(test_late), cmocka_unit_test(test_gaps),
        cmocka_unit_test(test_extremes), cmocka_unit_test(test_channels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
