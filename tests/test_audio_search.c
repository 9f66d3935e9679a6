/* SPDX-License-Identifier: BSD-2-Clause */
/* The search for the codes of frames. */
#include <math.h>
#include "tests/codes_gen.h"
#include "codecs/audio/codes_impl.h"
#include "codecs/audio/search.h"
#include "vq/nearest.h"

enum { FRAMES = 40 };

typedef struct form {
    int groups, stages, k, dim;
} form;

static const form forms[] = {
    { 1, 4, 33, 7 }, { 1, 3, 100, 20 }, { 2, 2, 16, 5 }, { 2, 3, 50, 9 },
    { 1, 2, 3, 1 },  { 1, 6, 64, 12 },
};
enum { FORMS = sizeof forms / sizeof *forms };

typedef struct bench {
    tsr_context *ctx;
    tsri_codes *codes;
    tsri_quantiser q;
    float *words;
    int books, width;
} bench;

static float *random_floats(size_t n, float size, uint64_t seed)
{
    float *x = malloc(n * sizeof *x);
    check_rng rng = { seed };

    assert_non_null(x);
    for (size_t i = 0; i < n; i++)
        x[i] = size * check_float(&rng);
    return x;
}

/* Books of falling size and, where asked, tables. */
static bench open_bench(const form *f, bool plain, int threads)
{
    static const char path[] = "./test_audio_search.safetensors";
    const tsr_rvq_shape shape = { f->groups, f->stages, f->k, f->dim };
    const size_t book = (size_t)f->k * (size_t)f->dim;
    bench b = { .books = f->groups * f->stages, .width = f->groups * f->dim };
    model_gen g = { .rng = { (uint64_t)f->k }, .metadata = "" };
    tsr_model *model;

    tsr_cpu_set_mask(plain ? 0 : ~0u);
    b.ctx = check_context("c", threads);
    tsr_cpu_set_mask(~0u);
    codes_context(&g, b.books, f->k);
    model_write(&g, path);
    assert_int_equal(tsr_model_open(&model, b.ctx, path), TSR_OK);
    assert_int_equal(tsri_codes_open(&b.codes, b.ctx, model, b.books, f->k),
                     TSR_OK);
    tsr_model_unref(&model);
    remove(path);
    b.words = random_floats((size_t)b.books * book, 1, 5);
    for (size_t i = 0; i < (size_t)b.books * book; i++)
        b.words[i] *= powf(0.6f, (float)(i / book % (size_t)f->stages));
    assert_int_equal(tsri_quantiser_open(&b.q, b.ctx, &shape, b.words), TSR_OK);
    return b;
}

static void close_bench(bench *b)
{
    tsri_quantiser_close(&b->q);
    tsri_codes_close(&b->codes);
    tsr_context_close(&b->ctx);
    free(b->words);
}

static void search(const bench *b, bool tables, int beam, const float *z, int n,
                   uint16_t *codes)
{
    tsri_search *s;

    assert_int_equal(tsri_search_open(&s, &b->q, tables ? b->codes : NULL, b->books,
                                      beam), TSR_OK);
    assert_int_equal(tsri_search_frames(s, z, n, codes), TSR_OK);
    tsri_search_close(&s);
    assert_null(s);
}

/* Squared error of one frame. */
static double error_of(const bench *b, const float *z, const uint16_t *codes)
{
    const tsr_rvq_shape *s = &b->q.shape;
    double sum = 0;

    for (int g = 0; g < s->groups; g++)
        for (int d = 0; d < s->dim; d++) {
            double left = (double)z[g * s->dim + d];
            for (int l = 0; l < s->stages; l++)
                left -= (double)b->words[((g * s->stages + l) * s->k +
                                          codes[l * s->groups + g]) * s->dim + d];
            sum += left * left;
        }
    return sum;
}

/* ---- */

static void test_scores(void **state)
{
    static const int dims[] = { 1, 2, 7, 64, 129 };
    const tsri_scores_fn fast = tsri_scores_avx2();
    tsr_context *ctx = check_context("c", 1);
    const bool can = fast && ctx->cpu & TSR_CPU_AVX2;
    (void)state;

    tsr_context_close(&ctx);
    if (!can)
        skip();
    for (int i = 0; i < 40; i++) {
        const int d = dims[i % 5], panels = 1 + i % 7, blocks = 1 + i % 4;
        const size_t n = (size_t)panels * TSRI_NEAREST_LANES, m = n * 4 * 4;
        const float size = i % 3 ? 1 : 1e18f;
        float *code = random_floats(n * (size_t)d, size, (uint64_t)i + 1);
        float *norm = random_floats(n, size, (uint64_t)i + 2);
        float *x = random_floats((size_t)(4 * blocks * d), size, (uint64_t)i + 3);
        float *a = calloc(m, sizeof *a), *b = calloc(m, sizeof *b);
        const tsri_nearest_book book = { panels, d, code, norm };
        assert_true(a && b);
        norm[n - 1] = INFINITY;
        tsri_scores_plain(&book, x, blocks, a);
        fast(&book, x, blocks, b);
        assert_memory_equal(a, b, m * sizeof *a);
        free(code);
        free(norm);
        free(x);
        free(a);
        free(b);
    }
}

/* Without tables: no error above that of the nearest codewords one by one but for
 * rounding, and less on the whole. */
static void test_never_worse(void **state)
{
    (void)state;
    for (int i = 0; i < FORMS; i++) {
        bench b = open_bench(&forms[i], false, 1);
        float *z = random_floats((size_t)(FRAMES * b.width), 2, 11);
        uint16_t *near = calloc(2 * FRAMES, (size_t)b.books * sizeof *near);
        uint16_t *codes = near + FRAMES * b.books;
        assert_non_null(near);
        search(&b, false, 0, z, FRAMES, near);
        for (int beam = 1; beam <= TSRI_SEARCH_BEAM_MAX; beam += beam < 4 ? 1 : 4) {
            double sum = 0, all = 0;
            search(&b, false, beam, z, FRAMES, codes);
            for (int t = 0; t < FRAMES; t++) {
                const float *x = z + t * b.width;
                const double want = error_of(&b, x, near + t * b.books);
                const double got = error_of(&b, x, codes + t * b.books);
                assert_true(got <= want + 1e-5 * (1 + want));
                sum += want;
                all += got;
            }
            assert_true(beam < 4 || forms[i].k < 4 || all < 0.99 * sum);
        }
        free(near);
        free(z);
        close_bench(&b);
    }
}

/* ---- all sequences, in double ---- */

typedef struct exhaustive {
    const bench *b;
    const float *z;
    uint16_t view[8 * 3];
    double lambda, best;
    int seen;
} exhaustive;

/* Bits of codes 0..2 of the frame in the view. */
static double bits_of(exhaustive *e, const uint16_t *codes)
{
    const tsri_codes_tables *t = tsri_codes_contexts(e->b->codes);
    const tsri_codes_view view = { e->view, 3 };
    int16_t logs[4];
    double bits = 0;

    for (int k = 0; k < 3; k++) {
        double sum = 0;
        tsri_codes_logs(t, &view, e->seen, k, logs);
        for (int c = 0; c < 4; c++)
            sum += t->weight[logs[c]];
        bits -= log2(t->weight[logs[codes[k]]] / sum);
        e->view[e->seen * 3 + k] = codes[k];
    }
    return bits;
}

static double cost_of(exhaustive *e, const uint16_t *codes)
{
    return error_of(e->b, e->z, codes) + e->lambda * bits_of(e, codes);
}

/* With 16 kept, none of 4 x 4 x 4 is lost. */
static void test_exhaustive(void **state)
{
    const form f = { 1, 3, 4, 6 };
    bench b = open_bench(&f, false, 1);
    float *z = random_floats((size_t)(FRAMES * b.width), 1, 12);
    uint16_t codes[FRAMES * 3];
    exhaustive e = { .b = &b };
    int cheaper = 0;
    (void)state;

    for (int i = 0; i < 4 * 6; i++)
        e.lambda += (double)(b.words[2 * 24 + i] * b.words[2 * 24 + i]) / 4 / 50;
    search(&b, true, 16, z, FRAMES, codes);
    for (int t = 0; t < FRAMES; t++) {
        const uint16_t *own = codes + 3 * t;
        double best = INFINITY, nearest = INFINITY;
        e.z = z + t * b.width;
        for (int i = 0; i < 64; i++) {
            const uint16_t c[3] = { (uint16_t)(i & 3), (uint16_t)(i >> 2 & 3),
                                    (uint16_t)(i >> 4) };
            best = fmin(best, cost_of(&e, c));
            nearest = fmin(nearest, error_of(&b, e.z, c));
        }
        assert_true(cost_of(&e, own) <= best + 1e-5 + 3 * e.lambda / 64);
        cheaper += error_of(&b, e.z, own) > nearest + 1e-4;
        if (e.seen == 7)
            memmove(e.view, e.view + 3, 6 * 3 * sizeof *e.view);
        e.seen = e.seen < 7 ? e.seen + 1 : 7;
        memcpy(e.view + (e.seen - 1) * 3, own, 3 * sizeof *own);
    }
    assert_true(cheaper > 0);
    free(z);
    close_bench(&b);
}

/* ---- the same codes, however and wherever ---- */

static void test_same(void **state)
{
    (void)state;
    for (int i = 0; i < FORMS * 4; i++) {
        const form *f = &forms[i % FORMS];
        const int beam = 1 + i * 5 % 16;
        bench plain = open_bench(f, true, 1), fast = open_bench(f, false, 3);
        float *z = random_floats((size_t)(FRAMES * plain.width), 2, 13);
        uint16_t *a = calloc(2 * FRAMES, (size_t)plain.books * sizeof *a);
        uint16_t *b = a + FRAMES * plain.books;
        assert_non_null(a);
        search(&plain, i % 3, beam, z, FRAMES, a);
        search(&fast, i % 3, beam, z, FRAMES, b);
        assert_memory_equal(a, b, (size_t)(FRAMES * plain.books) * sizeof *a);
        free(a);
        free(z);
        close_bench(&plain);
        close_bench(&fast);
    }
}

/* To another one, through its state. */
static void move(const bench *b, tsri_search **s, int beam)
{
    const size_t bytes = tsri_search_state_bytes(*s);
    uint8_t *bad = malloc(bytes + 1);

    assert_true(bad && (bytes || !beam));
    tsri_search_state_save(*s, bad);
    tsri_search_close(s);
    assert_int_equal(tsri_search_open(s, &b->q, b->codes, b->books, beam), TSR_OK);
    if (beam) {
        const uint8_t seen = bad[0];
        bad[0] = 8;
        assert_false(tsri_search_state_load(*s, bad));
        bad[0] = seen;
        bad[2] ^= 0xff;
        assert_false(tsri_search_state_load(*s, bad));
        bad[2] ^= 0xff;
    }
    assert_true(tsri_search_state_load(*s, bad));
    free(bad);
}

static void test_pieces(void **state)
{
    (void)state;
    for (int i = 0; i < FORMS * 3; i++) {
        bench b = open_bench(&forms[i % FORMS], false, 1);
        const int beam = i / FORMS * 6;
        float *z = random_floats((size_t)(FRAMES * b.width), 2, 14);
        uint16_t *whole = calloc(2 * FRAMES, (size_t)b.books * sizeof *whole);
        uint16_t *pieces = whole + FRAMES * b.books;
        check_rng rng = { (uint64_t)i + 1 };
        tsri_search *s;
        assert_non_null(whole);
        search(&b, true, beam, z, FRAMES, whole);
        assert_int_equal(tsri_search_open(&s, &b.q, b.codes, b.books, beam), TSR_OK);
        for (int at = 0, n; at < FRAMES; at += n) {
            n = 1 + (int)check_below(&rng, 9);
            n = n < FRAMES - at ? n : FRAMES - at;
            assert_int_equal(tsri_search_frames(s, z + at * b.width, n,
                                                pieces + at * b.books), TSR_OK);
            move(&b, &s, beam);
        }
        tsri_search_close(&s);
        assert_memory_equal(whole, pieces,
                            (size_t)(FRAMES * b.books) * sizeof *whole);
        free(whole);
        free(z);
        close_bench(&b);
    }
}

static void test_not_finite(void **state)
{
    static const float odd[] = { NAN, INFINITY, -INFINITY, 3e38f };
    (void)state;
    for (int i = 0; i < FORMS * 4; i++) {
        bench b = open_bench(&forms[i % FORMS], false, 1);
        float *z = random_floats((size_t)(FRAMES * b.width), 2, 15);
        uint16_t *codes = calloc(FRAMES, (size_t)b.books * sizeof *codes);
        assert_non_null(codes);
        for (int t = 0; t < FRAMES; t += 3)
            z[t * b.width + t % b.width] = odd[i / FORMS];
        search(&b, true, 8, z, FRAMES, codes);
        for (int c = 0; c < FRAMES * b.books; c++)
            assert_true(codes[c] < forms[i % FORMS].k);
        free(codes);
        free(z);
        close_bench(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scores),
        cmocka_unit_test(test_never_worse),
        cmocka_unit_test(test_exhaustive),
        cmocka_unit_test(test_same),
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_not_finite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
