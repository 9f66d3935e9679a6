/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "codecs/image/token_net.h"
#include "lib/weights.h"

enum { GROUPS = 32 };

typedef tsri_token_build build;
typedef tsri_token_flow flow;

const char *tsri_token_name(char *to, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(to, TSRI_TOKEN_NAME, format, args);
    va_end(args);
    return to;
}

/* ---- tensors ---- */

static bool idle(const build *b)
{
    return b->error || b->stopped;
}

static void misfit(build *b, const char *name, const char *tail)
{
    b->error = tsri_fail(b->ctx, TSR_E_SHAPE,
                         "%s: '%s%s' does not fit the network",
                         tsr_model_path(b->model), name, tail);
}

bool tsri_token_has(const build *b, const char *name, const char *tail)
{
    char full[TSRI_TOKEN_NAME];
    tsri_token_name(full, "%s%s", name, tail);
    return tsr_model_tensor(b->model, full) != NULL;
}

int tsri_token_count(build *b, int limit, const char *name, const char *tail)
{
    char block[TSRI_TOKEN_NAME];
    int n = 0;

    if (idle(b))
        return 0;
    while (n <= limit) {
        tsri_token_name(block, "%s.%d%s", name, n, tail);
        if (!tsri_token_has(b, block, ".norm1.weight") &&
            !tsri_token_has(b, block, ".conv1.weight"))
            break;
        n++;
    }
    if (n < 1)
        b->error = tsri_fail(b->ctx, TSR_E_SHAPE,
                             "%s: no tensor '%s.norm1.weight'",
                             tsr_model_path(b->model), block);
    else if (n > limit)
        misfit(b, block, ".norm1.weight");
    return b->error ? 0 : n;
}

static const tsr_tensor *want(build *b, int rank, const uint64_t *dims,
                              const char *name, const char *tail)
{
    const tsr_tensor *tensor;

    if (idle(b))
        return NULL;
    b->error = tsri_want(b->ctx, b->model, &tensor, rank, dims, "%s%s", name,
                         tail);
    if (!b->error && tensor->dtype != TSR_F32 && tensor->dtype != TSR_F16)
        b->error = tsri_fail(b->ctx, TSR_E_SHAPE,
                             "%s: tensor '%s' is %s, not F32 or F16",
                             tsr_model_path(b->model), tensor->name,
                             tsr_dtype_name(tensor->dtype));
    return b->error ? NULL : tensor;
}

/* Keeps `values` until the net is finished; NULL goes through. */
static float *own(build *b, float *values)
{
    if (!values && !b->error)
        b->error = tsri_nomem(b->ctx);
    if (!b->error)
        b->error = tsri_grow(b->ctx, &b->owned, &b->room, b->count, 1,
                             sizeof *b->owned);
    if (b->error) {
        tsri_free(b->ctx, values);
        return NULL;
    }
    return b->owned[b->count++] = values;
}

/* The numbers of a tensor; NULL where there is no net to build. */
static float *floats(build *b, const tsr_tensor *tensor)
{
    float *values = NULL;

    if (idle(b) || !b->net)
        return NULL;
    b->error = tsri_tensor_floats(b->ctx, tensor, &values);
    return b->error ? NULL : own(b, values);
}

/* ---- nodes ---- */

flow tsri_token_done(build *b, flow x, const char *name)
{
    if (b->until && !strcmp(b->until, name))
        b->stopped = true;
    return x;
}

/* The tensors of a convolution; out: its channels, `out` of the flow too. */
static tsri_conv conv_tensors(build *b, flow x, int kernel,
                              tsri_token_bias bias, const char *name)
{
    const uint64_t k = (uint64_t)kernel;
    const uint64_t dims[] = { TSRI_ANY, (uint64_t)x.channels, k, k };
    const tsr_tensor *weight = want(b, 4, dims, name, ".weight");
    tsri_conv conv = { .in = x.channels, .kernel = kernel, .stride = 1 };

    if (!weight)
        return conv;
    if (weight->dims[0] > TSRI_TOKEN_CHANNELS)
        misfit(b, name, ".weight");
    else
        conv.out = (int)weight->dims[0];
    conv.weight = floats(b, weight);
    if (bias == TSRI_TOKEN_BIASED) {
        const tsr_tensor *tensor = want(b, 1, weight->dims, name, ".bias");
        conv.bias = floats(b, tensor);
    }
    return conv;
}

static flow append(build *b, flow x, const tsri_conv *conv)
{
    if (!idle(b)) {
        x.channels = conv->out;
        if (b->net)
            x.node = tsri_net_conv(b->net, x.node, conv);
    }
    return x;
}

flow tsri_token_conv(build *b, flow x, int kernel, int stride, tsri_side side,
                     tsri_token_bias bias, const char *name)
{
    tsri_conv conv = conv_tensors(b, x, kernel, bias, name);
    conv.stride = stride;
    conv.side = side;
    return tsri_token_done(b, append(b, x, &conv), name);
}

flow tsri_token_norm(build *b, flow x, const char *name)
{
    const uint64_t dims[] = { (uint64_t)x.channels };
    const tsr_tensor *gamma = want(b, 1, dims, name, ".weight");
    const tsr_tensor *beta = want(b, 1, dims, name, ".bias");
    const tsri_norm norm = { .groups = b->groups, .eps = 1e-6f,
                             .gamma = floats(b, gamma),
                             .beta = floats(b, beta) };

    if (!idle(b) && x.channels % b->groups)
        misfit(b, name, ".weight");
    if (!idle(b) && b->net)
        x.node = tsri_net_norm(b->net, x.node, &norm);
    return x;
}

flow tsri_token_norm_act(build *b, flow x, const char *name)
{
    x = tsri_token_norm(b, x, name);
    if (!idle(b) && b->net)
        x.node = tsri_net_act(b->net, x.node, TSRI_ACT_SILU);
    return tsri_token_done(b, x, name);
}

flow tsri_token_add(build *b, flow x, flow y)
{
    if (!idle(b) && b->net)
        y.node = tsri_net_add(b->net, x.node, y.node);
    return y;
}

flow tsri_token_residual(build *b, flow x, tsri_token_bias bias,
                         const char *name)
{
    char sub[TSRI_TOKEN_NAME];

    flow y = tsri_token_norm_act(b, x, tsri_token_name(sub, "%s.norm1", name));
    y = tsri_token_conv(b, y, 3, 1, TSRI_BOTH, bias,
                        tsri_token_name(sub, "%s.conv1", name));
    y = tsri_token_norm_act(b, y, tsri_token_name(sub, "%s.norm2", name));
    y = tsri_token_conv(b, y, 3, 1, TSRI_BOTH, bias,
                        tsri_token_name(sub, "%s.conv2", name));
    if (x.channels != y.channels)
        x = tsri_token_conv(b, x, 1, 1, TSRI_BOTH, bias,
                            tsri_token_name(sub, "%s.nin_shortcut", name));
    if (!idle(b) && x.channels != y.channels)
        misfit(b, sub, ".weight");
    return tsri_token_done(b, tsri_token_add(b, x, y), name);
}

/* ---- pixels in and out ---- */

/* Channels 3 p^2: p; 0 where it is none of 1, 2, 4, 8. */
static int patch_of(uint64_t channels)
{
    int p = 1;
    while (p <= TSRI_TOKEN_PATCH && channels != 3 * (uint64_t)p * (uint64_t)p)
        p *= 2;
    return p <= TSRI_TOKEN_PATCH ? p : 0;
}

flow tsri_token_first(build *b, flow x, tsri_token_bias bias, const char *name)
{
    const uint64_t dims[] = { TSRI_ANY, TSRI_ANY, 3, 3 };
    const tsr_tensor *weight = want(b, 4, dims, name, ".weight");

    if (!weight)
        return x;
    b->patch = patch_of(weight->dims[1]);
    if (!b->patch) {
        misfit(b, name, ".weight");
        return x;
    }
    x.channels = (int)weight->dims[1];
    if (b->net && b->patch > 1)
        x.node = tsri_net_unshuffle(b->net, x.node, b->patch);
    x = tsri_token_conv(b, x, 3, 1, TSRI_BOTH, bias, name);
    b->first = x.channels;
    return x;
}

/* From [-1, 1] to [0, 1] in the weights: halving is exact. */
static void to_unit(tsri_conv *conv)
{
    const size_t n = (size_t)conv->in * 9;
    float *w = (float *)(uintptr_t)conv->weight;
    float *bias = (float *)(uintptr_t)conv->bias;

    for (size_t i = 0; i < (size_t)conv->out * n; i++)
        w[i] /= 2;
    for (int i = 0; i < conv->out; i++)
        bias[i] = (bias[i] + 1) / 2;
}

flow tsri_token_last(build *b, flow x, const char *name)
{
    tsri_conv conv = conv_tensors(b, x, 3, TSRI_TOKEN_BIASED, name);

    if (idle(b))
        return x;
    b->patch = patch_of((uint64_t)conv.out);
    if (!b->patch)
        misfit(b, name, ".weight");
    else if (b->net)
        to_unit(&conv);
    x = append(b, x, &conv);
    if (!idle(b) && b->net && b->patch > 1)
        x.node = tsri_net_shuffle(b->net, x.node, b->patch);
    x.channels = 3;
    return tsri_token_done(b, x, name);
}

/* Rows (2 i + j) C + c of n floats become rows 4 c + 2 i + j. */
static const float *dcr_rows(build *b, const float *from, int channels,
                             size_t n)
{
    float *to = own(b, tsri_alloc(b->ctx, (size_t)channels * 4,
                                  n * sizeof *to));
    for (size_t c = 0; to && c < (size_t)channels; c++)
        for (size_t q = 0; q < 4; q++)
            memcpy(to + (4 * c + q) * n,
                   from + (q * (size_t)channels + c) * n, n * sizeof *to);
    return to;
}

flow tsri_token_up_dcr(build *b, flow x, const char *name)
{
    tsri_conv conv = conv_tensors(b, x, 3, TSRI_TOKEN_BIASED, name);

    if (!idle(b) && conv.out % 4)
        misfit(b, name, ".weight");
    if (!idle(b) && b->net) {
        conv.weight = dcr_rows(b, conv.weight, conv.out / 4,
                               (size_t)conv.in * 9);
        if (!b->error)
            conv.bias = dcr_rows(b, conv.bias, conv.out / 4, 1);
    }
    x = append(b, x, &conv);
    if (!idle(b)) {
        x.channels /= 4;
        if (b->net)
            x.node = tsri_net_shuffle(b->net, x.node, 2);
    }
    return x;
}

/* ---- whole nets ---- */

/* Norms have 32 groups unless the model says otherwise. */
static tsr_error groups_of(tsr_context *ctx, const tsr_model *model,
                           int *groups)
{
    const uint64_t one[] = { 1 };
    const tsr_tensor *tensor;
    int32_t *values;

    *groups = GROUPS;
    if (!tsr_model_tensor(model, "tessera.groups"))
        return TSR_OK;
    TSR_TRY(tsri_want(ctx, model, &tensor, 1, one, "tessera.groups"));
    TSR_TRY(tsri_tensor_ints(ctx, tensor, &values));
    *groups = values[0];
    tsri_free(ctx, values);
    if (*groups >= 1 && *groups <= TSRI_TOKEN_CHANNELS)
        return TSR_OK;
    return tsri_fail(ctx, TSR_E_SHAPE, "%s: 'tessera.groups' is no number of "
                     "groups", tsr_model_path(model));
}

/* Both parts, looked at without a net. */
static tsr_error look(build *b, const tsri_token_family *family,
                      tsri_token_shape *shape)
{
    const flow out = family->part[TSRI_TOKEN_ENCODER](b, (flow){ 0, 3 });
    const int patch = b->patch, resolutions = b->resolutions;

    TSR_TRY(b->error);
    family->part[TSRI_TOKEN_DECODER](b, out);
    TSR_TRY(b->error);
    if (b->resolutions != resolutions)
        misfit(b, "decoder.up", "");
    else if (b->patch != patch)
        misfit(b, "decoder.conv_out", ".weight");
    shape->dim = out.channels;
    shape->factor = patch << (resolutions - 1);
    shape->channels = b->first;
    return b->error;
}

tsr_error tsri_token_shape_read(tsr_context *ctx, const tsr_model *model,
                                const tsri_token_family *family,
                                tsri_token_shape *shape)
{
    build b = { .ctx = ctx, .model = model };

    TSR_TRY(groups_of(ctx, model, &b.groups));
    return look(&b, family, shape);
}

tsr_error tsri_token_net(tsri_net **net, tsr_context *ctx,
                         const tsr_model *model,
                         const tsri_token_family *family,
                         const tsri_token_shape *shape, tsri_token_part part,
                         const char *until)
{
    const int in = part == TSRI_TOKEN_ENCODER ? 3 : shape->dim;
    build b = { .ctx = ctx, .model = model, .until = until };

    *net = NULL;
    TSR_TRY(groups_of(ctx, model, &b.groups));
    TSR_TRY(tsri_net_new(&b.net, ctx, in));
    tsri_net_precision(b.net, part == TSRI_TOKEN_ENCODER ? TSRI_NET_ENCODER
                                                         : TSRI_NET_DECODER);
    const flow out = family->part[part](&b, (flow){ 0, in });
    if (!b.error && until && !b.stopped)
        b.error = tsri_fail(ctx, TSR_E_ARG, "no module '%s'", until);
    if (!b.error)
        b.error = tsri_net_finish(b.net, out.node);
    for (size_t i = 0; i < b.count; i++)
        tsri_free(ctx, b.owned[i]);
    tsri_free(ctx, b.owned);
    if (b.error)
        tsri_net_free(&b.net);
    *net = b.net;
    return b.error;
}
