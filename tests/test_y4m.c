/* SPDX-License-Identifier: BSD-2-Clause */
/* y4m, raw video and pictures through tools/media/in.h: heads of all kinds,
 * frames, cuts, sizes, damage. */
#include "tests/check.h"
#include <unistd.h>
#include "tools/media/in.h"
#include "tools/say.h"

static char folder[] = "test_y4m-XXXXXX";
static char path[64];
static tsr_context *ctx;

/* A file being put together, and read. */
typedef struct source {
    FILE *file;
    input in;
    media_in *m;
    args a;
} source;

static source begin(const char *head)
{
    source s = { .a.max_pixels = 2147483647.0 };
    s.file = fopen(path, "wb");
    assert_non_null(s.file);
    fputs(head, s.file);
    return s;
}

/* n bytes of samples, each `value`. */
static void put(source *s, int value, int n)
{
    while (n-- > 0)
        putc(value, s->file);
}

static int open_it(source *s)
{
    int rc;
    fclose(s->file);
    rc = input_open(&s->in, path);
    return rc ? rc : media_in_open(&s->m, ctx, &s->a, &s->in, NULL);
}

static void close_it(source *s)
{
    media_in_close(&s->m);
    input_close(&s->in);
}

static int next(source *s, media_in_item *item)
{
    int end;
    assert_int_equal(media_in_next(s->m, item, &end), RC_OK);
    return !end;
}

/* Every colour space: bytes of a frame of 5 x 3, and what it becomes. */
static void test_spaces(void **state)
{
    static const struct { const char *name; int bytes, channels, bits; }
    spaces[] = {
        { "", 15 + 6 + 6, 3, 8 }, { " C420", 27, 3, 8 },
        { " C420jpeg", 27, 3, 8 }, { " C420mpeg2", 27, 3, 8 },
        { " C420paldv", 27, 3, 8 }, { " C411", 15 + 6 + 6, 3, 8 },
        { " C422", 15 + 9 + 9, 3, 8 }, { " C444", 45, 3, 8 },
        { " C444alpha", 60, 4, 8 }, { " Cmono", 15, 1, 8 },
        { " C420p10", 54, 3, 16 }, { " C422p10", 66, 3, 16 },
        { " C444p10", 90, 3, 16 }, { " C420p12", 54, 3, 16 },
        { " C420p16", 54, 3, 16 }, { " C444p14", 90, 3, 16 },
        { " C420p9", 54, 3, 16 }, { " Cmono10", 30, 1, 16 },
        { " Cmono12", 30, 1, 16 }, { " Cmono16", 30, 1, 16 }
    };
    (void)state;
    for (size_t i = 0; i < sizeof spaces / sizeof *spaces; i++) {
        media_in_item item;
        char head[128];
        source s;
        snprintf(head, sizeof head, "YUV4MPEG2 W5 H3 F30000:1001 Ip A4:3%s\n",
                 spaces[i].name);
        s = begin(head);
        for (int f = 0; f < 3; f++) {
            fputs(f == 1 ? "FRAME Ip\n" : "FRAME\n", s.file);
            put(&s, 10 * f, spaces[i].bytes);
        }
        assert_int_equal(open_it(&s), RC_OK);
        assert_int_equal(media_in_about(s.m)->still, 0);
        assert_int_equal(media_in_about(s.m)->picture.rate_num, 30000);
        assert_int_equal(media_in_about(s.m)->picture.rate_den, 1001);
        assert_int_equal(media_in_about(s.m)->picture.sar_num, 4);
        for (int f = 0; f < 3; f++) {
            assert_true(next(&s, &item));
            assert_int_equal(item.pts, f);
            assert_int_equal(item.image.channels, spaces[i].channels);
            assert_int_equal(item.image.bits, spaces[i].bits);
            assert_int_equal(item.image.width, 5);
        }
        assert_false(next(&s, &item));
        assert_int_equal(media_in_finish(s.m), RC_OK);
        close_it(&s);
    }
}

/* One frame of one colour, and its pixel. */
static void check_colour(const char *head, const uint8_t yuv[3], int luma,
                         int chroma, const uint8_t rgb[3])
{
    media_in_item item;
    source s = begin(head);
    fputs("FRAME\n", s.file);
    put(&s, yuv[0], luma);
    put(&s, yuv[1], chroma);
    put(&s, yuv[2], chroma);
    assert_int_equal(open_it(&s), RC_OK);
    assert_int_equal(media_in_about(s.m)->still, 1);
    assert_true(next(&s, &item));
    assert_memory_equal(item.image.data, rgb, 3);
    close_it(&s);
}

/* BT.601 below 720 lines, BT.709 from there on; XCOLORRANGE. */
static void test_colours(void **state)
{
    static const uint8_t red601[] = { 81, 90, 240 }, red709[] = { 63, 102, 240 };
    static const uint8_t full[] = { 76, 85, 255 };
    static const uint8_t from601[] = { 254, 0, 0 }, from709[] = { 255, 1, 0 };
    (void)state;
    check_colour("YUV4MPEG2 W2 H718 F1:1\n", red601, 1436, 359, from601);
    check_colour("YUV4MPEG2 W2 H720 F1:1\n", red709, 1440, 360, from709);
    check_colour("YUV4MPEG2 W2 H2 F1:1 XCOLORRANGE=FULL\n", full, 4, 1, from601);
    check_colour("YUV4MPEG2 W2 H2 C444 XYSCSS=444 XCOLORRANGE=LIMITED\n",
                 red601, 4, 4, from601);
}

static void refused(const char *head, int bytes, int want)
{
    source s = begin(head);
    put(&s, 0, bytes);
    assert_int_equal(open_it(&s), want);
    assert_null(s.m);
    close_it(&s);
}

static void test_refused(void **state)
{
    (void)state;
    say_set_level("quiet");
    refused("YUV4MPEG2 W0 H2\nFRAME\n", 6, RC_INPUT);
    refused("YUV4MPEG2 H2\nFRAME\n", 6, RC_INPUT);
    refused("YUV4MPEG2 W-2 H2\nFRAME\n", 6, RC_INPUT);
    refused("YUV4MPEG2 W2 H2 C420p17\nFRAME\n", 24, RC_INPUT);
    refused("YUV4MPEG2 W2 H2 C420p7\nFRAME\n", 24, RC_INPUT);
    refused("YUV4MPEG2 W2 H2 Crgb\nFRAME\n", 24, RC_INPUT);
    refused("YUV4MPEG2 W2 H2 Fx\nFRAME\n", 24, RC_INPUT);
    refused("YUV4MPEG2 W99999 H99999\nFRAME\n", 24, RC_INPUT);
    refused("YUV4MPEG2 W2 H2", 0, RC_INPUT);
    refused("YUV4MPEG2 W2 H2\n", 0, RC_INPUT);
    refused("YUV4MPEG2 W2 H2\nFRAME\n", 5, RC_INPUT);
    refused("YUV4MPEG2 W2 H2\nFRAMES\n", 6, RC_INPUT);
    /* A head without an end. */
    refused("YUV4MPEG2 W2 H2 ", 5000, RC_INPUT);
    say_set_level("warning");
}

/* What is there of a file that ends early is given. */
static void test_cut_short(void **state)
{
    media_in_item item;
    source s = begin("YUV4MPEG2 W2 H2\nFRAME\n");
    (void)state;
    say_set_level("quiet");
    put(&s, 9, 6);
    fputs("FRAME\n", s.file);
    put(&s, 9, 6);
    fputs("FRAME\n", s.file);
    put(&s, 9, 5);
    assert_int_equal(open_it(&s), RC_OK);
    assert_true(next(&s, &item));
    assert_true(next(&s, &item));
    assert_false(next(&s, &item));
    assert_int_equal(media_in_faults(s.m), 1);
    assert_int_equal(media_in_finish(s.m), RC_INPUT);
    close_it(&s);
    say_set_level("warning");
}

static source ten_frames(void)
{
    source s = begin("YUV4MPEG2 W4 H2 F10:1 Cmono\n");
    for (int f = 0; f < 10; f++) {
        fputs("FRAME\n", s.file);
        put(&s, f, 8);
    }
    return s;
}

static void check_frames(source *s, int first, int n)
{
    media_in_item item;
    for (int f = 0; f < n; f++) {
        assert_true(next(s, &item));
        assert_int_equal(item.pts, f);
        assert_int_equal(*(uint8_t *)item.image.data, first + f);
    }
    assert_false(next(s, &item));
}

static void test_cuts(void **state)
{
    static const struct { double start, length, until; int first, n, still; }
    cuts[] = {
        { 0, 0, 0, 0, 10, 0 }, { 0.3, 0, 0, 3, 7, 0 }, { 0.3, 0.4, 0, 3, 4, 0 },
        { 0.3, 0, 0.5, 3, 2, 0 }, { 0, 0.2, 0, 0, 2, 0 },
        { 0.9, 0, 0, 9, 1, 1 }, { 0.5, 0.1, 0, 5, 1, 1 },
        { 0.3, 5, 0, 3, 7, 0 }, { 0, 0, 77, 0, 10, 0 }
    };
    source s;
    (void)state;
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        s = ten_frames();
        s.a.start = cuts[i].start;
        s.a.length = cuts[i].length;
        s.a.until = cuts[i].until;
        assert_int_equal(open_it(&s), RC_OK);
        assert_int_equal(media_in_about(s.m)->still, cuts[i].still);
        check_frames(&s, cuts[i].first, cuts[i].n);
        close_it(&s);
    }
    say_set_level("quiet");
    s = ten_frames();
    s.a.start = 1;
    assert_int_equal(open_it(&s), RC_INPUT);
    close_it(&s);
    s = ten_frames();
    s.a.start = 0.5;
    s.a.until = 0.5;
    assert_int_equal(open_it(&s), RC_USAGE);
    close_it(&s);
    s = ten_frames();
    s.a.map = (args_list){ { "0:a" }, 1 };
    assert_int_equal(open_it(&s), RC_USAGE);
    close_it(&s);
    say_set_level("warning");
}

static void test_size(void **state)
{
    media_in_item item;
    source s = ten_frames();
    (void)state;
    s.a.size = "6x9";
    assert_int_equal(open_it(&s), RC_OK);
    assert_int_equal(media_in_about(s.m)->picture.width, 6);
    assert_int_equal(media_in_about(s.m)->picture.height, 9);
    /* 4 x 2 square pixels on 6 x 9: each is 3 wide to 1 high. */
    assert_int_equal(media_in_about(s.m)->picture.sar_num, 3);
    assert_int_equal(media_in_about(s.m)->picture.sar_den, 1);
    for (int f = 0; f < 10; f++) {
        assert_true(next(&s, &item));
        assert_int_equal(item.image.width, 6);
        assert_int_equal(item.image.height, 9);
        assert_int_equal(((uint8_t *)item.image.data)[8 * item.image.stride + 5],
                         f);
    }
    close_it(&s);
    say_set_level("quiet");
    s = ten_frames();
    s.a.size = "6x";
    assert_int_equal(open_it(&s), RC_USAGE);
    close_it(&s);
    say_set_level("warning");
}

static void raw(const char *form, int bytes, int channels, int bits,
                const char *rate)
{
    media_in_item item;
    source s = begin("");
    for (int i = 0; i < 2 * bytes; i++)
        putc(i % 251, s.file);
    s.a.of_input.format = "rawvideo";
    s.a.of_input.pixel_format = form;
    s.a.of_input.size = "5x3";
    s.a.of_input.frame_rate = rate;
    assert_int_equal(open_it(&s), RC_OK);
    assert_true(next(&s, &item));
    assert_int_equal(item.image.channels, channels);
    assert_int_equal(item.image.bits, bits);
    assert_true(next(&s, &item));
    assert_false(next(&s, &item));
    assert_int_equal(media_in_finish(s.m), RC_OK);
    close_it(&s);
}

static void test_raw(void **state)
{
    static const uint8_t bgr[6] = { 3, 2, 1, 6, 5, 4 };
    static const uint8_t rgb[6] = { 1, 2, 3, 4, 5, 6 };
    media_in_item item;
    source s;
    (void)state;
    raw("rgb24", 45, 3, 8, NULL);
    raw("bgr24", 45, 3, 8, "30");
    raw("rgba", 60, 4, 8, "30000/1001");
    raw("gray", 15, 1, 8, "23.976");
    raw("yuv420p", 27, 3, 8, "0.5");
    raw("yuv444p", 45, 3, 8, NULL);
    raw("rgb48le", 90, 3, 16, NULL);
    raw("yuv420p10le", 54, 3, 16, NULL);
    s = begin("");
    fwrite(bgr, 1, 6, s.file);
    s.a.of_input.format = "rawvideo";
    s.a.of_input.pixel_format = "bgr24";
    s.a.of_input.size = "2x1";
    assert_int_equal(open_it(&s), RC_OK);
    assert_int_equal(media_in_about(s.m)->still, 1);
    assert_int_equal(media_in_about(s.m)->picture.rate_num, 25);
    assert_true(next(&s, &item));
    assert_memory_equal(item.image.data, rgb, 6);
    close_it(&s);
}

static void raw_refused(const char *form, const char *size, const char *rate)
{
    source s = begin("0123456789");
    s.a.of_input.format = "rawvideo";
    s.a.of_input.pixel_format = form;
    s.a.of_input.size = size;
    s.a.of_input.frame_rate = rate;
    assert_int_not_equal(open_it(&s), RC_OK);
    assert_null(s.m);
    close_it(&s);
}

static void test_raw_refused(void **state)
{
    static const char *const rates[] = { "0", "-1", "x", "1/0", "25fps", "nan",
                                         "1e9", "" };
    static const char *const sizes[] = { "0x2", "2", "2x2x2", "2x-1", "ax2",
                                         "999999999x999999999", "9x9" };
    (void)state;
    say_set_level("quiet");
    raw_refused(NULL, "2x2", NULL);
    raw_refused("gray", NULL, NULL);
    raw_refused("rgb23", "2x2", NULL);
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++)
        raw_refused("gray", "2x2", rates[i]);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        raw_refused("gray", sizes[i], NULL);
    say_set_level("warning");
}

static int set_up(void **state)
{
    (void)state;
    ctx = check_context("c", 1);
    snprintf(path, sizeof path, "%s/x", mkdtemp(folder));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    tsr_context_close(&ctx);
    unlink(path);
    rmdir(folder);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spaces), cmocka_unit_test(test_colours),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_cut_short),
        cmocka_unit_test(test_cuts), cmocka_unit_test(test_size),
        cmocka_unit_test(test_raw), cmocka_unit_test(test_raw_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
