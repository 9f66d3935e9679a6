/* SPDX-License-Identifier: BSD-2-Clause */
/* The units of "hyper": what an encoder writes, every decoder reads. */
#include "tests/hyper_gen.h"
#include "codecs/image/hyper.h"

static const char path[] = "test_hyper.safetensors";

typedef struct unit {
    int height, width;
    int8_t *z;
    float *y;
    int16_t *fixed;
    size_t z_count, y_count;
} unit;

static unit make_unit(check_rng *rng, int height, int width, float scale)
{
    unit u = { .height = height, .width = width };
    u.z_count = (size_t)(GEN_Z * tsri_hyper_z_side(height) * tsri_hyper_z_side(width));
    u.y_count = (size_t)(GEN_Y * height * width);
    u.z = malloc(u.z_count);
    u.y = malloc(u.y_count * sizeof *u.y);
    u.fixed = malloc(u.y_count * sizeof *u.fixed);
    for (size_t i = 0; i < u.z_count; i++)
        u.z[i] = (int8_t)((int)check_below(rng, 31) - 15);
    for (size_t i = 0; i < u.y_count; i++) {
        const float x = check_float(rng);
        u.y[i] = scale * x * x * x;
    }
    return u;
}

static void free_unit(unit *u)
{
    free(u->z);
    free(u->y);
    free(u->fixed);
}

/* Encodes u with this context; returns a copy of the segment. */
static uint8_t *put_unit(tsr_context *ctx, unit *u, size_t *size)
{
    tsr_model *model;
    tsri_hyper_model m;
    tsri_hyper_work *work;
    tsri_rans_enc *enc;
    const uint8_t *data;

    assert_int_equal(tsr_model_open(&model, ctx, path), TSR_OK);
    assert_int_equal(tsri_hyper_model_open(&m, ctx, model), TSR_OK);
    assert_int_equal(tsri_hyper_work_open(&work, ctx, &m, u->height + 3, u->width), 0);
    assert_int_equal(tsri_rans_enc_open(&enc, ctx), TSR_OK);
    assert_int_equal(tsri_hyper_put(work, &m, enc, u->height, u->width, u->z, u->y,
                                    u->fixed, 7, &data, size), TSR_OK);
    uint8_t *copy = malloc(*size);
    memcpy(copy, data, *size);
    tsri_rans_enc_close(&enc);
    tsri_hyper_work_close(&work);
    tsri_hyper_model_close(&m, ctx);
    tsr_model_unref(&model);
    return copy;
}

static void get_unit(tsr_context *ctx, const unit *u, const uint8_t *data, size_t size)
{
    tsr_model *model;
    tsri_hyper_model m;
    tsri_hyper_work *work;
    int8_t *z = malloc(u->z_count);
    int16_t *fixed = malloc(u->y_count * sizeof *fixed);

    assert_int_equal(tsr_model_open(&model, ctx, path), TSR_OK);
    assert_int_equal(tsri_hyper_model_open(&m, ctx, model), TSR_OK);
    assert_int_equal(tsri_hyper_work_open(&work, ctx, &m, u->height, u->width), 0);
    assert_int_equal(tsri_hyper_get(work, &m, u->height, u->width, data, size, 7, z,
                                    fixed), TSR_OK);
    assert_memory_equal(z, u->z, u->z_count);
    assert_memory_equal(fixed, u->fixed, u->y_count * sizeof *fixed);
    assert_int_equal(tsri_hyper_get(work, &m, u->height, u->width, data, size, 8, z,
                                    fixed), TSR_E_CORRUPT); /* another header */
    tsri_hyper_work_close(&work);
    tsri_hyper_model_close(&m, ctx);
    tsr_model_unref(&model);
    free(z);
    free(fixed);
}

/* Plain C and vector code, one thread and three: the same bytes, both ways. */
static void test_units(void **state)
{
    static const int sizes[][2] = { { 1, 1 }, { 1, 5 }, { 7, 3 }, { 16, 16 },
                                    { 33, 20 }, { 2, 128 } };
    check_rng rng = { 5 };
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        unit u = make_unit(&rng, sizes[i][0], sizes[i][1], i % 2 ? 4.0f : 300.0f);
        size_t size, again;
        tsr_context *fast = check_context("c", 3);
        tsr_cpu_set_mask(0);
        tsr_context *plain = check_context("c", 1);
        tsr_cpu_set_mask(~0u);
        uint8_t *a = put_unit(fast, &u, &size), *b = put_unit(plain, &u, &again);
        assert_int_equal(size, again);
        assert_memory_equal(a, b, size);
        get_unit(plain, &u, a, size);
        get_unit(fast, &u, a, size);
        for (size_t k = 0; k < u.y_count; k++) /* near what went in, or a mean */
            if (fabsf(u.y[k]) < 200 && abs(u.fixed[k]) > 2047)
                assert_true(fabsf((float)u.fixed[k] / 128 - u.y[k]) <= 0.51f);
        free(a);
        free(b);
        free_unit(&u);
        tsr_context_close(&fast);
        tsr_context_close(&plain);
    }
}

static void test_not_numbers(void **state)
{
    tsr_context *ctx = check_context("c", 1);
    check_rng rng = { 6 };
    unit u = make_unit(&rng, 4, 4, 1);
    size_t size;
    (void)state;
    u.y[0] = NAN;
    u.y[7] = INFINITY;
    u.y[9] = -INFINITY;
    uint8_t *data = put_unit(ctx, &u, &size);
    get_unit(ctx, &u, data, size);
    free(data);
    free_unit(&u);
    tsr_context_close(&ctx);
}

static void test_damage(void **state)
{
    tsr_context *ctx = check_context("c", 1);
    check_rng rng = { 8 };
    unit u = make_unit(&rng, 6, 6, 300);
    tsr_model *model;
    tsri_hyper_model m;
    tsri_hyper_work *work;
    size_t size;
    uint8_t *data = put_unit(ctx, &u, &size);
    (void)state;

    assert_int_equal(tsr_model_open(&model, ctx, path), TSR_OK);
    assert_int_equal(tsri_hyper_model_open(&m, ctx, model), TSR_OK);
    assert_int_equal(tsri_hyper_work_open(&work, ctx, &m, 6, 6), TSR_OK);
    for (size_t n = 0; n < size; n++)
        assert_int_equal(tsri_hyper_get(work, &m, 6, 6, data, n, 7, u.z, u.fixed),
                         TSR_E_CORRUPT);
    for (size_t bit = 0; bit < 8 * size; bit++) {
        data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(tsri_hyper_get(work, &m, 6, 6, data, size, 7, u.z, u.fixed),
                         TSR_E_CORRUPT);
        data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    tsri_hyper_work_close(&work);
    tsri_hyper_model_close(&m, ctx);
    tsr_model_unref(&model);
    free(data);
    free_unit(&u);
    tsr_context_close(&ctx);
}

static int make_model(void **state)
{
    (void)state;
    hyper_gen(path, 21);
    return 0;
}

static int drop_model(void **state)
{
    (void)state;
    return remove(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_units),
        cmocka_unit_test(test_not_numbers),
        cmocka_unit_test(test_damage),
    };
    return cmocka_run_group_tests(tests, make_model, drop_model);
}
