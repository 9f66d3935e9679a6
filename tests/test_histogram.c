/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/check.h"
#include "entropy/histogram.h"

/* n symbols in a block of exactly that size, so that ASan sees a read too far. */
static void check_run(check_rng *r, size_t n, uint32_t low, uint32_t width)
{
    uint8_t *sym = malloc(n + !n), least, most, low_seen = 255, high_seen = 0;
    uint32_t count[256], want[256] = { 0 };

    for (size_t i = 0; i < n; i++) {
        sym[i] = (uint8_t)(low + check_below(r, width));
        want[sym[i]]++;
        low_seen = sym[i] < low_seen ? sym[i] : low_seen;
        high_seen = sym[i] > high_seen ? sym[i] : high_seen;
    }
    memset(count, 0xee, sizeof count);
    tsri_rans_count8(sym, n, count);
    assert_memory_equal(count, want, sizeof want);
    tsri_rans_limits8(sym, n, &least, &most);
    assert_int_equal(least, low_seen);
    assert_int_equal(most, high_seen);
    free(sym);
}

static void test_counts(void **state)
{
    check_rng r = { 3 };
    (void)state;
    for (size_t n = 0; n < 300; n++) {
        check_run(&r, n, 0, 256);
        check_run(&r, n, check_below(&r, 250), 1 + check_below(&r, 6));
    }
    check_run(&r, 100003, 0, 256);
    check_run(&r, 100003, 7, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_counts) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
