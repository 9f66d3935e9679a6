/* SPDX-License-Identifier: BSD-2-Clause */
/* Streams that were made on a GPU (tests/golden/gpu, by `cuda_image golden`)
 * decode here to the tokens that they held there. */
#include "config.h"
#include "tests/gpu_streams.h"

#define FOLDER "tests/golden/gpu/"

/* A stream of the folder; free() its data. */
static mem_file load(const char *name)
{
    char path[200];
    mem_file m = { .room = 1 << 20 };

    snprintf(path, sizeof path, FOLDER "%s", name);
    FILE *file = fopen(check_path(path), "rb");
    m.data = malloc(m.room);
    assert_non_null(m.data);
    if (!file)
        fail_msg("no file %s", path);
    m.size = fread(m.data, 1, m.room, file);
    fclose(file);
    return m;
}

static void check_one(tsr_context *ctx, const char *name, int width, int height,
                      uint32_t crc)
{
    char model_name[16];
    mem_file file = load(name);

    assert_int_equal(sscanf(name, "%15[a-z]", model_name), 1);
    tsr_model *model = gpu_model(ctx, model_name);
    gpu_tokens t = gpu_read(ctx, model, &file);
    if (gpu_crc(&t) != crc)
        fail_msg("%s: %08x, not %08x", name, (unsigned)gpu_crc(&t),
                 (unsigned)crc);
    tsr_image image = token_decode(ctx, model, &file, TSR_OK);
    assert_int_equal(image.width, width);
    assert_int_equal(image.height, height);
    tsr_image_free(ctx, &image);
    tsr_model_unref(&model);
    free(t.id);
    free(file.data);
}

static void test_streams(void **state)
{
    FILE *list = fopen(check_path(FOLDER "list"), "r");
    tsr_context *ctx = case_context("auto", 1, 0);
    char name[64];
    unsigned crc;
    int width, height, n = 0;

    (void)state;
    assert_non_null(list);
    while (fscanf(list, "%63s %d %d %x", name, &width, &height, &crc) == 4) {
        check_one(ctx, name, width, height, crc);
        n++;
    }
    assert_true(feof(list));
    assert_in_range(n, 4, 100);
    fclose(list);
    tsr_context_close(&ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_streams) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
