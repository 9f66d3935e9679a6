/* SPDX-License-Identifier: BSD-2-Clause */
#include <math.h>
#include "tests/check.h"
#include "vq/project.h"
#include "vq/rows.h"
#include "vq/rvq.h"

static float *random_floats(check_rng *rng, size_t n)
{
    float *p = malloc(n * sizeof *p);
    assert_non_null(p);
    for (size_t i = 0; i < n; i++)
        p[i] = check_float(rng);
    return p;
}

/* Books whose codewords get smaller from stage to stage. */
static float *random_books(check_rng *rng, const tsr_rvq_shape *s)
{
    const size_t book = (size_t)(s->k * s->dim);
    const size_t books = (size_t)(s->groups * s->stages);
    float *words = random_floats(rng, books * book);
    for (size_t b = 0; b < books; b++)
        for (size_t i = 0; i < book; i++)
            words[b * book + i] *= powf(0.6f, (float)(b % (size_t)s->stages));
    return words;
}

static const float *word(const tsr_rvq_shape *s, const float *words, int group,
                         int stage, int code)
{
    return words + ((group * s->stages + stage) * s->k + code) * s->dim;
}

static double distance(const float *a, const float *b, int d)
{
    double sum = 0;
    for (int j = 0; j < d; j++)
        sum += ((double)a[j] - (double)b[j]) * ((double)a[j] - (double)b[j]);
    return sum;
}

/* Follows the codes of one group: each must be the nearest to the residual,
 * but for rounding.  Returns what is left. */
static double follow(const tsr_rvq_shape *s, const float *words, int group,
                     const float *x, int stages, const int32_t *codes)
{
    float left[16], zero[16] = { 0 };
    memcpy(left, x, (size_t)s->dim * sizeof *left);
    for (int t = 0; t < stages; t++) {
        assert_in_range(codes[t], 0, s->k - 1);
        const float *mine = word(s, words, group, t, codes[t]);
        for (int c = 0; c < s->k; c++)
            assert_true(distance(left, mine, s->dim) <=
                        distance(left, word(s, words, group, t, c), s->dim) +
                        1e-5);
        for (int j = 0; j < s->dim; j++)
            left[j] -= mine[j];
    }
    return distance(left, zero, s->dim);
}

static const tsr_rvq_shape shapes[] = {
    { 1, 1, 1, 1 }, { 1, 4, 17, 5 }, { 3, 3, 33, 4 }, { 5, 1, 16, 2 },
    { 2, 8, 8, 16 },
};

static void check_greedy(const tsr_rvq_shape *s, int threads, unsigned mask)
{
    enum { N = 137 };
    check_rng rng = { 21 };
    float *words = random_books(&rng, s);
    float *x = random_floats(&rng, (size_t)(N * s->groups * s->dim));
    int32_t *codes = malloc((size_t)(N * s->groups * s->stages) * sizeof *codes);
    double error[N];
    tsr_rvq *q;

    tsr_cpu_set_mask(mask);
    tsr_context *ctx = check_context("c", threads);
    assert_int_equal(tsr_rvq_open(&q, ctx, s, words), TSR_OK);
    for (int stages = 1; stages <= s->stages; stages++) {
        assert_int_equal(tsr_rvq_encode(q, x, N, stages, 1, codes, error),
                         TSR_OK);
        for (int i = 0; i < N; i++) {
            double sum = 0;
            for (int g = 0; g < s->groups; g++) {
                const int at = i * s->groups + g;
                sum += follow(s, words, g, x + at * s->dim, stages,
                              codes + at * stages);
            }
            assert_true(fabs(sum - error[i]) < 1e-9);
        }
    }
    tsr_rvq_close(&q);
    tsr_rvq_close(&q);
    tsr_context_close(&ctx);
    tsr_cpu_set_mask(~0u);
    free(words);
    free(x);
    free(codes);
}

static void test_greedy(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        check_greedy(&shapes[i], 1, 0);
        check_greedy(&shapes[i], 3, ~0u);
    }
}

/* More vectors than one slab: the same as in parts, and on any machine. */
static void test_slabs(void **state)
{
    enum { N = 8192 + 77 };
    const tsr_rvq_shape s = { 2, 3, 9, 3 };
    check_rng rng = { 22 };
    float *words = random_books(&rng, &s);
    float *x = random_floats(&rng, N * 6);
    int32_t *codes = malloc(N * 6 * sizeof *codes);
    int32_t *parts = malloc(N * 6 * sizeof *parts);
    tsr_rvq *q;
    (void)state;
    assert_true(codes && parts);
    for (int beam = 1; beam < 4; beam += 2) {
        for (int run = 0; run < 2; run++) {
            tsr_cpu_set_mask(run ? ~0u : 0);
            tsr_context *ctx = check_context("c", run ? 3 : 1);
            assert_int_equal(tsr_rvq_open(&q, ctx, &s, words), TSR_OK);
            if (run == 0)
                assert_int_equal(tsr_rvq_encode(q, x, N, 3, beam, codes,
                                                 NULL), TSR_OK);
            for (size_t i = 0; run && i < N; i += 1000)
                assert_int_equal(tsr_rvq_encode(q, x + 6 * i,
                                                 N - i < 1000 ? N - i : 1000, 3,
                                                 beam, parts + 6 * i, NULL),
                                 TSR_OK);
            tsr_rvq_close(&q);
            tsr_context_close(&ctx);
        }
        assert_memory_equal(codes, parts, N * 6 * sizeof *codes);
    }
    tsr_cpu_set_mask(~0u);
    free(words);
    free(x);
    free(codes);
    free(parts);
}

/* The least error over all codes of three stages of four. */
static double exhaustive(const tsr_rvq_shape *s, const float *words,
                         const float *x)
{
    double best = INFINITY;
    for (int all = 0; all < 64; all++) {
        float y[16] = { 0 };
        for (int t = 0; t < 3; t++)
            for (int j = 0; j < s->dim; j++)
                y[j] += word(s, words, 0, t, all >> 2 * t & 3)[j];
        best = fmin(best, distance(x, y, s->dim));
    }
    return best;
}

static void test_beam(void **state)
{
    enum { N = 200 };
    const tsr_rvq_shape s = { 1, 3, 4, 6 };
    const int beams[] = { 1, 2, 4, 64 };
    check_rng rng = { 23 };
    float *words = random_books(&rng, &s);
    float *x = random_floats(&rng, N * 6), y[N * 6];
    int32_t codes[N * 3];
    double error[N], total[4] = { 0 };
    tsr_context *ctx = check_context("c", 2);
    tsr_rvq *q;
    (void)state;
    assert_int_equal(tsr_rvq_open(&q, ctx, &s, words), TSR_OK);
    for (int b = 0; b < 4; b++) {
        assert_int_equal(tsr_rvq_encode(q, x, N, 3, beams[b], codes,
                                         error), TSR_OK);
        assert_int_equal(tsr_rvq_decode(q, codes, N, 3, 3, y), TSR_OK);
        for (int i = 0; i < N; i++) {
            assert_true(fabs(distance(x + 6 * i, y + 6 * i, 6) - error[i]) <
                        1e-5);
            total[b] += error[i];
            /* 64 partial codes are all there are. */
            if (beams[b] == 64)
                assert_true(fabs(error[i] - exhaustive(&s, words, x + 6 * i)) <
                            1e-5);
        }
    }
    assert_true(total[1] < 0.99 * total[0]);
    assert_true(total[2] < total[1]);
    assert_true(total[3] <= total[2]);
    tsr_rvq_close(&q);
    tsr_context_close(&ctx);
    free(words);
    free(x);
}

static void test_beam_ties(void **state)
{
    const tsr_rvq_shape s = { 1, 2, 4, 1 };
    const float words[] = { 1, 1, -1, 1, 0, 0, 0, 0 }, x[] = { 1, -1, NAN };
    int32_t codes[6];
    tsr_context *ctx = check_context("c", 1);
    tsr_rvq *q;
    (void)state;
    assert_int_equal(tsr_rvq_open(&q, ctx, &s, words), TSR_OK);
    for (int beam = 1; beam < 6; beam++) {
        assert_int_equal(tsr_rvq_encode(q, x, 3, 2, beam, codes, NULL),
                         TSR_OK);
        assert_int_equal(codes[0], 0);
        assert_int_equal(codes[1], 0);
        assert_int_equal(codes[2], 2);
        assert_int_equal(codes[3], 0);
        assert_in_range(codes[4], 0, 3);
        assert_in_range(codes[5], 0, 3);
    }
    tsr_rvq_close(&q);
    tsr_context_close(&ctx);
}

/* One stage: the product quantiser, code for code. */
static void test_product(void **state)
{
    enum { N = 100 };
    const tsr_rvq_shape s = { 4, 1, 21, 3 };
    check_rng rng = { 24 };
    float *words = random_books(&rng, &s), *x = random_floats(&rng, N * 12);
    int32_t mine[N * 4], plain[N * 4];
    tsr_context *ctx = check_context("c", 1);
    tsri_codebook *book;
    tsr_rvq *q;
    (void)state;
    assert_int_equal(tsr_rvq_open(&q, ctx, &s, words), TSR_OK);
    assert_int_equal(tsri_codebook_new(&book, ctx, 4, 21, 3, words), TSR_OK);
    const tsri_fmap map = tsri_rows_map(x, N, 12);
    const tsri_codes out = tsri_rows_codes(plain, N, 4, 1);
    assert_int_equal(tsri_codebook_encode(book, ctx, &map, &out), TSR_OK);
    assert_int_equal(tsr_rvq_encode(q, x, N, 1, 1, mine, NULL), TSR_OK);
    assert_memory_equal(mine, plain, sizeof mine);
    tsri_codebook_free(&book, ctx);
    tsr_rvq_close(&q);
    tsr_context_close(&ctx);
    free(words);
    free(x);
}

static void test_decode(void **state)
{
    const tsr_rvq_shape s = { 2, 3, 7, 2 };
    check_rng rng = { 25 };
    float *words = random_books(&rng, &s), y[5 * 4];
    int32_t codes[5 * 6];
    tsr_context *ctx = check_context("c", 1);
    tsr_rvq *q;
    (void)state;
    for (int i = 0; i < 30; i++)
        codes[i] = (int32_t)check_below(&rng, 7);
    assert_int_equal(tsr_rvq_open(&q, ctx, &s, words), TSR_OK);
    for (int use = 1; use <= 3; use++) {
        assert_int_equal(tsr_rvq_decode(q, codes, 5, 3, use, y), TSR_OK);
        for (int i = 0; i < 20; i++) {
            const int32_t *c = codes + i / 2 * 3;
            float sum = word(&s, words, i / 2 % 2, 0, c[0])[i % 2];
            for (int t = 1; t < use; t++)
                sum += word(&s, words, i / 2 % 2, t, c[t])[i % 2];
            assert_true(sum == y[i]);
        }
    }
    tsr_rvq_close(&q);
    tsr_context_close(&ctx);
    free(words);
}

static void test_refusals(void **state)
{
    const tsr_rvq_shape good = { 2, 3, 4, 5 };
    const tsr_rvq_shape bad[] = {
        { 0, 1, 1, 1 }, { 1, 0, 1, 1 }, { 1, 1, 0, 1 }, { 1, 1, 1, 0 },
        { 4097, 1, 1, 1 }, { 2, 1, 1, 2049 }, { 1, 65, 1, 1 },
        { 1, 1, (1 << 20) + 1, 1 }, { INT32_MAX, 2, 2, INT32_MAX },
    };
    float words[120] = { 0 }, x[10] = { 0 };
    int32_t codes[6] = { 0 };
    tsr_context *ctx = check_context("c", 1);
    tsr_rvq *q;
    (void)state;
    ctx->logger.log = NULL;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(tsr_rvq_open(&q, ctx, &bad[i], words), TSR_E_ARG);
        assert_null(q);
    }
    assert_int_equal(tsr_rvq_open(&q, ctx, &good, words), TSR_OK);
    const int pairs[][2] = { { 0, 1 }, { 4, 1 }, { 3, 0 }, { 3, 65 } };
    for (int i = 0; i < 4; i++)
        assert_int_equal(tsr_rvq_encode(q, x, 1, pairs[i][0], pairs[i][1],
                                         codes, NULL), TSR_E_ARG);
    assert_int_equal(tsr_rvq_encode(q, x, SIZE_MAX, 1, 1, codes, NULL),
                     TSR_E_ARG);
    assert_int_equal(tsr_rvq_encode(q, x, 0, 1, 1, codes, NULL), TSR_OK);
    assert_int_equal(tsr_rvq_encode(q, x, 0, 1, 2, codes, NULL), TSR_OK);
    assert_int_equal(tsr_rvq_decode(q, codes, 1, 3, 3, x), TSR_OK);
    assert_int_equal(tsr_rvq_decode(q, codes, 1, 3, 4, x), TSR_E_ARG);
    assert_int_equal(tsr_rvq_decode(q, codes, 1, 4, 1, x), TSR_E_ARG);
    codes[5] = 4;
    assert_int_equal(tsr_rvq_decode(q, codes, 1, 3, 3, x), TSR_E_ARG);
    codes[5] = -1;
    assert_int_equal(tsr_rvq_decode(q, codes, 1, 3, 3, x), TSR_E_ARG);
    tsr_rvq_close(&q);
    tsr_context_close(&ctx);
}

static void check_projection(int k, int e, int d, bool biased, int threads)
{
    check_rng rng = { 26 };
    float *table = random_floats(&rng, (size_t)(k * e));
    float *weight = random_floats(&rng, (size_t)(d * e));
    float *bias = random_floats(&rng, (size_t)d);
    float *out = malloc((size_t)(k * d) * sizeof *out);
    tsr_context *ctx = check_context("c", threads);
    assert_non_null(out);
    assert_int_equal(tsri_project(ctx, table, weight, biased ? bias : NULL, k,
                                  e, d, out), TSR_OK);
    for (int i = 0; i < k; i++)
        for (int c = 0; c < d; c++) {
            double sum = 0;
            for (int j = 0; j < e; j++)
                sum += (double)table[i * e + j] * (double)weight[c * e + j];
            sum += biased ? (double)bias[c] : 0;
            assert_true(out[i * d + c] == (float)sum);
        }
    tsr_context_close(&ctx);
    free(table);
    free(weight);
    free(bias);
    free(out);
}

static void test_project(void **state)
{
    float x[4] = { 0 };
    tsr_context *ctx = check_context("c", 1);
    (void)state;
    check_projection(1, 1, 1, false, 1);
    check_projection(130, 24, 7, true, 3);
    check_projection(65, 5, 16, false, 2);
    ctx->logger.log = NULL;
    assert_int_equal(tsri_project(ctx, x, x, x, 0, 1, 1, x), TSR_E_ARG);
    assert_int_equal(tsri_project(ctx, x, x, x, 1, 0, 1, x), TSR_E_ARG);
    assert_int_equal(tsri_project(ctx, x, x, x, 1, 1, 4097, x), TSR_E_ARG);
    tsr_context_close(&ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_greedy),
        cmocka_unit_test(test_slabs),
        cmocka_unit_test(test_beam),
        cmocka_unit_test(test_beam_ties),
        cmocka_unit_test(test_product),
        cmocka_unit_test(test_decode),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_project),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
