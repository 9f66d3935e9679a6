/* SPDX-License-Identifier: BSD-2-Clause */
/* The search in codes: against a plain program of its definition, and cases whose
 * answer is known. */
#include <limits.h>
#include <tessera/find.h>
#include "tests/audio_model.h"
#include "tests/vector.h"

enum { WORDS = 16, MOST = 400 };

static char message[256];
static tsr_context *ctx;
static tsr_model *model;
static float unit[WORDS][WORDS];    /* c of two codes */

static double between(const float *a, const float *b, size_t dim)
{
    double sum = 0;
    for (size_t d = 0; d < dim; d++)
        sum += ((double)a[d] - (double)b[d]) * ((double)a[d] - (double)b[d]);
    return sum;
}

/* The ninth smallest of sixteen numbers. */
static double ninth(const double *x)
{
    for (int i = 0; i < WORDS; i++) {
        int below = 0;
        for (int j = 0; j < WORDS; j++)
            below += x[j] < x[i];
        if (below == WORDS / 2)
            return x[i];
    }
    fail_msg("equal numbers");
    return 0;
}

/* From the file: half precision, as the codec reads it. */
static void read_words(void)
{
    void *self;
    int dim;
    double mean[16] = { 0 }, far[WORDS];
    const tsri_audio_codec *codec = tsri_audio_codec_by_id("semantic");

    assert_int_equal(codec->open(&self, ctx, model), TSR_OK);
    assert_int_equal(codec->words(self, NULL, &dim), TSR_OK);
    float *z = malloc((size_t)(WORDS * dim) * sizeof *z);
    assert_int_equal(codec->words(self, z, &dim), TSR_OK);
    assert_int_equal(dim, 16);
    for (int i = 0; i < WORDS * dim; i++)
        mean[i % dim] += (double)z[i] / WORDS;
    for (int i = 0; i < WORDS; i++) {
        far[i] = 0;
        for (int d = 0; d < dim; d++)
            far[i] += ((double)z[i * dim + d] - mean[d]) *
                      ((double)z[i * dim + d] - mean[d]);
    }
    const double unit_distance = ninth(far);
    for (int i = 0; i < WORDS; i++)
        for (int j = 0; j < WORDS; j++)
            unit[i][j] = (float)fmin(between(z + i * dim, z + j * dim,
                                             (size_t)dim) / unit_distance,
                                     1);
    free(z);
    codec->close(&self);
}

static int setup(void **state)
{
    (void)state;
    ctx = audio_context(message, UINT_MAX, 1);
    assert_int_equal(tsr_model_open(&model, ctx, check_path(
                         vector_file("semantic", "model.safetensors"))), TSR_OK);
    read_words();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tsr_model_unref(&model);
    tsr_context_close(&ctx);
    return 0;
}

static tsr_finder *open_finder(const uint16_t *example, size_t n)
{
    tsr_finder *f;
    assert_int_equal(tsr_finder_open(&f, ctx, model, example, n), TSR_OK);
    return f;
}

/* All places of a stream. */
static int find_all(tsr_finder *f, const uint16_t *t, int n, float threshold,
                    tsr_found *found)
{
    int places = 0;

    for (int i = 0; i < n; i++)
        places += tsr_finder_push(f, t[i], threshold, found + places);
    return places + tsr_finder_finish(f, found + places);
}

/* ---- the definition, by recursion with a table ---- */

static float local(const uint16_t *e, const uint16_t *t, int i, int j)
{
    return t[j] < WORDS ? unit[e[i]][t[j]] : 1;
}

static float plain(const uint16_t *e, const uint16_t *t, int m, int n,
                   float *score)
{
    float *d = malloc((size_t)(m * n) * sizeof *d), best = 0;
#define D(i, j) ((i) < 0 ? 0 : (j) < 0 ? INFINITY : d[(i) * n + (j)])
    for (int j = 0; j < n; j++) {
        for (int i = 0; i < m; i++) {
            const float c = local(e, t, i, j);
            float v = i ? D(i - 1, j - 1) + c : c;
            if (i > 0)
                v = fminf(v, D(i - 2, j - 1) + local(e, t, i - 1, j) + c);
            if (i > 0 && j > 0)
                v = fminf(v, D(i - 1, j - 2) + (local(e, t, i, j - 1) + c) / 2);
            d[i * n + j] = v;
        }
        score[j] = 1 - d[(m - 1) * n + j] / (float)m;
        best = fmaxf(best, score[j]);
    }
#undef D
    free(d);
    return best;
}

/* Random streams: scores are as defined, every place is above the threshold, none
 * overlaps another, and there is one if there is any. */
static void test_plain(void **state)
{
    uint16_t e[20], t[MOST];
    float score[MOST];
    tsr_found found[MOST];
    check_rng rng = { 9 };
    (void)state;

    for (int round = 0; round < 60; round++) {
        const int m = 2 + (int)check_below(&rng, 18);
        const int n = 1 + (int)check_below(&rng, MOST - 1);
        float best = 0;
        for (int i = 0; i < m; i++)
            e[i] = (uint16_t)check_below(&rng, WORDS);
        for (int j = 0; j < n; j++)     /* some codes are missing */
            t[j] = (uint16_t)check_below(&rng, WORDS + 1);
        tsr_finder *f = open_finder(e, (size_t)m);
        const float want = plain(e, t, m, n, score);
        const int places = find_all(f, t, n, 0.3f, found);
        for (int p = 0; p < places; p++) {
            assert_true(found[p].score >= 0.3f);
            assert_true(found[p].first <= found[p].last);
            assert_true(found[p].last < (uint64_t)n);
            assert_true(fabsf(found[p].score - score[found[p].last]) < 1e-5f);
            assert_true(!p || found[p].first > found[p - 1].last);
            best = fmaxf(best, found[p].score);
        }
        assert_true(want < 0.3f ? !places : places > 0);
        assert_true(best < want + 1e-5f);
        tsr_finder_close(&f);
    }
}

/* The example itself, twice in a stream, is found at its places and only there,
 * and nothing is remembered after the end. */
static void test_same(void **state)
{
    uint16_t e[] = { 1, 5, 5, 9, 2, 14, 7, 3 }, t[60];
    tsr_found found[60];
    (void)state;

    memset(t, 0, sizeof t);
    memcpy(t + 10, e, sizeof e);
    memcpy(t + 40, e, sizeof e);
    tsr_finder *f = open_finder(e, 8);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(find_all(f, t, 60, 0.999f, found), 2);
        assert_int_equal(found[0].first, 10);
        assert_int_equal(found[0].last, 17);
        assert_int_equal(found[1].first, 40);
        assert_int_equal(found[1].last, 47);
        assert_true(found[0].score == 1 && found[1].score == 1);
    }
    assert_int_equal(find_all(f, t, 30, 0.999f, found), 1);
    assert_int_equal(find_all(f, t, 0, 0, found), 0);
    tsr_finder_close(&f);
}

/* Half and twice the speed score 1, too; a third does not. */
static void test_speed(void **state)
{
    const uint16_t e[] = { 1, 1, 5, 5, 9, 9, 2, 2, 14, 14 };
    uint16_t t[3][40];
    tsr_found found[40];
    (void)state;

    memset(t, 0, sizeof t);
    for (int i = 0; i < 10; i++) {
        t[0][8 + i / 2] = e[i];
        t[1][8 + 2 * i] = t[1][9 + 2 * i] = e[i];
        t[2][8 + 3 * i] = t[2][9 + 3 * i] = t[2][10 + 3 * i] = e[i];
    }
    tsr_finder *f = open_finder(e, 10);
    assert_int_equal(find_all(f, t[0], 40, 0.999f, found), 1);
    assert_int_equal(found[0].first, 8);
    assert_int_equal(found[0].last, 12);
    assert_int_equal(find_all(f, t[1], 40, 0.999f, found), 1);
    assert_in_range(found[0].last, 24, 27);     /* the last code, four times */
    assert_int_equal(find_all(f, t[2], 40, 0.999f, found), 0);
    tsr_finder_close(&f);
}

static void test_refused(void **state)
{
    const uint16_t good[] = { 1, 2 }, bad[] = { 1, WORDS };
    uint16_t many[TSR_FIND_MAX_EXAMPLE + 1] = { 0 };
    tsr_finder *f;
    (void)state;

    assert_int_equal(tsr_finder_open(&f, ctx, model, good, 1), TSR_E_ARG);
    assert_null(f);
    assert_int_equal(tsr_finder_open(&f, ctx, model, bad, 2), TSR_E_ARG);
    assert_int_equal(tsr_finder_open(&f, ctx, model, many,
                                     TSR_FIND_MAX_EXAMPLE + 1), TSR_E_ARG);
    assert_int_equal(tsr_finder_open(&f, ctx, model, many, TSR_FIND_MAX_EXAMPLE),
                     TSR_OK);
    tsr_finder_close(&f);
    tsr_finder_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_same),
        cmocka_unit_test(test_speed),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
