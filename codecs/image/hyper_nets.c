/* SPDX-License-Identifier: BSD-2-Clause */
/* The float networks of "hyper", built from a model's tensors. */
#include <math.h>
#include <stdio.h>
#include "codecs/image/hyper.h"
#include "lib/weights.h"

enum { PATCH = 4, CHANNELS_MAX = 4096, MAX_KEPT = 64 };

/* A net under construction and the weights it borrows until it is finished. */
typedef struct building {
    tsr_context *ctx;
    const tsr_model *model;
    const char *part;           /* "enc", "dec", "hyper_enc" */
    tsri_net *net;
    int channels;               /* of the node at hand */
    float *kept[MAX_KEPT];
    int kept_count;
    tsr_error error;            /* the first fault; later steps do nothing */
} building;

static const float *floats(building *b, const tsr_tensor *tensor)
{
    float *data = NULL;
    if (!b->error)
        b->error = tsri_tensor_floats(b->ctx, tensor, &data);
    if (b->error || b->kept_count == MAX_KEPT)
        return NULL;
    return b->kept[b->kept_count++] = data;
}

static void want(building *b, const tsr_tensor **tensor, int rank,
                 const uint64_t *dims, const char *where, const char *leaf)
{
    if (!b->error)
        b->error = tsri_want(b->ctx, b->model, tensor, rank, dims, "%s.%s.%s",
                             b->part, where, leaf);
}

/* A convolution whose output width is the tensor's. */
static int conv(building *b, int x, const char *where, int kernel, int stride)
{
    const uint64_t side = (uint64_t)kernel;
    const tsr_tensor *w = NULL, *bias = NULL;

    want(b, &w, 4, (uint64_t[]){ TSRI_ANY, (uint64_t)b->channels, side, side },
         where, "weight");
    if (!b->error && w->dims[0] > CHANNELS_MAX)
        b->error = tsri_fail(b->ctx, TSR_E_SHAPE, "tensor '%s' is too wide", w->name);
    if (b->error)
        return -1;
    want(b, &bias, 1, w->dims, where, "bias");
    if (b->error)
        return -1;
    const tsri_conv c = { .in = b->channels, .out = (int)w->dims[0],
                          .kernel = kernel, .stride = stride,
                          .pad = TSRI_PAD_ZERO, .weight = floats(b, w),
                          .bias = floats(b, bias) };
    b->channels = c.out;
    return tsri_net_conv(b->net, x, &c);
}

static int numbered(building *b, int x, int layer, int kernel, int stride)
{
    char where[16];
    snprintf(where, sizeof where, "%d", layer);
    return conv(b, x, where, kernel, stride);
}

/* x + conv(silu(conv(x))) */
static int residual(building *b, int x, int layer)
{
    const int channels = b->channels;
    char where[16];
    int v;

    snprintf(where, sizeof where, "%d.0", layer);
    v = conv(b, x, where, 3, 1);
    if (b->error)
        return -1;
    v = tsri_net_act(b->net, v, TSRI_ACT_SILU);
    snprintf(where, sizeof where, "%d.2", layer);
    v = conv(b, v, where, 3, 1);
    if (!b->error && b->channels != channels)
        b->error = tsri_fail(b->ctx, TSR_E_SHAPE,
                             "residual block %s.%d changes its width", b->part, layer);
    return b->error ? -1 : tsri_net_add(b->net, x, v);
}

static int shuffle(building *b, int x, int r)
{
    if (!b->error && b->channels % (r * r))
        b->error = tsri_fail(b->ctx, TSR_E_SHAPE,
                             "%s: %d channels cannot be shuffled", b->part, b->channels);
    if (b->error)
        return -1;
    b->channels /= r * r;
    return tsri_net_shuffle(b->net, x, r);
}

static int make_enc(building *b)
{
    int x = tsri_net_unshuffle(b->net, 0, PATCH);
    b->channels = 3 * PATCH * PATCH;
    x = numbered(b, x, 1, 3, 1);
    x = residual(b, x, 2);
    x = numbered(b, x, 3, 3, 2);
    x = residual(b, x, 4);
    x = residual(b, x, 5);
    x = numbered(b, x, 6, 3, 2);
    x = residual(b, x, 7);
    return numbered(b, x, 8, 3, 1);
}

/* The net was trained to give -1..1, pictures are 0..1: v / 2 + 1 / 2 goes into
 * the last layer.  Both steps are exact in binary but for the last rounding. */
static void to_unit_range(float *weight, size_t n, float *bias, size_t out)
{
    for (size_t i = 0; i < n; i++)
        weight[i] *= 0.5f;
    for (size_t i = 0; i < out; i++)
        bias[i] = bias[i] * 0.5f + 0.5f;
}

static int make_dec(building *b)
{
    int x = numbered(b, 0, 0, 3, 1);
    x = residual(b, x, 1);
    x = shuffle(b, numbered(b, x, 2, 1, 1), 2);
    for (int layer = 3; layer <= 5; layer++)
        x = residual(b, x, layer);
    x = shuffle(b, numbered(b, x, 6, 1, 1), 2);
    for (int layer = 7; layer <= 8; layer++)
        x = residual(b, x, layer);
    const int in = b->channels;
    x = numbered(b, x, 9, 3, 1);
    if (!b->error)
        to_unit_range(b->kept[b->kept_count - 2],
                      (size_t)b->channels * (size_t)in * 9,
                      b->kept[b->kept_count - 1], (size_t)b->channels);
    return shuffle(b, x, PATCH);
}

static int make_hyper_enc(building *b)
{
    int x = tsri_net_act(b->net, numbered(b, 0, 0, 3, 1), TSRI_ACT_SILU);
    x = tsri_net_act(b->net, numbered(b, x, 1, 3, 2), TSRI_ACT_SILU);
    return numbered(b, x, 2, 3, 2);
}

static tsr_error build(tsri_net **net, tsr_context *ctx, const tsr_model *model,
                       const char *part, int channels, int (*make)(building *))
{
    building b = { .ctx = ctx, .model = model, .part = part, .channels = channels };
    int output;

    TSR_TRY(tsri_net_new(&b.net, ctx, channels));
    tsri_net_precision(b.net, make == make_dec ? TSRI_NET_DECODER
                                               : TSRI_NET_ENCODER);
    output = make(&b);
    if (!b.error)
        b.error = tsri_net_finish(b.net, output);
    for (int i = 0; i < b.kept_count; i++)
        tsri_free(ctx, b.kept[i]);
    if (b.error)
        tsri_net_free(&b.net);
    *net = b.net;
    return b.error;
}

static tsr_error load_gain(tsr_context *ctx, const tsr_model *model, const char *name,
                           tsri_hyper_nets *nets, float **out)
{
    const tsr_tensor *t;

    TSR_TRY(tsri_want(ctx, model, &t, 2, (uint64_t[]){ TSRI_HYPER_LEVELS,
                      (uint64_t)nets->latents }, "%s", name));
    TSR_TRY(tsri_tensor_floats(ctx, t, out));
    for (size_t i = 0; i < tsri_tensor_count(t); i++)
        if (!((*out)[i] > 0) || !isfinite((*out)[i]))
            return tsri_fail(ctx, TSR_E_CORRUPT, "tensor '%s': gains must be positive",
                             name);
    return TSR_OK;
}

static tsr_error load(tsri_hyper_nets *nets, tsr_context *ctx, const tsr_model *model)
{
    TSR_TRY(build(&nets->enc, ctx, model, "enc", 3, make_enc));
    nets->latents = tsri_net_out_channels(nets->enc);
    if (nets->latents > TSRI_HYPER_LATENTS_MAX)
        return tsri_fail(ctx, TSR_E_SHAPE, "%d latent channels", nets->latents);
    TSR_TRY(build(&nets->dec, ctx, model, "dec", nets->latents, make_dec));
    if (tsri_net_out_channels(nets->dec) != 3)
        return tsri_fail(ctx, TSR_E_SHAPE, "the decoder does not make three planes");
    TSR_TRY(build(&nets->hyper_enc, ctx, model, "hyper_enc", nets->latents,
                  make_hyper_enc));
    nets->hyper_latents = tsri_net_out_channels(nets->hyper_enc);
    TSR_TRY(load_gain(ctx, model, "gain_enc", nets, &nets->gain_enc));
    return load_gain(ctx, model, "gain_dec", nets, &nets->gain_dec);
}

tsr_error tsri_hyper_nets_open(tsri_hyper_nets *nets, tsr_context *ctx,
                               const tsr_model *model)
{
    *nets = (tsri_hyper_nets){ 0 };
    const tsr_error error = load(nets, ctx, model);
    if (error)
        tsri_hyper_nets_close(nets, ctx);
    return error;
}

void tsri_hyper_nets_close(tsri_hyper_nets *nets, tsr_context *ctx)
{
    tsri_net_free(&nets->enc);
    tsri_net_free(&nets->dec);
    tsri_net_free(&nets->hyper_enc);
    tsri_free(ctx, nets->gain_enc);
    tsri_free(ctx, nets->gain_dec);
    *nets = (tsri_hyper_nets){ 0 };
}

void tsri_hyper_gain(const tsri_hyper_nets *nets, const float *table, int q,
                     float *gain)
{
    const int level = tsri_min(q / TSRI_HYPER_STEPS, TSRI_HYPER_LEVELS - 2);
    const float part = (float)(q - TSRI_HYPER_STEPS * level) / TSRI_HYPER_STEPS;
    const float *low = table + (size_t)level * (size_t)nets->latents;
    const float *high = low + nets->latents;

    for (int c = 0; c < nets->latents; c++)
        gain[c] = low[c] * powf(high[c] / low[c], part);
}
