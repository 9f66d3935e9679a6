/* SPDX-License-Identifier: BSD-2-Clause */
/* Frequencies, nested codebooks and contexts that are made from tokens. */
#include <math.h>
#include "tests/poor.h"
#include "tests/token_tensors.h"
#include "codecs/image/token_nest.h"
#include "codecs/image/token_units.h"

enum { CODES = 300, DIM = 2, GRIDS = 6, SIDE = 40 };

/* Codewords in 10 heaps, and pictures whose tokens mostly stay in the heap of the
 * token at the left or above. */
typedef struct scene {
    float words[CODES][DIM];
    int32_t id[GRIDS][SIDE * SIDE];
    tsri_nest_grid grid[GRIDS];
    uint64_t counts[CODES];
} scene;

static scene *new_scene(uint64_t seed)
{
    check_rng rng = { seed + 1 };
    scene *s = calloc(1, sizeof *s);

    assert_non_null(s);
    for (int i = 0; i < CODES; i++)
        for (int d = 0; d < DIM; d++)
            s->words[i][d] = (float)(i % 10 / (d ? 5 : 1) % 5) * 10 +
                             check_float(&rng);
    for (int g = 0; g < GRIDS; g++) {
        for (int i = 0; i < SIDE * SIDE; i++) {
            const int back = check_below(&rng, 2) && i >= SIDE ? SIDE : 1;
            int heap = (int)check_below(&rng, 10);
            if (i && check_below(&rng, 8))
                heap = s->id[g][i - back] % 10;
            const uint32_t a = check_below(&rng, CODES / 10);
            s->id[g][i] = heap + 10 * (int)check_below(&rng, a + 1);
            s->counts[s->id[g][i]]++;
        }
        s->grid[g] = (tsri_nest_grid){ s->id[g], SIDE, SIDE };
    }
    return s;
}

static tsri_nest open_nest(tsr_context *ctx, const scene *s)
{
    return (tsri_nest){ .ctx = ctx, .codes = CODES, .dim = DIM,
                        .words = &s->words[0][0], .levels = 1 };
}

static void check_sum(const int32_t *weight, int n)
{
    int64_t sum = 0;

    for (int i = 0; i < n; i++) {
        assert_true(weight[i] >= 1);
        sum += weight[i];
    }
    assert_int_equal(sum, 1 << TSRI_TOKEN_BITS);
}

static void test_weights(void **state)
{
    static uint64_t counts[TSRI_TOKEN_CODES];
    static const int sizes[] = { 1, 2, 3, 1000, TSRI_TOKEN_CODES };
    tsr_context *ctx = check_context("c", 1);
    check_rng rng = { 9 };
    (void)state;

    for (int kind = 0; kind < 5; kind++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            tsri_nest n = { .ctx = ctx, .codes = sizes[i], .levels = 1 };
            for (int k = 0; k < sizes[i]; k++)
                counts[k] = kind == 0 ? 0 : kind == 1 ? 1000 :
                            kind == 2 ? (k ? 0 : UINT64_C(1) << 40) :
                            kind == 3 ? check_below(&rng, 3)
                                      : check_u32(&rng) >> check_below(&rng, 32);
            assert_int_equal(tsri_nest_weigh(&n, counts), TSR_OK);
            check_sum(n.weight, sizes[i]);
            for (int k = 1; k < sizes[i]; k++)  /* more often, not less weight */
                if (counts[k] > counts[k - 1])
                    assert_true(n.weight[k] + 1 >= n.weight[k - 1]);
            tsri_nest_close(&n);
        }
    tsr_context_close(&ctx);
}

/* Three tokens to one: weights follow where there is enough to go by. */
static void test_share(void **state)
{
    const uint64_t counts[] = { 30000, 10000, 0 };
    tsr_context *ctx = check_context("c", 1);
    tsri_nest n = { .ctx = ctx, .codes = 3, .levels = 1 };
    (void)state;

    assert_int_equal(tsri_nest_weigh(&n, counts), TSR_OK);
    assert_in_range(n.weight[0], 786432 - 100, 786432 + 100);
    assert_in_range(n.weight[1], 262144 - 100, 262144 + 100);
    assert_in_range(n.weight[2], 1, 4);
    tsri_nest_close(&n);
    tsr_context_close(&ctx);
}

/* The tensors of a nest. */
static check_tensors as_tensors(const tsri_nest *n)
{
    check_tensors list = { 0 };
    char name[CHECK_NAME];

    memcpy(token_ints(&list, "tessera.order", n->codes), n->place,
           (size_t)n->codes * 4);
    memcpy(token_ints(&list, "tessera.frequency", n->codes), n->weight,
           (size_t)n->codes * 4);
    for (int j = 1; j < n->levels; j++) {
        const uint64_t dims[] = { (uint64_t)n->size[j], (uint64_t)n->dim };
        check_name(name, "tessera.level.%d.start", j);
        memcpy(token_ints(&list, name, n->size[j]), n->start[j],
               (size_t)n->size[j] * 4);
        check_name(name, "tessera.level.%d.codewords", j);
        memcpy(check_tensors_add(&list, name, "F32", 4, 2, dims), n->centre[j],
               (size_t)n->size[j] * (size_t)n->dim * 4);
    }
    if (n->context) {
        const uint64_t c = (uint64_t)n->size[n->levels - 1];
        const uint64_t dims[] = { 4, c + 1, c };
        memcpy(check_tensors_add(&list, "tessera.context.bias", "I16", 2, 1,
                                 dims + 2), n->bias, (size_t)c * 2);
        memcpy(check_tensors_add(&list, "tessera.context.weight", "I8", 1, 3,
                                 dims), n->context, (size_t)(4 * (c + 1) * c));
    }
    return list;
}

static tsri_token_book *as_book(const tsri_nest *n)
{
    check_tensors list = as_tensors(n);
    tsri_token_book *book;
    tsr_model *model = token_model(n->ctx, &list);

    assert_int_equal(tsri_token_book_open(&book, n->ctx, model, n->codes, n->dim,
                                          n->words), TSR_OK);
    tsr_model_unref(&model);
    check_tensors_free(&list);
    return book;
}

static void make(tsri_nest *n, const scene *s, const int *sizes, int levels)
{
    assert_int_equal(tsri_nest_weigh(n, s->counts), TSR_OK);
    assert_int_equal(tsri_nest_tree(n, sizes, levels, 1, NULL), TSR_OK);
    assert_int_equal(tsri_nest_context(n, s->grid, GRIDS - 1, NULL), TSR_OK);
}

/* A cluster's codeword is the weighted mean of its codes. */
static void check_centres(const tsri_nest *n, const tsri_token_book *book, int j)
{
    for (int c = 0; c < n->size[j]; c++) {
        double sum[DIM] = { 0 }, all = 0;
        for (int i = 0; i < n->codes; i++) {
            if (tsri_token_book_coarser(book, 0, i, j) != c)
                continue;
            all += n->weight[i];
            for (int d = 0; d < DIM; d++)
                sum[d] += (double)n->words[i * DIM + d] * n->weight[i];
        }
        assert_true(all > 0);
        for (int d = 0; d < DIM; d++)
            assert_float_equal(n->centre[j][c * DIM + d], (float)(sum[d] / all), 1e-4);
    }
}

static void test_tree(void **state)
{
    static const int sizes[] = { 100, 30, 10 };
    tsr_context *ctx = check_context("c", 1);
    scene *s = new_scene(1);
    tsri_nest n = open_nest(ctx, s);
    (void)state;

    make(&n, s, sizes, 3);
    assert_int_equal(n.levels, 4);
    assert_int_equal(n.size[0], CODES);
    tsri_token_book *book = as_book(&n);
    for (int j = 1; j < 4; j++) {
        assert_int_equal(n.size[j], sizes[j - 1]);
        check_centres(&n, book, j);
    }
    for (int i = 0; i < CODES; i++)     /* the heaps are found */
        assert_int_equal(tsri_token_book_coarser(book, 0, i, 3),
                         tsri_token_book_coarser(book, 0, i % 10, 3));
    /* by falling weight: codes inside clusters, clusters inside clusters */
    for (int j = 0; j < 4; j++)
        for (int c = 1; c < n.size[j]; c++) {
            int32_t a = c - 1, b = c;
            for (int i = 0; !j && i < CODES; i++) {
                a = n.place[i] == c - 1 ? i : a;
                b = n.place[i] == c ? i : b;
            }
            if (j == 3 || tsri_token_book_coarser(book, j, a, j + 1) ==
                              tsri_token_book_coarser(book, j, b, j + 1))
                assert_true(tsri_token_book_weight(book, j, a) >=
                            tsri_token_book_weight(book, j, b));
        }
    tsri_token_book_close(&book, ctx);
    tsri_nest_close(&n);
    free(s);
    tsr_context_close(&ctx);
}

/* Codewords that coincide: no cluster is empty. */
static void test_same_words(void **state)
{
    static const int sizes[] = { 50, 20, 4 };
    tsr_context *ctx = check_context("c", 1);
    scene *s = new_scene(2);
    (void)state;

    for (int i = 0; i < CODES; i++)
        memcpy(s->words[i], s->words[i % 7], sizeof s->words[i]);
    tsri_nest n = open_nest(ctx, s);
    make(&n, s, sizes, 3);
    assert_int_equal(n.levels, 4);
    assert_in_range(n.size[1], 1, 7);
    assert_in_range(n.size[2], 1, n.size[1]);
    assert_in_range(n.size[3], 1, 4);
    tsri_token_book *book = as_book(&n);
    tsri_token_book_close(&book, ctx);
    tsri_nest_close(&n);
    free(s);
    tsr_context_close(&ctx);
}

static void test_same_result(void **state)
{
    static const int sizes[] = { 60, 12 };
    scene *s = new_scene(3);
    check_tensors first = { 0 };
    (void)state;

    for (int threads = 1; threads < 4; threads++) {
        tsr_context *ctx = check_context("c", threads);
        tsri_nest n = open_nest(ctx, s);
        make(&n, s, sizes, 2);
        check_tensors list = as_tensors(&n);
        for (size_t i = 0; threads > 1 && i < list.count; i++)
            assert_memory_equal(list.tensor[i].data, first.tensor[i].data,
                                list.tensor[i].bytes);
        check_tensors_free(&first);
        first = list;
        tsri_nest_close(&n);
        tsr_context_close(&ctx);
    }
    check_tensors_free(&first);
    free(s);
}

/* Bytes of a picture of a level. */
static size_t coded(const tsri_token_book *book, tsr_context *ctx,
                    const tsri_nest_grid *g, int level, bool context)
{
    const tsri_token_way way = { level, 1, context };
    int32_t id[SIDE * SIDE];
    uint8_t lost[SIDE * SIDE] = { 0 }, out[8 * SIDE * SIDE];
    const tsri_token_grid grid = { id, lost, g->height, g->width };
    size_t bytes;

    for (int i = 0; i < SIDE * SIDE; i++)
        id[i] = tsri_token_book_coarser(book, 0, g->id[i], level);
    assert_int_equal(tsri_token_unit_put(ctx, book, &way, &grid, 0, 0, out,
                                         sizeof out, &bytes), TSR_OK);
    return bytes;
}

/* The prices are what the coder takes, the context is worth something on a
 * picture it has not seen. */
static void test_price(void **state)
{
    static const int sizes[] = { 60, 10 };
    tsr_context *ctx = check_context("c", 1);
    scene *s = new_scene(4);
    tsri_nest n = open_nest(ctx, s);
    const tsri_nest_grid *last = &s->grid[GRIDS - 1];
    double weight[TSRI_TOKEN_LEVELS], context[TSRI_TOKEN_LEVELS];
    (void)state;

    make(&n, s, sizes, 2);
    tsri_token_book *book = as_book(&n);
    assert_int_equal(tsri_nest_price(&n, last, 1, weight, context), TSR_OK);
    for (int j = 0; j < 3; j++) {
        const double bytes[] = { weight[j] * SIDE * SIDE / 8,
                                 context[j] * SIDE * SIDE / 8 };
        for (int way = 0; way < 2; way++) {
            const double got = (double)coded(book, ctx, last, j, way);
            assert_true(got >= bytes[way] + 1 && got <= 1.002 * bytes[way] + 4);
        }
        assert_true(context[j] < weight[j] - 1.5);
    }
    assert_true(weight[2] < log2(10) + 0.1);
    tsri_token_book_close(&book, ctx);
    tsri_nest_close(&n);
    free(s);
    tsr_context_close(&ctx);
}

/* Neighbours that all say the same, where most of what comes is open all the
 * same: it must not be counted four times, and no step may be too long for it. */
static void test_agreeing_neighbours(void **state)
{
    static const int sizes[] = { 60, 10 };
    tsr_context *ctx = check_context("c", 1);
    scene *s = new_scene(8);
    tsri_nest n = open_nest(ctx, s);
    double weight[TSRI_TOKEN_LEVELS], context[TSRI_TOKEN_LEVELS];
    check_rng rng = { 4 };
    (void)state;

    for (int g = 0; g < GRIDS; g++)
        for (int i = 0; i < SIDE * SIDE; i++) {
            const int part = i / SIDE / 20 ? 5 : 1;
            const int heap = check_below(&rng, 2)
                                 ? 0 : part + (int)check_below(&rng, 4);
            s->id[g][i] = heap + 10 * (int)check_below(&rng, CODES / 10);
        }
    make(&n, s, sizes, 2);
    assert_int_equal(tsri_nest_price(&n, &s->grid[GRIDS - 1], 1, weight, context),
                     TSR_OK);
    /* 1 + 3 / 2 bits; in a known part 1 + 2 / 2 */
    assert_true(context[2] < 2.2);
    tsri_nest_close(&n);
    free(s);
    tsr_context_close(&ctx);
}

/* Where neighbours say nothing the context costs next to nothing. */
static void test_no_context(void **state)
{
    static const int sizes[] = { 60, 10 };
    tsr_context *ctx = check_context("c", 1);
    scene *s = new_scene(5);
    tsri_nest n = open_nest(ctx, s);
    double weight[TSRI_TOKEN_LEVELS], context[TSRI_TOKEN_LEVELS];
    check_rng rng = { 3 };
    (void)state;

    memset(s->counts, 0, sizeof s->counts);
    for (int g = 0; g < GRIDS; g++)
        for (int i = 0; i < SIDE * SIDE; i++) {
            s->id[g][i] = (int32_t)check_below(&rng, CODES);
            s->counts[s->id[g][i]]++;
        }
    make(&n, s, sizes, 2);
    assert_int_equal(tsri_nest_price(&n, &s->grid[GRIDS - 1], 1, weight, context),
                     TSR_OK);
    assert_true(context[0] < weight[0] + 0.08);
    tsri_nest_close(&n);
    n = open_nest(ctx, s);              /* without levels there is none */
    make(&n, s, NULL, 0);
    assert_null(n.context);
    assert_int_equal(tsri_nest_price(&n, s->grid, GRIDS, weight, context), TSR_OK);
    assert_true(weight[0] > 8.2 && weight[0] < 8.3 && context[0] == 0);
    tsri_nest_close(&n);
    free(s);
    tsr_context_close(&ctx);
}

static int stop(void *cookie, double done)
{
    int *left = cookie;
    assert_true(done >= 0 && done <= 1);
    return (*left)-- <= 0;
}

static void test_cancel(void **state)
{
    static const int sizes[] = { 60, 10 };
    tsr_context *ctx = check_context("c", 1);
    scene *s = new_scene(6);
    (void)state;

    for (int left = 0; left < 4; left++) {
        int calls = left;
        const tsr_progress progress = { &calls, stop };
        tsri_nest n = open_nest(ctx, s);
        assert_int_equal(tsri_nest_weigh(&n, s->counts), TSR_OK);
        assert_int_equal(tsri_nest_tree(&n, sizes, 2, 1, &progress),
                         TSR_E_CANCELED);
        tsri_nest_close(&n);
    }
    free(s);
    tsr_context_close(&ctx);
}

static void test_no_memory(void **state)
{
    static const int sizes[] = { 30, 5 };
    tsr_context *ctx = poor_context("c", 1);
    scene *s = new_scene(7);
    tsr_error error = TSR_E_NOMEM;
    const int held = poor_held;
    double weight[TSRI_TOKEN_LEVELS], context[TSRI_TOKEN_LEVELS];
    int left = 0;
    (void)state;

    for (int i = 0; i < GRIDS; i++)
        s->grid[i].height = 2;
    for (; error; left++) {
        tsri_nest n = open_nest(ctx, s);
        poor_left = left;
        error = tsri_nest_weigh(&n, s->counts);
        if (!error)
            error = tsri_nest_tree(&n, sizes, 2, 1, NULL);
        if (!error)
            error = tsri_nest_context(&n, s->grid, GRIDS, NULL);
        if (!error)
            error = tsri_nest_price(&n, s->grid, GRIDS, weight, context);
        poor_left = POOR_MANY;
        assert_true(!error || error == TSR_E_NOMEM);
        tsri_nest_close(&n);
        assert_int_equal(poor_held, held);
    }
    assert_in_range(left, 30, 200);
    free(s);
    tsr_context_close(&ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_weights),
        cmocka_unit_test(test_share),
        cmocka_unit_test(test_tree),
        cmocka_unit_test(test_same_words),
        cmocka_unit_test(test_same_result),
        cmocka_unit_test(test_price),
        cmocka_unit_test(test_agreeing_neighbours),
        cmocka_unit_test(test_no_context),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
