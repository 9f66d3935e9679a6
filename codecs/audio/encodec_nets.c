/* SPDX-License-Identifier: BSD-2-Clause */
/* Layers are found by walking along the numbers of the published names; what
 * they are is told by the names of their tensors, their sizes by the shapes. */
#include <stdio.h>
#include "codecs/audio/encodec.h"

enum { RESIDUALS_MAX = 10, LSTM_MAX = 16 };

typedef struct net {
    tsri_loader load;
    const tsri_audio_form *form;
    const char *part;       /* "encoder" or "decoder" */
    int x;                  /* the last node */
    int layer, layers;      /* number of the next layer, and where to stop */
    int last;               /* number of the last layer of the model */
} net;

static bool goes_on(const net *n)
{
    return !n->load.error && n->layer < n->layers;
}

/* The trim of EnCodec's padding: what is left of it in front. */
static int front(const tsri_audio_form *form, int total)
{
    return form->causal ? total : total - total / 2;
}

static int norm(net *n, int x, const char *name)
{
    char sub[TSRI_LOADER_NAME + 8];

    if (!n->form->group_norm)
        return x;
    snprintf(sub, sizeof sub, "%s.norm", name);
    return tsri_loader_group_norm(&n->load, x, sub, 1, 1e-5f);
}

/* NAME.conv.{...} and NAME.norm.{...}. */
static int conv(net *n, int x, const char *name, int stride, int dilation)
{
    char sub[TSRI_LOADER_NAME + 8];
    int sides[3];

    snprintf(sub, sizeof sub, "%s.conv", name);
    if (!tsri_loader_sides(&n->load, sub, sides))
        return 0;
    const int total = (sides[2] - 1) * dilation + 1 - stride;
    if (total < 0) {
        tsri_loader_bad(&n->load, sub);
        return 0;
    }
    const tsri_seq_conv spec = {
        .stride = stride, .dilation = dilation, .pad = n->form->pad,
        .left = front(n->form, total), .complete = true,
    };
    return norm(n, tsri_loader_conv(&n->load, x, sub, &spec), name);
}

static int act(net *n, int x)
{
    return n->load.error ? 0 : tsri_seq_act(n->load.seq, x, TSRI_CURVE_ELU, 0,
                                            NULL);
}

static int add(net *n, int x, int y)
{
    return n->load.error ? 0 : tsri_seq_add(n->load.seq, x, y, 1);
}

/* A layer that is one convolution of stride 1. */
static void plain_layer(net *n)
{
    char name[TSRI_LOADER_NAME];
    snprintf(name, sizeof name, "%s.model.%d.conv", n->part, n->layer);
    n->x = conv(n, n->x, name, 1, 1);
    n->layer++;
}

/* The stride is half the kernel: of a convolution or a transposed one. */
static int stride_of(net *n, const char *name)
{
    int sides[3];

    if (!tsri_loader_sides(&n->load, name, sides))
        return 0;
    if (sides[2] % 2)
        tsri_loader_bad(&n->load, name);
    return sides[2] / 2;
}

static void down_layer(net *n)
{
    char name[TSRI_LOADER_NAME], sub[TSRI_LOADER_NAME + 8];

    snprintf(name, sizeof name, "%s.model.%d.conv", n->part, n->layer);
    snprintf(sub, sizeof sub, "%s.conv", name);
    const int stride = stride_of(n, sub);
    if (!n->load.error)
        n->x = conv(n, n->x, name, stride, 1);
    n->layer++;
}

/* Normalisation sees what is trimmed, too. */
static void up_layer(net *n)
{
    char name[TSRI_LOADER_NAME], sub[TSRI_LOADER_NAME + 8];

    snprintf(name, sizeof name, "%s.model.%d.convtr", n->part, n->layer);
    snprintf(sub, sizeof sub, "%s.convtr", name);
    const int stride = stride_of(n, sub);
    const int trim = n->form->causal ? 0 : stride - stride / 2;
    const bool full = n->form->group_norm;
    const tsri_seq_convtr spec = { .stride = stride, .full = full,
                                   .trim = full ? 0 : trim };
    if (!n->load.error)
        n->x = norm(n, tsri_loader_convtr(&n->load, n->x, sub, &spec), name);
    if (!n->load.error && full)
        n->x = tsri_seq_crop(n->load.seq, n->x, trim, stride - trim);
    n->layer++;
}

/* What goes past a residual layer: x, or a convolution of it if there is one. */
static int shortcut(net *n, int x)
{
    char name[TSRI_LOADER_NAME];

    snprintf(name, sizeof name, "%s.model.%d.shortcut.conv", n->part, n->layer);
    return tsri_loader_has(&n->load, "%s.", name) ? conv(n, x, name, 1, 1) : x;
}

/* Residual layer `j` after a change of rate. */
static void residual_layer(net *n, int j)
{
    const int channels = n->load.channels, x = n->x;
    char name[TSRI_LOADER_NAME];

    snprintf(name, sizeof name, "%s.model.%d.block.1.conv", n->part, n->layer);
    int y = conv(n, act(n, x), name, 1, 1 << j);
    snprintf(name, sizeof name, "%s.model.%d.block.3.conv", n->part, n->layer);
    y = conv(n, act(n, y), name, 1, 1);
    const int out = n->load.channels;
    n->load.channels = channels;
    const int past = shortcut(n, x);
    if (n->load.channels != out)
        tsri_loader_bad(&n->load, name);
    n->x = add(n, past, y);
    n->layer++;
}

static void residual_layers(net *n)
{
    for (int j = 0; j < RESIDUALS_MAX && goes_on(n) &&
                    tsri_loader_has(&n->load, "%s.model.%d.block.", n->part,
                                    n->layer); j++)
        residual_layer(n, j);
}

/* Layer `l` of a stack of LSTMs. */
static int lstm(net *n, int x, int l)
{
    const uint64_t in = (uint64_t)n->load.channels, gates = 4 * in;
    const uint64_t dims[] = { gates, in };
    const float *w[4];
    static const char *const names[] = { "weight_ih", "weight_hh", "bias_ih",
                                         "bias_hh" };

    for (int i = 0; i < 4; i++)
        w[i] = tsri_loader_floats(&n->load, i < 2 ? 2 : 1, dims,
                                  "%s.model.%d.lstm.%s_l%d", n->part, n->layer,
                                  names[i], l);
    return n->load.error ? 0 : tsri_seq_lstm(n->load.seq, x, (int)in, w[0],
                                             w[1], w[2], w[3]);
}

static bool has_lstm(const net *n, int l)
{
    return tsri_loader_has(&n->load, "%s.model.%d.lstm.weight_ih_l%d", n->part,
                           n->layer, l) ||
           tsri_loader_has(&n->load, "%s.model.%d.lstm.weight_hh_l%d", n->part,
                           n->layer, l);
}

/* A stack of LSTMs and what goes past it, if there is one. */
static void lstm_layer(net *n)
{
    const int x = n->x;

    if (!goes_on(n) || !tsri_loader_has(&n->load, "%s.model.%d.lstm.", n->part,
                                        n->layer))
        return;
    for (int l = 0; l < LSTM_MAX && (l == 0 || has_lstm(n, l)); l++)
        n->x = lstm(n, n->x, l);
    n->x = add(n, n->x, x);
    n->layer++;
}

/* ELU has a number of its own. */
static void act_layer(net *n)
{
    n->x = act(n, n->x);
    n->layer++;
}

static tsr_error start(net *n, const char *part, tsr_context *ctx,
                       const tsr_model *model, const tsri_audio_form *form,
                       int layers, int channels)
{
    char prefix[32];

    *n = (net){ .form = form, .part = part, .layers = layers };
    tsri_loader_start(&n->load, ctx, model, channels);
    snprintf(prefix, sizeof prefix, "%s.model", part);
    n->last = tsri_loader_last(&n->load, prefix);
    return n->load.error;
}

/* conv; for each ratio: residual layers, ELU, conv with stride; LSTMs; ELU;
 * conv. */
tsr_error tsri_encodec_encoder(tsri_seq **seq, tsr_context *ctx,
                               const tsr_model *model,
                               const tsri_audio_form *form, int layers)
{
    net n;

    *seq = NULL;
    TSR_TRY(start(&n, "encoder", ctx, model, form, layers, form->channels));
    plain_layer(&n);
    while (goes_on(&n)) {
        residual_layers(&n);
        lstm_layer(&n);
        if (!goes_on(&n) || n.layer + 1 >= n.last)
            break;
        act_layer(&n);
        if (goes_on(&n))
            down_layer(&n);
    }
    if (goes_on(&n))
        act_layer(&n);
    if (goes_on(&n))
        plain_layer(&n);
    return tsri_loader_finish(&n.load, n.x, seq);
}

/* The channels of the first convolution's input: the latent. */
static int latent_of(tsr_context *ctx, const tsr_model *model, tsr_error *error)
{
    tsri_loader load = { .ctx = ctx, .model = model };
    int sides[3] = { 0, 1, 0 };

    tsri_loader_sides(&load, "decoder.model.0.conv.conv", sides);
    *error = load.error;
    return sides[1];
}

/* conv; LSTMs; residual layers; for each ratio: ELU, transposed conv, residual
 * layers; ELU; conv. */
tsr_error tsri_encodec_decoder(tsri_seq **seq, tsr_context *ctx,
                               const tsr_model *model,
                               const tsri_audio_form *form, int layers)
{
    tsr_error error;
    net n;

    *seq = NULL;
    const int latent = latent_of(ctx, model, &error);
    TSR_TRY(error);
    TSR_TRY(start(&n, "decoder", ctx, model, form, layers, latent));
    tsri_seq_decodes(n.load.seq);
    plain_layer(&n);
    lstm_layer(&n);
    residual_layers(&n);
    while (goes_on(&n) && n.layer + 1 < n.last) {
        act_layer(&n);
        if (goes_on(&n))
            up_layer(&n);
        residual_layers(&n);
    }
    if (goes_on(&n))
        act_layer(&n);
    if (goes_on(&n))
        plain_layer(&n);
    return tsri_loader_finish(&n.load, n.x, seq);
}
