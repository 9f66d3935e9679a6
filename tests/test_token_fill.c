/* SPDX-License-Identifier: BSD-2-Clause */
/* Lost tokens filled in: from their neighbours, and by the trained net. */
#include <math.h>
#include "tests/check.h"
#include "tests/poor.h"
#include "codecs/image/token_near.h"

enum { LOST = 7 };              /* any value but 0 */

/* A grid with its words and the vectors that come out. */
typedef struct field {
    tsri_near_grid grid;
    int32_t *id;
    uint8_t *lost;
    float *words;
    tsri_fmap z;
} field;

static void *room(size_t count, size_t size)
{
    void *p = calloc(count ? count : 1, size);
    assert_non_null(p);
    return p;
}

/* All known; the ids are random. */
static field field_new(check_rng *rng, int height, int width, int codes, int dim)
{
    const size_t n = (size_t)height * (size_t)width;
    field f = { .id = room(n, sizeof *f.id), .lost = room(n, 1),
                .words = room((size_t)(codes * dim), sizeof *f.words) };

    for (int i = 0; i < codes * dim; i++)
        f.words[i] = check_float(rng);
    for (size_t i = 0; i < n; i++)
        f.id[i] = (int32_t)check_below(rng, (uint32_t)codes);
    f.z = (tsri_fmap){ room(n * (size_t)dim, sizeof(float)), dim, height, width,
                       n, (size_t)width };
    f.grid = (tsri_near_grid){ f.id, f.lost, height, width, f.words, dim,
                               f.words + dim * (codes - 1) };
    return f;
}

static void field_free(field *f)
{
    free(f->id);
    free(f->lost);
    free(f->words);
    free(f->z.data);
}

/* What every test starts from: known vectors stand, holes are NaN and their
 * ids must not be used. */
static void prepare(field *f)
{
    for (size_t i = 0; i < f->z.plane; i++)
        for (int c = 0; c < f->grid.dim; c++)
            f->z.data[(size_t)c * f->z.plane + i] = f->lost[i] ? NAN :
                f->words[f->id[i] * f->grid.dim + c];
    for (size_t i = 0; i < f->z.plane; i++)
        f->id[i] = f->lost[i] ? INT32_MAX : f->id[i];
}

static float value(const field *f, int y, int x, int c)
{
    return f->z.data[(size_t)c * f->z.plane + (size_t)y * f->z.row + (size_t)x];
}

static void lose_random(field *f, check_rng *rng, uint32_t percent)
{
    for (size_t i = 0; i < f->z.plane; i++)
        f->lost[i] = check_below(rng, 100) < percent ? LOST : 0;
}

static void lose_rect(field *f, int y0, int x0, int y1, int x1)
{
    for (int y = y0; y < y1; y++)
        memset(f->lost + y * f->grid.width + x0, LOST, (size_t)(x1 - x0));
}

static void fill(tsr_context *ctx, field *f)
{
    prepare(f);
    assert_int_equal(tsri_near_fill(ctx, &f->grid, &f->z), TSR_OK);
}

static void all_are(const field *f, const float *word)
{
    for (int y = 0; y < f->grid.height; y++)
        for (int x = 0; x < f->grid.width; x++)
            for (int c = 0; c < f->grid.dim; c++)
                if (value(f, y, x, c) != word[c])
                    fail_msg("(%d, %d): %g, not %g", y, x,
                             (double)value(f, y, x, c), (double)word[c]);
}

static const int sizes[][2] = { { 1, 1 }, { 1, 2 }, { 3, 1 }, { 5, 4 },
                                { 16, 16 }, { 1, 40 }, { 33, 61 }, { 130, 7 } };
enum { SIZES = sizeof sizes / sizeof *sizes };

/* A field of one code comes back exactly, however it is torn. */
static void test_constant(void **state)
{
    tsr_context *ctx = check_context("c", 2);
    check_rng rng = { 1 };

    (void)state;
    for (int i = 0; i < SIZES; i++)
        for (uint32_t percent = 5; percent < 100; percent += 31) {
            field f = field_new(&rng, sizes[i][0], sizes[i][1], 9, 5);
            for (size_t k = 0; k < f.z.plane; k++)
                f.id[k] = 4;
            lose_random(&f, &rng, percent);
            f.lost[check_below(&rng, (uint32_t)f.z.plane)] = 0;
            fill(ctx, &f);
            all_are(&f, f.words + 4 * 5);
            field_free(&f);
        }
    tsr_context_close(&ctx);
}

/* Nothing known: the common code, everywhere. */
static void test_all_lost(void **state)
{
    tsr_context *ctx = check_context("c", 2);
    check_rng rng = { 2 };

    (void)state;
    for (int i = 0; i < SIZES; i++) {
        field f = field_new(&rng, sizes[i][0], sizes[i][1], 6, 4);
        memset(f.lost, LOST, f.z.plane);
        fill(ctx, &f);
        all_are(&f, f.grid.common);
        field_free(&f);
    }
    tsr_context_close(&ctx);
}

/* Codes that are points of a plane: (y, x) has vector (y, x, y + x) / 64. */
static field slope(check_rng *rng, int height, int width)
{
    field f = field_new(rng, height, width, height * width, 3);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            const int at = y * width + x;
            f.id[at] = at;
            f.words[3 * at] = (float)y / 64;
            f.words[3 * at + 1] = (float)x / 64;
            f.words[3 * at + 2] = (float)(y + x) / 64;
        }
    return f;
}

static double slope_error(const field *f, int y, int x)
{
    return fmax(fabs((double)value(f, y, x, 0) - y / 64.0),
                fabs((double)value(f, y, x, 1) - x / 64.0));
}

/* Holes in a smooth field get what is at most a few tokens away. */
static void test_smooth(void **state)
{
    tsr_context *ctx = check_context("c", 2);
    check_rng rng = { 3 };

    (void)state;
    for (int n = 2; n <= 4; n *= 2) {       /* lattices */
        field f = slope(&rng, 30, 41);
        for (int y = 1; y < 30; y += n)
            for (int x = 1; x < 41; x += n)
                f.lost[y * 41 + x] = LOST;
        fill(ctx, &f);
        for (int y = 0; y < 30; y++)
            for (int x = 0; x < 41; x++)
                assert_true(slope_error(&f, y, x) <=
                            (f.lost[y * 41 + x] ? 1.01 / 64 : 0));
        field_free(&f);
    }
    field f = slope(&rng, 64, 64);          /* a region */
    lose_rect(&f, 20, 24, 44, 40);
    fill(ctx, &f);
    for (int y = 0; y < 64; y++)
        for (int x = 0; x < 64; x++)
            assert_true(slope_error(&f, y, x) <= 5.0 / 64);
    field_free(&f);
    tsr_context_close(&ctx);
}

/* Corners have only one side. */
static void test_corners(void **state)
{
    tsr_context *ctx = check_context("c", 1);
    check_rng rng = { 4 };
    field f = slope(&rng, 20, 20);

    (void)state;
    lose_rect(&f, 0, 0, 3, 3);
    lose_rect(&f, 0, 19, 1, 20);
    lose_rect(&f, 15, 0, 20, 5);
    lose_rect(&f, 10, 10, 20, 20);
    fill(ctx, &f);
    assert_true(slope_error(&f, 0, 0) <= 4.0 / 64);
    assert_true(slope_error(&f, 0, 19) <= 1.01 / 64);
    assert_true(slope_error(&f, 19, 0) <= 8.0 / 64);
    assert_true(slope_error(&f, 19, 19) <= 14.0 / 64);
    field_free(&f);
    tsr_context_close(&ctx);
}

/* One strange neighbour among equals is not what a hole becomes. */
static void test_median(void **state)
{
    tsr_context *ctx = check_context("c", 1);
    check_rng rng = { 5 };
    field f = field_new(&rng, 3, 3, 2, 4);

    (void)state;
    memset(f.id, 0, 9 * sizeof *f.id);
    f.id[1] = 1;
    f.lost[4] = LOST;
    fill(ctx, &f);
    for (int c = 0; c < 4; c++)
        assert_true(value(&f, 1, 1, c) == f.words[c]);
    field_free(&f);
    tsr_context_close(&ctx);
}

static void *kept(const field *f)
{
    const size_t bytes = f->z.plane * (size_t)f->grid.dim * sizeof(float);
    return memcpy(room(1, bytes), f->z.data, bytes);
}

/* Any mask: known vectors stand, holes are finite, threads do not matter. */
static void test_random(void **state)
{
    tsr_context *one = check_context("c", 1), *three = check_context("c", 3);
    check_rng rng = { 6 };

    (void)state;
    for (int i = 0; i < 40; i++) {
        const int h = 1 + (int)check_below(&rng, 70);
        const int w = 1 + (int)check_below(&rng, 70);
        const int dim = 1 + (int)check_below(&rng, 20);
        field f = field_new(&rng, h, w, 50, dim);
        lose_random(&f, &rng, 1 + check_below(&rng, 100));
        if (i % 2)
            lose_rect(&f, h / 3, w / 4, h - h / 3, w);
        fill(one, &f);
        float *first = kept(&f);
        for (size_t k = 0; k < f.z.plane; k++)
            for (int c = 0; c < dim; c++) {
                const float v = f.z.data[(size_t)c * f.z.plane + k];
                assert_true(fabsf(v) <= 1);
                if (!f.lost[k])
                    assert_true(v == f.words[f.id[k] * dim + c]);
            }
        fill(three, &f);
        assert_memory_equal(first, f.z.data, f.z.plane * (size_t)dim * 4);
        free(first);
        field_free(&f);
    }
    tsr_context_close(&one);
    tsr_context_close(&three);
}

static void test_nomem(void **state)
{
    tsr_context *ctx = poor_context("c", 1);
    check_rng rng = { 7 };
    field f = slope(&rng, 40, 40);
    tsr_error error = TSR_E_NOMEM;
    const int held = poor_held;
    int n;

    (void)state;
    lose_rect(&f, 5, 5, 30, 30);
    prepare(&f);
    for (n = 0; error; n++) {
        poor_left = n;
        error = tsri_near_fill(ctx, &f.grid, &f.z);
        assert_true(!error || error == TSR_E_NOMEM);
        assert_int_equal(poor_held, held);
    }
    assert_true(n > 1);
    poor_left = POOR_MANY;
    field_free(&f);
    tsr_context_close(&ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_constant), cmocka_unit_test(test_all_lost),
        cmocka_unit_test(test_smooth), cmocka_unit_test(test_corners),
        cmocka_unit_test(test_median), cmocka_unit_test(test_random),
        cmocka_unit_test(test_nomem),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
