/* SPDX-License-Identifier: BSD-2-Clause */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tessera/audio.h>
#include "codecs/audio/loader.h"
#include "lib/weights.h"

enum { SIDE_MAX = 1 << 14, SEGMENT_MAX = 1 << 22, HOP_MAX = 1 << 12,
       FORM = 8 };

/* ---- what shapes cannot tell ---- */

static bool form_good(const int32_t v[FORM])
{
    const bool segments = v[6] > 0;
    return v[0] >= 1 && v[0] <= TSR_AUDIO_MAX_RATE && v[1] >= 1 && v[1] <= 2 &&
           v[2] >= 1 && v[2] <= HOP_MAX && (v[3] | 1) == 1 && (v[4] | 1) == 1 &&
           (v[5] | 1) == 1 && v[6] >= 0 && v[6] <= SEGMENT_MAX &&
           (segments ? v[7] >= 1 && v[7] <= v[6] : v[7] == 0);
}

tsr_error tsri_audio_form_read(tsr_context *ctx, const tsr_model *model,
                               tsri_audio_form *form)
{
    const uint64_t dims[] = { FORM };
    const tsr_tensor *tensor;
    int32_t *v;

    TSR_TRY(tsri_want(ctx, model, &tensor, 1, dims, "tessera.audio"));
    TSR_TRY(tsri_tensor_ints(ctx, tensor, &v));
    const bool good = form_good(v);
    *form = (tsri_audio_form){
        .rate = v[0], .channels = v[1], .hop = v[2], .causal = v[3] != 0,
        .group_norm = v[4] != 0,
        .pad = v[5] ? TSRI_SEQ_ZERO : TSRI_SEQ_REFLECT,
        .segment = v[6], .step = v[7],
    };
    tsri_free(ctx, v);
    if (good)
        return TSR_OK;
    return tsri_fail(ctx, TSR_E_SHAPE, "%s: 'tessera.audio' has values outside "
                     "their limits", tsr_model_path(model));
}

/* ---- a net in the making ---- */

void tsri_loader_start(tsri_loader *loader, tsr_context *ctx,
                       const tsr_model *model, int channels)
{
    *loader = (tsri_loader){ .ctx = ctx, .model = model,
                             .channels = channels };
    loader->error = tsri_seq_new(&loader->seq, ctx, channels);
}

void tsri_loader_drop(tsri_loader *loader)
{
    for (size_t i = 0; i < loader->count; i++)
        tsri_free(loader->ctx, loader->owned[i]);
    tsri_free(loader->ctx, loader->owned);
    loader->owned = NULL;
    loader->count = loader->room = 0;
}

tsr_error tsri_loader_finish(tsri_loader *loader, int output, tsri_seq **seq)
{
    if (!loader->error)
        loader->error = tsri_seq_finish(loader->seq, output);
    if (loader->error == TSR_E_ARG)
        loader->error = tsri_fail(loader->ctx, TSR_E_SHAPE, "%s: the network is "
                                  "outside the limits",
                                  tsr_model_path(loader->model));
    tsri_loader_drop(loader);
    if (loader->error)
        tsri_seq_free(&loader->seq);
    *seq = loader->seq;
    return loader->error;
}

void tsri_loader_bad(tsri_loader *loader, const char *name)
{
    if (!loader->error)
        loader->error = tsri_fail(loader->ctx, TSR_E_SHAPE,
                                  "%s: '%s' does not fit the network",
                                  tsr_model_path(loader->model), name);
}

/* ---- looking for tensors ---- */

bool tsri_loader_has(const tsri_loader *loader, const char *prefix, ...)
{
    char start[TSRI_LOADER_NAME];
    va_list args;

    va_start(args, prefix);
    vsnprintf(start, sizeof start, prefix, args);
    va_end(args);
    /* Tensors are sorted by name: look for the first that is not below. */
    size_t low = 0, high = tsr_model_tensor_count(loader->model);
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (strcmp(tsr_model_tensor_at(loader->model, middle)->name, start) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    const tsr_tensor *tensor = tsr_model_tensor_at(loader->model, low);
    return tensor && !strncmp(tensor->name, start, strlen(start));
}

int tsri_loader_last(const tsri_loader *loader, const char *prefix)
{
    const size_t length = strlen(prefix);
    int last = -1;

    for (size_t i = 0; i < tsr_model_tensor_count(loader->model); i++) {
        const char *name = tsr_model_tensor_at(loader->model, i)->name;
        if (strncmp(name, prefix, length) || name[length] != '.')
            continue;
        char *end;
        const long n = strtol(name + length + 1, &end, 10);
        if (end != name + length + 1 && *end == '.' && n > last && n < SIDE_MAX)
            last = (int)n;
    }
    return last;
}

/* Takes `values` over. */
static float *own(tsri_loader *loader, float *values)
{
    loader->error = tsri_grow(loader->ctx, &loader->owned, &loader->room,
                              loader->count, 1, sizeof *loader->owned);
    if (loader->error) {
        tsri_free(loader->ctx, values);
        return NULL;
    }
    return loader->owned[loader->count++] = values;
}

static float *load(tsri_loader *loader, int rank, const uint64_t *dims,
                   const char *name)
{
    const tsr_tensor *tensor;
    float *values;

    if (!loader->error)
        loader->error = tsri_want(loader->ctx, loader->model, &tensor, rank,
                                  dims, "%s", name);
    if (!loader->error)
        loader->error = tsri_tensor_floats(loader->ctx, tensor, &values);
    if (loader->error)
        return NULL;
    const size_t n = tsri_tensor_count(tensor);
    bool good = true;
    for (size_t i = 0; i < n; i++)
        good &= isfinite(values[i]) != 0;
    if (!good) {
        tsri_free(loader->ctx, values);
        loader->error = tsri_fail(loader->ctx, TSR_E_SHAPE, "%s: '%s' has a "
                                  "number that is not finite",
                                  tsr_model_path(loader->model), name);
        return NULL;
    }
    return own(loader, values);
}

const float *tsri_loader_floats(tsri_loader *loader, int rank,
                                const uint64_t *dims, const char *name, ...)
{
    char full[TSRI_LOADER_NAME];
    va_list args;

    va_start(args, name);
    vsnprintf(full, sizeof full, name, args);
    va_end(args);
    return load(loader, rank, dims, full);
}

/* ---- convolutions ---- */

/* Where neither is there, the published name is the one that is missing. */
static bool is_folded(const tsri_loader *loader, const char *name)
{
    char full[TSRI_LOADER_NAME];
    snprintf(full, sizeof full, "%s.weight", name);
    return tsr_model_tensor(loader->model, full) != NULL;
}

bool tsri_loader_sides(tsri_loader *loader, const char *name, int sides[3])
{
    const uint64_t any[] = { TSRI_ANY, TSRI_ANY, TSRI_ANY };
    const tsr_tensor *tensor;

    if (!loader->error)
        loader->error = tsri_want(loader->ctx, loader->model, &tensor, 3, any,
                                  "%s.%s", name, is_folded(loader, name)
                                  ? "weight" : "weight_v");
    if (loader->error)
        return false;
    for (int i = 0; i < 3; i++) {
        if (tensor->dims[i] > SIDE_MAX) {
            tsri_loader_bad(loader, tensor->name);
            return false;
        }
        sides[i] = (int)tensor->dims[i];
    }
    return true;
}

const float *tsri_loader_weight(tsri_loader *loader, const char *name,
                                const int sides[3])
{
    const uint64_t dims[] = { (uint64_t)sides[0], (uint64_t)sides[1],
                              (uint64_t)sides[2] };
    const uint64_t one[] = { dims[0], 1, 1 };
    char full[TSRI_LOADER_NAME];

    if (is_folded(loader, name)) {
        snprintf(full, sizeof full, "%s.weight", name);
        return load(loader, 3, dims, full);
    }
    snprintf(full, sizeof full, "%s.weight_v", name);
    float *v = load(loader, 3, dims, full);
    snprintf(full, sizeof full, "%s.weight_g", name);
    const float *g = load(loader, 3, one, full);
    if (!v || !g)
        return NULL;
    tsri_weight_norm(v, g, sides[0], (size_t)sides[1] * (size_t)sides[2]);
    return v;
}

int tsri_loader_conv(tsri_loader *loader, int x, const char *name,
                     const tsri_seq_conv *spec)
{
    tsri_seq_conv conv = *spec;
    int sides[3];

    if (!tsri_loader_sides(loader, name, sides))
        return 0;
    if (sides[1] != loader->channels)
        tsri_loader_bad(loader, name);
    const uint64_t out[] = { (uint64_t)sides[0] };
    conv.out = sides[0];
    conv.in = sides[1];
    conv.taps = sides[2];
    conv.weight = tsri_loader_weight(loader, name, sides);
    conv.bias = tsri_loader_floats(loader, 1, out, "%s.bias", name);
    loader->channels = conv.out;
    return loader->error ? 0 : tsri_seq_conv1d(loader->seq, x, &conv);
}

int tsri_loader_convtr(tsri_loader *loader, int x, const char *name,
                       const tsri_seq_convtr *spec)
{
    tsri_seq_convtr conv = *spec;
    int sides[3];

    if (!tsri_loader_sides(loader, name, sides))
        return 0;
    if (sides[0] != loader->channels)
        tsri_loader_bad(loader, name);
    const uint64_t out[] = { (uint64_t)sides[1] };
    conv.in = sides[0];
    conv.out = sides[1];
    conv.taps = sides[2];
    conv.weight = tsri_loader_weight(loader, name, sides);
    conv.bias = tsri_loader_floats(loader, 1, out, "%s.bias", name);
    loader->channels = conv.out;
    return loader->error ? 0 : tsri_seq_convtr1d(loader->seq, x, &conv);
}

int tsri_loader_group_norm(tsri_loader *loader, int x, const char *name,
                           int groups, float eps)
{
    const uint64_t dims[] = { (uint64_t)loader->channels };
    const float *weight = tsri_loader_floats(loader, 1, dims, "%s.weight",
                                             name);
    const float *bias = tsri_loader_floats(loader, 1, dims, "%s.bias", name);

    return loader->error ? 0 : tsri_seq_group_norm(loader->seq, x, groups, eps,
                                                   weight, bias);
}
