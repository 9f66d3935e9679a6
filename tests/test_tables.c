/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/check.h"
#include <math.h>
#include "entropy/freq.h"
#include "entropy/shapes.h"
#include "entropy/tables.h"

enum { MOST = 5000 };

/* Tables of many kinds: flat, noise, peaks, bells, steps. */
static void fill(check_rng *r, uint16_t *freq, int n, int bits, int kind,
                 bool zeros)
{
    uint64_t *count = calloc((size_t)n, sizeof *count);
    const double sigma = 0.1 + check_below(r, 1000) / 4000.0 * n;
    const double centre = (double)check_below(r, (uint32_t)n) + 0.3;

    for (int i = 0; i < n; i++) {
        const double z = (i - centre) / sigma;
        count[i] = kind == 0 ? 1 : kind == 1 ? check_below(r, 1000) :
                   kind == 2 ? i == n / 2 : kind == 3 ?
                   (uint64_t)(1e6 * exp(-z * z / 2)) :
                   kind == 4 ? (uint64_t)(1e6 * exp(-fabs(z))) :
                   (uint64_t)1 << check_below(r, 30);
    }
    assert_int_equal(tsri_freq_normalise(count, n, bits, freq), TSR_OK);
    for (int i = 1; zeros && i < n; i++)
        if (freq[i] < 3) {
            freq[i - 1] = (uint16_t)(freq[i - 1] + freq[i]);
            freq[i] = 0;
        }
    free(count);
}

static void round_trip(const uint16_t *freq, int n, int bits, bool small)
{
    uint8_t *out = malloc(tsri_table_bound(n) + 3);
    uint16_t *got = malloc(2 * (size_t)n);
    size_t size, used;
    int count;

    assert_int_equal((small ? tsri_table_write_small : tsri_table_write)(
                         freq, n, bits, out, &size), TSR_OK);
    assert_in_range(size, 1, tsri_table_bound(n));
    memset(out + size, 0xa5, 3);
    assert_int_equal(tsri_table_read(out, size + 3, bits, n, got, &count, &used),
                     TSR_OK);
    assert_int_equal(used, size);
    assert_int_equal(count, n);
    assert_memory_equal(got, freq, 2 * (size_t)n);
    assert_int_equal(tsri_table_read(out, size, bits, n - 1, got, &count, &used),
                     TSR_E_CORRUPT);
    free(got);
    free(out);
}

static void test_round_trip(void **state)
{
    static uint16_t freq[1 << 15];
    check_rng r = { 5 };
    (void)state;
    for (int bits = 1; bits <= TSRI_BANK_MAX_BITS; bits++)
        for (int i = 0; i < 240; i++) {
            const int most = tsri_min(1 << bits, i % 40 ? 300 : 1 << 15);
            const int n = i < 12 ? most : 1 + (int)check_below(&r, (uint32_t)most);
            fill(&r, freq, n, bits, i % 6, i % 5 == 0);
            round_trip(freq, n, bits, i % 2);
        }
}

static void test_refused(void **state)
{
    uint16_t freq[5] = { 1, 2, 1, 0, 0 };
    uint8_t out[64];
    size_t size;
    int n;
    (void)state;
    assert_int_equal(tsri_table_write(freq, 3, 2, out, &size), TSR_OK);
    assert_int_equal(tsri_table_write(freq, 3, 3, out, &size), TSR_E_ARG);
    assert_int_equal(tsri_table_write(freq, 4, 2, out, &size), TSR_OK);
    assert_int_equal(tsri_table_write(freq, 5, 2, out, &size), TSR_E_ARG);
    assert_int_equal(tsri_table_write(freq, 0, 2, out, &size), TSR_E_ARG);
    assert_int_equal(tsri_table_write(freq, 3, 0, out, &size), TSR_E_ARG);
    assert_int_equal(tsri_table_write(freq, 3, 16, out, &size), TSR_E_ARG);
    assert_int_equal(tsri_table_read(out, 64, 0, 4, freq, &n, &size), TSR_E_ARG);
    assert_int_equal(tsri_table_read(out, 64, 16, 4, freq, &n, &size), TSR_E_ARG);
    assert_int_equal(tsri_table_read(out, 0, 4, 4, freq, &n, &size),
                     TSR_E_CORRUPT);
}

/* Whatever is read is a table, and lies within the bytes. */
static void check_table(const uint8_t *data, size_t size, int bits, int room)
{
    uint8_t *copy = malloc(size ? size : 1);
    uint16_t *freq = malloc(2 * (size_t)room);
    size_t used;
    int n;

    memcpy(copy, data, size);
    if (tsri_table_read(copy, size, bits, room, freq, &n, &used) == TSR_OK) {
        uint32_t sum = 0;
        assert_in_range(n, 1, room);
        assert_in_range(used, 1, size);
        for (int i = 0; i < n; i++) {
            assert_in_range(freq[i], 0, 1 << bits);
            sum += freq[i];
        }
        assert_int_equal(sum, 1 << bits);
    }
    free(freq);
    free(copy);
}

static void test_damage(void **state)
{
    uint16_t freq[300];
    uint8_t out[3000];
    check_rng r = { 6 };
    (void)state;
    for (int i = 0; i < 120; i++) {
        const int bits = 9 + i % 7, n = i % 4 ? 20 : 300;
        size_t size, used;
        int count;
        fill(&r, freq, n, bits, i % 6, i % 5 == 0);
        assert_int_equal((i % 2 ? tsri_table_write_small : tsri_table_write)(
                             freq, n, bits, out, &size), TSR_OK);
        for (size_t cut = 0; cut < size; cut++)
            assert_int_equal(tsri_table_read(out, cut, bits, 300, freq, &count,
                                             &used), TSR_E_CORRUPT);
        for (size_t bit = 0; bit < 8 * size; bit++) {
            out[bit / 8] ^= (uint8_t)(1 << bit % 8);
            check_table(out, size, bits, 300);
            out[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
    }
    for (int i = 0; i < 200000; i++) {
        const size_t size = check_below(&r, 60);
        for (size_t k = 0; k < size; k++)
            out[k] = (uint8_t)check_u32(&r);
        check_table(out, size, 1 + i % 15, 1 + (int)check_below(&r, 300));
    }
}

/* A sample of a Gaussian: n symbols, `draws` of them. */
static size_t bell(double sigma, int n, int draws, bool small)
{
    uint64_t count[256] = { 0 };
    uint16_t freq[256];
    uint8_t out[4096];
    check_rng r = { 7 };
    size_t size;

    for (int i = 0; i < draws; i++) {
        double sum = 0;
        for (int k = 0; k < 12; k++)
            sum += (double)check_float(&r) / 2;
        count[tsri_clamp((int)floor(sum * sigma + n / 2 + 0.5), 0, n - 1)]++;
    }
    assert_int_equal(tsri_freq_normalise(count, n, 12, freq), TSR_OK);
    assert_int_equal((small ? tsri_table_write_small : tsri_table_write)(
                         freq, n, 12, out, &size), TSR_OK);
    return size;
}

static void test_size(void **state)
{
    const uint16_t one = 4096;
    uint8_t out[32];
    size_t size;
    (void)state;
    assert_int_equal(tsri_table_write(&one, 1, 12, out, &size), TSR_OK);
    assert_int_equal(size, 1);
    assert_in_range(bell(1.111, 16, 1 << 18, false), 8, 18);
    assert_in_range(bell(1.111, 16, 1 << 18, true), 8, 15);
    assert_in_range(bell(7.74, 256, 1 << 18, false), 20, 35);
    assert_in_range(bell(7.74, 256, 1 << 18, true), 20, 35);
}

/* Every shape: a bell or a Laplacian with the right moments, 3 bytes. */
static void test_shapes(void **state)
{
    static const int precision[] = { 12, 8, 15, 1, 3 };
    uint16_t freq[256], got[256];
    uint8_t out[2500];
    size_t size, used;
    int n, centre, exact = 0, tried = 0;
    (void)state;
    for (int i = 0; i < 5; i++)
        for (int shape = 0; shape < TSRI_SHAPES; shape++) {
            const int bits = precision[i], reach = i ? 0 : shape % 3 * 20;
            const int scale = shape % TSRI_SHAPE_SCALES;
            const double sigma = pow(2, scale / 8.0 - 3);
            double mean = 0, variance = 0;
            n = tsri_shape_table(shape, bits, reach, freq, &centre);
            assert_in_range(n, 1, 256);
            assert_true(centre >= reach && n - 1 - centre >= reach);
            for (int k = 0; k < n; k++)
                mean += (k - centre) * freq[k] / (double)(1 << bits);
            for (int k = 0; k < n; k++)
                variance += pow(k - centre - mean, 2) * freq[k] / (1 << bits);
            if (bits >= 12 && !reach && scale > 27 && scale < 56) {
                assert_float_equal(mean, (shape / TSRI_SHAPE_SCALES % 4 / 4.0),
                                   (float)(0.02 * sigma));
                assert_float_equal(sqrt(variance), sqrt(sigma * sigma + 1 / 12.0),
                                   (float)((shape < TSRI_SHAPES / 2 ? 0.02 : 0.12) * sigma));
            }
            assert_int_equal(tsri_table_write_small(freq, n, bits, out, &size),
                             TSR_OK);
            assert_int_equal(tsri_table_read(out, size, bits, 256, got, &centre,
                                             &used), TSR_OK);
            assert_int_equal(centre, n);
            assert_memory_equal(got, freq, 2 * (size_t)n);
            tried += bits >= 12;
            exact += bits >= 12 && size <= 3;
        }
    assert_in_range(exact, tried * 8 / 10, tried);
    assert_int_equal(tsri_shape_table(-1, 12, 0, freq, &n), 0);
    assert_int_equal(tsri_shape_table(TSRI_SHAPES, 12, 0, freq, &n), 0);
    assert_int_equal(tsri_shape_table(0, 16, 0, freq, &n), 0);
    assert_int_equal(tsri_shape_table(0, 12, 128, freq, &n), 0);
    assert_int_equal(tsri_shape_table(0, 3, 4, freq, &n), 0);
    assert_int_equal(tsri_shape_table(0, 3, 3, freq, &n), 7);
    for (int scale = 0; scale < TSRI_SHAPE_SCALES; scale++)
        assert_int_equal(tsri_shape_scale((uint64_t)(
            65536 * pow(2, scale / 4.0 - 6))), scale);
    assert_int_equal(tsri_shape_scale(UINT32_MAX), TSRI_SHAPE_SCALES - 1);
}

/* The constants are what they are said to be, and the tables stay the same. */
static void test_shapes_fixed(void **state)
{
    uint16_t freq[256];
    uint32_t hash = 0;
    int centre;
    (void)state;
    for (int shape = 0; shape < TSRI_SHAPES; shape++) {
        const int n = tsri_shape_table(shape, 12, 2, freq, &centre);
        for (int i = 0; i < n; i++)
            hash = (hash ^ freq[i]) * 16777619u;
        hash = (hash ^ (uint32_t)centre) * 16777619u;
    }
    assert_int_equal(hash, 0x3ae24cde);
}

/* Banks: what is written comes back; damage is refused or gives a bank. */
static void test_bank(void **state)
{
    tsr_context *ctx = check_context("c", 1);
    uint16_t *freq = malloc(2 * 40 * 256), sizes[40], *at = freq;
    uint8_t *out = malloc(1 << 17);
    check_rng r = { 8 };
    size_t size, used;
    tsri_bank *bank;
    int tables = 40;
    (void)state;
    ctx->logger.log = NULL;
    for (int t = 0; t < tables; at += sizes[t++]) {
        sizes[t] = (uint16_t)(1 + check_below(&r, t < 5 ? 256 : 20));
        fill(&r, at, sizes[t], 12, t % 6, false);
    }
    assert_int_equal(tsri_tables_write(12, freq, sizes, tables, out, &size),
                     TSR_OK);
    assert_in_range(size, 1, tsri_tables_bound(sizes, tables));
    assert_int_equal(tsri_tables_read(&bank, ctx, out, size + 10, &used), TSR_OK);
    assert_int_equal(used, size);
    tsri_bank_close(&bank, ctx);
    for (size_t cut = 0; cut < size; cut++) {
        assert_int_equal(tsri_tables_read(&bank, ctx, out, cut, &used),
                         TSR_E_CORRUPT);
        assert_null(bank);
    }
    for (size_t bit = 0; bit < 8 * size; bit += 3) {
        uint8_t *copy = malloc(size);
        memcpy(copy, out, size);
        copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (tsri_tables_read(&bank, ctx, copy, size, &used) == TSR_OK)
            assert_in_range(used, 1, size);
        tsri_bank_close(&bank, ctx);
        free(copy);
    }
    sizes[0] = 257;
    assert_int_equal(tsri_tables_write(12, freq, sizes, 1, out, &size),
                     TSR_E_ARG);
    assert_int_equal(tsri_tables_write(12, freq, sizes, 0, out, &size),
                     TSR_E_ARG);
    free(out);
    free(freq);
    tsr_context_close(&ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_size),
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_shapes_fixed),
        cmocka_unit_test(test_bank),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
