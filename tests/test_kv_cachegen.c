/* SPDX-License-Identifier: BSD-2-Clause */
/* CacheGen's quantiser by hand, and its own streams. */
#include "tests/kv_tile.h"
#include "tests/npy.h"
#include "tests/poor.h"
#include <tessera/kv_cachegen.h>
#include "codecs/kv/cachegen.h"
#include "lib/bytes.h"

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

typedef struct whole {
    const tsri_cachegen_shape *shape;
    float *x;           /* [2 L][T][C] */
} whole;

static void put_rows(void *cookie, int plane, int layer, size_t first, size_t n,
                     const float *x)
{
    const whole *w = cookie;
    const size_t row = (size_t)w->shape->channels;
    const size_t tokens = (size_t)w->shape->tokens;
    const size_t i = (size_t)(plane * w->shape->layers + layer);

    memcpy(w->x + (i * tokens + first) * row, x, n * row * sizeof *x);
}

static tsr_error decode(tsr_context *c, const tsri_cachegen_shape *shape,
                        const tsri_cachegen *s, float *x)
{
    whole w = { shape, x };
    return tsri_cachegen_decode(c, shape, s, put_rows, &w);
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
    assert_int_equal(decode(ctx, &own, &s, y), TSR_OK);
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
        assert_int_equal(decode(quiet, &own, &s, x),
                         TSR_E_CORRUPT);
        *length = old;
        s.bytes[check_below(&r, (uint32_t)s.size)] ^= 1 << i % 8;
        s.cdf[check_below(&r, 24 * 6 * 33)] ^= (uint16_t)(1 << i % 16);
        (void)!decode(quiet, &own, &s, x);
    }
    s.table--;
    assert_int_equal(decode(quiet, &own, &s, x), TSR_E_MODEL);
    s.table++;
    s.chunks--;
    assert_int_equal(decode(quiet, &own, &s, x), TSR_E_ARG);
    s.chunks++;
    tsri_cachegen_free(&s, ctx);
    tsri_cachegen_shape wrong = own;
    wrong.tokens = 65536;
    assert_int_equal(tsri_cachegen_encode(quiet, &wrong, x, &s), TSR_E_ARG);
    assert_null(s.bytes);
    tsr_context_close(&quiet);
    free(x);
}

/* ---- LMCache's pickles ---- */

typedef struct bytes { uint8_t *data; size_t size, room; } bytes;

static tsr_error append(void *cookie, const void *data, size_t size)
{
    bytes *b = cookie;
    if (size > b->room - b->size)
        return TSR_E_IO;
    memcpy(b->data + b->size, data, size);
    b->size += size;
    return TSR_OK;
}

static bytes save(const tsri_cachegen_shape *shape, int heads,
                  const tsri_cachegen *s)
{
    bytes b = { malloc(1 << 20), 0, 1 << 20 };
    const tsr_sink sink = { &b, append };

    assert_non_null(b.data);
    assert_int_equal(tsri_cachegen_save(ctx, shape, heads, s, &sink), TSR_OK);
    return b;
}

static void same_streams(const tsri_cachegen_shape *shape,
                         const tsri_cachegen *a, const tsri_cachegen *b)
{
    const size_t n = 2 * (size_t)(shape->layers * shape->channels);

    assert_int_equal(a->chunks, b->chunks);
    assert_int_equal(a->table, b->table);
    assert_int_equal(a->size, b->size);
    assert_memory_equal(a->bytes, b->bytes, a->size);
    assert_memory_equal(a->chunk_size, b->chunk_size,
                        (size_t)a->chunks * sizeof *a->chunk_size);
    assert_memory_equal(a->lengths, b->lengths, 4 * n * (size_t)a->chunks);
    assert_memory_equal(a->cdf, b->cdf, 2 * n * (size_t)a->table);
    assert_memory_equal(a->scale, b->scale, 4 * (size_t)(shape->layers *
                                                         shape->tokens));
}

/* A view of [2][L][T][H][D]. */
static tsr_kv_view view_of(const tsr_cachegen_info *info, uint16_t *x,
                           void **base)
{
    const int width = info->shape.heads[0] * info->shape.dim[0];
    const int layers = info->shape.layers;

    for (int i = 0; i < 2 * layers; i++)
        base[i] = x + (size_t)(i % 2 * layers + i / 2) * info->tokens *
                          (size_t)width;
    return (tsr_kv_view){ .dtype = info->dtype, .base = base,
                          .token_stride = 2 * width,
                          .head_stride = 2 * info->shape.dim[0],
                          .tokens = info->tokens };
}

/* What PyTorch pickled (tests/cachegen_vector.py) of tensors on a GPU. */
static void test_cachegen_vector(void **state)
{
    size_t size;
    uint8_t *file = check_file("tests/vectors/cachegen/cache.pkl", &size);
    check_npy want = check_npy_read("tests/vectors/cachegen/decoded.npy");
    check_npy source = check_npy_read("tests/vectors/cachegen/source.npy");
    uint16_t *x = calloc(want.count, sizeof *x);
    tsr_cachegen_info info;
    void *base[24];
    (void)state;

    assert_true(tsr_cachegen_is(file, size));
    assert_int_equal(tsr_cachegen_probe(ctx, file, size, &info), TSR_OK);
    assert_int_equal(info.shape.layers, 12);
    assert_int_equal(info.shape.planes, 2);
    assert_int_equal(info.shape.heads[1], 2);
    assert_int_equal(info.shape.dim[1], 3);
    assert_int_equal(info.tokens, 300);
    assert_int_equal(info.dtype, TSR_KV_BF16);
    tsr_kv_view view = view_of(&info, x, base);
    assert_int_equal(tsr_cachegen_decode(ctx, file, size, 0, &view), TSR_OK);
    assert_memory_equal(x, want.data, want.count * 2);
    /* Encoded here, the arrays are the same. */
    view = view_of(&info, source.data, base);
    bytes b = { malloc(1 << 20), 0, 1 << 20 };
    const tsr_sink sink = { &b, append };
    assert_int_equal(tsr_cachegen_encode(ctx, &info.shape, &view, 0, &sink),
                     TSR_OK);
    tsri_cachegen_shape one, two;
    tsri_cachegen theirs, ours;
    int heads;
    assert_int_equal(tsri_cachegen_load(ctx, file, size, &one, &heads, &theirs),
                     TSR_OK);
    assert_int_equal(tsri_cachegen_load(ctx, b.data, b.size, &two, &heads,
                                        &ours), TSR_OK);
    assert_memory_equal(&one, &two, sizeof one);
    same_streams(&one, &theirs, &ours);
    tsri_cachegen_free(&theirs, ctx);
    tsri_cachegen_free(&ours, ctx);
    free(b.data);
    free(x);
    free(file);
    free(want.data);
    free(source.data);
}

static void test_cachegen_calls(void **state)
{
    size_t size;
    uint8_t *file = check_file("tests/vectors/cachegen/cache.pkl", &size);
    uint16_t *x = calloc(24 * 300 * 6, sizeof *x);
    tsr_context *quiet;
    tsr_cachegen_info info;
    void *base[24];
    const tsr_sink full = { &(bytes){ 0 }, append };
    (void)state;

    assert_int_equal(tsr_context_open(&quiet, NULL), TSR_OK);
    assert_int_equal(tsr_cachegen_probe(quiet, file, size, &info), TSR_OK);
    tsr_kv_view view = view_of(&info, x, base);
    assert_int_equal(tsr_cachegen_decode(quiet, file, size, 1, &view),
                     TSR_E_MODEL);
    assert_int_equal(tsr_cachegen_decode(quiet, file, size, 5, &view),
                     TSR_E_ARG);
    view.tokens = 299;
    assert_int_equal(tsr_cachegen_decode(quiet, file, size, 0, &view),
                     TSR_E_ARG);
    assert_int_equal(tsr_cachegen_encode(quiet, &info.shape, &view, 0, &full),
                     TSR_E_IO);
    x[7] = 0x7f80;
    assert_int_equal(tsr_cachegen_encode(quiet, &info.shape, &view, 0, &full),
                     TSR_E_ARG);
    view.tokens = 0;
    assert_int_equal(tsr_cachegen_encode(quiet, &info.shape, &view, 0, &full),
                     TSR_E_ARG);
    info.shape.dim[1] = 4;
    assert_int_equal(tsr_cachegen_encode(quiet, &info.shape, &view, 0, &full),
                     TSR_E_UNSUPPORTED);
    assert_false(tsr_cachegen_is((const uint8_t *)"TKV", 3));
    assert_int_equal(tsr_cachegen_probe(quiet, (const uint8_t *)"\x80\x04N.", 4,
                                        &info), TSR_E_FORMAT);
    tsr_context_close(&quiet);
    free(file);
    free(x);
}

/* Every allocation fails once. */
static void test_cachegen_nomem(void **state)
{
    size_t size;
    uint8_t *file = check_file("tests/vectors/cachegen/cache.pkl", &size);
    uint16_t *x = calloc(24 * 300 * 6, sizeof *x);
    tsr_context *poor = poor_context("c", 1);
    bytes b = { malloc(1 << 20), 0, 1 << 20 };
    const tsr_sink sink = { &b, append };
    const int before = poor_held;
    tsr_cachegen_info info;
    tsr_error error;
    void *base[24];
    (void)state;

    assert_int_equal(tsr_cachegen_probe(poor, file, size, &info), TSR_OK);
    const tsr_kv_view view = view_of(&info, x, base);
    for (int way = 0; way < 2; way++) {
        int n = 0;
        do {
            poor_left = n++;
            b.size = 0;
            error = way ? tsr_cachegen_encode(poor, &info.shape, &view, 0, &sink)
                        : tsr_cachegen_decode(poor, file, size, 0, &view);
            poor_left = POOR_MANY;
            assert_int_equal(poor_held, before);
            assert_true(!error || error == TSR_E_NOMEM);
            assert_true(!error || !b.size);
        } while (error);
        assert_true(n > 5);
    }
    tsr_context_close(&poor);
    free(b.data);
    free(file);
    free(x);
}

/* Files as written; cut, or with a byte changed. */
static void test_cachegen_file(void **state)
{
    size_t n;
    float *x = own_cache(&n), *y = malloc(n * sizeof *y);
    check_rng r = { 6 };
    tsri_cachegen_shape shape;
    tsri_cachegen s, back;
    tsr_context *quiet;
    int refused = 0, heads;
    (void)state;

    assert_int_equal(tsr_context_open(&quiet, NULL), TSR_OK);
    assert_int_equal(tsri_cachegen_encode(ctx, &own, x, &s), TSR_OK);
    assert_int_equal(decode(ctx, &own, &s, y), TSR_OK);
    bytes b = save(&own, 3, &s);
    assert_int_equal(tsri_cachegen_load(ctx, b.data, b.size, &shape, &heads,
                                        &back), TSR_OK);
    assert_memory_equal(&shape, &own, sizeof own);
    assert_int_equal(heads, 3);
    same_streams(&own, &s, &back);
    assert_int_equal(decode(ctx, &shape, &back, x), TSR_OK);
    assert_memory_equal(x, y, n * sizeof *x);
    tsri_cachegen_free(&back, ctx);
    for (size_t cut = 0; cut < b.size; cut += 1 + cut / 16)
        assert_int_not_equal(tsri_cachegen_load(quiet, b.data, cut, &shape,
                                                &heads, &back), TSR_OK);
    for (int i = 0; i < 1000; i++) {
        /* Most of what is not data stands at the beginning and the end. */
        const uint32_t end = i % 2 ? 600 : 2500;
        uint8_t *byte = i % 2 ? b.data + check_below(&r, end)
                              : b.data + b.size - 1 - check_below(&r, end);
        const uint8_t old = *byte;
        *byte ^= (uint8_t)(1 << check_below(&r, 8));
        const tsr_error error = tsri_cachegen_load(quiet, b.data, b.size,
                                                   &shape, &heads, &back);
        refused += error != TSR_OK;
        if (!error && shape.layers * shape.tokens * shape.channels <=
                      own.layers * own.tokens * own.channels)
            (void)!decode(quiet, &shape, &back, x);
        if (!error)
            tsri_cachegen_free(&back, quiet);
        *byte = old;
    }
    assert_true(refused > 200);
    shape = own;
    shape.dtype = TSR_KV_E4M3;
    const tsr_sink sink = { &b, append };
    assert_int_equal(tsri_cachegen_save(quiet, &shape, 1, &s, &sink),
                     TSR_E_UNSUPPORTED);
    free(b.data);
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
        cmocka_unit_test(test_cachegen_vector),
        cmocka_unit_test(test_cachegen_calls),
        cmocka_unit_test(test_cachegen_nomem),
        cmocka_unit_test(test_cachegen_file),
        cmocka_unit_test(test_cachegen_room)
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
