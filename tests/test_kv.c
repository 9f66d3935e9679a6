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


/* ---- parts ---- */

/* Elements of the part are those of `all`, others are untouched. */
static void check_part(const kv_cache *all, const kv_cache *some,
                       const tsr_kv_part *part)
{
    const size_t e = tsri_kv_dtype_bytes(all->view.dtype);
    uint8_t guard[4];

    memset(guard, KV_GUARD_BYTE, sizeof guard);
    KV_EACH(all, l, p, t, h, d) {
        const bool in = l >= part->first_layer &&
            l < part->first_layer + part->layers && t >= part->first_token &&
            t < part->first_token + part->tokens &&
            some->view.base[l * all->shape.planes + p];
        if (some->view.base[l * all->shape.planes + p])
            assert_memory_equal(kv_at(some, l, p, t, h, d),
                                in ? kv_at(all, l, p, t, h, d) : guard, e);
    }
}

static void one_part(kv_coder *k, const kv_cache *all, kv_layout layout,
                     const tsr_kv_part *part, int left_out)
{
    kv_cache some;

    kv_cache_open(&some, &all->shape, all->view.dtype, layout, all->view.tokens);
    if (left_out >= 0)
        some.base[left_out] = NULL;
    assert_int_equal(kv_decode(k, part, &some), TSR_OK);
    check_part(all, &some, part);
    kv_check_guards(&some);
    kv_cache_close(&some);
}

static void test_parts(void **state)
{
    static const tsr_kv_part parts[] = {
        { 0, 3, 0, 300, 0 }, { 1, 1, 0, 300, 0 }, { 2, 1, 5, 290, 0 },
        { 0, 2, 64, 32, 0 }, { 0, 3, 2, 3, 0 }, { 1, 2, 299, 1, 0 },
        { 0, 1, 0, 1, 0 }, { 2, 1, 31, 2, 0 }
    };
    tsr_context *ctx = check_context("c", 3);
    tsr_kv_settings s = settings_for(&shape_odd, 0.25);
    kv_cache in, all;
    kv_coder k;

    (void)state;
    s.tile = 32;
    s.sinks = 40; /* over the end of a tile */
    kv_cache_open(&in, &shape_odd, TSR_KV_F16, KV_THD, 300);
    kv_cache_open(&all, &shape_odd, TSR_KV_F16, KV_HTD, 300);
    kv_fill(&in, 5);
    kv_coder_open(&k, ctx, &s, 300);
    assert_int_equal(kv_encode(&k, &in), TSR_OK);
    assert_int_equal(kv_decode(&k, NULL, &all), TSR_OK);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        one_part(&k, &all, KV_NHD, &parts[i], -1);
        one_part(&k, &all, KV_HND, &parts[i], (int)i % 6);
    }
    kv_coder_close(&k);
    kv_cache_close(&in);
    kv_cache_close(&all);
    tsr_context_close(&ctx);
}

static void test_refused_parts(void **state)
{
    static const tsr_kv_part parts[] = {
        { -1, 0, 0, 0, 0 }, { 0, 3, 0, 0, 0 }, { 2, 1, 0, 0, 0 },
        { 0, -1, 0, 0, 0 }, { 0, 0, 41, 0, 0 }, { 0, 0, 1, 40, 0 },
        { 0, 0, SIZE_MAX, 0, 0 }, { 0, 0, 1, SIZE_MAX, 0 }, { 0, 0, 0, 0, 2 },
        { 0, 0, 0, 0, -1 }
    };
    tsr_context *ctx = kv_quiet_context(1);
    const tsr_kv_settings s = settings_for(&shape_small, 0.25);
    kv_cache c;
    kv_coder k;

    (void)state;
    kv_cache_open(&c, &shape_small, TSR_KV_F16, KV_THD, 40);
    kv_fill(&c, 5);
    kv_coder_open(&k, ctx, &s, 40);
    assert_int_equal(kv_encode(&k, &c), TSR_OK);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        assert_int_equal(kv_decode(&k, &parts[i], &c), TSR_E_ARG);
    assert_int_equal(kv_decode(&k, &(tsr_kv_part){ 2, 0, 0, 0, 0 }, &c), TSR_OK);
    assert_int_equal(kv_decode(&k, &(tsr_kv_part){ 0, 0, 40, 0, 0 }, &c), TSR_OK);
    kv_coder_close(&k);
    kv_cache_close(&c);
    tsr_context_close(&ctx);
}

/* ---- levels ---- */

static void check_reduced(kv_coder *k, const kv_cache *level, int levels,
                          tsr_context *ctx)
{
    kv_coder small = *k;
    kv_cache out;
    tsr_kv_info info;

    kv_cache_open(&out, &level->shape, level->view.dtype, KV_THD,
                  level->view.tokens);
    small.object = malloc(k->size);
    memcpy(small.object, k->object, k->size);
    assert_int_equal(tsr_kv_reduce(ctx, small.object, k->size, levels,
                                   small.object, k->size, &small.size), TSR_OK);
    assert_true(levels == 3 ? small.size == k->size : small.size < k->size);
    small.object = realloc(small.object, small.size);
    assert_int_equal(tsr_kv_probe(ctx, small.object, small.size, &info), TSR_OK);
    assert_int_equal(info.levels, levels);
    assert_int_equal(info.bytes, small.size);
    assert_int_equal(kv_decode(&small, NULL, &out), TSR_OK);
    assert_true(kv_same(&out, level));
    uint8_t *other = malloc(small.size);
    size_t size;
    assert_int_equal(tsr_kv_reduce(ctx, k->object, k->size, levels, other,
                                   small.size, &size), TSR_OK);
    assert_memory_equal(other, small.object, small.size);
    assert_int_equal(tsr_kv_reduce(ctx, k->object, k->size, levels, other,
                                   small.size - 1, &size), TSR_E_LIMIT);
    free(other);
    free(small.object);
    kv_cache_close(&out);
}

static void test_levels(void **state)
{
    tsr_context *ctx = check_context("c", 2);
    tsr_kv_settings s = settings_for(&shape_odd, 0.05);
    kv_cache in, out;
    kv_coder k;
    size_t size;

    (void)state;
    s.levels = 3;
    s.tile = 64;
    kv_cache_open(&in, &shape_odd, TSR_KV_F32, KV_THD, 150);
    kv_cache_open(&out, &shape_odd, TSR_KV_F32, KV_HTD, 150);
    kv_fill(&in, 6);
    kv_coder_open(&k, ctx, &s, 150);
    assert_int_equal(kv_encode(&k, &in), TSR_OK);
    for (int level = 1; level <= 3; level++) {
        const double step = 0.05 * pow(3, 3 - level);
        const tsr_kv_part part = { .level = level };
        assert_int_equal(kv_decode(&k, &part, &out), TSR_OK);
        assert_true(worst(&in, &out, 0, 4) <= step * 0.7072 + 1e-5);
        assert_true(worst(&in, &out, 1, 4) <= step * 0.25 + 1e-5);
        assert_true(worst(&in, &out, 1, 4) > step * 0.2);
        check_reduced(&k, &out, level, ctx);
    }
    /* What all levels gave is coded the same again. */
    uint8_t *first = malloc(k.size);
    memcpy(first, k.object, k.size);
    size = k.size;
    assert_int_equal(kv_encode(&k, &out), TSR_OK);
    assert_int_equal(k.size, size);
    assert_memory_equal(k.object, first, size);
    free(first);
    assert_int_equal(tsr_kv_reduce(ctx, k.object, k.size, 4, k.object, k.size,
                                   &size), TSR_E_ARG);
    assert_int_equal(tsr_kv_reduce(ctx, k.object, k.size, 0, k.object, k.size,
                                   &size), TSR_E_ARG);
    kv_coder_close(&k);
    kv_cache_close(&in);
    kv_cache_close(&out);
    tsr_context_close(&ctx);
}

/* ---- the same everywhere ---- */

static void encode_with(unsigned cpu, int threads, const kv_cache *in,
                        const uint8_t *boost, uint8_t **object, size_t *size,
                        kv_cache *out)
{
    tsr_kv_settings s = settings_for(&in->shape, 0);
    tsr_context *ctx;
    kv_coder k;

    tsr_cpu_set_mask(cpu);
    ctx = check_context("c", threads);
    tsr_cpu_set_mask(~0u);
    s.levels = 2;
    s.tile = 64;
    s.recent = 20;
    s.recent_boost = 2;
    kv_coder_open(&k, ctx, &s, in->view.tokens);
    k.call.boost = boost;
    assert_int_equal(kv_encode(&k, in), TSR_OK);
    *size = k.size;
    *object = malloc(k.size);
    memcpy(*object, k.object, k.size);
    assert_int_equal(kv_decode(&k, NULL, out), TSR_OK);
    kv_coder_close(&k);
    tsr_context_close(&ctx);
}

static void test_same_everywhere(void **state)
{
    enum { N = 200 };
    uint8_t boost[N], *a, *b;
    kv_cache in, out, other;
    size_t a_size, b_size;

    (void)state;
    for (int i = 0; i < N; i++)
        boost[i] = i % 9 ? 0 : (uint8_t)(i % 8);
    kv_cache_open(&in, &shape_small, TSR_KV_BF16, KV_NHD, N);
    kv_cache_open(&out, &shape_small, TSR_KV_BF16, KV_NHD, N);
    kv_cache_open(&other, &shape_small, TSR_KV_BF16, KV_NHD, N);
    kv_fill(&in, 8);
    encode_with(0, 1, &in, boost, &a, &a_size, &out);
    for (int threads = 1; threads <= 3; threads++) {
        encode_with(~0u, threads, &in, boost, &b, &b_size, &other);
        assert_int_equal(a_size, b_size);
        assert_memory_equal(a, b, a_size);
        assert_true(kv_same(&out, &other));
        free(b);
    }
    free(a);
    kv_cache_close(&in);
    kv_cache_close(&out);
    kv_cache_close(&other);
}

/* ---- boosts and sinks ---- */

static double error_of(const kv_cache *a, const kv_cache *b, size_t t)
{
    double most = 0;

    KV_EACH(a, l, p, u, h, d)
        if (u == t && p == 1)
            most = fmax(most, fabs(kv_get(a, l, p, u, h, d) -
                                   kv_get(b, l, p, u, h, d)));
    return most;
}

static void test_boosts(void **state)
{
    enum { N = 70 };
    tsr_context *ctx = check_context("c", 1);
    tsr_kv_settings s = settings_for(&shape_small, 0.5);
    uint8_t boost[N] = { 0 };
    kv_cache in, out;
    kv_coder k;

    (void)state;
    s.sinks = 2;
    s.recent = 5;
    s.recent_boost = 3;
    for (size_t t = 10; t < 18; t++)
        boost[t] = (uint8_t)(t - 10);
    kv_cache_open(&in, &shape_small, TSR_KV_F32, KV_THD, N);
    kv_cache_open(&out, &shape_small, TSR_KV_F32, KV_THD, N);
    kv_fill(&in, 9);
    kv_coder_open(&k, ctx, &s, N);
    k.call.boost = boost;
    assert_int_equal(kv_encode(&k, &in), TSR_OK);
    k.call.boost = NULL;
    assert_int_equal(kv_decode(&k, NULL, &out), TSR_OK);
    assert_true(error_of(&in, &out, 0) < 0.05); /* of 6.x at most, 7 bits */
    for (size_t t = 2; t < N; t++) {
        const double step = ldexp(0.25, t >= N - 5 ? -3 : -boost[t]);
        assert_true(error_of(&in, &out, t) <= step / 2 + 1e-5);
        assert_true(error_of(&in, &out, t) > step / 4);
    }
    /* Sinks are of the context, not of the object. */
    k.call.pos0 = 1;
    assert_int_equal(kv_encode(&k, &in), TSR_OK);
    tsr_kv_info info;
    assert_int_equal(tsr_kv_probe(ctx, k.object, k.size, &info), TSR_OK);
    assert_int_equal(info.sinks, 1);
    boost[3] = 8;
    k.call.boost = boost;
    assert_int_equal(kv_encode(&k, &in), TSR_E_ARG);
    kv_coder_close(&k);
    kv_cache_close(&in);
    kv_cache_close(&out);
    tsr_context_close(&ctx);
}

/* ---- what an object says ---- */

typedef struct span { uint64_t at, bytes; } span;
typedef struct spans { span v[64]; int n; } spans;

static tsr_error note(void *cookie, uint64_t at, uint64_t bytes)
{
    spans *s = cookie;

    assert_true(s->n < 64);
    assert_true(bytes > 0);
    assert_true(!s->n || at > s->v[s->n - 1].at + s->v[s->n - 1].bytes);
    s->v[s->n++] = (span){ at, bytes };
    return TSR_OK;
}

/* Only the bytes of the ranges are needed for the part. */
static void check_ranges(kv_coder *k, const kv_cache *all, tsr_context *ctx,
                         const tsr_kv_part *part)
{
    kv_coder sparse = *k;
    spans s = { .n = 0 };

    assert_int_equal(tsr_kv_ranges(ctx, k->object, k->size, part, note, &s),
                     TSR_OK);
    sparse.object = malloc(k->size);
    memset(sparse.object, 0x5a, k->size);
    for (int i = 0; i < s.n; i++) {
        assert_true(s.v[i].at + s.v[i].bytes <= k->size);
        memcpy(sparse.object + s.v[i].at, k->object + s.v[i].at, s.v[i].bytes);
    }
    sparse.size = s.v[s.n - 1].at + s.v[s.n - 1].bytes;
    one_part(&sparse, all, KV_THD, part, -1);
    sparse.size--;
    assert_int_equal(kv_decode(&sparse, part, all), TSR_E_TRUNCATED);
    free(sparse.object);
}

static void check_info(const kv_coder *k, const tsr_kv_info *info)
{
    assert_string_equal(info->method, "rows");
    assert_memory_equal(&info->shape, &shape_odd, sizeof shape_odd);
    assert_memory_equal(&info->rope, &rope_half, sizeof rope_half);
    assert_int_equal(info->dtype, TSR_KV_F16);
    assert_int_equal(info->tokens, 100);
    assert_int_equal(info->pos0, 2);
    assert_int_equal(info->levels, 2);
    assert_int_equal(info->tile, 32);
    assert_int_equal(info->sinks, 2);
    assert_int_equal(info->token_ids, 1);
    assert_int_equal(info->bytes, k->size);
    assert_true(fabs(info->step[0] - 0.25) < 1e-5 &&
                fabs(info->step[1] - 0.125) < 1e-5);
    assert_int_equal(info->head_bytes + info->side_bytes + info->level_bytes[0] +
                     info->level_bytes[1], k->size);
}

static void check_layers(tsr_context *ctx, const kv_coder *k, const tsr_kv_info *info)
{
    uint64_t sum = 0, one, both;

    for (int l = 0; l < 3; l++) {
        assert_int_equal(tsr_kv_probe_layer(ctx, k->object, k->size, l, -1, &both),
                         TSR_OK);
        for (int p = 0; p < 2; p++) {
            assert_int_equal(tsr_kv_probe_layer(ctx, k->object, k->size, l, p,
                                                &one), TSR_OK);
            both -= one;
            sum += one;
        }
        assert_int_equal(both, 0);
    }
    /* Sections: 12 bits an id. */
    assert_int_equal(sum + info->head_bytes + 150, k->size);
    assert_int_equal(tsr_kv_probe_layer(ctx, k->object, k->size, 3, 0, &one),
                     TSR_E_ARG);
    assert_int_equal(tsr_kv_probe_layer(ctx, k->object, k->size, 0, 2, &one),
                     TSR_E_ARG);
}

static void test_probe(void **state)
{
    tsr_context *ctx = check_context("c", 1);
    tsr_kv_settings s = settings_for(&shape_odd, 0.25);
    int32_t ids[100];
    kv_cache in, all;
    kv_coder k;
    tsr_kv_info info;

    (void)state;
    s.tile = 32;
    s.levels = 2;
    kv_cache_open(&in, &shape_odd, TSR_KV_F16, KV_THD, 100);
    kv_cache_open(&all, &shape_odd, TSR_KV_F16, KV_THD, 100);
    kv_fill(&in, 5);
    for (int i = 0; i < 100; i++)
        ids[i] = i * 37;
    kv_coder_open(&k, ctx, &s, 100);
    k.call.token_ids = ids;
    k.call.pos0 = 2;
    assert_int_equal(kv_encode(&k, &in), TSR_OK);
    k.call.token_ids = NULL;
    assert_int_equal(tsr_kv_probe(ctx, k.object, k.size, &info), TSR_OK);
    check_info(&k, &info);
    check_layers(ctx, &k, &info);
    assert_int_equal(kv_decode(&k, NULL, &all), TSR_OK);
    check_ranges(&k, &all, ctx, &(tsr_kv_part){ 0, 3, 0, 100, 0 });
    check_ranges(&k, &all, ctx, &(tsr_kv_part){ 1, 1, 0, 100, 0 });
    check_ranges(&k, &all, ctx, &(tsr_kv_part){ 0, 2, 40, 30, 2 });
    check_ranges(&k, &all, ctx, &(tsr_kv_part){ 2, 1, 96, 4, 0 });
    kv_coder_close(&k);
    kv_cache_close(&in);
    kv_cache_close(&all);
    tsr_context_close(&ctx);
}

/* A decoder made from what an object says; a step chosen by the coder. */
static void test_open_for(void **state)
{
    tsr_context *ctx = check_context("c", 2);
    tsr_kv_settings s = settings_for(&shape_small, 0);
    kv_cache in, a, b;
    kv_coder k, other = { 0 };
    tsr_kv_info info;

    (void)state;
    s.levels = 3;
    kv_cache_open(&in, &shape_small, TSR_KV_BF16, KV_THD, 90);
    kv_cache_open(&a, &shape_small, TSR_KV_BF16, KV_THD, 90);
    kv_cache_open(&b, &shape_small, TSR_KV_BF16, KV_HND, 90);
    kv_fill(&in, 10);
    kv_coder_open(&k, ctx, &s, 90);
    assert_int_equal(kv_encode(&k, &in), TSR_OK);
    assert_int_equal(kv_decode(&k, NULL, &a), TSR_OK);
    assert_int_equal(tsr_kv_probe(ctx, k.object, k.size, &info), TSR_OK);
    /* Half of the root mean square of what kv_fill() made. */
    assert_true(info.step[0] > 0.2 && info.step[0] < 0.8);
    assert_true(info.step[1] > 0.5 * info.step[0] &&
                info.step[1] < 1.5 * info.step[0]);
    assert_int_equal(tsr_kv_open_for(&other.kv, ctx, &info, NULL), TSR_OK);
    kv_coder_room(&other, 90);
    memcpy(other.object, k.object, k.size);
    other.size = k.size;
    assert_int_equal(kv_decode(&other, NULL, &b), TSR_OK);
    KV_EACH(&a, l, p, t, h, d)
        assert_memory_equal(kv_at(&a, l, p, t, h, d), kv_at(&b, l, p, t, h, d),
                            2);
    /* It codes with the same step. */
    assert_int_equal(kv_encode(&other, &in), TSR_OK);
    assert_int_equal(other.size, k.size);
    assert_memory_equal(other.object, k.object, k.size);
    kv_coder_close(&k);
    kv_coder_close(&other);
    kv_cache_close(&in);
    kv_cache_close(&a);
    kv_cache_close(&b);
    tsr_context_close(&ctx);
}

/* ---- published methods ---- */

static void method_trip(tsr_context *ctx, const char *method, tsr_kv_dtype dtype)
{
    tsr_kv_settings s = settings_for(&shape_small, 0);
    uint8_t boost[70] = { 1, 0, 1 };
    kv_cache in, out;
    kv_coder k, other = { 0 };
    tsr_kv_info info;

    s.method = method;
    s.tile = 32;
    kv_cache_open(&in, &shape_small, dtype, KV_NHD, 70);
    kv_cache_open(&out, &shape_small, dtype, KV_NHD, 70);
    kv_fill(&in, 12);
    kv_coder_open(&k, ctx, &s, 70);
    k.call.boost = boost;
    assert_int_equal(kv_encode(&k, &in), TSR_OK);
    assert_true(k.size <= k.room);
    assert_int_equal(tsr_kv_probe(ctx, k.object, k.size, &info), TSR_OK);
    assert_true(!strncmp(info.method, method, strlen(info.method)));
    assert_int_equal(tsr_kv_open_for(&other.kv, ctx, &info, NULL), TSR_OK);
    kv_coder_room(&other, 70);
    memcpy(other.object, k.object, k.size);
    other.size = k.size;
    assert_int_equal(kv_decode(&other, NULL, &out), TSR_OK);
    kv_check_guards(&out);
    if (!strcmp(info.method, "lossless"))
        assert_true(kv_same(&in, &out));
    else /* 4 bits of values up to 13 at the worst, of a channel or a token */
        assert_true(worst(&in, &out, 0, 0) < 4);
    one_part(&other, &out, KV_HTD, &(tsr_kv_part){ 1, 1, 40, 3, 0 }, -1);
    for (size_t i = k.size - 40; i < k.size; i++) {
        other.object[i] ^= 4;
        assert_int_equal(kv_decode(&other, NULL, &out), TSR_E_CHECKSUM);
        other.object[i] ^= 4;
    }
    kv_coder_close(&k);
    kv_coder_close(&other);
    kv_cache_close(&in);
    kv_cache_close(&out);
}

static void test_methods(void **state)
{
    tsr_context *ctx = kv_quiet_context(2);
    int n = 1;

    (void)state;
    assert_string_equal(tsr_kv_method_at(0), "rows");
    for (; tsr_kv_method_at(n); n++)
        for (int dtype = TSR_KV_F16; dtype <= TSR_KV_E5M2; dtype++)
            if (strcmp(tsr_kv_method_at(n), "vq")) /* it needs codebooks */
                method_trip(ctx, tsr_kv_method_at(n), (tsr_kv_dtype)dtype);
    assert_true(n > 1);
    assert_null(tsr_kv_method_at(-1));
    tsr_context_close(&ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_parts),
        cmocka_unit_test(test_refused_parts), cmocka_unit_test(test_levels),
        cmocka_unit_test(test_same_everywhere), cmocka_unit_test(test_boosts),
        cmocka_unit_test(test_probe), cmocka_unit_test(test_open_for),
        cmocka_unit_test(test_methods),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
