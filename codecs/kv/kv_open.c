/* SPDX-License-Identifier: BSD-2-Clause */
/* Coders: settings checked, profile and tables opened. */
#include <string.h>
#include "codecs/kv/kv_internal.h"

/* Positions whose angles are kept in a table. */
enum { POSITIONS = 1 << 15, LEAST_TILE = 32, MOST_TILE = 4096 };

void tsr_kv_settings_init(tsr_kv_settings *settings)
{
    *settings = (tsr_kv_settings){ .size = sizeof *settings, .levels = 1,
                                   .sinks = 4, .store_tokens = 1 };
}

const char *tsr_kv_method_at(int i)
{
    const tsri_kv_method *method;

    if (i == 0)
        return "rows";
    method = i > 0 ? tsri_kv_method_index(i - 1) : NULL;
    return method ? method->name : NULL;
}

/* ---- settings ---- */

static bool step_given(double v)
{
    return v == 0 || (v > 1e-25 && v < 1e25);
}

static bool size_fits(int v)
{
    return v >= LEAST_TILE && v <= MOST_TILE && v % 32 == 0;
}

/* The first setting that is out of its limits, for a message; NULL: all are in. */
static const char *misfit(const tsr_kv_settings *s)
{
    const struct { const char *name; bool fits; } each[] = {
        { "shape", tsri_kv_shape_fits(&s->shape) },
        { "rope", tsri_kv_rope_fits(&s->rope, s->shape.dim[0]) },
        { "step", step_given(s->step) },
        { "value_ratio", step_given(s->value_ratio) },
        { "levels", s->levels >= 1 && s->levels <= TSRI_KV_LEVELS },
        { "sinks", s->sinks >= 0 && s->sinks <= TSRI_KV_MAX_SINKS },
        { "recent", s->recent >= 0 },
        { "recent_boost",
          s->recent_boost >= 0 && s->recent_boost <= TSRI_KV_MAX_BOOST },
        { "tile", s->tile == 0 || size_fits(s->tile) },
        { "store_tokens", s->store_tokens == 0 || s->store_tokens == 1 },
    };

    for (size_t i = 0; i < sizeof each / sizeof *each; i++)
        if (!each[i].fits)
            return each[i].name;
    return NULL;
}

/* The caller's struct may be older and shorter than ours. */
static tsr_error take_settings(tsr_kv *kv, const tsr_kv_settings *theirs)
{
    tsr_kv_settings *own = &kv->settings;

    tsr_kv_settings_init(own);
    if (!theirs || theirs->size < offsetof(tsr_kv_settings, profile))
        return tsri_fail(kv->ctx, TSR_E_ARG, "a KV coder needs a shape");
    memcpy(own, theirs, theirs->size < sizeof *own ? theirs->size : sizeof *own);
    if (!own->method)
        own->method = "rows";
    own->rope = tsri_kv_rope_tidy(&own->rope);
    const char *wrong = misfit(own);
    if (wrong)
        return tsri_fail(kv->ctx, TSR_E_ARG, "the KV coder's setting %s is out of "
                         "its limits", wrong);
    return TSR_OK;
}

static tsr_error take_method(tsr_kv *kv)
{
    tsr_kv_settings *s = &kv->settings;

    if (strcmp(s->method, "rows")) {
        kv->method = tsri_kv_method_name(s->method);
        if (!kv->method)
            return tsri_fail(kv->ctx, TSR_E_UNSUPPORTED, "no KV method '%s'",
                             s->method);
        TSR_TRY(kv->method->settings(kv->ctx, s, kv->params));
        s->levels = 1;
        s->sinks = 0;
    }
    if (!s->tile)
        s->tile = kv->method && kv->method->tile ? kv->method->tile
                                                 : TSRI_KV_TILE;
    s->method = kv->method ? kv->method->name : "rows"; /* theirs may go */
    return TSR_OK;
}

/* ---- profile ---- */

static bool group_fits(const tsr_kv *kv, int i)
{
    const tsri_kv_profile *profile = kv->profile;
    const tsri_kv_group *group = &profile->group[i];
    const int layers = kv->settings.shape.layers;
    const int planes = kv->settings.shape.planes;

    if (profile->groups == layers * planes)
        return group->first_layer == i / planes && group->layers == 1 &&
            (group->plane == i % planes || planes == 1);
    return layers % profile->groups == 0 && group->plane == -1 &&
        group->layers == layers / profile->groups &&
        group->first_layer == i * group->layers;
}

/* The number of groups must say which planes they hold. */
static tsr_error check_groups(const tsr_kv *kv)
{
    for (int i = 0; i < kv->profile->groups; i++)
        if (!group_fits(kv, i))
            return tsri_fail(kv->ctx, TSR_E_MODEL, "the profile joins planes in "
                             "another way than docs/kv-format.md allows");
    return TSR_OK;
}

static tsr_error open_profile(tsr_kv *kv)
{
    tsr_kv_settings *s = &kv->settings;
    tsr_model *model = s->profile;

    if (model)
        kv->model = tsr_model_ref(model);
    kv->profiled = model && !kv->method;
    kv->span = kv->profiled ? TSRI_KV_SPAN_PROFILE : TSRI_KV_SPAN;
    TSR_TRY(tsri_kv_profile_open(&kv->profile, kv->ctx,
                                 kv->profiled ? model : NULL, &s->shape,
                                 &s->rope));
    if (!tsri_kv_same_shape(&kv->profile->shape, &s->shape))
        return tsri_fail(kv->ctx, TSR_E_MODEL, "the profile is of another shape");
    TSR_TRY(check_groups(kv));
    kv->rope_what = kv->profiled ? tsri_kv_rope_tidy(&kv->profile->rope)
                                 : s->rope;
    return tsri_rope_open(&kv->rope, kv->ctx, &kv->rope_what, s->shape.dim[0],
                          POSITIONS);
}

/* ---- step ---- */

/* 16 significant bits, so that the finest step, which is a ninth or a third of
 * it, leads back to it. */
float tsri_kv_round_step(double step)
{
    float f = (float)step;
    uint32_t bits;

    memcpy(&bits, &f, sizeof bits);
    bits = (bits + 0x80) & ~(uint32_t)0xff;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static void set_step(tsr_kv *kv)
{
    const tsr_kv_settings *s = &kv->settings;
    const double coarse = s->levels == 1 ? 1 : s->levels == 2 ? 3 : 9;

    if (kv->method)
        return;
    if (kv->profiled) {
        kv->step[0] = tsri_kv_round_step((s->step != 0 ? s->step : 1) * coarse);
        kv->step[1] = kv->step[0];
        return;
    }
    kv->step[0] = tsri_kv_round_step(s->step * coarse);
    kv->step[1] = tsri_kv_round_step(s->step * s->value_ratio * coarse);
    if (s->shape.planes == 1)
        kv->step[1] = kv->step[0];
}

/* ---- open and close ---- */

static tsr_error open_parts(tsr_kv *kv, const tsr_kv_settings *settings)
{
    TSR_TRY(take_settings(kv, settings));
    TSR_TRY(take_method(kv));
    TSR_TRY(open_profile(kv));
    set_step(kv);
    return !kv->profiled || tsri_kv_step_fits(kv->step[0] * kv->profile->step)
        ? TSR_OK : tsri_fail(kv->ctx, TSR_E_ARG, "a step of %g times %g",
                             (double)kv->step[0], (double)kv->profile->step);
}

tsr_error tsr_kv_open(tsr_kv **out, tsr_context *ctx,
                      const tsr_kv_settings *settings)
{
    tsr_kv *kv = tsri_calloc(ctx, 1, sizeof *kv);
    tsr_error error;

    *out = NULL;
    if (!kv)
        return tsri_nomem(ctx);
    kv->ctx = ctx;
    kv->live_shift = INT8_MIN;
    error = open_parts(kv, settings);
    if (error)
        tsr_kv_close(&kv);
    *out = kv;
    return error;
}

void tsr_kv_close(tsr_kv **kv)
{
    if (!kv || !*kv)
        return;
    tsri_rope_close(&(*kv)->rope, (*kv)->ctx);
    tsri_kv_profile_close(&(*kv)->profile, (*kv)->ctx);
    tsr_model_unref(&(*kv)->model);
    tsri_free((*kv)->ctx, *kv);
    *kv = NULL;
}

static tsr_error profile_of(tsr_context *ctx, const tsr_kv_info *info,
                            tsr_model *given, tsr_model **profile)
{
    static const uint8_t none[sizeof info->profile];
    const bool wanted = memcmp(info->profile, none, sizeof none);

    *profile = NULL;
    if (!wanted)
        return TSR_OK;
    if (!given)
        return tsr_model_open_hash(profile, ctx, info->profile,
                                   sizeof info->profile);
    if (memcmp(tsr_model_hash(given), info->profile, sizeof info->profile))
        return tsri_fail(ctx, TSR_E_MODEL, "the object was made with another "
                         "profile");
    *profile = tsr_model_ref(given);
    return TSR_OK;
}

/* A method's parameters as the object has them, not as its name says. */
static tsr_error take_params(tsr_kv **kv, const tsr_kv_info *info)
{
    const tsri_kv_method *method = (*kv)->method;
    tsr_context *ctx = (*kv)->ctx;

    if (!method)
        return TSR_OK;
    if (method->check(info->params, &info->shape)) {
        tsr_kv_close(kv);
        return tsri_fail(ctx, TSR_E_ARG, "parameters of method %s",
                         method->name);
    }
    memcpy((*kv)->params, info->params, sizeof info->params);
    return TSR_OK;
}

tsr_error tsr_kv_open_for(tsr_kv **kv, tsr_context *ctx,
                          const struct tsr_kv_info *info, tsr_model *profile)
{
    tsr_kv_settings s;
    tsr_error error;

    *kv = NULL;
    if (!size_fits(info->span) || info->live_shift < INT8_MIN ||
        info->live_shift > INT8_MAX)
        return tsri_fail(ctx, TSR_E_ARG, "not what a KV object says of itself");
    tsr_kv_settings_init(&s);
    s.shape = info->shape;
    s.rope = info->rope;
    s.method = info->method;
    s.levels = info->levels;
    s.tile = info->tile;
    s.step = info->step[0];
    s.value_ratio = info->step[0] != 0 ? info->step[1] / info->step[0] : 0;
    TSR_TRY(profile_of(ctx, info, profile, &s.profile));
    error = tsr_kv_open(kv, ctx, &s);
    tsr_model_unref(&s.profile);
    if (error)
        return error;
    (*kv)->span = info->span;
    (*kv)->live_shift = info->live_shift;
    return take_params(kv, info);
}

/* ---- sizes ---- */

/* A head as one of `tokens` tokens would have, with all that takes room. */
static tsri_kv_head largest_head(const tsr_kv *kv, size_t tokens)
{
    const tsr_kv_settings *s = &kv->settings;
    tsri_kv_head head = {
        .method = kv->method ? kv->method->number : 0,
        .flags = TSRI_KV_BOOSTS | TSRI_KV_TOKENS, .id_bits = 31,
        .dtype = TSR_KV_F32, .levels = (uint8_t)s->levels, .shape = s->shape,
        .rope = kv->rope_what, .tokens = (uint32_t)tokens,
        .groups = (uint32_t)kv->profile->groups, .tile = s->tile,
        .span = kv->span, .step = { 1, 1 },
        .sinks = (uint8_t)tsri_min(s->sinks, (int)tokens) };

    memcpy(head.params, kv->params, sizeof head.params);
    if (kv->profiled) {
        head.flags |= TSRI_KV_NEEDS_TOKENS | TSRI_KV_CHAINED;
        tsri_kv_set_shifts(kv, &head, head.levels);
    }
    head.section_bytes = (uint32_t)tsri_kv_sections(&head);
    tsri_kv_head_derive(&head);
    return head;
}

void tsri_kv_set_shifts(const tsr_kv *kv, tsri_kv_head *head, int levels)
{
    static const float third[TSRI_KV_LEVELS] = { 1, 3, 9 };

    head->class_shift = tsri_kv_class_shift(kv->profile, kv->step[0]);
    head->live_shift = tsri_kv_class_shift(kv->profile,
                                           kv->step[0] / third[levels - 1]);
}

tsr_error tsr_kv_encode_bound(const tsr_kv *kv, size_t tokens, size_t *bytes)
{
    tsri_kv_head head;

    *bytes = 0;
    if (tokens > TSRI_KV_MAX_TOKENS)
        return tsri_fail(kv->ctx, TSR_E_ARG, "a cache of %zu tokens", tokens);
    head = largest_head(kv, tokens);
    *bytes = (size_t)head.front_bytes;
    for (int g = 0; g < kv->profile->groups; g++)
        if (!tsri_add(*bytes, tsri_kv_head_bytes(kv, &head, g), bytes) ||
            !tsri_add(*bytes, tsri_kv_units_bound(kv, &head, g), bytes))
            return tsri_fail(kv->ctx, TSR_E_LIMIT, "a KV object of %zu tokens "
                             "could be too large for this machine", tokens);
    return TSR_OK;
}

tsr_error tsr_kv_scratch_size(const tsr_kv *kv, size_t tokens, size_t *bytes)
{
    tsri_kv_head head;
    tsri_kv_work work;
    size_t decoding;
    bool fits;

    *bytes = 0;
    if (tokens > TSRI_KV_MAX_TOKENS)
        return tsri_fail(kv->ctx, TSR_E_ARG, "a cache of %zu tokens", tokens);
    head = largest_head(kv, tokens);
    fits = tsri_kv_lay_out(&work, kv, &head, true, NULL, bytes);
    if (kv->profiled)   /* an object may have lost levels, not coefficients */
        tsri_kv_set_shifts(kv, &head, TSRI_KV_LEVELS);
    if (kv->profiled && head.live_shift < kv->live_shift)
        head.live_shift = (int8_t)kv->live_shift;
    if (!fits || !tsri_kv_lay_out(&work, kv, &head, false, NULL, &decoding))
        return tsri_fail(kv->ctx, TSR_E_LIMIT, "a KV object of %zu tokens needs "
                         "more scratch than this machine has", tokens);
    if (decoding > *bytes)
        *bytes = decoding;
    return TSR_OK;
}
