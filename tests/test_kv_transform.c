/* SPDX-License-Identifier: BSD-2-Clause */
/* Transforms of the KV codec: plain C against their definition, the
 * processor's kernels against plain C bit for bit. */
#include "tests/check.h"
#include <math.h>
#include "codecs/kv/chain.h"
#include "codecs/kv/profile.h"

/* Random floats of any size but with products that stay finite. */
static float wild(check_rng *rng)
{
    const uint32_t kind = check_below(rng, 16);
    const float v = check_float(rng);

    return kind == 0   ? 0.f
           : kind == 1 ? -0.f
           : kind == 2 ? v * 0x1p-140f
           : kind == 3 ? v * 0x1p50f
           : kind == 4 ? v * 0x1p-50f
                       : v;
}

static float *wilds(check_rng *rng, size_t n)
{
    float *x = malloc((n + 1) * sizeof *x);
    assert_non_null(x);
    for (size_t i = 0; i < n; i++)
        x[i] = wild(rng);
    return x;
}

static float *copy_of(const float *x, size_t n)
{
    float *y = malloc((n + 1) * sizeof *y);
    assert_non_null(y);
    memcpy(y, x, n * sizeof *y);
    return y;
}

/* One product of random sizes: definition, plain C, kernels; all of c's rows
 * with what lies between them. */
static void check_chain(check_rng *rng, int tokens, int k, int outs)
{
    const size_t ap = (size_t)k + check_below(rng, 5);
    const size_t bp = (size_t)outs + check_below(rng, 5);
    const size_t cp = (size_t)outs + check_below(rng, 5);
    const size_t c_size = cp * (size_t)tokens;
    float *a = wilds(rng, ap * (size_t)tokens), *b = wilds(rng, bp * (size_t)k);
    float *wanted = wilds(rng, c_size);
    float *plain = copy_of(wanted, c_size), *fast = copy_of(wanted, c_size);

    for (size_t t = 0; t < (size_t)tokens; t++)
        for (size_t o = 0; o < (size_t)outs; o++)
            for (size_t i = 0; i < (size_t)k; i++)
                wanted[t * cp + o] = fmaf(a[t * ap + i], b[i * bp + o],
                                          wanted[t * cp + o]);
    tsri_kv_chain(0, a, ap, tokens, k, b, bp, outs, plain, cp);
    tsri_kv_chain(tsr_cpu_flags(), a, ap, tokens, k, b, bp, outs, fast, cp);
    assert_memory_equal(plain, wanted, c_size * sizeof *plain);
    assert_memory_equal(fast, wanted, c_size * sizeof *fast);
    free(a);
    free(b);
    free(wanted);
    free(plain);
    free(fast);
}

static void test_chain(void **state)
{
    (void)state;
    check_rng rng = { 1 };

    for (int round = 0; round < 300; round++)
        check_chain(&rng, (int)check_below(&rng, 14), (int)check_below(&rng, 300),
                    (int)check_below(&rng, 80));
    for (int outs = 0; outs <= 50; outs++)
        for (int tokens = 1; tokens <= 5; tokens++)
            check_chain(&rng, tokens, 7, outs);
    for (int k = 126; k <= 130; k++)
        check_chain(&rng, 9, k, 49);
}

static void test_centre(void **state)
{
    (void)state;
    check_rng rng = { 2 };

    for (int round = 0; round < 200; round++) {
        const size_t n = check_below(&rng, 70);
        float *mean = wilds(&rng, n), *scale = wilds(&rng, n);
        float *a = wilds(&rng, n), *b = copy_of(a, n), *x = copy_of(a, n);
        const float *m = round & 1 ? mean : NULL, *s = round & 2 ? scale : NULL;

        for (size_t i = 0; i < n; i++)
            x[i] = (m ? x[i] - m[i] : x[i]) * (s ? s[i] : 1);
        tsri_kv_centre(0, m, s, (int)n, a);
        tsri_kv_centre(tsr_cpu_flags(), m, s, (int)n, b);
        assert_memory_equal(a, x, n * sizeof *a);
        assert_memory_equal(b, x, n * sizeof *b);
        for (size_t i = 0; i < n; i++) {
            const float scaled = s ? x[i] * s[i] : x[i];
            x[i] = m ? scaled + m[i] : scaled;
        }
        tsri_kv_uncentre(0, m, s, (int)n, a);
        tsri_kv_uncentre(tsr_cpu_flags(), m, s, (int)n, b);
        assert_memory_equal(a, x, n * sizeof *a);
        assert_memory_equal(b, x, n * sizeof *b);
        free(mean);
        free(scale);
        free(a);
        free(b);
        free(x);
    }
}

/* Of small integers all sums are exact in any order. */
static void test_hadamard(void **state)
{
    (void)state;
    static float x[2048], y[2048], sum[2048];
    check_rng rng = { 3 };

    for (int dim = 1; dim <= 2048; dim *= 2) {
        const float factor = (float)(1 / sqrt((double)dim));
        for (int i = 0; i < dim; i++)
            x[i] = (float)((int)check_below(&rng, 2001) - 1000);
        for (int i = 0; i < dim; i++) {
            sum[i] = 0;
            for (int j = 0; j < dim; j++)
                sum[i] += __builtin_parity((unsigned)(i & j)) ? -x[j] : x[j];
            sum[i] *= factor;
        }
        memcpy(y, x, sizeof y);
        tsri_kv_hadamard(0, x, dim);
        tsri_kv_hadamard(tsr_cpu_flags(), y, dim);
        for (int i = 0; i < dim; i++) {
            assert_true(x[i] == sum[i]);
            assert_true(y[i] == sum[i]);
        }
        for (int i = 0; i < dim; i++)
            x[i] = y[i] = wild(&rng);
        tsri_kv_hadamard(0, x, dim);
        tsri_kv_hadamard(tsr_cpu_flags(), y, dim);
        assert_memory_equal(x, y, (size_t)dim * sizeof *x);
    }
}

enum { LAYERS = 3, HEADS = 2, DIM = 8, PLANE = HEADS * DIM, TOKENS = 131 };

/* All of a small profile's numbers; joined: the planes of a layer. */
typedef struct small {
    tsri_kv_profile profile;
    tsri_kv_group group;
    float mean[2 * PLANE], scale[2 * PLANE], unscale[2 * PLANE];
    float forward[4 * PLANE * PLANE], inverse[4 * PLANE * PLANE];
} small;

/* Householder's reflection by a random vector: its own transpose and inverse. */
static void reflect(check_rng *rng, int n, float *m)
{
    double v[2 * PLANE], norm = 0;

    for (int i = 0; i < n; i++) {
        v[i] = check_float(rng);
        norm += v[i] * v[i];
    }
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++)
            m[i * n + j] = (float)((i == j) - 2 * v[i] * v[j] / norm);
}

static void make(small *s, check_rng *rng, bool joined, bool hadamard,
                 bool scaled, bool matrix)
{
    const int n = joined ? 2 * PLANE : PLANE;

    s->profile = (tsri_kv_profile){
        .shape = { LAYERS, 2, { HEADS, HEADS }, { DIM, DIM } },
        .hadamard = hadamard, .matches = 1, .step = 1
    };
    s->group = (tsri_kv_group){
        .first_layer = 1, .layers = 1, .plane = joined ? -1 : 1, .n = n, .r = n,
        .mean = s->mean, .scale = scaled ? s->scale : NULL,
        .unscale = scaled ? s->unscale : NULL,
        .forward = matrix ? s->forward : NULL,
        .inverse = matrix ? s->inverse : NULL
    };
    reflect(rng, n, s->forward);
    memcpy(s->inverse, s->forward, sizeof s->forward);
    for (int i = 0; i < n; i++) {
        s->mean[i] = check_float(rng);
        s->scale[i] = 1 + check_float(rng) / 2;
        s->unscale[i] = 1 / s->scale[i];
    }
}

/* x -> z -> x with all coefficients; z of the first `live` is the same as of
 * all; both processors' bits agree. */
static void round_trip(const small *s, check_rng *rng, int tokens, int live)
{
    enum { W = 2 * PLANE };
    static float x[TOKENS * W], y[TOKENS * W], z[TOKENS * W], part[TOKENS * W],
        fast[TOKENS * W], back[TOKENS * W], other[TOKENS * W];
    const unsigned cpu = tsr_cpu_flags();
    const size_t bytes = sizeof x;

    for (int i = 0; i < TOKENS * W; i++)
        x[i] = check_float(rng) * 4;
    memset(z, 0, bytes);
    memset(fast, 0, bytes);
    memcpy(y, x, bytes);
    tsri_kv_forward(&s->profile, &s->group, 0, y, W, tokens, s->group.r, z, W);
    memcpy(y, x, bytes);
    tsri_kv_forward(&s->profile, &s->group, cpu, y, W, tokens, s->group.r, fast,
                    W);
    assert_memory_equal(z, fast, bytes);
    memcpy(y, x, bytes);
    memset(part, 0x5a, bytes);
    memcpy(other, part, bytes);
    tsri_kv_forward(&s->profile, &s->group, cpu, y, W, tokens, live, part, W);
    for (int t = 0; t < tokens; t++)
        memcpy(other + t * W, z + t * W, (size_t)live * sizeof *other);
    assert_memory_equal(part, other, bytes);

    memset(back, 0x5a, bytes);
    tsri_kv_inverse(&s->profile, &s->group, cpu, z, W, tokens, s->group.r, back,
                    W);
    for (int t = 0; t < tokens; t++)
        for (int i = 0; i < s->group.n; i++)
            assert_true(fabsf(back[t * W + i] - x[t * W + i]) < 1e-5f);
    memset(back, 0x5a, bytes);
    memset(other, 0x5a, bytes);
    tsri_kv_inverse(&s->profile, &s->group, 0, z, W, tokens, live, back, W);
    tsri_kv_inverse(&s->profile, &s->group, cpu, z, W, tokens, live, other, W);
    assert_memory_equal(back, other, bytes);
}

static void test_round_trip(void **state)
{
    (void)state;
    static small s;
    check_rng rng = { 4 };

    for (int kind = 0; kind < 16; kind++) {
        make(&s, &rng, kind & 1, kind & 2, kind & 4, kind & 8);
        round_trip(&s, &rng, TOKENS, s.group.r / 3);
        round_trip(&s, &rng, 1, 1);
        round_trip(&s, &rng, 6, 0);
        round_trip(&s, &rng, 0, s.group.r);
    }
}

/* The order of steps, by hand: one head of two values, kept at once. */
static void test_order(void **state)
{
    (void)state;
    const float mean[] = { 1, 2 }, scale[] = { 2, 4 }, unscale[] = { .5f, .25f };
    const float forward[] = { 1, 0, 0, 3 }, inverse[] = { 1, 0, 0, 1.f / 3 };
    const float half = (float)(1 / sqrt(2.));
    tsri_kv_profile p = { .shape = { 1, 1, { 1, 0 }, { 2, 0 } }, .hadamard = true };
    tsri_kv_group g = { .layers = 1, .plane = -1, .n = 2, .r = 2, .mean = mean,
                        .scale = scale, .unscale = unscale, .forward = forward,
                        .inverse = inverse };
    float x[] = { 4, 7 }, z[2];

    tsri_kv_forward(&p, &g, 0, x, 2, 1, 2, z, 2);
    assert_true(z[0] == 8 * half * 2 && z[1] == -2 * half * 4 * 3);
    tsri_kv_inverse(&p, &g, 0, z, 2, 1, 2, x, 2);
    assert_true(fabsf(x[0] - 4) < 1e-6f && fabsf(x[1] - 7) < 1e-6f);
}

enum { VOCABULARY = 230, HIDDEN = 150, WORDS = 3, N = 61, TEXT = 600 };

/* The definition: the constant, and for each j a chain of its own. */
static float say(const tsri_kv_profile *p, const float *w, const float *e,
                 const int32_t *ids, int t, int c, float sign, float x)
{
    x += sign * w[p->predictors * HIDDEN * N + c];
    for (int j = 0; j < p->predictors && j <= t; j++) {
        float part = 0;
        for (int k = 0; k < HIDDEN; k++)
            if (ids[t - j] >= 0 && ids[t - j] < VOCABULARY)
                part = fmaf(e[ids[t - j] * HIDDEN + k],
                            w[(j * HIDDEN + k) * N + c], part);
        x += sign * part;
    }
    return x;
}

/* Tokens from `first` on, taken off or put on. */
static void check_predict(const tsri_kv_profile *p, const float *w,
                          const float *e, const int32_t *ids, int first,
                          bool off, check_rng *rng)
{
    enum { PITCH = N + 3 };
    static float plain[TEXT * PITCH], fast[TEXT * PITCH], wanted[TEXT * PITCH];
    const tsri_kv_group g = { .n = N, .r = N, .predict = w };

    for (int i = 0; i < TEXT * PITCH; i++)
        wanted[i] = check_float(rng);
    memcpy(plain, wanted, sizeof wanted);
    memcpy(fast, wanted, sizeof wanted);
    for (int t = 0; t < TEXT - first; t++)
        for (int c = 0; c < N; c++)
            wanted[t * PITCH + c] = say(p, w, e, ids, first + t, c,
                                        off ? -1 : 1, wanted[t * PITCH + c]);
    tsri_kv_predict(p, &g, 0, ids, (size_t)first, TEXT - first, off, plain, PITCH);
    tsri_kv_predict(p, &g, tsr_cpu_flags(), ids, (size_t)first, TEXT - first, off,
                    fast, PITCH);
    assert_memory_equal(plain, wanted, sizeof wanted);
    assert_memory_equal(fast, wanted, sizeof wanted);
}

static void test_predict(void **state)
{
    (void)state;
    static uint8_t halves[2 * VOCABULARY * HIDDEN + 1];
    static float e[VOCABULARY * HIDDEN], w[(WORDS * HIDDEN + 1) * N];
    tsri_kv_profile p = { .vocabulary = VOCABULARY, .hidden = HIDDEN,
                          .embedding = halves + 1 };
    check_rng rng = { 5 };
    int32_t ids[TEXT];

    /* Halves (2^10 + m) 2^-11, signed: simple both ways. */
    for (int i = 0; i < VOCABULARY * HIDDEN; i++) {
        const uint32_t m = check_below(&rng, 1024), sign = check_below(&rng, 2);
        halves[1 + 2 * i] = (uint8_t)m;
        halves[2 + 2 * i] = (uint8_t)(sign << 7 | 14 << 2 | m >> 8);
        e[i] = (float)(1024 + m) / 2048 * (sign ? -1 : 1);
    }
    for (size_t i = 0; i < sizeof w / sizeof *w; i++)
        w[i] = check_float(&rng);
    for (int t = 0; t < TEXT; t++)
        ids[t] = (int32_t)check_below(&rng, t < 290 ? VOCABULARY + 4 : 9) - 2;
    for (int t = 310; t < 600; t++)
        ids[t] = t; /* more words than a block has tokens */
    ids[3] = INT32_MAX;
    ids[4] = INT32_MIN;
    for (p.predictors = 1; p.predictors <= WORDS; p.predictors++)
        for (int first = 0; first < TEXT; first += first ? 290 : 1)
            check_predict(&p, w, e, ids, first, first & 1, &rng);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chain),      cmocka_unit_test(test_centre),
        cmocka_unit_test(test_hadamard),   cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_order),      cmocka_unit_test(test_predict),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
