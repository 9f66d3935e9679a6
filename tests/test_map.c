/* SPDX-License-Identifier: BSD-2-Clause */
/* -map: which streams are taken. */
#include "tests/check.h"
#include "tools/media/map.h"
#include "tools/say.h"

/* A film: picture, two sounds, subtitles, and a cover. */
static const media_stream film[] = {
    { 'v', 0 }, { 'a', 0 }, { 'a', 0 }, { 's', 0 }, { 'v', 1 }
};
enum { STREAMS = sizeof film / sizeof *film };

static int choose(const char *const *maps, media_choice *c)
{
    args a = { .map.n = 0 };
    while (maps[a.map.n]) {
        a.map.item[a.map.n] = maps[a.map.n];
        a.map.n++;
    }
    *c = (media_choice){ 0, 2 };
    return media_map(&a, "film", film, STREAMS, c);
}

static void test_choices(void **state)
{
    static const struct { const char *map[4]; int video, audio; } cases[] = {
        { { NULL }, 0, 2 }, { { "0" }, 0, 2 }, { { "0:v" }, 0, -1 },
        { { "0:a" }, -1, 2 }, { { "0:a:0" }, -1, 1 },
        { { "0:a:1", "0:v:0" }, 0, 2 }, { { "0:1" }, -1, 1 },
        { { "0:4" }, 4, -1 }, { { "0:v:1", "0:a:0" }, 4, 1 },
        { { "0", "-0:a" }, 0, -1 }, { { "-0:a" }, 0, -1 },
        { { "-0:v" }, -1, 2 }, { { "0", "-0:2" }, 0, 1 },
        { { "0", "-0:0" }, 4, 2 }, { { "0:V" }, 0, -1 },
        { { "0:v", "0:a:7?" }, 0, -1 }, { { "-0:a", "0:v" }, 0, -1 },
        { { "0:v", "0:a:0", "-0:d" }, 0, 1 }
    };
    (void)state;
    say_set_level("error");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        media_choice c;
        assert_int_equal(choose(cases[i].map, &c), RC_OK);
        assert_int_equal(c.video, cases[i].video);
        assert_int_equal(c.audio, cases[i].audio);
    }
}

static void test_refused(void **state)
{
    static const char *const cases[][2] = {
        { "1:v" }, { "v" }, { "" }, { "0:x" }, { "0:a:" }, { "0:a:9" },
        { "0:9" }, { "0:v:0:1" }, { "0:a!" }, { "-" }, { "0:s" }, { "-0" },
        { "0:99999999999999999999" }, { "0 " }
    };
    (void)state;
    say_set_level("quiet");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        media_choice c;
        assert_int_equal(choose(cases[i], &c), RC_USAGE);
    }
}

static void test_single(void **state)
{
    args a = { .map = { { "0:a" }, 1 } };
    (void)state;
    say_set_level("quiet");
    assert_int_equal(media_map_only(&a, "x.wav", 'a'), RC_OK);
    assert_int_equal(media_map_only(&a, "x.png", 'v'), RC_USAGE);
    a.map.item[0] = "-0:a";
    assert_int_equal(media_map_only(&a, "x.wav", 'a'), RC_USAGE);
    assert_int_equal(media_map_only(&a, "x.png", 'v'), RC_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_choices),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_single),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
