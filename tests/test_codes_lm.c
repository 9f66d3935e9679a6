/* SPDX-License-Identifier: BSD-2-Clause */
/* The integer language model: near the floats it was made from, the same on
 * every processor, and what it codes comes back. */
#include <math.h>
#include "tests/codes_gen.h"
#include "tests/npy.h"
#include "codecs/audio/codes_lm.h"

static const char path[] = "./test_codes_lm.safetensors";

/* ---- against the published network ---- */

typedef struct vector {
    const char *model, *probs, *codes[3];
    int books;
} vector;

/* Codes of one segment, [frames][books]. */
static uint16_t *read_codes(const char *name, int books, int *frames)
{
    check_npy n = check_npy_read(name);
    const int32_t *from = check_npy_as(&n, "i4");
    uint16_t *to = malloc(n.count * sizeof *to);

    *frames = (int)(n.count / (size_t)books);
    for (int k = 0; k < books; k++)
        for (int f = 0; f < *frames; f++)
            to[f * books + k] = (uint16_t)*from++;
    free(n.data);
    return to;
}

/* Bits of the codes by the floats, by the floats where each codeword has a slot
 * (their model finds some of these codes all but impossible) and by the
 * integers; and what integers cost more if the floats are the truth. */
typedef struct costs {
    double floats, floored, integers, excess;
} costs;

static void add_costs(costs *c, const float *p, const uint32_t *start, int code)
{
    const double slots = 1 << TSRI_CODES_BITS;
    double sum = 0;

    c->floats -= log2((double)p[code]);
    c->floored -= log2(((double)p[code] * (slots - 1024) + 1) / slots);
    c->integers -= log2((start[code + 1] - start[code]) / slots);
    for (int i = 0; i < 1024; i++) {
        const double q = (start[i + 1] - start[i]) / slots;
        assert_true(start[i] < start[i + 1]);
        if (p[i] > 0)
            sum += p[i] * log2((double)p[i] / q);
    }
    c->excess += sum;
}

static void run_segment(tsri_lm_state *s, uint16_t *codes, int frames, int books,
                        const float *p, costs *c)
{
    const tsri_codes_view view = { codes, books };

    tsri_lm_reset(s);
    for (int f = 0; f < frames; f++) {
        tsri_lm_frame(s, &view, f);
        for (int k = 0; k < books; k++, p += 1024)
            add_costs(c, p, tsri_lm_starts(s, &view, f, k), codes[f * books + k]);
    }
}

static costs run_vector(tsr_context *ctx, const vector *v)
{
    check_npy probs = check_npy_read(v->probs);
    const float *p = check_npy_as(&probs, "f4");
    costs c = { 0, 0, 0, 0 };
    tsr_model *model;
    tsri_codes_lm *lm;
    tsri_lm_state *s;
    int n = 0, frames;

    assert_int_equal(tsr_model_open(&model, ctx, check_path(v->model)), TSR_OK);
    assert_int_equal(tsri_codes_lm_open(&lm, ctx, model, v->books, 1024), TSR_OK);
    assert_int_equal(tsri_lm_state_open(&s, ctx, lm), TSR_OK);
    for (int i = 0; i < 3 && v->codes[i]; i++) {
        uint16_t *codes = read_codes(v->codes[i], v->books, &frames);
        run_segment(s, codes, frames, v->books, p, &c);
        p += 1024 * frames * v->books;
        n += frames * v->books;
        free(codes);
    }
    assert_int_equal(1024 * n, probs.count);
    tsri_lm_state_close(&s, ctx);
    tsri_codes_lm_close(&lm, ctx);
    tsr_model_unref(&model);
    free(probs.data);
    return (costs){ c.floats / n, c.floored / n, c.integers / n, c.excess / n };
}

#define MONO "tests/vectors/encodec_24k_f4_d32/"
#define STEREO "tests/vectors/encodec_48k_f4_d16/"

/* The mono model has embeddings and logits of 8 bits, the stereo one of 16.
 * The vectors' windows are shorter than they are. */
static void test_floats(void **state)
{
    static const vector vectors[] = {
        { "tests/vectors/codes_lm/mono.safetensors", MONO "L6417_lm_probs.npy",
          { MONO "L6417_codes.npy" }, 8 },
        { "tests/vectors/codes_lm/stereo.safetensors",
          STEREO "L10000_lm_probs.npy", { STEREO "L10000_seg0_codes.npy",
          STEREO "L10000_seg1_codes.npy", STEREO "L10000_seg2_codes.npy" }, 4 } };
    tsr_context *ctx = check_context("c", 1);
    (void)state;
    for (int i = 0; i < 2; i++) {
        const costs c = run_vector(ctx, &vectors[i]);
        print_message("# bits: %.4f float, %.4f with slots, %.4f integer; "
                      "excess %.5f\n", c.floats, c.floored, c.integers, c.excess);
        assert_true(c.integers < 1.005 * c.floats);
        assert_true(fabs(c.integers - c.floored) < 0.005 * c.floored);
        assert_true(c.excess < 0.003);
    }
    tsr_context_close(&ctx);
}

/* ---- random models ---- */

static const codes_lm shapes[] = {
    { 1, 2, 4, 1, 1, 1, false }, { 3, 100, 20, 4, 2, 5, true },
    { 4, 1024, 40, 8, 2, 20, false }, { 2, 257, 64, 2, 3, 33, true },
    { 2, 64, 200, 8, 1, 262, true } };
enum { SHAPES = sizeof shapes / sizeof *shapes };

static tsri_codes *open_random(tsr_context *ctx, const codes_lm *m)
{
    model_gen g = { .rng = { (uint64_t)m->dim }, .metadata = "" };
    tsr_model *model;
    tsri_codes *codes;

    model_ints(&g, "other", 2, 1, (int[]){ 2 }, 9);
    codes_lm_tensors(&g, m);
    model_write(&g, path);
    assert_int_equal(tsr_model_open(&model, ctx, path), TSR_OK);
    assert_int_equal(tsri_codes_open(&codes, ctx, model, m->books, m->codewords),
                     TSR_OK);
    tsr_model_unref(&model);
    assert_true(tsri_codes_has(codes, TSR_AUDIO_ENTROPY_LM));
    return codes;
}

/* Kernels on values that reach the limits of 32 bits. */
static void test_kernels(void **state)
{
    enum { ROWS = 300, STRIDE = 208 };
    const tsri_lm_kernels *avx2 = tsri_lm_kernels_avx2();
    int16_t *w = calloc((ROWS + 1) * STRIDE, sizeof *w), x[STRIDE], p[ROWS + 1];
    int32_t bias[ROWS], want[ROWS], got[ROWS];
    check_rng r = { 7 };
    (void)state;
    for (int round = 0; avx2 && round < 400; round++) {
        const int stride = 16 * (1 + (int)check_below(&r, 13)),
                  n = 1 + (int)check_below(&r, ROWS),
                  most = 0x7fffffff / 16384 / stride;
        for (int i = 0; i < (ROWS + 1) * STRIDE; i++)
            w[i] = (int16_t)(round % 3 ? (int)check_below(&r, 2 * (uint32_t)most)
                                         - most : most);
        for (int i = 0; i < stride; i++)
            x[i] = (int16_t)(round % 3 ? (int)check_below(&r, 32767) - 16383
                                       : 16383);
        for (int i = 0; i < n; i++)
            bias[i] = (int32_t)check_below(&r, 9999);
        tsri_lm_kernels_plain()->rows(w, round % 2 ? bias : NULL, n, stride, x, want);
        avx2->rows(w, round % 2 ? bias : NULL, n, stride, x, got);
        assert_memory_equal(want, got, (size_t)n * 4);
        memset(p, 0, sizeof p);
        for (int i = 0; i < n; i++)
            p[i] = (int16_t)check_below(&r, n < 3 ? 16384u : 34000u / (unsigned)n);
        tsri_lm_kernels_plain()->blend(p, w, n, stride, want);
        avx2->blend(p, w, n, stride, got);
        assert_memory_equal(want, got, (size_t)stride * 4);
    }
    free(w);
}

/* Whole models: the same segments from plain C and vectors, read by either. */
static void test_round_trip(void **state)
{
    check_rng r = { 2 };
    (void)state;
    for (int i = 0; i < 2 * SHAPES; i++) {
        const codes_lm *m = &shapes[i / 2];
        const tsri_codes_form form = { TSR_AUDIO_ENTROPY_LM, false,
            i % 2 ? m->books : 1, i % 2 ? 60 : 7, 5 };
        const size_t n = (size_t)form.frames * (size_t)form.books;
        uint16_t *codes = codes_draw(&r, form.frames, form.books, m->codewords),
                 *back = malloc(n * sizeof *back);
        const uint8_t *data[2];
        size_t bytes[2];
        tsr_context *ctx[2];
        tsri_codes *c[2];
        tsri_codes_coder *coder[2];
        for (int k = 0; k < 2; k++) {
            ctx[k] = check_context("c", 1);
            if (k)
                ctx[k]->cpu = 0;
            c[k] = open_random(ctx[k], m);
            assert_int_equal(tsri_codes_coder_open(&coder[k], c[k], ctx[k]), TSR_OK);
            assert_int_equal(tsri_codes_put(coder[k], &form, codes, &data[k],
                                            &bytes[k]), TSR_OK);
        }
        assert_int_equal(bytes[0], bytes[1]);
        assert_memory_equal(data[0], data[1], bytes[0]);
        for (int k = 0; k < 2; k++) {
            memset(back, 0xee, n * sizeof *back);
            assert_int_equal(tsri_codes_get(coder[k], &form, data[!k], &bytes[!k],
                                            back), TSR_OK);
            assert_memory_equal(back, codes, n * sizeof *back);
        }
        for (int k = 0; k < 2; k++) {
            tsri_codes_coder_close(&coder[k]);
            tsri_codes_close(&c[k]);
            tsr_context_close(&ctx[k]);
        }
        free(codes);
        free(back);
    }
}

/* A random model codes most codes badly; this makes it code the ones it likes,
 * so that coded segments are read too, and starts are compared one by one. */
static void test_starts(void **state)
{
    tsr_context *ctx = check_context("c", 1), *bare = check_context("c", 1);
    (void)state;
    bare->cpu = 0;
    for (int i = 0; i < SHAPES; i++) {
        const codes_lm *m = &shapes[i];
        const int frames = 2 * m->window < 70 ? 70 : 2 * m->window;
        tsr_model *model;
        tsri_codes *codes = open_random(ctx, m);
        tsri_codes_lm *lm;
        tsri_lm_state *s, *t;
        tsri_codes_coder *coder;
        const size_t bytes = 2 * (size_t)(frames * m->books);
        uint16_t *liked = calloc(1, bytes), *back = malloc(bytes);
        const tsri_codes_view view = { liked, m->books };
        assert_int_equal(tsr_model_open(&model, ctx, path), TSR_OK);
        assert_int_equal(tsri_codes_lm_open(&lm, ctx, model, m->books,
                                            m->codewords), TSR_OK);
        assert_int_equal(tsri_lm_state_open(&s, ctx, lm), TSR_OK);
        assert_int_equal(tsri_lm_state_open(&t, bare, lm), TSR_OK);
        tsri_lm_reset(s);
        tsri_lm_reset(t);
        check_rng r = { 3 };
        for (int f = 0; f < frames; f++) {
            tsri_lm_frame(s, &view, f);
            tsri_lm_frame(t, &view, f);
            for (int k = 0; k < m->books; k++) {
                const uint32_t *a = tsri_lm_starts(s, &view, f, k),
                               *b = tsri_lm_starts(t, &view, f, k);
                assert_memory_equal(a, b, 4 * ((size_t)m->codewords + 1));
                const uint32_t slot = check_below(&r, 1 << TSRI_CODES_BITS);
                while (a[liked[f * m->books + k] + 1] <= slot)
                    liked[f * m->books + k]++;
            }
        }
        const tsri_codes_form form = { TSR_AUDIO_ENTROPY_LM, false, m->books,
                                       frames, 1 };
        const uint8_t *data;
        size_t n;
        assert_int_equal(tsri_codes_coder_open(&coder, codes, ctx), TSR_OK);
        assert_int_equal(tsri_codes_put(coder, &form, liked, &data, &n), TSR_OK);
        if (m->codewords > 2)
            assert_true(data[0] & 1);
        assert_int_equal(tsri_codes_get(coder, &form, data, &n, back), TSR_OK);
        assert_memory_equal(back, liked, bytes);
        tsri_codes_coder_close(&coder);
        tsri_lm_state_close(&s, ctx);
        tsri_lm_state_close(&t, bare);
        tsri_codes_lm_close(&lm, ctx);
        tsri_codes_close(&codes);
        tsr_model_unref(&model);
        free(liked);
        free(back);
    }
    tsr_context_close(&ctx);
    tsr_context_close(&bare);
}

static void test_sqrt(void **state)
{
    check_rng r = { 1 };
    (void)state;
    for (int i = 0; i < 100000; i++) {
        const uint64_t v = ((uint64_t)check_u32(&r) << 32 | check_u32(&r)) >>
                           (1 + check_below(&r, 63));
        const uint64_t root = tsri_lm_sqrt(v);
        assert_true(root * root <= v && (root + 1) * (root + 1) > v);
    }
}

/* Damaged and random segments; and none that makes a decoder work for long. */
static void test_damage(void **state)
{
    const codes_lm *m = &shapes[1];
    tsr_context *ctx = check_context("c", 1);
    tsri_codes *codes = open_random(ctx, m);
    tsri_codes_coder *coder;
    tsri_codes_form form = { TSR_AUDIO_ENTROPY_LM, false, m->books, 9, 0 };
    uint16_t *back = malloc(2 * (size_t)m->books * TSR_AUDIO_MAX_FRAMES);
    check_rng r = { 6 };
    (void)state;
    assert_int_equal(tsri_codes_coder_open(&coder, codes, ctx), TSR_OK);
    for (int i = 0; i < 2000; i++) {
        const size_t n = check_below(&r, 40);
        uint8_t *data = malloc(n + !n);
        for (size_t k = 0; k < n; k++)
            data[k] = (uint8_t)check_u32(&r);
        const tsr_error error = tsri_codes_get(coder, &form, data, &n, back);
        assert_true(!error || error == TSR_E_CORRUPT);
        for (int k = 0; k < form.frames * form.books && !error; k++)
            assert_true(back[k] < m->codewords);
        free(data);
    }
    form.frames = TSR_AUDIO_MAX_FRAMES;
    assert_int_equal(tsri_codes_get(coder, &form, (const uint8_t *)"\1\1", &(size_t)
                                    { 2 }, back), TSR_E_CORRUPT);
    free(back);
    tsri_codes_coder_close(&coder);
    tsri_codes_close(&codes);
    tsr_context_close(&ctx);
}

/* ---- models that are not sound ---- */

enum { SOUND, BIG_DIM, ODD_DIM, BAD_HEADS, BIG_HEAD, NO_LAYERS, BIG_WINDOW,
       OVERFLOW_WEIGHT, OVERFLOW_BIAS, BAD_SHIFT, BAD_SCORE, BAD_EXP2, NO_GELU,
       MODELS };

static void change(model_gen *g, int kind)
{
    static const struct { int kind; const char *name; size_t at, bytes; int value; }
    changes[] = {
        { OVERFLOW_WEIGHT, "codes.lm.0.up.weight", 0, 2, 0x7fff },
        { OVERFLOW_WEIGHT, "codes.lm.0.up.weight", 4, 2, -0x8000 },
        { OVERFLOW_WEIGHT, "codes.lm.0.up.weight", 8, 2, 0x7fff },
        { OVERFLOW_WEIGHT, "codes.lm.0.up.weight", 22, 2, 0x7fff },
        { OVERFLOW_BIAS, "codes.lm.logits.0.bias", 8, 4, INT32_MIN },
        { BAD_SHIFT, "codes.lm.0.out.shift", 0, 4, 31 },
        { BAD_SCORE, "codes.lm.0.score.shift", 0, 4, -1 },
        { BAD_EXP2, "codes.lm.exp2", 0, 2, 0x7fff } };
    char *offsets;
    size_t from;

    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        if (changes[i].kind != kind)
            continue;
        offsets = strstr(strstr(g->header, changes[i].name), "data_offsets");
        assert_int_equal(sscanf(offsets, "data_offsets\":[%zu", &from), 1);
        if (changes[i].bytes == 2)
            tsri_put16(g->data + from + changes[i].at, (uint16_t)changes[i].value);
        else
            tsri_put32(g->data + from + changes[i].at, (uint32_t)changes[i].value);
    }
    if (kind == NO_GELU)
        *strstr(g->header, "gelu") = 'G';
}

static void quiet(void *cookie, tsr_log_level level, const char *text)
{
    (void)text;
    *(int *)cookie += level == TSR_LOG_ERROR;
}

static void test_models(void **state)
{
    tsr_context_settings set;
    tsr_context *ctx;
    int errors = 0;
    (void)state;
    tsr_context_settings_init(&set);
    set.logger = (tsr_logger){ .log = quiet, .cookie = &errors };
    assert_int_equal(tsr_context_open(&ctx, &set), TSR_OK);
    for (int i = 0; i < MODELS; i++) {
        codes_lm m = { 2, 10, 12, 3, 1, 4, true };
        model_gen g = { .rng = { 3 }, .metadata = "" };
        tsr_model *model;
        tsri_codes *codes;
        m.dim = i == BIG_DIM ? 516 : i == ODD_DIM ? 9 : i == BIG_HEAD ? 102 : 12;
        m.heads = i == BAD_HEADS ? 5 : 3;
        m.window = i == BIG_WINDOW ? 4097 : 4;
        m.layers = i != NO_LAYERS;
        model_ints(&g, "other", 2, 1, (int[]){ 2 }, 9);
        codes_lm_tensors(&g, &m);
        change(&g, i);
        model_write(&g, path);
        assert_int_equal(tsr_model_open(&model, ctx, path), TSR_OK);
        const tsr_error error = tsri_codes_open(&codes, ctx, model, 2, 10);
        if (i == SOUND)
            assert_int_equal(error, TSR_OK);
        else
            assert_true(error == TSR_E_CORRUPT || error == TSR_E_SHAPE);
        assert_true(!codes == !!error);
        tsri_codes_close(&codes);
        tsr_model_unref(&model);
    }
    assert_int_equal(errors, MODELS - 1);
    tsr_context_close(&ctx);
}

static int remove_model(void **state)
{
    (void)state;
    return remove(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_floats),
        cmocka_unit_test(test_kernels),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_starts),
        cmocka_unit_test(test_sqrt),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_models),
    };
    return cmocka_run_group_tests(tests, NULL, remove_model);
}
