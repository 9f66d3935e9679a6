/* SPDX-License-Identifier: BSD-2-Clause */
/* Parts of the program's media: the order of packets, colours, and ends of files
 * that were cut. */
#include "tests/check.h"
#include <math.h>
#include <tessera/media.h>
#include "tools/media/mix.h"
#include "tools/media/planes.h"
#include "tools/media/whole.h"

/* ---- mix ---- */

enum { MAX = 4096 };

/* What came out. */
static struct { int stream; int64_t pts; } seen[MAX];
static int n_seen;

/* In place of files. */
int packets_out_packet(packets_out *p, const tsr_media_packet *packet)
{
    (void)p;
    assert_true(n_seen < MAX);
    assert_int_equal(packet->bytes, sizeof packet->pts);
    assert_memory_equal(packet->data, &packet->pts, sizeof packet->pts);
    seen[n_seen].stream = packet->stream;
    seen[n_seen++].pts = packet->pts;
    return 0;
}

static void put(mix *m, int stream, int64_t pts, int64_t next)
{
    const tsr_media_packet p = { stream, pts, 1, (const uint8_t *)&pts,
                                 sizeof pts };
    assert_int_equal(mix_put(m, &p, next), 0);
}

static mix two_streams(void)
{
    mix m = { 0 };
    const tsr_media_stream video = { .time_num = 1, .time_den = 25 };
    const tsr_media_stream sound = { .time_num = 1, .time_den = 24000 };
    n_seen = 0;
    mix_stream(&m, &video);
    mix_stream(&m, &sound);
    return m;
}

/* 1: what came out is in the order of time, the first stream first. */
static int in_order(void)
{
    for (int i = 1; i < n_seen; i++) {
        const double a = (double)seen[i - 1].pts /
                         (seen[i - 1].stream ? 24000 : 25);
        const double b = (double)seen[i].pts / (seen[i].stream ? 24000 : 25);
        if (a > b || (!(a < b) && seen[i - 1].stream > seen[i].stream))
            return 0;
    }
    return 1;
}

static void test_order(void **state)
{
    check_rng r = { 5 };
    (void)state;
    for (int round = 0; round < 50; round++) {
        mix m = two_streams();
        int64_t frame = 0, sample = 0;
        while (frame < 200 || sample < 24000 * 8) {
            const int sound = frame >= 200 ||
                (sample < 24000 * 8 && check_below(&r, 20) == 0);
            if (sound) {
                put(&m, 1, sample, sample + 24000);
                sample += 24000;
            } else {
                put(&m, 0, frame, frame + 1);
                frame++;
            }
            if (frame == 200)
                assert_int_equal(mix_end(&m, 0), 0);
        }
        assert_int_equal(mix_end(&m, 1), 0);
        assert_int_equal(n_seen, 208);
        assert_true(in_order());
        mix_close(&m);
    }
}

/* Nothing waits longer than it has to. */
static void test_no_delay(void **state)
{
    mix m = two_streams();
    (void)state;
    put(&m, 0, 0, 1);
    put(&m, 0, 1, 2);
    assert_int_equal(n_seen, 0);    /* sound may begin below 0 */
    put(&m, 1, 0, 24000);
    assert_int_equal(n_seen, 3);
    put(&m, 0, 2, 3);
    assert_int_equal(n_seen, 4);
    put(&m, 0, 25, 26);
    assert_int_equal(n_seen, 5);    /* a frame at 1 s is before sound at 1 s */
    put(&m, 0, 26, 27);
    assert_int_equal(n_seen, 5);
    assert_int_equal(mix_end(&m, 1), 0);
    assert_int_equal(n_seen, 6);
    mix_close(&m);
}

/* One stream alone passes; what a stream that never comes holds back is bounded
 * and freed. */
static void test_bounded(void **state)
{
    enum { BIG = 1 << 20 };
    static uint8_t data[BIG];
    mix m = two_streams();
    const tsr_media_stream third = { .time_num = 1, .time_den = 1 };
    (void)state;
    mix_stream(&m, &third);
    n_seen = 0;
    put(&m, 1, 0, 1);
    assert_int_equal(n_seen, 0);
    for (int64_t i = 1; i < 60; i++) {
        const tsr_media_packet p = { 1, i, 1, data, BIG };
        assert_int_equal(mix_put(&m, &p, i + 1), 0);
    }
    assert_int_equal(n_seen, 0);
    assert_true(m.bytes > 58 * (size_t)BIG && m.bytes <= MIX_BYTES);
    mix_close(&m);
    assert_int_equal(m.bytes, 0);
}

/* ---- planes_pack ---- */

typedef struct pixel { double r, g, b; } pixel;

static double clip(double v, double top)
{
    return v < 0 ? 0 : v > top ? top : v;
}

static uint16_t value_at(const tsr_image *p, int x, int y, int c)
{
    const uint8_t *row = (const uint8_t *)p->data + (size_t)y * p->stride;
    const size_t i = (size_t)x * (size_t)p->channels + (size_t)c;
    return p->bits == 8 ? row[i] : ((const uint16_t *)(const void *)row)[i];
}

/* Mean colour of the samples that a chroma sample stands for. */
static pixel mean(const tsr_image *p, int x, int y, int sub_x, int sub_y)
{
    const double top = p->bits == 8 ? 255 : 65535;
    pixel sum = { 0, 0, 0 };
    int n = 0;
    for (int j = y << sub_y; j < (y + 1) << sub_y && j < p->height; j++) {
        for (int i = x << sub_x; i < (x + 1) << sub_x && i < p->width; i++) {
            const int c = p->channels > 2 ? 1 : 0;
            sum.r += value_at(p, i, j, 0) / top;
            sum.g += value_at(p, i, j, c) / top;
            sum.b += value_at(p, i, j, 2 * c) / top;
            n++;
        }
    }
    return (pixel){ sum.r / n, sum.g / n, sum.b / n };
}

/* What H.273 says of plane 0, 1 or 2. */
static double wanted(const yuv_form *f, pixel p, int plane)
{
    const double scale = 1 << (f->depth - 8), top = (1 << f->depth) - 1;
    double kr, kb, y;
    yuv_weights(f->matrix, &kr, &kb);
    y = kr * p.r + (1 - kr - kb) * p.g + kb * p.b;
    if (!plane)
        return clip(f->full ? top * y : scale * (16 + 219 * y), top);
    y = plane == 1 ? (p.b - y) / (2 - 2 * kb) : (p.r - y) / (2 - 2 * kr);
    return clip(128 * scale + (f->full ? top : 224 * scale) * y, top);
}

static double plane_error(const planes *p, const tsr_image *image,
                          const uint8_t *frame, int plane)
{
    const int sx = plane ? p->yuv.sub_x : 0, sy = plane ? p->yuv.sub_y : 0;
    const int w = (p->width + (1 << sx) - 1) >> sx;
    const int h = (p->height + (1 << sy) - 1) >> sy;
    double worst = 0;
    for (int y = 0; y < h; y++) {
        for (int x = 0; x < w; x++) {
            const size_t i = (size_t)y * (size_t)w + (size_t)x;
            const int v = p->yuv.depth == 8 ? frame[i]
                : frame[2 * i] | frame[2 * i + 1] << 8;
            const double e = fabs(v - wanted(&p->yuv, mean(image, x, y, sx, sy),
                                             plane));
            worst = e > worst ? e : worst;
        }
    }
    return worst;
}

static tsr_image random_image(check_rng *r, int width, int height, int channels,
                              int bits, void *data)
{
    tsr_image p = { width, height, channels, bits,
                    (size_t)(width * channels * bits / 8), data };
    for (size_t i = 0; i < p.stride * (size_t)height; i++)
        ((uint8_t *)data)[i] = check_below(r, 4) ? (uint8_t)check_u32(r)
                                                 : check_below(r, 2) ? 255 : 0;
    return p;
}

static void check_planes(check_rng *r, const char *name, int matrix, int full,
                         int channels, int bits)
{
    static const int sizes[][2] = { { 1, 1 }, { 2, 2 }, { 3, 5 }, { 17, 4 },
                                    { 16, 9 } };
    static uint16_t pixels[4 * 17 * 9];
    static uint8_t frame[8 * 17 * 9];
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        planes p = { .width = sizes[i][0], .height = sizes[i][1] };
        const tsr_image image = random_image(r, p.width, p.height, channels,
                                             bits, pixels);
        size_t at = 0;
        assert_true(planes_named(&p, name));
        p.yuv.matrix = matrix;
        p.yuv.full = full;
        assert_int_equal(planes_pack(&p, &image, frame), 0);
        for (int plane = 0; plane < 3; plane++) {
            const int sx = plane ? p.yuv.sub_x : 0;
            const int sy = plane ? p.yuv.sub_y : 0;
            assert_true(plane_error(&p, &image, frame + at, plane) < 0.51);
            at += (size_t)((p.width + (1 << sx) - 1) >> sx) *
                  (size_t)((p.height + (1 << sy) - 1) >> sy) *
                  (p.yuv.depth > 8 ? 2 : 1);
        }
    }
}

static void test_yuv(void **state)
{
    static const char *const names[] = { "yuv420p", "yuv422p", "yuv444p",
                                         "yuv420p10le", "yuv444p12le" };
    static const int matrices[] = { 1, 5, 9 };
    check_rng r = { 11 };
    (void)state;
    for (size_t n = 0; n < sizeof names / sizeof *names; n++)
        for (int m = 0; m < 3; m++)
            for (int full = 0; full < 2; full++)
                for (int channels = 1; channels <= 4; channels++)
                    check_planes(&r, names[n], matrices[m], full, channels,
                                 channels % 2 ? 8 : 16);
}

/* Pixels that stay pixels stay as they are. */
static void test_pixels(void **state)
{
    static uint8_t data[7 * 3 * 4], frame[7 * 3 * 4];
    check_rng r = { 3 };
    planes p = { .width = 7, .height = 3 };
    tsr_image image = random_image(&r, 7, 3, 3, 8, data);
    (void)state;
    assert_true(planes_named(&p, "rgb24"));
    assert_int_equal(planes_pack(&p, &image, frame), 0);
    assert_memory_equal(frame, data, 63);
    assert_true(planes_named(&p, "bgr24"));
    assert_int_equal(planes_pack(&p, &image, frame), 0);
    for (int i = 0; i < 63; i++)
        assert_int_equal(frame[i], data[i - i % 3 + 2 - i % 3]);
    assert_true(planes_named(&p, "rgba"));
    assert_int_equal(planes_pack(&p, &image, frame), 0);
    for (int i = 0; i < 84; i++)
        assert_int_equal(frame[i], i % 4 < 3 ? data[i / 4 * 3 + i % 4] : 255);
    image = random_image(&r, 7, 3, 4, 8, data);
    assert_int_equal(planes_pack(&p, &image, frame), 0);
    assert_memory_equal(frame, data, 84);
    assert_true(planes_named(&p, "rgb24"));
    assert_int_equal(planes_pack(&p, &image, frame), 0);
    for (int i = 0; i < 63; i++)
        assert_int_equal(frame[i], data[i / 3 * 4 + i % 3]);
}

/* ---- whole ---- */

/* Whether the first n bytes are cut, fed in pieces of `step`. */
static int cut_at(int nut, const uint8_t *data, size_t n, size_t step)
{
    whole w = { .nut = nut };
    for (size_t at = 0; at < n; at += step)
        whole_feed(&w, data + at, n - at < step ? n - at : step);
    return whole_cut(&w);
}

static int file_cut(int nut, const uint8_t *data, size_t n)
{
    const char *name = "test_media_parts.bin";
    FILE *f = fopen(name, "wb");
    input in;
    int cut;
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, n, f), n);
    fclose(f);
    assert_int_equal(input_open(&in, name), 0);
    cut = whole_file_cut(nut, &in);
    input_close(&in);
    remove(name);
    return cut;
}

static size_t add_box(uint8_t *to, const char *type, size_t bytes, int wide)
{
    const size_t head = wide ? 16 : 8, size = head + bytes;
    memset(to, 'x', size);
    memset(to, 0, head);
    memcpy(to + 4, type, 4);
    to[wide ? 14 : 2] = (uint8_t)(size >> 8);
    to[wide ? 15 : 3] = (uint8_t)size;
    if (wide)
        to[3] = 1;
    return size;
}

static void test_mov(void **state)
{
    uint8_t data[2048];
    size_t n = 0, ends[8], last = 0;
    (void)state;
    n += add_box(data + n, "ftyp", 12, 0);
    ends[0] = n;
    n += add_box(data + n, "mdat", 700, 1);
    ends[1] = n;
    n += add_box(data + n, "moov", 300, 0);
    ends[2] = n;
    for (size_t at = 1; at <= n; at++) {
        const int end = at == ends[0] || at == ends[1] || at == ends[2];
        assert_int_equal(cut_at(0, data, at, 1 + at % 37), !end);
        if (at > 64 && (at % 13 == 0 || end))
            assert_int_equal(file_cut(0, data, at), !end);
    }
    n = add_box(data, "moov", 90, 0);
    for (int i = 0; i < 3; i++) {
        n += add_box(data + n, "moof", 30, 0);
        n += add_box(data + n, "mdat", 50, 0);
        last = n;
    }
    assert_true(cut_at(0, data, last, 5));
    assert_true(file_cut(0, data, last));
    n += add_box(data + n, "mfra", 40, 0);
    assert_false(cut_at(0, data, n, 7));
    assert_false(file_cut(0, data, n));
    assert_true(cut_at(0, data, n - 1, 7));
    data[3] = 0;    /* "to the end of the file" */
    assert_false(cut_at(0, data, n - 1, 7));
    memset(data, 0xff, sizeof data);
    assert_true(cut_at(0, data, sizeof data, 100));
}

static void test_nut(void **state)
{
    static const uint8_t code[] = { 0x4e, 0x58, 0xdd, 0x67, 0x2f, 0x23, 0xe6,
                                    0x4e };
    uint8_t data[600];
    check_rng r = { 9 };
    (void)state;
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)check_u32(&r);
    assert_true(cut_at(1, data, sizeof data, 11));
    assert_true(cut_at(1, data, 3, 2));
    memcpy(data + 500, code, sizeof code);
    assert_true(cut_at(1, data, sizeof data, 11));
    assert_true(file_cut(1, data, sizeof data));
    memset(data + 588, 0, 8);
    data[595] = 100;
    for (size_t step = 1; step < 30; step++) {
        assert_false(cut_at(1, data, sizeof data, step));
        assert_true(cut_at(1, data, sizeof data - step, step));
    }
    assert_false(file_cut(1, data, sizeof data));
    assert_true(file_cut(1, data, sizeof data - 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order), cmocka_unit_test(test_no_delay),
        cmocka_unit_test(test_bounded), cmocka_unit_test(test_yuv),
        cmocka_unit_test(test_pixels), cmocka_unit_test(test_mov),
        cmocka_unit_test(test_nut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
