/* SPDX-License-Identifier: BSD-2-Clause */
/* Orders, frequencies, levels and contexts of token models, and bad ones. */
#include <math.h>
#include "tests/poor.h"
#include "tests/token_tensors.h"

static void test_nothing(void **state)
{
    const token_plan p = { .codes = 5, .dim = 3, .levels = 1 };
    tsr_context *ctx = check_context("c", 1);
    token_case c;
    (void)state;

    token_case_open(&c, ctx, &p);
    assert_int_equal(tsri_token_book_levels(c.book), 1);
    assert_int_equal(tsri_token_book_size(c.book, 0), 5);
    assert_int_equal(tsri_token_book_dim(c.book), 3);
    assert_false(tsri_token_book_context(c.book));
    assert_ptr_equal(tsri_token_book_words(c.book, 0), c.words);
    assert_int_equal(tsri_token_book_common(c.book, 0), 0);
    assert_int_equal(tsri_token_book_total(c.book), 5);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(tsri_token_book_weight(c.book, 0, i), 1);
        assert_int_equal(tsri_token_book_coarser(c.book, 0, i, 0), i);
    }
    token_case_close(&c);
    tsri_token_book_close(&c.book, ctx);
    tsri_token_book_close(NULL, ctx);
    tsr_context_close(&ctx);
}

/* The cluster that holds a place: the last that starts at or before it. */
static int holds(const int32_t *start, int n, int place)
{
    int at = 0;
    for (int i = 1; i < n; i++)
        at = start[i] <= place ? i : at;
    return at;
}

static const int32_t *ints(const token_case *c, const char *name)
{
    const check_tensor *t = check_tensors_find(&c->list, name);
    return t ? t->data : NULL;
}

/* Level j of the book against the tensors. */
static void check_level(const token_case *c, const token_plan *p, int j)
{
    const int32_t *order = ints(c, "tessera.order");
    const int32_t *frequency = ints(c, "tessera.frequency");
    char name[CHECK_NAME];
    uint32_t *sum = calloc((size_t)p->codes, sizeof *sum);
    int common = 0;

    assert_non_null(sum);
    const int32_t *start = ints(c, check_name(name, "tessera.level.%d.start", j));
    const int size = j ? p->size[j] : p->codes;
    assert_int_equal(tsri_token_book_size(c->book, j), size);
    for (int id = 0; id < p->codes; id++) {
        const int place = order ? order[id] : id;
        const int of = j ? holds(start, size, place) : id;
        assert_int_equal(tsri_token_book_coarser(c->book, 0, id, j), of);
        sum[of] += frequency ? (uint32_t)frequency[id] : 1;
    }
    for (int id = 0; id < size; id++) {
        assert_int_equal(tsri_token_book_weight(c->book, j, id), sum[id]);
        common = sum[id] > sum[common] ? id : common;
    }
    assert_int_equal(tsri_token_book_common(c->book, j), common);
    if (j) {
        check_name(name, "tessera.level.%d.codewords", j);
        assert_memory_equal(tsri_token_book_words(c->book, j),
                            check_tensors_find(&c->list, name)->data,
                            (size_t)size * (size_t)p->dim * sizeof(float));
    }
    free(sum);
}

static void test_levels(void **state)
{
    static const token_plan plans[] = {
        { 600, 4, 4, { 0, 200, 20, 3 }, true, true, true, 0, 1 },
        { 600, 1, 3, { 0, 600, 600 }, true, false, false, 0, 2 },
        { 257, 2, 2, { 0, 256 }, false, true, true, 257, 3 },
        { 40, 2, 8, { 0, 30, 20, 15, 10, 5, 2, 1 }, true, true, true, 41, 4 },
        { 1, 1, 2, { 0, 1 }, true, true, true, 0, 5 },
        { 300, 2, 2, { 0, 257 }, true, true, false, 0, 6 },
    };
    tsr_context *ctx = check_context("c", 1);
    (void)state;

    for (size_t i = 0; i < sizeof plans / sizeof *plans; i++) {
        const token_plan *p = &plans[i];
        token_case c;
        token_case_open(&c, ctx, p);
        assert_int_equal(tsri_token_book_levels(c.book), p->levels);
        assert_int_equal(tsri_token_book_context(c.book), p->context);
        for (int j = 0; j < p->levels; j++)
            check_level(&c, p, j);
        for (int id = 0; id < p->codes; id++)
            for (int from = 0; from < p->levels; from++)
                for (int to = from; to < p->levels; to++)
                    assert_int_equal(
                        tsri_token_book_coarser(
                            c.book, from,
                            tsri_token_book_coarser(c.book, 0, id, from), to),
                        tsri_token_book_coarser(c.book, 0, id, to));
        token_case_close(&c);
    }
    tsr_context_close(&ctx);
}

/* ---- bad models ---- */

static char last[1024];

static void keep(void *cookie, tsr_log_level level, const char *text)
{
    (void)cookie;
    (void)level;
    snprintf(last, sizeof last, "%s", text);
}

static tsr_context *quiet(void)
{
    tsr_context_settings s;
    tsr_context *ctx;

    tsr_context_settings_init(&s);
    s.backend = "c";
    s.threads = 1;
    s.logger.log = keep;
    assert_int_equal(tsr_context_open(&ctx, &s), TSR_OK);
    return ctx;
}

static const token_plan small = { 12, 2, 3, { 0, 6, 3 }, true, true, true, 0, 7 };

/* The message must name the tensor. */
static void expect_bad(check_tensors *list, const char *name)
{
    tsr_context *ctx = quiet();
    const float words[24] = { 0 };
    tsri_token_book *book;
    tsr_model *model = token_model(ctx, list);

    *last = 0;
    assert_int_equal(tsri_token_book_open(&book, ctx, model, 12, 2, words),
                     TSR_E_SHAPE);
    assert_null(book);
    if (!strstr(last, name))
        fail_msg("'%s' does not name %s", last, name);
    tsr_model_unref(&model);
    tsr_context_close(&ctx);
    check_tensors_free(list);
}

/* Sets one number. */
static void try_int(const char *name, int at, int32_t value)
{
    check_tensors list = { 0 };

    token_tensors(&list, &small);
    check_tensor *t = check_tensors_find(&list, name);
    ((int32_t *)t->data)[at] = value;
    expect_bad(&list, name);
}

static void test_bad_numbers(void **state)
{
    (void)state;
    try_int("tessera.order", 3, -1);
    try_int("tessera.order", 3, 12);
    try_int("tessera.order", 3, INT32_MIN);
    for (int i = 0; i < 2; i++) {   /* twice the same place */
        check_tensors list = { 0 };
        token_tensors(&list, &small);
        int32_t *order = check_tensors_find(&list, "tessera.order")->data;
        order[i * 11] = order[5];
        expect_bad(&list, "tessera.order");
    }
    try_int("tessera.frequency", 0, 0);
    try_int("tessera.frequency", 11, -5);
    try_int("tessera.frequency", 11, 1 << 20);
    try_int("tessera.frequency", 11, INT32_MAX);
    try_int("tessera.level.1.start", 0, 1);
    try_int("tessera.level.1.start", 0, -1);
    try_int("tessera.level.1.start", 5, 12);
    try_int("tessera.level.1.start", 1, 0);
    try_int("tessera.level.1.start", 1, INT32_MAX);
    try_int("tessera.level.2.start", 0, 2);
    try_int("tessera.level.2.start", 2, 0);
    for (int i = 0; i < 2; i++) {
        check_tensors list = { 0 };
        token_tensors(&list, &small);
        const char *name = i ? "tessera.level.2.codewords"
                             : "tessera.level.1.codewords";
        float *words = check_tensors_find(&list, name)->data;
        words[i] = i ? NAN : -INFINITY;
        expect_bad(&list, name);
    }
}

/* A start between those of the level before. */
static void test_not_nested(void **state)
{
    (void)state;
    for (int missing = 1; missing < 12; missing++) {
        check_tensors list = { 0 };
        token_tensors(&list, &small);
        const int32_t *one =
            check_tensors_find(&list, "tessera.level.1.start")->data;
        int32_t *two = check_tensors_find(&list, "tessera.level.2.start")->data;
        bool there = false;
        for (int i = 0; i < 6; i++)
            there = there || one[i] == missing;
        if (there) {
            check_tensors_free(&list);
            continue;
        }
        two[1] = missing;
        two[2] = missing < 11 ? 11 : two[2];
        expect_bad(&list, "tessera.level.2.start");
    }
}

/* Leaves one tensor out; the message names it or what wants it. */
static void try_without(const char *name, const char *named)
{
    check_tensors list = { 0 };

    token_tensors(&list, &small);
    strcpy(check_tensors_find(&list, name)->name, "unknown");
    expect_bad(&list, named);
}

static void test_missing(void **state)
{
    (void)state;
    try_without("tessera.level.1.start", "tessera.level.1.start");
    try_without("tessera.level.2.start", "tessera.level.2.start");
    try_without("tessera.level.1.codewords", "tessera.level.1.codewords");
    try_without("tessera.level.2.codewords", "tessera.level.2.codewords");
    try_without("tessera.context.bias", "tessera.context.bias");
    try_without("tessera.context.weight", "tessera.context.weight");
}

/* Gives a tensor another first side. */
static void try_shape(const char *name, uint64_t side)
{
    check_tensors list = { 0 };

    token_tensors(&list, &small);
    check_tensor *t = check_tensors_find(&list, name);
    const size_t row = t->bytes / (size_t)t->dims[0];
    void *data = calloc((size_t)side + 1, row);
    assert_non_null(data);
    memcpy(data, t->data, row * (size_t)(side < t->dims[0] ? side : t->dims[0]));
    free(t->data);
    t->data = data;
    t->dims[0] = side;
    t->bytes = row * (size_t)side;
    expect_bad(&list, name);
}

static void test_shapes(void **state)
{
    static const char *const names[] = {
        "tessera.order", "tessera.frequency", "tessera.level.1.codewords",
        "tessera.level.2.codewords", "tessera.context.bias",
        "tessera.context.weight"
    };
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        for (uint64_t side = 0; side < 14; side += 13)
            try_shape(names[i], side);
    try_shape("tessera.level.1.start", 0);
    try_shape("tessera.level.1.start", 13);
    try_shape("tessera.level.2.start", 7);
}

static void test_types(void **state)
{
    static const char *const names[] = {
        "tessera.order", "tessera.frequency", "tessera.level.1.start",
        "tessera.level.2.start"
    };
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        check_tensors list = { 0 };
        token_tensors(&list, &small);
        strcpy(check_tensors_find(&list, names[i])->dtype, "F32");
        expect_bad(&list, names[i]);
    }
    check_tensors list = { 0 };     /* a bias that 16 bits do not hold */
    token_tensors(&list, &small);
    check_tensor *t = check_tensors_find(&list, "tessera.context.bias");
    t->data = realloc(t->data, t->bytes *= 2);
    assert_non_null(t->data);
    strcpy(t->dtype, "I32");
    memcpy(t->data, (int32_t[]){ 0, 32768, 0 }, 12);
    expect_bad(&list, "tessera.context.bias");
}

static void test_too_much(void **state)
{
    check_tensors list = { 0 };
    token_plan p = { 12, 2, 8, { 0, 7, 6, 5, 4, 3, 2, 1 }, false, false, false,
                     0, 8 };
    const float words[1] = { 0 };
    tsr_context *ctx = quiet();
    tsri_token_book *book;
    (void)state;

    token_tensors(&list, &p);       /* a ninth level */
    const uint64_t dims[] = { 1 };
    memset(check_tensors_add(&list, "tessera.level.8.start", "I32", 4, 1, dims), 0,
           4);
    expect_bad(&list, "tessera.level.8");
    p.levels = 1;                   /* a context without levels */
    token_tensors(&list, &p);
    check_rng rng = { 1 };
    token_context(&list, 12, &rng);
    expect_bad(&list, "tessera.context.bias");
    token_tensors(&list, &small);
    tsr_model *model = token_model(ctx, &list);
    static const int codes[] = { INT32_MIN, -1, 0, TSRI_TOKEN_CODES + 1,
                                 INT32_MAX };
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        assert_int_equal(tsri_token_book_open(&book, ctx, model, codes[i], 1,
                                              words), TSR_E_SHAPE);
    tsr_model_unref(&model);
    tsr_context_close(&ctx);
    check_tensors_free(&list);
}

/* 257 clusters are too many classes. */
static void test_classes(void **state)
{
    const token_plan p = { 300, 1, 2, { 0, 257 }, false, false, true, 0, 9 };
    check_tensors list = { 0 };
    tsr_context *ctx = quiet();
    float words[300] = { 0 };
    tsri_token_book *book;
    (void)state;

    token_tensors(&list, &p);
    tsr_model *model = token_model(ctx, &list);
    assert_int_equal(tsri_token_book_open(&book, ctx, model, 300, 1, words),
                     TSR_E_SHAPE);
    assert_non_null(strstr(last, "tessera.context"));
    tsr_model_unref(&model);
    tsr_context_close(&ctx);
    check_tensors_free(&list);
}

static void test_no_memory(void **state)
{
    tsr_context *ctx = poor_context("c", 1);
    check_tensors list = { 0 };
    const float words[24] = { 0 };
    tsri_token_book *book;
    tsr_error error = TSR_E_NOMEM;
    int left = 0;
    (void)state;

    token_tensors(&list, &small);
    tsr_model *model = token_model(ctx, &list);
    const int held = poor_held;
    for (; error; left++) {
        poor_left = left;
        error = tsri_token_book_open(&book, ctx, model, 12, 2, words);
        poor_left = POOR_MANY;
        assert_true(!error || error == TSR_E_NOMEM);
        assert_true(!error == (book != NULL));
        assert_true(!error || poor_held == held);
    }
    assert_in_range(left, 15, 60);
    tsri_token_book_close(&book, ctx);
    assert_int_equal(poor_held, held);
    tsr_model_unref(&model);
    tsr_context_close(&ctx);
    check_tensors_free(&list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_bad_numbers),
        cmocka_unit_test(test_not_nested),
        cmocka_unit_test(test_missing),
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_too_much),
        cmocka_unit_test(test_classes),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
