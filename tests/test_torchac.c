/* SPDX-License-Identifier: BSD-2-Clause */
/* Streams of torchac itself, byte for byte; tables and bytes that nobody wrote. */
#include "tests/npy.h"
#include "entropy/torchac.h"

static const char *names[] = { "shared", "certain", "tables", "pending", "least",
                               "single" };
enum { NAMES = sizeof names / sizeof *names };

typedef struct vector {
    check_npy cdf, sym;
    uint8_t *bytes;
    size_t size;
    tsri_torchac_tables tables;
} vector;

static vector load(const char *name)
{
    char path[100];
    vector v;

    snprintf(path, sizeof path, "tests/vectors/torchac/%s_cdf.npy", name);
    v.cdf = check_npy_read(path);
    snprintf(path, sizeof path, "tests/vectors/torchac/%s_sym.npy", name);
    v.sym = check_npy_read(path);
    snprintf(path, sizeof path, "tests/vectors/torchac/%s.bin", name);
    v.bytes = check_file(path, &v.size);
    const size_t row = v.cdf.shape[v.cdf.rank - 1];
    v.tables = (tsri_torchac_tables){ check_npy_as(&v.cdf, "u2"), (int)row - 1,
                                      v.cdf.rank == 2 ? row : 0 };
    return v;
}

static void unload(vector *v)
{
    free(v->cdf.data);
    free(v->sym.data);
    free(v->bytes);
}

static void test_streams(void **state)
{
    uint8_t out[2000];
    uint16_t got[1000];
    size_t size, used;
    (void)state;

    for (int i = 0; i < NAMES; i++) {
        vector v = load(names[i]);
        const uint16_t *sym = check_npy_as(&v.sym, "u2");
        assert_int_equal(tsri_torchac_encode(&v.tables, sym, v.sym.count, out,
                                             sizeof out, &size), TSR_OK);
        assert_int_equal(size, v.size);
        assert_memory_equal(out, v.bytes, size);
        assert_int_equal(tsri_torchac_decode(&v.tables, v.bytes, v.size, got,
                                             v.sym.count, &used), TSR_OK);
        assert_int_equal(used, v.size);
        assert_memory_equal(got, sym, v.sym.count * sizeof *got);
        unload(&v);
    }
}

static void test_cachegen_table(void **state)
{
    vector v = load("shared");
    const uint16_t *sym = check_npy_as(&v.sym, "u2");
    uint32_t count[32] = { 0 };
    uint16_t cdf[33];
    (void)state;

    for (size_t i = 0; i < v.sym.count; i++)
        count[sym[i]]++;
    assert_int_equal(tsri_torchac_table(count, 32, cdf), TSR_OK);
    assert_memory_equal(cdf, v.tables.cdf, sizeof cdf);
    memset(count, 0, sizeof count);
    assert_int_equal(tsri_torchac_table(count, 32, cdf), TSR_E_ARG);
    count[3] = 65536;
    assert_int_equal(tsri_torchac_table(count, 32, cdf), TSR_E_ARG);
    assert_int_equal(tsri_torchac_table(count, 0, cdf), TSR_E_ARG);
    assert_int_equal(tsri_torchac_table(count, 65536, cdf), TSR_E_ARG);
    unload(&v);
}

static uint32_t next(uint32_t *seed)
{
    *seed = *seed * 1664525 + 1013904223;
    return *seed >> 8;
}

/* Strictly rising from 0. */
static void make_table(uint32_t *seed, int symbols, uint16_t *cdf)
{
    cdf[0] = 0;
    for (int i = 1; i <= symbols; i++) {
        const uint32_t most = 65535u - (uint32_t)(symbols - i) - cdf[i - 1];
        const uint32_t step = 1 + next(seed) % (next(seed) % 3 ? 8 : most);
        cdf[i] = (uint16_t)(cdf[i - 1] + (step < most ? step : most));
    }
}

static void test_round_trips(void **state)
{
    static const int sizes[] = { 1, 2, 3, 33, 1000, 65535 };
    uint16_t *cdf = malloc(65536 * sizeof *cdf);
    uint16_t sym[700], got[700];
    uint8_t out[2000];
    uint32_t seed = 5;
    size_t size, used;
    (void)state;

    for (int round = 0; round < 300; round++) {
        const int symbols = sizes[round % 6];
        const size_t n = next(&seed) % 700;
        const tsri_torchac_tables tables = { cdf, symbols, 0 };
        make_table(&seed, symbols, cdf);
        for (size_t i = 0; i < n; i++)
            sym[i] = (uint16_t)(next(&seed) % (uint32_t)symbols);
        assert_int_equal(tsri_torchac_encode(&tables, sym, n, out, sizeof out,
                                             &size), TSR_OK);
        assert_true(size <= tsri_torchac_bound(n));
        assert_int_equal(tsri_torchac_decode(&tables, out, size, got, n, &used),
                         TSR_OK);
        assert_int_equal(used, size);
        assert_memory_equal(got, sym, n * sizeof *sym);
        assert_true(tsri_torchac_decode(&tables, out, size - 1, got, n, NULL) ||
                    memcmp(got, sym, n * sizeof *sym));
        assert_int_equal(tsri_torchac_encode(&tables, sym, n, out, size - 1,
                                             &size), TSR_E_LIMIT);
    }
    free(cdf);
}

/* Whatever the tables and bytes: symbols in range. */
static void test_hostile(void **state)
{
    uint16_t cdf[300], got[200];
    uint8_t bytes[100];
    uint32_t seed = 77;
    (void)state;

    for (int round = 0; round < 2000; round++) {
        const size_t size = next(&seed) % 100, n = next(&seed) % 200;
        const tsri_torchac_tables tables = { cdf, 1 + (int)(next(&seed) % 40),
                                             next(&seed) % 2 };
        for (int i = 0; i < 300; i++)
            cdf[i] = (uint16_t)next(&seed);
        for (size_t i = 0; i < size; i++)
            bytes[i] = (uint8_t)next(&seed);
        if (tsri_torchac_decode(&tables, bytes, size, got, n, NULL))
            continue;
        for (size_t i = 0; i < n; i++)
            assert_true(got[i] < tables.symbols);
    }
}

static void test_arguments(void **state)
{
    static const uint16_t cdf[] = { 0, 5, 5, 9 };
    const tsri_torchac_tables tables = { cdf, 3, 0 };
    const tsri_torchac_tables none = { cdf, 0, 0 }, many = { cdf, 65536, 0 };
    uint16_t sym[] = { 1 };
    uint8_t out[10];
    size_t size;
    (void)state;

    assert_int_equal(tsri_torchac_encode(&tables, sym, 1, out, 10, &size),
                     TSR_E_ARG);
    sym[0] = 3;
    assert_int_equal(tsri_torchac_encode(&tables, sym, 1, out, 10, &size),
                     TSR_E_ARG);
    assert_int_equal(tsri_torchac_encode(&none, sym, 0, out, 10, &size),
                     TSR_E_ARG);
    assert_int_equal(tsri_torchac_decode(&many, out, 10, sym, 0, NULL), TSR_E_ARG);
    assert_int_equal(tsri_torchac_encode(&tables, sym, 0, out, 10, &size), TSR_OK);
    assert_int_equal(size, 1);
    assert_int_equal(out[0], 0x40);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_streams),
        cmocka_unit_test(test_cachegen_table),
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_arguments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
