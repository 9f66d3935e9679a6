/* SPDX-License-Identifier: BSD-2-Clause */
/* Loading the integer entropy model of "hyper". */
#include <string.h>
#include "codecs/image/cuda/hyper_gpu.h"
#include "codecs/image/hyper.h"
#include "lib/weights.h"

enum { BANK_BITS = 14, WIDTH_MAX = 2048, Z_SYMBOLS = 2 * TSRI_HYPER_Z_LIMIT + 1,
       RADIUS_MAX = 64 };

/* The channels of a group's input map (see hyper_predict.c): the plane "known",
 * a spare one, the features, y up to the group's end.  In the tensor the order
 * is features, y, plane. */
static void group_inputs(int *from, int features, int latents_in)
{
    from[0] = features + latents_in;
    from[1] = -1;
    for (int i = 0; i < features + latents_in; i++)
        from[2 + i] = i;
}

static void plain_inputs(int *from, int n)
{
    for (int i = 0; i < n; i++)
        from[i] = i;
}

/* One layer's tensors; its output width is the tensor's. */
static tsr_error load_layer(tsr_context *ctx, const tsr_model *model,
                            tsri_iconv *layer, const char *part, int index,
                            int in, int in_weights, int taps, const int *from)
{
    const uint64_t side = (uint64_t)taps;
    const tsr_tensor *w, *b, *s;
    int32_t *weight = NULL, *bias = NULL, *shift = NULL;
    tsr_error error;

    TSR_TRY(tsri_want(ctx, model, &w, 4, (uint64_t[]){ TSRI_ANY,
                      (uint64_t)in_weights, side, side }, "ctx.%s.%d.weight", part,
                      index));
    TSR_TRY(tsri_want(ctx, model, &b, 1, w->dims, "ctx.%s.%d.bias", part, index));
    TSR_TRY(tsri_want(ctx, model, &s, 1, (uint64_t[]){ 1 }, "ctx.%s.%d.shift", part,
                      index));
    if (w->dims[0] > WIDTH_MAX)
        return tsri_fail(ctx, TSR_E_SHAPE, "tensor '%s' is too wide", w->name);
    error = tsri_tensor_ints(ctx, w, &weight);
    if (!error)
        error = tsri_tensor_ints(ctx, b, &bias);
    if (!error)
        error = tsri_tensor_ints(ctx, s, &shift);
    if (!error)
        error = tsri_iconv_open(layer, ctx, in, (int)w->dims[0], taps, *shift, weight,
                                in_weights, bias, from);
    tsri_free(ctx, weight);
    tsri_free(ctx, bias);
    tsri_free(ctx, shift);
    return error;
}

static tsr_error load_hs(tsri_hyper_model *m, tsr_context *ctx, const tsr_model *model)
{
    int from[WIDTH_MAX], in = m->hyper_latents;

    plain_inputs(from, WIDTH_MAX);
    for (int i = 0; i < 3; i++) {
        if (in % 2)
            return tsri_fail(ctx, TSR_E_SHAPE, "ctx.hs.%d has an odd width", i);
        TSR_TRY(load_layer(ctx, model, &m->hs[i], "hs", i, in, in, 3, from));
        in = m->hs[i].out;
        if (i < 2 && in % 8)
            return tsri_fail(ctx, TSR_E_SHAPE, "ctx.hs.%d cannot be shuffled", i);
        if (i < 2)
            in /= 4;
    }
    m->features = in;
    return in % 2 ? tsri_fail(ctx, TSR_E_SHAPE, "an odd number of features") : TSR_OK;
}

/* How many y channels group g has: half the width of its last layer. */
static tsr_error group_width(tsri_hyper_model *m, tsr_context *ctx,
                             const tsr_model *model, int g, int *width)
{
    const tsr_tensor *t;
    TSR_TRY(tsri_want(ctx, model, &t, 4, (uint64_t[]){ TSRI_ANY, TSRI_ANY, 1, 1 },
                      "ctx.g%d.2.weight", g));
    if (t->dims[0] % 4 || t->dims[0] / 2 > (uint64_t)m->latents)
        return tsri_fail(ctx, TSR_E_SHAPE, "tensor '%s': a wrong width", t->name);
    *width = (int)(t->dims[0] / 2);
    return TSR_OK;
}

/* A group that training has left without a use; the shipped model has one, whose
 * hidden layers would be two fifths of all the work. */
static bool only_biases(const tsri_iconv *layer)
{
    const size_t n = (size_t)layer->padded * (size_t)layer->in;
    for (size_t i = 0; i < n; i++)
        if (layer->weight[i])
            return false;
    return true;
}

static tsr_error load_group(tsri_hyper_model *m, tsr_context *ctx,
                            const tsr_model *model, int g, int first)
{
    tsri_hyper_group *group = &m->group[g];
    int from[2 + WIDTH_MAX + TSRI_HYPER_LATENTS_MAX], end;
    char part[8] = { 'g', (char)('0' + g) };

    group->first = first;
    TSR_TRY(group_width(m, ctx, model, g, &group->channels));
    end = first + group->channels;
    if (end > m->latents)
        return tsri_fail(ctx, TSR_E_SHAPE, "the groups exceed the latent channels");
    group_inputs(from, m->features, end);
    TSR_TRY(load_layer(ctx, model, &group->layer[0], part, 0, 2 + m->features + end,
                       m->features + end + 1, 3, from));
    plain_inputs(from, WIDTH_MAX);
    for (int i = 1; i < 3; i++) {
        const int in = group->layer[i - 1].out;
        if (in % 2)
            return tsri_fail(ctx, TSR_E_SHAPE, "ctx.g%d.%d: an odd width", g, i - 1);
        TSR_TRY(load_layer(ctx, model, &group->layer[i], part, i, in, in, 1, from));
    }
    group->constant = only_biases(&group->layer[2]);
    return group->layer[2].out == 2 * group->channels
               ? TSR_OK : tsri_fail(ctx, TSR_E_SHAPE, "ctx.g%d.2: a wrong width", g);
}

static tsr_error load_groups(tsri_hyper_model *m, tsr_context *ctx,
                             const tsr_model *model)
{
    int first = 0;
    for (m->groups = 0; first < m->latents; m->groups++) {
        if (m->groups == TSRI_HYPER_GROUPS_MAX)
            return tsri_fail(ctx, TSR_E_SHAPE, "too many channel groups");
        TSR_TRY(load_group(m, ctx, model, m->groups, first));
        first += m->group[m->groups].channels;
    }
    return TSR_OK;
}

/* A bank from an integer tensor of all frequencies in table order. */
static tsr_error load_bank(tsr_context *ctx, const tsr_tensor *t, tsri_bank **bank,
                           const uint16_t *sizes, int tables)
{
    const size_t n = tsri_tensor_count(t);
    int32_t *wide;
    uint16_t *freq;
    tsr_error error;

    TSR_TRY(tsri_tensor_ints(ctx, t, &wide));
    freq = tsri_alloc(ctx, n, sizeof *freq);
    error = freq ? TSR_OK : tsri_nomem(ctx);
    for (size_t i = 0; !error && i < n; i++) {
        freq[i] = (uint16_t)wide[i];
        if (wide[i] < 0 || wide[i] > UINT16_MAX)
            error = tsri_fail(ctx, TSR_E_CORRUPT, "tensor '%s': a frequency of %d",
                              t->name, wide[i]);
    }
    if (!error)
        error = tsri_bank_open(bank, ctx, BANK_BITS, freq, sizes, tables);
    tsri_free(ctx, wide);
    tsri_free(ctx, freq);
    return error;
}

static tsr_error load_z(tsri_hyper_model *m, tsr_context *ctx, const tsr_model *model)
{
    uint16_t sizes[TSRI_HYPER_LATENTS_MAX];
    const tsr_tensor *t;

    TSR_TRY(tsri_want(ctx, model, &t, 2, (uint64_t[]){ (uint64_t)m->hyper_latents,
                      Z_SYMBOLS }, "ctx.z.freq"));
    for (int i = 0; i < m->hyper_latents; i++)
        sizes[i] = Z_SYMBOLS;
    return load_bank(ctx, t, &m->z_bank, sizes, m->hyper_latents);
}

static tsr_error load_classes(tsri_hyper_model *m, tsr_context *ctx,
                              const tsr_model *model)
{
    uint16_t sizes[TSRI_HYPER_CLASSES];
    const tsr_tensor *t;
    int32_t *radius;
    uint64_t total = 0;
    bool good = true;

    TSR_TRY(tsri_want(ctx, model, &t, 1, (uint64_t[]){ TSRI_HYPER_CLASSES },
                      "ctx.class.radius"));
    TSR_TRY(tsri_tensor_ints(ctx, t, &radius));
    for (int i = 0; i < TSRI_HYPER_CLASSES; i++) {
        good = good && radius[i] >= 0 && radius[i] <= RADIUS_MAX;
        m->radius[i] = radius[i];
        sizes[i] = (uint16_t)(2 * radius[i] + 2);
        total += sizes[i];
    }
    tsri_free(ctx, radius);
    if (!good)
        return tsri_fail(ctx, TSR_E_CORRUPT, "ctx.class.radius: outside 0..%d",
                         RADIUS_MAX);
    TSR_TRY(tsri_want(ctx, model, &t, 1, &total, "ctx.class.freq"));
    return load_bank(ctx, t, &m->y_bank, sizes, TSRI_HYPER_CLASSES);
}

static tsr_error load_skip(tsri_hyper_model *m, tsr_context *ctx,
                           const tsr_model *model)
{
    const tsr_tensor *t;
    int32_t *value;

    TSR_TRY(tsri_want(ctx, model, &t, 1, (uint64_t[]){ 1 }, "ctx.class.skip"));
    TSR_TRY(tsri_tensor_ints(ctx, t, &value));
    m->skip = *value;
    tsri_free(ctx, value);
    return m->skip < 0 || m->skip > TSRI_HYPER_CLASSES
               ? tsri_fail(ctx, TSR_E_CORRUPT, "ctx.class.skip is %d", m->skip)
               : TSR_OK;
}

static tsr_error load(tsri_hyper_model *m, tsr_context *ctx, const tsr_model *model)
{
    const tsr_tensor *z, *y;

    TSR_TRY(tsri_want(ctx, model, &z, 2, (uint64_t[]){ TSRI_ANY, Z_SYMBOLS },
                      "ctx.z.freq"));
    TSR_TRY(tsri_want(ctx, model, &y, 2, (uint64_t[]){ TSRI_ANY, TSRI_ANY },
                      "gain_enc"));
    if (z->dims[0] > TSRI_HYPER_LATENTS_MAX || y->dims[1] > TSRI_HYPER_LATENTS_MAX)
        return tsri_fail(ctx, TSR_E_SHAPE, "too many latent channels");
    m->hyper_latents = (int)z->dims[0];
    m->latents = (int)y->dims[1];
    m->conv = tsri_iconv_pick(ctx->cpu);
    TSR_TRY(load_hs(m, ctx, model));
    TSR_TRY(load_groups(m, ctx, model));
    TSR_TRY(load_z(m, ctx, model));
    TSR_TRY(load_classes(m, ctx, model));
    TSR_TRY(load_skip(m, ctx, model));
    return ctx->gpu ? tsri_hyper_gpu_open(&m->gpu, ctx->gpu, m) : TSR_OK;
}

tsr_error tsri_hyper_model_open(tsri_hyper_model *m, tsr_context *ctx,
                                const tsr_model *model)
{
    memset(m, 0, sizeof *m);
    const tsr_error error = load(m, ctx, model);
    if (error)
        tsri_hyper_model_close(m, ctx);
    return error;
}

void tsri_hyper_model_close(tsri_hyper_model *m, tsr_context *ctx)
{
    tsri_hyper_gpu_close(&m->gpu);
    for (int i = 0; i < 3; i++)
        tsri_iconv_close(&m->hs[i], ctx);
    for (int g = 0; g < TSRI_HYPER_GROUPS_MAX; g++)
        for (int i = 0; i < 3; i++)
            tsri_iconv_close(&m->group[g].layer[i], ctx);
    tsri_bank_close(&m->z_bank, ctx);
    tsri_bank_close(&m->y_bank, ctx);
}
