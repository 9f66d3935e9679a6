/* SPDX-License-Identifier: BSD-2-Clause */
/* KV objects coded by a profile: transforms, prediction, references, levels. */
#include "tests/kv_attack.h"
#include "tests/kv_profile_gen.h"

enum { N = 150 };
static const char path[] = "./test_kv_profiled.safetensors";
static const tsr_kv_shape shape = { 4, 2, { 2, 1 }, { 8, 16 } };
static const tsr_kv_shape shape_latent = { 2, 1, { 1 }, { 24 } };

/* A profile, a cache that it fits, a coder. */
typedef struct fixture {
    kv_plan plan;
    tsr_context *ctx;
    tsr_model *model;
    int32_t ids[N];
    kv_cache in, out;
    kv_coder k;
} fixture;

static void setup_n(fixture *f, const kv_plan *plan, int levels, double step,
                    size_t n, int threads)
{
    tsr_kv_settings s;

    *f = (fixture){ .plan = *plan };
    f->ctx = kv_quiet_context(threads);
    f->model = kv_plan_model(plan, f->ctx, path);
    kv_plan_ids(f->ids, n);
    kv_cache_open(&f->in, plan->shape, TSR_KV_F32, KV_THD, n);
    kv_cache_open(&f->out, plan->shape, TSR_KV_F32, KV_HND, n);
    kv_plan_fill(plan, &f->in, f->ctx, f->model, f->ids);
    tsr_kv_settings_init(&s);
    s.shape = *plan->shape;
    s.profile = f->model;
    s.levels = levels;
    s.step = step;
    s.tile = 32;
    s.sinks = 3;
    kv_coder_open(&f->k, f->ctx, &s, n);
    f->k.call.token_ids = f->ids;
}

static void setup(fixture *f, const kv_plan *plan, int levels, double step)
{
    setup_n(f, plan, levels, step, N, 2);
}

static void teardown(fixture *f)
{
    kv_coder_close(&f->k);
    kv_cache_close(&f->in);
    kv_cache_close(&f->out);
    tsr_model_unref(&f->model);
    tsr_context_close(&f->ctx);
}

static const kv_plan plans[] = {
    { &shape, 0, TSRI_KV_REF_NONE, 0, 1, 0, false },
    { &shape, 1, TSRI_KV_REF_MATCH, 2, 8, 0, false },
    { &shape, 2, TSRI_KV_REF_PREVIOUS, 0, 8, 0, true },
    { &shape, 4, TSRI_KV_REF_ANCHOR, 1, 1, 0, false },
    { &shape_latent, 0, TSRI_KV_REF_MATCH, 1, 1, 0, false },
    { &shape_latent, 2, TSRI_KV_REF_PREVIOUS, 0, 1, 0, true },
};

/* Sum of the squared errors of tokens that are no sinks over that which
 * errors of half a step would have: transforms are orthonormal. */
static double energy(const fixture *f, double step)
{
    double sum = 0, most = 0;

    KV_EACH(&f->in, l, p, t, h, d)
        if (t >= 3) {
            const double e = kv_get(&f->in, l, p, t, h, d) -
                kv_get(&f->out, l, p, t, h, d);
            sum += e * e;
            most += step * step / 4;
        }
    return sum / most;
}

static void check_levels(const kv_plan *plan)
{
    fixture f;
    double rate;

    setup(&f, plan, 3, 0.3);
    assert_int_equal(kv_encode(&f.k, &f.in), TSR_OK);
    for (int level = 1; level <= 3; level++) {
        const tsr_kv_part part = { .level = level };
        assert_int_equal(kv_decode(&f.k, &part, &f.out), TSR_OK);
        rate = energy(&f, 0.3 * KV_STEP * pow(3, 3 - level));
        /* Uniform errors have a third of the largest energy; those of a zero
         * bin less.  1 is the proof that references do not drift. */
        assert_true(rate <= 1.0 && rate > 0.1);
    }
    kv_check_guards(&f.out);
    teardown(&f);
}

enum { PLANS = sizeof plans / sizeof *plans };

static void test_levels(void **state)
{
    (void)state;
    for (int i = 0; i < PLANS; i++)
        if (!plans[i].hadamard || plans[i].shape != &shape_latent)
            check_levels(&plans[i]);
}

/* A part decoded alone is that of the whole, with and without references into
 * other tiles. */
static void check_part(fixture *f, const tsr_kv_part *part)
{
    kv_cache some;
    uint8_t guard[4];

    memset(guard, KV_GUARD_BYTE, sizeof guard);
    kv_cache_open(&some, f->plan.shape, TSR_KV_F32, KV_NHD, N);
    assert_int_equal(kv_decode(&f->k, part, &some), TSR_OK);
    KV_EACH(&some, l, p, t, h, d) {
        const bool in = l >= part->first_layer &&
            l < part->first_layer + part->layers && t >= part->first_token &&
            t < part->first_token + part->tokens;
        assert_memory_equal(kv_at(&some, l, p, t, h, d),
                            in ? kv_at(&f->out, l, p, t, h, d) : guard, 4);
    }
    kv_check_guards(&some);
    kv_cache_close(&some);
}

static void test_parts(void **state)
{
    static const tsr_kv_part parts[] = {
        { 0, 2, 100, 50, 0 }, { 1, 1, 0, N, 0 }, { 1, 1, 64, 1, 0 },
        { 0, 1, 2, 40, 0 }
    };
    fixture f;

    (void)state;
    for (int i = 0; i < PLANS - 1; i++) {
        setup(&f, &plans[i], 2, 1);
        assert_int_equal(kv_encode(&f.k, &f.in), TSR_OK);
        assert_int_equal(kv_decode(&f.k, NULL, &f.out), TSR_OK);
        for (size_t k = 0; k < sizeof parts / sizeof *parts; k++)
            check_part(&f, &parts[k]);
        teardown(&f);
    }
}

/* Fewer bytes with what the profile knows than without: the same cache, the
 * same step. */
static size_t bytes_of(const kv_plan *plan, bool ids, tsr_kv_info *info)
{
    fixture f;
    size_t size;

    setup(&f, plan, 1, 1);
    if (!ids)
        f.k.call.token_ids = NULL;
    assert_int_equal(kv_encode(&f.k, &f.in), TSR_OK);
    assert_int_equal(tsr_kv_probe(f.ctx, f.k.object, f.k.size, info), TSR_OK);
    f.k.call.token_ids = NULL;
    assert_int_equal(kv_decode(&f.k, NULL, &f.out), TSR_OK);
    assert_true(energy(&f, KV_STEP) <= 1);
    size = (size_t)info->level_bytes[0];
    teardown(&f);
    return size;
}

static void test_gains(void **state)
{
    const kv_plan match = { &shape, 4, TSRI_KV_REF_MATCH, 1, 8, 0, false };
    tsr_kv_info info;

    (void)state;
    const size_t all = bytes_of(&match, true, &info);
    assert_int_equal(info.token_ids, 1);
    assert_int_not_equal(tsri_get32(info.profile), 0);
    const size_t none = bytes_of(&match, false, &info);
    assert_int_equal(info.token_ids, 0);
    assert_true(all < none * 3 / 4);
}

/* Errors and bytes with this plan. */
static double energy_of(const kv_plan *plan, bool ids, size_t *size)
{
    fixture f;
    double sum;

    setup(&f, plan, 2, 1);
    if (!ids)
        f.k.call.token_ids = NULL;
    assert_int_equal(kv_encode(&f.k, &f.in), TSR_OK);
    assert_int_equal(kv_decode(&f.k, NULL, &f.out), TSR_OK);
    sum = energy(&f, KV_STEP);
    *size = f.k.size;
    teardown(&f);
    return sum;
}

/* Coefficients whose class is low are left out, and cost nothing; but for what
 * is predicted of them. */
static void test_dead(void **state)
{
    kv_plan plan = { &shape, 2, TSRI_KV_REF_NONE, 0, 1, 0, false };
    size_t all_bytes, some_bytes, no_bytes;

    (void)state;
    const double all = energy_of(&plan, true, &all_bytes);
    plan.dead = 15;
    const double some = energy_of(&plan, true, &some_bytes);
    plan.dead = 64; /* nothing is left but means and sinks */
    const double none = energy_of(&plan, true, &no_bytes);
    assert_true(all_bytes > some_bytes && some_bytes > no_bytes);
    assert_true(all < 0.4 && some > 2 * all && some < 4 && none > 20 * some);
    plan.predictors = 1;
    const double predicted = energy_of(&plan, true, &no_bytes);
    assert_true(energy_of(&plan, false, &no_bytes) > 4 * predicted);
}

/* A coder opened for an object without its finer levels has room for the
 * coefficients that those kept alive. */
static void check_reduced(int dead, int levels)
{
    kv_plan plan = { &shape, 2, TSRI_KV_REF_MATCH, 1, 8, 0, false };
    const tsr_kv_part part = { .level = levels };
    fixture f;
    kv_cache whole;
    kv_coder small = { 0 };
    tsr_kv_info info;

    plan.dead = dead;
    setup(&f, &plan, 3, 0.3);
    kv_cache_open(&whole, &shape, TSR_KV_F32, KV_HND, N);
    assert_int_equal(kv_encode(&f.k, &f.in), TSR_OK);
    assert_int_equal(kv_decode(&f.k, &part, &whole), TSR_OK);
    assert_int_equal(tsr_kv_reduce(f.ctx, f.k.object, f.k.size, levels,
                                   f.k.object, f.k.size, &f.k.size), TSR_OK);
    assert_int_equal(tsr_kv_probe(f.ctx, f.k.object, f.k.size, &info), TSR_OK);
    assert_int_equal(tsr_kv_open_for(&small.kv, f.ctx, &info, f.model), TSR_OK);
    kv_coder_room(&small, N);
    small.object = realloc(small.object, f.k.size);
    memcpy(small.object, f.k.object, f.k.size);
    small.size = f.k.size;
    small.call.token_ids = f.ids;
    assert_int_equal(kv_decode(&small, NULL, &f.out), TSR_OK);
    assert_true(kv_same(&f.out, &whole));
    kv_coder_close(&small);
    kv_cache_close(&whole);
    teardown(&f);
}

static void test_reduced(void **state)
{
    (void)state;
    for (int dead = 0; dead <= 44; dead += 4)
        for (int levels = 1; levels <= 3; levels++)
            check_reduced(dead, levels);
}

/* The step is a multiple of the profile's; boosts make it finer. */
static void test_step_and_boosts(void **state)
{
    const kv_plan plan = { &shape, 1, TSRI_KV_REF_MATCH, 0, 8, 0, false };
    uint8_t boost[N];
    fixture f;
    tsr_kv_info info;
    double coarse;

    (void)state;
    setup(&f, &plan, 1, 4);
    assert_int_equal(kv_encode(&f.k, &f.in), TSR_OK);
    assert_int_equal(kv_decode(&f.k, NULL, &f.out), TSR_OK);
    assert_int_equal(tsr_kv_probe(f.ctx, f.k.object, f.k.size, &info), TSR_OK);
    assert_true(info.step[0] == 4);
    coarse = energy(&f, 4 * KV_STEP);
    assert_true(coarse <= 1 && coarse > 0.1);
    for (int b = 1; b <= 7; b++) {
        memset(boost, b, sizeof boost);
        f.k.call.boost = boost;
        assert_int_equal(kv_encode(&f.k, &f.in), TSR_OK);
        assert_int_equal(kv_decode(&f.k, NULL, &f.out), TSR_OK);
        assert_true(energy(&f, ldexp(4 * KV_STEP, -b)) <= 1.01);
    }
    for (int t = 0; t < N; t++)
        boost[t] = (uint8_t)(t * 7 % 8);
    assert_int_equal(kv_encode(&f.k, &f.in), TSR_OK);
    assert_int_equal(kv_decode(&f.k, NULL, &f.out), TSR_OK);
    assert_true(energy(&f, 4 * KV_STEP) < coarse / 2);
    teardown(&f);
}

static void test_same_everywhere(void **state)
{
    uint8_t *first = NULL;
    size_t size = 0;
    fixture f;

    (void)state;
    for (int run = 0; run < 4; run++) {
        tsr_cpu_set_mask(run ? ~0u : 0);
        setup_n(&f, &plans[1], 2, 1, N, run ? run : 1);
        tsr_cpu_set_mask(~0u);
        assert_int_equal(kv_encode(&f.k, &f.in), TSR_OK);
        if (!first) {
            size = f.k.size;
            first = malloc(size);
            memcpy(first, f.k.object, size);
        }
        assert_int_equal(f.k.size, size);
        assert_memory_equal(f.k.object, first, size);
        teardown(&f);
    }
    free(first);
}

/* Ids that the object does not hold must be given, and no others. */
static void test_ids_outside(void **state)
{
    const kv_plan plan = { &shape, 1, TSRI_KV_REF_MATCH, 1, 8, 0, false };
    tsr_kv_settings s;
    fixture f;
    kv_coder k;

    (void)state;
    setup(&f, &plan, 1, 1);
    tsr_kv_settings_init(&s);
    s.shape = shape;
    s.profile = f.model;
    s.store_tokens = 0;
    kv_coder_open(&k, f.ctx, &s, N);
    k.call.token_ids = f.ids;
    assert_int_equal(kv_encode(&k, &f.in), TSR_OK);
    k.call.token_ids = NULL;
    assert_int_equal(kv_decode(&k, NULL, &f.out), TSR_E_ARG);
    k.call.token_ids = f.ids;
    assert_int_equal(kv_decode(&k, NULL, &f.out), TSR_OK);
    assert_true(energy(&f, KV_STEP) <= 1);
    kv_coder_close(&k);
    teardown(&f);
}

static void test_wrong_profile(void **state)
{
    const kv_plan a = plans[1], b = plans[3];
    tsr_kv_info info;
    fixture f, g;
    tsr_kv *kv;

    (void)state;
    setup(&f, &a, 1, 1);
    setup(&g, &b, 1, 1);
    assert_int_equal(kv_encode(&f.k, &f.in), TSR_OK);
    assert_int_equal(tsr_kv_decode(g.k.kv, f.k.object, f.k.size, NULL,
                                   &g.out.view, &g.k.call), TSR_E_MODEL);
    assert_int_equal(tsr_kv_probe(f.ctx, f.k.object, f.k.size, &info), TSR_OK);
    assert_int_equal(tsr_kv_open_for(&kv, f.ctx, &info, g.model), TSR_E_MODEL);
    assert_int_equal(tsr_kv_open_for(&kv, f.ctx, &info, f.model), TSR_OK);
    tsr_kv_close(&kv);
    assert_int_equal(tsr_kv_open_for(&kv, f.ctx, &info, NULL), TSR_E_MODEL);
    teardown(&f);
    teardown(&g);
}

/* Lengths around tiles and sinks. */
static void test_lengths(void **state)
{
    static const size_t lengths[] = { 0, 1, 3, 4, 31, 32, 33, 64, 65 };
    fixture f;

    (void)state;
    for (int i = 0; i < PLANS - 1; i++)
        for (size_t k = 0; k < sizeof lengths / sizeof *lengths; k++) {
            setup_n(&f, &plans[i], 2, 1, lengths[k], 1);
            assert_int_equal(kv_encode(&f.k, &f.in), TSR_OK);
            assert_int_equal(kv_decode(&f.k, NULL, &f.out), TSR_OK);
            if (lengths[k] > 3)
                assert_true(energy(&f, KV_STEP) <= 1);
            teardown(&f);
        }
}

static void test_attacks(void **state)
{
    static const tsr_kv_shape tiny = { 1, 2, { 1, 1 }, { 8, 4 } };
    const kv_plan plan = { &tiny, 1, TSRI_KV_REF_MATCH, 1, 8, 0, false };
    fixture f;

    (void)state;
    setup_n(&f, &plan, 2, 3, 40, 1);
    assert_int_equal(kv_encode(&f.k, &f.in), TSR_OK);
    kv_attack_cuts(&f.k, f.ctx, &f.out);
    kv_attack_bits(&f.k, f.ctx, &f.out);
    kv_attack_inside(&f.k, f.ctx, &f.out);
    kv_attack_fields(&f.k, f.ctx, &f.out);
    teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_levels), cmocka_unit_test(test_parts),
        cmocka_unit_test(test_gains), cmocka_unit_test(test_dead),
        cmocka_unit_test(test_reduced),
        cmocka_unit_test(test_step_and_boosts),
        cmocka_unit_test(test_same_everywhere),
        cmocka_unit_test(test_ids_outside),
        cmocka_unit_test(test_wrong_profile), cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_attacks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
