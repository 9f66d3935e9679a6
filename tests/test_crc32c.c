/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/check.h"
#include "lib/crc32c.h"

static void test_known(void **state)
{
    (void)state;
    assert_true(tsri_crc32c(0, "123456789", 9) == 0xE3069283u);
    assert_true(tsri_crc32c_plain(0, "123456789", 9) == 0xE3069283u);
    assert_true(tsri_crc32c(tsri_crc32c(0, "1234", 4), "56789", 5) == 0xE3069283u);
    assert_true(tsri_crc32c(0, NULL, 0) == 0);
}

static void test_hardware(void **state)
{
    const tsri_crc32c_fn fast = tsri_crc32c_hardware();
    check_rng rng = { 1 };
    uint8_t b[300];
    (void)state;
    if (!fast || !(tsr_cpu_flags() & TSR_CPU_AVX2))
        skip();
    for (size_t i = 0; i < sizeof b; i++)
        b[i] = (uint8_t)check_u32(&rng);
    for (size_t at = 0; at < 8; at++)
        for (size_t n = 0; n < sizeof b - at; n++)
            assert_true(fast(77, b + at, n) == tsri_crc32c_plain(77, b + at, n));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known),
        cmocka_unit_test(test_hardware),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
