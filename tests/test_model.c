/* SPDX-License-Identifier: BSD-2-Clause */
#include "config.h"
#include <math.h>
#include <unistd.h>
#include "tests/check.h"
#include "tests/model_folder.h"
#include "lib/bytes.h"
#include "lib/json.h"
#include "lib/sha256.h"
#include "lib/weights.h"

static const char file[] = "test_model.safetensors";
static const char folder[] = "test_model_models";
static tsr_context *ctx; /* silent: faults are expected here */

/* Writes a safetensors file with this header and `data` bytes of 0,1,2,... */
static void put(const char *header, size_t data)
{
    uint8_t length[8];
    FILE *f = fopen(file, "wb");
    assert_non_null(f);
    tsri_put64(length, strlen(header));
    fwrite(length, 1, 8, f);
    fputs(header, f);
    for (size_t i = 0; i < data; i++)
        fputc((int)(i & 0xff), f);
    assert_int_equal(fclose(f), 0);
}

static tsr_error open_with(const char *header, size_t data)
{
    tsr_model *m;
    put(header, data);
    const tsr_error error = tsr_model_open(&m, ctx, file);
    assert_true(!m == !!error);
    tsr_model_unref(&m);
    return error;
}

#define T(shape, from, to) \
    "{\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":[" from "," to "]}"

static void test_good(void **state)
{
    tsr_model *m;
    const tsr_tensor *t;
    float *x;
    int32_t *n;
    (void)state;
    put("{\"__metadata__\":{\"tessera.name\":\"n\\u00e9\",\"a\":\"\"},"
        "\"z\":" T("[2,1]", "8", "16") ",\"a.b\":" T("[]", "0", "4") ","
        "\"h\":{\"shape\":[2],\"dtype\":\"I16\",\"data_offsets\":[4,8],\"x\":[1,{}]}}  ",
        16);
    assert_int_equal(tsr_model_open(&m, ctx, file), TSR_OK);
    assert_string_equal(tsr_model_name(m), "n\xc3\xa9");
    assert_string_equal(tsr_model_codec(m), "");
    assert_int_equal(tsr_model_tensor_count(m), 3);
    assert_string_equal(tsr_model_tensor_at(m, 0)->name, "a.b");
    assert_null(tsr_model_tensor(m, "q"));
    assert_int_equal(tsri_want(ctx, m, &t, 2, (uint64_t[]){ 2, TSRI_ANY }, "z"), 0);
    assert_int_equal(tsri_want(ctx, m, &t, 2, (uint64_t[]){ 2, 2 }, "%c", 'z'),
                     TSR_E_SHAPE);
    assert_int_equal(tsri_want(ctx, m, &t, 0, NULL, "y"), TSR_E_SHAPE);
    assert_int_equal(tsri_tensor_floats(ctx, tsr_model_tensor(m, "z"), &x), 0);
    assert_true(x[0] == tsri_getf32((const uint8_t[]){ 8, 9, 10, 11 }));
    tsri_free(ctx, x);
    assert_int_equal(tsri_tensor_ints(ctx, tsr_model_tensor(m, "h"), &n), 0);
    assert_int_equal(n[1], 0x0706);
    tsri_free(ctx, n);
    assert_int_equal(tsri_tensor_floats(ctx, tsr_model_tensor(m, "h"), &x),
                     TSR_E_SHAPE);
    assert_int_equal(tsri_tensor_ints(ctx, tsr_model_tensor(m, "z"), &n),
                     TSR_E_SHAPE);
    tsr_model *again = tsr_model_ref(m);
    tsr_model_unref(&m);
    assert_string_equal(tsr_model_tensor_at(again, 2)->name, "z");
    tsr_model_unref(&again);
}

static void test_bad(void **state)
{
    (void)state;
    assert_int_equal(open_with("{}", 0), TSR_E_CORRUPT);
    assert_int_equal(open_with("[]", 0), TSR_E_FORMAT);
    assert_int_equal(open_with("{\"a\":" T("[1]", "0", "4") "}", 3), TSR_E_CORRUPT);
    assert_int_equal(open_with("{\"a\":" T("[2]", "0", "4") "}", 8), TSR_E_CORRUPT);
    assert_int_equal(open_with("{\"a\":" T("[1]", "4", "0") "}", 8), TSR_E_CORRUPT);
    assert_int_equal(
        open_with("{\"a\":" T("[4611686018427387904,4]", "0", "0") "}", 8),
        TSR_E_CORRUPT);
    assert_int_equal(open_with("{\"a\":" T("[18446744073709551616]", "0", "4") "}", 8),
                     TSR_E_CORRUPT);
    assert_int_equal(open_with("{\"a\":" T("[1,1,1,1,1,1,1,1,1]", "0", "4") "}", 4),
                     TSR_E_CORRUPT);
    assert_int_equal(open_with("{\"a\":" T("[1]", "0", "4") ",\"b\":"
                               T("[1]", "2", "6") "}", 8), TSR_E_CORRUPT);
    assert_int_equal(open_with("{\"a\":" T("[1]", "0", "4") ",\"a\":"
                               T("[1]", "4", "8") "}", 8), TSR_E_CORRUPT);
    assert_int_equal(open_with("{\"a\":{\"dtype\":\"F33\",\"shape\":[1],"
                               "\"data_offsets\":[0,4]}}", 8), TSR_E_CORRUPT);
    assert_int_equal(open_with("{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 8),
                     TSR_E_CORRUPT);
    assert_int_equal(open_with("{\"__metadata__\":{\"tessera.sha256\":\"00\"},\"a\":"
                               T("[1]", "0", "4") "}", 4), TSR_E_CHECKSUM);
    assert_int_equal(open_with("{\"a\":" T("[1]", "0", "4") ",}", 8), TSR_E_CORRUPT);
}

static void test_truncated(void **state)
{
    static const char header[] = "{\"a\":" T("[1]", "0", "4") "}";
    const long whole = 8 + (long)sizeof header - 1 + 4;
    tsr_model *m;
    (void)state;
    for (long n = whole - 1; n >= 0; n--) {
        put(header, 4);
        assert_int_equal(truncate(file, n), 0);
        assert_true(tsr_model_open(&m, ctx, file) < 0);
        assert_null(m);
    }
    remove(file);
    assert_int_equal(tsr_model_open(&m, ctx, file), TSR_E_MODEL);
    assert_int_equal(tsr_model_open(&m, ctx, "./"), TSR_E_FORMAT);
    assert_int_equal(tsr_model_open(&m, ctx, "no-such-model"), TSR_E_MODEL);
}

static void test_find(void **state)
{
    tsr_model *m, *same;
    (void)state;
    put("{\"a\":" T("[1]", "0", "4") "}", 4);
    model_folder_open(folder, file);
    assert_int_equal(setenv("TESSERA_MODELS", "/nonexistent:test_model_models", 1), 0);
    assert_int_equal(tsr_model_open(&m, ctx, "model"), TSR_OK);
    assert_int_equal(tsr_model_open_hash(&same, ctx, tsr_model_hash(m), 4), TSR_OK);
    assert_memory_equal(tsr_model_hash(same), tsr_model_hash(m), 32);
    tsr_model_unref(&same);
    uint8_t other[32] = { 1 };
    assert_int_equal(tsr_model_open_hash(&same, ctx, other, 32), TSR_E_MODEL);
    assert_null(same);
    tsr_model_unref(&m);
    model_folder_close(folder);
    remove(file);
}

static void test_half(void **state)
{
    (void)state;
    assert_true(tsri_half_to_float(0x3c00) == 1.0f);
    assert_true(tsri_half_to_float(0xc000) == -2.0f);
    assert_true(tsri_half_to_float(0x0001) == 0x1p-24f);
    assert_true(tsri_half_to_float(0x83ff) == -1023 * 0x1p-24f);
    assert_true(tsri_half_to_float(0x7bff) == 65504.0f);
    assert_true(tsri_half_to_float(0x7c00) > 1e38f);
    assert_true(tsri_half_to_float(0x7e00) != tsri_half_to_float(0x7e00));
    for (unsigned h = 0; h < 0x10000; h++) {
        const int exponent = h >> 10 & 31, mantissa = h & 1023;
        const float value = tsri_half_to_float((uint16_t)h);
        const double size = exponent ? ldexp(1024 + mantissa, exponent - 25)
                                     : ldexp(mantissa, -24);
        assert_int_equal(signbit(value) != 0, h >> 15);
        if (exponent < 31)
            assert_true(fabs((double)value) == size);
        else
            assert_true(mantissa ? isnan(value) : isinf(value));
    }
}

static void test_sha256(void **state)
{
    static const uint8_t abc[4] = { 0xba, 0x78, 0x16, 0xbf };
    static const uint8_t two[4] = { 0x24, 0x8d, 0x6a, 0x61 };
    uint8_t digest[32], again[32], data[1000];
    check_rng rng = { 3 };
    tsri_sha256 s;
    (void)state;
    tsri_sha256_start(&s);
    tsri_sha256_add(&s, "abc", 3);
    tsri_sha256_end(&s, digest);
    assert_memory_equal(digest, abc, 4);
    tsri_sha256_start(&s);
    tsri_sha256_add(&s, "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56);
    tsri_sha256_end(&s, digest);
    assert_memory_equal(digest, two, 4);
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)check_u32(&rng);
    for (size_t n = 0; n < sizeof data; n += 37) { /* both variants, any cut */
        tsri_sha256_start(&s);
        tsri_sha256_add(&s, data, n / 3);
        tsri_sha256_add(&s, data + n / 3, n - n / 3);
        tsri_sha256_end(&s, digest);
        tsri_sha256_start(&s);
        s.run = tsri_sha256_plain;
        tsri_sha256_add(&s, data, n);
        tsri_sha256_end(&s, again);
        assert_memory_equal(digest, again, 32);
    }
}

static bool skips(const char *text)
{
    tsri_json j = { text, text + strlen(text), false };
    return tsri_json_skip(&j) && j.at == j.end;
}

static void test_json(void **state)
{
    char deep[200] = { 0 };
    (void)state;
    assert_true(skips("{\"a\":[1,-2.5e3,true,null,\"\\\"x\"],\"b\":{}}"));
    assert_false(skips("[1,]"));
    assert_false(skips("{\"a\" 1}"));
    assert_false(skips("\"open"));
    assert_false(skips("\"open\\"));
    memset(deep, '[', 100);
    assert_false(skips(deep));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),   cmocka_unit_test(test_bad),
        cmocka_unit_test(test_truncated), cmocka_unit_test(test_find),
        cmocka_unit_test(test_half),   cmocka_unit_test(test_sha256),
        cmocka_unit_test(test_json),
    };
    if (tsr_context_open(&ctx, NULL))
        return 1;
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    tsr_context_close(&ctx);
    return failed;
}
