/* SPDX-License-Identifier: BSD-2-Clause */
#include <float.h>
#include <math.h>
#include "tests/check.h"
#include "vq/scalar.h"

static const float odd[] = { 0, -0.0f, 0.5f, -0.5f, 1.5f, -2.5f, NAN, INFINITY,
                             -INFINITY, FLT_MAX, -FLT_MAX, 1e-42f, -1e-42f,
                             0x1.fffffep-2f, 127, -128, 300, 1e10f };
enum { ODD = sizeof odd / sizeof *odd };

static float value(check_rng *rng, bool wild)
{
    if (wild && check_below(rng, 3) == 0)
        return odd[check_below(rng, ODD)];
    return check_float(rng) * 20;
}

/* One number, after the definition in the header. */
static int by_hand(const tsri_uniform *u, float x, float offset, float inverse)
{
    const float v = x - offset;
    volatile float a = fabsf(v) * inverse;
    a = a + u->round;
    const double whole = isnan(a) ? 0 : floor((double)a);
    const double q = v < 0 ? -whole : whole;
    return (int)fmin(fmax(q, u->low), u->high) - u->low;
}

static const tsri_uniform uniforms[] = {
    { 0.5f, 0, -128, 127 }, { 0.5f, 0, 0, 255 }, { 0.25f, 0.1f, -7, 8 },
    { 0, 0.5f, -255, 0 }, { 1.0f / 3, 0, 0, 0 }, { 0.5f, 0, -1, 1 },
};

/* Plain C against the definition, the vectors against plain C; sizes around
 * the registers', both layouts, gaps between rows. */
static void test_uniform(void **state)
{
    enum { ROWS = 3, MOST = 101 };
    static float x[ROWS * MOST], back[2][ROWS * MOST];
    float step[MOST], inverse[MOST], offset[MOST];
    static uint8_t sym[2][ROWS * MOST];
    check_rng rng = { 41 };
    (void)state;
    for (int round = 0; round < 400; round++) {
        const tsri_uniform *u = &uniforms[round % 6];
        const size_t cols = check_below(&rng, 99);
        const tsri_scalar_block b = { ROWS, cols, MOST, MOST - 1, round % 2,
                                      step, inverse, offset };
        for (int i = 0; i < MOST; i++) {
            step[i] = 0.01f + fabsf(check_float(&rng));
            offset[i] = round % 3 ? check_float(&rng) * 4 : 0;
        }
        assert_true(tsri_uniform_check(u));
        assert_true(tsri_scalar_invert(step, offset, MOST, inverse));
        for (int i = 0; i < ROWS * MOST; i++)
            x[i] = value(&rng, round % 4 < 2);
        memset(sym, 0xee, sizeof sym);
        memset(back, 0xee, sizeof back);
        for (int fast = 0; fast < 2; fast++) {
            const unsigned cpu = fast ? tsr_cpu_flags() : 0;
            tsri_uniform_encode(u, &b, cpu, x, sym[fast]);
            tsri_uniform_decode(u, &b, cpu, sym[fast], back[fast]);
        }
        assert_memory_equal(sym[0], sym[1], sizeof sym[0]);
        assert_memory_equal(back[0], back[1], sizeof back[0]);
        for (size_t r = 0; r < ROWS; r++)
            for (size_t i = 0; i < cols; i++) {
                const size_t p = b.by_row ? r : i;
                const int s = sym[0][r * (MOST - 1) + i];
                assert_int_equal(s, by_hand(u, x[r * MOST + i], offset[p],
                                            inverse[p]));
                volatile float y = (float)abs(s + u->low) - u->shift;
                y = y * step[p];
                y = s + u->low < 0 ? -y : s + u->low > 0 ? y : 0;
                y = y + offset[p];
                assert_true(y == back[0][r * MOST + i]);
            }
    }
}

/* All 256 bytes, whatever the range. */
static void test_uniform_any_byte(void **state)
{
    const float step = 0.5f, inverse = 2, offset = 1;
    const tsri_scalar_block b = { 1, 256, 256, 256, true, &step, &inverse,
                                  &offset };
    uint8_t sym[256];
    float a[256], c[256];
    (void)state;
    for (int i = 0; i < 256; i++)
        sym[i] = (uint8_t)i;
    tsri_uniform_decode(&uniforms[2], &b, 0, sym, a);
    tsri_uniform_decode(&uniforms[2], &b, ~0u & tsr_cpu_flags(), sym, c);
    assert_memory_equal(a, c, sizeof a);
    assert_true(a[7] == 1 && a[8] == 1 + (1 - 0.1f) * 0.5f);
    assert_true(a[255] == 1 + (248 - 0.1f) * 0.5f);
}

static void test_checks(void **state)
{
    const tsri_uniform bad[] = {
        { -0.1f, 0, -1, 1 }, { 0.6f, 0, -1, 1 }, { NAN, 0, -1, 1 },
        { 0, 0.6f, -1, 1 }, { 0, NAN, -1, 1 }, { 0, 0, 1, 2 },
        { 0, 0, -2, -1 }, { 0, 0, -128, 128 }, { 0, 0, -32769, -32768 },
    };
    const float steps[] = { 0, -1, NAN, INFINITY, 1e-31f, 2e30f };
    const float nan = NAN, good = 1;
    float level[257], out;
    tsri_levels levels;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(tsri_uniform_check(&bad[i]));
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
        assert_false(tsri_scalar_invert(&steps[i], NULL, 1, &out));
    assert_false(tsri_scalar_invert(&good, &nan, 1, &out));
    assert_true(tsri_scalar_invert(&good, NULL, 1, &out));
    for (int i = 0; i < 257; i++)
        level[i] = (float)i;
    assert_false(tsri_levels_set(&levels, level, 0));
    assert_false(tsri_levels_set(&levels, level, 257));
    assert_true(tsri_levels_set(&levels, level, 256));
    level[100] = level[99];
    assert_false(tsri_levels_set(&levels, level, 256));
    level[100] = NAN;
    assert_false(tsri_levels_set(&levels, level, 256));
    level[0] = -INFINITY;
    assert_false(tsri_levels_set(&levels, level, 2));
}

/* Sums of two floats need more digits than a double has; a long double of
 * x86 has not enough either: compare distances with the sum split in two. */
static bool nearer_upper(float v, float low, float high)
{
    /* v - low > high - v, for v between them. */
    return (double)v - (double)low > (double)high - (double)v;
}

static void test_levels(void **state)
{
    enum { N = 331 };
    const int counts[] = { 1, 2, 3, 8, 9, 16, 17, 64, 65, 255, 256 };
    float level[256], x[N], step[N], inverse[N], offset[N], back[2][N];
    uint8_t sym[2][N];
    tsri_levels levels;
    check_rng rng = { 42 };
    (void)state;
    for (int round = 0; round < 220; round++) {
        const int count = counts[round % 11];
        const tsri_scalar_block b = { 1, N, N, N, false, step, inverse,
                                      offset };
        level[0] = -3;
        for (int i = 1; i < count; i++)
            level[i] = level[i - 1] + (check_below(&rng, 4)
                ? 0.001f + fabsf(check_float(&rng)) * 6 / (float)count
                : FLT_EPSILON * 4);
        assert_true(tsri_levels_set(&levels, level, count));
        for (int i = 0; i < N; i++) {
            step[i] = round % 2 ? 1 : 0.3f + fabsf(check_float(&rng));
            offset[i] = round % 2 ? 0 : check_float(&rng);
            x[i] = value(&rng, i % 2) / 4;
        }
        for (int i = 0; round % 2 && i + 1 < count && i < 100; i++)
            x[i] = (float)(((double)level[i] + (double)level[i + 1]) / 2);
        assert_true(tsri_scalar_invert(step, offset, N, inverse));
        for (int fast = 0; fast < 2; fast++) {
            const unsigned cpu = fast ? tsr_cpu_flags() : 0;
            tsri_levels_encode(&levels, &b, cpu, x, sym[fast]);
            tsri_levels_decode(&levels, &b, cpu, sym[fast], back[fast]);
        }
        assert_memory_equal(sym[0], sym[1], sizeof sym[0]);
        assert_memory_equal(back[0], back[1], sizeof back[0]);
        for (int i = 0; i < N; i++) {
            volatile float v = x[i] - offset[i];
            v = v * inverse[i];
            int at = 0;
            while (at + 1 < count && (v >= level[at + 1] ||
                   (v > level[at] &&
                    nearer_upper(v, level[at], level[at + 1]))))
                at++;
            assert_int_equal(sym[0][i], at);
            volatile float y = level[at] * step[i];
            y = y + offset[i];
            assert_true(y == back[0][i]);
        }
    }
}

/* Levels so far apart in size that their sum is rounded. */
static void test_levels_far_apart(void **state)
{
    const float low[] = { -1e-42f, 1e-42f, -1e30f, -1e30f };
    const float high[] = { 1e30f, 1e30f, 1e-42f, -1e-42f };
    tsri_levels levels;
    (void)state;
    for (int i = 0; i < 4; i++) {
        const float half = low[i] < -1 ? low[i] / 2 : high[i] / 2;
        const float two[2] = { low[i], high[i] };
        assert_true(tsri_levels_set(&levels, two, 2));
        /* The midpoint lies next to `half`: under it for a negative small
         * level.  A limit is the last float that is not over the midpoint. */
        const float small = low[i] < -1 ? high[i] : low[i];
        assert_true(levels.above[0] ==
                    (small < 0 ? nextafterf(half, -INFINITY) : half));
    }
}

/* Bytes beyond the table stand for the last level, in both variants. */
static void test_levels_any_byte(void **state)
{
    const float level[] = { -1, 0.5f, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13,
                            14, 15, 16 };
    const float one = 1, zero = 0;
    const tsri_scalar_block b = { 1, 256, 256, 256, true, &one, &one, &zero };
    uint8_t sym[256];
    float a[256], c[256];
    (void)state;
    for (int i = 0; i < 256; i++)
        sym[i] = (uint8_t)i;
    for (int count = 1; count <= 17; count++) {
        tsri_levels levels;
        assert_true(tsri_levels_set(&levels, level, count));
        tsri_levels_decode(&levels, &b, 0, sym, a);
        tsri_levels_decode(&levels, &b, tsr_cpu_flags(), sym, c);
        assert_memory_equal(a, c, sizeof a);
        assert_true(a[255] == level[count - 1] && a[0] == -1);
    }
}

static double error_of(const tsri_levels *l, const float *x, const float *w,
                       int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++) {
        int at = 0;
        while (x[i] > l->above[at])
            at++;
        const double diff = (double)x[i] - (double)l->level[at];
        sum += (double)(w ? w[i] : 1) * diff * diff;
    }
    return sum;
}

/* A Gaussian's Lloyd-Max quantiser is known: Max's table for 4 levels. */
static void test_train_gaussian(void **state)
{
    enum { N = 200001 };
    float *x = malloc(N * sizeof *x);
    tsr_context *ctx = check_context("c", 1);
    tsri_levels levels;
    (void)state;
    assert_non_null(x);
    for (int i = 0; i < N; i++) {       /* quantiles, by Newton on erf */
        const double p = (i + 0.5) / N;
        double z = 0;
        for (int t = 0; t < 60; t++) {
            const double miss = 0.5 * (1 + erf(z / sqrt(2))) - p;
            double move = miss / (exp(-z * z / 2) / sqrt(2 * acos(-1)));
            z -= fmin(fmax(move, -0.5), 0.5);
        }
        x[i] = (float)z;
    }
    assert_int_equal(tsri_levels_train(&levels, ctx, x, NULL, N, 4), TSR_OK);
    assert_int_equal(levels.count, 4);
    assert_true(fabsf(levels.level[0] + 1.510f) < 0.01f);
    assert_true(fabsf(levels.level[1] + 0.4528f) < 0.01f);
    assert_true(fabsf(levels.level[2] - 0.4528f) < 0.01f);
    assert_true(fabsf(levels.level[3] - 1.510f) < 0.01f);
    assert_true(fabs(error_of(&levels, x, NULL, N) / N - 0.1175) < 0.001);
    tsr_context_close(&ctx);
    free(x);
}

/* Few different values, weights, order: exact where it can be. */
static void test_train_small(void **state)
{
    const float x[] = { 3, 1, 1, 2, 3, 9, 1, -0.0f, 0, 5 };
    const float w[] = { 1, 2, 1, 0, 3, 0.5f, 1, 1, 1, 0 };
    float turned[10], turned_w[10];
    tsr_context *ctx = check_context("c", 1);
    tsri_levels a, b;
    (void)state;
    assert_int_equal(tsri_levels_train(&a, ctx, x, w, 10, 8), TSR_OK);
    assert_int_equal(a.count, 4);       /* 0 1 3 9: 2 and 5 weigh nothing */
    assert_true(a.level[0] == 0 && a.level[1] == 1 && a.level[2] == 3 &&
                a.level[3] == 9);
    assert_int_equal(tsri_levels_train(&a, ctx, x, w, 10, 1), TSR_OK);
    assert_true(a.count == 1 && fabsf(a.level[0] - 20.5f / 10.5f) < 1e-6f);
    assert_int_equal(tsri_levels_train(&a, ctx, x, w, 10, 3), TSR_OK);
    for (int i = 0; i < 10; i++) {
        turned[i] = x[9 - i];
        turned_w[i] = w[9 - i];
    }
    assert_int_equal(tsri_levels_train(&b, ctx, turned, turned_w, 10, 3),
                     TSR_OK);
    assert_memory_equal(&a, &b, sizeof a);
    ctx->logger.log = NULL;
    assert_int_equal(tsri_levels_train(&a, ctx, x, w, 0, 3), TSR_E_ARG);
    assert_int_equal(tsri_levels_train(&a, ctx, x, w, 10, 0), TSR_E_ARG);
    assert_int_equal(tsri_levels_train(&a, ctx, x, w, 10, 257), TSR_E_ARG);
    assert_int_equal(tsri_levels_train(&a, ctx, x + 3, w + 3, 1, 1), TSR_E_ARG);
    turned[4] = NAN;
    assert_int_equal(tsri_levels_train(&a, ctx, turned, w, 10, 3), TSR_E_ARG);
    turned[4] = 1;
    turned_w[4] = -1;
    assert_int_equal(tsri_levels_train(&a, ctx, turned, turned_w, 10, 3),
                     TSR_E_ARG);
    tsr_context_close(&ctx);
}

/* Each level is the mean of its cell in the end, and more levels are better;
 * lumpy data, so that quantiles coincide. */
static void test_train_lumpy(void **state)
{
    enum { N = 3000 };
    static float x[N], w[N];
    check_rng rng = { 43 };
    tsr_context *ctx = check_context("c", 1);
    double last = INFINITY;
    (void)state;
    for (int i = 0; i < N; i++) {
        x[i] = i % 3 ? 0.5f : check_float(&rng);
        w[i] = fabsf(check_float(&rng));
    }
    for (int count = 1; count <= 256; count *= 2) {
        tsri_levels l;
        assert_int_equal(tsri_levels_train(&l, ctx, x, w, N, count), TSR_OK);
        assert_int_equal(l.count, count);
        const double error = error_of(&l, x, w, N);
        assert_true(error < last * 0.7);
        last = error;
        for (int c = 0; count <= 16 && c < count; c++) {
            double sum = 0, weight = 0;
            for (int i = 0; i < N; i++)
                if (x[i] <= l.above[c] && (!c || x[i] > l.above[c - 1])) {
                    sum += (double)w[i] * (double)x[i];
                    weight += (double)w[i];
                }
            assert_true(fabs(sum / weight - (double)l.level[c]) < 1e-3);
        }
    }
    tsr_context_close(&ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_uniform),
        cmocka_unit_test(test_uniform_any_byte),
        cmocka_unit_test(test_checks),
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_levels_far_apart),
        cmocka_unit_test(test_levels_any_byte),
        cmocka_unit_test(test_train_gaussian),
        cmocka_unit_test(test_train_small),
        cmocka_unit_test(test_train_lumpy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
