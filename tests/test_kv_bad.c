/* SPDX-License-Identifier: BSD-2-Clause */
/* KV objects and caches that are not: nothing crashes, nothing is written
 * outside, everything is said. */
#include "tests/kv_attack.h"
#include "tests/poor.h"

static const tsr_kv_shape shape = { 1, 2, { 1, 1 }, { 8, 6 } };

static tsr_kv_settings settings_for(double step)
{
    tsr_kv_settings s;

    tsr_kv_settings_init(&s);
    s.shape = shape;
    s.rope = (tsr_kv_rope){ .layout = 1, .dims = 8, .theta = 1e4 };
    s.step = step;
    s.value_ratio = 1;
    s.tile = 32;
    s.sinks = 1;
    return s;
}

/* A small object with everything that rows without a profile have. */
typedef struct fixture {
    tsr_context *ctx;
    kv_cache cache;
    kv_coder k;
    int32_t ids[40];
} fixture;

static void setup(fixture *f, int levels)
{
    tsr_kv_settings s = settings_for(0.5);

    s.levels = levels;
    s.recent = 2;
    s.recent_boost = levels > 1;
    f->ctx = kv_quiet_context(1);
    kv_cache_open(&f->cache, &shape, TSR_KV_F16, KV_NHD, 40);
    kv_fill(&f->cache, 3);
    kv_coder_open(&f->k, f->ctx, &s, 40);
    for (int i = 0; i < 40; i++)
        f->ids[i] = i;
    if (levels > 1)
        f->k.call.token_ids = f->ids;
    assert_int_equal(kv_encode(&f->k, &f->cache), TSR_OK);
}

static void teardown(fixture *f)
{
    kv_coder_close(&f->k);
    kv_cache_close(&f->cache);
    tsr_context_close(&f->ctx);
}

static void test_cuts(void **state)
{
    fixture f;

    (void)state;
    setup(&f, 2);
    kv_attack_cuts(&f.k, f.ctx, &f.cache);
    teardown(&f);
}

static void test_bits(void **state)
{
    fixture f;

    (void)state;
    setup(&f, 2);
    kv_attack_bits(&f.k, f.ctx, &f.cache);
    teardown(&f);
}

static void test_inside(void **state)
{
    fixture f;

    (void)state;
    for (int levels = 1; levels <= 3; levels += 2) {
        setup(&f, levels);
        kv_attack_inside(&f.k, f.ctx, &f.cache);
        teardown(&f);
    }
}

static void test_fields(void **state)
{
    fixture f;

    (void)state;
    setup(&f, 2);
    kv_attack_fields(&f.k, f.ctx, &f.cache);
    teardown(&f);
}

/* What each kind of fault is called. */
static void test_names(void **state)
{
    fixture f;
    uint8_t *p;
    tsr_kv_info info;

    (void)state;
    setup(&f, 1);
    p = f.k.object;
    const kv_parts parts = kv_parts_of(p);
    assert_int_equal(tsr_kv_probe(f.ctx, p, 3, &info), TSR_E_FORMAT);
    assert_int_equal(tsr_kv_probe(f.ctx, p, 159, &info), TSR_E_TRUNCATED);
    assert_int_equal(tsr_kv_probe(f.ctx, p, parts.front - 1, &info),
                     TSR_E_TRUNCATED);
    assert_int_equal(tsr_kv_probe(f.ctx, p, parts.front, &info), TSR_OK);
    p[4] = 2;
    assert_int_equal(tsr_kv_probe(f.ctx, p, f.k.size, &info), TSR_E_VERSION);
    p[4] = 1;
    p[0]++;
    assert_int_equal(tsr_kv_probe(f.ctx, p, f.k.size, &info), TSR_E_FORMAT);
    p[0]--;
    p[24] ^= 1;
    assert_int_equal(tsr_kv_probe(f.ctx, p, f.k.size, &info), TSR_E_CHECKSUM);
    p[24] ^= 1;
    p[5] = 200;
    memset(p + 32, 0, 8);
    p[41] = 0;
    kv_fix_front(p, &parts);
    assert_int_equal(tsr_kv_probe(f.ctx, p, f.k.size, &info),
                     TSR_E_UNSUPPORTED);
    assert_int_equal(kv_encode(&f.k, &f.cache), TSR_OK);
    p[f.k.size - 1] ^= 1;
    assert_int_equal(kv_decode(&f.k, NULL, &f.cache), TSR_E_CHECKSUM);
    kv_fix(p, &parts);
    assert_int_equal(kv_decode(&f.k, NULL, &f.cache), TSR_E_CORRUPT);
    p[f.k.size - 1] ^= 1;
    kv_fix(p, &parts);
    assert_int_equal(kv_decode(&f.k, NULL, &f.cache), TSR_OK);
    teardown(&f);
}

/* ---- caches ---- */

static void refuse_value(tsr_kv_dtype dtype, uint32_t bits, size_t token)
{
    tsr_context *ctx = kv_quiet_context(2);
    tsr_kv_settings s = settings_for(0);
    kv_cache c;
    kv_coder k;

    kv_cache_open(&c, &shape, dtype, KV_HTD, 50);
    kv_fill(&c, 4);
    kv_coder_open(&k, ctx, &s, 50);
    s.step = 0;
    memcpy(kv_at(&c, 0, 1, token, 0, 5), &bits, tsri_kv_dtype_bytes(dtype));
    assert_int_equal(kv_encode(&k, &c), TSR_E_ARG);
    assert_int_equal(k.size, 0);
    kv_coder_close(&k);
    kv_cache_close(&c);
    tsr_context_close(&ctx);
}

static void test_not_finite(void **state)
{
    static const size_t tokens[] = { 0, 1, 31, 32, 49 };

    (void)state;
    for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++) {
        refuse_value(TSR_KV_F16, 0x7e00, tokens[i]);
        refuse_value(TSR_KV_F16, 0xfc00, tokens[i]);
        refuse_value(TSR_KV_BF16, 0x7f80, tokens[i]);
        refuse_value(TSR_KV_F32, 0xffc00000, tokens[i]);
        refuse_value(TSR_KV_E4M3, 0x7f, tokens[i]);
        refuse_value(TSR_KV_E5M2, 0x7c, tokens[i]);
    }
}

static void test_too_far(void **state)
{
    tsr_context *ctx = kv_quiet_context(1);
    const tsr_kv_settings s = settings_for(1e-3);
    kv_cache c;
    kv_coder k;

    (void)state;
    kv_cache_open(&c, &shape, TSR_KV_F32, KV_HTD, 50);
    kv_fill(&c, 4);
    kv_coder_open(&k, ctx, &s, 50);
    kv_put(&c, 0, 0, 20, 0, 3, 40);
    assert_int_equal(kv_encode(&k, &c), TSR_E_ARG);
    kv_put(&c, 0, 0, 20, 0, 3, 30);
    assert_int_equal(kv_encode(&k, &c), TSR_OK);
    assert_int_equal(kv_decode(&k, NULL, &c), TSR_OK);
    kv_coder_close(&k);
    kv_cache_close(&c);
    tsr_context_close(&ctx);
}

/* All zero, and all the same. */
static void test_constant(void **state)
{
    tsr_context *ctx = kv_quiet_context(1);
    const tsr_kv_settings s = settings_for(0);
    kv_cache c, out;
    kv_coder k;

    (void)state;
    for (int v = 0; v < 2; v++) {
        kv_cache_open(&c, &shape, TSR_KV_F16, KV_HTD, 50);
        kv_cache_open(&out, &shape, TSR_KV_F16, KV_HTD, 50);
        KV_EACH(&c, l, p, t, h, d)
            kv_put(&c, l, p, t, h, d, (float)(v * p));
        kv_coder_open(&k, ctx, &s, 50);
        assert_int_equal(kv_encode(&k, &c), TSR_OK);
        assert_int_equal(kv_decode(&k, NULL, &out), TSR_OK);
        KV_EACH(&c, l, p, t, h, d)
            assert_true(fabsf(kv_get(&out, l, p, t, h, d) - (float)(v * p)) <
                        0.2f);
        kv_coder_close(&k);
        kv_cache_close(&c);
        kv_cache_close(&out);
    }
    tsr_context_close(&ctx);
}

/* ---- calls ---- */

static void test_room(void **state)
{
    fixture f;
    size_t size;

    (void)state;
    setup(&f, 2);
    size = f.k.size;
    for (size_t room = 0; room < size; room += 7) {
        uint8_t *out = malloc(room ? room : 1);
        size_t got = 1;
        assert_int_equal(tsr_kv_encode(f.k.kv, &f.cache.view, &f.k.call, out,
                                       room, &got), TSR_E_LIMIT);
        assert_int_equal(got, 0);
        free(out);
    }
    f.k.room = size;
    assert_int_equal(kv_encode(&f.k, &f.cache), TSR_OK);
    teardown(&f);
}

static void test_calls(void **state)
{
    fixture f;
    tsr_kv_call good;
    tsr_kv_view small;

    (void)state;
    setup(&f, 2);
    good = f.k.call;
    f.k.call.scratch_size = 100;
    assert_int_equal(kv_decode(&f.k, NULL, &f.cache), TSR_E_ARG);
    assert_int_equal(kv_encode(&f.k, &f.cache), TSR_E_ARG);
    f.k.call = good;
    assert_int_equal(kv_encode(&f.k, &f.cache), TSR_OK);
    f.k.call = good;
    f.k.call.scratch = (uint8_t *)good.scratch + 8;
    f.k.call.scratch_size -= 8;
    assert_int_equal(kv_decode(&f.k, NULL, &f.cache), TSR_E_ARG);
    f.k.call = good;
    f.k.call.pos0 = ((uint64_t)1 << 31) + 1;
    assert_int_equal(kv_encode(&f.k, &f.cache), TSR_E_ARG);
    f.k.call = good;
    f.ids[7] = -1;
    assert_int_equal(kv_encode(&f.k, &f.cache), TSR_E_ARG);
    f.ids[7] = INT32_MAX;
    assert_int_equal(kv_encode(&f.k, &f.cache), TSR_OK);
    assert_int_equal(kv_decode(&f.k, NULL, &f.cache), TSR_OK);
    small = f.cache.view;
    small.tokens--;
    assert_int_equal(tsr_kv_decode(f.k.kv, f.k.object, f.k.size, NULL, &small,
                                   &f.k.call), TSR_E_ARG);
    teardown(&f);
}

static void test_settings(void **state)
{
    tsr_context *ctx = kv_quiet_context(1);
    const tsr_kv_settings good = settings_for(0.5);
    tsr_kv *kv;

    (void)state;
#define REFUSE(field, value, error)                             \
    do {                                                        \
        tsr_kv_settings s = good;                               \
        s.field = value;                                        \
        assert_int_equal(tsr_kv_open(&kv, ctx, &s), error);     \
        assert_null(kv);                                        \
    } while (0)
    REFUSE(shape.layers, 0, TSR_E_ARG);
    REFUSE(shape.layers, 1025, TSR_E_ARG);
    REFUSE(shape.planes, 3, TSR_E_ARG);
    REFUSE(shape.heads[1], 0, TSR_E_ARG);
    REFUSE(shape.dim[0], 2049, TSR_E_ARG);
    REFUSE(rope.layout, 3, TSR_E_ARG);
    REFUSE(rope.dims, 10, TSR_E_ARG);
    REFUSE(rope.theta, NAN, TSR_E_ARG);
    REFUSE(step, -1, TSR_E_ARG);
    REFUSE(step, NAN, TSR_E_ARG);
    REFUSE(value_ratio, 1e30, TSR_E_ARG);
    REFUSE(levels, 4, TSR_E_ARG);
    REFUSE(levels, 0, TSR_E_ARG);
    REFUSE(sinks, 65, TSR_E_ARG);
    REFUSE(recent_boost, 8, TSR_E_ARG);
    REFUSE(recent, -1, TSR_E_ARG);
    REFUSE(tile, 33, TSR_E_ARG);
    REFUSE(tile, 8192, TSR_E_ARG);
    REFUSE(method, "no such", TSR_E_UNSUPPORTED);
    REFUSE(size, 8, TSR_E_ARG);
    assert_int_equal(tsr_kv_open(&kv, ctx, NULL), TSR_E_ARG);
    tsr_context_close(&ctx);
}

/* A coder of another shape, rotation or method. */
static void test_other_coder(void **state)
{
    fixture f;

    (void)state;
    setup(&f, 1);
#define OTHER(field, value)                                                   \
    do {                                                                      \
        tsr_kv_settings s = settings_for(0.5);                                \
        kv_coder k;                                                           \
        s.field = value;                                                      \
        kv_coder_open(&k, f.ctx, &s, 40);                                     \
        assert_int_equal(tsr_kv_decode(k.kv, f.k.object, f.k.size, NULL,      \
                                       &f.cache.view, &k.call), TSR_E_MODEL); \
        kv_coder_close(&k);                                                   \
    } while (0)
    OTHER(shape.layers, 2);
    OTHER(shape.dim[1], 8);
    OTHER(shape.heads[0], 2);
    OTHER(rope.theta, 1e5);
    OTHER(rope.layout, 0);
    OTHER(method, "fp8");
    teardown(&f);
}

/* ---- memory ---- */

/* Opening fails cleanly at every allocation; false where the method does not
 * take this shape. */
static bool open_poor(tsr_context *ctx, const tsr_kv_settings *s, kv_coder *k)
{
    const int held = poor_held;
    tsr_error error = tsr_kv_open(&k->kv, ctx, s);

    if (error)
        return false;
    tsr_kv_close(&k->kv);
    *k = (kv_coder){ 0 };
    error = TSR_E_NOMEM;
    for (int left = 0; error; left++) {
        poor_left = left;
        error = tsr_kv_open(&k->kv, ctx, s);
        poor_left = POOR_MANY;
        if (error) {
            assert_int_equal(error, TSR_E_NOMEM);
            assert_null(k->kv);
            assert_int_equal(poor_held, held);
        }
    }
    kv_coder_room(k, 70);
    return true;
}

/* Coders that are open take no memory. */
static void test_memory(void **state)
{
    tsr_context *ctx = poor_context("c", 2);
    tsr_kv_settings s = settings_for(0);
    const int held = poor_held;
    uint8_t boost[70] = { 0, 3 };
    kv_cache c;
    kv_coder k;
    size_t size;
    int tried = 0;

    (void)state;
    kv_cache_open(&c, &shape, TSR_KV_BF16, KV_HND, 70);
    kv_fill(&c, 4);
    for (int i = 0; tsr_kv_method_at(i); i++) {
        s.method = tsr_kv_method_at(i);
        s.levels = i ? 1 : 3;
        if (!open_poor(ctx, &s, &k))
            continue;
        tried++;
        k.call.boost = boost;
        poor_left = 0;
        assert_int_equal(kv_encode(&k, &c), TSR_OK);
        assert_int_equal(kv_decode(&k, NULL, &c), TSR_OK);
        assert_int_equal(tsr_kv_reduce(ctx, k.object, k.size, 1, k.object,
                                       k.size, &size), TSR_E_NOMEM);
        poor_left = POOR_MANY;
        kv_coder_close(&k);
        assert_int_equal(poor_held, held);
    }
    assert_true(tried > 2);
    kv_cache_close(&c);
    tsr_context_close(&ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cuts), cmocka_unit_test(test_bits),
        cmocka_unit_test(test_inside), cmocka_unit_test(test_fields),
        cmocka_unit_test(test_names), cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_too_far), cmocka_unit_test(test_constant),
        cmocka_unit_test(test_room), cmocka_unit_test(test_calls),
        cmocka_unit_test(test_settings), cmocka_unit_test(test_other_coder),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
