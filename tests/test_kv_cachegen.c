/* SPDX-License-Identifier: BSD-2-Clause */
/* CacheGen's quantiser by hand, and its own streams. */
#include "tests/kv_tile.h"
#include "codecs/kv/cachegen.h"

static tsr_context *ctx;

static void test_cachegen_quantiser(void **state)
{
    static const float x[] = { 2, -1, 0.5f, 0, -2, 1.66f }, zero[6];
    static const uint8_t want[] = { 6, 2, 4, 3, 0, 5 };
    uint8_t q[6];
    float y[6];
    (void)state;

    /* M = 3: 3 + x * 1.5; 3 - 1.5 goes to the even 2. */
    assert_true(tsri_cachegen_quantise(x, 6, 8, q) == 2);
    assert_memory_equal(q, want, 6);
    tsri_cachegen_dequantise(q, 6, 8, 2, y);
    assert_true(y[0] == 2 && y[4] == -2 && y[3] == 0);
    assert_true(y[1] == -1.0f / 3 * 2 && y[5] == 2.0f / 3 * 2);
    assert_true(tsri_cachegen_quantise(zero, 6, 32, q) == 0);
    for (int i = 0; i < 6; i++)
        assert_int_equal(q[i], 15);
}

static void test_cachegen_bins(void **state)
{
    (void)state;
    assert_int_equal(tsri_cachegen_bins(0, 8, 7, 1), 32);
    assert_int_equal(tsri_cachegen_bins(0, 32, 9, 0), 32);
    assert_int_equal(tsri_cachegen_bins(0, 32, 10, 0), 16);
    assert_int_equal(tsri_cachegen_bins(0, 32, 2, 1), 16);
    assert_int_equal(tsri_cachegen_bins(1, 32, 19, 0), 16);
    assert_int_equal(tsri_cachegen_bins(1, 32, 20, 0), 12);
    assert_int_equal(tsri_cachegen_bins(1, 32, 1, 1), 16);
    assert_int_equal(tsri_cachegen_bins(1, 32, 2, 1), 12);
    assert_int_equal(tsri_cachegen_bins(2, 8, 2, 1), 16);
    assert_int_equal(tsri_cachegen_bins(3, 32, 31, 1), 32);
    assert_int_equal(tsri_cachegen_bins(4, 80, 19, 1), 32);
    assert_int_equal(tsri_cachegen_bins(4, 80, 20, 0), 16);
}

static const tsri_cachegen_shape own = { 12, 300, 6, 0, TSR_KV_F16 };

/* 24 layers of 300 tokens, layer 5 of zeros. */
static float *own_cache(size_t *n)
{
    const tsri_kv_tile tile = kv_tile(1, own.channels,
                                      2 * own.layers * own.tokens);
    check_rng r = { 4 };
    float *x = kv_draw(&r, &tile);
    const size_t layer = (size_t)(own.tokens * own.channels);

    *n = tsri_kv_values(&tile);
    memset(x + 5 * layer, 0, layer * sizeof *x);
    return x;
}

static void test_cachegen_stream(void **state)
{
    size_t n, sum = 0;
    float *x = own_cache(&n), *y = malloc(n * sizeof *y);
    const size_t channels = (size_t)own.channels;
    tsri_cachegen s;
    uint8_t q[8];
    (void)state;

    assert_int_equal(tsri_cachegen_encode(ctx, &own, x, &s), TSR_OK);
    assert_int_equal(s.chunks, 2);
    assert_int_equal(s.table, 33);
    for (int i = 0; i < 2 * 24 * own.channels; i++)
        sum += (size_t)s.lengths[i];
    assert_int_equal(sum, s.size);
    assert_int_equal(s.chunk_size[0] + s.chunk_size[1], s.size);
    assert_int_equal(tsri_cachegen_bytes(&own, &s),
                     s.size + 4 * 2 * 24 * 6 + 2 * 24 * 6 * 33 + 2 * 24 * 300);
    /* A channel of zeros is symbol 15 throughout. */
    const uint16_t *cdf = s.cdf + 5 * 6 * 33;
    for (int i = 0; i <= 32; i++)
        assert_int_equal(cdf[i], i + (i > 15 ? 65535 - 32 : 0));
    assert_int_equal(tsri_cachegen_decode(ctx, &own, &s, y), TSR_OK);
    for (size_t t = 0; t < n / channels; t++) {
        const int i = (int)t / own.tokens;
        const int bins = tsri_cachegen_bins(0, 12, i % 12, i / 12);
        float want[8];
        const float scale = tsri_cachegen_quantise(x + t * channels, channels,
                                                   bins, q);
        tsri_cachegen_dequantise(q, channels, bins, scale, want);
        assert_memory_equal(y + t * channels, want, channels * sizeof *want);
    }
    tsri_cachegen_free(&s, ctx);
    free(x);
    free(y);
}

static void test_cachegen_hostile(void **state)
{
    size_t n;
    float *x = own_cache(&n);
    check_rng r = { 5 };
    tsr_context *quiet;
    tsri_cachegen s;
    (void)state;

    assert_int_equal(tsr_context_open(&quiet, NULL), TSR_OK);
    assert_int_equal(tsri_cachegen_encode(ctx, &own, x, &s), TSR_OK);
    for (int i = 0; i < 50; i++) {
        int32_t *length = &s.lengths[check_below(&r, 2 * 24 * 6)];
        const int32_t old = *length;
        *length = i & 1 ? (int32_t)check_u32(&r) : old + (i & 2) - 1;
        assert_int_equal(tsri_cachegen_decode(quiet, &own, &s, x),
                         TSR_E_CORRUPT);
        *length = old;
        s.bytes[check_below(&r, (uint32_t)s.size)] ^= 1 << i % 8;
        s.cdf[check_below(&r, 24 * 6 * 33)] ^= (uint16_t)(1 << i % 16);
        (void)!tsri_cachegen_decode(quiet, &own, &s, x);
    }
    s.table--;
    assert_int_equal(tsri_cachegen_decode(quiet, &own, &s, x), TSR_E_ARG);
    s.table++;
    tsri_cachegen_free(&s, ctx);
    tsri_cachegen_shape wrong = own;
    wrong.tokens = 65536;
    assert_int_equal(tsri_cachegen_encode(quiet, &wrong, x, &s), TSR_E_ARG);
    assert_null(s.bytes);
    tsr_context_close(&quiet);
    free(x);
}

static tsr_error load(tsr_context *quiet, const uint8_t *file, size_t size,
                      tsri_cachegen_shape *shape, tsri_cachegen *s)
{
    static const char path[] = "./test_kv_cachegen.safetensors";
    FILE *f = fopen(path, "wb");
    tsr_model *model;

    assert_non_null(f);
    assert_int_equal(fwrite(file, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
    tsr_error error = tsr_model_open(&model, quiet, path);
    remove(path);
    if (!error)
        error = tsri_cachegen_load(quiet, model, shape, s);
    tsr_model_unref(&model);
    return error;
}

/* Files as written; with a digit, bracket or letter of the head changed. */
static void test_cachegen_file(void **state)
{
    size_t n, size;
    float *x = own_cache(&n), *y = malloc(n * sizeof *y);
    check_rng r = { 6 };
    tsri_cachegen_shape shape;
    tsri_cachegen s, back;
    tsr_context *quiet;
    uint8_t *file;
    int refused = 0;
    (void)state;

    assert_int_equal(tsr_context_open(&quiet, NULL), TSR_OK);
    assert_int_equal(tsri_cachegen_encode(ctx, &own, x, &s), TSR_OK);
    assert_int_equal(tsri_cachegen_decode(ctx, &own, &s, y), TSR_OK);
    assert_int_equal(tsri_cachegen_save(ctx, &own, &s, &file, &size), TSR_OK);
    assert_int_equal(load(ctx, file, size, &shape, &back), TSR_OK);
    assert_memory_equal(&shape, &own, sizeof own);
    assert_int_equal(back.size, s.size);
    assert_memory_equal(back.bytes, s.bytes, s.size);
    assert_int_equal(tsri_cachegen_decode(ctx, &shape, &back, x), TSR_OK);
    assert_memory_equal(x, y, n * sizeof *x);
    tsri_cachegen_free(&back, ctx);
    for (int i = 0; i < 300; i++) {
        uint8_t *byte = file + 8 + check_below(&r, (uint32_t)tsri_get64(file));
        const uint8_t old = *byte;
        *byte = (uint8_t)(i % 2 ? (uint32_t)'0' + check_below(&r, 10)
                                : check_u32(&r));
        const tsr_error error = load(quiet, file, size, &shape, &back);
        refused += error != TSR_OK;
        if (!error && shape.layers * shape.tokens * shape.channels <=
                      own.layers * own.tokens * own.channels)
            (void)!tsri_cachegen_decode(quiet, &shape, &back, x);
        if (!error)
            tsri_cachegen_free(&back, quiet);
        *byte = old;
    }
    assert_true(refused > 150);
    shape = own;
    shape.dtype = TSR_KV_E4M3;
    uint8_t *none;
    assert_int_equal(tsri_cachegen_save(quiet, &shape, &s, &none, &size),
                     TSR_E_UNSUPPORTED);
    tsri_free(ctx, file);
    tsri_cachegen_free(&s, ctx);
    tsr_context_close(&quiet);
    free(x);
    free(y);
}

/* Symbols that only the first chunk has cost over 8 bits each when there are
 * many chunks; CacheGen's memory for a string is 256 bytes. */
static void test_cachegen_room(void **state)
{
    tsri_cachegen_shape shape = { 1, 16384, 2, 0, TSR_KV_F32 };
    const size_t n = 2 * 16384;
    float *x = malloc(2 * n * sizeof *x);
    tsr_context *quiet;
    tsri_cachegen s;
    (void)state;

    assert_int_equal(tsr_context_open(&quiet, NULL), TSR_OK);
    for (size_t t = 0; t < n; t++) {
        x[2 * t] = 15;
        x[2 * t + 1] = t % 16384 < 256 ? (float)((int)(t % 31) - 15) : 0;
    }
    assert_int_equal(tsri_cachegen_encode(quiet, &shape, x, &s), TSR_E_LIMIT);
    assert_null(s.bytes);
    shape.tokens = 512;
    assert_int_equal(tsri_cachegen_encode(quiet, &shape, x, &s), TSR_OK);
    tsri_cachegen_free(&s, quiet);
    tsr_context_close(&quiet);
    free(x);
}

static int open_all(void **state)
{
    (void)state;
    ctx = check_context("c", 1);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    tsr_context_close(&ctx);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cachegen_quantiser),
        cmocka_unit_test(test_cachegen_bins),
        cmocka_unit_test(test_cachegen_stream),
        cmocka_unit_test(test_cachegen_hostile),
        cmocka_unit_test(test_cachegen_file),
        cmocka_unit_test(test_cachegen_room)
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
