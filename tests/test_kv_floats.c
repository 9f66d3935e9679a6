/* SPDX-License-Identifier: BSD-2-Clause */
/* Number formats of caches, by their definition. */
#include <math.h>
#include "codecs/kv/move_impl.h"
#include "tests/check.h"

/* Plain C, and what this machine has. */
enum { CPUS = 2 };
static unsigned cpus[CPUS];

static const tsr_kv_dtype dtypes[] = { TSR_KV_F16, TSR_KV_BF16, TSR_KV_F32,
                                       TSR_KV_E4M3, TSR_KV_E5M2 };
enum { DTYPES = 5 };

typedef struct format { int exponent, mantissa; bool infinities; } format;

static format format_of(tsr_kv_dtype dtype)
{
    switch (dtype) {
    case TSR_KV_F16: return (format){ 5, 10, true };
    case TSR_KV_BF16: return (format){ 8, 7, true };
    case TSR_KV_E5M2: return (format){ 5, 2, true };
    case TSR_KV_E4M3: return (format){ 4, 3, false };
    default: return (format){ 8, 23, true };
    }
}

/* What a code of few bits stands for. */
static double value_of(tsr_kv_dtype dtype, uint32_t code)
{
    const format f = format_of(dtype);
    const uint32_t m = code & ((1u << f.mantissa) - 1);
    const uint32_t top = (1u << f.exponent) - 1;
    const uint32_t e = code >> f.mantissa & top;
    const int bias = (int)top >> 1;
    const double sign = code >> (f.mantissa + f.exponent) & 1 ? -1 : 1;

    if (e == top && f.infinities)
        return m ? NAN : sign * INFINITY;
    if (e == top && m == (1u << f.mantissa) - 1)
        return NAN;
    return sign * (e ? ldexp(m + (1u << f.mantissa), (int)e - bias - f.mantissa)
                     : ldexp(m, 1 - bias - f.mantissa));
}

static uint32_t codes_of(tsr_kv_dtype dtype)
{
    return 1u << 8 * tsri_kv_dtype_bytes(dtype);
}

static void put_code(void *out, tsr_kv_dtype dtype, size_t i, uint32_t code)
{
    const size_t bytes = tsri_kv_dtype_bytes(dtype);
    memcpy((uint8_t *)out + i * bytes, &code, bytes);
}

static uint32_t code_at(const void *in, tsr_kv_dtype dtype, size_t i)
{
    const size_t bytes = tsri_kv_dtype_bytes(dtype);
    uint32_t code = 0;
    memcpy(&code, (const uint8_t *)in + i * bytes, bytes);
    return code;
}

/* Every code becomes its value, and that becomes the code again. */
static void every_code(void **state)
{
    (void)state;
    for (int d = 0; d < DTYPES; d++) {
        if (dtypes[d] == TSR_KV_F32)
            continue;
        const size_t n = codes_of(dtypes[d]);
        uint8_t *in = malloc(n * 2), *out = malloc(n * 2);
        float *x = malloc(n * sizeof *x);
        for (size_t i = 0; i < n; i++)
            put_code(in, dtypes[d], i, (uint32_t)i);
        for (int c = 0; c < CPUS; c++) {
            assert_false(tsri_kv_from_dtype(dtypes[d], cpus[c], in, n, x));
            tsri_kv_to_dtype(dtypes[d], cpus[c], x, n, out);
            for (size_t i = 0; i < n; i++) {
                const double v = value_of(dtypes[d], (uint32_t)i);
                assert_true(isnan(v) ? isnan(x[i]) : x[i] == v &&
                            !signbit(x[i]) == !signbit(v));
                const uint32_t back = code_at(out, dtypes[d], i);
                if (isnan(v))
                    assert_true(isnan(value_of(dtypes[d], back)));
                else if (!isinf(v) || dtypes[d] != TSR_KV_E5M2)
                    assert_int_equal(back, i);
            }
        }
        free(in);
        free(out);
        free(x);
    }
}

static uint32_t one_code(tsr_kv_dtype dtype, float x)
{
    uint32_t code = 0, other = 0;
    float row[16];
    uint8_t out[64];

    tsri_kv_to_dtype(dtype, 0, &x, 1, &code);
    for (int i = 0; i < 16; i++)
        row[i] = x;
    tsri_kv_to_dtype(dtype, cpus[1], row, 16, out);
    for (int i = 0; i < 16; i++) {
        other = code_at(out, dtype, (size_t)i);
        assert_int_equal(code, other);
    }
    return code;
}

static void both_signs(tsr_kv_dtype dtype, float x, uint32_t code)
{
    const uint32_t sign = 1u << (8 * tsri_kv_dtype_bytes(dtype) - 1);
    assert_int_equal(one_code(dtype, x), code);
    assert_int_equal(one_code(dtype, -x), code | sign);
}

/* Halfway between neighbours the even one, and the nearer one on either side of
 * it. */
static void halfway(void **state)
{
    (void)state;
    for (int d = 0; d < DTYPES; d++) {
        const tsr_kv_dtype t = dtypes[d];
        if (t == TSR_KV_F32)
            continue;
        for (uint32_t c = 0; c + 1 < codes_of(t) / 2; c++) {
            const double low = value_of(t, c), high = value_of(t, c + 1);
            if (!isfinite(low) || !isfinite(high))
                continue;
            const float half = (float)((low + high) / 2);
            assert_true(half == (low + high) / 2);
            both_signs(t, half, c + (c & 1));
            both_signs(t, nextafterf(half, 0), c);
            both_signs(t, nextafterf(half, INFINITY), c + 1);
        }
    }
}

static void beyond(void **state)
{
    (void)state;
    both_signs(TSR_KV_F16, 65519.996f, 0x7bff);
    both_signs(TSR_KV_F16, 65520, 0x7c00);
    both_signs(TSR_KV_F16, 3e38f, 0x7c00);
    both_signs(TSR_KV_F16, INFINITY, 0x7c00);
    both_signs(TSR_KV_BF16, 3.3961775e38f, 0x7f80);
    both_signs(TSR_KV_BF16, 3.3895314e38f, 0x7f7f);
    both_signs(TSR_KV_BF16, INFINITY, 0x7f80);
    both_signs(TSR_KV_E4M3, 448, 0x7e);
    both_signs(TSR_KV_E4M3, 464, 0x7e);
    both_signs(TSR_KV_E4M3, 480, 0x7e);
    both_signs(TSR_KV_E4M3, 1e30f, 0x7e);
    both_signs(TSR_KV_E4M3, INFINITY, 0x7e);
    both_signs(TSR_KV_E5M2, 57344, 0x7b);
    both_signs(TSR_KV_E5M2, 61440, 0x7b);
    both_signs(TSR_KV_E5M2, 65536, 0x7b);
    both_signs(TSR_KV_E5M2, INFINITY, 0x7b);
    for (int d = 0; d < DTYPES; d++) {
        const uint32_t code = one_code(dtypes[d], NAN);
        assert_true(isnan(value_of(dtypes[d], code)));
        both_signs(dtypes[d], 0, 0);
        both_signs(dtypes[d], 1e-45f, dtypes[d] == TSR_KV_F32);
    }
}

/* Random bits, odd sizes, nothing beside them touched; both variants alike. */
static void both_alike(void **state)
{
    enum { MOST = 200 };
    check_rng r = { 7 };
    (void)state;
    for (int round = 0; round < 4000; round++) {
        const tsr_kv_dtype t = dtypes[round % DTYPES];
        const size_t n = check_below(&r, MOST), bytes = tsri_kv_dtype_bytes(t);
        uint32_t bits[MOST];
        float x[CPUS][MOST + 1];
        uint8_t out[CPUS][4 * MOST + 1];
        bool good[CPUS];

        for (int i = 0; i < MOST; i++)
            bits[i] = check_u32(&r) & (round % 3 ? ~0u : 0xbfffffff);
        memset(x, 0x55, sizeof x);
        memset(out, 0x55, sizeof out);
        for (int c = 0; c < CPUS; c++) {
            good[c] = tsri_kv_from_dtype(t, cpus[c], bits, n, x[c]);
            tsri_kv_to_dtype(t, cpus[c], (const float *)bits, n, out[c]);
        }
        assert_memory_equal(x[0], x[1], sizeof x[0]);
        assert_memory_equal(out[0], out[1], sizeof out[0]);
        assert_int_equal(good[0], good[1]);
        assert_int_equal(tsri_float_bits(x[1][n]), 0x55555555);
        assert_int_equal(out[1][n * bytes], 0x55);
        bool all = true;
        for (size_t i = 0; i < n; i++)
            all &= isfinite(x[0][i]) != 0;
        assert_int_equal(all, good[0]);
    }
}

static void bytes_of_formats(void **state)
{
    (void)state;
    assert_int_equal(tsri_kv_dtype_bytes(TSR_KV_F16), 2);
    assert_int_equal(tsri_kv_dtype_bytes(TSR_KV_BF16), 2);
    assert_int_equal(tsri_kv_dtype_bytes(TSR_KV_F32), 4);
    assert_int_equal(tsri_kv_dtype_bytes(TSR_KV_E4M3), 1);
    assert_int_equal(tsri_kv_dtype_bytes(TSR_KV_E5M2), 1);
    assert_int_equal(tsri_kv_dtype_bytes((tsr_kv_dtype)0), 0);
    assert_int_equal(tsri_kv_dtype_bytes((tsr_kv_dtype)6), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_of_formats),
        cmocka_unit_test(every_code),
        cmocka_unit_test(halfway),
        cmocka_unit_test(beyond),
        cmocka_unit_test(both_alike)
    };
    cpus[1] = tsr_cpu_flags();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
