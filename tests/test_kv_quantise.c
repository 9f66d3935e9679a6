/* SPDX-License-Identifier: BSD-2-Clause */
/* The quantiser of rows, its levels and centres. */
#include <math.h>
#include "codecs/kv/move_impl.h"
#include "tests/check.h"

/* Plain C, and what this machine has. */
enum { CPUS = 2 };
static unsigned cpus[CPUS];

static void quantiser(void **state)
{
    enum { MOST = 100 };
    check_rng r = { 29 };

    (void)state;
    for (int round = 0; round < 2000; round++) {
        const size_t n = check_below(&r, MOST);
        const float spread = ldexpf(1, (int)check_below(&r, 17));
        const float step = 0.01f + (float)check_below(&r, 100) / 64;
        const bool with_m = round & 1, with_sum = round & 2;
        float x[MOST], m[MOST], y[CPUS][MOST + 1];
        int16_t q[CPUS][MOST + 1];
        uint32_t sum[CPUS][MOST + 1];
        bool good[CPUS], fits = true;

        for (size_t i = 0; i < MOST; i++) {
            x[i] = check_float(&r) * spread * step;
            m[i] = with_m ? check_float(&r) * step * 8 : 0;
            sum[0][i] = sum[1][i] = check_u32(&r);
        }
        for (int v = 0; v < CPUS; v++) {
            sum[v][n] = 5;
            q[v][n] = 6;
            y[v][n] = 7;
            good[v] = tsri_kv_quantise(cpus[v], x, with_m ? m : NULL, 1 / step,
                                       n, q[v], with_sum ? sum[v] : NULL);
            tsri_kv_dequantise(cpus[v], q[v], with_m ? m : NULL, step, n, y[v]);
            assert_int_equal(sum[v][n], 5);
            assert_int_equal(q[v][n], 6);
            assert_true(y[v][n] == 7);
        }
        for (size_t i = 0; i < n; i++) {
            const float off = x[i] - m[i], scaled = off * (1 / step);
            const float nearest = nearbyintf(scaled);
            const float back = (float)q[0][i] * step;
            fits &= fabsf(nearest) <= 32767;
            if (fabsf(nearest) <= 32767)
                assert_true(q[0][i] == (int)nearest);
            else
                assert_int_equal(q[0][i], nearest < 0 ? -32767 : 32767);
            assert_true(y[0][i] == back + m[i]);
        }
        assert_int_equal(good[0], fits);
        assert_int_equal(good[1], fits);
        assert_memory_equal(q[0], q[1], n * 2);
        assert_memory_equal(y[0], y[1], n * 4);
        assert_memory_equal(sum[0], sum[1], n * 4);
    }
}

static void quantiser_sums(void **state)
{
    float x[19];
    uint32_t sum[19];
    int16_t q[19];

    (void)state;
    for (int i = 0; i < 19; i++)
        x[i] = (float)(i - 9) * 3000;
    for (int v = 0; v < CPUS; v++) {
        for (int i = 0; i < 19; i++)
            sum[i] = (uint32_t)i;
        assert_true(tsri_kv_quantise(cpus[v], x, NULL, 1, 19, q, sum));
        for (int i = 0; i < 19; i++)
            assert_int_equal(sum[i], i + abs(i - 9) * 3000);
    }
}

/* The edge of 16 bits, infinities and NaN; at every place of a vector. */
static void quantiser_limits(void **state)
{
    static const struct { float x; bool good; int q; } cases[] = {
        { 32767, true, 32767 }, { -32767, true, -32767 },
        { 32767.498f, true, 32767 }, { -32767.498f, true, -32767 },
        { 32767.5f, false, 32767 }, { -32767.5f, false, -32767 },
        { 1e30f, false, 32767 }, { -1e30f, false, -32767 },
        { INFINITY, false, 32767 }, { -INFINITY, false, -32767 },
        { 0.5f, true, 0 }, { 1.5f, true, 2 }, { -2.5f, true, -2 },
        { 3e9f, false, 32767 }, { -0.0f, true, 0 }, { 1e-45f, true, 0 }
    };
    (void)state;
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++)
        for (size_t n = 1; n < 40; n++)
            for (int v = 0; v < CPUS; v++) {
                float x[40] = { 0 };
                int16_t q[40];
                x[n - 1] = cases[k].x;
                assert_int_equal(tsri_kv_quantise(cpus[v], x, NULL, 1, n, q,
                                                  NULL), cases[k].good);
                assert_int_equal(q[n - 1], cases[k].q);
                x[n / 2] = NAN;
                assert_false(tsri_kv_quantise(cpus[v], x, NULL, 1, n, q, NULL));
            }
}

static void coarsen_all(void **state)
{
    enum { N = 65535 };
    int16_t *q = malloc(N * sizeof *q);
    int8_t *r = malloc(N + 1);

    (void)state;
    for (int v = 0; v < CPUS; v++) {
        for (int i = 0; i < N; i++)
            q[i] = (int16_t)(i - 32767);
        memset(r, 0x55, N + 1);
        tsri_kv_coarsen(cpus[v], q, N, r);
        for (int i = 0; i < N; i++) {
            const int fine = i - 32767;
            assert_int_equal(q[i], lround(fine / 3.0));
            assert_int_equal(fine, 3 * q[i] + r[i]);
        }
        assert_int_equal(r[N], 0x55);
    }
    for (size_t n = 0; n < 40; n++) {
        q[n] = 1000;
        for (size_t i = 0; i < n; i++)
            q[i] = 5;
        r[n] = 9;
        tsri_kv_coarsen(cpus[1], q, n, r);
        assert_true(q[n] == 1000 && r[n] == 9);
        assert_true(!n || (q[n - 1] == 2 && r[n - 1] == -1));
    }
    free(q);
    free(r);
}

static int rising(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static void centres(void **state)
{
    enum { TOKENS = 300, MOST = 45 };
    static const size_t counts[] = { 1, 2, 31, 32, 33, 100, 256, 300 };
    check_rng r = { 31 };
    float *x = calloc(TOKENS * MOST, sizeof *x);

    (void)state;
    for (int round = 0; round < 200; round++) {
        const size_t count = counts[round % 8], n = check_below(&r, MOST);
        const float step = 0.05f + (float)check_below(&r, 50) / 16;
        /* Some with many equal values. */
        const float grain = round % 3 ? 1e-6f : 2;
        int16_t c[CPUS][MOST + 1];
        for (size_t i = 0; i < TOKENS * MOST; i++)
            x[i] = nearbyintf(check_float(&r) * 9 / grain) * grain;
        for (int v = 0; v < CPUS; v++) {
            c[v][n] = 99;
            tsri_kv_centres(cpus[v], x, MOST, count, n, step, c[v]);
            assert_int_equal(c[v][n], 99);
        }
        for (size_t i = 0; i < n; i++) {
            float v[32];
            for (size_t t = 0; t < 32; t++)
                v[t] = x[t * count / 32 * MOST + i];
            qsort(v, 32, sizeof *v, rising);
            const float scaled = v[15] * (4 / step);
            assert_int_equal(c[0][i], (int)nearbyintf(scaled));
            assert_int_equal(c[1][i], c[0][i]);
        }
    }
    for (size_t i = 0; i < TOKENS * MOST; i++)
        x[i] = i % 2 ? 1e9f : -1e9f;
    for (int v = 0; v < CPUS; v++) {
        int16_t c[18];
        tsri_kv_centres(cpus[v], x, 18, 32, 18, 1, c);
        for (int i = 0; i < 18; i++)
            assert_int_equal(c[i], i % 2 ? 32767 : -32768);
        tsri_kv_centres(cpus[v], NULL, 18, 0, 18, 1, c);
        for (int i = 0; i < 18; i++)
            assert_int_equal(c[i], 0);
    }
    free(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantiser),
        cmocka_unit_test(quantiser_sums),
        cmocka_unit_test(quantiser_limits),
        cmocka_unit_test(coarsen_all),
        cmocka_unit_test(centres)
    };
    cpus[1] = tsr_cpu_flags();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
