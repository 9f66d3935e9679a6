/* SPDX-License-Identifier: BSD-2-Clause */
/* Scaling against the sum that defines it, and what it must leave as it is. */
#include "tests/check.h"
#include <math.h>
#include "tools/media/scale.h"
#include "tools/media/turn.h"

enum { SIDE = 48 };

static uint16_t from_pixels[SIDE * SIDE * 4], to_pixels[SIDE * SIDE * 4];

static tsr_image image_of(void *pixels, int width, int height, int channels,
                          int bits)
{
    const size_t stride = (size_t)(width * channels * bits / 8);
    return (tsr_image){ width, height, channels, bits, stride, pixels };
}

static double at(const tsr_image *image, int x, int y, int c)
{
    const size_t i = (size_t)((y * image->width + x) * image->channels + c);
    return image->bits == 16 ? ((const uint16_t *)image->data)[i]
                             : ((const uint8_t *)image->data)[i];
}

static double kernel(double x)
{
    const double pi = 3.14159265358979323846;
    if (x == 0)
        return 1;
    return fabs(x) < 3 ? sin(pi * x) / (pi * x) * sin(pi * x / 3) / (pi * x / 3)
                       : 0;
}

static int inside(int i, int n)
{
    return i < 0 ? 0 : i >= n ? n - 1 : i;
}

static double reference(const tsr_image *from, const tsr_image *to, int x, int y,
                        int c)
{
    const double sx = (double)from->width / to->width;
    const double sy = (double)from->height / to->height;
    const double wx = fmax(sx, 1), wy = fmax(sy, 1);
    const double u = (x + 0.5) * sx - 0.5, v = (y + 0.5) * sy - 0.5;
    double sum = 0, weights = 0;

    for (int j = (int)floor(v - 3 * wy); j <= v + 3 * wy + 1; j++) {
        for (int i = (int)floor(u - 3 * wx); i <= u + 3 * wx + 1; i++) {
            const double w = kernel((i - u) / wx) * kernel((j - v) / wy);
            sum += w * at(from, inside(i, from->width), inside(j, from->height),
                          c);
            weights += w;
        }
    }
    return sum / weights;
}

static void scale(const tsr_image *from, tsr_image *to)
{
    media_scale *s = media_scale_open(from->width, from->height, to->width,
                                      to->height);
    assert_non_null(s);
    media_scale_run(s, from, to);
    media_scale_close(&s);
    assert_null(s);
}

static void test_definition(void **state)
{
    static const int sizes[][4] = { { 8, 8, 16, 16 }, { 17, 5, 9, 23 },
                                    { 1, 1, 7, 3 }, { 40, 40, 3, 1 },
                                    { 5, 48, 5, 47 }, { 2, 3, 48, 48 },
                                    { 48, 1, 1, 48 } };
    check_rng rng = { 7 };
    (void)state;
    for (int i = 0; i < 7 * 8; i++) {
        const int *s = sizes[i % 7], channels = 1 + i % 4;
        const int bits = i / 7 % 2 ? 16 : 8;
        const double top = bits == 16 ? 65535 : 255;
        const tsr_image from = image_of(from_pixels, s[0], s[1], channels, bits);
        tsr_image to = image_of(to_pixels, s[2], s[3], channels, bits);
        for (size_t k = 0; k < sizeof from_pixels / 2; k++)
            from_pixels[k] = (uint16_t)check_u32(&rng);
        scale(&from, &to);
        for (int y = 0; y < to.height; y++)
            for (int x = 0; x < to.width; x++)
                for (int c = 0; c < channels; c++)
                    assert_true(fabs(fmin(fmax(reference(&from, &to, x, y, c),
                                               0), top) -
                                     at(&to, x, y, c)) <= 0.55);
    }
}

static void test_constant(void **state)
{
    const tsr_image from = image_of(from_pixels, 31, 17, 3, 16);
    tsr_image to = image_of(to_pixels, 13, 44, 3, 16);
    (void)state;
    for (size_t k = 0; k < sizeof from_pixels / 2; k++)
        from_pixels[k] = 65535;
    scale(&from, &to);
    for (int i = 0; i < 13 * 44 * 3; i++)
        assert_int_equal(to_pixels[i], 65535);
}

/* The eight ways of EXIF: where the corner (0, 0) of a picture of 3 x 2 that is
 * stored so comes from. */
static void test_turn(void **state)
{
    static const uint8_t stored[6] = { 1, 2, 3, 4, 5, 6 };
    static const uint8_t upright[8][6] = {
        { 1, 2, 3, 4, 5, 6 }, { 3, 2, 1, 6, 5, 4 }, { 6, 5, 4, 3, 2, 1 },
        { 4, 5, 6, 1, 2, 3 }, { 1, 4, 2, 5, 3, 6 }, { 4, 1, 5, 2, 6, 3 },
        { 6, 3, 5, 2, 4, 1 }, { 3, 6, 2, 5, 1, 4 }
    };
    static const int32_t quarter = 1 << 16;
    uint8_t out[6], copy[6];
    (void)state;
    memcpy(copy, stored, sizeof copy);
    for (int i = 0; i < 8; i++) {
        const int swap = i >= 4;
        const tsr_image from = { 3, 2, 1, 8, 3, copy };
        tsr_image to = { swap ? 2 : 3, swap ? 3 : 2, 1, 8, swap ? 2 : 3, out };
        assert_int_equal(media_turn_exif(i + 1) & TURN_SWAP, swap);
        media_turn(&from, media_turn_exif(i + 1), &to);
        assert_memory_equal(out, upright[i], 6);
    }
    assert_int_equal(media_turn_exif(9), 0);
    /* A quarter to the right, as phones write it: (p, q) to (-q, p). */
    assert_int_equal(media_turn_matrix((int32_t[9]){ 0, quarter, 0, -quarter }),
                     media_turn_exif(6));
    assert_int_equal(media_turn_matrix((int32_t[9]){ -quarter, 0, 0, 0,
                                                     -quarter }),
                     media_turn_exif(3));
    assert_int_equal(media_turn_matrix((int32_t[9]){ quarter, 0, 0, 0,
                                                     quarter }), 0);
    assert_int_equal(media_turn_matrix((int32_t[9]){ quarter, 9, 0, 9,
                                                     quarter }), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_definition),
        cmocka_unit_test(test_constant),
        cmocka_unit_test(test_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
