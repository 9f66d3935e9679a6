/* SPDX-License-Identifier: BSD-2-Clause */
/* Coded vectors: against their definition to the bit, and against decoding. */
#include <math.h>
#include <tessera/vq.h>
#include "tests/check.h"
#include "lib/core.h"

typedef struct set {
    tsr_rvq_shape shape;
    int stages, n;
    float *words;       /* [groups][stages][k][dim] */
    int32_t *codes;
    float *query;
} set;

static const struct { tsr_rvq_shape shape; int stages, n; } cases[] = {
    { { 1, 1, 1, 1 }, 1, 1 }, { { 3, 2, 5, 4 }, 2, 37 },
    { { 4, 1, 256, 2 }, 1, 100 }, { { 2, 3, 257, 3 }, 2, 16 },
    { { 1, 4, 65536, 1 }, 4, 65 }, { { 2, 1, 65537, 1 }, 1, 33 },
    { { 8, 2, 16, 8 }, 1, 9000 },
};
enum { CASES = sizeof cases / sizeof *cases };

static set make(check_rng *rng, int which)
{
    set s = { cases[which].shape, cases[which].stages, cases[which].n, NULL,
              NULL, NULL };
    const int dim = s.shape.groups * s.shape.dim;
    const size_t floats = (size_t)dim * (size_t)s.shape.stages *
                          (size_t)s.shape.k;
    const size_t codes = (size_t)s.n * (size_t)(s.shape.groups * s.stages);

    s.words = malloc(floats * sizeof *s.words);
    s.codes = malloc(codes * sizeof *s.codes);
    s.query = malloc((size_t)dim * sizeof *s.query);
    assert_true(s.words && s.codes && s.query);
    for (size_t i = 0; i < floats; i++)
        s.words[i] = check_float(rng);
    for (size_t i = 0; i < codes; i++)
        s.codes[i] = (int32_t)check_below(rng, (uint32_t)s.shape.k);
    for (int i = 0; i < dim; i++)
        s.query[i] = check_float(rng);
    return s;
}

static void drop(set *s)
{
    free(s->words);
    free(s->codes);
    free(s->query);
}

static const float *word(const set *s, int group, int stage, int code)
{
    return s->words + ((group * s->shape.stages + stage) * s->shape.k + code) *
                      s->shape.dim;
}

/* What the header says, without |query|^2; volatile keeps every rounding. */
static float score_by_hand(const set *s, int item)
{
    const int32_t *code = s->codes + item * s->shape.groups * s->stages;
    volatile float sum = 0;
    double norm = 0;

    for (int g = 0; g < s->shape.groups; g++) {
        float y[8] = { 0 };
        for (int t = 0; t < s->stages; t++, code++) {
            const float *w = word(s, g, t, *code);
            volatile float dot = 0, own = 0, product;
            for (int j = 0; j < s->shape.dim; j++) {
                product = s->query[g * s->shape.dim + j] * w[j];
                dot = dot + product;
                product = w[j] * w[j];
                own = own + product;
                y[j] = t ? y[j] + w[j] : w[j];
            }
            volatile float entry = -2 * dot;
            if (s->stages == 1)
                entry = own + entry;
            sum = sum + entry;
        }
        for (int j = 0; j < s->shape.dim; j++)
            norm += (double)y[j] * (double)y[j];
    }
    if (s->stages > 1)
        sum = sum + (float)norm;
    return sum;
}

static float query_norm(const set *s)
{
    double norm = 0;
    for (int j = 0; j < s->shape.groups * s->shape.dim; j++)
        norm += (double)s->query[j] * (double)s->query[j];
    return (float)norm;
}

static void check_distances(const set *s, const tsr_rvq *q,
                            const tsr_coded *coded)
{
    const int dim = s->shape.groups * s->shape.dim;
    float *got = malloc((size_t)s->n * sizeof *got);
    float *y = malloc((size_t)(s->n * dim) * sizeof *y);
    const float norm = query_norm(s);

    assert_true(got && y);
    assert_int_equal(tsr_coded_distances(coded, s->query, got), TSR_OK);
    assert_int_equal(tsr_rvq_decode(q, s->codes, (size_t)s->n, s->stages,
                                    s->stages, y), TSR_OK);
    for (int i = 0; i < s->n; i++) {
        const float hand = score_by_hand(s, i) + norm;
        double exact = 0;
        assert_true(got[i] == (hand > 0 ? hand : 0));
        for (int j = 0; j < dim; j++)
            exact += ((double)y[i * dim + j] - (double)s->query[j]) *
                     ((double)y[i * dim + j] - (double)s->query[j]);
        assert_true(fabs((double)got[i] - exact) < 2e-5 * (1 + exact));
    }
    free(got);
    free(y);
}

static void check_nearest(const set *s, const tsr_coded *coded)
{
    const int most = s->n < 50 ? s->n : 50;
    int32_t items[50];
    float distance[50], last = -INFINITY;
    const float norm = query_norm(s);
    char *used = calloc((size_t)s->n, 1);

    assert_non_null(used);
    assert_int_equal(tsr_coded_nearest(coded, s->query, 1, most, items,
                                       distance), TSR_OK);
    for (int k = 0; k < most; k++) {
        assert_in_range(items[k], 0, s->n - 1);
        assert_false(used[items[k]]);
        used[items[k]] = 1;
        const float score = score_by_hand(s, items[k]);
        assert_true(score > last ||
                    (score == last && items[k] > items[k - 1]));
        assert_true(distance[k] == (score + norm > 0 ? score + norm : 0));
        last = score;
    }
    for (int i = 0; i < s->n; i++)
        if (!used[i]) {
            const float score = score_by_hand(s, i);
            assert_true(score > last ||
                        (score == last && i > items[most - 1]));
        }
    free(used);
}

static void check_sum(const set *s, const tsr_rvq *q, const tsr_coded *coded,
                      check_rng *rng)
{
    const int dim = s->shape.groups * s->shape.dim;
    int32_t some[77];
    float *y = malloc((size_t)(s->n * dim) * sizeof *y);
    double *all = malloc((size_t)dim * sizeof *all);
    double *part = malloc((size_t)dim * sizeof *part);

    assert_true(y && all && part);
    for (int i = 0; i < 77; i++)
        some[i] = (int32_t)check_below(rng, (uint32_t)s->n);
    assert_int_equal(tsr_rvq_decode(q, s->codes, (size_t)s->n, s->stages,
                                    s->stages, y), TSR_OK);
    assert_int_equal(tsr_coded_sum(coded, NULL, 0, all), TSR_OK);
    assert_int_equal(tsr_coded_sum(coded, some, 77, part), TSR_OK);
    for (int j = 0; j < dim; j++) {
        double sum = 0, of_some = 0;
        for (int i = 0; i < s->n; i++)
            sum += (double)y[i * dim + j];
        for (int i = 0; i < 77; i++)
            of_some += (double)y[some[i] * dim + j];
        assert_true(fabs(sum - all[j]) < 1e-6 * s->n);
        assert_true(fabs(of_some - part[j]) < 1e-5);
    }
    free(y);
    free(all);
    free(part);
}

static void test_against_definition(void **state)
{
    check_rng rng = { 51 };
    (void)state;
    for (int i = 0; i < CASES; i++) {
        set s = make(&rng, i);
        for (int fast = 0; fast < 2; fast++) {
            tsr_rvq *q;
            tsr_coded *coded;
            tsr_cpu_set_mask(fast ? ~0u : 0);
            tsr_context *ctx = check_context("c", fast ? 3 : 1);
            assert_int_equal(tsr_rvq_open(&q, ctx, &s.shape, s.words), TSR_OK);
            assert_int_equal(tsr_coded_open(&coded, q, s.codes, (size_t)s.n,
                                            s.stages), TSR_OK);
            check_distances(&s, q, coded);
            check_nearest(&s, coded);
            check_sum(&s, q, coded, &rng);
            tsr_coded_close(&coded);
            assert_null(coded);
            tsr_coded_close(&coded);
            tsr_rvq_close(&q);
            tsr_context_close(&ctx);
        }
        tsr_cpu_set_mask(~0u);
        drop(&s);
    }
    tsr_coded_close(NULL);
    tsr_rvq_close(NULL);
}

/* Equal vectors come in the order of their numbers, over chunks and threads. */
static void test_ties(void **state)
{
    enum { N = 10000, MOST = 100 };
    static int32_t codes[N];
    const tsr_rvq_shape shape = { 1, 1, 3, 1 };
    const float words[] = { 0, 1, 2 }, queries[] = { 1, 0.25f };
    int32_t items[2 * MOST];
    tsr_rvq *q;
    tsr_coded *coded;
    tsr_context *ctx = check_context("c", 3);
    (void)state;
    for (int i = 0; i < N; i++)
        codes[i] = i % 200 == 150 ? 1 : i == 9999 ? 0 : 2;
    assert_int_equal(tsr_rvq_open(&q, ctx, &shape, words), TSR_OK);
    assert_int_equal(tsr_coded_open(&coded, q, codes, N, 1), TSR_OK);
    assert_int_equal(tsr_coded_nearest(coded, queries, 2, MOST, items, NULL),
                     TSR_OK);
    for (int k = 0; k < 50; k++)
        assert_int_equal(items[k], 200 * k + 150);
    for (int k = 50; k < MOST; k++)
        assert_int_equal(items[k], k - 50);
    assert_int_equal(items[MOST], 9999);
    for (int k = 1; k <= 50; k++)
        assert_int_equal(items[MOST + k], 200 * (k - 1) + 150);
    tsr_coded_close(&coded);
    tsr_rvq_close(&q);
    tsr_context_close(&ctx);
}

static void test_refusals(void **state)
{
    const tsr_rvq_shape shape = { 2, 2, 4, 2 };
    float words[32] = { 0 }, query[4] = { 0 }, out[3];
    int32_t codes[12] = { 0 }, items[3] = { 0 };
    double sum[4];
    tsr_rvq *q;
    tsr_coded *c;
    tsr_context *ctx = check_context("c", 1);
    (void)state;
    ctx->logger.log = NULL;
    assert_int_equal(tsr_rvq_open(&q, ctx, &shape, words), TSR_OK);
    assert_int_equal(tsr_coded_open(&c, q, codes, 0, 2), TSR_E_ARG);
    assert_null(c);
    assert_int_equal(tsr_coded_open(&c, q, codes, 3, 0), TSR_E_ARG);
    assert_int_equal(tsr_coded_open(&c, q, codes, 3, 3), TSR_E_ARG);
    assert_int_equal(tsr_coded_open(&c, q, codes, SIZE_MAX, 2), TSR_E_ARG);
    codes[11] = 4;
    assert_int_equal(tsr_coded_open(&c, q, codes, 3, 2), TSR_E_ARG);
    codes[11] = -1;
    assert_int_equal(tsr_coded_open(&c, q, codes, 3, 2), TSR_E_ARG);
    assert_null(c);
    codes[11] = 3;
    assert_int_equal(tsr_coded_open(&c, q, codes, 3, 2), TSR_OK);
    assert_int_equal(tsr_coded_nearest(c, query, 1, 0, items, out), TSR_E_ARG);
    assert_int_equal(tsr_coded_nearest(c, query, 1, 4, items, out), TSR_E_ARG);
    assert_int_equal(tsr_coded_nearest(c, query, 1, 3, items, out), TSR_OK);
    query[3] = NAN;
    assert_int_equal(tsr_coded_nearest(c, query, 1, 3, items, out), TSR_E_ARG);
    assert_int_equal(tsr_coded_distances(c, query, out), TSR_E_ARG);
    query[3] = 1e16f;
    assert_int_equal(tsr_coded_distances(c, query, out), TSR_E_ARG);
    items[2] = 3;
    assert_int_equal(tsr_coded_sum(c, items, 3, sum), TSR_E_ARG);
    items[2] = -1;
    assert_int_equal(tsr_coded_sum(c, items, 3, sum), TSR_E_ARG);
    tsr_coded_close(&c);
    tsr_rvq_close(&q);
    words[31] = INFINITY;
    assert_int_equal(tsr_rvq_open(&q, ctx, &shape, words), TSR_OK);
    assert_int_equal(tsr_coded_open(&c, q, codes, 3, 2), TSR_E_ARG);
    tsr_rvq_close(&q);
    tsr_context_close(&ctx);
}

/* The codebook that is ready: as the search in one call, and distances. */
static void test_codebook(void **state)
{
    enum { K = 300, D = 7, N = 500 };
    static float words[K * D], x[N * D], distance[N];
    int32_t one[N], two[N];
    check_rng rng = { 52 };
    tsr_context *ctx = check_context("c", 2);
    tsr_codebook *book;
    (void)state;
    for (int i = 0; i < K * D; i++)
        words[i] = check_float(&rng);
    for (int i = 0; i < N * D; i++)
        x[i] = check_float(&rng);
    assert_int_equal(tsr_codebook_open(&book, ctx, words, K, D), TSR_OK);
    assert_int_equal(tsr_codebook_search(book, x, N, one, distance), TSR_OK);
    assert_int_equal(tsr_codebook_nearest(ctx, words, K, D, x, N, two), TSR_OK);
    assert_memory_equal(one, two, sizeof one);
    for (int i = 0; i < N; i++) {
        double sum = 0;
        for (int j = 0; j < D; j++) {
            const double diff = (double)x[i * D + j] -
                                (double)words[one[i] * D + j];
            sum += diff * diff;
        }
        assert_true(distance[i] == (float)sum);
    }
    assert_int_equal(tsr_codebook_search(book, x, 3, two, NULL), TSR_OK);
    assert_memory_equal(one, two, 3 * sizeof *one);
    assert_int_equal(tsr_codebook_search(book, x, 0, two, distance), TSR_OK);
    ctx->logger.log = NULL;
    assert_int_equal(tsr_codebook_search(book, x, SIZE_MAX, two, NULL),
                     TSR_E_ARG);
    tsr_codebook_close(&book);
    assert_null(book);
    tsr_codebook_close(&book);
    tsr_codebook_close(NULL);
    assert_int_equal(tsr_codebook_open(&book, ctx, words, 0, D), TSR_E_ARG);
    assert_null(book);
    assert_int_equal(tsr_codebook_open(&book, ctx, words, K, 4097), TSR_E_ARG);
    tsr_context_close(&ctx);
}

static int countdown = -1;

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

/* All that these objects do, once. */
static tsr_error everything(tsr_context *ctx, const float *words, float *x)
{
    const tsr_rvq_shape shape = { 1, 2, 150, 2 };
    int32_t codes[20], items[2];
    float distance[10];
    double sum[2];
    tsr_codebook *book = NULL;
    tsr_rvq *q = NULL;
    tsr_coded *coded = NULL;
    tsr_error error = tsr_codebook_open(&book, ctx, words, 150, 2);

    if (!error)
        error = tsr_codebook_search(book, x, 10, codes, distance);
    if (!error)
        error = tsr_rvq_open(&q, ctx, &shape, words);
    if (!error)
        error = tsr_rvq_encode(q, x, 10, 2, 1, codes, NULL);
    if (!error)
        error = tsr_rvq_encode(q, x, 10, 2, 3, codes, NULL);
    if (!error)
        error = tsr_coded_open(&coded, q, codes, 10, 2);
    if (!error)
        error = tsr_coded_distances(coded, x, distance);
    if (!error)
        error = tsr_coded_nearest(coded, x, 1, 2, items, NULL);
    if (!error)
        error = tsr_coded_sum(coded, NULL, 0, sum);
    tsr_coded_close(&coded);
    tsr_rvq_close(&q);
    tsr_codebook_close(&book);
    return error;
}

static void test_no_memory(void **state)
{
    float words[600], x[20];
    check_rng rng = { 53 };
    tsr_context *ctx = check_context("c", 1);
    tsr_error error = TSR_E_NOMEM;
    (void)state;
    for (int i = 0; i < 600; i++)
        words[i] = check_float(&rng);
    for (int i = 0; i < 20; i++)
        x[i] = check_float(&rng);
    ctx->logger.log = NULL;
    ctx->allocator = (tsr_allocator){ NULL, failing_alloc, plain_free };
    for (int at = 0; error; at++) {
        countdown = at;
        error = everything(ctx, words, x);
        /* Vector code takes some more. */
        assert_true(error == TSR_E_NOMEM ||
                    (error == TSR_OK && at > (ctx->cpu ? 40 : 20)));
    }
    countdown = -1;
    tsr_context_close(&ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_definition),
        cmocka_unit_test(test_ties),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_codebook),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
