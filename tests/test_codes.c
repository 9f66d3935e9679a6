/* SPDX-License-Identifier: BSD-2-Clause */
#include <math.h>
#include <tessera/vq.h>
#include "lib/core.h"
#include "tests/check.h"

static void test_count(void **state)
{
    const int32_t codes[] = { 3, 0, 3, 3, 1, 0 };
    uint64_t counts[5];
    tsr_context *ctx = check_context("c", 1);
    (void)state;
    ctx->logger.log = NULL;
    assert_int_equal(tsr_codes_count(ctx, codes, 6, 5, counts), TSR_OK);
    const uint64_t want[] = { 2, 1, 0, 3, 0 };
    assert_memory_equal(counts, want, sizeof want);
    assert_int_equal(tsr_codes_count(ctx, codes, 6, 3, counts), TSR_E_ARG);
    assert_int_equal(tsr_codes_count(ctx, &(int32_t){ -1 }, 1, 3, counts),
                     TSR_E_ARG);
    assert_int_equal(tsr_codes_count(ctx, codes, 6, 0, counts), TSR_E_ARG);
    assert_int_equal(tsr_codes_count(ctx, NULL, 0, 2, counts), TSR_OK);
    assert_true(counts[0] == 0 && counts[1] == 0);
    tsr_context_close(&ctx);
}

static void test_describe(void **state)
{
    const uint64_t even[] = { 7, 7, 7, 7 }, one[] = { 0, 9, 0, 0 };
    const uint64_t mixed[] = { 4, 2, 1, 1, 0 }, none[] = { 0, 0 };
    tsr_codes_stats s;
    (void)state;
    tsr_codes_describe(even, 4, &s);
    assert_true(s.total == 28 && s.used == 4 && s.utilisation == 1);
    assert_true(s.entropy == 2 && s.perplexity == 4);
    tsr_codes_describe(one, 4, &s);
    assert_true(s.total == 9 && s.used == 1 && s.utilisation == 0.25);
    assert_true(s.entropy == 0 && s.perplexity == 1);
    tsr_codes_describe(mixed, 5, &s);
    assert_true(s.total == 8 && s.used == 4 && s.utilisation == 0.8);
    assert_true(fabs(s.entropy - 1.75) < 1e-12);
    assert_true(fabs(s.perplexity - 3.363585661014858) < 1e-12);
    tsr_codes_describe(none, 2, &s);
    assert_true(s.total == 0 && s.used == 0 && s.entropy == 0);
}

static void test_rank(void **state)
{
    enum { K = 1000 };
    uint64_t counts[K];
    int32_t order[K];
    bool seen[K] = { false };
    check_rng rng = { 31 };
    tsr_context *ctx = check_context("c", 1);
    (void)state;
    ctx->logger.log = NULL;
    for (int c = 0; c < K; c++)
        counts[c] = check_below(&rng, 20);
    counts[77] = UINT64_MAX - 30000;
    assert_int_equal(tsr_codes_rank(ctx, counts, K, order), TSR_OK);
    assert_int_equal(order[0], 77);
    for (int r = 0; r < K; r++) {
        assert_in_range(order[r], 0, K - 1);
        assert_false(seen[order[r]]);
        seen[order[r]] = true;
        if (r > 0)
            assert_true(counts[order[r - 1]] > counts[order[r]] ||
                        (counts[order[r - 1]] == counts[order[r]] &&
                         order[r - 1] < order[r]));
    }
    assert_int_equal(tsr_codes_rank(ctx, counts, 0, order), TSR_E_ARG);
    tsr_context_close(&ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_count),
        cmocka_unit_test(test_describe),
        cmocka_unit_test(test_rank),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
