/* SPDX-License-Identifier: BSD-2-Clause */
/* Profiles of made-up models, and caches that they fit: orthonormal transforms,
 * so that errors can be added up, values that follow from token ids and repeat
 * themselves where the text does. */
#ifndef TSR_TESTS_KV_PROFILE_GEN_H
#define TSR_TESTS_KV_PROFILE_GEN_H
#include "tests/kv_case.h"
#include "tests/tensors.h"
#include "codecs/kv/match.h"

enum { KV_HIDDEN = 4, KV_WORDS = 12 };
#define KV_STEP 0.1f

/** What a profile is to have. */
typedef struct kv_plan {
    const tsr_kv_shape *shape;
    int joined;             /**< layers of a group; 0: planes are groups */
    int reference, predictors, matches, dead;
    bool hadamard;
} kv_plan;

static const tsr_kv_rope kv_plan_rope = { .layout = 1, .dims = 8, .theta = 1e4 };

static inline int kv_plan_groups(const kv_plan *p)
{
    return p->joined ? p->shape->layers / p->joined
                     : p->shape->layers * p->shape->planes;
}

static inline int kv_plan_values(const kv_plan *p, int g)
{
    int n = 0;
    for (int i = 0; i < p->shape->planes; i++)
        if (p->joined || g % p->shape->planes == i)
            n += p->shape->heads[i] * p->shape->dim[i];
    return p->joined ? n * p->joined : n;
}

/** Spread of coefficient i without prediction and references. */
static inline float kv_plan_spread(int i)
{
    return 2 * expf(-(float)i / 12);
}

/** An orthonormal matrix: many random turns of two rows each. */
static inline void kv_plan_matrix(float *m, int n, uint64_t seed)
{
    check_rng rng = { seed };

    for (int i = 0; i < n * n; i++)
        m[i] = (float)(i % (n + 1) == 0);
    for (int k = 0; k < 8 * n && n > 1; k++) {
        const int a = (int)check_below(&rng, (uint32_t)n);
        const int b = (a + 1 + (int)check_below(&rng, (uint32_t)n - 1)) % n;
        const double angle = 3 * check_float(&rng);
        const double c = cos(angle), s = sin(angle);
        for (int i = 0; i < n; i++) {
            const double x = m[a * n + i], y = m[b * n + i];
            m[a * n + i] = (float)(c * x + s * y);
            m[b * n + i] = (float)(c * y - s * x);
        }
    }
}

static inline void kv_plan_put(check_tensors *list, const char *name,
                               const char *type, size_t size, uint64_t rows,
                               uint64_t columns, const void *data)
{
    void *to = check_tensors_add(list, name, type, size, columns ? 2 : 1,
                                 (uint64_t[]){ rows, columns });
    memcpy(to, data, rows * (columns ? columns : 1) * size);
}

static inline void kv_plan_classes(check_tensors *list, const kv_plan *p, int g,
                                   int n)
{
    uint8_t cls[8 * 256];
    int8_t rho[8 * 256];
    char name[CHECK_NAME];

    for (int k = 0; k < p->matches; k++)
        for (int i = 0; i < n; i++) {
            const float spread = kv_plan_spread(i) * (k ? 0.4f : 1) / 2;
            const int c = (int)lrintf(4 * log2f(spread / KV_STEP)) + 14;
            cls[k * n + i] = (uint8_t)(c < 0 ? 0 : c);
            rho[k * n + i] = (int8_t)(k || p->matches == 1 ? 50 + i % 13 : -9);
        }
    kv_plan_put(list, check_name(name, "g.%d.class", g), "U8", 1,
                (uint64_t)p->matches, (uint64_t)n, cls);
    if (p->reference)
        kv_plan_put(list, check_name(name, "g.%d.rho", g), "I8", 1,
                    (uint64_t)p->matches, (uint64_t)n, rho);
}

static inline void kv_plan_group(check_tensors *list, const kv_plan *p, int g)
{
    const int n = kv_plan_values(p, g);
    const uint64_t un = (uint64_t)n;
    const uint64_t rows = (uint64_t)(p->predictors * KV_HIDDEN + 1);
    float *m = malloc(un * un * sizeof *m);
    float *mean = malloc(un * sizeof *mean);
    float *predict = malloc(rows * un * sizeof *predict);
    check_rng rng = { 77 + (uint64_t)g };
    char name[CHECK_NAME];

    kv_plan_matrix(m, n, 5 + (uint64_t)g);
    for (int i = 0; i < n; i++)
        mean[i] = 4 * check_float(&rng);
    for (uint64_t i = 0; i < rows * un; i++)
        predict[i] = 3 * check_float(&rng);
    kv_plan_put(list, check_name(name, "g.%d.mean", g), "F32", 4, un, 0, mean);
    kv_plan_put(list, check_name(name, "g.%d.forward", g), "F32", 4, un, un, m);
    kv_plan_put(list, check_name(name, "g.%d.inverse", g), "F32", 4, un, un, m);
    if (p->predictors)
        kv_plan_put(list, check_name(name, "g.%d.words", g), "F32", 4, rows,
                    un, predict);
    kv_plan_classes(list, p, g, n);
    free(m);
    free(mean);
    free(predict);
}

/** Writes the profile and opens it as a model; the file is removed. */
static inline tsr_model *kv_plan_model(const kv_plan *p, tsr_context *ctx,
                                       const char *path)
{
    const tsr_kv_shape *s = p->shape;
    const int32_t shape[6] = { s->layers, s->planes, s->heads[0], s->dim[0],
                               s->planes > 1 ? s->heads[1] : 0,
                               s->planes > 1 ? s->dim[1] : 0 };
    const double rope[9] = { 1, 0, 8, 1e4 };
    const int32_t reference[2] = { p->reference,
                                   p->reference == TSRI_KV_REF_ANCHOR ? 16 : 0 };
    const float step = KV_STEP;
    const int32_t hadamard = p->hadamard, predictors = p->predictors;
    const int groups = kv_plan_groups(p);
    int32_t group[3 * 64];
    uint16_t embedding[KV_WORDS * KV_HIDDEN];
    check_tensors list = { NULL, 0 };
    tsr_model *model;

    for (int g = 0; g < groups; g++) {
        group[3 * g] = p->joined ? g * p->joined : g / s->planes;
        group[3 * g + 1] = p->joined ? p->joined : 1;
        group[3 * g + 2] = p->joined || s->planes == 1 ? -1 : g % s->planes;
        kv_plan_group(&list, p, g);
    }
    for (int i = 0; i < KV_WORDS * KV_HIDDEN; i++) /* 0.25 .. 1, both signs */
        embedding[i] = (uint16_t)(0x3400 + i * 331 % 2048 + (i % 3 ? 0x8000 : 0));
    kv_plan_put(&list, "kv.shape", "I32", 4, 6, 0, shape);
    kv_plan_put(&list, "kv.rope", "F64", 8, 9, 0, rope);
    kv_plan_put(&list, "kv.groups", "I32", 4, (uint64_t)groups, 3, group);
    kv_plan_put(&list, "kv.step", "F32", 4, 1, 0, &step);
    kv_plan_put(&list, "kv.dead", "I32", 4, 1, 0, &(int32_t){ p->dead });
    kv_plan_put(&list, "kv.hadamard", "I32", 4, 1, 0, &hadamard);
    kv_plan_put(&list, "kv.reference", "I32", 4, 2, 0, reference);
    if (p->predictors) {
        kv_plan_put(&list, "kv.predictors", "I32", 4, 1, 0, &predictors);
        kv_plan_put(&list, "embedding", "F16", 2, KV_WORDS, KV_HIDDEN, embedding);
    }
    check_tensors_write(&list, SIZE_MAX, "\"tessera.codec\":\"kv-profile\"", path);
    check_tensors_free(&list);
    assert_int_equal(tsr_model_open(&model, ctx, path), TSR_OK);
    remove(path);
    return model;
}

/** Token ids whose runs come back, mostly. */
static inline void kv_plan_ids(int32_t *ids, size_t n)
{
    for (size_t t = 0; t < n; t++)
        ids[t] = (int32_t)((t / 29 % 2 ? t * t : t % 29) % (KV_WORDS + 1));
}

/** Coefficients of a group: like their reference, noise. */
static inline void kv_plan_coefs(const tsri_kv_group *group, const int32_t *ref,
                                 size_t n, float *z)
{
    const size_t r = (size_t)group->r;
    float *rest = malloc(n * r * sizeof *rest);
    check_rng rng = { 99 + r + (uint64_t)group->first_layer };

    for (size_t t = 0; t < n; t++)
        for (size_t i = 0; i < r; i++) {
            const float noise = check_float(&rng) * kv_plan_spread((int)i);
            rest[t * r + i] = ref[t] < 0 ? noise
                : 0.85f * rest[(size_t)ref[t] * r + i] + 0.3f * noise;
            z[t * r + i] = rest[t * r + i];
        }
    free(rest);
}

static inline void kv_plan_store(const kv_cache *c, const float *x, int layer,
                                 int plane, size_t t, const float *cs)
{
    const int heads = c->shape.heads[plane], dim = c->shape.dim[plane];
    float y[1024];

    memcpy(y, x, (size_t)(heads * dim) * sizeof *y);
    if (plane == 0)
        tsri_rope_put_back(&kv_plan_rope, 0, cs, y, heads, dim);
    for (int h = 0; h < heads; h++)
        for (int d = 0; d < dim; d++)
            kv_put(c, layer, plane, t, h, d, y[h * dim + d]);
}

/** A cache as the profile expects them. */
static inline void kv_plan_fill(const kv_plan *p, const kv_cache *c,
                                tsr_context *ctx, tsr_model *model,
                                const int32_t *ids)
{
    const size_t n = c->view.tokens;
    int32_t *ref = malloc((n + 1) * sizeof *ref);
    uint8_t *match = malloc(n + 1);
    tsri_kv_profile *profile;
    tsri_rope *rope;
    float cs[64];

    assert_int_equal(tsri_kv_profile_open(&profile, ctx, model, p->shape, NULL),
                     TSR_OK);
    assert_int_equal(tsri_rope_open(&rope, ctx, &kv_plan_rope, p->shape->dim[0],
                                    n), TSR_OK);
    void *scratch = malloc(tsri_kv_match_scratch(n) + 1);
    tsri_kv_match(profile, ids, n, 0, ref, match, scratch);
    for (int g = 0; g < profile->groups; g++) {
        const tsri_kv_group *group = &profile->group[g];
        const size_t width = (size_t)group->n;
        float *z = malloc((n + 1) * width * sizeof *z);
        float *x = malloc((n + 1) * width * sizeof *x);
        size_t at = 0;
        kv_plan_coefs(group, ref, n, z);
        tsri_kv_inverse(profile, group, 0, z, width, (int)n, group->r, x, width);
        if (group->predict)
            tsri_kv_predict(profile, group, 0, ids, 0, (int)n, false, x, width);
        for (int i = 0; i < group->layers; i++)
            for (int q = 0; q < p->shape->planes; q++) {
                if (group->plane >= 0 && group->plane != q)
                    continue;
                for (size_t t = 0; t < n; t++) {
                    tsri_rope_angles(rope, t, cs);
                    kv_plan_store(c, x + t * width + at, group->first_layer + i,
                                  q, t, cs);
                }
                at += (size_t)(p->shape->heads[q] * p->shape->dim[q]);
            }
        free(z);
        free(x);
    }
    free(scratch);
    free(ref);
    free(match);
    tsri_rope_close(&rope, ctx);
    tsri_kv_profile_close(&profile, ctx);
}
#endif
