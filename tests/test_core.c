/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdatomic.h>
#include "tests/check.h"
#include "lib/bytes.h"
#include "lib/pool.h"

static void test_varint(void **state)
{
    uint8_t b[TSRI_VARINT_MAX];
    uint64_t got;
    (void)state;
    for (int shift = 0; shift < 64; shift++)
        for (int d = -1; d <= 1; d++) {
            const uint64_t v = ((uint64_t)1 << shift) + (uint64_t)(int64_t)d;
            const size_t n = tsri_put_varint(b, v);
            assert_int_equal(tsri_get_varint(b, n, &got), n);
            assert_true(got == v);
            assert_int_equal(tsri_get_varint(b, n - 1, &got), 0);
        }
    memset(b, 0xff, sizeof b);
    assert_int_equal(tsri_get_varint(b, sizeof b, &got), 0);
    assert_int_equal(tsri_get_varint((uint8_t[]){ 0x80, 0 }, 2, &got), 0);
}

static tsr_error count(void *cookie, int i, int worker)
{
    atomic_int *seen = cookie;
    assert_in_range(worker, 0, 3);
    atomic_fetch_add(&seen[i], 1);
    return i == 500 ? TSR_E_CANCELED : TSR_OK;
}

static void test_pool(void **state)
{
    tsr_context *ctx = check_context("c", 4);
    static atomic_int seen[1000];
    (void)state;
    for (int round = 1; round <= 50; round++) {
        assert_int_equal(tsri_pool_for(ctx->pool, 500, count, seen), TSR_OK);
        for (int i = 0; i < 500; i++)
            assert_int_equal(seen[i], round);
    }
    assert_int_equal(tsri_pool_for(ctx->pool, 1000, count, seen),
                     TSR_E_CANCELED);
    assert_int_equal(tsri_pool_for(ctx->pool, 0, count, seen), TSR_OK);
    tsr_context_close(&ctx);
    assert_null(ctx);
}

static void test_settings(void **state)
{
    tsr_context_settings s;
    tsr_context *ctx;
    (void)state;
    tsr_context_settings_init(&s);
    s.threads = 257;
    assert_int_equal(tsr_context_open(&ctx, &s), TSR_E_ARG);
    assert_null(ctx);
    tsr_context_settings_init(&s);
    s.backend = "abacus";
    assert_int_equal(tsr_context_open(&ctx, &s), TSR_E_ARG);
    tsr_context_settings_init(&s);
    s.size = offsetof(tsr_context_settings, allocator);
    s.max_pixels = 7; /* beyond the size: not read */
    assert_int_equal(tsr_context_open(&ctx, &s), TSR_OK);
    assert_int_equal(ctx->max_pixels, INT32_MAX);
    void *nothing = tsri_alloc(ctx, 0, 0);
    assert_non_null(nothing);
    tsri_free(ctx, nothing);
    assert_null(tsri_alloc(ctx, SIZE_MAX / 2, 3));
    tsr_context_close(&ctx);
    tsr_context_close(&ctx);
    tsr_context_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_varint),
        cmocka_unit_test(test_pool),
        cmocka_unit_test(test_settings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
