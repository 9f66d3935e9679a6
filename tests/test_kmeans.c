/* SPDX-License-Identifier: BSD-2-Clause */
#include <math.h>
#include <tessera/vq.h>
#include "lib/core.h"
#include "tests/check.h"

typedef struct data { float *x; size_t n; int dim; } data;

static data random_data(uint64_t seed, size_t n, int dim)
{
    check_rng rng = { seed };
    data d = { malloc(n * (size_t)dim * sizeof(float)), n, dim };
    assert_non_null(d.x);
    for (size_t i = 0; i < n * (size_t)dim; i++)
        d.x[i] = check_float(&rng) + check_float(&rng) * check_float(&rng);
    return d;
}

static double distance(const float *a, const float *b, int dim)
{
    double sum = 0;
    for (int j = 0; j < dim; j++)
        sum += ((double)a[j] - (double)b[j]) * ((double)a[j] - (double)b[j]);
    return sum;
}

static float weight_of(const float *w, size_t i)
{
    return w ? w[i] : 1;
}

/* Inertia in double, by brute force over all codewords. */
static double naive_inertia(const data *d, const float *w, const float *words,
                            int k)
{
    double sum = 0;
    for (size_t i = 0; i < d->n; i++) {
        double best = INFINITY;
        for (int c = 0; c < k; c++) {
            const double now = distance(d->x + i * (size_t)d->dim,
                                        words + c * d->dim, d->dim);
            best = now < best ? now : best;
        }
        sum += best * (double)weight_of(w, i);
    }
    return sum;
}

/* One update of Lloyd's, in double; empty codewords stay. */
static void naive_update(const data *d, const float *w, float *words, int k)
{
    double *sum = calloc((size_t)k * (size_t)(d->dim + 1), sizeof *sum);
    assert_non_null(sum);
    for (size_t i = 0; i < d->n; i++) {
        const float *x = d->x + i * (size_t)d->dim;
        double best = INFINITY, *to;
        int at = 0;
        for (int c = 0; c < k; c++) {
            const double now = distance(x, words + c * d->dim, d->dim);
            if (now < best) {
                best = now;
                at = c;
            }
        }
        to = sum + at * (d->dim + 1);
        for (int j = 0; j < d->dim; j++)
            to[j] += (double)weight_of(w, i) * (double)x[j];
        to[d->dim] += (double)weight_of(w, i);
    }
    for (int c = 0; c < k; c++)
        for (int j = 0; j < d->dim; j++)
            if (sum[c * (d->dim + 1) + d->dim] > 0)
                words[c * d->dim + j] = (float)(sum[c * (d->dim + 1) + j] /
                                                sum[c * (d->dim + 1) + d->dim]);
    free(sum);
}

static tsr_kmeans_settings settings(int iterations)
{
    tsr_kmeans_settings s;
    tsr_kmeans_settings_init(&s);
    s.iterations = iterations;
    s.tolerance = 0;
    return s;
}

static void check_close(double a, double b)
{
    assert_true(fabs(a - b) <= 1e-6 * (fabs(a) + fabs(b)) + 1e-12);
}

/* Each update against the naive one, from the same codewords. */
static void test_lloyd(void **state)
{
    const data d = random_data(11, 700, 5);
    float words[20 * 5], mine[20 * 5], weight[700];
    int32_t codes[700];
    check_rng rng = { 5 };
    tsr_context *ctx = check_context("c", 2);
    (void)state;
    for (int i = 0; i < 700; i++)
        weight[i] = (float)check_below(&rng, 4);
    for (int weighted = 0; weighted < 2; weighted++) {
        tsr_kmeans_settings s = settings(1);
        tsr_kmeans_result r;
        const float *w = weighted ? weight : NULL;
        s.start = TSR_KMEANS_GIVEN;
        s.weights = w;
        memcpy(words, d.x, sizeof words);
        for (int round = 0; round < 6; round++) {
            memcpy(mine, words, sizeof mine);
            naive_update(&d, w, mine, 20);
            assert_int_equal(tsr_kmeans(ctx, &s, d.x, d.n, d.dim, 20, words,
                                        codes, &r), TSR_OK);
            assert_int_equal(r.iterations, 1);
            assert_int_equal(r.repaired, 0);
            for (int i = 0; i < 100; i++)
                assert_true(fabsf(words[i] - mine[i]) < 1e-6f);
            check_close(r.inertia, naive_inertia(&d, w, words, 20));
        }
    }
    tsr_context_close(&ctx);
    free(d.x);
}

static void test_inertia_never_rises(void **state)
{
    const data d = random_data(12, 900, 7);
    float words[60 * 7];
    tsr_context *ctx = check_context("c", 1);
    (void)state;
    for (int start = TSR_KMEANS_PLUSPLUS; start <= TSR_KMEANS_RANDOM; start++) {
        double was = INFINITY;
        int last = 0;
        for (int n = 0; n < 60; n++) {
            tsr_kmeans_settings s = settings(n);
            tsr_kmeans_result r;
            s.start = (tsr_kmeans_start)start;
            assert_int_equal(tsr_kmeans(ctx, &s, d.x, d.n, d.dim, 60, words,
                                        NULL, &r), TSR_OK);
            assert_true(r.inertia <= was);
            assert_true(r.iterations == n || r.converged);
            check_close(r.inertia, naive_inertia(&d, NULL, words, 60));
            was = r.inertia;
            last = r.converged;
        }
        assert_true(last);
    }
    tsr_context_close(&ctx);
    free(d.x);
}

/* Three runs of a setting: one thread of plain C, three of each kind. */
static void same_everywhere(const data *d, const tsr_kmeans_settings *s, int k)
{
    const size_t floats = (size_t)k * (size_t)d->dim;
    float *words = malloc(3 * floats * sizeof *words);
    int32_t *codes = malloc(3 * d->n * sizeof *codes);
    tsr_kmeans_result r[3];

    assert_true(words && codes);
    for (int i = 0; i < 3; i++) {
        tsr_cpu_set_mask(i == 2 ? ~0u : 0);
        tsr_context *ctx = check_context("c", i ? 3 : 1);
        assert_int_equal(tsr_kmeans(ctx, s, d->x, d->n, d->dim, k,
                                    words + (size_t)i * floats,
                                    codes + (size_t)i * d->n, &r[i]), TSR_OK);
        tsr_context_close(&ctx);
    }
    tsr_cpu_set_mask(~0u);
    for (size_t i = 1; i < 3; i++) {
        assert_memory_equal(words, words + i * floats, floats * sizeof *words);
        assert_memory_equal(codes, codes + i * d->n, d->n * sizeof *codes);
        assert_true(r[0].inertia == r[i].inertia);
        assert_int_equal(r[0].iterations, r[i].iterations);
        assert_int_equal(r[0].repaired, r[i].repaired);
    }
    free(words);
    free(codes);
}

static void test_determinism(void **state)
{
    const data d = random_data(13, 5003, 19);
    tsr_kmeans_settings s = settings(7);
    (void)state;
    same_everywhere(&d, &s, 100);
    s.start = TSR_KMEANS_RANDOM;
    same_everywhere(&d, &s, 33);
    s.batch = 500;
    same_everywhere(&d, &s, 70);
    free(d.x);
}

static void test_seeds(void **state)
{
    const data d = random_data(14, 300, 3);
    float words[3][8 * 3];
    tsr_context *ctx = check_context("c", 1);
    (void)state;
    for (int start = 0; start < 2; start++) {
        for (int i = 0; i < 3; i++) {
            tsr_kmeans_settings s = settings(0);
            s.start = (tsr_kmeans_start)start;
            s.seed = i == 2 ? 8 : 7;
            assert_int_equal(tsr_kmeans(ctx, &s, d.x, d.n, 3, 8, words[i],
                                        NULL, NULL), TSR_OK);
        }
        assert_memory_equal(words[0], words[1], sizeof words[0]);
        assert_memory_not_equal(words[0], words[2], sizeof words[0]);
    }
    tsr_context_close(&ctx);
    free(d.x);
}

/* Eight far clouds: each must get one codeword, near its middle. */
static void mixture(int batch)
{
    enum { K = 8, EACH = 200, DIM = 4 };
    static float x[K * EACH][DIM];
    float words[K][DIM];
    int32_t codes[K * EACH];
    tsr_kmeans_settings s = settings(60);
    tsr_context *ctx = check_context("c", 2);
    check_rng rng = { 77 };

    for (int i = 0; i < K * EACH; i++)
        for (int j = 0; j < DIM; j++)
            x[i][j] = (float)((i % K) >> j % 3 & 1) * 20 + check_float(&rng);
    s.batch = batch;
    assert_int_equal(tsr_kmeans(ctx, &s, x[0], K * EACH, DIM, K, words[0],
                                codes, NULL), TSR_OK);
    for (int i = 0; i < K; i++) {
        for (int j = 0; j < DIM; j++)
            assert_true(fabsf(words[codes[i]][j] -
                              (float)(i >> j % 3 & 1) * 20) < 0.25f);
        for (int other = 0; other < i; other++)
            assert_int_not_equal(codes[i], codes[other]);
    }
    for (int i = 0; i < K * EACH; i++)
        assert_int_equal(codes[i], codes[i % K]);
    tsr_context_close(&ctx);
}

static void test_mixture(void **state)
{
    (void)state;
    mixture(0);
    mixture(100);
}

/* Far better than its start, nearly as good as Lloyd's. */
static void test_mini_batch(void **state)
{
    const data d = random_data(15, 4000, 6);
    float words[32 * 6];
    tsr_context *ctx = check_context("c", 1);
    tsr_kmeans_settings s = settings(0);
    tsr_kmeans_result none, some, full;
    (void)state;
    assert_int_equal(tsr_kmeans(ctx, &s, d.x, d.n, 6, 32, words, NULL, &none),
                     TSR_OK);
    s.iterations = 100;
    assert_int_equal(tsr_kmeans(ctx, &s, d.x, d.n, 6, 32, words, NULL, &full),
                     TSR_OK);
    s.batch = 256;
    assert_int_equal(tsr_kmeans(ctx, &s, d.x, d.n, 6, 32, words, NULL, &some),
                     TSR_OK);
    assert_int_equal(some.iterations, 100);
    check_close(some.inertia, naive_inertia(&d, NULL, words, 32));
    assert_true(some.inertia < 0.85 * none.inertia);
    assert_true(some.inertia < 1.05 * full.inertia);

    /* With one codeword it is the running mean of what was drawn. */
    for (size_t i = 0; i < d.n * 6; i++)
        d.x[i] = 3 + (float)(i % 6);
    memset(words, 0, sizeof words);
    s.start = TSR_KMEANS_GIVEN;
    assert_int_equal(tsr_kmeans(ctx, &s, d.x, d.n, 6, 1, words, NULL, &some),
                     TSR_OK);
    for (int j = 0; j < 6; j++)
        assert_true(words[j] == 3 + (float)j);
    tsr_context_close(&ctx);
    free(d.x);
}

/* Two of the four codewords given lie far from everything. */
static void test_empty(void **state)
{
    const float x[] = { 0, 1, 10, 11, 100, 130 };
    tsr_context *ctx = check_context("c", 1);
    (void)state;
    for (int batch = 0; batch < 2; batch++) {
        float words[] = { 5, 110, 9000, 9001 };
        int32_t codes[6];
        tsr_kmeans_settings s = settings(20);
        tsr_kmeans_result r;
        s.start = TSR_KMEANS_GIVEN;
        s.batch = batch * 6;
        assert_int_equal(tsr_kmeans(ctx, &s, x, 6, 1, 4, words, codes, &r),
                         TSR_OK);
        assert_int_equal(r.repaired, 2);
        assert_int_equal(r.empty, 0);
        if (!batch) {
            assert_true(r.inertia == 1.0);
            assert_int_equal(codes[0], codes[1]);
            assert_int_equal(codes[2], codes[3]);
        }
    }
    tsr_context_close(&ctx);
}

/* After one update the repaired codeword sits on the farthest vector of the
 * cluster with the largest error. */
static void test_repair_place(void **state)
{
    const float x[] = { 0, 2, 100, 104, 109 };
    float words[] = { 1, 103, -500, -600 };
    tsr_context *ctx = check_context("c", 1);
    tsr_kmeans_settings s = settings(1);
    tsr_kmeans_result r;
    (void)state;
    s.start = TSR_KMEANS_GIVEN;
    assert_int_equal(tsr_kmeans(ctx, &s, x, 5, 1, 4, words, NULL, &r), TSR_OK);
    assert_true(words[2] == 109);   /* the worst cluster's farthest */
    assert_true(words[3] == 0);     /* the next one's; the first of equals */
    assert_int_equal(r.repaired, 2);
    tsr_context_close(&ctx);
}

static void test_duplicates(void **state)
{
    float x[40], words[10];
    int32_t codes[40];
    tsr_kmeans_result r;
    tsr_context *ctx = check_context("c", 1);
    (void)state;
    for (int i = 0; i < 40; i++)
        x[i] = (float)(i % 3);
    for (int start = 0; start < 2; start++) {
        tsr_kmeans_settings s = settings(20);
        s.start = (tsr_kmeans_start)start;
        assert_int_equal(tsr_kmeans(ctx, &s, x, 40, 1, 10, words, codes, &r),
                         TSR_OK);
        assert_true(r.inertia == 0);
        assert_int_equal(r.empty, 7);
        for (int i = 0; i < 40; i++)
            assert_true(words[codes[i]] == x[i]);
    }
    tsr_context_close(&ctx);
}

static void test_k_equals_n(void **state)
{
    const data d = random_data(16, 67, 3);
    float words[67 * 3];
    int32_t codes[67];
    tsr_context *ctx = check_context("c", 3);
    tsr_kmeans_result r;
    (void)state;
    for (int start = 0; start < 2; start++) {
        tsr_kmeans_settings s = settings(5);
        s.start = (tsr_kmeans_start)start;
        assert_int_equal(tsr_kmeans(ctx, &s, d.x, 67, 3, 67, words, codes, &r),
                         TSR_OK);
        assert_true(r.inertia == 0);
        assert_int_equal(r.empty, 0);
        for (size_t i = 0; i < 67; i++)
            assert_memory_equal(words + 3 * codes[i], d.x + 3 * i,
                                3 * sizeof *words);
    }
    tsr_context_close(&ctx);
    free(d.x);
}

/* A weight of 3 is the vector three times; of 0, never. */
static void test_weights(void **state)
{
    const float x[] = { 0, 4, 50, 60, 1000 }, w[] = { 3, 1, 1, 1, 0 };
    float words[2];
    tsr_kmeans_settings s = settings(20);
    tsr_kmeans_result r;
    tsr_context *ctx = check_context("c", 1);
    (void)state;
    s.weights = w;
    for (s.seed = 0; s.seed < 10; s.seed++) {
        assert_int_equal(tsr_kmeans(ctx, &s, x, 5, 1, 2, words, NULL, &r),
                         TSR_OK);
        assert_true(fminf(words[0], words[1]) == 1);
        assert_true(fmaxf(words[0], words[1]) == 55);
        assert_true(r.inertia == 62);
    }
    tsr_context_close(&ctx);
}

static int stop(void *cookie, double done)
{
    *(double *)cookie = done;
    return done > 0.2;
}

static void expect(tsr_error error, tsr_context *ctx,
                   const tsr_kmeans_settings *s, const float *x, size_t n,
                   int dim, int k)
{
    float words[64] = { 0 };
    assert_int_equal(tsr_kmeans(ctx, s, x, n, dim, k, words, NULL, NULL),
                     error);
}

static void test_refusals(void **state)
{
    float x[16] = { 0, 1, 2, 3, 4, 5 };
    float w[16] = { 0 };
    double done = 0;
    tsr_context *ctx = check_context("c", 1);
    tsr_kmeans_settings s = settings(10), t = s;
    (void)state;
    ctx->logger.log = NULL;
    expect(TSR_OK, ctx, NULL, x, 16, 1, 16);
    expect(TSR_E_ARG, ctx, &s, x, 4, 1, 5);
    expect(TSR_E_ARG, ctx, &s, x, 0, 1, 1);
    expect(TSR_E_ARG, ctx, &s, x, 4, 0, 2);
    expect(TSR_E_ARG, ctx, &s, x, 4, TSR_VQ_MAX_DIM + 1, 2);
    expect(TSR_E_ARG, ctx, &s, x, 4, 1, 0);
    expect(TSR_E_ARG, ctx, &s, x, TSR_VQ_MAX_VECTORS, 1,
           TSR_VQ_MAX_CODEWORDS + 1);
    expect(TSR_E_ARG, ctx, &s, x, (size_t)TSR_VQ_MAX_VECTORS + 1, 1, 1);
    expect(TSR_E_ARG, ctx, &s, x, SIZE_MAX, 1, 1);
    const float bad[] = { NAN, INFINITY, -INFINITY, 2e15f };
    for (int i = 0; i < 4; i++) {
        x[7] = bad[i];
        expect(TSR_E_ARG, ctx, &s, x, 16, 1, 2);
        x[7] = 0;
        s.weights = w;
        w[3] = bad[i];
        expect(TSR_E_ARG, ctx, &s, x, 16, 1, 2);
        s.weights = NULL;
    }
    w[3] = 0;
    s.weights = w;
    expect(TSR_E_ARG, ctx, &s, x, 16, 1, 2);
    w[3] = -1;
    expect(TSR_E_ARG, ctx, &s, x, 16, 1, 2);
    s = t;
    s.size = 8;
    expect(TSR_E_ARG, ctx, &s, x, 16, 1, 2);
    s = t;
    s.iterations = -1;
    expect(TSR_E_ARG, ctx, &s, x, 16, 1, 2);
    s = t;
    s.tolerance = NAN;
    expect(TSR_E_ARG, ctx, &s, x, 16, 1, 2);
    s = t;
    s.batch = -1;
    expect(TSR_E_ARG, ctx, &s, x, 16, 1, 2);
    s = t;
    s.start = (tsr_kmeans_start)3;
    expect(TSR_E_ARG, ctx, &s, x, 16, 1, 2);
    s = t;
    s.batch = 3;
    s.progress = (tsr_progress){ &done, stop };
    expect(TSR_E_CANCELED, ctx, &s, x, 16, 1, 2);
    assert_true(done > 0.2 && done < 0.4);
    tsr_context_close(&ctx);
}

/* No memory, at each allocation in turn. */
static int countdown;

static void *failing_alloc(void *cookie, size_t size, size_t align)
{
    (void)cookie;
    return countdown-- == 0 ? NULL
                            : aligned_alloc(align, (size + align - 1) / align *
                                                       align);
}

static void plain_free(void *cookie, void *memory)
{
    (void)cookie;
    free(memory);
}

static void test_no_memory(void **state)
{
    const float x[] = { 0, 1, 10, 11, 100, 130 };
    tsr_context *ctx = check_context("c", 1);
    (void)state;
    ctx->logger.log = NULL;
    ctx->allocator = (tsr_allocator){ NULL, failing_alloc, plain_free };
    for (int batch = 0; batch < 2; batch++) {
        tsr_error error = TSR_E_NOMEM;
        for (int at = 0; error; at++) {
            float words[] = { 5, 110, 9000, 9001 };
            tsr_kmeans_settings s = settings(3);
            s.batch = batch * 6;
            s.start = TSR_KMEANS_GIVEN;
            countdown = at;
            error = tsr_kmeans(ctx, &s, x, 6, 1, 4, words, NULL, NULL);
            assert_true(error == TSR_E_NOMEM || (error == TSR_OK && at > 8));
        }
    }
    countdown = -1;
    tsr_context_close(&ctx);
}

static void test_rows(void **state)
{
    const data d = random_data(17, 131, 9);
    const int k = 37;
    const float *words = d.x;
    int32_t codes[131];
    float *y = malloc(d.n * 9 * sizeof *y);
    tsr_context *ctx = check_context("c", 2);
    (void)state;
    ctx->logger.log = NULL;
    assert_non_null(y);
    assert_int_equal(tsr_codebook_nearest(ctx, words, k, 9, d.x, d.n, codes),
                     TSR_OK);
    for (int i = 0; i < 131; i++) {
        const float *x = d.x + 9 * i;
        const double mine = distance(x, words + 9 * codes[i], 9);
        for (int c = 0; c < k; c++)
            assert_true(mine <= distance(x, words + 9 * c, 9) + 1e-5);
        if (i < k)
            assert_int_equal(codes[i], i);
    }
    assert_int_equal(tsr_codebook_lookup(ctx, words, k, 9, codes, d.n, y),
                     TSR_OK);
    for (size_t i = 0; i < d.n; i++)
        assert_memory_equal(y + 9 * i, words + 9 * codes[i], 9 * sizeof *y);
    codes[130] = k;
    assert_int_equal(tsr_codebook_lookup(ctx, words, k, 9, codes, d.n, y),
                     TSR_E_ARG);
    codes[130] = -1;
    assert_int_equal(tsr_codebook_lookup(ctx, words, k, 9, codes, d.n, y),
                     TSR_E_ARG);
    assert_int_equal(tsr_codebook_nearest(ctx, words, k, 9, d.x, 0, codes),
                     TSR_OK);
    assert_int_equal(tsr_codebook_nearest(ctx, words, 0, 9, d.x, 5, codes),
                     TSR_E_ARG);
    tsr_context_close(&ctx);
    free(d.x);
    free(y);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lloyd),
        cmocka_unit_test(test_inertia_never_rises),
        cmocka_unit_test(test_determinism),
        cmocka_unit_test(test_seeds),
        cmocka_unit_test(test_mixture),
        cmocka_unit_test(test_mini_batch),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_repair_place),
        cmocka_unit_test(test_duplicates),
        cmocka_unit_test(test_k_equals_n),
        cmocka_unit_test(test_weights),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
