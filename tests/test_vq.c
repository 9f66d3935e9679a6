/* SPDX-License-Identifier: BSD-2-Clause */
#include <math.h>
#include "tests/check.h"
#include "vq/codebook.h"
#include "vq/nearest.h"

typedef struct sizes { int m, k, d, height, width; } sizes;

static float *random_floats(check_rng *rng, size_t n)
{
    float *p = malloc(n * sizeof *p);
    assert_non_null(p);
    for (size_t i = 0; i < n; i++)
        p[i] = check_float(rng);
    return p;
}

/* A map whose rows and planes have gaps, as tiles of a larger map have. */
static tsri_fmap random_map(check_rng *rng, int channels, int h, int w)
{
    tsri_fmap x = { .channels = channels, .height = h, .width = w };
    x.row = (size_t)w + 3;
    x.plane = (size_t)h * x.row + 5;
    x.data = random_floats(rng, (size_t)channels * x.plane);
    return x;
}

static tsri_codes new_codes(int m, int h, int w)
{
    tsri_codes c = { .groups = m, .height = h, .width = w };
    c.row = (size_t)w + 1;
    c.plane = (size_t)h * c.row + 2;
    c.data = malloc((size_t)m * c.plane * sizeof *c.data);
    assert_non_null(c.data);
    memset(c.data, 0xee, (size_t)m * c.plane * sizeof *c.data);
    return c;
}

static int32_t code_at(const tsri_codes *c, int g, int y, int x)
{
    return c->data[(size_t)g * c->plane + (size_t)y * c->row + (size_t)x];
}

static float map_at(const tsri_fmap *m, int c, int y, int x)
{
    return m->data[(size_t)c * m->plane + (size_t)y * m->row + (size_t)x];
}

/* Squared distance in double of the vector at (y, x) to one codeword. */
static double distance(const float *word, const tsri_fmap *map, int first,
                       int d, int y, int x)
{
    double sum = 0;
    for (int j = 0; j < d; j++) {
        const double diff = (double)map_at(map, first + j, y, x) - word[j];
        sum += diff * diff;
    }
    return sum;
}

/* The code must be within rounding of the best; and the lowest of equals. */
static void check_one(const sizes *s, const float *words, const tsri_fmap *x,
                      const tsri_codes *codes, int g, int y, int col)
{
    const int32_t got = code_at(codes, g, y, col);
    double best = INFINITY;
    int at = -1;

    assert_in_range(got, 0, s->k - 1);
    for (int c = 0; c < s->k; c++) {
        const double dist = distance(words + ((size_t)g * (size_t)s->k +
                                              (size_t)c) * (size_t)s->d,
                                     x, g * s->d, s->d, y, col);
        if (dist < best) {
            best = dist;
            at = c;
        }
    }
    const double mine = distance(words + ((size_t)g * (size_t)s->k +
                                          (size_t)got) * (size_t)s->d,
                                 x, g * s->d, s->d, y, col);
    if (got != at)
        assert_true(mine - best < 1e-6 * s->d);
}

static const sizes cases[] = {
    { 1, 1, 1, 1, 1 }, { 1, 2, 1, 3, 5 }, { 3, 15, 2, 7, 9 },
    { 2, 16, 5, 8, 8 }, { 4, 17, 3, 13, 5 }, { 2, 100, 7, 1, 131 },
    { 1, 300, 64, 65, 1 }, { 2, 512, 32, 11, 12 }, { 5, 33, 1, 64, 2 },
};

static void test_nearest(void **state)
{
    const unsigned masks[] = { 0, ~0u };
    check_rng rng = { 1 };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const sizes s = cases[i];
        float *words = random_floats(&rng, (size_t)(s.m * s.k * s.d));
        tsri_fmap x = random_map(&rng, s.m * s.d, s.height, s.width);
        for (int variant = 0; variant < 4; variant++) {
            tsri_codebook *cb;
            tsri_codes codes = new_codes(s.m, s.height, s.width);
            tsr_cpu_set_mask(masks[variant & 1]);
            tsr_context *ctx = check_context("c", 1 + (variant & 2));
            assert_int_equal(tsri_codebook_new(&cb, ctx, s.m, s.k, s.d, words),
                             TSR_OK);
            assert_int_equal(tsri_codebook_encode(cb, ctx, &x, &codes), TSR_OK);
            for (int g = 0; g < s.m; g++)
                for (int y = 0; y < s.height; y++)
                    for (int col = 0; col < s.width; col++)
                        check_one(&s, words, &x, &codes, g, y, col);
            tsri_codebook_free(&cb, ctx);
            tsri_codebook_free(&cb, ctx);
            tsr_context_close(&ctx);
            free(codes.data);
        }
        free(words);
        free(x.data);
    }
}

/* Codes of 64 vectors by both kernels; equal, whatever the values. */
static void both(const tsri_nearest_book *book, const float *x, int32_t *code)
{
    int32_t other[TSRI_NEAREST_BLOCK];
    tsri_nearest_plain(book, x, code);
    if (!(tsr_cpu_flags() & TSR_CPU_AVX2) || !tsri_nearest_avx2())
        return;
    tsri_nearest_avx2()(book, x, other);
    assert_memory_equal(code, other, sizeof other);
}

/* Few distinct values make many exact ties and many near ones. */
static void test_variants(void **state)
{
    enum { PANELS = 9, D = 13, WORDS = PANELS * 16 };
    static _Alignas(64) float code[PANELS * D * 16], norm[WORDS];
    static _Alignas(64) float x[D * TSRI_NEAREST_BLOCK];
    const float odd[] = { 0, 1, -1, 0.1f, 0.3f, 1e-40f, 3e38f, INFINITY,
                          -INFINITY, NAN };
    int32_t out[TSRI_NEAREST_BLOCK];
    check_rng rng = { 2 };
    (void)state;
    tsr_cpu_set_mask(~0u);
    for (int round = 0; round < 300; round++) {
        const uint32_t kinds = round % 3 == 0 ? 10 : round % 3 == 1 ? 5 : 0;
        const tsri_nearest_book book = { 1 + round % PANELS, D, code, norm };
        for (size_t i = 0; i < sizeof code / sizeof *code; i++)
            code[i] = kinds ? odd[check_below(&rng, 5)] : check_float(&rng);
        for (size_t i = 0; i < WORDS; i++)
            norm[i] = i % 29 == 28 ? INFINITY : fabsf(check_float(&rng)) * 8;
        for (size_t i = 0; i < sizeof x / sizeof *x; i++)
            x[i] = kinds ? odd[check_below(&rng, kinds)] : check_float(&rng);
        both(&book, x, out);
        for (int v = 0; v < TSRI_NEAREST_BLOCK; v++)
            assert_in_range(out[v], 0, book.panels * 16 - 1);
    }
}

static void test_ties_and_nan(void **state)
{
    const unsigned masks[] = { 0, ~0u };
    float words[40], data[4] = { 1, NAN, -1, INFINITY };
    tsri_fmap x = { data, 1, 1, 4, 4, 4 };
    (void)state;
    for (int i = 0; i < 40; i++)
        words[i] = i < 5 ? 9 : i % 2 ? 1 : -1;
    for (int i = 0; i < 2; i++) {
        int32_t out[4];
        tsri_codebook *cb;
        tsr_cpu_set_mask(masks[i]);
        tsr_context *ctx = check_context("c", 1);
        const tsri_codes codes = { out, 1, 1, 4, 4, 4 };
        assert_int_equal(tsri_codebook_new(&cb, ctx, 1, 40, 1, words), TSR_OK);
        assert_int_equal(tsri_codebook_encode(cb, ctx, &x, &codes), TSR_OK);
        assert_int_equal(out[0], 5);
        assert_int_equal(out[1], 0);
        assert_int_equal(out[2], 6);
        assert_int_equal(out[3], 0);
        tsri_codebook_free(&cb, ctx);
        tsr_context_close(&ctx);
    }
}

static void test_decode(void **state)
{
    const sizes s = { 3, 21, 4, 5, 6 };
    check_rng rng = { 3 };
    float *words = random_floats(&rng, (size_t)(s.m * s.k * s.d));
    tsri_fmap y = random_map(&rng, s.m * s.d, s.height, s.width);
    tsri_codes codes = new_codes(s.m, s.height, s.width);
    tsr_context *ctx = check_context("c", 2);
    tsri_codebook *cb;
    (void)state;
    assert_int_equal(tsri_codebook_new(&cb, ctx, s.m, s.k, s.d, words), TSR_OK);
    assert_int_equal(tsri_codebook_groups(cb), s.m);
    assert_int_equal(tsri_codebook_size(cb), s.k);
    assert_int_equal(tsri_codebook_channels(cb), s.m * s.d);
    for (size_t i = 0; i < (size_t)s.m * codes.plane; i++)
        codes.data[i] = (int32_t)check_below(&rng, (uint32_t)s.k);
    assert_int_equal(tsri_codebook_decode(cb, ctx, &codes, &y), TSR_OK);
    for (int g = 0; g < s.m; g++)
        for (int row = 0; row < s.height; row++)
            for (int x = 0; x < s.width; x++)
                for (int j = 0; j < s.d; j++) {
                    const int c = code_at(&codes, g, row, x);
                    assert_true(map_at(&y, g * s.d + j, row, x) ==
                                words[(g * s.k + c) * s.d + j]);
                }
    tsri_codes back = new_codes(s.m, s.height, s.width);
    assert_int_equal(tsri_codebook_encode(cb, ctx, &y, &back), TSR_OK);
    for (int g = 0; g < s.m; g++)
        for (int row = 0; row < s.height; row++)
            for (int x = 0; x < s.width; x++)
                assert_int_equal(code_at(&back, g, row, x),
                                 code_at(&codes, g, row, x));
    tsri_codebook_free(&cb, ctx);
    tsr_context_close(&ctx);
    free(words);
    free(y.data);
    free(codes.data);
    free(back.data);
}

static void test_refusals(void **state)
{
    float words[12] = { 0 }, data[64] = { 0 };
    int32_t out[64] = { 0 };
    tsr_context *ctx = check_context("c", 1);
    tsri_codebook *cb;
    (void)state;
    ctx->logger.log = NULL;
    const int bad[][3] = { { 0, 1, 1 }, { 1, 0, 1 }, { 1, 1, 0 },
                           { -1, 2, 2 }, { INT32_MAX, 2, 2 },
                           { 46340, INT32_MAX - 20, 46340 } };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(tsri_codebook_new(&cb, ctx, bad[i][0], bad[i][1],
                                           bad[i][2], words), TSR_E_ARG);
        assert_null(cb);
    }
    assert_int_equal(tsri_codebook_new(&cb, ctx, 2, 3, 2, words), TSR_OK);
    tsri_fmap x = { data, 5, 2, 2, 4, 2 };
    tsri_codes codes = { out, 2, 2, 2, 4, 2 };
    assert_int_equal(tsri_codebook_encode(cb, ctx, &x, &codes), TSR_E_SHAPE);
    assert_int_equal(tsri_codebook_decode(cb, ctx, &codes, &x), TSR_E_SHAPE);
    x.channels = 4;
    codes.groups = 1;
    assert_int_equal(tsri_codebook_encode(cb, ctx, &x, &codes), TSR_E_SHAPE);
    codes.groups = 2;
    codes.width = 1;
    assert_int_equal(tsri_codebook_encode(cb, ctx, &x, &codes), TSR_E_SHAPE);
    codes.width = 2;
    assert_int_equal(tsri_codebook_encode(cb, ctx, &x, &codes), TSR_OK);
    out[7] = 3;
    assert_int_equal(tsri_codebook_decode(cb, ctx, &codes, &x), TSR_E_ARG);
    out[7] = -1;
    assert_int_equal(tsri_codebook_decode(cb, ctx, &codes, &x), TSR_E_ARG);
    tsri_codebook_free(&cb, ctx);
    tsr_context_close(&ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nearest),
        cmocka_unit_test(test_variants),
        cmocka_unit_test(test_ties_and_nan),
        cmocka_unit_test(test_decode),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
