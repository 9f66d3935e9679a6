/* SPDX-License-Identifier: BSD-2-Clause */
/* Pictures when memory runs out: at every single allocation of an encode and of
 * a decode there is an error, nothing is lost and nothing is used. */
#include "config.h"
#include "tests/hyper_gen.h"
#include "tests/memory.h"
#include "tests/model_folder.h"
#include "tests/poor.h"
#include <tessera/image.h>
#include <tessera/model.h>

static const char path[] = "test_image_nomem.safetensors";
static const char folder[] = "test_image_nomem_models";

typedef struct job {
    tsr_context *ctx;
    tsr_model *model;
    mem_file stream;
    tsr_image image;
} job;

static tsr_error encode(job *j)
{
    const tsr_sink sink = { &j->stream, mem_write };
    j->stream.size = 0;
    return tsr_image_encode(j->ctx, j->model, NULL, &j->image, &sink);
}

static tsr_error decode(job *j)
{
    const tsr_source source = { &j->stream, mem_read };
    tsr_image out;
    j->stream.at = 0;
    const tsr_error error = tsr_image_decode(j->ctx, j->model, NULL, &source, &out);
    assert_int_equal(!error, out.data != NULL);
    if (!error)
        assert_int_equal(out.width, j->image.width);
    tsr_image_free(j->ctx, &out);
    return error;
}

static tsr_error open_model(job *j)
{
    tsr_model *m;
    const tsr_error error = tsr_model_open(&m, j->ctx, path);
    assert_int_equal(!error, m != NULL);
    tsr_model_unref(&m);
    return error;
}

/* The caller's model is not given: it is looked for. */
static tsr_error decode_any(job *j)
{
    tsr_model *model = j->model;
    j->model = NULL;
    const tsr_error error = decode(j);
    j->model = model;
    return error;
}

/* Every allocation fails once; returns how many there are. */
static int starve(job *j, tsr_error (*work)(job *))
{
    const int before = poor_held;
    for (int n = 0; n < POOR_MANY; n++) {
        poor_left = n;
        const tsr_error error = work(j);
        assert_int_equal(poor_held, before);
        if (!error)
            return n;
        assert_int_equal(error, TSR_E_NOMEM);
    }
    return POOR_MANY;
}

static void each(const char *backend, int channels)
{
    job j = { .ctx = poor_context(backend, 2),
              .image = { .width = 20, .height = 18, .channels = channels,
                         .bits = 8 } };
    const int before = poor_held;
    assert_int_equal(tsr_model_open(&j.model, j.ctx, path), TSR_OK);
    assert_int_equal(tsr_image_alloc(j.ctx, &j.image), TSR_OK);
    memset(j.image.data, 0x55, (size_t)j.image.height * j.image.stride);
    assert_in_range(starve(&j, encode), 100, POOR_MANY - 1);
    assert_in_range(starve(&j, decode), 100, POOR_MANY - 1);
    poor_left = POOR_MANY;
    tsr_image_free(j.ctx, &j.image);
    free(j.stream.data);
    tsr_model_unref(&j.model);
    assert_int_equal(poor_held, before);
    tsr_context_close(&j.ctx);
    assert_int_equal(poor_held, 0);
}

static void test_plain(void **state)
{
    (void)state;
    each("c", 3); /* the compact form */
    each("c", 4); /* the container, and alpha */
}

static void test_fast(void **state)
{
    (void)state;
    each("auto", 3);
}

static void test_model(void **state)
{
    job j = { .ctx = poor_context("c", 2), .image = { .width = 1, .height = 1, .channels = 1,
                                           .bits = 8 } };
    (void)state;
    assert_in_range(starve(&j, open_model), 5, 100);
    poor_left = POOR_MANY;
    assert_int_equal(tsr_model_open(&j.model, j.ctx, path), TSR_OK);
    assert_int_equal(tsr_image_alloc(j.ctx, &j.image), TSR_OK);
    memset(j.image.data, 0x55, 1);
    assert_int_equal(encode(&j), TSR_OK);
    model_folder_open(folder, path);
    assert_in_range(starve(&j, decode_any), 100, POOR_MANY - 1);
    model_folder_close(folder);
    poor_left = POOR_MANY;
    free(j.stream.data);
    tsr_image_free(j.ctx, &j.image);
    tsr_model_unref(&j.model);
    tsr_context_close(&j.ctx);
    assert_int_equal(poor_held, 0);
}

static int set_up(void **state)
{
    (void)state;
    hyper_gen(path, 31);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    return remove(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_fast),
        cmocka_unit_test(test_model),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
