/* SPDX-License-Identifier: BSD-2-Clause */
/* Models of the token codecs that are broken: refused, by the name of what is
 * wrong in them. */
#include "tests/token_case.h"

/* Encodes a small picture: the first use of everything. */
static tsr_error use(tsr_context *ctx, tsr_model *model)
{
    tsr_image image = token_picture(20, 12, 3, 8);
    mem_file file = { .data = NULL };
    const tsr_sink sink = token_sink(&file);
    tsr_tokens tokens;

    token_message[0] = 0;
    tsr_error error = tsr_image_encode(ctx, model, NULL, &image, &sink);
    if (!error) {
        assert_int_equal(tsr_tokens_from_image(ctx, model, NULL, &image,
                                               &tokens), TSR_OK);
        tsr_image out = { .data = NULL };
        error = tsr_tokens_to_image(ctx, model, NULL, &tokens, &out);
        tsr_image_free(ctx, &out);
        tsr_tokens_free(ctx, &tokens);
    }
    free(file.data);
    free(image.data);
    return error;
}

/* A model of the list without number `skip`: refused, and the message names
 * `name` (NULL: used). */
static void judge(tsr_context *ctx, check_tensors *list, size_t skip,
                  const char *meta, const char *name)
{
    tsr_model *model = token_open_list(ctx, list, skip, meta);
    const tsr_error error = use(ctx, model);

    if (error != (name ? TSR_E_SHAPE : TSR_OK))
        fail_msg("%s: %s, %s", name ? name : "good", tsr_error_string(error),
                 token_message);
    if (name && !strstr(token_message, name))
        fail_msg("%s: %s", name, token_message);
    tsr_model_unref(&model);
}

static bool optional(const char *name)
{
    return !strcmp(name, "tessera.order") || !strcmp(name, "tessera.frequency");
}

/* Every tensor once missing, once of another rank, once of integers. */
static void check_tensors_of(int simvq)
{
    const char *meta = simvq ? TOKEN_META_SIMVQ : TOKEN_META;
    token_sizes s = TOKEN_SIZES;
    tsr_context *ctx = case_context("c", 1, 0);
    check_tensors list = token_model(&s, simvq, 5);

    judge(ctx, &list, SIZE_MAX, meta, NULL);
    for (size_t i = 0; i < list.count; i++) {
        check_tensor *t = &list.tensor[i];
        const bool floats = !strcmp(t->dtype, "F32");
        char name[CHECK_NAME];
        check_name(name, "%s", t->name);
        /* Without its tables a level does not exist, and which tensor is
         * missing then is a matter of the book's tests. */
        if (strncmp(name, "tessera.", 8))
            judge(ctx, &list, i, meta, name);
        else if (optional(name))
            judge(ctx, &list, i, meta, NULL);
        t->dims[t->rank++] = 1;
        judge(ctx, &list, SIZE_MAX, meta, name);
        t->rank--;
        if (floats) {
            memcpy(t->dtype, "I32", 4);
            judge(ctx, &list, SIZE_MAX, meta, name);
            memcpy(t->dtype, "F32", 4);
        }
    }
    check_tensors_free(&list);
    tsr_context_close(&ctx);
}

static void test_vqgan_tensors(void **state)
{
    (void)state;
    check_tensors_of(0);
}

static void test_simvq_tensors(void **state)
{
    (void)state;
    check_tensors_of(1);
}

/* Channels, patches and resolutions that do not go together. */
static void test_sizes(void **state)
{
    static const struct { const char *tensor; uint64_t in, out; } wrong[] = {
        { "encoder.conv_in.weight", 5, 0 }, { "encoder.conv_in.weight", 3, 0 },
        { "decoder.conv_out.weight", 0, 3 }, { "decoder.conv_out.weight", 0, 7 },
        { "quant_conv.weight", 0, 3 }, { "post_quant_conv.weight", 5, 0 },
        { "encoder.down.1.block.0.conv2.weight", 0, 6 },
        { "decoder.up.1.upsample.conv.weight", 0, 5000 },
    };
    token_sizes s = TOKEN_SIZES;
    tsr_context *ctx = case_context("c", 1, 0);
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        check_tensors list = token_model(&s, 0, 5);
        check_tensor *t = check_tensors_find(&list, wrong[i].tensor);
        t->dims[0] = wrong[i].out ? wrong[i].out : t->dims[0];
        t->dims[1] = wrong[i].in ? wrong[i].in : t->dims[1];
        t->bytes = check_dims(4, t->dims) * 4;
        t->data = realloc(t->data, t->bytes);
        assert_non_null(t->data);
        memset(t->data, 0, t->bytes);
        tsr_model *model = token_open_list(ctx, &list, SIZE_MAX, TOKEN_META);
        assert_int_equal(use(ctx, model), TSR_E_SHAPE);
        assert_non_null(strstr(token_message, "'"));
        tsr_model_unref(&model);
        check_tensors_free(&list);
    }
    tsr_context_close(&ctx);
}

static void test_groups(void **state)
{
    static const int32_t bad[] = { 3, 0, -2, 32, INT32_MIN, INT32_MAX };
    token_sizes s = TOKEN_SIZES;
    tsr_context *ctx = case_context("c", 1, 0);
    check_tensors list = token_model(&s, 0, 5);
    check_tensor *groups = check_tensors_find(&list, "tessera.groups");
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        memcpy(groups->data, &bad[i], sizeof bad[i]);
        judge(ctx, &list, SIZE_MAX, TOKEN_META, "'");
    }
    /* 32 where nothing is said: 4 channels have no 32 groups. */
    judge(ctx, &list, (size_t)(groups - list.tensor), TOKEN_META, "norm1");
    check_tensors_free(&list);
    tsr_context_close(&ctx);
}

static void set(check_tensors *list, const char *name, size_t at, float value)
{
    ((float *)check_tensors_find(list, name)->data)[at] = value;
}

/* A codebook with a NaN or an infinity, whichever way the model has it. */
static void test_codebook(void **state)
{
    static const float bad[] = { NAN, INFINITY, -INFINITY };
    token_sizes s = TOKEN_SIZES;
    tsr_context *ctx = case_context("c", 1, 0);
    const uint64_t table[] = { 300, 6 }, weight[] = { 4, 6 }, plain[] = { 300, 4 };
    check_tensors list = token_model(&s, 0, 5);
    (void)state;
    for (int i = 0; i < 3; i++) {
        set(&list, "tessera.codebook", 1199, bad[i]);
        judge(ctx, &list, SIZE_MAX, TOKEN_META, "'tessera.codebook'");
    }
    check_tensor *book = check_tensors_find(&list, "tessera.codebook");
    check_name(book->name, "quantize.embedding.weight");
    judge(ctx, &list, SIZE_MAX, TOKEN_META, "'quantize.embedding.weight'");
    set(&list, "quantize.embedding.weight", 1199, 0);
    judge(ctx, &list, SIZE_MAX, TOKEN_META, NULL);
    assert_int_equal(check_dims(2, plain) * 4,
                     check_tensors_find(&list, "quantize.embedding.weight")
                         ->bytes);

    const char *names[] = { "tok_embeddings.weight",
                            "codebook_projection.weight",
                            "codebook_projection.bias" };
    const uint64_t *dims[] = { table, weight, weight };
    for (int i = 0; i < 3; i++) {
        const int rank = i == 2 ? 1 : 2;
        float *to = check_tensors_add(&list, names[i], "F32", 4, rank, dims[i]);
        for (size_t k = 0; k < check_dims(rank, dims[i]); k++)
            to[k] = (float)(k % 7) - 3;
    }
    judge(ctx, &list, SIZE_MAX, TOKEN_META, NULL);
    for (int i = 0; i < 3; i++) {
        set(&list, names[i], 2, bad[i]);
        judge(ctx, &list, SIZE_MAX, TOKEN_META, names[i]);
        set(&list, names[i], 2, 1);
    }
    set(&list, names[0], 2, 3e38f); /* finite, but not when projected */
    judge(ctx, &list, SIZE_MAX, TOKEN_META, names[0]);
    check_tensors_free(&list);
    tsr_context_close(&ctx);
}

/* The wrong kind of model. */
static void test_other_codec(void **state)
{
    token_sizes s = TOKEN_SIZES;
    tsr_context *ctx = case_context("c", 1, 0);
    check_tensors list = token_model(&s, 0, 5);
    tsr_model *model = token_open_list(ctx, &list, SIZE_MAX,
                                       "\"tessera.codec\":\"hyper\"");
    tsr_image image = token_picture(9, 9, 3, 8), out = { .data = NULL };
    int32_t ids[4] = { 0 };
    tsr_tokens tokens, one = { 2, 2, 0, 300, 8, ids };
    tsr_tokens_model info;
    mem_file file = { .data = NULL };
    const tsr_sink sink = token_sink(&file);
    (void)state;
    assert_int_equal(tsr_tokens_describe(ctx, model, &info),
                     TSR_E_UNSUPPORTED);
    assert_int_equal(tsr_tokens_from_image(ctx, model, NULL, &image, &tokens),
                     TSR_E_UNSUPPORTED);
    assert_int_equal(tsr_tokens_to_image(ctx, model, NULL, &one, &out),
                     TSR_E_UNSUPPORTED);
    assert_int_equal(tsr_tokens_write(ctx, model, NULL, &one, 0, 0, &sink),
                     TSR_E_UNSUPPORTED);
    free(image.data);
    tsr_model_unref(&model);
    check_tensors_free(&list);
    tsr_context_close(&ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vqgan_tensors),
        cmocka_unit_test(test_simvq_tensors),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_groups),
        cmocka_unit_test(test_codebook),
        cmocka_unit_test(test_other_codec),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
