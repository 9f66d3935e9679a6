/* SPDX-License-Identifier: BSD-2-Clause */
/* Codes of sound as segments and back, in every form. */
#include "tests/codes_gen.h"
#include "codecs/audio/codes_impl.h"
#include "lib/crc32c.h"

static const char path[] = "test_audio_codes.safetensors";
static const tsr_audio_entropy all[] = {
    TSR_AUDIO_ENTROPY_FIXED, TSR_AUDIO_ENTROPY_STATIC,
    TSR_AUDIO_ENTROPY_CONTEXT, TSR_AUDIO_ENTROPY_ADAPTIVE };
enum { ALL = sizeof all / sizeof *all };

typedef struct setup {
    tsr_context *ctx;
    tsri_codes *codes;
    tsri_codes_coder *coder;
    int books, codewords;
} setup;

static setup open_setup(int books, int codewords, bool tables)
{
    setup s = { .ctx = check_context("c", 1), .books = books,
                .codewords = codewords };
    model_gen g = { .rng = { (uint64_t)codewords + 9 }, .metadata = "" };
    tsr_model *model;

    model_ints(&g, "other", 2, 1, (int[]){ 2 }, 9);
    if (tables) {
        codes_static(&g, books, codewords);
        codes_context(&g, books, codewords);
    }
    model_write(&g, path);
    assert_int_equal(tsr_model_open(&model, s.ctx, "./test_audio_codes.safetensors"),
                     TSR_OK);
    assert_int_equal(tsri_codes_open(&s.codes, s.ctx, model, books, codewords),
                     TSR_OK);
    tsr_model_unref(&model);
    assert_int_equal(tsri_codes_coder_open(&s.coder, s.codes, s.ctx), TSR_OK);
    return s;
}

static void close_setup(setup *s)
{
    tsri_codes_coder_close(&s->coder);
    tsri_codes_close(&s->codes);
    tsr_context_close(&s->ctx);
}

/* A packet's segments, a copy. */
typedef struct packet {
    tsri_codes_form form;
    uint8_t *data;
    size_t bytes[TSR_AUDIO_MAX_BOOKS], all;
} packet;

static packet put(setup *s, const tsri_codes_form *form, const uint16_t *codes)
{
    packet p = { .form = *form };
    const uint8_t *data;

    assert_int_equal(tsri_codes_put(s->coder, form, codes, &data, p.bytes),
                     TSR_OK);
    for (int i = 0; i < (form->layers ? form->books : 1); i++)
        p.all += p.bytes[i];
    p.data = malloc(p.all);
    assert_non_null(p.data);
    memcpy(p.data, data, p.all);
    return p;
}

/* From a copy that ends where its memory ends. */
static tsr_error get(setup *s, const tsri_codes_form *form, const uint8_t *data,
                     const size_t *bytes, uint16_t *codes)
{
    size_t n = 0;

    for (int i = 0; i < (form->layers ? form->books : 1); i++)
        n += bytes[i];
    uint8_t *copy = malloc(n ? n : 1);
    memcpy(copy, data, n);
    const tsr_error error = tsri_codes_get(s->coder, form, copy, bytes, codes);
    free(copy);
    return error;
}

static size_t fixed_bytes(const setup *s, size_t n)
{
    size_t bits = 1;

    while (1 << bits < s->codewords)
        bits++;
    return (n * bits + 7) / 8;
}

static void round_trip(setup *s, const tsri_codes_form *form,
                       const uint16_t *codes)
{
    const size_t n = (size_t)form->frames * (size_t)form->books;
    const int segments = form->layers ? form->books : 1;
    uint16_t *back = malloc(n * sizeof *back);
    packet p = put(s, form, codes);

    assert_true(p.all <= fixed_bytes(s, n) + 4 * (size_t)segments);
    memset(back, 0xee, n * sizeof *back);
    assert_int_equal(get(s, form, p.data, p.bytes, back), TSR_OK);
    assert_memory_equal(back, codes, n * sizeof *back);
    free(p.data);
    free(back);
}

/* The coarser books of a packet with layers, alone. */
static void drop_layers(setup *s, const tsri_codes_form *form,
                        const uint16_t *codes)
{
    packet p = put(s, form, codes);

    for (int books = 1; books < form->books; books++) {
        tsri_codes_form less = *form;
        uint16_t *back = malloc((size_t)(form->frames * books) * sizeof *back);
        less.books = books;
        assert_int_equal(get(s, &less, p.data, p.bytes, back), TSR_OK);
        for (int i = 0; i < form->frames * books; i++)
            assert_int_equal(back[i], codes[i / books * form->books + i % books]);
        free(back);
    }
    free(p.data);
}

static void test_round_trip(void **state)
{
    static const int codewords[] = { 2, 3, 64, 1000, 1024, 65536 },
                     frames[] = { 1, 2, 7, 150, 750 };
    check_rng r = { 1 };
    (void)state;
    for (int w = 0; w < 6; w++) {
        setup s = open_setup(w == 5 ? 3 : 8, codewords[w], true);
        for (int i = 0; i < ALL * 5 * 2; i++) {
            tsri_codes_form form = { all[i % ALL], i / ALL % 2,
                                     1 + (int)check_below(&r, (uint32_t)s.books),
                                     frames[i / ALL / 2], check_u32(&r) };
            uint16_t *codes = codes_draw(&r, form.frames, form.books,
                                         s.codewords);
            round_trip(&s, &form, codes);
            if (form.layers)
                drop_layers(&s, &form, codes);
            free(codes);
        }
        close_setup(&s);
    }
}

/* Codes that tables and guesses are worst at, and best. */
static void test_extremes(void **state)
{
    enum { FRAMES = 3000 };
    setup s = open_setup(2, 1024, true);
    uint16_t *codes = calloc(2 * FRAMES, sizeof *codes);
    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        for (int i = 0; i < 2 * FRAMES; i++)
            codes[i] = (uint16_t)(kind == 0 ? 0 : kind == 1 ? 1023 :
                                  i % 3 * 511 + i / 2 % 2);
        for (int i = 0; i < 2 * ALL; i++) {
            const tsri_codes_form form = { all[i / 2], i % 2, 2, FRAMES, 1 };
            round_trip(&s, &form, codes);
            if (all[i / 2] == TSR_AUDIO_ENTROPY_ADAPTIVE) {
                packet p = put(&s, &form, codes);
                assert_true(p.all < FRAMES / 4); /* about 0.1 bit a code */
                free(p.data);
            }
        }
    }
    free(codes);
    close_setup(&s);
}

/* Four codes of 10 bits: 5 bytes and one.  Worked by hand. */
static void test_bytes(void **state)
{
    static const uint16_t codes[4] = { 0x155, 0x2aa, 0x3ff, 0 };
    const tsri_codes_form form = { TSR_AUDIO_ENTROPY_FIXED, false, 4, 1, 0 };
    setup s = open_setup(4, 1024, false);
    packet p = put(&s, &form, codes);
    (void)state;
    assert_int_equal(p.all, 6);
    assert_memory_equal(p.data + 1, "\x55\xa9\xfa\x3f\x00", 5);
    assert_false(p.data[0] & 1);
    free(p.data);
    close_setup(&s);
}

/* ---- books of two sizes ---- */

static setup open_shorter(int books, int codewords, int first, int others)
{
    setup s = open_setup(books, codewords, codewords == 1024);

    tsri_codes_shorten(s.codes, (int[]){ first, others });
    return s;
}

static void check_shorter(check_rng *r, setup *s, const int shorter[2],
                          const tsri_codes_form *form)
{
    const size_t n = (size_t)form->frames * (size_t)form->books;
    uint16_t *codes = codes_draw(r, form->frames, form->books, s->codewords);
    size_t bits = 0, apart = 0;

    for (size_t i = 0; i < n; i++) {
        const int k = (int)(i % (size_t)form->books);
        const int words = tsri_codes_words(s->codewords, shorter, k);
        codes[i] = (uint16_t)(codes[i] % words);
    }
    round_trip(s, form, codes);
    if (form->layers)
        drop_layers(s, form, codes);
    for (int k = 0; k < form->books; k++) {
        int width = 1;
        while (1 << width < tsri_codes_words(s->codewords, shorter, k))
            width++;
        bits += (size_t)(width * form->frames);
        apart += form->layers ? ((size_t)(width * form->frames) + 7) / 8 : 0;
    }
    packet p = put(s, form, codes);
    assert_true(p.all <= 3 * (size_t)form->books +
                (form->layers ? apart : (bits + 7) / 8));
    free(p.data);
    free(codes);
}

/* No code costs more bits than its own book has; tables do not serve. */
static void test_shorter(void **state)
{
    static const struct { int codewords, shorter[2]; } cases[] = {
        { 16384, { 0, 1 } }, { 8192, { 1, 0 } }, { 32768, { 0, 2 } },
        { 1024, { 1, 0 } }, { 1000, { 3, 0 } }, { 65536, { 0, 15 } },
        { 65536, { 15, 0 } },
    };
    static const tsr_audio_entropy forms[] = { TSR_AUDIO_ENTROPY_FIXED,
                                               TSR_AUDIO_ENTROPY_ADAPTIVE };
    check_rng r = { 3 };
    (void)state;
    for (size_t w = 0; w < sizeof cases / sizeof *cases; w++) {
        const int *shorter = cases[w].shorter;
        assert_true(tsri_codes_shorter_fit(cases[w].codewords, shorter));
        setup s = open_shorter(3, cases[w].codewords, shorter[0], shorter[1]);
        assert_false(tsri_codes_has(s.codes, TSR_AUDIO_ENTROPY_STATIC));
        assert_false(tsri_codes_has(s.codes, TSR_AUDIO_ENTROPY_CONTEXT));
        assert_int_equal(tsri_codes_auto(s.codes, 1), TSR_AUDIO_ENTROPY_FIXED);
        for (int i = 0; i < 48; i++) {
            const tsri_codes_form form = { forms[i % 2], i / 2 % 2, 1 + i / 4 % 3,
                                           i < 24 ? 1 + i : 10 * i, check_u32(&r) };
            check_shorter(&r, &s, shorter, &form);
        }
        close_setup(&s);
    }
}

/* 4 bits of book 0 and 2 of the other, by hand; and what is none of its book. */
static void test_shorter_bytes(void **state)
{
    static const uint16_t codes[] = { 9, 2, 15, 3 }, wrong[] = { 9, 4, 15, 3 };
    const tsri_codes_form form = { TSR_AUDIO_ENTROPY_FIXED, false, 2, 2, 0 };
    setup s = open_shorter(2, 16, 0, 2);
    const uint8_t *data;
    size_t bytes[2];
    uint16_t back[4];
    packet p = put(&s, &form, codes);
    (void)state;
    assert_int_equal(p.all, 3);
    assert_memory_equal(p.data + 1, "\xe9\x0f", 2);
    p.data[2] |= 0x10;
    assert_int_equal(get(&s, &form, p.data, p.bytes, back), TSR_E_CORRUPT);
    assert_int_equal(tsri_codes_put(s.coder, &form, wrong, &data, bytes), TSR_E_ARG);
    free(p.data);
    close_setup(&s);
    s = open_shorter(2, 9, 1, 0); /* 4 of 4 words, 9 of 16: 9..15 are none */
    for (int last = 8; last < 10; last++) {
        uint16_t two[] = { 3, (uint16_t)last };
        const tsri_codes_form one = { TSR_AUDIO_ENTROPY_FIXED, false, 2, 1, 0 };
        uint8_t raw[] = { 0, (uint8_t)(3 | last << 2) };
        uint8_t le[] = { 3, 0, (uint8_t)last, 0 };
        raw[0] = (uint8_t)(tsri_crc32c(0, le, 4) << 1);
        assert_int_equal(get(&s, &one, raw, (size_t[]){ 2 }, two),
                         last < 9 ? TSR_OK : TSR_E_CORRUPT);
    }
    close_setup(&s);
    assert_false(tsri_codes_shorter_fit(16, (int[]){ 1, 1 }));
    assert_false(tsri_codes_shorter_fit(16, (int[]){ 4, 0 }));
    assert_false(tsri_codes_shorter_fit(16, (int[]){ 0, -1 }));
}

/* Longer segments have a longer check. */
static void test_heads(void **state)
{
    setup s = open_setup(1, 256, false);
    uint16_t codes[70] = { 0 };
    (void)state;
    for (int n = 60; n < 70; n++) {
        const tsri_codes_form form = { TSR_AUDIO_ENTROPY_FIXED, false, 1, n, 0 };
        packet p = put(&s, &form, codes);
        assert_int_equal(p.all, n < 64 ? n + 1 : n + 3);
        free(p.data);
    }
    close_setup(&s);
}

static void test_auto(void **state)
{
    setup bare = open_setup(2, 1024, false), full = open_setup(2, 1024, true);
    (void)state;
    assert_int_equal(tsri_codes_auto(bare.codes, 4), TSR_AUDIO_ENTROPY_FIXED);
    assert_int_equal(tsri_codes_auto(bare.codes, 750),
                     TSR_AUDIO_ENTROPY_ADAPTIVE);
    assert_int_equal(tsri_codes_auto(full.codes, 4), TSR_AUDIO_ENTROPY_CONTEXT);
    assert_false(tsri_codes_has(bare.codes, TSR_AUDIO_ENTROPY_STATIC));
    assert_false(tsri_codes_has(bare.codes, TSR_AUDIO_ENTROPY_CONTEXT));
    assert_false(tsri_codes_has(full.codes, TSR_AUDIO_ENTROPY_LM));
    assert_true(tsri_codes_has(full.codes, TSR_AUDIO_ENTROPY_STATIC));
    close_setup(&bare);
    close_setup(&full);
}

static void test_refused(void **state)
{
    setup s = open_setup(4, 100, false);
    const uint16_t codes[8] = { 1, 2, 3, 99, 5, 6, 7, 100 };
    const tsri_codes_form bad[] = {
        { TSR_AUDIO_ENTROPY_STATIC, false, 1, 1, 0 },
        { TSR_AUDIO_ENTROPY_LM, false, 1, 1, 0 },
        { TSR_AUDIO_ENTROPY_AUTO, false, 1, 1, 0 },
        { TSR_AUDIO_ENTROPY_FIXED, false, 0, 1, 0 },
        { TSR_AUDIO_ENTROPY_FIXED, false, 5, 1, 0 },
        { TSR_AUDIO_ENTROPY_FIXED, false, 1, 0, 0 },
        { TSR_AUDIO_ENTROPY_FIXED, false, 1, TSR_AUDIO_MAX_FRAMES + 1, 0 },
        { TSR_AUDIO_ENTROPY_FIXED, false, 4, 2, 0 } };  /* a code of 100 */
    size_t bytes[4] = { 4, 4, 4, 4 };
    const uint8_t *data;
    uint16_t back[8];
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(tsri_codes_put(s.coder, &bad[i], codes, &data, bytes),
                         TSR_E_ARG);
    for (size_t i = 0; i < sizeof bad / sizeof *bad - 1; i++)
        assert_int_equal(tsri_codes_get(s.coder, &bad[i], (const uint8_t *)codes,
                                        bytes, back), TSR_E_ARG);
    close_setup(&s);
}

/* Every changed bit, cut and added byte, another crc.  The checks of short
 * segments have 7 bits, those of long ones 23. */
static void test_damage(void **state)
{
    setup s = open_setup(3, 1000, true);
    check_rng r = { 4 };
    int tried = 0, passed = 0;
    (void)state;
    for (int i = 0; i < 4 * ALL; i++) {
        tsri_codes_form form = { all[i % ALL], i / ALL % 2, 3,
                                 i < 2 * ALL ? 3 : 60, 7 };
        const size_t n = (size_t)form.frames * 3;
        uint16_t *codes = codes_draw(&r, form.frames, 3, 1000),
                 *back = malloc(n * sizeof *back);
        packet p = put(&s, &form, codes);
        for (size_t bit = 0; bit < 8 * p.all; bit++, tried++) {
            p.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
            const tsr_error error = get(&s, &form, p.data, p.bytes, back);
            assert_true(!error || error == TSR_E_CORRUPT);
            passed += !error;
            for (size_t k = 0; k < n && !error; k++)
                assert_true(back[k] < 1000);
            p.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        const size_t whole = p.bytes[0];
        for (size_t cut = 0; cut < whole; cut++) {
            p.bytes[0] = cut;
            tried++;
            passed += !get(&s, &form, p.data, p.bytes, back);
        }
        p.bytes[0] = whole;
        form.crc++;
        tried++;
        passed += !get(&s, &form, p.data, p.bytes, back);
        free(p.data);
        free(codes);
        free(back);
    }
    assert_in_range(passed, 0, tried / 64);
    close_setup(&s);
}

static void test_random_bytes(void **state)
{
    setup s = open_setup(4, 1024, true);
    uint16_t back[4 * 40];
    uint8_t data[4 * 60];
    size_t bytes[4];
    check_rng r = { 5 };
    (void)state;
    for (int i = 0; i < 20000; i++) {
        const tsri_codes_form form = { all[i % ALL], i / ALL % 2,
                                       1 + (int)check_below(&r, 4),
                                       1 + (int)check_below(&r, 40), 0 };
        for (size_t k = 0; k < sizeof data; k++)
            data[k] = (uint8_t)check_u32(&r);
        for (int k = 0; k < 4; k++)
            bytes[k] = check_below(&r, 60);
        const tsr_error error = get(&s, &form, data, bytes, back);
        for (int k = 0; k < form.frames * form.books && !error; k++)
            assert_true(back[k] < 1024);
    }
    close_setup(&s);
}

/* ---- models that are not sound ---- */

enum { OK_MODEL, SHORT_STATIC, WIDE_STATIC, BAD_BASE, BAD_CLASS, BAD_BACK,
       BAD_BOOK, FINER_BOOK, NO_BASE, MANY_RELATIONS, ONE_CODEWORD, MODELS };

/* Book 1 looks at book 0, beside it and a frame before. */
static void make_model(int kind)
{
    model_gen g = { .rng = { 3 }, .metadata = "" };
    const int books = 3, n = 50, r = kind == MANY_RELATIONS ? 9 : 2;

    if (kind == WIDE_STATIC)
        model_ints(&g, "codes.static", 2, 2, (int[]){ books, n }, 9);
    else
        codes_static(&g, books, kind == SHORT_STATIC ? n - 1 : n);
    codes_bytes(&g, "codes.context.rows", 2, (int[]){ 5, n }, 256);
    codes_bytes(&g, "codes.context.class", 3, (int[]){ books, r, n + 1 }, 2)
        [2 * (n + 1) + 17] = kind == BAD_CLASS ? 5 : 1;
    uint8_t *at = codes_bytes(&g, "codes.context.relation", 3,
                              (int[]){ books, r, 2 }, 1);
    memset(at, 255, (size_t)(books * r * 2));
    memcpy(at + 4, (uint8_t[]){ 0, 0, 1, 0 }, 4);
    at[4] = kind == BAD_BACK ? 8 : 0;
    at[5] = kind == BAD_BOOK;
    at[7] = kind == FINER_BOOK ? 2 : 1;
    if (kind != NO_BASE)
        tsri_put32((uint8_t *)memset(model_tensor(&g, "codes.context.base", "I32", 4,
                   2, (int[]){ books, r }), 0, (size_t)(books * r) * 4) + 8,
                   kind == BAD_BASE ? 4 : 3);
    model_write(&g, path);
}

static void quiet(void *cookie, tsr_log_level level, const char *text)
{
    (void)text;
    *(int *)cookie += level == TSR_LOG_ERROR;
}

static void test_models(void **state)
{
    static const tsr_error want[MODELS] = {
        TSR_OK, TSR_E_SHAPE, TSR_E_SHAPE, TSR_E_CORRUPT, TSR_E_CORRUPT,
        TSR_E_CORRUPT, TSR_E_CORRUPT, TSR_E_CORRUPT, TSR_E_SHAPE, TSR_E_SHAPE,
        TSR_E_SHAPE };
    tsr_context_settings set;
    tsr_context *ctx;
    int errors = 0;
    (void)state;
    tsr_context_settings_init(&set);
    set.logger = (tsr_logger){ .log = quiet, .cookie = &errors };
    assert_int_equal(tsr_context_open(&ctx, &set), TSR_OK);
    for (int i = 0; i < MODELS; i++) {
        tsri_codes *codes;
        tsr_model *model;
        make_model(i);
        assert_int_equal(tsr_model_open(&model, ctx, "./test_audio_codes.safetensors"),
                         TSR_OK);
        assert_int_equal(tsri_codes_open(&codes, ctx, model, 3,
                                         i == ONE_CODEWORD ? 49 : 50), want[i]);
        assert_true(!codes == !!want[i]);
        tsri_codes_close(&codes);
        tsr_model_unref(&model);
    }
    assert_int_equal(errors, MODELS - 1);
    tsr_context_close(&ctx);
}

/* Those of this processor beside plain ones, and both beside the definition. */
static void check_logs(const tsri_codes_tables *t, check_rng *rng, int n, int count)
{
    const tsri_logs_kernels *const kinds[] = { t->kernels,
                                               tsri_logs_kernels_plain() };
    const uint8_t *rows[TSRI_CODES_RELATIONS];
    uint8_t *memory = malloc((size_t)(n * count));
    int16_t *logs = malloc((size_t)n * sizeof *logs);
    uint64_t *before = malloc(tsri_codes_blocks(n) * sizeof *before);
    int most = 0;

    for (int i = 0; i < n * count; i++)
        memory[i] = (uint8_t)(check_below(rng, 8) ? check_below(rng, 256) : 255);
    for (int r = 0; r < count; r++)
        rows[r] = memory + r * n;
    for (int s = 0; s < n; s++) {
        int log = 0;
        for (int r = 0; r < count; r++)
            log += rows[r][s];
        most = tsri_max(most, log);
    }
    for (int k = 0; k < 2; k++) {
        uint64_t sum = 0;
        kinds[k]->add(rows, count, n, logs);
        const uint64_t got = kinds[k]->sum(t->weight, logs, n, before);
        for (int s = 0; s < n; s++) {
            int log = 255 - most;
            for (int r = 0; r < count; r++)
                log += rows[r][s];
            assert_int_equal(logs[s], tsri_max(log, 0));
            if (s % TSRI_CODES_BLOCK == 0)
                assert_true(before[s / TSRI_CODES_BLOCK] == sum);
            sum += t->weight[logs[s]];
        }
        assert_true(got == sum);
        assert_true(kinds[k]->sum(t->weight, logs, n, NULL) == sum);
    }
    free(memory);
    free(logs);
    free(before);
}

static void test_logs(void **state)
{
    static const int sizes[] = { 2, 3, 31, 32, 33, 64, 500, 1023, 1024, 1025,
                                 4099 };
    setup s = open_setup(2, 16, true);
    const tsri_codes_tables *t = tsri_codes_contexts(s.codes);
    check_rng rng = { 41 };

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int count = 1; count <= TSRI_CODES_RELATIONS; count++)
            check_logs(t, &rng, sizes[i], count);
    close_setup(&s);
}

static int remove_model(void **state)
{
    (void)state;
    return remove(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_shorter),
        cmocka_unit_test(test_shorter_bytes),
        cmocka_unit_test(test_heads),
        cmocka_unit_test(test_auto),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_random_bytes),
        cmocka_unit_test(test_models),
        cmocka_unit_test(test_logs),
    };
    return cmocka_run_group_tests(tests, NULL, remove_model);
}
