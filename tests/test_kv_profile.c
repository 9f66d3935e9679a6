/* SPDX-License-Identifier: BSD-2-Clause */
/* Profiles of KV caches: a good file, and every way in which one is not. */
#include <math.h>
#include "tests/check.h"
#include "tests/poor.h"
#include "tests/tensors.h"
#include "codecs/kv/profile.h"

#define FILE_NAME "test_kv_profile.safetensors"
static const char meta[] = "\"tessera.codec\":\"kv-profile\"";

enum { LAYERS = 4, HEADS0 = 2, DIM0 = 8, HEADS1 = 1, DIM1 = 4,
       PLANE0 = HEADS0 * DIM0, PLANE1 = HEADS1 * DIM1, WORDS = 2, HIDDEN = 3,
       VOCABULARY = 5, R = 11 };

static const tsr_kv_shape shape = { LAYERS, 2, { HEADS0, HEADS1 },
                                    { DIM0, DIM1 } };

static void put(check_tensors *list, const char *name, const char *dtype,
                size_t size, int rank, const uint64_t *dims, const void *data)
{
    void *to = check_tensors_add(list, name, dtype, size, rank, dims);
    memcpy(to, data, check_dims(rank, dims) * size);
}

static void put_ints(check_tensors *list, const char *name, int count,
                     const int32_t *v)
{
    put(list, name, "I32", 4, 1, (uint64_t[]){ (uint64_t)count }, v);
}

/* Halves 2^-4 .. 2^-1, of both signs, that go up from tensor to tensor. */
static void put_halves(check_tensors *list, const char *name, uint64_t rows,
                       uint64_t columns)
{
    uint16_t *to = check_tensors_add(list, name, "F16", 2, columns ? 2 : 1,
                                     (uint64_t[]){ rows, columns });
    for (uint64_t i = 0; i < rows * (columns ? columns : 1); i++)
        to[i] = (uint16_t)(0x2c00 + i * 37 % 3000 + (i % 3 ? 0 : 0x8000));
}

static void put_bytes(check_tensors *list, const char *name, const char *dtype,
                      uint64_t rows, uint64_t columns, int modulus)
{
    uint8_t *to = check_tensors_add(list, name, dtype, 1, 2,
                                    (uint64_t[]){ rows, columns });
    for (uint64_t i = 0; i < rows * columns; i++)
        to[i] = (uint8_t)((rows * columns - i) % (uint64_t)modulus);
}

static void put_group(check_tensors *list, int g, int n, int r)
{
    char name[CHECK_NAME];
    const uint64_t un = (uint64_t)n, ur = (uint64_t)r;

    put_halves(list, check_name(name, "g.%d.mean", g), un, 0);
    put_halves(list, check_name(name, "g.%d.scale", g), un, 0);
    put_halves(list, check_name(name, "g.%d.forward", g), ur, un);
    put_halves(list, check_name(name, "g.%d.inverse", g), ur, un);
    put_bytes(list, check_name(name, "g.%d.class", g), "U8", 8, ur, 64);
    put_bytes(list, check_name(name, "g.%d.rho", g), "I8", 8, ur, 256);
    put_halves(list, check_name(name, "g.%d.words", g), WORDS * HIDDEN + 1, un);
}

/* Everything that a profile may have: two groups of two layers. */
static check_tensors good_profile(void)
{
    enum { N = 2 * (PLANE0 + PLANE1) };
    const double rope[9] = { 1, 2, 4, 10000, 2, 8, 1, 4, 8192 };
    const int32_t groups[] = { 0, 2, -1, 2, 2, -1 };
    const float step = 0.02f;
    check_tensors list = { NULL, 0 };

    put_ints(&list, "kv.shape", 6, (int32_t[]){ LAYERS, 2, HEADS0, DIM0, HEADS1,
                                                DIM1 });
    put(&list, "kv.rope", "F64", 8, 1, (uint64_t[]){ 9 }, rope);
    put(&list, "kv.groups", "I32", 4, 2, (uint64_t[]){ 2, 3 }, groups);
    put(&list, "kv.step", "F32", 4, 1, (uint64_t[]){ 1 }, &step);
    put_ints(&list, "kv.dead", 1, (int32_t[]){ 9 });
    put_ints(&list, "kv.bias", 1, (int32_t[]){ 24 });
    put_ints(&list, "kv.hadamard", 1, (int32_t[]){ 1 });
    put_ints(&list, "kv.reference", 2, (int32_t[]){ 3, 0 });
    put_ints(&list, "kv.predictors", 1, (int32_t[]){ WORDS });
    put_halves(&list, "embedding", VOCABULARY, HIDDEN);
    put_group(&list, 0, N, R);
    put_group(&list, 1, N, N);
    return list;
}

static tsr_error open_shape(tsr_context *ctx, const tsr_kv_shape *of,
                            tsri_kv_profile **profile)
{
    tsr_model *model;

    TSR_TRY(tsr_model_open(&model, ctx, "./" FILE_NAME));
    const tsr_error error = tsri_kv_profile_open(profile, ctx, model, of, NULL);
    tsr_model_unref(&model);
    return error;
}

static tsr_error open_file(tsr_context *ctx, tsri_kv_profile **profile)
{
    return open_shape(ctx, &shape, profile);
}

/* What opening these tensors says. */
static tsr_error verdict(check_tensors *list, const char *metadata)
{
    tsr_context *ctx = poor_context("c", 1);
    tsri_kv_profile *profile;

    check_tensors_write(list, SIZE_MAX, metadata, "./" FILE_NAME);
    const tsr_error error = open_file(ctx, &profile);
    if (error)
        assert_null(profile);
    tsri_kv_profile_close(&profile, ctx);
    tsr_context_close(&ctx);
    assert_int_equal(poor_held, 0);
    remove(FILE_NAME);
    return error;
}

static float half_at(const check_tensors *list, const char *name, size_t i)
{
    const uint16_t *h = check_tensors_find(list, name)->data;
    const float v = (float)(1024 + (h[i] & 1023)) / 1024;
    return ldexpf(h[i] & 0x8000 ? -v : v, (h[i] >> 10 & 31) - 15);
}

static void check_group(const check_tensors *list, const tsri_kv_group *g,
                        int number, int r)
{
    const size_t n = 2 * (PLANE0 + PLANE1), ur = (size_t)r;
    char name[CHECK_NAME];

    assert_int_equal(g->first_layer, 2 * number);
    assert_int_equal(g->layers, 2);
    assert_int_equal(g->plane, -1);
    assert_int_equal(g->n, n);
    assert_int_equal(g->r, r);
    for (size_t c = 0; c < n; c++) {
        check_name(name, "g.%d.mean", number);
        assert_true(g->mean[c] == half_at(list, name, c));
        check_name(name, "g.%d.scale", number);
        assert_true(g->scale[c] == half_at(list, name, c));
        assert_true(g->unscale[c] == 1 / g->scale[c]);
        for (size_t i = 0; i < ur; i++) {
            check_name(name, "g.%d.forward", number);
            assert_true(g->forward[c * ur + i] == half_at(list, name, i * n + c));
            check_name(name, "g.%d.inverse", number);
            assert_true(g->inverse[i * n + c] == half_at(list, name, i * n + c));
        }
    }
    for (size_t i = 0; i < (WORDS * HIDDEN + 1) * n; i++)
        assert_true(g->predict[i] ==
                    half_at(list, check_name(name, "g.%d.words", number), i));
    check_name(name, "g.%d.class", number);
    assert_memory_equal(g->cls, check_tensors_find(list, name)->data, 8 * ur);
    check_name(name, "g.%d.rho", number);
    assert_memory_equal(g->rho, check_tensors_find(list, name)->data, 8 * ur);
}

static void test_good(void **state)
{
    (void)state;
    tsr_context *ctx = check_context("c", 1);
    check_tensors list = good_profile();
    tsri_kv_profile *p;

    check_tensors_write(&list, SIZE_MAX, meta, "./" FILE_NAME);
    assert_int_equal(open_file(ctx, &p), TSR_OK);
    assert_memory_equal(&p->shape, &shape, sizeof shape);
    assert_int_equal(p->rope.layout, 1);
    assert_int_equal(p->rope.offset, 2);
    assert_int_equal(p->rope.dims, 4);
    assert_true(p->rope.theta == 10000 && p->rope.factor == 8);
    assert_int_equal(p->rope.scaling, 2);
    assert_true(p->rope.low_factor == 1 && p->rope.high_factor == 4);
    assert_int_equal(p->rope.original, 8192);
    assert_true(p->step == 0.02f && p->hadamard);
    assert_int_equal(p->dead, 9);
    assert_int_equal(p->bias, 24);
    assert_int_equal(p->groups, 2);
    assert_int_equal(p->matches, 8);
    assert_int_equal(p->reference, TSRI_KV_REF_MATCH);
    assert_int_equal(p->predictors, WORDS);
    assert_int_equal(p->vocabulary, VOCABULARY);
    assert_int_equal(p->hidden, HIDDEN);
    assert_memory_equal(p->embedding, check_tensors_find(&list, "embedding")->data,
                        2 * VOCABULARY * HIDDEN);
    assert_memory_equal(p->hash, tsr_model_hash(p->model), 8);
    assert_non_null(p->rows);
    check_group(&list, &p->group[0], 0, R);
    check_group(&list, &p->group[1], 1, 2 * (PLANE0 + PLANE1));
    tsri_kv_profile_close(&p, ctx);
    assert_null(p);
    remove(FILE_NAME);
    check_tensors_free(&list);
    tsr_context_close(&ctx);
}

/* Classes from the end that are dead at a shift are not coded. */
static void test_live(void **state)
{
    (void)state;
    static const uint8_t cls[] = { 20, 9, 12, 5, 5, 4 };
    const tsri_kv_profile p = { .dead = 8 };
    const tsri_kv_group g = { .n = 8, .r = 6, .cls = cls };
    const tsri_kv_group none = { .n = 8, .r = 8 };

    assert_int_equal(tsri_kv_group_live(&p, &g, 0), 3);
    assert_int_equal(tsri_kv_group_live(&p, &g, 3), 5);
    assert_int_equal(tsri_kv_group_live(&p, &g, 4), 6);
    assert_int_equal(tsri_kv_group_live(&p, &g, 127), 6);
    assert_int_equal(tsri_kv_group_live(&p, &g, -5), 1);
    assert_int_equal(tsri_kv_group_live(&p, &g, -13), 0);
    assert_int_equal(tsri_kv_group_live(&p, &none, -128), 8);
}

/* Four classes an octave. */
static void test_shift(void **state)
{
    (void)state;
    const tsri_kv_profile plain = { .bias = 0 }, biased = { .bias = 24 };

    assert_int_equal(tsri_kv_class_shift(&plain, 1), 0);
    assert_int_equal(tsri_kv_class_shift(&plain, 3), -6);
    assert_int_equal(tsri_kv_class_shift(&plain, 0.5f), 4);
    assert_int_equal(tsri_kv_class_shift(&biased, 1), -24);
    assert_int_equal(tsri_kv_class_shift(&biased, 0x1p-6f), 0);
    assert_int_equal(tsri_kv_class_shift(&biased, 1e30f), -128);
    assert_int_equal(tsri_kv_class_shift(&biased, 1e-30f), 127);
}

static void test_none(void **state)
{
    (void)state;
    const tsr_kv_rope rope = { .layout = 2, .dims = 8, .theta = 1e6 };
    tsr_context *ctx = check_context("c", 1);
    tsri_kv_profile *p;

    assert_int_equal(tsri_kv_profile_open(&p, ctx, NULL, &shape, &rope), TSR_OK);
    assert_int_equal(p->groups, 2 * LAYERS);
    assert_memory_equal(&p->rope, &rope, sizeof rope);
    assert_int_equal(p->reference, TSRI_KV_REF_NONE);
    assert_true(p->step == 1 && !p->hadamard && !p->predictors && !p->model);
    for (int g = 0; g < p->groups; g++) {
        assert_int_equal(p->group[g].first_layer, g / 2);
        assert_int_equal(p->group[g].layers, 1);
        assert_int_equal(p->group[g].plane, g % 2);
        assert_int_equal(p->group[g].n, g % 2 ? PLANE1 : PLANE0);
        assert_int_equal(p->group[g].r, p->group[g].n);
        assert_null(p->group[g].cls);
        assert_null(p->group[g].forward);
    }
    for (int i = 0; i < 8; i++)
        assert_int_equal(p->hash[i], 0);
    tsri_kv_profile_close(&p, ctx);
    tsr_context_close(&ctx);
}

/* The least that a profile may have: planes alone, means and classes. */
static check_tensors least_profile(const tsr_kv_shape *s)
{
    const double rope[9] = { 0 };
    const int groups = s->layers * s->planes;
    check_tensors list = { NULL, 0 };
    char name[CHECK_NAME];

    put_ints(&list, "kv.shape", 6,
             (int32_t[]){ s->layers, s->planes, s->heads[0], s->dim[0],
                          s->heads[1], s->dim[1] });
    put(&list, "kv.rope", "F64", 8, 1, (uint64_t[]){ 9 }, rope);
    put(&list, "kv.step", "F32", 4, 1, (uint64_t[]){ 1 }, &(float){ 1 });
    put_ints(&list, "kv.dead", 1, (int32_t[]){ 0 });
    put_ints(&list, "kv.reference", 2, (int32_t[]){ 2, 32 });
    int32_t *row = check_tensors_add(&list, "kv.groups", "I32", 4, 2,
                                     (uint64_t[]){ (uint64_t)groups, 3 });
    for (int g = 0; g < groups; g++, row += 3) {
        const int p = g % s->planes;
        const uint64_t n = (uint64_t)(s->heads[p] * s->dim[p]);
        row[0] = g / s->planes;
        row[1] = 1;
        row[2] = s->planes == 1 ? -1 : p;
        put_halves(&list, check_name(name, "g.%d.mean", g), n, 0);
        put_bytes(&list, check_name(name, "g.%d.class", g), "U8", 1, n, 64);
    }
    return list;
}

static void test_least(void **state)
{
    (void)state;
    static const tsr_kv_shape shapes[] = { { 3, 2, { 2, 1 }, { 5, 7 } },
                                           { 3, 1, { 1, 0 }, { 9, 0 } } };
    tsr_context *ctx = check_context("c", 1);
    tsri_kv_profile *p;

    for (int i = 0; i < 2; i++) {
        const tsr_kv_shape *s = &shapes[i];
        check_tensors list = least_profile(s);
        check_tensors_write(&list, SIZE_MAX, meta, "./" FILE_NAME);
        assert_int_equal(open_shape(ctx, s, &p), TSR_OK);
        assert_int_equal(p->groups, s->layers * s->planes);
        assert_int_equal(p->matches, 1);
        assert_int_equal(p->anchor, 32);
        for (int g = 0; g < p->groups; g++) {
            const int plane = g % s->planes;
            assert_int_equal(p->group[g].first_layer, g / s->planes);
            assert_int_equal(p->group[g].plane, s->planes == 1 ? -1 : plane);
            assert_int_equal(p->group[g].n, s->heads[plane] * s->dim[plane]);
            assert_int_equal(p->group[g].r, p->group[g].n);
            assert_null(p->group[g].forward);
            assert_null(p->group[g].rho);
            assert_null(p->group[g].scale);
        }
        tsri_kv_profile_close(&p, ctx);
        check_tensors_free(&list);
    }
    remove(FILE_NAME);
    tsr_context_close(&ctx);
}

/* A group of all layers has at most 65536 values. */
static void test_large(void **state)
{
    (void)state;
    tsr_context *ctx = poor_context("c", 1);
    tsri_kv_profile *p;

    for (int layers = 2; layers <= 4; layers += 2) {
        const tsr_kv_shape s = { layers, 2, { 1024, 1024 }, { 16, 16 } };
        const uint64_t n = (uint64_t)layers * 32768;
        check_tensors list = least_profile(&s);
        check_tensor *t = check_tensors_find(&list, "kv.groups");
        memcpy(t->data, (int32_t[]){ 0, layers, -1 }, 12);
        t->dims[0] = 1;
        t->bytes = 12;
        strcpy(check_tensors_find(&list, "g.0.mean")->name, "other");
        strcpy(check_tensors_find(&list, "g.0.class")->name, "more");
        put_halves(&list, "g.0.mean", n, 0);
        put_bytes(&list, "g.0.class", "U8", 1, n, 64);
        check_tensors_write(&list, SIZE_MAX, meta, "./" FILE_NAME);
        assert_int_equal(open_shape(ctx, &s, &p),
                         layers == 2 ? TSR_OK : TSR_E_CORRUPT);
        tsri_kv_profile_close(&p, ctx);
        check_tensors_free(&list);
    }
    remove(FILE_NAME);
    tsr_context_close(&ctx);
}

/* Every tensor is needed, or may go. */
static void test_missing(void **state)
{
    (void)state;
    static const char *const optional[] = {
        "kv.bias", "kv.hadamard", "g.0.scale", "g.0.rho", "g.1.scale",
        "g.1.rho"
    };
    check_tensors all = good_profile();

    for (size_t skip = 0; skip < all.count; skip++) {
        check_tensors list = good_profile();
        bool may_go = false;
        for (size_t i = 0; i < sizeof optional / sizeof *optional; i++)
            may_go |= !strcmp(list.tensor[skip].name, optional[i]);
        /* Without its number nothing is predicted. */
        may_go |= !strcmp(list.tensor[skip].name, "kv.predictors");
        strcpy(list.tensor[skip].name, "other");
        assert_int_equal(verdict(&list, meta), may_go ? TSR_OK : TSR_E_CORRUPT);
        check_tensors_free(&list);
    }
    check_tensors_free(&all);
}

/* Every tensor's type and every side. */
static void test_types(void **state)
{
    (void)state;
    check_tensors all = good_profile();

    for (size_t i = 0; i < all.count; i++) {
        const check_tensor *t = &all.tensor[i];
        const bool small = t->bytes / check_dims(t->rank, t->dims) == 1;
        check_tensors list = good_profile();
        strcpy(list.tensor[i].dtype, small ? "BOOL"
               : !strcmp(t->dtype, "F16") ? "BF16"
               : !strcmp(t->dtype, "F64") ? "U64" : "U32");
        assert_int_equal(verdict(&list, meta), TSR_E_CORRUPT);
        check_tensors_free(&list);
        for (int d = 0; d < t->rank; d++) {
            list = good_profile();
            check_tensor *bad = &list.tensor[i];
            bad->bytes = bad->bytes / bad->dims[d] * (bad->dims[d] - 1);
            bad->dims[d]--;
            /* A row less of the embedding is a smaller vocabulary. */
            const bool fine = !strcmp(bad->name, "embedding") && d == 0;
            assert_int_equal(verdict(&list, meta), fine ? TSR_OK : TSR_E_CORRUPT);
            check_tensors_free(&list);
        }
        list = good_profile();
        list.tensor[i].dims[list.tensor[i].rank++] = 1;
        assert_int_equal(verdict(&list, meta), TSR_E_CORRUPT);
        check_tensors_free(&list);
    }
    check_tensors_free(&all);
}

static void bad_int(const char *name, int at, int32_t value, tsr_error wanted)
{
    check_tensors list = good_profile();

    memcpy((uint8_t *)check_tensors_find(&list, name)->data + 4 * at, &value, 4);
    assert_int_equal(verdict(&list, meta), wanted);
    check_tensors_free(&list);
}

static void test_numbers(void **state)
{
    (void)state;
    for (int i = 0; i < 6; i++) {
        bad_int("kv.shape", i, 0, TSR_E_MODEL);
        bad_int("kv.shape", i, -1, TSR_E_MODEL);
        bad_int("kv.shape", i, INT32_MAX, TSR_E_MODEL);
        bad_int("kv.groups", i, 1, TSR_E_CORRUPT);
        bad_int("kv.groups", i, INT32_MIN, TSR_E_CORRUPT);
    }
    bad_int("kv.dead", 0, -1, TSR_E_CORRUPT);
    bad_int("kv.dead", 0, 64, TSR_OK);
    bad_int("kv.dead", 0, 65, TSR_E_CORRUPT);
    bad_int("kv.bias", 0, -1, TSR_E_CORRUPT);
    bad_int("kv.bias", 0, 63, TSR_OK);
    bad_int("kv.bias", 0, 64, TSR_E_CORRUPT);
    bad_int("kv.hadamard", 0, 0, TSR_OK);
    bad_int("kv.hadamard", 0, 2, TSR_E_CORRUPT);
    bad_int("kv.reference", 0, 1, TSR_OK);
    bad_int("kv.reference", 0, -1, TSR_E_CORRUPT);
    bad_int("kv.reference", 0, 2, TSR_E_CORRUPT); /* an anchor of 0 */
    bad_int("kv.reference", 0, 4, TSR_E_CORRUPT);
    bad_int("kv.reference", 1, 1, TSR_E_CORRUPT);
    bad_int("kv.predictors", 0, -1, TSR_E_CORRUPT);
    bad_int("kv.predictors", 0, 0, TSR_OK);
    bad_int("kv.predictors", 0, 1, TSR_E_CORRUPT); /* other matrices */
    bad_int("kv.predictors", 0, 5, TSR_E_CORRUPT);
}

static void bad_float(const char *name, float value, tsr_error wanted)
{
    check_tensors list = good_profile();

    memcpy(check_tensors_find(&list, name)->data, &value, 4);
    assert_int_equal(verdict(&list, meta), wanted);
    check_tensors_free(&list);
}

static void bad_half(const char *name, uint16_t value, tsr_error wanted)
{
    check_tensors list = good_profile();
    check_tensor *t = check_tensors_find(&list, name);

    memcpy((uint8_t *)t->data + t->bytes - 2, &value, 2);
    assert_int_equal(verdict(&list, meta), wanted);
    check_tensors_free(&list);
}

static void bad_rope(int at, double value, tsr_error wanted)
{
    check_tensors list = good_profile();

    memcpy((uint8_t *)check_tensors_find(&list, "kv.rope")->data + 8 * at, &value,
           8);
    assert_int_equal(verdict(&list, meta), wanted);
    check_tensors_free(&list);
}

static void test_floats(void **state)
{
    (void)state;
    static const char *const halves[] = {
        "embedding", "g.0.mean", "g.0.scale", "g.0.forward", "g.0.inverse",
        "g.0.words", "g.1.mean", "g.1.words"
    };
    static const float steps[] = { 0, -1, 1e-31f, 1e31f, INFINITY, NAN };
    static const double wrong[] = { -1, .5, 1e300, INFINITY, -INFINITY, NAN };

    for (size_t i = 0; i < sizeof halves / sizeof *halves; i++) {
        bad_half(halves[i], 0x3c00, TSR_OK);
        bad_half(halves[i], 0x7c00, TSR_E_CORRUPT);
        bad_half(halves[i], 0xfe01, TSR_E_CORRUPT);
    }
    bad_half("g.0.mean", 0, TSR_OK);
    bad_half("g.0.scale", 0, TSR_E_CORRUPT);
    bad_float("kv.step", 2, TSR_OK);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
        bad_float("kv.step", steps[i], TSR_E_CORRUPT);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        for (int at = 0; at < 9; at++)
            if (wrong[i] != .5 || at < 3 || at == 4 || at == 5 || at == 8)
                bad_rope(at, wrong[i], TSR_E_CORRUPT);
    bad_rope(2, 8, TSR_E_CORRUPT); /* beyond the end of a head */
    bad_rope(2, 3, TSR_E_CORRUPT);
}

/* Numbers of any kind of float are taken. */
static void test_wide(void **state)
{
    (void)state;
    check_tensors list = good_profile();
    tsr_context *ctx = check_context("c", 1);
    tsri_kv_profile *p;

    check_tensor *t = check_tensors_find(&list, "g.1.mean");
    const size_t n = t->bytes / 2;
    float *wide = malloc(n * sizeof *wide);
    assert_non_null(wide);
    for (size_t i = 0; i < n; i++)
        wide[i] = (float)i / 3;
    free(t->data);
    t->data = wide;
    t->bytes = n * sizeof *wide;
    strcpy(t->dtype, "F32");
    check_tensors_write(&list, SIZE_MAX, meta, "./" FILE_NAME);
    assert_int_equal(open_file(ctx, &p), TSR_OK);
    assert_memory_equal(p->group[1].mean, wide, n * sizeof *wide);
    tsri_kv_profile_close(&p, ctx);
    remove(FILE_NAME);
    check_tensors_free(&list);
    tsr_context_close(&ctx);
}

static void test_bytes(void **state)
{
    (void)state;
    check_tensors list = good_profile();

    ((uint8_t *)check_tensors_find(&list, "g.1.class")->data)[17] = 64;
    assert_int_equal(verdict(&list, meta), TSR_E_CORRUPT);
    check_tensors_free(&list);
    list = good_profile();
    /* 11 rows of 8: neither 1 nor 8. */
    check_tensor *t = check_tensors_find(&list, "g.0.class");
    t->dims[0] = R;
    t->dims[1] = 8;
    assert_int_equal(verdict(&list, meta), TSR_E_CORRUPT);
    check_tensors_free(&list);
}

/* More coefficients than values. */
static void test_tall(void **state)
{
    (void)state;
    check_tensors list = good_profile();
    check_tensor *t = check_tensors_find(&list, "g.1.forward");
    const size_t row = t->bytes / t->dims[0];

    t->data = realloc(t->data, t->bytes + row);
    assert_non_null(t->data);
    memset((uint8_t *)t->data + t->bytes, 0, row);
    t->bytes += row;
    t->dims[0]++;
    assert_int_equal(verdict(&list, meta), TSR_E_CORRUPT);
    check_tensors_free(&list);
}

static void test_other(void **state)
{
    (void)state;
    check_tensors list = good_profile();

    assert_int_equal(verdict(&list, "\"tessera.codec\":\"hyper\""), TSR_E_MODEL);
    assert_int_equal(verdict(&list, ""), TSR_E_MODEL);
    check_tensors_free(&list);
}

/* Every allocation fails once; nothing leaks. */
static void test_memory(void **state)
{
    (void)state;
    tsr_context *ctx = poor_context("c", 1);
    check_tensors list = good_profile();
    tsri_kv_profile *p;
    tsr_error error = TSR_E_NOMEM;
    int left = 0;

    check_tensors_write(&list, SIZE_MAX, meta, "./" FILE_NAME);
    for (; error; left++) {
        const int held = poor_held;
        poor_left = left;
        error = open_file(ctx, &p);
        if (!error)
            tsri_kv_profile_close(&p, ctx);
        else
            assert_int_equal(error, TSR_E_NOMEM);
        assert_int_equal(poor_held, held);
    }
    assert_true(left > 20);
    remove(FILE_NAME);
    check_tensors_free(&list);
    tsr_context_close(&ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),    cmocka_unit_test(test_live),
        cmocka_unit_test(test_shift),
        cmocka_unit_test(test_none),    cmocka_unit_test(test_missing),
        cmocka_unit_test(test_least),   cmocka_unit_test(test_large),
        cmocka_unit_test(test_types),   cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_floats),  cmocka_unit_test(test_wide),
        cmocka_unit_test(test_bytes),   cmocka_unit_test(test_tall),
        cmocka_unit_test(test_other),   cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
