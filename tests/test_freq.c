/* SPDX-License-Identifier: BSD-2-Clause */
#include <math.h>
#include <time.h>
#include "tests/check.h"
#include "entropy/freq.h"

static void test_known(void **state)
{
    uint16_t f[5];
    (void)state;
    assert_int_equal(tsri_freq_normalise((uint64_t[]){ 3, 1 }, 2, 4, f), TSR_OK);
    assert_int_equal(f[0], 12);
    assert_int_equal(f[1], 4);
    /* All zero: all equal; what is left goes to the first. */
    assert_int_equal(tsri_freq_normalise((uint64_t[]){ 0, 0, 0 }, 3, 4, f),
                     TSR_OK);
    assert_memory_equal(f, ((uint16_t[]){ 6, 5, 5 }), 6);
    /* 7.98, 0.01, 0.01 of 8: two are raised, the first pays. */
    assert_int_equal(tsri_freq_normalise((uint64_t[]){ 998, 1, 1 }, 3, 3, f),
                     TSR_OK);
    assert_memory_equal(f, ((uint16_t[]){ 6, 1, 1 }), 6);
    /* 2.67, 2.67, 2.67: floors 2, 2, 2; the two left go to the first two. */
    assert_int_equal(tsri_freq_normalise((uint64_t[]){ 9, 9, 9 }, 3, 3, f),
                     TSR_OK);
    assert_memory_equal(f, ((uint16_t[]){ 3, 3, 2 }), 6);
    assert_int_equal(tsri_freq_normalise((uint64_t[]){ 7 }, 1, 15, f), TSR_OK);
    assert_int_equal(f[0], 1 << 15);
}

static void test_refused(void **state)
{
    uint16_t f[5];
    const uint64_t c[5] = { 1, 1, 1, 1, 1 };
    (void)state;
    assert_int_equal(tsri_freq_normalise(c, 5, 2, f), TSR_E_ARG);
    assert_int_equal(tsri_freq_normalise(c, 0, 2, f), TSR_E_ARG);
    assert_int_equal(tsri_freq_normalise(c, 1, 0, f), TSR_E_ARG);
    assert_int_equal(tsri_freq_normalise(c, 1, 16, f), TSR_E_ARG);
    assert_int_equal(tsri_freq_normalise((uint64_t[]){ UINT64_MAX, 1 }, 2, 2, f),
                     TSR_E_ARG);
}

/* Sum and positivity for any counts; the loss against the exact
 * probabilities is at most that of a plain rule. */
static void test_random(void **state)
{
    enum { MOST = 600 };
    static uint64_t c[MOST];
    static uint16_t f[MOST];
    check_rng r = { 4 };
    (void)state;
    for (int round = 0; round < 2000; round++) {
        const int bits = 1 + (int)check_below(&r, 15);
        const int most = 1 << bits < MOST ? 1 << bits : MOST;
        const int n = 1 + (int)check_below(&r, (uint32_t)most);
        const int scale = (int)check_below(&r, 22);
        double sum = 0, loss = 0;
        uint32_t total = 0;
        for (int i = 0; i < n; i++) {
            c[i] = (uint64_t)check_u32(&r) << scale >> check_below(&r, 32);
            sum += (double)c[i];
        }
        assert_int_equal(tsri_freq_normalise(c, n, bits, f), TSR_OK);
        for (int i = 0; i < n; i++) {
            const double p = (double)c[i] / sum;
            assert_true(f[i] > 0);
            total += f[i];
            if (c[i])
                loss += p * log2(p / ldexp(f[i], -bits));
        }
        assert_int_equal(total, 1 << bits);
        /* 1 + floor(p * (2^bits - n)) would lose at most this. */
        if (n < 1 << bits && sum > 0)
            assert_true(loss <= -log2(1 - ldexp(n, -bits)) + 1e-9);
    }
}

/* The rule of freq.h, one step at a time, from the frequencies before it. */
static void fill_slowly(uint32_t *freq, int n)
{
    for (int i = 0; i < n; i++) {
        int donor = -1;
        for (int k = 0; k < n; k++)
            if (freq[k] > 1 && (donor < 0 || freq[k] < freq[donor]))
                donor = k;
        if (!freq[i]) {
            freq[donor]--;
            freq[i]++;
        }
    }
}

/* Random frequencies of a sum of 2^16, many of them 0: the float rule gives
 * them back, so that only the filling is left. */
static void test_empty(void **state)
{
    enum { N = 500 };
    float pmf[N];
    uint32_t freq[N], cdf[N + 1];
    check_rng r = { 5 };
    (void)state;
    for (int round = 0; round < 200; round++) {
        uint32_t left = 65536;
        for (int i = 0; i < N; i++) {
            freq[i] = check_below(&r, 3) ? 0 : check_below(&r, 1 + left / 4);
            if (round % 2 && freq[i] > 5)
                freq[i] = 1 + freq[i] % 5;
            left -= freq[i];
        }
        freq[N - 1 - round] += left;
        for (int i = 0; i < N; i++)
            pmf[i] = (float)freq[i] / 65536;
        fill_slowly(freq, N);
        assert_int_equal(tsri_cdf_from_pmf(pmf, N, cdf), TSR_OK);
        for (int i = 0; i < N; i++)
            assert_int_equal(cdf[i + 1] - cdf[i], freq[i]);
    }
}

/* Tables that a file may hold and nobody trained: no time is lost on them. */
static void test_empty_time(void **state)
{
    enum { N = 65536 };
    static float pmf[N];
    static uint32_t cdf[N + 1];
    const clock_t start = clock();
    (void)state;
    pmf[0] = 1;
    assert_int_equal(tsri_cdf_from_pmf(pmf, N, cdf), TSR_OK);
    assert_int_equal(cdf[N - 1], N - 1);
    for (int i = 0; i < N; i++)
        pmf[i] = i % 2 ? 0x1p-15f : 0;
    assert_int_equal(tsri_cdf_from_pmf(pmf, N, cdf), TSR_OK);
    assert_int_equal(cdf[N - 1], N - 1);
    for (int i = 0; i < N; i++) /* as many different ones as can be */
        pmf[i] = i < 360 ? ldexpf((float)i + 1, -16) : 0;
    pmf[N - 1] = ldexpf(65536 - 360 * 361 / 2, -16);
    assert_int_equal(tsri_cdf_from_pmf(pmf, N, cdf), TSR_OK);
    assert_int_equal(cdf[N - 1], N - 1);
    assert_true(clock() - start < CLOCKS_PER_SEC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_empty_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
