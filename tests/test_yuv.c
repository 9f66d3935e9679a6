/* SPDX-License-Identifier: BSD-2-Clause */
/* YUV to RGB against the definition, in double precision and sample by sample. */
#include "tests/check.h"
#include <math.h>
#include "tools/media/yuv.h"

enum { SIZE_MAX_HERE = 40 };

/* A picture of three planes. */
typedef struct picture {
    yuv_form form;
    int width, height;
    uint8_t data[3][SIZE_MAX_HERE * SIZE_MAX_HERE * 2];
    yuv_plane plane[3];
} picture;

static int ceil_shift(int n, int sub)
{
    return (n + (1 << sub) - 1) >> sub;
}

/* Samples are random; one in four is an extreme. */
static void fill(picture *p, check_rng *rng)
{
    const uint32_t top = (1u << p->form.depth) - 1;
    for (int c = 0; c < 3; c++) {
        const int w = ceil_shift(p->width, c ? p->form.sub_x : 0);
        const int h = ceil_shift(p->height, c ? p->form.sub_y : 0);
        const int bytes = p->form.depth > 8 ? 2 : 1;
        p->plane[c] = (yuv_plane){ p->data[c], (size_t)(w * bytes) };
        for (int i = 0; i < w * h; i++) {
            const uint32_t kind = check_below(rng, 8);
            const uint32_t v = kind == 0 ? 0 : kind == 1 ? top
                                             : check_below(rng, top + 1);
            p->data[c][i * bytes] = (uint8_t)v;
            if (bytes == 2)
                p->data[c][2 * i + 1] = (uint8_t)(v >> 8);
        }
    }
}

static double sample(const picture *p, int c, int x, int y)
{
    const int w = ceil_shift(p->width, c ? p->form.sub_x : 0);
    const int h = ceil_shift(p->height, c ? p->form.sub_y : 0);
    const uint8_t *d = p->data[c];
    x = x < 0 ? 0 : x >= w ? w - 1 : x;
    y = y < 0 ? 0 : y >= h ? h - 1 : y;
    return p->form.depth == 8 ? d[y * w + x]
                              : d[2 * (y * w + x)] | d[2 * (y * w + x) + 1] << 8;
}

/* Where luma column or row i lies among chroma samples. */
static double place(int i, int sub, int between)
{
    const double step = 1 << sub;
    return between ? (i + 0.5) / step - 0.5 : i / step;
}

static double chroma(const picture *p, int c, int x, int y)
{
    const double u = place(x, p->form.sub_x, p->form.between_x);
    const double v = place(y, p->form.sub_y, p->form.between_y);
    const int i = (int)floor(u), j = (int)floor(v);
    const double s = u - i, t = v - j;
    return (1 - t) * ((1 - s) * sample(p, c, i, j) +
                      s * sample(p, c, i + 1, j)) +
           t * ((1 - s) * sample(p, c, i, j + 1) +
                s * sample(p, c, i + 1, j + 1));
}

static void reference(const picture *p, int x, int y, double rgb[3])
{
    static const double table[][3] = {
        { YUV_BT709, 0.2126, 0.0722 }, { YUV_BT601, 0.299, 0.114 },
        { YUV_BT601_NTSC, 0.299, 0.114 }, { YUV_BT2020, 0.2627, 0.0593 },
        { YUV_FCC, 0.30, 0.11 }, { YUV_SMPTE240, 0.212, 0.087 }
    };
    const yuv_form *f = &p->form;
    const double scale = pow(2, f->depth - 8), top = pow(2, f->depth) - 1;
    const double grey = pow(2, f->depth - 1);
    const double black = f->full ? 0 : 16 * scale;
    double kr = 0, kb = 0, luma, cb, cr;

    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (table[i][0] == f->matrix) {
            kr = table[i][1];
            kb = table[i][2];
        }
    }
    luma = (sample(p, 0, x, y) - black) / (f->full ? top : 219 * scale);
    cb = (chroma(p, 1, x, y) - grey) / (f->full ? top : 224 * scale);
    cr = (chroma(p, 2, x, y) - grey) / (f->full ? top : 224 * scale);
    rgb[0] = luma + 2 * (1 - kr) * cr;
    rgb[2] = luma + 2 * (1 - kb) * cb;
    rgb[1] = (luma - kr * rgb[0] - kb * rgb[2]) / (1 - kr - kb);
}

static double at(const tsr_image *image, int x, int y, int c)
{
    const uint8_t *row = (const uint8_t *)image->data +
                         (size_t)y * image->stride;
    const int i = x * image->channels + c;
    return image->bits == 16 ? ((const uint16_t *)(const void *)row)[i]
                             : row[i];
}

static void compare(picture *p, int channels)
{
    static uint16_t pixels[SIZE_MAX_HERE * SIZE_MAX_HERE * 4];
    tsr_image image = { .width = p->width, .height = p->height,
                        .channels = channels, .data = pixels };
    const double top = p->form.depth > 8 ? 65535 : 255;

    image.bits = p->form.depth > 8 ? 16 : 8;
    image.stride = (size_t)(p->width * channels * image.bits / 8);
    assert_int_equal(yuv_to_rgb(&p->form, p->plane, &image), 0);
    for (int y = 0; y < p->height; y++) {
        for (int x = 0; x < p->width; x++) {
            double rgb[3];
            reference(p, x, y, rgb);
            for (int c = 0; c < 3; c++) {
                const double want = fmin(fmax(rgb[c], 0), 1) * top;
                assert_true(fabs(at(&image, x, y, c) - want) <= 0.52);
            }
        }
    }
}

static void test_definition(void **state)
{
    static const int sizes[][2] = { { 1, 1 }, { 2, 2 }, { 3, 5 }, { 17, 9 },
                                    { 1, 8 }, { 32, 1 }, { 38, 40 } };
    static const int subs[][2] = { { 0, 0 }, { 1, 0 }, { 1, 1 }, { 2, 0 },
                                   { 0, 1 } };
    static const int depths[] = { 8, 9, 10, 12, 14, 16 };
    static const int matrices[] = { 1, 4, 5, 6, 7, 9 };
    static picture p;
    check_rng rng = { 1 };
    (void)state;

    for (int i = 0; i < 6 * 5 * 7 * 4; i++) {
        p.width = sizes[i % 7][0];
        p.height = sizes[i % 7][1];
        p.form = (yuv_form){
            .depth = depths[i % 6], .sub_x = subs[i % 5][0],
            .sub_y = subs[i % 5][1], .between_x = (int)check_below(&rng, 2),
            .between_y = (int)check_below(&rng, 2),
            .full = (int)check_below(&rng, 2),
            .matrix = matrices[check_below(&rng, 6)]
        };
        fill(&p, &rng);
        compare(&p, 3 + i % 2);
    }
}

/* Numbers from BT.601 and BT.709 themselves. */
static void test_colours(void **state)
{
    static const struct { int matrix, full; uint8_t yuv[3], rgb[3]; } cases[] = {
        { 5, 0, { 16, 128, 128 }, { 0, 0, 0 } },
        { 5, 0, { 235, 128, 128 }, { 255, 255, 255 } },
        { 5, 0, { 81, 90, 240 }, { 254, 0, 0 } },
        { 5, 0, { 145, 54, 34 }, { 0, 255, 1 } },
        { 5, 0, { 41, 240, 110 }, { 0, 0, 255 } },
        { 1, 0, { 63, 102, 240 }, { 255, 1, 0 } },
        { 1, 0, { 173, 42, 26 }, { 0, 255, 1 } },
        { 1, 0, { 32, 240, 118 }, { 1, 0, 255 } },
        { 5, 1, { 76, 85, 255 }, { 254, 0, 0 } },
        { 5, 1, { 255, 128, 128 }, { 255, 255, 255 } }
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const yuv_form form = { .depth = 8, .full = cases[i].full,
                                .matrix = cases[i].matrix };
        const yuv_plane plane[3] = { { &cases[i].yuv[0], 1 },
                                     { &cases[i].yuv[1], 1 },
                                     { &cases[i].yuv[2], 1 } };
        uint8_t rgb[3];
        tsr_image image = { 1, 1, 3, 8, 3, rgb };
        assert_int_equal(yuv_to_rgb(&form, plane, &image), 0);
        assert_memory_equal(rgb, cases[i].rgb, 3);
    }
}

static void test_grey(void **state)
{
    static const uint8_t samples[] = { 0, 16, 126, 235, 255 };
    static const uint8_t limited[] = { 0, 0, 128, 255, 255 };
    const yuv_plane plane = { samples, 5 };
    yuv_form form = { .depth = 8 };
    uint8_t grey[5];
    tsr_image image = { 5, 1, 1, 8, 5, grey };
    (void)state;

    yuv_to_grey(&form, &plane, &image);
    assert_memory_equal(grey, limited, 5);
    form.full = 1;
    yuv_to_grey(&form, &plane, &image);
    assert_memory_equal(grey, samples, 5);
}

static void test_matrix_of(void **state)
{
    (void)state;
    assert_int_equal(yuv_matrix_of(719), YUV_BT601);
    assert_int_equal(yuv_matrix_of(720), YUV_BT709);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_definition),
        cmocka_unit_test(test_colours),
        cmocka_unit_test(test_grey),
        cmocka_unit_test(test_matrix_of),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
