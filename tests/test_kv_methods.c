/* SPDX-License-Identifier: BSD-2-Clause */
/* The published KV methods: their quantisers by hand-made examples, what comes
 * back from their units and how near, and bytes that nobody wrote. */
#include "tests/check.h"
#include <math.h>
#include "codecs/kv/cachegen.h"
#include "codecs/kv/method_list.h"

/* ---- a tile at work ---- */

enum { MOST_UNIT = 1 << 20 };

/* Memory of exactly the sizes asked for, so that a checker sees the ends. */
typedef struct job {
    const tsri_kv_method *m;
    tsri_kv_tile tile;
    uint8_t params[40];
    void *scratch;
    uint8_t *unit;
    size_t size;
} job;

static tsr_context *ctx;

static bool set_params(job *j, const char *text)
{
    const tsr_kv_settings set = { .method = text };

    j->m = tsri_kv_method_name(text);
    assert_non_null(j->m);
    j->tile.params = j->params;
    return j->m->settings(ctx, &set, j->params) == TSR_OK;
}

static void start(job *j, const char *text, const tsri_kv_tile *tile)
{
    *j = (job){ .tile = *tile };
    assert_true(set_params(j, text));
    const size_t n = j->m->scratch(&j->tile);
    j->scratch = aligned_alloc(64, (n + 63) / 64 * 64);
    j->unit = malloc(j->m->bound(&j->tile));
    assert_true(j->scratch && j->unit);
}

static void stop(job *j)
{
    free(j->scratch);
    free(j->unit);
}

static size_t value_bytes(const job *j)
{
    return j->m->raw ? tsri_kv_dtype_bytes(j->tile.dtype) : sizeof(float);
}

static void encode(job *j, unsigned cpu, const void *x)
{
    const size_t bytes = tsri_kv_values(&j->tile) * value_bytes(j);
    void *copy = malloc(bytes);

    memcpy(copy, x, bytes);
    j->size = j->m->encode(&j->tile, cpu, copy, j->unit, j->scratch);
    assert_in_range(j->size, 1, j->m->bound(&j->tile));
    free(copy);
}

/* The unit in a block of its own size. */
static tsr_error decode(const job *j, unsigned cpu, size_t size, void *x)
{
    uint8_t *exact = malloc(size ? size : 1);

    memcpy(exact, j->unit, size);
    const tsr_error error = j->m->decode(&j->tile, cpu, exact, size, x,
                                         j->scratch);
    free(exact);
    return error;
}

/* Like a cache: a mean and a spread for each channel. */
static float *draw(check_rng *r, const tsri_kv_tile *tile)
{
    const size_t n = tsri_kv_values(tile), c = tsri_kv_channels(tile);
    float *x = malloc(n * sizeof *x), *mean = malloc(2 * c * sizeof *mean);

    assert_true(x && mean);
    for (size_t i = 0; i < c; i++) {
        mean[i] = 2 * check_float(r) * check_float(r);
        mean[c + i] = expf(2 * check_float(r));
    }
    for (size_t i = 0; i < n; i++) {
        const float v = mean[i % c] + mean[c + i % c] *
                        (check_float(r) + check_float(r) + check_float(r));
        x[i] = tsri_kv_half(v, (uint8_t[2]){ 0 });
    }
    free(mean);
    return x;
}

/* The largest error over the largest value. */
static double worst(const float *x, const float *y, size_t n)
{
    double error = 0, most = 1e-30;

    for (size_t i = 0; i < n; i++) {
        error = fmax(error, fabs((double)x[i] - (double)y[i]));
        most = fmax(most, fabs((double)x[i]));
    }
    return error / most;
}

static tsri_kv_tile tile_of(int heads, int dim, int tokens)
{
    return (tsri_kv_tile){ .layers = 12, .layer = 3, .heads = heads,
                           .dim = dim, .tokens = tokens,
                           .total = (uint64_t)tokens, .dtype = TSR_KV_F16 };
}

/* Of all methods that take floats: how, and how near they come by their
 * definition: half a step of the coarsest, and what rounding adds. */
static const struct lossy { const char *text; double error; } lossy[] = {
    { "fp8", 1. / 16 }, { "fp8:exponent=5,plain=1", 1. / 8 },
    { "cachegen", 1.001 / 14 }, { "cachegen:level=1", 1.001 / 10 },
    { "cachegen:bins=256,plain=1", 1.001 / 254 }
};
enum { LOSSY = sizeof lossy / sizeof *lossy };

static const struct shape { int heads, dim, tokens; } shapes[] = {
    { 2, 64, 200 }, { 1, 64, 1 }, { 3, 16, 37 }, { 1, 128, 288 }, { 2, 8, 513 }
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static void test_near(void **state)
{
    check_rng r = { 1 };
    (void)state;

    for (int i = 0; i < LOSSY * SHAPES * 2; i++) {
        const struct shape *s = &shapes[i / 2 % SHAPES];
        tsri_kv_tile tile = tile_of(s->heads, s->dim, s->tokens);
        job j;
        tile.plane = i % 2;
        start(&j, lossy[i / 2 / SHAPES].text, &tile);
        const size_t n = tsri_kv_values(&tile);
        float *x = draw(&r, &tile), *y = malloc(n * sizeof *y);
        encode(&j, ctx->cpu, x);
        assert_int_equal(decode(&j, ctx->cpu, j.size, y), TSR_OK);
        const double error = worst(x, y, n);
        if (error > lossy[i / 2 / SHAPES].error)
            fail_msg("%s: %d x %d, %d tokens: %g", lossy[i / 2 / SHAPES].text,
                     s->heads, s->dim, s->tokens, error);
        free(x);
        free(y);
        stop(&j);
    }
}

/* The same bytes and values without vector instructions. */
static void test_plain(void **state)
{
    check_rng r = { 2 };
    const tsri_kv_tile tile = tile_of(2, 64, 160);
    const size_t n = tsri_kv_values(&tile);
    float *x = draw(&r, &tile), *y = malloc(n * sizeof *y);
    float *z = malloc(n * sizeof *z);
    (void)state;

    for (int i = 0; i < LOSSY; i++) {
        job a, b;
        start(&a, lossy[i].text, &tile);
        start(&b, lossy[i].text, &tile);
        encode(&a, ctx->cpu, x);
        encode(&b, 0, x);
        assert_int_equal(a.size, b.size);
        assert_memory_equal(a.unit, b.unit, a.size);
        assert_int_equal(decode(&a, ctx->cpu, a.size, y), TSR_OK);
        assert_int_equal(decode(&a, 0, a.size, z), TSR_OK);
        assert_memory_equal(y, z, n * sizeof *y);
        stop(&a);
        stop(&b);
    }
    free(x);
    free(y);
    free(z);
}

static void test_zeros(void **state)
{
    const tsri_kv_tile tile = tile_of(2, 32, 130);
    const size_t n = tsri_kv_values(&tile);
    float *x = calloc(n, sizeof *x), *y = malloc(n * sizeof *y);
    (void)state;

    for (int i = 0; i < LOSSY; i++) {
        job j;
        start(&j, lossy[i].text, &tile);
        encode(&j, ctx->cpu, x);
        memset(y, 0xff, n * sizeof *y);
        assert_int_equal(decode(&j, ctx->cpu, j.size, y), TSR_OK);
        for (size_t k = 0; k < n; k++)
            assert_true(y[k] == 0);
        stop(&j);
    }
    free(x);
    free(y);
}

/* Every changed byte is refused or gives other values, nothing worse. */
static void mutate(job *j, check_rng *r, void *y)
{
    const size_t size = j->size;
    uint8_t *good = malloc(size);

    memcpy(good, j->unit, size);
    for (int i = 0; i < 60; i++) {
        const uint32_t changes = 1 + check_below(r, 4);
        for (uint32_t k = 0; k < changes; k++) {
            const uint32_t span = check_below(r, 3) ? (uint32_t)size : 64;
            const size_t at = check_below(r, span);
            if (at < size)
                j->unit[at] = check_below(r, 2) ? (uint8_t)check_u32(r)
                                                : (uint8_t)(j->unit[at] ^ 1u <<
                                                            check_below(r, 8));
        }
        (void)!decode(j, ctx->cpu, size, y);
        memcpy(j->unit, good, size);
        assert_int_not_equal(decode(j, ctx->cpu,
                                    check_below(r, (uint32_t)size), y), TSR_OK);
    }
    free(good);
}

static void test_hostile(void **state)
{
    check_rng r = { 3 };
    (void)state;

    for (int i = 0; i < LOSSY * SHAPES; i++) {
        const struct shape *s = &shapes[i % SHAPES];
        tsri_kv_tile tile = tile_of(s->heads, s->dim, s->tokens);
        tile.plane = i & 1;
        job j;
        start(&j, lossy[i / SHAPES].text, &tile);
        float *x = draw(&r, &tile);
        encode(&j, ctx->cpu, x);
        mutate(&j, &r, x);
        free(x);
        stop(&j);
    }
}

/* ---- names and options ---- */

static void test_registry(void **state)
{
    (void)state;

    for (int i = 0; tsri_kv_method_index(i); i++) {
        const tsri_kv_method *m = tsri_kv_method_index(i);
        const tsr_kv_shape shape = { 12, 2, { 2, 2 }, { 64, 64 } };
        uint8_t params[40];
        char text[40];
        assert_ptr_equal(tsri_kv_method_number(m->number), m);
        assert_ptr_equal(tsri_kv_method_name(m->name), m);
        assert_in_range(m->number, 1, 255);
        assert_in_range(strlen(m->name), 1, 15);
        assert_true(m->tile >= 32 && m->tile <= 4096 && m->tile % 32 == 0);
        snprintf(text, sizeof text, "%s:", m->name);
        assert_ptr_equal(tsri_kv_method_name(text), m);
        text[strlen(m->name)] = 0;
        const tsr_kv_settings set = { .method = text };
        assert_int_equal(m->settings(ctx, &set, params), TSR_OK);
        assert_int_equal(m->check(params, &shape), TSR_OK);
        for (int k = 0; k < 40; k += 2) {
            params[k] ^= 0xff;
            params[k + 1] ^= 0xff;
            assert_int_equal(m->check(params, &shape), TSR_E_CORRUPT);
            params[k] ^= 0xff;
            params[k + 1] ^= 0xff;
        }
    }
    assert_null(tsri_kv_method_index(-1));
    assert_null(tsri_kv_method_name("rows"));
    assert_null(tsri_kv_method_name("fp"));
    assert_null(tsri_kv_method_name(""));
    assert_null(tsri_kv_method_number(0));
}

static void test_options(void **state)
{
    static const char *const bad[] = {
        "fp8:", "fp8:exponent", "fp8:exponent=", "fp8:exponent=3",
        "fp8:exponent=4,", "fp8:exponent=4x", "fp8:exponents=4", "fp8:=4",
        "fp8:exponent=nan", "cachegen:bins=2", "cachegen:bins=9",
        "cachegen:level=5", "cachegen:bins=1000000000000000", "lossless:a=1"
    };
    tsr_context *quiet;
    job j;
    (void)state;

    assert_int_equal(tsr_context_open(&quiet, NULL), TSR_OK);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const tsr_kv_settings set = { .method = bad[i] };
        const tsri_kv_method *m = tsri_kv_method_name(bad[i]);
        assert_int_equal(m->settings(quiet, &set, j.params), TSR_E_ARG);
    }
    tsr_context_close(&quiet);
    assert_true(set_params(&j, "cachegen:bins=12,level=3"));
    assert_int_equal(tsri_kv_option_at(j.params, 0), 3);
    assert_int_equal(tsri_kv_option_at(j.params, 1), 12);
}

/* ---- CacheGen ---- */

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
    const tsri_kv_tile tile = tile_of(1, own.channels,
                                      2 * own.layers * own.tokens);
    check_rng r = { 4 };
    float *x = draw(&r, &tile);
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

/* ---- what keeps all bits ---- */

static void test_fp8(void **state)
{
    check_rng r = { 6 };
    const tsri_kv_tile tile = tile_of(2, 16, 70);
    const size_t n = tsri_kv_values(&tile);
    float *x = draw(&r, &tile), *y = malloc(n * sizeof *y);
    uint8_t *f8 = malloc(n);
    (void)state;

    for (int i = 0; i < 4; i++) {
        job j;
        start(&j, i == 0 ? "fp8" : i == 1 ? "fp8:plain=1"
                : i == 2 ? "fp8:exponent=5" : "fp8:exponent=5,plain=1", &tile);
        const tsr_kv_dtype type = i < 2 ? TSR_KV_E4M3 : TSR_KV_E5M2;
        float want;
        encode(&j, ctx->cpu, x);
        assert_int_equal(decode(&j, ctx->cpu, j.size, y), TSR_OK);
        tsri_kv_to_dtype(type, 0, x, n, f8);
        for (size_t k = 0; k < n; k++) {
            tsri_kv_from_dtype(type, 0, f8 + k, 1, &want);
            assert_true(y[k] == want);
        }
        if (i & 1)
            assert_int_equal(j.size, n + 1);
        stop(&j);
    }
    free(x);
    free(y);
    free(f8);
}

/* Cache-like values, zeros, the least and the largest, and any bits at all. */
static void lossless(check_rng *r, tsr_kv_dtype dtype, const struct shape *s,
                     int kind)
{
    tsri_kv_tile tile = tile_of(s->heads, s->dim, s->tokens);
    tile.dtype = dtype;
    const size_t n = tsri_kv_values(&tile);
    const size_t bytes = n * tsri_kv_dtype_bytes(dtype);
    float *x = draw(r, &tile);
    uint8_t *in = malloc(bytes), *back = malloc(bytes);
    job j;

    for (size_t i = 0; kind == 1 && i < n; i++)
        x[i] = check_below(r, 3) ? 0 : -x[i];
    for (size_t i = 0; kind == 2 && i < n; i++)
        x[i] = ldexpf(check_float(r), (int)check_below(r, 60) - 40);
    tsri_kv_to_dtype(dtype, 0, x, n, in);
    for (size_t i = 0; kind == 3 && i < bytes; i++)
        in[i] = (uint8_t)check_u32(r);
    start(&j, "lossless", &tile);
    encode(&j, ctx->cpu, in);
    assert_int_equal(decode(&j, ctx->cpu, j.size, back), TSR_OK);
    assert_memory_equal(in, back, bytes);
    assert_in_range(j.size, 1, bytes + 1);
    if (kind == 0 && n > 20000)
        assert_in_range(j.size, 1, bytes - bytes / 24);
    mutate(&j, r, back);
    stop(&j);
    free(x);
    free(in);
    free(back);
}

static void test_lossless(void **state)
{
    check_rng r = { 7 };
    (void)state;

    for (int dtype = TSR_KV_F16; dtype <= TSR_KV_E5M2; dtype++)
        for (int i = 0; i < SHAPES; i++)
            for (int kind = 0; kind < 4; kind++)
                lossless(&r, (tsr_kv_dtype)dtype, &shapes[i], kind);
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
        cmocka_unit_test(test_registry),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_near),
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_zeros),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_cachegen_quantiser),
        cmocka_unit_test(test_cachegen_bins),
        cmocka_unit_test(test_cachegen_stream),
        cmocka_unit_test(test_cachegen_hostile),
        cmocka_unit_test(test_cachegen_room),
        cmocka_unit_test(test_fp8),
        cmocka_unit_test(test_lossless)
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
