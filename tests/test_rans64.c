/* SPDX-License-Identifier: BSD-2-Clause */
/* Integer tables and streams of the reference, byte for byte. */
#include "tests/npy.h"
#include "entropy/freq.h"
#include "entropy/rans64.h"

enum { GROUPS = 4 };

typedef struct level {
    check_npy freq, cdf, codes;
    uint8_t *stream;
    size_t bytes, n;     /* of the stream; positions of a group */
    int groups, k;
    const uint32_t *tables[GROUPS];
    int sizes[GROUPS];
} level;

static const char *folders[] = { "mcquic_entropy", "mcquic_c12_m4_64x64",
                                 "mcquic_c32_m2_100x130" };

static const char *name(const char *folder, const char *what, int l,
                        const char *end)
{
    static char path[200];
    snprintf(path, sizeof path, "tests/vectors/%s/%s%d%s", folder, what, l, end);
    return path;
}

static level load(const char *folder, int l)
{
    level v = { .freq = check_npy_read(name(folder, "freq", l, ".npy")),
                .cdf = check_npy_read(name(folder, "cdf", l, ".npy")),
                .codes = check_npy_read(name(folder, "codes", l, ".npy")) };
    v.stream = check_file(name(folder, "level", l, ".rans"), &v.bytes);
    v.groups = (int)v.freq.shape[0];
    v.k = (int)v.freq.shape[1];
    v.n = v.codes.count / (size_t)v.groups;
    for (int g = 0; g < v.groups; g++) {
        v.tables[g] = (uint32_t *)check_npy_as(&v.cdf, "i4") + g * (v.k + 1);
        v.sizes[g] = v.k;
    }
    return v;
}

static void unload(level *v)
{
    free(v->freq.data);
    free(v->cdf.data);
    free(v->codes.data);
    free(v->stream);
}

static void test_tables(void **state)
{
    (void)state;
    for (int f = 0; f < 3; f++)
        for (int l = 0; l < 3; l++) {
            level v = load(folders[f], l);
            float *pmf = malloc((size_t)v.k * sizeof *pmf);
            uint32_t *cdf = malloc(((size_t)v.k + 1) * sizeof *cdf);
            for (int g = 0; g < v.groups; g++) {
                tsri_pmf_from_ema((float *)check_npy_as(&v.freq, "f4") + g * v.k,
                                  v.k, pmf);
                assert_int_equal(tsri_cdf_from_pmf(pmf, v.k, cdf), TSR_OK);
                assert_memory_equal(cdf, v.tables[g],
                                    ((size_t)v.k + 1) * sizeof *cdf);
            }
            free(pmf);
            free(cdf);
            unload(&v);
        }
}

static void test_streams(void **state)
{
    tsr_context *ctx = check_context("c", 1);
    (void)state;
    for (int f = 0; f < 3; f++)
        for (int l = 0; l < 3; l++) {
            level v = load(folders[f], l);
            uint32_t *sym = malloc(v.codes.count * sizeof *sym);
            uint8_t *out;
            size_t bytes;
            assert_int_equal(tsri_rans64_decode(v.tables, v.sizes, v.groups,
                                 v.stream, v.bytes, sym, v.n), TSR_OK);
            assert_memory_equal(sym, check_npy_as(&v.codes, "i4"),
                                v.codes.count * sizeof *sym);
            assert_int_equal(tsri_rans64_encode(ctx, v.tables, v.sizes,
                                 v.groups, sym, v.n, &out, &bytes), TSR_OK);
            assert_int_equal(bytes, v.bytes);
            assert_memory_equal(out, v.stream, bytes);
            tsri_free(ctx, out);
            free(sym);
            unload(&v);
        }
    tsr_context_close(&ctx);
}

static void test_damage(void **state)
{
    level v = load(folders[1], 0);
    uint32_t *sym = malloc(v.codes.count * sizeof *sym);
    (void)state;
    for (size_t cut = 0; cut < v.bytes; cut++) {
        uint8_t *copy = malloc(cut + 1);
        memcpy(copy, v.stream, cut);
        assert_int_equal(tsri_rans64_decode(v.tables, v.sizes, v.groups, copy,
                             cut, sym, v.n), TSR_E_CORRUPT);
        free(copy);
    }
    for (size_t bit = 0; bit < 8 * v.bytes; bit++) {
        v.stream[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (tsri_rans64_decode(v.tables, v.sizes, v.groups, v.stream, v.bytes,
                               sym, v.n) == TSR_OK)
            assert_memory_not_equal(sym, v.codes.data,
                                    v.codes.count * sizeof *sym);
        v.stream[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    free(sym);
    unload(&v);
}

static void test_refused(void **state)
{
    tsr_context *ctx = check_context("c", 1);
    const uint32_t table[] = { 0, 65536 }, *tables[] = { table };
    uint32_t sym = 1, cdf[3];
    uint8_t *out;
    size_t bytes;
    (void)state;
    assert_int_equal(tsri_rans64_encode(ctx, tables, (int[]){ 1 }, 1, &sym, 1,
                                        &out, &bytes), TSR_E_ARG);
    assert_null(out);
    sym = 0;
    assert_int_equal(tsri_rans64_encode(ctx, tables, (int[]){ 1 }, 1, &sym, 1,
                                        &out, &bytes), TSR_OK);
    assert_int_equal(bytes, 8);
    tsri_free(ctx, out);
    assert_int_equal(tsri_cdf_from_pmf((float[]){ 0, 0 }, 2, cdf),
                     TSR_E_CORRUPT);
    assert_int_equal(tsri_cdf_from_pmf((float[]){ -1, 1 }, 2, cdf),
                     TSR_E_CORRUPT);
    assert_int_equal(tsri_cdf_from_pmf((float[]){ 0.0f / 0.0f, 1 }, 2, cdf),
                     TSR_E_CORRUPT);
    assert_int_equal(tsri_cdf_from_pmf((float[]){ 0, 1 }, 2, cdf), TSR_OK);
    assert_int_equal(cdf[1], 1);
    tsr_context_close(&ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tables),
        cmocka_unit_test(test_streams),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
