/* SPDX-License-Identifier: BSD-2-Clause */
/* The integer pass must not change one index: codes with it and in plain C. */
#include <float.h>
#include <math.h>
#include "tests/check.h"
#include "vq/coarse.h"
#include "vq/rows.h"

/* How the values of a case are made. */
enum kind {
    PLAIN,          /* uniform in -1..1 */
    FEW,            /* of five values: exact ties everywhere */
    SAME,           /* all codewords but two alike: every tile ties */
    NEAR,           /* codewords one last bit apart */
    FAR,            /* a small cloud far from zero */
    WILD,           /* vectors with NaN, infinities, huge and tiny values */
    HIT,            /* vectors that are codewords */
    SCALES,         /* vectors from 1e-9 to 1e9 times as long */
    OUTLIER,        /* one channel a hundred times as large */
    HEAVY,          /* a few codewords and vectors very much longer */
    HUGE_WORDS,     /* codewords outside the pass's range */
    KINDS
};

static float value(check_rng *rng, enum kind kind)
{
    static const float few[] = { 0, 1, -1, 0.1f, 0.3f };
    switch (kind) {
    case FEW:
        return few[check_below(rng, 5)];
    case SAME:
        return 0.25f;
    case NEAR:
        return 0.7f + FLT_EPSILON * (float)check_below(rng, 3);
    case FAR:
        return 1000 + check_float(rng) * 0.01f;
    case HUGE_WORDS:
        return check_float(rng) * 1e18f;
    default:
        return check_float(rng);
    }
}

static void make_words(check_rng *rng, enum kind kind, float *words, int k,
                       int d)
{
    for (int i = 0; i < k * d; i++)
        words[i] = value(rng, kind);
    for (int i = 0; kind == OUTLIER && i < k; i++)
        words[i * d + d / 2] *= 100;
    for (int i = 0; kind == HEAVY && i < k * d; i++)
        words[i] *= powf(2, (float)(i / d % 13));
    if (kind == SAME && k > 2)
        words[(k - 1) * d] = words[k / 2 * d] = 0.5f;
}

static void make_vectors(check_rng *rng, enum kind kind, float *x, int n, int d,
                         const float *words, int k)
{
    static const float wild[] = { NAN, INFINITY, -INFINITY, 3e38f, -1e20f,
                                  1e-42f, 1e10f, 0 };
    for (int i = 0; i < n * d; i++)
        x[i] = value(rng, kind);
    for (int v = 0; v < n; v++) {
        float *row = x + v * d;
        if (kind == HIT)
            memcpy(row, words + (int)check_below(rng, (uint32_t)k) * d,
                   (size_t)d * sizeof *row);
        if (kind == WILD && v % 3)
            row[check_below(rng, (uint32_t)d)] = wild[check_below(rng, 8)];
        if (kind == OUTLIER)
            row[d / 2] *= 100;
        if (kind == HEAVY)
            for (int j = 0; j < d; j++)
                row[j] *= powf(2, (float)(v % 13));
        if (kind == SCALES)
            for (int j = 0; j < d; j++)
                row[j] *= powf(10, (float)(v % 19) - 9);
    }
}

static void encode(unsigned mask, int threads, const float *words, int k, int d,
                   const float *x, int n, int32_t *codes)
{
    tsr_cpu_set_mask(mask);
    tsr_context *ctx = check_context("c", threads);
    memset(codes, 0xee, (size_t)n * sizeof *codes);
    assert_int_equal(tsr_codebook_nearest(ctx, words, k, d, x, (size_t)n,
                                          codes), TSR_OK);
    tsr_context_close(&ctx);
    tsr_cpu_set_mask(~0u);
}

static void compare(check_rng *rng, enum kind kind, int k, int d, int n)
{
    float *words = malloc((size_t)(k * d) * sizeof *words);
    float *x = malloc((size_t)(n * d) * sizeof *x);
    int32_t *plain = malloc((size_t)n * sizeof *plain);
    int32_t *fast = malloc((size_t)n * sizeof *fast);

    assert_true(words && x && plain && fast);
    make_words(rng, kind, words, k, d);
    make_vectors(rng, kind, x, n, d, words, k);
    encode(0, 1, words, k, d, x, n, plain);
    encode(~0u, 1, words, k, d, x, n, fast);
    assert_memory_equal(plain, fast, (size_t)n * sizeof *plain);
    encode(~0u, 3, words, k, d, x, n, fast);
    assert_memory_equal(plain, fast, (size_t)n * sizeof *plain);
    free(words);
    free(x);
    free(plain);
    free(fast);
}

static void test_same_codes(void **state)
{
    static const int sizes[][3] = {     /* k, d, n */
        { 128, 1, 97 }, { 130, 2, 64 }, { 1000, 3, 100 }, { 257, 4, 1 },
        { 4097, 5, 50 }, { 700, 8, 800 }, { 2048, 17, 70 }, { 513, 64, 131 },
        { 300, 129, 40 }, { 140, 1023, 20 }, { 6000, 8, 13 },
        { 128, 4096, 7 },
    };
    check_rng rng = { 31 };
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int kind = 0; kind < KINDS; kind++)
            compare(&rng, (enum kind)kind, sizes[i][0], sizes[i][1],
                    sizes[i][2]);
}

/* Random sizes, for what the table above forgets. */
static void test_random_sizes(void **state)
{
    check_rng rng = { 32 };
    (void)state;
    for (int round = 0; round < 150; round++) {
        const int k = 100 + (int)check_below(&rng, 900);
        const int d = 1 + (int)check_below(&rng, 40);
        compare(&rng, (enum kind)check_below(&rng, KINDS), k, d,
                1 + (int)check_below(&rng, 200));
    }
}

/* A book with two groups of which one is out of range: no pass for either. */
static void test_mixed_groups(void **state)
{
    enum { K = 160, D = 4, N = 33 };
    static float words[2 * K * D], x[N * 2 * D];
    int32_t codes[2][2 * N];
    check_rng rng = { 33 };
    (void)state;
    make_words(&rng, PLAIN, words, K, D);
    make_words(&rng, HUGE_WORDS, words + K * D, K, D);
    for (int i = 0; i < N * 2 * D; i++)
        x[i] = check_float(&rng);
    for (int fast = 0; fast < 2; fast++) {
        tsri_codebook *book;
        tsr_cpu_set_mask(fast ? ~0u : 0);
        tsr_context *ctx = check_context("c", 2);
        const tsri_fmap map = tsri_rows_map(x, N, 2 * D);
        const tsri_codes out = tsri_rows_codes(codes[fast], N, 2, 1);
        assert_int_equal(tsri_codebook_new(&book, ctx, 2, K, D, words), TSR_OK);
        assert_int_equal(tsri_codebook_encode(book, ctx, &map, &out), TSR_OK);
        tsri_codebook_free(&book, ctx);
        tsr_context_close(&ctx);
    }
    assert_memory_equal(codes[0], codes[1], sizeof codes[0]);
}

/* The bound is not so loose that the pass decides nothing: on plain data few
 * tiles are left.  Counted with a kernel that is watched. */
static const tsri_coarse_kernels *real;
static long looked_at;

static void watched(const tsri_nearest_book *book, int first, int last,
                    const float *x, float *score, int32_t *code)
{
    looked_at += last - first;
    real->panels(book, first, last, x, score, code);
}

static void test_few_tiles_left(void **state)
{
    enum { K = 4096, D = 32, N = 600, PANELS = K / 16 };
    static float words[K * D], x[N * D];
    static _Alignas(64) float packed[K * D], norm[K];
    static int32_t codes[N];
    check_rng rng = { 34 };
    tsr_context *ctx = check_context("c", 1);
    tsri_coarse_book *book;
    (void)state;
    real = tsri_coarse_avx2();
    if (!real || !(ctx->cpu & TSR_CPU_AVX2)) {
        tsr_context_close(&ctx);
        skip();
    }
    tsri_coarse_kernels kernels = *real;
    kernels.panels = watched;
    make_words(&rng, PLAIN, words, K, D);
    make_vectors(&rng, PLAIN, x, N, D, words, K);
    for (int c = 0; c < K; c++)
        for (int j = 0; j < D; j++) {
            packed[(c / 16 * D + j) * 16 + c % 16] = words[c * D + j];
            norm[c] += words[c * D + j] * words[c * D + j];
        }
    assert_int_equal(tsri_coarse_new(&book, ctx, K, D, words), TSR_OK);
    assert_non_null(book);
    tsri_coarse_work *work = tsri_coarse_work_new(ctx, N, D);
    assert_non_null(work);
    const tsri_nearest_book plain = { PANELS, D, packed, norm };
    tsri_coarse_search(&kernels, book, &plain, tsri_nearest_plain, work, x, N,
                       codes);
    assert_true(looked_at >= (long)N * book->tile);
    assert_true(looked_at < (long)N * book->tile * 3 / 2);
    tsri_coarse_work_free(work, ctx);
    tsri_coarse_free(&book, ctx);
    tsri_coarse_free(&book, ctx);
    tsr_context_close(&ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_codes),
        cmocka_unit_test(test_random_sizes),
        cmocka_unit_test(test_mixed_groups),
        cmocka_unit_test(test_few_tiles_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
