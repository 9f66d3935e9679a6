/* SPDX-License-Identifier: BSD-2-Clause */
/* token_pictures DIR: writes a model, streams of pictures, and their ids as
 * text, for tests/token_reader.py. */
#include "tests/token_case.h"

static void write_ids(const tsr_tokens *t, const char *path)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    for (int y = 0; y < t->height; y++)
        for (int x = 0; x < t->width; x++)
            fprintf(f, "%d%c", (int)t->id[y * t->width + x],
                    x + 1 < t->width ? ' ' : '\n');
    assert_int_equal(fclose(f), 0);
}

static void write_bytes(const mem_file *file, const char *path)
{
    FILE *f = fopen(path, "wb");

    assert_non_null(f);
    assert_int_equal(fwrite(file->data, 1, file->size, f), file->size);
    assert_int_equal(fclose(f), 0);
}

static void write_picture(tsr_context *ctx, tsr_model *model, const char *folder,
                          int number)
{
    static const struct { int width, height, container, interleave, quality; }
        pictures[] = {
            { 1, 1, 0, 1, 100 }, { 3, 5, 1, 1, 0 }, { 61, 47, 0, 1, 60 },
            { 61, 47, 1, 4, 60 }, { 200, 90, 0, 2, 0 }, { 1040, 17, 0, 1, 100 },
        };
    const tsr_image_settings s = token_settings(pictures[number].quality,
                                                pictures[number].interleave,
                                                pictures[number].container);
    tsr_image image = token_picture(pictures[number].width,
                                    pictures[number].height, 3, 8);
    mem_file file = token_encode(ctx, model, &s, &image);
    char path[4096];
    tsr_tokens tokens;

    assert_int_equal(tsr_tokens_from_image(ctx, model, &s, &image, &tokens), 0);
    snprintf(path, sizeof path, "%s/%d.tess", folder, number);
    write_bytes(&file, path);
    snprintf(path, sizeof path, "%s/%d.ids", folder, number);
    write_ids(&tokens, path);
    tsr_tokens_free(ctx, &tokens);
    free(file.data);
    free(image.data);
}

int main(int argc, char **argv)
{
    token_sizes s = TOKEN_SIZES;
    tsr_context *ctx = case_context("c", 1, 0);
    check_tensors list = token_model(&s, 0, 5);
    char path[4096];

    if (argc != 2)
        return 99;
    snprintf(path, sizeof path, "%s/model.safetensors", argv[1]);
    check_tensors_write(&list, SIZE_MAX, TOKEN_META, path);
    check_tensors_free(&list);
    tsr_model *model = token_open(ctx, &s, 0);
    for (int i = 0; i < 6; i++)
        write_picture(ctx, model, argv[1], i);
    tsr_model_unref(&model);
    tsr_context_close(&ctx);
    return 0;
}
