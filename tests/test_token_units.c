/* SPDX-License-Identifier: BSD-2-Clause */
/* Grids of tokens to units and back. */
#include <limits.h>
#include <math.h>
#include "tests/token_tensors.h"
#include "codecs/image/token_units.h"

enum { CRC = 0x1234567 };

static tsr_context *quiet(void)
{
    tsr_context_settings s;
    tsr_context *ctx;

    tsr_context_settings_init(&s);
    s.backend = "c";
    s.threads = 1;
    assert_int_equal(tsr_context_open(&ctx, &s), TSR_OK);
    return ctx;
}

static tsri_token_grid new_grid(int height, int width)
{
    const size_t n = (size_t)height * (size_t)width;
    tsri_token_grid g = { malloc(n * 4), malloc(n), height, width };

    assert_true(g.id && g.lost);
    memset(g.lost, 1, n);
    memset(g.id, 0xff, n * 4);
    return g;
}

static void free_grid(tsri_token_grid *g)
{
    free(g->id);
    free(g->lost);
}

/* Tokens as frequent as the book says, some like the one before. */
static void fill(tsri_token_grid *g, const tsri_token_book *b, int level,
                 uint64_t seed)
{
    check_rng rng = { seed + 1 };
    const uint32_t total = tsri_token_book_total(b);
    const int size = tsri_token_book_size(b, level);
    uint32_t *sum = malloc(((size_t)size + 1) * sizeof *sum);

    assert_non_null(sum);
    sum[0] = 0;
    for (int i = 0; i < size; i++)
        sum[i + 1] = sum[i] + tsri_token_book_weight(b, level, i);
    for (int i = 0; i < g->height * g->width; i++) {
        const uint32_t at = check_below(&rng, total);
        int low = 0, high = size;
        while (high - low > 1) {
            const int mid = (low + high) / 2;
            *(sum[mid] <= at ? &low : &high) = mid;
        }
        g->id[i] = i && !check_below(&rng, 4) ? g->id[i - 1] : low;
        g->lost[i] = 0;
    }
    free(sum);
}

typedef struct units {
    int n;
    uint8_t **data;
    size_t *bytes, all;
} units;

static units put_all(tsr_context *ctx, const tsri_token_book *b,
                     const tsri_token_way *way, const tsri_token_grid *g)
{
    units u = { .n = tsri_token_units(g, way) };

    u.data = calloc((size_t)u.n, sizeof *u.data);
    u.bytes = calloc((size_t)u.n, sizeof *u.bytes);
    assert_true(u.data && u.bytes);
    for (int i = 0; i < u.n; i++) {
        const size_t room = tsri_token_unit_bound(g, way, i);
        u.data[i] = malloc(room + !room);
        assert_non_null(u.data[i]);
        assert_int_equal(tsri_token_unit_put(ctx, b, way, g, i, CRC, u.data[i],
                                             room, &u.bytes[i]), TSR_OK);
        assert_in_range(u.bytes[i], 0, room);
        u.all += u.bytes[i];
    }
    return u;
}

static void free_units(units *u)
{
    for (int i = 0; i < u->n; i++)
        free(u->data[i]);
    free(u->data);
    free(u->bytes);
}

/* Which unit has token (y, x), from the page. */
static int unit_of(const tsri_token_grid *g, int n, int y, int x)
{
    const int region = y / 128 * ((g->width + 127) / 128) + x / 128;
    return region * n * n + y % n * n + x % n;
}

/* All but every third unit, from the last to the first. */
static void check_units(tsr_context *ctx, const tsri_token_book *b,
                        const tsri_token_way *way, const tsri_token_grid *g,
                        const units *u)
{
    tsri_token_grid got = new_grid(g->height, g->width);

    for (int i = u->n - 1; i >= 0; i--)
        if (i % 3)
            assert_int_equal(tsri_token_unit_get(ctx, b, way, &got, i, CRC,
                                                 u->data[i], u->bytes[i]),
                             TSR_OK);
    for (int y = 0; y < g->height; y++)
        for (int x = 0; x < g->width; x++) {
            const int at = y * g->width + x;
            const bool there = unit_of(g, way->interleave, y, x) % 3;
            assert_int_equal(got.lost[at], !there);
            assert_int_equal(got.id[at], there ? g->id[at] : -1);
        }
    free_grid(&got);
}

static void round_trip(token_case *c, int height, int width,
                       const tsri_token_way *way, uint64_t seed)
{
    tsri_token_grid g = new_grid(height, width);

    fill(&g, c->book, way->level, seed);
    units u = put_all(c->ctx, c->book, way, &g);
    check_units(c->ctx, c->book, way, &g, &u);
    free_units(&u);
    free_grid(&g);
}

static const token_plan plan = { 3000, 1, 4, { 0, 700, 100, 20 }, true, true, true,
                                 0, 3 };

static void test_round_trips(void **state)
{
    static const int sizes[][2] = {
        { 1, 1 }, { 1, 9 }, { 9, 1 }, { 2, 2 }, { 16, 16 }, { 7, 13 },
        { 128, 128 }, { 129, 127 }, { 1, 300 }, { 200, 300 }
    };
    tsr_context *ctx = check_context("c", 1);
    token_case c;
    (void)state;

    token_case_open(&c, ctx, &plan);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int level = 0; level < 4; level++)
            for (int n = 1; n <= 8; n *= 2)
                for (int context = 0; context < 2; context++)
                    round_trip(&c, sizes[i][0], sizes[i][1],
                               &(tsri_token_way){ level, n, context }, i);
    token_case_close(&c);
    tsr_context_close(&ctx);
}

static void test_limits(void **state)
{
    static const token_plan plans[] = {
        { 1, 1, 1, { 0 }, false, false, false, 0, 1 },
        { 1, 1, 2, { 0, 1 }, true, true, true, 0, 2 },
        { 5, 1, 2, { 0, 1 }, true, true, true, 5, 3 },
        { 262144, 1, 3, { 0, 65536, 256 }, true, true, true, 0, 4 },
        { 262144, 1, 2, { 0, 262144 }, true, true, false, 262145, 5 },
        { 262144, 1, 1, { 0 }, false, false, false, 0, 6 },
        { 256, 1, 2, { 0, 256 }, false, false, true, 0, 7 },
        { 17, 1, 2, { 0, 17 }, false, true, true, 19, 8 },
    };
    tsr_context *ctx = check_context("c", 1);
    (void)state;

    for (size_t i = 0; i < sizeof plans / sizeof *plans; i++) {
        token_case c;
        token_case_open(&c, ctx, &plans[i]);
        for (int level = 0; level < plans[i].levels; level++)
            for (int context = 0; context <= plans[i].context; context++)
                round_trip(&c, 33, 35, &(tsri_token_way){ level, 2, context }, i);
        token_case_close(&c);
    }
    tsr_context_close(&ctx);
}

/* Scores at the ends of what the types hold. */
static void test_extreme_scores(void **state)
{
    const token_plan p = { 40, 1, 2, { 0, 20 }, true, true, true, 0, 9 };
    tsr_context *ctx = check_context("c", 1);
    float words[40] = { 0 };
    (void)state;

    for (int way = 0; way < 3; way++) {
        token_case c = { .ctx = ctx };
        token_tensors(&c.list, &p);
        int16_t *bias = check_tensors_find(&c.list, "tessera.context.bias")->data;
        check_tensor *w = check_tensors_find(&c.list, "tessera.context.weight");
        for (int k = 0; k < 20; k++)
            bias[k] = (int16_t)(way == 2 ? 5 : (k + way) % 2 ? INT16_MAX
                                                             : INT16_MIN);
        for (size_t i = 0; i < w->bytes; i++)
            ((int8_t *)w->data)[i] = way == 2 ? 127 : i % 20 % 2 ? INT8_MAX
                                                                 : INT8_MIN;
        tsr_model *model = token_model(ctx, &c.list);
        assert_int_equal(tsri_token_book_open(&c.book, ctx, model, 40, 1, words),
                         TSR_OK);
        tsr_model_unref(&model);
        for (int level = 0; level < 2; level++)
            round_trip(&c, 20, 20, &(tsri_token_way){ level, 1, true }, 1);
        token_case_close(&c);
    }
    tsr_context_close(&ctx);
}

/* What the tokens of a grid cost by their frequencies alone. */
static double ideal_bits(const tsri_token_book *b, int level,
                         const tsri_token_grid *g)
{
    double bits = 0;
    for (int i = 0; i < g->height * g->width; i++)
        bits -= log2((double)tsri_token_book_weight(b, level, g->id[i]) /
                     tsri_token_book_total(b));
    return bits;
}

/* A unit without a context is its ideal bits, rounded up, the check, and at most
 * two bytes. */
static void test_price(void **state)
{
    tsr_context *ctx = check_context("c", 1);
    token_case c;
    (void)state;

    token_case_open(&c, ctx, &plan);
    for (int side = 1; side <= 128; side *= 2)
        for (int level = 0; level < 4; level++) {
            tsri_token_grid g = new_grid(side, side);
            const tsri_token_way way = { level, 1, false };
            fill(&g, c.book, level, 77);
            units u = put_all(ctx, c.book, &way, &g);
            const double ideal = ideal_bits(c.book, level, &g) / 8;
            assert_true((double)u.all <= ideal * 1.0001 + 4);
            assert_true((double)u.all >= ideal);
            free_units(&u);
            free_grid(&g);
        }
    token_case_close(&c);
    tsr_context_close(&ctx);
}

/* A context that says "as at the left" pays where that is so. */
static void test_context_pays(void **state)
{
    const token_plan p = { 64, 1, 2, { 0, 64 }, false, false, true, 0, 4 };
    tsr_context *ctx = check_context("c", 1);
    token_case c = { .ctx = ctx };
    float words[64] = { 0 };
    (void)state;

    token_tensors(&c.list, &p);
    memset(check_tensors_find(&c.list, "tessera.context.bias")->data, 0, 128);
    check_tensor *w = check_tensors_find(&c.list, "tessera.context.weight");
    memset(w->data, 0, w->bytes);
    for (int k = 0; k < 64; k++)
        ((int8_t *)w->data)[k * 64 + k] = 120;
    tsr_model *model = token_model(ctx, &c.list);
    assert_int_equal(tsri_token_book_open(&c.book, ctx, model, 64, 1, words),
                     TSR_OK);
    tsr_model_unref(&model);
    tsri_token_grid g = new_grid(64, 64);
    for (int i = 0; i < 64 * 64; i++) {
        g.id[i] = i / 64;           /* rows of one id */
        g.lost[i] = 0;
    }
    units without = put_all(ctx, c.book, &(tsri_token_way){ 1, 1, false }, &g);
    units with = put_all(ctx, c.book, &(tsri_token_way){ 1, 1, true }, &g);
    /* 6 bits a token; 2^(120/32) against 63: about 2.5 */
    assert_in_range(without.all, 64 * 64 * 6 / 8, 64 * 64 * 6 / 8 + 4);
    assert_in_range(with.all, 64 * 64 * 24 / 80, 64 * 64 * 26 / 80);
    free_units(&without);
    free_units(&with);
    free_grid(&g);
    token_case_close(&c);
    tsr_context_close(&ctx);
}

/* ---- ways ---- */

static void test_ways(void **state)
{
    token_plan p = plan;
    tsr_context *ctx = quiet();
    (void)state;

    for (int context = 0; context < 2; context++) {
        token_case c;
        p.context = context;
        token_case_open(&c, ctx, &p);
        for (int byte = 0; byte < 256; byte++) {
            tsri_token_way way;
            const bool good = (byte & 7) < 4 && byte < (context ? 64 : 32);
            assert_int_equal(tsri_token_way_get(ctx, c.book, (uint8_t)byte, &way),
                             good ? TSR_OK : TSR_E_CORRUPT);
            if (!good)
                continue;
            assert_int_equal(way.level, byte & 7);
            assert_int_equal(way.interleave, 1 << (byte >> 3 & 3));
            assert_int_equal(way.context, byte >> 5);
            assert_int_equal(tsri_token_way_put(&way), byte);
        }
        token_case_close(&c);
    }
    tsr_context_close(&ctx);
}

static void test_counts(void **state)
{
    static const int counts[][4] = {
        { 1, 1, 1, 1 }, { 1, 1, 8, 64 }, { 128, 128, 1, 1 }, { 129, 128, 1, 2 },
        { 129, 257, 2, 24 }, { 16, 16, 4, 16 },
        { 1, INT_MAX, 8, (INT_MAX / 128 + 1) * 64 }, { INT_MAX, INT_MAX, 1, 0 },
        { 1 << 20, 1 << 23, 4, 0 }
    };
    (void)state;
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        const tsri_token_grid g = { NULL, NULL, counts[i][0], counts[i][1] };
        const tsri_token_way way = { 0, counts[i][2], false };
        assert_int_equal(tsri_token_units(&g, &way), counts[i][3]);
    }
}

/* ---- damage ---- */

/* Tries bytes as unit 0 of a 9 x 9 grid: whether they are taken. */
static bool taken(token_case *c, const tsri_token_way *way, const uint8_t *data,
                  size_t bytes)
{
    tsri_token_grid g = new_grid(9, 9);
    uint8_t *copy = malloc(bytes + !bytes);

    assert_non_null(copy);
    memcpy(copy, data, bytes);
    const tsr_error error = tsri_token_unit_get(c->ctx, c->book, way, &g, 0, CRC,
                                                copy, bytes);
    assert_true(!error || error == TSR_E_CORRUPT);
    for (int y = 0; y < 9; y++)
        for (int x = 0; x < 9; x++) {
            const int at = y * 9 + x;
            const bool mine = !(y % way->interleave) && !(x % way->interleave);
            assert_int_equal(g.lost[at], !mine || error);
            if (mine && !error)
                assert_in_range(g.id[at], 0,
                                tsri_token_book_size(c->book, way->level) - 1);
        }
    free(copy);
    free_grid(&g);
    return !error;
}

static void test_damage(void **state)
{
    tsr_context *ctx = quiet();
    token_case c;
    (void)state;

    token_case_open(&c, ctx, &plan);
    for (int i = 0; i < 8; i++) {
        const tsri_token_way way = { i % 4, 1 << i / 4, i % 2 };
        tsri_token_grid g = new_grid(9, 9);
        fill(&g, c.book, way.level, (uint64_t)i);
        units u = put_all(ctx, c.book, &way, &g);
        uint8_t more[512] = { 0 };
        const size_t n = u.bytes[0];
        assert_in_range(n, 10, sizeof more - 2);
        memcpy(more, u.data[0], n);
        assert_true(taken(&c, &way, more, n));
        for (size_t cut = 0; cut < n; cut++)
            assert_false(taken(&c, &way, more, cut));
        assert_false(taken(&c, &way, more, n + 1));
        for (size_t bit = 0; bit < 8 * n; bit++) {
            more[bit / 8] ^= (uint8_t)(1 << bit % 8);
            assert_false(taken(&c, &way, more, n));
            more[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        /* what went before it has changed */
        tsri_token_grid got = new_grid(9, 9);
        assert_int_equal(tsri_token_unit_get(ctx, c.book, &way, &got, 0, CRC + 1,
                                             u.data[0], n), TSR_E_CORRUPT);
        free_grid(&got);
        free_units(&u);
        free_grid(&g);
    }
    token_case_close(&c);
    tsr_context_close(&ctx);
}

/* A unit that fails takes back what was there. */
static void test_lost_again(void **state)
{
    tsr_context *ctx = quiet();
    token_case c;
    const tsri_token_way way = { 1, 2, true };
    tsri_token_grid g = new_grid(5, 5);
    (void)state;

    token_case_open(&c, ctx, &plan);
    fill(&g, c.book, 1, 5);
    assert_int_equal(tsri_token_unit_get(ctx, c.book, &way, &g, 3, 0,
                                         (const uint8_t *)"abc", 3),
                     TSR_E_CORRUPT);
    for (int i = 0; i < 25; i++)
        assert_int_equal(g.lost[i], i / 5 % 2 && i % 5 % 2);
    tsri_token_unit_clear(&g, &way, 0);
    for (int i = 0; i < 25; i++)
        assert_int_equal(g.lost[i], i / 5 % 2 == i % 5 % 2);
    token_case_close(&c);
    free_grid(&g);
    tsr_context_close(&ctx);
}

static void test_bad_calls(void **state)
{
    static const int numbers[] = { INT_MIN, -1, 16, INT_MAX };
    tsr_context *ctx = quiet();
    token_case c;
    const tsri_token_way way = { 2, 4, false };
    tsri_token_grid g = new_grid(3, 3);
    uint8_t out[512];
    size_t bytes;
    (void)state;

    token_case_open(&c, ctx, &plan);
    fill(&g, c.book, 2, 5);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(tsri_token_unit_put(ctx, c.book, &way, &g, numbers[i], 0,
                                             out, sizeof out, &bytes), TSR_E_ARG);
        assert_int_equal(tsri_token_unit_get(ctx, c.book, &way, &g, numbers[i], 0,
                                             out, 9), TSR_E_ARG);
    }
    /* unit 3 is column 3: there is none */
    assert_int_equal(tsri_token_unit_bound(&g, &way, 3), 0);
    assert_int_equal(tsri_token_unit_put(ctx, c.book, &way, &g, 3, 0, out, 0,
                                         &bytes), TSR_OK);
    assert_int_equal(bytes, 0);
    assert_int_equal(tsri_token_unit_get(ctx, c.book, &way, &g, 3, 0, out, 0),
                     TSR_OK);
    assert_int_equal(tsri_token_unit_get(ctx, c.book, &way, &g, 3, 0, out, 1),
                     TSR_E_CORRUPT);
    const size_t bound = tsri_token_unit_bound(&g, &way, 0);
    assert_int_equal(tsri_token_unit_put(ctx, c.book, &way, &g, 0, 0, out,
                                         bound - 1, &bytes), TSR_E_ARG);
    for (int i = 0; i < 2; i++) {
        g.id[0] = i ? 100 : -1;
        assert_int_equal(tsri_token_unit_put(ctx, c.book, &way, &g, 0, 0, out,
                                             bound, &bytes), TSR_E_ARG);
        assert_int_equal(bytes, 0);
    }
    g.id[0] = 99;
    g.lost[0] = 1;
    assert_int_equal(tsri_token_unit_put(ctx, c.book, &way, &g, 0, 0, out, bound,
                                         &bytes), TSR_E_ARG);
    g.lost[0] = 0;
    assert_int_equal(tsri_token_unit_put(ctx, c.book, &way, &g, 0, 0, out, bound,
                                         &bytes), TSR_OK);
    token_case_close(&c);
    free_grid(&g);
    tsr_context_close(&ctx);
}

/* Everything the least likely: the bound holds. */
static void test_bound(void **state)
{
    tsr_context *ctx = check_context("c", 1);
    const token_plan p = { 300, 1, 2, { 0, 200 }, false, true, true, 0, 6 };
    token_case c;
    (void)state;

    token_case_open(&c, ctx, &p);
    for (int context = 0; context < 2; context++) {
        const tsri_token_way way = { 0, 1, context };
        tsri_token_grid g = new_grid(128, 128);
        int rare = 0;
        for (int i = 1; i < 300; i++)
            if (tsri_token_book_weight(c.book, 0, i) <
                tsri_token_book_weight(c.book, 0, rare))
                rare = i;
        for (int i = 0; i < 128 * 128; i++) {
            g.id[i] = rare;
            g.lost[i] = 0;
        }
        units u = put_all(ctx, c.book, &way, &g);
        check_units(ctx, c.book, &way, &g, &u);
        free_units(&u);
        free_grid(&g);
    }
    token_case_close(&c);
    tsr_context_close(&ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_extreme_scores),
        cmocka_unit_test(test_price),
        cmocka_unit_test(test_context_pays),
        cmocka_unit_test(test_ways),
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_lost_again),
        cmocka_unit_test(test_bad_calls),
        cmocka_unit_test(test_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
