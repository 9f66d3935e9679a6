/* SPDX-License-Identifier: BSD-2-Clause */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "codecs/kv/profile.h"
#include "codecs/kv/rope.h"
#include "lib/bytes.h"
#include "lib/weights.h"

enum { ANCHOR_MAX = TSRI_KV_MAX_TOKENS, HIDDEN_MAX = 1 << 16 };

/* What the parts of a load need. */
typedef struct loader {
    tsri_kv_profile *profile;
    tsr_context *ctx;
    tsr_model *model;
} loader;

static tsr_error wrong(const loader *l, const char *name, const char *what)
{
    return tsri_fail(l->ctx, TSR_E_CORRUPT, "%s: tensor '%s' %s",
                     tsr_model_path(l->model), name, what);
}

/* A tensor of that type, dims (TSRI_ANY as of tsri_want()) and name. */
static tsr_error want(const loader *l, const tsr_tensor **t, tsr_dtype dtype,
                      int rank, const uint64_t *dims, const char *name)
{
    TSR_TRY(tsri_want(l->ctx, l->model, t, rank, dims, "%s", name));
    return (*t)->dtype == dtype ? TSR_OK
                                : wrong(l, name, "is of another type");
}

/* I32 tensor of `count` numbers. */
static tsr_error numbers(const loader *l, const char *name, int count,
                         int32_t *out)
{
    const tsr_tensor *t;

    TSR_TRY(want(l, &t, TSR_I32, 1, (uint64_t[]){ (uint64_t)count }, name));
    for (int i = 0; i < count; i++)
        out[i] = (int32_t)tsri_get32((const uint8_t *)t->data + 4 * i);
    return TSR_OK;
}

/* One I32, lo..hi. */
static tsr_error number(const loader *l, const char *name, int lo, int hi,
                        int *out)
{
    int32_t v;

    TSR_TRY(numbers(l, name, 1, &v));
    *out = v;
    return v >= lo && v <= hi ? TSR_OK : wrong(l, name, "is out of range");
}

/* The name of a tensor of group g. */
typedef struct name_text { char text[40]; } name_text;

static name_text name_of(int g, const char *what)
{
    name_text name;
    snprintf(name.text, sizeof name.text, "g.%d.%s", g, what);
    return name;
}

static bool has(const loader *l, const char *name)
{
    return tsr_model_tensor(l->model, name) != NULL;
}

/* F16 or F32 tensor as floats, all finite. */
static tsr_error floats(const loader *l, const char *name, int rank,
                        const uint64_t *dims, float **out)
{
    const tsr_tensor *t;
    size_t n;

    TSR_TRY(tsri_want(l->ctx, l->model, &t, rank, dims, "%s", name));
    if (t->dtype != TSR_F16 && t->dtype != TSR_F32)
        return wrong(l, name, "is neither F16 nor F32");
    TSR_TRY(tsri_tensor_floats(l->ctx, t, out));
    n = tsri_tensor_count(t);
    for (size_t i = 0; i < n; i++)
        if (!isfinite((*out)[i]))
            return wrong(l, name, "has a value that is not finite");
    return TSR_OK;
}

/* A copy of a tensor's bytes: what the caller checks must not change. */
static tsr_error copied(const loader *l, const tsr_tensor *t, void **out)
{
    *out = tsri_alloc(l->ctx, t->bytes, 1);
    if (!*out)
        return tsri_nomem(l->ctx);
    memcpy(*out, t->data, t->bytes);
    return TSR_OK;
}

static tsr_error load_shape(loader *l, const tsr_kv_shape *want_shape)
{
    tsr_kv_shape *s = &l->profile->shape;
    int32_t v[6];

    TSR_TRY(numbers(l, "kv.shape", 6, v));
    *s = (tsr_kv_shape){ .layers = v[0], .planes = v[1],
                         .heads = { v[2], v[4] }, .dim = { v[3], v[5] } };
    for (int p = 0; p < 2; p++)
        if (p < want_shape->planes && (s->heads[p] != want_shape->heads[p] ||
                                       s->dim[p] != want_shape->dim[p]))
            s->layers = 0;
    if (s->layers != want_shape->layers || s->planes != want_shape->planes)
        return tsri_fail(l->ctx, TSR_E_MODEL,
                         "%s: a profile for caches of another shape",
                         tsr_model_path(l->model));
    return TSR_OK;
}

/* A number of the rope that is an integer 0..2^30. */
static bool whole(double v, int *out)
{
    const bool good = v >= 0 && v <= 1 << 30 && v == floor(v);
    *out = good ? (int)v : 0;
    return good;
}

static tsr_error load_rope(loader *l)
{
    tsr_kv_rope *r = &l->profile->rope;
    const tsr_tensor *t;
    double v[9];

    TSR_TRY(want(l, &t, TSR_F64, 1, (uint64_t[]){ 9 }, "kv.rope"));
    for (int i = 0; i < 9; i++) {
        const uint64_t bits = tsri_get64((const uint8_t *)t->data + 8 * i);
        memcpy(&v[i], &bits, sizeof bits);
        if (!isfinite(v[i]))
            return wrong(l, "kv.rope", "has a value that is not finite");
    }
    *r = (tsr_kv_rope){ .theta = v[3], .factor = v[5], .low_factor = v[6],
                        .high_factor = v[7] };
    if (!whole(v[0], &r->layout) || !whole(v[1], &r->offset) ||
        !whole(v[2], &r->dims) || !whole(v[4], &r->scaling) ||
        !whole(v[8], &r->original))
        return wrong(l, "kv.rope", "has a field that is no such number");
    return tsri_rope_fits(r, l->profile->shape.dim[0])
               ? TSR_OK
               : wrong(l, "kv.rope", "is no rotary embedding of these heads");
}

static tsr_error load_reference(loader *l)
{
    tsri_kv_profile *p = l->profile;
    int32_t v[2];

    TSR_TRY(numbers(l, "kv.reference", 2, v));
    if (v[0] < TSRI_KV_REF_NONE || v[0] > TSRI_KV_REF_MATCH ||
        (v[0] == TSRI_KV_REF_ANCHOR ? v[1] < 1 || v[1] > ANCHOR_MAX : v[1]))
        return wrong(l, "kv.reference", "is out of range");
    p->reference = (tsri_kv_reference)v[0];
    p->anchor = v[1];
    return TSR_OK;
}

static tsr_error load_step(loader *l)
{
    tsri_kv_profile *p = l->profile;
    const tsr_tensor *t;

    TSR_TRY(want(l, &t, TSR_F32, 1, (uint64_t[]){ 1 }, "kv.step"));
    p->step = tsri_getf32(t->data);
    if (!(p->step > 1e-30f && p->step < 1e30f))
        return wrong(l, "kv.step", "is out of range");
    if (has(l, "kv.bias"))
        TSR_TRY(number(l, "kv.bias", 0, TSRI_ROWS_CLASSES - 1, &p->bias));
    return number(l, "kv.dead", 0, TSRI_ROWS_CLASSES, &p->dead);
}

static tsr_error load_hadamard(loader *l)
{
    tsri_kv_profile *p = l->profile;
    int on = 0;

    if (has(l, "kv.hadamard"))
        TSR_TRY(number(l, "kv.hadamard", 0, 1, &on));
    p->hadamard = on;
    for (int i = 0; on && i < p->shape.planes; i++)
        if (p->shape.dim[i] & (p->shape.dim[i] - 1))
            return wrong(l, "kv.hadamard", "wants dims that are powers of two");
    return TSR_OK;
}

/* Every 16 bits of a half are fine but infinities and NaN. */
static bool halves_finite(const uint8_t *p, size_t n)
{
    bool good = true;
    for (size_t i = 0; i < n; i++)
        good &= (tsri_get16(p + 2 * i) & 0x7c00) != 0x7c00;
    return good;
}

static tsr_error load_embedding(loader *l)
{
    tsri_kv_profile *p = l->profile;
    const tsr_tensor *t;

    if (has(l, "kv.predictors"))
        TSR_TRY(number(l, "kv.predictors", 0, TSRI_KV_MAX_PREDICTORS,
                       &p->predictors));
    if (!p->predictors)
        return TSR_OK;
    TSR_TRY(want(l, &t, TSR_F16, 2, (uint64_t[]){ TSRI_ANY, TSRI_ANY },
                 "embedding"));
    if (t->dims[0] > INT32_MAX || t->dims[1] > HIDDEN_MAX)
        return wrong(l, "embedding", "is too large");
    if (!halves_finite(t->data, tsri_tensor_count(t)))
        return wrong(l, "embedding", "has a value that is not finite");
    p->vocabulary = (int)t->dims[0];
    p->hidden = (int)t->dims[1];
    p->embedding = t->data;
    return TSR_OK;
}

static int plane_values(const tsr_kv_shape *s, int plane)
{
    return s->heads[plane] * s->dim[plane];
}

/* Group g of `groups` as the format has them: each plane alone, or all planes
 * of as many layers each. */
static bool standard_group(const tsr_kv_shape *s, int groups, int g,
                           tsri_kv_group *out)
{
    int n = 0;

    if (groups == s->layers * s->planes) {
        out->first_layer = g / s->planes;
        out->layers = 1;
        out->plane = s->planes == 1 ? -1 : g % s->planes;
        out->n = plane_values(s, g % s->planes);
        return true;
    }
    if (groups < 1 || s->layers % groups)
        return false;
    for (int p = 0; p < s->planes; p++)
        n += plane_values(s, p);
    out->layers = s->layers / groups;
    out->first_layer = g * out->layers;
    out->plane = -1;
    if (n > TSRI_KV_MAX_VALUES / out->layers)
        return false;
    out->n = n * out->layers;
    return true;
}

static tsr_error load_groups(loader *l)
{
    tsri_kv_profile *p = l->profile;
    const tsr_tensor *t;

    TSR_TRY(want(l, &t, TSR_I32, 2, (uint64_t[]){ TSRI_ANY, 3 }, "kv.groups"));
    if (t->dims[0] > (uint64_t)(p->shape.layers * p->shape.planes))
        return wrong(l, "kv.groups", "has more rows than there are planes");
    p->group = tsri_calloc(l->ctx, (size_t)t->dims[0], sizeof *p->group);
    if (!p->group)
        return tsri_nomem(l->ctx);
    p->groups = (int)t->dims[0];
    for (int g = 0; g < p->groups; g++) {
        const uint8_t *row = (const uint8_t *)t->data + 12 * g;
        tsri_kv_group *group = &p->group[g];
        if (!standard_group(&p->shape, p->groups, g, group) ||
            (int32_t)tsri_get32(row) != group->first_layer ||
            (int32_t)tsri_get32(row + 4) != group->layers ||
            (int32_t)tsri_get32(row + 8) != group->plane)
            return wrong(l, "kv.groups",
                         "does not hold every plane once, in order");
    }
    return TSR_OK;
}

static tsr_error load_scale(loader *l, int g, tsri_kv_group *group)
{
    const name_text name = name_of(g, "scale");
    float *scale = NULL, *unscale;
    tsr_error error;

    if (!has(l, name.text))
        return TSR_OK;
    error = floats(l, name.text, 1, (uint64_t[]){ (uint64_t)group->n }, &scale);
    group->scale = scale;
    if (error)
        return error;
    group->unscale = unscale = tsri_alloc(l->ctx, (size_t)group->n,
                                          sizeof *unscale);
    if (!unscale)
        return tsri_nomem(l->ctx);
    for (int i = 0; i < group->n; i++) {
        unscale[i] = 1 / scale[i];
        if (!isfinite(unscale[i]))
            return wrong(l, name.text, "has a value without a reciprocal");
    }
    return TSR_OK;
}

/* r x n -> n x r. */
static void transpose(const float *from, int r, int n, float *to)
{
    enum { B = 16 };
    for (int i0 = 0; i0 < r; i0 += B)
        for (int c = 0; c < n; c++)
            for (int i = i0; i < r && i < i0 + B; i++)
                to[(size_t)c * (size_t)r + (size_t)i] =
                    from[(size_t)i * (size_t)n + (size_t)c];
}

static tsr_error load_forward(loader *l, const char *name, tsri_kv_group *group)
{
    const uint64_t dims[2] = { TSRI_ANY, (uint64_t)group->n };
    const tsr_tensor *t;
    float *from = NULL, *to = NULL;
    tsr_error error;

    TSR_TRY(tsri_want(l->ctx, l->model, &t, 2, dims, "%s", name));
    if (t->dims[0] > dims[1])
        return wrong(l, name, "has more coefficients than values");
    group->r = (int)t->dims[0];
    error = floats(l, name, 2, dims, &from);
    if (!error) {
        to = tsri_alloc(l->ctx, tsri_tensor_count(t), sizeof *to);
        error = to ? TSR_OK : tsri_nomem(l->ctx);
    }
    if (!error)
        transpose(from, group->r, group->n, to);
    tsri_free(l->ctx, from);
    group->forward = to;
    return error;
}

static tsr_error load_matrices(loader *l, int g, tsri_kv_group *group)
{
    const name_text forward = name_of(g, "forward");
    const name_text inverse = name_of(g, "inverse");
    float *out = NULL;
    tsr_error error;

    group->r = group->n;
    if (!has(l, forward.text) && !has(l, inverse.text))
        return TSR_OK;
    TSR_TRY(load_forward(l, forward.text, group));
    error = floats(l, inverse.text, 2,
                   (uint64_t[]){ (uint64_t)group->r, (uint64_t)group->n }, &out);
    group->inverse = out;
    return error;
}

/* Bytes of classes and of gains; all groups have as many rows. */
static tsr_error load_classes(loader *l, int g, tsri_kv_group *group)
{
    const name_text cls = name_of(g, "class"), rho = name_of(g, "rho");
    uint64_t dims[2] = { TSRI_ANY, (uint64_t)group->r };
    tsri_kv_profile *p = l->profile;
    const tsr_tensor *t;
    void *copy;

    if (g > 0)
        dims[0] = (uint64_t)p->matches;
    TSR_TRY(want(l, &t, TSR_U8, 2, dims, cls.text));
    if (t->dims[0] != 1 && t->dims[0] != TSRI_KV_MATCHES)
        return wrong(l, cls.text, "has neither 1 nor 8 rows");
    p->matches = (int)t->dims[0];
    TSR_TRY(copied(l, t, &copy));
    group->cls = copy;
    for (size_t i = 0; i < t->bytes; i++)
        if (group->cls[i] >= TSRI_ROWS_CLASSES)
            return wrong(l, cls.text, "has a class that there is not");
    if (!has(l, rho.text))
        return TSR_OK;
    TSR_TRY(want(l, &t, TSR_I8, 2, t->dims, rho.text));
    TSR_TRY(copied(l, t, &copy));
    group->rho = copy;
    return TSR_OK;
}

static tsr_error load_predict(loader *l, int g, tsri_kv_group *group)
{
    const tsri_kv_profile *p = l->profile;
    const name_text name = name_of(g, "words");
    const uint64_t rows = (uint64_t)(p->predictors * p->hidden + 1);
    float *out = NULL;
    tsr_error error;

    if (!p->predictors)
        return TSR_OK;
    error = floats(l, name.text, 2, (uint64_t[]){ rows, (uint64_t)group->n },
                   &out);
    group->predict = out;
    return error;
}

static tsr_error load_group(loader *l, int g)
{
    tsri_kv_group *group = &l->profile->group[g];
    float *mean = NULL;
    const tsr_error error = floats(l, name_of(g, "mean").text, 1,
                                   (uint64_t[]){ (uint64_t)group->n }, &mean);
    group->mean = mean;
    if (error)
        return error;
    TSR_TRY(load_scale(l, g, group));
    TSR_TRY(load_matrices(l, g, group));
    TSR_TRY(load_classes(l, g, group));
    return load_predict(l, g, group);
}

static tsr_error load(loader *l, const tsr_kv_shape *shape)
{
    if (strcmp(tsr_model_codec(l->model), "kv-profile") != 0)
        return tsri_fail(l->ctx, TSR_E_MODEL, "%s: not a profile of KV caches",
                         tsr_model_path(l->model));
    l->profile->model = tsr_model_ref(l->model);
    memcpy(l->profile->hash, tsr_model_hash(l->model), sizeof l->profile->hash);
    TSR_TRY(load_shape(l, shape));
    TSR_TRY(load_rope(l));
    TSR_TRY(load_reference(l));
    TSR_TRY(load_step(l));
    TSR_TRY(load_hadamard(l));
    TSR_TRY(load_embedding(l));
    TSR_TRY(load_groups(l));
    for (int g = 0; g < l->profile->groups; g++)
        TSR_TRY(load_group(l, g));
    return TSR_OK;
}

static tsr_error make_none(tsri_kv_profile *p, tsr_context *ctx,
                           const tsr_kv_shape *shape, const tsr_kv_rope *rope)
{
    p->shape = *shape;
    p->rope = *rope;
    p->step = 1;
    p->matches = 1;
    p->groups = shape->layers * shape->planes;
    p->group = tsri_calloc(ctx, (size_t)p->groups, sizeof *p->group);
    if (!p->group)
        return tsri_nomem(ctx);
    for (int g = 0; g < p->groups; g++) {
        standard_group(shape, p->groups, g, &p->group[g]);
        p->group[g].r = p->group[g].n;
    }
    return TSR_OK;
}

tsr_error tsri_kv_profile_open(tsri_kv_profile **profile, tsr_context *ctx,
                               tsr_model *model, const tsr_kv_shape *shape,
                               const tsr_kv_rope *rope)
{
    tsri_kv_profile *p = tsri_calloc(ctx, 1, sizeof *p);
    tsr_error error;

    *profile = p;
    if (!p)
        return tsri_nomem(ctx);
    error = model ? load(&(loader){ p, ctx, model }, shape)
                  : make_none(p, ctx, shape, rope);
    if (!error)
        error = tsri_rows_open(&p->rows, ctx);
    if (error)
        tsri_kv_profile_close(profile, ctx);
    return error == TSR_E_SHAPE ? TSR_E_CORRUPT : error;
}

static void free_group(const tsri_kv_group *group, tsr_context *ctx)
{
    const void *parts[] = { group->mean, group->scale, group->unscale,
                            group->forward, group->inverse, group->cls,
                            group->rho, group->predict };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        tsri_free(ctx, (void *)(uintptr_t)parts[i]);
}

void tsri_kv_profile_close(tsri_kv_profile **profile, tsr_context *ctx)
{
    tsri_kv_profile *p = *profile;

    *profile = NULL;
    if (!p)
        return;
    tsri_rows_close(&p->rows, ctx);
    for (int g = 0; p->group && g < p->groups; g++)
        free_group(&p->group[g], ctx);
    tsri_free(ctx, p->group);
    tsr_model_unref(&p->model);
    tsri_free(ctx, p);
}

int8_t tsri_kv_class_shift(const tsri_kv_profile *profile, float multiple)
{
    const int shift = (int)lrint(-4 * log2((double)multiple)) - profile->bias;
    return (int8_t)tsri_clamp(shift, INT8_MIN, INT8_MAX);
}

int tsri_kv_group_live(const tsri_kv_profile *profile,
                       const tsri_kv_group *group, int class_shift)
{
    int live = group->r;

    while (group->cls && live > 0 &&
           group->cls[live - 1] + class_shift < profile->dead)
        live--;
    return live;
}
