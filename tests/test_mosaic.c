/* SPDX-License-Identifier: BSD-2-Clause */
/* The shipped model `mosaic` against the PyTorch program that trained it:
 * tokens, and the pictures of three levels, on both backends. */
#include "config.h"
#include <math.h>
#include <tessera/tokens.h>
#include "lib/nn/backend.h"
#include "tests/npy.h"

#define VECTORS "tests/vectors/mosaic/"
enum { HEIGHT = 64, WIDTH = 80 };

/* Tokens that are nearly as near to a second codeword may differ. */
static const float margin_least = 1e-3f;

static void check_tokens(tsr_context *ctx, tsr_model *model,
                         const tsr_image *image)
{
    check_npy ids = check_npy_read(VECTORS "ids.npy");
    check_npy margin = check_npy_read(VECTORS "margin.npy");
    const uint16_t *want = ids.data;
    tsr_image_settings set;
    tsr_tokens t;
    int sure = 0;

    tsr_image_settings_init(&set);
    set.quality = 100;
    assert_int_equal(tsr_tokens_from_image(ctx, model, &set, image, &t), TSR_OK);
    assert_int_equal((size_t)t.height * (size_t)t.width, ids.count);
    for (size_t i = 0; i < ids.count; i++) {
        if (((const float *)margin.data)[i] < margin_least)
            continue;
        assert_int_equal(t.id[i], want[i]);
        sure++;
    }
    assert_in_range(sure, 15, 20);
    tsr_tokens_free(ctx, &t);
    free(margin.data);
    free(ids.data);
}

/* The picture of the level's tokens: within 1 of the vector's, rounded. */
static void check_level(tsr_context *ctx, tsr_model *model,
                        const tsr_image *image, int level)
{
    char name[64];
    tsr_tokens_model info;
    tsr_image_settings set;
    tsr_tokens t;
    tsr_image out = { .width = WIDTH, .height = HEIGHT };

    snprintf(name, sizeof name, VECTORS "recon_%d.npy", level);
    check_npy recon = check_npy_read(name);
    assert_int_equal(tsr_tokens_describe(ctx, model, &info), TSR_OK);
    tsr_image_settings_init(&set);
    set.quality = 100 * (info.levels - 1 - level + 0.5) / info.levels;
    assert_int_equal(tsr_tokens_from_image(ctx, model, &set, image, &t), TSR_OK);
    assert_int_equal(t.level, level);
    assert_int_equal(tsr_tokens_to_image(ctx, model, NULL, &t, &out), TSR_OK);
    assert_int_equal(recon.count, 3 * HEIGHT * WIDTH);
    for (int c = 0; c < 3; c++)
        for (int i = 0; i < HEIGHT * WIDTH; i++) {
            const uint8_t *row = (const uint8_t *)out.data +
                                 (size_t)(i / WIDTH) * out.stride;
            const float v = ((const float *)recon.data)[c * HEIGHT * WIDTH + i];
            const double want = fmin(fmax((v + 1) * 127.5, 0), 255);
            assert_true(fabs(row[i % WIDTH * 3 + c] - want) <= 1);
        }
    tsr_image_free(ctx, &out);
    tsr_tokens_free(ctx, &t);
    free(recon.data);
}

static void check_backend(const char *backend)
{
    tsr_context *ctx = check_context(backend, 2);
    check_npy pixels = check_npy_read(VECTORS "input.npy");
    const tsr_image image = { WIDTH, HEIGHT, 3, 8, 3 * WIDTH, pixels.data };
    tsr_model *model;

    assert_int_equal(pixels.count, 3 * HEIGHT * WIDTH);
    assert_int_equal(tsr_model_open(&model, ctx,
                                    check_path("models/mosaic.safetensors")),
                     TSR_OK);
    check_tokens(ctx, model, &image);
    for (int level = 0; level <= 4; level += 2)
        check_level(ctx, model, &image, level);
    tsr_model_unref(&model);
    tsr_context_close(&ctx);
    free(pixels.data);
}

static void test_plain(void **state)
{
    (void)state;
    check_backend("c");
}

static void test_onednn(void **state)
{
    (void)state;
    if (!tsri_nn_onednn())
        skip();
    check_backend("onednn");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_onednn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
