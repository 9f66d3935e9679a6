/* SPDX-License-Identifier: BSD-2-Clause */
/* Models with nested codebooks, made from the tokens of pictures. */
#include "tests/poor.h"
#include "tests/token_case.h"

enum { PICTURES = 6, GRID = 16 };

static token_sizes bare_sizes(void)
{
    token_sizes s = TOKEN_SIZES;

    s.levels = 1;
    s.context = 0;
    return s;
}

static void take_tokens(tsr_context *ctx, tsr_model *model, tsr_tokens *tokens)
{
    tsr_image_settings s = token_settings(100, 1, 0);

    for (int i = 0; i < PICTURES; i++) {
        tsr_image image = token_picture(60 + 31 * i, 200 - 17 * i, 3, 8);
        assert_int_equal(tsr_tokens_from_image(ctx, model, &s, &image, &tokens[i]),
                         TSR_OK);
        free(image.data);
    }
}

static void drop_tokens(tsr_context *ctx, tsr_tokens *tokens)
{
    for (int i = 0; i < PICTURES; i++)
        tsr_tokens_free(ctx, &tokens[i]);
}

static tsr_tokens_nest_settings nest_settings(void)
{
    tsr_tokens_nest_settings s;

    tsr_tokens_nest_settings_init(&s);
    assert_int_equal(s.levels, 4);
    assert_int_equal(s.codes[0], 16384);
    s.levels = 3;                   /* the first is left out */
    s.codes[0] = 300;
    s.codes[1] = 80;
    s.codes[2] = 9;
    return s;
}

/* The model in a stream's bytes. */
static tsr_model *open_bytes(tsr_context *ctx, const mem_file *file)
{
    char path[64];
    tsr_model *model;

    snprintf(path, sizeof path, "./tokens_nest_%ld.safetensors", (long)getpid());
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(file->data, 1, file->size, f), file->size);
    assert_int_equal(fclose(f), 0);
    if (tsr_model_open(&model, ctx, path))
        fail_msg("%s", token_message);
    assert_int_equal(remove(path), 0); /* it stays mapped */
    return model;
}

static mem_file nest(tsr_context *ctx, tsr_model *model, const tsr_tokens *tokens,
                     tsr_tokens_nest_result *result)
{
    const tsr_tokens_nest_settings s = nest_settings();
    mem_file file = { .data = NULL };
    const tsr_sink sink = token_sink(&file);

    if (tsr_tokens_nest(ctx, model, &s, tokens, PICTURES, &sink, result))
        fail_msg("%s", token_message);
    return file;
}

/* All that the old model had but its levels is in the new one. */
static void check_kept(const tsr_model *old, const tsr_model *new)
{
    for (size_t i = 0; i < tsr_model_tensor_count(old); i++) {
        const tsr_tensor *a = tsr_model_tensor_at(old, i);
        const tsr_tensor *b = tsr_model_tensor(new, a->name);
        if (!strncmp(a->name, "tessera.", 8) &&
            strcmp(a->name, "tessera.codebook"))
            continue;
        assert_non_null(b);
        assert_true(a->dtype == b->dtype && a->rank == b->rank);
        assert_memory_equal(a->dims, b->dims, (size_t)a->rank * sizeof *a->dims);
        assert_memory_equal(a->data, b->data, a->bytes);
    }
}

static void check_result(const tsr_tokens_nest_result *r)
{
    assert_int_equal(r->levels, 3);
    assert_int_equal(r->codes[0], 300);
    assert_int_equal(r->codes[1], 80);
    assert_int_equal(r->codes[2], 9);
    assert_int_equal(r->context, 1);
    /* 15 rows of 24 tokens: the fifth picture */
    assert_int_equal(r->held, (200 - 17 * 4 + 7) / 8 * ((60 + 31 * 4 + 7) / 8));
    assert_true(r->fitted > r->held);
    for (int j = 0; j < 3; j++) {
        assert_float_equal(r->fixed_bits[j], log2(r->codes[j]), 1e-9);
        assert_true(r->frequency_bits[j] > 0 && r->context_bits[j] > 0);
        assert_true(r->frequency_bits[j] < r->fixed_bits[j]);
    }
}

/* Pictures at every level of the new model. */
static void check_pictures(tsr_context *ctx, tsr_model *model)
{
    tsr_image image = token_picture(90, 50, 3, 8);

    for (int q = 0; q <= 100; q += 50) {
        const tsr_image_settings s = token_settings(q, 2, 1);
        mem_file file = token_encode(ctx, model, &s, &image);
        tsr_image out = token_decode(ctx, model, &file, TSR_OK);
        assert_true(out.width == 90 && out.height == 50);
        tsr_image_free(ctx, &out);
        free(file.data);
    }
    free(image.data);
}

static void check_nest(int simvq, int threads)
{
    token_sizes bare = bare_sizes();
    tsr_context *ctx = case_context("c", threads, 0);
    tsr_model *old = token_open(ctx, &bare, simvq);
    tsr_tokens tokens[PICTURES];
    tsr_tokens_nest_result r;
    tsr_tokens_model info;

    take_tokens(ctx, old, tokens);
    mem_file file = nest(ctx, old, tokens, &r), again;
    check_result(&r);
    tsr_model *new = open_bytes(ctx, &file);
    check_kept(old, new);
    assert_string_equal(tsr_model_codec(new), simvq ? "simvq" : "vqgan");
    assert_non_null(tsr_model_meta(new, "tessera.sha256"));
    assert_int_equal(tsr_tokens_describe(ctx, new, &info), TSR_OK);
    assert_true(info.levels == 3 && info.codes[1] == 80 && info.context);
    check_pictures(ctx, new);
    /* from a model that has levels already: they are made anew */
    again = nest(ctx, new, tokens, NULL);
    token_same_file(&file, &again);
    free(again.data);
    free(file.data);
    drop_tokens(ctx, tokens);
    tsr_model_unref(&new);
    tsr_model_unref(&old);
    tsr_context_close(&ctx);
}

static void test_vqgan(void **state)
{
    (void)state;
    check_nest(0, 1);
}

static void test_simvq(void **state)
{
    (void)state;
    check_nest(1, 3);
}

/* What is not ours stays; a net that fills in lost tokens goes: it was made for
 * other levels. */
static void test_other_parts(void **state)
{
    token_sizes sizes = TOKEN_SIZES;
    tsr_context *ctx = case_context("c", 1, 0);
    check_tensors list = token_model(&sizes, 0, 5);
    tsr_tokens tokens[PICTURES];
    static const uint64_t dims[] = { 3 };
    (void)state;

    memset(check_tensors_add(&list, "zz.unknown", "F64", 8, 1, dims), 1, 24);
    memset(check_tensors_add(&list, "tessera.orders", "U8", 1, 1, dims), 1, 3);
    memset(check_tensors_add(&list, "tessera.fill.x", "U8", 1, 1, dims), 1, 3);
    tsr_model *old = token_open_list(
        ctx, &list, SIZE_MAX, TOKEN_META ",\"a \\\"b\\\" \\\\\":\"\\u0001\\u00e9\"");
    take_tokens(ctx, old, tokens);
    mem_file file = nest(ctx, old, tokens, NULL);
    tsr_model *new = open_bytes(ctx, &file);
    check_kept(old, new);
    assert_non_null(tsr_model_tensor(new, "zz.unknown"));
    assert_non_null(tsr_model_tensor(new, "tessera.orders"));
    assert_null(tsr_model_tensor(new, "tessera.level.3.start"));
    assert_null(tsr_model_tensor(new, "tessera.fill.x"));
    assert_string_equal(tsr_model_meta(new, "a \"b\" \\"), "\x01\xc3\xa9");
    for (size_t i = 0; i < tsr_model_tensor_count(new); i++) {
        const tsr_tensor *t = tsr_model_tensor_at(new, i);
        assert_int_equal((uintptr_t)t->data % tsr_dtype_bytes(t->dtype), 0);
    }
    free(file.data);
    drop_tokens(ctx, tokens);
    check_tensors_free(&list);
    tsr_model_unref(&new);
    tsr_model_unref(&old);
    tsr_context_close(&ctx);
}

/* ---- 256 tokens and their frequencies: the ideal and 16 bytes ---- */

static void test_price(void **state)
{
    token_sizes sizes = TOKEN_SIZES;
    tsr_context *ctx = case_context("c", 1, 0);
    check_rng rng = { 77 };
    int32_t id[GRID * GRID];
    (void)state;

    sizes.patch = 4;                /* 16 x 16 pixels a token */
    sizes.context = 0;
    tsr_model *model = token_open(ctx, &sizes, 0);
    const tsr_tensor *t = tsr_model_tensor(model, "tessera.frequency");
    const tsr_tokens tokens = { GRID, GRID, 0, sizes.codes, 16, id };
    const tsr_image_settings s = token_settings(100, 1, 0);
    for (int trial = 0; trial < 200; trial++) {
        double bits = 0, all = 0;
        mem_file file = { .data = NULL };
        const tsr_sink sink = token_sink(&file);
        for (int i = 0; i < sizes.codes; i++)
            all += tsri_get32((const uint8_t *)t->data + 4 * i);
        for (int i = 0; i < GRID * GRID; i++) {
            do
                id[i] = (int32_t)check_below(&rng, (uint32_t)sizes.codes);
            while (tsri_get32((const uint8_t *)t->data + 4 * id[i]) <
                   check_below(&rng, 200));
            bits += log2(all / tsri_get32((const uint8_t *)t->data + 4 * id[i]));
        }
        assert_int_equal(tsr_tokens_write(ctx, model, &s, &tokens, 256, 256, &sink),
                         TSR_OK);
        assert_true((double)file.size <= bits / 8 + 16);
        free(file.data);
    }
    tsr_model_unref(&model);
    tsr_context_close(&ctx);
}

/* ---- what is refused ---- */

static void expect(tsr_context *ctx, tsr_model *model,
                   const tsr_tokens_nest_settings *s, const tsr_tokens *tokens,
                   size_t n, tsr_error want)
{
    mem_file file = { .data = NULL };
    const tsr_sink sink = token_sink(&file);

    *token_message = 0;
    assert_int_equal(tsr_tokens_nest(ctx, model, s, tokens, n, &sink, NULL), want);
    assert_int_equal(file.size, 0);
    assert_true(want == TSR_E_CANCELED || *token_message);
    free(file.data);
}

static void check_bad_tokens(tsr_context *ctx, tsr_model *model,
                             const tsr_tokens_nest_settings *s)
{
    int32_t id[2][6] = { { 0, 1, 2, 3, 4, 5 }, { 299, 0, 0, 0, 0, 0 } };
    tsr_tokens t[] = { { 2, 3, 0, 300, 8, id[0] }, { 3, 2, 0, 300, 8, id[1] } };

    expect(ctx, model, s, t, 0, TSR_E_ARG);
    for (int32_t bad = -1; bad <= 300; bad += 301) {
        id[1][3] = bad;
        expect(ctx, model, s, t, 2, TSR_E_ARG);
        assert_non_null(strstr(token_message, "picture 1, row 1, column 1"));
    }
    id[1][3] = 0;
    t[1].level = 1;
    expect(ctx, model, s, t, 2, TSR_E_ARG);
    t[1].level = 0;
    t[1].codes = 299;
    expect(ctx, model, s, t, 2, TSR_E_ARG);
    t[1].codes = 300;
    t[1].height = 0;
    expect(ctx, model, s, t, 2, TSR_E_ARG);
}

static int stop(void *cookie, double done)
{
    (void)cookie;
    return done >= 0;
}

static tsr_error full(void *cookie, const void *data, size_t size)
{
    int *left = cookie;
    (void)data;
    (void)size;
    return (*left)-- > 0 ? TSR_OK : TSR_E_IO;
}

static void test_refused(void **state)
{
    token_sizes bare = bare_sizes();
    tsr_context *ctx = case_context("c", 1, 0);
    tsr_model *model = token_open(ctx, &bare, 0);
    tsr_tokens_nest_settings s = nest_settings();
    int32_t id[2] = { 0, 299 };
    const tsr_tokens t = { 1, 2, 0, 300, 8, id };
    (void)state;

    check_bad_tokens(ctx, model, &s);
    s.codes[2] = 80;
    expect(ctx, model, &s, &t, 1, TSR_E_ARG);
    s.codes[2] = 0;
    expect(ctx, model, &s, &t, 1, TSR_E_ARG);
    s.levels = 8;
    expect(ctx, model, &s, &t, 1, TSR_E_ARG);
    s.levels = -1;
    expect(ctx, model, &s, &t, 1, TSR_E_ARG);
    s = nest_settings();
    s.progress.report = stop;
    expect(ctx, model, &s, &t, 1, TSR_E_CANCELED);
    s = nest_settings();
    for (int left = 0; left < 9; left++) {
        int calls = left;
        const tsr_sink sink = { &calls, full };
        assert_int_equal(tsr_tokens_nest(ctx, model, &s, &t, 1, &sink, NULL),
                         TSR_E_IO);
    }
    tsr_model_unref(&model);
    check_tensors list = token_model(&bare, 0, 5);
    model = token_open_list(ctx, &list, SIZE_MAX, "\"tessera.codec\":\"mcquic\"");
    expect(ctx, model, &s, &t, 1, TSR_E_UNSUPPORTED);
    check_tensors_free(&list);
    tsr_model_unref(&model);
    tsr_context_close(&ctx);
}

/* Every allocation fails once. */
static void test_no_memory(void **state)
{
    token_sizes bare = bare_sizes();
    tsr_context *ctx = poor_context("c", 1);
    tsr_model *model = token_open(ctx, &bare, 0);
    tsr_tokens_nest_settings s = nest_settings();
    int32_t id[12] = { 0, 299, 7, 7, 8, 9, 7, 7, 8, 120, 7, 8 };
    const tsr_tokens t = { 3, 4, 0, 300, 8, id };
    const int held = poor_held;
    tsr_error error = TSR_E_NOMEM;
    int left = 0;
    (void)state;

    s.codes[1] = 5;
    s.codes[2] = 2;
    for (; error; left++) {
        mem_file file = { .data = NULL };
        const tsr_sink sink = token_sink(&file);
        poor_left = left;
        error = tsr_tokens_nest(ctx, model, &s, &t, 1, &sink, NULL);
        poor_left = POOR_MANY;
        assert_true(!error || error == TSR_E_NOMEM);
        assert_int_equal(poor_held, held);
        free(file.data);
    }
    assert_in_range(left, 60, 1000);
    tsr_model_unref(&model);
    tsr_context_close(&ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vqgan), cmocka_unit_test(test_simvq),
        cmocka_unit_test(test_other_parts), cmocka_unit_test(test_price),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_no_memory)
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
