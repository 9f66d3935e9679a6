/* SPDX-License-Identifier: BSD-2-Clause */
/* KV objects without a profile: round trips, parts, levels, threads. */
#include "tests/kv_case.h"

static const tsr_kv_shape shape_small = { 2, 2, { 2, 3 }, { 32, 16 } };
static const tsr_kv_shape shape_odd = { 3, 2, { 3, 1 }, { 20, 35 } };
static const tsr_kv_shape shape_latent = { 2, 1, { 1 }, { 576 } };
static const tsr_kv_rope rope_half = { .layout = 1, .dims = 16, .theta = 1e4 };

static tsr_kv_settings settings_for(const tsr_kv_shape *shape, double step)
{
    tsr_kv_settings s;

    tsr_kv_settings_init(&s);
    s.shape = *shape;
    s.rope = rope_half;
    s.step = step;
    s.value_ratio = step != 0 ? 0.5 : 0;
    return s;
}

/* Largest error of plane p. */
static double worst(const kv_cache *a, const kv_cache *b, int plane,
                    size_t first)
{
    double most = 0;

    KV_EACH(a, l, p, t, h, d)
        if (p == plane && t >= first)
            most = fmax(most, fabs(kv_get(a, l, p, t, h, d) -
                                   kv_get(b, l, p, t, h, d)));
    return most;
}

static void round_trip(const tsr_kv_shape *shape, tsr_kv_dtype dtype,
                       kv_layout layout, size_t tokens, double step)
{
    tsr_context *ctx = check_context("c", 2);
    const tsr_kv_settings s = settings_for(shape, step);
    /* Half a step, twice where a rotation mixes two; and the number format. */
    const double ulp = dtype == TSR_KV_F32 ? 1e-5 : dtype == TSR_KV_F16 ? 0.01
        : 0.08;
    kv_cache in, out;
    kv_coder k;
    uint8_t *first;
    size_t size;

    kv_cache_open(&in, shape, dtype, layout, tokens);
    kv_cache_open(&out, shape, dtype, layout, tokens);
    kv_fill(&in, tokens + 7);
    kv_coder_open(&k, ctx, &s, tokens);
    k.call.pos0 = 3;
    assert_int_equal(kv_encode(&k, &in), TSR_OK);
    assert_true(k.size <= k.room);
    assert_int_equal(kv_decode(&k, NULL, &out), TSR_OK);
    kv_check_guards(&in);
    kv_check_guards(&out);
    assert_true(worst(&in, &out, 0, 1) <= step * 0.7072 + ulp);
    if (shape->planes > 1)
        assert_true(worst(&in, &out, 1, 1) <= step * 0.25 + ulp);
    /* Once more: the same bytes. */
    size = k.size;
    first = malloc(size);
    memcpy(first, k.object, size);
    assert_int_equal(kv_encode(&k, &out), TSR_OK);
    assert_int_equal(k.size, size);
    assert_memory_equal(k.object, first, size);
    free(first);
    kv_coder_close(&k);
    kv_cache_close(&in);
    kv_cache_close(&out);
    tsr_context_close(&ctx);
}

static void test_round_trip(void **state)
{
    static const size_t tokens[] = { 0, 1, 2, 3, 31, 33, 257, 600 };

    (void)state;
    for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++) {
        round_trip(&shape_small, TSR_KV_F16, KV_THD, tokens[i], 0.25);
        round_trip(&shape_odd, TSR_KV_F32, KV_HTD, tokens[i], 0.25);
        round_trip(&shape_small, TSR_KV_BF16, KV_NHD, tokens[i], 0.5);
        round_trip(&shape_latent, TSR_KV_F16, KV_HND, tokens[i], 0.25);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
